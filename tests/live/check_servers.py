"""Small servers on loopback that behave as a test wants them to, and the certificates for them."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Handler = Callable[["Line"], Awaitable[None]]


@dataclass
class Line:
    """One connection, from the server's end."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heard: list[bytes]

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def hear(self) -> bytes:
        line = (await self.reader.readline()).rstrip(b"\r\n")
        self.heard.append(line)
        return line


@dataclass
class Served:
    """A server that runs."""

    port: int
    heard: list[bytes] = field(default_factory=list)
    connections: int = 0


@asynccontextmanager
async def serve(handler: Handler, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Served]:
    """`handler` answers every connection; when the block ends they are all gone."""
    tasks: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        served.connections += 1
        try:
            with suppress(OSError, asyncio.CancelledError):
                await handler(Line(reader, writer, served.heard))
        finally:
            writer.close()
            # asyncio never says that a connection is closed whose TLS handshake failed.
            with suppress(OSError, asyncio.CancelledError, TimeoutError):
                async with asyncio.timeout(0.2):
                    await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    served = Served(server.sockets[0].getsockname()[1])
    try:
        yield served
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def smtp(
    answers: dict[bytes, bytes | list[bytes]] | None = None,
    *,
    banner: bytes = b"220 mail.example.test ESMTP\r\n",
    tls: ssl.SSLContext | None = None,
) -> Handler:
    """A small SMTP server. What it says to each verb can be replaced; a list is said one after the other, the last for ever.

    With `tls` it upgrades after STARTTLS.
    """
    said: dict[bytes, bytes | list[bytes]] = {
        b"EHLO": b"250-mail.example.test\r\n" + (b"250-STARTTLS\r\n" if tls else b"") + b"250 AUTH PLAIN LOGIN\r\n",
        b"STARTTLS": b"220 go\r\n",
        b"AUTH": b"235 2.7.0 ok\r\n",
        **dict.fromkeys((b"NOOP", b"MAIL", b"RCPT", b"RSET"), b"250 2.0.0 ok\r\n"),
        b"QUIT": b"221 bye\r\n",
    } | (answers or {})

    async def handler(line: Line) -> None:
        left = {verb: [answer] if isinstance(answer, bytes) else list(answer) for verb, answer in said.items()}
        await line.say(banner)
        answer = b""
        while command := await line.hear():
            verb = b"AUTH" if answer.startswith(b"334") else command.split()[0].upper()
            answers = left.get(verb, [b"500 5.5.2 what?\r\n"])
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            await line.say(answer)
            if verb == b"STARTTLS" and tls and answer.startswith(b"220"):
                await line.writer.start_tls(tls)
            if verb == b"QUIT":
                return

    return handler


@dataclass(frozen=True)
class Pki:
    """An authority of the test's own, and what it signs."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def ca_file(self) -> str:
        return str(self.folder / "ca.pem")

    def server(self, name: str = "127.0.0.1", *, days: int = 60, self_signed: bool = False) -> ssl.SSLContext:
        """A server's context with a certificate for `name` that is good for `days` from now, or has been bad for as long."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        try:
            alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            alternative = x509.DNSName(name)
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if self_signed else self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=10))
            .not_valid_after(now + dt.timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
            .sign(key if self_signed else self.key, hashes.SHA256())
        )
        path = self.folder / f"{certificate.serial_number}.pem"
        path.write_bytes(_pem(key) + certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def make_pki(folder: Path) -> Pki:
    """A new authority, its certificate in `folder`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority {secrets.token_hex(4)}")])
    now = dt.datetime.now(dt.UTC)
    usage = {name: name == "key_cert_sign" for name in _USAGES}
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=20))
        .not_valid_after(now + dt.timedelta(days=90))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return Pki(folder, key, certificate)


_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
