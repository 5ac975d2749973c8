"""Attacks: failures that nothing explains, counted by address, by network, by user and by server."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from kit.logs.case import Case, Judgement
from kit.logs.ledger import MINUTE, Ints, Mask
from kit.logs.signals import DAY, NEVER, Groups, Signal, different_by
from kit.model import Cause

_UNKNOWN: Final = (Cause.UNKNOWN_USER.value,)
_UNTOLD: Final = (Cause.UNKNOWN_USER.value, Cause.CREDENTIALS.value)
_ONCE: Final = 1.2  # tries for each name that still are one each
_PART: Final = 0.2  # of the names tried: what guessing may hit, and what half an hour of a rush holds
_KINDS: Final = ("", "patient", "slow", "brute-force", "spray", "stuffing", "enumeration")
"""Of what fits several, the later; "patient" is slow on few users."""
_WANTED: Final = {
    "enumeration": ("names", "unknown-share", "tries-per-name"),
    "stuffing": ("stuffing-names", "tries-per-name", "stuffing-tries"),
    "spray": ("names", "names-30min", "tries-per-name"),
    "brute-force": ("tries-10min",),
    "slow": ("names",),
    "patient": ("slow-tries",),
}


class Attack(NamedTuple):
    """Where an attack came from, by the numbers of the networks, and when: microseconds."""

    networks: Ints
    begin: int
    end: int


def hammered(case: Case) -> Mask:
    """Failures where their user is known, and that are none of its devices: too fast, and in a way in which the user never signed in.

    Where only the provider is known, it is enough that they are too fast, or that the address tries many others.
    """
    e, familiar, bad = case.entries, case.familiar, case.kinds.failed
    rows = np.flatnonzero(bad & familiar.home[familiar.pair])
    groups = Groups(e, rows, familiar.pair[rows], NEVER)
    fast = np.zeros(len(familiar.user), bool)
    fast[groups.key[groups.most_within(10 * MINUTE) >= case.settings["tries-10min"]]] = True
    there = familiar.first_good < NEVER
    foreign = np.unique(familiar.pair[bad & ~familiar.home[familiar.pair]])
    names = np.bincount(familiar.address[foreign], minlength=len(case.places.network))
    crowded = names[familiar.address] >= case.settings["names"]
    pair = familiar.pair
    found: Mask = (
        bad
        & ~case.places.own[e.address]
        & ((fast[pair] & (~case.familiar.way_known | ~there[pair])) | (crowded[pair] & ~(there[pair] & case.device_known)))
    )
    return found


def judge_strangers(case: Case, left: Mask, odd: Mask) -> tuple[list[Attack], Mask]:
    """Tells of attacks; returns them, and which addresses others use well.

    Args:
        case: all attempts.
        left: failures where their user is unknown.
        odd: where it is known, and signed in in another way only: they count where many come together.
    """
    foreign = ~case.places.own[case.entries.address]
    return _Strangers(case, left & foreign, odd & foreign).judge()


class _Facts:
    """What is counted of each group."""

    def __init__(self, case: Case, groups: Groups, missing: Mask) -> None:
        e = case.entries
        self.names = groups.different(e.user)
        self.tries = groups.tries
        self.each = np.round(groups.tries / np.maximum(self.names, 1), 2)
        self.missing = np.round(groups.share(missing), 2)
        self.missing_names = groups.different(e.user, missing)
        self.in_ten = groups.most_within(10 * MINUTE)
        self.in_thirty = groups.most_within(30 * MINUTE, e.user)
        self.in_a_day = groups.most_within(DAY, e.user)
        groups.forget()

    def value(self, signal: str, group: int) -> float:
        """Of one group, what a signal counts."""
        column: dict[str, npt.NDArray[Any]] = {
            "names": self.names,
            "stuffing-names": self.names,
            "shared-names": self.in_a_day,
            "tries-per-name": self.each,
            "unknown-share": self.missing,
            "tries-10min": self.in_ten,
            "stuffing-tries": self.in_ten,
            "names-30min": self.in_thirty,
            "slow-tries": self.tries,
        }
        found: float = column[signal][group].item()
        return found


class _Strangers:
    def __init__(self, case: Case, left: Mask, odd: Mask) -> None:
        self.case, self.left, self.odd = case, left, odd
        e, real = case.entries, case.familiar.real
        # Where somebody signs in, a name that never does and is refused without a reason is taken for one that does not exist.
        self.missing = e.is_one_of("cause", _UNTOLD if real.any() else _UNKNOWN) & ~real[e.user] & (e.user > 0)
        self.attacks: list[Attack] = []

    def judge(self) -> tuple[list[Attack], Mask]:
        """See `judge_strangers`."""
        explained = self._by_place()
        self._by_user(explained)
        self._by_server(explained)
        return self.attacks, self.shared_at

    def _by_place(self) -> Mask:
        """Judges addresses, and networks of several; returns the tries that are explained by it.

        An address among others of its network that do the same is told by what they do together.
        """
        case, e = self.case, self.case.entries
        rows = np.flatnonzero(self.left & (e.address > 0))
        single = Groups(e, rows, e.address[rows], case.pause)
        facts = _Facts(case, single, self.missing)
        shared = self._shared(single, facts)
        kind = self._kinds_of(single, facts, shared)
        of_row = np.zeros(len(e), np.int8)
        of_single = (kind > 0)[single.group]
        single.forget(all_but_rows=True)
        rows = np.flatnonzero(self.left & (case.network > 0) & ~self.shared_at[e.address])
        several = Groups(e, rows, case.network[rows], case.pause)
        facts_together = _Facts(case, several, self.missing)
        together = self._kinds_of(several, facts_together, np.zeros(len(several), bool))
        together[(several.different(e.address) < 2) | self._has_users()[several.key]] = 0
        of_row[several.rows] = together[several.group]
        beside = of_row[single.rows[single.begins]]
        kind = np.where((kind > 0) & (beside > 0) & ~shared, beside, kind)
        of_row[single.rows[of_single]] = 1
        for group in case.worst(single, kind > 0):
            of = single.of(group)
            # Through an address that others use, one user is what it is about; many are no one's.
            only = shared[group] and facts.names[group] == 1
            subject = f"user:{case.name('user', of[0])}" if only else f"address:{case.name('address', of[0])}"
            self._tell(
                _KINDS[kind[group]],
                subject,
                of,
                self._signals(facts, group, _KINDS[kind[group]], of, shared[group]),
                shared=bool(shared[group]),
            )
        for group in case.worst(several, together > 0):
            of = several.of(group)
            signals = self._signals(facts_together, group, _KINDS[together[group]], of, False)
            self._tell(_KINDS[together[group]], f"network:{case.network_at(of[0])}", of, signals)
        explained: Mask = of_row > 0
        return explained

    def _shared(self, groups: Groups, facts: _Facts) -> Mask:
        """Which addresses others use well: before the tries, or by more users than guessing would hit."""
        case, familiar = self.case, self.case.familiar
        good = (familiar.first_good < NEVER) & ~familiar.broken_in
        users = np.bincount(familiar.address[good], minlength=len(case.places.network))
        users, networks = users[groups.key], case.places.network[groups.key]
        hostile = np.bincount(networks[(users == 0) & (facts.names >= case.settings["names"])], minlength=len(case.neighbours)) > 1
        # A first success among addresses that all try names is the one that fitted, and not a neighbour's.
        fitted = hostile[networks] & (networks > 0) & (users == 1) & (case.settled[groups.key] > groups.first - DAY) & (facts.names > 1)
        shared: Mask = ~fitted & (
            (case.settled[groups.key] < groups.first) | (users > np.maximum(1, _PART * facts.names)) | ((users > 0) & (facts.names == 1))
        )
        self.shared_at = np.zeros(len(case.places.network), bool)
        self.shared_at[groups.key[shared]] = True
        guessed = np.zeros(len(case.places.network), bool)
        guessed[groups.key[~shared & (facts.names >= case.settings["names"])]] = True
        self._intruders = guessed[familiar.address] & familiar.newcomer
        return shared

    def _has_users(self) -> Mask:
        """Of each network, whether somebody signs in from there who was not guessed."""
        case, familiar = self.case, self.case.familiar
        at = np.zeros(int(case.places.network.max()) + 1, bool)
        at[case.places.network[familiar.address[(familiar.first_good < NEVER) & ~familiar.broken_in & ~self._intruders]]] = True
        return at

    def _kinds_of(self, groups: Groups, facts: _Facts, shared: Mask) -> npt.NDArray[np.int8]:
        """The kind of attack that each group is, by its place in _KINDS; 0 where it is none."""
        case, wanted = self.case, self.case.settings
        names, each = facts.names, facts.each
        fast = facts.in_ten >= wanted["tries-10min"]
        rush = facts.in_thirty >= np.maximum(wanted["names-30min"], _PART * names)
        steady = groups.rhythm >= wanted["rhythm"]
        # Where others sign in well, a wrong name now and then is everyday life; where nobody does, nobody can be known.
        crowd = (facts.in_a_day >= wanted["shared-names"]) | ((facts.in_thirty >= wanted["names-30min"]) & (facts.missing >= 0.5))
        many = np.where(shared, crowd, names >= wanted["names"])
        few = each <= wanted["tries-per-name"]
        if case.blind:
            many &= (rush & few) | (facts.missing_names >= wanted["names"])
        once = (names >= wanted["stuffing-names"]) & (each <= _ONCE) & (facts.in_ten >= wanted["stuffing-tries"])
        real = groups.share(case.familiar.real[case.entries.user]) > 0.5
        slowly = groups.pause >= wanted["pause"] * MINUTE
        device = steady & (names == 1) & np.where(real | case.blind, slowly, shared)
        alone = (names < wanted["names"]) & ~device
        odd = real & (groups.share(case.familiar.way_known) < 0.5)
        patient = (names < wanted["names"]) & (groups.tries >= np.where(odd & ~steady, 0.5, 1) * wanted["slow-tries"]) & (odd | ~steady)
        kind = np.zeros(len(groups), np.int8)
        for name, mask in (
            ("patient", patient & ~shared & (not case.blind)),
            ("slow", many),
            ("brute-force", fast & (alone | (many & ~few))),
            ("spray", many & few & rush),
            ("stuffing", many & once & rush),
            ("enumeration", many & few & (facts.missing >= wanted["unknown-share"])),
        ):
            kind[mask] = _KINDS.index(name)
        return kind

    def _signals(self, facts: _Facts, group: int, kind: str, rows: Ints, shared: Any) -> list[Signal]:
        names = ("shared-names" if shared and name == "names" else name for name in _WANTED[kind])
        return [self.case.signal(name, facts.value(name, group), rows) for name in names]

    def _by_user(self, explained: Mask) -> None:
        """Many addresses on one user, each of which tries little else."""
        case, e, wanted = self.case, self.case.entries, self.case.settings
        places = np.flatnonzero(self.left)
        names = different_by(e.address[places], e.user[places], len(case.places.network))
        rows = np.flatnonzero(self.left & ~explained & (e.user > 0) & (e.address > 0) & (names[e.address] <= 2))
        groups = Groups(e, rows, e.user[rows], case.pause)
        day, week = groups.most_within(DAY, e.address), groups.most_within(7 * DAY, e.address)
        for group in case.worst(groups, (day >= wanted["addresses-day"]) | (week >= wanted["addresses-week"])):
            of = groups.of(group)
            counted = (("addresses-day", day), ("addresses-week", week))
            signals = [case.signal(name, int(number[group]), of) for name, number in counted if number[group] >= wanted[name]]
            self._tell("distributed", f"user:{case.name('user', of[0])}", of, signals)

    def _by_server(self, explained: Mask) -> None:
        """A crowd of addresses that nobody signs in from, or not that way, most of them with too little to be told by itself."""
        case, e, wanted = self.case, self.case.entries, self.case.settings
        rows = np.flatnonzero(
            (self.left | self.odd) & (e.address > 0) & ~explained & (~self.shared_at[e.address] | ~case.familiar.way_known)
        )
        groups = Groups(e, rows, e.host[rows], 2 * DAY)
        people = wanted["crowd-share"] * np.count_nonzero(case.familiar.real)
        unnamed = groups.share(e.user == 0) >= 0.5
        for width, signal in ((DAY, "crowd-addresses"), (7 * DAY, "crowd-addresses-week")):
            addresses, names = groups.within(width, e.address), groups.within(width, e.user)
            least = np.where(unnamed, 3, 1)[groups.group] * wanted[signal]
            enough = (addresses >= least) & (unnamed[groups.group] | (names >= max(wanted["crowd-names"], people)))
            found = False
            for group in case.worst(groups, groups.sums(enough) > 0):
                found |= self._crowd(groups, group, enough, width, signal, addresses, names)
            if found:
                return

    def _crowd(self, groups: Groups, group: int, enough: Mask, width: int, signal: str, addresses: Ints, names: Ints) -> bool:
        """Tells of one, of the time in which it was there."""
        case, e = self.case, self.case.entries
        mine = groups.group == group
        ends = groups.time[mine & enough]
        mine &= (groups.time > ends[0] - width) & (groups.time <= ends[-1])
        of = groups.rows[mine]
        networks = np.unique(case.network[of])
        if len(networks) < 2 and not self._has_users()[networks[0]]:
            return False  # the network is told already, or too little
        one = Groups(e, of, np.zeros(len(of), np.int8), NEVER)
        facts = _Facts(case, one, self.missing)
        signals = [case.signal(signal, int(addresses[mine].max()), of), case.signal("crowd-names", int(names[mine].max()), of)]
        signals += [case.signal(name, facts.value(name, 0), of) for name in ("tries-per-name", "unknown-share")]
        if facts.missing[0] >= case.settings["unknown-share"]:
            kind = "enumeration"
        else:
            kind = "stuffing" if facts.each[0] <= _ONCE and width == DAY else "distributed"
        self._tell(kind, case.server(of), of, signals)
        return True

    def _tell(self, kind: str, subject: str, rows: Ints, signals: list[Signal], *, shared: bool = False) -> None:
        case = self.case
        if not shared:
            begin, end = case.entries.time[rows[[0, -1]]].tolist()
            self.attacks.append(Attack(np.unique(case.network[rows]), begin, end))
        case.tell(Judgement.ATTACK, "slow" if kind == "patient" else kind, subject, rows, signals, shared=shared)
