"""Records that are no lines of a syslog: what Exchange, Entra and Microsoft 365 write or export, as lines in canonical form.

Each becomes "TIME HOST PROGRAM: kind, then name=value…", with a tab before each name. No value holds a tab or a line end: what a client
can write into one (a user's name above all) cannot pass for another field, or for a line of its own.

Exchange's logs have their columns in one order since 2007; exports of the Entra portal do not, so their header is remembered.
"""

from __future__ import annotations

import csv
import html
import re
from collections.abc import Mapping
from typing import Any, Final

_LONGEST: Final = 1_000
"""Characters of a value."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ROW: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[\d.]{0,9}Z?,")
_EVENTS: Final = ("+", "-", "<", ">", "*")
_NUMBER: Final = re.compile(r"\d{1,10}")
_STAMP: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[\d.,]{0,12}(Z|[+-]\d\d:?\d\d|)", re.ASCII)
_HEADER: Final = re.compile(r'"?(?:date|createddatetime|timegenerated)(?: [(\[]utc[)\]])?"?,', re.IGNORECASE)
_AUDIT_DATA: Final = '"{""'

# What Graph, Azure's diagnostic settings, Log Analytics and the portal's CSV call one and the same; the first that is there wins.
_SIGN_IN: Final = {
    "time": ("createddatetime", "activitydatetime", "date (utc)", "timegenerated [utc]", "timegenerated", "date", "time"),
    "id": ("id", "request id"),
    "code": ("resulttype", "errorcode", "sign-in error code"),
    "app": ("clientappused", "client app"),
    "ip": ("ipaddress", "ip address", "calleripaddress"),
    "user": ("userprincipalname", "username", "serviceprincipalname", "service principal name"),
}
_WHOSE: Final = ("userprincipalname", "serviceprincipalname", "ipaddress", "clientappused")


# The SMTP AUTH clients report of the Exchange admin center: senders, their share of each TLS version, messages; neither times nor tries.
REPORT: Final = re.compile(rb'(?:\xef\xbb\xbf)?"?sender ?address"?,"?(?:sender ?)?domain"?,', re.IGNORECASE)


class Header:
    """The columns of the sign-in log as CSV, once their names were read."""

    def __init__(self) -> None:
        self._names: list[str] = []

    @property
    def known(self) -> bool:
        """Whether they were."""
        return bool(self._names)

    def read(self, line: str) -> str | None:
        """A row in canonical form, and the names themselves, which are no sign-in."""
        if _HEADER.match(line):
            self._names = [name.strip().lower() for name in _cells(line)]
            return _line("1970-01-01T00:00:00", "-", "entra-auth", "columns", {"id": ""})
        if not self._names or len(row := _cells(line)) != len(self._names):
            return None
        # The portal has two columns of one name; the first is meant.
        return _sign_in("SignInLogs", dict(zip(reversed(self._names), reversed(row), strict=True)))


def from_text(line: str, header: Header | None) -> str | None:
    """A row of CSV, or an event in XML, in canonical form, where it is of a kind that is known."""
    if line.startswith("<Event "):
        return _event(line)
    if _AUDIT_DATA in line:
        return next((found for cell in _cells(line) if cell.startswith("{") and (found := _from_audit_data(cell))), None)
    if _ROW.match(line) and (found := _exchange(_cells(line))):
        return found
    return header.read(line) if header else None


def from_json(record: dict[str, Any]) -> str | None:
    """A record in canonical form, where it is of a kind that is known."""
    if found := _audit(record):
        return found
    if isinstance(data := record.get("AuditData"), (str, dict)):
        return _from_audit_data(data) if isinstance(data, str) else _audit(data)
    inner = record.get("properties")
    known = {key.lower(): value for part in (record, inner) if isinstance(part, dict) for key, value in part.items()}
    if isinstance(status := known.get("status"), dict):
        known |= {key.lower(): value for key, value in status.items()}
    # Azure's diagnostic settings; Log Analytics; Graph's directory audits, and its sign-ins, of which a $select may have left little but how they ended.
    if (
        (isinstance(inner, dict) and "category" in known)
        or {"timegenerated", "resulttype"} <= known.keys()
        or {"activitydatetime", "loggedbyservice"} <= known.keys()
        or ("createddatetime" in known and _ended(known) and not known.keys().isdisjoint(_WHOSE))
    ):
        return _sign_in(str(known.get("category") or "SignInLogs"), known)
    return None


# ------------------------------------------------------------------------------------------------ each kind


def _exchange(row: list[str]) -> str | None:
    """A receive connector's row has nine columns, one of IMAP's or POP's up to thirteen, the last of which may be left out."""
    if len(row) == 9 and row[6] in _EVENTS:
        time, connector, session, _, local, remote, kind, data, context = row
        host, program, said = connector.partition("\\")[0], "exchange-smtp-auth", {"data": data, "context": context}
    elif 10 <= len(row) <= 13 and all(map(_NUMBER.fullmatch, (row[2], *row[6:9]))):
        time, session, _, local, remote, user, _, _, _, kind, parameters, context, *_ = (*row, "", "")
        host, program, said = "-", "exchange-mailbox-auth", {"user": user, "parameters": parameters, "context": context}
    else:
        return None
    ip, port = _endpoint(remote)
    return _line(time, host, program, kind, {"session": session, "to": f"port {_endpoint(local)[1]}", "ip": ip, "port": port} | said)


