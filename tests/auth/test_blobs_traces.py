"""Traces as swaks, curl, msmtp and smtplib print them, of sign-ins that took place."""

from __future__ import annotations

import asyncio
import contextlib
import io
import smtplib
import ssl

import pytest

from kit.auth.blobs import explain_blobs
from kit.redact import MASKED, Secret
from kit.sandbox.server import open_sandbox
from tests.sandbox.test_foreign_clients import CLIENTS, PASSWORD, run

LOUD = {"swaks": (), "curl": ("-v",), "msmtp": ("--debug",)}


def understood(trace, mechanism, user):
    answer = explain_blobs(trace)
    assert answer is not None, trace
    assert answer.cause == "none", trace
    assert answer.title.startswith(f"{mechanism}: "), answer.title
    assert f"user {user}, " in answer.title, answer.title
    assert MASKED in answer.title, answer.title
    assert PASSWORD not in repr(answer)


@pytest.mark.parametrize(("client", "mechanism"), CLIENTS)
async def test_a_trace_is_understood(client, mechanism, tmp_path):
    (tmp_path / "password").write_text(PASSWORD)
    async with open_sandbox("every-mechanism", password=Secret(PASSWORD)) as sandbox:
        name, *rest = client(sandbox, mechanism, tmp_path)
        code, trace = await run((name, *LOUD[name], *rest))
        assert code == 0, trace
        understood(trace, mechanism, sandbox.user)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
async def test_smtplibs_trace_is_understood(mechanism):
    def sign_in(sandbox):
        with contextlib.redirect_stderr(io.StringIO()) as trace, smtplib.SMTP(sandbox.host, sandbox.port, timeout=10) as client:
            client.set_debuglevel(1)
            client.starttls(context=ssl.create_default_context(cafile=sandbox.ca_file))
            client.ehlo()
            client.user, client.password = sandbox.user, PASSWORD
            client.auth(mechanism, getattr(client, f"auth_{mechanism.lower().replace('-', '_')}"))
        return trace.getvalue()

    async with open_sandbox("every-mechanism", password=Secret(PASSWORD)) as sandbox:
        understood(await asyncio.to_thread(sign_in, sandbox), mechanism, sandbox.user)
