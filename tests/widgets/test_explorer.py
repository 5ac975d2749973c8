"""The panel of notebook 04, without a browser: the chart is what plain pandas says, and nothing in a log can act."""

from __future__ import annotations

import html
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import numpy as np
import pandas as pd
import pytest

import kit
from kit.logs.authlog import Unknown
from kit.logs.selection import MOST_BARS
from kit.model import Attempt, Cause, Outcome
from kit.widgets.explorer import Explorer
from tests.widgets.made_logs import make_log
from tests.widgets.pages import assert_harmless, shown

START = datetime(2026, 11, 1, 8, 30, tzinfo=UTC)
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "</td></table><iframe src=//evil.test>",
    "&lt;b&gt;twice&lt;/b&gt;",
    "evil\N{RIGHT-TO-LEFT OVERRIDE}moc.elpmaxe@nna",
    "\x1b[31mred\x07\x00\x9b31m",
    "a\u2028b\u2029c\ufeffd",
]


def story() -> list[Attempt]:
    """Two weeks: somebody tries passwords, a phone has an old one, the backend is down for an hour, and ordinary life."""
    dice = Random(4)
    people = [f"{name}@example.com" for name in ("ann", "bob", "cleo", "dora")]
    made = []
    for _ in range(400):
        when = START + timedelta(seconds=dice.randrange(14 * 86400))
        good = dice.random() < 0.7
        cause = Cause.NONE if good else dice.choice([Cause.WRONG_PASSWORD, Cause.UNKNOWN_USER, Cause.BACKEND_UNAVAILABLE])
        outcome = Outcome.SUCCESS if good else Outcome.SERVER_ERROR if cause is Cause.BACKEND_UNAVAILABLE else Outcome.FAILURE
        address = f"192.0.2.{dice.randrange(1, 6)}"
        made.append(
            Attempt(time=when, outcome=outcome, cause=cause, user=dice.choice(people), client_ip=address, count=dice.choice([1, 1, 1, 3]))
        )
    return made


@pytest.fixture(scope="module")
def log():
    return make_log(story())


@pytest.fixture
def panel(log):
    return Explorer(log)


def chart(panel) -> dict[str, dict[pd.Timestamp, int]]:
    """What the figure holds: for each visible cause, the tries of each bar that is not nought."""
    drawn = {}
    for trace in panel.figure.data:
        assert len(trace.x) == len(trace.y) <= MOST_BARS
        assert bool(trace.visible) == bool(len(trace.x))
        if trace.visible:
            drawn[trace.name] = {pd.Timestamp(x, tz="UTC"): int(y) for x, y in zip(trace.x, trace.y, strict=True) if y}
    return drawn


def width(panel) -> pd.Timedelta:
    x = [pd.Timestamp(moment) for moment in next(trace.x for trace in panel.figure.data if trace.visible)]
    steps = {b - a for a, b in pairwise(x)}
    assert len(steps) == 1, "bars of one width, without a gap"
    return steps.pop()


def expected(chosen: pd.DataFrame, step: pd.Timedelta) -> dict[str, dict[pd.Timestamp, int]]:
    sums: dict[str, dict[pd.Timestamp, int]] = {}
    for row in chosen.to_dict("records"):
        bars = sums.setdefault(row["cause"], {})
        bars[row["time"].floor(step)] = bars.get(row["time"].floor(step), 0) + row["count"]
    return sums


