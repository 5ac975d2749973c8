"""What the kit itself has to say about a connection: from `kit/knowledge/findings.toml` to a Finding."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from kit.explain import explain
from kit.knowledge.findings import bounded, fill, found
from kit.model import Cause, Finding, Profile, Security, Severity, Step
from kit.sending.reply import CONTROLS, NOT_UTF_8, oddities
from kit.sending.session import Break, Broken

# What the table of replies says about these, whichever words this machine has for them.
_IN_THE_TABLE: Final = {
    Break.NO_SUCH_NAME: "Name or service not known",
    Break.REFUSED: "Connection refused",
    Break.NO_ANSWER: "Connection timed out",
}
# OpenSSL's reasons where the other side answered to TLS in plain text; which one depends on its version.
_PLAIN_ANSWER: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL", "HTTP_REQUEST")
_ODD: Final = {NOT_UTF_8: "not-utf-8", CONTROLS: "control-characters"}
# The alerts (RFC 8446 section 6.2, in OpenSSL's names) by which a server judges the client's certificate, or misses it. In TLS 1.3
# they come after the handshake, with the first thing that is read.
_OF_OURS: Final = re.compile(
    r"ALERT_(?:NO_CERTIFICATE|(?:BAD|UNSUPPORTED)_CERTIFICATE|CERTIFICATE_(?:REVOKED|EXPIRED|UNKNOWN|REQUIRED)|UNKNOWN_CA|ACCESS_DENIED)\b"
)


def found_broken(broken: Broken, step: Step, profile: Profile) -> Finding:
    """Why the connection came to its end during `step`, which is the one that failed."""
    evidence = tuple(text for text in (f"{step.name}: {step.detail}", step.reply.text if step.reply else None) if text)
    if _OF_OURS.search(broken.text):
        return found("client-certificate-refused" if profile.cert_file else "client-certificate-required", profile, *evidence)
    words = _IN_THE_TABLE.get(broken.why)
    if broken.why in (Break.CERTIFICATE, Break.TLS):
        plain = any(reason in broken.text for reason in _PLAIN_ANSWER)
        if plain and profile.security is Security.STARTTLS:
            return found("plain-after-starttls", profile, *evidence)
        words = "WRONG_VERSION_NUMBER" if plain else broken.text
    if words is None:
        return found(_name(broken, step.name, profile), profile, *evidence)
    answer = explain(words, host=profile.host)
    if answer.cause is Cause.UNKNOWN:
        return found("tls-failed", profile, *evidence)
    return Finding(
        cause=answer.cause,
        severity=Severity.ERROR,
        title=answer.title,
        next_step=fill(answer.next_step, profile),
        evidence=bounded(evidence),
    )


def found_odd(steps: Iterable[Step], profile: Profile) -> list[Finding]:
    """What in the server's replies, whatever they mean, is fit to harm those who read them."""
    replies = [(step, oddities(step.reply.raw)) for step in steps if step.reply and step.reply.code and step.reply.raw.endswith(b"\n")]
    evidence = {
        name: [f"{step.name}: {step.reply.text}" for step, odd in replies if step.reply and what in odd] for what, name in _ODD.items()
    }
    return [found(name, profile, *texts[:5]) for name, texts in evidence.items() if texts]


def _name(broken: Broken, step: str, profile: Profile) -> str:
    """Which entry of the table fits."""
    name, at_once = broken.why.value, profile.security is Security.TLS
    match broken.why, step:
        case Break.SPOKE_FIRST, "tls":
            name = "plain-before-tls" if at_once else "injected"
        case Break.SILENT, _ if broken.raw:
            name = "slow"
        case Break.SILENT, "banner" if at_once:
            name = "silent-inside"
        case Break.SILENT, "banner":
            name = "silent-465" if profile.port == 465 else "silent-banner"
        case ((Break.SILENT | Break.CLOSED), "tls"):
            name += "-tls" if at_once else "-starttls"
        case Break.CLOSED, _ if "[SSL: " in broken.text:  # the words are OpenSSL's
            name = "tls-broken"
        case Break.CLOSED, "banner" if at_once:
            name = "closed-inside"
        case Break.CLOSED, ("connect" | "banner"):
            name = "closed-banner"
        case Break.ENDLESS, _ if max(map(len, broken.raw.split(b"\n"))) > len(broken.raw) / 2:
            name = "endless-line"
    return name
