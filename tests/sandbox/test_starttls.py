"""RFC 3207 as the sandbox keeps it."""

from __future__ import annotations

import ssl

import pytest

from kit.sandbox.server import open_sandbox
from tests.sandbox.raw_client import connected, greeted, plain, trust


async def test_after_tls_everything_begins_anew():  # RFC 3207 section 4.2
    async with open_sandbox() as sandbox, greeted(sandbox, tls=False) as raw:
        await raw.upgrade(sandbox)
        # EHLO is forgotten, and there is no second banner: the next reply is the one to this.
        assert await raw.codes(b"AUTH PLAIN AAAA") == ["503"]
        offers = await raw.say(b"EHLO client.example.test")
        assert "STARTTLS" not in offers
        assert "AUTH PLAIN LOGIN" in offers
        assert await raw.codes(b"STARTTLS") == ["503"]
        await raw.sign_in(sandbox)
        assert sandbox.attempts[0].tls == "TLSv1.3"


@pytest.mark.parametrize(
    "injected",
    [b"EHLO evil.example.test\r\n", b"NOOP\r\n" * 3, b"half a comma", b"AUTH PLAIN " + plain("evil", "x") + b"\r\n", b"x" * 10_000],
    ids=["command", "commands", "part", "auth", "long"],
)
async def test_what_comes_in_clear_behind_starttls_is_dropped_and_noted(injected):  # RFC 3207 sections 4.2 and 6
    async with open_sandbox() as sandbox, greeted(sandbox, tls=False) as raw:
        await raw.send(b"STARTTLS\r\n" + injected)
        assert (await raw.reply())[:3] == "220"
        await raw.writer.start_tls(trust(sandbox), server_hostname=sandbox.host)
        # Were anything of it alive, its reply would come first, or it would spoil this command.
        assert (await raw.say(b"EHLO client.example.test")).startswith("250-localhost")
        assert await raw.say(b"NOOP") == "250 2.0.0 Ok"
        notes = [said.text for said in sandbox.transcript if said.who == "-" and "dropped" in said.text]
        assert len(notes) == 1
        assert notes[0].startswith(f"{len(injected)} bytes")
        assert sandbox.attempts == []


async def test_nothing_is_noted_where_nothing_was_injected():
    async with open_sandbox() as sandbox, greeted(sandbox, tls=False) as raw:
        await raw.upgrade(sandbox)
        await raw.say(b"EHLO x")
        assert not any("dropped" in said.text for said in sandbox.transcript)


async def test_a_client_that_does_not_trust_the_certificate_is_told_of_in_the_transcript():
    async with open_sandbox() as sandbox:
        async with greeted(sandbox, tls=False) as raw:
            await raw.say(b"STARTTLS")
            with pytest.raises(ssl.SSLCertVerificationError):
                await raw.writer.start_tls(ssl.create_default_context(), server_hostname="localhost")
        async with greeted(sandbox):  # others are still served
            pass
        assert any("TLS failed" in said.text for said in sandbox.transcript)


@pytest.mark.parametrize("garbage", [b"EHLO client.example.test\r\n", b"\x16\x03\x01\xff\xff" + b"\0" * 50, b"\x80" * 2_000])
async def test_no_handshake_is_no_conversation(garbage):
    async with open_sandbox() as sandbox:
        async with greeted(sandbox, tls=False) as raw:
            await raw.say(b"STARTTLS")
            await raw.send(garbage)
            assert b"250" not in await raw.reader.read(1000)
        async with greeted(sandbox):
            pass


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "::1"])
async def test_the_certificate_is_good_for_every_name_of_loopback(name):
    async with open_sandbox() as sandbox, greeted(sandbox, tls=False) as raw:
        await raw.say(b"STARTTLS")
        context = trust(sandbox)
        context.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 does by default
        await raw.writer.start_tls(context, server_hostname=name)
        assert (await raw.say(b"EHLO x"))[:3] == "250"


async def test_the_certificate_is_good_for_no_other_name():
    async with open_sandbox() as sandbox, greeted(sandbox, tls=False) as raw:
        await raw.say(b"STARTTLS")
        with pytest.raises(ssl.SSLCertVerificationError):
            await raw.writer.start_tls(trust(sandbox), server_hostname="mail.example.test")


async def test_every_run_has_an_authority_of_its_own():
    async with open_sandbox() as one, open_sandbox() as other, connected(one) as raw:
        await raw.reply()
        await raw.say(b"STARTTLS")
        with pytest.raises(ssl.SSLCertVerificationError):
            await raw.writer.start_tls(trust(other), server_hostname="localhost")
