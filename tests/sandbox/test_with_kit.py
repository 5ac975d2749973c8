"""What `kit check` and `kit send` make of every scenario: the sandbox teaches only what the kit then says."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import pytest

import kit
from kit.model import Security
from kit.redact import Secret
from kit.sandbox.scenarios import scenarios
from kit.sandbox.server import open_sandbox

# By scenario: the cause of what keeps a message from going out, and how many sign-ins the sandbox then counts. The
# title in the table promises the cause; a server without AUTH must not be sent a password at all.
EXPECTED = {
    "good": (None, 1),
    "every-mechanism": (None, 1),
    "wrong-password": ("credentials", 1),
    "starttls-required": (None, 1),
    "auth-not-offered": ("auth-not-offered", 0),
    "smtp-auth-disabled": ("method-disabled", 1),
    "token-rejected": ("mechanism-unsupported", 0),  # to whom no token is given
}
TO = "colleague@example.test"


def test_every_scenario_is_expected_here():
    assert {scenario.name for scenario in scenarios() if scenario.group == "Sign-in"} == set(EXPECTED)


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
@pytest.mark.parametrize("name", EXPECTED)
async def test_a_message_goes_out_where_the_scenario_lets_it(name, security, tmp_path):
    cause, tries = EXPECTED[name]
    async with open_sandbox(name) as sandbox:
        mail = kit.build_test_message(sandbox.user, [TO])
        result = await kit.send(sandbox.profile(security), mail, sandbox.password, budget=tmp_path / "attempts")
        assert [finding.cause for finding in result.findings if finding.severity == "error"] == ([cause] if cause else [])
        assert result.ok is (cause is None)
        assert [message.recipients for message in sandbox.messages] == ([] if cause else [(TO,)])
        # The client and the server tell the same story of the same sign-in.
        assert len(sandbox.attempts) == tries
        if tries:
            ours, theirs = result.attempt, sandbox.attempts[0]
            assert (ours.outcome, ours.cause, ours.mechanism) == (theirs.outcome, theirs.cause, theirs.mechanism)
        else:
            assert result.attempt is None
        assert sandbox.password.reveal() not in repr(result)


@pytest.mark.parametrize("name", EXPECTED)
async def test_without_a_password_nothing_is_tried_and_nothing_sent(name, tmp_path):
    async with open_sandbox(name) as sandbox:
        result = await kit.send(sandbox.profile(), kit.build_test_message(sandbox.user, [TO]), budget=tmp_path / "attempts")
        assert not result.ok
        assert result.attempt is None
        assert sandbox.messages == sandbox.attempts == []


async def test_a_wrong_password_is_tried_once(tmp_path):
    async with open_sandbox() as sandbox:
        mail = kit.build_test_message(sandbox.user, [TO])
        result = await kit.send(sandbox.profile(), mail, Secret("not the right one"), budget=tmp_path / "attempts")
        assert [(each.outcome, each.cause) for each in sandbox.attempts] == [("failure", "credentials")]
        assert not result.ok
        assert sandbox.messages == []


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("command", [("check",), ("send", "--to", TO)], ids=["check", "send"])
async def test_the_commands_answer_by_exit_code_and_hide_the_password(name, command, tmp_path):
    cause, _ = EXPECTED[name]
    async with open_sandbox(name) as sandbox:
        what, *more = command
        options = ("--port", str(sandbox.port), "--user", sandbox.user, "--ca", sandbox.ca_file, "--password-stdin", "--json")
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kit", what, sandbox.host, *options, "--security", "starttls", *more),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env=os.environ | {"KIT_STATE_DIR": str(tmp_path), "KIT_CONFIG_DIR": str(tmp_path)},
        )
        out, err = await asyncio.wait_for(process.communicate(f"{sandbox.password.reveal()}\n".encode()), 30)
        assert sandbox.password.reveal().encode() not in out + err
    assert (process.returncode, err) == (1 if cause else 0, b"")
    errors = [finding["cause"] for finding in json.loads(out)["findings"] if finding["severity"] == "error"]
    assert errors == ([cause] if cause else [])
