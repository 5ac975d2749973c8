"""The charts of the explorer: tries over time, and who and what stands out beside them. Names in them are text, whatever they hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from kit.logs.selection import Ints
from kit.model import Cause, Outcome
from kit.widgets.common import COLOURS, QUIET, at_home, escape

PANES: Final = 3
MOST: Final = 10
"""Bars of a pane."""
NOT_KNOWN: Final = "not known"
_LABEL: Final = 24
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class Bar(NamedTuple):
    """One value of a pane: its name, the tries with it that failed and those that were good, and what is told when one points at it."""

    name: str
    failed: int
    good: int
    more: str = ""


def colours_of(values: Sequence[str]) -> dict[str, str]:
    """A colour a value; a grey for what went well, and for those for which there are no more colours."""
    loud = [value for value in values if value not in (Cause.NONE, Outcome.SUCCESS)]
    return dict.fromkeys(values, QUIET) | dict(zip(loud, COLOURS, strict=False))


class TimeChart:
    """Tries over time, a colour a value; a value keeps its colour while filters change.

    Args:
        tell: is called with the two ends of a stretch of time that somebody has drawn over.

    Attributes:
        figure: the widget.
    """

    def __init__(self, tell: Callable[[datetime, datetime], None]) -> None:
        self._tell = tell
        figure = go.Figure()
        figure.update_layout(
            barmode="stack",
            bargap=0.05,
            height=320,
            dragmode="select",
            selectdirection="h",
            legend={"orientation": "h", "y": 1.12},
            showlegend=True,
            yaxis={"title": {"text": "tries", "standoff": 8}},
        )
        figure.update_xaxes(type="date", title={"text": "UTC", "standoff": 8})
        self.figure = at_home(figure)

    def draw(self, edges: Ints, counts: Mapping[str | None, Ints], colours: Mapping[str, str]) -> None:
        """The tries of each value between one time and the next.

        Args:
            edges: microseconds since the epoch.
            counts: by value, one less than edges.
            colours: by value; a value that comes to have another makes all bars anew.
        """
        if {trace.name: trace.marker.color for trace in self.figure.data} != colours:
            self._colour(colours)
        # As text: where a trace gets new places, plotly.js looks anew what kind of axis they want, and numbers would make it linear.
        times = [f"{datetime.fromtimestamp(micros / 1e6, UTC):%Y-%m-%d %H:%M:%S}" for micros in edges[:-1].tolist()]
        with self.figure.batch_update():
            for trace in self.figure.data:
                found = counts.get(trace.name if trace.name != NOT_KNOWN else None)
                trace.x = [] if found is None else times
                trace.y = [] if found is None else found
                trace.visible = found is not None
                trace.selectedpoints = None
        # The page tells of its selection's frame with values that are undefined, which no message can carry back.
        self.figure.layout._props.pop("selections", None)  # noqa: SLF001 - setting it leaves them where they are
        self.figure.plotly_relayout({"selections": []})
        _save(self.figure)

    def _colour(self, colours: Mapping[str, str]) -> None:
        self.figure.data = []
        self.figure.add_traces([go.Bar(name=name, x=[], y=[], marker={"color": c, "line": {"width": 0}}) for name, c in colours.items()])
        for trace in self.figure.data[:1]:  # each is told of every stroke
            trace.on_selection(self._brushed)

    def _brushed(self, _: Any, __: Any, box: Any) -> None:
        if box is not None:
            a, b = sorted(datetime.fromisoformat(str(end).strip()[:26]).replace(tzinfo=UTC) for end in box.xrange)
            self._tell(a, b)


class Sides:
    """Bars of three columns, and the hours of the week.

    Attributes:
        figure: the widget.
    """

    def __init__(self) -> None:
        figure = make_subplots(
            rows=2,
            cols=PANES,
            specs=[[{}] * PANES, [{"colspan": PANES}] + [None] * (PANES - 1)],
            row_heights=[0.62, 0.38],
            vertical_spacing=0.14,
            horizontal_spacing=0.2,
        )
        for pane in range(PANES):
            for kind, colour in (("failed", COLOURS[1]), ("good", QUIET)):
                bar = go.Bar(
                    name=kind, orientation="h", marker={"color": colour, "line": {"width": 0}}, hoverinfo="text", textposition="none"
                )
                figure.add_trace(bar, 1, pane + 1)
        heat = go.Heatmap(
            x=list(range(24)),
            y=_DAYS,
            colorscale=[[0, "rgba(213,94,0,0)"], [1, COLOURS[0]]],
            showscale=False,
            hovertemplate="%{y}, from %{x}:00 UTC: %{z} tries<extra></extra>",
        )
        figure.add_trace(heat, 2, 1)
        figure.update_layout(barmode="stack", height=460, showlegend=False, bargap=0.15, dragmode=False)
        figure.update_yaxes(automargin=True)
        for pane in range(PANES):
            figure.update_yaxes(autorange="reversed", showgrid=False, row=1, col=pane + 1)
            figure.update_xaxes(fixedrange=True, row=1, col=pane + 1)
        figure.update_yaxes(autorange="reversed", row=2, col=1)
        figure.update_xaxes(dtick=3, title={"text": "hour of the day, UTC", "standoff": 8}, row=2, col=1)
        self.figure = at_home(figure)
        self._names: list[list[str]] = [[] for _ in range(PANES)]

    def draw(self, panes: Sequence[Sequence[Bar]], hours: Ints, colours: Mapping[str, str]) -> None:
        """The bars of each pane, the longest first, and the tries by weekday and hour.

        Args:
            panes: of bars.
            hours: 7 x 24.
            colours: of names in the first pane.
        """
        self._names = [[bar.name for bar in bars] for bars in panes]
        with self.figure.batch_update():
            for pane, bars in enumerate(panes):
                places = list(range(len(bars)))
                texts = [f"{escape(b.name[:200])}<br>{b.failed:,} failed, {b.good:,} good{f'<br>{b.more}' if b.more else ''}" for b in bars]
                for trace, counts in zip(self.figure.data[2 * pane :], ([b.failed for b in bars], [b.good for b in bars]), strict=False):
                    trace.x, trace.y, trace.hovertext = counts, places, texts
                self.figure.data[2 * pane].marker.color = [(colours if pane == 0 else {}).get(b.name, COLOURS[1]) for b in bars]
                axis = self.figure.layout[f"yaxis{pane + 1 if pane else ''}"]
                axis.tickvals, axis.ticktext = places, [_label(bar.name) for bar in bars]
            self.figure.data[-1].z = hours.tolist()
        _save(self.figure)

    def on_click(self, tell: Callable[[int, str], None]) -> None:
        """Calls with the number of the pane and the name whose bar somebody has clicked."""

        def clicked(pane: int) -> Callable[..., None]:
            def with_points(_: Any, points: Any, __: Any) -> None:
                for place in points.point_inds[:1]:
                    if place < len(self._names[pane]):
                        tell(pane, self._names[pane][place])

            return with_points

        for number, trace in enumerate(self.figure.data[: 2 * PANES]):
            trace.on_click(clicked(number // 2))


def _label(name: str) -> str:
    return escape(name if len(name) <= _LABEL else name[: _LABEL - 1] + "…")


def _save(figure: go.FigureWidget) -> None:
    """The saved form of a widget is made once; a page that opens later would see the first state."""
    figure._repr_mimebundle_()
