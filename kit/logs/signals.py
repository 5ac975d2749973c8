"""What can be counted of tries that belong together: by user, address or network, and by episode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from kit.errors import UsageError
from kit.knowledge.load import load_table
from kit.logs.ledger import MINUTE, Entries, Ints, Mask

HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
NEVER: Final = np.iinfo(np.int64).max
_FEW: Final = 5  # pauses, of which less say nothing of a rhythm
_NEAR: Final = 0.25  # of the usual pause, by which another may differ from it


class Line(NamedTuple):
    """Where a line stands: its file, its number from 1, its offset in the decompressed bytes."""

    file: str | None
    line: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Something that was counted, and speaks for a verdict.

    Attributes:
        value: the count, or a share from 0 to 1.
        threshold: from which on it counts; where the words say "at most", up to which.
        words: what was counted.
        lines: some of the lines behind it.
    """

    name: str
    value: float
    threshold: float
    words: str
    lines: tuple[Line, ...] = ()


@cache
def _signals() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = load_table("verdicts")["signals"]
    return found


def thresholds(changed: Mapping[str, float] | None = None) -> dict[str, float]:
    """The threshold of each signal by its name, those in `changed` as they are there.

    Raises:
        UsageError: there is no such signal.
    """
    known = {name: float(signal["threshold"]) for name, signal in _signals().items()}
    for name in changed or ():
        if name not in known:
            raise UsageError(f"there is no signal {name!r}", where="settings", next_step=f"There are: {', '.join(sorted(known))}")
    return known | {name: float(value) for name, value in (changed or {}).items()}


def words_of(signal: str) -> str:
    """What it counts."""
    return str(_signals()[signal]["words"])


