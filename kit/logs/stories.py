"""Lines that were found → what belongs together: a message and its copies, a connection.

A queue's ids come again: Postfix gives a short one to another message as soon as the first has left the queue. So the lines of an id
are cut into lives, each of one message, and a life belongs to a story by a line that was looked for, by its Message-ID, or as the copy
that another server, or this one behind a filter, has of the message.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from kit.logs.find import Found
from kit.logs.trail import Reading, State, copy_of, read

SHORTEST: Final = 4
"""Characters of a text that is looked for."""
MOST_BESIDE: Final = 60
"""Lines whose connection is looked for, the last ones."""
FAR: Final = 1 << 24
"""Bytes of log within which a process is the same."""
NEAR: Final = 1 << 20
"""Bytes of log within which what is said of a user who fails may be about that failure."""
_WORD: Final = re.compile(r"[^\s<>()\[\]{},;:='\"]{4,}")
_ADDRESS: Final = re.compile(r".*\[([^\[\]]+)\]")


@dataclass(frozen=True, slots=True)
class Line:
    """One that was found, and what it says."""

    found: Found
    reading: Reading

    @property
    def place(self) -> int:
        """Where it stands among all lines."""
        return self.found.at.place

    @property
    def id(self) -> str | None:
        """Its message, in the server's queue."""
        return self.reading.fields.get("id")

    @property
    def message_id(self) -> str | None:
        """Its message's own."""
        return self.reading.fields.get("message_id")


@dataclass(slots=True)
class Life:
    """All lines of one message under one id."""

    id: str | None
    lines: list[Line] = field(default_factory=list)

    @property
    def message_ids(self) -> set[str]:
        """The Message-IDs that its lines name: one, or none."""
        return {line.message_id for line in self.lines if line.message_id}

    @property
    def copies(self) -> dict[str, int]:
        """The ids under which others have it, and where that is said."""
        return {copy: line.place for line in self.lines if (copy := copy_of(line.reading))}


@dataclass(slots=True)
class Group:
    """What belongs together: the lives of a message, or none; and all lines, those of its connections too."""

    lives: list[Life]
    lines: list[Line]


class Web:
    """Takes lines as searches find them, and says what else to look for."""

    def __init__(self) -> None:
        self._lines: dict[int, Line] = {}
        self._wanted: set[int] = set()

    def add(self, found: Iterable[Found], *, wanted: bool = False) -> None:
        """More lines; `wanted` are those that somebody looks for, and not what belongs to them."""
        for each in found:
            if each.at.place not in self._lines:
                self._lines[each.at.place] = Line(each, read(each.text))
            if wanted:
                self._wanted.add(each.at.place)

    def is_wanted(self, line: Line) -> bool:
        """Whether it is one of those."""
        return line.place in self._wanted

    def terms(self) -> list[str]:
        """Ids to look for, in the order of the logs: those of messages that belong to what is known, and of sessions."""
        lives = [life for group in self._messages() for life in group]
        terms = [text for life in lives for text in (life.id, *life.message_ids, *life.copies) if text and len(text) >= SHORTEST]
        connections = (line.reading.connection for line in self._known(lives))
        return list(dict.fromkeys([*terms, *(c.term for c in connections if c and not c.by_pid and len(c.term) >= SHORTEST)]))

    def beside(self) -> dict[str, list[range]]:
        """What counts only near to a line that is known: its process as the file spells it; the user or address that fails there."""
        parts: dict[str, list[range]] = defaultdict(list)
        known = _in_order(self._known([life for group in self._messages() for life in group]))
        for line in known[-MOST_BESIDE:]:
            connection, fields = line.reading.connection, line.reading.fields
            if connection and connection.by_pid and (text := _as_written(line.found.raw, connection.term)):
                parts[text].append(range(line.place - FAR, line.place + FAR))
            if line.reading.state is State.FAILED:
                for text in (fields.get("user", ""), _ADDRESS.sub(r"\1", fields.get("client", ""))):
                    if len(text) >= SHORTEST:
                        parts[text].append(range(line.place - NEAR, line.place + NEAR))
        return parts

    def groups(self) -> list[Group]:
        """All that belongs together, in the order of the logs."""
        used: set[int] = set()
        segments = self._segments()
        part_of = {line.place: number for number, segment in enumerate(segments) for line in segment}
        groups = []
        for lives in self._messages():
            own = {line.place for life in lives for line in life.lines}
            lines = {line.place: line for life in lives for line in life.lines}
            for number in sorted({part_of[place] for place in own if place in part_of}):
                used |= {line.place for line in segments[number] if line.reading.state not in (State.REFUSED, State.FAILED)}
                lines |= {line.place: line for line in segments[number] if not line.id and line.reading.state is not State.REFUSED}
            groups.append(Group(lives, _in_order(lines.values())))
            used |= own
        for segment in segments:
            if any(self.is_wanted(line) and line.place not in used for line in segment):
                groups.append(Group([], [line for line in segment if not line.id or self.is_wanted(line)]))
                used |= {line.place for line in segment}
        loose = [line for line in self._lines.values() if line.place not in used and (self.is_wanted(line) or _stands_alone(line))]
        return sorted([*groups, *self._attached(groups, loose)], key=lambda group: group.lines[0].place)

    # ------------------------------------------------------------------------------------ messages

    def _messages(self) -> list[list[Life]]:
        """The lives that belong to what is looked for, message by message."""
        lives = list(_lives(_in_order(self._lines.values())))
        links = _links(lives)
        messages, seen = [], set[int]()
        for number, life in enumerate(lives):
            if number in seen or not any(self.is_wanted(line) for line in life.lines):
                continue
            message, new = [], [number]
            while new:
                if (one := new.pop()) not in seen:
                    seen.add(one)
                    message.append(lives[one])
                    new += links[one]
            messages.append(sorted(message, key=lambda life: life.lines[0].place))
        return messages

    # ------------------------------------------------------------------------------------ connections

    def _known(self, lives: Sequence[Life]) -> Iterator[Line]:
        """Lines that are looked for, or are of such a message."""
        yield from (self._lines[place] for place in self._wanted)
        yield from (line for life in lives for line in life.lines if not self.is_wanted(line))

    def _segments(self) -> list[list[Line]]:
        """The lines of each connection, in order."""
        by_key: dict[tuple[str, ...], list[list[Line]]] = defaultdict(lambda: [[]])
        for line in _in_order(self._lines.values()):
            if connection := line.reading.connection:
                parts = by_key[connection.key]
                if connection.opens and parts[-1]:
                    parts.append([])
                parts[-1].append(line)
                if connection.closes:
                    parts.append([])
        return [part for parts in by_key.values() for part in parts if part]

    def _attached(self, groups: list[Group], loose: Sequence[Line]) -> Iterator[Group]:
        """Lines of no message and no connection go to the message whose id they name, as a filter's do, or to the connection of the
        same host that they stand within; the others stand alone.
        """
        named: dict[str, list[Group]] = defaultdict(list)
        for group in groups:
            for name in {name for life in group.lives for name in (life.id, *life.message_ids) if name}:
                named[name].append(group)
        alone: list[Line] = []
        for line in loose:
            around = [group for word in set(_WORD.findall(line.found.text)) for group in named.get(word, ()) if _reach(group, line, NEAR)]
            around = around or [group for group in groups if not group.lives and _reach(group, line, 0)]
            if around:
                closest = min(around, key=lambda group: group.lines[-1].place - group.lines[0].place)
                closest.lines = _in_order([*closest.lines, line])
            elif self.is_wanted(line):
                alone.append(line)
        if alone:
            yield Group([], alone)


