"""The kit's own way to a server: a stream on asyncio that keeps the raw bytes and never waits for ever.

One of the few modules that open something.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, cast

from kit.errors import UsageError
from kit.model import Profile, Reply
from kit.sending.own_certificate import present_certificate
from kit.sending.reply import ends_reply, parse_reply
from kit.sending.session import Break, Broken, Tls

REPLY_LIMIT: Final = 64 * 1024  # octets of one reply
_PAUSE: Final = 0.05  # seconds that a server gets to speak where it must not
_GLANCE: Final = 0.02  # seconds between two looks at what has not gone out
_CONNECT_FAULTS: Final = {
    **dict.fromkeys((errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.EADDRNOTAVAIL), Break.NO_ANSWER),
    errno.ECONNRESET: Break.CLOSED,  # it was taken, and hung up on at once
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One address of a host."""

    family: socket.AddressFamily
    host: str
    port: int


def tls_context(profile: Profile) -> ssl.SSLContext:
    """TLS 1.2 or newer; certificate and name are verified against the system's authorities or the profile's `ca_file`.

    Where the server asks for a certificate it is shown the profile's `cert_file`.

    Raises:
        UsageError: a file does not read, or holds no certificate or key.
    """
    try:
        context = ssl.create_default_context(cafile=profile.ca_file)
    except (OSError, ValueError) as fault:
        raise UsageError(
            f"no certificate can be read from it ({_words(fault)})",
            where=profile.ca_file or "the system's authorities",
            next_step="Give a PEM file with the authority's certificate (-----BEGIN CERTIFICATE-----)",
        ) from fault
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    present_certificate(context, profile)
    return context


