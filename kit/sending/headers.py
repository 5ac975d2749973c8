"""The header of a received copy, from pasted text to fields, hops and results. Pure.

The text is repaired first, for mail programs lose indentation, quote and decorate. Then `Received` (RFC 5321 section 4.4) is read by
mail-parser, and `Authentication-Results` (RFC 8601) here, as the big receivers write forms that its grammar does not know. What
each result means stands in `kit/knowledge/received.toml`. Every field is masked and printable before anything looks at it.
"""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice, pairwise, takewhile
from typing import Any, Final

from kit.knowledge.load import load_table
from kit.model import Cause, Severity
from kit.redact import mask_known

LIMIT: Final = 256 * 1024  # characters of a pasted text that are looked at
_LONGEST: Final = 4000  # characters of a field
_MOST: Final = 64  # fields of a name

# At the start of a line. Without the blank, the words of a signature's h=from:to: would be names too.
_NAME: Final = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,76}):(?:\s+|$)")
_HEADERS: Final = re.compile(r"(?mi)^[> \t]*(?:Authentication-Results:|Received:\s{0,9}(?:from|by|\())")
# A result or a property, RFC 8601 section 2.2: spf=pass, dkim/1 = pass, header.d="example.com".
_PAIR: Final = re.compile(r'([A-Za-z][\w.-]{0,63})(?:/\d{1,3})? ?= ?((?:"(?:[^"\\]|\\.)*"|[^\s"])*)')
# RFC 3848, and RFC 6531 section 4.3.
_WITH: Final = re.compile(r"(?i)(?:UTF8)?(?:E?SMTP|LMTP)(S?)(A?)(?![A-Z0-9])")
# As Postfix, Gmail, Microsoft, Exim and OpenSMTPD write it.
_TLS: Final = re.compile(r"(?:using |version=|\()(TLS|SSL)[ v]?(\d)(?:[._](\d))?(?![0-9])")
_BY: Final = re.compile(r"\bby ([^\s;()]+)")
_PRIVATE: Final = re.compile(r"[^.]*|.*:.*|.*\.(?:\d+|internal|local|localdomain|lan)")  # names that say nothing about whose a server is
_NAMELESS: Final = "outlook.com"  # whose results stand without a name
_CIPHER: Final = re.compile(r"(?:cipher[= ]|\) tls |\(TLSv?[\d.]{1,3}:)([A-Za-z0-9_-]{4,64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One server on the way, as its Received field has it.

    Attributes:
        came_from: the name that the client gave itself, and what the server saw.
        signed_in: whether the protocol says so (RFC 3848); None where it says nothing about that.
        encrypted: the same for TLS.
        tls: the version, as `TLSv1.3`.
        time: in UTC.
        seconds: since the hop before; negative where the clocks disagree.
        text: the field as pasted, masked.
    """

    came_from: str | None
    by: str | None
    protocol: str | None
    signed_in: bool | None
    encrypted: bool | None
    tls: str | None
    cipher: str | None
    id: str | None
    time: datetime | None
    seconds: float | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One result of an Authentication-Results field.

    Attributes:
        method: `spf`, `dkim`, `dmarc`, `arc`, `compauth`, `auth` or `iprev`.
        properties: such as `("smtp.mailfrom", "anna@example.com")`.
        said: the receiver's own words about it.
        meaning: in plain words.
        authserv_id: who says so.
        trusted: it stands where only the receiving server writes.
    """

    method: str
    result: str
    properties: tuple[tuple[str, str], ...]
    said: str | None
    cause: Cause
    severity: Severity
    meaning: str
    next_step: str
    authserv_id: str | None
    trusted: bool

    def get(self, *names: str) -> str | None:
        """The first of these properties that it has."""
        held = dict(reversed(self.properties))
        return next((held[name] for name in names if held.get(name)), None)

    @property
    def domain(self) -> str:
        """The one that it speaks of; empty where there is none."""
        return domain_of(self.get("smtp.mailfrom", "header.d", "header.i", "header.from", "smtp.helo"))


def is_headers(text: str) -> bool:
    """Does a message's header stand in `text`, and not a server's reply?"""
    return _HEADERS.search(text[:LIMIT]) is not None


# --- from what somebody pasted to fields ------------------------------------------------------------------------------


def read_fields(text: str) -> Iterator[tuple[str, str]]:
    """Name, in lower case, and value of each field of the header; unfolded, masked, printable, at most 4000 characters long."""
    if "&lt;" in text or "&gt;" in text:
        text = html.unescape(text)
    text = re.sub(r"(?m)^(?:> ?)+", "", re.sub(r"\r\n?", "\n", text))
    lines = textwrap.dedent(text).split("\n")
    if not any(above.strip() and below.strip() for above, below in pairwise(lines)):
        lines = [line for line in lines if line.strip()]  # some programs show each line as a paragraph
    name, value = "", ""
    for line in _header(lines):
        if found := _NAME.match(line):
            if name:
                yield name.lower(), _clean(value)
            name, value = found[1], line[found.end() :]
        elif len(value) < _LONGEST:
            value += " " + line  # folded; or its indentation is lost
    if name:
        yield name.lower(), _clean(value)


def _header(lines: list[str]) -> list[str]:
    """The first block of lines that looks like a header; nothing that stands in a body is one."""
    block: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            block.append(line)
        elif is_headers("\n".join(block)):
            break
        else:
            block = []
    return block


def _clean(value: str) -> str:
    value = mask_known(re.sub(r"\s+", " ", value[: 2 * _LONGEST]).strip())[:_LONGEST]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value)


def domain_of(address: str | None) -> str:
    """Of an address, or of what has only a domain; empty where it is none. It is shown in commands to copy, so nothing else may pass."""
    domain = (address or "").rpartition("@")[2].strip('<>".').lower()
    return domain if re.fullmatch(r"\w[\w.-]{0,252}", domain) else ""


