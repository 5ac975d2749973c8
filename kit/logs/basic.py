"""Who still signs in with a password instead of OAuth: each user and device, what it is likely to be, and where it can move to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from ipaddress import ip_network
from typing import Any, Final

import numpy as np

from kit.knowledge.load import load_table
from kit.knowledge.ways_out import fitting
from kit.logs.device import Habits, likely
from kit.logs.usage import FAILED, GOOD, LOW, OAUTH, OTHER, PASSWORD, UNKNOWN, Usage

MOST_ADDRESSES: Final = 5
_DAY: Final = 86_400_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A user, and what signs in with the user's password. Times are UTC.

    Attributes:
        addresses: where it comes from, the most used first, no more than MOST_ADDRESSES of them.
        networks: how many networks these and the others are in, /24 or /64.
        helos: what it calls itself, where that is logged.
        apps: Entra's name of its client app.
        tls: versions that it used, where a report says so.
        first, last: of its sign-ins with a password, good or not; None where a report has no times.
        good, failed: sign-ins with a password; messages where it is from a report.
        per_day: of both, from the first to the last.
        working: whether the last one was good.
        kind, why: what it is likely to be, and what speaks for it.
        exchange_online: whether it signs in there, where a date is set.
        move_to: names of ways out that fit.
    """

    user: str
    addresses: tuple[str, ...] = ()
    networks: int = 0
    helos: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    mechanisms: tuple[str, ...] = ()
    tls: tuple[str, ...] = ()
    first: datetime | None = None
    last: datetime | None = None
    good: int
    failed: int = 0
    per_day: float | None = None
    working: bool = True
    kind: str = "unknown"
    why: tuple[str, ...] = ()
    exchange_online: bool
    move_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Day:
    """Good sign-ins of a day (UTC) by how they were made, and those with a password that failed."""

    day: date
    password: int
    oauth: int
    other: int
    unknown: int
    failed: int


