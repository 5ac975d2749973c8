"""`send_series`: many messages over one connection, at the account's pace, each written into the journal.

Sent again is what the server asked to have later, once, and what it cannot have seen. A message whose content went out and that has no
answer is in doubt and left alone. Where a connection ends, the next one goes on; but one on which nothing was settled is the last, and so
is one that a sign-in failed on, or that the server would have signed in or encrypted first: that says nothing of the messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from ssl import SSLContext
from typing import Final

from kit.auth.budget import ATTEMPTS_AN_HOUR
from kit.explain import wait_named_by
from kit.model import Attempt, Cause, Finding, Profile, Reply, Severity, Step
from kit.profiles import build_profile
from kit.redact import Secret
from kit.sending.approach import hang_up, refusal
from kit.sending.deliver import Delivered, transaction, unfit
from kit.sending.dialogue import Say, Talk, Together
from kit.sending.enter import enter
from kit.sending.entries import Entry, State, found_in_doubt
from kit.sending.findings import found_broken, found_odd
from kit.sending.journal import Journal
from kit.sending.mail import Mail
from kit.sending.pace import Pace, duration, parse_limits
from kit.sending.reply import Offer
from kit.sending.send import judged, outcome
from kit.sending.session import Broken, Session
from kit.sending.signin import check_sign_in, sign_in
from kit.sending.transport import Streams, tls_context

MOST_TRIES: Final = 2  # what was put off so often is given up
LATER: Final = (
    300.0  # seconds, where the server names no time: most greylisting is over then. A queue waits longer (RFC 5321 section 4.5.4.1)
)
LONGEST_WAIT: Final = 3600.0  # seconds; what has to wait longer stays in the journal
# Refusals of whoever asks, not of what is sent (RFC 4954 section 6; 421: RFC 5321 section 3.8): another message would hear the same.
_OF_SESSION: Final = (Cause.NOT_AUTHENTICATED, Cause.TLS_REQUIRED, Cause.METHOD_DISABLED, Cause.ACCOUNT_BLOCKED)
_CODES_OF_SESSION: Final = (421, 530, 534, 535, 538)
_IDLE: Final = 60.0  # seconds: a longer wait is not spent on an open connection


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesResult:
    """What became of a series.

    Attributes:
        name: of its journal.
        entries: all its messages, in order.
        attempts: sign-ins, one a connection at most.
        findings: each once, however many messages it is about.
        round_trips: how often the server was waited for, TLS not counted.
    """

    name: str
    entries: tuple[Entry, ...]
    attempts: tuple[Attempt, ...]
    findings: tuple[Finding, ...]
    connections: int
    round_trips: int

    @property
    def ok(self) -> bool:
        """Every message was accepted for every recipient, and nothing of severity warning or error was found."""
        taken = all(entry.state is State.ACCEPTED and not entry.rejected for entry in self.entries)
        return taken and not any(finding.severity in (Severity.WARNING, Severity.ERROR) for finding in self.findings)


async def send_series(
    profile: Profile,
    make: Callable[[int], Mail],
    secret: Secret | None = None,
    *,
    pace: Pace,
    journal: Journal,
    on_step: Callable[[Step], None] | None = None,
    on_entry: Callable[[Entry], None] | None = None,
    on_wait: Callable[[float], None] | None = None,
    on_cut: Callable[[SeriesResult], None] | None = None,
    allow_clear: bool = False,
    gentle: bool = False,
    attempts_an_hour: int = ATTEMPTS_AN_HOUR,
    budget: Path | None = None,
) -> SeriesResult:
    """Send what is left of the series in `journal`. Whoever cancels it finds the journal right.

    Args:
        profile: the server, and who signs in.
        make: makes a message by its number; in one run once.
        secret: as in `send`, and so are `allow_clear`, `gentle`, `attempts_an_hour` and `budget`.
        pace: that of the account.
        journal: open; it stays so.
        on_step: is told of every step as it ends.
        on_entry: is told of every message as something becomes of it.
        on_wait: is told of every pause before it begins, in seconds.
        on_cut: is told what became of it by then, where it is cancelled or cannot go on.
        allow_clear: see `secret`.
        gentle: see `secret`.
        attempts_an_hour: see `secret`.
        budget: see `secret`.

    Raises:
        UsageError, PasswordInClear, BudgetSpent: as in `send`; a later connection may find the budget spent as well.
        InvalidMessage: a message must not go out.
        UnreadableInput: pace or journal cannot be kept; nothing more was sent.
    """
    profile = build_profile(**asdict(profile))
    check_sign_in(profile, secret, allow_clear=allow_clear, attempts_an_hour=attempts_an_hour, budget=budget)
    signing_in = partial(sign_in, allow_clear=allow_clear, attempts_an_hour=attempts_an_hour, budget=budget)
    run = _Run(profile, secret, tls_context(profile), pace, journal, on_step, on_wait, signing_in, gentle)
    held: dict[int, Mail] = {}
    try:
        while entry := min(journal.left, key=lambda entry: (entry.until or 0.0, entry.number), default=None):
            mail = held.pop(entry.number, None) or make(entry.number)
            on = await run.send(replace(mail, recipients=entry.recipients or mail.recipients), entry)
            now = journal.entries[entry.number - 1]
            if now in journal.left:
                held[entry.number] = mail
            if on_entry and now != entry:
                on_entry(now)
            if not on:
                break
        await run.hang_up()
    except BaseException:
        if on_cut:
            on_cut(run.result())
        raise
    finally:
        await run.close()
    return run.result()


@dataclass(slots=True)
class _Run:
    """One run of a series: one connection after the other."""

    profile: Profile
    secret: Secret | None
    context: SSLContext
    pace: Pace
    journal: Journal
    on_step: Callable[[Step], None] | None
    on_wait: Callable[[float], None] | None
    signing_in: Callable[..., Awaitable[bool]]
    gentle: bool
    sessions: list[Session] = field(default_factory=list)
    said: dict[int, list[Finding]] = field(default_factory=dict)  # of each message
    heard: dict[int, str] = field(default_factory=dict)  # of each message in doubt, in place of an answer
    findings: list[Finding] = field(default_factory=list)
    line: _Line | None = None

    async def send(self, mail: Mail, entry: Entry) -> bool:
        """One message, when its time has come. Is there any use in going on?"""
        while wait := _until(entry) or self._pause(mail):
            if wait > LONGEST_WAIT:
                self.findings.append(_found_too_many(self.journal, wait))
                return False
            if wait > _IDLE:
                await self.hang_up()
            if self.on_wait:
                self.on_wait(wait)
            await asyncio.sleep(wait)
        if self.line and self.line.spent:
            await self.hang_up()
        self.line = line = self.line or await self._connect()
        if line is None:
            return False
        if not await self._deliver(line, mail, entry):
            await self.close()
        return line.settled > 0 and not line.refused

    def _pause(self, mail: Mail) -> float:
        """Seconds that the pace asks for; 0, and it may go. What is known not to go at all waits for nothing."""
        lost = self.line and not self.line.spent and unfit(mail, self.line.offer, self.profile)
        return 0.0 if lost else self.pace.take(len(mail.recipients))

    async def _connect(self) -> _Line | None:
        session = Session(on_step=self.on_step, secrets=[self.secret] if self.secret else ())
        self.sessions.append(session)
        try:
            wire, offer, _ = await enter(session, self.profile, self.secret, self.context, self.signing_in, gentle=self.gentle)
            if offer:
                ehlo = next(step.reply for step in reversed(session.steps) if step.name in ("ehlo", "helo") and step.reply)
                return _Line(session, wire, offer, most=parse_limits(ehlo).mails)
            await hang_up(session, wire)
            await wire.close()
        except Broken as broken:
            session.findings.append(found_broken(broken, session.steps[-1], self.profile))
        return None

    async def _deliver(self, line: _Line, mail: Mail, entry: Entry) -> bool:
        """One message, and what became of it in the journal. False where nothing more can be said on this connection."""
        number, session, journal = entry.number, line.session, self.journal
        if lack := unfit(mail, line.offer, self.profile):
            session.findings.append(lack)
            journal.conclude(number, State.REFUSED, now=_now(), code=0, rejected=mail.recipients)
            line.settled += 1
            return True

        def hand_over() -> None:
            journal.hand_over(number, now=_now(), message_id=mail.message_id, trace=mail.trace, recipients=mail.recipients)

        line.mails += 1
        try:
            talk = transaction(mail, line.offer, last=len(journal.left) == 1)
            delivered = await session.run(_telling(talk, hand_over), line.wire)
            answered = outcome(replace(delivered, unclear=None), mail, self.profile)
            self._note(number, [each for each in answered if each.severity is not Severity.OK])
            if delivered.unclear:
                self.heard[number] = delivered.unclear.text
                return False
            answer = _of_session(delivered, self.profile, signed_in=session.attempt is not None)
            if answer is None or entry != journal.entries[number - 1]:  # what was handed over must not stay in doubt
                _conclude(journal, entry, mail, delivered, self.pace, of_session=answer is not None)
            elif answer.code == 421:
                self.pace.back_off(wait_named_by(answer) or LATER)
            line.settled += answer is None
            line.refused = answer is not None and answer.code != 421
            if not (delivered.accepted or line.spent):
                await session.run(_reset(), line.wire)  # the envelope may still be open
        except Broken as broken:
            last = session.steps[-1]
            if last.name == "message" and last.sent:
                self.heard[number] = last.detail or ""
                return False  # what else to say of it, such as to try once more, would be wrong
            session.findings.append(found_broken(broken, last, self.profile))
            if last.name == "message":  # it was about to go, and nothing of it did
                journal.conclude(number, State.LATER, now=_now(), code=0, recipients=mail.recipients)
            return False
        finally:
            self.pace.settle()
        return True

    def _note(self, number: int, findings: list[Finding]) -> None:
        """What was said of a message. A “later” is worth a note only once it is later."""
        over = [replace(each, severity=Severity.NOTE) if each.severity is Severity.WARNING else each for each in self.said.get(number, ())]
        self.said[number] = over + findings

    async def hang_up(self) -> None:
        """QUIT, where there is somebody to say it to."""
        if self.line:
            await hang_up(self.line.session, self.line.wire)
        await self.close()

    async def close(self) -> None:
        """Let go of the connection, whatever its state."""
        if self.line:
            await self.line.wire.close()
        self.line = None

    def result(self) -> SeriesResult:
        """What became of it so far."""
        each = [*chain.from_iterable(self.said.values())]
        for session in self.sessions:
            each += (*judged(session.findings, self.profile), *found_odd(session.steps, self.profile))
        findings: dict[tuple[str, str], Finding] = {}
        for finding in sorted(each, key=lambda finding: list(Severity).index(finding.severity), reverse=True):
            findings.setdefault((finding.title, finding.next_step), finding)
        return SeriesResult(
            name=self.journal.name,
            entries=tuple(self.journal.entries),
            attempts=tuple(session.attempt for session in self.sessions if session.attempt),
            findings=(
                *findings.values(),
                *self.findings,
                *(found_in_doubt(entry, self.heard.get(entry.number, "")) for entry in self.journal.in_doubt),
            ),
            connections=len(self.sessions),
            round_trips=sum(session.round_trips for session in self.sessions),
        )


@dataclass(slots=True)
class _Line:
    """One connection on which mail may be sent.

    Attributes:
        most: mails that it takes; None where it does not say.
        mails: how many it was given.
        settled: how many of them have an answer that says what became of them.
        refused: the server will have none, from whoever has come so far.
    """

    session: Session
    wire: Streams
    offer: Offer
    most: int | None
    mails: int = 0
    settled: int = 0
    refused: bool = False

    @property
    def spent(self) -> bool:
        """The server has hung up or said that it will, we have said goodbye, or it takes no more mail on this connection."""
        farewell = any(step.name == "quit" or (step.reply and step.reply.code == 421) for step in self.session.steps)
        return self.wire.closed or farewell or (self.most is not None and self.mails >= self.most)


def _telling(talk: Talk[Delivered], hand_over: Callable[[], None]) -> Talk[Delivered]:
    """`talk`, with `hand_over` called before the content goes out."""
    action = next(talk)
    try:
        while True:
            first = action.says[0] if isinstance(action, Together) else action
            if isinstance(first, Say) and first.name == "message":
                hand_over()
            action = talk.send((yield action))
    except StopIteration as end:
        delivered: Delivered = end.value
        return delivered


def _of_session(delivered: Delivered, profile: Profile, *, signed_in: bool) -> Reply | None:
    """The answer that is not about the message, where there is one. What is neither yes nor no may be one to something else."""
    causes = _OF_SESSION if signed_in else (*_OF_SESSION, Cause.RELAY_DENIED)
    for stage, _, reply in () if delivered.accepted else delivered.refusals:
        out_of_step = not 400 <= reply.code < 600
        if out_of_step or reply.code in _CODES_OF_SESSION or (reply.code >= 500 and refusal(reply, stage, profile).cause in causes):
            return reply
    return None


def _reset() -> Talk[Reply]:
    return (yield Say("rset", b"RSET", "RSET"))


def _conclude(journal: Journal, entry: Entry, mail: Mail, delivered: Delivered, pace: Pace, *, of_session: bool) -> None:
    """Recipient by recipient: has it, gets it later, or does not get it. What was said of the session is no answer to any of them."""
    whole = next((reply for stage, _, reply in delivered.refusals if stage != "rcpt"), None)
    answers = {recipient: reply for _, recipient, reply in delivered.refusals if recipient}
    open_ = {to: answers.get(to, whole) for to in mail.recipients if to not in delivered.accepted}
    # Where a connection ended before somebody's turn there is no answer.
    later = [to for to, reply in open_.items() if of_session or reply is None or 400 <= reply.code < 500]
    taken = delivered.accepted or entry.code == 250  # then others have it since the first time
    code = 250 if taken else next((reply.code for _, _, reply in reversed(delivered.refusals)), 0)
    wait = max((wait_named_by(reply) or 0.0 for _, _, reply in delivered.refusals), default=0.0) or LATER
    state = State.ACCEPTED if taken else State.REFUSED
    until = None
    if later and (of_session or entry.tries + 1 < MOST_TRIES):
        state, until = State.LATER, _now() + timedelta(seconds=wait)
        if whole and 400 <= whole.code < 500:  # it was about the account, not about one recipient
            pace.back_off(wait)
    rejected = [to for to in open_ if until is None or to not in later]
    journal.conclude(
        entry.number,
        state,
        now=_now(),
        code=code,
        queue_id=delivered.queue_id,
        rejected=rejected,
        recipients=later if until else (),
        until=until,
    )


def _found_too_many(journal: Journal, wait: float) -> Finding:
    at = (_now() + timedelta(seconds=wait)).astimezone()
    return Finding(
        cause=Cause.TOO_MANY,
        severity=Severity.WARNING,
        title=f"Not sent yet: {len(journal.left)} of {len(journal.entries)}. The next may go at {at:%Y-%m-%d %H:%M}, in {duration(wait)}",
        next_step=f"Go on with the series {journal.name} then; nothing is sent twice.",
    )


def _until(entry: Entry) -> float:
    """Seconds to the time that the server named."""
    return max(0.0, (entry.until or 0.0) - _now().timestamp())


def _now() -> datetime:
    return datetime.now(UTC)
