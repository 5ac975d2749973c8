"""How fast a test series may go: the limits of an account at its server, what is left of them, and the plan shown before the start.

A limit is a bucket of tokens, one for each recipient, in which a token comes back exactly one window after it was spent. So no window
of that length sees more than the limit, wherever it begins, and nothing waits longer than that takes. A bucket of the usual kind, which
holds the limit and is refilled evenly, lets nearly twice the limit through within the first window; one that holds less keeps the
limit too, but makes a series of ten wait for nothing.

A token is spent when a message goes out, and counts from the server's answer on: the server's own clock, which counted somewhere in
between, then sees the limit kept as well, however slow the way there. What was spent is kept beside the budget of sign-ins, in the
same file, so that two runs keep the limit together.
"""

from __future__ import annotations

import math
import re
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Final

from kit.auth.budget import account_of, open_book
from kit.errors import UsageError
from kit.knowledge.providers import find_provider_by_host
from kit.model import Profile, Reply

MOST_MESSAGES: Final = 100  # of a series, unless the user raises it: this is no bulk mailer
_DAY: Final = 86400.0  # seconds
_WINDOWS: Final = (("minute", 60.0), ("hour", 3600.0), ("day", _DAY))
_CAUTION: Final = 30  # a minute: the least that a large service names for an account (Microsoft 365)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most so many recipients within any window. A message to more than that goes when nothing else is in the window.

    Attributes:
        window: what it is called: `minute`.
        seconds: how long it is.
        source: where it was learned.
    """

    most: int
    window: str
    seconds: float
    source: str

    def free_at(self, spent: Sequence[tuple[float, int]], count: int) -> float:
        """The time from which on `count` more fit. `spent` has times and numbers, the oldest first."""
        room = max(0, self.most - count)
        for when, number in reversed(spent):
            room -= number
            if room < 0:
                return when + self.seconds
        return 0.0

    def __str__(self) -> str:
        return f"{self.most} in a {self.window} ({self.source})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a series comes to, before it starts. It goes over one connection, one message after the other.

    Attributes:
        recipients: of all messages together, as limits count them.
        seconds: what waiting for the limits takes; the server's answers come on top.
        binds: the limit that is waited for longest; None where none is.
        limits: all of them.
    """

    messages: int
    recipients: int
    seconds: float
    binds: Limit | None
    limits: tuple[Limit, ...]

    @property
    def text(self) -> str:
        """For the operator."""
        what = f"{_number(self.messages, 'message')} to {_number(self.recipients, 'recipient')}, one after the other over one connection"
        if self.binds:
            return f"{what}: at least {duration(self.seconds)}, as the limit is {self.binds}"
        return f"{what}, as fast as the server answers; within the limits of {' and '.join(map(str, self.limits))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """What the server itself says it takes (RFC 9422); None where it says nothing.

    Attributes:
        mails: MAIL commands in one connection, whatever becomes of them.
        recipients: RCPT commands for one message.
    """

    mails: int | None = None
    recipients: int | None = None


def parse_limits(ehlo: Reply) -> Offered:
    """The LIMITS in a reply to EHLO. What it does not know, and what is no number, it passes over, as RFC 9422 wants it."""
    words = next((line.upper().split()[1:] for line in ehlo.lines[1:] if line.upper().split()[:1] == ["LIMITS"]), [])
    numbers = {found[1]: int(found[2]) for word in words if (found := re.fullmatch(r"(MAILMAX|RCPTMAX)=([1-9][0-9]{0,5})", word))}
    return Offered(mails=numbers.get("MAILMAX"), recipients=numbers.get("RCPTMAX"))


def limits_of(profile: Profile) -> tuple[Limit, ...]:
    """What the service behind `profile` takes. Where it is unknown, or names no number a minute, the kit is careful of its own accord."""
    provider = find_provider_by_host(profile.host)
    known = provider.limits if provider else None
    source = (known.source + (", second-hand" if known.second_hand else "")) if known else ""
    numbers = (known.per_minute, known.per_hour, known.per_day) if known else (None, None, None)
    limits = [
        Limit(most=most, window=window, seconds=seconds, source=source)
        for (window, seconds), most in zip(_WINDOWS, numbers, strict=True)
        if most
    ]
    if numbers[0] is None:
        caution = "the kit's own caution: no number a minute is known of this server"
        limits.insert(0, Limit(most=_CAUTION, window="minute", seconds=60.0, source=caution))
    return tuple(limits)


class Pace:
    """The pace of one account.

    Args:
        account: whom the server counts; see `account_of`.
        limits: all of them are kept.
        clock: the time in seconds, the same for all processes.
        path: where it is counted, if not in the user's own folder.
    """

    def __init__(self, account: str, limits: Sequence[Limit], *, clock: Callable[[], float] = time.time, path: Path | None = None) -> None:
        self.limits = tuple(limits)
        self._account = account
        self._clock = clock
        self._path = path
        self._held_until = 0.0
        self._ticket: int | None = None

    @classmethod
    def of(cls, profile: Profile, *, path: Path | None = None) -> Pace:
        """That of the profile's account at its server."""
        return cls(account_of(profile), limits_of(profile), path=path)

    def take(self, count: int = 1) -> float:
        """Spend the tokens for a message to `count` recipients: 0, and it may go; else the seconds to wait, and nothing was spent.

        Raises:
            UnreadableInput: the count cannot be kept, so nothing may go.
        """
        with open_book(self._path) as book:
            now = self._clock()
            free, _ = self._next(self._spent(book, now), count)
            if free > now:
                return free - now
            self._ticket = book.execute("INSERT INTO sent VALUES (?, ?, ?)", (self._account, now, count)).lastrowid
            return 0.0

    def settle(self) -> None:
        """The server has answered: what was taken last counts from now on."""
        with open_book(self._path) as book:
            book.execute("UPDATE sent SET time = ? WHERE rowid = ?", (self._clock(), self._ticket))

    def back_off(self, seconds: float) -> None:
        """The server asked for a pause: nothing goes for so long."""
        self._held_until = max(self._held_until, self._clock() + seconds)

    def plan(self, counts: Sequence[int], *, most: int = MOST_MESSAGES) -> Plan:
        """What a series comes to whose messages have so many recipients each, after what went out before.

        Raises:
            UsageError: it is empty, or longer than `most`.
            UnreadableInput: the count cannot be read.
        """
        if not 1 <= len(counts) <= most:
            raise UsageError(
                f"a series of {len(counts)} messages: the kit sends 1 to {most}",
                where="series",
                next_step="Make it shorter: it is for tests, and mail for many people is the business of a mailing service",
            )
        at = began = self._clock()
        with open_book(self._path) as book:
            spent = self._spent(book, began)
        binds, longest = None, 0.0
        for count in counts:
            free, limit = self._next(spent, count)
            if free - at > longest:
                binds, longest = limit, free - at
            at = max(at, free)
            spent.append((at, count))
        return Plan(messages=len(counts), recipients=sum(counts), seconds=at - began, binds=binds, limits=self.limits)

    def _next(self, spent: Sequence[tuple[float, int]], count: int) -> tuple[float, Limit | None]:
        """When the next may go, and the limit that says so."""
        times = [(limit.free_at(spent, count), limit) for limit in self.limits]
        return max([(self._held_until, None), *times], key=itemgetter(0))

    def _spent(self, book: sqlite3.Connection, now: float) -> list[tuple[float, int]]:
        """What went out within a day, the oldest first. What lies in the future was written by a clock that has been put right since."""
        book.execute("CREATE TABLE IF NOT EXISTS sent (account TEXT NOT NULL, time REAL NOT NULL, number INTEGER NOT NULL)")
        book.execute("DELETE FROM sent WHERE time <= ?", (now - _DAY,))
        book.execute("UPDATE sent SET time = ? WHERE time > ?", (now, now))
        return book.execute("SELECT time, number FROM sent WHERE account = ? ORDER BY time", (self._account,)).fetchall()


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def duration(seconds: float) -> str:
    """Rounded up: `45 s`, `4 min`, `3 h`."""
    length, unit = (1, "s") if seconds <= 90 else (60, "min") if seconds <= 5400 else (3600, "h")
    return f"{math.ceil(seconds / length - 0.001)} {unit}"
