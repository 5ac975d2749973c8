"""The panel of notebook 04: who still signs in with a password instead of OAuth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import ipywidgets as w
import plotly.graph_objects as go

from kit.errors import KitError
from kit.knowledge.ways_out import Way
from kit.logs.authlog import AuthLog
from kit.logs.basic import Basic, Day
from kit.logs.basic_report import DEVICES, cells, device_table, facts, headline, notes
from kit.logs.device import Device
from kit.logs.export import open_export
from kit.logs.usage import Usage
from kit.widgets.common import COLOURS, QUIET, STYLE, at_home, escape, say, table
from kit.widgets.fit import Fit

_ALL: Final = "every kind"
_MOST: Final = 50
_AT_ONCE: Final = 8
"""Devices that are shown before one asks for more."""
# What a day's bar is made of: its name, its field of a Day, its colour.
_PARTS: Final = (
    ("password", "password", COLOURS[0]),
    ("OAuth", "oauth", COLOURS[1]),
    ("neither", "other", COLOURS[3]),
    ("the log does not tell", "unknown", QUIET),
)


class BasicPanel(w.VBox):
    """Each user and device that signs in with a password, beside the days, and where it can move to.

    Attributes:
        devices: all of them, the busiest first, as `kit basic` has them.
        figure: good sign-ins by day, stacked by how they were made.
    """

    def __init__(self, log: AuthLog) -> None:
        usage = Usage()
        usage.add(log.table)
        self.basic = Basic(usage)
        self.devices = self.basic.devices
        kinds = sorted({device.kind for device in self.devices})
        self.kind = w.Dropdown(description="Kind", options=[_ALL, *kinds])
        self.path = w.Text(description="File", value="devices.csv", tooltip="Ends with .csv, .parquet or .jsonl")
        self.button = w.Button(description="Save", tooltip="Every device into this file")
        self.figure = at_home(_chart(self.basic.days))
        self._table, self._ways, self.status = w.HTML(), w.HTML(), w.HTML()
        self.kind.observe(lambda _: self.update(), "value")
        self.button.on_click(lambda _: self.save())
        self.update()
        super().__init__(
            [
                w.HTML(f'{STYLE}<div role="status"><span class="kit-big">{escape(headline(self.basic))}</span></div>'),
                w.HTML("".join(f'<div class="kit-note">{escape(note)}</div>' for note in notes(self.basic))),
                self.figure,
                Fit(),
                w.HBox([self.kind, self.path, self.button], layout=w.Layout(flex_flow="row wrap")),
                self.status,
                self._table,
                self._ways,
            ]
        )

    def update(self) -> None:
        """Brings table and ways out to the chosen kind."""
        chosen = [device for device in self.devices if self.kind.value in (_ALL, device.kind)]
        self._table.value = _devices(chosen)
        self._ways.value = _ways(self.basic.ways, chosen)

    def save(self) -> None:
        """Writes every device into the file, or says why not."""
        try:
            path = Path(self.path.value.strip()).expanduser()
            with open_export(path, kind=DEVICES) as write:
                write(device_table(self.devices))
        except (KitError, RuntimeError) as fault:  # RuntimeError: there is no such user's home
            self.status.value = say(str(fault), problem=True)
        else:
            self.status.value = say(f"Wrote {len(self.devices):,} devices to {path}")


def _chart(days: Sequence[Day]) -> go.Figure:
    times = [f"{day.day:%Y-%m-%d}" for day in days]
    bars = {name: [getattr(day, field) for day in days] for name, field, _ in _PARTS}
    figure = go.Figure(
        [
            go.Bar(name=name, x=times, y=bars[name], marker={"color": colour, "line": {"width": 0}})
            for name, _, colour in _PARTS
            if any(bars[name]) or name in ("password", "OAuth")
        ]
    )
    failed = [day.failed for day in days]
    if any(failed):
        figure.add_scatter(
            name="password, failed", x=times, y=failed, mode="lines+markers", line={"color": COLOURS[2]}, visible="legendonly"
        )
    figure.update_layout(
        barmode="stack",
        bargap=0.15,
        height=320,
        legend={"orientation": "h", "y": 1.14},
        showlegend=True,
        yaxis={"title": {"text": "sign-ins", "standoff": 8}, "rangemode": "tozero"},
    )
    figure.update_xaxes(type="date", title={"text": "day, UTC", "standoff": 8})
    return figure


def _devices(devices: Sequence[Device]) -> str:
    if not devices:
        return ""
    heads = [("User", ""), ("Likely", ""), ("From", ""), ("How", "")]
    heads += [("a day", "n"), ("good", "n"), ("failed", "n"), ("first", ""), ("last", ""), ("state", ""), ("Can move to", "")]
    rows: list[list[object]] = []
    for device in devices[:_MOST]:
        user, likely, origin, how, *numbers = cells(device)
        unbroken = (each.replace("-", "\N{NON-BREAKING HYPHEN}") for each in numbers)
        ways = ", ".join(device.move_to[:2]) + (f" and {len(device.move_to) - 2} more" if len(device.move_to) > 2 else "")
        rows.append([_cut(user), likely, _cut(origin), _cut(how), *unbroken, ways])
    more = f'<div class="kit-note">… and {len(devices) - _MOST:,} more: the file has them all.</div>' if len(devices) > _MOST else ""
    rest = rows[_AT_ONCE:]
    folded = f"<details><summary>{len(rest)} more</summary>{table(heads, rest)}</details>" if rest else ""
    return table(heads, rows[:_AT_ONCE]) + folded + more


def _cut(text: str) -> str:
    return text if len(text) <= 80 else text[:79] + "…"


def _ways(ways: Sequence[Way], devices: Sequence[Device]) -> str:
    told = []
    for way in ways:
        if takers := sum(way.name in device.move_to for device in devices):
            rows = "".join(f'<tr><th scope="row">{escape(label)}</th><td>{escape(text)}</td></tr>' for label, text in facts(way).items())
            head = f"<b>{escape(way.name)}</b>, for {takers}: {escape(way.what)}"
            table_of_facts = f'<table class="kit-table kit-facts" style="overflow-wrap: anywhere">{rows}</table>'
            told.append(f'<div class="kit-finding kit-narrow">{head}{table_of_facts}</div>')
    return f"<details><summary>Ways out, with their limits</summary>{''.join(told)}</details>" if told else ""
