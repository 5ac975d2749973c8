"""Test messages that teach: a small set to choose from, each with what it shows and what a refusal of it means.

The texts are in `kit/knowledge/test_messages.toml`; here is what cannot be said there.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any, Final, cast

from kit.errors import UsageError
from kit.fields import shown
from kit.knowledge.load import load_table
from kit.sending.addresses import parse_addresses
from kit.sending.content import MAX_LINE
from kit.sending.entries import Series
from kit.sending.mail import Mail, check_typed, mail, read_message
from kit.sending.message import build_test_message

ATTACHED: Final = 100_000  # octets, where nobody says how many
MAX_ATTACHMENT: Final = 50_000_000  # octets; more than mail services take


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One kind of test message.

    Attributes:
        shows: what it tells when it arrives.
        refused: what it means when a server refuses it, though it took a plain one.
    """

    kind: str
    title: str
    shows: str
    refused: str


def samples() -> tuple[Sample, ...]:
    """The kinds that `build` knows, the plainest first."""
    return tuple(
        Sample(kind=kind, **{key: entry[key] for key in ("title", "shows", "refused")})
        for kind, entry in load_table("test_messages").items()
    )


def build(
    kind: str,
    sender: str,
    recipients: Sequence[str],
    *,
    subject: str | None = None,
    body: str | None = None,
    size: int = ATTACHED,
    other: str | None = None,
) -> Mail:
    """A test message of that kind, with its envelope and a trace id in its subject and its `X-Kit-Trace` header.

    Args:
        kind: one of `samples`.
        sender: the envelope's, and but for `other-from` the one in From.
        recipients: addresses, with or without names.
        subject: in place of the kind's own; the trace id is put behind it.
        body: in place of the kind's own; what makes the kind is added to it.
        size: of `attachment`: octets of the file.
        other: of `other-from` and `reply-to`: the address there; else one in the sender's domain.

    Raises:
        UsageError: there is no such kind, or no attachment of that size.
        InvalidMessage: a part that must not go out.
    """
    table = load_table("test_messages")
    if kind not in table:
        raise UsageError(f"{shown(kind)} is no kind of test message", where="kind", next_step=f"Give one of {', '.join(table)}")
    entry = table[kind]
    text = (entry["body"] if body is None else body) + entry.get("end", "")
    message = build_test_message(sender, recipients, subject=subject or entry["subject"], body=text)
    envelope = mail(message)
    other = other or f"somebody.else@{envelope.sender.rpartition('@')[2]}"
    match kind:
        case "html":
            message.add_alternative(entry["html"], subtype="html")
        case "attachment":
            _attach(message, size)
        case "smtputf8":
            message.policy = cast("Any", message.policy).clone(utf8=True)
        case "long-lines":
            _lengthen(message)
        case "other-from":
            _name(message, "From", other)
        case "reply-to":
            _name(message, "Reply-To", other)
    return mail(message, sender=envelope.sender, recipients=envelope.recipients)


def message_of(series: Series) -> Mail:
    """One message of a series: the file, or a new one of its kind.

    Raises:
        UsageError: it cannot be made.
        InvalidMessage: it must not go out.
    """
    if series.eml:
        return read_message(series.eml, sender=series.sender or None, recipients=series.recipients or None)
    kind = series.kind or ("attachment" if series.size else "plain")
    return build(kind, series.sender, series.recipients, subject=series.subject, size=series.size or ATTACHED, other=series.other)


def _name(message: EmailMessage, field: str, address: str) -> None:
    parse_addresses(field, check_typed(field, address))
    del message[field]
    message[field] = address


def _attach(message: EmailMessage, size: int) -> None:
    if not 1 <= size <= MAX_ATTACHMENT:
        raise UsageError(f"{size} octets cannot be attached", where="size", next_step=f"Give 1 to {MAX_ATTACHMENT} octets")
    digits = secrets.token_hex(size // 2 + 1)
    text = "\n".join(digits[at : at + 75] for at in range(0, size, 75))[:size]
    message.add_attachment(text.encode(), maintype="text", subtype="plain", filename="random-digits.txt")


def _lengthen(message: EmailMessage) -> None:
    lines = (message.get_content().rstrip("\r\n"), ".", "x" * MAX_LINE, "." + "x" * (MAX_LINE - 1), "The end.")
    message.set_content("\n".join(lines) + "\n", cte="7bit")
    message["X-Kit-Folded"] = " ".join(["folded"] * 40)
