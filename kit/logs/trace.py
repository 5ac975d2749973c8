"""What became of a message, or of a try to sign in, as the server's log tells it.

terms ─► Finder: lines that hold one ─► Web: what else belongs to them ─┬─► stories
               ▲                                                         │
               └──────── ids, sessions, processes to look for ◄──────────┘
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address, ip_address
from itertools import groupby
from typing import Final

import numpy as np

from kit.errors import UnreadableInput, UsageError
from kit.fields import shown
from kit.logs.around import raw_lines
from kit.logs.authlog import Paths
from kit.logs.clock import Clock
from kit.logs.envelope import UNREADABLE, canonical
from kit.logs.events import Event, Story, story_of
from kit.logs.find import Finder, Found, Place, read_twice
from kit.logs.rotation import find_sources
from kit.logs.source import Source
from kit.logs.stories import SHORTEST, Line, Web
from kit.logs.trail import LONGEST, read
from kit.redact import mask_known
from kit.sending.sent import Sent

PASSES: Final = 6
"""How often what was just found is looked for: a message may pass that many filters."""
MOST_LINES: Final = 1_000
"""Lines that hold what is looked for; of more, the last."""
MOST_TERMS: Final = 2_000
"""Ids that are looked for at once, the last ones."""
_BEGINNING: Final = 120
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """From when to when a log reaches, as far as its first and last line say."""

    file: str
    first: datetime | None
    last: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What was found.

    Attributes:
        sought: what was looked for.
        stories: in the order of the log; client and server together on each time line.
        client: what the client knows and no story holds.
        lines: how many were looked through.
        covered: by file, in the order in which they were read.
        time_anchor: for each file, where its years and zone came from.
        problems: what kept a part of a file from being read.
        cut: there was more than is kept; the last of it is here.
    """

    sought: tuple[str, ...]
    stories: tuple[Story, ...]
    client: tuple[Event, ...]
    lines: int
    covered: tuple[Covered, ...]
    time_anchor: tuple[str, ...]
    problems: tuple[str, ...]
    cut: bool


def trace(
    terms: Iterable[str],
    paths: Paths,
    *,
    sent: Sent | None = None,
    at: tuple[str, int] | None = None,
    year: int | None = None,
    zone: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    progress: Callable[[Source], None] | None = None,
) -> Trace:
    """Looks for them in logs, and for all that belongs to what is found.

    Args:
        terms: each an id that the kit or a server gave, a Message-ID, a mail address or a user's name, an IP address.
        paths: as `read_logs` has them.
        sent: what the client knows of a message: its ids are looked for too.
        at: file and offset of a line that is looked for too, such as an attempt's.
        year: of the first line, for stamps without a year.
        zone: of stamps without a zone.
        since: only stories that end at or after it.
        until: only stories that begin before it.
        progress: called with the source being read.

    Raises:
        UsageError: a term is too short, or there is nothing to look for.
        UnreadableInput: a path cannot be read as a log.
    """
    wanted = tuple(dict.fromkeys(map(_term, (*terms, *(sent.ids if sent else ())))))
    if not wanted and at is None:
        raise UsageError("there is nothing to look for", where="ID", next_step="Give a Message-ID, an id, a mail address or an IP address")
    with read_twice(find_sources([paths] if isinstance(paths, (str, os.PathLike)) else paths)) as sources:
        finder = Finder(sources, progress)
        web = _woven(finder, wanted, at)
        if not finder.lines:
            raise UnreadableInput("there is no line in it", where=", ".join(s.name for s in sources), next_step="Was it just rotated?")
        groups = web.groups()

        def clock(source: Source) -> Clock:
            return Clock(year=year, zone=zone, anchor=source.anchor, sample=source.sample)

        times = _times([line for group in groups for line in group.lines], list(map(clock, sources)))
        clocks = list(map(clock, sources))  # each reads its file's stamps in their order, once
        covered = tuple(_covered(sources[number].name, ends, clocks[number]) for number, ends in sorted(finder.ends.items()))
        stories = [story for group in groups if _within(story := story_of(group, web, times, sources), since, until)]
        client = _client(sent, stories)
        return Trace(
            sought=tuple(map(mask_known, wanted)),
            stories=tuple(stories),
            client=client,
            lines=finder.lines,
            covered=covered,
            time_anchor=tuple(f"{s.name}: {c.anchor}" for s, c in zip(sources, clocks, strict=True)),
            problems=tuple(f"{s.name}: {told}" for n, s in enumerate(sources) if (told := finder.problems.get(n) or s.problem)),
            cut=finder.more,
        )


