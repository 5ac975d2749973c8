"""Envelopes: what stands before a message, in whatever format, becomes "TIME HOST PROGRAM[PID]: message"."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from kit.logs.classes import TIME, envelope
from kit.logs.foreign import FOREIGN

_CANONICAL: Final = re.compile(envelope(r"[^\s\[\]:]{1,128}") + "(?P<message>.*)", re.ASCII | re.DOTALL)
# RFC 5424 section 6: <PRI>1 TIME HOST APP PROCID MSGID SD MSG, "-" for what is missing. Structured data may hold an escaped "]".
_RFC5424: Final = re.compile(
    r"<\d{1,3}>1 (?P<time>\S{1,64}) (?P<host>\S{1,255}) (?P<program>\S{1,48}) (?P<pid>\S{1,128}) \S{1,32} "
    r"(?:-|(?:\[(?:[^\]\\]|\\.)*\])+)(?: (?:\ufeff)?(?P<message>.*))?$",
    re.DOTALL,
)
_PRIORITY: Final = re.compile(r"<\d{1,3}>(?=[A-Z][a-z]{2} |\d{4}-)")
# A day of one digit without its padding, as some relays write it.
_SHORT_DAY: Final = re.compile(r"([A-Z][a-z]{2}) (\d) (?=\d\d:)")
_STAMP: Final = re.compile(rf"(?:{TIME})(?= )", re.ASCII)
_FOREIGN: Final = tuple((re.compile(pattern, re.ASCII | re.DOTALL).match, change) for pattern, change in FOREIGN)


def canonical(line: str) -> str:
    """The line in canonical form; as it is where its format is not known. Never raises."""
    if line.startswith("{"):
        return _from_json(line)
    if line.startswith("<"):
        if found := _RFC5424.match(line):
            pid = found["pid"] if found["pid"] != "-" else None
            return _line(found["time"], found["host"], found["program"], pid, found["message"] or "")
        line = _PRIORITY.sub("", line, count=1)
    for match, change in _FOREIGN:
        if found := match(line):
            return change(found) + line[found.end() :]
    return _SHORT_DAY.sub(r"\1  \2 ", line, count=1) if _SHORT_DAY.match(line) else line


def message_of(line: str) -> str:
    """The message of a line in canonical form; the whole line where it has none."""
    found = _CANONICAL.match(line)
    return found["message"] if found else line


def stamp_of(line: str) -> str | None:
    """The time as the line has it, if it is in canonical form."""
    found = _STAMP.match(line)
    return found[0] if found else None


def _line(time: str, host: str, program: str, pid: str | None, message: str) -> str:
    tag = f"{program}[{pid}]" if pid else program
    return f"{time} {host} {tag}: {message.lstrip()}".replace("\n", "\\n")


def _from_json(line: str) -> str:
    import orjson  # noqa: PLC0415 - most logs hold no JSON

    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return line
    if not isinstance(record, dict):
        return line
    for key, read in _JSON.items():
        if key in record:
            try:
                return read(record)
            except (KeyError, TypeError, ValueError, OverflowError, OSError):
                return line
    return line


def _journald(record: dict[str, Any]) -> str:
    """systemd.journal-fields(7): microseconds since the epoch; a message that is no UTF-8 comes as an array of bytes."""
    micros = int(record.get("_SOURCE_REALTIME_TIMESTAMP") or record["__REALTIME_TIMESTAMP"])
    message = record["MESSAGE"]  # null where it was too large
    message = bytes(message).decode("utf-8", "replace") if isinstance(message, list) else str(message or "")
    time = datetime.fromtimestamp(micros // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{micros % 1_000_000:06d}+00:00"
    pid = record.get("SYSLOG_PID") or record.get("_PID")
    return _line(time, record.get("_HOSTNAME") or "-", record.get("SYSLOG_IDENTIFIER") or record.get("_COMM") or "-", pid, message)


def _rsyslog(record: dict[str, Any]) -> str:
    """Rsyslog's jsonmesg property: the tag holds program and process id as they came."""
    tag = str(record["syslogtag"]).rstrip(":")
    return f"{record['timereported']} {record['hostname']} {tag}: {str(record['msg']).lstrip()}".replace("\n", "\\n")


_JSON: Final[dict[str, Callable[[dict[str, Any]], str]]] = {"MESSAGE": _journald, "syslogtag": _rsyslog}
