"""A case: what is known of all attempts, what was said of them, and how a verdict is put into words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from ipaddress import ip_network
from typing import Any, Final

import numpy as np

from kit.knowledge.load import load_table
from kit.logs.familiar import Familiar, Kinds, Network, Places
from kit.logs.ledger import Entries, Ints, Mask
from kit.logs.signals import DAY, HOUR, NEVER, Groups, Line, Signal, among, different_by, words_of

MOST: Final = 1000
"""Verdicts of one sort; of more, those with the fewest tries are let go."""
MOST_ADDRESSES: Final = 1 << 14
NAME_LIMIT: Final = 300
_RECENT: Final = 30 * DAY
_MANY: Final = 500  # rows from which numpy counts faster than a Counter


class Judgement(StrEnum):
    """What may be said of a subject, the worst first."""

    COMPROMISE = "possible-compromise"
    ATTACK = "likely-attack"
    TROUBLE = "backend-trouble"
    STALE = "stale-client"
    UNDECIDED = "not-enough-data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is likely, of whom, and what it rests on.

    Attributes:
        subject: `user:…`, `address:…`, `network:…` or `server:…`.
        kind: of an attack or of trouble; None for the others.
        words: what it is, in plain words.
        tries: how many it is about.
        first: of these, UTC.
        last: of these, UTC.
        next_step: what to do.
        addresses: where an attack came from, without those that signed anybody in within 30 days; at most MOST_ADDRESSES.
        shared: whether it came through an address that others use well.
    """

    subject: str
    verdict: Judgement
    kind: str | None
    words: str
    signals: tuple[Signal, ...]
    tries: int
    first: datetime
    last: datetime
    next_step: str
    addresses: tuple[str, ...] = ()
    shared: bool = False


