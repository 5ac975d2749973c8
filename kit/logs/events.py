"""One story of lines that belong together: its time line, what became of the message for whom, and the tries to sign in within it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, cast

from kit.logs import arrow
from kit.logs.classes import line_classes
from kit.logs.clock import Clock
from kit.logs.join import Joiner
from kit.logs.scan import Scanner, timed
from kit.logs.source import Anchor, Source
from kit.logs.stories import Group, Life, Line, Web
from kit.logs.table import Portion
from kit.logs.trail import LONGEST, State, copy_of
from kit.model import Attempt, Cause, Outcome, Service
from kit.redact import mask_known, mask_lines

IDLE: Final = timedelta(minutes=10)
"""Lines of one process that are further apart are of two connections, where no line says where one ends."""
_FINAL: Final = (State.DELIVERED, State.HANDED_ON, State.DEFERRED, State.BOUNCED, State.REFUSED, State.HELD)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SAYS_WHEN_IT_ENDS: Final = ("postfix", "exim")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry on the time line.

    Attributes:
        time: UTC; None where the line has none that is known.
        side: `client` or `server`.
        says: in plain words; None where the line is of no known shape. Like `text` it is masked and bounded, and not escaped.
        text: as logged, behind the envelope.
        id: of the message, in the server's queue.
        sought: the line holds what was asked for.
    """

    time: datetime | None
    side: str
    says: str | None
    state: State = State.TOLD
    text: str | None = None
    host: str | None = None
    program: str | None = None
    id: str | None = None
    sought: bool = False
    file: str | None = None
    line: int | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of a message for one recipient: the last that the log tells.

    Attributes:
        recipient: None where the log does not say whose it was.
        where: the mailbox, program or server that has it, or was to have it.
        why: the server's own words, masked and bounded.
    """

    recipient: str | None
    state: State
    where: str | None
    why: str | None
    time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What belongs together.

    Attributes:
        kind: `message`; `connection`, where none came to a queue; `lines`, where nothing says what they belong to.
        ids: of the message, in the queues that it passed.
        left: it has left each queue that the log knows of.
        attempts: to sign in, as `kit logs` counts them in these lines.
    """

    kind: str
    ids: tuple[str, ...]
    message_id: str | None
    sender: str | None
    fates: tuple[Fate, ...]
    left: bool
    events: tuple[Event, ...]
    attempts: tuple[Attempt, ...]

    @property
    def begin(self) -> datetime | None:
        """The first time that is known."""
        return next((event.time for event in self.events if event.time), None)


def story_of(group: Group, web: Web, times: Mapping[int, datetime], sources: Sequence[Source]) -> Story:
    """The story of a group of lines.

    Args:
        group: the lines.
        web: which of them are looked for.
        times: of the lines, by their places.
        sources: their files.
    """
    own = {line.place for life in group.lives for line in life.lines}
    kept = [line.place for line in group.lines if line.place in own or web.is_wanted(line)]
    lines = [line for line in group.lines if _belongs(line, [times[place] for place in kept if place in times], times)]
    fields = [line.reading.fields for line in lines if line.place in own]
    attempts = tuple(
        replace(
            attempt,
            text=mask_lines([line.found.raw])[0],
            file=sources[line.found.at.source].name,
            line=line.found.at.number,
            offset=line.found.at.offset,
        )
        for attempt, line in _attempts([line for line in lines if line.place in times], times)
    )
    return Story(
        kind="message" if group.lives else "connection" if any(line.reading.connection for line in lines) else "lines",
        ids=tuple(dict.fromkeys(life.id for life in group.lives if life.id)),
        message_id=_first(fields, "message_id"),
        sender=_first(fields, "sender"),
        fates=tuple(_fates(lines, {life.id for life in group.lives}, times)),
        left=bool(group.lives) and all(map(_has_left, group.lives)),
        events=tuple(_event(line, web, times, sources) for line in lines),
        attempts=attempts,
    )


def _first(fields: Iterable[Mapping[str, str]], name: str) -> str | None:
    return next((mask_known(each[name][:LONGEST]) for each in fields if name in each), None)


