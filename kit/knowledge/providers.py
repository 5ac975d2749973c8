"""Mail services that the kit knows by the domain of an address."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cache

from kit.knowledge.load import load_table
from kit.model import Security


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A mail service and what it documents about sending through it.

    Attributes:
        domains: of the addresses it hands out, lower case.
        mechanisms: documented ways to sign in; the server's EHLO has the last word.
        password: what its password field wants, in plain words.
        source: the service's own page.
        checked: the day on which that page was read; None where it was not.
    """

    name: str
    domains: tuple[str, ...]
    host: str
    port: int
    security: Security
    mechanisms: tuple[str, ...]
    password: str
    source: str
    checked: date | None = None


def find_provider(address: str) -> Provider | None:
    """The mail service behind an address or a domain, where its domain gives it away."""
    domain = address.rpartition("@")[2].lower()
    for provider in _providers():
        if any(domain == known or (known[0] == "." and domain.endswith(known)) for known in provider.domains):
            return provider
    return None


@cache
def _providers() -> tuple[Provider, ...]:
    return tuple(
        Provider(
            **entry
            | {"domains": tuple(entry["domains"]), "mechanisms": tuple(entry["mechanisms"]), "security": Security(entry["security"])}
        )
        for entry in load_table("providers")["provider"]
    )
