"""What a command prints, read while it runs."""

from __future__ import annotations

import subprocess
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import Empty, Queue
from threading import Thread
from typing import Final

from kit.errors import KitError, UnreadableInput
from kit.logs.growing import Open, Piece, Reading, as_given
from kit.logs.source import Source
from kit.redact import mask

_WAITING: Final = 64
"""Blocks that a command may be ahead."""
_AT_ONCE: Final = 256
"""Blocks that are taken at one look: what prints without a pause is shown in between."""
_END: Final = 2.0
"""Seconds that a command gets to end when it is told to."""


@dataclass(slots=True, kw_only=True)
class _Printed(Source):
    """Blocks that a command has printed."""

    printed: list[tuple[int, bytes]]

    def blocks(self) -> Iterator[tuple[int, memoryview]]:
        """As those of any source."""
        yield from ((offset, memoryview(block)) for offset, block in self.printed)


class GrowingOutput:
    """What a command prints, such as `journalctl --follow --output=json`.

    Args:
        command: and its arguments.

    Attributes:
        name: of the command.
        readings: the one that there is.
        problems: what it has said when it failed.
        ended: it has.

    Raises:
        UnreadableInput: there is no such command.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.name = command[0]
        self.readings = [Reading(name=self.name)]
        self.problems: list[str] = []
        self.ended = False
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the command
        self._queue: Queue[tuple[int, bytes] | Exception | None] = Queue(_WAITING)
        try:
            # Of one group with this process: what interrupts the one ends the other.
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._said, bufsize=0)  # noqa: S603
        except OSError as fault:
            self._said.close()
            raise UnreadableInput(f"cannot be run ({fault.strerror})", where=command[0]) from fault
        self._ending = weakref.finalize(self, self._process.terminate)  # at the latest when this process ends
        self._source = Open(name=self.name, path=None, modified=datetime.now(UTC), size=None, stream=self._process.stdout)  # type: ignore[arg-type]
        self._thread = Thread(target=self._pull, daemon=True)
        self._thread.start()

    def _pull(self) -> None:
        try:
            for offset, block in self._source.blocks():
                self._queue.put((offset, bytes(block)))
            self._queue.put(None)
        except (KitError, OSError) as fault:
            self._queue.put(fault)

    def look(self) -> Iterator[Piece]:
        """What has been printed since the last look.

        Raises:
            UnreadableInput: it is no text.
        """
        printed: list[tuple[int, bytes]] = []
        fault = None
        while len(printed) < _AT_ONCE and not self.ended:
            try:
                block = self._queue.get_nowait()
            except Empty:
                break
            if isinstance(block, tuple):
                printed.append(block)
            else:
                self.ended, fault = True, block
        if printed:
            self._source.modified = datetime.now(UTC)
            values = as_given(self._source)
            yield self.readings[0], _Printed(**values, printed=printed)
        if fault:
            raise fault
        if self.ended:
            self._hear()

    def _hear(self) -> None:
        """What it said when it failed."""
        if self._process.wait() > 0:
            self._said.seek(0)
            words = self._said.read(2000).decode("utf-8", "replace").split("\n")[0]
            self.problems.append(f"{self.name}: {mask(words) or f'it ended with code {self._process.returncode}'}")

    def close(self) -> None:
        """Ends the command."""
        self._ending.detach()
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_END)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        while self._thread.is_alive():
            with suppress(Empty):
                self._queue.get(timeout=0.05)  # it may wait for room
        self._source.stream.close()
        self._said.close()
