"""RFC 5321 as the sandbox keeps it, asked by a client that knows none of it."""

from __future__ import annotations

import asyncio

import pytest

from kit.sandbox.mail import LARGEST_MESSAGE, MOST_RECIPIENTS
from kit.sandbox.server import open_sandbox
from tests.sandbox.raw_client import connected, greeted, signed_in


async def test_banner_and_ehlo_begin_with_the_domain():  # RFC 5321 sections 4.2 and 4.1.1.1
    async with open_sandbox() as sandbox, connected(sandbox) as raw:
        assert (await raw.reply()).startswith("220 localhost ")
        first, *offers = (await raw.say(b"EHLO client.example.test")).split("\n")
        assert first.split("-")[1].split()[0] == "localhost"
        assert {offer[4:].split()[0] for offer in offers} == {
            "PIPELINING",  # RFC 2920
            "SIZE",  # RFC 1870
            "8BITMIME",  # RFC 6152
            "SMTPUTF8",  # RFC 6531
            "ENHANCEDSTATUSCODES",  # RFC 2034
            "STARTTLS",  # RFC 3207
        }
        assert all(offer[3] == "-" for offer in offers[:-1])
        assert offers[-1][3] == " "


async def test_helo_gets_one_line():  # RFC 5321 section 4.1.1.1: no extensions in it
    async with open_sandbox() as sandbox, connected(sandbox) as raw:
        await raw.reply()
        assert await raw.say(b"HELO client.example.test") == "250 localhost"


@pytest.mark.parametrize("line", [b"EHLO", b"HELO", b"EHLO  "])
async def test_a_greeting_needs_a_name(line):  # RFC 5321 section 4.1.1.1
    async with open_sandbox() as sandbox, connected(sandbox) as raw:
        await raw.reply()
        assert await raw.codes(line) == ["501"]


async def test_commands_in_any_case():  # RFC 5321 section 2.4
    async with open_sandbox() as sandbox, greeted(sandbox) as raw:
        assert await raw.codes(b"nOOp", b"ehlo x", b"rset") == ["250"] * 3


async def test_noop_rset_vrfy_quit():  # RFC 5321 sections 4.1.1.9, 4.1.1.5, 3.5.3, 4.1.1.10
    async with open_sandbox() as sandbox, greeted(sandbox) as raw:
        lines = (b"NOOP", b"NOOP with words", b"RSET", b"VRFY you", b"VRFY", b"QUIT")
        assert await raw.codes(*lines) == ["250", "250", "250", "252", "501", "221"]
        assert await raw.reply() == ""  # and it hangs up


async def test_enhanced_codes_agree_with_the_code():  # RFC 2034 section 4
    lines = (b"NOOP", b"RSET", b"XYZZY", b"MAIL FROM:<a@example.test>", b"RCPT TO:<b@example.test>", b"DATA", b"AUTH", b"VRFY x", b"QUIT")
    async with open_sandbox() as sandbox, greeted(sandbox) as raw:
        for line in lines:
            reply = await raw.say(line)
            assert reply[4:6] == reply[0] + ".", reply


@pytest.mark.parametrize("line", [b"XYZZY", b"", b"\xff\xfe", b"EHLO\tclient", b"GET / HTTP/1.1"])
async def test_what_is_no_command_is_500(line):  # RFC 5321 section 4.2.4
    async with open_sandbox() as sandbox, greeted(sandbox) as raw:
        assert await raw.codes(line, b"NOOP") == ["500", "250"]


async def test_commands_out_of_order_are_503():  # RFC 5321 section 4.1.4
    async with open_sandbox() as sandbox, connected(sandbox, tls=True) as raw:
        await raw.reply()
        assert await raw.codes(b"MAIL FROM:<a@example.test>", b"AUTH PLAIN AAAA") == ["503", "503"]
        await raw.say(b"EHLO x")
        await raw.sign_in(sandbox)
        assert await raw.codes(b"RCPT TO:<b@example.test>", b"DATA") == ["503", "503"]
        assert await raw.codes(b"MAIL FROM:<a@example.test>", b"MAIL FROM:<a@example.test>", b"DATA") == ["250", "503", "503"]


