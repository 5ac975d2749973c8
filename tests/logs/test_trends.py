"""What a chart shows, against plain pandas: boolean indexing, floor and groupby."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kit
from kit.logs import trends
from kit.model import Attempt, Cause, Outcome
from tests.widgets.made_logs import make_log

SAMPLES = [f"tests/logs/samples/mail.{form}.log.gz" for form in ("rfc3164", "iso", "5424", "json")]
WIDTHS = ["1s", "1min", "5min", "15min", "1h", "3h", "6h", "12h", "1D"]
CAUSES = [Cause.WRONG_PASSWORD, Cause.UNKNOWN_USER, Cause.TOO_MANY]
USERS = [None, "ann@example.com", "bob@example.com", "Ann@example.com"]
ADDRESSES = [None, "192.0.2.1", "192.0.2.2", "2001:db8::1"]

START = datetime(2026, 10, 20, tzinfo=UTC)
moments = st.timedeltas(timedelta(0), timedelta(days=21)).map(START.__add__)
attempts = st.builds(
    lambda outcome, cause, **rest: Attempt(outcome=outcome, cause=Cause.NONE if outcome is Outcome.SUCCESS else cause, **rest),
    time=moments,
    outcome=st.sampled_from([Outcome.SUCCESS, Outcome.FAILURE, Outcome.SERVER_ERROR]),
    cause=st.sampled_from(CAUSES),
    user=st.sampled_from(USERS),
    client_ip=st.sampled_from(ADDRESSES),
    count=st.integers(1, 5),
)
frames = st.lists(attempts, max_size=30).map(lambda made: make_log(made).frame)


@pytest.fixture(scope="module", params=SAMPLES, ids=lambda path: path.split(".")[1])
def sample(request) -> pd.DataFrame:
    return kit.read_logs(request.param, year=2026).frame


def everything(frame):
    return trends.select(frame)


def plain_trend(frame: pd.DataFrame, width: str) -> dict[tuple[pd.Timestamp, str], int]:
    """The same sums by pandas' own floor and groupby; only what is not nought."""
    sums = frame.assign(cause=frame["cause"].astype(str)).groupby([frame["time"].dt.floor(width), "cause"])["count"].sum()
    return {key: int(value) for key, value in sums.items() if value}


def cells(table: pd.DataFrame) -> dict[tuple[pd.Timestamp, str], int]:
    rows, columns = table.to_numpy().nonzero()
    return {(table.index[row], table.columns[column]): int(table.iat[row, column]) for row, column in zip(rows, columns, strict=True)}


# ------------------------------------------------------------------------------------------------ select


@given(
    frame=frames,
    outcomes=st.sets(st.sampled_from(["success", "failure", "server-error", "aborted"])),
    causes=st.sets(st.sampled_from(["wrong-password", "too-many", "none", "quota"])),
    users=st.sets(st.sampled_from(["ann@example.com", "Ann@example.com", "nobody@example.com"])),
    addresses=st.sets(st.sampled_from(["192.0.2.1", "2001:db8::1", "203.0.113.9"])),
    since=st.none() | moments,
    until=st.none() | moments,
)
def test_select_is_boolean_indexing(frame, outcomes, causes, users, addresses, since, until):
    mask = trends.select(frame, since=since, until=until, outcomes=outcomes, causes=causes, users=users, addresses=addresses)
    wanted = [
        (not outcomes or row.outcome in outcomes)
        and (not causes or row.cause in causes)
        and (not users or row.user in users)
        and (not addresses or row.client_ip in addresses)
        and (since is None or row.time >= since)
        and (until is None or row.time < until)
        for row in frame.itertuples()
    ]
    assert mask.tolist() == wanted


