"""The steps of a conversation on the clock: one sees where the time went."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

import plotly.graph_objects as go

from kit.model import Step
from kit.sending.story import Span, timeline
from kit.widgets.common import COLOURS, at_home, escape

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
    "data": "may it come?",
    "message": "content",
    "rset": "taken back",
    "quit": "goodbye",
}


def clock() -> go.FigureWidget:
    """Without bars yet; `draw` makes them."""
    bars = [
        go.Bar(
            name=name,
            x=[],
            y=[],
            orientation="h",
            marker={"color": colour, "line": {"width": 0}},
            hovertemplate="%{hovertext}<extra></extra>",
        )
        for name, colour in (("went well", COLOURS[1]), ("failed", COLOURS[0]))
    ]
    figure = at_home(go.Figure(bars))
    figure.update_layout(barmode="overlay", bargap=0.25, showlegend=False, dragmode=False, margin={"l": 130, "r": 80, "t": 10, "b": 40})
    figure.update_traces(textposition="outside", cliponaxis=False)
    figure.update_xaxes(title={"text": "milliseconds", "standoff": 8}, rangemode="tozero", fixedrange=True)
    figure.update_yaxes(autorange="reversed", type="category", fixedrange=True, showgrid=False)
    return figure


def draw(figure: go.FigureWidget, steps: Sequence[Step]) -> None:
    """One bar a step, from when it began to when its answer was there; what was said is under the pointer."""
    spans = timeline(steps)[:_MOST]
    names = list(map(_name, spans))
    with figure.batch_update():
        for trace, ok in zip(figure.data, (True, False), strict=True):
            chosen = [(name, span) for name, span in zip(names, spans, strict=True) if span.ok is ok]
            trace.y = [name for name, _ in chosen]
            trace.base = [span.began * 1000 for _, span in chosen]
            trace.x = [span.seconds * 1000 for _, span in chosen]
            trace.text = [_length(span.seconds) + ("" if ok else ", failed") for _, span in chosen]
            trace.hovertext = [_said(name, span) for name, span in chosen]
        figure.layout.yaxis.categoryarray = names
        figure.layout.height = 60 + 26 * len(spans)
    # The saved form of a widget is made once; a page that opens later would see the first state.
    figure._repr_mimebundle_()


def _name(span: Span) -> str:
    name, _, number = span.name.partition(" ")
    return " ".join(part for part in (_WORDS.get(name, escape(name)), number) if part)


def _length(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"


def _said(name: str, span: Span) -> str:
    """What is under the pointer. Plotly takes it for HTML, and breaks no line by itself."""
    lines = [f"{name}: {_length(span.seconds)}", *(f"{who} {text}" for who, text in (("→", span.sent), ("←", span.answer)) if text)]
    return "<br>".join(escape(part) for line in lines for part in textwrap.wrap(line[:300], 90))
