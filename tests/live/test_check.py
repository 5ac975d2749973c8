"""The ladder against servers that fail on each rung, and on none."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from contextlib import asynccontextmanager

import pytest

from kit.checks import ladder
from kit.errors import BudgetSpent, PasswordInClear, UsageError
from kit.knowledge.findings import found
from kit.knowledge.load import load_table
from kit.model import Cause, Profile, Security, Severity, to_plain
from kit.redact import Secret
from kit.sending import reach
from tests.live.check_servers import make_pki, serve, smtp

STRONG = "Xq7-kd02mWz-vlPq"
WRONG = {b"AUTH": b"535 5.7.8 Error: authentication failed: \r\n"}


@pytest.fixture
def pki(tmp_path):
    return make_pki(tmp_path)


@pytest.fixture
def budget(tmp_path):
    return tmp_path / "attempts.sqlite"


def names(result):
    return [step.name for step in result.steps]


def worst(result):
    """Causes of what is a warning or an error."""
    return [finding.cause for finding in result.findings if finding.severity in (Severity.WARNING, Severity.ERROR)]


@asynccontextmanager
async def checking(handler, security=Security.STARTTLS, *, pki=None, tls=None):
    """A function that checks the server behind `handler`."""
    async with serve(handler, tls=tls) as server:

        async def check(secret=None, *, more=None, **how):
            profile = Profile(
                **{"host": "127.0.0.1", "port": server.port, "security": security, "timeout": 0.4, "ca_file": pki.ca_file if pki else None}
                | (more or {})
            )
            return await ladder.check(profile, Secret(secret) if secret else None, **how)

        check.server = server
        yield check


# --- all well ----------------------------------------------------------------------------------------------------


async def test_starttls_with_a_good_password(pki, budget):
    answers = {b"EHLO": [b"250-mail\r\n250 STARTTLS\r\n", b"250-mail\r\n250 AUTH PLAIN LOGIN\r\n"]}
    told = []
    async with checking(smtp(answers, tls=pki.server()), pki=pki) as check:
        result = await check("hunter22", more={"user": "anna"}, budget=budget, on_step=told.append, target="work")
        assert result.ok
        assert names(result) == ["resolve", "connect", "banner", "ehlo", "starttls", "tls", "ehlo", "auth", "noop", "quit"]
        assert list(result.steps) == told
        assert all(step.ok for step in result.steps)
        assert result.target == "work"
        assert [finding.severity for finding in result.findings] == [Severity.OK] * 3 + [Severity.NOTE]  # hunter22 is easy to guess
        attempt = result.attempt
        assert (attempt.outcome, attempt.cause, attempt.user, attempt.mechanism) == ("success", "none", "anna", "PLAIN")
        assert attempt.tls in ("TLSv1.2", "TLSv1.3")
        assert (attempt.service, attempt.client_ip, attempt.helo) == ("submission", None, "[127.0.0.1]")
        assert check.server.connections == 1
        # PLAIN of RFC 4616 for anna and hunter22, once.
        assert [line for line in check.server.heard if line.startswith(b"AUTH")] == [b"AUTH PLAIN AGFubmEAaHVudGVyMjI="]


async def test_implicit_tls(pki, budget):
    async with checking(smtp(), Security.TLS, pki=pki, tls=pki.server()) as check:
        result = await check("hunter22", more={"user": "anna", "mechanism": "LOGIN"}, budget=budget)
        assert names(result) == ["resolve", "connect", "tls", "banner", "ehlo", "auth", "noop", "quit"]
        assert result.ok
        assert (result.attempt.service, result.attempt.mechanism) == ("submissions", "LOGIN")


async def test_without_a_password_it_ends_before_auth(pki):
    async with checking(smtp(), Security.TLS, pki=pki, tls=pki.server()) as check:
        result = await check(more={"user": "anna"})
    assert result.ok
    assert result.attempt is None
    assert names(result)[-2:] == ["ehlo", "quit"]
    assert any(finding.severity is Severity.NOTE and "no password" in finding.title for finding in result.findings)


async def test_helo_where_ehlo_is_unknown():
    async with checking(smtp({b"EHLO": b"502 what?\r\n", b"HELO": b"250 mail\r\n"}), Security.NONE) as check:
        result = await check()
    assert names(result) == ["resolve", "connect", "banner", "ehlo", "helo", "quit"]
    assert "auth-not-offered" in worst(result)


# --- the sign-in -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", [None, "PLAIN", "LOGIN"])
async def test_a_wrong_password_is_tried_once(pki, budget, mechanism):
    questions = [b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n"] if mechanism == "LOGIN" else []
    async with checking(smtp({b"AUTH": [*questions, WRONG[b"AUTH"]]}, tls=pki.server()), pki=pki) as check:
        result = await check("wrong-one", more={"user": "anna", "mechanism": mechanism}, budget=budget)
        assert sum(line.startswith(b"AUTH") for line in check.server.heard) == 1
        assert check.server.connections == 1
    assert worst(result)[-1] == "credentials"
    assert (result.attempt.outcome, result.attempt.cause) == ("failure", "credentials")
    assert result.attempt.mechanism == (mechanism or "PLAIN")
    assert [step.ok for step in result.steps if step.name == "auth"] == [True] * len(questions) + [False]
    first = next(step for step in result.steps if step.name == "auth")
    assert (mechanism or "PLAIN") in first.detail


async def test_two_wrong_ones_an_hour_and_then_nothing_is_sent(pki, budget):
    async with checking(smtp(WRONG, tls=pki.server()), pki=pki) as check:
        for _ in range(2):
            await check("wrong-one", more={"user": "anna"}, budget=budget)
        connections = check.server.connections
        with pytest.raises(BudgetSpent):
            await check("wrong-one", more={"user": "anna"}, budget=budget)
        assert check.server.connections == connections
        assert (await check("right?", more={"user": "anna"}, budget=budget, attempts_an_hour=3)).attempt is not None
        assert (await check(more={"user": "anna"}, budget=budget)).attempt is None  # without a password it may always be run


async def test_good_ones_use_nothing_up(pki, budget):
    async with checking(smtp(tls=pki.server()), pki=pki) as check:
        for _ in range(4):
            assert (await check("hunter22", more={"user": "anna"}, budget=budget)).attempt.outcome == "success"


async def test_a_connection_that_ends_during_auth_is_an_aborted_attempt(pki, budget):
    async def handler(line):
        await line.say(b"220 mail\r\n")
        await line.hear()
        await line.say(b"250-mail\r\n250 AUTH PLAIN\r\n")
        await line.hear()

    async with checking(handler, Security.TLS, pki=pki, tls=pki.server()) as check:
        result = await check("hunter22", more={"user": "anna"}, budget=budget)
    assert (result.attempt.outcome, result.attempt.cause) == ("aborted", "aborted")
    assert worst(result) == ["unreachable"]
    with pytest.raises(BudgetSpent):  # the server may have counted it, so it counts
        async with checking(handler, Security.TLS, pki=pki, tls=pki.server()) as check:
            await check("hunter22", more={"user": "anna", "port": result.port}, budget=budget, attempts_an_hour=1)


@pytest.mark.parametrize(
    ("offer", "mechanism", "cause"),
    [
        (b"250 mail\r\n", None, "auth-not-offered"),
        (b"250-mail\r\n250 AUTH GSSAPI XOAUTH2\r\n", None, "mechanism-unsupported"),
        (b"250-mail\r\n250 AUTH PLAIN\r\n", "LOGIN", "mechanism-unsupported"),
    ],
)
async def test_where_no_mechanism_fits_nothing_is_tried(pki, budget, offer, mechanism, cause):
    async with checking(smtp({b"EHLO": offer}), Security.TLS, pki=pki, tls=pki.server()) as check:
        result = await check("hunter22", more={"user": "anna", "mechanism": mechanism}, budget=budget)
        assert not any(line.startswith(b"AUTH") for line in check.server.heard)
    assert result.attempt is None
    assert worst(result) == [cause]


# --- no password in clear -----------------------------------------------------------------------------------------


async def test_a_mechanism_that_shows_the_password_is_refused_without_tls_before_anything_is_sent(budget):
    async with checking(smtp(), Security.NONE) as check:
        with pytest.raises(PasswordInClear):
            await check("hunter22", more={"user": "anna", "mechanism": "PLAIN"}, budget=budget)
        assert check.server.connections == 0


@pytest.mark.parametrize(
    ("offer", "tried", "title"),
    [
        ("PLAIN LOGIN", None, "would show the password"),
        ("CRAM-MD5 PLAIN", None, "would show the password"),  # guessable from what goes over the wire: only where it is named
        ("CRAM-MD5", None, "no mechanism that the kit can use"),
        ("XOAUTH2", None, "no mechanism that the kit can use"),
        ("PLAIN SCRAM-SHA-1 LOGIN", "SCRAM-SHA-1", None),
    ],
)
async def test_without_tls_and_a_named_mechanism_it_depends_on_what_is_offered(budget, offer, tried, title):
    async with checking(smtp({b"EHLO": f"250-mail.example.test\r\n250 AUTH {offer}\r\n".encode()}), Security.NONE) as check:
        result = await check("hunter22", more={"user": "anna"}, budget=budget)
        auths = [line.split()[1].decode() for line in check.server.heard if line.startswith(b"AUTH")]
    assert auths == ([tried] if tried else [])
    assert any(title in finding.title for finding in result.findings) if title else result.attempt.mechanism == tried


async def test_who_allows_it_finds_it_in_the_result(budget):
    async with checking(smtp(), Security.NONE) as check:
        result = await check("hunter22", more={"user": "anna"}, budget=budget, allow_clear=True)
    assert result.attempt.outcome == "success"
    assert result.attempt.tls == "none"
    assert worst(result) == ["tls-required", "tls-required"]
    assert any("password went over" in finding.title for finding in result.findings)


@pytest.mark.parametrize("starttls", [b"454 4.7.0 TLS not available\r\n", b"500 what?\r\n", b"250 fine\r\n"])
async def test_a_server_that_refuses_starttls_hears_no_password(pki, budget, starttls):
    async with checking(smtp({b"STARTTLS": starttls}, tls=pki.server()), pki=pki) as check:
        result = await check("hunter22", more={"user": "anna"}, budget=budget)
        assert not any(line.startswith(b"AUTH") for line in check.server.heard)
    assert not result.ok
    assert result.attempt is None
    assert names(result)[-2:] == ["starttls", "quit"]


async def test_a_server_that_does_not_offer_starttls_hears_no_password(pki, budget):
    async with checking(smtp(), pki=pki) as check:
        result = await check("hunter22", more={"user": "anna"}, budget=budget)
        assert not any(line.startswith(b"AUTH") for line in check.server.heard)
    # It takes passwords before TLS (a warning), and offers none (the error that ends it).
    assert [(finding.cause, finding.severity) for finding in result.findings] == [("tls-required", "warning"), ("tls-required", "error")]


async def test_the_unencrypted_kind_says_that_starttls_is_there(pki):
    async with checking(smtp(tls=pki.server()), Security.NONE) as check:
        result = await check()
    assert "offers STARTTLS" in result.findings[0].title
    assert worst(result) == ["tls-required"]
    # Where AUTH comes only after STARTTLS, its absence before is no finding of its own.
    async with checking(smtp({b"EHLO": b"250-mail\r\n250 STARTTLS\r\n"}, tls=pki.server()), Security.NONE) as check:
        assert worst(await check()) == ["tls-required"]


async def test_port_25_without_auth_is_usual(monkeypatch):
    connect = reach.connect
    async with checking(smtp({b"EHLO": b"250 mail\r\n"}), Security.NONE) as check:

        async def turned(address, profile, context):
            return await connect(type(address)(family=address.family, host=address.host, port=check.server.port), profile, context)

        monkeypatch.setattr(reach, "connect", turned)
        result = await check(more={"port": 25})
    assert [(finding.cause, finding.severity) for finding in result.findings] == [("tls-required", "warning"), ("auth-not-offered", "note")]


@pytest.mark.parametrize(
    ("certificate", "evidence"), [({"name": "other.example.test"}, "mismatch"), ({"days": -1}, "expired"), ({"self_signed": True}, "self")]
)
@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
async def test_a_bad_certificate_ends_it_and_says_in_what_way(pki, budget, certificate, evidence, security):
    context = pki.server(**certificate)
    implicit = security is Security.TLS
    async with checking(smtp(tls=None if implicit else context), security, pki=pki, tls=context if implicit else None) as check:
        result = await check("hunter22", more={"user": "anna"}, budget=budget)
        assert not any(line.startswith(b"AUTH") for line in check.server.heard)
    assert result.findings[-1].cause is Cause.CERTIFICATE
    assert evidence in result.steps[-1].detail
    assert names(result)[-1] == "tls"


# --- servers that are none ----------------------------------------------------------------------------------------


async def mute(line):
    await asyncio.sleep(60)


async def hang_up(line):
    line.writer.close()


async def endless(line):
    while True:
        await line.say(b"220-more and more\r\n" * 500)
        await asyncio.sleep(0)


async def inject(line):
    await line.say(b"220 mail\r\n")
    await line.hear()
    await line.say(b"250-mail\r\n250 STARTTLS\r\n")
    await line.hear()
    await line.say(b"220 go\r\n250 AUTH PLAIN\r\n")
    await asyncio.sleep(1)


def answering_the_hello(data):
    async def handler(line):
        await line.reader.read(10)
        await line.say(data)

    return handler


HOSTILE = {
    # name: (handler, security, cause, the step that fails, words of the title)
    "says nothing": (mute, Security.STARTTLS, "unreachable", "banner", "says nothing"),
    "says nothing to TLS": (mute, Security.TLS, "unreachable", "tls", "does not answer to TLS"),
    "hangs up": (hang_up, Security.STARTTLS, "unreachable", "banner", "without a word"),
    "hangs up on TLS": (answering_the_hello(b""), Security.TLS, "unreachable", "tls", "hangs up during"),
    "endless banner": (endless, Security.STARTTLS, "unreachable", "banner", "no end"),
    "one huge line": (smtp(banner=b"220 " + b"x" * 100_000), Security.STARTTLS, "unreachable", "banner", "no end"),
    "SSH": (smtp(banner=b"SSH-2.0-OpenSSH_9.2p1\r\n"), Security.STARTTLS, "unreachable", "banner", "does not speak SMTP"),
    "binary": (smtp(banner=bytes(range(256)) + b"\n"), Security.STARTTLS, "unreachable", "banner", "does not speak SMTP"),
    "FTP": (smtp({b"EHLO": b"500 what?\r\n"}, banner=b"220 FTP ready\r\n"), Security.STARTTLS, None, "helo", ""),
    "busy": (smtp(banner=b"421 4.3.2 too many connections\r\n"), Security.STARTTLS, None, "banner", ""),
    "shut out": (smtp(banner=b"554 5.7.1 go away\r\n"), Security.STARTTLS, None, "banner", ""),
    "an odd code": (smtp(banner=b"299 hm\r\n"), Security.STARTTLS, "unknown", "banner", "none that SMTP foresees"),
    "mixed codes": (smtp(banner=b"220-mail\r\n554 no\r\n"), Security.STARTTLS, None, "banner", ""),
    "plain where TLS is awaited": (smtp(), Security.TLS, "tls-mismatch", "tls", "plain text"),
    "plain, but late": (answering_the_hello(b"220 mail.example.test ESMTP\r\n"), Security.TLS, "tls-mismatch", "tls", "plain text"),
    "an old TLS": (answering_the_hello(b"\x15\x03\x01\x00\x02\x02\x46"), Security.TLS, "tls-too-old", "tls", "older|TLS version"),
    "a TLS that fails": (
        answering_the_hello(b"\x15\x03\x01\x00\x02\x02\x28"),
        Security.TLS,
        "tls-too-old",
        "tls",
        "no cipher that both take",
    ),
    "slips in": (inject, Security.STARTTLS, "malformed", "tls", "nobody asked for"),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_whatever_answers_ends_in_a_finding_that_helps(case, budget):
    handler, security, cause, step, words = HOSTILE[case]
    async with checking(handler, security) as check:
        result = await check("hunter22", more={"user": "anna"}, budget=budget)
        assert check.server.connections == 1
        assert not any(b"AUTH" in line for line in check.server.heard)
    failed = [each.name for each in result.steps if not each.ok and each.name != "quit"]
    assert failed[-1:] == [step]
    assert not result.ok
    finding = result.findings[-1]
    assert cause in (finding.cause, None)
    assert any(word in finding.title for word in words.split("|"))
    assert finding.next_step
    assert result.attempt is None
    json.dumps(to_plain(result))


async def test_what_came_is_in_the_step_and_in_the_evidence():
    async with checking(inject) as check:
        result = await check()
    assert result.steps[-1].reply.raw == b"250 AUTH PLAIN\r\n"
    assert "250 AUTH PLAIN" in result.findings[-1].evidence
    async with checking(smtp(banner=b"220-mail\r\n554 no\r\n")) as check:
        result = await check()
    assert result.steps[2].reply.raw == b"220-mail\r\n554 no\r\n"
    assert "different codes" in result.steps[2].detail


async def test_what_came_before_a_reset_is_not_lost():
    async def handler(line):
        line.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await line.say(b"554 5.7.1 go away\r\n")
        await line.hear()  # the client's QUIT
        line.writer.transport.abort()  # with that option: a reset

    async with checking(handler) as check:
        result = await check()
    assert result.steps[2].reply.code == 554
    assert [finding.evidence for finding in result.findings] == [("554 5.7.1 go away",)]


async def test_a_reset_right_away_is_a_finding():
    async def handler(line):
        line.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.writer.transport.abort()

    async with checking(handler) as check:
        for _ in range(10):  # whether connect or banner fails is a matter of microseconds
            result = await check()
            assert worst(result) == ["unreachable"]
            assert "without a word" in result.findings[0].title


async def test_port_465_without_tls_is_told_apart(monkeypatch):
    # Nobody may listen on 465 here: the way there is turned to the server of the test.
    async with checking(mute) as check:

        async def turned(address, profile, context):
            return await connect(type(address)(family=address.family, host=address.host, port=check.server.port), profile, context)

        connect = reach.connect
        monkeypatch.setattr(reach, "connect", turned)
        result = await check(more={"port": 465})
    assert result.findings[-1].cause is Cause.TLS_MISMATCH
    assert "465" in result.findings[-1].title


async def test_421_is_not_answered_with_quit():
    async with checking(smtp(banner=b"421 busy\r\n")) as check:
        assert names(await check())[-1] == "banner"


async def test_a_server_that_hangs_up_on_quit_is_still_well(pki):
    async def handler(line):
        await line.say(b"220 mail\r\n")
        await line.hear()
        await line.say(b"250-mail\r\n250 AUTH PLAIN\r\n")
        await line.hear()

    async with checking(handler, Security.TLS, pki=pki, tls=pki.server()) as check:
        assert (await check()).ok


# --- addresses -----------------------------------------------------------------------------------------------------


def addresses(monkeypatch, *hosts):
    async def answer(host, port, **_):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in hosts]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answer, raising=False)


async def test_at_most_three_addresses_are_tried(monkeypatch):
    addresses(monkeypatch, "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.1")
    async with checking(smtp(), Security.NONE) as check:
        result = await check()
        assert names(result) == ["resolve", "connect", "connect", "connect"]
        assert result.findings[-1].cause is Cause.UNREACHABLE
        assert names(await check(gentle=True)) == ["resolve", "connect"]


async def test_a_dead_address_is_a_note_where_another_one_lives(monkeypatch):
    addresses(monkeypatch, "127.0.0.2", "127.0.0.1")
    async with checking(smtp(), Security.NONE) as check:
        result = await check()
    assert [step.ok for step in result.steps if step.name == "connect"] == [False, True]
    assert (result.findings[0].severity, result.findings[0].cause) == ("note", "unreachable")
    assert "127.0.0.2" in result.findings[0].evidence[0]


async def test_a_host_that_does_not_exist():
    result = await ladder.check(Profile(host="mail.nowhere.invalid", port=587, security=Security.STARTTLS))
    assert names(result) == ["resolve"]
    assert worst(result) == ["unreachable"]


# --- wrong use -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "secret", "where"),
    [
        ({"port": 0}, None, "port"),
        ({"port": 70000}, None, "port"),
        ({"host": "no host"}, None, "host"),
        ({"timeout": -1.0}, None, "timeout"),
        ({"mechanism": "NTLM"}, None, "mechanism"),
        ({"ca_file": "/nowhere/ca.pem"}, None, "/nowhere/ca.pem"),
        ({}, "hunter22", "user"),
        ({"user": "anna"}, "a\0b", "password"),
    ],
)
async def test_wrong_use_is_said_before_the_first_packet(fields, secret, where, budget):
    async with checking(smtp()) as check:
        with pytest.raises(UsageError) as fault:
            await check(secret, more=fields, budget=budget)
        assert check.server.connections == 0
    assert fault.value.where == where


# --- the table -----------------------------------------------------------------------------------------------------


def test_every_finding_of_the_table_reads_and_names_the_server_at_hand():
    profile = Profile(host="mail.example.test", port=2525, security=Security.TLS, user="anna")
    for name in load_table("findings"):
        finding = found(name, profile)
        assert not {"HOST", "PORT", "USER"} & set(f"{finding.title} {finding.next_step}".replace(".", " ").replace(":", " ").split())
        assert finding.cause is not Cause.NONE or finding.severity in (Severity.OK, Severity.NOTE)


def test_evidence_is_bounded():
    profile = Profile(host="mail.example.test", port=2525, security=Security.TLS)
    assert all(len(text) < 1000 for text in found("not-smtp", profile, "x" * 100_000).evidence)


# --- after the sign-in ---------------------------------------------------------------------------------------------


def said_after_auth(server):
    auth = max(i for i, line in enumerate(server.heard) if line.startswith(b"AUTH"))
    return server.heard[auth + 1 :]


async def test_a_sender_that_is_allowed_is_asked_about_and_taken_back(pki, budget):
    async with checking(smtp(tls=pki.server()), pki=pki) as check:
        result = await check(STRONG, more={"user": "anna@example.test"}, budget=budget)
        assert (result.findings[-1].severity, result.findings[-1].evidence) == (Severity.OK, ("sender: anna@example.test",))
        assert said_after_auth(check.server) == [
            b"NOOP",
            b"MAIL FROM:<anna@example.test>",
            b"RCPT TO:<anna@example.test>",
            b"RSET",
            b"QUIT",
        ]


@pytest.mark.parametrize(
    ("answers", "cause", "severity"),
    [
        # Exchange Online says so after 235, where the session did not reach the mailbox.
        ({b"MAIL": b"530 5.7.57 Client not authenticated to send mail.\r\n"}, Cause.NOT_AUTHENTICATED, Severity.ERROR),
        (
            {b"RCPT": b"553 5.7.1 <anna@example.test>: Sender address rejected: not owned by user x\r\n"},
            Cause.SENDER_NOT_ALLOWED,
            Severity.ERROR,
        ),
        ({b"RCPT": b"550 5.1.1 <anna@example.test>: Recipient address rejected: User unknown\r\n"}, Cause.RECIPIENT, Severity.NOTE),
        ({b"NOOP": b"454 4.7.0 Temporary authentication failure\r\n"}, Cause.NOT_AUTHENTICATED, Severity.ERROR),
    ],
)
async def test_a_sign_in_that_does_not_hold(pki, budget, answers, cause, severity):
    async with checking(smtp(answers, tls=pki.server()), pki=pki) as check:
        result = await check(STRONG, more={"user": "anna@example.test"}, budget=budget)
        assert (result.findings[-1].cause, result.findings[-1].severity) == (cause, severity)
        assert result.attempt.outcome == "success"  # the sign-in itself was taken
        assert not [line for line in said_after_auth(check.server) if line.startswith(b"DATA")]


async def test_a_user_that_is_no_address_is_no_sender(pki, budget):
    async with checking(smtp(tls=pki.server()), pki=pki) as check:
        await check(STRONG, more={"user": "anna"}, budget=budget)
        assert said_after_auth(check.server) == [b"NOOP", b"QUIT"]


async def test_a_server_that_offers_less_than_before_is_noticed_without_a_password(pki, budget, monkeypatch):
    monkeypatch.setattr("kit.auth.offers.is_local", lambda _: False)  # this machine's ports are not remembered otherwise
    offers = [b"250-mail\r\n250 AUTH SCRAM-SHA-256 PLAIN\r\n", b"250-mail\r\n250 AUTH PLAIN\r\n"]

    async def handler(line):
        await smtp({b"EHLO": offers.pop(0)})(line)

    async with checking(handler, Security.TLS, pki=pki, tls=pki.server()) as check:
        first, second = await check(budget=budget), await check(budget=budget)
    title = load_table("findings")["downgrade"]["title"]
    assert title not in [finding.title for finding in first.findings]
    assert second.findings[-1].title == title
    assert second.findings[-1].evidence[1] == "offered now: PLAIN"
