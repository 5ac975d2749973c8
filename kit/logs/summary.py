"""Totals of a stream of attempts, in memory that does not grow with the log: for the terminal and for JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kit.logs import arrow
from kit.model import Outcome

MOST_PAIRS: Final = 1 << 17
"""Pairs of user and address that are remembered; of more, those with the fewest failures are let go."""

Ints = npt.NDArray[np.int64]
_LOW: Final = 0xFFFFFFFF
NEVER: Final = np.iinfo(np.int64).max


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


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Attempts by user and address, in columns: a pair of ids in one number, sums, microseconds since the epoch.

    Attributes:
        since: of the first that failed; NEVER where none did.
    """

    key: Ints
    failed: Ints
    good: Ints
    since: Ints
    last: Ints

    @property
    def columns(self) -> tuple[Ints, ...]:
        """All of them, in this order."""
        return self.key, self.failed, self.good, self.since, self.last

    def grouped(self) -> _Pairs:
        """Each pair once."""
        if not len(self.key):
            return self
        order = np.argsort(self.key, kind="stable")
        key, failed, good, since, last = (column[order] for column in self.columns)
        begins = np.flatnonzero(np.diff(key, prepend=key[0] - 1))
        return _Pairs(
            key[begins],
            np.add.reduceat(failed, begins),
            np.add.reduceat(good, begins),
            np.minimum.reduceat(since, begins),
            np.maximum.reduceat(last, begins),
        )

    def chosen(self, which: Ints) -> _Pairs:
        """Those of them."""
        return _Pairs(*(column[which] for column in self.columns))


class _Names:
    """Numbers for texts; 0 is what is not known."""

    def __init__(self) -> None:
        self.names = [""]
        self._ids: dict[str | None, int] = {None: 0, "": 0}

    def ids(self, column: pa.ChunkedArray) -> Ints:
        """The numbers of a dictionary column's texts."""
        return np.concatenate([np.array(self._of(words), np.int64)[codes] for codes, words in _codes(column)])

    def _of(self, words: list[str | None]) -> list[int]:
        found = []
        for word in words:
            number = self._ids.get(word)
            if number is None:
                number = self._ids[word] = len(self.names)
                self.names.append(str(word))
            found.append(number)
        return found

    def keep(self, ids: Ints) -> Ints:
        """Forgets all but these; returns their new numbers."""
        kept, place = np.unique(ids, return_inverse=True)
        names = self.names
        self.__init__()  # type: ignore[misc]
        return np.array(self._of([names[i] for i in kept.tolist()]), np.int64)[place]


