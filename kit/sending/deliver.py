"""One message over a session that stands: MAIL, RCPT for each, DATA and the content, and what the server made of it. Sans-IO."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kit.knowledge.findings import found
from kit.model import Finding, Profile, Reply
from kit.sending.content import EIGHT_BIT, SMTPUTF8
from kit.sending.dialogue import QUIT, Say, Talk, Together, good
from kit.sending.mail import Mail
from kit.sending.reply import Offer

# Where servers put their own id of a message into the 250 after the final dot.
_QUEUE_IDS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"queued as <?([0-9A-Za-z][0-9A-Za-z._-]{3,99})",  # Postfix, and many after its example
        r"\bid=([0-9A-Za-z-]{6,40})",  # Exim
        r"\[InternalId=(\d{1,30})",  # Exchange and Microsoft 365
        r"\b([0-9A-Za-z]{8,40}) Message accepted for delivery",  # sendmail, OpenSMTPD
        r"(?i)\bok:? {1,3}(?:\d{1,20} )?((?=\S*\d)[0-9A-Za-z][0-9A-Za-z._-]{7,99})(?: - gsmtp)?$",  # Google, SES, and whoever ends with it; no word
    )
)
_DOT: Final = re.compile(rb"(?m)^\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What became of one transaction.

    Attributes:
        accepted: recipients that the server took; in a dry run, that it would have taken.
        rejected: recipients that it did not.
        refusals: the stage, the recipient where it is about one, and the server's words.
        unclear: the answer to the content, where that says neither yes nor no; or to QUIT, where it is one to something else.
    """

    accepted: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    queue_id: str | None = None
    refusals: tuple[tuple[str, str | None, Reply], ...] = ()
    unclear: Reply | None = None


def unfit(mail: Mail, offer: Offer, profile: Profile) -> Finding | None:
    """What this server lacks for this message; known before it is asked to take it."""
    if offer.size is not None and mail.size > offer.size:
        return found("message-too-large", profile, f"the message has {mail.size:,} octets, the server takes {offer.size:,}")
    missing = sorted(mail.needs - offer.extensions)
    names = {SMTPUTF8: "smtputf8-not-offered", EIGHT_BIT: "8bitmime-not-offered"}
    return found(names[missing[-1]], profile, f"offered: {' '.join(sorted(offer.extensions)) or 'nothing'}") if missing else None


def transaction(mail: Mail, offer: Offer, *, dry_run: bool = False, last: bool = True) -> Talk[Delivered]:
    """One message. Where the server offers PIPELINING it takes as few round trips as RFC 2920 allows.

    Args:
        mail: the message and its envelope.
        offer: what the server can do; `unfit` has seen that it is enough for this message.
        dry_run: ask about sender and recipients, and send nothing.
        last: nothing follows on this connection, so that QUIT goes out behind the content. Its answer shows whether those
            before it were to what was asked. A dry run is always the last.
    """
    pipelined = "PIPELINING" in offer.extensions
    end = Say("rset", b"RSET", "RSET") if dry_run else Say("data", b"DATA", "DATA")
    begun, answers, ended = yield from _open(_mail(mail, offer), [_rcpt(to) for to in mail.recipients], end, pipelined=pipelined)
    if not good("mail", begun):
        answers = []
    refusals: list[tuple[str, str | None, Reply]] = [] if good("mail", begun) else [("mail", None, begun)]
    refusals += [("rcpt", to, reply) for to, reply in zip(mail.recipients, answers, strict=False) if not good("rcpt", reply)]
    accepted = tuple(to for to, reply in zip(mail.recipients, answers, strict=False) if good("rcpt", reply))
    done = Delivered(accepted=accepted, rejected=tuple(to for to in mail.recipients if to not in accepted), refusals=tuple(refusals))
    if ended is None:
        return done
    if dry_run:
        farewell = (yield QUIT) if ended.code != 421 else ended
        return done if _in_step(farewell) else Delivered(refusals=(("quit", None, farewell),))
    if ended.code == 354 and accepted:
        return _judge(done, mail, *(yield from _content(mail, pipelined=pipelined, last=last)))
    if ended.code == 354:  # it waits for a message to nobody, and hears nothing else before it has one (RFC 2920 section 3.1)
        yield Say("dot", b".", ".", "no content, as nobody was accepted")
    elif accepted:
        return Delivered(rejected=mail.recipients, refusals=(*refusals, ("data", None, ended)))
    return done


