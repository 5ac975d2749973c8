"""What logs say, as text for a terminal: aligned, no wider than 100 columns, nothing in it that a terminal would obey."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from kit.errors import UnreadableInput
from kit.knowledge.load import load_table
from kit.logs.authlog import LogReader
from kit.logs.case import Verdict
from kit.logs.draft import draft
from kit.logs.rotation import has_no_times
from kit.logs.summary import Ranking, Summary
from kit.logs.verdict_report import verdict_documents, verdict_text

TOP: Final = 10
_WIDTH: Final = 100
_EXAMPLES: Final = 5


def printable(text: str, limit: int = _WIDTH) -> str:
    """Text from a log, fit for a terminal: control characters, bidirectional overrides and the like as escapes; cut to the limit."""
    cut = text[: limit + 1]
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."


def counted(number: int, noun: str) -> str:
    """`1 line`, `2,000 lines`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def report(
    reader: LogReader, summary: Summary, verdicts: Sequence[Verdict] = (), *, verbose: bool = False, written: Path | None = None
) -> str:
    """The text for a reader whose tables have all been taken, and their totals.

    Args:
        reader: what was read.
        summary: of its tables.
        verdicts: about them.
        verbose: whether to draft line classes for what was not understood.
        written: the file that has the attempts.
    """
    parts = [_head(reader, summary)]
    if summary.attempts:
        parts += [_causes(summary), _subjects("Who is failing", "user", "from", summary.users(TOP), summary), _services(summary)]
        parts.insert(3, _subjects("Where failures come from", "address", "users", summary.addresses(TOP), summary))
    parts += [verdict_text(verdicts), _coverage(reader), *(_drafts(reader) if verbose else ()), _next(reader, summary, written)]
    return "\n\n".join(part for part in parts if part)


def tell_what_is_no_log(reader: LogReader) -> None:
    """Adds to the problems of a reader that has ended: files of which no line needed a time, nor has one near the beginning.

    Raises:
        UnreadableInput: there is nothing else.
    """
    what = "no line at its beginning has the time stamp of a log"
    for source, anchor in zip(reader.sources, reader.time_anchor, strict=True):
        if anchor.endswith("no line with a time was needed") and has_no_times(source):
            source.problem = what
    if not reader.coverage.not_understood and all(source.problem == what for source in reader.sources):
        raise UnreadableInput(what, where=", ".join(source.name for source in reader.sources), next_step="Give the mail log itself")


def to_document(reader: LogReader, summary: Summary, verdicts: Sequence[Verdict] = ()) -> dict[str, Any]:
    """The same for programs: what `kit logs --json` prints."""
    return {
        "coverage": reader.coverage,
        "time_anchor": list(reader.time_anchor),
        "outcomes": dict(summary.outcomes),
        "causes": dict(summary.causes),
        "verdicts": verdict_documents(verdicts),
        "not_understood_examples": list(reader.unknown),
        "problems": list(reader.problems),
    }


def _head(reader: LogReader, summary: Summary) -> str:
    total = reader.coverage.attempts
    if summary.period is None:
        return f"No attempt to sign in fits, of {total:,}." if total else "No attempt to sign in."
    first, last = summary.period
    fitting = f" (of {total:,}; the others do not fit)" if total != summary.attempts else ""
    lines = [f"{counted(summary.attempts, 'attempt')} to sign in{fitting}, {first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC", ""]
    lines += [f"{count:>10,}  {_share(count, summary.attempts)}  {name}" for name, count in summary.outcomes.items()]
    return "\n".join(lines)


def _causes(summary: Summary) -> str:
    words = load_table("causes")
    causes = {name: count for name, count in summary.causes.items() if name != "none"}
    total = sum(causes.values())
    rows = [f"{count:>10,}  {_share(count, total)}  {name:<21}  {words[name]}" for name, count in list(causes.items())[:TOP]]
    return "\n".join([f"Why {total:,} of them failed", "", *rows]) if rows else ""


def _subjects(title: str, what: str, others: str, ranking: Ranking, summary: Summary) -> str:
    if not ranking.top:
        return ""
    several = f": {TOP} of {'' if summary.complete else 'more than '}{ranking.total:,}" if ranking.total > TOP else ""
    head = f"{'failed':>10}  {'good':>8}  {others:>8}  {'since':<10}  {'last seen, UTC':<16}  {what}"
    rows = (
        f"{s.failed:>10,}  {s.good:>8,}  {s.others:>8,}  {s.since:%Y-%m-%d}  {s.last:%Y-%m-%d %H:%M}  {printable(s.name, 36)}"
        for s in ranking.top
    )
    return "\n".join([title + several, "", head, *rows])


def _services(summary: Summary) -> str:
    services = summary.services.items()
    rows = (f"{failed:>10,}  {good:>8,}  {name or '(the log does not tell)'}" for name, (failed, good) in services)
    return "\n".join(["Services", "", f"{'failed':>10}  {'good':>8}  service", *rows])


def _coverage(reader: LogReader) -> str:
    c = reader.coverage
    total = f"{counted(c.lines, 'line')}: {counted(c.attempts, 'attempt')} from {c.attempt_lines:,}, {c.other:,} other"
    lines = [f"{total}, {c.not_understood:,} not understood, {c.undecodable:,} no UTF-8"]
    if reader.unknown:
        lines += ["", "What looks like authentication, in shapes that the kit does not know:"]
        lines += [f"{u.count:>10,}  {printable(u.example, _WIDTH - 12)}" for u in reader.unknown[:_EXAMPLES]]
        if len(reader.unknown) > _EXAMPLES:
            lines.append(
                f"{'':>10}  ... and {counted(len(reader.unknown) - _EXAMPLES, 'shape')} more: --json lists them, --verbose drafts what would catch them"
            )
        lines.append("")
    lines += [line for problem in reader.problems for line in _wrapped("Problem: ", problem)]
    return "\n".join(lines + _anchors(reader.time_anchor)).rstrip()


def _drafts(reader: LogReader) -> list[str]:
    """What would catch the shapes that were not understood: for kit/knowledge/log_lines, once a person has judged it."""
    today = datetime.now(UTC).date()
    return ["".join(c for c in text if c.isprintable() or c == "\n") for u in reader.unknown if (text := draft(u.example, today=today))]


def _anchors(anchors: Sequence[str]) -> list[str]:
    lines = [line for anchor in anchors[:_EXAMPLES] for line in _wrapped("Time: ", anchor)]
    return lines if len(anchors) <= _EXAMPLES else [*lines, f"Time: ... and {counted(len(anchors) - _EXAMPLES, 'file')} more"]


def _wrapped(label: str, text: str) -> list[str]:
    return textwrap.wrap(printable(text, 5 * _WIDTH), _WIDTH, initial_indent=label, subsequent_indent=" " * len(label))


def _next(reader: LogReader, summary: Summary, written: Path | None) -> str:
    steps = []
    if written:
        steps.append(f"Wrote {counted(summary.attempts, 'attempt')} to {printable(str(written), 5 * _WIDTH)}")
    elif summary.attempts:
        steps.append("Each attempt with its line: kit logs ... -o attempts.parquet (or .csv, .jsonl)")
    if summary.attempts:
        steps.append("Trends and filters: kit lab, notebook 04-who-is-failing")
    if any("assumed" in anchor for anchor in reader.time_anchor):
        steps.append("If the server's clock is not UTC: --tz Europe/Berlin, or whatever its zone is")
    return "\n".join(steps)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:>4.0f} %" if part * 200 >= whole else " <1 %"
