"""One client's conversation with the sandbox: RFC 5321, 3207 (STARTTLS) and 4954 (AUTH), strict about line ends.

Only CRLF ends a line, and only CRLF.CRLF ends a message: a bare CR or LF is what SMTP smuggling is made of, so a message
that holds one is read to its end and refused.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from kit.model import Attempt, Cause, Outcome, Service
from kit.redact import MASKED, Secret
from kit.sandbox.mail import LARGEST_MESSAGE, Body, Envelope, has_bare
from kit.sandbox.record import Received, Record, printable
from kit.sandbox.scenarios import Scenario, Stage
from kit.sandbox.signin import MECHANISMS, Claim
from kit.sandbox.wire import Gone, LineTooLong, Wire

LONGEST_COMMAND: Final = 512  # RFC 5321 section 4.5.3.1.4; with CRLF, as all of these
LONGEST_AUTH: Final = 12_288  # RFC 4954 section 4
MOST_ERRORS: Final = 20

_IN_CLEAR: Final = frozenset({"EHLO", "HELO", "NOOP", "STARTTLS", "QUIT"})  # RFC 3207 section 4
_EHLO_FIRST: Final = "503 5.5.1 Say EHLO first"
_MECHANISM: Final = re.compile(
    r"(?i)PLAIN|LOGIN|CRAM-MD5|DIGEST-MD5|SCRAM-SHA-[0-9]{1,3}(?:-PLUS)?|NTLM|GSSAPI|EXTERNAL|XOAUTH2|OAUTHBEARER"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What all sessions of one sandbox share: the scenario, the one account, the certificate, the memory."""

    scenario: Scenario
    user: str
    password: Secret
    context: ssl.SSLContext
    record: Record

    def is_right(self, claim: Claim) -> bool:
        """Whether that is the sandbox's own account, acting as itself."""
        given, ours = (secret.reveal().encode("utf-8", "surrogatepass") for secret in (claim.password, self.password))
        return claim.user == self.user and claim.acting_as in ("", self.user) and hmac.compare_digest(given, ours)


