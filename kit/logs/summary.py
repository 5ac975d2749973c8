"""Totals of a stream of attempts, in memory that does not grow with the log: for the terminal and for JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import pyarrow as pa

from kit.logs import arrow
from kit.logs.pairs import LOW, NEVER, Ints, Pairs
from kit.logs.selection import time_of
from kit.model import Outcome

MOST_PAIRS: Final = 1 << 18
"""Pairs of user and address that are remembered; of more, the half with the fewest failures is let go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A user or an address, and how its attempts ended.

    Attributes:
        failed: attempts that did not end in success.
        others: for a user, from how many addresses; for an address, how many users it tried.
        since: the first of those that did not end in success.
        last: of its attempts.
    """

    name: str
    failed: int
    good: int
    others: int
    since: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Ranking:
    """The first of those who failed, and how many there are in all."""

    top: list[Subject]
    total: int


class Summary:
    """Takes tables of `kit.logs.table.SCHEMA`, answers with totals; every total sums `count`."""

    def __init__(self) -> None:
        self._kinds: Counter[tuple[str | None, ...]] = Counter()  # outcome, cause, service
        self._pairs = Pairs([("last", "i8"), ("failed", "i8"), ("good", "i8")], MOST_PAIRS, lambda records: records["failed"])
        self._first, self._last = NEVER, 0

    @property
    def complete(self) -> bool:
        """False once pairs were let go: users and addresses are then a selection."""
        return self._pairs.complete

    def add(self, table: pa.Table) -> None:
        """One more table of attempts."""
        for batch in table.to_batches():
            if len(batch):
                self._add(batch)

    def _add(self, batch: pa.RecordBatch) -> None:
        times, count = arrow.micros(batch["time"]), arrow.integers(batch["count"])
        self._first, self._last = min(self._first, int(times.min())), max(self._last, int(times.max()))
        kinds, kind = arrow.combinations(batch, ("outcome", "cause", "service"))
        for each, total in zip(kinds, np.bincount(kind, count).tolist(), strict=True):
            self._kinds[each] += int(total)
        failed = np.array([outcome != Outcome.SUCCESS for outcome, *_ in kinds])[kind]
        place = self._pairs.places(self._pairs.keys(batch))
        records, number = self._pairs.records, len(self._pairs.records)
        records["failed"] += np.bincount(place, count * failed, number).astype(np.int64)
        records["good"] += np.bincount(place, count * ~failed, number).astype(np.int64)
        np.minimum.at(records["first"], place[failed], times[failed])
        np.maximum.at(records["last"], place, times)
        self._pairs.trim()

    @property
    def attempts(self) -> int:
        """How many there were."""
        return self._kinds.total()

    @property
    def outcomes(self) -> Mapping[str, int]:
        """How the attempts ended, the most frequent first."""
        return self._totals(0)

    @property
    def causes(self) -> Mapping[str, int]:
        """Why, the most frequent first; `none` for what succeeded."""
        return self._totals(1)

    @property
    def services(self) -> Mapping[str, tuple[int, int]]:
        """How many failed and how many were good, by service; an empty name where the log does not tell."""
        failed, good = Counter[str](), Counter[str]()
        for (outcome, _, service), count in self._kinds.items():
            (good if outcome == Outcome.SUCCESS else failed)[service or ""] += count
        order = sorted(failed | good, key=lambda name: (-failed[name], -good[name], name))
        return {name: (failed[name], good[name]) for name in order}

    @property
    def period(self) -> tuple[datetime, datetime] | None:
        """The first and the last attempt; None where there is none."""
        return (time_of(self._first), time_of(self._last)) if self._kinds else None

    def users(self, most: int) -> Ranking:
        """Those who failed, the most failures first."""
        key = self._pairs.records["key"]
        return self._failing(key >> 32, key & LOW, self._pairs.users, most)

    def addresses(self, most: int) -> Ranking:
        """Where failures came from, the most first."""
        key = self._pairs.records["key"]
        return self._failing(key & LOW, key >> 32, self._pairs.addresses, most)

    def _totals(self, place: int) -> Mapping[str, int]:
        totals: Counter[str] = Counter()
        for kind, count in self._kinds.items():
            totals[str(kind[place])] += count
        return dict(sorted(totals.items(), key=lambda item: (-item[1], item[0])))

    def _failing(self, ids: Ints, others: Ints, names: Sequence[str | None], most: int) -> Ranking:
        records = self._pairs.records
        failed, good, number = (np.bincount(ids, each, len(names)) for each in (records["failed"], records["good"], others > 0))
        since, last = np.full(len(names), NEVER), np.zeros(len(names), np.int64)
        np.minimum.at(since, ids, records["first"])
        np.maximum.at(last, ids, records["last"])
        failed[0] = 0  # nobody's name
        failing = np.flatnonzero(failed)
        # All those with as many failures as the last that fits: the name decides among them.
        least = np.partition(failed[failing], -most)[-most] if len(failing) > most else 1
        found = [
            Subject(
                name=str(names[i]),
                failed=int(failed[i]),
                good=int(good[i]),
                others=int(number[i]),
                since=time_of(since[i]),
                last=time_of(last[i]),
            )
            for i in np.flatnonzero(failed >= least).tolist()
        ]
        return Ranking(sorted(found, key=lambda subject: (-subject.failed, -subject.good, subject.name))[:most], len(failing))