def _open(mail: Say, recipients: Sequence[Say], end: Say, *, pipelined: bool) -> Talk[tuple[Reply, list[Reply], Reply | None]]:
    """The replies to MAIL, to each RCPT, and to what ends the envelope, as far as it came to that."""
    if pipelined:
        group = Together([mail, *recipients, end], at_stake="no content was sent, so nothing was taken")
        yield group
        begun, *more = group.replies
        return begun, more[: len(recipients)], more[len(recipients)] if len(more) > len(recipients) else None
    begun = yield mail
    if not good("mail", begun):
        return begun, [], None
    answers: list[Reply] = []
    for rcpt in recipients:
        answers += ((yield rcpt),)
        if answers[-1].code == 421:  # it hangs up (RFC 5321 section 3.8)
            return begun, answers, None
    worth_it = end.name != "data" or any(good("rcpt", reply) for reply in answers)
    return begun, answers, (yield end) if worth_it else None


def _content(mail: Mail, *, pipelined: bool, last: bool) -> Talk[tuple[Reply, Reply | None]]:
    """The replies to the content and, if it is the last, to the QUIT behind it."""
    say = Say("message", _DOT.sub(b"..", mail.content) + b".", f"the message, {mail.size:,} octets, and the final dot")
    if not last:
        return (yield say), None
    if not pipelined:
        reply = yield say
        return reply, (yield QUIT) if reply.code != 421 else None
    group = Together([say, QUIT])
    yield group
    return group.replies[0], group.replies[-1]


def _in_step(farewell: Reply) -> bool:
    """QUIT got its own answer, or none. Another's in its place means that no answer before it is known to be to its question."""
    return farewell.code in (221, 421, 0)


def _judge(done: Delivered, mail: Mail, reply: Reply, farewell: Reply | None) -> Delivered:
    if farewell and not _in_step(farewell):
        return Delivered(rejected=done.rejected, refusals=done.refusals, unclear=farewell)
    if good("message", reply):
        return Delivered(accepted=done.accepted, rejected=done.rejected, queue_id=queue_id(reply), refusals=done.refusals)
    if 400 <= reply.code < 600:
        return Delivered(rejected=mail.recipients, refusals=(*done.refusals, ("data", None, reply)))
    return Delivered(rejected=done.rejected, refusals=done.refusals, unclear=reply)


def _mail(mail: Mail, offer: Offer) -> Say:
    words = [f"MAIL FROM:<{mail.sender}>"]
    if "SIZE" in offer.extensions:
        words.append(f"SIZE={mail.size}")  # RFC 1870
    if EIGHT_BIT in mail.needs:
        words.append("BODY=8BITMIME")  # RFC 6152
    if SMTPUTF8 in mail.needs:
        words.append("SMTPUTF8")  # RFC 6531
    if "DSN" in offer.extensions:
        # A bounce names the test by its id, and does not send the whole content back (RFC 3461 sections 4.3 and 4.4).
        words += ["RET=HDRS", *([f"ENVID={mail.trace}"] if mail.trace else [])]
    line = " ".join(words)
    return Say("mail", line.encode(), line)


def _rcpt(recipient: str) -> Say:
    line = f"RCPT TO:<{recipient}>"
    return Say("rcpt", line.encode(), line)


def queue_id(reply: Reply) -> str | None:
    """The server's own id of the message, where its last words name one."""
    text = " ".join(reply.lines)[:1000].strip()
    return next((match[1] for pattern in _QUEUE_IDS if (match := pattern.search(text))), None)
