"""A second reader of mail logs, slow and simple, that shares no code with the engine but the tables and the masking.

Whole file in memory, one line at a time, every pattern on every line; the joins group lines first (by connection, by
session) and only then compare address, user and time. It exists to disagree with the engine where one of them is wrong.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import tomllib
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from socket import AF_INET6, inet_ntop, inet_pton

import zstandard

from kit.redact import mask_lines
from tests.logs.slow_lines import ISO, RFC3164, TAGGED, Calendar, latest_of, unwrap, year_of_first
from tests.logs.slow_records import as_line, one_record_a_line

TABLES = [tomllib.loads(path.read_text("utf-8")) for path in (files("kit.knowledge") / "log_lines").iterdir()]
CLASSES = [{"software": table["software"], "program": table["program"]} | entry for table in TABLES for entry in table.get("class", ())]
PATTERNS = [(entry, re.compile(entry["pattern"], re.ASCII), re.compile(entry["program"], re.ASCII)) for entry in CLASSES]
SUSPICION = next(table["suspicion"]["needles"] for table in TABLES if "suspicion" in table)


PACKED = {
    b"\x1f\x8b": gzip.decompress,
    b"\xfd7zXZ": lzma.decompress,
    b"BZh": bz2.decompress,
    b"\x28\xb5\x2f\xfd": lambda data: zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read(),
}
NOTHING = ("", "(unavailable)", "?")
SERVICES = {raw: service or None for table in TABLES for raw, service in table.get("service", {}).items()}
NAMED_BY_MECHANISM = (
    *("plain", "login", "cram-md5", "digest-md5", "scram-sha-1", "scram-sha-256"),
    *("xoauth2", "oauthbearer", "external", "gssapi", "ntlm", "apop"),
)
EXIM = ("failed", "declined", "hung-up", "message", "signed-in", "no-mail")
FIELDS = (
    *("time", "host", "server", "service", "service_raw", "outcome", "cause", "user", "client_ip", "client_port", "client_name"),
    *("helo", "mechanism", "tls", "session", "count", "text", "file", "line", "offset"),
)


def read_slowly(path: Path, *, year: int | None, zone: tzinfo = UTC) -> tuple[list[dict], dict[str, int]]:
    """The attempts in the order of their lines, and the coverage."""
    data = path.read_bytes()
    for magic, unpack in PACKED.items():
        if data.startswith(magic):
            data = unpack(data)
    lines = one_record_a_line(data).split(b"\n")
    if not lines[-1]:
        lines.pop()
    coverage = {"lines": len(lines), "attempts": 0, "attempt_lines": 0, "other": 0, "not_understood": 0, "undecodable": 0}
    texts = [raw.decode("utf-8", "replace").removesuffix("\r") for raw in lines]
    calendar = Calendar(year_of_first(texts, latest_of(path)) if year is None else year, zone)
    events, offset, header = [], 0, []
    for number, raw in enumerate(lines, 1):
        if year is None:
            calendar.see(texts[number - 1])
        kind, event = _judge(texts[number - 1], calendar, header)
        if kind == "other" and not _is_utf8(raw):
            kind = "undecodable"
        coverage[kind] += 1
        if event:
            events.append(event | {"file": str(path), "line": number, "offset": offset})
        offset += len(raw) + 1
    attempts = sorted(_join(events), key=lambda a: a["offset"])
    coverage["attempts"] = sum(a["count"] for a in attempts)
    return [{name: a[name] for name in FIELDS} for a in attempts], coverage


# ------------------------------------------------------------------------------------------------ one line


def _judge(line: str, calendar: Calendar, header: list[str]) -> tuple[str, dict | None]:
    """What the line counts as; and the event, if it tells of an attempt. A record is looked at only where it is suspect as it stands."""
    plain = (_suspect(line) and as_line(line.removeprefix("\ufeff"), header)) or unwrap(line)
    stamp = RFC3164.match(plain) or ISO.match(plain)
    tagged = TAGGED.fullmatch(plain, stamp.end()) if stamp else None
    if not tagged:
        return ("not_understood" if _suspect(plain) else "other"), None
    _, program, _, message = tagged.groups()
    for entry, pattern, programs in PATTERNS:
        found = programs.fullmatch(program) and pattern.fullmatch(message)
        if not found:
            continue
        if entry["role"] == "none":
            return "other", None
        time = calendar.read(plain)
        if time is None:
            break
        said = {"service": None, "user": None, "reason": None, **programs.fullmatch(program).groupdict(), **found.groupdict()}
        outcome, cause = entry.get("outcome", "success"), entry.get("cause", "none")
        for reason in entry.get("reasons", ()):
            if reason["text"] in (said["reason"] or ""):
                outcome, cause = reason["outcome"], reason["cause"]
                break
        return "attempt_lines", _event(entry, said, time, tagged.groups(), line) | {"outcome": outcome, "cause": cause}
    return ("not_understood" if _suspect(message) or found else "other"), None


def _event(entry: dict, said: dict, time: datetime, tagged: tuple, line: str) -> dict:
    host, program, pid, _ = tagged
    raw = program if entry["software"] == "postfix" else said["service"] or entry.get("service")
    mechanism = said.get("mechanism")
    if said.get("driver") is not None:
        parts = re.split("[-_]", said["driver"].lower())
        mechanism = next((m.upper() for m in NAMED_BY_MECHANISM if m in ("-".join(parts), *parts)), None)
    if said.get("sasl"):
        mechanism = said["sasl"].upper()
    version = (said.get("tls_version") or "").replace("TLS1", "TLSv1", 1) or None
    if version and version.startswith("esmtp"):
        version = "none" if version == "esmtpa" else version.split("X=")[1] if "X=" in version else "TLS"
    name = said.get("client_name")
    user = _from_vis(said["user"]) if entry.get("vis") and said["user"] else said["user"]
    if said.get("realm") and user not in NOTHING and "@" not in user:
        user = f"{user}@{said['realm']}"
    return {
        "role": entry["role"],
        "second": int(time.timestamp()),
        "connection": (host, program, pid),
        "asked": (said.get("process"), said.get("driver")),
        "reason": said["reason"],
        "good": int(good) if (good := said.get("good") or "0").isdigit() else good,
        "total": int(said.get("total") or 0),
        "answer": bool(said["reason"]),
        "time": time,
        "host": None if host == "-" else host,
        "server": entry["software"],
        "service_raw": raw,
        "user": None if user in (None, *NOTHING) else user,
        "client_ip": re.sub("^::ffff:", "", said.get("client_ip") or ""),
        "client_port": int(said["client_port"]) if said.get("client_port") else None,
        "client_name": None if name in ("unknown", "<unknown>", "NXDOMAIN", "DNSERROR") else name or None,
        "helo": said.get("helo") or None,
        "mechanism": mechanism or None,
        "tls": ("TLS" if said["tls"] in ("TLS", "TSL", "1", "Y") else "none") if "tls" in said else version,
        "session": said.get("session") or None,
        "text": mask_lines([line])[0],
    }


def _from_vis(text: str) -> str:
    """The bytes that vis(3) wrote so, one after the other."""
    raw, place = bytearray(), 0
    while place < len(text):
        for shape, value in VIS:
            if found := re.compile(shape, re.ASCII).match(text, place):
                raw += bytes(value(found[1]))
                place = found.end()
                break
    return raw.decode("utf-8", "replace")


VIS = [
    (r"\\M\^([!-~])", lambda c: [ord(c) ^ 0b1100_0000]),
    (r"\\M-([!-~])", lambda c: [ord(c) + 128]),
    (r"\\\^([!-~])", lambda c: [ord(c) ^ 0b0100_0000]),
    (r"\\([0-3][0-7]{2})", lambda digits: [int(digits, 8)]),
    (r"\\(\\)", lambda c: c.encode()),
    (r"([\s\S])", lambda c: c.encode("utf-8", "surrogatepass")),
]


def _suspect(message: str) -> bool:
    return any(word in message for word in SUSPICION)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


# ------------------------------------------------------------------------------------------------ joins


def _join(events: list[dict]) -> list[dict]:
    for event in events:
        event |= {
            "alive": event["role"] in ("verdict", "backend", "login", "refused", "attempt", "behind", "try", "again", "told", *EXIM),
            "count": 1,
        }
        event |= {"as_said": event["outcome"], "name": event["user"]}
    _meet_those_behind(events)
    _without_backend(events)
    extra = _postfix_connections(events)
    _dovecot_sessions([e for e in events if e["session"] and e["server"] == "dovecot"])
    for event in events:
        if event["role"] in ("ended", "ended-refused") and not event["session"]:
            event |= {"alive": True, "count": event["total"] or 1}
    _of_dovecots_clients(events)
    extra += _named_sessions(events)
    _exim_processes([e for e in events if e["role"] in EXIM])
    vanished = _match_by_client(events, [e for e in extra if e["why"] == "vanished"])
    attempts = [e for e in [*events, *extra] if e["alive"] and e not in vanished]
    for attempt in attempts:
        raw = attempt["service_raw"]
        attempt["service"] = SERVICES.get(raw, "other") if raw else None
        attempt["client_ip"] = _spelled_once(attempt["client_ip"]) or None
    return attempts


def _spelled_once(address: str) -> str:
    """An IPv6 address of eight groups, as the C library writes it."""
    if address and "::" not in address and len(address.split(":")) == 8:
        with suppress(OSError):
            return inet_ntop(AF_INET6, inet_pton(AF_INET6, address))
    return address


def _meet_those_behind(events: list[dict]) -> None:
    """Lines of saslauthd and PAM, and the next line of the same host, user and service about a failed try within five seconds."""
    by_host: dict[str | None, list[dict]] = {}
    for event in events:
        event["met"] = False
        if event["alive"] and event["outcome"] in ("failure", "server-error"):
            earlier = by_host.setdefault(event["host"], [])
            fits = [e for e in earlier if not e["met"] and _near(e, event) and _may_be_of(e, event)]
            if fits:
                fits[0] |= {"met": True, "alive": False}
                event["user"] = event["user"] or fits[0]["user"]
                event["client_ip"] = event["client_ip"] or fits[0]["client_ip"]
                if event["cause"] in ("credentials", "unknown"):
                    event |= {"outcome": fits[0]["outcome"], "cause": fits[0]["cause"]}
            if event["role"] == "behind":
                earlier.append(event)


def _may_be_of(behind: dict, event: dict) -> bool:
    kinds = []
    if not _same(*({"name": each["name"] and each["name"][:64]} for each in (behind, event))):  # Sendmail cuts names there
        return False
    for each in (behind, event):
        service = SERVICES.get(each["service_raw"], "other") or "other"
        kinds.append("smtp" if service.startswith("submission") else service.removesuffix("s"))
    one, two = kinds
    by_another = event["role"] != "behind" or event["asked"] != behind["asked"]
    return by_another and (one == two or not {one, two} <= {"smtp", "imap", "pop3", "sieve"})


def _of_dovecots_clients(events: list[dict]) -> None:
    """PAM's lines that nothing met, of a client of whose tries Dovecot has but the number, at the end of its connection."""
    for event in events:
        if event["role"] == "ended" and event["alive"]:
            for each in events:
                mine = each["role"] == "behind" and each["alive"] and not each["met"] and each["offset"] < event["offset"]
                here = (each["host"], each["client_ip"]) == (event["host"], event["client_ip"]) and each["client_ip"]
                if mine and here and abs(event["second"] - each["second"]) <= 200 and event["count"] > 0:
                    each |= {"met": True, "server": event["server"], "service_raw": event["service_raw"]}
                    _learn(each, event)
                    event["count"] -= 1
            event["alive"] = event["count"] > 0


