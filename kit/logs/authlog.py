"""The door of the log side: `read_logs` for a frame in memory, `LogReader` for logs of any size."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from kit.errors import UnreadableInput
from kit.logs import arrow
from kit.logs.cache import key_of, load, store
from kit.logs.classes import LineClass, line_classes
from kit.logs.clock import Clock
from kit.logs.columns import Attempts
from kit.logs.join import Joiner
from kit.logs.options import is_within, parse_network
from kit.logs.rotation import find_sources
from kit.logs.scan import Batch, Scanner, Tally, timed
from kit.logs.source import Source
from kit.logs.table import SCHEMA, Portion

if TYPE_CHECKING:
    import pandas as pd

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
Progress = Callable[[Source], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What became of every line (law 4): attempt_lines + not_understood + undecodable + other = lines.

    Attributes:
        attempts: tries to sign in, of all that was read; where a server reports a number, the number.
        attempt_lines: lines that tell of a try.
        not_understood: lines that look like authentication and belong to no known shape.
        undecodable: other lines that are no UTF-8.
    """

    lines: int
    attempts: int
    attempt_lines: int
    other: int
    not_understood: int
    undecodable: int

    @classmethod
    def of(cls, tally: Tally, attempts: int) -> Coverage:
        """From the tally of the lines."""
        numbers = {each.name: getattr(tally, each.name) for each in fields(cls) if each.name != "attempts"}
        return cls(attempts=attempts, **numbers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A shape of line that was not understood: how many there were, and one of them, masked."""

    count: int
    example: str

    @classmethod
    def of(cls, tally: Tally) -> tuple[Unknown, ...]:
        """From the tally of the lines, the most frequent first."""
        return tuple(cls(count=count, example=example) for count, example in sorted(tally.shapes.values(), key=lambda s: -s[0]))


@dataclass(frozen=True, kw_only=True)
class AuthLog:
    """What logs say about who signs in and who fails.

    Attributes:
        table: an Arrow table, one row an attempt in the order of the lines, one column a field of `kit.model.Attempt`.
        unknown: shapes of lines that were not understood, the most frequent first.
        time_anchor: for each file, where its years and zone came from.
        problems: what kept a part of a file from being read.
    """

    table: pa.Table
    coverage: Coverage
    unknown: tuple[Unknown, ...]
    time_anchor: tuple[str, ...]
    problems: tuple[str, ...]

    @classmethod
    def remembered(cls, table: pa.Table, beside: dict[str, Any]) -> AuthLog:
        """From what the cache has."""
        return cls(
            table=table,
            coverage=Coverage(**beside["coverage"]),
            unknown=tuple(Unknown(**each) for each in beside["unknown"]),
            time_anchor=tuple(beside["time_anchor"]),
            problems=(),
        )

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The table as pandas has it: times aware in UTC, words as categories, integers nullable."""
        return to_frame(self.table)


def to_frame(table: pa.Table) -> pd.DataFrame:
    """A table of SCHEMA as pandas has it."""
    import pandas as pd  # noqa: PLC0415 - half a second that only those who want a frame should pay

    nullable = {pa.int32(): pd.Int32Dtype()}
    frame: pd.DataFrame = table.to_pandas(types_mapper=nullable.get)
    for name, column in frame.items():
        if isinstance(column.dtype, pd.CategoricalDtype) and not len(column.cat.categories):  # of no words pandas makes objects
            frame[name] = column.cat.set_categories(pd.Index([], dtype="str"))
    return frame


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which attempts are asked for; None is no matter."""

    since: datetime | None
    until: datetime | None
    user: str | None
    ip: str | None

    def __post_init__(self) -> None:
        if self.ip is not None:
            parse_network(self.ip)

    def of(self, table: pa.Table) -> pa.Table:
        """Those of a table."""
        if self.since:
            table = table.filter(pc.greater_equal(table["time"], pa.scalar(self.since, table["time"].type)))
        if self.until:
            table = table.filter(pc.less(table["time"], pa.scalar(self.until, table["time"].type)))
        if self.user:
            table = table.filter(pc.equal(pc.utf8_lower(table["user"].cast(pa.string())), self.user.lower()))
        if self.ip is not None:
            network, addresses = parse_network(self.ip), table["client_ip"].cast(pa.string())
            within = [address for address in pc.unique(addresses).to_pylist() if is_within(address, network)]
            table = table.filter(pc.is_in(addresses, arrow.texts(within)))
        return table


LARGE: Final = 2_000_000_000
"""Bytes from which on several processes pay."""
MOST_PROCESSES: Final = 4
"""The one that joins keeps up with no more."""


class LogReader:
    """Reads logs as a stream of tables; when it has ended, `coverage` and the rest are complete.

    Args:
        paths: files (plain or packed), folders, glob patterns, or `-` for standard input.
        year: of the first line, for stamps without a year; else it follows from the file's name or modification time.
        zone: of stamps without a zone, as an IANA name or an offset; else UTC.
        since: only attempts at or after this time; coverage is always of all that was read.
        until: only attempts before this time.
        user: only attempts of this user, whatever the case of letters.
        ip: only attempts from this address or network.
        progress: called after each megabyte or so with the source being read.
        processes: that read; else one, and for files of more than LARGE in all as many as there are processors, up to MOST_PROCESSES.
        classes: of lines, for one process; else those of the knowledge tables.

    Attributes:
        sources: the files, in the order in which they are read.

    Raises:
        UnreadableInput: a path cannot be read as a log.
        UsageError: there is no such zone, or `ip` is neither an address nor a network.
    """

    def __init__(
        self,
        paths: Paths,
        *,
        year: int | None = None,
        zone: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        user: str | None = None,
        ip: str | None = None,
        progress: Progress | None = None,
        processes: int | None = None,
        classes: tuple[LineClass, ...] | None = None,
    ) -> None:
        self.sources = find_sources([paths] if isinstance(paths, (str, os.PathLike)) else paths)
        self._clocks = [Clock(year=year, zone=zone, anchor=source.anchor, sample=source.sample) for source in self.sources]
        self._scanner = Scanner(line_classes() if classes is None else classes)
        self._wanted = _Wanted(since, until, user, ip)
        self._progress = progress
        self._processes = processes or _processes_for(self.sources)
        self._attempts = 0

    def tables(self) -> Iterator[pa.Table]:
        """Attempts as they become complete, in tables of about ROWS rows."""
        # The parse makes many small objects and no cycles: the collector would only look at them in vain.
        collecting = gc.isenabled()
        gc.disable()
        try:
            yield from map(self._chosen, self._portions())
        finally:
            if collecting:
                gc.enable()
        if not self._scanner.tally.lines:
            problem = next((source.problem for source in self.sources if source.problem), None)
            raise UnreadableInput(
                problem or "there is no line in it",
                where=", ".join(source.name for source in self.sources),
                next_step="Fetch the file again: it is damaged, or was cut on its way"
                if problem
                else "Was it just rotated? The lines are then in its predecessor, such as mail.log.1",
            )

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The same as Arrow's record batches, for whoever hands them on."""
        for table in self.tables():
            yield from table.to_batches()

    def _portions(self) -> Iterator[pa.Table]:
        portion = Portion()
        for attempts in self._complete():
            portion.add(attempts)
            if portion.full:
                yield portion.table()
                portion = Portion()
        if portion.rows:
            yield portion.table()

    def _complete(self) -> Iterator[Attempts]:
        joiner, tally = Joiner(), self._scanner.tally
        for place, batch in self._candidates():
            yield from joiner.feed(timed(batch, self._clocks[place], tally))
            if self._progress:
                self._progress(self.sources[place])
        yield from joiner.finish()

    def _candidates(self) -> Iterator[tuple[int, Batch]]:
        if self._processes > 1:
            from kit.logs.workers import scan_sources  # noqa: PLC0415 - for large logs only

            return scan_sources(self.sources, self._processes, self._scanner.tally)
        return ((place, batch) for place, source in enumerate(self.sources) for batch in self._scanner.scan(source))

    def _chosen(self, table: pa.Table) -> pa.Table:
        self._attempts += pc.sum(table["count"]).as_py() or 0
        return self._wanted.of(table)

    @property
    def coverage(self) -> Coverage:
        """What became of every line."""
        return Coverage.of(self._scanner.tally, self._attempts)

    @property
    def unknown(self) -> tuple[Unknown, ...]:
        """Shapes of lines that were not understood, the most frequent first."""
        return Unknown.of(self._scanner.tally)

    @property
    def time_anchor(self) -> tuple[str, ...]:
        """For each file, where its years and zone came from."""
        return tuple(f"{s.name}: {c.anchor}" for s, c in zip(self.sources, self._clocks, strict=True))

    @property
    def problems(self) -> tuple[str, ...]:
        """What kept a part of a file from being read."""
        return tuple(f"{source.name}: {told}" for source in self.sources for told in source.told)


def _processes_for(sources: Sequence[Source]) -> int:
    if sum(source.size or 0 for source in sources) < LARGE or any(source.path is None for source in sources):
        return 1
    return min(os.cpu_count() or 1, MOST_PROCESSES)


def read_logs(
    paths: Paths,
    *,
    year: int | None = None,
    tz: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    user: str | None = None,
    ip: str | None = None,
    progress: Progress | None = None,
) -> AuthLog:
    """Reads mail logs: every try to sign in once, and what became of every line. Large ones that were read before are remembered.

    Arguments and errors are those of `LogReader`; `tz` is its `zone`.
    """
    wanted = _Wanted(since, until, user, ip)
    reader = LogReader(paths, year=year, zone=tz, since=since, until=until, user=user, ip=ip, progress=progress)
    key = key_of(reader.sources, year=year, zone=tz)
    if key and (known := load(key)):
        log = AuthLog.remembered(*known)
        return replace(log, table=wanted.of(log.table).combine_chunks())
    log = collect(reader)
    # What is only a part, or has changed meanwhile, is not for the next time.
    if key and wanted == _Wanted(None, None, None, None) and not log.problems and key == key_of(reader.sources, year=year, zone=tz):
        store(key, log.table, {f.name: getattr(log, f.name) for f in fields(log) if f.name != "table"})
    return log


def collect(reader: LogReader) -> AuthLog:
    """All that a reader gives, in memory."""
    tables = list(reader.tables())
    table = pa.concat_tables(tables).unify_dictionaries().combine_chunks() if tables else SCHEMA.empty_table()
    return AuthLog(table=table, coverage=reader.coverage, unknown=reader.unknown, time_anchor=reader.time_anchor, problems=reader.problems)
