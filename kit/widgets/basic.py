"""The panel of notebook 04: who still signs in with a password instead of OAuth."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import ipywidgets as w
import plotly.graph_objects as go

from kit.errors import KitError
from kit.knowledge.ways_out import Way, deadline, ways_out
from kit.logs.authlog import AuthLog
from kit.logs.basic import Basic, Day, Device
from kit.logs.basic_export import write_devices
from kit.logs.usage import Usage
from kit.widgets.common import COLOURS, QUIET, STYLE, at_home, escape, say, table
from kit.widgets.fit import Fit

_ALL: Final = "every kind"
_MOST: Final = 50
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
        basic = Basic(usage)
        self.devices = basic.devices
        kinds = sorted({device.kind for device in self.devices})
        self.kind = w.Dropdown(description="Kind", options=[_ALL, *kinds])
        self.path = w.Text(description="File", value="devices.csv", tooltip="Ends with .csv, .parquet or .jsonl")
        self.button = w.Button(description="Save", tooltip="Every device into this file")
        self.figure = at_home(_chart(basic.days))
        self._table, self._ways, self.status = w.HTML(), w.HTML(), w.HTML()
        self.kind.observe(lambda _: self.update(), "value")
        self.button.on_click(lambda _: self.save())
        self.update()
        super().__init__(
            [
                w.HTML(STYLE + _head(basic)),
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
        wanted = {name for device in chosen for name in device.move_to}
        self._ways.value = _ways([way for way in ways_out() if way.name in wanted], chosen)

    def save(self) -> None:
        """Writes every device into the file, or says why not."""
        try:
            path = Path(self.path.value.strip()).expanduser()
            write_devices(path, self.devices)
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


def _head(basic: Basic) -> str:
    devices, end = basic.devices, deadline()
    users = len({device.user for device in devices})
    said = (
        f"{len(devices):,} devices of {users:,} users sign in with a password" if devices else "Nobody is seen to sign in with a password"
    )
    online = sum(device.exchange_online for device in devices)
    note = f"{online:,} of them at Exchange Online, until {end.day}. {end.text}" if online else ""
    if devices and online < len(devices):
        note += " At a server of your own no date ends passwords."
    guesses, tries = basic.strangers
    if tries:
        note += f" Left out: {tries:,} tries with {guesses:,} names that never were right where they came from."
    if basic.not_told:
        note += f" Of {basic.not_told:,} good sign-ins the log does not tell how they were made."
    if not basic.complete:
        note += " There are more pairs of user and address than are kept: these are those that sign in most."
    return f'<div role="status"><span class="kit-big">{escape(said)}</span></div><div class="kit-note">{escape(note.strip())}</div>'


def _devices(devices: Sequence[Device]) -> str:
    if not devices:
        return ""
    heads = [("User", ""), ("Likely", ""), ("From", ""), ("How", "")]
    heads += [("a day", "n"), ("good", "n"), ("failed", "n"), ("first", ""), ("last", ""), ("Can move to", "")]
    rows: list[list[object]] = [
        [
            _cut(device.user),
            device.kind + (f": {'; '.join(device.why)}" if device.why else ""),
            _cut(", ".join(device.addresses[:2])) + (f" and {device.networks - 1} more networks" if device.networks > 2 else ""),
            _cut("; ".join(filter(None, (", ".join(device.apps or device.services), ", ".join(device.mechanisms), *device.helos[:1])))),
            "" if device.per_day is None else f"{device.per_day:,.1f}",
            f"{device.good:,}",
            f"{device.failed:,}",
            _day(device.first),
            _day(device.last) + ("" if device.working else ", failing"),
            ", ".join(device.move_to[:2]) + (f" and {len(device.move_to) - 2} more" if len(device.move_to) > 2 else ""),
        ]
        for device in devices[:_MOST]
    ]
    more = f'<div class="kit-note">… and {len(devices) - _MOST:,} more: the file has them all.</div>' if len(devices) > _MOST else ""
    return table(heads, rows) + more


def _day(time: datetime | None) -> str:
    """A date that stays on one line."""
    return f"{time:%Y-%m-%d}".replace("-", "\N{NON-BREAKING HYPHEN}") if time else ""


def _cut(text: str) -> str:
    return text if len(text) <= 80 else text[:79] + "…"


def _ways(ways: Sequence[Way], devices: Sequence[Device]) -> str:
    told = "".join(_way(way, sum(way.name in device.move_to for device in devices)) for way in ways)
    return f"<details><summary>Ways out, with their limits</summary>{told}</details>" if told else ""


def _way(way: Way, takers: int) -> str:
    reach = "inside and outside" if way.outside else "your own mailboxes alone"
    facts = {
        "Delivers to": reach,
        "Connect to": f"{way.host}, port {' or '.join(map(str, way.ports))}, TLS {way.tls}",
        "Sign-in": way.sign_in + ("; from a static address" if way.address == "static" else ""),
        "Limits": way.limits,
        "Beware": way.beware,
        "Source": f"{way.source} (checked {way.checked}{', second-hand' if way.second_hand else ''})",
    }
    rows = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(text)}</td></tr>' for name, text in facts.items())
    head = f"<b>{escape(way.name)}</b>, for {takers}: {escape(way.what)}"
    table_of_facts = f'<table class="kit-table kit-facts" style="overflow-wrap: anywhere">{rows}</table>'
    return f'<div class="kit-finding kit-narrow">{head}{table_of_facts}</div>'