def _without_backend(events: list[dict]) -> None:
    """A process that could not reach the authentication server has no reason to give for the failure it then logs."""
    trouble: dict[tuple, int] = {}
    for event in events:
        if event["role"] == "trouble":
            trouble[event["connection"]] = event["second"]
        lately = abs(event["second"] - trouble.get(event["connection"], -9_999)) <= 2
        if event["role"] == "verdict" and event["as_said"] == "failure" and lately:
            event |= {"outcome": "server-error", "cause": "backend-unavailable", "known": True}


def _postfix_connections(events: list[dict]) -> list[dict]:
    """Of each connection the first success counts; what the summary says beyond its lines becomes attempts of its own."""
    open_connections: dict[tuple, list[dict]] = {}
    extra = []
    for event in events:
        if event["role"] in ("verdict", "success", "lost"):
            lines = _connection(open_connections, event)
            if event["role"] == "success":
                event["alive"] = all(e["role"] != "success" for e in lines)
            lines.append(event)
        elif event["role"] == "summary":
            roles = [e["role"] for e in _connection(open_connections, event)]
            del open_connections[event["connection"]]
            unseen = max(event["total"] - event["good"], 0) - roles.count("verdict")

            def add(why: str, outcome: str, cause: str, count: int = 1, event: dict = event) -> None:
                more = {"user": None, "mechanism": None, "alive": True, "why": why, "outcome": outcome, "cause": cause, "count": count}
                extra.append(event | more)

            if event["good"] and "success" not in roles:
                add("silent", "success", "none")
            if unseen > 0 and "lost" in roles:
                add("vanished", "aborted", "aborted")
                unseen -= 1
            if unseen > 0:
                tried = "verdict" in roles or "success" in roles or event["good"]
                add("unanswered", "refused", "unknown" if tried else "auth-not-offered", unseen)
    return extra


