"""What a server has offered is remembered, and a shorter list is noticed."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from kit.auth.budget import take_attempt
from kit.auth.offers import recall_offer
from kit.errors import UnreadableInput
from kit.model import Profile, Security

MONDAY = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def see(tmp_path):
    def see(offered, after=timedelta(), *, host="mail.example.com", port=587, encrypted=True):
        profile = Profile(host=host, port=port, security=Security.STARTTLS)
        before = recall_offer(profile, tuple(offered.split()), encrypted=encrypted, now=MONDAY + after, path=tmp_path / "state/attempts")
        return before and (" ".join(before.mechanisms), before.last - MONDAY)

    return see


def test_scram_yesterday_and_plain_today(see):
    assert see("SCRAM-SHA-256 PLAIN") is None
    assert see("PLAIN LOGIN", DAY) == ("SCRAM-SHA-256 PLAIN", timedelta())


@pytest.mark.parametrize(
    ("before", "now", "weaker"),
    [
        ("SCRAM-SHA-256 SCRAM-SHA-1 PLAIN", "SCRAM-SHA-256 PLAIN", False),  # the best is still there
        ("SCRAM-SHA-256 PLAIN", "SCRAM-SHA-1 PLAIN", True),
        ("SCRAM-SHA-1 PLAIN", "PLAIN", True),
        ("SCRAM-SHA-1", "SCRAM-SHA-256", False),
        ("PLAIN LOGIN", "LOGIN", False),  # both send the password
        ("PLAIN CRAM-MD5", "PLAIN", False),  # it is outdated, and gone for good reason
        ("PLAIN XOAUTH2", "PLAIN", False),  # for another kind of secret
        ("PLAIN", "SCRAM-SHA-256 PLAIN", False),
        ("SCRAM-SHA-256 PLAIN", "XOAUTH2", True),
    ],
)
def test_what_is_weaker(see, before, now, weaker):
    see(before)
    assert (see(now, DAY) is not None) == weaker


def test_the_warning_stays_until_the_stronger_offer_is_back_or_forgotten(see):
    see("SCRAM-SHA-256 PLAIN")
    assert see("PLAIN", DAY) is not None
    assert see("PLAIN", 2 * DAY) is not None  # asking again does not make it normal
    assert see("SCRAM-SHA-256 PLAIN", 3 * DAY) is None
    assert see("PLAIN", 33 * DAY) == ("SCRAM-SHA-256 PLAIN", 3 * DAY)
    assert see("PLAIN", 34 * DAY) is None


def test_every_door_is_remembered_by_itself(see):
    see("SCRAM-SHA-256")
    assert see("PLAIN", DAY, port=465) is None
    assert see("PLAIN", DAY, host="mail.example.net") is None
    assert see("PLAIN", DAY, encrypted=False) is None
    assert see("PLAIN", DAY) is not None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_this_machine_is_not_remembered(see, host):
    see("SCRAM-SHA-256", host=host)
    assert see("PLAIN", DAY, host=host) is None


def test_no_auth_at_all_is_another_matter_and_forgets_nothing(see):
    see("SCRAM-SHA-256")
    assert see("", DAY) is None
    assert see("PLAIN", 2 * DAY) is not None


def test_it_is_bounded_whatever_servers_offer(see, tmp_path):
    for number in range(520):
        see(f"X{number} " * 500, timedelta(seconds=number), host=f"mail{number}.example.com")
    rows = sqlite3.connect(tmp_path / "state/attempts").execute("SELECT place, length(mechanisms) FROM offer ORDER BY time").fetchall()
    assert len(rows) == 500
    assert rows[0][0].startswith("mail20.")  # the oldest went
    assert max(length for _, length in rows) <= 500


def test_it_is_private_and_beside_the_budget(see, tmp_path):
    see("SCRAM-SHA-256")
    take_attempt("anna@mail.example.com", now=MONDAY, path=tmp_path / "state/attempts")
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state/attempts").stat().st_mode & 0o777 == 0o600
    assert see("PLAIN", DAY) is not None


def test_a_memory_that_cannot_be_read_is_said(tmp_path):
    (tmp_path / "attempts").write_text("no database, but longer than a header of one would be: " + "x" * 200)
    with pytest.raises(UnreadableInput):
        recall_offer(
            Profile(host="mail.example.com", port=587, security=Security.STARTTLS),
            ("PLAIN",),
            encrypted=True,
            now=MONDAY,
            path=tmp_path / "attempts",
        )
