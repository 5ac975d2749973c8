"""The ladder and the sign-in against a real Exim, and what its own log says of them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

import kit
from kit.model import Profile, Security, Severity
from kit.redact import Secret
from tests.servers.exim import PASSWORD, USER, exim
from tests.servers.openssl_server import client_file

pytestmark = pytest.mark.needs("exim")


@pytest.fixture(scope="module")
def server():
    with exim() as running:
        yield running


async def check(server, tmp_path, secret, mechanism, security=Security.STARTTLS, **settings):
    seen = server.log_file.stat().st_size
    port = server.tls_port if security is Security.TLS else server.port
    profile = Profile(host=server.host, port=port, security=security, user=USER, mechanism=mechanism, ca_file=server.ca_file, timeout=10.0)
    profile = replace(profile, **settings)
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


# --- by certificate ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
async def test_a_certificate_in_the_users_name_signs_in_without_a_password(server, tmp_path, security, signed_in):
    result, log = await check(server, tmp_path, None, None, security, cert_file=client_file(tmp_path, USER, server.clients))
    assert result.ok, result.findings
    assert (result.attempt.outcome, result.attempt.mechanism) == ("success", "EXTERNAL")
    (commands,) = re.findall(r" A=CERT:alice .* CV=yes C=(\S+)", log)
    assert commands.split(",").count("AUTH") == 1
    signed_in("kit → Exim", "EXTERNAL", "signed in")


async def test_a_certificate_in_another_name_is_one_failed_try(server, tmp_path, signed_in):
    result, log = await check(server, tmp_path, None, None, cert_file=client_file(tmp_path, "bob", server.clients))
    assert (result.attempt.outcome, result.attempt.cause, result.attempt.mechanism) == ("failure", "certificate", "EXTERNAL")
    assert log.count("CERT authenticator failed") == 1
    assert [commands.split(",").count("AUTH") for commands in re.findall(r" C=(\S+)", log)] == [1]
    signed_in("kit → Exim", "EXTERNAL", "refused")


async def test_a_strangers_certificate_is_no_reason_to_offer_external_and_nothing_is_tried(server, tmp_path):
    result, log = await check(server, tmp_path, None, None, cert_file=client_file(tmp_path, USER, None))
    assert result.attempt is None
    assert "CV=no" in log
    assert "AUTH" not in log
    assert any("none by certificate" in finding.title for finding in result.findings)


@pytest.mark.parametrize(
    ("shown", "title"), [(True, "does not accept the client's certificate"), (False, "wants a certificate of the client")]
)
async def test_where_nobody_gets_on_without_a_good_one_that_is_said(server, tmp_path, shown, title):
    cert_file = client_file(tmp_path, USER, None) if shown else None
    result, log = await check(server, tmp_path, None, None, port=server.strict_port, cert_file=cert_file)
    (error,) = [finding for finding in result.findings if finding.severity is Severity.ERROR]
    assert title in error.title
    assert error.cause == "certificate"
    assert log.count("TLS error on connection") == 1