def _connection(connections: dict[tuple, list[dict]], event: dict) -> list[dict]:
    """The lines of the connection so far; another client, or a silence of over an hour, is another connection."""
    lines = connections.setdefault(event["connection"], [])
    if lines and (lines[-1]["client_ip"] != event["client_ip"] or abs(event["second"] - lines[-1]["second"]) > 3600):
        lines = connections[event["connection"]] = []
    return lines


def _dovecot_sessions(events: list[dict]) -> None:
    """Of each session: its tries, and the line of the login process that ends them."""
    groups: dict[str, list[dict]] = {}
    ended_first: dict[str, dict] = {}
    for event in events:
        # Two processes write, so that the last line of a session may stand before the one of its try.
        last = ended_first.pop(event["session"], None) if event["role"] in ("backend", "refused") else None
        if last and last["outcome"] == event["outcome"] and abs(last["second"] - event["second"]) <= 2:
            last["count"] -= 1
            last["alive"] = last["count"] > 0
            if last["alive"]:
                ended_first[event["session"]] = last
            _learn(event, last)
        elif event["role"] in ("backend", "refused"):
            groups.setdefault(event["session"], []).append(event)
        else:
            _end_session(event, groups.pop(event["session"], []))
            if event["role"] in ("ended", "ended-refused") and event["alive"]:
                ended_first[event["session"]] = event


