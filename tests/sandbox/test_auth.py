"""RFC 4954 as the sandbox keeps it, and the mechanisms of RFC 4616 and of no RFC (LOGIN)."""

from __future__ import annotations

import pytest

from kit.redact import Secret
from kit.sandbox.server import open_sandbox
from tests.sandbox.raw_client import b64, greeted, plain

GOOD = ("success", "none")
BAD = ("failure", "credentials")
MALFORMED = ("malformed", "malformed")


def seen(sandbox):
    return [(attempt.outcome, attempt.cause) for attempt in sandbox.attempts]


async def test_plain_with_an_initial_response():  # section 4.1, second example
    async with open_sandbox() as sandbox, greeted(sandbox) as raw:
        line = b"AUTH PLAIN " + plain(sandbox.user, sandbox.password.reveal())
        assert (await raw.say(line)).startswith("235 2.7.0")
        (attempt,) = sandbox.attempts
        assert seen(sandbox) == [GOOD]
        assert (attempt.user, attempt.mechanism, attempt.client_ip) == (sandbox.user, "PLAIN", "127.0.0.1")
        assert (attempt.helo, attempt.service, attempt.tls) == ("client.example.test", "submissions", "TLSv1.3")


async def test_plain_without_one_gets_an_empty_challenge():  # section 4.1, third example
    async with open_sandbox() as sandbox, greeted(sandbox) as raw:
        assert await raw.say(b"AUTH PLAIN") == "334 "
        assert (await raw.say(plain(sandbox.user, sandbox.password.reveal())))[:3] == "235"


@pytest.mark.parametrize("initial", [True, False])
async def test_login_asks_for_user_and_password(initial):
    async with open_sandbox() as sandbox, greeted(sandbox) as raw:
        if initial:
            question = await raw.say(b"AUTH LOGIN " + b64(sandbox.user))
        else:
            assert await raw.say(b"AUTH LOGIN") == "334 VXNlcm5hbWU6"  # Username:
            question = await raw.say(b64(sandbox.user))
        assert question == "334 UGFzc3dvcmQ6"  # Password:
        assert (await raw.say(b64(sandbox.password.reveal())))[:3] == "235"
        assert sandbox.attempts[0].mechanism == "LOGIN"


async def test_mechanisms_in_any_case():  # RFC 4422 has them in capitals; section 4 lets commands be of any case
    async with open_sandbox() as sandbox, greeted(sandbox) as raw:
        assert (await raw.say(b"auth plain " + plain(sandbox.user, sandbox.password.reveal())))[:3] == "235"


@pytest.mark.parametrize("lines", [(b"AUTH PLAIN", b"*"), (b"AUTH LOGIN", b"*"), (b"AUTH LOGIN", b64("you@example.test"), b"*")])
async def test_an_asterisk_cancels(lines):  # section 4
    async with open_sandbox() as sandbox, greeted(sandbox) as raw:
        *asked, end = await raw.codes(*lines)
        assert asked == ["334"] * len(asked)
        assert end == "501"
        assert seen(sandbox) == [("aborted", "aborted")]
        await raw.sign_in(sandbox)  # and a new one may begin


@pytest.mark.parametrize(
    "lines",
    [
        (b"AUTH PLAIN !!!!",),
        (b"AUTH PLAIN AAA",),  # without its padding
        (b"AUTH PLAIN AA==AA==",),  # padding within
        (b"AUTH PLAIN", b"\xff\xff"),
        (b"AUTH PLAIN", b"="),  # means "empty" in an initial response only
        (b"AUTH PLAIN", b""),  # an empty one, which is no PLAIN message
        (b"AUTH PLAIN =",),
        (b"AUTH PLAIN " + b64("no NUL in it"),),
        (b"AUTH PLAIN " + b64("\0user\0pass\0word"),),  # RFC 4616 section 2: two NULs
        (b"AUTH PLAIN " + b64("\0user\0"),),  # RFC 4616 section 2: a password has at least one character
        (b"AUTH PLAIN " + b64(b"\0us\xe9r\0password"),),  # RFC 4616 section 2: UTF-8
        (b"AUTH LOGIN", b64("you@example.test"), b"%%%%"),
        (b"AUTH PLAIN AAAA\nAAAA",),
    ],
    ids=repr,
)
async def test_what_cannot_be_decoded_is_501(lines):  # section 4
    async with open_sandbox() as sandbox, greeted(sandbox) as raw:
        codes = await raw.codes(*lines)
        if b"\n" in lines[0]:  # a bare LF is no line end, and refused before all else
            assert codes == ["500"]
            assert seen(sandbox) == []
        else:
            assert codes == ["334"] * (len(lines) - 1) + ["501"]
            assert seen(sandbox) == [MALFORMED]


