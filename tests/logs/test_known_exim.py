"""A run with known truth: what real clients did to two real Exims is what their logs are read as, from Exim's own file and from syslog.

What Exim logs of a try depends on its log_selector; what it does not log is named in NOT_LOGGED, and in `_Player`.
"""

from __future__ import annotations

import random
import ssl
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from socket import create_connection

import pytest

import kit
from tests.logs.known import compare, covered
from tests.servers.drive import MECHANISMS, SmtpClient, Try
from tests.servers.exim_logs import RELEASES, USERS, EximLogs, exim_logs

pytestmark = pytest.mark.needs("exim-logs")
CONNECTIONS = 210
NOT_LOGGED = "signed in, and sent nothing"  # by what Debian's configuration logs
STRANGERS = (
    *("admin", "o'neil@example.test", "a b", "jürgen", "tom, rip=203.0.113.9", "x) [203.0.113.9]:1: 535 y", '"q" (set_id=root)'),
    *("a\nb", "back\\slash", "plain_server authenticator failed for (pc) [203.0.113.9]: 535 Incorrect authentication data"),
)


class _Player:
    """Plays one connection, and keeps what a perfect log would be read as."""

    def __init__(self, server: EximLogs, number: int, selector: str) -> None:
        self._server, self._full = server, selector == "full"
        self._random = random.Random(number)
        self._port = ("smtp", "submission", "submissions")[number % 3]
        kinds = [getattr(self, name) for name in dir(self) if name.startswith("play_")]
        self._kind = kinds[number // 3 % len(kinds)]
        self._address = f"127.0.0.{self._random.randint(2, 250)}"
        self.truth: list[Try] = []
        self.not_logged = 0
        # Where the log names neither process nor port, nothing tells how many connections its lines are of:
        self.more: Counter[Try] = Counter()  # each message counts
        self.less: Counter[Try] = Counter()  # and no refusal of one

    def play(self) -> _Player:
        port = getattr(self._server, f"{self._port}_port")
        sock = create_connection(("127.0.0.1", port), timeout=10, source_address=(self._address, 0))
        client = SmtpClient(sock, _trusting(self._server.ca_file), implicit=self._port == "submissions")
        try:
            self._kind(client)
        finally:
            client.leave()
        return self

    def play_mail(self, client: SmtpClient) -> None:
        self._sign_in(client)
        mails = self._random.randint(1, 3)
        for _ in range(mails):
            client.send("alice@example.test", "carol@example.net")
        self.more[self.truth[-1]] = mails - 1

    def play_refused_mail(self, client: SmtpClient) -> None:
        self._sign_in(client)
        client.say("MAIL FROM:<alice@example.test>")
        assert client.say("RCPT TO:<no@example.test>").startswith(b"550")
        assert client.say("RCPT TO:<no@example.test>").startswith(b"550")
        self.less[self.truth[-1]] = 1

    def play_no_mail(self, client: SmtpClient) -> None:
        self._sign_in(client)
        if not self._full:
            self.truth.pop()
            self.not_logged += 1

    def play_bad(self, client: SmtpClient) -> None:
        self._bad(client, self._random.choice(STRANGERS))

    def play_bad_twice(self, client: SmtpClient) -> None:
        """One name twice within a second, as a client does that asks for no new password."""
        user = self._random.choice(sorted(USERS))
        self._bad(client, user, "LOGIN")
        self._bad(client, user, "LOGIN")

    def play_bad_then_mail(self, client: SmtpClient) -> None:
        self._bad(client, "alice")
        self.play_mail(client)

    def play_aborted(self, client: SmtpClient) -> None:
        client.begin("LOGIN")
        client.abort()
        self._add("aborted", "aborted", mechanism="LOGIN")

    def play_vanished(self, client: SmtpClient) -> None:
        """Exim takes that for a failure, and knows no name."""
        client.begin("LOGIN")
        client.vanish()
        self._add("failure", "credentials", mechanism="LOGIN")

    def play_malformed(self, client: SmtpClient) -> None:
        client.refused("PLAIN !!!!")
        self._add("malformed", "malformed", mechanism="PLAIN")

    def play_unknown_mechanism(self, client: SmtpClient) -> None:
        client.refused("XOAUTH2 dXNlcj1hbGljZQFhdXRoPUJlYXJlciBzZWNyZXQBAQ==")
        self._add("refused", "mechanism-unsupported", mechanism="XOAUTH2")

    def play_not_advertised(self, client: SmtpClient) -> None:
        assert client.say("HELO pc").startswith(b"250")
        assert client.say("AUTH PLAIN AGFsaWNlAGdvb2QtYWxpY2U=").startswith(b"503")
        self._add("refused", "auth-not-offered", mechanism="PLAIN")

    def _sign_in(self, client: SmtpClient) -> None:
        user, mechanism = self._random.choice(sorted(USERS)), self._random.choice(MECHANISMS)
        assert client.sign_in(mechanism, user, USERS[user])
        self._add("success", "none", user, mechanism)

    def _bad(self, client: SmtpClient, user: str, mechanism: str | None = None) -> None:
        mechanism = mechanism or self._random.choice(("PLAIN", "LOGIN"))
        assert not client.sign_in(mechanism, user, "wrong")
        # Exim writes a line end as \\n, and octets beyond ASCII in octal, which is undone.
        self._add("failure", "credentials", user.replace("\n", r"\n"), mechanism)

    def _add(self, outcome: str, cause: str, user: str | None = None, mechanism: str | None = None) -> None:
        # The ports are none that a service is known by, and without +incoming_interface not even they are told.
        service = "other" if self._full else None
        self.truth.append(Try(service=service, address=self._address, outcome=outcome, cause=cause, user=user, mechanism=mechanism))


def _trusting(ca_file: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


@pytest.fixture(scope="module", params=[(release, selector) for release in RELEASES for selector in ("debian", "full")], ids="-".join)
def played(request, tmp_path_factory):
    """What was done; and both logs of it."""
    release, selector = request.param
    with exim_logs(release, selector) as server:
        with ThreadPoolExecutor(6) as pool:
            players = list(pool.map(lambda number: _Player(server, number, selector).play(), range(CONNECTIONS)))
        server.root.wait_for_quiet()
        folder = tmp_path_factory.mktemp("exim")
        logs = {"file": folder / "mainlog", "syslog": folder / "syslog"}
        logs["file"].write_bytes(server.main_log.read_bytes())
        logs["syslog"].write_bytes(server.root.log_file.read_bytes())
    assert f" exim {RELEASES[release]}" in logs["file"].read_text("utf-8")
    return request.param, players, logs


@pytest.mark.parametrize("log", ["file", "syslog"])
def test_every_try_is_found_once_and_none_is_invented(played, log, capsys):
    (release, selector), players, logs = played
    truth = Counter(each for player in players for each in player.truth)
    if log == "file" and selector == "debian":
        for player in players:
            truth += player.more
            truth -= player.less
    silent = Counter({NOT_LOGGED: sum(player.not_logged for player in players)})
    assert truth.total() + silent.total() >= 200
    with capsys.disabled():
        compare(f"Exim {RELEASES[release]}, {selector}, {log}", logs[log], truth.elements(), +silent)


@pytest.mark.parametrize("log", ["file", "syslog"])
def test_every_line_is_accounted_for(played, log):
    covered(played[2][log])


def test_no_password_is_shown(played):
    _, _, logs = played
    for log in logs.values():
        text = "".join(row["text"] for row in kit.read_logs(log).table.to_pylist())
        assert "AGFsaWNlAGdvb2QtYWxpY2U" not in text
        assert "dXNlcj1hbGljZQFhdXRoPUJlYXJlciBzZWNyZXQBAQ" not in text


def test_tls_is_told_with_the_sign_in(played):
    _, _, logs = played
    rows = [row for row in kit.read_logs(logs["file"]).table.to_pylist() if row["outcome"] == "success"]
    assert {row["tls"] for row in rows} == {"TLSv1.3"}
