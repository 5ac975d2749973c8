"""Line classes, from `knowledge/log_lines` to compiled patterns."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from kit.errors import KnowledgeError
from kit.knowledge.load import load_table, load_tables
from kit.model import Cause, Outcome

# A line in canonical form is "TIME HOST PROGRAM[PID]: message". The time is RFC 3164's or ISO 8601's.
TIME: Final = r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[\d.,]{0,12}(?:Z|[+-]\d\d:?\d\d|)"

# What is read from a line, by its role; kit.logs.join has a handler for each role.
_CLIENT: Final = ("client_name", "client_ip", "client_port")
_SESSION: Final = ("service", "user", "mechanism", "client_ip", "tls", "session")
_ATTEMPT: Final = ("driver", "reason", "service", "user", "mechanism", "tls", "tls_version", "session", *_CLIENT, "helo")
ROLES: Final[dict[str, tuple[str, ...]]] = {
    "verdict": ("origin", "host", "program", *_CLIENT, "mechanism", "reason", "user"),
    "success": ("origin", "host", "program", *_CLIENT, "mechanism", "user"),
    "lost": ("origin", "client_ip"),
    "summary": ("origin", "client_ip", "good", "total"),
    "trouble": ("origin",),
    "backend": ("host", "process", "driver", "sasl", "user", "client_ip", "session", "reason"),
    "login": ("host", *_SESSION),
    "ended": ("host", "total", "reason", *_SESSION),
    "refused": ("host", "reason", *_SESSION),
    "ended-refused": ("host", "reason", *_SESSION),
    "attempt": ("host", *_ATTEMPT),
    "behind": ("host", "driver", "reason", "service", "user", "realm", "client_ip"),
    "opens": ("host", "session", *_CLIENT, "helo", "tls_version"),
    "try": ("host", *_ATTEMPT),
    "asked": ("host", "session"),
    "closes": ("host", "session", "good", "reason", *_CLIENT, "helo", "tls"),
    "again": ("host", *_ATTEMPT),
    "told": ("host", *_ATTEMPT),
    **dict.fromkeys(("failed", "declined", "hung-up", "message", "signed-in", "no-mail"), ("origin", "host", *_ATTEMPT)),
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
        frequent: it is looked for in every line.
        service: where its lines do not name one.
        pattern: of a line of a text of joined lines; it is compiled when the first needle of the class is met.
        reasons: text found in the line's reason → how the try ended; the first that fits wins.
        vis: the user stands there as vis(3) encodes it.
    """

    id: str
    software: str
    role: str
    needle: bytes
    frequent: bool
    service: str | None
    outcome: Outcome
    cause: Cause
    reasons: tuple[tuple[str, Outcome, Cause], ...]
    vis: bool
    pattern: str

    def __reduce__(self) -> tuple[Callable[[str], LineClass], tuple[str]]:
        """To another process goes the name."""
        return _class_named, (self.id,)

    @property
    def match(self) -> Callable[[str], list[Row]]:
        """Rows of a text of joined lines, one a line; a line that is of another class gives a row of empty texts."""
        return _compiled(self.pattern).findall

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of what the pattern finds, in the order of a row; the time comes first."""
        return tuple(_compiled(self.pattern).groupindex)

    def verdict(self, reason: str) -> tuple[Outcome, Cause]:
        """How a try ended, by the server's own words for it."""
        for text, outcome, cause in self.reasons:
            if text in reason:
                return outcome, cause
        return self.outcome, self.cause


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.MULTILINE | re.ASCII)


@cache
def line_classes() -> tuple[LineClass, ...]:
    """All line classes.

    Raises:
        KnowledgeError: an entry is wrong.
    """
    return tuple(_line_class(entry, table, name) for name, table in load_tables("log_lines").items() for entry in table.get("class", ()))


def _class_named(name: str) -> LineClass:
    return next(each for each in line_classes() if each.id == name)


@cache
def suspicion() -> tuple[str, ...]:
    """The literals that make a line suspect of being about authentication."""
    return tuple(load_table("log_lines/common")["suspicion"]["needles"])


def needles_at_once(classes: Sequence[LineClass]) -> list[bytes]:
    """What is looked for in every line: the frequent classes' needles, the longest first, for the first that a line holds decides which
    classes it is tried against; then what makes a line suspect; then the needles of other classes whose lines need not be suspect: those
    of no attempt are looked for in suspect lines only.
    """
    words = [word.encode() for word in suspicion()]
    frequent = sorted((c.needle for c in classes if c.frequent), key=len, reverse=True)
    others = (c.needle for c in classes if c.role != "none" and not any(word in c.needle for word in words))
    return list(dict.fromkeys([*frequent, *words, *others]))


@cache
def services() -> dict[str, str | None]:
    """What servers call a service → the service; None where the name does not tell."""
    return {raw: service or None for table in load_tables("log_lines").values() for raw, service in table.get("service", {}).items()}


def _line_class(entry: dict[str, Any], table: dict[str, Any], name: str) -> LineClass:
    try:
        role = entry["role"]
        wanted = ("time", *ROLES[role])
        # Groups that the role has no use for are not captured. A line of another class still gives a row, an empty one, so
        # that rows and lines stay one to one; the empty group at the end makes each row a tuple.
        text = rf"^{envelope(entry.get('program') or table['program'])}(?:{entry['pattern']})()$|^.*$"
        text = _NAMED.sub(lambda group: group[0] if group[1] in wanted else "(?:", text)
        return LineClass(
            id=entry["id"],
            software=table["software"],
            role=role,
            needle=entry["needle"].encode("ascii"),
            frequent=entry.get("frequent", False),
            service=entry.get("service"),
            outcome=Outcome(entry.get("outcome", "success")),
            cause=Cause(entry.get("cause", "none")),
            reasons=tuple((r["text"], Outcome(r["outcome"]), Cause(r["cause"])) for r in entry.get("reasons", ())),
            vis=entry.get("vis", False),
            pattern=text,
        )
    except (KeyError, ValueError) as fault:
        raise KnowledgeError(
            f"the entry {entry.get('id')!r} is wrong ({fault})", where=f"kit/knowledge/log_lines/{name}.toml", next_step="Please report it"
        ) from fault
