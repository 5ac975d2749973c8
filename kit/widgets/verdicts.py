"""What stands behind the failures: each verdict with what was counted, and the tries it is about on one click."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import ipywidgets as w
import pyarrow as pa

from kit.errors import UsageError
from kit.logs.verdict_report import signal_text, without_members
from kit.logs.verdicts import Judgement, Verdict, judge
from kit.logs.view import Filter, network_of
from kit.model import Outcome
from kit.widgets.common import escape, say, spawn

AT_ONCE: Final = 200_000
"""Tries that are judged while one waits; more take seconds, and a button."""
_ROWS: Final = 8
_COLOURS: Final = {Judgement.COMPROMISE: "#b71c1c", Judgement.ATTACK: "#D55E00", Judgement.TROUBLE: "#E69F00", Judgement.STALE: "#0072B2"}
_COLUMNS: Final = {"user": "user", "address": "client_ip", "server": "host"}


class Verdicts(w.VBox):
    """A list of verdicts, the worst first.

    Args:
        table: of the log.
        look: shows the tries that a filter chooses.

    Attributes:
        own: networks and addresses of the reader's own, with commas between them: nobody there is called an attacker.
        verdicts: those that were given; None before it was judged.
    """

    def __init__(self, table: pa.Table, look: Callable[[Filter], None]) -> None:
        self._table, self._look = table, look
        self.verdicts: list[Verdict] | None = None
        self.own = w.Text(description="Yours", placeholder="your own networks: 192.0.2.0/24, 2001:db8::/32", continuous_update=False)
        self.own.layout.width = "min(480px, 95%)"
        self.button = w.Button(description="What is behind it?", layout=w.Layout(width="auto"))
        self.list = w.Select(description="Verdicts", rows=_ROWS, layout=w.Layout(width="auto", display="none"))
        self.list.add_class("kit-tries")
        self.status, self._told = w.HTML(), w.HTML()
        self.button.on_click(lambda _: self.judge())
        self.own.observe(lambda _: self._again(), "value")
        self.list.observe(self._choose, "value")
        super().__init__([w.HBox([self.own, self.button], layout=w.Layout(flex_flow="row wrap")), self.status, self.list, self._told])
        if len(table) <= AT_ONCE:
            self._again()

    @property
    def own_networks(self) -> list[str]:
        """As they were typed, one by one."""
        return [each.strip() for each in self.own.value.split(",") if each.strip()]

    def given(self) -> list[Verdict]:
        """The verdicts; the log is judged where it was not yet.

        Raises:
            UsageError: one of the reader's own networks is none.
        """
        if self.verdicts is None:
            self._show(judge(self._table, own=self.own_networks))
        return self.verdicts or []

    def _again(self) -> None:
        self.verdicts = None
        if len(self._table) > AT_ONCE:
            self.button.layout.display = "flex"
            return
        try:
            self.given()
        except UsageError as fault:
            self.status.value = say(str(fault), problem=True)

    def renew(self, table: pa.Table) -> None:
        """The log has grown: what was judged stays until somebody asks anew."""
        self._table = table
        if self.verdicts is not None:
            self.button.description, self.button.disabled, self.button.layout.display = (
                "Judge again, with what has come since",
                False,
                "flex",
            )

    def judge(self) -> asyncio.Task[None]:
        """Judges in the background."""
        self.button.disabled = True
        self.status.value = say("Judging …")
        return spawn(self._judge(), self.status, done=lambda: setattr(self.button, "disabled", False))

    async def _judge(self) -> None:
        self._show(await asyncio.to_thread(judge, self._table, own=self.own_networks))

    def _show(self, verdicts: Sequence[Verdict]) -> None:
        self.verdicts, shown = list(verdicts), list(without_members(verdicts))
        self.button.layout.display = "none"
        attacks = sum(verdict.verdict is Judgement.ATTACK for verdict in shown)
        self.status.value = say(
            f"{len(shown):,} {'story stands' if len(shown) == 1 else 'stories stand'} behind the failures"
            f"{f', {attacks:,} of them likely attacks' if attacks else ''}: choose one to see its tries and what was counted"
            if shown
            else "Nothing stands out: no attack, no forgotten device, no trouble of the server's own"
        )
        self.list.options = [(_label(verdict), number) for number, verdict in enumerate(shown)]
        self.list.layout.display = "flex" if shown else "none"
        self.list.value, self._shown = None, shown

    def _choose(self, change: Any) -> None:
        if change["new"] is None:
            self._told.value = ""
            return
        verdict = self._shown[change["new"]]
        kind = f" ({verdict.kind})" if verdict.kind else ""
        counted = "".join(f"<li>{escape(signal_text(signal))}</li>" for signal in verdict.signals)
        self._told.value = (
            f'<div class="kit-finding" style="--kit-line:{_COLOURS.get(verdict.verdict, "#888")}">'
            f"<b>{escape(verdict.verdict.replace('-', ' ') + kind)}: {escape(verdict.subject.replace(':', ' ', 1)[:200])}</b>"
            f'<div>{escape(verdict.words)}</div><ul>{counted}</ul><div class="kit-note">In brackets: from which number on it counts.</div>'
            f"<div><b>Next:</b> {escape(verdict.next_step)}</div></div>"
        )
        self._look(filter_of(verdict, self._table))


def filter_of(verdict: Verdict, table: pa.Table) -> Filter:
    """What shows the tries that a verdict is about."""
    what, _, name = verdict.subject.partition(":")
    failed = tuple(o.value for o in Outcome if o is not Outcome.SUCCESS)
    only = {} if verdict.verdict is Judgement.COMPROMISE else {"outcome": failed}
    if what == "network" and network_of(name.partition("/")[0]) != name:
        only["client_ip"] = verdict.addresses
    else:
        only[_COLUMNS.get(what, what)] = (name,)
    return replace(Filter(only=only), since=verdict.first, until=verdict.last + timedelta(microseconds=1))


def _label(verdict: Verdict) -> str:
    kind = f" ({verdict.kind})" if verdict.kind else ""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in verdict.subject[:60])
    return f"{verdict.verdict.replace('-', ' ') + kind:<32}  {verdict.tries:>7,} tries  since {verdict.first:%Y-%m-%d %H:%M}  {shown}"
