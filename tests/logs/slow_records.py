"""What the slow reader does with records that are no syslog lines: character by character where the engine looks at whole blocks."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

COLUMNS = {
    "time": ["CreatedDateTime", "activityDateTime", "Date (UTC)", "TimeGenerated [UTC]", "TimeGenerated", "Date", "time"],
    "id": ["id", "Request ID"],
    "code": ["resultType", "errorCode", "Sign-in error code"],
    "app": ["clientAppUsed", "Client app"],
    "ip": ["ipAddress", "IP address", "callerIpAddress"],
    "user": ["userPrincipalName", "Username", "servicePrincipalName", "Service principal name"],
}
FIRST_COLUMN = re.compile(r"(?:date|createddatetime|timegenerated)(?: \(utc\)| \[utc\])?", re.IGNORECASE)


BEGINNINGS = [
    (1, r'\[\s*\{\s*["}]'),
    (2, r'\{\s*(?:"@odata[^"]*"\s*:\s*"[^"]*"\s*,\s*)*"(?:value|records)"\s*:\s*\['),
    (0, r'\{[ \t\r]*\n\s*"'),
]


def one_record_a_line(data: bytes) -> bytes:
    """JSON over many lines, or all on one, and CSV: as many bytes, a record a line."""
    text = data.decode("latin-1")
    bare = text.removeprefix("\xef\xbb\xbf")
    if FIRST_COLUMN.fullmatch(bare.partition(",")[0].strip('"')):
        return _rows(text).encode("latin-1")
    around = next((around for around, begins in BEGINNINGS if re.match(begins, bare.lstrip())), None)
    if around is None:
        return data
    out = [text[: len(text) - len(bare)] if around == 0 else " " * (len(text) - len(bare))]
    for character, in_text, depth, was in _places(bare):
        if max(depth, was) > around:
            out.append(" " if character in "\n\r" else character)
        elif around:
            out.append("\n" if character == "," and depth == around and not in_text else " ")
        else:
            out.append(character)
    return "".join(out).encode("latin-1")


def _rows(text: str) -> str:
    out, quotes = [], 0
    for place, character in enumerate(text):
        quotes += character == '"'
        if character == "\n" and quotes % 2 and re.match(r'"?\d{4}-\d\d-\d\d[T ]|[A-Z][a-z]{2} [ \d]\d |[{<]', text[place + 1 :]):
            return "".join((*out, text[place:]))
        out.append(" " if character in "\n\r" and quotes % 2 else character)
    return "".join(out)


def _places(text: str) -> Iterator[tuple[str, bool, int, int]]:
    """Of each character: whether it is within a text, and how many brackets are open behind and before it."""
    depth, in_text, escaped = 0, False, False
    for character in text:
        was = depth
        if in_text:
            in_text = escaped or character != '"'
            escaped = character == "\\" and not escaped
        else:
            in_text = character == '"'
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(character, 0)
        yield character, in_text, depth, was


def as_line(line: str, header: list[str]) -> str | None:
    """A record as a canonical line; `header` keeps a CSV file's column names between calls."""
    try:
        if line.startswith("<Event "):
            return _event(line)
        if line.lstrip(" ").startswith("{"):
            return _from_json(json.loads(line))
        row = cells(line)
        if '"{""' in line:
            return next((found for cell in row if cell[:1] == "{" and (found := _from_json(json.loads(cell)))), None)
    except (ValueError, RecursionError):
        return None
    if re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[\d.]*Z?,", line) and (found := _exchange(row)):
        return found
    return _with_header(row, header) if "," in line else None


def _exchange(row: list[str]) -> str | None:
    if len(row) == 9 and row[6] in tuple("+-<>*"):
        said = _where(*row[2:6]) | {"data": row[7], "context": row[8]}
        return _canonical(row[0], row[1].split("\\")[0], "exchange-smtp-auth", row[6], said)
    if 10 <= len(row) <= 13 and all(row[i].isascii() and row[i].isdigit() for i in (2, 6, 7, 8)):
        row = [*row, "", ""]
        said = _where(*row[1:5]) | {"user": row[5], "parameters": row[10], "context": row[11]}
        return _canonical(row[0], "-", "exchange-mailbox-auth", row[9], said)
    return None


def _with_header(row: list[str], header: list[str]) -> str | None:
    if FIRST_COLUMN.fullmatch(row[0]):
        header[:] = [name.strip().lower() for name in row]
        return _canonical("1970-01-01T00:00:00", "-", "entra-auth", "columns", {"id": ""})
    if not header or len(row) != len(header):
        return None
    record: dict = {}
    for name, cell in zip(header, row, strict=True):
        record.setdefault(name, cell)
    return _sign_in("SignInLogs", record)


