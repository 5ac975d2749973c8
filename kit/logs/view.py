"""A log's attempts, ready to be looked at from any side: filter, then count over time, by cause, user, address, hour.

Rows are ordered by kind (outcome, cause, service, …) and time, so that a filter is a slice of each kind, and a chart over time a few
binary searches. What has many values (users, addresses) is counted from its codes, and the rows of one value are listed in an index.
Ten million attempts take some tens of milliseconds, whatever is asked; every total sums `count`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from ipaddress import ip_address, ip_network
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kit.logs import arrow
from kit.logs.selection import CHUNK, HOUR, Codes, Ints, Rows, Selection, micros_of, time_of
from kit.model import Outcome

MOST_KINDS: Final = 4096
# Columns of few values; the first three always make the kinds, the others as long as there are no more than MOST_KINDS.
_KINDS: Final = ("outcome", "cause", "service", "mechanism", "server", "host")
_ALWAYS: Final = 3
_MANY: Final = ("user", "client_ip")


def domain_of(user: str) -> str | None:
    """What stands behind the last `@` of a user's name."""
    return user.rpartition("@")[2].lower() or None if "@" in user else None


def network_of(address: str) -> str | None:
    """The /24 or /64 of an address."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return str(ip_network((found, 24 if found.version == 4 else 64), strict=False))


Derived = Mapping[str, tuple[str, Callable[[str], str | None]]]

DERIVED: Final[Derived] = {
    "domain": ("user", domain_of),
    "network": ("client_ip", network_of),
}
"""Columns that follow from another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which attempts are looked at.

    Attributes:
        since: those at or after this time.
        until: those before this time.
        only: by column, the values that it may have; a column that is not there is no matter.
    """

    since: datetime | None = None
    until: datetime | None = None
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def narrowed(self, column: str, *values: str) -> Filter:
        """The same with other values for a column; without values, with any."""
        only = {name: wanted for name, wanted in self.only.items() if name != column}
        return replace(self, only=only | ({column: values} if values else {}))


class _Words:
    """A column of few different values: of each row its place among the names, and one place more for None."""

    def __init__(self, codes: Codes, names: Sequence[str]) -> None:
        self.codes = codes
        self.names = list(names)

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> _Words:
        """From a dictionary column."""
        whole = column.unify_dictionaries().combine_chunks()
        whole = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
        return cls(arrow.codes(whole), whole.dictionary.to_pylist())

    def __len__(self) -> int:
        return len(self.names) + 1

    def wanted(self, values: Sequence[str]) -> npt.NDArray[np.bool_]:
        """By place, whether it is one of the values."""
        return np.array([name in values for name in self.names] + [False], bool)

    @cached_property
    def rows(self) -> tuple[Codes, Ints]:
        """The rows by value, and where those of each begin."""
        starts = np.zeros(len(self) + 1, np.int64)
        np.cumsum(_counted(self.codes, len(self)), out=starts[1:])
        return _order(self.codes), starts


class View:
    """Attempts in columns that can be counted at once.

    Args:
        table: of `kit.logs.table.SCHEMA`.
        more: columns that follow from another, beside DERIVED: by name, that other and the function.

    Attributes:
        size: rows.
        rows: of each row here its place in the table.
        times: of the rows, microseconds since the epoch.
        words: columns, by name.
        kinds: by column, the place of each kind's value among the column's words.
        good: of each kind, whether it is a success.
        several: rows that stand for several attempts, and for how many beside the one.
    """

    def __init__(self, table: pa.Table, more: Derived | None = None) -> None:
        self.derived = {**DERIVED, **(more or {})}
        self.size = len(table)
        self._table = table
        micros = np.concatenate([np.empty(0, np.int64), *(arrow.micros(chunk) for chunk in table["time"].chunks)])
        by_time = np.argsort(micros, kind="stable").astype(np.int32)
        words = {name: _Words.of(table[name]) for name in (*_KINDS, *_MANY)}
        kind, self.kinds = _kinds({name: words[name] for name in _KINDS}, self.size)
        by_kind = by_time[_order(kind[by_time])]
        self.rows = by_kind
        self.times = micros[by_kind]
        self._kind = kind[by_kind]
        self.words = {name: _Words(column.codes[by_kind], column.names) for name, column in words.items()}
        self.good = self.words["outcome"].wanted((Outcome.SUCCESS.value,))[self.kinds["outcome"]]
        self._bounds = np.searchsorted(self._kind, np.arange(len(self.kinds["outcome"]) + 1))
        counts = np.concatenate([np.empty(0, np.int32), *(arrow.integers(chunk) for chunk in table["count"].chunks)])[by_kind]
        many = np.flatnonzero(counts != 1)
        self._named: dict[str, tuple[_Words, dict[str, list[int]]]] = {}
        self.several = many, (counts[many] - 1).astype(np.int64)

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """The first and the last attempt; None where there is none."""
        return self.select(Filter()).span

    def values(self, column: str) -> list[str]:
        """What a column has, the commonest first."""
        return [name for name in self.select(Filter()).by(column) if name is not None]

    def select(self, wanted: Filter) -> Selection:
        """The attempts that fit."""
        kinds = np.ones(len(self.good), bool)
        few: Rows | None = None
        for column, values in wanted.only.items():
            if column in self.kinds:
                kinds &= self.words[column].wanted(values)[self.kinds[column]]
            else:
                rows = self.rows_of(column, values)
                few = rows if few is None else np.intersect1d(few, rows, assume_unique=True)
        begins, ends = self._bounds[:-1], self._bounds[1:]
        if wanted.since is not None:
            begins = self._before(micros_of(wanted.since))
        if wanted.until is not None:
            ends = self._before(micros_of(wanted.until))
        kinds &= ends > begins
        return Selection(self, np.where(kinds, begins, 0), np.where(kinds, ends, 0), few)

    def _before(self, time: int) -> Ints:
        """Of each kind, the first row that is not before a time."""
        return np.array(
            [a + self.times[a:b].searchsorted(time) for a, b in zip(self._bounds[:-1], self._bounds[1:], strict=True)], np.int64
        )

    def rows_of(self, column: str, values: Sequence[str]) -> Codes:
        """The rows with one of the values, rising."""
        base, names = self.named(column)
        order, starts = base.rows
        found = [order[starts[i] : starts[i + 1]] for value in values for i in names.get(value, ())]
        rows = np.concatenate([np.empty(0, np.int32), *found])
        return rows if len(found) == 1 else np.sort(rows)

    def named(self, column: str) -> tuple[_Words, dict[str, list[int]]]:
        """The words of a column, or of that which it follows from, and which of them each of its values stands for."""
        if column not in self._named:
            base, function = self.derived.get(column, (column, None))
            names: dict[str, list[int]] = {}
            for i, word in enumerate(self.words[base].names):
                if (name := function(word) if function else word) is not None:
                    names.setdefault(name, []).append(i)
            self._named[column] = self.words[base], names
        return self._named[column]

    @cached_property
    def hours(self) -> tuple[datetime, Ints]:
        """The first full hour, and by kind and hour from then on the first row that is not before it."""
        first = time_of(self.times.min()).replace(minute=0, second=0, microsecond=0)
        edges = np.arange(micros_of(first), int(self.times.max()) + HOUR + 1, HOUR)
        return first, np.stack([a + self.times[a:b].searchsorted(edges) for a, b in zip(self._bounds[:-1], self._bounds[1:], strict=True)])


def _kinds(words: Mapping[str, _Words], size: int) -> tuple[Codes, dict[str, Ints]]:
    """The kind of each row, and by column the value of each kind."""
    kind, kinds = np.zeros(size, np.int64), dict[str, Ints]()
    for number, (name, column) in enumerate(words.items()):
        both = kind * len(column) + column.codes
        most = len(column) * (max(map(len, kinds.values()), default=1))
        used = np.flatnonzero(_counted(both, most))
        if number >= _ALWAYS and len(used) > MOST_KINDS:
            continue
        old, value = np.divmod(used, len(column))
        kinds = {each: places[old] for each, places in kinds.items()} | {name: value}
        place = np.zeros(most, np.int64)
        place[used] = np.arange(len(used))
        kind = place[both]
    return kind.astype(np.int32), kinds


def _counted(codes: npt.NDArray[Any], most: int) -> Ints:
    """How often each code occurs."""
    counts = np.zeros(most, np.int64)
    for begin in range(0, len(codes), CHUNK):
        counts += np.bincount(codes[begin : begin + CHUNK], minlength=most)
    return counts


def _order(codes: Codes) -> Codes:
    """What sorts codes, equal ones in the order they have: by halves, for numbers of 16 bits are sorted without being compared."""
    low = np.argsort((codes & 0xFFFF).astype(np.uint16), kind="stable")
    if len(codes) and codes.max() > 0xFFFF:
        low = low[np.argsort((codes[low] >> 16).astype(np.uint16), kind="stable")]
    return low.astype(np.int32)