FAILED = ["failure", "refused", "aborted", "malformed", "server-error"]
CHOICES = {
    "as it opens": ({}, lambda f: f["outcome"] != "success"),
    "everything": ({"outcome": "all"}, lambda f: f["outcome"].notna()),
    "successes": ({"outcome": "success"}, lambda f: f["outcome"] == "success"),
    "one cause": ({"cause": "unknown-user"}, lambda f: f["cause"] == "unknown-user"),
    "one user": ({"user": "ann@example.com"}, lambda f: (f["user"] == "ann@example.com") & (f["outcome"] != "success")),
    "spaces around": ({"user": "  ann@example.com "}, lambda f: (f["user"] == "ann@example.com") & (f["outcome"] != "success")),
    "one address": ({"address": "192.0.2.3", "outcome": "all"}, lambda f: f["client_ip"] == "192.0.2.3"),
    "its last day": (
        {"period": "its last day"},
        lambda f: (f["time"] >= f["time"].max() - timedelta(days=1)) & (f["outcome"] != "success"),
    ),
    "all of them": (
        {"period": "its last 7 days", "outcome": "failure", "cause": "wrong-password", "user": "bob@example.com"},
        lambda f: (
            (f["time"] >= f["time"].max() - timedelta(days=7))
            & (f["outcome"] == "failure")
            & (f["cause"] == "wrong-password")
            & (f["user"] == "bob@example.com")
        ),
    ),
    "a span of one's own": (
        {"period": "from … to", "since": datetime(2026, 11, 5), "until": datetime(2026, 11, 6, 12), "outcome": "all"},  # noqa: DTZ001 - the picker knows no zone
        lambda f: (f["time"] >= pd.Timestamp("2026-11-05", tz="UTC")) & (f["time"] < pd.Timestamp("2026-11-06 12:00", tz="UTC")),
    ),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_the_chart_is_what_pandas_says(panel, log, choice):
    settings, condition = CHOICES[choice]
    for name, value in settings.items():
        getattr(panel, name).value = value
    chosen = log.frame[condition(log.frame)]
    assert 1 < len(chosen) < len(log.frame) or choice == "everything"
    assert chart(panel) == expected(chosen, width(panel))
    assert sorted(panel.selection.rows(len(log.frame)).tolist()) == np.flatnonzero(condition(log.frame)).tolist()
    assert f"{chosen['count'].sum():,} tries" in shown(panel)


def test_show_all_takes_every_filter_off(panel, log):
    before = chart(panel)
    panel.period.value, panel.outcome.value = "its last day", "success"
    panel.user.value, panel.address.value = "ann@example.com", "192.0.2.3"
    assert chart(panel) != before
    panel.reset.click()
    assert chart(panel) == before
    assert (panel.cause.value, panel.user.value, panel.address.value) == ("all", "", "")


def test_a_filter_that_fits_nothing_says_so(panel):
    panel.user.value = "nobody@example.com"
    assert chart(panel) == {}
    assert "No try fits these filters." in shown(panel)


def test_the_saved_form_of_the_figure_follows(panel):
    """A page that opens later sees what the first one sees."""
    panel.cause.value = "unknown-user"
    saved = panel.figure.get_state()["_widget_data"]
    visible = [trace for trace in saved if trace.get("visible", True) and len(trace["x"])]
    assert [trace["name"] for trace in visible] == ["unknown-user"]


def test_a_colour_keeps_its_meaning(panel):
    def colours():
        return {trace.name: trace.marker.color for trace in panel.figure.data}

    before = colours()
    panel.cause.value = "unknown-user"
    assert colours() == before
    assert len(set(before.values())) == len(before)


WHY, WHO, WHENCE = range(3)


def names(panel, pane) -> dict[str, tuple[int, int]]:
    """Failed and good of each bar of a pane, the first on top."""
    failed, good = panel._sides.figure.data[2 * pane : 2 * pane + 2]
    assert list(failed.y) == list(good.y) == list(range(len(failed.y)))
    assert len(panel._sides.figure.layout[f"yaxis{pane + 1 if pane else ''}"].ticktext) == len(failed.y)
    return dict(zip(panel._sides._names[pane], zip(failed.x, good.x, strict=True), strict=True))


def test_bars_show_successes_beside_failures(panel, log):
    panel.user.value = "ann@example.com"
    own = log.frame[log.frame["user"] == "ann@example.com"]
    good = own["outcome"] == "success"
    assert names(panel, WHO) == {"ann@example.com": (own["count"][~good].sum(), own["count"][good].sum())}
    assert f"{own['client_ip'][~good].nunique()} addresses" in panel._sides.figure.data[2 * WHO].hovertext[0]


@pytest.mark.parametrize("outcome", ["all that failed", "failure", "all"])
def test_tables_follow_the_cause(outcome):
    """One user fails often for one cause, another once for a second: who asks for the second cause sees that one alone."""
    made = [Attempt(time=START, outcome=Outcome.FAILURE, cause=Cause.WRONG_PASSWORD, user="phone", client_ip="192.0.2.1")] * 9
    made += [Attempt(time=START, outcome=Outcome.FAILURE, cause=Cause.PASSWORD_EXPIRED, user="ann", client_ip="192.0.2.2")]
    made += [Attempt(time=START, outcome=Outcome.SUCCESS, cause=Cause.NONE, user=user, client_ip="192.0.2.3") for user in ("ann", "bob")]
    panel = Explorer(make_log(made))
    panel.outcome.value, panel.cause.value = outcome, "password-expired"
    assert names(panel, WHO) == {"ann": (1, 1)}
    assert names(panel, WHENCE) == {"192.0.2.2": (1, 0)}


def test_who_never_failed_is_not_among_those_who_fail():
    made = [Attempt(time=START, outcome=Outcome.SUCCESS, cause=Cause.NONE, user="bob", client_ip="192.0.2.3")]
    panel = Explorer(make_log(made))
    assert names(panel, WHO) == {}
    panel.outcome.value = "success"
    assert names(panel, WHO) == {"bob": (0, 1)}


def test_real_logs(tmp_path):
    panel = Explorer(kit.read_logs("tests/logs/samples/mail.iso.log.gz", year=2026))
    frame = kit.read_logs("tests/logs/samples/mail.iso.log.gz", year=2026).frame
    failed = frame[frame["outcome"] != "success"]
    totals = {trace.name: sum(trace.y) for trace in panel.figure.data if trace.visible}
    assert totals == {cause: count for cause, count in failed["cause"].value_counts().items() if count}


# ------------------------------------------------------------------------------------------------ coverage, and what is hostile


def test_coverage_is_said():
    unknown = (Unknown(count=3, example="dovecot: auth: a new wording"),)
    text = shown(Explorer(make_log(story()[:7], unknown=unknown, problems=("mail.log.2.gz: it ends early",))))
    assert "10 lines" in text
    assert "3 lines look like authentication and were not understood" in text
    assert "a new wording" in text
    assert "mail.log.2.gz: it ends early" in text


@pytest.mark.parametrize("words", HOSTILE)
def test_nothing_in_a_log_can_act(words):
    made = [Attempt(time=START, outcome=Outcome.FAILURE, cause=Cause.CREDENTIALS, user=words, client_ip=words, host=words, text=words)]
    panel = Explorer(make_log(made, unknown=(Unknown(count=1, example=words),), problems=(words,)))
    assert_harmless(panel)
    panel.user.value = words
    assert_harmless(panel)
    plain = "".join(c for c in words if c.isprintable())
    assert shown(panel).replace("\N{REPLACEMENT CHARACTER}", "").count(plain) == 2, "example and problem can both be read"
    # plotly.js takes tags in a text for tags, and entities for characters (convertToTspans).
    figure = panel._sides.figure
    for text in (*figure.layout.yaxis2.ticktext, *figure.layout.yaxis3.ticktext, *figure.data[2].hovertext, *figure.data[4].hovertext):
        told = text.partition("<br>")[0]
        assert "<" not in told
        assert html.unescape(told).replace("\N{REPLACEMENT CHARACTER}", "").rstrip("…") in plain
    [(label, place)] = panel.tries.list.options
    assert label.isprintable()
    panel.tries.list.value = place
    assert_harmless(panel)
    assert plain in shown(panel.tries).replace("\N{REPLACEMENT CHARACTER}", "")


@pytest.mark.parametrize("words", HOSTILE)
def test_nor_from_a_file(tmp_path, words):
    name = words.replace("\x00", "").replace("\u2028", "").replace("\u2029", "")
    stamp = "2026-11-02T03:04:05.678901+00:00 mx"
    (tmp_path / "mail.log").write_text(
        f"{stamp} postfix/smtpd[77]: warning: unknown[192.0.2.7]: SASL LOGIN authentication failed: {name}, sasl_username={name}\n"
        f"{stamp} dovecot: imap-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<{name}>, method=PLAIN, rip=192.0.2.8\n"
        f"{stamp} dovecot: auth: Error: SASL authentication {name} login failed in a way that nobody has seen\n",
        "utf-8",
    )
    panel = Explorer(kit.read_logs(tmp_path / "mail.log"))
    assert_harmless(panel)
    assert "3 lines" in shown(panel)


def test_a_log_in_which_nobody_signs_in(tmp_path):
    (tmp_path / "mail.log").write_text("2026-11-02T03:04:05.678901+00:00 mx postfix/qmgr[9]: 4XyZ: removed\n")
    panel = Explorer(kit.read_logs(tmp_path / "mail.log"))
    assert chart(panel) == {}
    for period in panel.period.options:
        panel.period.value = period
    assert "No try fits these filters." in shown(panel)


def test_a_cell_that_is_run_again_goes_on_where_it_was():
    log = kit.read_logs("tests/logs/samples/mail.iso.log.gz", year=2026)
    first = Explorer(log)
    first.cause.value = "unknown-user"
    first.panes[WHO].value = "domain"
    again = Explorer(log)
    assert (again.cause.value, again.panes[WHO].value, again.selection.total) == ("unknown-user", "domain", first.selection.total)
    assert Explorer(kit.read_logs("data")).cause.value == "all", "another log is another matter"


def test_the_chart_has_the_colours_of_what_is_told_apart(panel, log):
    panel.outcome.value = "all"
    panel.panes[WHY].value = "outcome"
    assert {name: sum(bars.values()) for name, bars in chart(panel).items()} == log.frame.groupby("outcome", observed=True)[
        "count"
    ].sum().to_dict()
    panel.panes[WHY].value = "mechanism"
    assert {name: sum(bars.values()) for name, bars in chart(panel).items()} == {"not known": log.frame["count"].sum()}
    panel.panes[WHY].value = "cause"
    assert set(chart(panel)) == set(log.frame["cause"].unique())