def cells(line: str) -> list[str]:
    """One row of CSV (RFC 4180), as lenient as the library: a quote within a bare cell is a quote."""
    row, cell, quoted, place = [], "", False, 0
    start = True
    while place < len(line):
        character = line[place]
        if quoted:
            if character != '"':
                cell += character
            elif line[place + 1 : place + 2] == '"':
                cell += '"'
                place += 1
            else:
                quoted = False
        elif character == ",":
            row.append(cell)
            cell, start = "", True
            place += 1
            continue
        elif character == '"' and start:
            quoted = True
        else:
            cell += character
        start = False
        place += 1
    return [*row, cell]


def _where(session: str, _: str, local: str, remote: str) -> dict:
    ip, port = _endpoint(remote)
    return {"session": session, "to": "port " + _endpoint(local)[1], "ip": ip, "port": port}


def _from_json(record: object) -> str | None:
    if not isinstance(record, dict):
        return None
    if "AuditData" in record and not {"CreationTime", "Operation"} <= set(record):
        data = record["AuditData"]
        record = json.loads(data) if isinstance(data, str) else data
        return _audit(record) if isinstance(record, dict) and {"CreationTime", "Operation"} <= set(record) else None
    if {"CreationTime", "Operation"} <= set(record):
        return _audit(record)
    inner = record.get("properties")
    flat = {key.lower(): value for key, value in [*record.items(), *(inner.items() if isinstance(inner, dict) else [])]}
    status = flat.get("status")
    flat |= {key.lower(): value for key, value in status.items()} if isinstance(status, dict) else {}
    diagnostic = isinstance(inner, dict) and "category" in flat
    code = "errorcode" in flat or "resulttype" in flat or flat.get("status") in ("Success", "Failure", "Interrupted")
    whose = any(name in flat for name in ("userprincipalname", "serviceprincipalname", "ipaddress", "clientappused"))
    graph = ("createddatetime" in flat and code and whose) or ("activitydatetime" in flat and "loggedbyservice" in flat)
    if diagnostic or graph or ("timegenerated" in flat and "resulttype" in flat):
        return _sign_in(str(flat.get("category") or "SignInLogs"), flat)
    return None


def _sign_in(category: str, record: dict) -> str | None:
    said = {}
    for field, names in COLUMNS.items():
        values = [record[name.lower()] for name in names if record.get(name.lower()) not in (None, "")]
        said[field] = values[0] if values else ""
    if said["code"] in ("", "None"):
        said["code"] = 0 if record.get("status") == "Success" else record.get("status")
    return _canonical(str(said.pop("time")), "-", "entra-auth", category, said)


def _audit(record: dict) -> str | None:
    good = {"UserLoggedIn": 0}.get(record["Operation"], "")
    code = record.get("ErrorNumber") or good
    if record["Operation"] == "UserLoginFailed" and code in ("", "0", 0):
        code = record.get("LogonError")
    ip = _endpoint(str(record.get("ClientIP") or record.get("ActorIpAddress") or ""))[0]
    said = {"id": record.get("Id"), "code": code, "app": "", "ip": ip, "user": record.get("UserId")}
    return _canonical(str(record["CreationTime"]), "-", "m365-auth", record["Operation"], said)


def _event(line: str) -> str | None:
    try:
        event = ET.fromstring(re.sub(r" xmlns=(['\"]).*?\1", "", line))
    except ET.ParseError:
        return None
    time, provider = event.find("System/TimeCreated"), event.find("System/Provider")
    said = {number: data.text or "" for number, data in enumerate(event.iter("Data"), 1)}
    if time is None or provider is None:
        return None
    kind = f"{provider.get('Name')} {event.findtext('System/EventID')}"
    return _canonical(time.get("SystemTime", ""), event.findtext("System/Computer", ""), "windows-auth", kind, said)


def _endpoint(text: str) -> tuple[str, str]:
    if found := re.fullmatch(r"\[([0-9A-Fa-f.:]+)\](?::(\d{1,5}))?", text) or re.fullmatch(r"([0-9A-Fa-f.]+):(\d{1,5})", text):
        return found[1], found[2] or ""
    return text, ""


def _canonical(time: str, host: str, program: str, kind: object, said: dict) -> str | None:
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d[\d.,]{0,12})(Z|[+-]\d\d:?\d\d)?", time, re.ASCII)
    if not found:
        return None
    day, clock, zone = found.groups()
    if not host or any(c.isspace() for c in host) or len(host) > 255:
        host = "-"
    return f"{day}T{clock}{zone or 'Z'} {host} {program}: {_safe(kind)}" + "".join(
        f"\t{name}={_safe(value)}" for name, value in said.items()
    )


def _safe(value: object) -> str:
    out = ""
    for character in "" if value is None else str(value)[:1000]:
        number = ord(character)
        if character in "\t\n\r":
            out += {"\t": r"\t", "\n": r"\n", "\r": r"\r"}[character]
        elif number < 32 or 127 <= number < 160:
            out += f"\\x{number:02x}"
        elif number in (0x2028, 0x2029):
            out += f"\\u{number:04x}"
        else:
            out += character
    return out
