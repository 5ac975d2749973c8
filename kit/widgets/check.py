"""The panel of notebook 01: are my settings right?"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import ipywidgets as w

from kit.checks.chain import VersionProbe
from kit.checks.ladder import check, check_settings
from kit.checks.matrix import ways
from kit.checks.survey import USUAL, survey, together
from kit.checks.text import plan, plan_survey
from kit.errors import KitError
from kit.model import CheckResult, Probe, Profile, Security, Severity, Step
from kit.profiles import save_profile
from kit.widgets.common import STYLE, checkbox, say, spawn
from kit.widgets.results import findings_html, probes_html, steps_html, verdict_html, ways_html
from kit.widgets.server import Chosen, ServerForm

# Where in the sandbox's conversation a step's reply belongs.
_STAGES: Final = {name: name for name in ("banner", "ehlo", "starttls", "mail", "rcpt")} | {"auth": "sign-in"}


class CheckPanel(w.VBox):
    """Looks around at one server, climbs its settings step by step, and signs in once if there is a password.

    Attributes:
        result: of the last check; None before the first.
    """

    def __init__(self) -> None:
        self.result: CheckResult | None = None
        self._profile: Profile | None = None
        self.form = ServerForm()
        self.sign_in = checkbox("sign in too, once, if there is a password", value=True)
        self.others = checkbox("look at the other usual ports too", value=True)
        self.button = w.Button(description="Check", button_style="primary")
        self.status = w.HTML()
        self._probes, self._ways, self._steps, self._findings = (w.HTML() for _ in range(4))
        self.name = w.Text(description="Save as", placeholder="a name, such as scanner")
        self.save = w.Button(description="Save profile")
        self.saved = w.HTML()
        self._keep = w.VBox([w.HBox([self.name, self.save]), self.saved], layout=w.Layout(display="none"))
        self.button.on_click(self._start)
        self.save.on_click(self._save)
        options = w.HBox([self.sign_in, self.others], layout=w.Layout(flex_flow="row wrap"))
        self.replay = w.Button(description="Play this failure in the sandbox", layout=w.Layout(width="fit-content", display="none"))
        self.replay.on_click(self._play)
        results = [self._findings, self.replay, self._ways, self._probes, self._steps, self._keep]
        super().__init__([w.HTML(STYLE), self.form, options, self.button, self.status, *results])

    def _start(self, _: object) -> None:
        self.button.disabled = True
        self._keep.layout.display = self.replay.layout.display = "none"
        self._probes.value = self._ways.value = self._steps.value = self._findings.value = ""
        spawn(self._run(), self.status, done=lambda: setattr(self.button, "disabled", False))

    async def _run(self) -> None:
        async with self.form.choice() as chosen:
            profile, secret = chosen.profile, chosen.secret if self.sign_in.value else None
            check_settings(profile, secret, budget=chosen.budget)
            probes: list[Probe | VersionProbe] = []
            around = await survey(
                profile,
                others=_others(chosen) if self.others.value else (),
                on_plan=lambda number: setattr(self.status, "value", say(plan_survey(profile, number, gentle=False))),
                on_probe=lambda probe: self._show_probe(probes, probe),
            )
            self._ways.value = ways_html(ways(around.probes, profile))
            # A mechanism that wants a password, and none: the certificate is shown, and nobody signs in with it.
            climbed = profile if self.sign_in.value or not profile.cert_file else replace(profile, mechanism="PLAIN")
            self.status.value = say(plan(climbed, gentle=False, secret=secret if profile.user else None))
            steps: list[Step] = []
            result = await check(climbed, secret, on_step=lambda step: self._show_step(steps, step), budget=chosen.budget)
        self.result = together(around, result)
        self._findings.value = verdict_html(self.result) + findings_html(self.result.findings)
        if chosen.sandbox is None and _scenario(self.result):
            self.replay.layout.display = None
        # Settings with which nobody gets as far as the sign-in are not worth a name; with a password that was refused they may be right.
        good = result.attempt is not None or all(finding.severity is not Severity.ERROR for finding in result.findings)
        if chosen.sandbox is None and profile.name is None and good:
            self._profile = profile
            self._keep.layout.display = "flex"

    def _show_probe(self, probes: list[Probe | VersionProbe], probe: Probe | VersionProbe) -> None:
        probes.append(probe)
        self._probes.value = probes_html(probes)

    def _show_step(self, steps: list[Step], step: Step) -> None:
        steps.append(step)
        self._steps.value = steps_html(steps)

    def _play(self, _: object) -> None:
        """The sandbox will say what the server said; whatever is tried there locks nobody out."""
        if self.result and (name := _scenario(self.result)):
            self.form.play(name)
            self.status.value = say("The sandbox now says the same. Press Check.")

    def _save(self, _: object) -> None:
        if self._profile is None:
            return
        try:
            path = save_profile(replace(self._profile, name=self.name.value.strip() or None))
            self.saved.value = say(f"Saved in {path}. The password is not in it.")
        except KitError as fault:
            self.saved.value = say(str(fault), problem=True)


def _others(chosen: Chosen) -> tuple[tuple[int, Security], ...]:
    """The other ports of this host; the sandbox has one of its own making."""
    return USUAL if chosen.sandbox is None else ((chosen.sandbox.tls_port, Security.TLS),)


def _scenario(result: CheckResult) -> str | None:
    """What the sandbox would have to say to fail as this check did; None where it did not fail by a reply."""
    for step in result.steps:
        if not step.ok and step.reply and step.reply.code >= 400 and step.name in _STAGES:
            code, lines = step.reply.code, step.reply.lines or ("",)
            return f"{_STAGES[step.name]}:" + "\n".join(f"{code} {line}" for line in lines)
    return None
