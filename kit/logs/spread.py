"""Records that are spread over lines, or stand all on one: brought to one record a line, byte for byte in its place.

In JSON a line end within a record becomes a blank, the comma between two records a line end, and what stands around them blanks. In the CSV of
the Entra portal a line end between quotes becomes a blank. No byte is added or lost, so that an offset is still that of the file. A line is
then a record.
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
# The first columns of such CSV, and what begins a line of any log: between quotes it shows that one of them was none.
_COLUMNS: Final = re.compile(rb'(?:\xef\xbb\xbf)?"?(?:date|createddatetime|timegenerated)(?: [(\[]utc[)\]])?"?,', re.IGNORECASE)
_LINE: Final = re.compile(rb'"?\d{4}-\d\d-\d\d[T ]|[A-Z][a-z]{2} [ \d]\d |[{<]')
_ESCAPED: Final = re.compile(rb"\\.", re.DOTALL)
_NEWLINE, _BLANK, _COMMA, _QUOTE, _BACKSLASH = b'\n ,"\\'

Fill = Callable[[memoryview], int]


def is_spread(first: bytes) -> bool:
    """Whether a stream that begins so is brought to one record a line."""
    return _gatherer(first) is not None


def one_a_line(first: bytes, fill: Fill) -> tuple[bytes, Fill]:
    """The first bytes of a stream and what fills a buffer with those that follow; of any other stream as they are."""
    gatherer = _gatherer(first)
    if gatherer is None:
        return first, fill
    head = bytearray(first)
    gatherer.gather(memoryview(head))
    return bytes(head), partial(_filled, gatherer, fill)


def _gatherer(first: bytes) -> _Spread | _Quoted | None:
    if _COLUMNS.match(first):
        return _Quoted()
    return next((_Spread(around) for begins, around in _BEGINS if begins.match(first)), None)


def _filled(gatherer: _Spread | _Quoted, fill: Fill, buffer: memoryview) -> int:
    got = fill(buffer)
    gatherer.gather(buffer[:got])
    return got


class _Quoted:
    """Whether the CSV is between quotes where the stream is. One that is doubled changes that twice (RFC 4180).

    A quote that stands alone would let all that follows be one record: the stream stays as it is from there on.
    """

    def __init__(self) -> None:
        self._inside = self._at_start = self._broken = False

    def gather(self, piece: memoryview) -> None:
        """Changes the next bytes in their place."""
        if not piece or self._broken:
            return
        data, text = np.frombuffer(piece, np.uint8), bytes(piece)
        within = ((np.cumsum(data == _QUOTE) + self._inside) & 1).astype(bool)
        starts = [-1] * (self._inside and self._at_start) + np.flatnonzero(within & (data == _NEWLINE)).tolist()
        alone = next((place for place in starts if _LINE.match(text, place + 1)), len(data))
        self._broken = alone < len(data)
        self._inside, self._at_start = bool(within[-1]), bool(data[-1] == _NEWLINE)
        until = slice(0, max(alone, 0))
        data[until][within[until] & _any_of(data[until], b"\n\r")] = _BLANK


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
