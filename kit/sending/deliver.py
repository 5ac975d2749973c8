"""Mail: the second wire, on aiosmtplib, and what is said over it once sign-in is done.

Of aiosmtplib only its protocol is used, which says a command or the content and waits for the answer, and nothing that decides by
itself: never `login()`, which tries one mechanism after the other, and never the STARTTLS that happens only where it is offered.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, cast

import aiosmtplib
from aiosmtplib.protocol import SMTPProtocol

from kit.model import Profile, Reply
from kit.sending.dialogue import Say, Talk
from kit.sending.reply import ends_reply, parse_reply
from kit.sending.session import Break, Broken, Tls
from kit.sending.transport import PAUSE, Address, address_literal, reach, shake_hands, words

# Where servers put their own id of a message into the 250 after the final dot.
_QUEUE_IDS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"queued as <?([0-9A-Za-z][0-9A-Za-z._-]{3,99})",  # Postfix, and many after its example
        r"\bid=([0-9A-Za-z-]{6,40})",  # Exim
        r"\[InternalId=(\d{1,30})",  # Exchange and Microsoft 365
        r"\b([0-9A-Za-z]{8,40}) Message accepted for delivery",  # sendmail
        r"(?i)\bok:? {1,3}(?:\d{1,20} )?([0-9A-Za-z][0-9A-Za-z._-]{7,99})(?: - gsmtp)?$",  # Google, SES, and whoever ends with it
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What became of one transaction.

    Attributes:
        accepted: recipients that the server took; in a dry run, that it would have taken.
        refusals: the stage, the recipient where it is about one, and the server's words.
    """

    accepted: tuple[str, ...]
    rejected: tuple[str, ...]
    queue_id: str | None = None
    refusals: tuple[tuple[str, str | None, Reply], ...] = ()


def transaction(sender: str, recipients: Sequence[str], *, size: int, declare_size: bool, dry_run: bool = False) -> Talk[Delivered]:
    """MAIL, RCPT for each, and DATA, for which the wire has the content; in a dry run RSET in its place.

    Args:
        sender: the envelope sender, in ASCII.
        recipients: the envelope recipients, in ASCII.
        size: octets of the content.
        declare_size: the server offers SIZE (RFC 1870), and hears it with MAIL.
        dry_run: ask about sender and recipients, and send nothing.
    """
    mail = f"MAIL FROM:<{sender}>" + (f" SIZE={size}" if declare_size else "")
    reply = yield Say("mail", mail.encode("ascii"), mail)
    if not 200 <= reply.code < 300:
        return Delivered(accepted=(), rejected=tuple(recipients), refusals=(("mail", None, reply),))
    accepted: list[str] = []
    refusals: list[tuple[str, str | None, Reply]] = []
    for recipient in recipients:
        rcpt = f"RCPT TO:<{recipient}>"
        reply = yield Say("rcpt", rcpt.encode("ascii"), rcpt)
        if 200 <= reply.code < 300:
            accepted.append(recipient)
        else:
            refusals.append(("rcpt", recipient, reply))
    rejected = tuple(recipient for recipient in recipients if recipient not in accepted)
    if dry_run or not accepted:
        yield Say("rset", b"RSET", "RSET")
        return Delivered(accepted=tuple(accepted), rejected=rejected, refusals=tuple(refusals))
    reply = yield Say("data", b"DATA", "DATA", detail=f"a message of {size} octets")
    if not 200 <= reply.code < 300:
        refused = tuple(recipients) if 400 <= reply.code < 600 else rejected  # an answer that is none leaves it open
        return Delivered(accepted=(), rejected=refused, refusals=(*refusals, ("data", None, reply)))
    return Delivered(accepted=tuple(accepted), rejected=rejected, queue_id=queue_id(reply), refusals=tuple(refusals))


def queue_id(reply: Reply) -> str | None:
    """The server's own id of the message, where its last words name one."""
    text = " ".join(reply.lines)[:1000].strip()
    return next((match[1] for pattern in _QUEUE_IDS if (match := pattern.search(text))), None)


