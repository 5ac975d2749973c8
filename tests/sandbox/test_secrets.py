"""What is typed as a credential is in no transcript, whatever the client does wrong."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit.redact import Secret
from kit.sandbox.server import open_sandbox
from tests.sandbox.raw_client import b64, connected, greeted, plain

# The first letter is in no word that client or server says, so that no password is a part of one by chance.
PASSWORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=5, max_size=40).map("¤{}".format)
TYPED = "hunter2-Tr0ub4dor"  # somebody's real password, which is not the sandbox's own
BLOB = b64(TYPED)


def everything(sandbox, heard) -> str:
    return "\n".join((*map(str, sandbox.transcript), *map(repr, sandbox.transcript), repr(sandbox), *heard))


def assert_hidden(password: str, text: str) -> None:
    assert password not in text
    for blob in (b64(password), plain("you@example.test", password)):
        assert blob.decode().rstrip("=")[:-1] not in text


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(password=PASSWORDS, right=st.booleans(), mechanism=st.sampled_from(["initial", "asked", "login", "login initial"]))
async def test_no_password_in_the_transcript(password, right, mechanism):
    heard: list[str] = []
    own = Secret(password if right else "another one entirely")
    async with open_sandbox(password=own, listener=lambda said: heard.append(str(said))) as sandbox, greeted(sandbox) as raw:
        lines = {
            "initial": [b"AUTH PLAIN " + plain(sandbox.user, password)],
            "asked": [b"AUTH PLAIN", plain(sandbox.user, password)],
            "login": [b"AUTH LOGIN", b64(sandbox.user), b64(password)],
            "login initial": [b"auth login " + b64(sandbox.user), b64(password)],
        }[mechanism]
        codes = await raw.codes(*lines)
        assert codes[-1] == ("235" if right else "535")
        assert len(heard) == len(sandbox.transcript) > len(lines)
        assert_hidden(password, everything(sandbox, heard))
        said = [said.text for said in sandbox.transcript if said.who == "C"][1:]
        assert said in (
            ["AUTH PLAIN [hidden]"],
            ["AUTH PLAIN", "[hidden]"],
            ["AUTH LOGIN", "[hidden]", "[hidden]"],
            ["AUTH LOGIN [hidden]", "[hidden]"],
        )


@pytest.mark.parametrize("scenario", ["good", "starttls-required", "auth-not-offered", "smtp-auth-disabled"])
@pytest.mark.parametrize(
    "lines",
    [
        (b"AUTH LOGIN", b64("you@example.test"), BLOB),  # AUTH was refused, and the client went on regardless
        (b"AUTH LOGIN", b64("you@example.test"), BLOB + b"\n" + BLOB),
        (b"AUTH PLAIN " + plain("you@example.test", TYPED),),
        (b"AUTH  PLAIN " + plain("you@example.test", TYPED),),
        (b"AUTH\tPLAIN " + plain("you@example.test", TYPED),),
        (b"AUTH PLAIN\t" + plain("you@example.test", TYPED),),
        (b" AUTH PLAIN " + plain("you@example.test", TYPED),),
        (b"AUTH=PLAIN " + plain("you@example.test", TYPED),),
        (b"AUTH " + plain("you@example.test", TYPED),),  # the mechanism was forgotten
        (b"AUTH NONESUCH " + BLOB,),
        (b"AUTH CRAM-MD5 " + BLOB,),
        (b"AUTH PLAIN " + plain("you@example.test", TYPED) + b" " + BLOB,),
        (b"AUTH PLAIN you@example.test " + TYPED.encode(),),
        (b"AUTH PLAIN", b"\0you@example.test\0" + TYPED.encode()),  # base64 was forgotten
        (b"AUTH LOGIN", b"you@example.test", TYPED.encode()),
        (b"USER you@example.test", b"PASS " + TYPED.encode()),  # that is POP3
        (TYPED.encode(),),
        (b"AUTH PLAIN " + plain("you@example.test", TYPED) + b"A" * 13_000,),
        (b"AUTH PLAIN\n" + plain("you@example.test", TYPED),),
    ],
    ids=lambda lines: repr(lines)[:60],
)
async def test_nor_of_a_client_that_does_it_all_wrong(scenario, lines):
    for tls in (True, False):
        async with open_sandbox(scenario) as sandbox, greeted(sandbox, tls=tls) as raw:
            await raw.codes(*lines, b"NOOP")
            text = everything(sandbox, []) + repr(sandbox.attempts)
            assert_hidden(TYPED, text)
            assert plain("you@example.test", TYPED).decode()[:20] not in text


async def test_of_auth_the_mechanism_is_shown_and_what_is_hidden_is_said():
    async with open_sandbox() as sandbox, greeted(sandbox) as raw:
        await raw.codes(b"AUTH", b"AUTH CRAM-MD5", b"AUTH CRAM-MD5 " + BLOB, b"AUTH " + BLOB, BLOB)
        assert [said.text for said in sandbox.transcript if said.who == "C"][1:] == [
            *("AUTH", "AUTH CRAM-MD5", "AUTH CRAM-MD5 [hidden]", "AUTH [hidden]"),
            f"[{len(BLOB)} bytes that are no command]",
        ]


async def test_the_sandbox_s_own_password_is_hidden_wherever_it_is_said():
    async with open_sandbox() as sandbox, connected(sandbox) as raw:
        await raw.reply()
        password = sandbox.password.reveal().encode()
        await raw.codes(b"EHLO " + password, b"NOOP " + password, b"VRFY " + b64(password), b"MAIL FROM:<" + password + b"@example.test>")
        assert_hidden(password.decode(), everything(sandbox, []))
        assert "[hidden]" in everything(sandbox, [])


async def test_nor_do_the_attempts_show_it_where_it_was_typed_in_the_wrong_field():
    async with open_sandbox() as sandbox, greeted(sandbox) as raw:
        password = sandbox.password.reveal()
        await raw.codes(b"EHLO " + password.encode(), b"AUTH PLAIN " + plain(password, sandbox.user))
        assert_hidden(password, repr(sandbox.attempts))
        assert [(attempt.user, attempt.helo) for attempt in sandbox.attempts] == [("[hidden]", "[hidden]")]


async def test_a_message_is_not_in_the_transcript():
    async with open_sandbox() as sandbox, greeted(sandbox) as raw:
        await raw.sign_in(sandbox)
        await raw.codes(b"MAIL FROM:<a@example.test>", b"RCPT TO:<b@example.test>", b"DATA")
        assert await raw.codes(b"the reset code is 314159\r\n.") == ["250"]
        assert "314159" not in everything(sandbox, [])


async def test_the_transcript_says_who_said_what_when_and_nothing_a_terminal_obeys():
    async with open_sandbox() as sandbox, greeted(sandbox) as raw:
        await raw.codes(b"NOOP \x1b[31m\x07\xc2\x9b2J", b"QUIT")
        texts = [str(said) for said in sandbox.transcript]
        assert [said.who for said in sandbox.transcript][:4] == ["-", "-", "S", "C"]
        assert all(said.client == 1 for said in sandbox.transcript)
        assert sorted(said.time for said in sandbox.transcript) == [said.time for said in sandbox.transcript]
        assert all(said.time.utcoffset().total_seconds() == 0 for said in sandbox.transcript)
        assert all(text.isprintable() for text in texts)
        assert any("C: NOOP" in text for text in texts)
