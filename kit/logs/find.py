"""Lines that hold one of some texts, from logs of any size: a literal search, block by block, packed and rotated files as everywhere."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import ahocorasick_rs

from kit.logs.envelope import canonical
from kit.logs.source import Source

MOST: Final = 20_000
"""Lines that one search gives; of more, the last."""
LONGEST: Final = 4_000
"""Characters of a line in canonical form that are kept."""
_RAW: Final = 1 << 16
# journald writes a message that is no UTF-8 as an array of bytes, in which no text is found.
_BYTES_IN_JSON: Final = b'message":['
# With three needles and more the search runs at seven times the speed that it has with two; no line holds this one.
_THIRD: Final = b"\0\1\2\3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a line stands.

    Attributes:
        source: the place of its file among those that are read.
        number: from 1.
        offset: in the decompressed bytes of its file.
        place: in the decompressed bytes of all files, in the order in which they are read.
    """

    source: int
    number: int
    offset: int
    place: int


@dataclass(frozen=True, slots=True)
class Found:
    """A line that was found.

    Attributes:
        text: in canonical form, as far as it is kept; not masked.
        raw: as it stands in the file.
    """

    at: Place
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
        ends: of each file that was looked through, its first and its last line: (offset, bytes).
        problems: by file, what kept the rest of it from being read.
        more: whether a search found more lines than it gave.
    """

    def __init__(self, sources: Sequence[Source], progress: Callable[[Source], None] | None = None) -> None:
        self.sources = sources
        self.lines = 0
        self.more = False
        self.ends: dict[int, tuple[tuple[int, bytes], ...]] = {}
        self.problems: dict[int, str] = {}
        self._progress = progress

    def find(
        self,
        terms: Iterable[str],
        beside: Mapping[str, Sequence[range]] | None = None,
        *,
        at: tuple[int, int, str] | None = None,
        most: int = MOST,
    ) -> list[Found]:
        """The lines that hold a term as a word of its own, whatever the case of its letters, in order.

        Args:
            terms: texts of four characters and more.
            beside: texts that count only within one of their ranges of places.
            at: a line that is given too: the place of its file, its offset and how it begins.
            most: lines that are given; of more, the last.
        """
        query = _Query(terms, beside or {}, at)
        found: deque[Found] = deque(maxlen=most)
        self.lines = base = 0
        for number, source in enumerate(self.sources):
            reading, lines, end = replace(source, taken=0), 0, 0
            for offset, block in reading.blocks():
                text = bytes(block)
                for before, start, stop in query.lines(text):
                    place = Place(source=number, number=lines + before + 1, offset=offset + start, place=base + offset + start)
                    if each := query.found(text[start:stop], place):
                        self.more |= len(found) == most
                        found.append(each)
                lines += text.count(b"\n") + (text[-1:] != b"\n")
                end = offset + len(text)
                self._remember(number, offset, text)
                if self._progress:
                    self._progress(reading)
            base += end
            self.lines += lines
            if reading.problem:
                self.problems[number] = reading.problem
        return list(found)

    def _remember(self, number: int, offset: int, text: bytes) -> None:
        known, last = self.ends.get(number), text.rfind(b"\n", 0, len(text) - 1) + 1
        first = known[0] if known else (offset, text[: text.find(b"\n") + 1 or len(text)][:_RAW])
        self.ends[number] = first, (offset + last, text[last : last + _RAW])


class _Query:
    """What one search is for."""

    def __init__(self, terms: Iterable[str], beside: Mapping[str, Sequence[range]], at: tuple[int, int, str] | None) -> None:
        self._patterns: dict[bytes, list[re.Pattern[str]]] = defaultdict(list)
        self._beside: dict[bytes, list[range]] = defaultdict(list)
        self._at = at
        for term in terms:
            self._patterns[term.lower().encode()].append(as_word(term))
        for text, parts in beside.items():
            self._beside[text.lower().encode()] += parts
        given = [at[2].lower().encode("utf-8", "replace")] if at and at[2] else []
        self._needles = list(dict.fromkeys([*self._patterns, *self._beside, *given, _BYTES_IN_JSON, _THIRD]))
        self._any = ahocorasick_rs.BytesAhoCorasick(self._needles, matchkind=ahocorasick_rs.MatchKind.LeftmostFirst)
        self._each = ahocorasick_rs.BytesAhoCorasick(self._needles)

    def lines(self, text: bytes) -> Iterator[tuple[int, int, int]]:
        """The lines in which something may be found: how many stand before each, where it begins and ends."""
        before = counted = stop = 0
        for _, at, _ in self._any.find_matches_as_indexes(text.lower()):
            if at < stop:
                continue
            start = text.rfind(b"\n", 0, at) + 1
            before += text.count(b"\n", counted, start)
            counted = start
            stop = (text.find(b"\n", at) + 1 or len(text) + 1) - 1
            yield before, start, stop

    def found(self, raw: bytes, place: Place) -> Found | None:
        """The line, if it is one of those that are looked for."""
        held = self._held(raw)
        near = any(place.place in part for needle in held for part in self._beside.get(needle, ()))
        near = near or (self._at is not None and (place.source, place.offset) == self._at[:2])
        if not (near or _BYTES_IN_JSON in held or held & self._patterns.keys()):
            return None
        written = raw[:_RAW].decode("utf-8", "replace").removesuffix("\r")
        text = canonical(written)[:LONGEST]
        if _BYTES_IN_JSON in held:
            held |= self._held(text.encode("utf-8", "replace"))
        if near or any(pattern.search(text) for needle in held for pattern in self._patterns.get(needle, ())):
            return Found(place, text, written[:LONGEST])
        return None

    def _held(self, text: bytes) -> set[bytes]:
        return {self._needles[which] for which, _, _ in self._each.find_matches_as_indexes(text.lower(), overlapping=True)}


@contextmanager
def read_twice(sources: Sequence[Source]) -> Iterator[list[Source]]:
    """The sources, each of which can be read several times: standard input goes into a file until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="kit-trace-") as folder:
        path = Path(folder, "stdin")
        if any(source.path is None and not source.problem for source in sources):
            with path.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
        yield [source if source.path or source.problem else replace(source, path=path) for source in sources]
