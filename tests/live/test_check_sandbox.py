"""The ladder in the sandbox: what each scenario promises to show, it finds."""

from __future__ import annotations

import json

import pytest

import kit
from kit.model import Security, Severity, to_plain
from kit.redact import Secret
from kit.sandbox.scenarios import scenarios
from kit.sandbox.server import open_sandbox

# What the table of scenarios says of each: outcome and cause of the sign-in, and the causes of what is an error.
EXPECTED = {
    "good": (("success", "none"), []),
    "every-mechanism": (("success", "none"), []),
    "wrong-password": (("failure", "credentials"), ["credentials"]),
    "starttls-required": (("success", "none"), []),
    "auth-not-offered": (None, ["auth-not-offered"]),
    "smtp-auth-disabled": (("refused", "method-disabled"), ["method-disabled"]),
    "token-rejected": (None, ["mechanism-unsupported"]),  # no token is given, and a password cannot be used
}


def test_every_scenario_is_expected_here():
    assert {scenario.name for scenario in scenarios() if scenario.group == "Sign-in"} == set(EXPECTED)


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
@pytest.mark.parametrize("name", EXPECTED)
async def test_a_scenario_is_found_for_what_it_is(name, security, tmp_path):
    async with open_sandbox(name) as sandbox:
        result = await kit.check(sandbox.profile(security), sandbox.password, budget=tmp_path / "attempts")
        tries = list(sandbox.attempts)
        password = sandbox.password.reveal()
    expected, errors = EXPECTED[name]
    assert (result.attempt and (result.attempt.outcome, result.attempt.cause)) == expected
    assert [finding.cause for finding in result.findings if finding.severity is Severity.ERROR] == errors
    assert len(tries) == (expected is not None)  # one sign-in, as the server counts
    assert password not in json.dumps(to_plain(result)) + repr(result)


async def test_a_wrong_password_is_one_try_as_the_sandbox_counts(tmp_path):
    async with open_sandbox("good") as sandbox:
        result = await kit.check(sandbox.profile(), Secret("not the right one"), budget=tmp_path / "attempts")
        assert [(each.outcome, each.cause) for each in sandbox.attempts] == [("failure", "credentials")]
        assert sandbox.attempts[0].mechanism == result.attempt.mechanism == "PLAIN"
    assert not result.ok


async def test_the_sandbox_hears_no_password_in_clear(tmp_path):
    async with open_sandbox("starttls-required") as sandbox:
        result = await kit.check(sandbox.profile(Security.NONE))
        assert sandbox.attempts == []
    assert [finding.cause for finding in result.findings] == ["tls-required"]
    assert "STARTTLS" in result.findings[0].title


async def test_without_the_sandbox_s_authority_its_certificate_is_refused(tmp_path):
    from dataclasses import replace

    async with open_sandbox() as sandbox:
        result = await kit.check(replace(sandbox.profile(), ca_file=None), sandbox.password, budget=tmp_path / "attempts")
        assert sandbox.attempts == []
    assert result.findings[-1].cause == "certificate"
