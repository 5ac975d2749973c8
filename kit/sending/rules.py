"""The rules for a message, from `kit/knowledge/message_rules.toml`: one that is broken refuses it, others are worth a finding."""

from __future__ import annotations

from kit.errors import InvalidMessage, KnowledgeError
from kit.knowledge.load import load_table
from kit.model import Cause, Finding, Severity

_EVIDENCE = 160  # characters of what broke a rule


def refused(rule: str, where: str, *details: str) -> InvalidMessage:
    """What to raise where `rule` is broken at `where`: a field, or a file and its line."""
    title, next_step, severity = _entry(rule)
    if severity is not Severity.ERROR:
        raise KnowledgeError(f"[{rule}] refuses nothing", where="kit/knowledge/message_rules.toml", next_step="Please report it")
    return InvalidMessage(_clause(title, *details), where=_shown(where), next_step=next_step.rstrip("."), rule=rule)


def noted(rule: str, where: str, *details: str) -> Finding:
    """What `rule` has to say about `where`, that keeps no message back."""
    title, next_step, severity = _entry(rule)
    cause = Cause.NONE if severity is Severity.NOTE else Cause.MALFORMED
    return Finding(
        cause=cause, severity=severity, title=title[0].upper() + title[1:], next_step=next_step, evidence=(_clause(where, *details),)
    )


def _entry(rule: str) -> tuple[str, str, Severity]:
    try:
        entry = load_table("message_rules")[rule]
        return f"{entry['title']} ({entry['rfc']})", entry["next_step"], Severity(entry["severity"])
    except (KeyError, ValueError) as fault:
        raise KnowledgeError(
            f"[{rule}] does not read ({fault})", where="kit/knowledge/message_rules.toml", next_step="Please report it"
        ) from fault


def _clause(*parts: str) -> str:
    """The parts in one line."""
    return ": ".join(_shown(part).rstrip(".") for part in parts if part)


def _shown(text: str) -> str:
    """`text` bounded, with nothing in it that a terminal obeys or a reader cannot see."""
    shown = "".join(c if c.isprintable() else "?" for c in text[:_EVIDENCE])
    return shown + "…" if len(text) > _EVIDENCE else shown
