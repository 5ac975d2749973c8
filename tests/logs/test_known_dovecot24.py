"""A run with known truth: what real clients did to a real Dovecot 2.4 is what its log is read as, with auth_verbose and without.

Without it, of a connection's tries only the number and the last user are logged, and nothing of those before a sign-in: NOT_LOGGED.
"""

from __future__ import annotations

import random
import ssl
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from socket import create_connection

import pytest

from tests.logs.known import compare, covered
from tests.servers.dovecot24 import USERS, Dovecot24, dovecot24
from tests.servers.drive import MECHANISMS, Client, ImapClient, SmtpClient, Try

pytestmark = pytest.mark.needs("dovecot24")
CONNECTIONS = 220
NOT_LOGGED = "failed before a sign-in"
STRANGERS = ("admin", "o'neil", "a b", "x>, rip=203.0.113.9", "tom,203.0.113.9,sasl:plain)<x>: passwd-file: y", "info@example.net")


class _Player:
    """Plays one connection from an address of its own, for Dovecot lets an address wait that failed; keeps what a perfect log is read as."""

    def __init__(self, server: Dovecot24, number: int, verbose: bool) -> None:
        self._server, self._verbose = server, verbose
        self._random = random.Random(number)
        self._service = ("imap", "submission")[number % 2]
        kinds = [getattr(self, name) for name in dir(self) if name.startswith("play_")]
        self._kind = kinds[number // 2 % len(kinds)]
        self._address = f"127.0.{1 + number // 250}.{1 + number % 250}"
        self.truth: list[Try] = []
        self.not_logged = 0

    def play(self) -> _Player:
        imap, in_clear = self._service == "imap", self._kind == self.play_in_clear
        port = self._server.submission_port if not imap else self._server.imap_port if in_clear else self._server.imaps_port
        sock = create_connection(("127.0.0.1", port), timeout=10, source_address=(self._address, 0))
        if in_clear:
            self.play_in_clear(sock)
            return self
        trusting = ssl.create_default_context(cafile=self._server.ca_file)
        client = ImapClient(sock, trusting, implicit=True) if imap else SmtpClient(sock, trusting, implicit=False)
        try:
            self._kind(client)
        finally:
            client.leave()
        return self

    def play_good(self, client: Client) -> None:
        self._sign_in(client)

    def play_bad(self, client: Client) -> None:
        self._bad(client, self._random.choice(STRANGERS), self._random.choice(MECHANISMS))

    def play_bad_twice(self, client: Client) -> None:
        mechanism = self._random.choice(MECHANISMS)
        self._bad(client, self._random.choice(sorted(USERS)), mechanism)
        self._bad(client, self._random.choice(STRANGERS), mechanism)
        if not self._verbose:
            last = self.truth.pop()
            self.truth = [last, last]

    def play_bad_then_good(self, client: Client) -> None:
        self._bad(client, "bob", "PLAIN")
        if not self._verbose:
            self.truth.pop()
            self.not_logged += 1
        self._sign_in(client)

    def play_aborted(self, client: Client) -> None:
        client.begin("LOGIN")
        client.abort()
        self._add("aborted", "aborted", mechanism="LOGIN")

    def play_vanished(self, client: Client) -> None:
        client.begin("LOGIN")
        client.vanish()
        self._add("aborted", "aborted", mechanism="LOGIN")

    def play_malformed(self, client: Client) -> None:
        client.refused("PLAIN !!!!")
        self._add("malformed", "malformed", mechanism="PLAIN")

    def play_unknown_mechanism(self, client: Client) -> None:
        client.refused("XOAUTH2 dXNlcj1h")
        self._add("refused", "mechanism-unsupported", mechanism="XOAUTH2")

    def play_in_clear(self, sock) -> None:
        """A password without TLS is not looked at."""
        imap = self._service == "imap"
        with sock, sock.makefile("rb") as heard:
            heard.readline()
            sock.sendall(b"a LOGIN bob secret\r\n" if imap else b"EHLO pc\r\n")
            while not heard.readline().startswith((b"a NO", b"250 ")):
                pass
            if imap:
                sock.sendall(b"b LOGOUT\r\n")
                heard.read()
                self._add("refused", "tls-required", user="bob")
            else:
                sock.sendall(b"AUTH PLAIN AGJvYgBzZWNyZXQ=\r\n")
                assert heard.readline().startswith(b"5")
                self._add("refused", "tls-required", mechanism="PLAIN")

    def _sign_in(self, client: Client) -> None:
        user, mechanism = self._random.choice(sorted(USERS)), self._random.choice(MECHANISMS)
        assert client.sign_in(mechanism, user, USERS[user])
        self._add("success", "none", user, mechanism)

    def _bad(self, client: Client, user: str, mechanism: str) -> None:
        known = user in USERS
        assert not client.sign_in(mechanism, user, "wrong")
        cause = ("wrong-password" if known else "unknown-user") if self._verbose else "credentials"
        self._add("failure", cause, user, mechanism)

    def _add(self, outcome: str, cause: str, user: str | None = None, mechanism: str | None = None) -> None:
        self.truth.append(Try(service=self._service, address=self._address, outcome=outcome, cause=cause, user=user, mechanism=mechanism))


@pytest.fixture(scope="module", params=[True, False], ids=["verbose", "default"])
def played(request, tmp_path_factory):
    """What was done, and the log of it."""
    with dovecot24(verbose=request.param) as server:
        start = server.root.log_file.stat().st_size
        with ThreadPoolExecutor(6) as pool:
            players = list(pool.map(lambda number: _Player(server, number, request.param).play(), range(CONNECTIONS)))
        server.root.wait_for_quiet()
        path = tmp_path_factory.mktemp("dovecot") / "mail.log"
        path.write_bytes(server.root.log_file.read_bytes()[start:])
    return request.param, players, path


def test_every_try_is_found_once_and_none_is_invented(played, capsys):
    verbose, players, path = played
    truth = [each for player in players for each in player.truth]
    silent = Counter({NOT_LOGGED: sum(player.not_logged for player in players)})
    assert len(truth) >= 200
    with capsys.disabled():
        compare(f"Dovecot 2.4{', verbose' if verbose else ''}", path, truth, +silent)


def test_every_line_is_accounted_for(played):
    covered(played[2])
