"""Where log lines come from: files plain or gzipped, folders, standard input. Blocks of whole lines, nothing lost."""

from __future__ import annotations

import glob
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from kit.errors import UnreadableInput
from kit.logs.envelope import canonical, stamp_of

BLOCK: Final = 1 << 18
"""Bytes read at once. Between 256 KiB and 2 MiB it makes no difference; larger is slower."""
LONGEST_LINE: Final = 1 << 18
"""Bytes of a line that are looked at. What lies beyond is counted and skipped."""

_SPECIAL: Final = {
    stat.S_IFIFO: ("is a pipe", "Give - and let the pipe feed standard input: kit logs - < {path}"),
    stat.S_IFCHR: ("is a device, not a log", "Give the log's own path"),
    stat.S_IFBLK: ("is a device, not a log", "Give the log's own path"),
    stat.S_IFSOCK: ("is a socket, not a log", "Give the file that the syslog daemon writes"),
}

_PACKED: Final = {b"\xfd7zXZ\0": "xz", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd"}


Fill = Callable[[memoryview], int]
"""Writes the next bytes of a stream into a buffer: how many, 0 at the end."""


@dataclass(slots=True, kw_only=True)
class Source:
    """One stream of log lines.

    Attributes:
        name: as the user gave it; `-` for standard input.
        path: None for standard input.
        modified: when the file was last written, UTC; for standard input, now.
        size: bytes on disk; None where not known.
        problem: what kept the rest from being read, once the blocks have ended; the lines before it were read.
    """

    name: str
    path: Path | None
    modified: datetime
    size: int | None
    taken: int = field(default=0)
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
            yield from _whole_lines(*self._plain(stream))

    def _open(self) -> BinaryIO:
        if self.path is None:
            try:
                return os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
            except (AttributeError, OSError, ValueError) as fault:  # AttributeError: Python itself found it closed
                raise UnreadableInput("standard input is closed", where="-", next_step="Pipe the log in: kit logs - < mail.log") from fault
        try:
            return self.path.open("rb", buffering=0)
        except OSError as fault:
            raise _unreadable(self.name, fault) from fault

    def _plain(self, stream: BinaryIO) -> tuple[bytes, Fill]:
        """The first bytes, decompressed, and what fills a buffer with those that follow."""
        chunks = iter(partial(self._read, stream), b"")
        first = next(chunks, b"")
        while len(first) < 2 and (more := next(chunks, b"")):
            first += more
        fill = partial(self._fill, stream)
        if first.startswith(b"\x1f\x8b"):
            chunks = self._gunzip(first, chunks)
            first = next(chunks, b"")
            fill = partial(_pour, chunks)
        if packed := next((name for magic, name in _PACKED.items() if first.startswith(magic)), None):
            raise UnreadableInput(
                f"is packed with {packed}", where=self.name, next_step=f"Unpack it on the way: {packed} -dc FILE | kit logs -"
            )
        if _is_binary(first[:4096]):
            raise UnreadableInput("is not a text log", where=self.name, next_step="Give the mail log itself, plain or gzipped")
        return first, fill

    def _fill(self, stream: BinaryIO, buffer: memoryview) -> int:
        """A read that fails half-way ends the stream and is told in `problem`."""
        try:
            got: int | None = stream.readinto(buffer)  # type: ignore[attr-defined]  # a raw stream has it
            if got is None:
                raise BlockingIOError("it is not ready, and does not let one wait")
        except OSError as fault:
            self.problem = f"reading stopped after {self.taken:,} bytes: {fault.strerror or fault}"
            return 0
        self.taken += got
        return got

    def _read(self, stream: BinaryIO) -> bytes:
        buffer = memoryview(bytearray(BLOCK))
        return bytes(buffer[: self._fill(stream, buffer)])

    def _gunzip(self, chunk: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
        """RFC 1952: members one after the other. Bounded memory however well it was packed."""
        from isal import isal_zlib  # noqa: PLC0415 - most logs are plain

        inflate = isal_zlib.decompressobj(wbits=31)
        while chunk or (chunk := next(rest, b"")):
            if inflate.eof:
                chunk = chunk.lstrip(b"\0")  # some writers pad with zeros
                if not chunk:
                    continue
                inflate = isal_zlib.decompressobj(wbits=31)
            try:
                plain = inflate.decompress(chunk, BLOCK)
            except isal_zlib.error:  # type: ignore[misc]  # its stub says int
                self.problem = f"the gzip data is damaged after {self.taken:,} compressed bytes; the lines before it were read"
                return
            chunk = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
            if plain:
                yield plain
        if not inflate.eof:
            self.problem = "the gzip file is cut short; the lines before the cut were read"


def find_sources(paths: Iterable[str | os.PathLike[str]]) -> list[Source]:
    """What the paths name, oldest first within a series of rotated files: files, folders, glob patterns, `-`.

    Raises:
        UnreadableInput: a path names nothing that can be read as a log.
    """
    sources: list[Source] = []
    for given in paths:
        name = os.fspath(given)
        if name == "-":
            sources.append(Source(name="-", path=None, modified=datetime.now(UTC), size=None))
        elif not os.path.lexists(name) and glob.has_magic(name) and (found := glob.glob(name)):  # noqa: PTH207 - the pattern may be absolute
            sources += [_file(Path(path)) for path in sorted(found, key=_age)]
        elif os.path.isdir(name):  # noqa: PTH112 - Path.is_dir raises where a name is too long
            sources += _folder(Path(name))
        else:
            sources.append(_file(Path(name)))
    return sources


def _file(path: Path) -> Source:
    try:
        about = path.stat()
    except (OSError, ValueError) as fault:
        raise _unreadable(str(path), fault) from fault
    if special := _SPECIAL.get(stat.S_IFMT(about.st_mode)):
        raise UnreadableInput(special[0], where=str(path), next_step=special[1].format(path=path))
    try:
        path.open("rb").close()
    except OSError as fault:
        raise _unreadable(str(path), fault) from fault
    return Source(name=str(path), path=path, modified=datetime.fromtimestamp(about.st_mtime, UTC), size=about.st_size)


def _folder(folder: Path) -> list[Source]:
    """The logs that lie directly in a folder: regular files whose first line has a time that logs have."""
    try:
        entries = sorted(folder.iterdir(), key=_age)
    except OSError as fault:
        raise _unreadable(str(folder), fault) from fault
    found, passed = [], []
    for path in entries:
        try:
            source = _file(path)
            first = bytes(next(source.blocks(), (0, b""))[1]).split(b"\n", 1)[0].decode("utf-8", "replace")
        except UnreadableInput as fault:
            # A log that may not be read, or is packed in a way that is not known, is told; what is no log is passed over.
            if isinstance(fault.__cause__, PermissionError) or path.suffix in (".xz", ".zst", ".bz2"):
                passed.append(
                    Source(name=str(path), path=None, modified=datetime.now(UTC), size=None, problem=f"{fault.what}. {fault.next_step}")
                )
            continue
        if stamp_of(canonical(first)):
            found.append(_file(path))
    if not found and passed:
        raise UnreadableInput(passed[0].problem or "cannot be read", where=passed[0].name)
    if not found:
        raise UnreadableInput(
            "no file here begins like a log",
            where=str(folder),
            next_step="Give the folder or file that holds the mail log, often /var/log/mail.log",
        )
    return found + passed


def _age(path: str | os.PathLike[str]) -> tuple[str, int, str]:
    """A sort key by which rotated files come oldest first: mail.log.2.gz, mail.log.1, mail.log; dated ones by date."""
    name = re.sub(r"\.(?:gz|log)$", "", os.fspath(path))
    number = re.search(r"\.(\d{1,3})$", name)
    stem = re.sub(r"[.-]\d{1,14}$", "", name)
    # A dated name sorts by its date, and before the file that is still written, which has neither date nor number.
    dated = re.search(r"[.-](\d{6,14})$", name)
    return re.sub(r"\.log$", "", stem), -int(number[1]) if number else 0, dated[1] if dated else "~"


def _unreadable(name: str, fault: OSError | ValueError) -> UnreadableInput:
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


def _pour(chunks: Iterator[bytes], buffer: memoryview) -> int:
    chunk = next(chunks, b"")
    buffer[: len(chunk)] = chunk
    return len(chunk)


def _whole_lines(first: bytes, fill: Fill) -> Iterator[tuple[int, memoryview]]:
    """One buffer serves all blocks: nothing is allocated or copied for a gigabyte of log."""
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
