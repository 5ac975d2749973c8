"""The log of a life, in the words of real servers: Postfix or Exim with Dovecot, in three envelopes, and Entra's sign-in log.

The shapes are those of `data/mail.log*`, of `tests/logs/samples` and of the examples in `kit/knowledge/log_lines`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from tests.simulator.life import Life, Try

OURS: Final = "198.51.100.2"
_SECRETLY: Final = "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)"
_PROGRAMS: Final = {"smtp": "postfix/smtpd", "submission": "postfix/submission/smtpd", "submissions": "postfix/smtps/smtpd"}
_PORTS: Final = {"smtp": 25, "submission": 587, "submissions": 465}
_JUDGED: Final = {"wrong-password": "Password mismatch", "unknown-user": "unknown user"}
_PATIENCE: Final = 10.0  # seconds after which a stranger's next try comes over a new connection
_ENTRA: Final = {
    "none": 0,
    "wrong-password": 50126,
    "unknown-user": 50034,
    "backend-unavailable": 90033,
    "second-factor": 50074,
    "account-blocked": 50057,
}
_MAILBOX: Final = frozenset(("imap", "pop3"))  # Dovecot's; mail is taken by the other server
_APPS: Final = {
    "imap": "IMAP4",
    "pop3": "POP3",
    "submission": "Authenticated SMTP",
    "submissions": "Authenticated SMTP",
    "smtp": "Authenticated SMTP",
}

Line = tuple[float, str, int, str]
"""Seconds since the epoch, program, process id or 0, message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a server is set up to log.

    Attributes:
        envelope: `iso` (rsyslog's times with microseconds and zone), `bsd` (RFC 3164, whose times are UTC here), `journald` (JSON).
        mta: `postfix`, `exim`, or `entra`, which has neither envelope nor Dovecot.
        verbose: Dovecot's auth_verbose, by which each failed try has a line with its reason.
        names: whether Postfix names the user of a failure, as it has since 3.9 and in later patch releases.
    """

    envelope: str = "iso"
    mta: str = "postfix"
    dovecot: str = "2.3"
    verbose: bool = True
    names: bool = True


def write(life: Life, style: Style) -> str:
    """The log as text."""
    if style.mta == "entra":
        return "".join(_entra(life))
    lines = sorted(_Writer(life, style).lines())
    dressed = {"iso": _iso, "bsd": _bsd, "journald": _journald}[style.envelope]
    return "".join(dressed(life, lines))


class _Writer:
    def __init__(self, life: Life, style: Style) -> None:
        self._life, self._style = life, style
        self._ways = {trouble.story: trouble.way for trouble in life.troubles}
        self._number = 0

    def lines(self) -> Iterator[Line]:
        yield self._life.begin, "dovecot", 0, f"master: Dovecot v{self._style.dovecot} starting up for imap"
        submit = self._exim if self._style.mta == "exim" else self._postfix
        for tries in _connections(self._life):
            self._number += 1
            yield from (self._dovecot if tries[0].service in _MAILBOX else submit)(tries)
        for each in self._life.silent:
            self._number += 1
            yield from self._bad_certificate(each)

    @property
    def _pid(self) -> int:
        return 2000 + self._number % 60_000

    @property
    def _session(self) -> str:
        return f"{self._number:08X}wVhAAB/"

    # ------------------------------------------------------------------------------------------ Dovecot

    def _dovecot(self, tries: list[Try]) -> Iterator[Line]:
        first, last, new = tries[0], tries[-1], self._style.dovecot >= "2.4"
        whose = f"user=<{last.user}>, method={last.mechanism}, rip={last.address}, lip={OURS}"
        session = f"session=<{self._session}>"
        if first.cause == "none":
            text = "Logged in" if new else "Login"
            yield first.time, "dovecot", 0, f"{first.service}-login: {text}: {whose}, mpid={self._pid}, TLS, {session}"
            text = f"{first.service}({first.user})<{self._pid}><{self._session}>: Disconnected: Logged out in=120 out=900 deleted=0"
            yield first.time + 0.8, "dovecot", 0, text
            return
        for each in tries:
            yield from self._reason(each, self._session)
        secs, number = int(last.time - first.time) + 2, len(tries)
        failed, code = "auth failed", "auth_failed"
        if last.cause == "account-blocked":
            failed, code = "user disabled", "user_disabled"
        if last.cause == "backend-unavailable":
            failed, code = "auth service reported temporary failure", "temp_fail"
            if self._ways[last.story] == "socket":
                whose, failed = whose.replace(last.user, "", 1), "auth process communication failure"
        if new:
            text = f"Login aborted: Connection closed ({failed}, {number} attempts in {secs} secs) ({code}): {whose}"
        elif failed == "auth failed":
            text = f"Disconnected: Connection closed (auth failed, {number} attempts in {secs} secs): {whose}"
        else:
            text = f"Disconnected: Connection closed ({failed}): {whose}"
        yield last.time + 2, "dovecot", 0, f"{first.service}-login: {text}, TLS, {session}"

    def _reason(self, each: Try, session: str) -> Iterator[Line]:
        """What the authentication process says, with the session where Dovecot has one."""
        reason = _JUDGED.get(each.cause) if self._style.verbose else None
        if each.cause == "backend-unavailable" and self._ways[each.story] == "database":
            reason = "Password query failed: Not connected to database"
        if not reason:
            return
        if self._style.dovecot >= "2.4":
            error = "Error: " if reason.startswith("Password query") else ""
            of = f"auth({each.user},{each.address},sasl:{each.mechanism.lower()})" + (f"<{session}>" if session else "")
            yield each.time, "dovecot", 0, f"{of}: {error}sql: {reason}"
        else:
            yield each.time, "dovecot", 0, f"auth: passwd-file({each.user},{each.address}{f',<{session}>' if session else ''}): {reason}"

    # ------------------------------------------------------------------------------------------ Postfix

    def _postfix(self, tries: list[Try]) -> Iterator[Line]:
        first, last, pid = tries[0], tries[-1], self._pid
        program, client = _PROGRAMS[first.service], f"unknown[{first.address}]"
        yield first.time - 0.3, program, pid, f"connect from {client}"
        yield first.time - 0.2, program, pid, f"Anonymous TLS connection established from {client}: {_SECRETLY}"
        if first.cause == "none":
            queue = f"4{self._number:010X}"
            of = f"client={client}, sasl_method={first.mechanism}, sasl_username={first.user}"
            yield first.time, program, pid, f"{queue}: {of}"
            yield first.time + 0.1, "postfix/cleanup", 901, f"{queue}: message-id=<{self._number}@{self._life.domain}>"
            yield first.time + 0.2, "postfix/qmgr", 902, f"{queue}: removed"
            done = "ehlo=2 starttls=1 auth=1 mail=1 rcpt=1 data=1 quit=1 commands=8"
            yield first.time + 0.4, program, pid, f"disconnect from {client} {done}"
            return
        for each in tries:
            yield from self._reason(each, "")
            yield from self._refusal(each, program, client)
        text = f"disconnect from {client} ehlo=2 starttls=1 auth=0/{len(tries)} quit=1 commands=4/{4 + len(tries)}"
        yield last.time + 1.5, program, pid, text

    def _refusal(self, each: Try, program: str, client: str) -> Iterator[Line]:
        reason, user = "(reason unavailable)", each.user
        if each.cause == "backend-unavailable":
            reason = "Temporary authentication failure"
            if self._ways[each.story] == "socket":
                text = "warning: SASL: Connect to Dovecot auth socket 'private/auth' failed: Connection refused"
                yield each.time + 0.3, program, self._pid, text
                reason, user = "(reason unavailable)", "(unavailable)"
        elif not self._style.names:
            reason = "UGFzc3dvcmQ6" if each.mechanism == "LOGIN" else ""
        named = f", sasl_username={user}" if self._style.names else ""
        text = f"warning: {client}: SASL {each.mechanism} authentication failed: {reason}{named}"
        yield each.time + 0.4, program, self._pid, text

    def _bad_certificate(self, each: Try) -> Iterator[Line]:
        """The client has looked at the certificate, and goes away."""
        alert = "error:0A000415:SSL routines::sslv3 alert certificate expired"
        if each.service in _MAILBOX:
            closed = f"Connection closed: SSL_accept() failed: {alert}: SSL alert number 45"
            of = f"user=<>, rip={each.address}, lip={OURS}, TLS handshaking: {closed.partition(': ')[2]}, session=<{self._session}>"
            yield each.time, "dovecot", 0, f"{each.service}-login: Disconnected: {closed} (no auth attempts in 0 secs): {of}"
            return
        program, client = _PROGRAMS[each.service], f"unknown[{each.address}]"
        yield each.time, program, self._pid, f"SSL_accept error from {client}: -1"
        yield each.time + 0.1, program, self._pid, f"disconnect from {client} ehlo=1 starttls=1 commands=2"

    # ------------------------------------------------------------------------------------------ Exim

    def _exim(self, tries: list[Try]) -> Iterator[Line]:
        for each in tries:
            self._number += 1  # a connection each: two failures of one within a second would pass for one that syslog has twice
            driver = f"{each.mechanism.lower()}_server"
            of = f"(pc) [{each.address}]:{20_000 + self._number % 40_000} I=[{OURS}]:{_PORTS[each.service]}"
            if each.cause == "none":
                name = f"1x{self._number:04x}-{self._number:011d}-0001"
                tail = f"P=esmtpsa X=TLS1.3:TLS_AES_256_GCM_SHA384:256 CV=no A={driver}:{each.user} S=1200"
                yield each.time, "exim", self._pid, f"{name} <= {each.user} H={of} {tail}"
                continue
            answer = f"535 Incorrect authentication data (set_id={each.user})"
            if each.cause == "backend-unavailable":
                answer = f"435 Unable to authenticate at present (set_id={each.user}): authentication socket connection error"
            yield each.time, "exim", self._pid, f"{driver} authenticator failed for {of}: {answer}"


def _connections(life: Life) -> Iterator[list[Try]]:
    """Tries by connection: a stranger's follow one another over one, up to three, as servers let them."""
    open_: dict[tuple[str, str], list[Try]] = {}
    for each in life.tries:
        key = each.address, each.service
        if each.owner or each.cause not in _JUDGED:
            if earlier := open_.pop(key, None):
                yield earlier
            yield [each]
            continue
        earlier = open_.setdefault(key, [])
        if earlier and (len(earlier) == 3 or each.time - earlier[-1].time > _PATIENCE or _apart(earlier[-1], each)):
            yield earlier
            earlier = open_[key] = []
        earlier.append(each)
    yield from (tries for tries in open_.values() if tries)


def _apart(one: Try, other: Try) -> bool:
    """Dovecot's last line about a connection has one user."""
    return one.service in _MAILBOX and one.user != other.user


# ------------------------------------------------------------------------------------------------ envelopes


def _iso(life: Life, lines: list[Line]) -> Iterator[str]:
    for when, program, pid, text in lines:
        stamp = datetime.fromtimestamp(when, life.zone).isoformat(timespec="microseconds")
        yield f"{stamp} {life.host} {program}[{pid}]: {text}\n" if pid else f"{stamp} {life.host} {program}: {text}\n"


def _bsd(life: Life, lines: list[Line]) -> Iterator[str]:
    zone = ZoneInfo("UTC")
    for when, program, pid, text in lines:
        stamp = f"{datetime.fromtimestamp(when, zone):%b %e %H:%M:%S}"
        yield f"{stamp} {life.host} {program}[{pid}]: {text}\n" if pid else f"{stamp} {life.host} {program}: {text}\n"


def _journald(life: Life, lines: list[Line]) -> Iterator[str]:
    for when, program, pid, text in lines:
        record = {
            "__REALTIME_TIMESTAMP": str(int(when * 1e6)),
            "_HOSTNAME": life.host,
            "SYSLOG_IDENTIFIER": program,
            "_PID": str(pid or 4242),
            "MESSAGE": text,
        }
        yield json.dumps(record) + "\n"


def _entra(life: Life) -> Iterator[str]:
    for number, each in enumerate(life.tries):
        record = {
            "id": f"5d1b7c2e-0000-4000-8000-{number:012d}",
            "createdDateTime": f"{datetime.fromtimestamp(each.time, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "userPrincipalName": each.user,
            "clientAppUsed": _APPS[each.service],
            "ipAddress": each.address,
            "riskLevelDuringSignIn": "none",
            "status": {"errorCode": _ENTRA[each.cause]},
        }
        yield json.dumps(record) + "\n"
