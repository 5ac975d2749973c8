"""Clients that sign in over IMAP, POP3 and SMTP, well and badly, and remember what they did.

What a server writes of it is that server's own: its test says so.
"""

from __future__ import annotations

import random
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from tests.servers.drive import Client, ImapClient, SmtpClient

Kind = Literal["good", "wrong", "unknown", "aborted", "vanished", "malformed", "no-such-mechanism"]
STRANGERS = ("nobody", "info@example.net", "o'neil")
# What a client might call itself to look like another line, or to break the one it is in.
ODD = (
    "al ice, rip=192.0.2.77",
    "a] [192.0.2.5",
    "b) [SASL(-13): user not found: x]",
    "c User logged in",
    'd" e',
    "f\\g",
    "x, ip=[192.0.2.5]",
    "A" * 70,
)


@dataclass(frozen=True, kw_only=True)
class Done:
    """One try, as the client knows it. The mechanism `plaintext` is IMAP's LOGIN, POP3's USER and PASS."""

    service: str
    address: str
    kind: Kind
    user: str | None = None
    mechanism: str


class Imap(ImapClient):
    """With the LOGIN command."""

    def login(self, user: str, password: str) -> bool:
        quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in (user, password))
        return self.say('a LOGIN "{}" "{}"'.format(*quoted)).startswith(b"a OK")


class Pop3(Client):
    """RFC 1939 and 5034."""

    command, goes_on, done, farewell = "AUTH", b"+ ", b"+OK", "QUIT"

    def __init__(self, sock: socket.socket, tls: ssl.SSLContext, *, implicit: bool) -> None:
        super().__init__(tls.wrap_socket(sock, server_hostname="localhost") if implicit else sock)
        self._heard.readline()

    def hear(self) -> bytes:
        return self._heard.readline()

    def login(self, user: str, password: str) -> bool:
        return self.say(f"USER {user}").startswith(b"+OK") and self.say(f"PASS {password}").startswith(b"+OK")


class Smtp(SmtpClient):
    """Which has no other way than SASL."""

    def login(self, user: str, password: str) -> bool:
        return self.sign_in("LOGIN", user, password)


Box = Imap | Pop3 | Smtp


def play(
    ports: Mapping[str, int], ca_file: str, users: Mapping[str, str], mechanisms: tuple[str, ...], times: int, at_once: int = 8
) -> list[Done]:
    """Plays that many connections, several at once: each kind over each service, by each mechanism.

    Args:
        ports: by service; imaps and pop3s speak TLS from the first byte, smtp takes STARTTLS.
    """

    def one(number: int) -> list[Done]:
        return _Player(ports, ca_file, users, mechanisms, number).play()

    with ThreadPoolExecutor(at_once) as pool:
        return [each for done in pool.map(one, range(times)) for each in done]


class _Player:
    """Plays one connection from an address of its own."""

    def __init__(self, ports: Mapping[str, int], ca_file: str, users: Mapping[str, str], mechanisms: tuple[str, ...], number: int) -> None:
        self._random = random.Random(number)
        self._users = users
        self._service, self._port = list(ports.items())[number % len(ports)]
        kinds: tuple[Callable[[Box], None], ...] = (
            *(self._good, self._bad, self._twice, self._bad_then_good, self._odd),
            *(self._aborted, self._vanished, self._malformed, self._no_such_mechanism),
        )
        turn = number // len(ports)
        self._kind = kinds[turn % len(kinds)]
        self._bare = "LOGIN" if self._service == "smtp" else "plaintext"
        mechanism = mechanisms[turn // len(kinds) % len(mechanisms)]
        self._mechanism = self._bare if mechanism == "plaintext" else mechanism
        self._address = f"127.0.0.{self._random.randint(2, 250)}"
        self._ca_file = ca_file
        self._done: list[Done] = []

    def play(self) -> list[Done]:
        with self._client() as client:
            self._kind(client)
        return self._done

    @contextmanager
    def _client(self) -> Iterator[Box]:
        tls = ssl.create_default_context(cafile=self._ca_file)
        sock = socket.create_connection(("localhost", self._port), timeout=20, source_address=(self._address, 0))
        protocol = {"imap": Imap, "pop3": Pop3, "smtp": Smtp}[self._service.removesuffix("s")]
        client = protocol(sock, tls, implicit=self._service.endswith("s"))
        try:
            yield client
        finally:
            client.leave()

    def _try(self, client: Box, user: str, password: str, mechanism: str) -> bool:
        return client.login(user, password) if mechanism == "plaintext" else client.sign_in(mechanism, user, password)

    def _good(self, client: Box) -> None:
        user, password = self._random.choice(sorted(self._users.items()))
        assert self._try(client, user, password, self._mechanism)
        self._add("good", self._mechanism, user)

    def _bad(self, client: Box) -> None:
        known = self._random.random() < 0.5
        user = self._random.choice(sorted(self._users) if known else STRANGERS)
        assert not self._try(client, user, "wrong", self._mechanism)
        self._add("wrong" if known else "unknown", self._mechanism, user)

    def _twice(self, client: Box) -> None:
        self._bad(client)
        self._bad(client)

    def _bad_then_good(self, client: Box) -> None:
        self._bad(client)
        self._good(client)

    def _odd(self, client: Box) -> None:
        for user in self._random.sample(ODD, 2):
            assert not client.login(user, "wrong")
            self._add("unknown", self._bare, user)

    def _aborted(self, client: Box) -> None:
        client.begin("LOGIN")
        client.abort()
        self._add("aborted", "LOGIN")

    def _vanished(self, client: Box) -> None:
        client.begin("LOGIN")
        client.vanish()
        self._add("vanished", "LOGIN")

    def _malformed(self, client: Box) -> None:
        client.begin("PLAIN")
        assert not client.say("!!!!").startswith((client.done, client.goes_on))
        self._add("malformed", "PLAIN")

    def _no_such_mechanism(self, client: Box) -> None:
        client.refused("XOAUTH2")
        self._add("no-such-mechanism", "XOAUTH2")

    def _add(self, kind: Kind, mechanism: str, user: str | None = None) -> None:
        self._done.append(Done(service=self._service, address=self._address, kind=kind, user=user, mechanism=mechanism))
