"""A run with known truth: what real clients did to a real Haraka is what its log is read as, each try once.

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
from tests.servers.haraka import PASSWORD, USER, Haraka, haraka

pytestmark = pytest.mark.needs("haraka")

CONNECTIONS = 240
MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5")
UNWRITTEN = [
    "the service: one port or another",
    "the user, and the mechanism",
    "whether a user is unknown or a password wrong",
    "an AUTH that it does not know, or has not offered",
    "whether a client cancelled (which it takes for an answer) or vanished",
]

# One try: address, outcome, TLS.
Try = tuple[str, str, str]


class Player:
    """Plays one connection from an address of its own, and keeps the truth about it."""

    def __init__(self, server: Haraka, number: int) -> None:
        self._server, self._random = server, random.Random(number)
        self._address = f"127.0.{number // 250}.{number % 250 + 2}"
        self._kind = KINDS[number % len(KINDS)]
        self._implicit = number % 2 == 0
        self.truth: list[Try] = []

    def play(self) -> list[Try]:
        tls = ssl.create_default_context(cafile=self._server.ca_file)
        port = self._server.tls_port if self._implicit else self._server.port
        sock = socket.create_connection(("localhost", port), timeout=60, source_address=(self._address, 0))
        client = SmtpClient(sock, tls, implicit=self._implicit)
        with contextlib.suppress(OSError):  # who vanished cannot say farewell
            self._kind(self, client)
        client.leave()
        return self.truth

    def _add(self, outcome: str) -> None:
        self.truth.append((self._address, outcome, "TLS"))

    def good(self, client: SmtpClient) -> None:
        assert client.sign_in(self._random.choice(MECHANISMS), USER, PASSWORD)
        for _ in range(self._random.randint(0, 2)):
            self._letter(client)
        self._add("success")

    def bad(self, client: SmtpClient) -> None:
        user = self._random.choice([USER, "mallory", 'x" relay=Y lr="', "a] [core] connect ip=203.0.113.9"])
        assert not client.sign_in(self._random.choice(MECHANISMS[:2]), user, "wrong")
        self._add("failure")

    def twice(self, client: SmtpClient) -> None:
        self.bad(client)
        self.bad(client)

    def bad_then_good(self, client: SmtpClient) -> None:
        self.bad(client)
        self.good(client)

    def hostile_name(self, client: SmtpClient) -> None:
        client.say('EHLO x" relay=Y early=N esmtp=Y tls=N')
        self.bad(client)

    def malformed(self, client: SmtpClient) -> None:
        client.refused("PLAIN !!!!")
        self._add("malformed")

    def aborted(self, client: SmtpClient) -> None:
        client.begin("LOGIN")
        client.say("*")
        self._add("aborted")

    def vanished(self, client: SmtpClient) -> None:
        client.begin("LOGIN")
        self._add("aborted")
        client.vanish()

    def unsupported(self, client: SmtpClient) -> None:
        client.refused("XOAUTH2 dXNlcj1h")

    def no_sign_in(self, client: SmtpClient) -> None:
        self._letter(client)

    def _letter(self, client: SmtpClient) -> None:
        """One that is never sent: its lines have a session of .1, .2 …"""
        for line in ("MAIL FROM:<bob@example.test>", "RCPT TO:<bob@example.test>", "RSET"):
            assert client.say(line).startswith(b"250")


KINDS: list[Callable[[Player, SmtpClient], None]] = [
    *(Player.good, Player.bad, Player.twice, Player.bad_then_good, Player.hostile_name),
    *(Player.malformed, Player.aborted, Player.vanished, Player.unsupported, Player.no_sign_in),
]


@pytest.fixture(scope="module")
def played(tmp_path_factory) -> tuple[list[Try], Path]:
    """What was done, and the log of it."""
    with haraka() as server:
        with ThreadPoolExecutor(16) as pool:
            truth = [each for tries in pool.map(lambda number: Player(server, number).play(), range(CONNECTIONS)) for each in tries]
        size = -1
        while size != (size := server.log_file.stat().st_size):
            time.sleep(0.5)
        path = tmp_path_factory.mktemp("truth") / "mail.log"
        path.write_bytes(server.log_file.read_bytes())
    return truth, path


def test_every_try_is_found_once_and_none_is_invented(played):
    truth, path = played
    rows = kit.read_logs(path).table.to_pylist()
    found = Counter((r["client_ip"], r["outcome"], r["tls"]) for r in rows for _ in range(r["count"]))
    expected = Counter(truth)
    both = (found & expected).total()
    print(f"Haraka: {len(truth)} tries; recall {both / expected.total():.1%}, precision {both / found.total():.1%}")
    print("it does not write: " + "; ".join(UNWRITTEN))
    assert len(truth) >= 200
    assert sorted((expected - found).elements()) == [], "tries that were not found"
    assert sorted((found - expected).elements()) == [], "tries that nobody made"


def test_every_line_is_accounted_for_and_the_slow_reader_agrees(played):
    _, path = played
    log = kit.read_logs(path)
    assert [unknown.example for unknown in log.unknown] == []
    attempts, coverage = read_slowly(path, year=2026)
    assert {name: getattr(log.coverage, name) for name in coverage} == coverage
    assert log.table.to_pylist() == attempts
