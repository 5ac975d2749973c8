"""The panel of notebook 03: does a test mail go through?"""

from __future__ import annotations

import ipywidgets as w

from kit.model import SendResult, Step
from kit.sending.message import build_test_message
from kit.sending.send import send
from kit.widgets.common import STYLE, escape, say, spawn
from kit.widgets.results import findings_html, steps_html, verdict_html
from kit.widgets.server import ServerForm


class SendPanel(w.VBox):
    """Sends one test message, once, and says what became of it.

    Attributes:
        result: of the last message; None before the first.
    """

    def __init__(self) -> None:
        self.result: SendResult | None = None
        self.form = ServerForm()
        self.sender = w.Text(description="From", placeholder="as the user")
        self.recipient = w.Text(description="To", value="colleague@example.test")
        self.subject = w.Text(description="Subject", value="A test message", layout=w.Layout(width="min(480px, 95%)"))
        self.dry_run = w.Checkbox(
            description="dry run: ask about sender and recipient, send nothing", indent=False, layout=w.Layout(width="auto")
        )
        self.button = w.Button(description="Send", button_style="primary")
        self.status, self._steps, self._findings, self._received = w.HTML(), w.HTML(), w.HTML(), w.HTML()
        self.button.on_click(self._start)
        fields = w.HBox([self.sender, self.recipient], layout=w.Layout(flex_flow="row wrap"))
        super().__init__(
            [
                w.HTML(STYLE),
                self.form,
                fields,
                self.subject,
                self.dry_run,
                self.button,
                self.status,
                self._findings,
                self._received,
                self._steps,
            ]
        )

    def _start(self, _: object) -> None:
        self.button.disabled = True
        self._steps.value = self._findings.value = self._received.value = ""
        spawn(self._run(), self.status, done=lambda: setattr(self.button, "disabled", False))

    async def _run(self) -> None:
        steps: list[Step] = []

        def tell(step: Step) -> None:
            steps.append(step)
            self._steps.value = steps_html(steps)

        async with self.form.choice() as chosen:
            sender = self.sender.value.strip() or chosen.profile.sender or chosen.profile.user or ""
            message = build_test_message(sender, [self.recipient.value.strip()], subject=self.subject.value)
            self.status.value = say(
                f"One message from {sender} to {self.recipient.value.strip()}, over one connection; it is never sent twice."
            )
            self.result = await send(chosen.profile, message, chosen.secret, dry_run=self.dry_run.value, on_step=tell, budget=chosen.budget)
            if chosen.sandbox and chosen.sandbox.messages:
                received = chosen.sandbox.messages[-1].data.decode("utf-8", "replace").replace("\r\n", "\n")
                self._received.value = (
                    f"<details><summary>The message as the sandbox has it</summary><pre class='kit-said'>{escape(received)}</pre></details>"
                )
        self._findings.value = verdict_html(self.result) + findings_html(self.result.findings)
