"""What is said of a selection: shares with their intervals, weeks side by side, and when a series changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.logs.trends import last_two_weeks, onset, success_rate
from kit.logs.view import Filter, View
from kit.model import Attempt, Cause, Outcome
from tests.widgets.made_logs import make_log

START = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = 3_600_000_000
FIRST = int(START.timestamp()) * 10**6


def view_of(*attempts: tuple[float, Outcome], count: int = 1) -> View:
    """Attempts at days after START."""
    return View(
        make_log(
            [Attempt(time=START + timedelta(days=day), outcome=o, cause=Cause.NONE, client_ip=None, count=count) for day, o in attempts]
        ).table
    )


@given(st.integers(1, 40), st.integers(0, 40))
def test_the_interval_is_wilsons(total, good):
    """Its ends are where the score test's statistic is just 1.96: (p - share) / sqrt(p (1 - p) / n)."""
    good = min(good, total)
    rate = success_rate(view_of(*[(0, Outcome.SUCCESS)] * good, *[(0, Outcome.FAILURE)] * (total - good)).select(Filter()))
    assert rate.share == good / total
    assert 0 <= rate.low <= rate.share <= rate.high <= 1
    for end in (rate.low, rate.high):
        if 0 < end < 1:
            assert abs(end - rate.share) / (end * (1 - end) / total) ** 0.5 == pytest.approx(1.959964, abs=1e-5)


def test_of_ten_of_ten_not_all_is_certain():
    """Ten successes in a row happen to a server with nine in ten good in a third of all cases: the interval must hold 0.9."""
    assert comb(10, 10) * 0.9**10 > 0.3
    rate = success_rate(view_of(*[(0, Outcome.SUCCESS)] * 10).select(Filter()))
    assert rate.low < 0.9 < rate.high == 1


def test_of_nothing_there_is_no_share():
    assert success_rate(view_of().select(Filter())) is None


def test_two_weeks_side_by_side():
    view = view_of((0, Outcome.FAILURE), *[(3, Outcome.FAILURE)] * 2, *[(10, Outcome.FAILURE)] * 5, (14, Outcome.FAILURE), count=2)
    # The last attempt is of day 14: the last week begins just behind day 7, the one before just behind day 0.
    assert last_two_weeks(view, Filter()) == (12, 4)
    assert last_two_weeks(view, Filter(only={"outcome": ("success",)})) == (0, 0)
    assert last_two_weeks(view, Filter(until=START + timedelta(days=13))) is None, "the log begins later than the week before"
    assert last_two_weeks(view_of((0, Outcome.FAILURE), (3, Outcome.FAILURE)), Filter()) is None


def edges(number: int) -> np.ndarray:
    return FIRST + HOUR * np.arange(number + 1)


def test_a_change_is_found_where_it_is():
    counts = np.array([2] * 50 + [20] * 30)
    found = onset(edges(80), counts)
    assert found == (START + timedelta(hours=50), 2.0, 20.0)
    assert onset(edges(80), counts[::-1]) == (START + timedelta(hours=30), 20.0, 2.0)


def test_from_nothing_to_something_is_a_change_too():
    assert onset(edges(48), np.array([0] * 24 + [5] * 24)) == (START + timedelta(hours=24), 0.0, 5.0)


@pytest.mark.parametrize("counts", [[], [7], [0, 0], [5] * 100, [1, 0, 2, 1] * 20, [10] * 40 + [15] * 40])
def test_no_change_is_made_up(counts):
    """The last: half as many again is a change, but none that is worth a sentence."""
    assert onset(edges(len(counts)), np.array(counts, int)) is None


def test_chance_alone_makes_no_change():
    """A thousand series of one rate: not one is said to change."""
    dice = np.random.default_rng(7)
    assert not any(onset(edges(100), dice.poisson(rate, 100)) for rate in (0.1, 1, 10) for _ in range(333))
