"""`kit send` as people run it: another process, exit codes, one JSON document, and a password nobody sees."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import pytest

from tests.live.check_servers import Pki, make_pki
from tests.live.test_send import STARTTLS_OFFERED, served

KEYS = ["target", "host", "port", "security", "steps", "attempt", "findings"]
MORE = ["message_id", "queue_id", "accepted", "rejected", "round_trips"]


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def kit_send(tmp_path):
    async def run(*args: str, stdin: str = "") -> tuple[int, str, str]:
        env = os.environ | {"KIT_STATE_DIR": str(tmp_path), "KIT_CONFIG_DIR": str(tmp_path), "PYTHONUTF8": "1"}
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "kit", "send", *args, stdin=pipe, stdout=pipe, stderr=pipe, env=env
        )
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 30)
        return process.returncode or 0, out.decode(), err.decode()

    return run


async def test_a_message_that_goes_out_is_exit_code_0(kit_send, pki):
    async with served(STARTTLS_OFFERED, starttls=pki.server()) as (script, profile):
        options = (
            "--port",
            str(profile.port),
            "--security",
            "starttls",
            "--ca",
            pki.ca_file,
            "--user",
            "anna@example.com",
            "--password-stdin",
        )
        code, out, err = await kit_send(
            profile.host, *options, "--to", "ben@example.net", "--subject", "Grüße", "--json", stdin="hunter2!\n"
        )
    assert (code, err) == (0, "")
    got = json.loads(out)
    assert list(got) == KEYS + MORE
    assert (got["accepted"], got["rejected"], got["queue_id"]) == (["ben@example.net"], [], "4C0FFEE123")
    assert got["attempt"]["outcome"] == "success"
    assert got["message_id"].encode() in script.content
    assert b"=?utf-8?" in script.content
    assert "hunter2!" not in out


async def test_a_refused_sign_in_is_exit_code_1_and_says_what_to_do(kit_send, pki):
    refused = STARTTLS_OFFERED | {"AUTH": "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant."}
    async with served(refused, starttls=pki.server()) as (script, profile):
        options = (
            "--port",
            str(profile.port),
            "--security",
            "starttls",
            "--ca",
            pki.ca_file,
            "--user",
            "anna@example.com",
            "--password-stdin",
        )
        code, out, err = await kit_send(profile.host, *options, "--to", "ben@example.net", stdin="hunter2!\n")
    assert (code, err) == (1, "")
    assert "Set-CASMailbox" in out
    assert "hunter2!" not in out
    assert sum(line.startswith("AUTH") for line in script.heard) == 1


async def test_a_dry_run_needs_no_password(kit_send):
    async with served() as (script, profile):
        place = (profile.host, "--port", str(profile.port), "--security", "none")
        code, out, _ = await kit_send(*place, "--from", "anna@example.com", "--to", "ben@example.net", "--dry-run")
    assert "DATA" not in script.heard
    assert "would take the message" in out
    assert code == 1  # for the connection without TLS


async def test_a_closed_port_is_exit_code_1(kit_send):
    async with served() as (_, profile):
        pass
    code, out, err = await kit_send(profile.host, "--port", str(profile.port), "--from", "a@example.com", "--to", "b@example.com", "--json")
    assert (code, err) == (1, "")
    assert [f["cause"] for f in json.loads(out)["findings"]] == ["unreachable"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("127.0.0.1",), "--to"),
        (("127.0.0.1", "--to", "ben@example.net"), "nobody is named as sender"),
        (("127.0.0.1", "--from", "anna@example.com", "--to", "ben"), "RFC 5322"),
        (("127.0.0.1", "--from", "anna@example.com", "--to", "ben@example.net\r\nDATA"), "RFC 5322"),
        (("127.0.0.1", "--from", "anna@example.com", "--to", "ben@example.net", "--subject", "a\nBcc: eve@example.com"), "RFC 5322"),
        (("127.0.0.1", "--from", "anna@example.com", "--to", "ben@example.net", "--port", "70000"), "65535"),
        (("127.0.0.1", "--user", "anna@example.com", "--to", "ben@example.net", "--password-stdin"), "--password-stdin"),
        (("127.0.0.1", "--user", "anna@example.com", "--to", "ben@example.net", "--mechanism", "NTLM"), "NTLM"),
    ],
)
async def test_wrong_use_is_exit_code_2_with_an_empty_standard_output(kit_send, args, said):
    code, out, err = await kit_send(*args)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err