class Basic:
    """What a `Usage` that has taken all its tables says of passwords."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage
        self._rhythm = load_table("basic")["rhythm"]

    @property
    def complete(self) -> bool:
        """Whether these are all; else those that sign in most."""
        return self._usage.complete

    @property
    def days(self) -> list[Day]:
        """Each day on which somebody tried to sign in."""
        return [
            Day(
                date(1970, 1, 1) + timedelta(days=day),
                password=int(count[PASSWORD, GOOD]),
                oauth=int(count[OAUTH, GOOD]),
                other=int(count[OTHER, GOOD]),
                unknown=int(count[UNKNOWN, GOOD]),
                failed=int(count[PASSWORD, FAILED]),
            )
            for day, count in sorted(self._usage.days.items())
        ]

    @property
    def strangers(self) -> tuple[int, int]:
        """Users and tries that are no devices: guesses, and slips at places where the password never was right."""
        pairs = self._usage.pairs[np.setdiff1d(self._with_password, self._own)]
        return len(np.unique(pairs["key"] >> 32)), int(pairs["count"][:, PASSWORD].sum())

    @property
    def not_told(self) -> int:
        """Good sign-ins of which the log does not tell how they were made."""
        return int(sum(count[UNKNOWN, GOOD] for count in self._usage.days.values()))

    @cached_property
    def devices(self) -> list[Device]:
        """Who signs in with a password, the busiest first."""
        by_user: dict[int, list[int]] = defaultdict(list)
        for place in self._own.tolist():
            by_user[int(self._usage.pairs["key"][place]) >> 32].append(place)
        found = [self._device(group) for places in by_user.values() for group in self._grouped(places)]
        return sorted(found, key=lambda device: (-device.good - device.failed, device.user, device.addresses))

    # ------------------------------------------------------------------------------------ whose they are

    @cached_property
    def _with_password(self) -> Any:
        return np.flatnonzero(self._usage.pairs["count"][:, PASSWORD].any(1))

    @cached_property
    def _own(self) -> Any:
        """Places of pairs that are a user's own: they succeeded; or they only fail, often or as accounts that the server knows, at an
        address that does not try one name after the other.
        """
        pairs = self._usage.pairs
        good = pairs["count"][:, :, GOOD].any(1)
        users, addresses = pairs["key"] >> 32, pairs["key"] & LOW
        tried = np.bincount(addresses, minlength=1)
        succeeded = np.bincount(addresses, good) > 0
        trusted = (succeeded | (tried < self._rhythm["users"]))[addresses]
        often = np.isin(users, users[good]) & (pairs["count"][:, PASSWORD, FAILED] >= self._rhythm["fewest"])
        own = pairs["count"][:, PASSWORD, GOOD] > 0
        return np.flatnonzero(pairs["count"][:, PASSWORD].any(1) & (own | trusted & (pairs["known"] | often)))

    @cached_property
    def _here(self) -> Mapping[int, list[bool]]:
        """By address, of each user who succeeded there whether mail is read, too."""
        pairs = self._usage.pairs
        here: dict[int, list[bool]] = defaultdict(list)
        for place in np.flatnonzero(pairs["count"][:, PASSWORD, GOOD] > 0).tolist():
            here[int(pairs["key"][place]) & LOW].append(bool(pairs["reads"][place]))
        return here

    def _grouped(self, places: list[int]) -> Iterable[list[int]]:
        """Pairs of one user that are one device: those of one /64, and where there are many addresses, all those that are used little."""
        networks: dict[str, list[int]] = defaultdict(list)
        for place in places:
            networks[_network(self._address(place), exact=True)].append(place)
        groups = list(networks.values())
        if len(groups) < self._rhythm["roaming"]:
            return groups
        totals = [self._total(group) for group in groups]
        steady = [5 * total >= sum(totals) for total in totals]
        moving = [place for group, stays in zip(groups, steady, strict=True) if not stays for place in group]
        return [*(group for group, stays in zip(groups, steady, strict=True) if stays), *([moving] if moving else [])]

    def _total(self, places: list[int]) -> int:
        return sum(self._totals[place] for place in places)

    @cached_property
    def _totals(self) -> list[int]:
        totals: list[int] = self._usage.pairs["count"][:, PASSWORD].sum(1).tolist()
        return totals

    def _address(self, place: int) -> str:
        return self._usage.addresses.names[int(self._usage.pairs["key"][place]) & LOW]

    # ------------------------------------------------------------------------------------ what they are

    def _device(self, group: list[int]) -> Device:
        group = sorted(group, key=lambda place: -self._total([place]))
        pairs = self._usage.pairs[group]
        traits = {trait for place in group for trait in self._usage.traits[place]}
        failed, good = pairs["count"][:, PASSWORD].sum(0).tolist()
        first, last = int(pairs["first"].min()), pairs["last"].max(0).tolist()
        days = (max(last) - first) // _DAY + 1
        entra = load_table("basic")["client_apps"]["server"]
        addresses = [address for place in group if (address := self._address(place))]
        here = self._here.get(int(pairs["key"][0]) & LOW, []) if len(addresses) == 1 else []
        habits = Habits(
            user=self._usage.users.names[int(pairs["key"][0]) >> 32],
            helos=_sorted(trait.helo for trait in traits),
            apps=_sorted(trait.service_raw for trait in traits if trait.server == entra),
            hours=pairs["hours"].sum(0, dtype=np.int64),
            minutes=pairs["minutes"].sum(0, dtype=np.int64),
            gaps=pairs["gaps"].sum(0, dtype=np.int64),
            days=days,
            sends=bool(pairs["sends"].any()),
            reads=bool(pairs["reads"].any()),
            mailboxes_logged=self._usage.reading,
            networks=len({_network(address) for address in addresses}),
            neighbours=len(here),
            senders=here.count(False),
        )
        guess = likely(habits)
        servers = _sorted(trait.server for trait in traits)
        return Device(
            user=habits.user,
            addresses=tuple(addresses[:MOST_ADDRESSES]),
            networks=habits.networks,
            helos=habits.helos,
            apps=habits.apps,
            servers=servers,
            services=_sorted(trait.service for trait in traits),
            mechanisms=_sorted(trait.mechanism for trait in traits),
            first=_time(first),
            last=_time(max(last)),
            good=good,
            failed=failed,
            per_day=round((good + failed) / days, 1),
            working=last[GOOD] >= last[FAILED],
            kind=guess.kind,
            why=guess.why,
            exchange_online=entra in servers,
            move_to=move_to(guess.kind, exchange_online=entra in servers, reads=habits.reads),
        )


def move_to(kind: str, *, exchange_online: bool, reads: bool = False) -> tuple[str, ...]:
    """Names of the ways out for a kind of device; what reads a mailbox gains nothing from one that only sends."""
    suits = "mail-program" if kind == "unknown" and reads else kind
    return tuple(way.name for way in fitting(suits, exchange_online=exchange_online))


def _network(address: str, *, exact: bool = False) -> str:
    """The /24 or /64; with `exact`, an IPv4 address as it is, for each is another machine, while IPv6 changes its own."""
    if ":" not in address:
        return address if exact else address.rpartition(".")[0]
    try:
        return str(ip_network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address


def _sorted(words: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({word for word in words if word}))


def _time(micros: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