def test_select_on_real_logs(sample):
    user = sample["user"].dropna().iloc[0]
    middle = sample["time"].iloc[len(sample) // 2]
    mask = trends.select(sample, since=middle, outcomes=["failure"], causes=["wrong-password"], users=[user])
    wanted = (
        (sample["time"] >= middle) & (sample["outcome"] == "failure") & (sample["cause"] == "wrong-password") & (sample["user"] == user)
    )
    assert (mask == wanted.to_numpy()).all()


def test_since_is_included_and_until_is_not():
    moment = datetime(2026, 11, 1, tzinfo=UTC)
    frame = make_log([Attempt(time=moment, outcome=Outcome.FAILURE, cause=Cause.CREDENTIALS)]).frame
    assert trends.select(frame, since=moment).tolist() == [True]
    assert trends.select(frame, until=moment).tolist() == [False]


# ------------------------------------------------------------------------------------------------ trend


@given(frame=frames, width=st.sampled_from(WIDTHS[1:]))
def test_every_try_is_in_exactly_one_bin(frame, width):
    failed = trends.select(frame, outcomes=["failure", "server-error"])
    chosen = frame[frame["outcome"] != "success"]
    table = trends.trend(frame, failed, width=width)
    assert cells(table) == plain_trend(chosen, width)
    assert int(table.to_numpy().sum()) == int(chosen["count"].sum())


@pytest.mark.parametrize("width", WIDTHS)
def test_trend_of_real_logs(sample, width):
    assert cells(trends.trend(sample, everything(sample), width=width)) == plain_trend(sample, width)


@given(frame=frames)
def test_bins_follow_one_another_without_a_gap_from_the_first_try_to_the_last(frame):
    table = trends.trend(frame, everything(frame), width="1h")
    if frame.empty:
        assert table.empty
    else:
        first, last = frame["time"].min().floor("1h"), frame["time"].max().floor("1h")
        assert list(table.index) == list(pd.date_range(first, last, freq="1h"))


@given(frame=frames)
def test_columns_are_the_causes_that_occur_the_commonest_first(frame):
    table = trends.trend(frame, everything(frame))
    totals = frame.assign(cause=frame["cause"].astype(str)).groupby("cause")["count"].sum()
    assert set(table.columns) == set(totals.index)
    assert [int(table[cause].sum()) for cause in table] == sorted(totals, reverse=True)


def log_of(*times: datetime) -> pd.DataFrame:
    return make_log([Attempt(time=time, outcome=Outcome.FAILURE, cause=Cause.CREDENTIALS) for time in times]).frame


@given(
    first=moments,
    span=st.timedeltas(timedelta(0), timedelta(days=10_000)),
)
def test_there_are_never_too_many_bars(first, span):
    frame = log_of(first, first + span)
    assert len(trends.trend(frame, everything(frame))) <= trends.MOST_BARS


@pytest.mark.parametrize("width", ["1min", "5min", "15min", "1h", "3h", "6h", "12h", "1D", "7D"])
def test_nor_where_the_first_try_comes_late_in_its_bin(width):
    # 399.9 bins long, and the first try nine tenths into its bin: by the calendar's bins that is 401.
    bin_ = pd.Timedelta(width)
    first = pd.Timestamp("2026-01-01", tz="UTC").floor(width) + 0.9 * bin_
    frame = log_of(first.to_pydatetime(), (first + 399.9 * bin_).to_pydatetime())
    assert len(trends.trend(frame, everything(frame))) <= trends.MOST_BARS


@pytest.mark.parametrize(
    ("span", "width"), [("0s", "1min"), ("6h", "1min"), ("7h", "5min"), ("2D", "15min"), ("16D", "1h"), ("21D", "3h"), ("365D", "1D")]
)
def test_the_bar_is_the_narrowest_that_fits(span, width):
    # With 400 bars at most: 6 hours are 360 minutes, 7 hours 420; 16 days are 384 hours, 21 days 504.
    first = pd.Timestamp("2026-01-01", tz="UTC")
    assert trends.fitting_width(first, first + pd.Timedelta(span)) == width


# ------------------------------------------------------------------------------------------------ who, and totals


@given(frame=frames, column=st.sampled_from(["user", "client_ip"]))
def test_top_is_a_groupby(frame, column):
    table = trends.top(frame, everything(frame), column, most=100)
    other, label = ("client_ip", "addresses") if column == "user" else ("user", "users")
    rows = [row for row in frame.to_dict("records") if isinstance(row[column], str)]
    names = {row[column] for row in rows}
    assert set(table.index) == names
    for name in names:
        own = [row for row in rows if row[column] == name]
        said = table.loc[name]
        assert said["failures"] == sum(row["count"] for row in own if row["outcome"] != "success")
        assert said["successes"] == sum(row["count"] for row in own if row["outcome"] == "success")
        assert said["last"] == max(row["time"] for row in own)
        assert said[label] == len({row[other] for row in own if isinstance(row[other], str)})
    assert table["failures"].tolist() == sorted(table["failures"], reverse=True)
    assert len(trends.top(frame, everything(frame), column, most=1)) == min(1, len(names))


@given(frame=frames, column=st.sampled_from(["user", "client_ip"]), cause=st.sampled_from(["wrong-password", "too-many"]))
def test_top_counts_what_stands_beside_only_for_those_who_are_selected(frame, column, cause):
    mask, good = trends.select(frame, causes=[cause]), trends.select(frame, outcomes=["success"])
    table = trends.top(frame, mask, column, beside=good, most=100)
    rows = frame.to_dict("records")
    selected = [row for row in rows if row["cause"] == cause and isinstance(row[column], str)]
    assert set(table.index) == {row[column] for row in selected}
    for name in table.index:
        assert table.loc[name, "failures"] == sum(row["count"] for row in selected if row[column] == name)
        assert table.loc[name, "successes"] == sum(row["count"] for row in rows if row[column] == name and row["outcome"] == "success")


@given(frame=frames)
def test_totals_by_outcome(frame):
    wanted = dict(Counter(outcome for outcome, count in zip(frame["outcome"], frame["count"], strict=True) for _ in range(count)))
    said = trends.totals(frame, everything(frame))
    assert {name: int(count) for name, count in said.items()} == wanted
    assert said.tolist() == sorted(said, reverse=True)


def test_nothing_is_chosen_from_nothing_and_nothing_is_shown():
    empty = make_log([]).frame
    full = log_of(datetime(2026, 11, 1, tzinfo=UTC))
    for frame, mask in (
        (empty, everything(empty)),
        (full, trends.select(full, causes=["quota"])),
        (full, trends.select(full, users=["x"])),
    ):
        assert mask.tolist() == [False] * len(frame)
        assert trends.trend(frame, mask).empty
        assert trends.trend(frame, mask, width="1h").empty
        assert trends.top(frame, mask, "user").empty
        assert list(trends.top(frame, mask, "client_ip").columns) == ["failures", "successes", "last", "users"]
        assert trends.totals(frame, mask).empty
    assert trends.select(empty, since=datetime(2026, 1, 1, tzinfo=UTC), causes=["quota"], users=["x"]).tolist() == []
