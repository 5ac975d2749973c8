"""People and their devices: where they are, when these look for mail, and how long they go on with an old password.

Addresses are of the blocks for documentation and for benchmarks (RFC 5737, 3849, 2544). Homes are at 198.18.0.0/18, an internet provider of
which everybody has an address or, in IPv6, a network; telephones are behind a carrier's shared addresses, 203.0.113.64/28, or have a /64 for
the day.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.simulator.life import ORDINARY, Account, Life

OFFICE: Final = "198.51.100.20"
VPN: Final = "203.0.113.200"
WEBMAIL: Final = "127.0.0.1"
CARRIER: Final = tuple(f"203.0.113.{64 + n}" for n in range(16))
FIRST: Final = tuple(
    "anna ben carla david elif frank greta hassan ines jonas lena marek nora paul quentin rosa sven tessa ulf vera "  # noqa: SIM905
    "walter xenia yusuf zoe amir bianca cem dora emil flora".split()
)
LAST: Final = ("berg", "adler", "conti", "novak", "silva", "okoro")


@dataclass(slots=True, kw_only=True)
class Person:
    """Somebody with a mailbox.

    Attributes:
        line: at home: `fixed`, one IPv4 address; `daily`, another one every night; `six`, an IPv6 network.
        block: of the provider's addresses, where the first one is from.
        away: the address on days elsewhere: a hotel, the company's VPN.
        wifi: whether the telephone uses the office's.
        carrier: of the telephone: `shared`, one of the carrier's addresses at each connection, or `day`, a /64 for the day.
        shift: hours by which their day is later.
    """

    user: str
    number: int
    line: str = "fixed"
    block: int = 0
    office: str = OFFICE
    carrier: str = "shared"
    wifi: bool = True
    shift: float = 0.0
    away: dict[int, str] = field(default_factory=dict)

    def home(self, day: int) -> str:
        """The address at home on that day; in IPv6 a device changes its half now and then (RFC 8981)."""
        if self.line == "six":
            return f"2001:db8:{0x1000 + self.number:x}:1::{0x20 + day % 3:x}"
        return f"198.18.{(self.block + (7 * day if self.line == 'daily' else 0)) % 40}.{10 + self.number}"


@dataclass(slots=True, kw_only=True)
class Device:
    """What signs in by itself.

    Attributes:
        every: minutes between its looks.
        phase: of the first look of a day, as a share of `every`.
        told: for each change of the password, when the device was told.
        stories: for each change, the story of its going on with the old one; ORDINARY while that is nobody's business.
        fixed: the address of what never moves.
    """

    person: Person
    user: str
    every: float
    service: str = "imap"
    mechanism: str = "PLAIN"
    phase: float = 0.0
    sleeps: bool = False
    fixed: str | None = None
    name: str = "telephone"
    told: list[float] = field(default_factory=list)
    stories: list[int] = field(default_factory=list)

    def sign_in(self, life: Life, when: float, address: str) -> None:
        """With the password that it knows; where that is not right, it asks its owner, or it goes on for years."""
        right, story = True, ORDINARY
        for change, told, of in zip(life.accounts[self.user].changes, self.told, self.stories, strict=False):
            if change <= when < told:
                right, story = False, of
        life.attempt(when, self.user, address, self.service, right, story, self.person.user, self.mechanism)


Household = tuple[Person, list[Device]]


def town(life: Life, number: int, *, ipv6: float = 0.3, shared: float = 0.6, office: Sequence[str] = (OFFICE,)) -> list[Household]:
    """So many people, each with an account and devices.

    Args:
        ipv6: the share of homes and telephones with IPv6.
        shared: the share of the other telephones that are behind their carrier's addresses.
        office: the addresses of offices, in turn.
    """
    chance, homes = life.chance, []
    for n in range(number):
        first, last = FIRST[n % len(FIRST)], LAST[n // len(FIRST) % len(LAST)]
        user = f"{first}.{last}@{life.domain}" if number > len(FIRST) else f"{first}@{life.domain}"
        kind = "six" if chance.random() < ipv6 else chance.choice(("fixed", "fixed", "daily"))
        person = Person(
            user=user,
            number=n,
            line=kind,
            block=chance.randrange(40),
            office=office[n % len(office)],
            carrier="shared" if kind != "six" and chance.random() < shared else "day",
            wifi=chance.random() < 0.6,
            shift=chance.choice((0, 0, 0, 0, 0, 0, 0, 0, -6, 5)),
        )
        life.accounts[user] = Account()
        homes.append((person, devices_of(life, person)))
    return homes


def devices_of(life: Life, person: Person) -> list[Device]:
    """A telephone, and for some a tablet. The desktop is where they change passwords: it always knows."""
    chance, rhythm = life.chance, (5, 15, 15, 15, *[30] * 6, *[60] * 10)
    found = [Device(person=person, user=person.user, every=chance.choice(rhythm), phase=chance.random(), sleeps=chance.random() < 0.6)]
    if chance.random() < 0.3:
        found.append(Device(person=person, user=person.user, every=chance.choice((60, 120, 180)), phase=0.3, sleeps=True, name="tablet"))
    return found


def whereabouts(life: Life, person: Person, day: int, working: bool) -> list[tuple[float, str]]:
    """Until which hour the person is at which address; "" is on the way."""
    if address := person.away.get(day):
        return [(24.0, address)]
    chance, home = life.chance, person.home(day)
    if not working:
        out = chance.uniform(9, 15)
        return [(out, home), (out + chance.uniform(0, 5), ""), (24.0, home)]
    leave, back = person.shift + chance.gauss(7.6, 0.4), person.shift + chance.gauss(17, 0.8)
    return [(leave, home), (leave + 0.6, ""), (back, person.office if person.wifi else ""), (back + 0.6, ""), (24.0, home)]


def mobile(life: Life, person: Person, day: int) -> str:
    """An address on the way."""
    if person.carrier == "shared":
        return life.chance.choice(CARRIER)
    return f"2001:db8:{0x8000 + person.number:x}:{day + 1:x}::{0x10 + person.number:x}"


def live(life: Life, person: Person, devices: Sequence[Device], *, typos: float = 0.03, webmail: float = 0.1, mails: float = 3.0) -> None:
    """All days of a person: telephones that look for mail, a desktop on working days, mails sent, webmail, passwords mistyped."""
    chance = life.chance
    for day, working in life.days():
        places = whereabouts(life, person, day, working)
        for device in devices:
            _look(life, device, day, places)
        desk = person.away.get(day, person.office)
        if working and chance.random() < 0.9:
            _at_the_desk(life, person, day, desk, typos, mails)
        if chance.random() < webmail:
            life.attempt(life.at(day, chance.uniform(8, 22)), person.user, WEBMAIL, "imap", True, owner=person.user)


def _look(life: Life, device: Device, day: int, places: list[tuple[float, str]]) -> None:
    chance, hours = life.chance, device.every / 60
    first, last = (6.5, 23.5) if device.sleeps else (0.0, 24.0)
    if device.service != "imap" or device.fixed:
        places = [(24.0, device.fixed or device.person.office)]
    place = iter(places)
    until, address = next(place)
    for n in range(math.ceil(24 / hours)):
        hour = (n + device.phase) * hours + chance.gauss(0, 0.004)
        if not first <= hour < last:
            continue
        while hour >= until and until < 24:
            until, address = next(place)
        device.sign_in(life, life.at(day, hour), address or mobile(life, device.person, day))


def _at_the_desk(life: Life, person: Person, day: int, desk: str, typos: float, mails: float) -> None:
    """The mail program reconnects now and then; mails go out in bursts. The program asks for a password that has changed."""
    chance, user = life.chance, person.user
    hour, evening = person.shift + chance.gauss(8.4, 0.5), person.shift + chance.gauss(16.8, 0.6)
    if chance.random() < typos:
        mistype(life, person, life.at(day, hour), desk, chance.choice((1, 1, 2, 3)))
    while hour < evening:
        life.attempt(life.at(day, hour), user, desk, "imap", True, owner=user)
        hour += chance.expovariate(1 / 1.3) + 0.1
    for _ in range(min(12, int(chance.expovariate(1 / mails)))):
        moment = life.at(day, person.shift + chance.uniform(8.6, 16.6))
        life.attempt(moment, user, desk, "submission", True, owner=user)
        if chance.random() < 0.3:
            life.attempt(moment + chance.uniform(40, 200), user, desk, "submission", True, owner=user)


def live_all(life: Life, homes: Sequence[Household], **habits: float) -> None:
    """All days of all of them; the habits are those of `live`."""
    for person, devices in homes:
        live(life, person, devices, **habits)


# -------------------------------------------------------------------------------------------- what happens to them


def new_password(life: Life, home: Household, day: int, hours: float, *, hour: float = 10.3, device: str = "telephone") -> None:
    """Somebody changes the password; one device goes on with the old one for so many hours."""
    change_password(life, home[1], life.at(day, hour), left_behind={device: hours})


def mistype(life: Life, person: Person, when: float, address: str, times: int, *, pause: float = 20.0, service: str = "imap") -> None:
    """So many wrong passwords, and then the right one."""
    for _ in range(times):
        life.attempt(when, person.user, address, service, False, owner=person.user)
        when += life.chance.uniform(0.3, 1.7) * pause
    life.attempt(when, person.user, address, service, True, owner=person.user)


def new_telephone(life: Life, person: Person, day: int) -> None:
    """Set up in three tries, mail to be sent after mail to be read."""
    moment, address = life.at(day, life.chance.uniform(17.5, 21)), person.home(day)
    mistype(life, person, moment, address, 2, pause=60)
    mistype(life, person, moment + 300, address, 1, pause=40, service="submission")


def change_password(life: Life, devices: Sequence[Device], when: float, *, left_behind: dict[str, float] | None = None) -> None:
    """The devices of one account and a new password: each is told within the half hour, or as many hours later as `left_behind` says."""
    life.accounts[devices[0].user].changes.append(when)
    for device in devices:
        late = (left_behind or {}).get(device.name)
        story = ORDINARY
        if late:
            story = life.story("stale-client", f"user:{device.user}", f"{device.name} with the old password for {late:.0f} h")
        device.told.append(when + 3600 * (late or life.chance.uniform(0.02, 0.5)))
        device.stories.append(story)


def shared_mailbox(life: Life, name: str, people: Sequence[Person]) -> list[Device]:
    """One account in several people's mail programs."""
    user = f"{name}@{life.domain}"
    life.accounts[user] = Account()
    return [
        Device(person=p, user=user, every=60, phase=life.chance.random(), sleeps=True, fixed=p.office, name=f"{name} at {p.user}")
        for p in people
    ]


def machine(life: Life, name: str, address: str, every: float, *, service: str = "submission") -> Device:
    """A scanner or a script: an account of its own, one address, a fixed rhythm."""
    user = f"{name}@{life.domain}"
    life.accounts[user] = Account()
    person = Person(user=user, number=500 + len(life.accounts), office=address)
    return Device(person=person, user=user, every=every, service=service, mechanism="LOGIN", fixed=address, name=name)


def run(life: Life, devices: Sequence[Device]) -> None:
    """All days of devices that live by themselves."""
    for day, working in life.days():
        for device in devices:
            _look(life, device, day, whereabouts(life, device.person, day, working))


def travel(life: Life, people: Sequence[Person], first: int, days: int, address: str) -> None:
    """People are elsewhere for some days: a hotel, a fair, the company's VPN from home."""
    for person in people:
        person.away |= dict.fromkeys(range(first, min(first + days, len(life.midnights))), address)
