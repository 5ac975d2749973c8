"""How far a long read has come, on a terminal and nowhere else."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final, Self, TextIO

from kit.logs.report import printable
from kit.logs.source import Source

EVERY: Final = 0.25
"""Seconds between two signs of life."""
_CLEAR: Final = "\r\x1b[K"


class Progress:
    """Is called with the source being read; leaves no trace when it is closed."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream if stream is not None and stream.isatty() else None
        self._started = time.monotonic()
        self._shown = self._started
        self._before = 0  # bytes of the sources that are done
        self._source: Source | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        if self._stream and self._shown > self._started:
            self._stream.write(_CLEAR)
            self._stream.flush()

    def __call__(self, source: Source) -> None:
        """Shows where the source is, if the last time was long enough ago."""
        if self._source and self._source is not source:
            self._before += self._source.taken
        self._source = source
        now = time.monotonic()
        if self._stream and now - self._shown >= EVERY:
            self._shown = now
            self._stream.write(_CLEAR + progress_line(source, self._before + source.taken, now - self._started))
            self._stream.flush()


def progress_line(source: Source, taken: int, seconds: float) -> str:
    """The file and how much of it is read, and the speed over all files so far."""
    share = f"{100 * source.taken // source.size} % of {source.size / 1e6:,.0f} MB" if source.size else f"{source.taken / 1e6:,.0f} MB"
    return f"{printable(source.name, 50)}: {share}, {taken / 1e6 / max(seconds, 1e-6):,.0f} MB/s"
