"""The one sign-in: which mechanism, is it allowed, is an attempt left, and what came of it as an Attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from kit.auth.budget import ATTEMPTS_AN_HOUR, account_of, check_budget, give_back, take_attempt
from kit.auth.mechanisms import MECHANISMS
from kit.auth.offers import recall_offer
from kit.errors import UsageError
from kit.knowledge.findings import EVIDENCE_LIMIT, found
from kit.model import Attempt, Cause, Finding, Outcome, Profile, Security, Service
from kit.redact import Secret, mask_known
from kit.sending.approach import refusal
from kit.sending.dialogue import Verdict, authenticate
from kit.sending.reply import Offer
from kit.sending.session import Broken, Session, Wire

_SERVICES: Final = {25: Service.SMTP, 465: Service.SUBMISSIONS, 587: Service.SUBMISSION}
# With these the server never judged a password.
_REFUSALS: Final = (Cause.MECHANISM_UNSUPPORTED, Cause.AUTH_NOT_OFFERED, Cause.TLS_REQUIRED, Cause.METHOD_DISABLED, Cause.TOO_MANY)
_OUTCOMES: Final = {
    **dict.fromkeys(_REFUSALS, Outcome.REFUSED),
    Cause.MALFORMED: Outcome.MALFORMED,
    Cause.BACKEND_UNAVAILABLE: Outcome.SERVER_ERROR,
}

_BEARER: Final = ("OAUTHBEARER", "XOAUTH2")
# What a reply comes to that speaks of a password, or of nothing: of a token the error before it told more (RFC 7628 section 3.2.2).
_VAGUE: Final = (Cause.CREDENTIALS, Cause.WRONG_PASSWORD, Cause.MALFORMED, Cause.UNKNOWN)


def check_mechanism(profile: Profile) -> None:
    """Can the kit do what the profile names?

    Raises:
        UsageError: it cannot.
    """
    if profile.mechanism is not None and profile.mechanism not in MECHANISMS:
        raise UsageError(
            f"the kit does not know how to sign in with {profile.mechanism}",
            where="mechanism",
            next_step=f"It can do {', '.join(MECHANISMS)}",
        )
    if profile.mechanism == "EXTERNAL" and profile.cert_file is None:
        raise UsageError(
            "EXTERNAL signs in by the client's certificate, and none is given",
            where="mechanism",
            next_step="Add --cert FILE (PEM), or name another mechanism",
        )


def by_certificate(profile: Profile, secret: Secret | None, offer: Offer | None = None) -> bool:
    """Is the sign-in by the client's certificate? Where nothing names EXTERNAL, that takes no password and a server that offers it."""
    chosen = profile.mechanism is None and secret is None and (offer is None or "EXTERNAL" in offer.mechanisms)
    return profile.cert_file is not None and (chosen or profile.mechanism == "EXTERNAL")


def check_sign_in(
    profile: Profile,
    secret: Secret | None,
    *,
    allow_clear: bool = False,
    attempts_an_hour: int = ATTEMPTS_AN_HOUR,
    budget: Path | None = None,
) -> None:
    """Whatever would forbid the sign-in later is said here, before the first packet. Where none is meant nothing is.

    Raises:
        UsageError: there is no user, or user or password cannot be sent; or no TLS to show a certificate in.
        PasswordInClear: the profile wants no TLS, and a mechanism that would show the password.
        BudgetSpent: no attempt is left for this account.
    """
    check_mechanism(profile)
    encrypted = profile.security is not Security.NONE
    if by_certificate(profile, secret):
        if not encrypted:
            raise UsageError("a certificate is shown within TLS only", where="security", next_step="Use --security tls or starttls")
    elif secret is None:
        return
    elif profile.user is None:
        raise UsageError("a password belongs to a user, and none is named", where="user", next_step="Give --user, or no password")
    else:
        # Which mechanism it will be without a name, and whether that may be used in clear, is known only from what is offered.
        authenticate(
            profile.mechanism or "PLAIN", profile.user, secret, protected=encrypted or profile.mechanism is None, allow_clear=allow_clear
        )
    check_budget(account_of(profile), now=datetime.now(UTC), limit=attempts_an_hour, path=budget)


def outcome_of(cause: Cause, code: int) -> Outcome:
    """What a refusal comes to: was the password judged?"""
    return _OUTCOMES.get(cause, Outcome.SERVER_ERROR if 400 <= code < 500 else Outcome.FAILURE)


def choose_mechanism(profile: Profile, offer: Offer, secret: Secret | None = None, *, hidden: bool = True) -> tuple[str, str] | Finding:
    """The one mechanism to try and why, or the finding that says why there is none.

    Args:
        profile: may name one.
        offer: what the server has.
        secret: None where a certificate takes its place.
        hidden: nobody else reads the connection, or the operator allows it; else no mechanism that reveals the password is chosen.
    """
    offered = f"offered: {' '.join(offer.mechanisms) or 'no AUTH'}"
    if not offer.mechanisms:
        return found("auth-not-offered", profile, offered)
    if profile.mechanism is not None:
        if profile.mechanism in offer.mechanisms:
            return profile.mechanism, f"{profile.mechanism}, because the settings name it; {offered}"
        return found("mechanism-not-offered", profile, f"wanted: {profile.mechanism}", offered)
    if by_certificate(profile, secret, offer):
        return "EXTERNAL", f"EXTERNAL, which rests on the certificate, as there is no password; {offered}"
    for name, mechanism in MECHANISMS.items():
        if mechanism.by_itself and name in offer.mechanisms and (hidden or not mechanism.reveals_password):
            how = "which sends the password itself" if mechanism.reveals_password else "which proves the password without sending it"
            return name, f"{name}, {how}: the strongest that takes a password; {offered}"
    readable = not hidden and any(MECHANISMS[name].by_itself for name in offer.mechanisms if name in MECHANISMS)
    return found("only-in-clear" if readable else "no-mechanism-in-common", profile, offered)


