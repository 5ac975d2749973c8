"""Who still signs in with a password instead of OAuth: each user and device, what it is likely to be, and where it can move to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np

from kit.knowledge.load import load_table
from kit.knowledge.ways_out import Way, ways_out
from kit.logs.clients_report import ClientsReport
from kit.logs.device import MOST_ADDRESSES, Device, Habits, judged
from kit.logs.pairs import LOW
from kit.logs.selection import time_of
from kit.logs.usage import FAILED, GOOD, PASSWORD, Trait, Usage
from kit.logs.view import network_of

_DAY: Final = 86_400_000_000


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
    """What logs and reports of Exchange Online say of passwords.

    Args:
        usage: has taken all tables of the logs.
        report: of the reports; None where there were none.
    """

    def __init__(self, usage: Usage, report: ClientsReport | None = None) -> None:
        self.report = report
        self._usage, self._records = usage, usage.pairs.records
        self._names, self._places = usage.pairs.users, usage.pairs.addresses
        self._users, self._addresses = self._records["key"] >> 32, self._records["key"] & LOW
        self._totals: list[int] = self._records["count"][:, PASSWORD].sum(1).tolist()
        self._rhythm = load_table("basic")["rhythm"]

    @property
    def complete(self) -> bool:
        """Whether these are all; else those that sign in most."""
        return self._usage.pairs.complete

    @property
    def days(self) -> list[Day]:
        """Each day on which somebody tried to sign in."""
        days = []
        for day, count in sorted(self._usage.days.items()):
            password, oauth, other, unknown = count[:, GOOD].tolist()
            days.append(Day(date(1970, 1, 1) + timedelta(days=day), password, oauth, other, unknown, int(count[PASSWORD, FAILED])))
        return days

    @property
    def strangers(self) -> tuple[int, int]:
        """Users and tries that are no devices: guesses, and slips at places where the password never was right."""
        others = self._records[~self._own]
        others = others[others["count"][:, PASSWORD].any(1)]
        return len(np.unique(others["key"] >> 32)), int(others["count"][:, PASSWORD].sum())

    @property
    def not_told(self) -> int:
        """Good sign-ins of which the log does not tell how they were made."""
        return sum(day.unknown for day in self.days)

    @cached_property
    def devices(self) -> list[Device]:
        """Who signs in with a password: of the logs, the busiest first; then of the reports."""
        by_user: dict[int, list[int]] = defaultdict(list)
        for place in np.flatnonzero(self._own).tolist():
            by_user[int(self._users[place])].append(place)
        found = [self._device(group) for places in by_user.values() for group in self._grouped(places)]
        found.sort(key=lambda device: (-device.good - device.failed, device.user, device.addresses))
        return [*found, *(self.report.devices if self.report else ())]

    @property
    def ways(self) -> list[Way]:
        """Ways out that one of the devices can take."""
        wanted = {name for device in self.devices for name in device.move_to}
        return [way for way in ways_out() if way.name in wanted]

    # ------------------------------------------------------------------------------------ whose they are

    @cached_property
    def _own(self) -> Any:
        """Which records are a user's own: they succeeded; or they only fail, often or as accounts that the server knows, at an address
        that does not try one name after the other.
        """
        count, users, addresses = self._records["count"], self._users, self._addresses
        good = count[:, :, GOOD].any(1)
        trusted = ((np.bincount(addresses, good) > 0) | (np.bincount(addresses) < self._rhythm["users"]))[addresses]
        often = np.isin(users, users[good]) & (count[:, PASSWORD, FAILED] >= self._rhythm["fewest"])
        own = (count[:, PASSWORD, GOOD] > 0) | (trusted & (self._records["known"] | often))
        return own & count[:, PASSWORD].any(1)

    @cached_property
    def _here(self) -> Any:
        """By address, how many users succeeded there, and how many of them read no mail there."""
        good = self._records["count"][:, PASSWORD, GOOD] > 0
        size = len(self._places)
        return np.stack([np.bincount(self._addresses[which], minlength=size) for which in (good, good & ~self._records["reads"])], 1)

    def _grouped(self, places: list[int]) -> list[list[int]]:
        """Records of one user that are one device: those of one /64, and where there are many addresses, all those that are used little."""
        networks: dict[str, list[int]] = defaultdict(list)
        for place in places:  # an IPv4 address is another machine each, while IPv6 changes its own
            address = self._address(place)
            networks[_network(address) if ":" in address else address].append(place)
        groups = list(networks.values())
        if len(groups) < self._rhythm["roaming"]:
            return groups
        totals = [sum(self._totals[place] for place in group) for group in groups]
        steady = [group for group, total in zip(groups, totals, strict=True) if 5 * total >= sum(totals)]
        moving = [place for group, total in zip(groups, totals, strict=True) if 5 * total < sum(totals) for place in group]
        return [*steady, moving] if moving else steady

    def _address(self, place: int) -> str:
        return self._places[self._addresses[place]] or ""

    # ------------------------------------------------------------------------------------ what they are

    def _device(self, group: list[int]) -> Device:
        group = sorted(group, key=lambda place: (-self._totals[place], self._address(place)))
        records = self._records[group]
        traits = [trait for each in records["traits"] for trait in each]
        seen = {name: _sorted(getattr(trait, name) for trait in traits) for name in Trait._fields}
        failed, good = records["count"][:, PASSWORD].sum(0).tolist()
        first, last = int(records["first"].min()), records["last"].max(0).tolist()
        days = (max(last) - first) // _DAY + 1
        entra = load_table("basic")["client_apps"]["server"]
        addresses = [address for place in group if (address := self._address(place))]
        neighbours, senders = self._here[self._addresses[group[0]]].tolist() if len(addresses) == 1 else (0, 0)
        device = Device(
            user=str(self._names[self._users[group[0]]]),
            addresses=tuple(addresses[:MOST_ADDRESSES]),
            networks=len({_network(address) for address in addresses}),
            helos=seen["helo"],
            apps=_sorted(trait.service_raw for trait in traits if trait.server == entra),
            servers=seen["server"],
            services=seen["service"],
            mechanisms=seen["mechanism"],
            first=time_of(first),
            last=time_of(max(last)),
            good=good,
            failed=failed,
            per_day=round((good + failed) / days, 1),
            working=last[GOOD] >= last[FAILED],
            exchange_online=entra in seen["server"],
        )
        habits = Habits(
            **{name: records[name].sum(0, dtype=np.int64) for name in ("hours", "minutes", "gaps")},
            sends=bool(records["sends"].any()),
            reads=bool(records["reads"].any()),
            days=days,
            mailboxes_logged=self._usage.reading,
            neighbours=neighbours,
            senders=senders,
        )
        return judged(device, habits)


@lru_cache(1 << 16)
def _network(address: str) -> str:
    """The /24 or /64; IPv4 has no need of a parser."""
    return network_of(address) or address if ":" in address else address.rpartition(".")[0]


def _sorted(words: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({word for word in words if word}))
