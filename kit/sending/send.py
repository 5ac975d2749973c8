"""`send`: one message over one connection, with at most one sign-in. Nothing is ever tried a second time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from email.message import Message
from functools import partial
from pathlib import Path

from kit.auth.budget import ATTEMPTS_AN_HOUR, is_local
from kit.knowledge.findings import found
from kit.model import Cause, Finding, Profile, Security, SendResult, Severity, Step
from kit.profiles import build_profile
from kit.redact import Secret
from kit.sending.approach import hang_up, refusal
from kit.sending.deliver import Delivered, transaction, unfit
from kit.sending.enter import enter
from kit.sending.findings import found_broken, found_odd
from kit.sending.mail import Mail
from kit.sending.mail import mail as as_mail
from kit.sending.session import Broken, Session
from kit.sending.signin import check_sign_in, sign_in
from kit.sending.story import perhaps_taken, stopped
from kit.sending.transport import tls_context


async def send(
    profile: Profile,
    message: Message | Mail,
    secret: Secret | None = None,
    *,
    target: str | None = None,
    dry_run: bool = False,
    on_step: Callable[[Step], None] | None = None,
    on_cut: Callable[[SendResult], None] | None = None,
    allow_clear: bool = False,
    gentle: bool = False,
    attempts_an_hour: int = ATTEMPTS_AN_HOUR,
    budget: Path | None = None,
) -> SendResult:
    """Send `message` once, and say what became of it. What the server says, or fails to say, is never raised.

    Args:
        profile: the server, and who signs in.
        message: as `build_test_message` makes it, whose headers name sender and recipients; or a Mail, which has them apart.
        secret: the password; without one there is no sign-in, but by the profile's certificate where EXTERNAL is offered or named.
        target: what the operator called the server, where that was not the host.
        dry_run: stop before the content: the server is asked about sender and recipients only.
        on_step: is told of every step as it ends.
        on_cut: is told what became of it by then, where it is cancelled or cannot go on.
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
    mail = message if isinstance(message, Mail) else as_mail(message)
    context = tls_context(profile)
    check_sign_in(profile, secret, allow_clear=allow_clear, attempts_an_hour=attempts_an_hour, budget=budget)
    signing_in = partial(sign_in, allow_clear=allow_clear, attempts_an_hour=attempts_an_hour, budget=budget)
    session = Session(on_step=on_step, secrets=[secret] if secret else ())
    delivered = Delivered()

    def result(*more: Finding) -> SendResult:
        return SendResult(
            target=target or profile.name or profile.host,
            host=profile.host,
            port=profile.port,
            security=profile.security,
            steps=tuple(session.steps),
            attempt=session.attempt,
            findings=(*judged(session.findings, profile), *mail.notes, *found_odd(session.steps, profile), *more),
            message_id=mail.message_id,
            queue_id=delivered.queue_id,
            accepted=delivered.accepted,
            rejected=delivered.rejected,
            round_trips=session.round_trips,
        )

    try:
        wire, offer, _ = await enter(session, profile, secret, context, signing_in, gentle=gentle)
        try:
            if offer and (lack := unfit(mail, offer, profile)):
                session.findings.append(lack)
            elif offer:
                delivered = await session.run(transaction(mail, offer, dry_run=dry_run), wire)
                session.findings += outcome(delivered, mail, profile, dry_run=dry_run)
            await hang_up(session, wire)
        finally:
            await wire.close()
    except Broken as broken:
        last = session.steps[-1]
        gone = last.name == "message" and last.sent is not None
        session.findings.append(perhaps_taken(mail, profile, last.detail) if gone else found_broken(broken, last, profile))
    except BaseException:
        if on_cut:
            on_cut(result(*([] if delivered != Delivered() else [stopped(mail, session.steps, profile)])))
        raise
    return result()


def judged(findings: Iterable[Finding], profile: Profile) -> list[Finding]:
    """`findings`; but to a relay on this machine that nobody signs in to, a connection without TLS is no fault: nobody else is on the way."""
    at_home = profile.security is Security.NONE and is_local(profile.host) and not (profile.user or profile.cert_file)
    return [
        replace(each, severity=Severity.NOTE)
        if at_home and each.cause is Cause.TLS_REQUIRED and each.severity is Severity.WARNING
        else each
        for each in findings
    ]


def outcome(delivered: Delivered, mail: Mail, profile: Profile, *, dry_run: bool = False) -> list[Finding]:
    """What the server's answers to MAIL, RCPT, DATA and the content come to."""
    findings = []
    for stage, recipient, reply in delivered.refusals:
        finding = refusal(reply, stage, profile)
        if recipient:
            finding = replace(finding, evidence=tuple(f"{recipient}: {text}" for text in finding.evidence))
        findings.append(finding)
    if delivered.unclear:
        findings.append(perhaps_taken(mail, profile, delivered.unclear.text))
    if delivered.accepted:
        taken = found("would-be-taken" if dry_run else "taken", profile, f"for {', '.join(delivered.accepted)}")
        named = f" and calls it {delivered.queue_id}" if delivered.queue_id else ""
        findings.append(replace(taken, title=taken.title + named))
    return findings
