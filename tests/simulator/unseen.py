"""Mixes by which verdicts are measured. Nobody who sets thresholds looks at them, or at what comes of seeds from 1000 on.

They differ from `tuning.py` in kind, not only in seed: clockwork bots and bots that keep office hours, bursts from thousands of changing IPv6 addresses, a
spray through the webmail and one through the VPN, hundreds of addresses with a name each, attacks in the middle of an outage; people
behind one carrier's address or one hotel's, a change of all user names, mailboxes whose owner has left, a password that was changed
before the log begins, a caps-lock key; a stranger next door, one who had yesterday what is somebody's address today, and a Trojan at
home; a telephone that is stale while its owner is under attack; a server that names no user, and one that logs no reason.
"""

from __future__ import annotations

from typing import Final

from tests.simulator import attacks, people
from tests.simulator.life import Life
from tests.simulator.scenario import Mix
from tests.simulator.writers import Style

SEEDS: Final = range(1000, 2000)


def _a_name_each(life: Life) -> None:
    """Hundreds of addresses, each once or twice, over all names; pairs of a leak, of which one fits."""
    chance = life.chance
    homes = people.town(life, 45)
    for home in chance.sample(homes, 3):
        people.new_password(life, home, chance.randrange(2, 30), chance.uniform(24, 200))
    people.live_all(life, homes)
    users = [person.user for person, _ in homes]
    crowd = [life.strange_network() + str(chance.randrange(1, 255)) for _ in range(300)]
    names, kinds = [*users, *attacks.names_of_a_dictionary(life, 60)], ("distributed", "spray", "slow")
    attacks.spray(life, crowd, names, life.at(9, 0), subject=f"server:{life.host}", rounds=5, pause=1100, kinds=kinds)
    attacks.stuffing(life, users, life.at(25, 20), 3, 20, hit=chance.choice(users))
    attacks.break_in(
        life, chance.choice(users), [life.strange_network() + "9"], life.at(31, 2), "a leaked password, and nothing before", needed=False
    )


def _clockwork(life: Life) -> None:
    """Bots with a rhythm as even as a telephone's, one that keeps office hours, and machines of our own with old passwords."""
    chance = life.chance
    homes = people.town(life, 30)
    for home in chance.sample(homes, 3):
        people.new_password(life, home, chance.randrange(3, 30), chance.uniform(60, 300), hour=13.1)
    machines = [people.machine(life, f"report{n}", f"198.51.100.{50 + n}", every) for n, every in enumerate((60, 240, 15))]
    people.change_password(life, machines[:1], life.at(12, 9), left_behind={"report0": 200})
    people.change_password(life, machines[2:], life.at(22, 9), left_behind={"report2": 30})
    people.run(life, machines)
    people.live_all(life, homes)
    users = [person.user for person, _ in homes]
    attacks.slow(life, chance.sample(users, 5), life.at(5, 0), 14, 15, spread=0.0)
    attacks.slow(life, [*users[:6], *attacks.names_of_a_dictionary(life, 6)], life.at(8, 0), 20, 60, spread=0.0)
    hours, address = range(8, 18), life.strange_network() + "77"
    story = life.story("likely-attack", f"address:{address}", "a few names in office hours", "slow", "spray")
    for day, working in life.days():
        for hour in hours if working and 15 <= day < 26 else ():
            life.attempt(life.at(day, hour + chance.random()), chance.choice(users), address, "imap", False, story)


def _behind_one_address(life: Life) -> None:
    """Everybody is behind the carrier's sixteen addresses, a hotel's one or the VPN's, and so are strangers."""
    chance, fair = life.chance, "198.18.98.3"
    homes = people.town(life, 50, ipv6=0.0, shared=1.0, office=("198.51.100.20", "198.51.100.21"))
    everybody = [person for person, _ in homes]
    people.travel(life, everybody[:25], 9, 4, fair)
    people.travel(life, everybody[25:40], 9, 12, people.VPN)
    for home in chance.sample(homes[:25], 8):  # an expiry that falls into the fair
        people.new_password(life, home, 10, chance.uniform(24, 80), hour=chance.uniform(8, 20))
    for home in chance.sample(homes[40:], 3):
        people.new_password(life, home, 18, chance.uniform(40, 90))
    for person in chance.sample(everybody, 4):  # caps lock
        people.mistype(life, person, life.at(chance.randrange(28), 8.8), person.office, chance.randrange(6, 11), pause=15)
    people.live_all(life, homes)
    users = [person.user for person in everybody]
    attacks.spray(life, [people.VPN], [*users, *attacks.names_of_a_dictionary(life, 30)], life.at(14, 3), subject=f"address:{people.VPN}")
    attacks.brute_force(life, chance.choice(users), life.at(20, 15), 150, address=chance.choice(people.CARRIER), pause=40)