class Summary:
    """Takes tables of `kit.logs.table.SCHEMA`, answers with totals; every total sums `count`."""

    def __init__(self) -> None:
        self._kinds: Counter[tuple[str, str, str]] = Counter()  # outcome, cause, service
        self._users, self._addresses = _Names(), _Names()
        self._pairs: list[_Pairs] = []
        self._first, self._last = np.iinfo(np.int64).max, np.iinfo(np.int64).min
        self.complete = True  # False once pairs were let go: users and addresses are then a selection

    def add(self, table: pa.Table) -> None:
        """One more table of attempts."""
        if not len(table):
            return
        count = np.concatenate([np.frombuffer(c.buffers()[1], np.int32, len(c), 4 * c.offset) for c in table["count"].chunks]).astype(
            np.int64
        )
        times = np.concatenate([arrow.micros(chunk) for chunk in table["time"].chunks])
        self._first, self._last = min(self._first, int(times.min())), max(self._last, int(times.max()))
        good = self._count_kinds(table, count)
        key = self._users.ids(table["user"]) << 32 | self._addresses.ids(table["client_ip"])
        self._pairs.append(_Pairs(key, count * ~good, count * good, np.where(good, NEVER, times), times).grouped())
        if sum(len(pairs.key) for pairs in self._pairs) > 2 * MOST_PAIRS:
            self._compact()

    def _count_kinds(self, table: pa.Table, count: Ints) -> npt.NDArray[np.bool_]:
        """Adds to the kinds; returns which attempts were good."""
        names = [_Names() for _ in range(3)]
        ids = [name.ids(table[column]) for name, column in zip(names, ("outcome", "cause", "service"), strict=True)]
        kinds, place = np.unique(ids[0] << 16 | ids[1] << 8 | ids[2], return_inverse=True)
        for kind, total in zip(kinds.tolist(), np.bincount(place, count).tolist(), strict=True):
            outcome, cause, service = (name.names[kind >> shift & 0xFF] for name, shift in zip(names, (16, 8, 0), strict=True))
            self._kinds[outcome, cause, service] += int(total)
        return ids[0] == names[0].names.index(Outcome.SUCCESS) if Outcome.SUCCESS in names[0].names else np.zeros(len(count), bool)

    def _compact(self) -> _Pairs:
        empty = np.empty(0, np.int64)
        pairs = _Pairs(
            *map(np.concatenate, zip(*(p.columns for p in self._pairs), strict=True) if self._pairs else [[empty]] * 5)
        ).grouped()
        if len(pairs.key) > MOST_PAIRS:
            self.complete = False
            most = np.argsort(-pairs.failed, kind="stable")[:MOST_PAIRS]
            users, addresses = self._users.keep(pairs.key[most] >> 32), self._addresses.keep(pairs.key[most] & _LOW)
            pairs = replace(pairs.chosen(most), key=users << 32 | addresses)
        self._pairs = [pairs]
        return pairs

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
            (good if outcome == Outcome.SUCCESS else failed)[service] += count
        order = sorted(failed | good, key=lambda name: (-failed[name], -good[name], name))
        return {name: (failed[name], good[name]) for name in order}

    @property
    def period(self) -> tuple[datetime, datetime] | None:
        """The first and the last attempt; None where there is none."""
        return (_time(self._first), _time(self._last)) if self._kinds else None

    def users(self, most: int) -> Ranking:
        """Those who failed, the most failures first."""
        pairs = self._compact()
        return _failing(pairs, pairs.key >> 32, pairs.key & _LOW, self._users.names, most)

    def addresses(self, most: int) -> Ranking:
        """Where failures came from, the most first."""
        pairs = self._compact()
        return _failing(pairs, pairs.key & _LOW, pairs.key >> 32, self._addresses.names, most)

    def _totals(self, place: int) -> Mapping[str, int]:
        totals: Counter[str] = Counter()
        for kind, count in self._kinds.items():
            totals[kind[place]] += count
        return dict(sorted(totals.items(), key=lambda item: (-item[1], item[0])))


def _failing(pairs: _Pairs, ids: Ints, others: Ints, names: list[str], most: int) -> Ranking:
    each = replace(pairs, key=ids).grouped()
    number = np.bincount(ids, others > 0, len(names)).astype(np.int64)
    failing = np.flatnonzero((each.key > 0) & (each.failed > 0))
    if len(failing) > most:  # all those with as many failures as the last that fits: the name decides among them
        least = np.partition(each.failed[failing], -most)[-most]
        top = failing[each.failed[failing] >= least]
    else:
        top = failing
    found = [
        Subject(name=names[i], failed=failed, good=good, others=int(number[i]), since=_time(since), last=_time(last))
        for i, failed, good, since, last in zip(*(column.tolist() for column in each.chosen(top).columns), strict=True)
    ]
    return Ranking(sorted(found, key=lambda subject: (-subject.failed, -subject.good, subject.name))[:most], len(failing))


def _codes(column: pa.ChunkedArray) -> Iterator[tuple[Ints, list[str | None]]]:
    """By chunk of a dictionary column: the place of each row's text in a list, which ends with None."""
    for chunk in column.chunks:
        rows = slice(chunk.indices.offset, chunk.indices.offset + len(chunk))
        known, data = chunk.indices.buffers()  # to_numpy would import pandas for the nulls
        codes: Ints = np.frombuffer(data, np.int32)[rows].astype(np.int64)
        if known is not None:
            codes[np.unpackbits(np.frombuffer(known, np.uint8), bitorder="little")[rows] == 0] = len(chunk.dictionary)
        yield codes, [*chunk.dictionary.to_pylist(), None]


def _time(micros: Any) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
