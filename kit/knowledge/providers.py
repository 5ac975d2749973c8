"""Mail services that the kit knows: by the domain of an address, by the mail servers of a domain of one's own, or by the server's name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

from kit.knowledge.load import load_table
from kit.model import Security


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a mail service takes from one account; None where it names no number. A message counts once for each recipient.

    Attributes:
        connections: at once.
        recipients: of one message.
        source, checked, second_hand: as those of Provider.
    """

    source: str
    checked: date
    second_hand: bool = False
    per_minute: int | None = None
    per_hour: int | None = None
    per_day: int | None = None
    connections: int | None = None
    recipients: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A mail service and what it documents about sending through it.

    Attributes:
        domains: of the addresses it hands out, lower case; one that begins with a dot stands for all below it.
        mx: what the MX records of its customers' own domains end in.
        host: the submission server.
        other_hosts: names that the same service answers to as well, such as those of other regions.
        ports: of the submission server with their security, the one to use first.
        mechanisms: known ways to sign in; the server's EHLO has the last word.
        password: what its password field wants, and its user field where that is not the address, in plain words.
        source: where it was learned.
        checked: the day on which server, ports and password were read there; None where not all of them were.
        second_hand: that was read with somebody else, who may quote the service.
    """

    name: str
    host: str
    ports: tuple[tuple[int, Security], ...]
    mechanisms: tuple[str, ...]
    password: str
    source: str
    domains: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()
    other_hosts: tuple[str, ...] = ()
    checked: date | None = None
    second_hand: bool = False
    limits: Limits | None = None

    @property
    def evidence(self) -> str:
        """Where it was learned, and whether the service itself says so."""
        return self.source if self.checked and not self.second_hand else f"not verified at the service itself; see {self.source}"

    @property
    def port(self) -> int:
        """The port to use."""
        return self.ports[0][0]

    @property
    def security(self) -> Security:
        """And its security."""
        return self.ports[0][1]


def find_provider(address: str) -> Provider | None:
    """The mail service behind an address or a domain, where its domain gives it away."""
    domain = address.rpartition("@")[2].lower()
    return next((each for each in providers() if _among(domain, each.domains)), None)


def find_provider_by_mx(host: str) -> Provider | None:
    """The mail service whose server takes the mail of a domain."""
    return next((each for each in providers() if _among(host.lower(), each.mx)), None)


def find_provider_by_host(host: str) -> Provider | None:
    """The mail service whose submission server this is."""
    return next((each for each in providers() if _among(host.lower(), (each.host, *each.other_hosts))), None)


def _among(name: str, known: tuple[str, ...]) -> bool:
    return any(name == each or (each[0] == "." and name.endswith(each)) for each in known)


@cache
def providers() -> tuple[Provider, ...]:
    """All of them, in the table's order."""
    return tuple(_read(**entry) for entry in load_table("providers")["provider"])


def _read(*, ports: dict[str, str], limits: dict[str, Any] | None = None, **entry: Any) -> Provider:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    return Provider(
        ports=tuple((int(port), Security(security)) for port, security in ports.items()),
        limits=Limits(**limits) if limits else None,
        **values,
    )
