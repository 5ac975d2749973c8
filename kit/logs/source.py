"""One stream of log lines, a file plain or packed or standard input: blocks of whole lines, nothing lost."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from kit.errors import UnreadableInput
from kit.logs.envelope import canonical, stamp_of
from kit.logs.records import REPORT
from kit.logs.spread import is_spread, one_a_line
from kit.logs.unpack import PackingError, packing_of, unpack

BLOCK: Final = 1 << 18
"""Bytes read at once. Between 256 KiB and 2 MiB it makes no difference; larger is slower."""
LONGEST_LINE: Final = 1 << 18
"""Bytes of a line that are looked at. What lies beyond is counted and skipped."""

PROBES: Final = 512
"""Places in a plain file at which a line's time is looked at before it is read."""
_PROBE: Final = 1 << 12
_SMALL: Final = 1 << 16
_IN_BLOCK: Final = 16
"""Lines of an unpacked block whose time is looked at."""
_SOON_UNPACKED: Final = 1 << 24
"""Bytes of a packed file that is unpacked once more for that."""
_MAGIC: Final = 6
_NEWLINE: Final = 10

Fill = Callable[[memoryview], int]
"""Writes the next bytes of a stream into a buffer: how many, 0 at the end."""


class Anchor(NamedTuple):
    """What tells the year: the last line is not later than `latest`, and why."""

    latest: datetime
    why: str


