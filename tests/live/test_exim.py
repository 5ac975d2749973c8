"""The ladder and the sign-in against a real Exim, and what its own log says of them."""

from __future__ import annotations

import re

import pytest

import kit
from kit.model import Profile, Security, Severity
from kit.redact import Secret
from tests.servers.exim import PASSWORD, USER, exim

pytestmark = pytest.mark.needs("exim")


@pytest.fixture(scope="module")
def server():
    with exim() as running:
        yield running


async def check(server, tmp_path, secret, mechanism, security=Security.STARTTLS):
    seen = server.log_file.stat().st_size
    port = server.tls_port if security is Security.TLS else server.port
    profile = Profile(host=server.host, port=port, security=security, user=USER, mechanism=mechanism, ca_file=server.ca_file, timeout=10.0)
    result = await kit.check(profile, secret and Secret(secret), budget=tmp_path / "attempts")
    return result, server.wait_for("C=EHLO", after=seen)


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
@pytest.mark.parametrize("mechanism", [None, "PLAIN", "LOGIN", "CRAM-MD5"])
async def test_a_right_password_signs_in(server, tmp_path, mechanism, security, signed_in):
    result, log = await check(server, tmp_path, PASSWORD, mechanism, security)
    assert result.ok, result.findings
    assert (result.attempt.outcome, result.attempt.server, result.attempt.mechanism) == ("success", "exim", mechanism or "PLAIN")
    (commands,) = re.findall(r" A=\w+:alice .* C=(\S+)", log)
    assert commands.split(",").count("AUTH") == 1
    assert commands.endswith("QUIT")
    signed_in("kit → Exim", result.attempt.mechanism, "signed in")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
async def test_a_wrong_password_is_one_failed_try(server, tmp_path, mechanism, signed_in):
    result, log = await check(server, tmp_path, "not-good", mechanism)
    assert (result.attempt.outcome, result.attempt.cause) == ("failure", "credentials")
    assert log.count("authenticator failed") == 1
    assert [commands.split(",").count("AUTH") for commands in re.findall(r" C=(\S+)", log)] == [1]
    assert "not-good" not in log
    signed_in("kit → Exim", mechanism, "refused")


async def test_without_a_password_nothing_is_tried_and_the_truth_is_told(server, tmp_path):
    result, log = await check(server, tmp_path, None, None)
    assert result.ok
    assert result.attempt is None
    assert "AUTH" not in log
    assert any("only after STARTTLS" in finding.title for finding in result.findings)
    assert any("offered: PLAIN LOGIN CRAM-MD5" in text for finding in result.findings for text in finding.evidence)


async def test_a_mechanism_that_exim_does_not_offer_is_not_tried(server, tmp_path):
    result, log = await check(server, tmp_path, PASSWORD, "SCRAM-SHA-256")
    assert [finding.cause for finding in result.findings if finding.severity is Severity.ERROR] == ["mechanism-unsupported"]
    assert result.attempt is None
    assert "AUTH" not in log