def find_downgrade(profile: Profile, offer: Offer, *, encrypted: bool, now: datetime, memory: Path | None = None) -> Finding | None:
    """Has the server offered a stronger mechanism not long ago? What it offers now is remembered.

    Raises:
        UnreadableInput: the memory cannot be read or written.
    """
    before = recall_offer(profile, offer.mechanisms, encrypted=encrypted, now=now, path=memory)
    if before is None:
        return None
    return found(
        "downgrade",
        profile,
        f"offered until {before.last:%Y-%m-%d %H:%M} UTC: {' '.join(before.mechanisms)}",
        f"offered now: {' '.join(offer.mechanisms)}",
    )


async def sign_in(
    session: Session,
    wire: Wire,
    profile: Profile,
    secret: Secret | None,
    offer: Offer,
    *,
    helo: str,
    allow_clear: bool = False,
    attempts_an_hour: int = ATTEMPTS_AN_HOUR,
    budget: Path | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> bool:
    """Sign in once, with one mechanism. The attempt and what is found go into `session`; the answer is whether it worked.

    Where no mechanism fits nothing is sent, and there is no attempt.

    Raises:
        Broken: the connection ended on the way; the attempt is written down as aborted.
        PasswordInClear: there is no TLS to hide the password.
        BudgetSpent: no attempt is left for this account.
        UsageError: user or password cannot be sent.
    """
    chosen = choose_mechanism(profile, offer, secret, hidden=session.tls is not None or allow_clear)
    downgrade = find_downgrade(profile, offer, encrypted=session.tls is not None, now=now(), memory=budget)
    session.findings += [finding for finding in (downgrade, chosen) if isinstance(finding, Finding)]
    if isinstance(chosen, Finding):
        return False
    mechanism, why = chosen
    secret = secret or Secret("")
    talk = authenticate(mechanism, profile.user or "", secret, protected=session.tls is not None, allow_clear=allow_clear, why=why)
    ticket = take_attempt(account_of(profile), now=now(), limit=attempts_an_hour, path=budget)
    if session.tls is None and MECHANISMS[mechanism].reveals_password:
        session.findings.append(found("password-in-clear", profile, f"mechanism: {mechanism}"))
    attempt = Attempt(
        time=now(),
        outcome=Outcome.ABORTED,
        cause=Cause.ABORTED,
        host=profile.host,
        server=session.server,
        service=_SERVICES.get(profile.port, Service.SUBMISSIONS if profile.security is Security.TLS else Service.SUBMISSION),
        user=profile.user,
        helo=helo,
        mechanism=mechanism,
        tls=session.tls.version if session.tls else "none",
    )
    try:
        verdict = await session.run(talk, wire)
    except Broken as broken:
        session.attempt = replace(attempt, time=now(), text=mask_known(broken.text, [secret]))
        raise
    finding, outcome = _conclude(verdict, mechanism, profile, secret)
    worked = outcome is Outcome.SUCCESS
    if worked:
        give_back(ticket, path=budget)
    session.findings.append(finding)
    if outcome is Outcome.FAILURE and profile.mechanism is None and mechanism.startswith("SCRAM-") and "PLAIN" in offer.mechanisms:
        session.findings.append(found("scram-not-stored", profile))
    session.attempt = replace(attempt, time=now(), outcome=outcome, cause=finding.cause, text=verdict.reply.text)
    return worked


def _conclude(verdict: Verdict, mechanism: str, profile: Profile, secret: Secret) -> tuple[Finding, Outcome]:
    """What a sign-in came to."""
    reply, remark = verdict.reply, verdict.remark
    evidence = (mask_known(remark.evidence, [secret])[:EVIDENCE_LIMIT],) if remark else ()
    if verdict.doubt:
        return found(verdict.doubt.finding or "", profile, *evidence, reply.text), Outcome.ABORTED
    if reply.code == 235:
        return found("signed-in", profile, reply.text), Outcome.SUCCESS
    finding = refusal(reply, "auth", profile)
    outcome = outcome_of(finding.cause, reply.code)
    if mechanism in _BEARER and remark and finding.cause in _VAGUE:
        finding, outcome = found("token-rejected", profile, reply.text), Outcome.FAILURE
    elif verdict.gave_up:
        finding = found("asks-for-more", profile, reply.text) if finding.cause in _VAGUE else finding
        outcome = Outcome.ABORTED
    elif mechanism == "EXTERNAL" and outcome is Outcome.FAILURE and finding.cause is not Cause.CERTIFICATE:
        finding = found("external-refused", profile, reply.text)
    return replace(finding, evidence=(*finding.evidence, *evidence)), outcome
