"""The panel of notebook 01: are my settings right?"""

from __future__ import annotations

import ipywidgets as w

from kit.checks.ladder import MOST_CONNECTIONS, check
from kit.checks.text import plan
from kit.model import CheckResult, Step
from kit.widgets.common import STYLE, say, spawn
from kit.widgets.results import findings_html, steps_html, verdict_html
from kit.widgets.server import ServerForm


class CheckPanel(w.VBox):
    """Climbs one server's settings step by step; signs in once if there is a password.

    Attributes:
        result: of the last check; None before the first.
    """

    def __init__(self) -> None:
        self.result: CheckResult | None = None
        self.form = ServerForm()
        self.sign_in = w.Checkbox(
            value=True, description="sign in too, once, if there is a password", indent=False, layout=w.Layout(width="auto")
        )
        self.button = w.Button(description="Check", button_style="primary")
        self.status, self._steps, self._findings = w.HTML(), w.HTML(), w.HTML()
        self.button.on_click(self._start)
        super().__init__([w.HTML(STYLE), self.form, self.sign_in, self.button, self.status, self._findings, self._steps])

    def _start(self, _: object) -> None:
        self.button.disabled = True
        self._steps.value = self._findings.value = ""
        spawn(self._run(), self.status, done=lambda: setattr(self.button, "disabled", False))

    async def _run(self) -> None:
        steps: list[Step] = []

        def tell(step: Step) -> None:
            steps.append(step)
            self._steps.value = steps_html(steps)

        async with self.form.choice() as chosen:
            secret = chosen.secret if self.sign_in.value else None
            self.status.value = say(
                plan(chosen.profile, connections=MOST_CONNECTIONS, signs_in=secret is not None and bool(chosen.profile.user))
            )
            self.result = await check(chosen.profile, secret, on_step=tell, budget=chosen.budget)
        self._findings.value = verdict_html(self.result) + findings_html(self.result.findings)
