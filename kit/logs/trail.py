"""What one line tells of a message's way or of a connection, by `knowledge/trace_lines.toml`. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any, Final

from kit.errors import KnowledgeError
from kit.knowledge.load import load_table
from kit.logs.classes import envelope
from kit.redact import mask, mask_lines

LONGEST: Final = 500
"""Characters of a line, or of what is said of it, that are shown."""
_ENVELOPE: Final = re.compile(envelope(r"[^\s\[\]:]{1,128}") + "(?P<message>.*)", re.ASCII | re.DOTALL)


class State(StrEnum):
    """What became of the message with that line. `told`: worth knowing, and no change."""

    RECEIVED = "received"
    QUEUED = "queued"
    DELIVERED = "delivered"
    HANDED_ON = "handed-on"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    REFUSED = "refused"
    HELD = "held"
    ENDS = "ends"
    SIGNED_IN = "signed-in"
    FAILED = "failed"
    TOLD = "told"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What tells the lines of one connection apart.

    Attributes:
        key: the same for all its lines.
        term: what to look for to find them.
        by_pid: others may have the same key at another time.
        opens, closes: whether the line is its first, its last; None where no line says so.
    """

    key: tuple[str, ...]
    term: str
    by_pid: bool
    opens: bool | None = None
    closes: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A line as it was understood.

    Attributes:
        stamp: its time as written; None where it has none that is known.
        message: what stands behind the envelope, masked and bounded.
        kind: of line; None where none is known.
        says: the line in plain words, masked and bounded.
        fields: what its pattern found; not masked.
    """

    stamp: str | None
    host: str | None
    program: str | None
    message: str
    kind: str | None = None
    state: State = State.TOLD
    says: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    connection: Connection | None = None


@dataclass(frozen=True, slots=True)
class _Kind:
    """One [[line]] of the table."""

    name: str
    program: re.Pattern[str]
    pattern: re.Pattern[str]
    state: State
    says: str


def read(text: str) -> Reading:
    """A line in canonical form."""
    found = _ENVELOPE.fullmatch(text)
    if found is None:
        return Reading(stamp=None, host=None, program=None, message=mask(text[:LONGEST]))
    program, message = found["program"], found["message"]
    host = None if found["host"] == "-" else found["host"]
    connection = _connection(found["host"], program, found["origin"], message)
    for kind in _kinds():
        if kind.program.fullmatch(program) and (told := kind.pattern.fullmatch(message)):
            fields = {name: value for name, value in told.groupdict().items() if value}
            says = kind.says.format_map({name: value or "" for name, value in told.groupdict().items()}).removesuffix(": ")
            message, says = mask_lines([message[:LONGEST], says[:LONGEST]])
            return Reading(
                stamp=found["time"],
                host=host,
                program=program,
                message=message,
                kind=kind.name,
                state=kind.state,
                says=says,
                fields=fields,
                connection=connection,
            )
    return Reading(
        stamp=found["time"], host=host, program=program, message=mask(message[:LONGEST]), fields=_id_of(message), connection=connection
    )


def copy_of(reading: Reading) -> str | None:
    """The id under which the next server has the message, where its answer names one."""
    why = reading.fields.get("why", "") if reading.state in (State.DELIVERED, State.HANDED_ON) else ""
    return next((told[1] for pattern in _copies() if (told := pattern.search(why))), None)


# A line of a queue that no entry knows still says whose it is: Postfix, Exim.
_ID: Final = re.compile(
    r"(?:([0-9A-F]{8,16}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{12,20}):|([0-9A-Za-z]{6}-[0-9A-Za-z]{6,11}-[0-9A-Za-z]{2,4})) "
)


def _id_of(message: str) -> dict[str, str]:
    found = _ID.match(message)
    return {"id": found[1] or found[2]} if found else {}


def _connection(host: str, program: str, origin: str, message: str) -> Connection | None:
    for program_pattern, session, opens, closes in _connections():
        if not program_pattern.fullmatch(program):
            continue
        if session:
            if found := session.search(message):
                term = next(filter(None, found.groups()))
                return Connection(key=("session", host, term), term=term, by_pid=False)
        elif origin.endswith("]"):
            pid = origin[origin.rindex("[") + 1 : -1]
            told = (message.startswith(opens), message.startswith(closes)) if opens and closes else (None, None)
            return Connection(key=("pid", host, program, pid), term=pid, by_pid=True, opens=told[0], closes=told[1])
    return None


@cache
def _kinds() -> tuple[_Kind, ...]:
    """The [[line]] entries, in the table's order."""
    return tuple(
        _Kind(entry["id"], re.compile(entry["program"]), re.compile(entry["pattern"]), State(entry["state"]), entry["says"])
        for entry in _table("line")
    )


@cache
def _connections() -> tuple[tuple[re.Pattern[str], re.Pattern[str] | None, str, str], ...]:
    """The [[connection]] entries: program, session, how the first and the last line begin."""
    return tuple(
        (
            re.compile(entry["program"]),
            re.compile(entry["session"]) if entry["key"] == "session" else None,
            entry.get("opens", ""),
            entry.get("closes", ""),
        )
        for entry in _table("connection")
    )


@cache
def _copies() -> tuple[re.Pattern[str], ...]:
    return tuple(map(re.compile, _table("copy")["patterns"]))


def _table(name: str) -> Any:
    try:
        return load_table("trace_lines")[name]
    except KeyError as fault:
        raise KnowledgeError(f"[{name}] is missing", where="kit/knowledge/trace_lines.toml", next_step="Please report it") from fault