async def test_an_unknown_mechanism_is_504():  # section 4
    async with open_sandbox() as sandbox, greeted(sandbox) as raw:
        assert await raw.codes(b"AUTH CRAM-MD5", b"AUTH NONESUCH", b"AUTH PLAINLY") == ["504"] * 3
        assert seen(sandbox) == [("refused", "mechanism-unsupported")] * 3
        assert [attempt.mechanism for attempt in sandbox.attempts] == ["CRAM-MD5", None, None]


async def test_auth_needs_a_mechanism():
    async with open_sandbox() as sandbox, greeted(sandbox) as raw:
        assert await raw.codes(b"AUTH") == ["501"]


async def test_a_second_sign_in_is_503():  # section 4
    async with open_sandbox() as sandbox, greeted(sandbox) as raw:
        await raw.sign_in(sandbox)
        assert await raw.codes(b"AUTH PLAIN AAAA", b"EHLO x", b"AUTH PLAIN AAAA") == ["503", "250", "503"]
        assert seen(sandbox) == [GOOD]


async def test_auth_within_a_mail_transaction_is_503():  # section 4
    async with open_sandbox() as sandbox, greeted(sandbox) as raw:
        await raw.sign_in(sandbox)
        assert await raw.codes(b"MAIL FROM:<a@example.test>", b"AUTH PLAIN AAAA") == ["250", "503"]


async def test_mail_before_a_sign_in_is_530():  # section 6
    async with open_sandbox() as sandbox, greeted(sandbox) as raw:
        assert (await raw.say(b"MAIL FROM:<a@example.test>")).startswith("530 5.7.0")


async def test_auth_in_clear_is_538_and_a_password_sent_with_it_is_counted():  # section 6
    async with open_sandbox() as sandbox, greeted(sandbox, tls=False) as raw:
        assert (await raw.say(b"AUTH PLAIN " + plain(sandbox.user, sandbox.password.reveal()))).startswith("538 5.7.11")
        assert seen(sandbox) == [("refused", "tls-required")]
        assert sandbox.attempts[0].tls == "none"
        assert sandbox.attempts[0].service == "submission"


@pytest.mark.parametrize(
    ("user", "password", "acting_as", "code"),
    [
        ("you@example.test", "right", "", "235"),
        ("you@example.test", "right", "you@example.test", "235"),
        ("you@example.test", "right", "boss@example.test", "535"),  # RFC 4616 section 2: is it allowed to act as that?
        ("you@example.test", "Right", "", "535"),
        ("you@example.test", "right ", "", "535"),
        ("you@example.test", "righ", "", "535"),
        ("YOU@example.test", "right", "", "535"),
        ("other@example.test", "right", "", "535"),
    ],
)
async def test_only_the_account_itself_signs_in(user, password, acting_as, code):
    async with open_sandbox(password=Secret("right")) as sandbox, greeted(sandbox) as raw:
        assert await raw.codes(b"AUTH PLAIN " + plain(user, password, acting_as)) == [code]
        assert seen(sandbox) == [GOOD if code == "235" else BAD]
        assert sandbox.attempts[0].user == user


async def test_an_account_in_other_letters():
    async with open_sandbox(user="jürgen@bücher.example", password=Secret("pässwörd€")) as sandbox, greeted(sandbox) as raw:
        await raw.sign_in(sandbox)
        assert sandbox.attempts[0].user == "jürgen@bücher.example"


@pytest.mark.parametrize("initial", [True, False])
async def test_an_auth_line_may_have_12288_octets_and_no_more(initial):  # section 4: including CRLF
    prefix = b"AUTH PLAIN "
    room = 12_288 - 2 - (len(prefix) if initial else 0)
    fits = plain("you@example.test", "x" * 20_000)[: room // 4 * 4]
    async with open_sandbox() as sandbox, greeted(sandbox) as raw:
        for line, code in ((fits, "535"), (fits + b"AAAA", "500")):
            if initial:
                reply = await raw.say(prefix + line)
            else:
                assert await raw.codes(b"AUTH PLAIN") == ["334"]
                reply = await raw.say(line)
            assert reply[:3] == code
            assert code == "535" or reply[4:9] == "5.5.6"
        assert await raw.codes(b"NOOP") == ["250"]


async def test_a_new_password_for_every_run():
    async with open_sandbox() as one, open_sandbox() as other:
        assert one.password.reveal() != other.password.reveal()
        assert len(one.password.reveal()) >= 16
