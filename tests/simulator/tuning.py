"""Mixes by which thresholds may be set, with any seed below 100. What is kept from those who set them is in `unseen.py`.

Each mix is there for a question. Attacks here are the textbook's: one loud address, one loud network, a dictionary, leaked pairs, many
addresses on one user, a slow one with uneven pauses. Shared addresses are an office, a carrier and a VPN, of which only the carrier's has
ever been used by a stranger.
"""

from __future__ import annotations

from typing import Final

from tests.simulator import attacks, people
from tests.simulator.life import Life
from tests.simulator.scenario import Mix
from tests.simulator.writers import Style

SEEDS: Final = range(1, 100)


def _an_office(life: Life) -> None:
    """Loud attackers, forgotten telephones, a scanner, and an hour without the authentication service."""
    chance = life.chance
    homes = people.town(life, 25)
    for n, home in enumerate(chance.sample(homes, 5)):
        people.new_password(life, home, 3 + 4 * n, chance.uniform(20, 110))
    scanner = people.machine(life, "scanner", "198.51.100.40", 60)
    people.change_password(life, [scanner], life.at(10, 11.2), left_behind={"scanner": 72})
    people.run(life, [scanner])
    people.live_all(life, homes)
    users = [person.user for person, _ in homes]
    for day in (2, 9, 17):
        attacks.brute_force(
            life, chance.choice(users), life.at(day, chance.uniform(0, 23)), chance.randrange(60, 400), pause=chance.uniform(3, 15)
        )
    for day in (5, 20):
        attacks.loud_network(life, [*users, *attacks.names_of_a_dictionary(life, 30)], life.at(day, 2.3), chance.randrange(4, 16))
    attacks.enumeration(life, life.at(14, 4), chance.randrange(100, 300))
    life.trouble(life.at(16, 13.6), 0.9, "socket", told=0.5)


def _slow_and_spread(life: Life) -> None:
    """Attacks that no counter of ten minutes sees, and a database that answers half of the time."""
    chance = life.chance
    homes = people.town(life, 30)
    for n, home in enumerate(chance.sample(homes, 4)):
        people.new_password(life, home, 6 + 9 * n, chance.uniform(30, 150))
    people.live_all(life, homes)
    users = [person.user for person, _ in homes]
    for day in (4, 22, 39):
        addresses = chance.randrange(40, 120)
        attacks.distributed(
            life, chance.choice(users), life.at(day, 6), chance.uniform(10, 60), addresses, int(addresses * chance.uniform(1, 2))
        )
    attacks.slow(life, [*users, *attacks.names_of_a_dictionary(life, 20)], life.at(10, 1), 16, 30)
    attacks.slow(life, users, life.at(30, 1), 12, 20, addresses=12)
    life.trouble(life.at(25, 9.2), 3, "database", share=0.5)


def _leaked_pairs(life: Life) -> None:
    """Pairs of a leak, two guessed passwords with what follows, and a stranger behind the carrier's addresses."""
    chance = life.chance
    homes = people.town(life, 40, shared=0.9)
    for home in chance.sample(homes, 2):
        people.new_password(life, home, chance.randrange(3, 20), chance.uniform(24, 90))
    people.travel(life, [person for person, _ in chance.sample(homes, 6)], 8, 5, people.VPN)
    sales = people.shared_mailbox(life, "sales", [person for person, _ in homes[:4]])
    people.run(life, sales)
    people.live_all(life, homes)
    users = [person.user for person, _ in homes]
    leak = [*users, *(f"left{n}@{life.domain}" for n in range(25))]
    attacks.stuffing(life, leak, life.at(6, 21), 2, 4)
    attacks.stuffing(life, chance.sample(leak, 40), life.at(19, 3), 1, 1)
    for day, user in zip((11, 23), chance.sample(users, 2), strict=True):
        attacks.brute_force(life, user, life.at(day, 1.5), chance.randrange(40, 200), breaks_in=True)
    attacks.brute_force(life, chance.choice(users), life.at(15, 14), 120, address=chance.choice(people.CARRIER))


