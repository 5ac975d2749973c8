"""Paste a reply, read what it means."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import ipywidgets as w

from kit.auth.blobs import explain_blobs
from kit.explain import explain
from kit.model import Explanation
from kit.redact import MASKED, mask
from kit.widgets.common import STYLE, escape


class ExplainPanel(w.VBox):
    """A box for the server's own words, and below it the same in plain ones."""

    def __init__(self, text: str = "") -> None:
        self.text = w.Textarea(text, description="Reply", placeholder="535 5.7.8 …", layout=w.Layout(width="95%", height="64px"))
        self.text.add_class("kit-said")
        self.answer = w.HTML()
        self._kept = ""
        self.text.observe(self._explain, "value")
        self._explain()
        super().__init__([w.HTML(STYLE), self.text, self.answer])

    def _explain(self, _: Any = None) -> None:
        text = self.text.value
        if text == self._kept:
            return
        self.answer.value = explanation_html(explain(text, now=datetime.now(UTC))) if text.strip() else ""
        # The box is a part of the page, which others may see and which may be saved: a password does not stay in it.
        self._kept = MASKED if explain_blobs(text) else mask(text)
        self.text.value = self._kept


def explanation_html(answer: Explanation) -> str:
    """One explanation: title, what to do, how to tell its causes apart, sources."""
    who = f" <span class='kit-note'>({escape(answer.provider)})</span>" if answer.provider else ""
    verify = f"<div>To tell the causes apart: <span class='kit-said'>{escape(answer.verify)}</span></div>" if answer.verify else ""
    others = "".join(f"<li>{escape(other.title)}. {escape(other.next_step)}</li>" for other in answer.alternatives)
    sources = "".join(f"<div class='kit-note'>{escape(source)}</div>" for source in answer.sources)
    return (
        f'<div role="status" class="kit-finding"><b>{escape(answer.title)}</b>{who}<div>{escape(answer.next_step)}</div>{verify}'
        f"{f'<div>It may also be:<ul>{others}</ul></div>' if others else ''}{sources}</div>"
    )
