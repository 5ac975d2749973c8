"""A run with known truth: what real clients did to a real OpenSMTPD is what its log is read as, each try once.

What it does not write is named in UNWRITTEN.
"""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import kit
from tests.logs.slow_reader import read_slowly
from tests.servers.drive import SmtpClient
from tests.servers.opensmtpd import PASSWORD, USER, opensmtpd

pytestmark = pytest.mark.needs("opensmtpd")

CONNECTIONS = 240
STRANGERS = [
    "mallory",
    "mallory@example.test",
    "al ice\tx",
    "josé result=ok",
    'a" result="535',
    "user=b address=203.0.113.9",
    "a\\b",
    "\x7f\x01",
]
UNWRITTEN = [
    "the service: one port or another",
    "the mechanism of a success",
    "whether a user is unknown or a password wrong",
    "the user of a try that never came to a password",
    "a try in whose middle the client vanished",
    "whether a client cancelled, or answered what cannot be read: both are malformed",
]

# One try: address, outcome, user, mechanism, TLS.
Try = tuple[str, str, str | None, str | None, str | None]


class Plain(SmtpClient):
    """Without TLS, where AUTH is not offered."""

    def __init__(self, sock: socket.socket, *_: object, implicit: bool) -> None:
        self._take(sock)
        self.hear()
        self.say("EHLO pc")


class Player:
    """Plays one connection from an address of its own, and keeps the truth about it."""

    def __init__(self, server, number: int) -> None:
        self._server, self._random = server, random.Random(number)
        self._address = f"127.0.{number // 250}.{number % 250 + 2}"
        self._kind = KINDS[number % len(KINDS)]
        self._implicit = number % 2 == 0
        self.truth: list[Try] = []

    def play(self) -> list[Try]:
        plain = self._kind is Player.not_offered
        port = self._server.plain_port if plain else self._server.tls_port if self._implicit else self._server.port
        tls = ssl.create_default_context(cafile=self._server.ca_file)
        sock = socket.create_connection(("localhost", port), timeout=30, source_address=(self._address, 0))
        client = (Plain if plain else SmtpClient)(sock, tls, implicit=self._implicit)
        with contextlib.suppress(OSError):  # who vanished cannot say farewell
            self._kind(self, client)
        client.leave()
        return self.truth

    def _add(self, outcome: str, user: str | None = None, mechanism: str | None = None, tls: str | None = "TLSv1.3") -> None:
        self.truth.append((self._address, outcome, user, mechanism, tls))

    def good(self, client: SmtpClient) -> None:
        assert client.sign_in(self._random.choice(["PLAIN", "LOGIN"]), USER, PASSWORD)
        self._add("success", USER)

    def bad(self, client: SmtpClient) -> None:
        user, mechanism = self._random.choice([USER, *STRANGERS]), self._random.choice(["PLAIN", "LOGIN"])
        assert not client.sign_in(mechanism, user, "wrong")
        self._add("failure", user, mechanism)

    def twice(self, client: SmtpClient) -> None:
        self.bad(client)
        self.bad(client)

    def bad_then_good(self, client: SmtpClient) -> None:
        self.bad(client)
        self.good(client)

    def good_then_again(self, client: SmtpClient) -> None:
        self.good(client)
        client.refused("PLAIN")
        self._add("refused", mechanism="PLAIN")

    def aborted(self, client: SmtpClient) -> None:
        client.begin("LOGIN")
        client.abort()
        self._add("malformed", mechanism="LOGIN")

    def malformed(self, client: SmtpClient) -> None:
        client.refused("PLAIN !!!!")
        self._add("malformed", mechanism="PLAIN")

    def unsupported(self, client: SmtpClient) -> None:
        client.refused("CRAM-MD5")
        self._add("refused", mechanism="CRAM-MD5")

    def not_offered(self, client: SmtpClient) -> None:
        client.refused('PLAIN AGFsaWNlAGdvb2QtYWxpY2U= x" result="535 y')
        self._add("refused", mechanism="PLAIN", tls=None)

    def vanished(self, client: SmtpClient) -> None:
        client.begin("LOGIN")
        client.vanish()


KINDS: list[Callable[[Player, SmtpClient], None]] = [
    *(Player.good, Player.bad, Player.twice, Player.bad_then_good, Player.good_then_again),
    *(Player.aborted, Player.malformed, Player.unsupported, Player.not_offered, Player.vanished),
]


@pytest.fixture(scope="module")
def played(tmp_path_factory) -> tuple[list[Try], Path]:
    """What was done, and the log of it."""
    with opensmtpd() as server:
        start = server.log_file.stat().st_size
        with ThreadPoolExecutor(8) as pool:
            truth = [each for tries in pool.map(lambda number: Player(server, number).play(), range(CONNECTIONS)) for each in tries]
        size = -1
        while size != (size := server.log_file.stat().st_size):
            time.sleep(0.5)
        path = tmp_path_factory.mktemp("truth") / "mail.log"
        path.write_bytes(server.log_file.read_bytes()[start:])
    return truth, path


def test_every_try_is_found_once_and_none_is_invented(played):
    truth, path = played
    rows = kit.read_logs(path).table.to_pylist()
    found = Counter((r["client_ip"], r["outcome"], r["user"], r["mechanism"], r["tls"]) for r in rows for _ in range(r["count"]))
    expected = Counter(truth)
    both = (found & expected).total()
    print(f"OpenSMTPD: {len(truth)} tries; recall {both / expected.total():.1%}, precision {both / found.total():.1%}")
    print("it does not write: " + "; ".join(UNWRITTEN))
    assert len(truth) >= 200
    assert sorted((expected - found).elements(), key=str) == [], "tries that were not found"
    assert sorted((found - expected).elements(), key=str) == [], "tries that nobody made"


def test_every_line_is_accounted_for_and_the_slow_reader_agrees(played):
    _, path = played
    log = kit.read_logs(path)
    assert (log.coverage.not_understood, log.coverage.undecodable) == (0, 0)
    attempts, coverage = read_slowly(path, year=2026)
    assert {name: getattr(log.coverage, name) for name in coverage} == coverage
    assert log.table.to_pylist() == attempts


def test_no_credentials_are_kept(played):
    """A client that tries PLAIN where it is not offered has its password in the log."""
    _, path = played
    assert b"AGFsaWNlAGdvb2QtYWxpY2U=" in path.read_bytes()
    assert "AGFsaWNlAGdvb2QtYWxpY2U=" not in str(kit.read_logs(path).table.to_pylist())
