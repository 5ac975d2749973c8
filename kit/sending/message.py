"""The test message: built from checked parts, and turned into bytes that are safe to put on the wire. Pure.

`build_test_message` makes one, `envelope` says from whom and to whom it goes, `wire_bytes` is what follows DATA. Each
refuses what could become a second header or a second message, naming the field, the rule and what to do.
"""

from __future__ import annotations

import copy
import re
import secrets
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, getaddresses, make_msgid
from typing import Final

from kit.errors import InvalidMessage

TRACE_HEADER: Final = "X-Kit-Trace"
MAX_LINE: Final = 998  # octets without the CRLF (RFC 5322 section 2.1.1; RFC 5321 section 4.5.3.1.6 counts 1000 with it)
MAX_RECIPIENTS: Final = 100  # what every server must take (RFC 5321 section 4.5.3.1.8)

# Seven-bit on the wire, so that it passes servers without 8BITMIME; CRLF; headers folded at 78.
_POLICY: Final = SMTP.clone(cte_type="7bit")
# Control characters, and what Python and others take for a line break.
_BREAKS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BARE: Final = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_UNFOLDED: Final = re.compile(r"\r(?!\n[ \t])|(?<!\r)\n|\n(?![ \t])|\x00")
_FIELD_NAME: Final = re.compile(rb"(?m)^([!-9;-~]+):")
_ONCE: Final = ("From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Subject", "Date", "Message-ID")
_SUFFIX: Final = ".example.com"


def build_test_message(sender: str, recipients: Sequence[str], *, subject: str | None = None, body: str | None = None) -> EmailMessage:
    """A message that says it is a test, with a trace id in its subject and its `X-Kit-Trace` header.

    Args:
        sender: one address, without a name: it becomes From and the envelope sender.
        recipients: one to a hundred addresses.
        subject: the trace id is put behind it.
        body: plain text; line breaks of every kind become CRLF.

    Raises:
        InvalidMessage: a part that must not go out; names it, the rule and what to do.
    """
    sender = check_address("From", sender)
    recipients = [check_address("To", recipient) for recipient in recipients]
    _check_count(recipients)
    trace = secrets.token_hex(6)
    message = EmailMessage(policy=_POLICY)
    message["From"] = Address(addr_spec=sender)
    message["To"] = [Address(addr_spec=recipient) for recipient in recipients]
    message["Subject"] = f"{_check_header('Subject', subject or 'Test of sign-in and delivery')} [{trace}]"
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office note comes back
    message[TRACE_HEADER] = trace
    message.set_content(_check_body(_DEFAULT_BODY if body is None else body))
    return message


def check_address(field: str, address: str) -> str:
    """`address` in the form it has on the wire, its domain in ASCII. Nothing is looked up.

    Raises:
        InvalidMessage: it is no address (RFC 5321 section 4.1.2), or one that needs SMTPUTF8.
    """
    from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email  # noqa: PLC0415 - brings idna with it

    _check_header(field, address)
    # The library refuses localhost, .test and their like; in a safe place to test they are what one has. Under a
    # common domain it checks their syntax too.
    special = address.rpartition("@")[2].lower().rpartition(".")[2] in SPECIAL_USE_DOMAIN_NAMES
    suffix = _SUFFIX if special else ""
    try:
        checked = validate_email(address + suffix, check_deliverability=False, globally_deliverable=False, strict=True)
    except EmailNotValidError as fault:
        raise InvalidMessage(
            f"{_shown(address)} is no mail address (RFC 5321 section 4.1.2): {str(fault).rstrip('.')}",
            where=field,
            next_step="Give one address such as anna@example.com, without a name and brackets",
        ) from fault
    if checked.ascii_email is None:
        raise InvalidMessage(
            f"{_shown(address)} has letters outside ASCII before the @ (RFC 6531 section 3.1)",
            where=field,
            next_step="Use the account's ASCII address: few servers take the other kind",
        )
    return checked.ascii_email.removesuffix(suffix)


