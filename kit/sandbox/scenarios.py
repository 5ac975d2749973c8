"""What the sandbox can play, from `knowledge/scenarios.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any

from kit.errors import KnowledgeError
from kit.knowledge.load import load_table
from kit.model import Cause, Outcome


class Stage(StrEnum):
    """Where a scenario may behave in its own way. The table's head says when each comes."""

    CONNECT = "connect"
    TLS = "tls"
    BANNER = "banner"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    IN_CLEAR = "in-clear"
    AUTH = "auth"
    SIGN_IN = "sign-in"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    END_OF_DATA = "end-of-data"


class Fault(StrEnum):
    """What may come instead of the rest of a conversation."""

    DROP = "drop"
    RESET = "reset"
    SILENCE = "silence"
    ENDLESS = "endless"
    LONG_LINE = "long-line"


class Tls(StrEnum):
    """What is wrong with certificate or version."""

    GOOD = "good"
    EXPIRED = "expired"
    WRONG_NAME = "wrong-name"
    SELF_SIGNED = "self-signed"
    UNKNOWN_ISSUER = "unknown-issuer"
    WRONG_PURPOSE = "wrong-purpose"
    OLD = "1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One kind of server. The table's head says what each field means; delays are seconds."""

    name: str
    group: str
    title: str
    teaches: str
    next: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    outcome: Outcome = Outcome.FAILURE
    cause: Cause = Cause.CREDENTIALS
    replies: Mapping[Stage, str] = field(default_factory=dict)
    delays: Mapping[Stage, float] = field(default_factory=dict)
    faults: Mapping[Stage, Fault] = field(default_factory=dict)
    tls: Tls = Tls.GOOD

    def refusal(self, stage: Stage) -> str | None:
        """The reply that there is instead of what was asked for."""
        reply = self.replies.get(stage)
        return reply if reply and reply[0] in "45" else None


@cache
def scenarios() -> tuple[Scenario, ...]:
    """All of the table, the ordinary one first.

    Raises:
        KnowledgeError: an entry is wrong.
    """
    return tuple(_read(entry) for entry in load_table("scenarios")["scenario"])


def _read(entry: dict[str, Any]) -> Scenario:
    try:
        return Scenario(
            **{name: entry[name] for name in ("name", "group", "title", "teaches", "next")},
            before=tuple(entry.get("before", ())),
            after=tuple(entry.get("after", ("PLAIN", "LOGIN"))),
            outcome=Outcome(entry.get("outcome", Outcome.FAILURE)),
            cause=Cause(entry.get("cause", Cause.CREDENTIALS)),
            replies={Stage(stage): reply for stage, reply in entry.get("replies", {}).items()},
            delays={Stage(stage): float(seconds) for stage, seconds in entry.get("delays", {}).items()},
            faults={Stage(stage): Fault(fault) for stage, fault in entry.get("faults", {}).items()},
            tls=Tls(entry.get("tls", Tls.GOOD)),
        )
    except (KeyError, TypeError, ValueError) as fault:
        where = f"kit/knowledge/scenarios.toml, {entry.get('name')}"
        raise KnowledgeError(f"the scenario does not read ({fault})", where=where, next_step="Please report it") from fault
