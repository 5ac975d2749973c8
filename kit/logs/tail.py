"""A log that is shown while it is written.

Each look reads the whole lines that have come since the last one, with the parts of the reader: attempts that nothing can reach any more
are kept as they are, those that the joiner still holds are shown as they stand, and made anew at the next look. What is shown is at every moment
what `read_logs` would give for the lines so far, and every one of these lines is counted (law 4).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self

import pyarrow as pa
import pyarrow.compute as pc

from kit.logs.authlog import AuthLog, Coverage, Paths, Unknown
from kit.logs.classes import line_classes
from kit.logs.clock import Clock
from kit.logs.growing import GrowingFile, Reading
from kit.logs.join import Joiner
from kit.logs.printed import GrowingOutput
from kit.logs.rotation import find_sources
from kit.logs.scan import Scanner, timed
from kit.logs.source import Source
from kit.logs.table import ROWS, SCHEMA, Portion

_FIELDS: Final = "MESSAGE,SYSLOG_IDENTIFIER,SYSLOG_PID,_PID,_COMM,_HOSTNAME,_SOURCE_REALTIME_TIMESTAMP"
JOURNAL: Final = ("journalctl", "--follow", "--no-tail", "--since=-24h", "--quiet", "--all", "--output=json", f"--output-fields={_FIELDS}")
"""The journal of the last day, then what is written to it."""
PAUSE: Final = 0.7
"""Seconds between two looks, at least."""


class Tail:
    """A growing log.

    Args:
        paths: as `LogReader` has them. Of several files the last is followed, and those before it are read first.
        command: what prints the lines, in the place of files.
        year: of the first line of each file, for stamps without a year; else it follows from when the file is written.
        zone: of stamps without a zone, as an IANA name or an offset; else UTC.

    Raises:
        UnreadableInput: a path cannot be read as a log, or the command cannot be run.
        UsageError: there is no such zone.
    """

    def __init__(self, paths: Paths = (), *, command: Sequence[str] = (), year: int | None = None, zone: str | None = None) -> None:
        self._year, self._zone = year, zone
        self._scanner, self._joiner = Scanner(line_classes()), Joiner()
        self._growing: GrowingFile | GrowingOutput
        if command:
            sources: list[Source] = []
            self._growing = GrowingOutput(command)
        else:
            sources = find_sources([paths] if isinstance(paths, (str, os.PathLike)) else paths)
            self._growing = GrowingFile(sources)
        self._there_at_first = len(sources)
        self._names: list[str] = []
        self._portion, self._tables = Portion(), list[pa.Table]()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the file, or ends the command."""
        self._growing.close()

    @property
    def name(self) -> str:
        """Of the file, or the command."""
        return self._growing.name

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self._growing.ended

    def look(self) -> bool:
        """Reads what has come since the last look; whether that was anything.

        Raises:
            UnreadableInput: the file may not be read, or is no log that grows.
        """
        before = self._scanner.tally.lines
        for reading, source in self._growing.look():
            self._rename()
            self._take(reading, source)
        self._rename()
        self._settle()
        return self._scanner.tally.lines > before

    @property
    def log(self) -> AuthLog:
        """All lines so far, as `read_logs` would give them."""
        held = Portion()
        for attempts in self._joiner.held:
            held.add(attempts)
        tables = [*self._tables, *([held.table()] if held.rows else [])]
        table = pa.concat_tables(tables).unify_dictionaries() if tables else SCHEMA.empty_table()
        tally = self._scanner.tally
        return AuthLog(
            table=table,
            coverage=Coverage.of(tally, pc.sum(table["count"]).as_py() or 0),
            unknown=Unknown.of(tally),
            time_anchor=tuple(f"{each.name}: {each.clock.anchor}" for each in self._growing.readings if each.clock),
            problems=tuple(self._growing.problems),
        )

    def _take(self, reading: Reading, source: Source) -> None:
        clock, tally = self._clock(reading, source), self._scanner.tally
        first, before = reading.lines, tally.lines
        for batch in self._scanner.scan(source, reading.header):
            batch.file, batch.numbers = reading.name, batch.numbers + first
            for attempts in self._joiner.feed(timed(batch, clock, tally)):
                self._portion.add(attempts)
                if self._portion.full:
                    self._settle()
            reading.timed = reading.timed or bool(batch.micros.any())
        reading.lines += tally.lines - before

    def _clock(self, reading: Reading, source: Source) -> Clock:
        if reading.clock is None or not reading.timed:
            sample = list(source.sample())  # now: it moves about in the file that is going to be read
            year = self._year if len(self._growing.readings) <= self._there_at_first else None
            reading.clock = Clock(year=year, zone=self._zone, anchor=source.anchor, sample=lambda: sample)
        return reading.clock

    def _settle(self) -> None:
        """What is final becomes a table; small ones are put together, so that they never are many."""
        if not self._portion.rows:
            return
        self._tables.append(self._portion.table())
        self._portion = Portion()
        while len(self._tables) > 1:
            before, last = self._tables[-2:]
            if before.num_rows > min(2 * last.num_rows, ROWS - last.num_rows):
                break
            self._tables[-2:] = [pa.concat_tables([before, last]).unify_dictionaries().combine_chunks()]

    def _rename(self) -> None:
        """Files that were rotated have another name: there their lines are read back."""
        names = [reading.name for reading in self._growing.readings]
        changed = {old: new for old, new in zip(self._names, names, strict=False) if old != new}
        self._names = names
        if not changed:
            return
        self._settle()
        self._tables = [_renamed(table, changed) for table in self._tables]
        for attempts in self._joiner.held:
            attempts.batch.file = changed.get(attempts.batch.file, attempts.batch.file)


def _renamed(table: pa.Table, names: Mapping[str, str]) -> pa.Table:
    def chunk(words: pa.DictionaryArray) -> pa.DictionaryArray:
        new = pa.array([names.get(name, name) for name in words.dictionary.to_pylist()], pa.string())
        return pa.DictionaryArray.from_arrays(words.indices, new)

    place = SCHEMA.get_field_index("file")
    column = pa.chunked_array([chunk(each) for each in table["file"].chunks], SCHEMA.field("file").type)
    return table.set_column(place, SCHEMA.field("file"), column)
