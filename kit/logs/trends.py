"""What a selection of attempts says in a sentence: how many succeed, what this week is beside the last, when it changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from math import sqrt
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from kit.logs.selection import Ints, Selection, time_of
from kit.logs.view import Filter, View

Floats = npt.NDArray[np.float64]

_Z: Final = 1.959964  # of the normal distribution, two-sided 95 %
_WEEK: Final = timedelta(days=7)
STRONG: Final = 15.0
"""Logarithm of the likelihood ratio from which on a change is told: chance alone gives that less than once in ten thousand series."""
FACTOR: Final = 3.0
"""How many times as many, or as few, a change makes at least."""


class Rate(NamedTuple):
    """A share and the interval that holds it with 95 %."""

    share: float
    low: float
    high: float


class Onset(NamedTuple):
    """When a series changed for good, and how many attempts an hour there were before and after."""

    time: datetime
    before: float
    after: float


def success_rate(selection: Selection) -> Rate | None:
    """The share of attempts that succeeded; None of none.

    The interval is Wilson's (Probable inference, the law of succession, and statistical inference, JASA 22, 1927): it stays within
    0 and 1, and says something of few attempts too.
    """
    if not (total := selection.total):
        return None
    share = selection.by("outcome").get("success", 0) / total
    middle = (share + _Z**2 / (2 * total)) / (1 + _Z**2 / total)
    half = _Z / (1 + _Z**2 / total) * sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2))
    return Rate(share, min(max(middle - half, 0.0), share), max(min(middle + half, 1.0), share))


def last_two_weeks(view: View, wanted: Filter) -> tuple[int, int] | None:
    """Attempts of the last seven days and of the seven before, of whatever is looked at; None where the log does not reach so far back."""
    if (span := view.span) is None:
        return None
    end = min(wanted.until or span[1], span[1]) + timedelta(microseconds=1)
    begin = end - 2 * _WEEK
    if begin < max(span[0], wanted.since or span[0]):
        return None
    weeks = [view.select(replace(wanted, since=end - (n + 1) * _WEEK, until=end - n * _WEEK)).total for n in (0, 1)]
    return weeks[0], weeks[1]


def onset(edges: Ints, counts: Ints) -> Onset | None:
    """The one moment that best parts a series into two of constant rate; None where no moment does so clearly.

    The likelihood of two Poisson rates is held against that of one, for each moment.

    Args:
        edges: of the bars, microseconds since the epoch.
        counts: of attempts, one less than edges.
    """
    number, total = len(counts), int(counts.sum())
    if number < 2 or not total:
        return None
    before = np.cumsum(counts)[:-1].astype(float)
    bars = np.arange(1, number, dtype=float)
    gain = _likelihood(before, bars) + _likelihood(total - before, number - bars) - total * np.log(total / number)
    best = int(np.argmax(gain))
    low, high = before[best] / bars[best], (total - before[best]) / (number - bars[best])
    if gain[best] < STRONG or max(low, high) < FACTOR * min(low, high):
        return None
    hours = float(edges[1] - edges[0]) / 3.6e9
    return Onset(time_of(edges[best + 1]), low / hours, high / hours)


def _likelihood(sums: Floats, bars: Floats) -> Floats:
    return np.where(sums > 0, sums * np.log(np.maximum(sums, 1) / bars), 0.0)
