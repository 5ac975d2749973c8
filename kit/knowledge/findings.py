"""From `findings.toml` to a Finding: all that the kit itself has to say."""

from __future__ import annotations

from typing import Final

from kit.errors import KnowledgeError
from kit.knowledge.load import load_table
from kit.model import Cause, Finding, Profile, Severity

EVIDENCE_LIMIT: Final = 500  # characters of a reply that a finding keeps


def found(name: str, profile: Profile, *evidence: str) -> Finding:
    """The finding of that name, with what it rests on.

    Raises:
        KnowledgeError: there is none, or it does not read.
    """
    try:
        entry = load_table("findings")[name]
        cause, severity = Cause(entry["cause"]), Severity(entry["severity"])
        title, next_step = (fill(entry[key], profile) for key in ("title", "next_step"))
    except (KeyError, ValueError) as fault:
        raise KnowledgeError(
            f"[{name}] does not read ({fault})", where="kit/knowledge/findings.toml", next_step="Please report it"
        ) from fault
    return Finding(cause=cause, severity=severity, title=title, next_step=next_step, evidence=bounded(evidence))


def fill(text: str, profile: Profile) -> str:
    """`text` with the server and the user at hand."""
    user = profile.user or ("the certificate's owner" if profile.cert_file else "the user")
    return text.replace("HOST", profile.host or "the server").replace("PORT", str(profile.port)).replace("USER", user)


def bounded(evidence: tuple[str, ...]) -> tuple[str, ...]:
    """What is not empty, at a length that a finding keeps."""
    return tuple(text if len(text) <= EVIDENCE_LIMIT else text[:EVIDENCE_LIMIT] + "…" for text in evidence if text)
