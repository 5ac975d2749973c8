"""`kit send` as people run it: another process, exit codes, one JSON document, and a password nobody sees."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys

import pytest

from kit.sandbox.server import open_sandbox
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


# ---------------------------------------------------------------------------------------- what to send, and how often


async def in_sandbox(kit_send, *args: str, password: str | None = None, scenario: str = "good", target: bool = True):
    async with open_sandbox(scenario) as sandbox:
        server = ["127.0.0.1", "--port", str(sandbox.port), "--user", sandbox.user, "--ca", sandbox.ca_file, "--password-stdin"]
        code, out, err = await kit_send(*(server if target else []), *args, stdin=(password or sandbox.password.reveal()) + "\n")
        return code, out, err, sandbox


async def test_quiet_says_nothing_when_all_is_well_and_one_paragraph_when_not(kit_send):
    code, out, err, sandbox = await in_sandbox(kit_send, "--to", "ben@example.test", "--quiet")
    assert (code, out, err, len(sandbox.messages)) == (0, "", "", 1)
    code, out, err, sandbox = await in_sandbox(kit_send, "--to", "ben@example.test", "--quiet", password="wrong")
    assert (code, out, len(sandbox.attempts)) == (1, "", 1)
    (paragraph,) = err.splitlines()
    assert paragraph.startswith("kit send 127.0.0.1: ")
    assert "535" in paragraph  # the server's own words
    assert "Check the user's exact form" in paragraph  # and what to do


async def test_a_kind_goes_through_the_kits_own_server_first(kit_send):
    code, out, err, sandbox = await in_sandbox(kit_send, "--to", "ben@example.test", "--kind", "html", "--sandbox")
    assert (code, err) == (0, "")
    assert out.startswith("In the sandbox first: taken\n")
    (message,) = sandbox.messages
    assert b"multipart/alternative" in message.data


async def test_a_file_is_sent_as_it_is_and_to_whom_the_command_says(kit_send, tmp_path):
    eml = tmp_path / "report.eml"
    eml.write_text(
        "From: scanner@example.test\nTo: nobody@example.net\nSubject: a scan\nDate: Tue, 24 Nov 2026 08:00:00 +0000\n\nhello\n", "ascii"
    )
    code, _, err, sandbox = await in_sandbox(kit_send, "--to", "ben@example.test", "--from", "scanner@example.test", "--eml", str(eml))
    assert (code, err) == (0, "")
    (message,) = sandbox.messages
    assert message.recipients == ("ben@example.test",)
    assert message.data.endswith(b"Subject: a scan\r\nDate: Tue, 24 Nov 2026 08:00:00 +0000\r\n\r\nhello\r\n")
    eml.write_bytes(b"From: scanner@example.test\r\nDate: x\r\n\r\nhello\n.\r\nMAIL FROM:<eve@example.com>\r\n")
    code, out, err, sandbox = await in_sandbox(kit_send, "--to", "ben@example.test", "--eml", str(eml))
    assert (code, out, sandbox.messages) == (2, "", [])
    assert f"{eml}" in err


async def test_a_series_goes_over_one_connection_and_says_what_became_of_each(kit_send):
    code, out, err, sandbox = await in_sandbox(kit_send, "--to", "ben@example.test", "--count", "3")
    assert (code, err, len(sandbox.messages), len(sandbox.attempts)) == (0, "", 3, 1)
    assert "3 messages to 3 recipients" in out
    assert [line.split()[:2] for line in out.splitlines() if "/3 " in line] == [["1/3", "taken,"], ["2/3", "taken,"], ["3/3", "taken,"]]
    # STARTTLS: banner, EHLO, STARTTLS, EHLO, AUTH; an envelope and a content each, the last with QUIT behind it (RFC 2920).
    assert out.rstrip().endswith(f"3 messages: 3 taken, {5 + 3 * 2} round trips")
    assert len({re.search(rb"X-Kit-Trace: (\w+)", message.data)[1] for message in sandbox.messages}) == 3


async def test_a_series_that_was_refused_says_how_to_go_on_and_goes_on(kit_send):
    code, out, err, _ = await in_sandbox(kit_send, "--to", "ben@example.test", "--count", "2", password="wrong")
    assert code == 1
    assert "2 not sent" in out
    name = re.search(r"--resume (\S+)", err)[1]
    code, out, err, sandbox = await in_sandbox(kit_send, "--resume", name)
    assert (code, out) == (2, "")  # another port is another account
    assert "another account" in err
    assert not sandbox.messages


async def test_a_series_takes_no_second_description(kit_send):
    for more in (("--resume", "x", "--to", "ben@example.test"), ("--dry-run", "--count", "2", "--to", "ben@example.test"), ()):
        code, out, err = await kit_send("127.0.0.1", "--from", "anna@example.com", *more)
        assert (code, out) == (2, "")
        assert "Traceback" not in err
