"""The sandbox: a real SMTP server on this machine to practise on. It listens on loopback only, and never relays."""

from __future__ import annotations

import asyncio
import hmac
import secrets
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from kit.model import Attempt, Profile, Security
from kit.redact import Secret, mask
from kit.sandbox.authority import issue
from kit.sandbox.scenarios import Scenario, find_scenario
from kit.sandbox.session import Received, Session

HOST: Final = "localhost"
MOST_CLIENTS: Final = 20
MOST_LINES: Final = 5_000  # of the transcript
_LOOPBACK: Final = "127.0.0.1"


class Sandbox:
    """A running sandbox.

    Attributes:
        port: takes STARTTLS; `tls_port` speaks TLS from the first byte.
        ca_file: the PEM file of the authority that its certificate is from.
        user: the one account there is, with `password`.
        messages: what it took, in memory.
        attempts: every try to sign in.
        transcript: what was said, credentials masked: `C:` the client, `S:` the sandbox.
    """

    host: Final = HOST

    def __init__(
        self,
        scenario: Scenario,
        user: str,
        password: Secret,
        ca_file: Path,
        context: ssl.SSLContext,
        listener: Callable[[str], None] | None,
    ) -> None:
        self.scenario = scenario
        self.context = context
        self.user, self.password = user, password
        self.ca_file = str(ca_file)
        self.port = self.tls_port = 0
        self.messages: list[Received] = []
        self.attempts: list[Attempt] = []
        self.transcript: list[str] = []
        self._listener = listener
        self._clients: set[asyncio.Task[None]] = set()

    def profile(self, security: Security = Security.STARTTLS) -> Profile:
        """How a client reaches it."""
        port = self.tls_port if security is Security.TLS else self.port
        return Profile(host=HOST, port=port, security=security, user=self.user, ca_file=self.ca_file, timeout=10.0)

    def note(self, line: str) -> None:
        """Adds a line to the transcript, masked once more: a client may say its password anywhere."""
        masked = mask(line, [self.password])
        if len(self.transcript) < MOST_LINES:
            self.transcript.append(masked)
        if self._listener:
            self._listener(masked)

    def is_right(self, user: str, password: str) -> bool:
        """Whether that is the account of this sandbox."""
        return user == self.user and hmac.compare_digest(password.encode(), self.password.reveal().encode())

    async def start(self) -> list[asyncio.Server]:
        """Opens both doors on free ports of the loopback interface."""
        doors = []
        for tls in (False, True):
            context = self.context if tls else None
            door = await asyncio.start_server(partial(self._welcome, tls=tls), _LOOPBACK, 0, limit=1 << 16, ssl=context)
            doors.append(door)
        self.port, self.tls_port = (door.sockets[0].getsockname()[1] for door in doors)
        return doors

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, tls: bool) -> None:
        task = asyncio.current_task()
        if task is None or len(self._clients) >= MOST_CLIENTS:
            writer.close()
            return
        self._clients.add(task)
        self.note(f"-- a client{', TLS' if tls else ''}")
        try:
            await Session(self, reader, writer, tls=tls).run()
        except asyncio.CancelledError:
            pass  # the sandbox closes
        finally:
            self._clients.discard(task)
            writer.close()
            with suppress(ConnectionError, ssl.SSLError, TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(1):
                    await writer.wait_closed()

    async def stop(self, doors: list[asyncio.Server]) -> None:
        """Closes the doors and sends everybody home."""
        for door in doors:
            door.close()
        clients = list(self._clients)
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        for door in doors:
            await door.wait_closed()


@asynccontextmanager
async def open_sandbox(
    scenario: str = "good",
    *,
    user: str = "you@example.test",
    password: Secret | None = None,
    listener: Callable[[str], None] | None = None,
) -> AsyncIterator[Sandbox]:
    """A sandbox for as long as the block lasts.

    Args:
        scenario: one of `kit.sandbox.scenarios.scenarios()`.
        user: the name of its one account.
        password: of that account; a new one by default.
        listener: is told each line of the transcript as it is said.

    Raises:
        UsageError: there is no such scenario.
    """
    chosen = find_scenario(scenario)
    with tempfile.TemporaryDirectory(prefix="kit-sandbox-") as folder:
        ca_file, server_file = issue(Path(folder))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(server_file)
        server_file.unlink()
        sandbox = Sandbox(chosen, user, password or Secret(secrets.token_urlsafe(12)), ca_file, context, listener)
        doors = await sandbox.start()
        try:
            yield sandbox
        finally:
            await sandbox.stop(doors)
