"""`send` against a real Postfix with Dovecot: what arrives, and what the server's own log says of a wrong password."""

from __future__ import annotations

import time

import pytest

import kit
from kit.model import Cause, Outcome, Profile, Security
from kit.sending.mail import mail as checked

pytestmark = pytest.mark.needs("postfix", "dovecot", "syslog")
ALICE, BOB = "alice@example.test", "bob@example.test"


def profile(servers, security, **more):
    port = {Security.TLS: servers.submissions_port, Security.STARTTLS: servers.submission_port}[security]
    return Profile(host=servers.host, port=port, security=security, user=ALICE, ca_file=servers.ca_file, **more)


def arrived(servers, address, number):
    deadline = time.monotonic() + 10
    while len(servers.mailbox(address)) < number and time.monotonic() < deadline:
        time.sleep(0.05)
    return servers.mailbox(address)


@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_a_message_arrives_as_it_was_built(postfix_dovecot, tmp_path, security, mechanism):
    before = len(postfix_dovecot.mailbox(BOB))
    message = kit.build_test_message(ALICE, [BOB], subject="Grüße", body="Zeile\n.\nnoch eine Zeile\n")
    settings = profile(postfix_dovecot, security, mechanism=mechanism)
    result = await kit.send(settings, message, kit.Secret(postfix_dovecot.users[ALICE]), budget=tmp_path / "budget")
    assert result.ok, result.findings
    assert (result.accepted, result.rejected, result.attempt.outcome) == ((BOB,), (), Outcome.SUCCESS)
    # Postfix logs the id that it gave the client.
    postfix_dovecot.wait_for(f"{result.queue_id}: client=.*sasl_method={mechanism}, sasl_username={ALICE}")
    mail = arrived(postfix_dovecot, BOB, before + 1)[-1]
    # In front stand the trace headers of the delivery; a maildir has LF for CRLF. All behind is as it was built.
    assert mail.endswith(checked(message).content.replace(b"\r\n", b"\n"))


async def test_a_wrong_password_is_one_failure_and_no_mail(postfix_dovecot, tmp_path):
    start = postfix_dovecot.log_file.stat().st_size
    message = kit.build_test_message(ALICE, [BOB])
    result = await kit.send(profile(postfix_dovecot, Security.TLS), message, kit.Secret("wrong"), budget=tmp_path / "budget")
    assert (result.attempt.outcome, result.attempt.cause, result.accepted) == (Outcome.FAILURE, Cause.CREDENTIALS, ())
    log = postfix_dovecot.wait_for(r"disconnect from .* auth=0/1 ", after=start)
    assert log.count("SASL PLAIN authentication failed") == 1
    # Not by their number: what an earlier test has sent may still be on its way.
    assert not [mail for mail in postfix_dovecot.mailbox(BOB) if message["Message-ID"].encode() in mail]


async def test_who_is_refused_is_told_apart(postfix_dovecot, tmp_path):
    message = kit.build_test_message(ALICE, [BOB, "nobody@example.test"])
    result = await kit.send(
        profile(postfix_dovecot, Security.TLS), message, kit.Secret(postfix_dovecot.users[ALICE]), budget=tmp_path / "budget"
    )
    assert (result.accepted, result.rejected) == ((BOB,), ("nobody@example.test",))
    assert Cause.RECIPIENT in {finding.cause for finding in result.findings}


async def test_a_dry_run_leaves_nothing(postfix_dovecot, tmp_path):
    start = postfix_dovecot.log_file.stat().st_size
    message = kit.build_test_message(ALICE, [BOB])
    result = await kit.send(
        profile(postfix_dovecot, Security.TLS), message, kit.Secret(postfix_dovecot.users[ALICE]), dry_run=True, budget=tmp_path / "budget"
    )
    assert result.ok, result.findings
    postfix_dovecot.wait_for(r"disconnect from .* auth=1 mail=1 rcpt=1 rset=1 quit=1", after=start)
    # Not by their number: what an earlier test has sent may still be on its way.
    assert not [mail for mail in postfix_dovecot.mailbox(BOB) if message["Message-ID"].encode() in mail]
