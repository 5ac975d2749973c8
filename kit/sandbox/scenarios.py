"""What the sandbox can play, from `knowledge/scenarios.toml`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from kit.errors import UsageError
from kit.knowledge.load import load_table
from kit.model import Cause, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One kind of server. `sign_in` and `mail` are replies that take the place of the ordinary ones.

    Attributes:
        before: mechanisms offered in clear; `after` those under TLS.
        outcome: of a sign-in that is refused, and its cause, as the sandbox counts it.
        tls_first: in clear, every command but EHLO, NOOP, STARTTLS and QUIT is refused (RFC 3207 section 4).
    """

    name: str
    title: str
    teaches: str
    next: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    sign_in: str | None = None
    outcome: Outcome = Outcome.FAILURE
    cause: Cause = Cause.CREDENTIALS
    mail: str | None = None
    tls_first: bool = False


_READ: Final[dict[str, Callable[[Any], Any]]] = {"before": tuple, "after": tuple, "tls_first": bool, "outcome": Outcome, "cause": Cause}


@cache
def scenarios() -> tuple[Scenario, ...]:
    """All of them, the ordinary one first."""
    return tuple(
        Scenario(**{**entry, "before": tuple(entry["before"]), "after": tuple(entry["after"])})
        for entry in load_table("scenarios")["scenario"]
    )


def find_scenario(name: str) -> Scenario:
    """The scenario of that name.

    Raises:
        UsageError: there is none.
    """
    for scenario in scenarios():
        if scenario.name == name:
            return scenario
    known = ", ".join(scenario.name for scenario in scenarios())
    raise UsageError(f"there is no scenario {name!r}", where="sandbox", next_step=f"Choose one of: {known}")
