"""A file that is read while it is written, through its rotations.

A rotated file is known again by its first bytes, whatever it is called then, and packed or not: what was written to it between two looks
is read from there. A file that was renamed is read to its end as long as the new one is empty, for its writer has not changed over yet.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from io import FileIO
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any, BinaryIO, Final

from kit.errors import KitError, UnreadableInput
from kit.logs.clock import Clock
from kit.logs.records import Header
from kit.logs.rotation import find_sources
from kit.logs.source import BLOCK, Source, unreadable
from kit.logs.spread import is_spread
from kit.logs.unpack import packing_of

_HEAD: Final = 4096
"""Bytes by which a file is known again."""


@dataclass(slots=True, kw_only=True)
class Reading:
    """One file of those that follow each other under a name, or a command's output.

    Attributes:
        name: what it is called now.
        head: its first bytes.
        header: the names of its columns, once they were read.
        lines: that were read of it.
        clock: what reads its times.
        timed: whether it has read any; until then the year follows from when the file was last written.
    """

    name: str
    head: bytes = b""
    header: Header = field(default_factory=Header)
    lines: int = 0
    clock: Clock | None = None
    timed: bool = False


Piece = tuple[Reading, Source]
"""Whole lines that have come since, and what they go on."""


@dataclass(slots=True, kw_only=True)
class Open(Source):
    """A source that is open already: it stays the same file, whatever becomes of its name."""

    stream: FileIO

    def _open(self) -> BinaryIO:
        stream = os.fdopen(os.dup(self.stream.fileno()), "rb", buffering=0)
        if stream.seekable():
            stream.seek(0)
        return stream


@dataclass(slots=True, kw_only=True)
class _Behind(Source):
    """What stands behind a place of a source that perhaps cannot be entered there, for it is packed."""

    behind: int

    def blocks(self) -> Iterator[tuple[int, memoryview]]:
        """As those of any source."""
        for offset, block in Source.blocks(self):
            if offset + len(block) > self.behind:
                skipped = max(self.behind - offset, 0)
                yield offset + skipped, block[skipped:]


class GrowingFile:
    """The file at a path, through its rotations.

    Args:
        sources: it, as it is now, and before it what is read first, the oldest first.

    Attributes:
        name: of the file that is followed.
        readings: what was read, in this order.
        problems: what may be missing.
        ended: never.
    """

    ended: Final = False

    def __init__(self, sources: Sequence[Source]) -> None:
        self.readings: list[Reading] = []
        self.problems: list[str] = []
        *self._before, source = sources
        self.name = source.name
        self._path = source.path or Path()
        self._stream: FileIO | None = None
        self._next: os.stat_result | None = None  # the new file, once it is there
        self._at = self._searched = 0  # where the first line begins that was not read; up to where no line ends

    def look(self) -> Iterator[Piece]:
        """What has come since the last look, to be taken piece by piece.

        Raises:
            UnreadableInput: the file may not be read, or is no log that grows.
        """
        before, self._before = self._before, []
        yield from self._whole(before)
        if (stream := self._stream or self._enter()) is None:
            return
        about, cut = self._about(), self._is_cut(stream)
        replaced = False
        if about is not None and not os.path.samestat(about, os.fstat(stream.fileno())):
            if self._next is None:
                self._rename(stream)
                self._next = about
            # As long as nothing stands in the new file, the old one may still be written.
            replaced = about.st_size > 0 or not os.path.samestat(about, self._next)
        if not cut:
            yield from self._grown(stream, to_the_end=replaced)
        if cut or replaced:
            yield from self._turned(stream, cut)
            self.close()
            if stream := self._enter():
                yield from self._grown(stream)

    def close(self) -> None:
        """Lets go of the file."""
        if self._stream:
            self._stream.close()
        self._stream = None

    def _about(self) -> os.stat_result | None:
        try:
            return self._path.stat()
        except OSError:  # it is away for a moment
            return None

    def _enter(self) -> FileIO | None:
        """Begins with the file that is at the path now, if there is one."""
        try:
            self._stream = FileIO(self._path)
        except FileNotFoundError:
            return None
        except OSError as fault:
            raise unreadable(self.name, fault) from fault
        self.readings.append(Reading(name=self.name))
        self._at = self._searched = 0
        self._next = None
        return self._stream

    def _is_cut(self, stream: FileIO) -> bool:
        """Whether the file was emptied, and perhaps written anew."""
        head = self.readings[-1].head
        return os.fstat(stream.fileno()).st_size < max(self._at, self._searched) or _bytes(stream, 0, len(head)) != head

    def _grown(self, stream: FileIO, *, to_the_end: bool = False) -> Iterator[Piece]:
        """The whole lines that have come; to the end, a last one without its line end too."""
        about, reading = os.fstat(stream.fileno()), self.readings[-1]
        if len(reading.head) < _HEAD:
            reading.head = _bytes(stream, 0, min(_HEAD, about.st_size))
        end = about.st_size if to_the_end else self._line_end(stream, about.st_size)
        if end <= self._at:
            return
        if not self._at and (packing_of(first := _bytes(stream, 0, BLOCK)) or is_spread(first)):
            raise UnreadableInput("is no log that grows line by line", where=self.name, next_step="Read it without following it")
        changed = datetime.fromtimestamp(about.st_mtime, UTC)
        piece = Open(name=reading.name, path=self._path, modified=changed, size=about.st_size, begin=self._at, end=end, stream=stream)
        yield reading, piece
        if piece.problem:
            self.problems.append(f"{reading.name}: {piece.problem}")
        self._at = end

    def _line_end(self, stream: FileIO, size: int) -> int:
        """Where the last whole line ends."""
        low = high = max(self._at, self._searched)
        self._searched = high = max(size, low)
        while high > low:
            begin = max(high - BLOCK, low)
            if found := _bytes(stream, begin, high - begin).rfind(b"\n") + 1:
                return begin + found
            high = begin
        return self._at

    def _whole(self, sources: Sequence[Source]) -> Iterator[Piece]:
        """Files that are written no more."""
        for source in sources:
            self.readings.append(Reading(name=source.name, head=_head_of(source)))
            yield self.readings[-1], source
            if source.problem:
                self.problems.append(f"{source.name}: {source.problem}")

    def _turned(self, stream: FileIO, cut: bool) -> Iterator[Piece]:
        """What was rotated away since the last look."""
        others, old = self._rename(stream), self.readings[-1]
        after = list(dropwhile(lambda source: source.name != old.name, others))
        if cut and after:
            yield old, _Behind(**as_given(after[0]), behind=self._at)
        elif cut:
            self.problems.append(f"{self.name}: it was emptied, and no copy of it is there: its last lines may be missing")
        yield from self._whole(after[1:])

    def _rename(self, stream: FileIO) -> list[Source]:
        """Gives every file that was read the name that it has now; returns those that are rotated, the oldest first."""
        others, old = self._others(), self.readings[-1]
        names = {_head_of(source): source.name for source in others}  # of two that begin the same, the newer
        for reading in self.readings:
            found = [name for head, name in names.items() if reading.head and head.startswith(reading.head)]
            if reading is old:  # perhaps there was nothing in it
                found += [source.name for source in others if _is(source, stream)]
            if found:
                reading.name = found[-1]
            elif reading.name in (self.name, *names.values()):
                reading.name = f"{self.name} (gone since {datetime.now(UTC):%Y-%m-%d %H:%M:%S})"
        return others

    def _others(self) -> list[Source]:
        """The rotated files, the oldest first."""
        try:
            found = find_sources([glob.escape(self.name) + "*"])
        except KitError as fault:
            self.problems.append(f"{self.name}: its rotated files cannot be looked into: {fault}")
            return []
        return list(takewhile(lambda source: source.name != self.name, found))


def _bytes(stream: FileIO, begin: int, size: int) -> bytes:
    stream.seek(begin)
    return stream.read(size)


def _is(source: Source, stream: FileIO) -> bool:
    """Whether that file is the one that is open."""
    try:
        return source.path is not None and os.path.samestat(source.path.stat(), os.fstat(stream.fileno()))
    except OSError:
        return False


def _head_of(source: Source) -> bytes:
    """The first bytes of a file as they were before it was packed."""
    head = b""
    with suppress(UnreadableInput):
        for _, block in replace(source, taken=0, problem=None).blocks():
            head += block[: _HEAD - len(head)]
            if len(head) == _HEAD:
                break
    return head


def as_given(source: Source) -> dict[str, Any]:
    """What another source of the same lines is made of."""
    return {each.name: getattr(source, each.name) for each in fields(Source) if each.name not in ("taken", "problem")}