@pytest.mark.parametrize("line", [b"DATA now", b"RSET now", b"QUIT now", b"STARTTLS now"])
async def test_commands_without_arguments_take_none(line):  # RFC 5321 sections 4.1.1.4, .5 and .10; RFC 3207 section 4
    async with open_sandbox() as sandbox, greeted(sandbox, tls=False) as raw:
        assert await raw.codes(line, b"NOOP") == ["501", "250"]


async def test_ehlo_and_rset_forget_the_message():  # RFC 5321 sections 4.1.4 and 4.1.1.5
    async with open_sandbox() as sandbox, signed_in(sandbox) as raw:
        for forget in (b"RSET", b"EHLO x"):
            await raw.codes(b"MAIL FROM:<a@example.test>", b"RCPT TO:<b@example.test>")
            assert await raw.codes(forget, b"DATA") == ["250", "503"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"MAIL FROM:<a@example.test>", "250"),
        (b"mail from:<a@example.test>", "250"),
        (b"MAIL FROM:<>", "250"),  # section 4.5.5
        (b"MAIL FROM:<a@example.test> SIZE=1000 BODY=8BITMIME", "250"),  # RFC 1870 and 6152
        (b"MAIL FROM:<a@example.test> AUTH=<>", "250"),  # RFC 4954 section 5
        ("MAIL FROM:<ä@example.test> SMTPUTF8".encode(), "250"),  # RFC 6531 section 3.4
        ("MAIL FROM:<ä@example.test>".encode(), "553"),  # RFC 6531 section 3.5
        (b"MAIL FROM:<a@example.test> COLOUR=BLUE", "555"),  # section 4.1.1.11
        (b"MAIL FROM:<a@example.test> SIZE=99999999999", "552"),  # RFC 1870 section 6.1
        (b"MAIL FROM:a@example.test", "501"),
        (b"MAIL TO:<a@example.test>", "501"),
        (b"MAIL FROM:<a@example.test", "501"),
        (b"MAIL", "501"),
    ],
)
async def test_mail(line, code):  # RFC 5321 section 4.1.1.2
    async with open_sandbox() as sandbox, signed_in(sandbox) as raw:
        assert await raw.codes(line) == [code]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"RCPT TO:<b@example.test>", "250"),
        (b"RCPT TO:<>", "501"),
        (b"RCPT FROM:<b@example.test>", "501"),
        (b"RCPT TO:b@example.test", "501"),
        (b"RCPT TO:<b@example.test> NOTIFY=NEVER", "555"),  # DSN (RFC 3461) is not offered
    ],
)
async def test_rcpt(line, code):  # RFC 5321 section 4.1.1.3
    async with open_sandbox() as sandbox, signed_in(sandbox) as raw:
        assert await raw.codes(b"MAIL FROM:<a@example.test>", line) == ["250", code]


async def test_a_hundred_recipients_and_no_more():  # RFC 5321 section 4.5.3.1.10: 452 for what is too many
    async with open_sandbox() as sandbox, signed_in(sandbox) as raw:
        await raw.say(b"MAIL FROM:<a@example.test>")
        codes = await raw.codes(*(b"RCPT TO:<b%d@example.test>" % n for n in range(MOST_RECIPIENTS + 1)))
        assert MOST_RECIPIENTS >= 100  # section 4.5.3.1.8
        assert codes == ["250"] * MOST_RECIPIENTS + ["452"]


async def test_a_command_line_may_have_512_octets_and_no_more():  # RFC 5321 section 4.5.3.1.4, CRLF included
    async with open_sandbox() as sandbox, greeted(sandbox) as raw:
        assert await raw.codes(b"NOOP " + b"x" * 505, b"NOOP " + b"x" * 506, b"NOOP") == ["250", "500", "250"]


async def test_commands_in_one_packet_are_answered_in_order():  # RFC 2920 section 3.1
    async with open_sandbox() as sandbox, signed_in(sandbox) as raw:
        await raw.send(b"MAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.test>\r\nRCPT TO:<>\r\nDATA\r\n")
        assert [(await raw.reply())[:3] for _ in range(4)] == ["250", "250", "501", "354"]
        await raw.send(b"Subject: x\r\n\r\nhello\r\n.\r\nNOOP\r\nQUIT\r\n")
        assert [(await raw.reply())[:3] for _ in range(3)] == ["250", "250", "221"]
        assert [message.data for message in sandbox.messages] == [b"Subject: x\r\n\r\nhello\r\n"]


