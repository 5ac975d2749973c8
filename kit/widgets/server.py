"""The form that names a server: one of the sandbox's, a saved profile, or any other; and its password."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import ipywidgets as w

from kit.auth.mechanisms import MECHANISMS
from kit.auth.strength import check_credential
from kit.auth.vault import get_secret
from kit.checks.discovery import discover
from kit.model import Profile, Security
from kit.profiles import build_profile, load_profiles
from kit.redact import Secret
from kit.sandbox.replay import find_scenario
from kit.sandbox.scenarios import scenarios
from kit.sandbox.server import Sandbox, open_sandbox
from kit.widgets.common import hint, spawn
from kit.widgets.results import findings_html
from kit.widgets.secret import SecretField

_OTHER: Final = "another server …"
_PORTS: Final = {Security.TLS: 465, Security.STARTTLS: 587, Security.NONE: 25}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What the form names. In the sandbox, failed sign-ins are counted in a book of its own."""

    profile: Profile
    secret: Secret | None
    sandbox: Sandbox | None = None
    budget: Path | None = None


class ServerForm(w.VBox):
    """Choose a server. Nothing is sent anywhere before a button says so."""

    def __init__(self) -> None:
        self._scenarios = {f"sandbox: {scenario.title}": scenario.name for scenario in scenarios()}
        self._profiles = {f"profile: {profile.name}": profile for profile in load_profiles()}
        self._secret: Secret | None = None
        self.kind = w.Dropdown(
            description="Server", options=[*self._scenarios, *self._profiles, _OTHER], layout=w.Layout(width="min(560px, 95%)")
        )
        self.host = w.Text(description="Host", placeholder="mail.example.org")
        self.security = w.Dropdown(description="Security", options=[s.value for s in Security])
        self.port = w.BoundedIntText(description="Port", min=1, max=65535, value=465)
        self.user = w.Text(description="User", placeholder="you@example.org")
        self.mechanism = w.Dropdown(description="Mechanism", options=["the strongest", *MECHANISMS])
        self.cert = w.Text(
            description="Certificate", placeholder="your own, with its key: /home/you/me.pem", layout=w.Layout(width="min(460px, 95%)")
        )
        self.password = SecretField(self._keep)
        self.address = w.Text(
            description="Address", placeholder="you@example.org, or leave it and fill in below", layout=w.Layout(width="min(400px, 95%)")
        )
        self.find = w.Button(description="Find the server", tooltip="asks the address's own domain where the kit does not know it")
        self.told = w.HTML()
        self.find.on_click(lambda _: spawn(self._discover(), self.told))
        self._own = w.VBox(
            [
                w.HBox([self.address, self.find], layout=_WRAP),
                self.told,
                w.HBox([self.host, self.security, self.port], layout=_WRAP),
                w.HBox([self.user, self.mechanism, self.cert], layout=_WRAP),
            ]
        )
        self.kind.observe(self._show, "value")
        self.security.observe(lambda change: setattr(self.port, "value", _PORTS[Security(change["new"])]), "value")
        super().__init__([self.kind, self._own, self.password])
        self._show()

    def _keep(self, secret: Secret) -> None:
        self._secret = secret
        profile = self._profiles.get(self.kind.value)
        if profile is None:
            host, user = self.host.value.strip(), self.user.value.strip()
            profile = Profile(host=host, port=self.port.value, security=Security(self.security.value), user=user)
        # Everybody in a shared session sees this: how strong the password is, it does not tell.
        odd = "".join(f" Mind: {finding.title}. {finding.next_step}" for finding in check_credential(profile, secret, strength=False))
        self.password.status = f"taken; it stays in this kernel's memory, and is gone when the kernel stops.{odd}"

    def play(self, scenario: str) -> None:
        """Chooses the sandbox with that scenario."""
        title = f"sandbox: {find_scenario(scenario).title[:100]}"
        self._scenarios[title] = scenario
        self.kind.options = [*self._scenarios, *self._profiles, _OTHER]
        self.kind.value = title

    async def _discover(self) -> None:
        """Fills in what the address's domain says of its server."""
        self.told.value = hint("Asking …")
        found = await discover(self.address.value.strip())
        profile = found.profile()
        self.host.value, self.user.value = profile.host, profile.user or ""
        self.security.value = profile.security.value
        self.port.value = profile.port
        self.told.value = hint(found.reason) + findings_html(found.findings)

    def _show(self, _: object = None) -> None:
        self._own.layout.display = "flex" if self.kind.value == _OTHER else "none"
        self._secret = None
        self.password.status = "not needed: the sandbox has one of its own" if self.kind.value in self._scenarios else ""

    @property
    def in_sandbox(self) -> bool:
        """One of the sandbox's servers is chosen."""
        return self.kind.value in self._scenarios

    def profile(self) -> Profile:
        """The server that is not the sandbox's, as far as it is filled in.

        Raises:
            UsageError: a field is wrong.
        """
        return self._profiles.get(self.kind.value) or build_profile(
            host=self.host.value.strip(),
            port=self.port.value,
            security=self.security.value,
            user=self.user.value.strip() or None,
            mechanism=None if self.mechanism.index == 0 else self.mechanism.value,
            cert_file=self.cert.value.strip() or None,
        )

    @asynccontextmanager
    async def choice(self) -> AsyncIterator[Chosen]:
        """What the form names, for as long as it is used: a sandbox runs until then.

        Raises:
            UsageError: a field is wrong.
        """
        kind = self.kind.value
        if kind in self._scenarios:
            async with open_sandbox(self._scenarios[kind]) as sandbox:
                budget = Path(sandbox.ca_file).with_name("attempts.sqlite")
                yield Chosen(profile=sandbox.profile(), secret=self._secret or sandbox.password, sandbox=sandbox, budget=budget)
            return
        profile = self.profile()
        secret = self._secret
        if secret is None and profile.user:
            secret = await asyncio.to_thread(get_secret, profile)
        yield Chosen(profile=profile, secret=secret)


_WRAP: Final = w.Layout(flex_flow="row wrap")