@dataclass(slots=True, kw_only=True)
class Source:
    """One stream of log lines.

    Attributes:
        name: as the user gave it; `-` for standard input.
        path: None for standard input.
        modified: when the file was last written, UTC; for standard input, now.
        size: bytes on disk; None where not known.
        named: the day in its name.
        begin: the first byte that is read, where a line begins.
        end: the byte before which reading stops; None is the end of the file.
        taken: bytes that were read.
        cut: lines of which only LONGEST_LINE bytes were looked at.
        problem: what kept the rest from being read, once the blocks have ended; the lines before it were read.
    """

    name: str
    path: Path | None
    modified: datetime
    size: int | None
    named: date | None = None
    begin: int = 0
    end: int | None = None
    taken: int = field(default=0)
    cut: int = field(default=0)
    problem: str | None = None

    def blocks(self) -> Iterator[tuple[int, memoryview]]:
        """(offset, bytes) of whole lines in order; only the last line may lack its line end.

        The bytes are good until the next block is asked for.

        Raises:
            UnreadableInput: the source cannot be opened, or is no text.
        """
        if self.problem:
            return
        with self._open() as stream:
            first, fill = self._further(stream) if self.begin else one_a_line(*self._plain(stream))
            for offset, block in _whole_lines(first, fill, self._count_cut):
                if self.problem and block[-1] != _NEWLINE:
                    return  # cut anywhere, even within a user's name
                yield self.begin + offset, block

    def pieces(self, size: int) -> Iterator[Source]:
        """The same in pieces of about that many bytes, each of whole lines; in one where it cannot be entered in the middle.

        Raises:
            UnreadableInput: the source cannot be opened.
        """
        if self.path is None or self.problem or (self.size or 0) <= size:
            yield self
            return
        with self._open() as stream:
            head = stream.read(_SMALL)
            begin = end = 0
            if not (packing_of(head) or is_spread(head)):
                while (end := _next_line(stream, end + size)) < (self.size or 0):
                    yield replace(self, begin=begin, end=end, taken=0, cut=0)
                    begin = end
        yield replace(self, begin=begin, taken=0, cut=0)

    @property
    def told(self) -> list[str]:
        """What kept a part of it from being read or looked at."""
        lines = f"{self.cut:,} lines are" if self.cut > 1 else "a line is"
        cut = f"{lines} longer than {LONGEST_LINE:,} bytes, and what lies beyond was not looked at"
        return [each for each in (self.problem, cut if self.cut else None) if each]

    @property
    def anchor(self) -> Anchor:
        """The latest time that its last line can have.

        Rotation names a file after the day on which it ends, or begins, at most a month before. The time of its last change may be
        that of a copy, so it counts only beside the name. A zone ahead of UTC is a day ahead at most.
        """
        changed = self.modified + timedelta(days=1)
        if self.named is None:
            what = "the file's modification time" if self.path else "today's date"
            return Anchor(changed, f"{what} ({self.modified:%Y-%m-%d})")
        end = datetime.combine(self.named, time(), UTC) + timedelta(days=32)
        return Anchor(changed if self.named <= self.modified.date() and changed < end else end, f"the file's name ({self.named})")

    def sample(self) -> Iterator[tuple[int, str]]:
        """(offset, time as written) of lines all over the file, in order, at little cost; none where it can be read only once."""
        last = -1
        for offset, line in self._sampled() if self.path else ():
            if offset > last and (stamp := stamp_of(canonical(line.decode("utf-8", "replace")))):
                yield offset, stamp
                last = offset

    def _sampled(self) -> Iterator[tuple[int, bytes]]:
        with self._open() as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(0)
            if packing_of(stream.read(_MAGIC)):
                # It cannot be entered in the middle.
                again = replace(self, taken=0, problem=None)
                for offset, block in again.blocks() if size <= _SOON_UNPACKED else ():
                    text, begin = bytes(block), 0
                    while begin >= 0:
                        end = (text.find(b"\n", begin) + 1 or len(text) + 1) - 1
                        yield offset + begin, text[begin:end]
                        begin = text.find(b"\n", max(end, begin + len(text) // _IN_BLOCK)) + 1 or -1
                return
            if size > _SMALL:
                for place in range(0, size, size // PROBES):
                    stream.seek(place)
                    yield from islice(_lines(stream.read(_PROBE), place), 0 if place == 0 else 1, 2)
            # The very last line says most.
            place = max(size - _SMALL, 0)
            stream.seek(place)
            yield from islice(_lines(stream.read(_SMALL), place), 0 if place == 0 else 1, None)

    def _open(self) -> BinaryIO:
        if self.path is None:
            try:
                return os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
            except (AttributeError, OSError, ValueError) as fault:  # AttributeError: Python itself found it closed
                raise UnreadableInput("standard input is closed", where="-", next_step="Pipe the log in: kit logs - < mail.log") from fault
        try:
            return self.path.open("rb", buffering=0)
        except OSError as fault:
            raise unreadable(self.name, fault) from fault

    def _plain(self, stream: BinaryIO) -> tuple[bytes, Fill]:
        """The first bytes, unpacked, and what fills a buffer with those that follow."""
        read: Callable[[], bytes] = partial(self._read, stream)
        first = read()
        while len(first) < _MAGIC and (more := read()):
            first += more
        fill: Fill = partial(self._fill, stream)
        if packing := packing_of(first):
            fill = _Pour(self._unpacked(packing, chain((first,), iter(read, b""))))
            buffer = memoryview(bytearray(BLOCK))
            first = bytes(buffer[: fill(buffer)])
        if first.startswith((b"\xff\xfe", b"\xfe\xff")):
            step = "Bring it to UTF-8 on the way: iconv -f UTF-16 -t UTF-8 FILE | kit logs -"
            raise UnreadableInput("is UTF-16, as Windows PowerShell writes it", where=self.name, next_step=step)
        if REPORT.match(first):
            raise UnreadableInput(
                "is the SMTP AUTH clients report, which counts messages and no sign-ins",
                where=self.name,
                next_step="Give the file itself to kit basic; the tries of its senders are in Entra's sign-in log, client app Authenticated SMTP",
            )
        if _is_binary(first[:4096]):
            raise UnreadableInput("is not a text log", where=self.name, next_step="Give the mail log itself, plain or packed")
        return first, fill

    def _count_cut(self) -> None:
        self.cut += 1

    def _further(self, stream: BinaryIO) -> tuple[bytes, Fill]:
        """The same of a piece in the middle."""
        stream.seek(self.begin)
        return self._read(stream), partial(self._fill, stream)

    def _unpacked(self, packing: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from unpack(packing, chunks)
        except PackingError as fault:
            self.problem = self.problem or str(fault)

    def _fill(self, stream: BinaryIO, buffer: memoryview) -> int:
        """A read that fails half-way ends the stream and is told in `problem`."""
        if self.end is not None:
            buffer = buffer[: self.end - self.begin - self.taken]
        try:
            got: int | None = stream.readinto(buffer)  # type: ignore[attr-defined]  # a raw stream has it
            if got is None:
                raise BlockingIOError("it is not ready, and does not let one wait")
        except OSError as fault:
            self.problem = f"reading stopped after {self.begin + self.taken:,} bytes: {fault.strerror or fault}"
            return 0
        self.taken += got
        return got

    def _read(self, stream: BinaryIO) -> bytes:
        buffer = memoryview(bytearray(BLOCK))
        return bytes(buffer[: self._fill(stream, buffer)])


def unreadable(name: str, fault: OSError | ValueError) -> UnreadableInput:
    """What to say of a file that the system does not open."""
    known: dict[type[Exception], tuple[str, str]] = {
        FileNotFoundError: ("there is no such file", "Check the path; mail logs are often /var/log/mail.log or /var/log/maillog"),
        PermissionError: (
            "you may not read it",
            "Read it as a member of its group (often adm), or pipe it in: sudo cat {name} | kit logs -",
        ),
        NotADirectoryError: ("a part of the path is not a folder", "Check the path"),
    }
    what, step = known.get(type(fault), (getattr(fault, "strerror", None) or str(fault), "Check the path"))
    if getattr(fault, "errno", None) == 40:  # ELOOP
        what, step = "the links in this path run in a circle", "Give the path of the file itself"
    return UnreadableInput(what, where=name, next_step=step.format(name=name))


def _is_binary(head: bytes) -> bool:
    """More than a twentieth of control characters that no log holds; of random bytes, such as packed ones, they are a tenth.

    A few NULs after a crash do not make a log binary.
    """
    controls = sum(head.count(c) for c in (*range(9), *range(14, 27), *range(28, 32)))
    return controls > max(8, len(head) // 20)


class _Pour:
    """Fills buffers from pieces of any size."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")

    def __call__(self, buffer: memoryview) -> int:
        filled = 0
        while filled < len(buffer):
            if not (self._left or (piece := next(self._pieces, b""))):
                break
            self._left = self._left or memoryview(piece)
            taken = min(len(self._left), len(buffer) - filled)
            buffer[filled : filled + taken] = self._left[:taken]
            self._left = self._left[taken:]
            filled += taken
        return filled


def _lines(piece: bytes, place: int) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) of what a piece of a file holds of each line; the first and the last may be cut."""
    for line in piece.split(b"\n"):
        yield place, line
        place += len(line) + 1


def _next_line(stream: BinaryIO, place: int) -> int:
    """Where the first line behind that place of a file begins; the end of the file where none does."""
    stream.seek(place)
    while piece := stream.read(_SMALL):
        if found := piece.find(b"\n") + 1:
            return place + found
        place += len(piece)
    return place


def _whole_lines(first: bytes, fill: Fill, cut_one: Callable[[], None]) -> Iterator[tuple[int, memoryview]]:
    """One buffer serves all blocks: nothing is allocated or copied for a gigabyte of log. `cut_one` is called for each line that is cut."""
    buffer = bytearray(LONGEST_LINE + 2 * BLOCK)
    view = memoryview(buffer)
    view[: len(first)] = first
    offset = kept = 0  # the buffer begins with the bytes of a line that is not whole yet
    got = len(first)
    while got:
        filled = kept + got
        if end := buffer.rfind(b"\n", 0, filled) + 1:
            yield offset, view[:end]
            offset += end
            kept = filled - end
            buffer[:kept] = buffer[end:filled]
        elif filled < LONGEST_LINE:
            kept = filled
        else:
            skipped, begin, end = _skip_line(buffer, fill)
            cut_one()
            cut = LONGEST_LINE - 1
            while buffer[cut] & 0xC0 == 0x80 and cut > LONGEST_LINE - 4:  # not within a character: the line would count as no UTF-8
                cut -= 1
            buffer[cut] = 10
            yield offset, view[: cut + 1]
            offset += filled + skipped
            kept = end - begin
            buffer[:kept] = buffer[begin:end]
        got = fill(view[kept : kept + BLOCK])
    if kept:
        yield offset, view[:kept]


def _skip_line(buffer: bytearray, fill: Fill) -> tuple[int, int, int]:
    """Reads on to the end of a line that is too long: how many bytes that was, and where in the buffer what follows it stands."""
    skipped = 0
    while got := fill(memoryview(buffer)[LONGEST_LINE : LONGEST_LINE + BLOCK]):
        if begin := buffer.find(b"\n", LONGEST_LINE, LONGEST_LINE + got) + 1:
            return skipped + begin - LONGEST_LINE, begin, LONGEST_LINE + got
        skipped += got
    return skipped, 0, 0