def _exim_processes(events: list[dict]) -> None:
    """The lines of a process about one client are of one connection: one sign-in, and AUTH commands with or without a line."""
    groups: dict[tuple, list[dict]] = {}
    for event in events:
        if event["connection"][2] or event["client_port"]:
            key = (event["connection"], event["client_ip"], event["client_port"])
            lines = groups.setdefault(key, [])
            if lines and abs(event["second"] - lines[-1]["second"]) > 3600:
                lines = groups[key] = []
            lines.append(event)
            _exim_line(event, lines[:-1])
        elif event["role"] in ("signed-in", "no-mail"):
            event["alive"] = False


def _exim_line(event: dict, before: list[dict]) -> None:
    role = event["role"]
    if role in ("failed", "hung-up") and event["connection"][0] != "-":
        candidates = [e for e in before if e["role"] in ("failed", "hung-up")]
        last = candidates[-1] if candidates else None
        if last and not last.get("copy") and _said(last) == _said(event) and abs(event["second"] - last["second"]) <= 1:
            event |= {"alive": False, "copy": True}
            return
    listed = [e for e in before if e["role"] in ("failed", "declined", "hung-up") and e["alive"] and "nonmail" not in (e["reason"] or "")]
    if role == "hung-up" and "nonmail" not in event["reason"]:
        event["alive"] = all(e["role"] != "declined" for e in before)
    elif role in ("message", "signed-in"):
        event["alive"] = all(e["role"] not in ("message", "signed-in") for e in before)
    elif role == "no-mail":
        event["count"] = event["reason"].count("AUTH") - len(listed)
        event["alive"] = event["count"] > 0


