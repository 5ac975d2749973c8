"""Steps, findings and messages as HTML. Pure text: no widget is needed to make it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from kit.checks.chain import VersionProbe
from kit.checks.matrix import Rating, Way
from kit.checks.matrix import table as matrix
from kit.model import CheckResult, Finding, Probe, SendResult, Severity, Step
from kit.sending.entries import WORDS, Entry, State, totals
from kit.sending.headers import Hop, Result
from kit.sending.received import Received
from kit.sending.story import answers
from kit.widgets.common import escape, table

# The word carries the meaning; the colour only helps to find it.
_WORDS: Final = {Severity.ERROR: "Error", Severity.WARNING: "Warning", Severity.NOTE: "Note", Severity.OK: "All well"}
_LINES: Final = {
    Severity.ERROR: "var(--jp-error-color1, #d32f2f)",
    Severity.WARNING: "var(--jp-warn-color1, #f57c00)",
    Severity.NOTE: "var(--jp-info-color1, #0288d1)",
    Severity.OK: "var(--jp-success-color1, #388e3c)",
}
# Half transparent, so that text is read on them in either theme.
_HEAT: Final[dict[str, str]] = {Rating.USE: "#009E7399", Rating.SAFE: "#009E7344", Rating.WEAK: "#E69F0055", Rating.IN_CLEAR: "#D55E0066"}
_LONGEST: Final = 600


def steps_html(steps: list[Step]) -> str:
    """What was said and answered, one row a step."""
    rows: list[list[object]] = [
        [
            "ok" if step.ok else "failed",
            step.name,
            f"{step.seconds:.3f}",
            _cut(step.sent),
            _cut(step.reply.text if step.reply else None),
            _cut(step.detail),
        ]
        for step in steps
    ]
    return table([("", ""), ("step", ""), ("seconds", "n"), ("sent", ""), ("the server's answer", ""), ("worth knowing", "")], rows)


def probes_html(probes: list[Probe | VersionProbe]) -> str:
    """Where the host answers, and what it offers there, one row a connection."""
    return table(
        [("", ""), ("port", ""), ("address", ""), ("seconds", "n"), ("TLS", ""), ("what it offers", "")], list(map(_probe, probes))
    )


def _probe(probe: Probe | VersionProbe) -> list[object]:
    if isinstance(probe, VersionProbe):
        told = " ".join(text for text in (probe.outcome.replace("-", " "), probe.cipher, probe.detail) if text)
        return ["", probe.port, probe.address, f"{probe.seconds:.3f}", probe.version, _cut(told)]
    offers = _cut(probe.problem.title if probe.problem else " ".join(probe.mechanisms) or "no AUTH")
    mark, place = "failed" if probe.problem else "ok", f"{probe.family} {probe.address}"
    return [mark, f"{probe.port} {probe.security}", place, f"{probe.seconds:.3f}", probe.tls or "", offers]


def ways_html(ways: tuple[Way, ...]) -> str:
    """Every way to sign in as a heat map: a row a port, a column a mechanism; the word says what the colour does."""
    mechanisms, rows = matrix(ways)
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{escape(_cut(name))}</th>' for name in ["", *mechanisms])
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f'<td style="background: {_HEAT.get(cell, "none")}">{escape(cell or "not offered")}</td>' for cell in cells)
        + "</tr>"
        for name, cells in rows
    )
    return f'<table class="kit-table kit-heat"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def findings_html(findings: tuple[Finding, ...]) -> str:
    """What the steps mean and what to do, the worst first."""
    worst_first = sorted(findings, key=lambda finding: list(_WORDS).index(finding.severity))
    return "".join(map(_finding, worst_first))


def received_html(received: Received) -> str:
    """What the headers of a received copy say: what it means, who found out what, and the way it took."""
    results: list[list[object]] = [
        [f"{result.method}: {_cut(result.result)}", _cut(result.meaning), _cut(_of(result)), _cut(result.said)]
        for result in received.results
    ]
    hops = [_hop(hop) for hop in received.hops]
    heads = [("by", ""), ("from", ""), ("protocol", ""), ("TLS", ""), ("time (UTC)", ""), ("seconds", "n")]
    return (
        findings_html(received.findings)
        + (table([("result", ""), ("what it means", ""), ("says who", ""), ("in its own words", "")], results) if results else "")
        + (f'<div class="kit-head">The way it took</div>{table(heads, hops)}' if hops else "")
    )


def _of(result: Result) -> str:
    who = result.authserv_id or ("the receiving server" if result.trusted else "nobody named")
    return who if result.trusted else f"{who} (not the receiving server's own words)"


def _hop(hop: Hop) -> list[object]:
    tls = hop.tls or {True: "yes", False: "no", None: ""}[hop.encrypted]
    time = f"{hop.time:%Y-%m-%d %H:%M:%S}" if hop.time else ""
    protocol = f"{hop.protocol or ''}{' (signed in)' if hop.signed_in else ''}"
    return [_cut(hop.by), _cut(hop.came_from), _cut(protocol), tls, time, "" if hop.seconds is None else f"{hop.seconds:.0f}"]


def verdict_html(result: CheckResult) -> str:
    """The result in one sentence."""
    problems = sum(finding.severity in (Severity.ERROR, Severity.WARNING) for finding in result.findings)
    if isinstance(result, SendResult) and result.accepted:
        took = "took" if any(step.name == "message" for step in result.steps) else "would take"
        told = f"The server {took} the message for {', '.join(result.accepted)}"
        told += f" and calls it {result.queue_id}." if result.queue_id else "."
    elif problems:
        told = "There is one thing to look at." if problems == 1 else f"There are {problems} things to look at."
    else:
        told = "All well."
    return big(told)


def big(text: str) -> str:
    """What it comes to, in one sentence."""
    return f'<div role="status" class="kit-big">{escape(text)}</div>'


def answers_html(result: SendResult) -> str:
    """What the server said about each recipient."""
    rows: list[list[object]] = [["taken" if taken else "refused", to, _cut(words)] for to, taken, words in answers(result)]
    heads = [("", ""), ("recipient", ""), ("the server's answer", "")]
    return f'<div class="kit-narrow">{table(heads, rows)}</div>' if rows else ""


def facts_html(rows: Iterable[tuple[str, str]]) -> str:
    """What there is to know, by its name."""
    body = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(_cut(told))}</td></tr>' for name, told in rows)
    return f'<table class="kit-table kit-facts"><tbody>{body}</tbody></table>'


def series_html(entries: Sequence[Entry]) -> str:
    """What became of a series: in one sentence, and message by message."""
    told = big(f"{totals(entries)}, of {len(entries)} messages.")
    rows: list[list[object]] = [
        [
            entry.number,
            WORDS[entry.state],
            f"{datetime.fromtimestamp(entry.time, UTC):%H:%M:%S}" if entry.time else "",
            entry.code or "",
            entry.queue_id or "",
            entry.trace or "",
            _cut(", ".join(entry.rejected)),
        ]
        for entry in entries
        if entry.state is not State.PLANNED
    ]
    heads = [("", "n"), ("", ""), ("time (UTC)", ""), ("code", ""), ("the server's id", ""), ("trace id", ""), ("not for", "")]
    return told + (folded("Message by message", f'<div class="kit-narrow">{table(heads, rows)}</div>') if rows else "")


def folded(title: str, page: str) -> str:
    """What is shown to who asks for it."""
    return f"<details><summary>{escape(title)}</summary>{page}</details>"


def _finding(finding: Finding) -> str:
    evidence = "".join(f'<div class="kit-said">{escape(_cut(line))}</div>' for line in finding.evidence)
    return (
        f'<div class="kit-finding" style="--kit-line: {_LINES[finding.severity]}"><b>{_WORDS[finding.severity]}: {escape(finding.title)}</b>'
        f"<div>{escape(finding.next_step)}</div>{evidence}</div>"
    )


def _cut(text: str | None) -> str:
    return "" if text is None else text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
