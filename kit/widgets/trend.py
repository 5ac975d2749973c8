"""The panel of notebook 04: who is failing, since when and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import cycle
from typing import Any, Final

import ipywidgets as w
import pandas as pd
import plotly.graph_objects as go

from kit.logs import trends
from kit.logs.authlog import AuthLog
from kit.model import Cause, Outcome
from kit.widgets.common import COLOURS, QUIET, STYLE, at_home, escape, table
from kit.widgets.fit import Fit

_ALL: Final = "all"
_FAILED: Final = "all that failed"
_PERIODS: Final = {"the whole log": None, "its last day": timedelta(days=1), "its last 7 days": timedelta(days=7), "from … to": timedelta()}


class TrendPanel(w.VBox):
    """Failures over time by cause, with users and addresses beside them, and filters over all of it.

    Attributes:
        figure: the chart; its bars are exactly what `kit.logs.trends.trend` says for the chosen filters.
        mask: the rows of the log's frame that the filters choose.
    """

    def __init__(self, log: AuthLog) -> None:
        self._log = log
        self._frame = log.frame
        self._hold = False
        self.period = w.Dropdown(description="Period", options=list(_PERIODS))
        self.since = w.NaiveDatetimePicker(description="From (UTC)")
        self.until = w.NaiveDatetimePicker(description="To (UTC)")
        self.outcome = w.Dropdown(description="Outcome", options=[_FAILED, _ALL, *(o.value for o in Outcome)])
        self.cause = w.Dropdown(description="Cause", options=[_ALL, *_present(self._frame["cause"])])
        self.user = w.Combobox(description="User", placeholder="everyone", options=_present(self._frame["user"], 2000))
        self.address = w.Combobox(description="Address", placeholder="any", options=_present(self._frame["client_ip"], 2000))
        self.reset = w.Button(description="Show all", tooltip="Take every filter off")
        self.figure = at_home(_empty_chart(self._causes()))
        self._summary, self._users, self._addresses = w.HTML(), w.HTML(), w.HTML()
        self._filters = (self.period, self.since, self.until, self.outcome, self.cause, self.user, self.address)
        for control in self._filters:
            control.observe(self._changed, "value")
        self.reset.on_click(self._show_all)
        self._place_pickers()
        self.update()
        half = w.Layout(width="50%", padding="0 12px 0 0")
        super().__init__(
            [
                w.HTML(STYLE + _coverage(log)),
                w.HBox([self.period, self.outcome, self.cause], layout=w.Layout(flex_flow="row wrap")),
                w.HBox([self.since, self.until], layout=w.Layout(flex_flow="row wrap")),
                w.HBox([self.user, self.address, self.reset], layout=w.Layout(flex_flow="row wrap")),
                self._summary,
                self.figure,
                Fit(),
                w.HBox([w.VBox([self._users], layout=half), w.VBox([self._addresses], layout=half)]),
            ]
        )

    # ------------------------------------------------------------------------------------ filters

    def update(self) -> None:
        """Brings chart and tables to what the filters say."""
        outcomes = {_ALL: [], _FAILED: [o.value for o in Outcome if o is not Outcome.SUCCESS]}.get(self.outcome.value, [self.outcome.value])
        since, until = self._span()
        users, addresses = ([typed] if (typed := box.value.strip()) else [] for box in (self.user, self.address))
        causes = [] if self.cause.value == _ALL else [self.cause.value]
        select = partial(trends.select, self._frame, since=since, until=until, users=users, addresses=addresses)
        self.mask, good = select(outcomes=outcomes, causes=causes), select(outcomes=[Outcome.SUCCESS.value])
        self._draw(trends.trend(self._frame, self.mask))
        self._summary.value = _totals(trends.totals(self._frame, self.mask))
        self._users.value = _names(trends.top(self._frame, self.mask, "user", beside=good), "User", "addresses")
        self._addresses.value = _names(trends.top(self._frame, self.mask, "client_ip", beside=good), "Address", "users")

    def _span(self) -> tuple[datetime | None, datetime | None]:
        length = _PERIODS[self.period.value]
        if length is None or self._frame.empty:
            return None, None
        if length:
            return self._frame["time"].max() - length, None
        return _utc(self.since.value), _utc(self.until.value)

    def _changed(self, change: Any) -> None:
        if change["owner"] is self.period:
            self._place_pickers()
        if not self._hold:
            self.update()

    def _show_all(self, _: object) -> None:
        self._hold = True
        self.period.value, self.outcome.value, self.cause.value = next(iter(_PERIODS)), _FAILED, _ALL
        self.since.value = self.until.value = None
        self.user.value = self.address.value = ""
        self._hold = False
        self.update()

    def _place_pickers(self) -> None:
        own = _PERIODS[self.period.value] == timedelta()
        self.since.layout.display = self.until.layout.display = "flex" if own else "none"

    # ------------------------------------------------------------------------------------ chart

    def _causes(self) -> list[str]:
        return _present(self._frame["cause"])

    def _draw(self, bars: pd.DataFrame) -> None:
        """One trace a cause, always the same ones, so that a colour keeps its meaning while filters change."""
        # As text: where a trace gets new places, plotly.js looks anew what kind of axis they want, and numbers would make it linear.
        times = [f"{moment:%Y-%m-%d %H:%M:%S}" for moment in bars.index]
        with self.figure.batch_update():
            for trace in self.figure.data:
                present = trace.name in bars
                trace.x = times if present else []
                trace.y = bars[trace.name].tolist() if present else []
                trace.visible = present
        # The saved form of a widget is made once; a page that opens later would see the first state.
        self.figure._repr_mimebundle_()


def _empty_chart(causes: list[str]) -> go.Figure:
    colours = dict(zip((cause for cause in causes if cause != Cause.NONE), cycle(COLOURS), strict=False))
    figure = go.Figure(
        [go.Bar(name=cause, x=[], y=[], marker={"color": colours.get(cause, QUIET), "line": {"width": 0}}) for cause in causes]
    )
    figure.update_layout(
        barmode="stack",
        bargap=0.05,
        height=360,
        legend={"orientation": "h", "y": 1.12},
        showlegend=True,
        yaxis={"title": {"text": "tries", "standoff": 8}},
    )
    figure.update_xaxes(type="date", title={"text": "UTC", "standoff": 8})
    return figure


def _present(column: pd.Series, most: int | None = None) -> list[str]:
    """The values of a column, the commonest first."""
    counts = column.value_counts()
    return [str(value) for value in counts[counts > 0].index[:most]]


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment else None


def _totals(sums: pd.Series) -> str:
    if sums.empty:
        return '<div role="status">No try fits these filters.</div>'
    parts = ", ".join(f"{count:,} {escape(name)}" for name, count in sums.items())
    return f'<div role="status"><span class="kit-big">{int(sums.sum()):,} tries</span> · {parts}</div>'


def _names(names: pd.DataFrame, title: str, others: str) -> str:
    heads = [(title, ""), ("failed", "n"), ("good", "n"), (others, "n"), ("last try (UTC)", "")]
    rows: list[list[object]] = [
        [name, f"{row.failures:,}", f"{row.successes:,}", f"{getattr(row, others):,}", f"{row.last:%d %b %H:%M}"]
        for name, row in zip(names.index, names.itertuples(), strict=True)
    ]
    return table(heads, rows) if rows else f'<div class="kit-note">No {escape(title.lower())} is named in these lines.</div>'


def _coverage(log: AuthLog) -> str:
    """How much of the log was understood, and what was not (law 4)."""
    c = log.coverage
    said = f"{c.lines:,} lines: {c.attempts:,} tries to sign in, told by {c.attempt_lines:,} of them; {c.other:,} about other things"
    if c.undecodable:
        said += f"; {c.undecodable:,} not readable as text"
    note = f'<div class="kit-note">{escape(said)}. {_unknown(log)}{_clock(log)}</div>'
    return note + "".join(f'<div role="alert">Problem: {escape(problem)}</div>' for problem in log.problems)


def _unknown(log: AuthLog) -> str:
    missed = log.coverage.not_understood
    if not missed:
        return "Every line that looks like authentication was understood."
    examples = "".join(f"<li>{each.count:,} × <span class='kit-said'>{escape(each.example)}</span></li>" for each in log.unknown[:10])
    return f"<details><summary>{missed:,} lines look like authentication and were not understood</summary><ul>{examples}</ul></details>"


def _clock(log: AuthLog) -> str:
    items = "".join(f"<li>{escape(anchor)}</li>" for anchor in log.time_anchor)
    return f"<details><summary>Where the years and zones of its times came from</summary><ul>{items}</ul></details>" if items else ""