class Case:
    """All attempts, with what follows from them for every judgement.

    Attributes:
        entries: in the order of time.
        settings: thresholds by the name of their signal.
        network: of each try, the number of its /24 or /64.
        pause: microseconds of silence after which an episode ends.
        blind: whether there is no success at all, so that nobody can be known.
        verdicts: what was said so far.
        explained: tries of which something was said.
    """

    def __init__(self, entries: Entries, own: Collection[Network], settings: dict[str, float]) -> None:
        self.entries, self.settings = entries, settings
        self.kinds = Kinds.of(entries)
        self.places = Places.of(entries.names["address"], own, settings)
        self.familiar = Familiar(entries, self.kinds, self.places, settings)
        self.network = self.places.network[entries.address]
        self.pause = int(settings["episode-hours"] * HOUR)
        self.blind = not self.kinds.good.any()
        self.verdicts: list[Verdict] = []
        self.explained = np.zeros(len(entries), bool)

    @cached_property
    def device_known(self) -> Mask:
        """Of each failure, whether its user ever signed in that way from that address; where the log does not tell the mechanism, by that service."""
        e = self.entries
        bad, good = np.flatnonzero(self.kinds.failed | self.kinds.refused), np.flatnonzero(self.kinds.good)
        services = [self.familiar.pair[rows].astype(np.int64) << 16 | e.service[rows] for rows in (bad, good)]
        known = np.zeros(len(e), bool)
        known[bad] = (e.mechanism[bad] == 0) & among(services[0], services[1])
        known[bad] |= among(services[0] << 16 | e.mechanism[bad], services[1] << 16 | e.mechanism[good])
        return known

    @cached_property
    def neighbours(self) -> Ints:
        """Of each network, how many users sign in well from there."""
        familiar = self.familiar
        good = np.flatnonzero((familiar.first_good < NEVER) & ~familiar.broken_in & (familiar.user > 0))
        found = different_by(self.places.network[familiar.address[good]], familiar.user[good], int(self.places.network.max()) + 1)
        found[0] = 0
        return found

    @cached_property
    def settled(self) -> Ints:
        """Of each address, the first success of somebody who was not guessed there; NEVER where there is none."""
        familiar = self.familiar
        first = np.full(len(self.places.network), NEVER)
        good = np.flatnonzero(~familiar.broken_in)
        np.minimum.at(first, familiar.address[good], familiar.first_good[good])
        return first

    @cached_property
    def _last_good(self) -> Ints:
        last = np.zeros(len(self.places.network), np.int64)
        np.maximum.at(last, self.familiar.address, self.familiar.last_good)
        return last

    def worst(self, groups: Groups, mask: Mask, most: int = MOST) -> list[int]:
        """The groups of a mask; of too many those with the most tries."""
        chosen = np.flatnonzero(mask)
        found: list[int] = chosen[np.argsort(-groups.tries[chosen], kind="stable")[:most]].tolist()
        return found

    def known_by(self, rows: Ints) -> Ints:
        """Successes of these tries' user before them, where they came from."""
        e, begin = self.entries, rows[0]
        mine = np.flatnonzero(e.user[:begin] == e.user[begin] if e.user[begin] else e.address[:begin] == e.address[begin])
        earlier = mine[self.kinds.good[mine]]
        providers = np.unique(self.places.provider[e.address[rows]])
        near = np.isin(self.places.provider[e.address[earlier]], providers[providers > 0]) | np.isin(e.address[earlier], e.address[rows])
        return earlier[near]

    # ------------------------------------------------------------------------------------------ saying it

    def signal(self, name: str, value: float, rows: Ints) -> Signal:
        """What was counted, with the first line of these, one of the middle, and the last."""
        e = self.entries
        some = [rows[place] for place in sorted({0, len(rows) // 2, len(rows) - 1})] if len(rows) else []
        lines = tuple(Line(e.names["file"][e.file[row]], int(e.line[row]), int(e.offset[row])) for row in some)
        return Signal(name=name, value=value, threshold=self.settings[name], words=words_of(name), lines=lines)

    def tell(
        self,
        verdict: Judgement,
        entry: str,
        subject: str,
        rows: Ints,
        signals: list[Signal],
        *,
        shared: bool = False,
        good: Ints | None = None,
    ) -> None:
        """A verdict about these tries.

        Args:
            verdict: which.
            entry: of the kinds in the knowledge table.
            subject: of whom.
            rows: the tries, in order of time.
            signals: what was counted.
            shared: whether it came through an address that others use well.
            good: successes of the same user there, before.
        """
        kinds = load_table("verdicts")["kinds"]
        advice = kinds["shared" if shared else entry]
        first, last = (_time(self.entries.time[rows[place]]) for place in (0, -1))
        what, _, name = subject.partition(":")
        self.explained[rows] = True
        self.verdicts.append(
            Verdict(
                subject=_bounded(subject),
                verdict=verdict,
                kind=entry if verdict in (Judgement.ATTACK, Judgement.TROUBLE) else None,
                words=f"{kinds[entry]['words']}; {advice['words']}" if shared else advice["words"],
                signals=tuple(signals),
                tries=int(self.entries.count[rows].sum()),
                first=first,
                last=last,
                next_step=advice["next_step"].format(
                    users=_bounded(name) if what == "user" else self._some("user", rows, "whoever was tried"),
                    where=self._where(verdict, what, name, rows),
                    way=self._way(rows),
                    since=f"{first:%Y-%m-%d %H:%M} UTC",
                    last=f"{last:%Y-%m-%d %H:%M} UTC",
                    good=f"{_time(self.entries.time[good[-1]]):%Y-%m-%d %H:%M} UTC"
                    if good is not None and len(good)
                    else "not in these logs",
                ),
                addresses=self._strange_addresses(rows) if verdict is Judgement.ATTACK and not shared else (),
                shared=shared,
            )
        )

    def name(self, field: str, row: int) -> str:
        """What that try has there."""
        return str(self.entries.names[field][getattr(self.entries, field)[row]])

    def server(self, rows: Ints) -> str:
        """The subject for what happens to the server of these."""
        return f"server:{self.entries.names['host'][self.entries.host[rows[0]]] or 'unknown'}"

    def network_at(self, row: int) -> str:
        """The /24 or /64 that a try came from."""
        address = self.name("address", row)
        return str(ip_network(f"{address.partition('%')[0]}/{64 if ':' in address else 24}", strict=False))

    def _where(self, verdict: Judgement, what: str, name: str, rows: Ints) -> str:
        if what == "user":
            return self._some("address", rows, "where it comes from")
        if verdict is Judgement.ATTACK and what != "address":
            number = len(np.unique(self.entries.address[rows]))
            return f"the {number:,} addresses" + (f" seen in {name}" if what == "network" else "") + " (--block FILE lists them)"
        return _bounded(name)

    def _strange_addresses(self, rows: Ints) -> tuple[str, ...]:
        used = np.unique(self.entries.address[rows])
        used = used[(used > 0) & (self._last_good[used] < self.entries.time[-1] - _RECENT)]
        return tuple(sorted(str(self.entries.names["address"][number]) for number in used[:MOST_ADDRESSES].tolist()))

    def _some(self, field: str, rows: Ints, nobody: str) -> str:
        """Their names, three of more: those with the most rows."""
        values = getattr(self.entries, field)[rows]
        if len(values) < _MANY:
            counts = Counter(values.tolist())
        else:
            counts = Counter(dict(zip(*(part.tolist() for part in np.unique(values, return_counts=True)), strict=True)))
        del counts[0]
        top = sorted((-number, _bounded(str(self.entries.names[field][value]))) for value, number in counts.most_common(3))
        more = f" and {len(counts) - 3:,} more" if len(counts) > 3 else ""
        return ", ".join(name for _, name in top) + more or nobody

    def _way(self, rows: Ints) -> str:
        words = (self._some("service", rows, ""), self._some("mechanism", rows, ""))
        return " with ".join(word for word in words if word) or "the log does not tell how"


def hours_of(groups: Groups, group: int) -> float:
    """From its first try to its last."""
    return round(int(groups.last[group] - groups.first[group]) / HOUR, 1)


def _bounded(text: str) -> str:
    return text if len(text) <= NAME_LIMIT else text[:NAME_LIMIT] + "…"


def _time(micros: Any) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(micros))
