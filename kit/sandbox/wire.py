"""One client's connection as an SMTP server needs it: lines that end with CRLF and nothing else, replies, and TLS.

An `asyncio.Protocol` and no stream: what was sent in clear behind STARTTLS must be dropped exactly, and a stream has no
public way to look at what it holds.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

PATIENCE: Final = 300.0  # seconds for one line; RFC 5321 section 4.5.3.2.7 asks for five minutes
_HANDSHAKE: Final = 30.0  # seconds
_GOODBYE: Final = 1.0  # seconds that a client gets to close
_ENOUGH: Final = 1 << 16  # bytes read ahead of the conversation
_MOST: Final = 64 * 1024 * 1024  # bytes of a line, however little of it is kept

_ALERTS: Final = {"UNSUPPORTED_PROTOCOL": b"\x46", "NO_SHARED_CIPHER": b"\x28"}  # RFC 5246 section 7.2: protocol_version, handshake_failure


class Gone(Exception):
    """The client is not there any more. Its text is empty where it went as clients go."""


class LineTooLong(Exception):
    """A line was longer than allowed. It has been read to its end and is forgotten.

    Attributes:
        length: how long it was, without its CRLF.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        super().__init__()


class Wire(asyncio.Protocol):
    """A connection. `peer` and `port` are the client's; `tls` is the protocol version, None in clear."""

    def __init__(self, greet: Callable[[Wire], None], *, held: bool) -> None:
        """`greet` is called once there is a connection; with `held`, nothing is read before `start_tls`."""
        self._greet, self._held = greet, held
        self._buffer = bytearray()
        self._ended = False
        self._why = ""
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._closed = asyncio.Event()
        self._room.set()
        self.tls: str | None = None

    # ----------------------------------------------------------------------- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of TCP, always
        self._transport: asyncio.Transport = transport
        self.peer, self.port = transport.get_extra_info("peername")[:2]
        if self._held:
            transport.pause_reading()
        self._greet(self)

    def data_received(self, data: bytes) -> None:  # noqa: D102
        self._buffer += data
        if len(self._buffer) > _ENOUGH:
            self._transport.pause_reading()
        self._news.set()

    def eof_received(self) -> bool:  # noqa: D102
        self._ended = True
        self._news.set()
        return self.tls is None  # in clear, who has said everything may still listen

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102
        if isinstance(exc, ssl.SSLError):
            self._why = _reason(exc)
        self._ended = True
        for event in (self._news, self._room, self._closed):
            event.set()

    def pause_writing(self) -> None:  # noqa: D102
        self._room.clear()

    def resume_writing(self) -> None:  # noqa: D102
        self._room.set()

    # ----------------------------------------------------------------------- what a session calls

    async def line(self, limit: int) -> bytes:
        """The next line without its CRLF. A bare CR or LF is part of it.

        Raises:
            LineTooLong: it has more than `limit` bytes.
            Gone: the client went, or the line has no end.
            TimeoutError: it took longer than `PATIENCE` for this line.
        """
        dropped = 0
        if (end := self._buffer.find(b"\r\n")) < 0:
            async with asyncio.timeout(PATIENCE):
                while end < 0:
                    if len(self._buffer) > limit + 1:  # the last byte may be the CR of its end
                        dropped += len(self._buffer) - 1
                        del self._buffer[:-1]
                        if dropped > _MOST:
                            raise Gone("it sent a line without end")
                    seen = max(0, len(self._buffer) - 1)
                    await self._more()
                    end = self._buffer.find(b"\r\n", seen)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        if dropped + end > limit:
            raise LineTooLong(dropped + end)
        return line

    def hold(self) -> None:
        """Leaves what comes from now on to whoever reads next: `start_tls`."""
        self._transport.pause_reading()

    async def ignore(self) -> None:
        """Waits until the client says something, and forgets it.

        Raises:
            Gone: it went.
            TimeoutError: it said nothing for `PATIENCE` seconds.
        """
        if not self._buffer:
            async with asyncio.timeout(PATIENCE):
                await self._more()
        self._buffer.clear()

    async def _more(self) -> None:
        self._news.clear()
        if self._ended:
            raise Gone(self._why)
        self._transport.resume_reading()
        await self._news.wait()

    async def write(self, data: bytes) -> None:
        """Sends `data`, and waits while the client does not read.

        Raises:
            Gone: it went.
            TimeoutError: it read nothing for `PATIENCE` seconds.
        """
        if self._closed.is_set():
            raise Gone(self._why)
        self._transport.write(data)
        async with asyncio.timeout(PATIENCE):
            await self._room.wait()

    async def start_tls(self, context: ssl.SSLContext) -> int:
        """TLS from here on. Drops what was sent in clear before it, and tells how many bytes that was.

        Raises:
            Gone: there was no handshake; its text says why.
        """
        dropped = len(self._buffer)
        self._buffer.clear()
        transport = None
        line = self._transport.get_extra_info("socket").dup()
        try:
            # Nothing is awaited between the line above and the moment at which asyncio hands the connection over to TLS.
            transport = await asyncio.get_running_loop().start_tls(
                self._transport, self, context, server_side=True, ssl_handshake_timeout=_HANDSHAKE, ssl_shutdown_timeout=_GOODBYE
            )
        except OSError as fault:  # ssl.SSLError, ConnectionError and TimeoutError among them
            if alert := _ALERTS.get(getattr(fault, "reason", None) or ""):  # asyncio keeps OpenSSL's own to itself
                with suppress(OSError):
                    line.send(b"\x15\x03\x01\x00\x02\x02" + alert)
            raise Gone(_reason(fault)) from fault
        finally:
            line.close()
            if transport is None:
                self.connection_lost(None)  # asyncio has closed it, and tells nobody
        if transport is None:
            raise Gone("the client left during the handshake")
        self._transport.resume_reading()  # where much came at once behind the handshake, it was paused
        self._transport = transport
        self.tls = transport.get_extra_info("ssl_object").version()
        return dropped

    def abort(self) -> None:
        """Ends the connection at once."""
        self._transport.abort()

    def reset(self) -> None:
        """Ends it as a broken cable would: the other side sees a reset."""
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    async def close(self, last_words: bytes = b"") -> None:
        """Ends the connection, by force where the client does not let go."""
        with suppress(TimeoutError, asyncio.CancelledError):
            if not self._closed.is_set():
                self._transport.write(last_words)
                self._transport.close()
            async with asyncio.timeout(_GOODBYE):
                await self._closed.wait()
        if not self._closed.is_set():
            self.abort()


def _reason(fault: OSError) -> str:
    """In a few words: `TLS failed: tlsv1 alert unknown ca`."""
    reason = getattr(fault, "reason", None) or type(fault).__name__
    return f"TLS failed: {reason.lower().replace('_', ' ')}"
