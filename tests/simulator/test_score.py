"""The score is what one reckons by hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from tests.simulator.life import Account, Life
from tests.simulator.score import Score, report


@dataclass
class Said:
    subject: str
    verdict: str
    kind: str | None
    first: datetime
    last: datetime


@pytest.fixture
def life() -> Life:
    """A day: forty tries of a stranger on Ann and sixty on Ben, Cid's old telephone, half an hour without a database, Dan's typos."""
    life = Life(1, weeks=1)
    for name in ("ann", "ben", "cid", "dan"):
        life.accounts[name] = Account()
        for hour in range(10, 20):
            life.attempt(life.at(1, hour), name, "198.51.100.20", "imap", True, owner=name)
    attack = life.story("likely-attack", "address:192.0.2.1", "brute", "brute-force")
    for n in range(100):
        life.attempt(life.at(1, 2) + n, "ann" if n < 40 else "ben", "192.0.2.1", "submission", False, attack)
    stale = life.story("stale-client", "user:cid", "telephone")
    for n in range(80):
        life.attempt(life.at(2, 0.2 * n), "cid", "203.0.113.7" if n < 30 else "203.0.113.8", "imap", False, stale, owner="cid")
    compromise = life.story("possible-compromise", "user:ben", "guessed")
    life.attempt(life.at(1, 2) + 101, "ben", "192.0.2.1", "submission", True, compromise)
    for n in range(3):
        life.attempt(life.at(1, 9) + n, "dan", "198.51.100.20", "imap", False, owner="dan")
    life.trouble(life.at(1, 11.9), 0.5, "database")
    return life


def said(life: Life, subject: str, verdict: str, begin: tuple[int, float], end: tuple[int, float], kind: str | None = None) -> Said:
    return Said(subject, verdict, kind, *(datetime.fromtimestamp(life.at(*when), UTC) for when in (begin, end)))


def score(life: Life, *verdicts: Said) -> Score:
    found = Score()
    found.add("by hand", life, verdicts)
    return found


NIGHT = (1, 2.0), (1, 2.1)


def test_all_told_and_all_right(life):
    found = score(
        life,
        said(life, "address:192.0.2.1", "likely-attack", *NIGHT, "brute-force"),
        said(life, "user:cid", "stale-client", (2, 0), (2, 16)),
        said(life, "server:mx", "backend-trouble", (1, 12), (1, 12)),
        said(life, "user:ben", "possible-compromise", *NIGHT),
    )
    for name in ("likely-attack", "stale-client", "backend-trouble", "possible-compromise"):
        assert (found.precision(name), found.recall(name)) == (1, 1)
    assert (found.kinds, found.timely, found.called, found.people) == ([1, 1], [4, 4], set(), 4)
    assert found.confusion["ordinary life", "nothing"] == 2  # Dan, and Ann, who is no more than a victim among others
    assert ["likely-attack", "1", "1", "1.000", "1", "1", "1.000"] in [line.split() for line in report(found).splitlines()]


def test_silence_and_abstention_are_not_told(life):
    nothing, abstained = score(life), score(life, said(life, "user:cid", "not-enough-data", (2, 0), (2, 16)))
    assert (nothing.recall("stale-client"), nothing.precision("stale-client")) == (0, None)
    assert (abstained.recall("stale-client"), abstained.precision("stale-client")) == (0, None)
    assert nothing.confusion["stale-client", "nothing"] == 1
    assert abstained.confusion["stale-client", "not-enough-data"] == 1


@pytest.mark.parametrize(
    ("subject", "right", "told"),
    [
        ("network:192.0.2.0/24", 1, 1),  # what is said of a network is said of its addresses
        ("user:ben", 1, 1),  # sixty of the hundred tries were on Ben
        ("user:ann", 1, 0),  # rightly said of Ann, but it is not the half
        ("address:192.0.2.2", 0, 0),  # nobody
        ("address:198.51.100.20", 0, 0),  # the office
        ("server:mx", 1, 1),  # in that night there was nothing else
    ],
)
def test_who_is_named(life, subject, right, told):
    found = score(life, said(life, subject, "likely-attack", *NIGHT))
    assert (found.given["likely-attack"], found.right["likely-attack"], found.told["likely-attack"]) == (1, right, told)
    assert found.called == set()


def test_a_part_of_the_addresses_is_a_part_of_the_story(life):
    first = said(life, "address:203.0.113.7", "stale-client", (2, 0), (2, 16))
    second = said(life, "address:203.0.113.8", "stale-client", (2, 0), (2, 16))
    assert score(life, first).told["stale-client"] == 0  # 30 of 80
    assert score(life, second).told["stale-client"] == 1  # 50 of 80
    assert score(life, first, second).right["stale-client"] == 2


def test_real_users_called_attackers(life):
    cid = score(life, said(life, "address:203.0.113.8", "likely-attack", (2, 0), (2, 16), "slow"))
    assert {person for _, person in cid.called} == {"cid"}
    assert (cid.precision("likely-attack"), cid.confusion["stale-client", "likely-attack"]) == (0, 1)
    dan = score(life, said(life, "user:dan", "likely-attack", (1, 8), (1, 10)))
    assert {person for _, person in dan.called} == {"dan"}
    # A network that reaches beyond the attacker's: right of him, and of Cid it is not.
    wide = score(life, said(life, "network:192.0.0.0/4", "likely-attack", (1, 2), (2, 16)))
    assert {person for _, person in wide.called} == {"ann", "ben", "cid", "dan"}


def test_an_address_that_a_stranger_shares_is_no_real_user(life):
    life.attempt(life.at(1, 2) + 50, "ann", "192.0.2.1", "imap", True, owner="ann")
    found = score(life, said(life, "address:192.0.2.1", "likely-attack", *NIGHT, "brute-force"))
    assert (found.called, found.shared, found.precision("likely-attack")) == (set(), 1, 1)


def test_a_server_is_no_way_to_name_everybody(life):
    week = (0, 0.0), (6, 23.0)
    assert score(life, said(life, "server:mx", "possible-compromise", *week)).precision("possible-compromise") == 0
    assert score(life, said(life, "network:0.0.0.0/0", "stale-client", *week)).precision("stale-client") == 0
    assert score(life, said(life, "server:mx", "backend-trouble", *week)).precision("backend-trouble") == 0


def test_a_server_under_attack_is_under_the_one_that_is_most_of_it(life):
    other = life.story("likely-attack", "address:192.0.2.9", "another", "brute-force")
    for n in range(30):
        life.attempt(life.at(1, 2) + n, "dan", "192.0.2.9", "submission", False, other)
    found = score(life, said(life, "server:mx", "likely-attack", *NIGHT))
    assert (found.right["likely-attack"], found.told["likely-attack"], found.due["likely-attack"]) == (1, 1, 2)


def test_when_it_began(life):
    late = score(life, said(life, "user:cid", "stale-client", (2, 3), (2, 16)))
    assert (late.told["stale-client"], late.timely) == (1, [0, 1])  # three hours of sixteen are more than a tenth
