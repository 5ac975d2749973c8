"""How `kit send` tells what it does and what came of it: step by step, in words, and for cron."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from kit.commands.common import number
from kit.model import Cause, Finding, Severity, Step

if TYPE_CHECKING:
    from kit.sending.entries import Entry
    from kit.sending.series import SeriesResult


class Screen:
    """What is told while it is under way; nothing of it before the first step, as until then it may be wrong use."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._before: list[str] = []

    def announce(self, line: str) -> None:
        """Before the first step."""
        self._before.append(line)

    def step(self, step: Step) -> None:
        """A step has ended."""
        from kit.checks.text import step_line

        self.say(step_line(step))

    def wait(self, seconds: float) -> None:
        """Nothing will happen for so long."""
        if seconds >= 5:
            self.say(f"  waiting until {moment(time.time() + seconds)}")

    def say(self, line: str) -> None:
        """Now. Where nobody reads any more, the mail goes on."""
        if not self._silent:
            try:
                for each in (*self._before, line):
                    click.echo(each)
            except OSError:
                self._silent = True
        self._before.clear()


def entry_line(entry: Entry, of: int) -> str:
    """One message of a series, as something has become of it."""
    from kit.sending.entries import WORDS

    more = ""
    if entry.state == "accepted":
        more = (f", {entry.queue_id}" if entry.queue_id else "") + (f"; not for {', '.join(entry.rejected)}" if entry.rejected else "")
    elif entry.state == "refused":
        more = f", {entry.code or 'not sent'}"
    elif entry.until:
        more = f" until {moment(entry.until)}"
    return f"  {entry.number}/{of} {WORDS[entry.state]}{more}"


def moment(seconds: float) -> str:
    """A time since 1970 by the clock on the wall, with its day."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def all_in_all(result: SeriesResult) -> str:
    """How many messages came to what."""
    from kit.sending.entries import totals

    return f"{number(len(result.entries), 'message')}: {totals(result.entries)}"


def in_words(result: SeriesResult) -> str:
    """All of it."""
    from kit.checks.text import findings_text

    return f"\n{findings_text(result.findings)}\n\n  {all_in_all(result)}, {number(result.round_trips, 'round trip')}".lstrip("\n")


def in_doubt(finding: Finding) -> bool:
    """It names a message that was perhaps taken."""
    return any(text.startswith("Message-ID: ") for text in finding.evidence)


def told(finding: Finding) -> str:
    """One finding in a paragraph."""
    from kit.checks.text import shorten

    evidence = finding.evidence[0] if finding.evidence else ""
    because = f" ({evidence})" if in_doubt(finding) else f" (because: {shorten(evidence)})" if evidence else ""
    return f"{finding.title}. {finding.next_step}{because}"


def paragraph(target: str, findings: tuple[Finding, ...], totals: str = "") -> str:
    """What cron mails to whoever reads it: what is in doubt, else what failed; why, and what to do. Never to send it once more."""
    worst = sorted(
        (each for each in findings if each.severity in (Severity.ERROR, Severity.WARNING) or each.cause is Cause.ABORTED),
        key=lambda each: (not in_doubt(each), each.severity is not Severity.ERROR, each.cause is not Cause.ABORTED),
    )
    doubts = len(list(filter(in_doubt, worst)))
    first = max(1, doubts)
    said = [told(finding) for finding in (worst or list(findings[-1:]))[:first]]
    also = "; ".join(finding.title for finding in worst[first:])
    return " ".join((f"kit send {target}:", *([totals + "."] if totals else []), *said, *([f"Also: {also}."] if also else [])))
