"""Blocks of bytes → events: the lines that belong to a class, in order, and a count of all the others.

    block ─► needles (one pass) ─► candidate lines ─► one findall a class ─► rows
                                                   └► of no class: suspect? ─► not understood, else other

A candidate that its needle's class does not match is brought into canonical form and tried against every class, so that
the needles decide about speed only, never about the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

import ahocorasick_rs
import numpy as np
import numpy.typing as npt

from kit.logs.classes import LineClass, Row, suspicion
from kit.logs.clock import UNREADABLE, Clock
from kit.logs.envelope import canonical, message_of
from kit.logs.source import Source
from kit.redact import mask

FLUSH: Final = 16_384
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


@dataclass(slots=True, kw_only=True)
class Batch:
    """Events of one file in the order of its lines; the lists are parallel.

    Attributes:
        rows: the class of the line and what its pattern found, as kit.logs.classes.ROLES orders it, behind the time.
        micros: microseconds since the epoch, UTC.
        numbers: of the lines, from 1.
        offsets: of the lines, in the decompressed bytes.
        lines: as they stand in the file.
    """

    file: str
    rows: list[tuple[LineClass, Row]]
    micros: list[int]
    numbers: list[int]
    offsets: list[int]
    lines: list[str]


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

    def _collect(self, block: bytes, offset: int, number: int, into: _Candidates) -> int:
        """Adds the candidate lines of a block; returns how many lines it has."""
        ends = np.flatnonzero(np.frombuffer(block, np.uint8) == 10)
        if not block.endswith(b"\n"):
            ends = np.append(ends, len(block))
        broken = set() if block.isascii() else _broken_lines(block, ends)
        chosen, needles = self._candidates(block, ends)
        self.tally.lines += len(ends)
        unseen_broken = len(broken.difference(chosen.tolist())) if broken else 0
        self.tally.undecodable += unseen_broken
        self.tally.other += len(ends) - len(chosen) - unseen_broken
        starts = np.where(chosen > 0, ends[chosen - 1] + 1, 0)
        first = len(into.lines)
        into.broken.update(first + i for i, line in enumerate(chosen.tolist()) if line in broken) if broken else None
        into.lines += [block[a:b] for a, b in zip(starts.tolist(), ends[chosen].tolist(), strict=True)]
        into.needles.append(needles)
        into.numbers.append(chosen + number)
        into.offsets.append(starts + offset)
        return len(ends)

    def _candidates(self, block: bytes, ends: Ints) -> tuple[Ints, Ints]:
        """The lines of a block that hold a needle, and of each the needle that comes first in the list."""
        hits = self._find.find_matches_as_indexes(block)
        if not hits:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        table = np.fromiter(chain.from_iterable(hits), np.int64, 3 * len(hits)).reshape(-1, 3)
        line = np.searchsorted(ends, table[:, 1])
        first = np.flatnonzero(np.diff(line, prepend=-1))
        return line[first], np.minimum.reduceat(table[:, 0], first)

    def _match(self, name: str, clock: Clock, found: _Candidates) -> Batch:
        lines = b"\n".join(found.lines).decode("utf-8", "replace").split("\n")
        if any(line.endswith("\r") for line in lines[:1000]) or "\r" in lines[-1]:
            lines = [line.rstrip("\r") for line in lines]
        rows: list[tuple[LineClass, Row] | None] = [None] * len(lines)
        needles = np.concatenate(found.needles)
        missed = self._by_needles(lines, needles, range(len(lines)), rows)
        plain = lines
        if missed:
            plain = lines.copy()
            for i in missed:
                plain[i] = canonical(plain[i])
            missed = self._by_needles(plain, needles, missed, rows)
            for line_class in self._classes:
                missed = _try(line_class, plain, missed, rows)
        self._count_missed(missed, plain, lines, found.broken)

        kept = [i for i, row in enumerate(rows) if row is not None]
        micros = clock.micros([rows[i][1][0] for i in kept]) if kept else np.empty(0, np.int64)  # type: ignore[index]  # kept: not None
        for position in np.flatnonzero(micros == UNREADABLE).tolist():
            i = kept[position]
            rows[i] = None
            self.tally.miss(message_of(plain[i]), lines[i])
        for i in kept:
            if (row := rows[i]) is not None and row[0].role == "none":
                rows[i] = None
                self._count_innocent(i in found.broken)
        events = [(position, i) for position, i in enumerate(kept) if rows[i] is not None]
        self.tally.attempt_lines += len(events)
        numbers, offsets = np.concatenate(found.numbers).tolist(), np.concatenate(found.offsets).tolist()
        times = micros.tolist()
        return Batch(
            file=name,
            rows=[rows[i] for _, i in events],  # type: ignore[misc]  # those that are None are gone
            micros=[times[position] for position, _ in events],
            numbers=[numbers[i] for _, i in events],
            offsets=[offsets[i] for _, i in events],
            lines=[lines[i] for _, i in events],
        )

    def _by_needles(self, lines: list[str], needles: Ints, which: Iterable[int], rows: list[tuple[LineClass, Row] | None]) -> list[int]:
        """Tries each line against the classes of its needle; returns the lines that none of them matched."""
        indices = np.fromiter(which, np.int64)
        chosen = needles[indices]
        missed: list[int] = []
        for needle in np.unique(chosen).tolist():
            todo = indices[chosen == needle].tolist()
            for line_class in self._by_needle[needle]:
                todo = _try(line_class, lines, todo, rows)
            missed += todo
        return sorted(missed)

    def _count_missed(self, missed: list[int], plain: list[str], lines: list[str], broken: set[int]) -> None:
        for i in missed:
            message = message_of(plain[i])
            if any(word in message for word in self._suspect):
                self.tally.miss(message, lines[i])
            else:
                self._count_innocent(i in broken)

    def _count_innocent(self, broken: bool) -> None:
        if broken:
            self.tally.undecodable += 1
        else:
            self.tally.other += 1


@dataclass(slots=True)
class _Candidates:
    """Candidate lines of one file that wait to be matched."""

    lines: list[bytes] = field(default_factory=list)
    needles: list[Ints] = field(default_factory=list)
    numbers: list[Ints] = field(default_factory=list)
    offsets: list[Ints] = field(default_factory=list)
    broken: set[int] = field(default_factory=set)


def _try(line_class: LineClass, lines: list[str], which: list[int], rows: list[tuple[LineClass, Row] | None]) -> list[int]:
    """Fills the rows of the lines that the class matches; returns the others."""
    if not which:
        return which
    missed = []
    found = line_class.match("\n".join([lines[i] for i in which]))
    for i, row in zip(which, found, strict=True):
        if row[0]:
            rows[i] = (line_class, row)
        else:
            missed.append(i)
    return missed


def _broken_lines(block: bytes, ends: Ints) -> set[int]:
    """The lines of a block that are no UTF-8."""
    try:
        block.decode("utf-8")
    except UnicodeDecodeError:
        broken, start = set(), 0
        for i, end in enumerate(ends.tolist()):
            line = block[start:end]
            if not line.isascii():
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError:
                    broken.add(i)
            start = end + 1
        return broken
    return set()
