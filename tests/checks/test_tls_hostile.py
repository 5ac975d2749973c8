"""Servers that spite whoever looks at their TLS: each look ends in time, with what happened in words, and nothing is raised."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import ssl
import struct
import time
import tracemalloc
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtensionOID, NameOID

from kit.checks.certificates import parse_certificate
from kit.checks.chain import Offered, judge_chain, judge_versions
from kit.checks.tls import probe_chain, probe_tls_version
from kit.model import Profile, Security
from kit.sending.transport import Address
from tests.live.check_servers import make_pki
from tests.servers.openssl_server import Signed, certify, s_server

PATIENCE = 0.3  # seconds of the profile
LIMIT = 2.5  # of a whole look: TCP, the handshake, and some time for a busy machine


@asynccontextmanager
async def raw(handler):
    """A TCP server; `handler` gets each connection's reader and writer."""
    tasks = set()

    async def answer(reader, writer):
        tasks.add(asyncio.current_task())
        with suppress(OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            await handler(reader, writer)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def settings(port: int, security: Security = Security.TLS) -> Profile:
    return Profile(host="localhost", port=port, security=security, timeout=PATIENCE)


async def look(port: int, security: Security = Security.TLS, version: str = "TLSv1.2"):
    """Both looks at it, in time, and judged."""
    profile, address = settings(port, security), Address(family=socket.AF_INET, host="127.0.0.1", port=port)
    looked = []
    for probe in (probe_tls_version(address, profile, version), probe_chain(address, profile)):
        began = time.monotonic()
        looked.append(await probe)
        assert time.monotonic() - began < LIMIT
    seen, chain = looked
    findings = (*judge_versions([seen], profile), *judge_chain(chain, profile, datetime.now(UTC)))
    assert findings
    for text in (seen.detail or "", chain.problem or "", *(line for finding in findings for line in finding.evidence)):
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", text)
        assert len(text) <= 501
    return seen, chain


async def take(reader) -> bytes:
    """A ClientHello: one record."""
    head = await reader.readexactly(5)
    return head + await reader.readexactly(struct.unpack(">H", head[3:])[0])


# --- instead of an answer ---------------------------------------------------------------------------------------

NOT_TLS = {
    "a banner": b"220 mail.example.test ESMTP\r\n",
    "a web page": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "noise": random.Random(4).randbytes(4096),
    "nothing but zeros": bytes(4096),
    "a record of no type": b"\x63\x03\x03\x00\x05hello",
    "a record that never was begun": b"\x17\x03\x03\x40\x00" + bytes(16384),
    "a handshake of 16 MB": b"\x16\x03\x03\x40\x00\x02\xff\xff\xff" + bytes(16380),
    "ServerHello without an end": b"\x16\x03\x03\x00\x06\x02\x00\x00\x02\x03\x03",
    "control characters": b"\x1b[31m\x1b]0;x\x07\r\n" * 20,
    "a finish before the start": b"\x14\x03\x03\x00\x01\x01",
}


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("answer", NOT_TLS)
async def test_what_is_no_tls_says_nothing_about_versions(answer, version):
    async def handler(reader, writer):
        await take(reader)
        writer.write(NOT_TLS[answer])
        await writer.drain()
        await reader.read()

    async with raw(handler) as port:
        seen, chain = await look(port, version=version)
    assert (seen.outcome, seen.cipher) == (Offered.COULD_NOT_CHECK, None)
    assert seen.detail
    assert chain.certificates == ()


@pytest.mark.parametrize(
    ("alert", "outcome"),
    [
        (70, Offered.NOT_OFFERED),  # protocol_version speaks of the version
        (40, Offered.NOT_OFFERED),  # handshake_failure: nothing in common with all that was offered for it
        (71, Offered.NOT_OFFERED),  # insufficient_security
        (80, Offered.COULD_NOT_CHECK),  # internal_error: the server's own trouble
        (112, Offered.COULD_NOT_CHECK),  # unrecognized_name
        (49, Offered.COULD_NOT_CHECK),  # access_denied
    ],
)
async def test_only_some_alerts_speak_of_the_version(alert, outcome):
    async def handler(reader, writer):
        await take(reader)
        writer.write(bytes((21, 3, 1, 0, 2, 2, alert)))

    async with raw(handler) as port:
        seen, _ = await look(port)
    assert seen.outcome is outcome
    assert seen.detail


async def test_a_server_that_answers_with_another_version():
    hello_of_1_1 = b"\x02\x00\x00\x26\x03\x02" + bytes(range(32)) + b"\x00\xc0\x13\x00"

    async def handler(reader, writer):
        await take(reader)
        writer.write(b"\x16\x03\x02" + struct.pack(">H", len(hello_of_1_1)) + hello_of_1_1)
        await reader.read()

    async with raw(handler) as port:
        for version in ("TLSv1.2", "TLSv1.3"):
            seen, _ = await look(port, version=version)
            assert (seen.outcome, seen.detail) == (Offered.NOT_OFFERED, "the server answered with another version")


# --- silence, and the end at every step -------------------------------------------------------------------------


async def test_silence_is_could_not_check():
    async def handler(reader, writer):
        await reader.read()

    async with raw(handler) as port:
        seen, chain = await look(port)
    assert seen.outcome is Offered.COULD_NOT_CHECK
    assert "0.3 s" in seen.detail
    assert "0.3 s" in chain.problem


async def test_a_byte_now_and_then_does_not_lengthen_the_time():
    async def handler(reader, writer):
        await take(reader)
        for byte in b"\x16\x03\x03\x40\x00" + bytes(16384):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.05)

    async with raw(handler) as port:
        seen, _ = await look(port)
    assert seen.outcome is Offered.COULD_NOT_CHECK


