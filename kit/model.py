"""The nouns that the whole kit speaks in, and the closed enums behind them.

    profile ──► checks · sending ──► Step… ──┐
                                             ├─► Attempt ─► Finding
    mail logs ► logs ────────────────────────┘

Everything here is a frozen value without behaviour beyond reading itself. What is not known is None, never an
empty string. Times are aware `datetime`s in UTC; durations are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Security(StrEnum):
    """How the connection is protected (RFC 8314 names the first `implicit TLS`)."""

    TLS = "tls"
    STARTTLS = "starttls"
    NONE = "none"


class Severity(StrEnum):
    """How much a finding matters. Warnings and errors turn the exit code to 1."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


class Outcome(StrEnum):
    """How one try to sign in ended. `refused`: before any password was tried."""

    SUCCESS = "success"
    FAILURE = "failure"
    REFUSED = "refused"
    ABORTED = "aborted"
    MALFORMED = "malformed"
    SERVER_ERROR = "server-error"


class Service(StrEnum):
    """The service a client spoke to, whatever the server calls it."""

    SMTP = "smtp"
    SUBMISSION = "submission"
    SUBMISSIONS = "submissions"
    IMAP = "imap"
    IMAPS = "imaps"
    POP3 = "pop3"
    POP3S = "pop3s"
    SIEVE = "sieve"
    HTTP = "http"
    OTHER = "other"


class Cause(StrEnum):
    """Why: one vocabulary for replies, log lines and findings."""

    WRONG_PASSWORD = "wrong-password"
    UNKNOWN_USER = "unknown-user"
    CREDENTIALS = "credentials"
    APP_PASSWORD_NEEDED = "app-password-needed"
    METHOD_DISABLED = "method-disabled"
    ACCOUNT_BLOCKED = "account-blocked"
    PASSWORD_EXPIRED = "password-expired"
    SECOND_FACTOR = "second-factor"
    TOKEN_REJECTED = "token-rejected"
    TLS_REQUIRED = "tls-required"
    TLS_TOO_OLD = "tls-too-old"
    TLS_MISMATCH = "tls-mismatch"
    CERTIFICATE = "certificate"
    AUTH_NOT_OFFERED = "auth-not-offered"
    MECHANISM_UNSUPPORTED = "mechanism-unsupported"
    MALFORMED = "malformed"
    ABORTED = "aborted"
    NOT_AUTHENTICATED = "not-authenticated"
    SENDER_NOT_ALLOWED = "sender-not-allowed"
    RELAY_DENIED = "relay-denied"
    RECIPIENT = "recipient"
    TOO_MANY = "too-many"
    QUOTA = "quota"
    BACKEND_UNAVAILABLE = "backend-unavailable"
    UNREACHABLE = "unreachable"
    NONE = "none"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One account on one server, as an operator would write it down. It never holds a secret.

    Attributes:
        name: what the operator calls it; None for one made on the fly.
        port: TCP port, 1 to 65535.
        timeout: seconds that one step of the dialogue may take.
        sender: the From address, where it is not the user.
        ca_file: a PEM file of certificate authorities to trust instead of the system's.
        cert_file: a PEM file with the client's own certificate, for a server that asks for one.
        key_file: a PEM file with its key, where that is not in `cert_file`.
    """

    host: str
    port: int
    security: Security
    user: str | None = None
    mechanism: str | None = None
    sender: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    timeout: float = 20.0
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One SMTP reply (RFC 5321 section 4.2), however odd.

    Attributes:
        code: the three digits; 0 where the server sent none.
        enhanced: the enhanced status code (RFC 3463), where there is one.
        lines: the texts behind the code, one a line, control characters escaped.
        raw: the bytes as they came.
    """

    code: int
    lines: tuple[str, ...]
    enhanced: str | None = None
    raw: bytes = field(default=b"", repr=False)

    @property
    def text(self) -> str:
        """Code and texts as one line."""
        return " ".join((f"{self.code:03d}", *self.lines)) if self.code else " ".join(self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a live dialogue.

    Attributes:
        name: what was done: `resolve`, `connect`, `banner`, `ehlo`, `starttls`, `tls`, `auth`, `mail`, …
        seconds: how long it took.
        sent: the command, secrets masked; None where nothing was sent.
        detail: what is worth knowing beside the reply, in plain words.
    """

    name: str
    seconds: float
    ok: bool
    sent: str | None = None
    reply: Reply | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try to sign in, from a live dialogue or from a log.

    Attributes:
        time: of the line that holds the server's verdict, else of its only line; UTC, microseconds.
        host: the machine that logged it.
        server: the software.
        service_raw: the service's name as logged.
        client_name: reverse DNS, where the server logs it.
        tls: the protocol version (`TLSv1.3`), `TLS` where only the fact is logged, `none` where a log says there was none.
        session: the server's own id of the connection.
        count: above 1 only where a server reports a number without its single tries; totals sum it.
        text: the line as logged, masked.
        line: from 1.
        offset: of the line, in the decompressed bytes.
    """

    time: datetime
    outcome: Outcome
    cause: Cause
    host: str | None = None
    server: str | None = None
    service: Service | None = None
    service_raw: str | None = None
    user: str | None = None
    client_ip: str | None = None
    client_port: int | None = None
    client_name: str | None = None
    helo: str | None = None
    mechanism: str | None = None
    tls: str | None = None
    session: str | None = None
    count: int = 1
    text: str | None = None
    file: str | None = None
    line: int | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing worth saying, with what to do about it and what it rests on."""

    cause: Cause
    severity: Severity
    title: str
    next_step: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What `kit check` found out. `attempt` is None where no sign-in was tried."""

    target: str
    host: str
    port: int
    security: Security
    steps: tuple[Step, ...]
    attempt: Attempt | None
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Nothing of severity warning or error."""
        return not any(f.severity in (Severity.WARNING, Severity.ERROR) for f in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What one connection without a sign-in found out.

    Attributes:
        family: `IPv4` or `IPv6`.
        seconds: from connect to close.
        connected: somebody listens there.
        tls: the protocol version; None where none came about.
        clear: mechanisms that are offered before TLS.
        mechanisms: those offered where a sign-in would begin.
        extensions: what EHLO offers there, in capitals.
        problem: why it went no further; None where it came to where a sign-in would begin.
    """

    port: int
    security: Security
    family: str
    address: str
    seconds: float
    connected: bool
    tls: str | None
    clear: tuple[str, ...]
    mechanisms: tuple[str, ...]
    extensions: tuple[str, ...]
    steps: tuple[Step, ...]
    problem: Finding | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SendResult(CheckResult):
    """What became of one test message.

    Attributes:
        message_id: the Message-ID header's value.
        queue_id: the server's own id of the message, where its 250 names one.
        accepted: recipients that the server took.
        rejected: recipients that it did not.
        round_trips: how often the client waited for the server, from banner to the end.
    """

    message_id: str | None
    queue_id: str | None
    accepted: tuple[str, ...]
    rejected: tuple[str, ...]
    round_trips: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a reply means, in plain words.

    Attributes:
        verify: a command or test that tells the possible causes apart.
        sources: where it was learned, with the date it was checked.
        alternatives: other explanations that fit too, the likelier first.
    """

    cause: Cause
    provider: str | None
    title: str
    next_step: str
    verify: str | None = None
    sources: tuple[str, ...] = ()
    alternatives: tuple[Explanation, ...] = ()


def to_plain(value: Any) -> Any:
    """A value of this module as what JSON knows: dicts, lists, strings, numbers, None.

    Raw bytes are left out: they are for the kit's own eyes.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value) if f.name != "raw"}
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    return value
