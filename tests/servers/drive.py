"""Clients that sign in well and badly, and remember what they did: the truth that a log is held to."""

from __future__ import annotations

import base64
import contextlib
import random
import smtplib
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.servers.postfix_dovecot import Servers


@dataclass(frozen=True, kw_only=True)
class Try:
    """One try to sign in. None is what the servers do not log."""

    service: str
    outcome: str
    address: str
    user: str | None
    mechanism: str | None


def play(servers: Servers, times: int) -> list[Try]:
    """Plays that many connections, several at once, and returns the truth about them."""
    with ThreadPoolExecutor(8) as pool:
        return [each for truth in pool.map(lambda seed: Player(servers, seed).play(), range(times)) for each in truth]


class Player:
    """Plays one connection from an address of its own, and keeps the truth about it."""

    def __init__(self, servers: Servers, seed: int) -> None:
        self._servers = servers
        self._random = random.Random(seed)
        self._tls = ssl.create_default_context(cafile=servers.ca_file)
        self.truth: list[Try] = []
        self._smtp = {
            "smtp": servers.smtp_port,
            "submission": servers.submission_port,
            "submissions": servers.submissions_port,
            "dovecot": servers.dovecot_submission_port,
        }

    def play(self) -> list[Try]:
        service = self._random.choice([*self._smtp, "imap", "imaps"])
        if service in ("imap", "imaps"):
            self._play_imap(service)
        else:
            kinds = (self._good, self._bad, self._bad, self._twice, self._aborted, self._vanished, self._malformed, self._unknown_mechanism)
            self._random.choice(kinds)(service)
        return self.truth

    # ------------------------------------------------------------------------------------ SMTP

    @contextlib.contextmanager
    def _client(self, service: str) -> Iterator[tuple[smtplib.SMTP, str]]:
        address = f"127.0.0.{self._random.randint(2, 250)}"
        port = self._smtp[service]
        if service == "submissions":
            client: smtplib.SMTP = smtplib.SMTP_SSL(
                "localhost", port, context=self._tls, source_address=(address, 0), timeout=10, local_hostname="pc"
            )
        else:
            client = smtplib.SMTP("localhost", port, source_address=(address, 0), timeout=10, local_hostname="pc")
            client.ehlo()
            client.starttls(context=self._tls)
        client.ehlo()
        try:
            yield client, address
        finally:
            with contextlib.suppress(smtplib.SMTPException, OSError):
                client.quit()

    def _good(self, service: str) -> None:
        user, password = self._random.choice(sorted(self._servers.users.items()))
        mechanism = self._random.choice(("PLAIN", "LOGIN", "CRAM-MD5"))
        with self._client(service) as (client, address):
            assert self._auth(client, mechanism, user, password) == 235
            mails = self._random.randint(0, 2) if service != "dovecot" else 0
            for _ in range(mails):
                client.sendmail(user, ["bob@example.test"], "Subject: x\r\n\r\nx\r\n")
            known = mails > 0 or service == "dovecot"  # Postfix names who signed in only with a message
            self._add(service, "success", address, user if known else None, mechanism if known else None)

    def _bad(self, service: str) -> None:
        with self._client(service) as (client, address):
            self._one_bad(service, client, address)

    def _twice(self, service: str) -> None:
        """Two bad tries over one connection; the mechanism is the same, for Dovecot's submission names only the last one."""
        mechanism = self._random.choice(("PLAIN", "LOGIN", "CRAM-MD5"))
        with self._client(service) as (client, address):
            self._one_bad(service, client, address, mechanism)
            self._one_bad(service, client, address, mechanism)

    def _one_bad(self, service: str, client: smtplib.SMTP, address: str, mechanism: str | None = None) -> None:
        known = self._random.random() < 0.5
        user = (
            self._random.choice(sorted(self._servers.users))
            if known
            else self._random.choice(("admin", "info@example.net", "o'neil@example.test"))
        )
        mechanism = mechanism or self._random.choice(("PLAIN", "LOGIN", "CRAM-MD5"))
        if "'" in user and mechanism == "CRAM-MD5":
            user = "admin"
        assert self._auth(client, mechanism, user, "wrong") == 535
        self._add(service, "failure", address, user, mechanism)

    def _aborted(self, service: str) -> None:
        with self._client(service) as (client, address):
            client.docmd("AUTH", "LOGIN")
            assert client.docmd("*")[0] == 501
            self._add(service, "aborted", address, None, "LOGIN")

    def _vanished(self, service: str) -> None:
        with self._client(service) as (client, address):
            client.docmd("AUTH", "LOGIN")
            assert client.sock is not None
            client.sock.shutdown(socket.SHUT_RDWR)
            client.close()
            self._add(service, "aborted", address, None, "LOGIN" if service == "dovecot" else None)

    def _malformed(self, service: str) -> None:
        with self._client(service) as (client, address):
            assert client.docmd("AUTH", "PLAIN !!!!")[0] in (501, 535)
            self._add(service, "malformed", address, None, "PLAIN")

    def _unknown_mechanism(self, service: str) -> None:
        with self._client(service) as (client, address):
            client.docmd("AUTH", "XOAUTH2 dXNlcj1h")
            self._add(service, "refused", address, None, "XOAUTH2")

    def _auth(self, client: smtplib.SMTP, mechanism: str, user: str, password: str) -> int:
        client.user, client.password = user, password
        with contextlib.suppress(smtplib.SMTPAuthenticationError):
            code, _ = client.auth(mechanism, getattr(client, f"auth_{mechanism.lower().replace('-', '_')}"), initial_response_ok=True)
            return code
        return 535

    # ------------------------------------------------------------------------------------ IMAP

    def _play_imap(self, service: str) -> None:
        port = self._servers.imap_port if service == "imap" else self._servers.imaps_port
        address = f"127.0.0.{self._random.randint(2, 250)}"
        sock = socket.create_connection(("localhost", port), timeout=10, source_address=(address, 0))
        if service == "imaps":
            sock = self._tls.wrap_socket(sock, server_hostname="localhost")
        good = self._random.random() < 0.5
        user, password = self._random.choice(sorted(self._servers.users.items()))
        with sock, sock.makefile("rwb") as wire:
            wire.readline()
            blob = base64.b64encode(f"\0{user}\0{password if good else 'wrong'}".encode()).decode()
            wire.write(f"a AUTHENTICATE PLAIN {blob}\r\n".encode())
            wire.flush()
            while not (line := wire.readline()).startswith(b"a "):
                assert line, "the server hung up"
            assert line.startswith(b"a OK" if good else b"a NO"), line
            wire.write(b"b LOGOUT\r\n")
            wire.flush()
            wire.read()
        # Both ports log as imap; Dovecot does not write which of them it was.
        self._add("imap", "success" if good else "failure", address, user, "PLAIN")

    def _add(self, service: str, outcome: str, address: str, user: str | None, mechanism: str | None) -> None:
        service = "submission" if service == "dovecot" else service
        self.truth.append(Try(service=service, outcome=outcome, address=address, user=user, mechanism=mechanism))
