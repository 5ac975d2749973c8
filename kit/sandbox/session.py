"""One client's conversation with the sandbox: RFC 5321, 3207 (STARTTLS) and 4954 (AUTH), strict about line ends.

Only CRLF ends a line, and only CRLF.CRLF ends a message: a bare CR or LF is what SMTP smuggling is made of, so a message
that holds one is read to its end and refused.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from kit.model import Attempt, Cause, Outcome, Service
from kit.redact import MASKED
from kit.sandbox.scenarios import Scenario

LONGEST_COMMAND: Final = 512  # RFC 5321 section 4.5.3.1.4, with CRLF
LONGEST_AUTH: Final = 12_288  # RFC 4954 section 4
LARGEST_MESSAGE: Final = 10_485_760
MOST_RECIPIENTS: Final = 100  # RFC 5321 section 4.5.3.1.8
MOST_ERRORS: Final = 20
PATIENCE: Final = 60.0  # seconds for one line

_PATH: Final = re.compile(rb"(?i)(FROM|TO):\s?<([^<>\r\n]{0,320})>((?: [!-~]{1,200}){0,10})\s*")
_SIZE: Final = re.compile(rb"(?i)(?:^| )SIZE=(\d{1,12})(?: |$)")
_BARE: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message that the sandbox took. `data` is as it stood on the wire, dots unstuffed."""

    sender: str
    recipients: tuple[str, ...]
    data: bytes
    tls: bool
    user: str | None


class House(Protocol):
    """What a session needs of the server it belongs to."""

    scenario: Scenario
    context: ssl.SSLContext
    messages: list[Received]
    attempts: list[Attempt]

    def note(self, line: str) -> None:
        """Adds a line to the transcript."""

    def is_right(self, user: str, password: str) -> bool:
        """Whether that is the sandbox's own account."""


class _Gone(Exception):
    pass