async def test_warnings_without_end():
    async def handler(reader, writer):
        await take(reader)
        while True:
            writer.write(b"\x15\x03\x03\x00\x02\x01\x5a" * 1000)  # warning, user_canceled
            await writer.drain()

    async with raw(handler) as port:
        seen, _ = await look(port)
    assert seen.outcome is Offered.COULD_NOT_CHECK


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_the_end_after_every_part_of_a_real_handshake(tmp_path, version, reset):
    """The server's real first flight, cut off: offered is said once ServerHello is whole, and never before."""
    pki = make_pki(tmp_path)
    context = pki.server("localhost")
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    cut = hello_ends = next_ends = 0

    async def handler(reader, writer):
        nonlocal hello_ends, next_ends
        into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        into.write(await take(reader))
        with suppress(ssl.SSLWantReadError):
            context.wrap_bio(into, out, server_side=True).do_handshake()
        flight = out.read()
        assert (flight[0], flight[5]) == (22, 2)  # a handshake record that begins with ServerHello
        hello_ends = 5 + struct.unpack(">H", flight[3:5])[0]
        assert hello_ends == 9 + int.from_bytes(flight[6:9])  # and ends with it
        next_ends = hello_ends + 5 + struct.unpack(">H", flight[hello_ends + 3 : hello_ends + 5])[0]
        writer.write(flight[:cut])
        await writer.drain()
        if reset:
            await asyncio.sleep(0.02)  # what was sent is to arrive
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async with raw(handler) as port:
        for cut in (0, 1, 4, 5, 9, 40, 80, 95, 121, 122, 127, 128, 150, 200, 400, 600):
            seen, chain = await look(port, version=version.replace("_", "."))
            if cut == 0:
                assert seen.outcome is Offered.NOT_OFFERED
            elif cut < hello_ends:
                assert seen.outcome is Offered.COULD_NOT_CHECK, cut
            elif version == "TLSv1_3" or cut >= next_ends:  # before 1.3 it takes the next message to know that ServerHello was taken
                assert seen.outcome is Offered.OFFERED, cut
            assert chain.problem


@pytest.mark.parametrize(
    "talk",
    [
        [],
        [b"220 mail.example.test ESMTP\r\n"],
        [b"220 mail.example.test ESMTP\r\n", b"250-mail.example.test\r\n250 STARTTLS\r\n"],
        [b"220 " + b"x" * 100_000],
        [b"554 5.7.1 go away\r\n"],
        [b"220 mail.example.test ESMTP\r\n", b"\x00\xff\x1b[2J\r\n"],
        [b"220 mail.example.test ESMTP\r\n", b"250-mail.example.test\r\n250 STARTTLS\r\n", b"\x1b[2J\r\n"],
        [b"220 mail.example.test ESMTP\r\n", b"250-mail.example.test\r\n250 STARTTLS\r\n", b"220 go\r\n250 injected\r\n"],
    ],
)
async def test_a_dialogue_that_ends_early_or_goes_astray(talk):
    async def handler(reader, writer):
        for number, line in enumerate(talk):
            if number:
                await reader.readline()
            writer.write(line)
            await writer.drain()
        await asyncio.sleep(0.1)

    async with raw(handler) as port:
        seen, chain = await look(port, Security.STARTTLS)
    assert seen.outcome is Offered.COULD_NOT_CHECK
    assert seen.detail
    assert chain.problem


async def test_the_end_right_after_starttls_began():
    async def handler(reader, writer):
        for line in (b"220 mail.example.test ESMTP\r\n", b"250-mail.example.test\r\n250 STARTTLS\r\n", b"220 go\r\n"):
            writer.write(line)
            await reader.readline()

    async with raw(handler) as port:
        seen, _ = await look(port, Security.STARTTLS)
    assert seen.outcome is not Offered.OFFERED


# --- certificates -----------------------------------------------------------------------------------------------


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
async def test_a_certificate_of_ten_megabytes_is_not_read(tmp_path, version):
    own = with_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(10_000_000)))
    with s_server(tmp_path, own, options=["-tls1_2" if version == "TLSv1.2" else "-tls1_3"]) as port:
        tracemalloc.start()
        seen, chain = await look(port, version=version)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert seen.outcome is Offered.OFFERED  # ServerHello said so before
    assert (chain.certificates, chain.problem) == ((), "excessive message size")
    assert peak < 4_000_000


@pytest.mark.needs("openssl")
async def test_a_certificate_whose_names_do_not_read(tmp_path):
    own = with_extension(x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\xff" * 40))
    with s_server(tmp_path, own) as port:
        _, chain = await look(port)
    assert chain.certificates == ()


@pytest.mark.needs("openssl")
async def test_control_characters_in_names_do_not_get_out(tmp_path):
    own = certify("a\x1b[31m\r\nb", names=["x\x1b]0;y\x07.example.test"])
    with s_server(tmp_path, own) as port:
        _, chain = await look(port)
    assert chain.certificates[0].common_name == "a?[31m??b"


def test_hostile_bytes_are_no_certificate():
    good = certify("a", names=["a"]).certificate.public_bytes(serialization.Encoding.DER)
    number = random.Random(7)
    for _ in range(300):
        bad = bytearray(good)
        for _ in range(number.randint(1, 4)):
            bad[number.randrange(len(bad))] = number.randrange(256)
        parse_certificate(bytes(bad[: number.choice((len(bad), number.randrange(len(bad))))]))  # a value or None, and nothing raised
    assert parse_certificate(b"") is None


def with_extension(extension: x509.UnrecognizedExtension) -> Signed:
    own = certify("localhost")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    old = own.certificate
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(own.key.public_key())
        .serial_number(1)
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc)
        .add_extension(extension, critical=False)
    )
    return Signed(builder.sign(own.key, old.signature_hash_algorithm), own.key)