def _said(event: dict) -> tuple:
    return event["role"], event["asked"], event["user"], event["reason"]


def _named_sessions(events: list[dict]) -> list[dict]:
    """Of each session whose lines name it: pairs of lines that tell of one try, then what its other lines say of the client; Haraka's counts."""
    groups: dict[tuple, list[list[dict]]] = {}
    for event in events:
        if event["role"] in ("opens", "try", "again", "told", "asked", "closes"):
            sessions = groups.setdefault((event["host"], event["session"]), [[]])
            sessions[-1].append(event)
            if event["role"] == "closes":
                sessions.append([])
    extra = []
    for lines in [lines for sessions in groups.values() for lines in sessions]:
        _pair(lines)
        _told([e for e in lines if e["role"] == "told" or (e["role"] in ("try", "again") and e["alive"])])
        opens = [e for e in lines if e["role"] in ("opens", "closes")]
        for event in lines:
            for field in ("client_ip", "client_port", "client_name", "helo", "tls"):
                earlier = [e[field] for e in opens if e["offset"] < event["offset"] and e[field]]
                late = [e[field] for e in opens if e["offset"] > event["offset"] and e[field] and abs(e["second"] - event["second"]) <= 200]
                event[field] = event[field] or (earlier[-1:] or late[:1] or [None])[0]
        if lines and lines[-1]["role"] == "closes":
            extra += _count_asked(lines)
    return extra


def _pair(lines: list[dict]) -> None:
    """Two lines of one session that tell of one try."""
    single: list[dict] = []
    for event in lines:
        pair = [
            e for e in single if {e["role"], event["role"]} == {"try", "again"} and _near(e, event) and e["outcome"] == event["outcome"]
        ]
        if pair:
            single.remove(pair[0])
            event["alive"] = False
            for field in ("user", "mechanism"):
                pair[0][field] = pair[0][field] or event[field]
        else:
            single.append(event)


def _count_asked(lines: list[dict]) -> list[dict]:
    """The end of a session that counts: a sign-in if it may send mail, and the AUTH commands that came to nothing."""
    *others, end = lines
    asked = sum(e["role"] == "asked" for e in others)
    end["alive"] = end["good"] == "Y" and asked > 0
    end["count"] = 1
    rest = asked - sum(e["role"] in ("try", "again") and e["alive"] for e in others) - end["alive"]
    how = "malformed" if end["reason"].startswith('"504 Invalid AUTH') else "aborted"
    return [end | {"alive": True, "why": how, "outcome": how, "cause": how, "count": rest}] if rest > 0 else []


def _told(lines: list[dict]) -> None:
    """Of one session: a try has one line that says who it was and one answer; what comes once more is another try."""
    told: set[bool] = {True, False}
    for place, event in enumerate(lines):
        if event["role"] != "told":
            told = set()
            continue
        event["alive"] = event["answer"] in told
        if event["alive"]:
            told = set()
        else:
            latest = next(e for e in reversed(lines[:place]) if e["alive"])
            for field in ("user", "mechanism") if _near(latest, event) else ():
                latest[field] = latest[field] or event[field]
        told.add(event["answer"])


def _near(one: dict, other: dict) -> bool:
    return abs(one["second"] - other["second"]) <= 5


def _end_session(event: dict, tries: list[dict]) -> None:
    # What is longer ago than Dovecot lets a login last cannot be mended any more, but it is still counted.
    young = [each for each in tries if abs(event["second"] - each["second"]) <= 200]
    if event["role"] == "login":
        for each in young:
            if each["cause"] == "unknown-user" and _same(each, event) and abs(each["second"] - event["second"]) <= 2:
                each["alive"] = False
    elif event["role"] == "ended":
        if event["total"] == len(young) == 1:
            young[0]["user"] = young[0]["user"] or event["user"]
        _merge(young, sum(each["alive"] for each in tries) - event["total"])
        event["count"] = event["total"] - sum(each["alive"] for each in tries)
        event["alive"] = event["count"] > 0
    elif event["role"] == "ended-refused":
        event["alive"] = all(each["outcome"] != event["outcome"] for each in young)
    for each in young:
        _learn(each, event)


