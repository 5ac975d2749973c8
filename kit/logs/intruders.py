"""Signs that somebody else has the password: it was right where its owner never was, after failures or amid an attack."""

from __future__ import annotations

import numpy as np

from kit.logs.case import MOST, Case, Judgement
from kit.logs.ledger import MINUTE, Ints, Mask
from kit.logs.signals import DAY, Groups, Signal, among
from kit.logs.strangers import Attack


def judge_intruders(case: Case, attacks: list[Attack], shared: Mask) -> None:
    """Tells of possible compromises.

    Args:
        case: all attempts.
        attacks: that were told.
        shared: of each address, whether others use it well.
    """
    familiar = case.familiar
    for pair in np.flatnonzero(familiar.broken_in)[:MOST].tolist():
        rows = familiar.rows_of(pair)
        before = rows[~case.kinds.good[rows] & (case.entries.time[rows] < familiar.first_good[pair])]
        _after_failures(case, pair, before, int(familiar.before[pair]))
    new = np.flatnonzero(familiar.newcomer & ~familiar.broken_in)
    new = new[~shared[familiar.address[new]]]
    new = _amid(case, attacks, new)
    _from_next_door(case, new)
    _stopped(case)


def _amid(case: Case, attacks: list[Attack], new: Ints) -> Ints:
    """First successes from the networks of an attack while it went on, a day before or after; returns the pairs that are left."""
    if not attacks:
        return new
    familiar = case.familiar
    from_where = np.concatenate([attack.networks for attack in attacks])
    which = np.repeat(np.arange(len(attacks)), [len(attack.networks) for attack in attacks])
    begin, end = (np.array([getattr(attack, name) for attack in attacks])[which] for name in ("begin", "end"))
    mine, first = case.places.network[familiar.address[new]], familiar.first_good[new]
    told = np.zeros(len(new), bool)
    for place in np.flatnonzero(among(mine, from_where) & (mine > 0)).tolist():
        told[place] = ((from_where == mine[place]) & (first[place] >= begin - DAY) & (first[place] <= end + DAY)).any()
    for pair in new[told][:MOST].tolist():
        right = _right(case, pair)
        _tell(case, right, [case.signal("right-amid-attack", int(case.entries.count[right].sum()), right)])
    return new[~told]


def _from_next_door(case: Case, new: Ints) -> None:
    """First successes after failures of the same user from other addresses of the same network, where it has no other users."""
    e, familiar, wanted = case.entries, case.familiar, case.settings
    strange = np.flatnonzero(case.kinds.failed & ~familiar.known[familiar.pair] & (case.network > 0) & (e.user > 0))
    keys = e.user[strange].astype(np.int64) << 32 | case.network[strange]
    mine = familiar.user[new].astype(np.int64) << 32 | case.places.network[familiar.address[new]]
    lonely = case.neighbours[case.places.network[familiar.address[new]]] <= 1
    for place in np.flatnonzero(among(mine, keys) & lonely)[:MOST].tolist():
        rows = strange[keys == mine[place]]
        rows = rows[e.time[rows] < familiar.first_good[new[place]]]
        tries = int(e.count[rows].sum())
        first = int(familiar.first_good[new[place]])
        soon = first - e.time[rows[-1]] <= wanted["minutes-before"] * MINUTE if len(rows) else False
        own = len(rows) and familiar.may_be_a_device(int(e.time[rows[0]]), first, tries, float(familiar.way_known[rows].mean()))
        if tries >= wanted["failures-before"] and soon and not own:
            _after_failures(case, int(new[place]), rows, tries)


def _after_failures(case: Case, pair: int, failed: Ints, tries: int) -> None:
    right = _right(case, pair)
    minutes = round(int(case.familiar.first_good[pair] - case.entries.time[failed[-1]]) / MINUTE, 1)
    _tell(case, right, [case.signal("failures-before", tries, failed), case.signal("minutes-before", minutes, right)])


def _stopped(case: Case) -> None:
    """Right passwords that a second factor stopped, where the user never signed in and did not within a day."""
    e, familiar = case.entries, case.familiar
    rows = np.flatnonzero(case.kinds.stopped & ~familiar.known[familiar.pair] & (e.user > 0))
    rows = rows[np.abs(familiar.first_good[familiar.pair[rows]] - e.time[rows]) > DAY]
    groups = Groups(e, rows, familiar.pair[rows], case.pause)
    for group in case.worst(groups, groups.tries >= case.settings["second-factor"]):
        of = groups.of(group)
        _tell(case, of, [case.signal("second-factor", int(groups.tries[group]), of)])


def _right(case: Case, pair: int) -> Ints:
    rows = case.familiar.rows_of(pair)
    return rows[case.kinds.good[rows]]


def _tell(case: Case, rows: Ints, signals: list[Signal]) -> None:
    case.tell(Judgement.COMPROMISE, "possible-compromise", f"user:{case.name('user', rows[0])}", rows, signals)
