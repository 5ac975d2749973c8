"""The server around the conversation: where it listens, whom it bears, how it ends."""

from __future__ import annotations

import asyncio
import gc
import ssl
import stat
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit.errors import UsageError
from kit.redact import Secret
from kit.sandbox import record, server, session, wire
from kit.sandbox.mail import LARGEST_MESSAGE
from kit.sandbox.server import open_sandbox
from tests.sandbox.raw_client import connected, greeted, signed_in, trust


async def test_it_listens_on_loopback_and_nowhere_else():
    async with open_sandbox() as sandbox:
        doors = [each.getsockname() for door in sandbox._doors for each in door.sockets]
        assert sorted(doors) == sorted([("127.0.0.1", sandbox.port), ("127.0.0.1", sandbox.tls_port)])


async def test_it_listens_nowhere_else_even_if_it_is_told_to(monkeypatch):
    monkeypatch.setattr(server, "HOST", "0.0.0.0")
    with pytest.raises(UsageError, match="loopback"):
        async with open_sandbox():
            pass


async def test_its_files_are_private_and_gone_afterwards():
    async with open_sandbox() as sandbox:
        folder = Path(sandbox.ca_file).parent
        assert [file.name for file in folder.iterdir()] == ["authority.pem"]  # no key
        assert "PRIVATE" not in (folder / "authority.pem").read_text()
        if sys.platform != "win32":
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()


async def test_they_are_gone_when_the_block_fails_too():
    with pytest.raises(RuntimeError, match="the block"):
        async with open_sandbox() as sandbox:
            raise RuntimeError("the block")
    assert not Path(sandbox.ca_file).parent.exists()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(sandbox.host, sandbox.port)


async def test_who_is_still_connected_is_told_so_and_sent_home():
    async with open_sandbox() as sandbox:
        clear = await asyncio.open_connection(sandbox.host, sandbox.port)
        tls = await asyncio.open_connection(sandbox.host, sandbox.tls_port, ssl=trust(sandbox))
        silent = await asyncio.open_connection(sandbox.host, sandbox.tls_port)  # never begins its handshake
        for reader, _ in (clear, tls):
            assert (await reader.readline()).startswith(b"220 ")
    for reader, _ in (clear, tls):
        assert (await reader.read()).startswith(b"421 ")
    assert await silent[0].read() == b""
    for _, writer in (clear, tls, silent):
        writer.close()
    gc.collect()


async def test_closing_does_not_wait_for_who_will_not_read():
    async with open_sandbox() as sandbox:
        _, writer = await asyncio.open_connection(sandbox.host, sandbox.port, limit=10)
        writer.write(b"EHLO x\r\n" * 100_000)
        await asyncio.sleep(0.3)
        end = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - end < 3
    writer.transport.abort()


async def test_one_client_too_many_is_told_so(monkeypatch):
    monkeypatch.setattr(server, "MOST_CLIENTS", 2)
    async with open_sandbox() as sandbox, connected(sandbox), connected(sandbox) as second:
        assert (await second.reply())[:3] == "220"
        async with connected(sandbox) as third:
            assert (await third.reply())[:3] == "421"
            assert await third.reply() == ""
        with pytest.raises((OSError, ssl.SSLError)):
            await asyncio.open_connection(sandbox.host, sandbox.tls_port, ssl=trust(sandbox))
        assert await second.codes(b"QUIT") == ["221"]
        await asyncio.sleep(0.05)
        async with connected(sandbox) as next_one:
            assert (await next_one.reply())[:3] == "220"


async def test_who_says_nothing_is_told_so(monkeypatch):  # RFC 5321 section 4.5.3.2.7: five minutes at least
    assert wire.PATIENCE >= 300
    monkeypatch.setattr(wire, "PATIENCE", 0.2)
    async with open_sandbox() as sandbox, connected(sandbox) as raw:
        assert (await raw.reply())[:3] == "220"
        await raw.send(b"NOO")
        assert (await raw.reply())[:3] == "421"
        assert await raw.reply() == ""


async def test_too_many_errors_end_it():
    async with open_sandbox() as sandbox, connected(sandbox) as raw:
        await raw.reply()
        codes = await raw.codes(*[b"XYZZY"] * session.MOST_ERRORS)
        assert codes == ["500"] * session.MOST_ERRORS
        assert (await raw.reply())[:3] == "421"
        assert await raw.reply() == ""


async def test_a_line_without_end_is_not_kept():
    async with open_sandbox() as sandbox, connected(sandbox) as raw:
        await raw.reply()
        for _ in range(64):
            await raw.send(b"x" * 65_536)
        assert (await raw.say(b""))[:9] == "500 5.5.6"
        assert await raw.codes(b"NOOP") == ["250"]
        assert all(len(str(said)) < 400 for said in sandbox.transcript)


async def test_much_more_than_size_ends_it(monkeypatch):
    monkeypatch.setattr(session, "LARGEST_MESSAGE", 1_000)
    async with open_sandbox() as sandbox, signed_in(sandbox) as raw:
        await raw.codes(b"MAIL FROM:<a@example.test>", b"RCPT TO:<b@example.test>", b"DATA")
        await raw.send(b"x" * 98 + b"\r\n")
        for _ in range(110):
            await raw.send(b"x" * 98 + b"\r\n")
        assert await raw.reply() == ""
        assert sandbox.messages == []