class Groups:
    """Tries by a key, and by episode: a group ends where nothing came for so many hours.

    Args:
        entries: all tries.
        rows: the places of those that are meant, in order of time.
        key: of each of these, from 0; None is one key for all.
        pause: microseconds of silence after which an episode ends.

    Attributes:
        rows: places by group, and in a group by time.
        group: of each of these.
        begins: where each group begins among them.
        key: of each group.
        tries: of each group, with `count` summed.
    """

    def __init__(self, entries: Entries, rows: Ints, key: npt.NDArray[Any], pause: int) -> None:
        order = np.argsort(key, kind="stable")
        self.rows, keys = rows[order].astype(np.int32), key[order]
        self._entries = entries
        self.time, self.count = entries.time[self.rows], entries.count[self.rows]
        new = np.ones(len(keys), bool)
        new[1:] = (keys[1:] != keys[:-1]) | (np.diff(self.time) > pause)
        self.begins = np.flatnonzero(new)
        self.group = np.cumsum(new, dtype=np.int32) - 1
        self.key = keys[self.begins].astype(np.int64)
        self.tries = self.sums(self.count)
        self._seen: tuple[npt.NDArray[Any], Ints] | None = None

    def __len__(self) -> int:
        return len(self.begins)

    def of(self, group: int) -> Ints:
        """The places of one group's tries, in order of time."""
        end = self.begins[group + 1] if group + 1 < len(self.begins) else len(self.rows)
        return self.rows[self.begins[group] : end].astype(np.int64)

    def sums(self, values: npt.NDArray[Any]) -> Ints:
        """The sum of each group."""
        return np.add.reduceat(values, self.begins, dtype=np.int64) if len(values) else np.zeros(0, np.int64)

    def share(self, mask: Mask) -> npt.NDArray[np.float64]:
        """Of each group's tries, the share that the mask (over all entries) has."""
        return self.sums(self.count * mask[self.rows]) / np.maximum(self.tries, 1)

    @cached_property
    def first(self) -> Ints:
        """Of each group, its first time."""
        return self.time[self.begins]

    @cached_property
    def last(self) -> Ints:
        """Of each group, its last time."""
        return self.time[np.append(self.begins[1:], len(self.time)) - 1] if len(self.time) else self.time

    def different(self, values: npt.NDArray[Any], only: Mask | None = None) -> Ints:
        """How many different values (of all entries, 0 is none) each group has; only among the tries of a mask."""
        said = values[self.rows]
        known = said > 0 if only is None else (said > 0) & only[self.rows]
        return different_by(self.group[known], said[known], len(self))

    def within(self, width: int, values: npt.NDArray[Any] | None = None) -> Ints:
        """At each try, how many its group had within so many microseconds before; of values, how many different ones: those not seen for as long."""
        weights = self.count if values is None else self._since(values) >= width
        if not len(weights):
            return np.zeros(0, np.int64)
        span = int(self.time.max() - self.time.min()) + width + 1
        moments = (self.time - self.time.min()) // 1000
        moments += self.group.astype(np.int64) * (span // 1000 + 1)
        total = np.zeros(len(weights) + 1, np.int64)
        np.cumsum(weights, out=total[1:])
        found: Ints = total[1:] - total[np.searchsorted(moments, moments - width // 1000, side="right")]
        return found

    def most_within(self, width: int, values: npt.NDArray[Any] | None = None) -> Ints:
        """The most of it in each group."""
        found = self.within(width, values)
        return np.maximum.reduceat(found, self.begins) if len(found) else found

    def _since(self, values: npt.NDArray[Any]) -> Ints:
        """Of each try, the time since the one before with the same value in its group; for ever where it is the first, -1 without a value."""
        if self._seen is None or self._seen[0] is not values:
            said = values[self.rows]
            key = self.group.astype(np.int64) << 32 | said
            order = np.argsort(key, kind="stable")
            since = np.full(len(order), NEVER)
            since[order[1:]] = np.where(np.diff(key[order]) == 0, np.diff(self.time[order]), NEVER)
            self._seen = values, np.where(said > 0, since, -1)
        return self._seen[1]

    def forget(self, *, all_but_rows: bool = False) -> None:
        """Lets go of what was kept for the next question about the same values; or of all that only questions need."""
        self._seen = None
        if all_but_rows:
            self.time, self.count, self.group = self.time[:0], self.count[:0], self.group[:0]

    @cached_property
    def _pace(self) -> tuple[Ints, npt.NDArray[np.float64]]:
        same = np.diff(self.group) == 0
        gap, group = np.diff(self.time)[same], self.group[1:][same]
        order = np.lexsort((gap, group))
        gap, group, number = gap[order], group[order], np.bincount(group, minlength=len(self))
        middle = np.cumsum(number) - number + (number - 1) // 2
        pause = np.where(number > 0, np.append(gap, 0)[np.where(number > 0, middle, 0)], 0)
        near = np.abs(gap - pause[group]) <= _NEAR * pause[group]
        share = np.bincount(group[near], minlength=len(self)) / np.maximum(number, 1)
        return pause, np.where(number >= _FEW, share, 0)

    @property
    def pause(self) -> Ints:
        """Of each group, the usual (median) pause between tries; 0 where it is a single one."""
        return self._pace[0]

    @property
    def rhythm(self) -> npt.NDArray[np.float64]:
        """Of each group, the share of pauses about as long as the usual one; 0 where there are too few to tell."""
        return self._pace[1]

    def moves(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Of each group, the share of tries with another value than the one before."""
        said = values[self.rows]
        changed = (np.diff(self.group) == 0) & (np.diff(said) != 0)
        return np.bincount(self.group[1:][changed], minlength=len(self)) / np.maximum(np.bincount(self.group, minlength=len(self)) - 1, 1)


def different_by(groups: npt.NDArray[Any], values: npt.NDArray[Any], number: int) -> Ints:
    """How many different values each of so many groups has."""
    pairs = groups.astype(np.int64) << 32 | values
    pairs.sort()
    new = np.ones(len(pairs), bool)
    new[1:] = pairs[1:] != pairs[:-1]
    return np.bincount(pairs[new] >> 32, minlength=number)


def among(values: Ints, known: Ints) -> Mask:
    """Which values are among the known: faster than numpy.isin where both are many and mostly different."""
    if not len(known):
        return np.zeros(len(values), bool)
    ordered = np.sort(known)
    found: Mask = ordered[np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)] == values
    return found
