"""What a device that signs in is likely to be: from its rhythm, its names, its services and its addresses.

Signals, weights and numbers are in kit/knowledge/basic.toml; here is how each signal is seen. Hours are UTC, so working hours are
looked for wherever in the day they lie.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kit.knowledge.load import load_table

Ints = npt.NDArray[np.int64]

SHORTEST: Final = 5.0
"""Seconds; sign-ins closer than that are one occasion: programs open several connections at once."""
GAPS: Final = 48
STEP: Final = 1.3
"""Each length of gap is so many times the one before: the last are two weeks and more."""
_USUAL: Final = (60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 604800)
"""Seconds that people choose for a poll."""
LONGEST: Final = 2000
"""Characters of a name that are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What is known of a device.

    Attributes:
        hours: sign-ins by kind of day (from Monday to Friday, at weekends) and hour.
        minutes: sign-ins by minute of the hour.
        gaps: waits between them by length.
        days: from the first to the last, at least 1.
        sends, reads: whether it was seen at a submission service, at a mailbox.
        mailboxes_logged: whether anybody reads a mailbox in these logs; else that it does not says nothing.
        networks: how many it comes from, /24 or /64.
        neighbours: how many users sign in from its address, itself included.
        senders: how many of them never read a mailbox from there.
    """

    user: str
    helos: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    hours: Ints = field(default_factory=lambda: np.zeros((2, 24), np.int64))
    minutes: Ints = field(default_factory=lambda: np.zeros(60, np.int64))
    gaps: Ints = field(default_factory=lambda: np.zeros(GAPS, np.int64))
    days: int = 1
    sends: bool
    reads: bool
    mailboxes_logged: bool
    networks: int = 0
    neighbours: int = 0
    senders: int = 0


@dataclass(frozen=True, slots=True)
class Likely:
    """A kind (`scanner`, `script`, `phone`, `mail-program`, `server`, `unknown`), and what speaks for it."""

    kind: str
    why: tuple[str, ...]


def likely(habits: Habits) -> Likely:
    """The kind whose signals weigh most, where they weigh enough and no other's weigh as much."""
    rules = load_table("basic")["likely"]
    totals: Counter[str] = Counter()
    seen: list[tuple[str, Mapping[str, int]]] = []
    for signal, why in signals(habits):
        seen.append((why, rules["signals"][signal]))
        totals.update(rules["signals"][signal])
    first, second = (*totals.most_common(2), ("unknown", 0), ("unknown", 0))[:2]
    if first[1] < rules["weight"] or first[1] == second[1]:
        return Likely("unknown", tuple(why for why, _ in seen))
    return Likely(first[0], tuple(why for why, weights in seen if first[0] in weights))


def signals(habits: Habits) -> Iterator[tuple[str, str]]:
    """Each signal of the table that is seen, with what was seen in plain words."""
    texts = {"helo": habits.helos, "user": (habits.user,), "service": habits.apps}
    for name in _names():
        if any(name.pattern.search(text[:LONGEST]) for text in texts[name.of]):
            yield name.signal, name.why
    for signal, look in _LOOKS.items():
        if why := look(habits, load_table("basic")["rhythm"]):
            yield signal, why


# ------------------------------------------------------------------------------------------------ signals


def _timetable(habits: Habits, numbers: Mapping[str, Any]) -> str | None:
    total, most = int(habits.minutes.sum()), int(numbers["minutes"])
    top = np.sort(habits.minutes)[::-1][:most]
    if total < numbers["fewest"] or habits.days < 3 or top.sum() < numbers["same_minutes"] * total:
        return None
    minutes = sorted(int(minute) for minute in np.argsort(-habits.minutes, kind="stable")[:most] if habits.minutes[minute])
    return f"at minute {' and '.join(map(str, minutes))} of the hour, {_share(top.sum(), total)}"


def _poll(habits: Habits, numbers: Mapping[str, Any]) -> str | None:
    total = int(habits.gaps.sum())
    pairs = habits.gaps[:-1] + habits.gaps[1:]  # a length may lie on the border of two
    place = int(pairs.argmax())
    if total < numbers["fewest"] or pairs[place] < numbers["same_gaps"] * total:
        return None
    begin = SHORTEST * STEP ** (place + int(habits.gaps[place + 1] > habits.gaps[place]))
    usual = next((seconds for seconds in _USUAL if begin <= seconds < begin * STEP), begin * STEP**0.5)
    return f"every {_length(usual)} or so, {_share(pairs[place], total)}"


def _round_the_clock(habits: Habits, numbers: Mapping[str, Any]) -> str | None:
    hours = habits.hours.sum(0)
    if hours.sum() < 3 * numbers["fewest"] or hours.reshape(3, 8).sum(1).min() < numbers["night"] * hours.sum():
        return None
    return "day and night"


def _office_hours(habits: Habits, numbers: Mapping[str, Any]) -> str | None:
    week, weekend = habits.hours
    total = int(week.sum() + weekend.sum())
    if total < numbers["fewest"] or habits.days < 5:
        return None
    busiest = int(np.convolve(np.concatenate([week, week]), np.ones(10, np.int64), "valid").max())
    if busiest < numbers["office"] * total or weekend.sum() > numbers["weekend"] * total:
        return None
    return f"in ten hours of working days, {_share(busiest, total)}"


def _reads_and_sends(habits: Habits, _: Mapping[str, Any]) -> str | None:
    return "reads a mailbox and sends" if habits.reads and habits.sends else None


def _only_reads(habits: Habits, _: Mapping[str, Any]) -> str | None:
    return "only reads a mailbox" if habits.reads and not habits.sends else None


def _only_sends(habits: Habits, _: Mapping[str, Any]) -> str | None:
    return "only sends" if habits.sends and not habits.reads and habits.mailboxes_logged else None


def _roams(habits: Habits, numbers: Mapping[str, Any]) -> str | None:
    return f"comes from {habits.networks} networks" if habits.networks >= numbers["roaming"] else None


def _one_address(habits: Habits, numbers: Mapping[str, Any]) -> str | None:
    steady = habits.networks == habits.neighbours == 1 and habits.hours.sum() >= numbers["fewest"] and habits.days >= 5
    return "one user at one address" if steady else None


def _many_users(habits: Habits, numbers: Mapping[str, Any]) -> str | None:
    # People behind one address read their mailboxes, too; a server that sends for many does not.
    many = habits.mailboxes_logged and not habits.reads and habits.senders >= numbers["users"]
    return f"{habits.senders} users at its address that only send" if many else None


_LOOKS: Final[Mapping[str, Callable[[Habits, Mapping[str, Any]], str | None]]] = {
    "timetable": _timetable,
    "poll": _poll,
    "round_the_clock": _round_the_clock,
    "office_hours": _office_hours,
    "reads_and_sends": _reads_and_sends,
    "only_reads": _only_reads,
    "only_sends": _only_sends,
    "roams": _roams,
    "one_address": _one_address,
    "many_users": _many_users,
}


@dataclass(frozen=True, slots=True)
class _Name:
    signal: str
    of: str
    pattern: re.Pattern[str]
    why: str


@cache
def _names() -> tuple[_Name, ...]:
    rows = load_table("basic")["name"]
    return tuple(_Name(row["signal"], row["of"], re.compile(row["pattern"], re.IGNORECASE | re.ASCII), row["why"]) for row in rows)


def _share(part: Any, whole: int) -> str:
    return f"{100 * int(part) // whole} % of the time"


def _length(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size:
            return unit[:-1] if round(seconds / size) == 1 else f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
