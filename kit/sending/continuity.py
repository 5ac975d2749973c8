"""After a sign-in: does the session stay signed in, and may this sender send? Asked, and taken back; no mail goes out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kit.knowledge.findings import found
from kit.model import Cause, Finding, Profile, Reply
from kit.sending.approach import refusal
from kit.sending.dialogue import Say, Talk
from kit.sending.session import Session, Wire

# What a refused RCPT may say about the sign-in or the sender; anything else is about the recipient.
_OURS: Final = (Cause.NOT_AUTHENTICATED, Cause.SENDER_NOT_ALLOWED, Cause.RELAY_DENIED, Cause.METHOD_DISABLED, Cause.ACCOUNT_BLOCKED)


async def check_continuity(session: Session, wire: Wire, profile: Profile) -> None:
    """NOOP, then MAIL and RCPT from and to the profile's own address, and RSET. What is found goes into `session`.

    Some servers say 235 and then `530 5.7.57 Client not authenticated` to MAIL; others refuse a sender that is not the
    user's, and Postfix says so at RCPT only (smtpd_delay_reject).

    Raises:
        Broken: the connection ended on the way.
    """
    sender = profile.sender or profile.user or ""
    if "@" not in sender or not sender.isascii():
        sender = ""
    refused = await session.run(_ask(sender), wire)
    session.findings += _judge(profile, sender, refused)


def _ask(sender: str) -> Talk[tuple[str, Reply] | None]:
    """The first command that is refused, with its reply."""
    lines = [("noop", "NOOP")]
    if sender:
        lines += [("mail", f"MAIL FROM:<{sender}>"), ("rcpt", f"RCPT TO:<{sender}>")]
    refused = None
    for name, line in lines:
        reply = yield Say(name, line.encode(), line)
        if reply.code // 100 != 2:
            refused = name, reply
            break
    if sender and (refused is None or (refused[0] == "rcpt" and refused[1].code != 421)):
        yield Say("rset", b"RSET", "RSET")
    return refused


def _judge(profile: Profile, sender: str, refused: tuple[str, Reply] | None) -> Iterator[Finding]:
    if refused is None:
        yield found("stays-signed-in", profile, f"sender: {sender}") if sender else found("stays-signed-in-no-sender", profile)
        return
    stage, reply = refused
    finding = refusal(reply, stage, profile)
    if stage == "mail" or finding.cause in _OURS or reply.code == 421 or not 400 <= reply.code < 600:  # which speaks of no account
        yield finding
    else:
        yield found("sign-in-lost" if stage == "noop" else "not-to-itself", profile, reply.text)
