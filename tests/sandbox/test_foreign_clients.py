"""Clients that know nothing of the kit sign in to the sandbox and send, or are refused, just as the sandbox counts it.

msmtp stands on GNU SASL, swaks on Perl's Authen::SASL, curl and smtplib on their own.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from contextlib import suppress

import pytest

from kit.redact import Secret
from kit.sandbox.server import open_sandbox

TO = "colleague@example.test"
MAIL = b"From: you@example.test\r\nTo: colleague@example.test\r\nSubject: hello\r\n\r\nOne line.\r\n"
PASSWORD = "the-right-0ne"


def swaks(sandbox, mechanism, folder):
    tls = ("--tls", "--tls-verify", "--tls-ca-path", sandbox.ca_file)
    who = ("--auth", mechanism, "--auth-user", sandbox.user, "--auth-password", (folder / "password").read_text())
    return "swaks", "--server", f"{sandbox.host}:{sandbox.port}", *tls, *who, "--from", sandbox.user, "--to", TO, "--data", "-"


def msmtp(sandbox, mechanism, folder):
    where = (f"--host={sandbox.host}", f"--port={sandbox.port}", "--tls=on", "--tls-starttls=on", f"--tls-trust-file={sandbox.ca_file}")
    who = (f"--auth={mechanism.lower()}", f"--user={sandbox.user}", f"--passwordeval=cat {folder / 'password'}")
    return "msmtp", f"--file={folder / 'none'}", *where, *who, f"--from={sandbox.user}", TO


def curl(sandbox, mechanism, folder):
    secret = (folder / "password").read_text()
    token = mechanism == "OAUTHBEARER"
    (folder / "curlrc").write_text(
        f'user = "{sandbox.user}:{"" if token else secret}"\n' + (f'oauth2-bearer = "{secret}"\n' if token else "")
    )
    where = (f"smtp://{sandbox.host}:{sandbox.port}", "--ssl-reqd", "--cacert", sandbox.ca_file, "--config", folder / "curlrc")
    return "curl", "-q", "-sS", *where, "--login-options", f"AUTH={mechanism}", "--mail-from", sandbox.user, "--mail-rcpt", TO, "-T", "-"


async def run(command, *, stdin=MAIL):
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
    out, _ = await asyncio.wait_for(process.communicate(stdin), 30)
    return process.returncode, out.decode("utf-8", "replace")


CLIENTS = [
    pytest.param(client, mechanism, marks=pytest.mark.needs(client.__name__), id=f"{client.__name__} {mechanism}")
    for client, mechanisms in (
        (swaks, ("PLAIN", "LOGIN", "CRAM-MD5")),
        (curl, ("PLAIN", "LOGIN", "CRAM-MD5", "OAUTHBEARER")),  # with a token it takes this one, whatever it is told
        (msmtp, ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER")),
    )
    for mechanism in mechanisms
]


@pytest.mark.parametrize(("client", "mechanism"), CLIENTS)
async def test_a_foreign_client_signs_in_and_sends(client, mechanism, tmp_path, signed_in):
    (tmp_path / "password").write_text(PASSWORD)
    async with open_sandbox("every-mechanism", password=Secret(PASSWORD)) as sandbox:
        code, out = await run(client(sandbox, mechanism, tmp_path))
        assert code == 0, out
        assert [(each.outcome, each.mechanism, each.user) for each in sandbox.attempts] == [("success", mechanism, sandbox.user)]
        assert [(message.user, message.recipients) for message in sandbox.messages] == [(sandbox.user, (TO,))]
    signed_in(f"{client.__name__} → sandbox", mechanism, "signed in")


@pytest.mark.parametrize(("client", "mechanism"), CLIENTS)
async def test_a_foreign_client_with_a_wrong_password_is_refused_and_counted_once(client, mechanism, tmp_path, signed_in):
    (tmp_path / "password").write_text("a-wrong-0ne")
    async with open_sandbox("every-mechanism", password=Secret(PASSWORD)) as sandbox:
        code, out = await run(client(sandbox, mechanism, tmp_path))
        assert code != 0, out
        assert [(each.outcome, each.cause, each.mechanism) for each in sandbox.attempts] == [("failure", "credentials", mechanism)]
        assert sandbox.messages == []
    signed_in(f"{client.__name__} → sandbox", mechanism, "refused")


@pytest.mark.needs("curl")
async def test_external_without_a_certificate_is_refused(tmp_path, signed_in):
    (tmp_path / "password").write_text("")
    async with open_sandbox("every-mechanism", password=Secret(PASSWORD)) as sandbox:
        code, out = await run(curl(sandbox, "EXTERNAL", tmp_path))
        assert code != 0, out
        assert [(each.outcome, each.mechanism, each.user) for each in sandbox.attempts] == [("failure", "EXTERNAL", sandbox.user)]
    signed_in("curl → sandbox", "EXTERNAL", "refused")


@pytest.mark.parametrize("client", [pytest.param(c, marks=pytest.mark.needs(c.__name__), id=c.__name__) for c in (swaks, curl, msmtp)])
async def test_what_a_scenario_refuses_is_refused_to_them_too(client, tmp_path):
    """The right password, and the reply of the scenario in the client's own words."""
    (tmp_path / "password").write_text(PASSWORD)
    async with open_sandbox("smtp-auth-disabled", password=Secret(PASSWORD)) as sandbox:
        code, out = await run(client(sandbox, "PLAIN", tmp_path))
        assert code != 0
        assert "5.7.139" in out or client is curl, out  # curl says no more than that the login was denied
        assert [(each.outcome, each.cause) for each in sandbox.attempts] == [("refused", "method-disabled")]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
@pytest.mark.parametrize("password", [PASSWORD, "a-wrong-0ne"])
async def test_smtplib(mechanism, password, signed_in):
    def talk():
        with smtplib.SMTP(sandbox.host, sandbox.port, timeout=5) as client:
            client.starttls(context=ssl.create_default_context(cafile=sandbox.ca_file))
            client.ehlo()
            client.user, client.password = sandbox.user, password
            how = {"PLAIN": client.auth_plain, "LOGIN": client.auth_login, "CRAM-MD5": client.auth_cram_md5}
            with suppress(smtplib.SMTPAuthenticationError):
                client.auth(mechanism, how[mechanism])
                client.sendmail(sandbox.user, [TO], MAIL)

    async with open_sandbox("every-mechanism", password=Secret(PASSWORD)) as sandbox:
        await asyncio.to_thread(talk)
        right = password == PASSWORD
        assert [(each.outcome, each.mechanism) for each in sandbox.attempts] == [("success" if right else "failure", mechanism)]
        assert len(sandbox.messages) == right
    signed_in("smtplib → sandbox", mechanism, "signed in" if right else "refused")