async def test_lines_longer_than_size_count_for_it_too(monkeypatch):
    monkeypatch.setattr(session, "LARGEST_MESSAGE", 1_000)
    async with open_sandbox() as sandbox, signed_in(sandbox) as raw:
        await raw.codes(b"MAIL FROM:<a@example.test>", b"RCPT TO:<b@example.test>", b"DATA")
        await raw.send((b"x" * 5_000 + b"\r\n") * 3)  # of 10,000 bytes and more it has enough
        assert await raw.reply() == ""
        assert sandbox.messages == []


async def test_a_line_without_end_ends_it_some_day(monkeypatch):
    assert wire._MOST > 5 * LARGEST_MESSAGE
    monkeypatch.setattr(wire, "_MOST", 300_000)
    async with open_sandbox() as sandbox, connected(sandbox) as raw:
        await raw.reply()
        with suppress(ConnectionError):
            for _ in range(20):
                await raw.send(b"x" * 65_536)
                await asyncio.sleep(0.02)
        assert "line without end" in sandbox.transcript[-1].text


async def test_its_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(record, "MOST_BYTES", 100)
    monkeypatch.setattr(record, "MOST_LINES", 30)
    monkeypatch.setattr(record, "MOST_ATTEMPTS", 2)
    async with open_sandbox() as sandbox:
        async with signed_in(sandbox) as raw:
            answers = []
            for _ in range(2):
                await raw.codes(b"MAIL FROM:<a@example.test>", b"RCPT TO:<b@example.test>", b"DATA")
                answers += await raw.codes(b"x" * 60 + b"\r\n.")
            assert answers == ["250", "452"]
        async with greeted(sandbox) as raw:
            assert await raw.codes(*[b"AUTH NONESUCH"] * 5) == ["504"] * 5
        assert len(sandbox.messages) == 1
        assert len(sandbox.attempts) == 2
        assert sandbox.forgotten == 4  # of one that sent and five of NONESUCH
        assert sum("only counted" in said.text for said in sandbox.transcript) <= 1
        assert len(sandbox.transcript) == 30
        assert sandbox.transcript[-1].text == "the transcript is full"


async def test_who_hangs_up_anywhere_disturbs_nobody():
    async with open_sandbox() as sandbox:
        for said in (b"", b"EH", b"EHLO x\r\nSTARTTLS\r\n", b"EHLO x\r\nMAIL FROM:<"):
            _, writer = await asyncio.open_connection(sandbox.host, sandbox.port)
            writer.write(said)
            await asyncio.sleep(0.02)
            writer.transport.abort()
        async with signed_in(sandbox) as raw:
            await raw.codes(b"MAIL FROM:<a@example.test>", b"RCPT TO:<b@example.test>", b"DATA")
            await raw.send(b"half a mess")
        async with signed_in(sandbox):
            pass
        assert sandbox.messages == []


async def test_who_has_said_everything_still_hears_the_answers():  # as `printf … | nc -N`
    async with open_sandbox() as sandbox, connected(sandbox) as raw:
        await raw.send(b"EHLO x\r\nNOOP\r\n")
        raw.writer.write_eof()
        assert [(await raw.reply())[:3] for _ in range(4)] == ["220", "250", "250", ""]


async def test_two_clients_do_not_wait_for_each_other():
    async with open_sandbox() as sandbox, greeted(sandbox) as one, greeted(sandbox, tls=False) as other:
        assert await one.codes(b"AUTH LOGIN") == ["334"]
        assert await other.codes(b"NOOP", b"QUIT") == ["250", "221"]
        assert await one.codes(b"*") == ["501"]


CHUNKS = st.one_of(
    st.binary(max_size=600),
    st.sampled_from(
        [
            *(b"EHLO x\r\n", b"AUTH PLAIN\r\n", b"AUTH LOGIN\r\n", b"*\r\n", b"=\r\n", b"AAAA\r\n", b"MAIL FROM:<>\r\n"),
            *(b"RCPT TO:<a@b>\r\n", b"DATA\r\n", b".\r\n", b"\r\n.\r\n", b"RSET\r\n", b"\r", b"\n", b"\0", b"AUTH PLAIN AGEAYg==\r\n"),
        ]
    ),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chunks=st.lists(CHUNKS, max_size=30))
async def test_whatever_a_client_says_it_gets_replies_and_others_are_served(chunks):
    async with open_sandbox(user="a", password=Secret("b")) as sandbox:
        async with connected(sandbox, tls=True) as raw:
            for chunk in chunks:
                await raw.send(chunk)
            await raw.send(b"\r\n.\r\n*\r\nQUIT\r\n")
            while reply := await raw.reply():
                assert all(line[:3].isdigit() and line[3] in " -" for line in reply.split("\n"))
        async with greeted(sandbox) as raw:
            await raw.sign_in(sandbox)
        assert all(b"\r\n.\r\n" not in b"\r\n" + message.data for message in sandbox.messages if b"." not in b"".join(chunks))
