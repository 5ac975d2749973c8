"""`kit check`: one server's settings, rung by rung. What can be known without a password is learned first; then one sign-in.

resolve → connect → [tls] → banner → ehlo → [starttls → tls → ehlo] → [auth → noop → mail → rcpt → rset] → quit
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from ssl import SSLContext

from kit.auth.budget import ATTEMPTS_AN_HOUR
from kit.auth.strength import check_credential
from kit.knowledge.findings import found
from kit.model import CheckResult, Finding, Profile, Security, Step
from kit.profiles import build_profile
from kit.redact import Secret
from kit.sending.approach import hang_up
from kit.sending.continuity import check_continuity
from kit.sending.enter import enter
from kit.sending.findings import found_broken, found_odd
from kit.sending.reply import Offer
from kit.sending.session import Broken, Session
from kit.sending.signin import by_certificate, check_sign_in, find_downgrade, sign_in
from kit.sending.transport import tls_context


async def check(
    profile: Profile,
    secret: Secret | None = None,
    *,
    target: str | None = None,
    on_step: Callable[[Step], None] | None = None,
    allow_clear: bool = False,
    gentle: bool = False,
    attempts_an_hour: int = ATTEMPTS_AN_HOUR,
    budget: Path | None = None,
) -> CheckResult:
    """Climb as far as the server lets us. What it says, or fails to say, is in the result and never raised.

    Args:
        profile: the settings to check.
        secret: the password; without one the check ends before AUTH, or signs in by the profile's certificate where EXTERNAL is offered or named.
        target: what the user asked for, where that was not the host.
        on_step: is told of every step as it ends.
        allow_clear: sign in without TLS too, where everyone on the way can read the password. The result says so.
        gentle: one connection only, to the first address.
        attempts_an_hour: how many sign-ins of this account may fail within an hour.
        budget: where that is counted, if not in the user's own folder.

    Raises:
        UsageError: settings that cannot be right.
        PasswordInClear: no TLS is wanted, a mechanism is named that would show the password, and that was not allowed.
        BudgetSpent: no attempt is left for this account. Nothing was sent.
    """
    profile, context = check_settings(profile, secret, allow_clear=allow_clear, attempts_an_hour=attempts_an_hour, budget=budget)
    signing_in = partial(sign_in, allow_clear=allow_clear, attempts_an_hour=attempts_an_hour, budget=budget)
    session = Session(on_step=on_step, secrets=[secret] if secret else ())
    try:
        wire, offer, worked = await enter(session, profile, secret, context, signing_in, gentle=gentle)
        try:
            if worked:
                await check_continuity(session, wire, profile)
            if worked is not None and secret is not None:
                # A password that works is of the right kind; it may be a weak one all the same.
                session.findings += check_credential(profile, secret, shape=not worked)
            elif offer is not None and worked is None:
                session.findings += _without_password(profile, offer)
                if less := find_downgrade(profile, offer, encrypted=session.tls is not None, now=datetime.now(UTC), memory=budget):
                    session.findings.append(less)
            await hang_up(session, wire)
        finally:
            await wire.close()
    except Broken as broken:
        session.findings.append(found_broken(broken, session.steps[-1], profile))
    session.findings += found_odd(session.steps, profile)
    return CheckResult(
        target=target or profile.name or profile.host,
        host=profile.host,
        port=profile.port,
        security=profile.security,
        steps=tuple(session.steps),
        attempt=session.attempt,
        findings=tuple(session.findings),
    )


def check_settings(
    profile: Profile,
    secret: Secret | None,
    *,
    allow_clear: bool = False,
    attempts_an_hour: int = ATTEMPTS_AN_HOUR,
    budget: Path | None = None,
) -> tuple[Profile, SSLContext]:
    """Whatever `check` would refuse to do, before the first packet; the profile with its values checked, and its TLS.

    Raises:
        UsageError, PasswordInClear, BudgetSpent: as `check` does.
    """
    profile = build_profile(**asdict(profile))
    check_sign_in(profile, secret, allow_clear=allow_clear, attempts_an_hour=attempts_an_hour, budget=budget)
    return profile, tls_context(profile)


def _without_password(profile: Profile, offer: Offer) -> list[Finding]:
    if by_certificate(profile, None):
        return [found("external-not-offered", profile, f"offered: {' '.join(offer.mechanisms) or 'no AUTH'}")]
    if offer.mechanisms:
        return [found("no-password", profile, f"offered: {' '.join(offer.mechanisms)}")]
    if profile.security is Security.NONE and "STARTTLS" in offer.extensions:
        return []  # sign-in may well be offered after STARTTLS, and that it should be used was said
    return [
        found(
            "auth-not-offered-mx" if profile.port == 25 else "auth-not-offered",
            profile,
            f"offered: {' '.join(sorted(offer.extensions)) or 'nothing'}",
        )
    ]
