"""Steps and findings as lines for a terminal. Whatever a server said is printable already; here it is also bounded."""

from __future__ import annotations

import textwrap
from typing import Final

from kit.model import Finding, Profile, Severity, Step

_LONGEST: Final = 300  # characters of one reply on a terminal
_MARKS: Final = {Severity.OK: "✓ ok", Severity.NOTE: "· note", Severity.WARNING: "! warning", Severity.ERROR: "✗ error"}
_WORST_FIRST: Final = (Severity.ERROR, Severity.WARNING, Severity.NOTE, Severity.OK)


def plan(profile: Profile, *, connections: int, signs_in: bool) -> str:
    """What is about to happen, on one line."""
    host = f"[{profile.host}]" if ":" in profile.host else profile.host
    tries = "one connection" if connections == 1 else f"at most {connections} connections, one after the other"
    return f"{host}:{profile.port}, security {profile.security}: {tries}, {f'one sign-in as {profile.user}' if signs_in else 'no sign-in'}"


def step_line(step: Step) -> str:
    """One step: mark, seconds, name, what was sent, what came back, what is worth knowing."""
    talk = " → ".join(shorten(text) for text in (step.sent, step.reply.text if step.reply else None) if text)
    detail = f"({shorten(step.detail)})" if step.detail and talk else shorten(step.detail or "")
    return f"{'✓ ok' if step.ok else '✗ failed':<8} {step.seconds:7.3f} s  {step.name:<8} {' '.join(text for text in (talk, detail) if text)}".rstrip()


def finding_text(finding: Finding) -> str:
    """One finding: what is the matter, what to do, what it rests on."""

    def labelled(label: str, text: str) -> str:
        return textwrap.fill(
            text, 100, initial_indent=f"  {label:<9} ", subsequent_indent=" " * 12, break_long_words=False, break_on_hyphens=False
        )

    cause = f" ({finding.cause})" if finding.severity in (Severity.WARNING, Severity.ERROR) else ""
    return "\n".join(
        (
            f"{_MARKS[finding.severity]}: {finding.title}{cause}",
            labelled("do", finding.next_step),
            *(f"  {'because':<9} {shorten(text)}" for text in finding.evidence),
        )
    )


def findings_text(findings: tuple[Finding, ...]) -> str:
    """All of them, the worst first."""
    return "\n".join(finding_text(finding) for finding in sorted(findings, key=lambda each: _WORST_FIRST.index(each.severity)))


def shorten(text: str) -> str:
    """`text` at a length that a terminal can take."""
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
