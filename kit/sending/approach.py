"""From the banner to where a sign-in could begin: the part that a check and a mail have in common."""

from __future__ import annotations

from kit.auth.mechanisms import MECHANISMS
from kit.explain import finding as explain_reply
from kit.knowledge.findings import found
from kit.model import Finding, Profile, Reply, Security, Severity
from kit.sending.dialogue import ehlo, greet, quit_, starttls
from kit.sending.reply import Offer
from kit.sending.session import Session, Wire


async def approach(session: Session, wire: Wire, profile: Profile, client: str) -> Offer | None:
    """Banner, EHLO, and where the profile wants it STARTTLS and EHLO again. What is found goes into `session`.

    Args:
        session: where it is written down.
        wire: open; with TLS already, where that comes first.
        profile: which security is wanted.
        client: how this end names itself in EHLO.

    Returns:
        What the server offers now, or None where it did not let us so far.

    Raises:
        Broken: the connection ended.
    """
    banner = await session.run(greet(), wire)
    if banner.code != 220:
        session.findings.append(refusal(banner, "banner", profile))
        return None
    offer = await _ehlo(session, wire, profile, client)
    if offer is None or profile.security is Security.TLS:
        return offer
    if profile.security is Security.NONE:
        session.findings.append(found("no-tls-though-offered" if "STARTTLS" in offer.extensions else "no-tls", profile))
        return offer
    readable = [name for name in offer.mechanisms if name in MECHANISMS and MECHANISMS[name].reveals_password]
    if readable:
        session.findings.append(found("auth-in-clear", profile, f"offered before TLS: {' '.join(readable)}"))
    if "STARTTLS" not in offer.extensions:
        session.findings.append(found("no-starttls", profile, f"offered: {' '.join(sorted(offer.extensions)) or 'nothing'}"))
        return None
    reply = await session.run(starttls(), wire)
    if reply.code != 220:
        session.findings.append(refusal(reply, "starttls", profile))
        return None
    await session.encrypt(wire)
    inside = await _ehlo(session, wire, profile, client)
    if inside and inside.mechanisms and not offer.mechanisms:
        session.findings.append(found("auth-after-tls", profile, f"offered after TLS: {' '.join(inside.mechanisms)}"))
    return inside


async def hang_up(session: Session, wire: Wire) -> None:
    """QUIT, unless that was said, or the server has hung up or said that it will (421)."""
    last = session.steps[-1]
    if not wire.closed and last.name != "quit" and (last.reply is None or last.reply.code != 421):
        await session.run(quit_(), wire)


def refusal(reply: Reply, stage: str, profile: Profile) -> Finding:
    """What a reply means that is not the one to go on with."""
    if reply.code == 0 and stage == "banner":
        return found("not-smtp", profile, reply.text)
    finding = explain_reply(reply, stage=stage, host=profile.host)
    no_answer_to_it = finding.severity is Severity.OK or stage == "quit"  # which is never refused (RFC 5321 section 4.1.1.10)
    return found("unexpected-reply", profile, reply.text) if no_answer_to_it else finding


async def _ehlo(session: Session, wire: Wire, profile: Profile, client: str) -> Offer | None:
    offer = await session.run(ehlo(client), wire)
    last = session.steps[-1].reply
    if not offer.accepted and last is not None:
        session.findings.append(refusal(last, "ehlo", profile))
    return offer if offer.accepted else None