def _other_names(life: Life) -> None:
    """From a day on users are to sign in by their whole address; some devices do not. Some people have left, one is blocked."""
    chance = life.chance
    homes = people.town(life, 35)
    for person, devices in chance.sample(homes[5:], 6):
        short, end = person.user.partition("@")[0], life.at(10, 9) + 3600 * chance.uniform(30, 220)
        story = life.story("stale-client", f"user:{short}", "a telephone with the old form of the name")
        old, every = life.at(10, 6), 60 * devices[0].every
        while old < end:
            day = int((old - life.begin) // 86_400)
            life.attempt(old, short, person.home(day), "imap", False, story, person.user)
            old += every * chance.uniform(0.97, 1.03)
    for person, _ in homes[:3]:
        life.accounts[person.user].gone = life.at(14, 17)
    blocked = homes[4][0].user
    life.accounts[blocked].blocked = life.at(17, 9)
    people.live_all(life, [home for home in homes if home not in homes[:5]])
    for person, devices in homes[:3]:
        _left(life, person, devices[0], "unknown-user", "a telephone of somebody who has left", life.accounts[person.user].gone)
    _left(life, homes[4][0], homes[4][1][0], "account-blocked", "a telephone of a blocked account", life.at(17, 9))
    _changed_before(life, homes[3])
    attacks.enumeration(life, life.at(20, 2), 80, pause=400, service="imap")


def _left(life: Life, person: people.Person, device: people.Device, cause: str, what: str, since: float) -> None:
    story = life.story("stale-client", f"user:{person.user}", what)
    for day, _ in life.days():
        for n in range(int(1440 / device.every)):
            moment = life.at(day, (n + 0.4) * device.every / 60 + life.chance.gauss(0, 0.004))
            late = moment >= since
            life.attempt(
                moment, person.user, person.home(day), "imap", True, story if late else 0, person.user, cause=cause if late else None
            )


def _changed_before(life: Life, home: people.Household) -> None:
    """The log begins after the change, and the telephone has never been right in it; the desktop is."""
    person, devices = home
    people.change_password(life, devices, life.begin - 3600, left_behind={"telephone": 260})
    people.live(life, person, devices)


def _six(life: Life) -> None:
    """Strangers with all the addresses of a /64, and telephones with another /64 each day."""
    chance = life.chance
    homes = people.town(life, 30, ipv6=1.0)
    for home in chance.sample(homes, 5):
        people.new_password(life, home, chance.randrange(3, 15), chance.uniform(24, 200))
    people.live_all(life, homes)
    users = [person.user for person, _ in homes]
    crowd = [f"2001:db8:f00:1::{chance.randrange(1, 1 << 16):x}" for _ in range(200)]
    attacks.spray(
        life, crowd, [*users, *attacks.names_of_a_dictionary(life, 40)], life.at(11, 23), subject="network:2001:db8:f00:1::/64", rounds=3
    )
    story = life.story("likely-attack", "network:2001:db8:f00:2::/64", "one user from one /64", "brute-force", "distributed")
    moment, user = life.at(16, 4), chance.choice(users)
    for _ in range(160):
        life.attempt(moment, user, f"2001:db8:f00:2::{chance.randrange(1, 1 << 16):x}", "imap", False, story)
        moment += chance.uniform(2, 30)
    address = f"2001:db8:f00:3::{chance.randrange(1, 1 << 16):x}"
    attacks.brute_force(life, chance.choice(users), life.at(22, 4), 60, address=address, breaks_in=True)


def _no_names(life: Life) -> None:
    """An older Postfix, which names nobody, and a Dovecot that gives no reasons."""
    chance = life.chance
    homes = people.town(life, 30)
    for home in chance.sample(homes, 4):
        people.new_password(life, home, chance.randrange(3, 20), chance.uniform(24, 150))
    people.live_all(life, homes)
    users = [person.user for person, _ in homes]
    attacks.brute_force(life, chance.choice(users), life.at(6, 22), 300, pause=5)
    attacks.loud_network(life, [*users, *attacks.names_of_a_dictionary(life, 40)], life.at(13, 3), 6)
    attacks.enumeration(life, life.at(19, 3), 150, service="imap")
    life.trouble(life.at(15, 8.5), 2.0, "socket", told=0.6)


def _webmail_and_outages(life: Life) -> None:
    """A spray through the webmail, a database that goes away again and again, and a botnet in the middle of it."""
    chance = life.chance
    homes = people.town(life, 40)
    for home in chance.sample(homes, 3):
        people.new_password(life, home, chance.randrange(2, 18), chance.uniform(24, 120))
    for person, _ in chance.sample(homes, 10):
        people.mistype(life, person, life.at(chance.randrange(28), 12.4), people.WEBMAIL, chance.choice((1, 2, 3)))
    people.live_all(life, homes, webmail=0.6)
    users = [person.user for person, _ in homes]
    attacks.spray(
        life,
        [people.WEBMAIL],
        [*users, *attacks.names_of_a_dictionary(life, 30)],
        life.at(9, 1),
        subject=f"address:{people.WEBMAIL}",
        service="imap",
    )
    day = life.at(18, 8)
    story = life.story("backend-trouble", f"server:{life.host}", "a database that goes away for minutes, eight times in a day")
    for n in range(8):
        life.trouble(day + 4500 * n, 0.15, "database", story=story)
    attacks.distributed(life, chance.choice(users), day, 20, 80, 110)
    life.trouble(life.at(24, 0), 11, "certificate", share=0.9)


def _a_tenant_at_large(life: Life) -> None:
    """Entra: people who are asked for a second factor as they should be, strangers who are, and a password that is tried once."""
    chance = life.chance
    homes = people.town(life, 50, ipv6=0.5)
    for home in chance.sample(homes, 4):
        people.new_password(life, home, chance.randrange(3, 20), chance.uniform(24, 100))
    for person, _ in chance.sample(homes, 20):  # asked, and a moment later in
        day = chance.randrange(28)
        moment, address = life.at(day, chance.uniform(8, 20)), person.home(day)
        life.attempt(moment - 300, person.user, address, "imap", True, owner=person.user)
        life.attempt(moment, person.user, address, "imap", True, owner=person.user, cause="second-factor")
        life.attempt(moment + 40, person.user, address, "imap", True, owner=person.user)
    people.live_all(life, homes)
    users = [person.user for person, _ in homes]
    for day in (5, 13, 21):
        attacks.stopped(life, chance.choice(users), life.at(day, chance.uniform(0, 23)), 1)
    attacks.distributed(life, chance.choice(users), life.at(8, 0), 90, 150, 150)
    attacks.slow(life, users, life.at(14, 0), 10, 45, addresses=20, spread=0.2)
    life.trouble(life.at(26, 9), 1.2, "database", share=0.7)


def _a_long_quiet(life: Life) -> None:
    """Two months of people who mistype, forget, travel and buy telephones; and a new password for everybody, behind one address."""
    chance = life.chance
    homes = people.town(life, 60)
    for person, _ in chance.sample(homes, 30):
        people.new_telephone(life, person, chance.randrange(56))
    for person, _ in chance.sample(homes, 6):
        people.mistype(life, person, life.at(chance.randrange(56), chance.uniform(8, 20)), person.office, chance.randrange(6, 10), pause=12)
    for person, devices in homes:
        people.change_password(life, devices, life.at(30, chance.uniform(8, 9)))
        people.mistype(life, person, life.at(30, chance.uniform(9, 9.5)), person.office, chance.choice((1, 2, 3)))
    people.travel(life, [person for person, _ in homes[:20]], 40, 5, "198.18.97.3")
    people.run(life, people.shared_mailbox(life, "info", [person for person, _ in homes[:6]]))
    people.live_all(life, homes, typos=0.08, webmail=0.5)


def _next_door(life: Life) -> None:
    """Strangers among the provider's addresses where people live, and one computer at home that is not its owner's alone."""
    chance = life.chance
    homes = people.town(life, 40, ipv6=0.1)
    daily = [person for person, _ in homes if person.line == "daily"]
    for home in chance.sample(homes, 3):
        people.new_password(life, home, chance.randrange(3, 20), chance.uniform(24, 90))
    people.live_all(life, homes)
    users = [person.user for person, _ in homes]
    for day, person in zip((5, 12, 19), daily, strict=False):  # an address that is somebody's on the next day
        attacks.brute_force(life, chance.choice(users), life.at(day, 20), chance.randrange(60, 160), address=person.home(day + 2))
    network = daily[0].home(0).rpartition(".")[0]
    crowd = [f"{network}.{n}" for n in chance.sample(range(100, 250), 6)]
    attacks.spray(life, crowd, [*users, *attacks.names_of_a_dictionary(life, 20)], life.at(16, 1), subject=f"network:{network}.0/24")
    trojan = next(person for person, _ in homes if person.line == "fixed")
    names, subject = attacks.names_of_a_dictionary(life, 150), f"address:{trojan.home(0)}"
    attacks.spray(
        life, [trojan.home(0)], names, life.at(9, 3), subject=subject, rounds=1, pause=30, kinds=("enumeration", "spray"), service="pop3"
    )


def _at_the_same_time(life: Life) -> None:
    """A telephone is stale while a botnet tries its owner; a script that runs once a day; the database is away on the morning of the new passwords."""
    chance = life.chance
    homes = people.town(life, 30)
    under_attack, others = homes[:3], homes[3:]
    for n, home in enumerate(under_attack):
        people.new_password(life, home, 6 + 5 * n, chance.uniform(60, 120))
        attacks.distributed(life, home[0].user, life.at(6 + 5 * n, 4), 70, 60, 90)
    nightly = people.machine(life, "nightly", "198.51.100.60", 1440)
    people.change_password(life, [nightly], life.at(7, 12), left_behind={"nightly": 24 * 18.5})
    people.run(life, [nightly])
    for person, devices in others:
        late = {"telephone": chance.uniform(30, 90)} if chance.random() < 0.2 else None
        people.change_password(life, devices, life.at(22, chance.uniform(8, 9)), left_behind=late)
        people.mistype(life, person, life.at(22, 9 + chance.uniform(0, 2)), person.office, chance.choice((0, 1, 2, 3)))
    people.live_all(life, homes)
    life.trouble(life.at(22, 8.5), 1.0, "socket", told=0.8)
    users = [person.user for person, _ in homes]
    crowd = [life.strange_network() + str(chance.randrange(1, 255)) for _ in range(3)]
    story = life.story("likely-attack", f"user:{users[9]}", "one user, from three addresses in turn", "brute-force", "distributed")
    for n in range(180):
        life.attempt(life.at(26, 2) + 25 * n + chance.uniform(0, 5), users[9], crowd[n % 3], "pop3", False, story)


MIXES: Final = {
    "a name each": Mix(play=_a_name_each, weeks=6),
    "clockwork": Mix(play=_clockwork, weeks=6, style=Style(dovecot="2.4", envelope="journald")),
    "behind one address": Mix(play=_behind_one_address),
    "other names": Mix(play=_other_names, style=Style(envelope="bsd")),
    "six": Mix(play=_six, style=Style(dovecot="2.4")),
    "no names": Mix(play=_no_names, style=Style(verbose=False, names=False)),
    "webmail and outages": Mix(play=_webmail_and_outages, style=Style(dovecot="2.4", verbose=False)),
    "a tenant at large": Mix(play=_a_tenant_at_large, style=Style(mta="entra")),
    "next door": Mix(play=_next_door, style=Style(verbose=False)),
    "at the same time": Mix(play=_at_the_same_time, style=Style(envelope="journald")),
    "a long quiet": Mix(play=_a_long_quiet, weeks=8),
}
