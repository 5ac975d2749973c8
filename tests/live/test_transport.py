"""The kit's own transport against servers that mean no good: every byte is kept, nothing is waited for without end."""

from __future__ import annotations

import asyncio
import time

import pytest

from kit.errors import UsageError
from kit.model import Profile, Security
from kit.sending.dialogue import ehlo
from kit.sending.session import Break, Broken, Session
from kit.sending.transport import REPLY_LIMIT, connect, resolve, tls_context
from tests.live.check_servers import make_pki, serve, smtp


def profile(port, **fields):
    return Profile(**{"host": "127.0.0.1", "port": port, "security": Security.STARTTLS, "timeout": 0.5} | fields)


async def wire_to(settings):
    address, *_ = await resolve(settings)
    return await connect(address, settings, tls_context(settings))


async def ask(wire, line):
    wire.put(line)
    return await wire.hear()


async def first_reply(*pieces, pause=0.0, hold=False):
    """What the client makes of a server that sends `pieces`, then closes or keeps silent."""

    async def handler(line):
        for piece in pieces:
            await line.say(piece)
            await asyncio.sleep(pause)
        if hold:
            await asyncio.sleep(60)

    async with serve(handler) as server:
        wire = await wire_to(profile(server.port))
        try:
            return await wire.hear()
        finally:
            await wire.close()


async def test_a_reply_in_many_pieces_is_one_reply_with_its_bytes():
    raw = b"220-mail.example.test\r\n220-second\r\n220 third\r\n"
    reply = await first_reply(*(raw[at : at + 3] for at in range(0, len(raw), 3)), pause=0.001)
    assert (reply.raw, reply.code, reply.lines) == (raw, 220, ("mail.example.test", "second", "third"))


async def test_many_replies_may_be_longer_together_than_one_may_be():
    """A hundred recipients in one group, each refused in several lines."""
    reply = b"550-5.1.1 " + b"x" * 480 + b"\r\n550 5.1.1 No such user\r\n"
    count = 5 * REPLY_LIMIT // len(reply)

    async def handler(line):
        await line.say(reply * count)
        await asyncio.sleep(60)

    async with serve(handler) as server:
        wire = await wire_to(profile(server.port))
        assert [(await wire.hear()).raw for _ in range(count)] == [reply] * count
        await wire.close()


async def test_two_replies_in_one_piece_stay_two():
    async def handler(line):
        await line.say(b"220 mail\r\n250 early\r\n")
        await line.hear()
        await asyncio.sleep(60)

    async with serve(handler) as server:
        wire = await wire_to(profile(server.port))
        assert (await wire.hear()).raw == b"220 mail\r\n"
        with pytest.raises(Broken) as broken:  # nobody knows to which question it belongs
            await ask(wire, b"EHLO client")
        assert (broken.value.why, broken.value.raw) == (Break.SPOKE_FIRST, b"250 early\r\n")
        await wire.close()
        await asyncio.sleep(0.05)
    assert server.heard == [b""]


async def test_a_goodbye_may_come_at_any_time():
    # RFC 5321 section 3.8: a server that shuts down says 421, asked or not.
    async def handler(line):
        await line.say(b"220 mail\r\n421 4.3.2 shutting down\r\n")
        await line.hear()

    async with serve(handler) as server:
        wire = await wire_to(profile(server.port))
        await wire.hear()
        assert (await ask(wire, b"EHLO client")).code == 421
        await wire.close()


