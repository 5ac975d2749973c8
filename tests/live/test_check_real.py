"""The ladder against a real Postfix with a real Dovecot behind it, and what their own log says of it."""

from __future__ import annotations

import re

import pytest

import kit
from kit.model import Profile, Security, Severity
from kit.redact import Secret

pytestmark = pytest.mark.needs("postfix", "dovecot", "syslog")


def settings(servers, security=Security.STARTTLS, **fields):
    port = servers.submissions_port if security is Security.TLS else servers.submission_port
    return Profile(**{"host": servers.host, "port": port, "security": security, "ca_file": servers.ca_file, "timeout": 10.0} | fields)


@pytest.mark.parametrize("mechanism", [None, "LOGIN"])
@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
async def test_a_good_password_passes(postfix_dovecot, tmp_path, security, mechanism):
    user, password = "alice@example.test", postfix_dovecot.users["alice@example.test"]
    seen = len(postfix_dovecot.log().encode())
    result = await kit.check(
        settings(postfix_dovecot, security, user=user, mechanism=mechanism), Secret(password), budget=tmp_path / "attempts"
    )
    assert result.ok
    assert (result.attempt.outcome, result.attempt.server, result.attempt.mechanism) == ("success", "postfix", mechanism or "PLAIN")
    log = postfix_dovecot.wait_for(r"disconnect from [^\n]* quit=1", after=seen)
    assert re.search(r" auth=1 ", log)
    assert "authentication failed" not in log


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_a_wrong_password_is_one_failed_try_in_the_servers_own_log(postfix_dovecot, tmp_path, mechanism):
    seen = len(postfix_dovecot.log().encode())
    profile = settings(postfix_dovecot, user="bob@example.test", mechanism=mechanism)
    result = await kit.check(profile, Secret("not-good-bob"), budget=tmp_path / "attempts")
    log = postfix_dovecot.wait_for(r"disconnect from [^\n]* quit=1", after=seen)
    assert log.count("authentication failed") == 1
    assert re.search(r" auth=0/1 ", log)  # one AUTH command, none of which succeeded
    assert "not-good-bob" not in log
    assert (result.attempt.outcome, result.attempt.cause) == ("failure", "credentials")
    assert [finding.cause for finding in result.findings if finding.severity is Severity.ERROR] == ["credentials"]


async def test_without_a_password_there_is_no_try_and_a_polite_end(postfix_dovecot):
    seen = len(postfix_dovecot.log().encode())
    result = await kit.check(settings(postfix_dovecot))
    log = postfix_dovecot.wait_for(r"disconnect from [^\n]* quit=1", after=seen)
    assert "auth=" not in log
    assert "lost connection" not in log
    assert result.ok
    assert any("only after STARTTLS" in finding.title for finding in result.findings)


async def test_a_plain_port_that_takes_passwords_is_a_warning(postfix_dovecot):
    result = await kit.check(settings(postfix_dovecot, port=postfix_dovecot.smtp_port))
    assert [finding.cause for finding in result.findings if finding.severity is Severity.WARNING] == ["tls-required"]


async def test_dovecot_s_own_submission_service_passes(postfix_dovecot, tmp_path):
    user = "dave@example.test"
    profile = settings(postfix_dovecot, port=postfix_dovecot.dovecot_submission_port, user=user)
    result = await kit.check(profile, Secret(postfix_dovecot.users[user]), budget=tmp_path / "attempts")
    assert (result.attempt.outcome, result.attempt.server) == ("success", "dovecot")


async def test_confused_ports_are_told_apart(postfix_dovecot):
    for port, security in ((postfix_dovecot.submission_port, Security.TLS), (postfix_dovecot.submissions_port, Security.STARTTLS)):
        result = await kit.check(settings(postfix_dovecot, security, port=port, timeout=1.0))
        assert result.attempt is None
        finding = result.findings[-1]
        assert f"--port {port} --security {'starttls' if security is Security.TLS else 'tls'}" in finding.next_step
