"""Devices that go on failing: with an old password where their user is known, or where they never worked and the neighbours do."""

from __future__ import annotations

import numpy as np

from kit.logs.case import Case, Judgement, hours_of
from kit.logs.ledger import MINUTE, Ints, Mask
from kit.logs.signals import HOUR, Groups, Signal, different_by


def judge_devices(case: Case, mine: Mask, left: Mask) -> None:
    """Tells of devices; the tries of those that never worked are taken from `left`.

    Args:
        case: all attempts.
        mine: failures of users where they are known.
        left: other failures.
    """
    _known(case, mine)
    _among_neighbours(case, left)
    _on_the_move(case, left)


def _known(case: Case, mine: Mask) -> None:
    e, wanted = case.entries, case.settings
    rows = np.flatnonzero(mine)
    # Of a device whose user the log does not tell, the address must do.
    groups = Groups(e, rows, np.where(e.user[rows] > 0, e.user[rows], -e.address[rows].astype(np.int64)), case.pause)
    run, steady = _longest_run(case, groups), _steady(case, groups)
    stale = _long(case, groups) & (steady | (run >= wanted["run"]))
    for group in case.worst(groups, stale):
        of = groups.of(group)
        before = case.known_by(of)
        signals = [case.signal("known-before", len(before), before), *_length(case, groups, group, of)]
        if run[group] >= wanted["run"]:
            signals.append(case.signal("run", int(run[group]), of))
        if steady[group]:
            signals += _steadiness(case, groups, group, of)
        case.tell(Judgement.STALE, "stale-client", _subject(case, of), of, signals, good=before)
    open_ones = ~stale & (groups.tries >= 2 * wanted["undecided"])
    for group in case.worst(groups, open_ones, 100):
        of = groups.of(group)
        signals = [case.signal("undecided", int(groups.tries[group]), of)]
        case.tell(Judgement.UNDECIDED, "not-enough-data", _subject(case, of), of, signals)


def _subject(case: Case, rows: Ints) -> str:
    field = "user" if case.entries.user[rows[0]] else "address"
    return f"{field}:{case.name(field, rows[0])}"


def _longest_run(case: Case, groups: Groups) -> Ints:
    """Of each group, the most failures of one pair without a success of that pair in between, where they took an hour or so."""
    order, pair = case.familiar.order, case.familiar.pair
    successes = np.empty(len(order), np.int32)
    successes[order] = np.cumsum(case.kinds.good[order], dtype=np.int32)
    run = np.unique(pair[groups.rows].astype(np.int64) << 32 | successes[groups.rows], return_inverse=True)[1]
    by_run = np.lexsort((groups.time, run, groups.group))
    group, run, time = groups.group[by_run], run[by_run], groups.time[by_run]
    new = np.ones(len(group), bool)
    new[1:] = (np.diff(group) != 0) | (np.diff(run) != 0)
    begins = np.flatnonzero(new)
    longest = np.zeros(len(groups), np.int64)
    if len(begins):
        took = time[np.append(begins[1:], len(time)) - 1] - time[begins]
        length = np.add.reduceat(groups.count[by_run], begins)
        np.maximum.at(longest, group[begins], np.where(took >= case.settings["stale-hours"] * HOUR, length, 0))
    return longest


def _among_neighbours(case: Case, left: Mask) -> None:
    """One name, one address, and from the addresses beside it others sign in well."""
    e, wanted = case.entries, case.settings
    rows = np.flatnonzero(left & (e.address > 0) & (e.user > 0))
    groups = Groups(e, rows, e.address[rows], case.pause)
    gentle = (groups.most_within(10 * MINUTE) < wanted["tries-10min"]) | (groups.rhythm >= wanted["rhythm"])
    near = case.neighbours[case.places.network[groups.key]]
    for group in case.worst(groups, _long(case, groups) & (groups.different(e.user) == 1) & gentle & (near >= wanted["neighbours"])):
        of = groups.of(group)
        beside = np.flatnonzero(case.kinds.good & (case.network == case.network[of[0]]))
        signals = [case.signal("neighbours", int(near[group]), beside), *_length(case, groups, group, of)]
        left[of] = False
        case.tell(Judgement.STALE, "misconfigured", _subject(case, of), of, signals)


def _on_the_move(case: Case, left: Mask) -> None:
    """A user who signs in elsewhere the same way, from addresses that try nobody else, in one rhythm, and staying a while at each."""
    e, wanted = case.entries, case.settings
    places = np.flatnonzero(left)
    alone = different_by(e.address[places], e.user[places], len(case.places.network)) == 1
    rows = np.flatnonzero(left & alone[e.address] & case.familiar.way_known & case.familiar.real[e.user] & (e.address > 0))
    groups = Groups(e, rows, e.user[rows], case.pause)
    moves = groups.moves(e.address)
    several = (groups.different(e.address) > 1) & (moves <= wanted["moves"])
    for group in case.worst(groups, _long(case, groups) & _steady(case, groups) & several):
        of = groups.of(group)
        signals = [*_length(case, groups, group, of), *_steadiness(case, groups, group, of)]
        signals.append(case.signal("moves", round(float(moves[group]), 2), of))
        left[of] = False
        case.tell(Judgement.STALE, "stale-client", _subject(case, of), of, signals)


def _long(case: Case, groups: Groups) -> Mask:
    enough: Mask = groups.tries >= case.settings["stale-tries"]
    return enough & (groups.last - groups.first >= case.settings["stale-hours"] * HOUR)


def _steady(case: Case, groups: Groups) -> Mask:
    steady: Mask = groups.rhythm >= case.settings["rhythm"]
    return steady & (groups.pause >= case.settings["pause"] * MINUTE)


def _length(case: Case, groups: Groups, group: int, rows: Ints) -> list[Signal]:
    return [case.signal("stale-tries", int(groups.tries[group]), rows), case.signal("stale-hours", hours_of(groups, group), rows)]


def _steadiness(case: Case, groups: Groups, group: int, rows: Ints) -> list[Signal]:
    pause = round(int(groups.pause[group]) / MINUTE, 1)
    return [case.signal("rhythm", round(float(groups.rhythm[group]), 2), rows), case.signal("pause", pause, rows)]
