"""What the slow reader does before it looks at a message: envelopes off, word by word, and stamps to times, line by line."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

from tests.logs.slow_foreign import without_foreign

MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
RFC3164 = re.compile(r"([A-Z][a-z]{2})  ?(\d\d?) (\d\d):(\d\d):(\d\d) ", re.ASCII)
ISO = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)? ", re.ASCII)
RFC5424 = re.compile(r"<\d+>1 (\S+) (\S+) (\S+) (\S+) \S+ (?:-|(?:\[(?:[^\]\\]|\\.)*\])+)(?: \ufeff?(.*))?", re.ASCII | re.DOTALL)
TAGGED = re.compile(r"(\S+) ([^\s\[\]:]+)(?:\[(\d+)\])?: (.*)", re.ASCII | re.DOTALL)
LEVELS = ("Debug", "Info", "Warning", "Error", "Fatal", "Panic")
HOURS = {"UTC": 0, "GMT": 0, "WEST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3}


# ------------------------------------------------------------------------------------------------ envelopes


def unwrap(line: str) -> str:
    """Any envelope becomes what a plain syslog line looks like."""
    if line[:1] == "\ufeff":
        line = line[1:]
    if line.startswith("{"):
        try:
            line = _from_json(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return line
    elif new := RFC5424.fullmatch(line):
        time, host, program, pid, message = new.groups()
        line = f"{time} {host} {program if pid == '-' else f'{program}[{pid}]'}: {(message or '').lstrip()}"
    elif line.startswith("@"):
        label, _, rest = line[1:].partition(" ")
        if re.fullmatch("[0-9a-f]{24}", label):
            seconds, nanos = int(label[:16], 16) - 2**62 - 10, int(label[16:], 16)
            if abs(seconds) < 2e10:
                time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
                line = f"{time:%Y-%m-%dT%H:%M:%S}.{nanos // 1000 % 10**6:06}Z {rest}"
    line = re.sub(r"^<\d{1,3}>(?=[A-Z][a-z]{2} |\d{4}-)", "", line)
    line = without_foreign(_without_collector(line))
    return _exim_twice(_with_host(_usual_time(line)))


def _from_json(record: dict) -> str:
    if "MESSAGE" in record:
        message = record["MESSAGE"] or ""
        message = bytes(message).decode("utf-8", "replace") if isinstance(message, list) else message
        micros = int(record.get("_SOURCE_REALTIME_TIMESTAMP") or record["__REALTIME_TIMESTAMP"])
        time = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)).isoformat(timespec="microseconds")
        pid = record.get("SYSLOG_PID") or record.get("_PID")
        tag = (record.get("SYSLOG_IDENTIFIER") or record.get("_COMM") or "-") + (f"[{pid}]" if pid else "")
        return f"{time} {record.get('_HOSTNAME') or '-'} {tag}: {message.lstrip()}".replace("\n", "\\n")
    if "syslogtag" in record:
        tag = record["syslogtag"].removesuffix(":")
        return f"{record['timereported']} {record['hostname']} {tag}: {record['msg'].lstrip()}".replace("\n", "\\n")
    text = record["log"]
    if len(text) >= 16_384 and text[-1] != "\n":
        raise ValueError("cut")
    return f"{record['time']} {text.rstrip()}".replace("\n", "\\n")


def _without_collector(line: str) -> str:
    """The container's name, the stream and the outer time of Docker and Kubernetes."""
    name, bar, rest = line.partition("|")
    if bar and re.fullmatch(r"[\w.-]{1,128} +", re.sub(r"\x1b\[[\d;]*m", "", name), re.ASCII):
        line = re.sub(r"^(\x1b\[[\d;]*m)* ?(\x1b\[[\d;]*m)*", "", rest)
    time, _, rest = line.partition(" ")
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", time, re.ASCII):
        return line
    for stream in ("stdout F ", "stderr F "):
        rest = rest.removeprefix(stream)
    own = re.match(r"[A-Z][a-z][a-z] +\d{1,2} \d\d:\d\d:\d\d(\.\d+)? |\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d", rest, re.ASCII)
    return rest if own else f"{time} {rest}"


def _usual_time(line: str) -> str:
    words = line.split(" ", 4)
    if len(words) == 5 and re.fullmatch("[A-Z][a-z][a-z]", words[0]) and words[1][10:] == "" and ISO.match(f"{words[1]} {words[2]} "):
        zone = words[3]
        if re.fullmatch(r"[+-]\d\d(\d\d)?", zone, re.ASCII):
            return f"{words[1]} {words[2]}{zone}{'' if zone[3:] else '00'} {words[4]}"
        if re.fullmatch("[A-Z]{1,5}", zone):
            return f"{words[1]} {words[2]}" + (f"+{HOURS[zone]:02}:00" if zone in HOURS else "") + f" {words[4]}"
    old = re.match(r"([A-Z][a-z]{2} [ \d]?\d \d\d:\d\d:\d\d)(?:\.\d+)? ", line, re.ASCII)
    line = f"{old[1]} {line[old.end() :]}" if old else line
    stamp = RFC3164.match(line) or ISO.match(line)
    priority = stamp and re.compile(r"<[\w.]+> ", re.ASCII).match(line, stamp.end())
    return line[: stamp.end()] + line[priority.end() :] if priority else line


