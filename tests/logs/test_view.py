"""What the view counts is what a plain loop over the attempts counts."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.logs import view as view_module
from kit.logs.selection import edges_between
from kit.logs.table import SCHEMA
from kit.logs.view import Filter, View, domain_of, network_of

START = datetime(2026, 10, 24, 20, 0, tzinfo=UTC)
ROW = st.fixed_dictionaries(
    {
        "time": st.integers(0, 200_000_000).map(lambda ms: START + timedelta(milliseconds=ms)),
        "outcome": st.sampled_from(["success", "failure", "refused"]),
        "cause": st.sampled_from(["none", "credentials", "wrong-password"]),
        "service": st.sampled_from([None, "smtp", "imap"]),
        "mechanism": st.sampled_from([None, "PLAIN", "LOGIN"]),
        "server": st.sampled_from(["postfix", "dovecot"]),
        "host": st.sampled_from([None, "mx1", "mx2"]),
        "user": st.sampled_from([None, "ann@a.test", "ben@A.test", "cal@b.test", "dan"]),
        "client_ip": st.sampled_from([None, "192.0.2.1", "192.0.2.2", "198.51.100.1", "2001:db8::1", "2001:db8::2", "local"]),
        "count": st.sampled_from([1, 1, 1, 3]),
    }
)
FILTER = st.builds(
    lambda a, b, only: Filter(since=a, until=b, only=only),
    st.none() | st.integers(0, 200_000).map(lambda s: START + timedelta(seconds=s)),
    st.none() | st.integers(0, 200_000).map(lambda s: START + timedelta(seconds=s)),
    st.fixed_dictionaries(
        {},
        optional={
            "outcome": st.sampled_from([("failure",), ("failure", "refused"), ("nothing",)]),
            "cause": st.just(("credentials",)),
            "mechanism": st.just(("LOGIN",)),
            "host": st.just(("mx1",)),
            "user": st.sampled_from([("ann@a.test",), ("ann@a.test", "dan")]),
            "client_ip": st.just(("192.0.2.1", "2001:db8::1")),
            "domain": st.just(("a.test",)),
            "network": st.just(("192.0.2.0/24",)),
        },
    ),
)


def table_of(rows):
    return pa.Table.from_pylist(
        [dict.fromkeys(SCHEMA.names) | row | {"file": "f", "line": i, "offset": i} for i, row in enumerate(rows)], SCHEMA
    )


def value(row, column):
    base, function = view_module.DERIVED.get(column, (column, None))
    found = row[base]
    return function(found) if function and found is not None else found


def fits(row, wanted):
    if (wanted.since and row["time"] < wanted.since) or (wanted.until and row["time"] >= wanted.until):
        return False
    return all(value(row, column) in values for column, values in wanted.only.items())


def counted(rows, column):
    counts = Counter()
    for row in rows:
        counts[value(row, column)] += row["count"]
    return dict(counts)


@settings(max_examples=300, deadline=None)
@given(st.lists(ROW, max_size=40), FILTER, st.sampled_from([1, 4096]))
def test_every_count_is_that_of_a_plain_loop(rows, wanted, most_kinds):
    view_module.MOST_KINDS, before = most_kinds, view_module.MOST_KINDS
    try:
        view = View(table_of(rows))
    finally:
        view_module.MOST_KINDS = before
    selection, mine = view.select(wanted), [row for row in rows if fits(row, wanted)]
    assert selection.total == sum(row["count"] for row in mine)
    for column in ("outcome", "cause", "service", "mechanism", "server", "host", "user", "client_ip", "domain", "network"):
        assert selection.by(column) == counted(mine, column)
    assert selection.span == ((min(r["time"] for r in mine), max(r["time"] for r in mine)) if mine else None)
    if not mine:
        return
    edges = edges_between(*selection.span)
    bars = selection.over_time("cause", edges)
    for cause, counts in bars.items():
        for i, count in enumerate(counts):
            low, high = (START.fromtimestamp(edges[i + k] / 1e6, UTC) for k in (0, 1))
            assert count == sum(r["count"] for r in mine if r["cause"] == cause and low <= r["time"] < high)
    assert sum(int(counts.sum()) for counts in bars.values()) == selection.total
    berlin = ZoneInfo("Europe/Berlin")  # summer time ends in these days: an hour comes twice
    hours = np.zeros((7, 24), int)
    for row in mine:
        local = row["time"].astimezone(berlin)
        hours[local.weekday(), local.hour] += row["count"]
    assert selection.by_hour(berlin).tolist() == hours.tolist()


@settings(max_examples=200, deadline=None)
@given(st.lists(ROW, max_size=40), FILTER, st.sampled_from(["user", "client_ip", "domain", "network"]))
def test_who_stands_out(rows, wanted, column):
    view = View(table_of(rows))
    everything = view.select(wanted.narrowed("outcome"))
    failures = view.select(wanted.narrowed("outcome", "failure", "refused"))
    mine = [row for row in rows if fits(row, wanted.narrowed("outcome", "failure", "refused"))]
    beside = [row for row in rows if fits(row, wanted.narrowed("outcome")) and row["outcome"] == "success"]
    other = "client_ip" if column in ("user", "domain") else "user"
    expected = {}
    for name in {value(row, column) for row in mine} - {None}:
        its = [row for row in mine if value(row, column) == name]
        expected[name] = (
            sum(row["count"] for row in its),
            sum(row["count"] for row in beside if value(row, column) == name),
            len({row[other] for row in its} - {None}),
            max(row["time"] for row in its),
        )
    found = failures.top(column, 100, beside=everything)
    assert {name: rest for name, *rest in found} == {name: list(rest) for name, rest in expected.items()}
    assert [f.failed for f in found] == sorted((f.failed for f in found), reverse=True)
    assert failures.top(column, 2, beside=everything) == found[:2]


@given(st.lists(ROW, min_size=1, max_size=40), FILTER, st.integers(1, 10), st.integers(0, 10))
def test_rows_come_latest_first(rows, wanted, most, skip):
    places = View(table_of(rows)).select(wanted).rows(most, skip=skip).tolist()
    expected = sorted((i for i, row in enumerate(rows) if fits(row, wanted)), key=lambda i: (rows[i]["time"], i), reverse=True)
    assert places == expected[skip : skip + most]


def test_nothing_at_all():
    view = View(SCHEMA.empty_table())
    assert (view.span, view.values("user"), view.select(Filter()).total, view.select(Filter()).top("user", 5)) == (None, [], 0, [])
    assert view.select(Filter(only={"user": ("x",)})).rows(5).tolist() == []


@pytest.mark.parametrize(
    ("minutes", "bars", "width"),
    [
        (0, 1, 60),
        (239, 240, 60),  # 20:00 to 23:59, with both ends
        (240, 49, 300),
        (60 * 24 * 90, 181, 43_200),  # 20:00 lies in the bar from 12:00: 180 whole bars and the one that is begun
    ],
)
def test_bars_are_the_narrowest_that_are_not_too_many(minutes, bars, width):
    edges = edges_between(START, START + timedelta(minutes=minutes))
    assert (len(edges) - 1, int(edges[1] - edges[0]) // 10**6) == (bars, width)


def test_a_bar_of_a_day_begins_at_midnight_where_the_reader_is():
    berlin = ZoneInfo("Europe/Berlin")
    edges = edges_between(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC), berlin)
    assert datetime.fromtimestamp(edges[0] / 1e6, berlin) == datetime(2026, 1, 1, tzinfo=berlin)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("local", None),
        ("", None),
    ],
)
def test_networks(address, network):
    assert network_of(address) == network


def test_domains():
    assert [domain_of(user) for user in ("a@B.test", "a@b@c.test", "a", "@")] == ["b.test", "c.test", None, None]
