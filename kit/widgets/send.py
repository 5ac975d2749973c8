"""The panel of notebook 03: does a test mail go through?"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import ipywidgets as w

from kit.auth.budget import account_of
from kit.checks.text import plan
from kit.errors import KitError
from kit.model import Profile, Security, SendResult, Step
from kit.sandbox.server import HOST, Sandbox, open_sandbox
from kit.sending.entries import Entry, State, anywhere
from kit.sending.journal import Journal, journal_folder, read_journal, unfinished
from kit.sending.mail import Mail
from kit.sending.pace import MOST_MESSAGES, Pace
from kit.sending.received import read_received
from kit.sending.samples import message_of
from kit.sending.send import send
from kit.sending.series import SeriesResult, send_series
from kit.sending.story import facts, went_out
from kit.widgets.clock import STOPPED, clock
from kit.widgets.common import STYLE, UNTIL_GONE, checkbox, escape, hint, say, spawn
from kit.widgets.fit import Fit
from kit.widgets.message import MessageForm
from kit.widgets.results import answers_html, big, facts_html, findings_html, folded, received_html, series_html, steps_html, verdict_html
from kit.widgets.server import Chosen, ServerForm

_WHERE: Final = (
    '<div class="kit-head">What does the received copy say?</div><div class="kit-text">Open the message where it arrived, show its source and paste the '
    "headers below: in Gmail “Show original”, in Outlook on the web “View message source”, in Thunderbird "
    "“View, Message Source”. They tell which way it took, and whether SPF, DKIM and DMARC vouch for its sender.</div>"
)


class SendPanel(w.VBox):
    """Sends one test message, or a series of them at the account's pace, and says what became of it.

    Attributes:
        result: of what was sent last; None before that, and where it was cancelled.
    """

    def __init__(self) -> None:
        self.result: SendResult | SeriesResult | None = None
        self._task: asyncio.Task[None] | None = None
        self._steps: list[Step] = []
        self._many = False
        self._unsent = ""
        self._user: str | None = None
        self.form, self.message = ServerForm(), MessageForm()
        self.count = w.BoundedIntText(
            description="How many", value=1, min=1, max=MOST_MESSAGES, layout=w.Layout(width="160px", margin="2px 16px 2px 2px")
        )
        self.dry_run = checkbox("dry run: ask about sender and recipients, send nothing")
        self.first = checkbox("in the sandbox first")
        self.plan = w.HTML()
        self.button = w.Button(description="Send", button_style="primary")
        self.cancel = w.Button(description="Cancel")
        self.status, self.progress = w.HTML(), w.IntProgress(description="Progress", layout=w.Layout(width="min(560px, 95%)"))
        self.rest, self._cut_short = w.Button(description="Send the rest"), w.HTML()
        self._rehearsed, self._told, self._more = w.HTML(), w.HTML(), w.HTML()
        self._clock = w.VBox()
        self.headers = w.Textarea(
            description="Headers", placeholder="Received: from …\nAuthentication-Results: …", layout=w.Layout(width="95%", height="120px")
        )
        self.headers.add_class("kit-said")
        self._explained = w.HTML()
        self._copy = w.VBox([w.HTML(_WHERE), self.headers, self._explained])
        self.button.on_click(lambda _: self._start(self._run()))
        self.rest.on_click(lambda _: self._start(self._go_on(self._unsent)))
        self.cancel.on_click(lambda _: self._task and self._task.cancel())
        self.headers.observe(self._explain, "value")
        for control in (
            self.form.kind,
            self.form.host,
            self.form.user,
            self.message.kind,
            self.message.recipient,
            self.count,
            self.dry_run,
        ):
            control.observe(self._plan, "value")
        self._running(False)
        self._clear()
        self._plan()
        super().__init__(
            [
                w.HTML(STYLE),
                self.form,
                self.message,
                w.HBox([self.count, self.dry_run, self.first], layout=w.Layout(flex_flow="row wrap")),
                self.plan,
                self._cut_short,
                w.HBox([self.button, self.rest, self.cancel]),
                self.status,
                self.progress,
                self._rehearsed,
                self._told,
                self._clock,
                self._more,
                self._copy,
            ]
        )

    # ------------------------------------------------------------------------------------ before

    def _plan(self, _: Any = None) -> None:
        """What pressing the button would come to. Nobody is asked for it."""
        once = self.message.is_file or self.dry_run.value
        _display(self.count, not once)
        _display(self.first, not self.form.in_sandbox)
        self.plan.value = self._cut_short.value = ""
        _display(self.rest, False)
        try:
            if not self.form.in_sandbox:
                self._offer_rest(self.form.profile())
            if once or self.count.value == 1:
                return
            with tempfile.TemporaryDirectory() as folder:  # a sandbox is new each time: nothing has been sent there
                in_sandbox = self.form.in_sandbox
                profile = Profile(host=HOST, port=587, security=Security.STARTTLS) if in_sandbox else self.form.profile()
                pace = Pace.of(profile, path=Path(folder) / "pace" if in_sandbox else None)
                counts = [self.message.recipients] * self.count.value
                self.plan.value = hint(f"Plan: {pace.plan(counts).text}. It can be cancelled at any time.")
        except KitError:
            pass  # not filled in yet; the button says what is missing

    def _offer_rest(self, profile: Profile) -> None:
        """What a series of this account that was cut short has left."""
        for name, series in reversed(unfinished().items()):
            left = sum(entry.state in (State.PLANNED, State.LATER) for entry in read_journal(journal_folder() / f"{name}.jsonl")[1])
            if series.account == account_of(anywhere(profile)) and left:
                self._unsent = name
                to = ", ".join(series.recipients)
                self._cut_short.value = hint(f"A series to {to} was cut short: {left} of its {series.messages} messages are not sent yet.")
                _display(self.rest, True)
                return

    # ------------------------------------------------------------------------------------ under way

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._clear()
        self._running(True)
        self._task = spawn(work, self.status, done=self._end)

    def _end(self) -> None:
        self._running(False)
        self._plan()

    def _running(self, running: bool) -> None:
        self.button.disabled = self.rest.disabled = running
        _display(self.cancel, running)
        if not running:
            _display(self.progress, False)

    def _clear(self) -> None:
        self.result = None
        self._steps, self._since = [], time.perf_counter()
        self.status.value = self._rehearsed.value = self._told.value = self._more.value = self.headers.value = ""
        for old in self._clock.children:
            asyncio.get_running_loop().call_later(UNTIL_GONE, old.close)
        self._clock.children = ()
        _display(self._copy, False)

    def _tell(self, step: Step) -> None:
        self._since = time.perf_counter()
        self._steps.append(step)
        if not self._many:
            self._more.value = steps_html(self._steps)

    async def _run(self) -> None:
        async with self.form.choice() as chosen:
            mail = self.message.make(chosen.profile)
            self._many = self.count.value > 1 and not (self.dry_run.value or self.message.is_file)
            if self.first.value and chosen.sandbox is None and not await self._rehearse(mail):
                return
            self.status.value = say(plan(chosen.profile, gentle=False, secret=chosen.secret))
            if not self._many:
                await self._send_one(chosen, mail)
                return
            folder = chosen.budget.with_name("series") if chosen.budget else None
            series = self.message.series(chosen.profile, self.count.value)
            with Journal.start(series, now=datetime.now(UTC), folder=folder) as journal:
                await self._send_series(chosen, journal)

    async def _go_on(self, name: str) -> None:
        self._many = True
        async with self.form.choice() as chosen:
            with Journal.resume(name) as journal:
                await self._send_series(chosen, journal)

    async def _rehearse(self, mail: Mail) -> bool:
        """The same message to the sandbox. Did it take it for everybody?"""
        self.status.value = say("In the sandbox first …")
        async with open_sandbox() as sandbox:
            budget = Path(sandbox.ca_file).with_name("attempts.sqlite")
            result = await send(sandbox.profile(), mail, sandbox.password, budget=budget)
            good = not result.rejected and bool(result.accepted)
            told = "The sandbox took it." if good else "The sandbox did not take it, so the real server was not asked."
            self._rehearsed.value = big(told) + folded("In the sandbox", findings_html(result.findings)) + _as_arrived(sandbox)
        if not good:
            self.status.value = ""
        return good

    async def _send_one(self, chosen: Chosen, mail: Mail) -> None:
        cut: list[SendResult] = []
        work = send(
            chosen.profile,
            mail,
            chosen.secret,
            dry_run=self.dry_run.value,
            on_step=self._tell,
            on_cut=cut.append,
            budget=chosen.budget,
        )
        try:
            result = await work
        except asyncio.CancelledError:
            self._tell(Step(name=STOPPED, seconds=time.perf_counter() - self._since, ok=False))
            self._conclude(findings_html(cut[0].findings), mail, chosen.profile)
            raise
        self.result = result
        told = verdict_html(result) + findings_html(result.findings) + answers_html(result)
        if not result.accepted and result.rejected and self.message.refused:
            told += f'<div class="kit-finding"><b>Where a plain message is taken and this one is not</b><div>{escape(self.message.refused)}</div></div>'
        self._conclude(told, mail, chosen.profile, _as_arrived(chosen.sandbox))
        _display(self._copy, result.queue_id is not None or (bool(result.accepted) and not self.dry_run.value))

    async def _send_series(self, chosen: Chosen, journal: Journal) -> None:
        profile, series = chosen.profile, journal.series
        pace, mail = Pace.of(profile, path=chosen.budget), message_of(series)
        left = pace.plan([len(mail.recipients)] * len(journal.left), most=series.messages)
        self.status.value = say(f"Connecting; {left.text}")
        self.progress.value, self.progress.max = 0, series.messages
        _display(self.progress, True)
        began = time.monotonic()

        def tell(_: Entry) -> None:
            done = sum(entry.state in (State.ACCEPTED, State.REFUSED) for entry in journal.entries)
            self.progress.value = done
            wait = pace.plan([len(mail.recipients)]).seconds
            self.status.value = say(_under_way(done, series.messages, time.monotonic() - began, wait))

        ended: list[SeriesResult] = []
        try:
            self.result = await send_series(
                profile,
                lambda _: message_of(series),
                chosen.secret,
                pace=pace,
                journal=journal,
                on_step=self._tell,
                on_entry=tell,
                on_cut=ended.append,
                budget=chosen.budget,
            )
            ended.append(self.result)
        finally:
            findings = ended[0].findings if ended else ()
            self._conclude(series_html(journal.entries) + findings_html(findings), mail, profile)
            _display(self._copy, any(entry.state is State.ACCEPTED for entry in journal.entries))

    # ------------------------------------------------------------------------------------ after

    def _conclude(self, told: str, mail: Mail, profile: Profile, arrived: str = "") -> None:
        self.status.value = ""
        self._told.value, self._user = told, profile.user
        first = next((n for n, step in enumerate(self._steps) if step.name == "message"), len(self._steps))
        shown = self._steps[: first + 1] if self._many else self._steps
        if shown:
            part = "" if shown == self._steps else ", up to the first message"
            self._clock.children = [w.HTML(f'<div class="kit-head">Where the time went{part}</div>'), clock(shown), Fit()]
        gone = went_out(self._steps) and not self._many
        ids = [(name, text) for name, text in (("Message-ID", mail.message_id), ("Trace id", mail.trace)) if text and gone]
        self._more.value = (
            facts_html((*facts(mail, self._steps, profile), *ids)) + folded("What was said", steps_html(self._steps)) + arrived
        )

    def _explain(self, _: Any = None) -> None:
        text = self.headers.value
        sent = self.result if isinstance(self.result, SendResult) else None
        self._explained.value = received_html(read_received(text, sent=sent, user=self._user)) if text.strip() else ""


def _under_way(done: int, of: int, seconds: float, wait: float) -> str:
    text = f"{done} of {of}"
    if seconds > 5:
        text += f", {done / seconds * 60:.0f} a minute"
    if wait > 1 and done < of:
        text += f"; waiting for the limit: the next may go at {datetime.now(UTC) + timedelta(seconds=wait):%H:%M:%S} UTC"
    return text


def _as_arrived(sandbox: Sandbox | None) -> str:
    """The sandbox's own copy, where there is one."""
    if sandbox is None or not sandbox.messages:
        return ""
    received = sandbox.messages[-1].data.decode("utf-8", "replace").replace("\r\n", "\n")[:100_000]
    return folded("The message as the sandbox has it", f"<pre class='kit-said'>{escape(received)}</pre>")


def _display(widget: w.DOMWidget, wanted: bool) -> None:
    widget.layout.display = None if wanted else "none"
