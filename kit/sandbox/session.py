"""One client's conversation with the sandbox: RFC 5321, 3207 (STARTTLS) and 4954 (AUTH), strict about line ends.

    wire.py ── line ──► Session ── verb ──► auth.py · mail.py
            ◄─ reply ──         ◄─ reply ──     └► at every stage first the scenario has its say: delay, fault, words

Only CRLF ends a line, and only CRLF.CRLF ends a message: a bare CR or LF is what SMTP smuggling is made of, so a message
that holds one is read to its end and refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from kit.model import Cause, Service
from kit.sandbox.auth import LONGEST_AUTH, Desk, shown_auth
from kit.sandbox.faults import FAULTS
from kit.sandbox.house import House
from kit.sandbox.mail import LARGEST_MESSAGE, Body, Envelope, has_bare
from kit.sandbox.record import Received, printable
from kit.sandbox.scenarios import Stage
from kit.sandbox.wire import Gone, LineTooLong, Wire

LONGEST_COMMAND: Final = 512  # RFC 5321 section 4.5.3.1.4; with CRLF
MOST_ERRORS: Final = 20

_IN_CLEAR: Final = frozenset({"EHLO", "HELO", "NOOP", "STARTTLS", "QUIT"})  # RFC 3207 section 4
_EHLO_FIRST: Final = "503 5.5.1 Say EHLO first"
# AUTH has two, of its own.
_STAGES: Final = {verb: Stage(verb.lower()) for verb in ("EHLO", "STARTTLS", "MAIL", "RCPT", "DATA")} | {"HELO": Stage.EHLO}


class Session:
    """Speaks with one client until it leaves."""

    def __init__(self, house: House, wire: Wire, number: int, *, implicit: bool) -> None:
        self._house, self._scenario = house, house.scenario
        self._wire, self._number = wire, number
        self._desk = Desk(house, wire, number, Service.SUBMISSIONS if implicit else Service.SUBMISSION, self._reply)
        self._implicit = implicit
        self._errors = 0
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
            await self._come_to(Stage.CONNECT)
            if self._implicit:
                await self._secure()
            await self._reply(await self._at(Stage.BANNER, self._banner))
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
        shown = shown_auth(rest) if verb == "AUTH" else f"{verb} {rest}".rstrip()
        self._note("C", shown if verb in self._verbs else f"[{len(line)} bytes that are no command]")
        if refusal := self._misfit(line, verb, rest):
            return refusal
        act = partial(self._verbs[verb], rest)
        return await (self._at(_STAGES[verb], act) if verb in _STAGES else act())

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
                self._desk.refused(rest, Cause.TLS_REQUIRED)
            return refusal
        if rest and verb in ("DATA", "RSET", "QUIT", "STARTTLS"):
            return f"501 5.5.4 {verb} takes no argument"
        return None

    # -------------------------------------------------------------------------------------- the scenario

    async def _at(self, stage: Stage, act: Callable[[], Awaitable[str | None]]) -> str | None:
        """The reply at `stage`: the scenario's refusal, else what comes of `act`, in the scenario's words if it has any."""
        if not await self._come_to(stage):
            return None
        reply = self._scenario.refusal(stage) or await act()
        words = self._scenario.replies.get(stage)
        return words if words and reply and words[0] == reply[0] else reply

    async def _come_to(self, stage: Stage) -> bool:
        """Waits as long as the scenario does there, and plays its fault. Whether there is a reply left to give."""
        await asyncio.sleep(self._scenario.delays.get(stage, 0))
        if stage not in self._scenario.faults:
            return True
        await self._reply(self._scenario.replies.get(stage))
        fault = self._scenario.faults[stage]
        self._note("-", f"the scenario plays {fault}")
        await FAULTS[fault](self._wire)
        return False

    def _words(self, stage: Stage, usual: str) -> str:
        return self._scenario.replies.get(stage, usual)

    # -------------------------------------------------------------------------------------- the wire

    async def _reply(self, said: str | None) -> None:
        """Sends it, and counts errors. Several lines are parted by LF; behind CRLF stands one more reply."""
        if said is None:
            return
        self._errors += said[0] == "5"
        lines = []
        for reply in said.split("\r\n"):
            *others, last = reply.split("\n")
            lines += [*(f"{line[:3]}-{line[4:]}" for line in others), f"{last[:3]} {last[4:]}"]
        for line in lines:
            self._note("S", line)
        await self._wire.write("".join(f"{line}\r\n" for line in lines).encode())
        if said.startswith("421"):
            raise Gone("421 ends it")  # RFC 5321 section 3.8

    def _note(self, who: str, text: str) -> None:
        self._house.record.say(self._number, who, text)

    # -------------------------------------------------------------------------------------- greeting

    async def _banner(self) -> str:
        return "220 localhost ESMTP smtp-auth-kit sandbox"

    async def _old_helo(self, rest: str) -> str:
        name = rest.strip()
        if not name:
            return "501 5.5.4 Say who you are: EHLO and a name"
        self._envelope = Envelope()
        self._desk.helo = printable(name)
        return "250 localhost"

    async def _ehlo(self, rest: str) -> str:
        reply = await self._old_helo(rest)
        if reply[0] != "2":
            return reply
        offers = ["PIPELINING", f"SIZE {LARGEST_MESSAGE}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
        if self._wire.tls is None:
            offers.append("STARTTLS")
        if offered := self._desk.offered():
            offers.append(f"AUTH {' '.join(offered)}")
        return "\n".join((reply, *(f"250 {offer}" for offer in offers)))

    async def _starttls(self, _: str) -> str | None:
        if self._wire.tls:
            return "503 5.5.1 TLS is active already"
        await self._reply(self._words(Stage.STARTTLS, "220 2.0.0 Ready to start TLS"))
        await self._secure()
        # RFC 3207 section 4.2: nothing that was said in clear counts any more.
        self._desk.helo = self._desk.user = None
        self._envelope = Envelope()
        return None

    async def _secure(self) -> None:
        if Stage.TLS in self._scenario.replies or Stage.TLS in self._scenario.faults:
            await self._wire.ignore()  # the client's hello
        else:
            self._wire.hold()
        await self._reply(await self._at(Stage.TLS, self._handshake))

    async def _handshake(self) -> None:
        dropped = await self._wire.start_tls(self._house.context)
        if dropped:
            self._note("-", f"{dropped} bytes came in clear behind STARTTLS, and are dropped: somebody else may have put them there")
        self._note("-", f"{self._wire.tls} begins")

    async def _auth(self, rest: str) -> str | None:
        if self._scenario.refusal(Stage.AUTH):
            self._desk.refused(rest)
        return await self._at(Stage.AUTH, partial(self._sign_in, rest))

    async def _sign_in(self, rest: str) -> str | None:
        if self._desk.helo is None:
            return _EHLO_FIRST
        if self._envelope.sender is not None:
            return "503 5.5.1 No AUTH within a mail transaction"
        verdict = await self._desk.auth(rest)  # it knows the scenario's own
        return verdict if await self._come_to(Stage.SIGN_IN) else None

    # -------------------------------------------------------------------------------------- mail

    async def _mail(self, rest: str) -> str:
        if self._desk.helo is None or self._envelope.sender is not None:
            return _EHLO_FIRST if self._desk.helo is None else "503 5.5.1 MAIL has been said already"
        if self._desk.user is None:
            return "530 5.7.0 Authentication required"
        return self._envelope.mail(rest)

    async def _rcpt(self, rest: str) -> str:
        return self._envelope.rcpt(rest)

    async def _data(self, _: str) -> str | None:
        envelope = self._envelope
        if not envelope.recipients:
            return "503 5.5.1 RCPT comes first"
        await self._reply(self._words(Stage.DATA, "354 End data with <CR><LF>.<CR><LF>"))
        body = Body()
        while True:
            try:
                line = await self._wire.line(LARGEST_MESSAGE)
            except LineTooLong as fault:
                body.size += fault.length
            else:
                if line == b".":
                    break
                body.add(line)
            if body.size > 10 * LARGEST_MESSAGE:
                raise Gone("it sent much more than SIZE allows")
        self._note("C", f"[a message of {body.size} bytes]")
        self._envelope = Envelope()
        return await self._at(Stage.END_OF_DATA, partial(self._take, envelope, body))

    async def _take(self, envelope: Envelope, body: Body) -> str:
        if body.refusal:
            return body.refusal
        message = Received(
            sender=envelope.sender or "",
            recipients=tuple(envelope.recipients),
            data=bytes(body.data),
            peer=self._wire.peer,
            tls=self._wire.tls,
            user=self._desk.user,
        )
        if not self._house.record.take(message):
            return "452 4.3.1 The sandbox is full; start it anew"
        return f"250 2.0.0 Ok: queued as SANDBOX{len(self._house.record.messages)}"

    async def _rset(self, _: str) -> str:
        self._envelope = Envelope()
        return "250 2.0.0 Ok"

    async def _noop(self, _: str) -> str:
        return "250 2.0.0 Ok"

    async def _vrfy(self, rest: str) -> str:
        return "252 2.0.0 Send it and see" if rest.strip() else "501 5.5.4 VRFY needs a name"

    async def _quit(self, _: str) -> str:
        await self._reply("221 2.0.0 Bye")
        raise Gone
