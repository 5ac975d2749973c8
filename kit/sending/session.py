"""One conversation, driven: actions go over a wire, and every one becomes a Step.

talk (dialogue.py, deliver.py) ── Action ──► Session ── bytes ──► Wire (transport.py)
                              ◄── Reply ───         ◄── Reply ──
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from time import perf_counter
from typing import Final, Protocol, TypeVar

from kit.model import Attempt, Finding, Reply, Step
from kit.redact import Secret, mask_known
from kit.sending.dialogue import Action, Talk, Together, good
from kit.sending.reply import codes, masked, oddities, parse_reply

T = TypeVar("T")


class Break(StrEnum):
    """Why a connection came to its end before the talk did."""

    NO_SUCH_NAME = "no-such-name"
    REFUSED = "refused"
    NO_ANSWER = "no-answer"
    SILENT = "silent"
    CLOSED = "closed"
    ENDLESS = "endless"
    SPOKE_FIRST = "spoke-first"
    MIXED = "mixed-codes"
    UNEXPECTED = "unexpected-reply"
    CERTIFICATE = "certificate"
    TLS = "tls"


class Broken(Exception):
    """The conversation cannot go on. `Session` writes the failed step, then lets it through to the one who catches it.

    Args:
        why: the kind.
        text: what happened, for the operator; hostile where it repeats the other side.
        raw: what had come of a reply by then.
    """

    def __init__(self, why: Break, text: str, raw: bytes = b"") -> None:
        self.why = why
        self.text = text
        self.raw = raw
        super().__init__(f"{why}: {text}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """What was agreed on. There is none without a verified certificate.

    Attributes:
        version: such as `TLSv1.3`.
        cipher: OpenSSL's name of it.
    """

    version: str
    cipher: str


class Wire(Protocol):
    """One open connection. Its methods raise Broken where it ends, and only there.

    Attributes:
        timeout: seconds for each reply.
    """

    timeout: float

    @property
    def closed(self) -> bool:
        """Nothing more can be said."""

    def put(self, *lines: bytes) -> None:
        """Send lines in one piece (CRLF is added to each), or raise and send nothing."""

    async def hear(self, patience: float | None = None) -> Reply:
        """Read one reply, which may take `patience` seconds; else the usual time."""

    async def encrypt(self) -> Tls:
        """Bring TLS up, the certificate verified. It comes right after a 220 to STARTTLS."""


# The software that says its name in its banner, as logs name it.
_SOFTWARE: Final = {
    "Postfix": "postfix",
    "Exim": "exim",
    "Dovecot": "dovecot",
    "Sendmail": "sendmail",
    "OpenSMTPD": "opensmtpd",
    "Microsoft ESMTP": "exchange",
    "gsmtp": "gmail",
}

_GOODBYE: Final = 5.0  # seconds that the reply to QUIT may take: all that counts has been said by then
# Time-outs that the reply to the content may take. Filters read it first, and who leaves before the answer does not know who has the
# mail: with the usual time-out it is the ten minutes of RFC 5321 section 4.5.3.2.6.
LAST_WORD: Final = 30


class Session:
    """All that is written down about one check or one mail: the steps in order, TLS, the attempt, what was found, and
    how often the server was waited for (TLS not counted).

    Args:
        on_step: is told of every step as it ends.
        clock: seconds that only grow.
        secrets: what is masked in whatever the server says.
    """

    def __init__(
        self, *, on_step: Callable[[Step], None] | None = None, clock: Callable[[], float] = perf_counter, secrets: Iterable[Secret] = ()
    ) -> None:
        self.steps: list[Step] = []
        self.findings: list[Finding] = []
        self.attempt: Attempt | None = None
        self.tls: Tls | None = None
        self.round_trips = 0
        self._on_step = on_step
        self._clock = clock
        self._secrets = tuple(secrets)

    @property
    def server(self) -> str | None:
        """The server's software, where its banner tells."""
        banner = next((step.reply.text for step in self.steps if step.name == "banner" and step.reply), "")
        return next((name for word, name in _SOFTWARE.items() if word in banner), None)

    async def run(self, talk: Talk[T], wire: Wire) -> T:
        """Drive `talk` to its end and hand back what it returns.

        Raises:
            Broken: the connection ended first. The step that failed is written down.
        """
        try:
            action = next(talk)
            while True:
                action = talk.send(await self._do(action, wire))
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            talk.close()

    async def encrypt(self, wire: Wire) -> Tls:
        """TLS, as a step of its own."""
        self.tls = await self.take("tls", wire.encrypt(), lambda tls: f"{tls.version}, {tls.cipher}; the certificate is verified")
        return self.tls

    async def take(self, name: str, work: Awaitable[T], describe: Callable[[T], str]) -> T:
        """A step without a reply.

        Raises:
            Broken: it failed. The step is written down.
        """
        began = self._clock()
        try:
            value = await work
        except Broken as broken:
            self._write(name, began, broken=broken)
            raise
        self._write(name, began, detail=describe(value))
        return value

    async def _do(self, action: Action, wire: Wire) -> Reply:
        """Send the action's lines and read the replies. The last of them is handed back."""
        self.round_trips += 1
        group = action if isinstance(action, Together) else Together([action])
        lines = [say.line for say in group.says if say.line is not None]
        for say in group.says:
            began, sent = self._clock(), None
            try:
                if lines:
                    wire.put(*lines)
                    lines = []
                sent = say.shown
                patience = {"message": LAST_WORD * wire.timeout, "quit": min(wire.timeout, _GOODBYE)}.get(say.name)
                reply = masked(_of_one_code(await wire.hear(patience)), self._secrets)
            except Broken as broken:
                detail = f"{group.progress}; {group.at_stake}" if sent and group.at_stake else None
                step = self._write(say.name, began, sent=sent, detail=detail, broken=broken)
                if say.name == "quit":
                    group.replies.append(step.reply or parse_reply(b""))
                elif not (broken.why is Break.CLOSED and group.replies and group.replies[-1].code == 421):
                    raise
                break
            self._write(say.name, began, sent=sent, reply=reply, detail=say.detail)
            group.replies.append(reply)
        return group.replies[-1]

    def _write(
        self,
        name: str,
        began: float,
        *,
        sent: str | None = None,
        reply: Reply | None = None,
        detail: str | None = None,
        broken: Broken | None = None,
    ) -> Step:
        if broken and broken.raw:
            reply = masked(parse_reply(broken.raw), self._secrets)
        odd = f"the reply has {', '.join(what)}" if reply and (what := oddities(reply.raw)) else None
        remarks = (detail, mask_known(broken.text, self._secrets) if broken else None, odd)
        step = Step(
            name=name,
            seconds=round(self._clock() - began, 6),
            ok=broken is None and (reply is None or good(name, reply)),
            sent=sent,
            reply=reply,
            detail="; ".join(remark for remark in remarks if remark) or None,
        )
        self.steps.append(step)
        if self._on_step:
            self._on_step(step)
        return step


def _of_one_code(reply: Reply) -> Reply:
    if len(each := codes(reply.raw)) > 1:
        raise Broken(Break.MIXED, f"one reply with the codes {', '.join(each[:9])}", reply.raw)
    return reply
