"""Logs too large for one machine, or on others: the same parser under Dask, over pieces of files at any address that fsspec opens.

The pieces are scanned wherever there is room. They are joined one after the other, for an attempt may reach from one into the next:
a task of the chain takes what a piece holds and hands on what is still open, which is little. Needs the extra `cluster`, and for some
addresses a package that fsspec names (`s3fs` for s3://, `paramiko` for ssh://).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import dask.dataframe as dd
import fsspec
import pyarrow.compute as pc
from dask.base import compute
from dask.dataframe.utils import clear_known_categories
from dask.delayed import Delayed, delayed

from kit.logs.authlog import Coverage, Unknown, to_frame
from kit.logs.clock import Clock
from kit.logs.join import Joiner
from kit.logs.rotation import day_of, in_order
from kit.logs.scan import Tally, timed
from kit.logs.source import Source, unreadable
from kit.logs.table import SCHEMA, Portion
from kit.logs.workers import InOrder, Scanned, scan_piece

PIECE: Final = 1 << 26
"""Bytes of a file in one task."""


@dataclass(slots=True, kw_only=True)
class Remote(Source):
    """A file that fsspec opens."""

    file: Any

    def _open(self) -> BinaryIO:
        try:
            return cast("BinaryIO", self.file.open())
        except OSError as fault:
            raise unreadable(self.name, fault) from fault


@dataclass(frozen=True, slots=True)
class ClusterLog:
    """What logs say, once it is computed.

    Attributes:
        frame: attempts, as `AuthLog.frame` has them.
    """

    frame: Any  # dask.dataframe.DataFrame
    _last: Delayed

    def report(self) -> tuple[Coverage, tuple[Unknown, ...], tuple[str, ...]]:
        """What became of every line, the shapes that were not understood, and what kept a part from being read. Reads all."""
        (last,) = compute(self._last)
        return Coverage.of(last.tally, last.attempts), Unknown.of(last.tally), tuple(last.problems)


def read_logs(
    urls: str | Iterable[str], *, year: int | None = None, tz: str | None = None, storage_options: Mapping[str, Any] | None = None
) -> ClusterLog:
    """Plans the reading of logs; nothing but the files' lists and the ends of their pieces is read before the frame is computed.

    Args:
        urls: of files, of folders, or glob patterns: `s3://logs/mail.log*`, `ssh://mx/var/log/mail.log`, or paths.
        year: of the first line, for stamps without a year.
        tz: zone of stamps without one.
        storage_options: for fsspec, such as keys.

    Raises:
        UnreadableInput: there is no such file.
        UsageError: there is no such zone.
    """
    sources = in_order(source for url in ([urls] if isinstance(urls, str) else urls) for source in _found(url, storage_options or {}))
    pieces = [piece for source in sources for piece in source.pieces(PIECE)]
    scan, join, state, frames = delayed(scan_piece), delayed(_join, nout=2), delayed(_State)(year, tz), []
    for number, piece in enumerate(pieces, 1):
        state, frame = join(state, scan(piece), last=number == len(pieces))
        frames.append(frame)
    meta = clear_known_categories(to_frame(SCHEMA.empty_table()))
    return ClusterLog(dd.from_delayed(frames, meta=meta, verify_meta=False), state)


def _found(url: str, options: Mapping[str, Any]) -> list[Source]:
    system, path = fsspec.core.url_to_fs(url, **options)
    try:
        paths = sorted(system.glob(path) if fsspec.core.has_magic(path) else system.find(path, maxdepth=1))
        if not paths:
            raise FileNotFoundError(url)
        return [_remote(system, path, system.unstrip_protocol(path) if "://" in url else path) for path in paths]
    except OSError as fault:
        raise unreadable(url, fault) from fault


def _remote(system: Any, path: str, name: str) -> Source:
    try:
        modified = system.modified(path)
    except NotImplementedError:
        modified = datetime.now(UTC)
    modified = modified if modified.tzinfo else modified.replace(tzinfo=UTC)
    file = fsspec.core.OpenFile(system, path)
    return Remote(name=name, path=Path(path), modified=modified, size=system.size(path), named=day_of(Path(path).name), file=file)


@dataclass(slots=True)
class _State:
    """What is open between one piece and the next."""

    year: int | None
    zone: str | None
    tally: Tally = field(default_factory=Tally)
    joiner: Joiner = field(default_factory=Joiner)
    attempts: int = 0
    problems: list[str] = field(default_factory=list)
    in_order: InOrder = field(init=False)
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        self.in_order = InOrder(self.tally)


def _join(before: _State, scanned: Scanned, *, last: bool) -> tuple[_State, Any]:
    """The state behind a piece, and the frame of the attempts that nothing behind it can reach."""
    state, source = copy.deepcopy(before), scanned.source  # Dask may ask for a task twice
    if not source.begin:
        state.clock = Clock(year=state.year, zone=state.zone, anchor=source.anchor, sample=source.sample)
    portion = Portion()
    for batch in state.in_order.take(scanned):
        for attempts in state.joiner.feed(timed(batch, state.clock, state.tally)):
            portion.add(attempts)
    for attempts in state.joiner.finish() if last else ():
        portion.add(attempts)
    state.problems += [f"{source.name}: {told}" for told in source.told]
    table = portion.table() if portion.rows else SCHEMA.empty_table()
    state.attempts += pc.sum(table["count"]).as_py() or 0
    return state, to_frame(table)
