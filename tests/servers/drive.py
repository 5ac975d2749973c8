"""Clients that sign in well and badly, and remember what they did: the truth that a log is held to."""

from __future__ import annotations

import base64
import contextlib
import hmac
import random
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO

from tests.servers.postfix_dovecot import Servers

MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5")
STRANGERS = ("admin", "info@example.net", "o'neil@example.test")
# What the dialogue calls each port → what its lines are of. Dovecot's ports for IMAP log alike.
SERVICES = {
    "smtp": "smtp",
    "submission": "submission",
    "submissions": "submissions",
    "dovecot_submission": "submission",
    "imap": "imap",
    "imaps": "imap",
}


@dataclass(frozen=True, kw_only=True)
class Try:
    """One try to sign in, as the servers can log it: None is what they do not write."""

    service: str | None
    address: str
    outcome: str
    cause: str
    user: str | None = None
    mechanism: str | None = None


def play(servers: Servers, times: int) -> list[Try]:
    """Plays that many connections, several at once, and returns the truth about them. Each kind comes over each port."""
    with ThreadPoolExecutor(8) as pool:
        return [each for truth in pool.map(lambda number: Player(servers, number).play(), range(times)) for each in truth]


class Player:
    """Plays one connection from an address of its own, and keeps the truth about it."""

    def __init__(self, servers: Servers, number: int) -> None:
        self._servers = servers
        self._random = random.Random(number)
        kinds = (self._good, self._good, self._bad, self._twice, self._aborted, self._vanished, self._malformed, self._unknown_mechanism)
        self._port = list(SERVICES)[number % len(SERVICES)]
        self._kind = kinds[number // len(SERVICES) % len(kinds)]
        self._address = f"127.0.0.{self._random.randint(2, 250)}"
        self._truth: list[Try] = []

    def play(self) -> list[Try]:
        with self._client() as client:
            self._kind(client)
        return self._truth

    @contextlib.contextmanager
    def _client(self) -> Iterator[Client]:
        port = getattr(self._servers, f"{self._port}_port")
        tls = ssl.create_default_context(cafile=self._servers.ca_file)
        sock = socket.create_connection(("localhost", port), timeout=10, source_address=(self._address, 0))
        kind = ImapClient if "imap" in self._port else SmtpClient
        client = kind(sock, tls, implicit=self._port in ("submissions", "imaps"))
        try:
            yield client
        finally:
            client.leave()

    # ------------------------------------------------------------------------------------ what is played

    def _good(self, client: Client) -> None:
        user, password = self._random.choice(sorted(self._servers.users.items()))
        mechanism = self._random.choice(MECHANISMS)
        assert client.sign_in(mechanism, user, password)
        # Postfix names who signed in, and how, only with a message.
        postfix = self._port in ("smtp", "submission", "submissions")
        mails = self._random.randint(0, 2) if postfix else 0
        for _ in range(mails):
            client.send(user, "bob@example.test")
        if postfix and not mails:
            self._add("success", "none")
        else:
            self._add("success", "none", user, mechanism)

    def _bad(self, client: Client) -> None:
        self._one_bad(client, self._random.choice(MECHANISMS))

    def _twice(self, client: Client) -> None:
        """Two bad tries over one connection, by one mechanism: Dovecot's services name only the last."""
        mechanism = self._random.choice(MECHANISMS)
        self._one_bad(client, mechanism)
        self._one_bad(client, mechanism)

    def _one_bad(self, client: Client, mechanism: str) -> None:
        known = self._random.random() < 0.5
        user = self._random.choice(sorted(self._servers.users) if known else STRANGERS)
        if mechanism == "CRAM-MD5":
            user = user.replace("'", "")
        assert not client.sign_in(mechanism, user, "wrong")
        self._add("failure", "wrong-password" if known else "unknown-user", user, mechanism)

    def _aborted(self, client: Client) -> None:
        client.begin("LOGIN")
        if self._random.random() < 0.5:
            client.answer(b"alice@example.test")  # a name is not logged before its password has come
        client.abort()
        self._add("aborted", "aborted", mechanism="LOGIN")

    def _vanished(self, client: Client) -> None:
        client.begin("LOGIN")
        if self._random.random() < 0.5:
            client.answer(b"alice@example.test")
        client.vanish()
        postfix = self._port in ("smtp", "submission", "submissions")  # it counts such a try, and says no more of it
        self._add("aborted", "aborted", mechanism=None if postfix else "LOGIN")

    def _malformed(self, client: Client) -> None:
        client.refused("PLAIN !!!!")
        self._add("malformed", "malformed", mechanism="PLAIN")

    def _unknown_mechanism(self, client: Client) -> None:
        client.refused("XOAUTH2 dXNlcj1h")
        self._add("refused", "mechanism-unsupported", mechanism="XOAUTH2")

    def _add(self, outcome: str, cause: str, user: str | None = None, mechanism: str | None = None) -> None:
        service = SERVICES[self._port]
        self._truth.append(
            Try(service=service, address=self._address, outcome=outcome, cause=cause, user=user, mechanism=mechanism),
        )


# ---------------------------------------------------------------------------------------- how it is said


class Client:
    """A SASL client over a protocol that sends commands of one line. Both protocols end a dialogue of AUTH alike."""

    command: str
    goes_on: bytes
    done: bytes
    farewell: str

    def __init__(self, sock: socket.socket) -> None:
        self._take(sock)

    def _take(self, sock: socket.socket) -> None:
        self._sock = sock
        self._heard: IO[bytes] = sock.makefile("rb")

    def say(self, line: str) -> bytes:
        """Sends a line, and returns the last one of the answer."""
        self._sock.sendall(f"{line}\r\n".encode())
        return self.hear()

    def hear(self) -> bytes:
        raise NotImplementedError

    def send(self, sender: str, recipient: str) -> None:
        raise NotImplementedError

    def leave(self) -> None:
        """Ends the dialogue as the protocol wants it, where the connection still stands."""
        with contextlib.suppress(OSError):
            self.say(self.farewell)
        self._heard.close()
        self._sock.close()

    def sign_in(self, mechanism: str, user: str, password: str) -> bool:
        if mechanism == "PLAIN":
            reply = self.begin("PLAIN " + _base64(f"\0{user}\0{password}".encode()))
        elif mechanism == "LOGIN":
            self.begin("LOGIN")
            reply = self.answer(user.encode())
            if reply.startswith(self.goes_on):  # a name that the server does not even look up is refused before its password
                reply = self.answer(password.encode())
        else:
            challenge = base64.b64decode(self.begin("CRAM-MD5").split()[1])
            reply = self.answer(f"{user} {hmac.new(password.encode(), challenge, 'md5').hexdigest()}".encode())
        return reply.startswith(self.done)

    def begin(self, rest: str) -> bytes:
        return self.say(f"{self.command} {rest}")

    def answer(self, response: bytes) -> bytes:
        return self.say(_base64(response))

    def abort(self) -> None:
        assert not self.say("*").startswith((self.done, self.goes_on))

    def refused(self, rest: str) -> None:
        assert not self.begin(rest).startswith((self.done, self.goes_on))

    def vanish(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)


class SmtpClient(Client):
    command, goes_on, done, farewell = "AUTH", b"334", b"235", "QUIT"

    def __init__(self, sock: socket.socket, tls: ssl.SSLContext, *, implicit: bool) -> None:
        super().__init__(tls.wrap_socket(sock, server_hostname="localhost") if implicit else sock)
        self.hear()
        self.say("EHLO pc")
        if not implicit:
            assert self.say("STARTTLS").startswith(b"220")
            self._take(tls.wrap_socket(sock, server_hostname="localhost"))
            self.say("EHLO pc")

    def hear(self) -> bytes:
        while (line := self._heard.readline())[3:4] == b"-":
            pass
        return line

    def send(self, sender: str, recipient: str) -> None:
        for line in (f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>"):
            assert self.say(line).startswith(b"250")
        assert self.say("DATA").startswith(b"354")
        assert self.say("Subject: x\r\n\r\nx\r\n.").startswith(b"250")


class ImapClient(Client):
    command, goes_on, done, farewell = "a AUTHENTICATE", b"+", b"a OK", "b LOGOUT"

    def __init__(self, sock: socket.socket, tls: ssl.SSLContext, *, implicit: bool) -> None:
        super().__init__(tls.wrap_socket(sock, server_hostname="localhost") if implicit else sock)
        self._heard.readline()

    def hear(self) -> bytes:
        while (line := self._heard.readline()).startswith(b"* "):
            pass
        return line


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