class Session:
    """Speaks with one client until it leaves."""

    def __init__(self, house: House, wire: Wire, number: int, *, implicit: bool) -> None:
        self._house, self._scenario = house, house.scenario
        self._wire, self._number = wire, number
        self._service = Service.SUBMISSIONS if implicit else Service.SUBMISSION
        self._implicit = implicit
        self._errors = 0
        self._helo: str | None = None
        self._user: str | None = None
        self._envelope = Envelope()
        self._verbs: dict[str, Callable[[str], Awaitable[str | None]]] = {
            "EHLO": self._ehlo,
            "HELO": self._old_helo,
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
            if self._implicit:
                await self._secure()
            await self._reply("220 localhost ESMTP smtp-auth-kit sandbox")
            while self._errors < MOST_ERRORS:
                await self._reply(await self._answer())
                await asyncio.sleep(0)  # others want to speak too, however much this one has sent at once
            await self._reply("421 4.7.0 Too many errors")
        except TimeoutError:
            await self._wire.close(b"421 4.4.2 Nothing came for too long\r\n")
        except Gone as gone:
            self._note("-", str(gone) or "the client is gone")

    async def _answer(self) -> str | None:
        try:
            line = await self._wire.line(LONGEST_AUTH - 2)
        except LineTooLong as fault:
            self._note("C", f"[a line of {fault.length} bytes]")
            return "500 5.5.6 Line too long"
        text = line.decode("utf-8", "replace")
        verb, _, rest = text.partition(" ")
        verb = verb.upper()
        # What is no command may be the password of somebody who did not notice that AUTH was refused.
        self._note("C", _shown(verb, rest) if verb in self._verbs else f"[{len(line)} bytes that are no command]")
        return self._misfit(line, verb, rest) or await self._verbs[verb](rest)

    def _misfit(self, line: bytes, verb: str, rest: str) -> str | None:
        """Why a line is refused before its command is looked at, if it is."""
        if has_bare(line):
            return "500 5.5.2 A line ends with CR and LF together"
        if verb not in self._verbs:
            return "500 5.5.1 Command unrecognized"
        if len(line) + 2 > LONGEST_COMMAND and verb != "AUTH":
            return "500 5.5.2 Line too long"
        if self._wire.tls is None and verb not in _IN_CLEAR and (refusal := self._scenario.replies.get(Stage.IN_CLEAR)):
            if verb == "AUTH":
                self._tried(_mechanism(rest), Outcome.REFUSED, Cause.TLS_REQUIRED)
            return refusal
        if rest and verb in ("DATA", "RSET", "QUIT", "STARTTLS"):
            return f"501 5.5.4 {verb} takes no argument"
        return None

    # -------------------------------------------------------------------------------------- the wire

    async def _reply(self, reply: str | None) -> None:
        """Sends it, and counts errors. Several lines are parted by LF."""
        if reply is None:
            return
        self._errors += reply[0] == "5"
        *others, last = reply.split("\n")
        lines = [*(f"{line[:3]}-{line[4:]}" for line in others), last]
        for line in lines:
            self._note("S", line)
        await self._wire.write("".join(f"{line}\r\n" for line in lines).encode())

    def _note(self, who: str, text: str) -> None:
        self._house.record.say(self._number, who, text)

    # -------------------------------------------------------------------------------------- greeting

    async def _old_helo(self, rest: str) -> str:
        name = rest.strip()
        if not name:
            return "501 5.5.4 Say who you are: EHLO and a name"
        self._envelope = Envelope()
        self._helo = printable(name)
        return "250 localhost"

    async def _ehlo(self, rest: str) -> str:
        reply = await self._old_helo(rest)
        if reply[0] != "2":
            return reply
        offers = ["PIPELINING", f"SIZE {LARGEST_MESSAGE}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
        if self._wire.tls is None:
            offers.append("STARTTLS")
        if offered := self._offered():
            offers.append(f"AUTH {' '.join(offered)}")
        return "\n".join((reply, *(f"250 {offer}" for offer in offers)))

    def _offered(self) -> tuple[str, ...]:
        return self._scenario.after if self._wire.tls else self._scenario.before

    async def _starttls(self, _: str) -> str | None:
        if self._wire.tls:
            return "503 5.5.1 TLS is active already"
        await self._reply("220 2.0.0 Ready to start TLS")
        await self._secure()
        # RFC 3207 section 4.2: nothing that was said in clear counts any more.
        self._helo = self._user = None
        self._envelope = Envelope()
        return None

    async def _secure(self) -> None:
        dropped = await self._wire.start_tls(self._house.context)
        if dropped:
            self._note("-", f"{dropped} bytes came in clear behind STARTTLS, and are dropped: somebody else may have put them there")
        self._note("-", f"{self._wire.tls} begins")

    # -------------------------------------------------------------------------------------- AUTH

    async def _auth(self, rest: str) -> str:
        name, _, initial = rest.partition(" ")
        mechanism = _mechanism(name)
        if not name:
            return "501 5.5.4 AUTH needs a mechanism"
        if refusal := self._no_auth_now():
            return refusal
        if mechanism is None or mechanism not in self._offered():
            return self._not_offered(mechanism)
        try:
            claim = await self._converse(mechanism, initial)
        except _Cancelled:
            self._tried(mechanism, Outcome.ABORTED, Cause.ABORTED)
            return "501 5.7.0 Authentication aborted"
        except (ValueError, LineTooLong) as fault:
            self._tried(mechanism, Outcome.MALFORMED, Cause.MALFORMED)
            too_long = isinstance(fault, LineTooLong)
            return "500 5.5.6 Authentication line too long" if too_long else "501 5.5.2 That is no base64 of a credential"
        return self._judge(mechanism, claim)

    def _no_auth_now(self) -> str | None:
        if self._helo is None:
            return _EHLO_FIRST
        if self._envelope.sender is not None:
            return "503 5.5.1 No AUTH within a mail transaction"
        return "503 5.5.1 Already signed in" if self._user is not None else None

    def _not_offered(self, mechanism: str | None) -> str:
        if self._offered():
            self._tried(mechanism, Outcome.REFUSED, Cause.MECHANISM_UNSUPPORTED)
            return "504 5.5.4 Unrecognized authentication type"
        later = bool(self._scenario.after) and self._wire.tls is None
        self._tried(mechanism, Outcome.REFUSED, Cause.TLS_REQUIRED if later else Cause.AUTH_NOT_OFFERED)
        encrypt = "538 5.7.11 Encryption required for requested authentication mechanism"
        return self._scenario.replies.get(Stage.AUTH, encrypt if later else "503 5.5.1 Error: authentication not enabled")

    async def _converse(self, mechanism: str, initial: str) -> Claim:
        """One mechanism, from its first challenge to the client's claim."""
        talk = MECHANISMS[mechanism]()
        challenge = next(talk)
        # RFC 4954 section 4: `=` is an initial response without a byte. Elsewhere it is no base64.
        response = initial.encode() if initial else await self._ask(challenge)
        decoded = b"" if initial == "=" else base64.b64decode(response, validate=True)
        try:
            while True:
                decoded = base64.b64decode(await self._ask(talk.send(decoded)), validate=True)
        except StopIteration as end:
            claim: Claim = end.value
            return claim

    async def _ask(self, challenge: bytes) -> bytes:
        await self._reply(f"334 {base64.b64encode(challenge).decode()}")
        line = await self._wire.line(LONGEST_AUTH - 2)
        self._note("C", "*" if line == b"*" else MASKED)
        if line == b"*":
            raise _Cancelled
        return line

    def _judge(self, mechanism: str, claim: Claim) -> str:
        refusal = self._scenario.replies.get(Stage.SIGN_IN)
        if refusal or not self._house.is_right(claim):
            self._tried(mechanism, self._scenario.outcome, self._scenario.cause, claim.user)
            return refusal or "535 5.7.8 Error: authentication failed"
        self._tried(mechanism, Outcome.SUCCESS, Cause.NONE, claim.user)
        self._user = claim.user
        return "235 2.7.0 Authentication successful"

    def _tried(self, mechanism: str | None, outcome: Outcome, cause: Cause, user: str | None = None) -> None:
        self._house.record.count(
            Attempt(
                time=datetime.now(UTC),
                outcome=outcome,
                cause=cause,
                host="localhost",
                server="sandbox",
                service=self._service,
                user=printable(user) if user else None,
                client_ip=self._wire.peer,
                client_port=self._wire.port,
                helo=self._helo,
                mechanism=mechanism,
                tls=self._wire.tls or "none",
                session=str(self._number),
            )
        )

    # -------------------------------------------------------------------------------------- mail

    async def _mail(self, rest: str) -> str:
        if self._helo is None or self._envelope.sender is not None:
            return _EHLO_FIRST if self._helo is None else "503 5.5.1 MAIL has been said already"
        if self._user is None:
            return self._scenario.replies.get(Stage.MAIL, "530 5.7.0 Authentication required")
        return self._envelope.mail(rest)

    async def _rcpt(self, rest: str) -> str:
        return self._envelope.rcpt(rest)

    async def _data(self, _: str) -> str:
        envelope = self._envelope
        if not envelope.recipients:
            return "503 5.5.1 RCPT comes first"
        await self._reply("354 End data with <CR><LF>.<CR><LF>")
        body = Body()
        while True:
            try:
                line = await self._wire.line(LARGEST_MESSAGE)
            except LineTooLong as fault:
                body.size += fault.length
                continue
            if line == b".":
                break
            body.add(line)
            if body.size > 10 * LARGEST_MESSAGE:
                raise Gone("it sent much more than SIZE allows")
        self._note("C", f"[a message of {body.size} bytes]")
        self._envelope = Envelope()
        return body.refusal or self._take(envelope, bytes(body.data))

    def _take(self, envelope: Envelope, data: bytes) -> str:
        message = Received(
            sender=envelope.sender or "",
            recipients=tuple(envelope.recipients),
            data=data,
            peer=self._wire.peer,
            tls=self._wire.tls,
            user=self._user,
        )
        if not self._house.record.take(message):
            return "452 4.3.1 The sandbox is full; start it anew"
        return f"250 2.0.0 Ok: queued as SANDBOX{len(self._house.record.messages)}"

    async def _rset(self, _: str) -> str:
        self._envelope = Envelope()
        return "250 2.0.0 Ok"

    async def _noop(self, _: str) -> str:
        return "250 2.0.0 Ok"

    async def _vrfy(self, _: str) -> str:
        return "252 2.0.0 Send it and see"

    async def _quit(self, _: str) -> str:
        await self._reply("221 2.0.0 Bye")
        raise Gone


class _Cancelled(Exception):
    """The client sent `*`."""


def _mechanism(name: str) -> str | None:
    """Only a name that is one: who forgets it puts a credential in its place."""
    word = name.partition(" ")[0]
    return word.upper() if _MECHANISM.fullmatch(word) else None


def _shown(verb: str, rest: str) -> str:
    """A command for the transcript: of AUTH no more than the mechanism."""
    if verb != "AUTH" or not rest:
        return f"{verb} {rest}".rstrip()
    mechanism = _mechanism(rest)
    behind = MASKED if mechanism is None or " " in rest else ""
    return " ".join(word for word in (verb, mechanism, behind) if word)
