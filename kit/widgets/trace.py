"""The panel of notebook 05: what became of one message, or of one try to sign in?"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from typing import Any, Final

import ipywidgets as w

from kit.errors import UsageError
from kit.logs.ends import ends_of, found_missing
from kit.logs.events import Event, Story
from kit.logs.progress import EVERY
from kit.logs.source import Source
from kit.logs.trace import Trace, trace
from kit.sending.sent import Sent, find_sent, last_sent
from kit.widgets.common import STYLE, escape, say, spawn, table
from kit.widgets.results import findings_html, folded

_CHOOSE: Final = "choose one …"
MOST: Final = 20
"""Stories that are shown, the last ones."""
_KINDS: Final = {"message": "Message", "connection": "Connection", "lines": "Lines"}


class TracePanel(w.VBox):
    """Looks for an id or an address in a log, and shows client and server on one time line, with what it came to.

    Args:
        path: a file, a folder or a pattern.
        what: the id or address.
        year: as `kit.read_logs` has it.
        tz: as `kit.read_logs` has it.

    Attributes:
        trace: the last one; None before.
    """

    def __init__(self, path: str = "", what: str = "", *, year: int | None = None, tz: str | None = None) -> None:
        self.trace: Trace | None = None
        self._year, self._tz = year, tz
        self._sent = {_label(sent): sent for sent in last_sent()}
        self.last = w.Dropdown(description="Last sent", options=[_CHOOSE, *self._sent], layout=w.Layout(width="min(560px, 95%)"))
        self.path = w.Text(description="Log", value=path, placeholder="/var/log/mail.log", layout=w.Layout(width="min(480px, 95%)"))
        self.what = w.Text(
            description="Look for",
            value=what,
            placeholder="Message-ID, id, mail address or IP address",
            layout=w.Layout(width="min(480px, 95%)"),
        )
        self.button = w.Button(description="Trace", button_style="primary")
        self.status, self.shown = w.HTML(), w.HTML()
        self.last.observe(self._choose, "value")
        self.last.layout.display = None if self._sent else "none"
        self.button.on_click(lambda _: self.look())
        row = w.HBox([self.what, self.button], layout=w.Layout(flex_flow="row wrap"))
        super().__init__([w.HTML(STYLE + _STYLE), self.path, self.last, row, self.status, self.shown])

    def look(self) -> asyncio.Task[None]:
        """Begins to look. Who awaits the task has it found, or told why not."""
        self.button.disabled = True
        path = os.path.expanduser(self.path.value.strip())  # noqa: PTH111 - pathlib refuses what it cannot expand
        return spawn(self._look(path, self.what.value.strip()), self.status, done=lambda: setattr(self.button, "disabled", False))

    def _choose(self, change: Any) -> None:
        if sent := self._sent.get(change["new"]):
            self.what.value = sent.ids[0]
            self.look()

    async def _look(self, path: str, what: str) -> None:
        if path in ("", "-"):  # the kernel's standard input is nobody's log
            raise UsageError("no log is named", where="Log", next_step="Type the path of your server's log, or of the folder that it is in")
        loop, shown = asyncio.get_running_loop(), 0.0

        def tell(source: Source) -> None:
            nonlocal shown
            if time.monotonic() - shown >= EVERY:
                shown = time.monotonic()
                loop.call_soon_threadsafe(setattr, self.status, "value", say(f"Reading {source.name}: {source.taken / 1e6:,.0f} MB so far"))

        self.status.value = say("Looking …")
        sent = await asyncio.to_thread(find_sent, what)
        self.trace = await asyncio.to_thread(trace, [what], path, sent=sent, year=self._year, zone=self._tz, progress=tell)
        self.shown.value = trace_html(self.trace, sent)
        self.status.value = say(f"{self.trace.lines:,} lines looked through.")


def trace_html(found: Trace, sent: Sent | None = None) -> str:
    """Story by story: what it came to, and its time line. Text from logs and clients is escaped."""
    parts = [f'<div role="alert">Problem: {escape(problem)}</div>' for problem in found.problems]
    if len(found.stories) > MOST:
        parts.append(f'<div class="kit-note">{len(found.stories):,} messages and connections; these are the last {MOST}.</div>')
    stories = found.stories[-MOST:]
    parts += [_story(story, unfolded=story is stories[-1]) for story in stories]
    if found.client:
        parts.append(f'<div class="kit-head">What the client knows</div>{_time_line(found.client)}')
    return "".join((*parts, findings_html(found_missing(found, sent))))


def _story(story: Story, *, unfolded: bool) -> str:
    ends = ends_of(story)
    when = f"{story.begin:%d %b %H:%M:%S}" if story.begin else ""
    what = (", ".join(story.ids), f"<{story.message_id}>" if story.message_id else "", f"from {story.sender}" if story.sender else "")
    title = " · ".join(part for part in (_KINDS[story.kind], when, *what) if part)
    told = findings_html(ends) + _time_line(story.events)
    if not unfolded:
        return folded(f"{title}: {'; '.join(end.title for end in ends)}", told)
    return f'<div class="kit-head">{escape(title)}</div>{told}'


def _time_line(events: Sequence[Event]) -> str:
    rows: list[list[object]] = [
        [
            f"{event.time:%d %b %H:%M:%S.%f}"[:-3] if event.time else "",
            "you" if event.side == "client" else event.program or "",
            event.id or "",
            event.says or event.text or "",
            f"line {event.line:,}" if event.line else "",
        ]
        for event in events
    ]
    heads = [("time (UTC)", ""), ("who", ""), ("its id", ""), ("what happened", ""), ("in the log", "")]
    logged = "\n".join(event.text or "" for event in events if event.side == "server")
    raw = folded("As logged", f'<pre class="kit-said">{escape(logged)}</pre>') if logged else ""
    return f'<div class="kit-trace">{table(heads, rows)}</div>{raw}'


def _label(sent: Sent) -> str:
    when = f"{sent.time:%d %b %H:%M:%S}" if sent.time else ""
    return f"{when} to {', '.join(sent.recipients)[:80]}: {sent.ids[0]}"


_STYLE: Final = """<style>
.kit-trace td:first-child, .kit-trace td:last-child { white-space: nowrap; font-variant-numeric: tabular-nums }
.kit-trace td:nth-child(4) { overflow-wrap: anywhere }
</style>"""
