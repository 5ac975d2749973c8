"""Blocks of bytes → events: the lines that belong to a class, in order, and a count of all the others.

    block ─► needles (one pass) ─► candidate lines ─► one findall a class ─► rows
                                                   └► of no class: suspect? ─► not understood, else other

What stands in a line as it is, and is frequent, is found at once. Any other candidate is brought into canonical form and tried against
every class whose needle it holds, and a line of a class always holds its needle: they decide about speed only, never about the answer.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import ahocorasick_rs
import numpy as np
import numpy.typing as npt

from kit.logs.classes import LineClass, needles_at_once, suspicion
from kit.logs.envelope import UNREADABLE, canonical, message_of
from kit.logs.records import Header
from kit.logs.source import Source
from kit.redact import mask

if TYPE_CHECKING:
    from kit.logs.clock import Clock  # with pyarrow, for which workers have no use

FLUSH: Final = 4_096
"""Candidate lines that are matched at once."""
FLUSH_BLOCKS: Final = 64
"""Blocks after which they are matched at the latest: long lines should not fill the memory, nor progress stand still."""
_SHAPES: Final = 200
_EXAMPLE: Final = 400
# journald writes a message that is no UTF-8 as an array of bytes, in which no needle is found.
_BYTES_IN_JSON: Final = b'MESSAGE":['
_VARIABLE: Final = re.compile(r"<[^>]*>|\S*[@\d]\S*|'[^']*'|\"[^\"]*\"")

Ints = npt.NDArray[np.int64]


@dataclass(slots=True)
class Tally:
    """What became of the lines. Each stands in one of the four counts."""

    lines: int = 0
    attempt_lines: int = 0
    not_understood: int = 0
    undecodable: int = 0
    other: int = 0
    shapes: dict[str, tuple[int, str]] = field(default_factory=dict)

    def miss(self, message: str, line: str) -> None:
        """A line that looks like authentication and belongs to no class: counted, and kept as an example of its shape."""
        self.not_understood += 1
        shape = _VARIABLE.sub("…", message[:_EXAMPLE])
        count, example = self.shapes.get(shape, (0, ""))
        if count or len(self.shapes) < _SHAPES:
            self.shapes[shape] = (count + 1, example or mask(line[:_EXAMPLE]))

    def add(self, other: Tally) -> None:
        """Takes over what became of further lines."""
        self.lines += other.lines
        self.attempt_lines += other.attempt_lines
        self.not_understood += other.not_understood
        self.undecodable += other.undecodable
        self.other += other.other
        for shape, (more, example) in other.shapes.items():
            count, first = self.shapes.get(shape, (0, example))
            if count or len(self.shapes) < _SHAPES:
                self.shapes[shape] = (count + more, first)

    def innocent(self, decodable: bool) -> None:
        """A line that does not look like authentication, or is known to be none."""
        if decodable:
            self.other += 1
        else:
            self.undecodable += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """Lines of one class in a batch: their places in it, and by name what the pattern found in each."""

    line_class: LineClass
    index: Ints
    columns: dict[str, tuple[str, ...]]


@dataclass(slots=True, kw_only=True)
class Batch:
    """Candidate lines of one file in order.

    Attributes:
        events: those that are events, class by class, to be taken once: what was found is not kept.
        numbers: of the lines in their file, from 1.
        offsets: of the lines, in the decompressed bytes.
        lines: as they stand in the file.
        header: the names of columns that were read before them, and in them.
        micros: once the events are taken from a batch that `timed` gave, the times of their lines since the epoch, UTC; 0 where a
            line is no event, and UNREADABLE where it is none for its time does not exist.
    """

    file: str
    events: Iterable[Events]
    numbers: Ints
    offsets: Ints
    lines: list[str]
    header: Header
    micros: Ints = field(default_factory=lambda: np.empty(0, np.int64))


def timed(batch: Batch, clock: Clock, tally: Tally) -> Batch:
    """The batch with what reads its times when the events have been taken; the tally learns of lines whose time does not exist."""
    batch.micros = np.zeros(len(batch.lines), np.int64)
    batch.events = _timed(batch, batch.events, clock, tally)
    return batch


def _timed(batch: Batch, untimed: Iterable[Events], clock: Clock, tally: Tally) -> Iterator[Events]:
    stamps = np.full(len(batch.lines), None, object)
    for events in untimed:
        stamps[events.index] = np.fromiter(events.columns["time"], object, len(events.index))
        yield events
    known = np.flatnonzero(stamps.astype(bool))
    batch.micros[known] = clock.micros(stamps[known].tolist(), batch.offsets[known])
    for i in np.flatnonzero(batch.micros == UNREADABLE).tolist():
        tally.attempt_lines -= 1
        tally.miss(message_of(canonical(batch.lines[i], batch.header)), batch.lines[i])


@dataclass(slots=True)
class _Candidates:
    """Candidate lines of one file that wait to be matched."""

    lines: list[str] = field(default_factory=list)
    needles: list[Ints] = field(default_factory=list)
    numbers: list[Ints] = field(default_factory=list)
    offsets: list[Ints] = field(default_factory=list)
    broken: set[int] = field(default_factory=set)


Match = tuple[LineClass, Ints, list[tuple[str, ...]]]
"""Lines that belong to a class, by their places, and for each group of its pattern what that found in them."""


def _attempt(line_class: LineClass, lines: list[str], which: Ints) -> Generator[Match, None, Ints]:
    """Matches lines against a class; returns those that are of another."""
    if not len(which):
        return which
    rows = line_class.match("\n".join([lines[i] for i in which.tolist()]))
    columns = list(zip(*rows, strict=True))
    if all(columns[0]):
        yield line_class, which, columns
        return which[:0]
    matched = np.array([text != "" for text in columns[0]], bool)
    if matched.any():
        yield line_class, which[matched], list(zip(*[row for row in rows if row[0]], strict=True))
    missed: Ints = which[~matched]
    return missed


class Scanner:
    """Finds the events of any number of files and keeps the tally."""

    def __init__(self, classes: Sequence[LineClass]) -> None:
        self._suspect = suspicion()
        ordered = [*needles_at_once(classes), _BYTES_IN_JSON]
        self._at_once = [[c for c in classes if c.frequent and c.needle == needle] for needle in ordered]
        self._find = ahocorasick_rs.BytesAhoCorasick(ordered, matchkind=ahocorasick_rs.MatchKind.LeftmostFirst)
        # The other needles may be many, and are looked for only in what is left then.
        needles = list(dict.fromkeys(c.needle for c in classes))
        self._later = [[c for c in classes if c.needle == needle] for needle in needles]
        self._find_later = ahocorasick_rs.BytesAhoCorasick(needles)
        self.tally = Tally()

    def scan(self, source: Source, header: Header | None = None) -> Iterator[Batch]:
        """The candidates of one source. The tally is complete when they have ended, and the events of each were taken.

        Args:
            source: of lines.
            header: the names of columns that stand before the source; those that stand in it are read into it.
        """
        pending, header = _Candidates(), header or Header()
        number = 1
        for offset, block in source.blocks():
            number += self._collect(block, offset, number, pending)
            if len(pending.lines) >= FLUSH or len(pending.offsets) >= FLUSH_BLOCKS:
                if pending.lines:
                    yield self._batch(pending, source.name, header)
                pending = _Candidates()
        if pending.lines:
            yield self._batch(pending, source.name, header)

    def _batch(self, found: _Candidates, file: str, header: Header) -> Batch:
        numbers, offsets = np.concatenate(found.numbers), np.concatenate(found.offsets)
        events = self._events(found, header)
        return Batch(file=file, events=events, numbers=numbers, offsets=offsets, lines=found.lines, header=header)

    def _collect(self, block: memoryview, offset: int, number: int, into: _Candidates) -> int:
        """Adds the candidate lines of a block; returns how many lines it has."""
        ends = np.flatnonzero(np.frombuffer(block, np.uint8) == 10)
        if block[-1] != 10:
            ends = np.append(ends, len(block))
        chosen, needles = self._candidates(block, ends)
        starts = np.where(chosen > 0, ends[chosen - 1] + 1, 0)
        lines, broken = _texts(block, ends, starts.tolist(), ends[chosen].tolist())
        if broken:
            numbers = chosen.tolist()
            into.broken.update(len(into.lines) + i for i, line in enumerate(numbers) if line in broken)
            broken.difference_update(numbers)
        self.tally.lines += len(ends)
        self.tally.undecodable += len(broken)
        self.tally.other += len(ends) - len(chosen) - len(broken)
        into.lines += lines
        into.needles.append(needles)
        into.numbers.append(chosen + number)
        into.offsets.append(starts + offset)
        return len(ends)

    def _candidates(self, block: memoryview, ends: Ints) -> tuple[Ints, Ints]:
        """The lines of a block that hold a needle, and of each the needle that comes first in the list."""
        hits = self._find.find_matches_as_indexes(block)
        if not hits:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        numbers, positions, _ = zip(*hits, strict=True)
        line = ends.searchsorted(_integers(positions))
        another = np.ones(len(line), bool)
        np.not_equal(line[1:], line[:-1], out=another[1:])
        first = np.flatnonzero(another)
        return line[first], np.minimum.reduceat(_integers(numbers), first)

    def _events(self, found: _Candidates, header: Header) -> Iterator[Events]:
        """The events of the candidates; the tally learns of each line."""
        for line_class, index, columns in self._matches(found, header):
            if line_class.role != "none":
                self.tally.attempt_lines += len(index)
                yield Events(line_class=line_class, index=index, columns=dict(zip(line_class.fields, columns, strict=False)))
            elif found.broken:
                for i in index.tolist():
                    self.tally.innocent(i not in found.broken)
            else:
                self.tally.other += len(index)

    def _matches(self, found: _Candidates, header: Header) -> Iterator[Match]:
        """Gives each candidate its class, and the tally what has none."""
        missed = yield from self._frequent(found.lines, np.concatenate(found.needles))
        if len(missed):
            plain = found.lines.copy()
            for i in missed.tolist():
                plain[i] = canonical(plain[i], header)
            missed = yield from self._any(plain, missed)
            self._judge(missed.tolist(), plain, found)

    def _frequent(self, lines: list[str], needles: Ints) -> Generator[Match, None, Ints]:
        """Tries each line, as it stands, against the frequent classes of its needle; returns the lines that none of them matched."""
        missed = []
        for needle in np.unique(needles).tolist():
            todo = np.flatnonzero(needles == needle)
            for line_class in self._at_once[needle]:
                todo = yield from _attempt(line_class, lines, todo)
            missed.append(todo)
        return np.sort(np.concatenate(missed))

    def _any(self, lines: list[str], which: Ints) -> Generator[Match, None, Ints]:
        """Tries lines in canonical form against each class whose needle they hold; returns those that none of them matched."""
        text = "\n".join([lines[i] for i in which.tolist()]).encode("utf-8", "surrogatepass")
        hits = self._find_later.find_matches_as_indexes(text, overlapping=True)
        if not hits:
            return which
        numbers, positions, _ = map(_integers, zip(*hits, strict=True))
        places = np.flatnonzero(np.frombuffer(text, np.uint8) == 10).searchsorted(positions)
        left = np.ones(len(which), bool)
        for needle in np.unique(numbers).tolist():
            of_needle = np.unique(places[numbers == needle])
            todo = which[of_needle[left[of_needle]]]
            for line_class in self._later[needle]:
                todo = yield from _attempt(line_class, lines, todo)
            left[of_needle] &= np.isin(which[of_needle], todo)
        return which[left]

    def _judge(self, missed: list[int], plain: list[str], found: _Candidates) -> None:
        """Lines of no class: suspect, or merely a host or file that is named like one."""
        for i in missed:
            message = message_of(plain[i])
            if any(word in message for word in self._suspect):
                self.tally.miss(message, found.lines[i])
            else:
                self.tally.innocent(i not in found.broken)


def _integers(values: Sequence[int]) -> Ints:
    """What `np.array` does, in half the time."""
    return np.frombuffer(struct.pack(f"{len(values)}q", *values), np.int64)


def _texts(block: memoryview, ends: Ints, starts: list[int], stops: list[int]) -> tuple[list[str], set[int]]:
    """Those pieces of a block as text, and which of all its lines are no UTF-8."""
    bounds = zip(starts, stops, strict=True)
    try:
        text = str(block, "ascii")
    except UnicodeDecodeError:
        return [str(block[a:b], "utf-8", "replace").removesuffix("\r") for a, b in bounds], _broken_lines(block, ends)
    return [text[a:b].removesuffix("\r") for a, b in bounds], set()


def _broken_lines(block: memoryview, ends: Ints) -> set[int]:
    """The lines of a block that are no UTF-8."""
    broken, start = set(), 0
    for i, end in enumerate(ends.tolist()):
        try:
            str(block[start:end], "utf-8")
        except UnicodeDecodeError:
            broken.add(i)
        start = end + 1
    return broken
