"""The one sign-in, by stronger mechanisms: what is chosen, what is believed, and what becomes of the attempt."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest

from kit.auth.budget import check_budget
from kit.errors import BudgetSpent, PasswordInClear
from kit.knowledge.findings import found
from kit.model import Profile, Security, Severity
from kit.redact import Secret
from kit.sandbox.signin import MECHANISMS as SERVER
from kit.sandbox.signin import Account
from kit.sending.reply import Offer, parse_reply
from kit.sending.session import Session, Tls
from kit.sending.signin import check_sign_in, choose_mechanism, sign_in

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
USER = "anna@example.test"


def profile(**fields):
    return Profile(**{"host": "mail.example.test", "port": 465, "security": Security.TLS, "user": USER} | fields)


class Server:
    """A wire to a server that has one mechanism of the sandbox's, and its own way to end."""

    timeout = 1.0

    def __init__(self, mechanism, password, *, end=None, proof=None):
        self.heard = []
        self._talk = SERVER[mechanism](Account(user=USER, password=Secret(password)))
        self._end, self._proof, self._claim = end, proof, None

    def put(self, line):
        self.heard.append(line)

    async def hear(self, patience=None):
        return parse_reply(self._reply(self.heard[-1]) + b"\r\n")

    def _reply(self, line):
        if line == b"*":
            return b"501 5.7.0 cancelled"
        if line.startswith(b"AUTH "):
            challenge = next(self._talk)
            blob = line.split(b" ")[2:]
            if not blob:
                return b"334 " + base64.b64encode(challenge)
            line = blob[0]
        if self._claim is not None:
            return b"235 2.7.0 ok" if self._claim.right else b"535 5.7.8 no"
        try:
            return b"334 " + base64.b64encode(self._talk.send(base64.b64decode(line)))
        except StopIteration as stop:
            self._claim = stop.value
        if self._end:
            return self._end
        last = (self._proof or self._claim.proof) if self._claim.right else self._claim.complaint
        return b"334 " + base64.b64encode(last) if last is not None else self._reply(line)


async def run(server, mechanism, tmp_path, *, password="pencil-case", offered=None, now=NOW, tls=True, **how):
    session = Session(secrets=[Secret(password)])
    session.tls = Tls(version="TLSv1.3", cipher="x") if tls else None
    offer = Offer(accepted=True, mechanisms=tuple((offered or mechanism).split()))
    settings = profile(mechanism=None if offered else mechanism)
    worked = await sign_in(
        session, server, settings, Secret(password), offer, helo="client", budget=tmp_path / "attempts", now=lambda: now, **how
    )
    return worked, session


def titles(session):
    """The titles of what was found."""
    return {finding.title for finding in session.findings}


def title(name):
    return found(name, profile()).title


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN"])
async def test_it_works_and_gives_its_attempt_back(mechanism, tmp_path):
    worked, session = await run(Server(mechanism, "pencil-case"), mechanism, tmp_path)
    assert worked
    assert (session.attempt.outcome, session.attempt.mechanism) == ("success", mechanism)
    check_budget(f"{USER}@mail.example.test", now=NOW, limit=1, path=tmp_path / "attempts")


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "CRAM-MD5", "OAUTHBEARER", "XOAUTH2", "EXTERNAL"])
async def test_a_no_is_one_failure_that_counts(mechanism, tmp_path):
    server = Server(mechanism, "another")
    worked, session = await run(server, mechanism, tmp_path)
    assert not worked
    assert session.attempt.outcome == "failure"
    assert sum(line.startswith(b"AUTH") for line in server.heard) == 1
    with pytest.raises(BudgetSpent):
        check_budget(f"{USER}@mail.example.test", now=NOW, limit=1, path=tmp_path / "attempts")
    told = " ".join(session.findings[-1].evidence)
    assert ("https://mail.example.test/" in told) == (mechanism in ("OAUTHBEARER", "XOAUTH2"))


@pytest.mark.parametrize(
    "how",
    [
        {"proof": b"v=" + base64.b64encode(bytes(32))},  # a signature by somebody who does not know the password
        {"end": b"235 2.7.0 ok"},  # none at all
        {"end": b"334 "},
    ],
    ids=["wrong", "none", "empty"],
)
async def test_an_impostor_is_no_success_whatever_it_says(how, tmp_path):
    worked, session = await run(Server("SCRAM-SHA-256", "pencil-case", **how), "SCRAM-SHA-256", tmp_path)
    assert not worked
    finding = session.findings[-1]
    assert (finding.title, finding.severity) == (title("server-unproven"), Severity.ERROR)
    assert title("signed-in") not in titles(session)
    assert session.attempt.outcome == "aborted"
    with pytest.raises(BudgetSpent):
        check_budget(f"{USER}@mail.example.test", now=NOW, limit=1, path=tmp_path / "attempts")


class Scripted:
    """A wire to a server that says what it was told to say."""

    timeout = 1.0

    def __init__(self, *replies):
        self.heard, self._replies = [], iter(replies)

    def put(self, line):
        self.heard.append(line)

    async def hear(self, patience=None):
        return parse_reply(next(self._replies) + b"\r\n")


