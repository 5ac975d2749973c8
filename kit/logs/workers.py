"""Several processes for large logs: each scans pieces of them, and one joins what they find, in order.

The times and the joins of a line may depend on every line before it; what a line says does not. So the pieces' lines come out
as if one process had read them all. The workers are this Python run anew, not copies of the caller: a notebook's threads are no
matter, nor what a script does when it is imported.
"""

from __future__ import annotations

import pickle
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from queue import SimpleQueue
from typing import BinaryIO, Final, Self, cast

from kit.errors import UnreadableInput
from kit.logs.classes import line_classes
from kit.logs.records import Header
from kit.logs.scan import Batch, Scanner, Tally
from kit.logs.source import Source

PIECE: Final = 1 << 22
"""Bytes of a log that a worker scans at once; what it finds in them waits in memory until it is joined."""
_AHEAD: Final = 2  # pieces a worker that are scanned or wait
_LENGTH: Final = struct.Struct("<Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """What a piece of a log holds.

    Attributes:
        batches: its candidates, events and all; line numbers count from the piece's first.
        header: the names of columns that were read last.
        source: as it is after reading.
    """

    batches: list[Batch]
    tally: Tally
    header: Header
    source: Source


def scan_piece(piece: Source, header: Header | None = None) -> Scanned:
    """Scans a piece.

    Args:
        piece: of a log.
        header: the names of columns that stand before it.

    Raises:
        UnreadableInput: it cannot be opened, or is no text.
    """
    scanner, header, batches = Scanner(line_classes()), header or Header(), []
    for batch in scanner.scan(piece, header):
        batch.events = list(batch.events)
        batches.append(batch)
    return Scanned(batches=batches, tally=scanner.tally, header=header, source=piece)


class InOrder:
    """What pieces hold, in the order of the log: the count of lines goes on from one to the next, and so do the names of columns.

    Args:
        tally: of all that was taken.
    """

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self._header, self._lines = Header(), 0
        self._problem = False

    def take(self, scanned: Scanned) -> list[Batch]:
        """The candidates of the next piece; none behind a place of its file that could not be read."""
        if not scanned.source.begin:
            self._header, self._lines, self._problem = Header(), 0, False
        elif self._problem:
            return []
        elif self._header.known:  # in an earlier piece, which whoever scanned this one has not seen
            scanned = scan_piece(replace(scanned.source, taken=0), self._header)
        if scanned.header.known:
            self._header = scanned.header
        for batch in scanned.batches:
            batch.numbers += self._lines
        self._lines += scanned.tally.lines
        self._problem = scanned.source.problem is not None
        self.tally.add(scanned.tally)
        return scanned.batches


def scan_sources(sources: Sequence[Source], processes: int, tally: Tally) -> Iterator[tuple[int, Batch]]:
    """The candidates of files in order, each with the place of its file. The tally is complete when they have ended.

    Raises:
        UnreadableInput: one cannot be opened, or is no text.
    """
    places: deque[int] = deque()

    def pieces() -> Iterator[Source]:
        for place, source in enumerate(sources):
            for piece in source.pieces(PIECE):
                places.append(place)
                yield piece

    in_order = InOrder(tally)
    for scanned in scan_pieces(pieces(), processes):
        source = sources[place := places.popleft()]
        for batch in in_order.take(scanned):
            yield place, batch
        source.taken += scanned.source.taken
        source.cut += scanned.source.cut
        source.problem = source.problem or scanned.source.problem


def scan_pieces(pieces: Iterable[Source], processes: int) -> Iterator[Scanned]:
    """What the pieces hold, in their order.

    Raises:
        UnreadableInput: one cannot be opened, or is no text.
    """
    with ExitStack() as stack:
        idle: SimpleQueue[_Worker] = SimpleQueue()
        for _ in range(processes):
            idle.put(stack.enter_context(_Worker()))
        pool = stack.enter_context(ThreadPoolExecutor(processes))
        stack.callback(pool.shutdown, cancel_futures=True)

        def scan(piece: Source) -> bytes:
            worker = idle.get()
            try:
                return worker.scan(piece)
            finally:
                idle.put(worker)

        todo = iter(pieces)
        waiting: deque[Future[bytes]] = deque(pool.submit(scan, piece) for piece in islice(todo, processes * _AHEAD))
        while waiting:
            found = pickle.loads(waiting.popleft().result())  # noqa: S301 - a process of ours wrote it
            waiting.extend(pool.submit(scan, piece) for piece in islice(todo, 1))
            if isinstance(found, Exception):
                raise found
            yield found


class _Worker:
    """A process that scans one piece after the other. It ends when its standard input does."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-P", "-c", "from kit.logs.workers import serve; serve()"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - this Python
        self._to, self._from = cast("BinaryIO", self._process.stdin), cast("BinaryIO", self._process.stdout)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def scan(self, piece: Source) -> bytes:
        """What it found, or the fault that it met, pickled."""
        try:
            _put(self._to, pickle.dumps(piece))
            found = _get(self._from)
        except BrokenPipeError:
            found = b""
        if not found:
            raise UnreadableInput(
                f"the process that read it ended ({self._process.wait()})",
                where=piece.name,
                next_step="Is there memory left? kit logs - < FILE reads in one process",
            )
        return found


def serve() -> None:
    """What a worker does."""
    import gc  # noqa: PLC0415 - for workers only
    import signal  # noqa: PLC0415 - the same

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the caller ends its workers
    gc.disable()
    while task := _get(sys.stdin.buffer):
        found: Scanned | Exception
        try:
            found = scan_piece(pickle.loads(task))  # noqa: S301 - the caller wrote it
        except Exception as fault:  # noqa: BLE001 - the caller raises it
            found = fault
        _put(sys.stdout.buffer, pickle.dumps(found, pickle.HIGHEST_PROTOCOL))


def _put(stream: BinaryIO, data: bytes) -> None:
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def _get(stream: BinaryIO) -> bytes:
    """The next message; nothing at the end of the stream."""
    head = stream.read(_LENGTH.size)
    return stream.read(_LENGTH.unpack(head)[0]) if len(head) == _LENGTH.size else b""
