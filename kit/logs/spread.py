"""JSON whose records are spread over lines, or stand all on one: brought to one record a line, byte for byte in its place.

A line end within a record becomes a blank, the comma between two records a line end, and what stands around them blanks. No byte is added or
lost, so that an offset is still that of the file. A line is then a record.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

# How such a stream begins, and how many brackets are open around a record.
_BEGINS: Final = (
    (re.compile(rb'(?:\xef\xbb\xbf)?\s*\[\s*\{\s*["}]'), 1),
    (re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*(?:"@odata[^"]{0,64}"\s*:\s*"[^"]{0,512}"\s*,\s*){0,4}"(?:value|records)"\s*:\s*\['), 2),
    (re.compile(rb'(?:\xef\xbb\xbf)?\s*\{[ \t\r]*\n\s*"'), 0),
)
_ESCAPED: Final = re.compile(rb"\\.", re.DOTALL)
_NEWLINE, _BLANK, _COMMA, _QUOTE, _BACKSLASH = b'\n ,"\\'

Fill = Callable[[memoryview], int]


def is_spread(first: bytes) -> bool:
    """Whether a stream that begins so is brought to one record a line."""
    return any(begins.match(first) for begins, _ in _BEGINS)


def one_a_line(first: bytes, fill: Fill) -> tuple[bytes, Fill]:
    """The first bytes of a stream and what fills a buffer with those that follow; of any other stream as they are."""
    around = next((depth for begins, depth in _BEGINS if begins.match(first)), None)
    if around is None:
        return first, fill
    spread, head = _Spread(around), bytearray(first)
    spread.gather(memoryview(head))
    return bytes(head), partial(_filled, spread, fill)


def _filled(spread: _Spread, fill: Fill, buffer: memoryview) -> int:
    got = fill(buffer)
    spread.gather(buffer[:got])
    return got


class _Spread:
    """Where in the JSON the stream is: brackets that are open, whether within a text, and whether behind a backslash.

    No text of JSON holds a line end (RFC 8259 section 7): a stream that has one is none, and stays as it is from there on.
    """

    def __init__(self, around: int) -> None:
        self._around = around
        self._depth = 0
        self._in_text = self._escaped = self._broken = False

    def gather(self, piece: memoryview) -> None:
        """Changes the next bytes in their place."""
        if not piece or self._broken:
            return
        data = np.frombuffer(piece, np.uint8)
        plain = np.frombuffer(_ESCAPED.sub(b"  ", b"\\" * self._escaped + bytes(piece)), np.uint8)[self._escaped :]
        self._escaped = bool(plain[-1] == _BACKSLASH)
        texts = np.cumsum(plain == _QUOTE) + self._in_text
        self._in_text = bool(texts[-1] & 1)
        outside = (texts & 1) == 0
        self._broken = bool((~outside & (data == _NEWLINE)).any())
        if self._broken:
            return
        opens, closes = (_any_of(plain, brackets) & outside for brackets in (b"[{", b"]}"))
        after = self._depth + np.cumsum(opens.astype(np.int64) - closes)
        self._depth = int(after[-1])
        within = np.maximum(after, after - opens + closes) > self._around
        data[within & _any_of(data, b"\n\r")] = _BLANK
        if self._around:
            commas = ~within & outside & (data == _COMMA) & (after == self._around)
            data[~within] = _BLANK
            data[commas] = _NEWLINE


def _any_of(data: npt.NDArray[np.uint8], some: bytes) -> npt.NDArray[np.bool_]:
    return np.isin(data, np.frombuffer(some, np.uint8))
