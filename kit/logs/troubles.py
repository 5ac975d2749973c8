"""The server's own trouble: errors that it tells of itself, and times in which it called everybody's password wrong."""

from __future__ import annotations

import numpy as np

from kit.logs.case import Case, Judgement
from kit.logs.ledger import MINUTE, Ints, Mask
from kit.logs.signals import HOUR, NEVER, Groups


def judge_servers(case: Case, mine: Mask) -> Mask:
    """Tells of servers in trouble; returns which failures were the server's.

    Args:
        case: all attempts.
        mine: failures of users where they are known.
    """
    e = case.entries
    rows = np.flatnonzero(case.kinds.trouble)
    groups = Groups(e, rows, e.host[rows], HOUR)
    most = groups.most_within(30 * MINUTE)
    signs_in = np.zeros(len(case.places.network), bool)
    signs_in[case.familiar.address[case.familiar.first_good < NEVER]] = True
    for group in case.worst(groups, most >= case.settings["errors-30min"]):
        of = groups.of(group)
        if signs_in[e.address[of]].any() or not _anybody_well(case, of):
            case.tell(Judgement.TROUBLE, "outage", case.server(of), of, [case.signal("errors-30min", int(most[group]), of)])
    return _waves(case, np.flatnonzero(mine))


def _anybody_well(case: Case, rows: Ints) -> bool:
    """Whether somebody signed in meanwhile. Where nobody met the errors who signs in from there, it was an attack that was too much."""
    begin, end = np.searchsorted(case.entries.time, case.entries.time[rows[[0, -1]]])
    return bool(case.kinds.good[begin : end + 1].any())


def _waves(case: Case, rows: Ints) -> Mask:
    """Times in which many users failed where they are known, nobody succeeded at that service, and all was well after it."""
    e, good, wanted = case.entries, case.kinds.good, case.settings
    hit = np.zeros(len(e), bool)
    if not len(rows):
        return hit
    service = e.host.astype(np.int64) << 16 | e.service
    span = int(e.time[-1] - e.time[0]) // 1000 + 2
    moments = service * span + (e.time - e.time[0]) // 1000
    successes = np.sort(moments[good])
    gap = np.searchsorted(successes, moments[rows], side="right")
    waves = Groups(e, rows, np.unique(service[rows] << 32 | gap, return_inverse=True)[1], NEVER)
    users = waves.different(e.user)
    for wave in case.worst(waves, users >= wanted["all-fail"]):
        tries = waves.of(wave)
        after = successes[np.searchsorted(successes, moments[tries[-1]], side="right") :][:1]
        if not len(after) or after[0] // span != service[tries[0]]:
            continue  # the log ends in it
        nexts = _next_of(case, np.unique(case.familiar.pair[tries]), e.time[0] + int(after[0] % span) * 1000)
        share = float(good[nexts].mean()) if len(nexts) else 0.0
        if share >= wanted["all-recover"] and len(nexts) >= wanted["all-fail"]:
            hit[tries] = True
            signals = [case.signal("all-fail", int(users[wave]), tries), case.signal("all-recover", round(share, 2), nexts)]
            case.tell(Judgement.TROUBLE, "everybody-fails", case.server(tries), tries, signals)
    return hit


def _next_of(case: Case, pairs: Ints, when: int) -> Ints:
    """The first try of each pair from that time on."""
    start = int(np.searchsorted(case.entries.time, when))
    later = start + np.flatnonzero(np.isin(case.familiar.pair[start:], pairs))
    return later[np.unique(case.familiar.pair[later], return_index=True)[1]]
