"""The test message, built from checked parts. Pure.

Its octets, and whom they go to, are for `kit.sending.mail` to judge.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

from kit.knowledge.load import load_table
from kit.sending.addresses import Mailbox
from kit.sending.mail import POLICY, TRACE_HEADER, check_count, check_typed, new_message_id, typed_mailboxes
from kit.sending.rules import refused


def build_test_message(sender: str, recipients: Sequence[str], *, subject: str | None = None, body: str | None = None) -> EmailMessage:
    """A message that says it is a test, with a trace id in its subject and its `X-Kit-Trace` header.

    Args:
        sender: one address, with or without a name: it becomes From.
        recipients: addresses, with or without names, or groups of them: one to a hundred.
        subject: the trace id is put behind it.
        body: plain text; line breaks of every kind become CRLF.

    Raises:
        InvalidMessage: a part that must not go out; names it, the rule and what to do.
    """
    author = typed_mailboxes("From", [sender])
    if len(author) != 1:
        raise refused("one-sender", "From", f"{len(author)} addresses")
    to = typed_mailboxes("To", recipients)
    check_count("To", to)
    plain = load_table("test_messages")["plain"]
    trace = secrets.token_hex(6)
    others = not all(box.address.isascii() for box in (*author, *to))
    message = EmailMessage(policy=POLICY.clone(utf8=others))
    message["From"] = _header(author[0])
    message["To"] = ", ".join(map(_header, to))
    message["Subject"] = f"{check_typed('Subject', subject or plain['subject'])} [{trace}]"
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = new_message_id(author[0].address, trace)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office note comes back
    message[TRACE_HEADER] = trace
    message.set_content(_text(plain["body"] if body is None else body))
    return message


def _header(box: Mailbox) -> str:
    quoted = re.sub(r'(["\\])', r"\\\1", box.name)
    return f'"{quoted}" <{box.address}>' if box.name else box.address


def _text(body: str) -> str:
    if re.search(r"[\x00\ud800-\udfff]", body):
        raise refused("body-text", "body")
    return body
