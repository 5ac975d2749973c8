"""Steps and findings as lines for a terminal. Whatever a server said is printable already; here it is also bounded."""

from __future__ import annotations

import textwrap
from typing import Final

from kit.checks.chain import VersionProbe
from kit.checks.discovery import Discovery
from kit.checks.matrix import Way, table
from kit.checks.survey import AT_ONCE
from kit.model import Finding, Probe, Profile, Severity, Step
from kit.redact import Secret
from kit.sending.reach import MOST_CONNECTIONS
from kit.sending.signin import by_certificate

_LONGEST: Final = 300  # characters of one reply on a terminal
_MARKS: Final = {Severity.OK: "✓ ok", Severity.NOTE: "· note", Severity.WARNING: "! warning", Severity.ERROR: "✗ error"}
_WORST_FIRST: Final = (Severity.ERROR, Severity.WARNING, Severity.NOTE, Severity.OK)


def plan(profile: Profile, *, gentle: bool, secret: Secret | None) -> str:
    """What is about to happen, on one line."""
    host = f"[{profile.host}]" if ":" in profile.host else profile.host
    tries = "one connection" if gentle else f"at most {MOST_CONNECTIONS} connections, one after the other"
    sign_in = f"one sign-in as {profile.user}" if secret else "no sign-in"
    if by_certificate(profile, secret):
        sign_in = f"one sign-in by certificate{'' if profile.mechanism else ', where that is offered'}"
    return f"{host}:{profile.port}, security {profile.security}: {tries}, {sign_in}"


def plan_survey(profile: Profile, connections: int, *, gentle: bool) -> str:
    """What is looked at before, on one line."""
    pace = "" if connections == 1 else ", one after the other" if gentle else f", at most {min(connections, AT_ONCE)} at once"
    return f"{profile.host}: up to {connections} connection{'s' * (connections != 1)}{pace}, without a sign-in"


def discovery_text(found: Discovery) -> str:
    """What each source gave, and what the kit makes of it."""
    lines = [f"{found.target}: who names its server"]
    for told in found.told:
        lines.append(f"{'✓ ok' if told.candidates else '·':<8} {told.source}: {shorten(told.why)}")
        lines += [f"{'':<10} {shorten(candidate.text)}" for candidate in told.candidates[:4]]
    return "\n".join([*lines, f"→ {shorten(found.reason)}"])


def probe_line(probe: Probe | VersionProbe) -> str:
    """One probe: port, where it led, and what is offered there."""
    if isinstance(probe, VersionProbe):
        what = " ".join(
            text for text in (probe.outcome.replace("-", " "), probe.cipher, f"({probe.detail})" if probe.detail else None) if text
        )
        return f"{'·':<8} {probe.seconds:7.3f} s  {probe.port} {probe.version:<8} {shorten(what)}"
    what = " ".join(probe.mechanisms) or "no AUTH"
    if probe.problem:
        what = probe.problem.title
    mark = "✗ failed" if probe.problem else "✓ ok"
    place = f"{probe.port} {probe.security}"
    return f"{mark:<8} {probe.seconds:7.3f} s  {place:<14} {probe.family} {probe.address}  {' '.join(t for t in (probe.tls, what) if t)}"


def ways_text(found: tuple[Way, ...]) -> str:
    """Every way to sign in, as a table; empty where there is none."""
    mechanisms, rows = table(found)
    if not rows:
        return ""
    mechanisms = [shorten(name) for name in mechanisms]
    widths = [max(len(name), *(len(row[i]) for _, row in rows)) for i, name in enumerate(mechanisms)]
    lines = [("", mechanisms), *((name, [cell or "-" for cell in row]) for name, row in rows)]
    return "\n".join(
        f"  {name:<14} {'  '.join(f'{cell:<{n}}' for cell, n in zip(row, widths, strict=True))}".rstrip() for name, row in lines
    )


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