class Session:
    """Speaks with one client until it leaves."""

    def __init__(self, house: House, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, tls: bool) -> None:
        self._house = house
        self._reader, self._writer = reader, writer
        self._implicit = self._tls = tls
        self._user: str | None = None
        self._greeted = False
        self._errors = 0
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._verbs: dict[str, Callable[[bytes], Awaitable[str | None]]] = {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "STARTTLS": self._starttls,
            "AUTH": self._auth,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._rset,
            "NOOP": self._noop,
            "VRFY": self._vrfy,
            "QUIT": self._quit,
        }

    async def run(self) -> None:
        """The whole conversation. What the client does wrong is answered, never raised."""
        try:
            await self._say("220 localhost ESMTP smtp-auth-kit sandbox")
            while self._errors < MOST_ERRORS:
                await self._answer(await self._line(LONGEST_AUTH))
            await self._say("421 4.7.0 Too many errors")
        except (_Gone, ConnectionError, TimeoutError, ssl.SSLError):
            pass

    async def _answer(self, line: bytes) -> None:
        verb, _, rest = line.partition(b" ")
        name = verb.decode("ascii", "replace").upper()
        handler = self._verbs.get(name)
        self._house.note(f"C: {_shown(line, name)}")
        reply: str | None
        if _BARE.search(line):
            reply = "500 5.5.2 A line ends with CR and LF together"
        elif len(line) + 2 > LONGEST_COMMAND and name != "AUTH":
            reply = "500 5.5.2 Line too long"
        elif handler is None:
            reply = "500 5.5.1 Command unrecognized"
        elif self._house.scenario.tls_first and not self._tls and name not in ("EHLO", "HELO", "NOOP", "STARTTLS", "QUIT"):
            reply = "530 5.7.0 Must issue a STARTTLS command first"
        else:
            reply = await handler(rest)
        if reply:
            await self._say(reply)
        if name == "QUIT" and reply:
            raise _Gone

    # -------------------------------------------------------------------------------------- the wire

    async def _line(self, limit: int) -> bytes:
        """One line without its CRLF. A longer one is read to its end, and only its length is kept."""
        async with asyncio.timeout(PATIENCE):
            parts, length = [], 0
            while True:
                try:
                    part = await self._reader.readuntil(b"\r\n")
                except asyncio.LimitOverrunError as fault:
                    part = await self._reader.readexactly(fault.consumed)
                    length += len(part)
                    parts = [b"X" * (limit + 1)]
                    if length > LARGEST_MESSAGE:
                        raise _Gone from fault
                    continue
                except asyncio.IncompleteReadError as fault:
                    raise _Gone from fault
                return (b"".join(parts) + part)[: limit + 1].removesuffix(b"\r\n") if parts else part[:-2]

    async def _say(self, reply: str) -> None:
        """A reply; several lines are parted by LF."""
        lines = reply.split("\n")
        code, self._errors = lines[0][:3], self._errors + (lines[0][0] == "5")
        wire = [line if i == len(lines) - 1 else f"{code}-{line[4:]}" for i, line in enumerate(lines)]
        for line in wire:
            self._house.note(f"S: {line}")
        self._writer.write("".join(f"{line}\r\n" for line in wire).encode("utf-8"))
        async with asyncio.timeout(PATIENCE):
            await self._writer.drain()

    # -------------------------------------------------------------------------------------- greeting

    async def _ehlo(self, rest: bytes) -> str:
        if not rest.strip():
            return "501 5.5.4 EHLO needs a name"
        self._forget_message()
        self._greeted = True
        offers = ["PIPELINING", f"SIZE {LARGEST_MESSAGE}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
        if not self._tls:
            offers.append("STARTTLS")
        if offered := self._offered():
            offers.append(f"AUTH {' '.join(offered)}")
        return "\n".join(f"250 {text}" for text in ("localhost", *offers))

    async def _helo(self, rest: bytes) -> str:
        if not rest.strip():
            return "501 5.5.4 HELO needs a name"
        self._forget_message()
        self._greeted = True
        return "250 localhost"

    def _offered(self) -> tuple[str, ...]:
        return self._house.scenario.after if self._tls else self._house.scenario.before

    async def _starttls(self, rest: bytes) -> str | None:
        if rest:
            return "501 5.5.4 STARTTLS takes no parameter"
        if self._tls:
            return "503 5.5.1 TLS is active already"
        # What the client has sent in clear behind STARTTLS, somebody else may have put there (RFC 3207 section 4.2).
        injected = len(self._reader._buffer)  # type: ignore[attr-defined]  # noqa: SLF001 - StreamReader has no public way to look
        if injected:
            self._house.note(f"!  {injected} bytes sent in clear behind STARTTLS; refused")
            await self._say("554 5.5.0 Nothing may follow STARTTLS")
            raise _Gone
        await self._say("220 2.0.0 Ready to start TLS")
        async with asyncio.timeout(PATIENCE):
            await self._writer.start_tls(self._house.context)
        self._house.note("-- TLS")
        self._tls, self._greeted, self._user = True, False, None
        self._forget_message()
        return None

    # -------------------------------------------------------------------------------------- AUTH

    async def _auth(self, rest: bytes) -> str:
        word, _, initial = rest.partition(b" ")
        mechanism = word.decode("ascii", "replace").upper()
        if refusal := self._no_auth():
            return refusal
        if mechanism not in self._offered():
            self._tried(mechanism, None, Outcome.REFUSED, Cause.MECHANISM_UNSUPPORTED)
            return "504 5.5.4 Unrecognized authentication type"
        try:
            user, password = await (self._plain(initial) if mechanism == "PLAIN" else self._login(initial))
        except _Cancelled:
            self._tried(mechanism, None, Outcome.ABORTED, Cause.ABORTED)
            return "501 5.7.0 Authentication aborted"
        except (binascii.Error, ValueError):
            self._tried(mechanism, None, Outcome.MALFORMED, Cause.MALFORMED)
            return "501 5.5.2 That is no base64 of a credential"
        right = self._house.is_right(user, password)
        if (refusal := self._house.scenario.sign_in) or not right:
            self._tried(mechanism, user, self._house.scenario.outcome, self._house.scenario.cause)
            return refusal or "535 5.7.8 Error: authentication failed"
        self._user = user
        self._tried(mechanism, user, Outcome.SUCCESS, Cause.NONE)
        return "235 2.7.0 Authentication successful"

    def _no_auth(self) -> str | None:
        """Why AUTH is refused as a command, if it is (RFC 4954 section 4)."""
        if not self._greeted or self._user is not None or self._sender is not None:
            return "503 5.5.1 AUTH is not allowed now"
        if self._offered():
            return None
        later = self._house.scenario.after and not self._tls
        return "530 5.7.0 Must issue a STARTTLS command first" if later else "503 5.5.1 Error: authentication not enabled"

    async def _plain(self, initial: bytes) -> tuple[str, str]:
        """RFC 4616: authorization identity, NUL, authentication identity, NUL, password."""
        _, user, password = _decoded(initial or await self._ask("")).split("\0")
        return user, password

    async def _login(self, initial: bytes) -> tuple[str, str]:
        user = _decoded(initial or await self._ask("VXNlcm5hbWU6"))
        return user, _decoded(await self._ask("UGFzc3dvcmQ6"))

    async def _ask(self, challenge: str) -> bytes:
        await self._say(f"334 {challenge}")
        line = await self._line(LONGEST_AUTH)
        self._house.note(f"C: {'*' if line == b'*' else MASKED}")
        if line == b"*":
            raise _Cancelled
        return line

    def _tried(self, mechanism: str, user: str | None, outcome: Outcome, cause: Cause) -> None:
        peer = self._writer.get_extra_info("peername")
        self._house.attempts.append(
            Attempt(
                time=datetime.now(UTC),
                outcome=outcome,
                cause=cause,
                host="localhost",
                server="sandbox",
                service=Service.SUBMISSIONS if self._implicit else Service.SUBMISSION,
                user=user,
                client_ip=peer[0] if peer else None,
                client_port=peer[1] if peer else None,
                mechanism=mechanism,
                tls=self._writer.get_extra_info("ssl_object").version() if self._tls else "none",
            )
        )

    # -------------------------------------------------------------------------------------- mail

    async def _mail(self, rest: bytes) -> str:
        found = _PATH.fullmatch(rest)
        if not self._greeted or self._sender is not None:
            return "503 5.5.1 MAIL is not allowed now"
        if self._user is None:
            return self._house.scenario.mail or "530 5.7.0 Authentication required"
        if not found or found[1].upper() != b"FROM":
            return "501 5.5.4 Syntax: MAIL FROM:<address>"
        if (size := _SIZE.search(found[3])) and int(size[1]) > LARGEST_MESSAGE:
            return "552 5.3.4 Message size exceeds fixed limit"
        self._sender = found[2].decode("utf-8", "replace")
        return "250 2.1.0 Ok"

    async def _rcpt(self, rest: bytes) -> str:
        found = _PATH.fullmatch(rest)
        if self._sender is None:
            return "503 5.5.1 MAIL comes first"
        if not found or found[1].upper() != b"TO" or not found[2]:
            return "501 5.5.4 Syntax: RCPT TO:<address>"
        if len(self._recipients) >= MOST_RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        self._recipients.append(found[2].decode("utf-8", "replace"))
        return "250 2.1.5 Ok"

    async def _data(self, _: bytes) -> str:
        if not self._recipients:
            return "503 5.5.1 RCPT comes first"
        await self._say("354 End data with <CR><LF>.<CR><LF>")
        lines, size, smuggled = [], 0, False
        while (line := await self._line(LARGEST_MESSAGE)) != b".":
            size += len(line) + 2
            smuggled = smuggled or bool(_BARE.search(line))
            if size <= LARGEST_MESSAGE:
                lines.append(line[1:] if line.startswith(b".") else line)
        self._house.note(f"C: [{size} bytes of message]")
        sender, recipients = self._sender or "", tuple(self._recipients)
        self._forget_message()
        if smuggled:
            return "550 5.6.0 The message holds a bare CR or LF"
        if size > LARGEST_MESSAGE:
            return "552 5.3.4 Message size exceeds fixed limit"
        data = b"".join(line + b"\r\n" for line in lines)
        self._house.messages.append(Received(sender=sender, recipients=recipients, data=data, tls=self._tls, user=self._user))
        return f"250 2.0.0 Ok: queued as SANDBOX{len(self._house.messages)}"

    async def _rset(self, _: bytes) -> str:
        self._forget_message()
        return "250 2.0.0 Ok"

    async def _noop(self, _: bytes) -> str:
        return "250 2.0.0 Ok"

    async def _vrfy(self, _: bytes) -> str:
        return "252 2.0.0 Send it and see"

    async def _quit(self, _: bytes) -> str:
        return "221 2.0.0 Bye"

    def _forget_message(self) -> None:
        self._sender = None
        self._recipients = []


class _Cancelled(Exception):
    """The client sent `*`."""


def _decoded(line: bytes) -> str:
    return "" if line == b"=" else base64.b64decode(line, validate=True).decode("utf-8")


def _shown(line: bytes, name: str) -> str:
    """A command for the transcript: bounded, printable, and of AUTH no more than the mechanism."""
    text = line[:200].decode("utf-8", "replace")
    if name == "AUTH":
        words = text.split(" ", 2)
        text = " ".join([*words[:2], MASKED] if len(words) > 2 else words)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
