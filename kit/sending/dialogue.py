"""What is said to an SMTP server, and in which order, without a single socket.

A talk is a generator: it yields actions, is sent the server's reply to each, and returns what it found out. Whoever
drives it (`kit.sending.session`) carries the actions out and writes down the steps. Nothing a server says raises here;
what raises is our own fault, and it does so before the first byte goes out.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from kit.auth.mechanisms import MECHANISMS, Exchange, Remark
from kit.errors import PasswordInClear
from kit.model import Reply
from kit.redact import MASKED, Secret
from kit.sending.reply import Offer, parse_offer

_COMMAND_LIMIT: Final = 510  # octets before the line end (RFC 5321 section 4.5.3.1.4)


@dataclass(frozen=True, slots=True)
class Say:
    """Send a line (its CRLF is added) and read the reply.

    Attributes:
        line: None where the reply comes unasked.
        shown: the line as it may be shown; secrets are not in it.
        detail: what is worth knowing beside it.
    """

    name: str
    line: bytes | None = field(repr=False)
    shown: str | None
    detail: str | None = None


@dataclass(slots=True)
class Together:
    """Commands in one piece; the replies come in their order (RFC 2920).

    Attributes:
        at_stake: what the server can have of the mail should an answer be missing.
        replies: what came: one for each command, or fewer where the server said 421 and hung up.
    """

    says: Sequence[Say]
    at_stake: str | None = None
    replies: list[Reply] = field(default_factory=list)

    @property
    def progress(self) -> str:
        """How far the answers came."""
        first = self.says[len(self.replies)].shown
        return f"{len(self.replies)} of {len(self.says)} commands sent together have a clear answer, the first without is {first}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a sign-in ended.

    Attributes:
        reply: the server's last word.
        gave_up: the last that was sent was `*`.
        remark: what the mechanism has to say to it.
    """

    reply: Reply
    gave_up: bool
    remark: Remark | None

    @property
    def doubt(self) -> Remark | None:
        """What keeps the server from being believed, whatever its reply."""
        return self.remark if self.remark and self.remark.finding and (self.gave_up or self.reply.code == 235) else None


# Where not every 2yz is a yes (RFC 5321 section 4.3.2; section 4.2.1 would take any as one). Whoever says yes to a message answers for
# it from then on (section 4.2.5), so its yes has to be about mail: the 5 of 25z. A 221 is the yes to QUIT, a 235 to AUTH.
_GOES_ON: Final = {
    "banner": (220,),
    "ehlo": (250,),
    "helo": (250,),
    "starttls": (220,),
    "auth": (235, 334),
    "data": (354,),
    "message": range(250, 260),
    "quit": (221,),
}

QUIT: Final = Say("quit", b"QUIT", "QUIT")
Action = Say | Together
T = TypeVar("T")
Talk = Generator[Action, Reply, T]


def good(name: str, reply: Reply) -> bool:
    """Is it the reply to the step `name` that the talk goes on with?"""
    return reply.code in _GOES_ON.get(name, range(200, 300))


def greet() -> Talk[Reply]:
    """The banner."""
    return (yield Say("banner", None, None))


def ehlo(client: str) -> Talk[Offer]:
    """EHLO, or HELO where the server refuses EHLO for good.

    Args:
        client: how the client names itself: a domain or an address literal.
    """
    reply = yield _command("ehlo", f"EHLO {client}")
    if not 500 <= reply.code < 600:
        return parse_offer(reply)
    reply = yield _command("helo", f"HELO {client}")
    return Offer(accepted=reply.code == 250)


def starttls() -> Talk[Reply]:
    """The reply to STARTTLS. After 220 nothing but the TLS handshake may follow, and then EHLO again (RFC 3207 section 4)."""
    return (yield _command("starttls", "STARTTLS"))


def quit_() -> Talk[Reply]:
    """The polite end. Where no reply came its code is 0: that is no fault."""
    return (yield QUIT)


def authenticate(
    mechanism: str, user: str, secret: Secret, *, protected: bool, allow_clear: bool = False, why: str | None = None
) -> Talk[Verdict]:
    """One sign-in with one mechanism (RFC 4954).

    Args:
        mechanism: one of MECHANISMS.
        user: who signs in.
        secret: the password or token.
        protected: the connection is TLS, and the certificate was verified.
        allow_clear: the operator decided that the password may be read on the way.
        why: why this mechanism, for the step.

    Raises:
        PasswordInClear: the mechanism reveals the secret and the connection does not hide it.
        UsageError: user or password cannot be sent.
    """
    chosen = MECHANISMS[mechanism]
    if chosen.reveals_password and not (protected or allow_clear):
        raise PasswordInClear(
            f"{mechanism} would show the password to everyone on the way, as there is no TLS",
            next_step="Use --security tls or --security starttls; without a password the rest can be checked",
        )
    exchange = chosen.start(user, secret)
    return _sign_in(mechanism, exchange, next(exchange), why)


def _sign_in(mechanism: str, exchange: Exchange, response: bytes | None, why: str | None) -> Talk[Verdict]:
    line, shown = f"AUTH {mechanism}".encode(), f"AUTH {mechanism}"
    if response is not None:
        whole = line + b" " + (base64.b64encode(response) or b"=")
        if len(whole) <= _COMMAND_LIMIT:  # else it goes on a line of its own (RFC 4954 section 4)
            line, shown, response = whole, f"{shown} {MASKED}", None
    reply = yield Say("auth", line, shown, why)
    remark, gave_up = None, False
    try:
        while reply.code == 334:
            if response is None:
                response = exchange.send(_challenge(reply))
            reply = yield Say("auth", base64.b64encode(response or b""), MASKED)
            response = None
        exchange.send(None)
    except StopIteration as end:
        remark = end.value
        if gave_up := reply.code == 334:  # it asks for more than there is, or for what must not be given: `*` ends it (RFC 4954 section 4)
            reply = yield Say("auth", b"*", "*")
    return Verdict(reply, gave_up, remark)


def _challenge(reply: Reply) -> bytes:
    """What stands behind 334. Some servers put a plain question there; it is handed on as it is."""
    text = " ".join(reply.lines).encode()
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return text


def _command(name: str, line: str) -> Say:
    return Say(name, line.encode(), line)
