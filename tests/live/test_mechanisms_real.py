"""Every mechanism against a real Dovecot behind a real Postfix: one attempt each, by the servers' own count."""

from __future__ import annotations

import base64
import hmac
import json
import re
import secrets
import time
from dataclasses import replace

import pytest

import kit
from kit.model import Profile, Security, Severity
from kit.redact import Secret
from kit.sending.message import build_test_message
from tests.servers.openssl_server import client_file
from tests.servers.postfix_dovecot import postfix_with_dovecot

pytestmark = pytest.mark.needs("postfix", "dovecot", "syslog")

KEY = secrets.token_bytes(32)
USER = "alice@example.test"
BETWEEN = "kit → Postfix with Dovecot"
MECHANISMS = ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN", "CRAM-MD5", "OAUTHBEARER", "XOAUTH2"]


@pytest.fixture(scope="module")
def servers():
    with postfix_with_dovecot(mechanisms="plain login cram-md5 scram-sha-1 scram-sha-256 external", token_key=KEY) as running:
        yield running


def token(key=KEY, *, user=USER, lives=600):
    """A JWT (RFC 7519) with HS256 (RFC 7515 appendix A.1)."""
    now = int(time.time())
    parts = ({"alg": "HS256", "typ": "JWT"}, {"sub": user, "iat": now - 60, "nbf": now - 60, "exp": now + lives})
    signed = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    return (signed + b"." + base64.urlsafe_b64encode(hmac.digest(key, signed, "sha256")).rstrip(b"=")).decode()


async def check(servers, tmp_path, secret, mechanism):
    """The result, and what the servers logged of it."""
    seen = len(servers.log().encode())
    profile = Profile(
        host=servers.host,
        port=servers.submission_port,
        security=Security.STARTTLS,
        user=USER,
        mechanism=mechanism,
        ca_file=servers.ca_file,
        timeout=10.0,
    )
    result = await kit.check(profile, Secret(secret), budget=tmp_path / "attempts")
    return result, servers.wait_for(r"disconnect from [^\n]* auth=[^\n]* quit=1", after=seen)


@pytest.mark.parametrize("mechanism", [None, *MECHANISMS])
async def test_a_right_secret_signs_in(servers, tmp_path, mechanism, signed_in):
    right = token() if mechanism in ("OAUTHBEARER", "XOAUTH2") else servers.users[USER]
    result, log = await check(servers, tmp_path, right, mechanism)
    assert result.ok, result.findings
    # None: of all that Dovecot offers the strongest that takes a password.
    assert (result.attempt.outcome, result.attempt.mechanism) == ("success", mechanism or "SCRAM-SHA-256")
    assert re.findall(r" auth=(\S+)", log) == ["1"]
    assert re.findall(r"sasl_method=([\w-]+), sasl_username=(\S+)", log) == [(result.attempt.mechanism, USER)]
    assert right not in log + repr(result)
    signed_in(BETWEEN, result.attempt.mechanism, "signed in")


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_a_wrong_secret_is_one_failed_try(servers, tmp_path, mechanism, signed_in):
    bearer = mechanism in ("OAUTHBEARER", "XOAUTH2")
    wrong = token(secrets.token_bytes(32)) if bearer else "not-good-alice"
    result, log = await check(servers, tmp_path, wrong, mechanism)
    assert (result.attempt.outcome, result.attempt.mechanism) == ("failure", mechanism)
    assert re.findall(r" auth=(\S+)", log) == ["0/1"]
    assert re.findall(r"SASL ([\w-]+) authentication failed", log) == [mechanism]
    (error,) = [finding for finding in result.findings if finding.severity is Severity.ERROR]
    assert any('"status"' in text for text in error.evidence) == bearer  # what the server said of the token
    assert wrong not in log + repr(result)
    signed_in(BETWEEN, mechanism, "refused")


async def test_an_expired_token_is_refused(servers, tmp_path):
    result, log = await check(servers, tmp_path, token(lives=-30), "XOAUTH2")
    assert result.attempt.outcome == "failure"
    assert re.findall(r" auth=(\S+)", log) == ["0/1"]


async def test_where_the_strongest_is_refused_the_kit_does_not_try_the_next(servers, tmp_path):
    result, log = await check(servers, tmp_path, "not-good-alice", None)
    assert re.findall(r" auth=(\S+)", log) == ["0/1"]
    assert result.attempt.mechanism == "SCRAM-SHA-256"
    assert any("SCRAM" in finding.title and finding.severity is Severity.NOTE for finding in result.findings)


# --- by certificate ----------------------------------------------------------------------------------------------


async def check_dovecot(servers, tmp_path, name, issuer, user=USER):
    """At Dovecot's own submission service: the result, and what it logged of the sign-in."""
    seen = len(servers.log().encode())
    profile = Profile(
        host=servers.host,
        port=servers.dovecot_submission_port,
        security=Security.STARTTLS,
        user=user,
        cert_file=client_file(tmp_path, name, issuer),
        ca_file=servers.ca_file,
        timeout=10.0,
    )
    result = await kit.check(profile, budget=tmp_path / "attempts")
    return result, servers.wait_for(r"submission-login: (Login|Disconnected): [^\n]*method=EXTERNAL", after=seen)


@pytest.mark.parametrize("user", [USER, None])  # None: whoever the certificate says
async def test_a_certificate_signs_in_to_dovecot_without_a_password(servers, tmp_path, user, signed_in):
    result, log = await check_dovecot(servers, tmp_path, USER, servers.clients, user)
    assert not [finding for finding in result.findings if finding.severity is Severity.ERROR]
    assert (result.attempt.outcome, result.attempt.mechanism, result.attempt.user) == ("success", "EXTERNAL", user)
    assert re.findall(r"Login: user=<(\S+)>, method=EXTERNAL", log) == [USER]
    signed_in("kit → Dovecot submission", "EXTERNAL", "signed in")


@pytest.mark.parametrize(("name", "known"), [("bob@example.test", True), (USER, False)])
async def test_a_certificate_of_somebody_else_is_one_failed_try(servers, tmp_path, name, known, signed_in):
    result, log = await check_dovecot(servers, tmp_path, name, servers.clients if known else None)
    (error,) = [finding for finding in result.findings if finding.severity is Severity.ERROR]
    assert (result.attempt.outcome, error.cause) == ("failure", "certificate")
    assert re.findall(r"\(auth failed, (\d+) attempts", log) == ["1"]
    signed_in("kit → Dovecot submission", "EXTERNAL", "refused")


async def test_postfix_keeps_dovecots_external_from_clients_and_takes_mail_by_certificate_alone(servers, tmp_path):
    profile = Profile(host=servers.host, port=servers.smtp_port, security=Security.STARTTLS, ca_file=servers.ca_file, timeout=10.0)
    known = replace(profile, cert_file=client_file(tmp_path, "printer", servers.clients))
    result = await kit.check(replace(known, user=USER), budget=tmp_path / "attempts")
    assert result.attempt is None  # smtpd_sasl_mechanism_filter = !external, by default
    message = build_test_message(USER, ["somebody@elsewhere.test"])
    for settings, accepted in ((known, ("somebody@elsewhere.test",)), (profile, ())):
        sent = await kit.send(settings, message, dry_run=True)
        assert sent.accepted == accepted, sent.findings
        assert sent.attempt is None
