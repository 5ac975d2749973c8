"""The mail that goes out: from a message or a file to octets that are safe to put on the wire, and the envelope for them.

    build_test_message, samples ─► mail ─┐
                                         ├─► Mail: from whom, to whom, what, and what the server must offer
    file.eml ───────────► read_message ──┘

`mail` judges the octets that would go out, not the object that they were written from; what could become a second header
or a second message is refused, with the rule and what to do.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.errors import MessageError
from email.message import Message
from email.policy import SMTP
from email.utils import format_datetime, parsedate_tz
from pathlib import Path
from typing import Final

from kit.errors import UnreadableInput
from kit.fields import CONTROL
from kit.model import Finding
from kit.sending.addresses import Mailbox, check_address, parse_addresses
from kit.sending.content import SMTPUTF8, Field, read_content
from kit.sending.rules import noted, refused

TRACE_HEADER: Final = "X-Kit-Trace"
MAX_RECIPIENTS: Final = 100  # what every server must take (RFC 5321 section 4.5.3.1.8)
MAX_FILE: Final = 25 * 1024 * 1024  # octets

# Seven-bit on the wire, so that it passes servers without 8BITMIME; CRLF; headers folded at 78.
POLICY: Final = SMTP.clone(cte_type="7bit")
_UNFOLDED: Final = re.compile(r"\r(?!\n[ \t])|(?<!\r)\n|\n(?![ \t])")
_FIELD_NAME: Final = re.compile(rb"(?m)^([!-9;-~]+):")
_TRACE: Final = re.compile(r"[0-9a-f]{12}")
_ADDRESSES: Final = ("from", "sender", "reply-to", "to", "cc", "bcc")
_SPELT: Final = {"date": "Date", "message-id": "Message-ID"}
_SECRET: Final = ("bcc", "resent-bcc")
_RESENT: Final = ("resent-from", "resent-sender", "resent-to", "resent-cc", "resent-date", "resent-message-id")
_DELIVERED: Final = ("return-path", "delivered-to")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A message that may go out.

    Attributes:
        sender: the envelope's, as MAIL FROM has it.
        recipients: the envelope's, each once.
        content: what follows DATA, before dots are doubled: CRLF only, no line above 998 octets, no Bcc.
        needs: the extensions that a server must offer to get it: `SMTPUTF8`, `8BITMIME`.
        trace: the id in its `X-Kit-Trace` header, where the kit built it.
        notes: what is worth knowing before it goes out.
    """

    sender: str
    recipients: tuple[str, ...]
    content: bytes = field(repr=False)
    needs: frozenset[str]
    message_id: str
    trace: str | None
    notes: tuple[Finding, ...]

    @property
    def size(self) -> int:
        """Octets, as SIZE counts them (RFC 1870 section 5)."""
        return len(self.content)


def read_message(path: str | Path, *, sender: str | None = None, recipients: Sequence[str] | None = None) -> Mail:
    """The message in the file `path`, by the same rules. Its lines end with CRLF or with LF, not with both.

    Raises:
        InvalidMessage: it must not go out; names the file, the line, the rule and what to do.
        UnreadableInput: there is no such file, or it does not read.
    """
    path = Path(path)
    name = CONTROL.sub("?", str(path))
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE + 1)
    except (OSError, ValueError) as fault:
        raise UnreadableInput(
            f"the message does not read ({fault})", where=name, next_step="Give the name of an .eml file that you may read"
        ) from fault
    return mail(raw, sender=sender, recipients=recipients, origin=name)


