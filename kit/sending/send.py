"""`send`: one message over one connection, with at most one sign-in. Nothing is ever tried a second time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from email.message import EmailMessage
from pathlib import Path

from kit.auth.budget import ATTEMPTS_AN_HOUR
from kit.model import Cause, Finding, Profile, Security, SendResult, Severity, Step
from kit.profiles import build_profile
from kit.redact import Secret
from kit.sending.approach import approach, first_connection, hang_up, refusal
from kit.sending.deliver import Delivered, MailWire, transaction
from kit.sending.findings import found_broken, found_odd
from kit.sending.message import envelope, wire_bytes
from kit.sending.session import Broken, Session
from kit.sending.signin import by_certificate, check_sign_in, sign_in
from kit.sending.transport import tls_context


async def send(
    profile: Profile,
    message: EmailMessage,
    secret: Secret | None = None,
    *,
    target: str | None = None,
    dry_run: bool = False,
    on_step: Callable[[Step], None] | None = None,
    allow_clear: bool = False,
    gentle: bool = False,
    attempts_an_hour: int = ATTEMPTS_AN_HOUR,
    budget: Path | None = None,
) -> SendResult:
    """Send `message` once, and say what became of it. What the server says, or fails to say, is never raised.

    Args:
        profile: the server, and who signs in.
        message: as `build_test_message` makes it; its headers name sender and recipients.
        secret: the password; without one there is no sign-in, but by the profile's certificate where EXTERNAL is offered or named.
        target: what the operator called the server, where that was not the host.
        dry_run: stop before the content: the server is asked about sender and recipients only.
        on_step: is told of every step as it ends.
        allow_clear: sign in without TLS too, where everyone on the way can read the password. The result says so.
        gentle: one connection only, to the first address.
        attempts_an_hour: how many sign-ins of this account may fail within an hour.
        budget: where that is counted, if not in the user's own folder.

    Raises:
        InvalidMessage: the message must not go out.
        UsageError: settings that cannot be right.
        PasswordInClear: no TLS is wanted, a mechanism is named that would show the password, and that was not allowed.
        BudgetSpent: no attempt is left for this account. Nothing was sent.
    """
    profile = build_profile(**asdict(profile))
    sender, recipients = envelope(message)
    content = wire_bytes(message)
    context = tls_context(profile)
    check_sign_in(profile, secret, allow_clear=allow_clear, attempts_an_hour=attempts_an_hour, budget=budget)
    session = Session(on_step=on_step, secrets=[secret] if secret else ())
    delivered = Delivered(accepted=(), rejected=())
    wire = None
    try:
        wire = await first_connection(session, profile, lambda address: MailWire.dial(address, profile, context, content), gentle=gentle)
        if profile.security is Security.TLS:
            await session.encrypt(wire)
        offer = await approach(session, wire, profile, wire.client)
        if offer and (secret is not None or by_certificate(profile, secret, offer)):
            signed_in = await sign_in(
                session,
                wire,
                profile,
                secret,
                offer,
                helo=wire.client,
                allow_clear=allow_clear,
                attempts_an_hour=attempts_an_hour,
                budget=budget,
            )
            offer = offer if signed_in else None
        if offer:
            talk = transaction(sender, recipients, size=len(content), declare_size="SIZE" in offer.extensions, dry_run=dry_run)
            delivered = await session.run(talk, wire)
            session.findings += _outcome(delivered, profile, message, dry_run=dry_run)
        await hang_up(session, wire)
    except Broken as broken:
        last = session.steps[-1]
        given = last.name == "data" and broken.raw.startswith(b"354")
        session.findings.append(_perhaps(message, last.detail) if given else found_broken(broken, last, profile))
    finally:
        if wire:
            await wire.close()
    session.findings += found_odd(session.steps, profile)
    return SendResult(
        target=target or profile.name or profile.host,
        host=profile.host,
        port=profile.port,
        security=profile.security,
        steps=tuple(session.steps),
        attempt=session.attempt,
        findings=tuple(session.findings),
        message_id=str(message["Message-ID"]) if message["Message-ID"] else None,
        queue_id=delivered.queue_id,
        accepted=delivered.accepted,
        rejected=delivered.rejected,
        round_trips=wire.round_trips if wire else 0,
    )


def _outcome(delivered: Delivered, profile: Profile, message: EmailMessage, *, dry_run: bool) -> list[Finding]:
    """What the server's answers to MAIL, RCPT and DATA come to."""
    findings = []
    for stage, recipient, reply in delivered.refusals:
        open_end = stage == "data" and not 400 <= reply.code < 600
        finding = _perhaps(message, reply.text) if open_end else refusal(reply, stage, profile)
        if recipient:
            finding = replace(finding, evidence=tuple(f"{recipient}: {text}" for text in finding.evidence))
        findings.append(finding)
    if not delivered.accepted:
        return findings
    whom = ", ".join(delivered.accepted)
    if dry_run:
        title, next_step = "The server would take the message; nothing was sent", "Send it: the same without --dry-run."
    else:
        title = "The server took the message" + (f" and calls it {delivered.queue_id}" if delivered.queue_id else "")
        next_step = "Look into the recipient's mailbox. If it does not arrive, the server's log says under that id what became of it."
    return [*findings, Finding(cause=Cause.NONE, severity=Severity.OK, title=title, next_step=next_step, evidence=(f"for {whom}",))]


def _perhaps(message: EmailMessage, heard: str | None) -> Finding:
    """The content was under way: a server that had all of it keeps it, whether or not we heard so (RFC 5321 section 4.2.5)."""
    return Finding(
        cause=Cause.ABORTED,
        severity=Severity.WARNING,
        title="The message was under way and no clear answer came: perhaps the server took it",
        next_step="Do not send it again before you have looked for its Message-ID in the recipient's mailbox or the server's log.",
        evidence=(f"Message-ID: {message['Message-ID']}", *((heard,) if heard else ())),
    )
