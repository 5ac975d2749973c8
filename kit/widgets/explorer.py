"""The panel of notebook 04: who is failing, since when and why. Brush, click or choose, and everything follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import RLock
from typing import Any, Final

import ipywidgets as w
import numpy as np
import pyarrow as pa

from kit.errors import UsageError
from kit.logs.authlog import AuthLog
from kit.logs.blocks import FORMATS, write_blocks
from kit.logs.export import open_export
from kit.logs.places import open_places
from kit.logs.selection import Selection, edges_between
from kit.logs.trends import last_two_weeks, onset, success_rate
from kit.logs.view import Derived, Filter, View
from kit.model import Outcome
from kit.widgets.charts import MOST, NOT_KNOWN, Bar, Sides, TimeChart, colours_of
from kit.widgets.common import STYLE, escape, say
from kit.widgets.coverage import coverage
from kit.widgets.fit import Fit
from kit.widgets.tries import Tries
from kit.widgets.verdicts import Verdicts

_ALL: Final = "all"
_FAILED: Final = "all that failed"
_NOT_GOOD: Final = tuple(o.value for o in Outcome if o is not Outcome.SUCCESS)
_PERIODS: Final = {"the whole log": None, "its last day": timedelta(days=1), "its last 7 days": timedelta(days=7), "from … to": timedelta()}
_PANES: Final = (
    ("Why", {"cause": "cause", "outcome": "outcome", "service": "service", "mechanism": "mechanism", "server": "server", "host": "host"}),
    ("Who", {"user": "user", "domain": "domain"}),
    ("From", {"address": "client_ip", "network": "network"}),
)
_MANY: Final = ("user", "domain", "client_ip", "network", "country", "owner")

_OFFERED: Final = 2000
"""Names that are offered while one types."""

_looked_at: dict[tuple[str, ...], tuple[Filter, tuple[str, ...]]] = {}
"""By the files of a log, what was looked at last: a cell that is run again goes on there."""


class Explorer(w.VBox):
    """Tries over time by cause, beside them who, from where and at which hours; the tries themselves, and their lines.

    Args:
        log: as `kit.read_logs` gives it.
        hidden: its names are pseudonyms: its lines are not looked into, and nobody's address is blocked or placed by them.

    Attributes:
        filter: what is looked at.
        selection: the tries that fit it.
        figure: the chart over time.
    """

    def __init__(self, log: AuthLog, *, hidden: bool = False) -> None:
        self._log, self._hidden, self._hold = log, hidden, False
        # Lab lets a thread of its own handle what the page says, while another may renew the log.
        self._lock = RLock()
        self._derived: Derived = {}
        self.view = View(log.table)
        self._files = tuple(name for name in log.table["file"].unique().to_pylist() if name)
        self._before: list[Filter] = []
        self._beside: tuple[View, Filter, Selection] | None = None  # what the last filter chooses whatever the outcome and cause
        self._seen: dict[str, list[str]] = {}  # by column its values, in the order of their colours
        self.period = w.Dropdown(description="Period", options=list(_PERIODS))
        self.since = w.NaiveDatetimePicker(description="From (UTC)")
        self.until = w.NaiveDatetimePicker(description="To (UTC)")
        self.outcome = w.Dropdown(description="Outcome", options=[_FAILED, _ALL, *(o.value for o in Outcome)])
        causes = self.view.values("cause")
        self.cause = w.Dropdown(description="Cause", options=[_ALL, *causes])
        self.user = w.Combobox(description="User", placeholder="everyone", options=self.view.values("user")[:_OFFERED])
        self.address = w.Combobox(description="Address", placeholder="any", options=self.view.values("client_ip")[:_OFFERED])
        self.reset = w.Button(description="Show all", tooltip="Take every filter off")
        self.back = w.Button(description="Back", tooltip="What was looked at before", disabled=True)
        self._chart, self._sides = TimeChart(lambda a, b: self.look(replace(self.filter, since=a, until=b))), Sides()
        self.tries = Tries(log.table, readable=not hidden)
        self.verdicts = Verdicts(log.table, self.look)
        self.figure = self._chart.figure
        self.panes = [w.Dropdown(description=title, options=list(columns), layout=w.Layout(width="32%")) for title, columns in _PANES]
        self._coverage = w.HTML(STYLE + coverage(log))
        self._chips, self._summary, self._saved = w.HBox(layout=w.Layout(flex_flow="row wrap")), w.HTML(), w.HTML()
        self.places = w.Text(
            description="Places",
            placeholder="files on this machine: GeoLite2-Country.mmdb, GeoLite2-ASN.mmdb",
            continuous_update=False,
            layout=w.Layout(width="min(520px, 95%)", display="none" if hidden else "flex"),
        )
        self._placed = w.HTML()
        self.file = w.Text(
            description="Save to",
            placeholder="tries.csv, .parquet, .jsonl, .html; attackers.nft, .sh, .cidr",
            layout=w.Layout(width="min(520px, 95%)"),
        )
        self.save = w.Button(description="Save what is shown", layout=w.Layout(width="auto"))
        self.filter = Filter(only={"outcome": _NOT_GOOD})
        self._controls = (self.period, self.since, self.until, self.outcome, self.cause, self.user, self.address)
        for control in self._controls:
            control.observe(self._changed, "value")
        for pane in self.panes:
            pane.observe(lambda _: self.update(), "value")
        self.places.observe(lambda _: self._take_places(), "value")
        self.reset.on_click(lambda _: self.look(Filter(only={"outcome": _NOT_GOOD})))
        self.back.on_click(self._go_back)
        self.save.on_click(self._save)
        self._sides.on_click(self._clicked)
        super().__init__(self._rows())
        before, panes = _looked_at.get(self._files, (self.filter, tuple(pane.value for pane in self.panes)))
        self._hold = True
        for pane, value in zip(self.panes, panes, strict=True):
            if value in pane.options:
                pane.value = value
        self._hold = False
        self._show(self._known(before))

    def _rows(self) -> list[w.Widget]:
        wrapped = w.Layout(flex_flow="row wrap")
        return [
            self._coverage,
            self.verdicts,
            w.HBox([self.period, self.outcome, self.cause], layout=wrapped),
            w.HBox([self.since, self.until], layout=wrapped),
            w.HBox([self.user, self.address, self.reset, self.back], layout=wrapped),
            self._chips,
            self._summary,
            w.HTML(
                '<div class="kit-note">Draw over a stretch of the chart to look at that alone; click a bar below to look at one name.</div>'
            ),
            self.figure,
            Fit(),
            w.HBox(self.panes),
            self._sides.figure,
            self.tries,
            w.HBox([self.places, self._placed], layout=wrapped),
            w.HBox([self.file, self.save, self._saved], layout=wrapped),
        ]

    # ------------------------------------------------------------------------------------ what is looked at

    def look(self, wanted: Filter) -> None:
        """Looks at something else; Back leads to what was looked at before."""
        if wanted != self.filter:
            self._before = [*self._before[-50:], self.filter]
            self._show(wanted)

    def update(self) -> None:
        """Brings everything to what the filter says."""
        with self._lock:
            if not self._hold:
                self._draw()
                self.tries.show(self.selection)

    def renew(self, log: AuthLog) -> None:
        """Shows the log as it has grown. What is looked at stays; a last day, or seven, ends with the log."""
        with self._lock:
            self._log, self.view = log, View(log.table, self._derived)
            self._files = tuple(name for name in log.table["file"].unique().to_pylist() if name)
            self._coverage.value = STYLE + coverage(log)
            self._hold = True
            chosen, causes = self.cause.value, [_ALL, *self.view.values("cause")]
            if set(causes) - set(self.cause.options):
                self.cause.options = causes
                self.cause.value = chosen
            for control, column in ((self.user, "user"), (self.address, "client_ip")):
                if set(names := self.view.values(column)[:_OFFERED]) - set(control.options):
                    control.options = names
            self._hold = False
            if _PERIODS[self.period.value]:
                self.filter = replace(self.filter, since=self._span_of(self.period.value)[0])
            self.verdicts.renew(log.table)
            self._draw()
            self.tries.renew(log.table, self.selection)

    @property
    def _columns(self) -> list[str]:
        """What each pane counts."""
        return [choices.get(pane.value, pane.value) for pane, (_, choices) in zip(self.panes, _PANES, strict=True)]

    def _draw(self) -> None:
        self.selection = selection = self.view.select(self.filter)
        whole = self.filter.narrowed("outcome").narrowed("cause")
        if self._beside is None or self._beside[:2] != (self.view, whole):
            self._beside = self.view, whole, self.view.select(whole)
        beside = self._beside[2]
        columns = self._columns
        edges = edges_between(*(selection.span or (datetime.now(UTC),) * 2))
        counts = selection.over_time(columns[0], edges)
        self._chart.draw(edges, counts, self._colours(columns[0]))
        self._sides.draw([_bars(selection, beside, column) for column in columns], selection.by_hour(), self._colours(columns[0]))
        self._summary.value = _summary(
            self.view, self.filter, selection, beside, edges, sum(counts.values(), np.zeros(len(edges) - 1, int))
        )
        if self._files:
            _looked_at[self._files] = self.filter, tuple(pane.value for pane in self.panes)

    def _colours(self, column: str) -> dict[str, str]:
        """The chart over time has the colours of what the first pane tells apart."""
        seen = self._seen.setdefault(column, [])
        seen += [name for name in self.view.values(column) if name not in seen]
        return colours_of([*seen, *([] if column == "cause" else [NOT_KNOWN])])

    def _show(self, wanted: Filter) -> None:
        """Puts every control where the filter says, then shows it."""
        with self._lock:
            self.filter, self._hold = wanted, True
            only = wanted.only
            self.outcome.value = {(): _ALL, _NOT_GOOD: _FAILED}.get(outcomes := only.get("outcome", ()), outcomes[0] if outcomes else _ALL)
            self.cause.value = only["cause"][0] if only.get("cause") and only["cause"][0] in self.cause.options else _ALL
            self.user.value, self.address.value = (only.get(column, ("",))[0] for column in ("user", "client_ip"))
            if (wanted.since or wanted.until) and self._span_of(self.period.value) != (wanted.since, wanted.until):
                self.period.value = list(_PERIODS)[-1]
                self.since.value, self.until.value = (end and end.replace(tzinfo=None) for end in (wanted.since, wanted.until))
            elif not (wanted.since or wanted.until) and self._span_of(self.period.value) != (None, None):
                self.period.value, self.since.value, self.until.value = next(iter(_PERIODS)), None, None
            own = _PERIODS[self.period.value] == timedelta()
            self.since.layout.display = self.until.layout.display = "flex" if own else "none"
            self._chips.children = [
                self._chip(column, values) for column, values in only.items() if column not in ("outcome", "cause", "user", "client_ip")
            ]
            self.back.disabled = not self._before
            self._hold = False
            self.update()

    def _chip(self, column: str, values: Sequence[str]) -> w.Button:
        chip = w.Button(description=f"{column}: {values[0][:60]} ✕", tooltip="Take this filter off", layout=w.Layout(width="auto"))
        chip.on_click(lambda _: self.look(self.filter.narrowed(column)))
        return chip

    def _changed(self, change: Any) -> None:
        with self._lock:
            if not self._hold:
                self._follow(change)

    def _follow(self, change: Any) -> None:
        wanted, owner = self.filter, change["owner"]
        if owner is self.outcome:
            wanted = wanted.narrowed("outcome", *{_ALL: (), _FAILED: _NOT_GOOD}.get(owner.value, (owner.value,)))
        elif owner is self.cause:
            wanted = wanted.narrowed("cause", *(() if owner.value == _ALL else (owner.value,)))
        elif owner in (self.user, self.address):
            typed = owner.value.strip()
            wanted = wanted.narrowed("user" if owner is self.user else "client_ip", *((typed,) if typed else ()))
        else:
            since, until = self._span_of(self.period.value)
            wanted = replace(wanted, since=since, until=until)
        if wanted == self.filter:
            self._show(wanted)
        else:
            self.look(wanted)

    def _span_of(self, period: str) -> tuple[datetime | None, datetime | None]:
        length, span = _PERIODS[period], self.view.span
        if length is None or span is None:
            return None, None
        if length:
            return span[1] - length, None
        since, until = (end and end.replace(tzinfo=UTC) for end in (self.since.value, self.until.value))
        return since, until

    def _clicked(self, pane: int, name: str) -> None:
        column = self._columns[pane]
        self.look(self.filter.narrowed(column, *(() if self.filter.only.get(column) == (name,) else (name,))))

    def _go_back(self, _: object) -> None:
        if self._before:
            self._show(self._before.pop())

    def _known(self, wanted: Filter) -> Filter:
        """Without what this log has no column for: places that were named once, in files that were not named again."""
        for column in wanted.only.keys() - {*self.view.words, *self.view.derived}:
            wanted = wanted.narrowed(column)
        return wanted

    def _take_places(self) -> None:
        """Country and network owner of addresses, from files that the reader has."""
        try:
            self._derived = open_places([Path(name.strip()).expanduser() for name in self.places.value.split(",") if name.strip()])
        except UsageError as fault:
            self._placed.value = say(str(fault), problem=True)
            return
        title, columns = _PANES[-1]
        with self._lock:
            self.view = View(self._log.table, self._derived)
            self._hold = True
            self.panes[-1].options = [*columns, *self._derived]
            self._hold, self._before = False, [self._known(each) for each in self._before]
            self._show(self._known(self.filter))
        self._placed.value = say(f"“{title}” has {' and '.join(self._derived)} now" if self._derived else "")

    # ------------------------------------------------------------------------------------ export

    def _save(self, _: object) -> None:
        name = self.file.value.strip()
        try:
            self._saved.value = say(f"Wrote {self._write(Path(name).expanduser())} to {name}")
        except UsageError as fault:
            self._saved.value = say(str(fault), problem=True)

    def _write(self, path: Path) -> str:
        if path.suffix.lower() in FORMATS and self._hidden:
            raise UsageError("would block those whom pseudonyms belong to", where=str(path), next_step="Show the names, and save it again")
        if path.suffix.lower() in FORMATS:
            number = write_blocks(path, self.verdicts.given(), own=self.verdicts.own_networks, now=datetime.now(UTC))
            return f"{number:,} addresses of likely attackers, which nothing blocks before you say so,"
        if path.suffix.lower() in (".html", ".htm"):
            try:
                with path.open("x", encoding="utf-8") as page:
                    page.write(
                        f'<!doctype html><meta charset="utf-8"><title>{escape(self.selection.total)} tries</title>{self._summary.value}'
                    )
                    page.write(self.figure.to_html(include_plotlyjs=True, full_html=False))
                    page.write(self._sides.figure.to_html(include_plotlyjs=False, full_html=False))
            except OSError as fault:
                raise UsageError(
                    f"cannot be written ({fault.strerror})", where=str(path), next_step="Give another name or folder"
                ) from fault
        else:
            with open_export(path, [Path(name) for name in self._files]) as write:
                write(self._log.table.take(pa.array(np.sort(self.selection.rows(self.view.size)))))
        return f"{self.selection.total:,} tries"


def _bars(selection: Selection, beside: Selection, column: str) -> list[Bar]:
    if column not in _MANY:
        good = set(selection.by("outcome")) == {Outcome.SUCCESS.value}
        counts = [(name, number) for name, number in selection.by(column).items() if name is not None and name != "none"][:MOST]
        return [Bar(name, 0 if good else number, number if good else 0) for name, number in counts]
    others = "addresses" if column in ("user", "domain") else "users"
    return [
        Bar(each.name, each.failed, each.good, f"{each.others:,} {others}<br>last {each.last:%d %b %H:%M} UTC")
        for each in selection.top(column, MOST, beside=beside)
    ]


def _summary(view: View, wanted: Filter, selection: Selection, beside: Selection, edges: Any, bars: Any) -> str:
    if not selection.total:
        return '<div role="status">No try fits these filters.</div>'
    parts = ", ".join(f"{count:,} {escape(name)}" for name, count in selection.by("outcome").items())
    said = []
    if rate := success_rate(beside):
        said.append(f"{rate.share:.0%} of all tries succeed (95 % interval {rate.low:.1%} to {rate.high:.1%})")
    if (weeks := last_two_weeks(view, wanted)) is not None:
        said.append(f"{weeks[0]:,} in the last seven days, {weeks[1]:,} in the seven before")
    if change := onset(edges, bars):
        said.append(f"changed at {change.time:%Y-%m-%d %H:%M} UTC, from {_rate(change.before)} to {_rate(change.after)}")
    more = f'<div class="kit-note">{escape("; ".join(said))}.</div>' if said else ""
    return f'<div role="status"><span class="kit-big">{selection.total:,} tries</span> · {parts}</div>{more}'


def _rate(an_hour: float) -> str:
    return f"{an_hour:,.1f} an hour" if an_hour >= 1 else f"{24 * an_hour:,.1f} a day"
