"""Some of a view's attempts: how many, when, of which cause, by whom, at which hours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from kit.logs.view import View

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]
Rows = Ints | Codes
"""Places of rows, rising."""

MOST_BARS: Final = 240
CHUNK: Final = 1 << 20
"""Rows that are counted at once, so that they stay in the processor's cache."""
HOUR: Final = 3_600_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTES: Final = (1, 5, 15, 60, 180, 360, 720, 1440, 7 * 1440, 28 * 1440)


class Name(NamedTuple):
    """A value and how the selected attempts with it ended.

    Attributes:
        others: how many different addresses (of a user or domain) or users (of an address or network) there were.
        last: of its attempts, UTC.
    """

    name: str
    failed: int
    good: int
    others: int
    last: datetime


class Selection:
    """Some of a view's attempts: a slice of the rows of each kind, and of these perhaps only few.

    Args:
        view: whose.
        begins: by kind, its first row.
        ends: by kind, the row behind its last.
        few: rows that rise; None is all.
    """

    def __init__(self, view: View, begins: Ints, ends: Ints, few: Rows | None) -> None:
        self._view = view
        self._begins, self._ends = begins, ends
        self._successes: dict[str, Ints] = {}
        self._few = None if few is None else self._inside(few)

    def only(self, kinds: npt.NDArray[np.bool_]) -> Selection:
        """Those of some kinds."""
        return Selection(self._view, np.where(kinds, self._begins, 0), np.where(kinds, self._ends, 0), self._few)

    def _inside(self, rows: Rows) -> Rows:
        """Those of the rows, which rise, that are in the slices."""
        return np.concatenate([rows[:0], *self._runs(rows)])

    def _runs(self, rows: Rows) -> list[Rows]:
        """The same, kind by kind."""
        begins, ends = (rows.searchsorted(bounds.astype(rows.dtype)) for bounds in (self._begins, self._ends))
        return [rows[begins[i] : ends[i]] for i in np.flatnonzero(ends > begins).tolist()]

    @cached_property
    def _more(self) -> tuple[Rows, Ints]:
        """Rows that stand for several attempts, and for how many beside the one."""
        places, more = self._view.several
        if not len(places):
            return places, more
        kept = self._inside(places)
        if self._few is not None:
            kept = kept[np.append(self._few, -1)[self._few.searchsorted(kept)] == kept]
        return kept, more[places.searchsorted(kept)]

    def _pieces(self) -> Iterator[slice | Rows]:
        """The rows in pieces that stay in the processor's cache."""
        if self._few is not None:
            yield self._few
            return
        for kind in np.flatnonzero(self._ends > self._begins).tolist():
            for begin in range(int(self._begins[kind]), int(self._ends[kind]), CHUNK):
                yield slice(begin, min(begin + CHUNK, int(self._ends[kind])))

    @cached_property
    def total(self) -> int:
        """How many attempts."""
        rows = len(self._few) if self._few is not None else int((self._ends - self._begins).sum())
        return rows + int(self._more[1].sum())

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """The first and the last of them; None where there is none."""
        times = self._view.times
        if self._few is not None:
            found = times[self._few]
            return (time_of(found.min()), time_of(found.max())) if len(found) else None
        some = self._ends > self._begins
        return (time_of(times[self._begins[some]].min()), time_of(times[self._ends[some] - 1].max())) if some.any() else None

    def by(self, column: str) -> dict[str | None, int]:
        """Attempts by value, the commonest first; None where it is not known."""
        counts, names = self.counted(column)
        order = np.argsort(-counts, kind="stable")
        return {(names[i] if i < len(names) else None): int(counts[i]) for i in order.tolist() if counts[i]}

    def counted(self, column: str) -> tuple[Ints, list[str]]:
        """Attempts by value, and the values; one more count for None."""
        words, named = self._view.named(column)
        counts = np.zeros(len(words), np.int64)
        if column in self._view.kinds and self._few is None:
            np.add.at(counts, self._view.kinds[column], self._ends - self._begins)
        else:
            for codes in _gathered(words.codes[piece] for piece in self._pieces()):
                counts += np.bincount(codes, minlength=len(words))
        places, more = self._more
        np.add.at(counts, words.codes[places], more)
        if column not in self._view.derived:
            return counts, words.names
        to = np.full(len(words), len(named))
        for i, of_name in enumerate(named.values()):
            to[of_name] = i
        return np.bincount(to, counts, len(named) + 1).astype(np.int64), list(named)

    def successes(self, column: str) -> Ints:
        """Those of `counted` that succeeded. They are asked for again while other filters change."""
        if column not in self._successes:
            self._successes[column] = self.only(self._view.good).counted(column)[0]
        return self._successes[column]

    def over_time(self, column: str, edges: Ints) -> dict[str | None, Ints]:
        """Attempts between one time and the next, by value of a column that makes kinds; the commonest first.

        Args:
            column: one of the view's `kinds`.
            edges: microseconds since the epoch, rising; n + 1 of them give n numbers.
        """
        view, bars = self._view, len(edges) - 1
        words, kinds = view.words[column], view.kinds[column]
        counts = np.zeros((len(words), bars), np.int64)
        if self._few is None:
            for kind in np.flatnonzero(self._ends > self._begins).tolist():
                counts[kinds[kind]] += np.diff(view.times[self._begins[kind] : self._ends[kind]].searchsorted(edges))
        for rows, weights in ((self._few, None), self._more) if self._few is not None else (self._more,):
            bar = edges.searchsorted(view.times[rows], "right") - 1
            cells = words.codes[rows].astype(np.int64) * bars + bar
            shown = (bar >= 0) & (bar < bars)
            weight = None if weights is None else weights[shown]
            counts += np.bincount(cells[shown], weight, counts.size).astype(np.int64).reshape(counts.shape)
        sums = counts.sum(axis=1)
        return {(words.names[i] if i < len(words.names) else None): counts[i] for i in np.argsort(-sums, kind="stable").tolist() if sums[i]}

    def by_hour(self, zone: tzinfo = UTC) -> Ints:
        """Attempts by weekday (Monday is 0) and hour of the day in a zone: 7 x 24."""
        table = np.zeros((7, 24), np.int64)
        if not self.total:
            return table
        view = self._view
        first, rows = view.hours
        if self._few is None:
            counts = np.diff(np.clip(rows, self._begins[:, None], self._ends[:, None]).sum(axis=0))
        else:
            counts = np.bincount((view.times[self._few] - micros_of(first)) // HOUR, minlength=rows.shape[1] - 1)
        places, more = self._more
        np.add.at(counts, (view.times[places] - micros_of(first)) // HOUR, more)
        busy = np.flatnonzero(counts)
        local = [(first + timedelta(hours=hour)).astimezone(zone) for hour in busy.tolist()]
        np.add.at(table, ([time.weekday() for time in local], [time.hour for time in local]), counts[busy])
        return table

    def top(self, column: str, most: int, *, beside: Selection | None = None) -> list[Name]:
        """Who stands out: the values with the most attempts that did not end in success, then with the most that did.

        Args:
            column: `user`, `client_ip`, `domain` or `network`.
            most: of them.
            beside: whose successes count in the place of the selection's own; it decides of nobody's being there.
        """
        good = self._view.good
        failed, names = self.only(~good).counted(column)
        mine = failed + self.only(good).counted(column)[0]
        well = (beside or self).successes(column)
        some = np.flatnonzero((mine[:-1] > 0) & (failed[:-1] >= _one_of_the_largest(failed[:-1], most)))
        order = some[np.lexsort((-well[some], -failed[some]))][:most]
        runs_of = self._runs_by(column)
        return [Name(names[i], int(failed[i]), int(well[i]), *self._others(column, runs_of(names[i]))) for i in order.tolist()]

    def _runs_by(self, column: str) -> Callable[[str], list[Rows]]:
        """What finds the selected rows of a value."""
        view, few = self._view, self._few
        if few is None:
            return lambda name: self._runs(view.rows_of(column, (name,)))
        words, named = view.named(column)
        codes = words.codes[few]
        return lambda name: self._runs(few[np.isin(codes, named[name])])

    def _others(self, column: str, runs: Sequence[Rows]) -> tuple[int, datetime]:
        """How many different users or addresses are beside a value in its rows, and when the last of them was."""
        view = self._view
        words = view.words["client_ip" if view.derived.get(column, (column,))[0] == "user" else "user"]
        seen = np.zeros(len(words), bool)
        for run in runs:
            seen[words.codes[run]] = True
        return int(seen[:-1].sum()), time_of(max(view.times[run[-1]] for run in runs))

    def rows(self, most: int, *, skip: int = 0) -> Ints:
        """Places in the table of the latest of them, the latest first."""
        view, wanted = self._view, most + skip
        some = self._few
        if some is None:
            busy = np.flatnonzero(self._ends > self._begins)
            tails = [np.arange(max(e - wanted, b), e) for b, e in zip(self._begins[busy].tolist(), self._ends[busy].tolist(), strict=True)]
            some = np.concatenate([np.empty(0, np.int64), *tails])
        order = np.lexsort((-view.rows[some], -view.times[some]))[skip:wanted]
        found: Ints = view.rows[some[order]].astype(np.int64)
        return found


def edges_between(first: datetime, last: datetime, zone: tzinfo = UTC, *, most: int = MOST_BARS) -> Ints:
    """Bounds of bars of one width, on round times of a zone, that hold both times: the narrowest that need no more than so many."""
    start = first.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    for minutes in _MINUTES:
        width = timedelta(minutes=minutes)
        begin = start + (first - start) // width * width
        number = (last - begin) // width + 1
        if number <= most:
            break
    return micros_of(begin) + width // timedelta(microseconds=1) * np.arange(number + 1)


def _one_of_the_largest(counts: Ints, most: int) -> int:
    """A count that at least so many of them reach, and few more, if so many there are.

    Most names were tried once or never: what is below the mean is let go again and again, which finds an end sooner than sorting does.
    """
    left = counts
    while len(left) and len(above := left[left > left.mean()]) >= most:
        left = above
    return int(left.min()) if len(left) else 0


def _gathered(pieces: Iterable[Codes]) -> Iterator[Codes]:
    """Small pieces put together, for each count begins with a zero for every value."""
    waiting: list[Codes] = []
    for piece in pieces:
        waiting.append(piece)
        if sum(map(len, waiting)) >= CHUNK:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def micros_of(time: datetime) -> int:
    """A time as microseconds since the epoch."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def time_of(micros: Any) -> datetime:
    """Microseconds since the epoch as a time, UTC."""
    return _EPOCH + timedelta(microseconds=int(micros))
