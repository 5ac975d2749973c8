"""The sandbox: a real SMTP server on this machine to practise on. It listens on loopback only, and never relays."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import ssl
import tempfile
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from kit.errors import UsageError
from kit.model import Attempt, Profile, Security
from kit.redact import Secret
from kit.sandbox.authority import issue
from kit.sandbox.house import House
from kit.sandbox.record import Received, Record, Said
from kit.sandbox.replay import find_scenario
from kit.sandbox.scenarios import Scenario, Tls
from kit.sandbox.session import Session
from kit.sandbox.wire import Wire

HOST: Final = "127.0.0.1"  # not `localhost`, which many systems take for ::1 first
MOST_CLIENTS: Final = 20


class Sandbox:
    """A running sandbox.

    Attributes:
        port: takes STARTTLS; `tls_port` speaks TLS from the first byte.
        ca_file: the PEM file of the authority that its certificate is from.
        user: the one account there is, with `password`.
        messages: what it took, in memory.
        attempts: every try to sign in, up to `record.MOST_ATTEMPTS`.
        transcript: what was said, credentials masked.
    """

    host: Final = HOST

    def __init__(self, house: House, ca_file: Path) -> None:
        self.scenario: Scenario = house.scenario
        self.user, self.password = house.user, house.password
        self.ca_file = str(ca_file)
        self.messages: list[Received] = house.record.messages
        self.attempts: list[Attempt] = house.record.attempts
        self.transcript: list[Said] = house.record.transcript
        self.port = self.tls_port = 0
        self._house = house
        self._doors: list[asyncio.Server] = []
        self._clients: set[asyncio.Task[None]] = set()
        self._closing = False
        self._count = 0

    @property
    def forgotten(self) -> int:
        """Tries to sign in that are not in `attempts`, because it is full."""
        return self._house.record.forgotten

    def profile(self, security: Security = Security.STARTTLS) -> Profile:
        """How a client reaches it."""
        port = self.tls_port if security is Security.TLS else self.port
        return Profile(host=HOST, port=port, security=security, user=self.user, ca_file=self.ca_file, timeout=10.0)

    async def start(self) -> None:
        """Opens both doors on free ports of the loopback interface.

        Raises:
            UsageError: it would be reached from elsewhere.
        """
        if not ipaddress.ip_address(HOST).is_loopback:
            raise UsageError("the sandbox listens on loopback only", where=HOST, next_step="Set HOST back to 127.0.0.1")
        loop = asyncio.get_running_loop()
        for implicit in (False, True):
            greet = partial(self._greet, implicit=implicit)
            self._doors.append(await loop.create_server(partial(Wire, greet, held=implicit), HOST, 0))
        self.port, self.tls_port = (door.sockets[0].getsockname()[1] for door in self._doors)

    def _greet(self, wire: Wire, *, implicit: bool) -> None:
        if self._closing:  # it was in the door when that closed
            wire.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(wire, implicit=implicit))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _serve(self, wire: Wire, *, implicit: bool) -> None:
        if len(self._clients) > MOST_CLIENTS:
            await wire.close(b"" if implicit else b"421 4.3.2 Too many clients at once\r\n")
            return
        self._count += 1
        self._house.record.say(self._count, "-", f"a client at port {self.tls_port if implicit else self.port}")
        last_words = b""
        try:
            await Session(self._house, wire, self._count, implicit=implicit).run()
        except asyncio.CancelledError:
            last_words = b"421 4.3.2 The sandbox closes\r\n" if wire.tls or not implicit else b""
        finally:
            await wire.close(last_words)

    async def stop(self) -> None:
        """Closes the doors and sends everybody home."""
        self._closing = True
        for door in self._doors:
            door.close()
        clients = list(self._clients)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        for door in self._doors:
            await door.wait_closed()


@asynccontextmanager
async def open_sandbox(
    scenario: str | Scenario = "good",
    *,
    user: str = "you@example.test",
    password: Secret | None = None,
    listener: Callable[[Said], None] | None = None,
) -> AsyncIterator[Sandbox]:
    """A sandbox for as long as the block lasts.

    Args:
        scenario: one of `kit.sandbox.scenarios.scenarios()`, its name, or what `kit.sandbox.replay` makes a scenario of:
            `reply:ID`, `STAGE:REPLY`, `FAULT:STAGE`.
        user: the name of its one account.
        password: of that account; a new one by default.
        listener: is told each line of the transcript as it is said.

    Raises:
        UsageError: there is no such scenario, or this machine cannot play it.
    """
    chosen = find_scenario(scenario) if isinstance(scenario, str) else scenario
    password = password or Secret(secrets.token_urlsafe(12))
    with tempfile.TemporaryDirectory(prefix="kit-sandbox-") as folder:
        ca_file, server_file = issue(Path(folder), chosen.tls)
        context = _context(server_file, chosen.tls)
        server_file.unlink()
        house = House(scenario=chosen, user=user, password=password, context=context, record=Record(password, listener))
        sandbox = Sandbox(house, ca_file)
        try:
            await sandbox.start()
            yield sandbox
        finally:
            await sandbox.stop()


def _context(server_file: Path, tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server_file)
    if tls is Tls.OLD:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # that nobody should use it is what is taught here
                context.set_ciphers("ALL:@SECLEVEL=0")
                context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
        except (ssl.SSLError, ValueError) as fault:
            raise UsageError(
                "this machine's OpenSSL cannot speak TLS 1.0",
                where="sandbox",
                next_step="Play it on another machine, or choose another scenario",
            ) from fault
    return context