async def test_a_command_may_come_in_pieces():  # as TCP will have it, even between CR and LF
    async with open_sandbox() as sandbox, greeted(sandbox) as raw:
        for piece in (b"N", b"OOP\r", b"\n"):
            await raw.send(piece)
            await asyncio.sleep(0.01)
        assert (await raw.reply())[:3] == "250"


async def send(raw, data: bytes) -> str:
    assert await raw.codes(b"MAIL FROM:<a@example.test>", b"RCPT TO:<b@example.test>", b"DATA") == ["250", "250", "354"]
    await raw.send(data)
    return await raw.reply()


async def test_a_message_is_kept_as_it_came_and_goes_nowhere():
    async with open_sandbox() as sandbox, signed_in(sandbox) as raw:
        reply = await send(raw, b"Subject: hello\r\n\r\n\xe4\x00 8 bit\r\n.\r\n")
        assert reply.startswith("250 2.0.0 ")
        (message,) = sandbox.messages
        assert message.data == b"Subject: hello\r\n\r\n\xe4\x00 8 bit\r\n"
        assert (message.sender, message.recipients) == ("a@example.test", ("b@example.test",))
        assert (message.user, message.peer, message.tls) == (sandbox.user, "127.0.0.1", "TLSv1.3")
        assert "8 bit" not in repr(message)


async def test_dots_are_unstuffed():  # RFC 5321 section 4.5.2
    async with open_sandbox() as sandbox, signed_in(sandbox) as raw:
        await send(raw, b"..\r\n...two\r\n.x\r\nend.\r\n.\r\n")
        assert sandbox.messages[0].data == b".\r\n..two\r\nx\r\nend.\r\n"


async def test_an_empty_message():
    async with open_sandbox() as sandbox, signed_in(sandbox) as raw:
        assert (await send(raw, b".\r\n"))[:3] == "250"
        assert sandbox.messages[0].data == b""


async def test_a_long_line_is_taken():  # RFC 5321 section 4.5.3.1.6: at least 1000 octets; how much longer is the server's business
    async with open_sandbox() as sandbox, signed_in(sandbox) as raw:
        assert (await send(raw, b"x" * 300_000 + b"\r\n.\r\n"))[:3] == "250"
        assert len(sandbox.messages[0].data) == 300_002


@pytest.mark.parametrize("line_end", [b"\r\n", b""])
async def test_more_than_size_is_refused_and_read_to_its_end(line_end):  # RFC 1870 section 6.1, RFC 5321 section 4.5.3.1.10
    line = b"x" * 998 + line_end
    async with open_sandbox() as sandbox, signed_in(sandbox) as raw:
        assert (await send(raw, line * (LARGEST_MESSAGE // 998 + 2) + b"\r\n.\r\n")).startswith("552 5.3.4")
        assert sandbox.messages == []
        assert await raw.codes(b"NOOP") == ["250"]


SMUGGLED = b"MAIL FROM:<evil@example.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\nsmuggled\r\n.\r\n"


@pytest.mark.parametrize(
    "end",
    [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\r\n.\r\r\n", b"\n.\r", b"\r\n\x00.\n"],
    ids=repr,
)
async def test_nothing_but_crlf_dot_crlf_ends_a_message(end):  # RFC 5321 sections 4.1.1.4 and 2.3.8
    async with open_sandbox() as sandbox, signed_in(sandbox) as raw:
        # Were the end taken for one, what follows would be commands, and there would be more than one reply.
        assert (await send(raw, b"Subject: x\r\n\r\nhello" + end + SMUGGLED)).startswith("550 5.6.0")
        assert await raw.say(b"NOOP") == "250 2.0.0 Ok"
        assert sandbox.messages == []


@pytest.mark.parametrize(
    "line", [b"NOOP\nNOOP", b"NOOP\rNOOP", b"NOOP\r", b"\nNOOP", b"MAIL FROM:<a@example.test>\nRCPT TO:<b@example.test>"]
)
async def test_a_bare_cr_or_lf_ends_no_command(line):  # RFC 5321 section 2.3.8
    async with open_sandbox() as sandbox, signed_in(sandbox) as raw:
        assert await raw.codes(line, b"NOOP") == ["500", "250"]