async def resolve(profile: Profile) -> list[Address]:
    """The host's addresses in the order in which to try them: the system's, but the families take turns.

    Raises:
        Broken: there are none, or no answer within the profile's time-out.
    """
    try:
        async with asyncio.timeout(profile.timeout):
            found = await asyncio.get_running_loop().getaddrinfo(profile.host, profile.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise Broken(Break.NO_SUCH_NAME, f"no name server answered within {profile.timeout:g} s") from None
    except (OSError, UnicodeError) as fault:
        raise Broken(Break.NO_SUCH_NAME, f"{profile.host}: {_words(fault)}") from None
    seen: dict[socket.AddressFamily, int] = defaultdict(int)
    ranked: dict[Address, int] = {}
    for family, _, _, _, place in found:
        address = Address(family=family, host=str(place[0]), port=profile.port)
        if address not in ranked:
            ranked[address] = seen[family]
            seen[family] += 1
    # One family that leads nowhere must not use up all the connections that may be tried.
    return sorted(ranked, key=ranked.__getitem__)


async def connect(address: Address, profile: Profile, context: ssl.SSLContext) -> Streams:
    """An open connection, nothing said yet.

    Raises:
        Broken: nobody listens there, or the way there is shut.
    """
    try:
        async with asyncio.timeout(profile.timeout):
            transport, inbox = await asyncio.get_running_loop().create_connection(
                _Inbox, address.host, address.port, family=address.family, flags=socket.AI_NUMERICHOST
            )
    except TimeoutError:
        raise Broken(Break.NO_ANSWER, f"{address.host} did not answer within {profile.timeout:g} s") from None
    except OSError as fault:
        why = _CONNECT_FAULTS.get(fault.errno or 0, Break.REFUSED)
        raise Broken(why, f"{address.host}: {_words(fault)}") from None
    return Streams(transport, inbox, context, host=profile.host, address=address.host, timeout=profile.timeout)


class _Inbox(asyncio.Protocol):
    """What came in, kept until it is read. asyncio's own StreamReader throws it away where the connection is reset."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.closed: str | None = None  # why, once nothing can come any more
        self._news = asyncio.Event()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.data += data
        self._news.set()
        if len(self.data) > REPLY_LIMIT and self._transport:
            self._transport.pause_reading()  # till all of that is read; a single reply of that length is given up

    def eof_received(self) -> None:
        self.closed = self.closed or "the server closed the connection"
        self._news.set()

    def connection_lost(self, fault: Exception | None) -> None:
        self.closed = self.closed or (f"the connection broke off: {_words(fault)}" if fault else "the connection was closed")
        self._news.set()

    async def news(self) -> None:
        """Wait for more bytes, or for the end."""
        self._news.clear()
        await self._news.wait()


class Streams:
    """A Wire on asyncio.

    Args:
        host: the name that the certificate must be for.
        address: the other end's IP address.
        timeout: seconds for each reply and for the TLS handshake.
    """

    def __init__(
        self, transport: asyncio.Transport, inbox: _Inbox, context: ssl.SSLContext, *, host: str, address: str, timeout: float
    ) -> None:
        self.address = address
        self.timeout = timeout
        self._transport = transport
        self._inbox = inbox
        self._context = context
        self._host = host

    @property
    def client(self) -> str:
        """This end of the connection as an address literal for EHLO (RFC 5321 section 4.1.3): true, and asks no name server."""
        host = str(self._transport.get_extra_info("sockname")[0]).partition("%")[0]
        return f"[IPv6:{host}]" if ":" in host else f"[{host}]"

    @property
    def closed(self) -> bool:
        """Nothing more can be said."""
        return self._inbox.closed is not None

    def put(self, *lines: bytes) -> None:
        """Send lines in one piece.

        Raises:
            Broken: and nothing is sent. CLOSED, or SPOKE_FIRST where an answer is there already: whichever comes next, it is not
                known to which question it belongs. A server may say 421 at any time, though (RFC 5321 section 3.8).
        """
        if self._inbox.data and not self._inbox.data.startswith(b"421"):
            raise Broken(Break.SPOKE_FIRST, "an answer came before the question", bytes(self._inbox.data))
        if self._inbox.closed and not self._inbox.data:
            raise Broken(Break.CLOSED, self._inbox.closed)
        self.write(b"".join(line + b"\r\n" for line in lines))

    async def hear(self, patience: float | None = None) -> Reply:
        """Read one reply, within `patience` seconds or the time-out. That time begins when all that was put has gone out.

        Raises:
            Broken: SILENT, CLOSED or ENDLESS, with what had come by then.
        """
        raw, patience = bytearray(), patience or self.timeout
        await self._gone_out()
        try:
            async with asyncio.timeout(patience):
                while await self._read_line(raw):
                    pass
        except TimeoutError:
            raise Broken(Break.SILENT, f"no complete reply within {patience:g} s", bytes(raw + self._inbox.data)) from None
        return parse_reply(bytes(raw))

    async def _gone_out(self) -> None:
        """A long message may take long on a slow line; what is limited is the time in which none of it moves."""
        left, since = self._transport.get_write_buffer_size(), asyncio.get_running_loop().time()
        while left and not (self._inbox.data or self._inbox.closed):
            await asyncio.sleep(_GLANCE)
            before, left = left, self._transport.get_write_buffer_size()
            now = asyncio.get_running_loop().time()
            since = now if left < before else since
            if now - since > self.timeout:
                raise Broken(Break.SILENT, f"the server takes nothing more: {left} octets wait since {self.timeout:g} s")

    async def _read_line(self, raw: bytearray) -> bool:
        """Move one line of the reply to `raw`; is there more to come?"""
        data, searched = self._inbox.data, 0
        while (end := data.find(b"\n", searched)) < 0 and len(raw) + len(data) <= REPLY_LIMIT:
            searched = len(data)
            if self._inbox.closed:
                raise Broken(Break.CLOSED, self._inbox.closed, bytes(raw + data))
            self._transport.resume_reading()
            await self._inbox.news()
        if end < 0 or len(raw) + end >= REPLY_LIMIT:
            raise Broken(Break.ENDLESS, f"a reply of more than {REPLY_LIMIT // 1024} KiB", bytes(raw + data))
        line = bytes(data[: end + 1])
        del data[: end + 1]
        first = not raw
        raw += line
        return not ends_reply(line, first=first)

    async def encrypt(self) -> Tls:
        """Bring TLS up. A server that speaks before the handshake is caught here: nothing it said may count as said inside TLS.

        Raises:
            Broken: SPOKE_FIRST, CLOSED, CERTIFICATE, TLS or SILENT.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_PAUSE):
                while not (self._inbox.data or self._inbox.closed):
                    await self._inbox.news()
        if early := bytes(self._inbox.data):
            raise Broken(Break.SPOKE_FIRST, f"the server sent {len(early)} bytes in clear before the TLS handshake", early)
        if self._inbox.closed:
            raise Broken(Break.CLOSED, self._inbox.closed)
        encrypted = None
        try:
            async with asyncio.timeout(self.timeout):
                encrypted = await asyncio.get_running_loop().start_tls(
                    self._transport, self._inbox, self._context, server_hostname=self._host
                )
        except TimeoutError:
            raise Broken(Break.SILENT, f"no answer to the TLS handshake within {self.timeout:g} s") from None
        except ssl.SSLCertVerificationError as fault:
            raise Broken(Break.CERTIFICATE, f"certificate verify failed: {fault.verify_message}") from None
        except ssl.SSLError as fault:
            raise Broken(Break.TLS, f"{fault.reason}: the TLS handshake failed") from None
        except OSError as fault:
            raise Broken(Break.CLOSED, f"the connection broke off during the TLS handshake: {_words(fault)}") from None
        finally:
            if encrypted is None:  # nothing but TLS could follow, and asyncio no longer tells the inbox of the end
                self._transport.abort()
                self._inbox.closed = self._inbox.closed or "TLS did not come about"
        self._transport = cast("asyncio.Transport", encrypted)
        pipe = self._transport.get_extra_info("ssl_object")
        return Tls(version=pipe.version(), cipher=pipe.cipher()[0])

    def write(self, data: bytes) -> None:
        """Send bytes as they are, for whoever speaks TLS over this connection without `encrypt`."""
        if not self._inbox.closed:
            self._transport.write(data)

    async def read(self) -> bytes:
        """What has come, as it is: at least one byte, or none once nothing can come any more. The caller minds the time."""
        while not (self._inbox.data or self._inbox.closed):
            await self._inbox.news()
        data = bytes(self._inbox.data)
        self._inbox.data.clear()
        self._transport.resume_reading()
        return data

    async def close(self) -> None:
        """Hang up, and see it happen: at most a second is spent on that."""
        self._transport.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                while not self._inbox.closed:
                    await self._inbox.news()
        if not self._inbox.closed:  # Python 3.11.2 cannot abort what is closed
            self._transport.abort()


def _words(fault: Exception) -> str:
    """The fault's own words, best those of the system."""
    number = fault.errno if isinstance(fault, OSError) and not isinstance(fault, (socket.gaierror, ssl.SSLError)) else None
    return (os.strerror(number) if number else getattr(fault, "strerror", None)) or str(fault) or type(fault).__name__
