"""Two failed sign-ins per account and hour, counted across processes."""

from __future__ import annotations

import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from kit.auth.budget import account_of, budget_path, check_budget, give_back, take_attempt
from kit.errors import BudgetSpent, UnreadableInput, UsageError
from kit.model import Profile, Security

NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def book(tmp_path):
    return tmp_path / "state" / "attempts.sqlite"


def test_the_third_is_refused_and_hears_when_the_next_is_free(book):
    take_attempt("anna@mail.example.com", now=NOON, path=book)
    take_attempt("anna@mail.example.com", now=NOON + 10 * MINUTE, path=book)
    for ask in (take_attempt, check_budget):
        with pytest.raises(BudgetSpent) as fault:
            ask("anna@mail.example.com", now=NOON + 15 * MINUTE, path=book)
        # The first one was at 12:00, an hour later it no longer counts; that is 45 minutes from 12:15.
        assert "13:00 UTC, in 45 min" in fault.value.next_step
        assert fault.value.where == "anna@mail.example.com"


def test_after_an_hour_it_is_free_again(book):
    for minutes in (0, 10):
        take_attempt("anna", now=NOON + minutes * MINUTE, path=book)
    take_attempt("anna", now=NOON + 60 * MINUTE, path=book)
    with pytest.raises(BudgetSpent, match="13:10 UTC"):
        take_attempt("anna", now=NOON + 61 * MINUTE, path=book)


def test_accounts_do_not_share(book):
    for account in ("anna", "ben"):
        take_attempt(account, now=NOON, limit=1, path=book)
        with pytest.raises(BudgetSpent):
            take_attempt(account, now=NOON, limit=1, path=book)


def test_looking_takes_nothing(book):
    for _ in range(5):
        check_budget("anna", now=NOON, limit=1, path=book)
    take_attempt("anna", now=NOON, limit=1, path=book)


def test_what_succeeded_is_given_back_and_nothing_else_is(book):
    take_attempt("anna", now=NOON, path=book)
    for _ in range(5):
        give_back(take_attempt("anna", now=NOON, path=book), path=book)
    take_attempt("anna", now=NOON, path=book)
    with pytest.raises(BudgetSpent):
        take_attempt("anna", now=NOON, path=book)


def test_the_user_may_raise_it_and_not_to_nothing(book):
    for _ in range(4):
        take_attempt("anna", now=NOON, limit=4, path=book)
    with pytest.raises(BudgetSpent):
        take_attempt("anna", now=NOON, limit=4, path=book)
    with pytest.raises(UsageError):
        take_attempt("anna", now=NOON, limit=0, path=book)


def test_a_clock_that_was_wrong_does_not_lock_for_ever(book):
    for _ in range(2):
        take_attempt("anna", now=NOON + timedelta(days=400), path=book)
    take_attempt("anna", now=NOON, path=book)


def test_processes_that_start_at_once_share_it(book):
    code = (
        "import sys; from datetime import datetime, UTC; from pathlib import Path\n"
        "from kit.auth.budget import take_attempt; from kit.errors import BudgetSpent\n"
        "try: take_attempt('anna', now=datetime(2026, 11, 2, 12, tzinfo=UTC), path=Path(sys.argv[1]))\n"
        "except BudgetSpent: sys.exit(3)\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, str(book)]) for _ in range(6)]
    assert sorted(run.wait() for run in runs) == [0, 0, 3, 3, 3, 3]


def test_a_file_that_is_none_of_ours_stops_the_attempt(book):
    book.parent.mkdir()
    book.write_text("this is no database, and it is long enough to be looked at " * 20)
    with pytest.raises(UnreadableInput) as fault:
        take_attempt("anna", now=NOON, path=book)
    assert fault.value.where == str(book)
    assert "KIT_STATE_DIR" in fault.value.next_step


@pytest.mark.needs("linux")
def test_only_its_owner_reads_it(book):
    take_attempt("anna", now=NOON, path=book)
    assert stat.S_IMODE(book.stat().st_mode) == 0o600


def test_the_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("KIT_STATE_DIR", str(tmp_path))
    assert budget_path().parent == tmp_path


def test_an_account_is_the_same_on_every_port_but_of_loopback():
    def account(host, port):
        return account_of(Profile(host=host, port=port, security=Security.TLS, user="anna"))

    assert account("mail.example.com", 465) == account("mail.example.com", 587)
    assert account("mail.example.com", 465) != account("mail.example.net", 465)
    for host in ("127.0.0.1", "::1", "localhost", "127.8.9.1"):
        assert account(host, 2525) != account(host, 2526)
