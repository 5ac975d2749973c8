"""Who signed in how, by user and address: what a stream of attempts comes to, in memory that does not grow with the log.

Of pairs of user and address those are kept that sign in most. Every total sums `count`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kit.knowledge.load import load_table
from kit.logs import arrow
from kit.logs.device import GAPS, SHORTEST, STEP
from kit.logs.pairs import LOW, Ints, Pairs
from kit.model import Cause, Outcome, Service

MOST_PAIRS: Final = 1 << 16
"""Pairs of user and address that are remembered; of more, those that never succeeded go first, then those that are seen least."""
MOST_TRAITS: Final = 8
"""Different ways in which a pair was seen that are remembered."""

METHODS: Final = ("password", "oauth", "other", "unknown")
PASSWORD, OAUTH, OTHER, UNKNOWN = range(len(METHODS))
FAILED, GOOD = 0, 1

_DAY: Final = 86_400_000_000
_ROWS: Final = 1 << 14  # new pairs need room before others are let go
_READING: Final = frozenset({Service.IMAP, Service.IMAPS, Service.POP3, Service.POP3S})
_SENDING: Final = frozenset({Service.SMTP, Service.SUBMISSION, Service.SUBMISSIONS})
# A server says these of accounts that it has: whoever fails so is no stranger who guesses names.
_KNOWN: Final = frozenset(
    {Cause.METHOD_DISABLED, Cause.APP_PASSWORD_NEEDED, Cause.ACCOUNT_BLOCKED, Cause.PASSWORD_EXPIRED, Cause.SECOND_FACTOR}
)
# Attempts by method, and failed or good. The rest is of those with a password alone. Times are microseconds: of the last that failed,
# the last that was good, the latest that was read. `traits` is a tuple, or 0.
_FIELDS: Final = [
    ("count", "i8", (len(METHODS), 2)),
    ("last", "i8", 2),
    ("before", "i8"),
    ("traits", "O"),
    ("hours", "i4", (2, 24)),
    ("minutes", "i4", 60),
    ("gaps", "i4", GAPS),
    ("known", "?"),
    ("reads", "?"),
    ("sends", "?"),
]


class Trait(NamedTuple):
    """One way in which a pair was seen; None is what the log does not tell."""

    server: str | None
    service: str | None
    service_raw: str | None
    mechanism: str | None
    helo: str | None


@cache
def method_of(server: str | None, service: str | None, service_raw: str | None, mechanism: str | None) -> int:
    """Whether an attempt was made with a PASSWORD, with OAUTH, by an OTHER way; UNKNOWN where the log does not tell."""
    table = load_table("basic")
    apps = table["client_apps"]
    if mechanism is not None:
        known, name = table["mechanisms"], mechanism.upper()
    elif server == apps["server"] and service_raw is not None:
        known, name = apps, service_raw.upper()
    else:
        unnamed = any(server == row["server"] and (not row["services"] or service in row["services"]) for row in table["unnamed"])
        return PASSWORD if unnamed else UNKNOWN
    return next((number for number, method in enumerate(METHODS) if _is_one_of(name, known.get(method, ()))), UNKNOWN)


def _is_one_of(name: str, known: Iterable[str]) -> bool:
    """Whether a name in capitals is among them; one that ends with a star stands for all that begin so."""
    return any(name.startswith(each[:-1].upper()) if each.endswith("*") else name == each.upper() for each in known)


class Usage:
    """Takes tables of `kit.logs.table.SCHEMA`.

    Attributes:
        pairs: with records of _FIELDS; `first` is the first try with a password.
        days: by day since the epoch, attempts by method, and failed or good.
        reading: whether anybody was seen at a mailbox.
    """

    def __init__(self) -> None:
        self.pairs = Pairs(_FIELDS, MOST_PAIRS, _worth)
        self.days: dict[int, Ints] = defaultdict(lambda: np.zeros((len(METHODS), 2), np.int64))
        self.reading = False

    def add(self, table: pa.Table) -> None:
        """One more table of attempts."""
        for batch in table.to_batches(max_chunksize=_ROWS):
            if len(batch):
                self._add(batch)
                self.pairs.trim()

    def _add(self, batch: pa.RecordBatch) -> None:
        times, count = arrow.micros(batch["time"]), arrow.integers(batch["count"])
        kinds, kind = arrow.combinations(batch, ("outcome", "cause", *Trait._fields))
        traits = [Trait(*each[2:]) for each in kinds]
        method = np.array([method_of(*trait[:4]) for trait in traits])[kind]
        good = np.array([int(outcome == Outcome.SUCCESS) for outcome, *_ in kinds])[kind]
        self.reading |= any(trait.service in _READING for trait in traits)
        days, day = np.unique(times // _DAY, return_inverse=True)
        totals = np.zeros((len(days), len(METHODS), 2), np.int64)
        np.add.at(totals, (day, method, good), count)
        for number, total in zip(days.tolist(), totals, strict=True):
            self.days[number] += total
        # Whoever is not named cannot be told to move; and a user's OAuth tells only that the user exists.
        keys = self.pairs.keys(batch)
        named = np.flatnonzero(keys >> 32)
        place = self.pairs.places(keys[named])
        np.add.at(self.pairs.records["count"], (place, method[named], good[named]), count[named])
        basic = method[named] == PASSWORD
        if not basic.any():
            return
        place, rows = place[basic], named[basic]
        self._count_habits(place, times[rows], good[rows], count[rows])
        records, kind = self.pairs.records, kind[rows]
        records["known"][place[np.array([cause in _KNOWN for _, cause, *_ in kinds])[kind]]] = True
        for field, services in (("reads", _READING), ("sends", _SENDING)):
            records[field][place[np.array([trait.service in services for trait in traits])[kind]]] = True
        noted, seen = records["traits"], np.unique(place << 32 | kind)
        for where, number in zip((seen >> 32).tolist(), (seen & LOW).tolist(), strict=True):
            before = noted[where] or ()
            if len(before) < MOST_TRAITS and traits[number] not in before:
                noted[where] = (*before, traits[number])

    def _count_habits(self, place: Ints, times: Ints, good: Ints, count: npt.NDArray[Any]) -> None:
        records = self.pairs.records
        np.minimum.at(records["first"], place, times)
        np.maximum.at(records["last"], (place, good), times)
        hours = times // 3_600_000_000
        weekend = ((hours // 24 + 3) % 7 >= 5).astype(np.int64)  # the epoch began on a Thursday
        np.add.at(records["hours"], (place, weekend, hours % 24), count)
        np.add.at(records["minutes"], (place, times // 60_000_000 % 60), count)
        order = np.lexsort((times, place))
        place, times = place[order], times[order]
        begins = np.flatnonzero(np.diff(place, prepend=-1))
        before = np.roll(times, 1)
        before[begins] = records["before"][place[begins]]
        records["before"][place[begins]] = times[np.append(begins[1:], len(place)) - 1]
        gaps = np.where(before > 0, times - before, 0) / 1e6
        long = gaps >= SHORTEST
        lengths = np.minimum(np.log(gaps[long] / SHORTEST) // np.log(STEP), GAPS - 1).astype(np.int64)
        np.add.at(records["gaps"], (place[long], lengths), 1)


def _worth(records: npt.NDArray[Any]) -> Ints:
    count = records["count"]
    worth: Ints = count.sum((1, 2)) + (count[:, :, GOOD].any(1) * np.int64(1 << 48))
    return worth
