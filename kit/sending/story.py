"""What one sending was like: where the time went, how it was protected, who it came from, and what each recipient's answer was. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kit.knowledge.findings import found
from kit.model import Finding, Profile, Security, SendResult, Step
from kit.sending.addresses import parse_addresses
from kit.sending.approach import refusal
from kit.sending.content import read_content
from kit.sending.mail import Mail


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One step on the clock.

    Attributes:
        name: the step's, with a number from its second time on: `ehlo`, `ehlo 2`.
        began: seconds since the first step began.
        seconds: how long it took.
        sent, answer: as the step has them, masked.
    """

    name: str
    began: float
    seconds: float
    ok: bool
    sent: str | None
    answer: str | None


def timeline(steps: Sequence[Step]) -> tuple[Span, ...]:
    """The steps one after the other, as they were waited for."""
    spans, now, seen = [], 0.0, Counter[str]()
    for step in steps:
        seen[step.name] += 1
        spans.append(
            Span(
                name=step.name if seen[step.name] == 1 else f"{step.name} {seen[step.name]}",
                began=now,
                seconds=step.seconds,
                ok=step.ok,
                sent=step.sent,
                answer=step.reply.text if step.reply else step.detail,
            )
        )
        now += step.seconds
    return tuple(spans)


def answers(result: SendResult) -> tuple[tuple[str, bool, str], ...]:
    """Each recipient, whether the server took the message for it, and its words about that."""
    said = {step.sent: step for step in result.steps if step.name == "rcpt"}
    for_all = next((step for step in reversed(result.steps) if step.name in ("mail", "data", "message") and not step.ok), None)
    told = []
    for to in (*result.accepted, *result.rejected):
        step = said.get(f"RCPT TO:<{to}>")
        if to in result.rejected and for_all and (step is None or step.ok):
            step = for_all
        told.append((to, to in result.accepted, step.reply.text if step and step.reply else ""))
    return tuple(told)


def facts(mail: Mail, steps: Sequence[Step], profile: Profile) -> tuple[tuple[str, str], ...]:
    """How the connection was protected, who signed in, and whether that is who the message says it is from."""
    none = "none: everybody on the way can read it" if profile.security is Security.NONE else "it did not come to that"
    tls = next((step.detail or "" for step in steps if step.name == "tls" and step.ok), none)
    asked = next((step.sent or "" for step in steps if step.name == "auth"), "")
    signed_in = any(step.name == "auth" and step.reply is not None and step.reply.code == 235 for step in steps)
    who, mechanism = profile.user or "the owner of the certificate", " ".join(asked.split()[1:2])
    rows = [
        ("Protected by TLS", tls),
        ("Signed in", f"{'as' if signed_in else 'not; tried as'} {who}, with {mechanism}" if asked else "nobody"),
        ("From", _compared(_author(mail), profile.user if signed_in else None)),
    ]
    if mail.sender != _author(mail):
        rows.append(("Envelope's sender", f"{mail.sender}: bounces go there, and SPF looks at its domain"))
    return tuple(rows)


def stopped(mail: Mail, steps: Sequence[Step], profile: Profile) -> Finding:
    """What to say of a message whose sending was cut short after these steps."""
    message = next((step for step in steps if step.name == "message" and step.sent), None)
    if message and message.ok:
        return found("taken", profile)
    if message and message.reply and 400 <= message.reply.code < 600:
        return refusal(message.reply, "data", profile)
    # After 354 the content goes out; but where nobody was accepted that is a dot alone.
    going_out = bool(steps) and steps[-1].name == "data" and steps[-1].ok and any(step.name == "rcpt" and step.ok for step in steps)
    if message or going_out:
        return perhaps_taken(mail, profile, message.detail if message else None)
    return found("stopped", profile)


def went_out(steps: Sequence[Step]) -> bool:
    """The content did, or some of it, so that its Message-ID can be looked for."""
    return any(step.name == "message" and step.sent for step in steps)


def perhaps_taken(mail: Mail, profile: Profile, heard: str | None) -> Finding:
    """A server that had all of the content keeps it, whether or not we heard so (RFC 5321 section 4.2.5)."""
    return found("perhaps-taken", profile, f"Message-ID: {mail.message_id}", *((heard,) if heard else ()))


def _author(mail: Mail) -> str:
    header = mail.content.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    field = next(field for field in read_content(header).fields if field.name == "from")
    return ", ".join(box.address for box in parse_addresses(field.where, field.text))


def _compared(author: str, user: str | None) -> str:
    if user is None:
        return author
    if "@" not in user:
        return f"{author}; {user}, who signed in, is no mail address, so the two cannot be compared"
    if author.lower() == user.lower():
        return f"{author}: the same as who signed in"
    return f"{author}: another than {user}, who signed in. Many services refuse that or put the account's own address in"