class MailWire:
    """A Wire on aiosmtplib, which sends DATA and the content in one.

    Args:
        protocol: connected, nothing said yet.
        profile: the name that the certificate must be for, and the seconds for each reply.
        context: for TLS.
        content: of the message.

    Attributes:
        round_trips: how often the server was waited for, from the banner to the end; TLS not counted.
    """

    def __init__(self, protocol: _Protocol, profile: Profile, context: ssl.SSLContext, content: bytes) -> None:
        self.timeout = profile.timeout
        self.round_trips = 0
        self._protocol = protocol
        self._host = profile.host
        self._context = context
        self._content = content

    @classmethod
    async def dial(cls, address: Address, profile: Profile, context: ssl.SSLContext, content: bytes) -> MailWire:
        """Connect.

        Raises:
            Broken: nobody listens there, or the way there is shut.
        """
        _, protocol = await reach(address, profile.timeout, _Protocol)
        return cls(protocol, profile, context, content)

    @property
    def client(self) -> str:
        """What to call this end of the connection in EHLO."""
        return address_literal(self._transport)

    @property
    def closed(self) -> bool:
        """Nothing more can be said."""
        return not self._protocol.is_connected

    async def ask(self, line: bytes | None) -> Reply:
        """Send a line, if there is one, and read one reply; for DATA the one to the content, or the one that refuses it.

        Raises:
            Broken: the connection ended, or the answers are out of step. Its `raw` begins with 354 where the content was under way.
        """
        heard = self._protocol.heard
        if line is not None and heard and not heard.startswith(b"421"):
            raise Broken(Break.SPOKE_FIRST, "an answer came before the question", bytes(heard))
        self.round_trips += 2 if line == b"DATA" else 1
        broken = await self._say(line)
        came, reply = bytes(heard), self._protocol.take()
        if line == b"DATA" and reply:
            if reply.code == 354:
                reply = self._protocol.take()
                if heard:
                    broken = Broken(Break.SPOKE_FIRST, "more answers came than there were questions")
            elif not 400 <= reply.code < 600:
                broken = Broken(Break.UNEXPECTED, "the message was not given")
            reply = None if broken else reply
        if reply is None or (broken and broken.why is Break.ENDLESS):  # what aiosmtplib had too much of may have ended all the same
            broken = broken or Broken(Break.SPOKE_FIRST, "an answer came before the question")
            raise Broken(broken.why, broken.text, came)
        return reply

    async def _say(self, line: bytes | None) -> Broken | None:
        """Have aiosmtplib send and wait; what came is in `heard`, and what it makes of that does not count."""
        try:
            if line is None:
                await self._protocol.read_response(self.timeout)
            elif line == b"DATA":
                await self._protocol.execute_data_command(self._content, self.timeout)
            else:
                await self._protocol.execute_command(line, timeout=self.timeout)
        except aiosmtplib.SMTPResponseException as fault:
            if fault.code < 0:  # it could not read the reply
                endless = "too long" in fault.message
                return Broken(*((Break.ENDLESS, "a reply without end") if endless else (Break.UNEXPECTED, "a reply that does not read")))
        except aiosmtplib.SMTPTimeoutError:
            return Broken(Break.SILENT, f"no complete reply within {self.timeout:g} s")
        except (aiosmtplib.SMTPException, OSError) as fault:
            cause = fault.__cause__ if isinstance(fault.__cause__, Exception) else fault
            return Broken(Break.CLOSED, f"the connection broke off: {words(cause)}")
        return None

    async def encrypt(self) -> Tls:
        """Bring TLS up. A server that speaks before the handshake is caught here, as in `Streams.encrypt`.

        Raises:
            Broken: there is no TLS, or the certificate does not pass.
        """
        await asyncio.sleep(PAUSE)
        if early := bytes(self._protocol.heard):
            raise Broken(Break.SPOKE_FIRST, f"the server sent {len(early)} bytes in clear before the TLS handshake", early)
        if self.closed:
            raise Broken(Break.CLOSED, "the server closed the connection")
        self._protocol.transport = await shake_hands(self._transport, self._protocol, self._context, self._host, self.timeout)
        pipe = self._transport.get_extra_info("ssl_object")
        return Tls(version=pipe.version(), cipher=pipe.cipher()[0])

    async def close(self) -> None:
        """Hang up, and see it happen: at most a second is spent on that."""
        if self._protocol.transport is None:
            return
        self._transport.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._protocol.lost.wait()
        if not self._protocol.lost.is_set():
            self._transport.abort()

    @property
    def _transport(self) -> asyncio.Transport:
        return cast("asyncio.Transport", self._protocol.transport)


class _Protocol(SMTPProtocol):
    """aiosmtplib's, which throws away what it has read, and what nobody asked for; here that stays.

    Attributes:
        heard: what came, up to what has been taken.
        lost: set at the end of the connection.
    """

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.heard = bytearray()
        self.lost = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.lost.set()

    def data_received(self, data: bytes) -> None:
        self.heard += data
        super().data_received(data)

    def take(self) -> Reply | None:
        """The first reply of `heard`, out of it; None while it has not come to its end."""
        end = 0
        while stop := self.heard.find(b"\n", end) + 1:
            last = ends_reply(bytes(self.heard[end:stop]), first=end == 0)
            end = stop
            if last:
                raw = bytes(self.heard[:end])
                del self.heard[:end]
                return parse_reply(raw)
        return None
