"""The octets of a message, read as a server reads them: line ends, lines, header fields. Pure.

What email libraries make of a message does not count here: they mend what a server may understand otherwise.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from dataclasses import dataclass
from typing import Final

from kit.fields import CONTROL
from kit.model import Finding
from kit.sending.addresses import decoded
from kit.sending.rules import noted, refused

MAX_LINE: Final = 998  # octets without the CRLF (RFC 5322 section 2.1.1; RFC 5321 section 4.5.3.1.6 counts 1000 with it)
MAX_HEADER: Final = 1 << 20  # octets; servers stop at less
SMTPUTF8: Final = "SMTPUTF8"
EIGHT_BIT: Final = "8BITMIME"

_BARE: Final = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_AROUND_A_DOT: Final = re.compile(rb"[\r\n]\.[\r\n]")
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_TOO_LONG: Final = re.compile(rb"(?m)^[^\n]{%d,}" % (MAX_LINE + 2))  # the CR among them
_LONG: Final = re.compile(rb"(?m)^[^\n]{80,}")
_NAME: Final = re.compile(r"([!-9;-~]+):")
# RFC 5322 section 3.6; RFC 2045 section 3
_ONCE: Final = frozenset(
    {"date", "from", "sender", "reply-to", "to", "cc", "bcc", "message-id", "in-reply-to", "references", "subject"}
) | {
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "content-disposition",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One header field.

    Attributes:
        name: in small letters.
        text: its value on one line; encoded words as they are.
        octets: as it stands, with its line ends.
        where: the file and line, or the name.
    """

    name: str
    text: str
    octets: bytes
    where: str


@dataclass(frozen=True, slots=True)
class Content:
    """A message that reads one way only.

    Attributes:
        fields: of the header, in their order.
        body: the empty line and what follows it.
        needs: the extensions without which a server may not have it.
        notes: what is worth saying about it.
    """

    fields: tuple[Field, ...]
    body: bytes
    needs: frozenset[str]
    notes: tuple[Finding, ...]


def read_content(raw: bytes, *, origin: str = "") -> Content:
    """`raw` with CRLF at the end of every line, header and body apart.

    Args:
        raw: with CRLF, or with LF only as files on Unix have it; not with both.
        origin: the file's name, for the errors.

    Raises:
        InvalidMessage: two readers could take it for two things, or no server need take it.
    """
    if not raw.strip():
        raise refused("empty-message", origin or "message")
    if raw.startswith((BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE)):
        raise refused("byte-order-mark", _at(origin, 1))
    wire = _line_ends(raw, origin)
    if too_long := _TOO_LONG.search(wire):
        raise refused("line-too-long", _place(origin, wire, too_long.start()), f"it has {len(too_long[0]) - 1}")
    head, gap, rest = (b"", b"\r\n", wire[2:]) if wire.startswith(b"\r\n") else wire.partition(b"\r\n\r\n")
    body = gap[-2:] + rest or b"\r\n"
    if len(head) > MAX_HEADER:
        raise refused("header-too-large", origin or "message")
    fields = _fields(head + gap[:2] if head else b"", origin)
    _check_once(fields)
    needs, notes = set(), []
    if long := _LONG.search(wire):
        notes.append(noted("line-over-78", _place(origin, wire, long.start())))
    if not head.isascii():
        needs.add(SMTPUTF8)
        notes.append(noted("header-in-utf8", next(field.where for field in fields if not field.octets.isascii())))
    if not body.isascii():
        needs.add(EIGHT_BIT)
        notes.append(noted("eight-bit-body", origin or "body"))
    return Content(fields, body, frozenset(needs), tuple(notes))


def _line_ends(raw: bytes, origin: str) -> bytes:
    if b"\r" not in raw:
        raw = raw.replace(b"\n", b"\r\n")
    if bare := _BARE.search(raw):
        dot = _AROUND_A_DOT.search(raw[max(bare.start() - 2, 0) : bare.end() + 2])
        raise refused("smuggled-end" if dot else "bare-line-break", _place(origin, raw, bare.start()))
    if (nul := raw.find(b"\0")) >= 0:
        raise refused("nul", _place(origin, raw, nul))
    return raw if raw.endswith(b"\r\n") else raw + b"\r\n"


def _fields(head: bytes, origin: str) -> tuple[Field, ...]:
    fields: list[Field] = []
    lines = head.split(b"\r\n")[:-1]
    first = 0
    for number, line in enumerate(lines):
        if number + 1 == len(lines) or lines[number + 1][:1] not in (b" ", b"\t"):
            fields.append(_field(lines[first : number + 1], first + 1, origin))
            first = number + 1
        if not line.strip(b" \t"):
            raise refused("blank-fold", _at(origin, number + 1))
    return tuple(fields)


def _field(lines: list[bytes], number: int, origin: str) -> Field:
    octets = b"".join(line + b"\r\n" for line in lines)
    try:
        text = b"".join(lines).decode()
    except UnicodeDecodeError:
        raise refused("header-not-utf8", _at(origin, number)) from None
    name = _NAME.match(text)
    if not name:
        raise refused("no-field", _at(origin, number), text)
    where = f"{origin}:{number} ({name[1]})" if origin else name[1][:100]
    if CONTROL.search(text.replace("\t", " ")):
        raise refused("control-in-header", where)
    if CONTROL.search(decoded(text).replace("\t", " ")):
        raise refused("encoded-control", where)
    return Field(name[1].lower(), text[name.end() :].strip(" \t"), octets, where)


def _check_once(fields: tuple[Field, ...]) -> None:
    names = [field.name for field in fields]
    twice = [field for at, field in enumerate(fields) if field.name in _ONCE and field.name in names[:at]]
    if twice:  # two senders are worse than two of anything else
        raise refused("field-twice", min(twice, key=lambda field: field.name != "from").where)


def _place(origin: str, raw: bytes, at: int) -> str:
    return _at(origin, len(_LINE_END.findall(raw, 0, at)) + 1)


def _at(origin: str, line: int) -> str:
    return f"{origin}:{line}" if origin else f"line {line} of the message"