def _with_host(line: str) -> str:
    """Dovecot's and Exim's own files, and syslog that leaves the host out."""
    stamp = RFC3164.match(line) or ISO.match(line)
    if not stamp:
        return line
    time, rest = line[: stamp.end()], line[stamp.end() :]
    if re.match(r"[\w-]+[:(]", rest, re.ASCII):
        for found in re.finditer(f"(?=: ({'|'.join(LEVELS)}): )", rest):
            prefix = rest[: found.start()]
            if re.fullmatch(r"[\w-]+(\(.*\)(<[^<>]*>){0,3})?", prefix, re.ASCII | re.DOTALL):
                message = rest[found.end() + 2 :]
                return f"{time}- dovecot: {prefix}: {message.removeprefix('Info: ')}"
    if line[10:11] == " " and stamp.re is ISO and not stamp[4] and "," not in time:
        exim = re.match(r"(?P<zone>[+-]\d{4} )?(?:\[(?P<pid>\d+)\] )?", rest, re.ASCII)
        if exim[0] or not TAGGED.fullmatch(rest):
            pid = f"[{exim['pid']}]" if exim["pid"] else ""
            return f"{time.rstrip()}{exim['zone'] or ' '}- exim{pid}: {rest[exim.end() :].lstrip()}"
    if re.match(r"[^\s\[\]():<>]+(\[\d+\])?: ", rest, re.ASCII):
        return f"{time}- {rest}"
    return line


def _exim_twice(line: str) -> str:
    head = re.match(r"(?:.{15}|\S+|\S+ \S+) \S+ exim[\w.-]*(\[\d+\])?: ", line, re.ASCII)
    again = head and re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?( [+-]\d{4})?( \[\d+\])? ", re.ASCII).match(line, head.end())
    return line[: head.end()] + line[again.end() :] if again else line


# ------------------------------------------------------------------------------------------------ times


class Calendar:
    """Stamps to datetimes in UTC. From line to line a step back of more than a week is a New Year."""

    def __init__(self, year: int, zone: tzinfo) -> None:
        self.year, self.zone, self.last, self.latest = year, zone, None, datetime.min.replace(tzinfo=UTC)

    def read(self, line: str) -> datetime | None:
        if stamp := ISO.match(line):
            day, clock, fraction, offset = stamp.groups()
            micros = timedelta(microseconds=int((fraction or "0")[:6].ljust(6, "0")))
            try:
                time = datetime.fromisoformat(f"{day}T{clock}{offset or ''}")
            except ValueError:
                return None
            return time.astimezone(UTC) + micros if offset else self._local(time + micros)
        time = self.see(line)
        return time and self._local(time)

    def see(self, line: str) -> datetime | None:
        """The date of a stamp without a year."""
        stamp = RFC3164.match(unwrap(line))
        if not stamp:
            return None
        month, *numbers = stamp.groups()
        try:
            day = datetime(2000, MONTHS.index(month) + 1, *map(int, numbers), tzinfo=UTC)
            step = day - self.last if self.last else timedelta()
            self.year, self.last = self.year + (step < -timedelta(days=7)) - (step > timedelta(days=358)), day
            return day.replace(year=self.year)
        except ValueError:
            return None

    def _local(self, time: datetime) -> datetime:
        """Of an hour that comes twice the second, where the line before was later than the first by more than a minute."""
        once, again = (time.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        self.latest = again if again > once and self.latest - once > timedelta(minutes=1) else once
        return self.latest


def year_of_first(lines: list[str], latest: datetime) -> int:
    """The year of the first line without one: from the last, which is not later than that, backwards over each New Year."""
    dates = []
    for line in lines:
        if stamp := RFC3164.match(unwrap(line)):
            month, *numbers = stamp.groups()
            dates.append(datetime(2000, MONTHS.index(month) + 1, *map(int, numbers), tzinfo=UTC))
    last = dates[-1]
    year = latest.year if (last.month, last.day) <= (latest.month, latest.day) else latest.year - 1
    for later, earlier in zip(dates[::-1], dates[-2::-1], strict=False):
        year -= earlier - later > timedelta(days=7)
        year += later - earlier > timedelta(days=358)
    return year


def latest_of(path: Path) -> datetime:
    """A day after the last change; of a file that is called after a day, a month after that, if the last change is not between the two."""
    changed = datetime.fromtimestamp(path.stat().st_mtime, UTC) + timedelta(days=1)
    if named := re.search(r"(20\d\d)-?(\d\d)-?(\d\d)", path.name):
        day = datetime(*map(int, named.groups()), tzinfo=UTC)
        if not day + timedelta(days=1) <= changed < day + timedelta(days=32):
            return day + timedelta(days=32)
    return changed