def mail(message: Message | bytes, *, sender: str | None = None, recipients: Sequence[str] | None = None, origin: str = "") -> Mail:
    """`message` with its envelope, checked to its last octet.

    Args:
        message: as `build_test_message` makes it, or the octets of one.
        sender: the envelope's; else its Sender, else its From.
        recipients: the envelope's; else its To, Cc and Bcc.
        origin: the file that it comes from, for the errors.

    Raises:
        InvalidMessage: it must not go out.
    """
    if isinstance(message, bytes) and len(message) > MAX_FILE:
        raise refused("file-too-large", origin or "message")
    content = read_content(message if isinstance(message, bytes) else _octets(message), origin=origin)
    fields = {f.name: f for f in content.fields}
    boxes = {f.name: parse_addresses(f.where, f.text) for f in content.fields if f.name in _ADDRESSES and (f.text or f.name != "bcc")}
    if "from" not in fields:
        raise refused("no-from", origin or "From")
    author = _sender(boxes, fields["from"].where) if sender is None else check_address("sender", sender)
    goal = (
        [*boxes.get("to", ()), *boxes.get("cc", ()), *boxes.get("bcc", ())]
        if recipients is None
        else typed_mailboxes("recipients", recipients)
    )
    to = tuple(dict.fromkeys(box.address for box in goal))
    check_count(origin or "To" if recipients is None else "recipients", to)
    needs, notes = content.needs, list(content.notes)
    if not all(address.isascii() for address in (author, *to)):
        needs |= {SMTPUTF8}
        notes.append(noted("address-in-utf8", origin or "message"))
    added = _missing(fields, author)
    notes += [noted(f"no-{name}", origin or "message") for name in added]
    notes += _worth_saying(content.fields, boxes)
    kept = (f.octets for f in content.fields if f.name not in _SECRET and f.name not in added)
    trace = fields.get(TRACE_HEADER.lower())
    return Mail(
        sender=author,
        recipients=to,
        content=b"".join((*(f"{_SPELT[name]}: {value}\r\n".encode() for name, value in added.items()), *kept, content.body)),
        needs=needs,
        message_id=added.get("message-id") or fields["message-id"].text,
        trace=trace.text if trace and _TRACE.fullmatch(trace.text) else None,
        notes=tuple(notes),
    )


def _octets(message: Message) -> bytes:
    """`message` as the standard library writes it, which must be what was set."""
    for name, value in message.items():
        if _UNFOLDED.search(str(value)):
            raise refused("control-in-header", CONTROL.sub("?", name[:100]))
    try:
        wire = message.as_bytes(policy=POLICY.clone(utf8=getattr(message.policy, "utf8", False)))
    except (MessageError, ValueError, LookupError) as fault:
        raise refused("not-as-set", "message", str(fault)) from fault
    written = [name.decode("ascii") for name in _FIELD_NAME.findall(wire.partition(b"\r\n\r\n")[0])]
    if written != list(message):
        raise refused("not-as-set", "message")
    return wire


def _sender(boxes: dict[str, tuple[Mailbox, ...]], where: str) -> str:
    named = boxes.get("sender") or boxes["from"]
    if len(named) != 1:
        raise refused("one-sender", where, f"{len(named)} addresses")
    return named[0].address


def _missing(fields: dict[str, Field], sender: str) -> dict[str, str]:
    """The fields that every message should have and this one has not (RFC 6409 section 8.2 and 8.3 let who submits it add them)."""
    now = {"date": format_datetime(datetime.now(UTC)), "message-id": new_message_id(sender)}
    return {name: value for name, value in now.items() if name not in fields or not fields[name].text}


def _worth_saying(fields: Sequence[Field], boxes: dict[str, tuple[Mailbox, ...]]) -> list[Finding]:
    notes = [
        noted(rule, field.where)
        for rule, names in (("bcc-removed", _SECRET), ("resent", _RESENT), ("was-delivered", _DELIVERED))
        for field in fields
        if field.name in names
    ]
    notes += [
        noted("odd-date", field.where, field.text)
        for field in fields
        if field.name == "date" and field.text and not parsedate_tz(field.text)
    ]
    notes += [
        noted("name-hides-address", field.where, f"{box.poses_as} stands before {box.address}")
        for field in fields
        for box in boxes.get(field.name, ())
        if box.poses_as
    ]
    return notes


def typed_mailboxes(field: str, given: Sequence[str]) -> list[Mailbox]:
    """The mailboxes in what a person typed."""
    return [box for text in given for box in parse_addresses(field, check_typed(field, text))]


def new_message_id(sender: str, trace: str | None = None) -> str:
    """One that nobody else has, in the sender's domain; it holds the trace id, where there is one. Short, so that its field is one line."""
    return f"<{trace or 'kit'}.{secrets.token_hex(8)}@{sender.rpartition('@')[2]}>"


def check_count(where: str, recipients: Sequence[object]) -> None:
    """Refuse none, and more than every server must take."""
    if not 1 <= len(recipients) <= MAX_RECIPIENTS:
        raise refused("recipients", where, f"{len(recipients)} recipients")


def check_typed(field: str, value: str) -> str:
    """What a person typed, where it may stand in a header as it is."""
    if CONTROL.search(value):
        raise refused("control-in-header", field)
    if "=?" in value:
        raise refused("encoded-word-typed", field)
    return value