def _a_new_password_for_everybody(life: Life) -> None:
    """One morning all must change; most devices are told at once, some days later. No attack but one, and no trouble."""
    chance = life.chance
    homes = people.town(life, 40)
    for home in homes:
        late = {"telephone": chance.uniform(30, 150)} if chance.random() < 0.15 else None
        people.change_password(life, home[1], life.at(8, chance.uniform(8, 11)), left_behind=late)
        people.mistype(life, home[0], life.at(8, 11 + chance.uniform(0, 2)), home[0].office, chance.choice((0, 0, 1, 2, 3)))
    people.live_all(life, homes)
    attacks.brute_force(life, homes[3][0].user, life.at(12, 3), 90)


def _nothing_to_see(life: Life) -> None:
    """Typing mistakes, new telephones, a shared mailbox, travellers, webmail, scripts, and a certificate that has expired."""
    chance = life.chance
    homes = people.town(life, 40)
    people.travel(life, [person for person, _ in chance.sample(homes, 8)], 10, 4, people.VPN)
    people.travel(life, [person for person, _ in chance.sample(homes, 3)], 16, 3, "198.18.99.7")
    for person, _ in chance.sample(homes, 12):
        people.new_telephone(life, person, chance.randrange(28))
        people.mistype(life, person, life.at(chance.randrange(28), 13), people.WEBMAIL, chance.choice((1, 2, 3)))
    people.run(
        life,
        [*people.shared_mailbox(life, "info", [person for person, _ in homes[5:9]]), people.machine(life, "backup", "198.51.100.41", 1440)],
    )
    people.live_all(life, homes, typos=0.06, webmail=0.4)
    life.trouble(life.at(20, 0), 9.5, "certificate", share=0.8)


def _exim(life: Life) -> None:
    """A log without sign-ins that send nothing."""
    chance = life.chance
    homes = people.town(life, 30)
    for home in chance.sample(homes, 3):
        people.new_password(life, home, chance.randrange(3, 20), chance.uniform(24, 100))
    people.live_all(life, homes)
    users = [person.user for person, _ in homes]
    attacks.brute_force(life, chance.choice(users), life.at(4, 22), 150)
    attacks.loud_network(life, [*users, *attacks.names_of_a_dictionary(life, 20)], life.at(11, 3))
    attacks.distributed(life, chance.choice(users), life.at(18, 6), 24, 60, 80)
    life.trouble(life.at(15, 10), 1.5, "socket")


def _a_tenant(life: Life) -> None:
    """Entra's log: passwords that were right, and stopped by a second factor."""
    chance = life.chance
    homes = people.town(life, 40, office=("198.51.100.20", "198.51.100.120"))
    for home in chance.sample(homes, 3):
        people.new_password(life, home, chance.randrange(3, 20), chance.uniform(24, 100))
    people.live_all(life, homes)
    users = [person.user for person, _ in homes]
    attacks.stuffing(life, users, life.at(9, 2), 1.5, 6)
    for day, user in zip((12, 18, 24), chance.sample(users, 3), strict=True):
        attacks.stopped(life, user, life.at(day, chance.uniform(0, 23)), chance.randrange(2, 6))
    attacks.loud_network(life, users, life.at(20, 4), 5)


MIXES: Final = {
    "an office": Mix(play=_an_office),
    "slow and spread": Mix(play=_slow_and_spread, weeks=8, style=Style(dovecot="2.4")),
    "leaked pairs": Mix(play=_leaked_pairs, style=Style(envelope="journald")),
    "a new password for everybody": Mix(play=_a_new_password_for_everybody, weeks=3, style=Style(envelope="bsd")),
    "nothing to see": Mix(play=_nothing_to_see),
    "exim": Mix(play=_exim, style=Style(mta="exim", envelope="bsd")),
    "a tenant": Mix(play=_a_tenant, style=Style(mta="entra")),
}