def _reach(group: Group, line: Line, margin: int) -> bool:
    """Whether a line of the same host stands within the group, or that many bytes of log beside it."""
    first, last = group.lines[0], group.lines[-1]
    return first.reading.host == line.reading.host and first.place - margin <= line.place <= last.place + margin


def _stands_alone(line: Line) -> bool:
    return line.id is None and line.message_id is None and line.reading.connection is None


def _in_order(lines: Iterable[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: line.place)


def _lives(lines: Iterable[Line]) -> Iterator[Life]:
    """Lives by host and id; a line that names a Message-ID and no id is one by itself."""
    open_lives: dict[tuple[str | None, str], Life] = {}
    for line in lines:
        if line.id is None:
            if line.message_id:
                yield Life(None, [line])
            continue
        key = line.reading.host, line.id
        if line.reading.state is State.RECEIVED and key in open_lives:
            yield open_lives.pop(key)
        open_lives.setdefault(key, Life(line.id)).lines.append(line)
        if line.reading.state is State.ENDS:
            yield open_lives.pop(key)
    yield from open_lives.values()


def _links(lives: Sequence[Life]) -> dict[int, set[int]]:
    """Which lives are of one message: by their places, those of one Message-ID, and what is a copy of what."""
    by_id: dict[str, list[int]] = defaultdict(list)
    by_message_id: dict[str, list[int]] = defaultdict(list)
    links: dict[int, set[int]] = defaultdict(set)
    for number, life in enumerate(lives):
        if life.id:
            by_id[life.id].append(number)
        for message_id in life.message_ids:
            by_message_id[message_id].append(number)
    for same in by_message_id.values():
        for one, other in pairwise(same):
            links[one].add(other)
            links[other].add(one)
    for number, life in enumerate(lives):
        for copy, place in life.copies.items():
            if others := [other for other in by_id.get(copy, ()) if other != number]:
                nearest = min(others, key=lambda other: abs(lives[other].lines[0].place - place))
                links[number].add(nearest)
                links[nearest].add(number)
    return links


def _as_written(raw: str, pid: str) -> str | None:
    """The process id with what stands at either side of it in that file: `[123]`, `"123"`."""
    return next((text for text in (f"[{pid}]", f'"{pid}"', f" {pid} ") if text in raw), None)
