"""What each scenario promises, as other people's clients see it: Python's smtplib, and aiosmtplib."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from contextlib import contextmanager
from email.message import EmailMessage

import aiosmtplib
import pytest

import kit
from kit.errors import UsageError
from kit.model import Security
from kit.redact import Secret
from kit.sandbox.replay import find_scenario
from kit.sandbox.scenarios import scenarios
from kit.sandbox.server import open_sandbox
from tests.sandbox.raw_client import greeted, plain, trust

# What Microsoft says, letter by letter, when the tenant's switch is off.
DISABLED = (
    b"5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. "
    b"Visit https://aka.ms/smtp_auth_disabled for more information."
)


@contextmanager
def smtplib_client(sandbox, security):
    context = ssl.create_default_context(cafile=sandbox.ca_file)
    if security is Security.TLS:
        client = smtplib.SMTP_SSL(sandbox.host, sandbox.tls_port, timeout=5, context=context)
    else:
        client = smtplib.SMTP(sandbox.host, sandbox.port, timeout=5)
    with client:
        client.ehlo()
        if security is Security.STARTTLS:
            assert client.has_extn("starttls")
            client.starttls(context=context)
            client.ehlo()
        yield client


def message() -> EmailMessage:
    text = EmailMessage()
    text["From"], text["To"], text["Subject"] = "you@example.test", "colleague@example.test", "Grüße"
    text.set_content("One.\n.\n.leading dot\n")
    return text


# scenario, security → the mechanisms in EHLO, the answer to a sign-in with the right password
PROMISED = [
    ("good", Security.TLS, "PLAIN LOGIN", (235, b"2.7.0")),
    ("good", Security.STARTTLS, "PLAIN LOGIN", (235, b"2.7.0")),
    ("good", Security.NONE, None, (538, b"5.7.11")),
    ("every-mechanism", Security.TLS, "SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN CRAM-MD5 XOAUTH2 OAUTHBEARER EXTERNAL", (235, b"2.7.0")),
    ("wrong-password", Security.TLS, "PLAIN LOGIN", (535, b"5.7.8")),
    ("wrong-password", Security.STARTTLS, "PLAIN LOGIN", (535, b"5.7.8")),
    ("starttls-required", Security.TLS, "PLAIN LOGIN", (235, b"2.7.0")),
    ("starttls-required", Security.STARTTLS, "PLAIN LOGIN", (235, b"2.7.0")),
    ("starttls-required", Security.NONE, None, (530, b"5.7.0")),
    ("auth-not-offered", Security.TLS, None, (503, b"5.5.1")),
    ("auth-not-offered", Security.STARTTLS, None, (503, b"5.5.1")),
    ("auth-not-offered", Security.NONE, None, (503, b"5.5.1")),
    ("smtp-auth-disabled", Security.TLS, "LOGIN PLAIN", (535, DISABLED)),
    ("smtp-auth-disabled", Security.STARTTLS, "LOGIN PLAIN", (535, DISABLED)),
    ("token-rejected", Security.TLS, "XOAUTH2 OAUTHBEARER", (504, b"5.5.4")),
]


def test_every_sign_in_is_promised_something():
    assert {scenario.name for scenario in scenarios() if scenario.group == "Sign-in"} == {name for name, *_ in PROMISED}
    assert len({scenario.name for scenario in scenarios()}) == len(scenarios())


@pytest.mark.parametrize(("name", "security", "offered", "answer"), PROMISED)
async def test_smtplib_sees_what_the_scenario_promises(name, security, offered, answer):
    def talk():
        with smtplib_client(sandbox, security) as client:
            names = client.esmtp_features.get("auth")
            return names.strip() if names else None, client.docmd("AUTH", f"PLAIN {credentials}")

    async with open_sandbox(name) as sandbox:
        credentials = plain(sandbox.user, sandbox.password.reveal()).decode()
        seen, (code, text) = await asyncio.to_thread(talk)
    assert seen == offered
    assert code == answer[0]
    assert text.startswith(answer[1])
    assert answer[1] != DISABLED or text == DISABLED


@pytest.mark.parametrize("name", ["wrong-password", "smtp-auth-disabled"])
@pytest.mark.parametrize("password", ["right", "wrong"])
async def test_the_password_makes_no_difference_there(name, password):
    async with open_sandbox(name, password=Secret("right")) as sandbox, greeted(sandbox) as raw:
        assert await raw.codes(b"AUTH PLAIN " + plain(sandbox.user, password)) == ["535"]
        assert (sandbox.attempts[0].outcome, sandbox.attempts[0].cause) == {
            "wrong-password": ("failure", "credentials"),
            "smtp-auth-disabled": ("refused", "method-disabled"),
        }[name]


@pytest.mark.parametrize("name", [scenario.name for scenario in scenarios() if scenario.group in ("Sign-in", "Mail")])
async def test_nobody_sends_without_a_sign_in(name):
    async with open_sandbox(name) as sandbox, greeted(sandbox) as raw:
        assert (await raw.say(b"MAIL FROM:<a@example.test>"))[:6] in ("530 5.", "550 5.")
        assert await raw.codes(b"RCPT TO:<b@example.test>", b"DATA") == ["503", "503"]


async def test_where_starttls_is_required_only_these_commands_work_in_clear():  # RFC 3207 section 4
    async with open_sandbox("starttls-required") as sandbox, greeted(sandbox, tls=False) as raw:
        refused = (b"MAIL FROM:<a@example.test>", b"RCPT TO:<b@example.test>", b"DATA", b"RSET", b"VRFY x", b"AUTH PLAIN", b"AUTH")
        for line in refused:
            assert (await raw.say(line)).startswith("530 5.7.0"), line
        assert await raw.codes(b"NOOP", b"EHLO x", b"STARTTLS") == ["250", "250", "220"]


@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
async def test_smtplib_signs_in_and_sends(security):
    def talk():
        with smtplib_client(sandbox, security) as client:
            client.login(sandbox.user, sandbox.password.reveal())
            return client.send_message(message())

    async with open_sandbox() as sandbox:
        assert await asyncio.to_thread(talk) == {}
        (received,) = sandbox.messages
    assert b"\r\n.\r\n.leading dot\r\n" in received.data
    assert received.recipients == ("colleague@example.test",)
    assert [attempt.outcome for attempt in sandbox.attempts] == ["success"]


@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
async def test_aiosmtplib_signs_in_and_sends(security):
    async with open_sandbox() as sandbox:
        tls = security is Security.TLS
        refused, reply = await aiosmtplib.send(
            message(),
            hostname=sandbox.host,
            port=sandbox.profile(security).port,
            use_tls=tls,
            start_tls=not tls,
            username=sandbox.user,
            password=sandbox.password.reveal(),
            tls_context=trust(sandbox),
        )
        assert refused == {}
        assert reply.startswith("2.0.0 Ok")
        assert len(sandbox.messages) == 1


async def test_aiosmtplib_hears_that_smtp_auth_is_disabled():
    async with open_sandbox("smtp-auth-disabled") as sandbox:
        client = aiosmtplib.SMTP(hostname=sandbox.host, port=sandbox.port, start_tls=True, tls_context=trust(sandbox))
        async with client:
            await client.ehlo()
            with pytest.raises(aiosmtplib.SMTPAuthenticationError) as refused:
                await client.auth_login(sandbox.user, sandbox.password.reveal())
        assert (refused.value.code, refused.value.message.encode()) == (535, DISABLED)
        assert len(sandbox.attempts) == 1


async def test_the_profile_is_enough_for_a_check_and_for_a_message(tmp_path):
    for security in (Security.STARTTLS, Security.TLS):
        async with open_sandbox() as sandbox:
            profile = sandbox.profile(security)
            assert (profile.user, profile.security) == (sandbox.user, security)
            mail = kit.build_test_message(sandbox.user, ["colleague@example.test"])
            result = await kit.send(profile, mail, sandbox.password, budget=tmp_path / "attempts")
            assert result.accepted == ("colleague@example.test",)
            assert result.queue_id == "SANDBOX1"
            assert f"Message-ID: {result.message_id}".encode() in sandbox.messages[0].data


def test_an_unknown_scenario_names_the_known_ones():
    with pytest.raises(UsageError) as fault:
        find_scenario("\x1b[31mbad" * 100)
    assert all(scenario.name in str(fault.value) for scenario in scenarios())
    assert "\x1b" not in str(fault.value)
    assert len(str(fault.value)) < 1_000


@pytest.mark.parametrize("scenario", scenarios(), ids=lambda scenario: scenario.name)
def test_every_reply_of_the_table_is_one_and_the_kit_can_explain_it(scenario):
    assert scenario.title
    assert scenario.teaches.endswith(".")
    assert scenario.next.endswith(".")
    assert scenario.group in ("Sign-in", "Mail", "Connection", "TLS")
    assert all(seconds <= 10 for seconds in scenario.delays.values())
    for stage in scenario.replies.keys() - {"tls", "starttls"}:  # of these, test_faults.py has the words
        reply = scenario.replies[stage]
        assert reply[0] in "45", stage
        assert reply[4:6] == reply[0] + "."  # RFC 2034 section 4
        assert len(reply) + 2 <= 512  # RFC 5321 section 4.5.3.1.5
        assert kit.explain(reply).cause != "unknown"
