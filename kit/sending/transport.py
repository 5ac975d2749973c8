"""The kit's own way to a server, for checks: asyncio streams that keep the raw bytes and never wait for ever.

One of the few modules that open something.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from kit.errors import UsageError
from kit.model import Profile, Reply
from kit.sending.reply import ends_reply, parse_reply
from kit.sending.session import Break, Broken, Tls

REPLY_LIMIT: Final = 64 * 1024  # octets of one reply
_PAUSE: Final = 0.05  # seconds that a server gets to speak where it must not
_NO_ROUTE: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.EADDRNOTAVAIL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One address of a host."""

    family: socket.AddressFamily
    host: str
    port: int


def tls_context(profile: Profile) -> ssl.SSLContext:
    """TLS 1.2 or newer; certificate and name are verified against the system's authorities or the profile's `ca_file`.

    Raises:
        UsageError: the file does not read, or holds no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=profile.ca_file)
    except (OSError, ValueError) as fault:
        raise UsageError(
            f"no certificate can be read from it ({getattr(fault, 'strerror', None) or fault})",
            where=profile.ca_file or "the system's authorities",
            next_step="Give a PEM file with the authority's certificate (-----BEGIN CERTIFICATE-----)",
        ) from fault
    context.minimum_version = ssl.TLSVersion.TLSv1_2
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
        raise Broken(Break.NO_SUCH_NAME, f"{profile.host}: {getattr(fault, 'strerror', None) or fault}") from None
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
            reader, writer = await asyncio.open_connection(
                address.host, address.port, family=address.family, flags=socket.AI_NUMERICHOST, limit=REPLY_LIMIT
            )
    except TimeoutError:
        raise Broken(Break.NO_ANSWER, f"{address.host} did not answer within {profile.timeout:g} s") from None
    except OSError as fault:
        why = Break.NO_ANSWER if fault.errno in _NO_ROUTE else Break.REFUSED
        raise Broken(why, f"{address.host}: {os.strerror(fault.errno) if fault.errno else fault}") from None
    return Streams(reader, writer, context, host=profile.host, timeout=profile.timeout)


class Streams:
    """A Wire on asyncio streams.

    Args:
        host: the name that the certificate must be for.
        timeout: seconds for each reply and for the TLS handshake.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext, *, host: str, timeout: float
    ) -> None:
        self.timeout = timeout
        self._reader = reader
        self._writer = writer
        self._context = context
        self._host = host
        self._rest = bytearray()  # what came behind the last reply

    @property
    def client(self) -> str:
        """This end of the connection as an address literal for EHLO (RFC 5321 section 4.1.3): true, and asks no name server."""
        host = str(self._writer.get_extra_info("sockname")[0]).partition("%")[0]
        return f"[IPv6:{host}]" if ":" in host else f"[{host}]"

    @property
    def address(self) -> str:
        """The other end's IP address."""
        return str(self._writer.get_extra_info("peername")[0])

    async def ask(self, line: bytes | None) -> Reply:
        """Send a line and read one reply.

        Raises:
            Broken: SILENT, CLOSED or ENDLESS, with what had come by then.
        """
        raw = bytearray()
        try:
            async with asyncio.timeout(self.timeout):
                if line is not None:
                    self._writer.write(line + b"\r\n")
                    await self._writer.drain()
                while await self._read_line(raw):
                    pass
        except TimeoutError:
            raise Broken(Break.SILENT, f"no complete reply within {self.timeout:g} s", bytes(raw + self._rest)) from None
        except (OSError, ssl.SSLError) as fault:
            raise Broken(Break.CLOSED, f"the connection broke off: {fault.strerror or fault}", bytes(raw + self._rest)) from None
        return parse_reply(bytes(raw))

    async def _read_line(self, raw: bytearray) -> bool:
        """Move one line of the reply to `raw`; is there more to come?"""
        searched = 0
        while (end := self._rest.find(b"\n", searched)) < 0:
            searched = len(self._rest)
            if len(raw) + searched >= REPLY_LIMIT:
                raise Broken(Break.ENDLESS, f"a reply of more than {REPLY_LIMIT // 1024} KiB", bytes(raw + self._rest))
            more = await self._reader.read(REPLY_LIMIT - len(raw) - searched)
            if not more:
                raise Broken(Break.CLOSED, "the server closed the connection", bytes(raw + self._rest))
            self._rest += more
        line = bytes(self._rest[: end + 1])
        del self._rest[: end + 1]
        first = not raw
        raw += line
        return not ends_reply(line, first=first)

    async def encrypt(self) -> Tls:
        """Bring TLS up. A server that speaks before the handshake is caught here: nothing it said may count as said inside TLS.

        Raises:
            Broken: SPOKE_FIRST, CLOSED, CERTIFICATE, TLS or SILENT.
        """
        try:
            async with asyncio.timeout(_PAUSE):
                more = await self._reader.read(REPLY_LIMIT)
            if not more and not self._rest:
                raise Broken(Break.CLOSED, "the server closed the connection before TLS")
            self._rest += more
        except TimeoutError:
            pass
        except OSError as fault:
            raise Broken(Break.CLOSED, f"the connection broke off before TLS: {fault.strerror or fault}") from None
        if self._rest:
            raise Broken(Break.SPOKE_FIRST, f"the server sent {len(self._rest)} bytes in clear before the TLS handshake", bytes(self._rest))
        try:
            async with asyncio.timeout(self.timeout):
                await self._writer.start_tls(self._context, server_hostname=self._host)
        except TimeoutError:
            raise Broken(Break.SILENT, f"no answer to the TLS handshake within {self.timeout:g} s") from None
        except ssl.SSLCertVerificationError as fault:
            raise Broken(Break.CERTIFICATE, f"certificate verify failed: {fault.verify_message}") from None
        except ssl.SSLError as fault:
            raise Broken(Break.TLS, f"{fault.reason}: the TLS handshake failed") from None
        except OSError as fault:
            raise Broken(Break.CLOSED, f"the connection broke off during the TLS handshake: {fault.strerror or fault}") from None
        pipe = self._writer.get_extra_info("ssl_object")
        return Tls(version=pipe.version(), cipher=pipe.cipher()[0])

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        try:
            async with asyncio.timeout(1):
                await self._writer.wait_closed()
        except (OSError, ssl.SSLError, TimeoutError):
            pass  # it is over either way
