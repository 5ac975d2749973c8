"""The AUTH command (RFC 4954): one client's sign-ins, judged and counted. The mechanisms themselves are in `signin.py`."""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from kit.model import Attempt, Cause, Outcome, Service
from kit.redact import MASKED
from kit.sandbox.house import House
from kit.sandbox.record import printable
from kit.sandbox.scenarios import Stage
from kit.sandbox.signin import MECHANISMS, Account, Claim
from kit.sandbox.wire import LineTooLong, Wire

LONGEST_AUTH: Final = 12_288  # RFC 4954 section 4; with CRLF

_MECHANISM: Final = re.compile(
    r"(?i)PLAIN|LOGIN|CRAM-MD5|DIGEST-MD5|SCRAM-SHA-[0-9]{1,3}(?:-PLUS)?|NTLM|GSSAPI|EXTERNAL|XOAUTH2|OAUTHBEARER"
)


class Desk:
    """Where one client signs in.

    Attributes:
        helo: how the client has named itself; None before EHLO.
        user: who has signed in.
    """

    def __init__(self, house: House, wire: Wire, number: int, service: Service, reply: Callable[[str], Awaitable[None]]) -> None:
        self._house, self._scenario = house, house.scenario
        self._wire, self._number, self._service = wire, number, service
        self._reply = reply
        self.helo: str | None = None
        self.user: str | None = None

    def offered(self) -> tuple[str, ...]:
        """The mechanisms that EHLO lists now."""
        return self._scenario.after if self._wire.tls else self._scenario.before

    def refused(self, rest: str, cause: Cause | None = None) -> None:
        """AUTH was refused before it was looked at, because of `cause` or of the scenario's."""
        self._tried(named_mechanism(rest), Outcome.REFUSED, cause or self._scenario.cause)

    async def auth(self, rest: str) -> str:
        """What `AUTH rest` comes to: the reply. Challenges go out on the way."""
        name, _, initial = rest.partition(" ")
        mechanism = named_mechanism(name)
        if not name:
            return "501 5.5.4 AUTH needs a mechanism"
        if self.user is not None:
            return "503 5.5.1 Already signed in"
        if mechanism is None or mechanism not in self.offered():
            return self._not_offered(mechanism)
        try:
            return await self._judge(mechanism, await self._converse(mechanism, initial))
        except _Cancelled:
            self._tried(mechanism, Outcome.ABORTED, Cause.ABORTED)
            return "501 5.7.0 Authentication aborted"
        except (ValueError, LineTooLong) as fault:
            self._tried(mechanism, Outcome.MALFORMED, Cause.MALFORMED)
            too_long = isinstance(fault, LineTooLong)
            return "500 5.5.6 Authentication line too long" if too_long else "501 5.5.2 That is no base64 of a credential"

    def _not_offered(self, mechanism: str | None) -> str:
        if self.offered():
            self._tried(mechanism, Outcome.REFUSED, Cause.MECHANISM_UNSUPPORTED)
            return "504 5.5.4 Unrecognized authentication type"
        later = bool(self._scenario.after) and self._wire.tls is None
        self._tried(mechanism, Outcome.REFUSED, Cause.TLS_REQUIRED if later else Cause.AUTH_NOT_OFFERED)
        encrypt = "538 5.7.11 Encryption required for requested authentication mechanism"
        return encrypt if later else "503 5.5.1 Error: authentication not enabled"

    async def _converse(self, mechanism: str, initial: str) -> Claim:
        """One mechanism, from its first challenge to the client's claim."""
        talk = MECHANISMS[mechanism](Account(user=self._house.user, password=self._house.password))
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
        self._house.record.say(self._number, "C", "*" if line == b"*" else MASKED)
        if line == b"*":
            raise _Cancelled
        return line

    async def _judge(self, mechanism: str, claim: Claim) -> str:
        refusal = self._scenario.replies.get(Stage.SIGN_IN)
        if refusal or not claim.right:
            if claim.complaint is not None:
                with suppress(_Cancelled):  # whatever the answer: it was judged
                    await self._ask(claim.complaint)
            self._tried(mechanism, self._scenario.outcome, self._scenario.cause, claim.user)
            return refusal or "535 5.7.8 Error: authentication failed"
        if claim.proof is not None:
            await self._ask(claim.proof)
        self._tried(mechanism, Outcome.SUCCESS, Cause.NONE, claim.user)
        self.user = claim.user
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
                helo=self.helo,
                mechanism=mechanism,
                tls=self._wire.tls or "none",
                session=str(self._number),
            )
        )


class _Cancelled(Exception):
    """The client sent `*`."""


def named_mechanism(rest: str) -> str | None:
    """Which mechanism AUTH names. Only a name that is one: who forgets it puts a credential in its place."""
    word = rest.partition(" ")[0]
    return word.upper() if _MECHANISM.fullmatch(word) else None


def shown_auth(rest: str) -> str:
    """The command for the transcript: no more of it than the mechanism."""
    mechanism = named_mechanism(rest)
    behind = MASKED if rest and (mechanism is None or " " in rest) else ""
    return " ".join(word for word in ("AUTH", mechanism, behind) if word)
