"""How much of a log was understood, and what was not (law 4)."""

from __future__ import annotations

from kit.logs.authlog import AuthLog
from kit.widgets.common import escape


def coverage(log: AuthLog) -> str:
    """The numbers in words, with examples of what was not understood, what could not be read, and where times came from."""
    c = log.coverage
    said = f"{c.lines:,} lines: {c.attempts:,} tries to sign in, told by {c.attempt_lines:,} of them; {c.other:,} about other things"
    if c.undecodable:
        said += f"; {c.undecodable:,} not readable as text"
    note = f'<div class="kit-note">{escape(said)}. {_unknown(log)}{_clock(log)}</div>'
    return note + "".join(f'<div role="alert">Problem: {escape(problem)}</div>' for problem in log.problems)


def _unknown(log: AuthLog) -> str:
    missed = log.coverage.not_understood
    if not missed:
        return "Every line that looks like authentication was understood."
    examples = "".join(f"<li>{each.count:,} × <span class='kit-said'>{escape(each.example)}</span></li>" for each in log.unknown[:10])
    return f"<details><summary>{missed:,} lines look like authentication and were not understood</summary><ul>{examples}</ul></details>"


def _clock(log: AuthLog) -> str:
    items = "".join(f"<li>{escape(anchor)}</li>" for anchor in log.time_anchor)
    return f"<details><summary>Where the years and zones of its times came from</summary><ul>{items}</ul></details>" if items else ""
