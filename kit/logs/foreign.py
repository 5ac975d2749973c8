"""Servers that write files of their own, with another beginning than syslog's: what each puts there, as "TIME HOST PROGRAM[PID]: ".

A table for kit.logs.envelope, where each pattern is tried at the start of a line. The message stays as the server wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

Change = Callable[[re.Match[str]], str]

_MONTHS: Final = {
    name: number for number, name in enumerate(["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], 1)
}
_MONTH: Final = "|".join(_MONTHS)
# What a container's or the journal's own time may stand before.
_OUTER: Final = r"(?:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[\d.]{0,10}(?:Z|[+-]\d\d:\d\d) |)"
_ISO: Final = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d"
_LEVEL: Final = "TRACE|DEBUG|INFO|WARN|ERROR"


def _by_name(program: str) -> Change:
    """A month by its name."""
    return lambda found: f"{found['year']}-{_MONTHS[found['month']]:02d}-{found['day']}T{found['clock']}{found['zone'] or ''} - {program}: "


def _domino(found: re.Match[str]) -> str:
    """Domino writes the date as its machine does: with AM and PM the month comes first, else the day."""
    first, second, year, hour, half = found["first"], found["second"], found["year"], int(found["hour"]), found["half"]
    day, month = (second, first) if half else (first, second)
    if half:
        hour = hour % 12 + (12 if half == "PM" else 0)
    return f"{year}-{month}-{day}T{hour:02d}:{found['rest']} - domino: "


def _hmailserver(found: re.Match[str]) -> str:
    """Tab-separated: which server, thread, session, time, address, text; without session and address where it speaks of itself."""
    pid = f"[{found['session']}]" if found["session"] else ""
    words = (found["server"], found["ip"], found["text"])
    return f"{found['time']} - hmailserver{pid}: {' '.join(word for word in words if word)}"


FOREIGN: Final[tuple[tuple[str, Change], ...]] = (
    # SOGo: a blank before the process id, and no host.
    (
        rf"(?P<time>(?:{_MONTH}) [ \d]\d \d\d:\d\d:\d\d) sogod \[(?P<pid>\d{{1,10}})\]: ",
        lambda found: f"{found['time']} - sogod[{found['pid']}]: ",
    ),
    # Roundcube, and Kerio Connect.
    (
        rf"{_OUTER}\[(?P<day>\d\d)-(?P<month>{_MONTH})-(?P<year>\d{{4}}) (?P<clock>\d\d:\d\d:\d\d) ?(?P<zone>[+-]\d{{4}}|)\]: ",
        _by_name("roundcube"),
    ),
    (rf"\[(?P<day>\d\d)/(?P<month>{_MONTH})/(?P<year>\d{{4}}) (?P<clock>\d\d:\d\d:\d\d)(?P<zone>)\] ", _by_name("kerio")),
    # Flask, which Mailu's admin container is made with.
    (
        rf"{_OUTER}\[(?P<time>{_ISO}(?:,\d{{3}}|))(?: [+-]\d{{4}}|)\] [A-Z]{{4,8}} in (?P<module>\w{{1,32}}): ",
        lambda found: f"{found['time']} - {found['module']}: ",
    ),
    # Zimbra's log4j, Stalwart's text format, maddy's own file, Horde's: the group that matched is named like the program. In a container maddy
    # writes no time of its own.
    (
        (
            rf"{_OUTER}(?P<time>{_ISO}(?:,\d{{3}}|(?:\.\d{{1,9}}|)Z|[+-]\d\d:\d\d)) (?:"
            rf"(?P<zimbra>)(?=(?:{_LEVEL}) {{1,2}}\[[^\]]{{1,255}}\] \[)|"
            rf"(?P<stalwart>)(?=(?:{_LEVEL}) [^()]{{1,120}} \([a-z0-9-]{{1,40}}\.[a-z0-9-]{{1,60}}\) )|"
            rf"(?P<maddy>)(?=(?:\[debug\] |)[\w./-]{{1,128}}: [^\t]{{1,300}}\t\{{)|"
            rf"(?P<HORDE>)(?:HORDE |)[A-Z]{{2,9}}(?: HORDE|): (?=\[\w{{1,16}}\] ))"
        ),
        lambda found: f"{found['time']} - {found.lastgroup}: ",
    ),
    # nginx's error log.
    (
        r"(?P<year>\d{4})/(?P<month>\d\d)/(?P<day>\d\d) (?P<clock>\d\d:\d\d:\d\d) (?=\[[a-z]{4,6}\] \d{1,10}#\d{1,10}: )",
        lambda found: "{year}-{month}-{day}T{clock} - nginx: ".format(**found.groupdict()),
    ),
    # Domino.
    (
        (
            r"(?:\[[0-9A-F]{1,12}:[0-9A-F-]{1,32}\] {1,4}|)(?P<first>\d\d)[./-](?P<second>\d\d)[./-](?P<year>\d{4}) "
            r"(?P<hour>\d\d):(?P<rest>\d\d:\d\d)(?: (?P<half>AM|PM)|) {1,8}"
        ),
        _domino,
    ),
    (
        (
            rf'"(?P<server>[A-Z0-9]{{4,11}})"\t\d{{1,10}}\t(?:(?P<session>\d{{1,10}})\t|)"(?P<time>{_ISO}[\d.]{{0,4}})"\t'
            r'(?:"(?P<ip>[0-9A-Fa-f.:]{2,45})"\t|)"(?P<text>.*)"$'
        ),
        _hmailserver,
    ),
)
