"""What the slow reader does with files whose lines begin otherwise than syslog's: word by word, one server after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR")


def without_foreign(line: str) -> str:
    """The line as syslog would have it; as it is where it is of none of these servers."""
    for read in (_sogo, _bracketed, _quoted, _levelled, _nginx, _domino):
        with suppress(ValueError, IndexError):
            for found in read(line):
                return found
    return line


def _sogo(line: str) -> Iterator[str]:
    if re.fullmatch(r"\w{3} [ \d]\d \d\d:\d\d:\d\d sogod \[\d{1,10}\]: ", line[: line.index("]: ") + 3], re.ASCII) and _month(line[:3]):
        yield line[:15] + " - " + line[16:].replace(" [", "[", 1)


def _bracketed(line: str) -> Iterator[str]:
    outer = line.index("[")
    if outer and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[\d.]*(?:Z|[+-]\d\d:\d\d) ", line[:outer], re.ASCII):
        return
    start = outer + 1
    stamp, rest = line[start:].split("]", 1)
    if rest.startswith(": ") and re.fullmatch(r"\d\d-\w{3}-\d{4} \d\d:\d\d:\d\d ?(?:[+-]\d{4})?", stamp, re.ASCII):
        zone = stamp[20:].strip()
        yield f"{stamp[7:11]}-{_month(stamp[3:6])}-{stamp[:2]}T{stamp[12:20]}{zone} - roundcube{rest}"
    elif start == 1 and re.fullmatch(r"\d\d/\w{3}/\d{4} \d\d:\d\d:\d\d", stamp, re.ASCII) and rest[0] == " ":
        yield f"{stamp[7:11]}-{_month(stamp[3:6])}-{stamp[:2]}T{stamp[12:]} - kerio:{rest}"
    flask = re.match(r" [A-Z]{4,8} in (\w{1,32}: )", rest, re.ASCII)
    if flask and re.fullmatch(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:,\d{3})?(?: [+-]\d{4})?", stamp, re.ASCII):
        yield f"{stamp.rsplit(' ', 1)[0] if stamp[-5] in '+-' else stamp} - {flask[1]}{rest[flask.end() :]}"


def _quoted(line: str) -> Iterator[str]:
    cells = line.split("\t")
    numbers = [cell.isdecimal() and len(cell) <= 10 for cell in cells]
    full = numbers[1:3] == [True, True]
    server, stamp = cells[0], cells[3 if full else 2]
    ip = cells[4].strip('"') if full else None
    text = "\t".join(cells[5 if full else 3 :])
    if (
        numbers[1]
        and re.fullmatch(r'"[A-Z0-9]{4,11}"', server)
        and re.fullmatch(r'"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[\d.]{0,4}"', stamp)
        and len(text) > 1
    ) and text[0] == text[-1] == '"':
        yield f"{stamp[1:-1]} - hmailserver{f'[{cells[2]}]' if full else ''}: {server[1:-1]} {f'{ip} ' if ip else ''}{text[1:-1]}"


def _nginx(line: str) -> Iterator[str]:
    day, clock, level, process, rest = line.split(" ", 4)
    shapes = (r"\d{4}/\d\d/\d\d", day), (r"\d\d:\d\d:\d\d", clock), (r"\[[a-z]{4,6}\]", level), (r"\d{1,10}#\d{1,10}:", process)
    if all(re.fullmatch(shape, word, re.ASCII) for shape, word in shapes):
        yield f"{day.replace('/', '-')}T{clock} - nginx: {level} {process} {rest}"


def _levelled(line: str) -> Iterator[str]:
    first, _, then = line.partition(" ")
    if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[\d.]{0,10}(?:Z|[+-]\d\d:\d\d)", first, re.ASCII) and re.match(
        r"\d{4}-\d\d-\d\d[T ]\d", then, re.ASCII
    ):
        line = then  # after the time of what collects the lines
    stamp = re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:,\d{3}|(?:\.\d{1,9})?Z|[+-]\d\d:\d\d) ", line, re.ASCII)
    rest = line[stamp.end() :] if stamp else ""
    word, _, more = rest.partition(" ")
    if word in LEVELS and re.match(r" ?\[[^\]]{1,255}\] \[", more):
        yield f"{stamp[0]}- zimbra: {rest}"
    elif word in LEVELS and re.match(r"[^()]{1,120} \([a-z0-9-]{1,40}\.[a-z0-9-]{1,60}\) ", more):
        yield f"{stamp[0]}- stalwart: {rest}"
    elif re.match(r"(?:\[debug\] )?[\w./-]{1,128}: [^\t]{1,300}\t\{", rest, re.ASCII):
        yield f"{stamp[0]}- maddy: {rest}"
    elif level := re.match(r"(?:HORDE )?[A-Z]{2,9}(?: HORDE)?: (?=\[\w{1,16}\] )", rest, re.ASCII):
        yield f"{stamp[0]}- HORDE: {rest[level.end() :]}"


def _domino(line: str) -> Iterator[str]:
    line = re.sub(r"^\[[0-9A-F]{1,12}:[0-9A-F-]{1,32}\] {1,4}", "", line)
    date, clock, rest = line.split(" ", 2)
    one, two, year = re.split("[./-]", date)
    if not re.fullmatch(r"\d\d \d\d \d{4} \d\d:\d\d:\d\d", f"{one} {two} {year} {clock}", re.ASCII):
        return
    if rest[:3] in ("AM ", "PM "):
        one, two, clock = two, one, f"{int(clock[:2]) % 12 + (12 if rest[0] == 'P' else 0):02}{clock[2:]}"
        rest = rest[3:]
    yield f"{year}-{two}-{one}T{clock} - domino: {rest.lstrip(' ')}"


def _month(name: str) -> str:
    return f"{['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'].index(name) + 1:02}"