@pytest.mark.parametrize(
    ("pieces", "hold", "why"),
    [
        ([], True, Break.SILENT),
        ([], False, Break.CLOSED),
        ([b"220-mail\r\n220-and"], True, Break.SILENT),
        ([b"220-mail\r\n220-and"], False, Break.CLOSED),
        ([b"220 no line end"], False, Break.CLOSED),
        ([b"x" * (REPLY_LIMIT + 10)], True, Break.ENDLESS),
        ([b"220-again\r\n" * (REPLY_LIMIT // 11 + 10)], True, Break.ENDLESS),
        ([b"220-again\r\n" * 9_000 + b"220 at last\r\n"], True, Break.ENDLESS),
    ],
)
async def test_a_reply_that_never_ends_well_breaks_and_keeps_what_came(pieces, hold, why):
    with pytest.raises(Broken) as broken:
        await first_reply(*pieces, hold=hold)
    assert broken.value.why is why
    sent = b"".join(pieces)
    assert sent.startswith(broken.value.raw)
    assert len(broken.value.raw) >= min(len(sent), REPLY_LIMIT)


async def test_a_long_line_within_the_bound_is_no_fault():
    reply = await first_reply(b"220 " + b"x" * 60_000 + b"\r\n")
    assert len(reply.lines[0]) == 60_000


async def test_a_server_that_drips_is_held_to_the_time_of_the_whole_reply():
    began = time.monotonic()
    with pytest.raises(Broken) as broken:
        await first_reply(*[b"2"] * 100, pause=0.05)
    assert broken.value.why is Break.SILENT
    assert time.monotonic() - began < 2
    assert broken.value.raw.startswith(b"222")


async def test_a_reset_is_a_closed_connection():
    async def handler(line):
        await line.say(b"220 mail\r\n")
        await line.hear()
        line.writer.transport.abort()

    async with serve(handler) as server:
        wire = await wire_to(profile(server.port))
        await wire.hear()
        with pytest.raises(Broken) as broken:
            await ask(wire, b"EHLO client")
        assert broken.value.why is Break.CLOSED
        await wire.close()


async def test_what_is_put_where_nobody_listens_any_more_was_not_sent():
    async def handler(line):
        await line.say(b"220 mail\r\n")

    async with serve(handler) as server:
        wire, session = await wire_to(profile(server.port)), Session()
        await wire.hear()
        assert await wire.read() == b""  # it has hung up
        with pytest.raises(Broken) as broken:
            await session.run(ehlo("client"), wire)
        assert broken.value.why is Break.CLOSED
        assert (session.steps[0].name, session.steps[0].sent, session.steps[0].ok) == ("ehlo", None, False)
        await wire.close()


async def test_this_end_is_named_by_its_address():
    async with serve(smtp()) as server:
        wire = await wire_to(profile(server.port))
        assert wire.client == "[127.0.0.1]"  # RFC 5321 section 4.1.3
        await wire.close()


# --- TLS -----------------------------------------------------------------------------------------------------------


async def upgrade(handler, pki, **fields):
    async with serve(handler) as server:
        wire = await wire_to(profile(server.port, ca_file=pki.ca_file, **fields))
        try:
            await wire.hear()
            await ask(wire, b"EHLO client")
            assert (await ask(wire, b"STARTTLS")).code == 220
            tls = await wire.encrypt()
            return tls, await ask(wire, b"EHLO client")
        finally:
            await wire.close()


async def test_starttls_with_a_verified_certificate(tmp_path):
    pki = make_pki(tmp_path)
    tls, reply = await upgrade(smtp(tls=pki.server()), pki)
    assert tls.version in ("TLSv1.2", "TLSv1.3")
    assert reply.code == 250


@pytest.mark.parametrize("pause", [0.0, 0.02])
async def test_what_is_slipped_in_before_tls_is_kept_and_ends_it(tmp_path, pause):
    pki = make_pki(tmp_path)

    async def handler(line):
        await line.say(b"220 mail\r\n")
        await line.hear()
        await line.say(b"250 STARTTLS\r\n")
        await line.hear()
        await line.say(b"220 go\r\n" + (b"" if pause else b"250 AUTH PLAIN\r\n"))
        await asyncio.sleep(pause)
        if pause:
            await line.say(b"250 AUTH PLAIN\r\n")
        await line.writer.start_tls(pki.server())

    with pytest.raises(Broken) as broken:
        await upgrade(handler, pki)
    assert broken.value.why is Break.SPOKE_FIRST
    assert broken.value.raw == b"250 AUTH PLAIN\r\n"


@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        ({"name": "other.example.test"}, "mismatch"),
        ({"days": -1}, "expired"),
        ({"self_signed": True}, "self"),
    ],
)
async def test_a_bad_certificate_says_in_what_way(tmp_path, certificate, words):
    pki = make_pki(tmp_path)
    with pytest.raises(Broken) as broken:
        await upgrade(smtp(tls=pki.server(**certificate)), pki)
    assert broken.value.why is Break.CERTIFICATE
    assert words in broken.value.text


async def test_an_unknown_authority_is_refused(tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(Broken) as broken:
        await upgrade(smtp(tls=make_pki(tmp_path).server()), make_pki(tmp_path / "other"))
    assert broken.value.why is Break.CERTIFICATE
    assert "issuer" in broken.value.text


@pytest.mark.parametrize(
    ("after", "why"),
    [
        (b"\x15\x03\x01\x00\x02\x02\x28", Break.TLS),
        (b"\x15\x03\x01\x00\x02\x02\x46", Break.TLS),
        (b"500 what?\r\n", Break.TLS),
        (b"", Break.CLOSED),
        (None, Break.SILENT),
    ],
)
async def test_a_handshake_that_comes_to_nothing(tmp_path, after, why):
    # The first two are alerts (RFC 8446 section 6.2): handshake_failure (40) and protocol_version (70).
    async def handler(line):
        await line.reader.read(10)  # the client's hello has begun to come
        if after is None:
            await asyncio.sleep(60)
        await line.say(after)

    async with serve(handler) as server:
        wire = await wire_to(profile(server.port, ca_file=make_pki(tmp_path).ca_file))
        with pytest.raises(Broken) as broken:
            await wire.encrypt()
        assert broken.value.why is why
        await wire.close()


@pytest.mark.parametrize("content", ["", "no certificate at all"])
def test_a_file_without_certificates_is_wrong_use(tmp_path, content):
    (tmp_path / "ca.pem").write_text(content)
    for path in (tmp_path / "ca.pem", tmp_path / "missing.pem", tmp_path):
        with pytest.raises(UsageError) as fault:
            tls_context(profile(587, ca_file=str(path)))
        assert fault.value.where == str(path)


# --- names and addresses -----------------------------------------------------------------------------------------


async def test_a_name_that_does_not_exist():
    with pytest.raises(Broken) as broken:
        await resolve(profile(587, host="mail.nowhere.invalid"))  # RFC 6761: never exists
    assert broken.value.why is Break.NO_SUCH_NAME


async def test_a_name_server_that_does_not_answer(monkeypatch):
    async def never(*_, **__):
        await asyncio.sleep(60)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never, raising=False)
    with pytest.raises(Broken) as broken:
        await resolve(profile(587, host="mail.example.test", timeout=0.05))
    assert broken.value.why is Break.NO_SUCH_NAME
    assert "0.05 s" in broken.value.text


async def test_families_take_turns(monkeypatch):
    import socket

    six, four = socket.AF_INET6, socket.AF_INET

    async def answer(*_, **__):
        places = [
            (six, ("2001:db8::1", 587, 0, 0)),
            (six, ("2001:db8::2", 587, 0, 0)),
            (six, ("2001:db8::1", 587, 0, 0)),
            (four, ("192.0.2.1", 587)),
        ]
        return [(family, socket.SOCK_STREAM, 6, "", place) for family, place in places]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answer, raising=False)
    found = await resolve(profile(587, host="mail.example.test"))
    assert [address.host for address in found] == ["2001:db8::1", "192.0.2.1", "2001:db8::2"]


async def test_a_closed_port():
    async with serve(smtp()) as server:
        pass
    with pytest.raises(Broken) as broken:
        await wire_to(profile(server.port))
    assert broken.value.why is Break.REFUSED


async def test_a_host_that_does_not_answer(monkeypatch):
    async def never(*_, **__):
        await asyncio.sleep(60)

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never, raising=False)
    with pytest.raises(Broken) as broken:
        await wire_to(profile(587, timeout=0.05))
    assert broken.value.why is Break.NO_ANSWER
