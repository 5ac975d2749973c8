"""A client that says what it is told to, byte by byte, and knows nothing of SMTP but where a reply ends."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from kit.sandbox.server import Sandbox


def trust(sandbox: Sandbox) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=sandbox.ca_file)


def b64(text: str | bytes) -> bytes:
    return base64.b64encode(text.encode() if isinstance(text, str) else text)


def plain(user: str, password: str, acting_as: str = "") -> bytes:
    return b64(f"{acting_as}\0{user}\0{password}")


class Raw:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def reply(self) -> str:
        """The next reply, its lines parted by LF, without CR; empty where the server is gone."""
        lines = []
        async with asyncio.timeout(5):
            while line := await self.reader.readline():
                assert line.endswith(b"\r\n"), line
                lines.append(line[:-2].decode())
                if line[3:4] == b" ":
                    break
        return "\n".join(lines)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def say(self, line: bytes) -> str:
        """One line with its CRLF, and the reply to it."""
        await self.send(line + b"\r\n")
        return await self.reply()

    async def codes(self, *lines: bytes) -> list[str]:
        """The codes that these lines get, one after the other."""
        return [(await self.say(line))[:3] for line in lines]

    async def upgrade(self, sandbox: Sandbox) -> None:
        assert (await self.say(b"STARTTLS"))[:3] == "220"
        await self.writer.start_tls(trust(sandbox), server_hostname=sandbox.host)

    async def sign_in(self, sandbox: Sandbox) -> None:
        assert (await self.say(b"AUTH PLAIN " + plain(sandbox.user, sandbox.password.reveal())))[:3] == "235"


@asynccontextmanager
async def connected(sandbox: Sandbox, *, tls: bool = False) -> AsyncIterator[Raw]:
    """Connected, and nothing read."""
    port, how = (sandbox.tls_port, {"ssl": trust(sandbox)}) if tls else (sandbox.port, {})
    reader, writer = await asyncio.open_connection(sandbox.host, port, **how)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(2):
                await writer.wait_closed()


@asynccontextmanager
async def greeted(sandbox: Sandbox, *, tls: bool = True) -> AsyncIterator[Raw]:
    """The banner is read, and EHLO said."""
    async with connected(sandbox, tls=tls) as raw:
        assert (await raw.reply()).startswith("220 ")
        assert (await raw.say(b"EHLO client.example.test")).startswith("250")
        yield raw


@asynccontextmanager
async def signed_in(sandbox: Sandbox) -> AsyncIterator[Raw]:
    """Under TLS and signed in."""
    async with greeted(sandbox) as raw:
        await raw.sign_in(sandbox)
        yield raw
