"""A line of a log read back from where an attempt says that it stands, with the lines around it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final

from kit.errors import UnreadableInput
from kit.logs.rotation import find_sources
from kit.logs.source import Source
from kit.redact import mask

LONGEST: Final = 4_000
"""Characters of a line that are given."""
_BEFORE: Final = 1 << 16
"""Bytes before a line in which those around it are looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawLine:
    """A line as it stands in its file, masked and bounded.

    Attributes:
        offset: in the decompressed bytes.
        chosen: it is the one that was asked for.
    """

    offset: int
    text: str
    chosen: bool


def read_line(file: str | os.PathLike[str], offset: int, around: int = 3) -> list[RawLine]:
    """The line at that offset with up to `around` lines before and behind it, in order.

    A plain file is entered there; a packed one is unpacked up to it. A file that was rotated since has another line at that place, or
    none: whoever has the line's text compares the two.

    Args:
        file: its name, as the column `file` has it.
        offset: where the line begins, in the decompressed bytes, as the column `offset` has it.
        around: lines before it and behind it.

    Raises:
        UnreadableInput: the file cannot be read, or no line begins there.
    """
    lines = raw_lines(find_sources([file])[0], offset, around)
    return [RawLine(offset=place, text=mask(text), chosen=place == offset) for place, text in lines]


def raw_lines(source: Source, offset: int, around: int) -> list[tuple[int, str]]:
    """The same as (offset, text), not masked."""
    before = rest = b""
    for start, block in _entered(source, max(offset - _BEFORE, 0)):
        begin = max(offset - start, 0) if not rest else 0
        before = _last_lines(before + bytes(block[:begin])) if not rest else before
        rest += bytes(block[begin:]) if rest or start + begin == offset else b""
        if rest.count(b"\n") > around or len(rest) > _BEFORE or start > offset:
            break
    if not rest or before[-1:] not in (b"", b"\n"):
        step = "It was written or rotated since: read the log again"
        raise UnreadableInput(f"no line begins at byte {offset:,}", where=source.name, next_step=step)
    earlier = before.split(b"\n")[:-1][-around:] if around else []
    lines = [*earlier, *rest.removesuffix(b"\n").split(b"\n")[: around + 1]]
    places = accumulate((len(line) + 1 for line in lines), initial=offset - sum(len(line) + 1 for line in earlier))
    return [(place, line.decode("utf-8", "replace").removesuffix("\r")[:LONGEST]) for place, line in zip(places, lines, strict=False)]


def offset_of(source: Source, number: int) -> int:
    """Where that line of a file begins, in the decompressed bytes; lines count from 1.

    Raises:
        UnreadableInput: the file has fewer.
    """
    before = 0
    for offset, block in source.blocks():
        text = bytes(block)
        if number <= before + text.count(b"\n") + (text[-1:] != b"\n"):
            place = 0
            for _ in range(number - before - 1):
                place = text.index(b"\n", place) + 1
            return offset + place
        before += text.count(b"\n")
    raise UnreadableInput(f"has {before:,} lines, and no line {number:,}", where=source.name, next_step="Give the number of one of them")


def _entered(source: Source, place: int) -> Iterator[tuple[int, memoryview]]:
    """Blocks of the source from the first line behind that place on, where it can be entered there; else from its beginning."""
    end = next(source.pieces(place)).end if place else None
    return (source if end is None else replace(source, begin=end, taken=0)).blocks()


def _last_lines(text: bytes) -> bytes:
    return text if len(text) <= _BEFORE else text[text.find(b"\n", len(text) - _BEFORE - 1) + 1 :]
