"""Line classes, from `knowledge/log_lines.toml` to compiled patterns."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from kit.errors import KnowledgeError
from kit.knowledge.load import load_table
from kit.model import Cause, Outcome

# A line in canonical form is "TIME HOST PROGRAM[PID]: message". The time is RFC 3164's or ISO 8601's.
TIME: Final = r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[\d.,]{0,12}(?:Z|[+-]\d\d:?\d\d|)"

# What is read from a line, by its role; kit.logs.join has a handler for each role.
_CLIENT: Final = ("client_name", "client_ip", "client_port")
_SESSION: Final = ("service", "user", "mechanism", "client_ip", "tls", "session")
ROLES: Final[dict[str, tuple[str, ...]]] = {
    "verdict": ("origin", "host", "program", *_CLIENT, "mechanism", "reason", "user"),
    "success": ("origin", "host", "program", *_CLIENT, "mechanism", "user"),
    "lost": ("origin", "client_ip"),
    "summary": ("origin", "client_ip", "good", "total"),
    "trouble": ("origin",),
    "backend": ("host", "process", "driver", "user", "client_ip", "session", "reason"),
    "login": ("host", *_SESSION),
    "ended": ("host", "total", *_SESSION),
    "refused": ("host", "reason", *_SESSION),
    "ended-refused": ("host", "reason", *_SESSION),
    "none": (),
}
_NAMED: Final = re.compile(r"\(\?P<(\w+)>")

Row = tuple[str, ...]


def envelope(program: str) -> str:
    """A pattern of what stands before the message; its group `origin` is host, program and process id, as in the line."""
    return rf"(?P<time>{TIME}) (?P<origin>(?P<host>\S{{1,255}}) (?P<program>{program})(?:\[\d{{1,10}}\]|)): "


@dataclass(frozen=True, slots=True, kw_only=True)
class LineClass:
    """One shape of line.

    Attributes:
        needle: a literal that each of its lines holds.
        fields: names of what the pattern finds, in the order of a row; the time comes first.
        match: rows of a text of joined lines, one a line; a line that is of another class gives a row of empty texts.
        reasons: text found in the line's reason → how the try ended; the first that fits wins.
    """

    id: str
    software: str
    role: str
    needle: bytes
    outcome: Outcome
    cause: Cause
    reasons: tuple[tuple[str, Outcome, Cause], ...]
    fields: tuple[str, ...]
    match: Callable[[str], list[Row]]

    def verdict(self, reason: str) -> tuple[Outcome, Cause]:
        """How a try ended, by the server's own words for it."""
        for text, outcome, cause in self.reasons:
            if text in reason:
                return outcome, cause
        return self.outcome, self.cause


@cache
def line_classes() -> tuple[LineClass, ...]:
    """All line classes, in the order of the table.

    Raises:
        KnowledgeError: an entry is wrong.
    """
    table = load_table("log_lines")
    return tuple(_line_class(entry, table["program"]) for entry in table["class"])


@cache
def suspicion() -> tuple[str, ...]:
    """The literals that make a line suspect of being about authentication."""
    return tuple(load_table("log_lines")["suspicion"]["needles"])


def _line_class(entry: dict[str, Any], programs: dict[str, str]) -> LineClass:
    try:
        program, role = programs[entry["program"]], entry["role"]
        wanted = ("time", *ROLES[role])
        # Groups that the role has no use for are not captured. A line of another class still gives a row, an empty one, so
        # that rows and lines stay one to one; the empty group at the end makes each row a tuple.
        text = rf"^{envelope(program)}(?:{entry['pattern']})()$|^.*$"
        text = _NAMED.sub(lambda group: group[0] if group[1] in wanted else "(?:", text)
        pattern = re.compile(text, re.MULTILINE | re.ASCII)
        return LineClass(
            id=entry["id"],
            software=entry["software"],
            role=role,
            needle=entry["needle"].encode("ascii"),
            outcome=Outcome(entry.get("outcome", "success")),
            cause=Cause(entry.get("cause", "none")),
            reasons=tuple((r["text"], Outcome(r["outcome"]), Cause(r["cause"])) for r in entry.get("reasons", ())),
            fields=tuple(pattern.groupindex),
            match=pattern.findall,
        )
    except (KeyError, ValueError, re.error) as fault:
        raise KnowledgeError(
            f"the entry {entry.get('id')!r} is wrong ({fault})", where="kit/knowledge/log_lines.toml", next_step="Please report it"
        ) from fault
