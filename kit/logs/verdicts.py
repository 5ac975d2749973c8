"""Is it an attack, somebody's forgotten device, or the server's own trouble? Each verdict with what was counted, and the lines behind it.

    troubles ──► devices ──► strangers ──► intruders ──► what is open

First the server's own trouble, as its failures say nothing about anybody. Then failures are parted. Where a user is known (it signed in
there before it failed) they are the user's own, and only a device that goes on is worth a word. The rest are of strangers, or of devices
that never worked: what neither a rhythm nor a neighbour explains is counted by address, network, user and server. What fits nothing is
said to be open. Thresholds and words are in `kit/knowledge/verdicts.toml`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import pyarrow as pa

from kit.logs.case import Case, Judgement, Verdict
from kit.logs.devices import judge_devices
from kit.logs.familiar import networks
from kit.logs.intruders import judge_intruders
from kit.logs.ledger import Ledger, Mask
from kit.logs.signals import DAY, Groups, thresholds
from kit.logs.strangers import hammered, judge_strangers
from kit.logs.troubles import judge_servers

__all__ = ["Judgement", "Verdict", "judge", "judge_ledger"]

_MOST_OPEN: Final = 100
_ORDER: Final = {judgement: place for place, judgement in enumerate(Judgement)}


def judge(table: pa.Table, *, own: Iterable[str] = (), settings: Mapping[str, float] | None = None) -> list[Verdict]:
    """What a table of attempts (`kit.logs.table.SCHEMA`) shows, the worst first; empty where there is nothing to tell.

    Args:
        table: attempts in any order.
        own: networks and addresses of the reader's own: nobody there is called an attacker.
        settings: thresholds by the name of their signal, where they are not to be those of the knowledge table.

    Raises:
        UsageError: there is no such signal, or no such network.
    """
    ledger = Ledger()
    ledger.add(table)
    return judge_ledger(ledger, own=own, settings=settings)


def judge_ledger(ledger: Ledger, *, own: Iterable[str] = (), settings: Mapping[str, float] | None = None) -> list[Verdict]:
    """The same for tables that were added to a ledger one by one."""
    limits, mine = thresholds(settings), networks(own)
    pa.default_memory_pool().release_unused()  # what reading has left
    entries = ledger.entries()
    if not len(entries):
        return []
    case = Case(entries, mine, limits)
    _judge(case)
    return sorted(case.verdicts, key=lambda verdict: (_ORDER[verdict.verdict], -verdict.tries, verdict.subject, verdict.first))


def _judge(case: Case) -> None:
    kinds, familiar, e = case.kinds, case.familiar, case.entries
    pair = familiar.pair
    home = familiar.home[pair] & ~hammered(case)
    mine = home & (kinds.failed | kinds.refused | (kinds.stopped & familiar.known[pair]))
    mine &= ~judge_servers(case, mine & case.device_known)
    # A person who fails some times at a new place, and then gets in, is asked about it, and not called an attacker.
    got_in = familiar.broken_in & (familiar.before < 2 * case.settings["tries-10min"])
    left = kinds.failed & ~home & ~(familiar.broken_in[pair] & (e.time >= familiar.first_good[pair])) & ~got_in[pair]
    judge_devices(case, mine, left)
    odd = kinds.failed & home & ~case.familiar.way_known & (e.user > 0) & ~case.explained
    attacks, shared = judge_strangers(case, left, odd)
    judge_intruders(case, attacks, shared)
    _open(case, left, shared)


def _open(case: Case, left: Mask, shared: Mask) -> None:
    """What has enough failures that somebody would ask, and fits nothing; where others sign in well, within a day."""
    e = case.entries
    for field, mask in (("address", e.address > 0), ("user", (e.address == 0) & (e.user > 0))):
        rows = np.flatnonzero(left & ~case.explained & mask)
        groups = Groups(e, rows, getattr(e, field)[rows], case.pause)
        tries = np.where(shared[groups.key], groups.most_within(DAY), groups.tries) if field == "address" else groups.tries
        for group in case.worst(groups, tries >= case.settings["undecided"], _MOST_OPEN):
            of = groups.of(group)
            signals = [case.signal("undecided", int(groups.tries[group]), of)]
            case.tell(Judgement.UNDECIDED, "not-enough-data", f"{field}:{case.name(field, of[0])}", of, signals)