def envelope(message: EmailMessage) -> tuple[str, tuple[str, ...]]:
    """From whom and to whom `message` goes: its From, and its To, Cc and Bcc without repetition.

    Raises:
        InvalidMessage: there is not exactly one From address, no recipient, or an address that is none.
    """
    senders = [check_address("From", address) for _, address in getaddresses([str(value) for value in message.get_all("From", [])])]
    if len(senders) != 1:
        raise InvalidMessage(f"{len(senders)} From addresses (RFC 5322 section 3.6.2)", where="From", next_step="Give exactly one")
    recipients: dict[str, None] = {}
    for field in ("To", "Cc", "Bcc"):
        for _, address in getaddresses([str(value) for value in message.get_all(field, [])]):
            recipients[check_address(field, address)] = None
    _check_count(recipients)
    return senders[0], tuple(recipients)


def wire_bytes(message: EmailMessage) -> bytes:
    """`message` as it goes out after DATA, before dots are doubled: CRLF only, no line above 998 octets, no Bcc.

    Raises:
        InvalidMessage: its bytes could be read as other headers, or as more than one message.
    """
    for field in _ONCE:
        values = [str(value) for value in message.get_all(field, [])]
        if len(values) > 1 or (field in ("From", "Date") and not values):
            raise InvalidMessage(f"{len(values)} fields of this name (RFC 5322 section 3.6)", where=field, next_step="Give it exactly once")
    for name, value in message.items():
        if _UNFOLDED.search(str(value)):
            raise InvalidMessage("a line break in its value (RFC 5322 section 2.2)", where=_shown(name), next_step=_MEND)
    if "Bcc" in message:
        message = copy.deepcopy(message)
        del message["Bcc"]
    try:
        wire = message.as_bytes(policy=_POLICY)
    except (MessageError, ValueError, LookupError) as fault:
        raise InvalidMessage(f"it does not become bytes ({_shown(str(fault))})", where="message", next_step="Build it anew") from fault
    # What was written is read again by other means than those that wrote it.
    written = [name.decode("ascii") for name in _FIELD_NAME.findall(wire.partition(b"\r\n\r\n")[0])]
    if written != list(message):
        raise InvalidMessage(
            "its headers are not the ones that were set (RFC 5322 section 2.2)", where="message", next_step="Build it anew"
        )
    if _BARE.search(wire) or b"\0" in wire:
        raise InvalidMessage("a bare CR, a bare LF or a NUL (RFC 5321 section 2.3.8)", where="message", next_step=_MEND)
    longest = max(map(len, wire.split(b"\r\n")))
    if longest > MAX_LINE:
        raise InvalidMessage(f"a line of {longest} octets (RFC 5322 section 2.1.1)", where="message", next_step=f"Keep lines to {MAX_LINE}")
    return wire


def _check_count(recipients: Collection[str]) -> None:
    if not 1 <= len(recipients) <= MAX_RECIPIENTS:
        raise InvalidMessage(
            f"{len(recipients)} recipients (RFC 5321 section 4.5.3.1.8)", where="To", next_step=f"Give 1 to {MAX_RECIPIENTS} addresses"
        )


def _check_header(field: str, value: str) -> str:
    if _BREAKS.search(value):
        raise InvalidMessage("a line break or control character (RFC 5322 section 2.2)", where=field, next_step=_MEND)
    if "=?" in value:
        raise InvalidMessage(
            "“=?” begins an encoded word (RFC 2047 section 2)", where=field, next_step="Write it in plain letters; the kit encodes them"
        )
    return value


def _check_body(body: str) -> str:
    if re.search(r"[\x00\ud800-\udfff]", body):
        raise InvalidMessage("a NUL or half a character (RFC 5322 section 2.3)", where="body", next_step="Remove it")
    return body


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:100])


_MEND: Final = "Remove it"
_DEFAULT_BODY: Final = "This message was sent by smtp-auth-kit, to see whether sign-in and\ndelivery work. Nobody needs to answer it.\n"