def _belongs(line: Line, near: Sequence[datetime], times: Mapping[int, datetime]) -> bool:
    """A process may have the number of another that ended long ago."""
    connection, time = line.reading.connection, times.get(line.place)
    if connection is None or not connection.by_pid or connection.opens is not None or time is None:
        return True
    return any(abs(time - other) <= IDLE for other in near)


def _has_left(life: Life) -> bool:
    kinds = [line.reading.kind or "" for line in life.lines]
    if any(kind.startswith(_SAYS_WHEN_IT_ENDS) for kind in kinds):
        return any(line.reading.state is State.ENDS for line in life.lines)
    return not any(line.reading.state is State.DEFERRED for line in life.lines[-1:])


def _event(line: Line, web: Web, times: Mapping[int, datetime], sources: Sequence[Source]) -> Event:
    reading, found = line.reading, line.found
    return Event(
        time=times.get(line.place),
        side="server",
        says=reading.says,
        state=reading.state,
        text=reading.message,
        host=reading.host,
        program=reading.program,
        id=line.id,
        sought=web.is_wanted(line),
        file=sources[found.at.source].name,
        line=found.at.number,
        offset=found.at.offset,
    )


def _fates(lines: Iterable[Line], ids: set[str | None], times: Mapping[int, datetime]) -> list[Fate]:
    """By recipient. What went to a copy that the log knows has the copy's fate."""
    fates: dict[str | None, Fate] = {}
    for line in lines:
        reading = line.reading
        if reading.state not in _FINAL:
            continue
        recipient = reading.fields.get("recipient")
        fates.pop(recipient, None)
        # Dovecot names the mailbox only, when the queue has told of the recipient.
        if copy_of(reading) not in ids - {None} and not (fates and recipient is None and reading.state is State.DELIVERED):
            where, why = (value and mask_known(value[:LONGEST]) for value in (reading.fields.get("where"), reading.fields.get("why")))
            named = recipient and mask_known(recipient[:LONGEST])
            fates[recipient] = Fate(recipient=named, state=reading.state, where=where, why=why, time=times.get(line.place))
    return list(fates.values())


class _Lines:
    """What a scanner takes for a source: lines in canonical form, each with its time in full."""

    name = ""

    def __init__(self, lines: Sequence[Line], times: Mapping[int, datetime]) -> None:
        texts = (f"{times[line.place]:%Y-%m-%dT%H:%M:%S.%fZ}{line.found.text[len(line.reading.stamp or '') :]}" for line in lines)
        self._text = "\n".join(text.replace("\n", "\\n") for text in texts).encode("utf-8", "replace")

    def blocks(self) -> Iterator[tuple[int, memoryview]]:
        """All of them."""
        if self._text:
            yield 0, memoryview(self._text)


@cache
def _scanner() -> Scanner:
    return Scanner(line_classes())


def _attempts(lines: Sequence[Line], times: Mapping[int, datetime]) -> list[tuple[Attempt, Line]]:
    """The tries to sign in that these lines tell of, each with the line that it stands on."""
    scanner, joiner, portion = _scanner(), Joiner(), Portion()
    clock = Clock(year=None, zone=None, anchor=Anchor(datetime.now(UTC), ""), sample=list)
    for batch in scanner.scan(cast("Source", _Lines(lines, times))):
        for attempts in joiner.feed(timed(batch, clock, scanner.tally)):
            portion.add(attempts)
    for attempts in joiner.finish():
        portion.add(attempts)
    if not portion.rows:
        return []
    table = portion.table()
    micros = [each for chunk in table["time"].chunks for each in arrow.micros(chunk).tolist()]
    rows = table.drop_columns(["time"]).to_pylist()  # pyarrow would load pandas for a time
    return [
        (_attempt(row | {"time": _EPOCH + timedelta(microseconds=time)}), lines[row["line"] - 1])
        for row, time in zip(rows, micros, strict=True)
    ]


def _attempt(row: dict[str, Any]) -> Attempt:
    service = row["service"] and Service(row["service"])
    return Attempt(**row | {"outcome": Outcome(row["outcome"]), "cause": Cause(row["cause"]), "service": service})
