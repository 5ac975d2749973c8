"""Where a device can go that cannot stay with its password, and until when Microsoft takes one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cache

from kit.knowledge.load import load_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way out, as kit/knowledge/ways_out.toml has it; its head says what each field means."""

    name: str
    what: str
    fits: tuple[str, ...]
    at: str
    outside: bool
    host: str
    ports: tuple[int, ...]
    tls: str
    sign_in: str
    address: str
    limits: str
    beware: str
    source: str
    checked: date
    second_hand: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """Until when a password is taken.

    Attributes:
        applies_to: the service that ends it.
        day: the last day.
        text: what happens, in the service's own terms.
        published: when it was said there.
    """

    applies_to: str
    day: date
    text: str
    source: str
    published: date
    checked: date


@cache
def ways_out() -> tuple[Way, ...]:
    """All of them, in the order in which they are told."""
    return tuple(Way(**row | {"fits": tuple(row["fits"]), "ports": tuple(row["ports"])}) for row in load_table("ways_out")["way"])


def fitting(kind: str, *, exchange_online: bool) -> tuple[Way, ...]:
    """Those that suit a kind of device.

    Args:
        kind: as `fits` names it.
        exchange_online: whether it signs in there; else at a server of one's own.
    """
    places = ("exchange-online", "anywhere") if exchange_online else ("own-server",)
    return tuple(way for way in ways_out() if kind in way.fits and way.at in places)


@cache
def deadline() -> Deadline:
    """That of Exchange Online."""
    return Deadline(**load_table("basic")["deadline"])
