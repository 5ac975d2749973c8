"""What a trace comes to: delivered where, waiting or given up and why, or not found and what that may mean. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Final

from kit.errors import KnowledgeError
from kit.explain import explain
from kit.knowledge.findings import bounded
from kit.knowledge.load import load_table
from kit.logs.events import Fate, Story
from kit.logs.trace import Trace
from kit.logs.trail import State
from kit.model import Attempt, Cause, Finding, Outcome, Severity
from kit.sending.sent import Sent

_TIME: Final = "%Y-%m-%d %H:%M:%S UTC"
_LATER: Final = re.compile(r"(?i)\b4\d\d[ -]|temporarily|greylist")


def ends_of(story: Story) -> tuple[Finding, ...]:
    """What became of one: for each recipient, and for each sign-in that failed."""
    found = [_end_of(fate) for fate in story.fates]
    failed = [attempt for attempt in story.attempts if attempt.outcome is not Outcome.SUCCESS]
    found += [_failed(attempt) for attempt in failed]
    if story.kind == "message" and not story.fates:
        found.append(_finding("gone" if story.left else "open"))
    if found:
        return tuple(found)
    if story.kind == "lines":
        return (_finding("lines"),)
    if story.attempts:
        return tuple(_finding("signed-in", user=_who(attempt), address=_from(attempt)) for attempt in story.attempts[:1])
    return (_finding("nothing"),)


def found_missing(trace: Trace, sent: Sent | None = None) -> tuple[Finding, ...]:
    """What to say of the search as a whole: that nothing was found, or not all of it is here."""
    found = [_finding("cut")] if trace.cut else []
    if trace.stories:
        return tuple(found)
    reach = tuple(
        f"{log.file}: {log.first.strftime(_TIME) if log.first else '?'} to {log.last.strftime(_TIME) if log.last else '?'}"
        for log in trace.covered
    )
    first = min((log.first for log in trace.covered if log.first), default=None)
    last = max((log.last for log in trace.covered if log.last), default=None)
    time = sent.time if sent else None
    name = "missing-before" if time and first and time < first else "missing-behind" if time and last and time > last else "missing"
    values = {what: moment.strftime(_TIME) if moment else "?" for what, moment in (("time", time), ("first", first), ("last", last))}
    return (*found, replace(_finding(name, **values), evidence=bounded((f"{trace.lines:,} lines were looked through", *reach[:5]))))


def _end_of(fate: Fate) -> Finding:
    name: str = fate.state
    why = fate.why or ""
    if fate.state is State.REFUSED and _LATER.search(why):
        name = "put-off"
    end = _finding(name, recipient=fate.recipient or "its recipient", where=fate.where or "the server")
    end = replace(end, evidence=bounded((why,)))
    if end.severity is Severity.OK or not why:
        return end
    for cause, title, next_step in _known(why):
        return replace(end, cause=cause, title=f"{end.title}: {title[:1].lower()}{title[1:]}", next_step=f"{next_step} {end.next_step}")
    return end


def _known(why: str) -> Iterator[tuple[Cause, str, str]]:
    """What is known of the server's words: its reply first, else the program's own."""
    said = explain(why)
    if said.cause not in (Cause.UNKNOWN, Cause.NONE):
        yield said.cause, said.title, said.next_step
    yield from ((cause, title, step) for pattern, cause, title, step in _reasons() if pattern.search(why))


def _failed(attempt: Attempt) -> Finding:
    end = _finding("failed", user=_who(attempt), address=_from(attempt))
    words = load_table("causes")[attempt.cause]
    return replace(end, cause=attempt.cause, title=f"{end.title}: {words}", evidence=bounded((attempt.text or "",)))


def _who(attempt: Attempt) -> str:
    return attempt.user or "somebody whom the log does not name"


def _from(attempt: Attempt) -> str:
    return attempt.client_ip or "an address that the log does not name"


def _finding(name: str, **values: str) -> Finding:
    try:
        entry = load_table("trace_ends")["end"][name]
        return Finding(
            cause=Cause(entry["cause"]),
            severity=Severity(entry["severity"]),
            title=entry["title"].format(**values),
            next_step=entry["next_step"],
        )
    except (KeyError, ValueError) as fault:
        raise KnowledgeError(
            f"[end.{name}] does not read ({fault})", where="kit/knowledge/trace_ends.toml", next_step="Please report it"
        ) from fault


@cache
def _reasons() -> tuple[tuple[re.Pattern[str], Cause, str, str], ...]:
    """The [[reason]] entries, in the table's order."""
    return tuple(
        (re.compile(entry["pattern"]), Cause(entry["cause"]), entry["title"], entry["next_step"])
        for entry in load_table("trace_ends")["reason"]
    )