def _sign_in(category: str, record: Mapping[str, Any]) -> str | None:
    said = {name: next((record[key] for key in keys if record.get(key) not in (None, "")), "") for name, keys in _SIGN_IN.items()}
    if str(said["code"]) in ("", "None"):
        said["code"] = 0 if record.get("status") == "Success" else record.get("status")
    return _line(str(said.pop("time")), "-", "entra-auth", category, said)


def _ended(record: Mapping[str, Any]) -> bool:
    """Whether it says how a sign-in ended. Other objects have a `status` too, and none of the portal's."""
    return "errorcode" in record or "resulttype" in record or record.get("status") in ("Success", "Failure", "Interrupted")


def _audit(record: Mapping[str, Any]) -> str | None:
    if not {"CreationTime", "Operation"} <= record.keys():
        return None
    ip, _ = _endpoint(str(record.get("ClientIP") or record.get("ActorIpAddress") or ""))
    code = record.get("ErrorNumber") or (0 if record["Operation"] == "UserLoggedIn" else "")
    if record["Operation"] == "UserLoginFailed" and str(code) in ("", "0"):
        code = record.get("LogonError")
    said = {"id": record.get("Id"), "code": code, "app": "", "ip": ip, "user": record.get("UserId")}
    return _line(str(record["CreationTime"]), "-", "m365-auth", record["Operation"], said)


def _event(line: str) -> str | None:
    """One event of a Windows event log as XML."""
    if line.count("<Event ") != 1:
        return None
    names = (
        r"SystemTime=['\"]([^'\"<>]{19,40})",
        r"<Computer>([^<\s]{1,255})<",
        r"Provider Name=['\"]([\w-]{1,64})['\"]",
        r"<EventID[^<>]{0,64}>(\d{1,5})<",
    )
    time, host, provider, number = (found[1] if (found := re.search(name, line)) else "" for name in names)
    data = [html.unescape(text) for text in re.findall(r"<Data(?: [^<>]{0,64})?>([^<]{0,1000})</Data>", line)]
    return _line(time, host, "windows-auth", f"{provider} {number}", dict(enumerate(data, 1)))


def _from_audit_data(text: str) -> str | None:
    import orjson  # noqa: PLC0415 - most logs hold no JSON

    try:
        record = orjson.loads(text)
        return _audit(record) if isinstance(record, dict) else None
    except orjson.JSONDecodeError:
        return None


# ------------------------------------------------------------------------------------------------ their parts


def _line(time: str, host: str, program: str, kind: object, values: Mapping[Any, object]) -> str | None:
    """The canonical line; None where there is no time. All these products write UTC, and not all of them say so."""
    stamp = _STAMP.fullmatch(time)
    if stamp is None:
        return None
    host = host if re.fullmatch(r"[^\s]{1,255}", host) else "-"
    head = f"{time.replace(' ', 'T')}{'' if stamp[1] else 'Z'} {host} {program}: {_value(kind)}"
    return "\t".join((head, *(f"{name}={_value(value)}" for name, value in values.items())))


def _value(value: object) -> str:
    text = "" if value is None else str(value)[:_LONGEST]
    return _CONTROL.sub(lambda control: control[0].encode("unicode_escape").decode(), text)


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader((line,)), [])
    except csv.Error:  # a cell of more than 128 kB
        return []


def _endpoint(text: str) -> tuple[str, str]:
    """Address and port of `192.0.2.1:25`, `[2001:db8::1]:25`, or an address alone."""
    found = re.fullmatch(r"\[?([0-9A-Fa-f.:]{2,45}?)\]?(?::(\d{1,5}))?", text) if text[:1] == "[" or text.count(":") == 1 else None
    return (found[1], found[2] or "") if found else (text, "")
