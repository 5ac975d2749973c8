"""The steps of a conversation on the clock: one sees where the time went."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

import plotly.graph_objects as go

from kit.model import Step
from kit.sending.story import Span, timeline
from kit.widgets.common import COLOURS, at_home, escape

STOPPED: Final = "stopped here"  # a step's name, where somebody cancelled it
_MOST: Final = 40  # bars
_WORDS: Final = {
    "resolve": "name to address",
    "banner": "greeting",
    "ehlo": "EHLO",
    "starttls": "STARTTLS",
    "tls": "TLS handshake",
    "auth": "sign-in",
    "mail": "sender",
    "rcpt": "recipient",
    "data": "DATA",
    "message": "content",
    "rset": "taken back",
    "quit": "goodbye",
}


def clock(steps: Sequence[Step]) -> go.FigureWidget:
    """One bar a step, from when it began to when its answer was there; what was said is under the pointer.

    The figure is made anew each time: plotly.js ends its fitting to the page where a height is set later.
    """
    spans = timeline(steps)[:_MOST]
    named = list(zip(map(_name, spans), spans, strict=True))
    bars = [_bars([(name, span) for name, span in named if span.ok is ok], ok=ok) for ok in (True, False)]
    figure = go.Figure(bars)
    figure.update_layout(barmode="overlay", bargap=0.25, showlegend=False, dragmode=False, height=70 + 26 * len(spans))
    figure.update_xaxes(title={"text": "milliseconds", "standoff": 8}, rangemode="tozero", fixedrange=True)
    figure.update_yaxes(autorange="reversed", type="category", categoryarray=[name for name, _ in named], fixedrange=True, automargin=True)
    widget = at_home(figure)
    widget.update_layout(margin={"l": 130, "r": 90, "t": 10, "b": 40}, yaxis={"showgrid": False})
    return widget


def _bars(named: Sequence[tuple[str, Span]], *, ok: bool) -> go.Bar:
    return go.Bar(
        name="went well" if ok else "failed",
        orientation="h",
        y=[name for name, _ in named],
        base=[span.began * 1000 for _, span in named],
        x=[span.seconds * 1000 for _, span in named],
        text=[_length(span.seconds) + ("" if ok or span.name == STOPPED else ", failed") for _, span in named],
        textposition="outside",
        cliponaxis=False,
        hovertext=[_said(name, span) for name, span in named],
        hovertemplate="%{hovertext}<extra></extra>",
        marker={"color": COLOURS[1 if ok else 0], "line": {"width": 0}},
    )


def _name(span: Span) -> str:
    name, _, number = span.name.partition(" ")
    return " ".join(part for part in (_WORDS.get(name, escape(name)), number) if part)


def _length(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"


def _said(name: str, span: Span) -> str:
    """What is under the pointer. Plotly takes it for HTML, and breaks no line by itself."""
    lines = [f"{name}: {_length(span.seconds)}", *(f"{who} {text}" for who, text in (("→", span.sent), ("←", span.answer)) if text)]
    return "<br>".join(escape(part) for line in lines for part in textwrap.wrap(line[:300], 90))
