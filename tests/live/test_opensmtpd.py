"""The ladder, the sign-in and a message against a real OpenSMTPD, and what its own log says of them."""

from __future__ import annotations

import re
from email import message_from_bytes

import pytest

import kit
from kit.model import Profile, Security, Severity
from kit.redact import Secret
from kit.sending.message import build_test_message
from tests.servers.opensmtpd import ADDRESS, PASSWORD, USER, opensmtpd

pytestmark = pytest.mark.needs("opensmtpd")


@pytest.fixture(scope="module")
def server():
    with opensmtpd("trixie") as running:
        yield running


def settings(server, security=Security.STARTTLS, mechanism=None, port=None):
    port = port or (server.tls_port if security is Security.TLS else server.port)
    return Profile(host=server.host, port=port, security=security, user=USER, mechanism=mechanism, ca_file=server.ca_file, timeout=10.0)


async def check(server, tmp_path, secret, *args, **kwargs):
    """The result, and what the server logged of the one session it took."""
    seen = server.log_file.stat().st_size
    result = await kit.check(settings(server, *args, **kwargs), secret and Secret(secret), budget=tmp_path / "attempts")
    log = server.wait_for("smtp disconnected", after=seen)
    assert log.count("smtp connected") == 1
    return result, log


def errors(result):
    return [finding.cause for finding in result.findings if finding.severity is Severity.ERROR]


def sign_ins(log):
    """User and result of each, as OpenSMTPD judged them."""
    return re.findall(r" smtp authentication user=(\S+) result=(\S+)", log)


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
@pytest.mark.parametrize("mechanism", [None, "PLAIN", "LOGIN"])
async def test_a_right_password_signs_in(server, tmp_path, mechanism, security, signed_in):
    result, log = await check(server, tmp_path, PASSWORD, security, mechanism)
    assert result.ok, result.findings
    assert (result.attempt.outcome, result.attempt.server, result.attempt.mechanism) == ("success", "opensmtpd", mechanism or "PLAIN")
    assert sign_ins(log) == [(USER, "ok")]
    assert "reason=quit" in log
    signed_in("kit → OpenSMTPD", result.attempt.mechanism, "signed in")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_a_wrong_password_is_one_failed_try(server, tmp_path, mechanism, signed_in):
    result, log = await check(server, tmp_path, "not-good", mechanism=mechanism)
    assert (result.attempt.outcome, result.attempt.cause) == ("failure", "credentials")
    assert sign_ins(log) == [(USER, "permfail")]
    assert log.count("smtp failed-command") == 1
    assert "not-good" not in log
    signed_in("kit → OpenSMTPD", mechanism, "refused")


async def test_without_a_password_nothing_is_tried_and_the_truth_is_told(server, tmp_path):
    result, log = await check(server, tmp_path, None)
    assert result.ok
    assert result.attempt is None
    assert "authentication" not in log
    assert any("only after STARTTLS" in finding.title for finding in result.findings)
    assert any("offered after TLS: PLAIN LOGIN" in text for finding in result.findings for text in finding.evidence)
    before, after = [step.reply.lines for step in result.steps if step.name == "ehlo"]
    assert "STARTTLS" in before
    assert "AUTH PLAIN LOGIN" not in before
    assert "AUTH PLAIN LOGIN" in after


async def test_a_mechanism_that_opensmtpd_does_not_offer_is_not_tried(server, tmp_path):
    result, log = await check(server, tmp_path, PASSWORD, mechanism="CRAM-MD5")
    assert errors(result) == ["mechanism-unsupported"]
    assert result.attempt is None
    assert "authentication" not in log


@pytest.mark.parametrize(("security", "cause"), [(Security.STARTTLS, "tls-required"), (Security.NONE, "auth-not-offered")])
async def test_where_there_is_no_tls_there_is_no_auth_and_the_password_stays_here(server, tmp_path, security, cause):
    # OpenSMTPD does not start with `auth` on a port without TLS, so what is not offered here cannot be switched on.
    result, log = await check(server, tmp_path, PASSWORD, security, port=server.plain_port)
    assert errors(result) == [cause]
    assert result.attempt is None
    assert "failed-command" not in log


async def test_a_message_arrives(server):
    seen = server.log_file.stat().st_size
    message = build_test_message(ADDRESS, [ADDRESS])
    result = await kit.send(settings(server), message, Secret(PASSWORD))
    assert result.ok, result.findings
    log = server.wait_for("result=Ok stat=Delivered", after=seen)
    assert sign_ins(log) == [(USER, "ok")]
    assert f"msgid={result.queue_id} " in log
    (path,) = server.mailbox.iterdir()
    delivered = message_from_bytes(path.read_bytes())
    assert delivered["Message-ID"] == result.message_id == message["Message-ID"]
    assert f"with ESMTPSA id {result.queue_id}" in delivered["Received"]


@pytest.mark.parametrize("signs_in", [True, False])
async def test_a_recipient_elsewhere_and_one_without_a_sign_in_are_refused_in_the_same_words(server, signs_in):
    if signs_in:
        address, profile, secret = "bob@elsewhere.test", settings(server), Secret(PASSWORD)
    else:
        address, profile, secret = ADDRESS, settings(server, Security.NONE, port=server.plain_port), None
    result = await kit.send(profile, build_test_message(ADDRESS, [address]), secret)
    assert (result.accepted, result.rejected) == ((), (address,))
    assert errors(result) == ["recipient"]
    (error,) = [finding for finding in result.findings if finding.severity is Severity.ERROR]
    assert f"550 Invalid recipient: <{address}>" in error.evidence[0]
    assert "from this client" in error.title


async def test_a_port_that_wants_a_sign_in_first_says_so(server):
    result = await kit.send(settings(server), build_test_message(ADDRESS, [ADDRESS]))
    assert errors(result) == ["not-authenticated"]


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
async def test_debian_12s_cannot_do_tls_and_the_fault_is_named_as_the_servers(tmp_path, security):
    """OpenSMTPD 6.8 keeps its key in another process, in a way that OpenSSL 3 no longer allows: no handshake of it succeeds."""
    with opensmtpd("bookworm") as broken:
        result, log = await check(broken, tmp_path, PASSWORD, security)
    assert result.attempt is None
    assert errors(result) == ["backend-unavailable"]
    assert any("error of its own" in finding.title for finding in result.findings)
    assert re.search(r"smtp disconnected reason=\"io-error: error:0A080006:SSL routines::EVP lib", log)