def _term(text: str) -> str:
    """What is looked for: a Message-ID, or a trace id from a subject, without its brackets; an IP address as servers write it."""
    term = text.strip().strip("<>[]")
    with suppress(ValueError):
        address = ip_address(term)
        return str((address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address)
    if not SHORTEST <= len(term) <= LONGEST or not term.isprintable():
        step = f"Give a Message-ID, a queue id, a mail address or an IP address: {SHORTEST} to {LONGEST} printable characters"
        raise UsageError(f"{shown(text)} cannot be looked for", where="ID", next_step=step)
    return term


def _woven(finder: Finder, wanted: Sequence[str], at: tuple[str, int] | None) -> Web:
    """All that is found, and what belongs to it: what is learned with one search is looked for with the next."""
    web, line = Web(), None
    if at is not None:
        number = next((n for n, source in enumerate(finder.sources) if source.name == at[0]), None)
        if number is None:
            raise UsageError(f"{shown(at[0])} is none of the logs that are read", where="ID", next_step="Give its path too")
        line = number, at[1], raw_lines(finder.sources[number], at[1], 0)[0][1][:_BEGINNING]
    web.add(finder.find(wanted, at=line, most=MOST_LINES), wanted=True)
    known: set[str] = set(wanted)
    beside: dict[str, list[range]] = {}
    for _ in range(PASSES):
        terms = [term for term in web.terms() if term not in known]
        near = {text: new for text, parts in web.beside().items() if (new := _not_within(parts, beside.get(text, [])))}
        if not (terms or near):
            break
        finder.more |= len(terms) > MOST_TERMS
        known.update(terms)
        beside |= {text: [*beside.get(text, []), *parts] for text, parts in near.items()}
        web.add(finder.find(terms[-MOST_TERMS:], near))
    return web


def _not_within(parts: Sequence[range], looked: Sequence[range]) -> list[range]:
    """Those whose middle was not looked at."""
    return [part for part in parts if not any(part[len(part) // 2] in old for old in looked)]


def _times(lines: Iterable[Line], clocks: Sequence[Clock]) -> dict[int, datetime]:
    """The time of each line, by its place; of those that have one."""
    times: dict[int, datetime] = {}
    every = sorted({line.place: line for line in lines if line.reading.stamp}.items())
    for source, group in groupby(every, key=lambda each: each[1].found.at.source):
        own = [line for _, line in group]
        offsets = np.array([line.found.at.offset for line in own], np.int64)
        for line, micros in zip(own, clocks[source].micros([line.reading.stamp or "" for line in own], offsets).tolist(), strict=True):
            if micros != UNREADABLE:
                times[line.place] = _EPOCH + timedelta(microseconds=micros)
    return times


def _covered(file: str, ends: tuple[tuple[int, bytes], ...], clock: Clock) -> Covered:
    places = [Place(source=0, number=0, offset=offset, place=place) for place, (offset, _) in enumerate(ends)]
    texts = [canonical(text.decode("utf-8", "replace").strip("\r\n")) for _, text in ends]
    times = _times([Line(Found(at, text, text), read(text)) for at, text in zip(places, texts, strict=True)], [clock])
    return Covered(file=file, first=times.get(0), last=times.get(1))


def _within(story: Story, since: datetime | None, until: datetime | None) -> bool:
    times = [event.time for event in story.events if event.time]
    return not times or not ((since and max(times) < since) or (until and min(times) >= until))


def _client(sent: Sent | None, stories: list[Story]) -> tuple[Event, ...]:
    """Puts what the client knows on the time line of its message; gives it back where there is none."""
    if sent is None:
        return ()
    events = tuple(Event(time=time, side="client", says=mask_known(says[:LONGEST])) for time, says in sent.events)
    ids = {text.strip("<>") for text in sent.ids}
    of = [n for n, story in enumerate(stories) if ids & {story.message_id, *story.ids}]
    of = of or [n for n, story in enumerate(stories) if story.kind == "connection"]
    if not of:
        return events
    story = stories[of[0]]
    known = [event for event in (*story.events, *events) if event.time]
    unknown = [event for event in (*events, *story.events) if not event.time]
    # A server's lines stay in their order where its clock has them at one time.
    stories[of[0]] = replace(story, events=(*unknown, *sorted(known, key=lambda event: event.time or _EPOCH)))
    return ()
