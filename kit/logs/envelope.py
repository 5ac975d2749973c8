"""Envelopes: what stands before a message, in whatever format, becomes "TIME HOST PROGRAM[PID]: message".

The host is "-" where a format has none, or the line leaves it out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any, Final

from kit.logs.classes import TIME, envelope
from kit.logs.foreign import FOREIGN, Change
from kit.logs.records import Header, from_json, from_text

UNREADABLE: Final = -(1 << 63)
"""Microseconds that stand for a time that does not exist, such as the 13th month."""

_CANONICAL: Final = re.compile(envelope(r"[^\s\[\]:]{1,128}") + "(?P<message>.*)", re.ASCII | re.DOTALL)
# RFC 5424 section 6: <PRI>1 TIME HOST APP PROCID MSGID SD MSG, "-" for what is missing. Structured data may hold an escaped "]".
_RFC5424: Final = re.compile(
    r"<\d{1,3}>1 (?P<time>\S{1,64}) (?P<host>\S{1,255}) (?P<program>\S{1,48}) (?P<pid>\S{1,128}) \S{1,32} "
    r"(?:-|(?:\[(?:[^\]\\]|\\.)*\])+)(?: (?:\ufeff)?(?P<message>.*))?$",
    re.DOTALL,
)
_STAMP: Final = re.compile(rf"(?:{TIME})(?= )", re.ASCII)
# TAI64N labels count from 2^62, and were 10 seconds ahead of UTC in 1970; their writers leave leap seconds out.
_TAI64N: Final = re.compile(r"@(?P<seconds>[0-9a-f]{16})(?P<nanos>[0-9a-f]{8}) (?P<rest>.*)", re.DOTALL)
_TAI_EPOCH: Final = (1 << 62) + 10
# Docker and Kubernetes cut what is longer, and the rest follows in another record.
_PIECE: Final = 1 << 14

_DATE: Final = r"\d{4}-\d\d-\d\d"
_CLOCK: Final = r"\d\d:\d\d:\d\d(?:\.\d{1,9}|)"
_OUTER: Final = rf"{_DATE}T{_CLOCK}(?:Z|[+-]\d\d:\d\d)"
_COLOUR: Final = r"(?:\x1b\[[\d;]{0,16}m)*"
_TAG: Final = r"[^\s\[\]():<>]{1,128}(?:\[\d{1,10}\]|): "
# Zones that only one place on earth goes by; journalctl writes the abbreviation.
_ZONES: Final = {"UTC": "Z", "GMT": "Z", "WEST": "+01:00", "CET": "+01:00", "CEST": "+02:00", "EET": "+02:00", "EEST": "+03:00"}


def canonical(line: str, header: Header | None = None) -> str:
    """The line in canonical form; as it is where its format is not known. Never raises."""
    line = line.removeprefix("\ufeff")  # Windows begins a file with it
    if record := from_text(line, header):
        return record
    if read := _FRAMED.get(line[:1]):
        line = read(line)
    for match, change in _STEPS:
        if found := match(line):
            line = change(found) + line[found.end() :]
    return line


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


# ------------------------------------------------------------------------------------------------ known by the first character


def _rfc5424(line: str) -> str:
    if not (found := _RFC5424.match(line)):
        return line
    pid = found["pid"] if found["pid"] != "-" else None
    return _line(found["time"], found["host"], found["program"], pid, found["message"] or "")


def _tai64n(line: str) -> str:
    if not (found := _TAI64N.match(line)):
        return line
    try:
        second = datetime(1970, 1, 1) + timedelta(seconds=int(found["seconds"], 16) - _TAI_EPOCH)  # noqa: DTZ001 - the zone is written below
    except OverflowError:
        return line
    return f"{second.isoformat()}.{int(found['nanos'], 16) // 1000 % 1_000_000:06d}Z {found['rest']}"


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
            except (AttributeError, KeyError, TypeError, ValueError, OverflowError, OSError):
                return line
    return from_json(record) or line


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


def _docker(record: dict[str, Any]) -> str:
    """Docker's json-file driver: a line of the program's output, and when that was read."""
    text: str = record["log"]
    if len(text) >= _PIECE and not text.endswith("\n"):
        raise ValueError("the first part of a line: whatever it tells of may be cut")
    return f"{record['time']} {text.rstrip()}".replace("\n", "\\n")


_JSON: Final[dict[str, Callable[[dict[str, Any]], str]]] = {"MESSAGE": _journald, "syslogtag": _rsyslog, "log": _docker}
_FRAMED: Final[dict[str, Callable[[str], str]]] = {"{": _from_json, " ": _from_json, "<": _rfc5424, "@": _tai64n}

# ------------------------------------------------------------------------------------------------ step by step


def _short_full(found: re.Match[str]) -> str:
    """A zone whose abbreviation several places share is left to the option."""
    zone = found["zone"]
    return f"{found['time']}{zone.ljust(5, '0') if zone[0] in '+-' else _ZONES.get(zone, '')} "


def _exim(found: re.Match[str]) -> str:
    """Exim's own file looks like a syslog line without host and program. Where a line may be either, it is syslog's."""
    if found["zone"] is None and found["pid"] is None and _CANONICAL.match(found[0]):
        return found[0]
    return _line(found["time"] + (found["zone"] or ""), "-", "exim", found["pid"], found["message"])


# What each puts in the place of what it finds at the start of a line, in this order: one format may stand within another.
_SHAPES: Final[tuple[tuple[str, Change], ...]] = (
    # A priority, as it went over the network.
    (r"<\d{1,3}>()(?=[A-Z][a-z]{2} |\d{4}-)", itemgetter(1)),
    # `docker compose logs` puts the container's name before each line.
    (rf"{_COLOUR}[\w.-]{{1,128}}{_COLOUR} {{1,128}}{_COLOUR}\|{_COLOUR} ?{_COLOUR}()", itemgetter(1)),
    # Kubernetes' CRI: F is a full line. A part, P, stays as it is: whatever it tells of may be cut.
    (rf"({_OUTER} )std(?:out|err) F ", itemgetter(1)),
    # What collects the lines writes its own time before theirs.
    (rf"{_OUTER} ()(?=[A-Z][a-z]{{2}} [ \d]?\d {_CLOCK} |{_DATE}[ T]{_CLOCK})", itemgetter(1)),
    *FOREIGN,
    # journalctl -o short-full: the day of the week, and the zone's name; -o short-precise: microseconds without a year.
    (rf"[A-Z][a-z]{{2}} (?P<time>{_DATE} {_CLOCK}) (?P<zone>[A-Z]{{1,5}}|[+-]\d\d(?:\d\d)?) ", _short_full),
    (r"([A-Z][a-z]{2} [ \d]?\d \d\d:\d\d:\d\d)\.\d{1,9}(?= )", itemgetter(1)),
    # A day of one digit without its padding, as some relays write it.
    (r"([A-Z][a-z]{2} )(?=\d \d\d:)", lambda found: f"{found[1]} "),
    # FreeBSD's syslogd -v and -vv: facility and priority.
    (rf"((?:{TIME}) )<[\w.]{{1,32}}> ", itemgetter(1)),
    # Dovecot's own file: the process that speaks, and the level, which over syslog is told of all but Info.
    (
        rf"({TIME}) ([\w-]{{1,64}}(?:\(.*?\)(?:<[^<>]{{0,64}}>){{0,3}}|): )(?=(?:Debug|Info|Warning|Error|Fatal|Panic): )(?:Info: |)",
        lambda found: f"{found[1]} - dovecot: {found[2]}",
    ),
    (rf"(?P<time>{_DATE} {_CLOCK})(?: (?P<zone>[+-]\d{{4}}))?(?: \[(?P<pid>\d{{1,10}})\])? (?P<message>.*)", _exim),
    # Syslog without a host. A blank between date and clock is Exim's, so that step comes before.
    (rf"({TIME}) ({_TAG})", lambda found: f"{found[1]} - {found[2]}"),
    # Exim over syslog writes its own time too.
    (
        rf"((?:{TIME}) \S{{1,255}} exim[\w.-]{{0,32}}(?:\[\d{{1,10}}\])?: ){_DATE} {_CLOCK}(?: [+-]\d{{4}})?(?: \[\d{{1,10}}\])? ",
        itemgetter(1),
    ),
)
_STEPS: Final = tuple((re.compile(pattern, re.ASCII | re.DOTALL).match, change) for pattern, change in _SHAPES)
