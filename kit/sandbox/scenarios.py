"""What the sandbox can play, from `knowledge/scenarios.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from kit.errors import KnowledgeError, UsageError
from kit.knowledge.load import load_table
from kit.model import Cause, Outcome


class Stage(StrEnum):
    """Where a scenario may answer in its own way."""

    IN_CLEAR = "in-clear"
    AUTH = "auth"
    SIGN_IN = "sign-in"
    MAIL = "mail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One kind of server. The table's head says what each field means."""

    name: str
    title: str
    teaches: str
    next: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    outcome: Outcome
    cause: Cause
    replies: Mapping[Stage, str]


@cache
def scenarios() -> tuple[Scenario, ...]:
    """All of them, the ordinary one first.

    Raises:
        KnowledgeError: an entry of the table is wrong.
    """
    return tuple(_read(entry) for entry in load_table("scenarios")["scenario"])


def _read(entry: dict[str, Any]) -> Scenario:
    try:
        return Scenario(
            **{field: entry[field] for field in ("name", "title", "teaches", "next")},
            before=tuple(entry["before"]),
            after=tuple(entry["after"]),
            outcome=Outcome(entry.get("outcome", Outcome.FAILURE)),
            cause=Cause(entry.get("cause", Cause.CREDENTIALS)),
            replies={Stage(stage): reply for stage, reply in entry.get("replies", {}).items()},
        )
    except (KeyError, TypeError, ValueError) as fault:
        where = f"kit/knowledge/scenarios.toml, {entry.get('name')}"
        raise KnowledgeError(f"the scenario does not read ({fault})", where=where, next_step="Please report it") from fault


def find_scenario(name: str) -> Scenario:
    """The scenario of that name.

    Raises:
        UsageError: there is none.
    """
    for scenario in scenarios():
        if scenario.name == name:
            return scenario
    known = ", ".join(scenario.name for scenario in scenarios())
    raise UsageError(f"there is no scenario {name[:60]!r}", where="sandbox", next_step=f"Choose one of: {known}")
