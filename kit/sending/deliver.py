"""Mail: the second wire, on aiosmtplib, and what is said over it once sign-in is done.

Of aiosmtplib only `connect`, `execute_command`, `starttls`, `data` and `close` are used, and nothing that decides by itself:
never `login()`, which tries one mechanism after the other, and never the STARTTLS that happens only where it is offered.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import aiosmtplib

from kit.model import Profile, Reply, Security
from kit.sending.dialogue import Say, Talk
from kit.sending.reply import parse_reply
from kit.sending.session import Break, Broken, Tls
from kit.sending.transport import Address

_GOODBYE: Final = 5.0  # seconds that QUIT may take: nothing hangs on it

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


async def dial(address: Address, timeout: float) -> socket.socket:  # noqa: ASYNC109 - it becomes part of what is said
    """A TCP connection for a MailWire, nothing said yet.

    Raises:
        Broken: nobody listens there, or the way there is shut.
    """
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        async with asyncio.timeout(timeout):
            await asyncio.get_running_loop().sock_connect(sock, (address.host, address.port))
    except TimeoutError:
        sock.close()
        raise Broken(Break.NO_ANSWER, f"{address.host} did not answer within {timeout:g} s") from None
    except OSError as fault:
        sock.close()
        why = Break.REFUSED if isinstance(fault, ConnectionRefusedError) else Break.NO_ANSWER
        raise Broken(why, f"{address.host}: {os.strerror(fault.errno) if fault.errno else fault}") from None
    except BaseException:
        sock.close()
        raise
    return sock


class MailWire:
    """A Wire on aiosmtplib, which does some things in one: TLS and the banner, STARTTLS and the handshake, DATA and the content.

    Attributes:
        client: this end of the connection as an address literal for EHLO (RFC 5321 section 4.1.3).
        round_trips: how often the server was waited for, from the banner to the end; TLS not counted.
    """

    def __init__(self, sock: socket.socket, profile: Profile, context: ssl.SSLContext, content: bytes) -> None:
        host = str(sock.getsockname()[0]).partition("%")[0]
        self.client = f"[IPv6:{host}]" if ":" in host else f"[{host}]"
        self.round_trips = 0
        self._content = content
        self._timeout = profile.timeout
        self._banner: Reply | None = None
        self._smtp = aiosmtplib.SMTP(
            hostname=profile.host,
            sock=sock,
            timeout=profile.timeout,
            use_tls=profile.security is Security.TLS,
            start_tls=False,  # its default, None, would go on in clear where STARTTLS is not offered
            tls_context=context,
            local_hostname="localhost",  # never said, as EHLO is the dialogue's; its default asks DNS
        )

    async def ask(self, line: bytes | None) -> Reply:
        """Send a line, if there is one, and read one reply.

        Raises:
            Broken: the connection ended.
        """
        self.round_trips += 2 if line == b"DATA" else 1
        if line is None:
            return await self._greeting()
        try:
            response = await self._send(line)
        except aiosmtplib.SMTPResponseException as refused:
            if refused.code < 0:  # no reply at all; what follows could no longer be told apart
                self._smtp.close()
            return _reply(refused.code, refused.message)
        except _FAULTS as fault:
            raise _broken(fault) from None
        if line.startswith((b"EHLO ", b"HELO ")):  # else aiosmtplib would say EHLO again before STARTTLS and DATA
            self._smtp.last_ehlo_response = response
        return _reply(response.code, response.message)

    async def encrypt(self) -> Tls:
        """Bring TLS up where it comes first, else say what STARTTLS has agreed on.

        Raises:
            Broken: there is no TLS, or the certificate does not pass.
        """
        await self._greeting()
        pipe = self._smtp.get_transport_info("ssl_object") if self._smtp.is_connected else None
        if pipe is None:
            raise Broken(Break.CLOSED, "the server closed the connection")
        return Tls(version=pipe.version(), cipher=pipe.cipher()[0])

    @property
    def is_open(self) -> bool:
        """The server has not hung up, as far as we know."""
        return self._smtp.is_connected

    def close(self) -> None:
        """Let go of the connection, whatever its state."""
        self._smtp.close()

    async def _greeting(self) -> Reply:
        """The banner, and before it TLS where that comes first. Once."""
        if self._banner is None:
            try:
                code, text = await self._smtp.connect()
            except aiosmtplib.SMTPResponseException as other:  # any banner but 220; aiosmtplib has hung up
                code, text = other.code, other.message
            except _FAULTS as fault:
                raise _broken(fault) from None
            self._banner = _reply(code, text)
        return self._banner

    async def _send(self, line: bytes) -> aiosmtplib.SMTPResponse:
        if line == b"STARTTLS":
            return await self._smtp.starttls()
        if line == b"DATA":
            return await self._smtp.data(self._content)
        if line == b"QUIT":
            return await self._smtp.execute_command(line, timeout=min(self._timeout, _GOODBYE))
        return await self._smtp.execute_command(line)


_FAULTS: Final = (aiosmtplib.SMTPException, OSError)

# From what Python raises to what it means; the first that fits, so the narrower stand first.
_BREAKS: Final = (
    (ssl.SSLCertVerificationError, Break.CERTIFICATE),
    (ssl.SSLError, Break.TLS),
    (TimeoutError, Break.SILENT),
    (OSError, Break.CLOSED),
)


def _broken(fault: BaseException) -> Broken:
    """Of the faults that aiosmtplib wraps into each other the innermost with words says best what happened."""
    while isinstance(fault.__cause__, Exception) and str(fault.__cause__):
        fault = fault.__cause__
    why = next((why for kind, why in _BREAKS if isinstance(fault, kind)), Break.CLOSED)
    if isinstance(fault, ssl.SSLCertVerificationError):
        return Broken(why, f"certificate verify failed: {fault.verify_message}")
    return Broken(why, str(fault) or type(fault).__name__)


def _reply(code: int, message: str) -> Reply:
    """A reply of aiosmtplib's as the kit reads replies."""
    if code < 0:
        return parse_reply(message.encode("utf-8", "surrogateescape"))
    *more, last = message.split("\n")
    lines = [*(f"{code:03d}-{text}" for text in more), f"{code:03d} {last}"]
    return parse_reply("".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape"))
