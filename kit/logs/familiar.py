"""Who is known where: of each user and address, whether the user signed in well from there before it failed."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kit.errors import UsageError
from kit.logs.ledger import MINUTE, Entries, Ints, Mask
from kit.logs.signals import NEVER, among
from kit.model import Cause, Outcome

_MAPPED: Final = bytes(10) + b"\xff\xff"
_TROUBLE: Final = (Cause.BACKEND_UNAVAILABLE.value, Cause.UNREACHABLE.value)

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Kinds:
    """Of each try, what it was: at most one of these is True.

    Attributes:
        good: a success.
        trouble: the server could not tell, or could not ask.
        stopped: the password was right, the second factor missing.
        failed: a password was judged wrong.
        refused: none was asked for.
    """

    good: Mask
    trouble: Mask
    stopped: Mask
    failed: Mask
    refused: Mask

    @classmethod
    def of(cls, entries: Entries) -> Kinds:
        """Those of all tries; what was aborted or malformed is none of them."""
        stopped = entries.is_one_of("cause", (Cause.SECOND_FACTOR.value,))
        trouble = ~stopped & (entries.is_one_of("outcome", (Outcome.SERVER_ERROR.value,)) | entries.is_one_of("cause", _TROUBLE))
        rest = ~stopped & ~trouble
        good, failed, refused = (
            rest & entries.is_one_of("outcome", (outcome.value,)) for outcome in (Outcome.SUCCESS, Outcome.FAILURE, Outcome.REFUSED)
        )
        return cls(good, trouble, stopped, failed, refused)


@dataclass(frozen=True, slots=True)
class Places:
    """Of each address by its number, where it is; 0 for what is no address.

    Attributes:
        network: a number for its /24 or /64.
        provider: a number for a wider block, the customers of one provider.
        own: the reader named it as own.
    """

    network: Ints
    provider: Ints
    own: Mask

    @classmethod
    def of(cls, names: Sequence[str | None], own: Collection[Network], settings: dict[str, float]) -> Places:
        """Those of the addresses by name."""
        packed = np.frombuffer(b"".join(map(_packed, names)), ">u8").reshape(-1, 2).astype(np.uint64)
        high, low = packed[:, 0], packed[:, 1]
        four = (high == 0) & (low >> np.uint64(32) == 0xFFFF)
        four_bits, six_bits = (np.uint64(bits - settings[f"provider-prefix-{name}"]) for name, bits in (("ipv4", 32), ("ipv6", 64)))
        return cls(
            _numbered(np.where(four, low >> np.uint64(8), high)),
            _numbered(np.where(four, low >> four_bits, high >> six_bits)),
            np.array([bool(own) and _is_in(name, own) for name in names], bool),
        )


def networks(texts: Iterable[str]) -> list[Network]:
    """Networks or single addresses as somebody writes them.

    Raises:
        UsageError: one of them is none.
    """
    try:
        return [ip_network(text.strip(), strict=False) for text in texts]
    except ValueError as fault:
        raise UsageError(f"{fault}", where="own networks", next_step="Write them like 198.51.100.0/24 or 2001:db8:7::/48") from fault


def _packed(name: str | None) -> bytes:
    """Sixteen octets, IPv4 as IPv6 maps it; noughts for what is no address."""
    try:
        if name and ":" in name:
            return socket.inet_pton(socket.AF_INET6, name.partition("%")[0])
        return _MAPPED + socket.inet_pton(socket.AF_INET, name or "")
    except (OSError, ValueError):
        return bytes(16)


def _is_in(name: str | None, own: Collection[Network]) -> bool:
    try:
        address = ip_network(name or "")
    except ValueError:
        return False
    return any(address.version == network.version and address.subnet_of(network) for network in own)  # type: ignore[arg-type]


def _numbered(keys: npt.NDArray[Any]) -> Ints:
    """Numbers from 1 for what differs, and 0 for 0."""
    values, place = np.unique(keys, return_inverse=True)
    return np.asarray(place + int(values[0] != 0), np.int32) if len(values) else place


class Familiar:
    """Pairs of user and address.

    Attributes:
        pair: of each try, its pair.
        order: tries by pair, and in a pair by time.
        user: of each pair.
        address: of each pair.
        first_good: of each pair, microseconds; NEVER where there is none.
        last_good: of each pair; 0 where there is none.
        before: of each pair, failures before the first success.
        way_known: of each failure, whether its user signs in somewhere with that service and mechanism, without failures before.
        known: of each pair, whether the user signed in well there, or at the same provider, before it first failed there.
        broken_in: whether it failed again and again, and then succeeded for the first time.
        newcomer: whether the user signed in there, and never before at that provider.
        home: whether a failure there is the user's own: known, or soon right.
        real: of each user, whether it signs in at all.
    """

    def __init__(self, entries: Entries, kinds: Kinds, places: Places, settings: dict[str, float]) -> None:
        key = entries.user.astype(np.int64) << 32 | entries.address
        self.order = np.argsort(key, kind="stable").astype(np.int32)
        key = key[self.order]
        new = np.ones(len(key), bool)
        new[1:] = key[1:] != key[:-1]
        begins = np.flatnonzero(new)
        self._ends = np.append(begins, len(key))
        self.pair = np.empty(len(key), np.int32)
        self.pair[self.order] = np.cumsum(new) - 1
        self.user, self.address = (key[begins] >> 32).astype(np.int32), (key[begins] & 0xFFFFFFFF).astype(np.int32)
        del key, new
        provider = places.provider[self.address]
        block = np.unique(self.user.astype(np.int64) << 32 | provider, return_inverse=True)[1]
        self._block = np.where(provider > 0, block, -1).astype(np.int32)
        del provider, block
        bad = kinds.failed | kinds.refused | kinds.stopped
        time, good = entries.time[self.order], kinds.good[self.order]
        self.first_good = _least(np.where(good, time, NEVER), begins)
        self.last_good = _most(np.where(good, time, 0), begins)
        first_bad = _least(np.where(bad[self.order], time, NEVER), begins)
        del time, good

        earlier = bad & (entries.time < self.first_good[self.pair])
        before = np.bincount(self.pair[earlier], entries.count[earlier], len(begins)).astype(np.int32)
        last_before = np.zeros(len(begins), np.int64)
        np.maximum.at(last_before, self.pair[earlier], entries.time[earlier])
        at_provider = self._by_provider(self.first_good)
        self.newcomer = (self.first_good < NEVER) & (at_provider >= self.first_good) & (self.user > 0) & ~places.own[self.address]
        seen = np.minimum(self.first_good, at_provider)
        seen = np.where(self.user == 0, np.minimum(seen, self._at_address(len(places.network))), seen)
        self.known = (seen < first_bad) | places.own[self.address]
        del seen, at_provider
        late = (self.first_good < NEVER) & ~self.known
        neighbours = _least_by(places.network[self.address], self.first_good, self.user) < self.first_good
        enough = (np.where(neighbours, 4, 1) * settings["failures-before"]).astype(np.float32)
        soon = self.first_good - last_before <= settings["minutes-before"] * MINUTE
        del last_before, neighbours
        self._begin, self._settings = int(entries.time[0]), settings
        self.way_known = self._known_ways(entries, kinds.good & (before == 0)[self.pair], bad)
        known = np.bincount(self.pair[earlier & self.way_known], minlength=len(begins))
        way_known = known / np.maximum(np.bincount(self.pair[earlier], minlength=len(begins)), 1)
        since = np.minimum(first_bad, self._by_provider(first_bad))
        del earlier, known, first_bad
        device = late & self.may_be_a_device(since, self.first_good, before, way_known)
        self.broken_in = late & (before >= enough) & soon & (self.user > 0) & ~device
        self.home = self.known | (late & ((before < enough) | device))
        self.before = before
        self.real = np.bincount(self.user[(self.first_good < NEVER) & ~self.broken_in], minlength=len(entries.names["user"])) > 0
        self.real[0] = False

    def may_be_a_device(self, first_bad: Any, first_good: Any, failures: Any, way_known: Any) -> Any:
        """Whether failures before a first success may be of the user's own device: they come no faster than a mail program looks.

        And its way to sign in is known of the user elsewhere, or it is there from the beginning of the log and may have been before.
        Times in microseconds, one or an array of each.
        """
        early = first_bad - self._begin < self._settings["history-days"] * 1440 * MINUTE
        gentle = first_good // MINUTE - first_bad // MINUTE >= failures * self._settings["device-pause"]
        return gentle & (early | (way_known > 0.5))

    def _known_ways(self, entries: Entries, trusted: Mask, bad: Mask) -> Mask:
        """Of each failure, whether its user signed in with that service and mechanism, in one of the trusted tries."""
        known, rows = np.zeros(len(entries), bool), np.flatnonzero(bad)
        known[rows] = among(_ways(entries, rows), _ways(entries, np.flatnonzero(trusted & (entries.user > 0))))
        return known

    def rows_of(self, pair: int) -> Ints:
        """The tries of a pair, in order of time."""
        return self.order[self._ends[pair] : self._ends[pair + 1]].astype(np.int64)

    def _at_address(self, number: int) -> Ints:
        """Of each pair, the first success of anybody at its address: for tries of which the log does not tell the user."""
        first = np.full(number, NEVER)
        np.minimum.at(first, self.address, self.first_good)
        return np.where(self.address > 0, first[self.address], NEVER)

    def _by_provider(self, times: Ints) -> Ints:
        """Of each pair, the first of the user's times anywhere in the provider's block."""
        first = np.full(len(times) + 1, NEVER)
        np.minimum.at(first, self._block, times)
        first[-1] = NEVER  # of no block
        return first[self._block]


def _ways(entries: Entries, rows: Ints) -> Ints:
    """User, service and mechanism of tries in one number."""
    return entries.user[rows].astype(np.int64) << 32 | entries.service[rows].astype(np.int64) << 16 | entries.mechanism[rows]


def _least_by(groups: Ints, values: Ints, users: npt.NDArray[np.int32]) -> Ints:
    """Of each pair, the least value of another user's pair in its group; NEVER in group 0."""
    order = np.lexsort((values, groups))
    group, value, user = groups[order], values[order], users[order]
    begins = np.flatnonzero(np.diff(group, prepend=-1))
    which = np.cumsum(np.diff(group, prepend=-1) != 0) - 1
    foreign = _least(np.where(user != user[begins][which], value, NEVER), begins)
    found = np.where(user != user[begins][which], value[begins][which], foreign[which])
    result = np.empty_like(values)
    result[order] = np.where(group > 0, found, NEVER)
    return result


def _least(values: Ints, begins: Ints) -> Ints:
    return np.minimum.reduceat(values, begins) if len(begins) else values


def _most(values: Ints, begins: Ints) -> Ints:
    return np.maximum.reduceat(values, begins) if len(begins) else values
