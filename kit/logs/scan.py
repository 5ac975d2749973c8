"""Blocks of bytes → events: the lines that belong to a class, in order, and a count of all the others.

    block ─► needles (one pass) ─► candidate lines ─► one findall a class ─► rows
                                                   └► of no class: suspect? ─► not understood, else other

A candidate that its needle's class does not match is brought into canonical form and tried against every class, so that
the needles decide about speed only, never about the answer.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import ahocorasick_rs
import numpy as np
import numpy.typing as npt

from kit.logs.classes import LineClass, Row, suspicion
from kit.logs.clock import UNREADABLE, Clock
from kit.logs.envelope import canonical, message_of
from kit.logs.source import Source
from kit.redact import mask

FLUSH: Final = 4_096
"""Candidate lines that are matched at once."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Candidate lines of one file in order; those that are events, by class.

    Attributes:
        micros: of each line, since the epoch, UTC; 0 where it is no event.
        numbers: of the lines in their file, from 1.
        offsets: of the lines, in the decompressed bytes.
        lines: as they stand in the file.
    """

    file: str
    events: list[Events]
    micros: Ints
    numbers: Ints
    offsets: Ints
    lines: list[str]


@dataclass(slots=True)
class _Candidates:
    """Candidate lines of one file that wait to be matched."""

    lines: list[str] = field(default_factory=list)
    needles: list[Ints] = field(default_factory=list)
    numbers: list[Ints] = field(default_factory=list)
    offsets: list[Ints] = field(default_factory=list)
    broken: set[int] = field(default_factory=set)


class _Matches:
    """What the classes have found in a number of lines."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.found: list[tuple[LineClass, Ints, list[Row]]] = []

    def attempt(self, line_class: LineClass, which: Ints) -> Ints:
        """Matches the lines against the class; returns those that are of another."""
        if not len(which):
            return which
        lines = self.lines
        rows = line_class.match("\n".join([lines[i] for i in which.tolist()]))
        if "" not in [row[0] for row in rows]:
            self.found.append((line_class, which, rows))
            return which[:0]
        matched = np.array([row[0] != "" for row in rows], bool)
        if matched.any():
            self.found.append((line_class, which[matched], [row for row in rows if row[0]]))
        missed: Ints = which[~matched]
        return missed


class Scanner:
    """Finds the events of any number of files and keeps the tally."""

    def __init__(self, classes: Sequence[LineClass]) -> None:
        self._classes = classes
        self._suspect = suspicion()
        # The classes' needles come first, the longest of them before the others: it decides which classes a line is tried against.
        ordered = list(
            dict.fromkeys(
                [*sorted((c.needle for c in classes), key=len, reverse=True), *(s.encode() for s in self._suspect), _BYTES_IN_JSON]
            )
        )
        self._by_needle = [[c for c in classes if c.needle == needle] for needle in ordered]
        self._find = ahocorasick_rs.BytesAhoCorasick(ordered, matchkind=ahocorasick_rs.MatchKind.LeftmostFirst)
        self.tally = Tally()

    def scan(self, source: Source, clock: Clock) -> Iterator[Batch]:
        """The events of one source. The tally is complete when they end."""
        pending = _Candidates()
        number = 1
        for offset, block in source.blocks():
            number += self._collect(block, offset, number, pending)
            if len(pending.lines) >= FLUSH:
                yield self._match(source.name, clock, pending)
                pending = _Candidates()
        if pending.lines:
            yield self._match(source.name, clock, pending)

    def _collect(self, block: memoryview, offset: int, number: int, into: _Candidates) -> int:
        """Adds the candidate lines of a block; returns how many lines it has."""
        ends = np.flatnonzero(np.frombuffer(block, np.uint8) == 10)
        if block[-1] != 10:
            ends = np.append(ends, len(block))
        chosen, needles = self._candidates(block, ends)
        starts = np.where(chosen > 0, ends[chosen - 1] + 1, 0)
        bounds = zip(starts.tolist(), ends[chosen].tolist(), strict=True)
        lines = [str(block[a:b], "utf-8", "replace").removesuffix("\r") for a, b in bounds]
        broken = _broken_lines(block, ends)
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

    def _match(self, name: str, clock: Clock, found: _Candidates) -> Batch:
        """Gives each candidate its class, and the tally what has none."""
        matches = _Matches(found.lines)
        needles = np.concatenate(found.needles)
        missed = self._by_needles(matches, needles, np.arange(len(needles)))
        if len(missed):
            matches.lines = found.lines.copy()
            for i in missed.tolist():
                matches.lines[i] = canonical(found.lines[i])
            missed = self._by_needles(matches, needles, missed)
            for line_class in self._classes:
                missed = matches.attempt(line_class, missed)
            self._judge(missed.tolist(), matches.lines, found)
        micros = self._times(clock, matches, found)
        return Batch(
            file=name,
            events=[self._events(*each) for each in matches.found if each[0].role != "none"],
            micros=micros,
            numbers=np.concatenate(found.numbers),
            offsets=np.concatenate(found.offsets),
            lines=found.lines,
        )

    def _events(self, line_class: LineClass, index: Ints, rows: list[Row]) -> Events:
        self.tally.attempt_lines += len(rows)
        return Events(line_class=line_class, index=index, columns=dict(zip(line_class.fields, zip(*rows, strict=True), strict=False)))

    def _times(self, clock: Clock, matches: _Matches, found: _Candidates) -> Ints:
        """The times of the events, read in the order of the lines; an event whose time does not exist is none."""
        stamps = np.full(len(found.lines), None, object)
        for line_class, index, rows in matches.found:
            if line_class.role != "none":
                stamps[index] = np.fromiter([row[0] for row in rows], object, len(rows))
            elif found.broken:
                for i in index.tolist():
                    self.tally.innocent(i not in found.broken)
            else:
                self.tally.other += len(index)
        events = np.flatnonzero(stamps.astype(bool))
        micros = np.zeros(len(stamps), np.int64)
        micros[events] = clock.micros(stamps[events].tolist())
        if (micros == UNREADABLE).any():
            for position, (line_class, index, rows) in enumerate(matches.found):
                readable = micros[index] != UNREADABLE
                for i in index[~readable].tolist():
                    self.tally.miss(message_of(matches.lines[i]), found.lines[i])
                matches.found[position] = (line_class, index[readable], [row for row, fine in zip(rows, readable, strict=True) if fine])
            matches.found = [each for each in matches.found if len(each[1])]
        return micros

    def _by_needles(self, matches: _Matches, needles: Ints, which: Ints) -> Ints:
        """Tries each line against the classes of its needle; returns the lines that none of them matched."""
        missed = []
        chosen = needles[which]
        for needle in np.unique(chosen).tolist():
            todo = which[chosen == needle]
            for line_class in self._by_needle[needle]:
                todo = matches.attempt(line_class, todo)
            missed.append(todo)
        return np.sort(np.concatenate(missed)) if missed else which

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


def _broken_lines(block: memoryview, ends: Ints) -> set[int]:
    """The lines of a block that are no UTF-8."""
    if np.frombuffer(block, np.uint8).max(initial=0) < 128:
        return set()
    broken, start = set(), 0
    for i, end in enumerate(ends.tolist()):
        try:
            str(block[start:end], "utf-8")
        except UnicodeDecodeError:
            broken.add(i)
        start = end + 1
    return broken