def _learn(each: dict, event: dict) -> None:
    """A try learns what the login process says of its connection."""
    each["service_raw"] = each["service_raw"] or event["service_raw"]
    each["tls"] = each["tls"] or event["tls"]
    # The login process names one mechanism, which may be another than that of an earlier try: one without a password
    # cannot have had a wrong password.
    if event["mechanism"] in ("PLAIN", "LOGIN") or each["cause"] != "wrong-password":
        each["mechanism"] = each["mechanism"] or event["mechanism"]


def _merge(tries: list[dict], surplus: int) -> None:
    """A line for each password database that was asked: neighbours are one try, until no more are left than Dovecot counted."""
    for one, two in pairwise(tries):
        if surplus <= 0:
            break
        if one["user"] == two["user"] and one["asked"] != two["asked"] and two["second"] - one["second"] <= 2:
            one["alive"] = False
            surplus -= 1
            if two["cause"] == "unknown-user":
                two["cause"] = one["cause"]


def _match_by_client(events: list[dict], vanished: list[dict]) -> list[dict]:
    """Dovecot's verdicts without a session belong to Postfix. Returns the vanished tries that Dovecot has judged."""
    by_client: dict[str, list[dict]] = {}
    for event in events:
        if event["role"] in ("verdict", "success") or (event["role"] == "backend" and not event["session"]):
            by_client.setdefault(event["client_ip"], []).append(event)
    for event in vanished:
        by_client.setdefault(event["client_ip"], []).append(event)
    judged_after_all = []
    for lines in by_client.values():
        lines.sort(key=lambda e: e["offset"])
        judged_after_all += _match_one_client(lines)
    return judged_after_all


def _match_one_client(lines: list[dict]) -> list[dict]:
    judged: list[dict] = []
    bare: list[dict] = []
    judged_after_all = []
    for event in lines:
        if event["role"] == "backend":
            if failure := _first(bare, event, 2):
                _tell(failure, event)
            else:
                judged.append(event)
        elif event["role"] == "verdict" and event["outcome"] in ("failure", "server-error") and not event.get("known"):  # sent, and judged
            if verdict := _first(judged, event, 30):
                _tell(event, verdict)
            elif event["as_said"] == "failure":
                bare.append(event)
        elif event["role"] == "success" and event["alive"]:
            for each in [e for e in judged if e["cause"] == "unknown-user" and _same(e, event) and abs(e["second"] - event["second"]) <= 2]:
                each["alive"] = False
                judged.remove(each)
        elif event["role"] == "summary" and (verdict := _first(judged, event, 30)):
            verdict |= {"service_raw": event["service_raw"], "server": event["server"]}
            judged_after_all.append(event)
    return judged_after_all


def _first(waiting: list[dict], event: dict, seconds: int) -> dict | None:
    """The first that waits for such an event, which waits no longer."""
    for each in waiting:
        if abs(each["second"] - event["second"]) <= seconds and _same(each, event):
            waiting.remove(each)
            return each
    return None


def _tell(failure: dict, verdict: dict) -> None:
    verdict["alive"] = False
    failure["user"] = failure["user"] or verdict["user"]
    if failure["outcome"] == "failure" and failure["cause"] in ("credentials", "unknown"):
        failure |= {"outcome": verdict["outcome"], "cause": verdict["cause"]}


def _same(one: dict, other: dict) -> bool:
    """One user, as far as the names in the lines tell: case apart, with or without the domain."""
    if one["name"] is None or other["name"] is None:
        return True
    a, b = one["name"].lower(), other["name"].lower()
    return a == b or ("@" not in a and b.split("@")[0] == a) or ("@" not in b and a.split("@")[0] == b)
