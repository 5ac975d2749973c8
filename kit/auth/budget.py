"""The budget of sign-in attempts: at most so many that fail for one account within an hour, so that the kit locks nobody out.

It is kept in a small SQLite file, because that is atomic, locked between processes and safe against a crash on every
system. It outlives the process: starting the kit again does not refill it. A sign-in that succeeded harms nobody and
gives its place back.
"""

from __future__ import annotations

import ipaddress
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from kit.errors import BudgetSpent, UnreadableInput, UsageError
from kit.model import Profile

ATTEMPTS_AN_HOUR: Final = 2
_HOUR: Final = 3600.0  # seconds


def account_of(profile: Profile) -> str:
    """Whom a server would lock: the user, or the owner of the certificate, at the host, on whichever port.

    On loopback the port belongs to it: there each port is another server, as sandboxes are.
    """
    return f"{profile.user or profile.cert_file}@{profile.host}" + (f":{profile.port}" if is_local(profile.host) else "")


def is_local(host: str) -> bool:
    """Is that this machine itself?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def budget_path() -> Path:
    """Where the count is kept: in KIT_STATE_DIR where it is set, else where this system keeps such files."""
    folder = os.environ.get("KIT_STATE_DIR")
    if not folder:
        from platformdirs import user_state_dir  # noqa: PLC0415 - only those who look for the file pay for it

        folder = user_state_dir("smtp-auth-kit", appauthor=False)
    return Path(folder) / "attempts.sqlite"


def check_budget(account: str, *, now: datetime, limit: int = ATTEMPTS_AN_HOUR, path: Path | None = None) -> None:
    """Is an attempt left? Takes none.

    Raises:
        BudgetSpent: none is left; says when the next one is free.
        UnreadableInput: the count cannot be read or written.
    """
    with open_book(path) as book:
        _look(book, account, now, limit)


def take_attempt(account: str, *, now: datetime, limit: int = ATTEMPTS_AN_HOUR, path: Path | None = None) -> int:
    """Take one attempt, right before AUTH goes out. The number handed back is for `give_back`.

    Raises:
        BudgetSpent: none is left; says when the next one is free.
        UnreadableInput: the count cannot be read or written, so nothing may be tried.
    """
    with open_book(path) as book:
        _look(book, account, now, limit)
        ticket = book.execute("INSERT INTO attempt (account, time) VALUES (?, ?)", (account, now.timestamp())).lastrowid
        return int(ticket or 0)


def give_back(ticket: int, *, path: Path | None = None) -> None:
    """The attempt succeeded: it does not count."""
    with open_book(path) as book:
        book.execute("DELETE FROM attempt WHERE rowid = ?", (ticket,))


def _look(book: sqlite3.Connection, account: str, now: datetime, limit: int) -> None:
    if limit < 1:
        raise UsageError("the number of sign-in attempts begins at 1", where="attempts", next_step="Without a password none is made")
    # What lies in the future was written by a clock that has been put right since.
    book.execute("DELETE FROM attempt WHERE time <= ? OR time > ?", (now.timestamp() - _HOUR, now.timestamp()))
    times = [time for (time,) in book.execute("SELECT time FROM attempt WHERE account = ? ORDER BY time", (account,))]
    if len(times) < limit:
        return
    free = datetime.fromtimestamp(times[-limit] + _HOUR, UTC)
    minutes = max(1, -(-(free - now) // timedelta(minutes=1)))
    raise BudgetSpent(
        f"no sign-in is left: {len(times)} failed or unfinished within the hour, and more could lock the account",
        where=account,
        next_step=f"The next is free at {free:%H:%M} UTC, in {minutes} min. Until then check without a password, or allow more: --attempts {limit + 1}",
    )


@contextmanager
def open_book(path: Path | None) -> Iterator[sqlite3.Connection]:
    """The tables, within one transaction that shuts other processes out."""
    path = path or budget_path()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as book:
            book.execute("BEGIN IMMEDIATE")
            book.execute("CREATE TABLE IF NOT EXISTS attempt (account TEXT NOT NULL, time REAL NOT NULL)")
            book.execute("CREATE TABLE IF NOT EXISTS offer (place TEXT PRIMARY KEY, mechanisms TEXT NOT NULL, time REAL NOT NULL)")
            yield book
            book.execute("COMMIT")
    except (OSError, sqlite3.Error) as fault:
        raise UnreadableInput(
            f"the count of sign-in attempts cannot be kept ({fault}), and without it none is made",
            where=str(path),
            next_step="Make the file writable for you or move it away; KIT_STATE_DIR names another folder",
        ) from fault