def shared_domain(one: str, other: str) -> str:
    """The longest domain that both are, or are under; which domain is of one organisation is not looked up."""
    labels = zip(one.split(".")[::-1], other.split(".")[::-1], strict=False)
    return ".".join([label for label, same in takewhile(lambda pair: pair[0] == pair[1], labels)][::-1])


# --- the way ----------------------------------------------------------------------------------------------------------


def _hop(text: str) -> Hop:
    import mailparser  # noqa: PLC0415 - only those who paste headers need it

    found: dict[str, Any] = (mailparser.parse_from_string(f"Received: {text}\r\n\r\n").received or [{}])[0]
    protocol = re.sub(r" ?\(.*", "", found.get("with", "")) or None
    kind = _WITH.match(protocol or "")
    tls, cipher = _TLS.search(text), _CIPHER.search(text)
    came_from = re.match(r"[^\s]+(?: \([^()]*\))?", found.get("from", ""))
    return Hop(
        came_from=came_from[0] if came_from else None,
        by=found.get("by", "").partition(" ")[0] or None,
        protocol=kind[0].upper() if kind else protocol,
        signed_in=bool(kind[2]) if kind else None,
        encrypted=bool(kind[1] or tls) if kind else True if tls else None,
        tls=(f"{tls[1]}v{tls[2]}" + (f".{tls[3]}" if tls[3] else "")) if tls else None,
        cipher=cipher[1] if tls and cipher else None,
        id=found.get("id", "").partition(" ")[0] or None,
        time=datetime.fromisoformat(found["date_utc"]) if found.get("date_utc") else None,
        seconds=None,
        text=text,
    )


def read_hops(fields: list[tuple[str, str]]) -> tuple[Hop, ...]:
    """In the order of the journey, each with the seconds since the one before that has a time."""
    before: datetime | None = None
    journey: list[Hop] = []
    for text in reversed([value for name, value in fields if name == "received"][:_MOST]):
        hop = _hop(text)
        seconds = (hop.time - before).total_seconds() if hop.time and before else None
        before = hop.time or before
        journey.append(replace(hop, seconds=seconds))
    return tuple(journey)


# --- what the receiver found out --------------------------------------------------------------------------------------


def read_results(fields: list[tuple[str, str]]) -> Iterator[Result]:
    """Of each Authentication-Results field, the topmost first.

    Only the receiving server's own can be trusted, and the topmost is that (RFC 8601 section 5), if it speaks in the name of whoever
    wrote the Received above it. It may have written more than one, a program each: those follow at once, before any Received, in the
    same name, and speak of something else. All the others were in the message when it came in: words of its sender, or of somebody on
    the way.
    """
    first: str | None = None
    heard: set[str] = set()
    met, below, believed, receiver = 0, False, False, ""
    for name, value in fields:
        if (
            name == "received"
            and not met
            and not receiver
            and (by := _BY.search(re.sub(r"\([^()]*\)", "", value)))
            and not _PRIVATE.fullmatch(by[1])
        ):
            receiver = by[1].lower()
        below = below or (name == "received" and met > 0)
        if name != "authentication-results" or met >= _MOST:
            continue
        met += 1
        # Masked once more: without the comments between them, two words may come to more than each.
        parts = [(mask_known(text), mask_known(said)) for text, said in islice(_parts(value), _MOST)]
        who = parts[0][0].split() if parts and not _PAIR.search(parts[0][0]) else []
        authserv_id = who[0].strip('"').lower() if who else None  # Microsoft writes none
        pairs = [(_PAIR.findall(text), said) for text, said in parts]
        methods = {found[0][0].lower() for found, _ in pairs if found}
        if met == 1:
            first, trusted = authserv_id, not receiver or "." in shared_domain(authserv_id or _NAMELESS, receiver)
            believed = trusted
        else:
            trusted = believed and not below and authserv_id is not None and authserv_id == first and not methods & heard
        heard |= methods if trusted else set()
        for found, said in pairs:
            if found and (method := found[0][0].lower()) in load_table("received")["result"]:
                yield _result(method, found[0][1].strip('"').lower(), found[1:], said, authserv_id, trusted)


def _parts(value: str) -> Iterator[tuple[str, str]]:
    """What stands between semicolons, and the comments taken out of it."""
    text = said = ""
    depth, quoted = 0, False
    for piece in re.findall(r'\\.|[();"]|[^\\();"]+|\\', value):
        if depth == 0 and piece == '"':
            quoted = not quoted
        if piece == "(" and not quoted:
            depth += 1
            text, said = (text + " ", said + " ") if depth == 1 else (text, said + piece)
        elif piece == ")" and depth:
            depth -= 1
            said += piece if depth else ""
        elif depth:
            said += piece
        elif piece == ";" and not quoted:
            yield text.strip(), said.strip()
            text = said = ""
        else:
            text += piece
    yield text.strip(), said.strip()


def _result(method: str, result: str, found: Iterable[tuple[str, str]], said: str, authserv_id: str | None, trusted: bool) -> Result:
    properties = tuple((name.lower(), value.strip('"')) for name, value in found)
    rows = load_table("received")["result"][method]
    row = rows.get(result) or rows["other"]
    made = Result(
        method=method,
        result=result,
        properties=properties,
        said=said or None,
        cause=Cause(row["cause"]),
        severity=Severity(row["severity"]),
        meaning="",
        next_step="",
        authserv_id=authserv_id,
        trusted=trusted,
    )
    domain = made.domain or "the domain"
    return replace(made, meaning=row["title"].replace("DOMAIN", domain), next_step=row["next_step"].replace("DOMAIN", domain))