async def test_a_yes_to_our_no_is_no_yes(tmp_path):
    wire = Scripted(b"334 " + base64.b64encode(b"r=not-ours,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"), b"235 2.7.0 ok")
    worked, session = await run(wire, "SCRAM-SHA-256", tmp_path)
    assert not worked
    assert wire.heard[-1] == b"*"
    assert session.findings[-1].title == title("scram-broken")


async def test_a_server_that_repeats_the_token_in_its_complaint_is_not_quoted(tmp_path):
    secret = "ya29.a-token-of-some-length"
    wire = Scripted(b"334 " + base64.b64encode(b'{"status":"401","token":"' + secret.encode() + b'"}'), b"535 5.7.8 no")
    _, session = await run(wire, "XOAUTH2", tmp_path, password=secret)
    assert secret not in repr(session.findings) + repr(session.steps) + repr(session.attempt)


async def test_nor_is_what_looks_like_another_secret(tmp_path):
    wire = Scripted(b"334 " + base64.b64encode(b'{"status":"401","refresh_token":"0.AXkAsomebodys"}'), b"535 5.7.8 no")
    _, session = await run(wire, "XOAUTH2", tmp_path)
    assert '"status":"401"' in session.findings[-1].evidence[-1]
    assert "0.AXkAsomebodys" not in repr(session.findings)


# --- choosing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "wanted", "chosen", "why"),
    [
        ("PLAIN LOGIN SCRAM-SHA-1 SCRAM-SHA-256", None, "SCRAM-SHA-256", "without sending it"),
        ("PLAIN LOGIN SCRAM-SHA-1", None, "SCRAM-SHA-1", "without sending it"),
        ("SCRAM-SHA-256-PLUS SCRAM-SHA-512 LOGIN PLAIN", None, "PLAIN", "sends the password"),
        ("CRAM-MD5 LOGIN", None, "LOGIN", "sends the password"),
        ("XOAUTH2 OAUTHBEARER PLAIN", None, "PLAIN", "takes a password"),
        ("SCRAM-SHA-256 XOAUTH2", "XOAUTH2", "XOAUTH2", "settings name it"),
        ("SCRAM-SHA-256 CRAM-MD5", "CRAM-MD5", "CRAM-MD5", "settings name it"),
    ],
)
def test_the_strongest_for_this_kind_of_secret(offered, wanted, chosen, why):
    name, reason = choose_mechanism(profile(mechanism=wanted), Offer(accepted=True, mechanisms=tuple(offered.split())))
    assert name == chosen
    assert why in reason
    assert offered in reason


@pytest.mark.parametrize("offered", ["XOAUTH2 OAUTHBEARER", "CRAM-MD5", "EXTERNAL", "SCRAM-SHA-256-PLUS"])
def test_a_password_is_not_sent_where_none_is_wanted(offered):
    assert choose_mechanism(profile(), Offer(accepted=True, mechanisms=tuple(offered.split()))).cause == "mechanism-unsupported"


@pytest.mark.parametrize(
    ("mechanism", "allowed"), [("XOAUTH2", False), ("OAUTHBEARER", False), ("SCRAM-SHA-256", True), ("CRAM-MD5", True)]
)
async def test_in_clear_a_token_is_as_precious_as_a_password(mechanism, allowed, tmp_path):
    settings = profile(port=587, security=Security.NONE, mechanism=mechanism)
    server = Server(mechanism, "pencil-case")
    if not allowed:
        with pytest.raises(PasswordInClear):
            check_sign_in(settings, Secret("pencil-case"), budget=tmp_path / "attempts")
        with pytest.raises(PasswordInClear):
            await run(server, mechanism, tmp_path, tls=False)
        assert server.heard == []
        return
    check_sign_in(settings, Secret("pencil-case"), budget=tmp_path / "attempts")
    worked, session = await run(server, mechanism, tmp_path, tls=False)
    assert worked
    assert title("password-in-clear") not in titles(session)


async def test_scram_yesterday_and_plain_today_is_a_warning(tmp_path):
    await run(Server("SCRAM-SHA-256", "pencil-case"), "SCRAM-SHA-256", tmp_path, offered="SCRAM-SHA-256 PLAIN")
    worked, session = await run(Server("PLAIN", "pencil-case"), "PLAIN", tmp_path, offered="PLAIN", now=NOW + timedelta(days=1))
    assert worked  # it was under TLS, and its operator may have meant it
    (warning,) = [finding for finding in session.findings if finding.severity is Severity.WARNING]
    assert warning.title == title("downgrade")
    assert warning.evidence == ("offered until 2026-11-24 12:00 UTC: SCRAM-SHA-256 PLAIN", "offered now: PLAIN")


async def test_where_the_password_may_be_right_and_scram_impossible_that_is_said(tmp_path):
    _, session = await run(Server("SCRAM-SHA-256", "another"), "SCRAM-SHA-256", tmp_path, offered="SCRAM-SHA-256 PLAIN")
    assert title("scram-not-stored") in titles(session)
    _, session = await run(Server("SCRAM-SHA-256", "another"), "SCRAM-SHA-256", tmp_path, offered="SCRAM-SHA-256")
    assert title("scram-not-stored") not in titles(session)
