"""One connection with one TLS handshake that sees and allows more than `ssl` does: pyOpenSSL over memory, so that nothing blocks.

    connect → [banner → ehlo → starttls] → handshake → quit

Nothing but EHLO, STARTTLS and QUIT is ever said over it. One of the few modules that open something.
"""

from __future__ import annotations

import ipaddress
import ssl
from asyncio import timeout
from contextlib import suppress
from typing import Final

from OpenSSL import SSL

from kit.fields import CONTROL
from kit.model import Profile, Security
from kit.sending.approach import hang_up
from kit.sending.dialogue import ehlo, greet, starttls
from kit.sending.reply import Offer
from kit.sending.session import Break, Broken, Session
from kit.sending.transport import Address, Streams, connect

_GOODBYE: Final = 3.0  # seconds that banner and QUIT may take inside TLS: nothing hangs on them
_LONGEST: Final = 16 * 1024  # octets read of them


class Shake:
    """One connection from connect to close, with one TLS handshake by pyOpenSSL over memory: it never blocks.

    Attributes:
        began: TLS was begun.
        heard: something came back since.
        alert: the number of the alert that the server sent, if it sent one.
        agreed: a ServerHello came that takes what was offered, whatever became of the handshake.
        asked: the server asked for a certificate of the client.
        why: the kind of what ended it early, and `problem` the same in words; None where the handshake came to its end.
    """

    def __init__(self, context: SSL.Context, profile: Profile) -> None:
        self.connection = SSL.Connection(context, None)
        self.connection.set_connect_state()
        self.connection.set_info_callback(self._note)
        if not _is_address(profile.host):  # an IP address is no name to ask for (RFC 6066 section 3)
            self.connection.set_tlsext_host_name(profile.host.encode("ascii", "ignore"))
        self.began = self.heard = self.agreed = self.asked = False
        self.alert: int | None = None
        self.why: Break | None = None
        self.problem: str | None = None
        self._profile = profile

    async def run(self, address: Address) -> None:
        """All of it. What goes wrong is in `why` and `problem`."""
        try:
            streams = await connect(address, self._profile, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
            try:
                if self._profile.security is Security.TLS or await self._ask_for_tls(streams):
                    await self._handshake(streams)
                    await self._leave(streams)
            finally:
                await streams.close()
        except Broken as broken:
            self.why, self.problem = broken.why, CONTROL.sub("?", broken.text)
        self.agreed = self.agreed or self.connection.get_cipher_name() is not None  # TLS 1.3 has it from ServerHello on

    async def _ask_for_tls(self, streams: Streams) -> bool:
        session = Session()
        banner = await session.run(greet(), streams)
        offer = await session.run(ehlo(streams.client), streams) if banner.code == 220 else Offer()
        if "STARTTLS" in offer.extensions:
            reply = await session.run(starttls(), streams)
            if reply.code == 220:
                return True
            self.problem = f"STARTTLS was answered: {reply.text[:200]}"
        else:
            self.problem = "the server offers no STARTTLS" if offer.accepted else f"the server does not let us in: {banner.text[:200]}"
        await hang_up(session, streams)
        return False

    async def _handshake(self, streams: Streams) -> None:
        self.began = True
        try:
            async with timeout(self._profile.timeout):
                while not self._shaken():
                    self._flush(streams)
                    await self._feed(streams)
                self._flush(streams)
        except TimeoutError:
            raise Broken(Break.SILENT, f"the TLS handshake did not end within {self._profile.timeout:g} s") from None
        except SSL.Error as fault:
            self._flush(streams)  # OpenSSL has an alert to send
            raise Broken(Break.TLS, words(fault)) from None

    def _shaken(self) -> bool:
        try:
            self.connection.do_handshake()
        except SSL.WantReadError:
            return False
        return True

    async def _leave(self, streams: Streams) -> None:
        """QUIT, after the banner where that still has to come."""
        try:
            async with timeout(min(self._profile.timeout, _GOODBYE)):
                if self._profile.security is Security.TLS:
                    await self._listen(streams)
                self.connection.send(b"QUIT\r\n")
                self._flush(streams)
                await self._listen(streams)
                self.connection.shutdown()
        except (TimeoutError, SSL.ZeroReturnError):
            pass
        except (SSL.Error, Broken) as fault:
            if self.asked:  # in TLS 1.3 the handshake ends before the server says what it thinks of the certificate, or of none
                shown = "on the certificate" if self._profile.cert_file else "as no certificate came"
                self.problem = words(fault) if isinstance(fault, SSL.Error) else f"the server hung up {shown}"
        self._flush(streams)

    async def _listen(self, streams: Streams) -> None:
        """Whatever is said, to the end of a line."""
        said = b""
        while not said.endswith(b"\n") and len(said) < _LONGEST:
            try:
                said += self.connection.recv(_LONGEST)
            except SSL.WantReadError:
                await self._feed(streams)

    async def _feed(self, streams: Streams) -> None:
        came = await streams.read()
        if not came:
            raise Broken(Break.CLOSED, "the server hung up during the TLS handshake")
        self.heard = True
        self.connection.bio_write(came)

    def _flush(self, streams: Streams) -> None:
        with suppress(SSL.Error):  # WantReadError: all is out
            while True:
                streams.write(self.connection.bio_read(_LONGEST))

    def _note(self, connection: SSL.Connection, where: int, value: int) -> None:
        if where == SSL.SSL_CB_READ_ALERT:
            self.alert = value & 0xFF
        elif where == SSL.SSL_CB_CONNECT_LOOP:  # this is the state that ends here: what it names was taken
            state = connection.get_state_string()
            self.agreed = self.agreed or b"read server hello" in state
            self.asked = self.asked or b"read server certificate request" in state


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def words(fault: SSL.Error) -> str:
    """OpenSSL's own words for the first thing that went wrong."""
    queue = fault.args[0] if fault.args else ()
    if isinstance(queue, (list, tuple)) and queue:
        return str(queue[0][-1])
    return str(fault.args[-1]) if fault.args else type(fault).__name__
