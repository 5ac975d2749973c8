"""Lines that hold one of some texts, from logs of any size: a literal search, block by block, packed and rotated files as everywhere."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import ahocorasick_rs

from kit.logs.envelope import canonical
from kit.logs.source import Source

MOST: Final = 10_000
"""Lines that one search gives; of more, the last."""
LONGEST: Final = 4_000
"""Characters of a line in canonical form that are kept."""
_RAW: Final = 1 << 16
# journald writes a message that is no UTF-8 as an array of bytes, in which no text is found.
_BYTES_IN_JSON: Final = b'message":['


Search = Callable[[bytes], list[tuple[int, int, int]]]
"""What it finds: which needle, from where, to where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A line that was found.

    Attributes:
        source: the place of its file among those that are read.
        number: from 1.
        offset: in the decompressed bytes of its file.
        place: in the decompressed bytes of all files, in the order in which they are read.
        text: in canonical form, as far as it is kept; not masked.
        raw: as it stands in the file.
    """

    source: int
    number: int
    offset: int
    place: int
    text: str
    raw: str


def as_word(term: str) -> re.Pattern[str]:
    """Finds the term as a word of its own, whatever the case: `ann@example.com`, and not the end of `joann@example.com`."""
    before, behind = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"
    if "@" in term:
        before, behind = r"(?<![\w.+-])", r"(?![\w-]|\.\w)"
    elif _is_address(term):
        before, behind = (r"(?<![0-9A-Fa-f:])", r"(?![0-9A-Fa-f:])") if ":" in term else (r"(?<![\d.])", r"(?!\d|\.\d)")
    elif re.fullmatch(r"[0-9a-f]{8}", term):
        behind = r"(?:[0-9a-f]{8})?" + behind  # OpenSMTPD's id of a message begins that of each of its envelopes
    return re.compile(before + re.escape(term) + behind, re.IGNORECASE)


def _is_address(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


class Finder:
    """Looks through logs, as often as it is asked to.

    Attributes:
        lines: of all files.
        ends: of each file that was looked through, its first and its last line: (offset, text in canonical form).
        problems: by file, what kept the rest of it from being read.
        more: whether a search found more lines than it gave.
    """

    def __init__(self, sources: Sequence[Source], progress: Callable[[Source], None] | None = None) -> None:
        self.sources = sources
        self.lines = 0
        self.more = False
        self.ends: dict[int, tuple[tuple[int, str], ...]] = {}
        self.problems: dict[int, str] = {}
        self._progress = progress

    def find(
        self, terms: Iterable[str], beside: Mapping[str, Sequence[range]] | None = None, *, at: tuple[int, int, str] | None = None
    ) -> list[Found]:
        """The lines that hold a term as a word of its own, whatever the case of its letters, in order.

        Args:
            terms: texts of four characters and more.
            beside: texts that count only within one of their ranges of places.
            at: a line that is given too: the place of its file, its offset and how it begins.
        """
        patterns = {term: as_word(term) for term in terms}
        beside = beside or {}
        needles = [text.lower().encode() for text in (*patterns, *beside, *((at[2],) if at else ())) if text] + [_BYTES_IN_JSON]
        search: Search = ahocorasick_rs.BytesAhoCorasick(list(dict.fromkeys(needles))).find_matches_as_indexes
        found: deque[Found] = deque(maxlen=MOST)
        self.lines = base = 0
        for number, source in enumerate(self.sources):
            reading, lines, end = replace(source, taken=0), 0, 0
            for offset, block in reading.blocks():
                text = bytes(block)
                for before, start, stop in _lines_with(text, search):
                    each = _found(text[start:stop], number, lines + before + 1, offset + start, base)
                    near = any(word in each.raw and any(each.place in part for part in parts) for word, parts in beside.items())
                    meant = at is not None and (number, each.offset) == at[:2]
                    if meant or near or any(pattern.search(each.text) for pattern in patterns.values()):
                        self.more |= len(found) == MOST
                        found.append(each)
                self._remember(number, offset, text)
                lines += text.count(b"\n") + (text[-1:] != b"\n")
                end = offset + len(text)
                if self._progress:
                    self._progress(reading)
            base += end
            self.lines += lines
            if reading.problem:
                self.problems[number] = reading.problem
        return list(found)

    def _remember(self, number: int, offset: int, text: bytes) -> None:
        first, known = _canonical(text[:_RAW].split(b"\n", 1)[0]), self.ends.get(number)
        whole = text.rstrip(b"\n")
        begin = whole.rfind(b"\n") + 1
        self.ends[number] = (known[0] if known else (offset, first), (offset + begin, _canonical(whole[begin : begin + _RAW])))


def _lines_with(text: bytes, search: Search) -> Iterator[tuple[int, int, int]]:
    """The lines in which something is found: how many stand before it, where it begins and ends."""
    before = counted = stop = 0
    for _, at, _ in search(text.lower()):
        if at < stop:
            continue
        start = text.rfind(b"\n", 0, at) + 1
        before += text.count(b"\n", counted, start)
        counted = start
        stop = (text.find(b"\n", at) + 1 or len(text) + 1) - 1
        yield before, start, stop


def _found(raw: bytes, source: int, number: int, offset: int, base: int) -> Found:
    text = raw[:_RAW].decode("utf-8", "replace").removesuffix("\r")
    return Found(source=source, number=number, offset=offset, place=base + offset, text=canonical(text)[:LONGEST], raw=text[:LONGEST])


def _canonical(line: bytes) -> str:
    return canonical(line.decode("utf-8", "replace").removesuffix("\r"))[:LONGEST]


@contextmanager
def read_twice(sources: Sequence[Source]) -> Iterator[list[Source]]:
    """The sources, each of which can be read several times: standard input goes into a file until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="kit-trace-") as folder:
        path = Path(folder, "stdin")
        if any(source.path is None and not source.problem for source in sources):
            with path.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
        yield [source if source.path or source.problem else replace(source, path=path) for source in sources]
