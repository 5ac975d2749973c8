"""What every panel needs: tasks that cannot vanish, text that cannot act, colours for the light and the dark theme."""

from __future__ import annotations

import asyncio
import html
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import ipywidgets as w
import plotly.graph_objects as go

from kit.errors import KitError
from kit.redact import mask

# A colour a cause, told apart in both themes and by most eyes (Okabe and Ito's palette and two more); a grey for what went well.
COLOURS: Final = ("#D55E00", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#F0E442", "#6A51A3", "#8C564B")
QUIET: Final = "#999999"

# Plotly's tool bar would offer to upload the chart to Plotly's own server: nothing of a log leaves by a slip of the mouse (law 8).
_CONFIG: Final = {
    "responsive": True,
    "displaylogo": False,
    "plotlyServerURL": "",
    "modeBarButtonsToRemove": ["sendChartToCloud", "select2d", "lasso2d"],
}

STYLE: Final = """<style>
.kit-table { border-collapse: collapse; line-height: 1.5; font-size: var(--jp-ui-font-size1, 13px); width: 100%; margin: 0 0 12px }
.kit-table th { text-align: left; font-weight: 600; border-bottom: 1px solid var(--jp-border-color1, #bbb); padding: 3px 10px 3px 0 }
.kit-table td { padding: 3px 10px 3px 0; border-bottom: 1px solid var(--jp-border-color3, #e0e0e0); vertical-align: top }
.kit-table th.n { white-space: nowrap } .kit-table td.n, .kit-table th.n { text-align: right; font-variant-numeric: tabular-nums }
.kit-heat { width: auto; margin: 8px 0 } .kit-heat td, .kit-heat th { padding: 4px 14px }
.kit-facts th { width: 140px; font-weight: normal; color: var(--jp-ui-font-color2, #666); border-bottom-color: var(--jp-border-color3, #e0e0e0) }
.kit-note { color: var(--jp-ui-font-color2, #666) }
.kit-said { font-family: var(--jp-code-font-family, monospace); font-size: var(--jp-code-font-size, 12px); white-space: pre-wrap; overflow-wrap: anywhere }
.kit-finding { border-left: 4px solid var(--kit-line, #888); padding: 2px 0 2px 10px; margin: 8px 0; line-height: 1.5 }
.widget-html a.kit-link { color: var(--jp-content-link-color, #1565c0); text-decoration: underline }
.widget-html details { margin: 8px 0 } .widget-html summary { cursor: pointer }
.kit-text, .widget-html [role=status] { line-height: 1.5 } .kit-said > label { font-family: var(--jp-ui-font-family, sans-serif) }
.kit-tries select { font-family: var(--jp-code-font-family, monospace); font-size: var(--jp-code-font-size, 12px); overflow-x: auto }
.kit-tries option { white-space: pre }
.kit-narrow { max-width: 800px }
.kit-hint { margin: 2px 0 4px 88px; max-width: 720px; line-height: 1.5; color: var(--jp-ui-font-color1, inherit) }
.kit-head { font-weight: 600; margin: 12px 0 2px }
.kit-big { font-size: 1.25em; font-weight: 600 }
</style>"""

UNTIL_GONE: Final = 2.0
"""Seconds until no page has the last word of a chart that was taken away under way to the kernel."""

_tasks: set[asyncio.Task[None]] = set()


def escape(text: object) -> str:
    """Text for HTML. What no one should see act, such as control characters and marks that turn the direction, shows as a box."""
    shown = "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in str(text))
    return html.escape(shown)


def table(heads: list[tuple[str, str]], rows: list[list[object]]) -> str:
    """An HTML table. A head is its text and its class: `n` for numbers, else empty."""
    head = "".join(f'<th scope="col" class="{kind}">{escape(text)}</th>' for text, kind in heads)
    body = "".join(
        "<tr>" + "".join(f'<td class="{kind}">{escape(cell)}</td>' for cell, (_, kind) in zip(row, heads, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<table class="kit-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def spawn(work: Coroutine[Any, Any, None], status: w.HTML, *, done: Callable[[], None] | None = None) -> asyncio.Task[None]:
    """Starts work in the kernel's own event loop, keeps it alive, and says in `status` what went wrong if anything does.

    A button's callback cannot await, and an exception in a task that nobody holds is never seen.

    Raises:
        RuntimeError: there is no event loop; the work was not begun.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        work.close()
        raise

    async def guarded() -> None:
        try:
            await work
        except asyncio.CancelledError:
            status.value = say("Stopped.")
            raise
        except KitError as fault:
            status.value = say(str(fault), problem=True)
        except Exception as fault:  # noqa: BLE001 - the panel is the last one that can tell the user
            tail = traceback.extract_tb(fault.__traceback__)[-1]
            place = f"{tail.filename.rpartition('/')[2]}:{tail.lineno}"
            status.value = say(
                mask(f"This should not happen ({type(fault).__name__} at {place}: {fault}). Please report it."), problem=True
            )
        finally:
            if done:
                done()

    task = loop.create_task(guarded())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task


def say(text: str, *, problem: bool = False) -> str:
    """A line of status: in words, and read out by a screen reader when it changes."""
    mark = "Problem: " if problem else ""
    return f'<div role="status" aria-live="polite">{escape(mark + text)}</div>'


def hint(text: str) -> str:
    """The same below a form's fields."""
    return f'<div class="kit-hint">{say(text)}</div>'


def checkbox(text: str, *, value: bool = False) -> w.Checkbox:
    """A box to tick, as wide as its text."""
    return w.Checkbox(value=value, description=text, indent=False, layout=w.Layout(width="auto", margin="2px 20px 2px 2px"))


def dismiss(widget: w.Widget) -> None:
    """Closes a widget and all that is in it. ipywidgets keeps every one that is not closed, and what it holds on to."""
    for child in getattr(widget, "children", ()):
        dismiss(child)
    widget.close()


def nearby_logs() -> list[Path]:
    """The sample logs, as seen from a notebook or from the folder above it."""
    return [path for folder in ("../data", "data") for path in sorted(Path(folder).glob("*.log*"))]


def at_home(figure: go.Figure) -> go.FigureWidget:
    """A figure as a widget that fits into either theme: transparent, with text and grid that are read on white and on black."""
    grid = "rgba(128,128,128,0.25)"
    figure.update_layout(
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": "#808080", "size": 13},
        autosize=True,
        margin={"l": 50, "r": 10, "t": 30, "b": 40},
        hoverlabel={"bgcolor": "#333", "font": {"color": "#fff"}},
    )
    lines = {"gridcolor": grid, "linecolor": grid, "zerolinecolor": grid, "title": {"font": {"size": 13}}}
    figure.update_xaxes(lines)
    figure.update_yaxes(lines)
    widget = go.FigureWidget(figure)
    widget._config = _CONFIG  # noqa: SLF001 - plotly has no public name for it in a widget
    return widget
