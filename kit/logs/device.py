"""A device that signs in with a password, and what it is likely to be: from its rhythm, its names, its services and its addresses.

Signals, weights and numbers are in kit/knowledge/basic.toml; here is how each signal is seen. Hours are UTC, so working hours are
looked for wherever in the day they lie.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kit.knowledge.load import load_table
from kit.knowledge.ways_out import fitting

Ints = npt.NDArray[np.int64]

SHORTEST: Final = 5.0
"""Seconds; sign-ins closer than that are one occasion: programs open several connections at once."""
MOST_ADDRESSES: Final = 5
GAPS: Final = 48
STEP: Final = 1.3
"""Each length of gap is so many times the one before: the last are two weeks and more."""
LONGEST: Final = 2000
"""Characters of a name that are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A user, and what signs in with the user's password. Times are UTC.

    Attributes:
        addresses: where it comes from, the most used first, no more than MOST_ADDRESSES of them.
        networks: how many networks these and the others are in, /24 or /64.
        helos: what it calls itself, where that is logged.
        apps: Entra's name of its client app.
        tls: versions that it used, where a report says so.
        first, last: of its sign-ins with a password, good or not; None where a report has no times.
        good, failed: sign-ins with a password; messages where it is from a report.
        per_day: of both, from the first to the last.
        working: whether the last one was good.
        kind, why: what it is likely to be, and what speaks for it.
        exchange_online: whether it signs in there, where a date is set.
        move_to: names of ways out that fit.
    """

    user: str
    addresses: tuple[str, ...] = ()
    networks: int = 0
    helos: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    mechanisms: tuple[str, ...] = ()
    tls: tuple[str, ...] = ()
    first: datetime | None = None
    last: datetime | None = None
    good: int
    failed: int = 0
    per_day: float | None = None
    working: bool = True
    kind: str = "unknown"
    why: tuple[str, ...] = ()
    exchange_online: bool
    move_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What else is known of a device.

    Attributes:
        hours: sign-ins by kind of day (from Monday to Friday, at weekends) and hour.
        minutes: sign-ins by minute of the hour.
        gaps: waits between them by length.
        days: from the first to the last, at least 1.
        sends, reads: whether it was seen at a submission service, at a mailbox.
        mailboxes_logged: whether anybody reads a mailbox in these logs; else that it does not says nothing.
        neighbours: how many users sign in from its address, itself included.
        senders: how many of them never read a mailbox from there.
    """

    hours: Ints = field(default_factory=lambda: np.zeros((2, 24), np.int64))
    minutes: Ints = field(default_factory=lambda: np.zeros(60, np.int64))
    gaps: Ints = field(default_factory=lambda: np.zeros(GAPS, np.int64))
    days: int = 1
    sends: bool = False
    reads: bool = False
    mailboxes_logged: bool = False
    neighbours: int = 0
    senders: int = 0


def judged(device: Device, habits: Habits) -> Device:
    """The same with what it is likely to be, and where it can move to."""
    kind, why = _likely(device, habits)
    # What reads a mailbox gains nothing from a way that only sends.
    suits = "mail-program" if kind == "unknown" and habits.reads else kind
    ways = fitting(suits, exchange_online=device.exchange_online)
    return replace(device, kind=kind, why=why, move_to=tuple(way.name for way in ways))


def _likely(device: Device, habits: Habits) -> tuple[str, tuple[str, ...]]:
    """The kind whose signals weigh most, `unknown` where they weigh too little or another's weigh as much; and what speaks for it."""
    rules = load_table("basic")["likely"]
    totals: Counter[str] = Counter()
    seen = [(why, rules["signals"][signal]) for signal, why in signals(device, habits)]
    for _, weights in seen:
        totals.update(weights)
    (kind, first), (_, second) = (*totals.most_common(2), ("unknown", 0), ("unknown", 0))[:2]
    if first < rules["weight"] or first == second:
        return "unknown", tuple(why for why, _ in seen)
    return kind, tuple(why for why, weights in seen if kind in weights)


def signals(device: Device, habits: Habits) -> Iterator[tuple[str, str]]:
    """Each signal of the table that is seen, with what was seen in plain words."""
    numbers = load_table("basic")["rhythm"]
    yield from _names_seen(device)
    if habits.hours.sum() >= numbers["fewest"]:
        yield from _rhythm_seen(habits, numbers)
    if habits.reads:
        yield ("reads_and_sends", "reads a mailbox and sends") if habits.sends else ("only_reads", "only reads a mailbox")
    elif habits.sends and habits.mailboxes_logged:
        yield "only_sends", "only sends"
    if device.networks >= numbers["roaming"]:
        yield "roams", f"comes from {device.networks} networks"
    if device.networks == habits.neighbours == 1 and habits.hours.sum() >= numbers["fewest"] and habits.days >= 5:
        yield "one_address", "one user at one address"
    # People behind one address read their mailboxes, too; a server that sends for many does not.
    if habits.mailboxes_logged and not habits.reads and habits.senders >= numbers["users"]:
        yield "many_users", f"{habits.senders} users at its address that only send"


def _names_seen(device: Device) -> Iterator[tuple[str, str]]:
    texts = {"helo": device.helos, "user": (device.user,), "service": device.apps}
    for row, pattern in _patterns():
        if any(pattern.search(text[:LONGEST]) for text in texts[row["of"]]):
            yield row["signal"], row["why"]


@cache
def _patterns() -> list[tuple[Mapping[str, str], re.Pattern[str]]]:
    return [(row, re.compile(row["pattern"], re.IGNORECASE | re.ASCII)) for row in load_table("basic")["name"]]


def _rhythm_seen(habits: Habits, numbers: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    total, waits = int(habits.hours.sum()), int(habits.gaps.sum())
    busiest = np.argsort(-habits.minutes, kind="stable")[: numbers["minutes"]]
    at_them = habits.minutes[busiest].sum()
    if habits.days >= 3 and at_them >= numbers["same_minutes"] * total:
        minutes = sorted(minute for minute in busiest.tolist() if habits.minutes[minute])
        yield "timetable", f"at minute {' and '.join(map(str, minutes))} of the hour, {_share(at_them, total)}"

    pairs = habits.gaps[:-1] + habits.gaps[1:]  # a length may lie on the border of two
    place = int(pairs.argmax())
    if waits >= numbers["fewest"] and pairs[place] >= numbers["same_gaps"] * waits:
        begin = SHORTEST * STEP ** (place + int(habits.gaps[place + 1] > habits.gaps[place]))
        usual = next((seconds for seconds in numbers["usual"] if begin <= seconds < begin * STEP), begin * STEP**0.5)
        yield "poll", f"every {_length(usual)} or so, {_share(pairs[place], waits)}"

    thirds = habits.hours.sum(0).reshape(3, 8).sum(1)
    if total >= 3 * numbers["fewest"] and thirds.min() >= numbers["night"] * total:
        yield "round_the_clock", "day and night"

    week, weekend = habits.hours
    work = np.convolve(np.concatenate([week, week]), np.ones(10, np.int64), "valid").max()
    if habits.days >= 5 and work >= numbers["office"] * total and weekend.sum() <= numbers["weekend"] * total:
        yield "office_hours", f"in ten hours of working days, {_share(work, total)}"


def _share(part: Any, whole: int) -> str:
    return f"{100 * int(part) // whole} % of the time"


def _length(seconds: float) -> str:
    size, unit = next(each for each in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")) if seconds >= each[0])
    number = round(seconds / size)
    return unit if number == 1 else f"{number} {unit}s"
