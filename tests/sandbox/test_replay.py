"""Every entry of replies.toml, said by a server and found again by the kit; those that no server says are refused."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

import kit
import kit.knowledge
from kit.errors import UsageError
from kit.model import Security
from kit.sandbox.replay import find_scenario, replayable
from kit.sandbox.scenarios import Stage
from kit.sandbox.server import open_sandbox
from tests.sandbox.raw_client import b64, greeted

TABLE = tomllib.loads((Path(kit.knowledge.__file__).parent / "replies.toml").read_text("utf-8"))
ENTRIES = {entry["id"]: entry for entry in TABLE["reply"]}
AFTER_THE_SIGN_IN = {Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.END_OF_DATA}
# What a client's own library, this machine or a web service says, and no server in SMTP can be made to cause.
NOT_PLAYED = {"entra-application-unknown", "oauth-invalid-grant", "name-not-found", "connection-refused", "connection-timed-out"}
NOT_PLAYED |= {"tls-nothing-in-common", "tls-server-error", "certificates-too-many"}


async def findings(name, folder):
    """What the kit says of that scenario: a check, or a mail where that is about the mail."""
    scenario = find_scenario(name)
    stages = set(scenario.replies)
    # Before TLS only who asks there hears it; where there is plain text instead of TLS, who begins with TLS sees it as it is.
    security = Security.NONE if Stage.IN_CLEAR in stages else Security.TLS if Stage.TLS in stages else Security.STARTTLS
    async with open_sandbox(name) as sandbox:
        profile = replace(sandbox.profile(security), timeout=0.5 if scenario.faults else 5)
        if stages & AFTER_THE_SIGN_IN:
            mail = kit.build_test_message(sandbox.user, ["colleague@example.test"])
            result = await kit.send(profile, mail, sandbox.password, budget=folder / "attempts")
            assert sandbox.messages == []
        else:
            in_clear = security is Security.NONE
            result = await kit.check(profile, sandbox.password, budget=folder / "attempts", allow_clear=in_clear)
        if stages & {Stage.SIGN_IN, Stage.AUTH}:  # the client and the server tell the same story
            (theirs,) = sandbox.attempts
            assert (theirs.outcome, theirs.cause) == (result.attempt.outcome, result.attempt.cause)
    return result


def test_all_but_these_can_be_played():
    assert set(replayable()) == ENTRIES.keys() - NOT_PLAYED


@pytest.mark.parametrize("name", sorted(NOT_PLAYED))
def test_what_no_server_says_is_refused_with_a_word_on_what_to_do(name):
    with pytest.raises(UsageError) as fault:
        find_scenario(f"reply:{name}")
    assert name in str(fault.value)
    assert len(fault.value.next_step) > 20


# At a host that it does not know the kit must not take these words for that provider's; xoauth2 has a test of its own.
@pytest.mark.parametrize("name", [name for name in replayable() if not ENTRIES[name].get("hosts") and name != "xoauth2-challenge"])
async def test_the_kit_finds_the_entry_s_own_cause(name, tmp_path):
    result = await findings(f"reply:{name}", tmp_path)
    bad = [finding for finding in result.findings if finding.severity == ENTRIES[name]["severity"]]
    assert [finding.cause for finding in bad] == [ENTRIES[name]["cause"]]
    if find_scenario(f"reply:{name}").name == f"reply:{name}":  # words of a server, not a fault that has them in clients
        assert ENTRIES[name]["title"] in [finding.title for finding in bad]


@pytest.mark.parametrize("name", [name for name in replayable() if ENTRIES[name].get("hosts")])
async def test_words_that_count_at_one_provider_only_are_played_letter_by_letter(name, tmp_path):
    result = await findings(f"reply:{name}", tmp_path)
    (said,) = [step.reply.text for step in result.steps if step.name == "auth" and step.reply.code != 334]
    assert said in ENTRIES[name]["examples"][0]
    assert kit.explain(said, stage="auth", host=f"smtp.{ENTRIES[name]['hosts'][0]}").title == ENTRIES[name]["title"]


async def test_a_refused_token_is_told_why_behind_334():
    async with open_sandbox("reply:xoauth2-challenge") as sandbox, greeted(sandbox) as raw:
        challenge = await raw.say(b"AUTH XOAUTH2 " + b64(f"user={sandbox.user}\1auth=Bearer {sandbox.password.reveal()}\1\1"))
        assert kit.explain(challenge).title == ENTRIES["xoauth2-challenge"]["title"]
        assert (await raw.say(b"")).startswith("535 ")
        assert [attempt.cause for attempt in sandbox.attempts] == ["token-rejected"]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "gmail-app-password-required",
            [
                "534-5.7.9 Application-specific password required. For more information, go to",
                "534 5.7.9 https://support.google.com/mail/?p=InvalidSecondFactor x1-20020a170902example.55 - gsmtp",
            ],
        ),
        ("gmail-web-login", ["534-5.7.14 <", "534-5.7.14 Please log in via your", "534-5.7.14 Learn more at", "534 5.7.14 https://"]),
    ],
)
async def test_a_reply_of_many_lines_has_them_all(name, lines):
    async with open_sandbox(f"reply:{name}") as sandbox, greeted(sandbox) as raw:
        assert (await raw.say(b"AUTH LOGIN " + b64(sandbox.user)))[:3] == "334"
        said = (await raw.say(b64("any password"))).split("\n")
        assert len(said) == len(lines)
        assert all(line.startswith(begin) for line, begin in zip(said, lines, strict=True))


# ------------------------------------------------------------------------------------------ replies known by their code alone

STAGE_OF = {"auth": Stage.SIGN_IN, "data": Stage.END_OF_DATA}
# A code of RFC 5321 that goes with the enhanced one, of which only the middle and the end are said: `x.7.8`.
AT_AUTH = {row["code"] for row in TABLE["code"] if "auth" in row.get("stages", ())}  # there the more general row does not count
CODES = [
    (row["code"], stage, row["cause"])
    for row in TABLE["code"]
    for stage in row.get("stages", ["mail" if row["code"] in AT_AUTH else "auth"])
]


@pytest.mark.parametrize(("code", "stage", "cause"), CODES)
async def test_any_reply_can_be_played_at_any_stage(code, stage, cause, tmp_path):
    # Words that no entry knows, and a detail behind "5.7" that none does.
    said = f"{code} Nix" if code.isdigit() else f"550 {code.replace('x', '5')}{'.199' if code.count('.') == 1 else ''} Nix"
    result = await findings(f"{STAGE_OF.get(stage, Stage(stage) if stage != 'auth' else None)}:{said}", tmp_path)
    bad = [finding.cause for finding in result.findings if finding.severity in ("error", "warning")]
    assert cause in bad
    assert re.fullmatch(r"[0-9]{3} .*", said)


def test_what_an_operator_gives_is_shown_without_what_a_terminal_obeys():
    scenario = find_scenario("rcpt:550 5.1.1 \x1b[31mNo\x07 such user")
    assert scenario.title.isprintable()
    assert scenario.replies == {Stage.RCPT: "550 5.1.1 \x1b[31mNo\x07 such user"}
    assert scenario.cause == "recipient"
