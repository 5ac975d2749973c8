"""Strangers who try passwords. Each function is one attack, with its story; addresses come from networks that nobody else has, unless they are given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from tests.simulator.life import DAY, Life

GUESSED: Final = tuple(
    "admin info sales office support test backup scan invoice hr web postmaster root contact marketing webmaster service noreply "  # noqa: SIM905
    "billing accounts helpdesk it printer guest user mail jobs press shop legal".split()
)
_SYLLABLES: Final = ("ka", "lo", "mi", "ra", "sen", "tor", "vi", "dan", "el", "jo", "ber", "nu")


def names_of_a_dictionary(life: Life, number: int) -> list[str]:
    """Names that nobody has here: functions first, then what might be people."""
    made = (f"{a}{b}{c}" for a in _SYLLABLES for b in _SYLLABLES for c in ("", "son", "1", "99"))
    names = [name for name in (*GUESSED, *made) if f"{name}@{life.domain}" not in life.accounts][:number]
    return [f"{name}@{life.domain}" if life.chance.random() < 0.6 else name for name in names]


def brute_force(
    life: Life, user: str, when: float, tries: int, *, address: str | None = None, pause: float = 8.0, breaks_in: bool = False
) -> str:
    """One address, one user, one password after the other; perhaps the last one is right, and mail goes out. Returns the address."""
    address = address or life.strange_network() + str(life.chance.randrange(1, 255))
    story = life.story("likely-attack", f"address:{address}", f"{tries} passwords of {user}", "brute-force")
    for _ in range(tries):
        life.attempt(when, user, address, "submission", False, story, mechanism="LOGIN")
        when += life.chance.uniform(0.2, 1.8) * pause
    if breaks_in:
        break_in(life, user, [address], when, f"the password of {user} was guessed")
    return address


def break_in(life: Life, user: str, addresses: Sequence[str], when: float, what: str, *, mails: int = 15, needed: bool = True) -> None:
    """A stranger has the right password, and sends mail."""
    story = life.story("possible-compromise", f"user:{user}", what, needed=needed)
    for n in range(mails):
        life.attempt(when, user, addresses[n % len(addresses)], "submission", True, story, mechanism="LOGIN")
        when += life.chance.expovariate(1 / 300)


def spray(
    life: Life,
    addresses: Sequence[str],
    users: Iterable[str],
    when: float,
    *,
    subject: str,
    rounds: int = 2,
    pause: float = 20.0,
    kinds: tuple[str, ...] = ("spray",),
    service: str = "submission",
) -> None:
    """A few passwords on every name, from these addresses in any order."""
    story, names = life.story("likely-attack", subject, f"spray of {rounds} passwords from {len(addresses)} addresses", *kinds), list(users)
    for _ in range(rounds):
        life.chance.shuffle(names)
        for name in names:
            life.attempt(when, name, life.chance.choice(addresses), service, False, story, mechanism="LOGIN")
            when += life.chance.uniform(0.2, 1.8) * pause


def loud_network(life: Life, users: Iterable[str], when: float, number: int = 8) -> None:
    """A spray from addresses of one /24, in a night."""
    network = life.strange_network()
    addresses = [network + str(n) for n in life.chance.sample(range(1, 255), number)]
    spray(life, addresses, users, when, subject=f"network:{network}0/24")


def enumeration(life: Life, when: float, number: int, *, pause: float = 3.0, service: str = "submission") -> None:
    """A dictionary of names, each once."""
    address = life.strange_network() + str(life.chance.randrange(1, 255))
    story = life.story("likely-attack", f"address:{address}", f"{number} names that nobody has", "enumeration")
    for name in names_of_a_dictionary(life, number):
        life.attempt(when, name, address, service, False, story, mechanism="LOGIN")
        when += life.chance.uniform(0.2, 1.8) * pause


def distributed(life: Life, user: str, when: float, hours: float, addresses: int, tries: int) -> None:
    """One user, from so many addresses all over the world, each a try or two."""
    story = life.story("likely-attack", f"user:{user}", f"{tries} tries of {addresses} addresses", "distributed")
    crowd = [life.strange_network() + str(life.chance.randrange(1, 255)) for _ in range(addresses)]
    for n in range(tries):
        life.attempt(when + 3600 * hours * life.chance.random(), user, crowd[n % addresses], "submission", False, story, mechanism="LOGIN")


def slow(life: Life, users: Sequence[str], when: float, days: float, minutes: float, *, spread: float = 0.9, addresses: int = 1) -> None:
    """A try every so many minutes, for days and weeks, under every limit that counts minutes.

    Args:
        spread: by how much a pause may differ, as a share of it; 0 is clockwork.
    """
    network = life.strange_network()
    crowd = [network + str(n) for n in life.chance.sample(range(1, 255), addresses)]
    subject = f"address:{crowd[0]}" if addresses == 1 else f"network:{network}0/24"
    story = life.story("likely-attack", subject, f"a try every {minutes} min for {days} days", "slow")
    end, n = when + DAY * days, 0
    while when < end:
        life.attempt(when, users[n % len(users)], crowd[n % addresses], "submission", False, story, mechanism="LOGIN")
        when, n = when + 60 * minutes * (1 + life.chance.uniform(-spread, spread)), n + 1


def stuffing(life: Life, users: Sequence[str], when: float, hours: float, networks: int, *, hit: str | None = None) -> None:
    """Pairs of name and password that leaked elsewhere, each tried once; perhaps one fits, at once."""
    story = life.story(
        "likely-attack", f"server:{life.host}", f"{len(users)} leaked pairs from {networks} networks", "stuffing", "spray", "distributed"
    )
    crowd = [
        network + str(life.chance.randrange(1, 255)) for network in (life.strange_network() for _ in range(networks)) for _ in range(3)
    ]
    order = life.chance.sample(list(users), len(users))
    for n, user in enumerate(order):
        if user != hit:
            life.attempt(when + 3600 * hours * n / len(order), user, crowd[n % len(crowd)], "submission", False, story, mechanism="PLAIN")
    if hit:
        n = order.index(hit)
        break_in(life, hit, [crowd[n % len(crowd)]], when + 3600 * hours * n / len(order), f"the leaked password of {hit} fits", mails=8)


def stopped(life: Life, user: str, when: float, times: int = 3) -> None:
    """A stranger has the right password, and is asked for a second factor."""
    address = life.strange_network() + str(life.chance.randrange(1, 255))
    story = life.story("possible-compromise", f"user:{user}", "the password was right, the second factor was missing")
    for _ in range(times):
        life.attempt(when, user, address, "imap", True, story, cause="second-factor")
        when += life.chance.uniform(20, 400)
