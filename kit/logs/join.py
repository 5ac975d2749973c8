"""Events → attempts: one try to sign in counts once, whatever number of lines tells of it (law 5).

Three joins, each by what the servers themselves write:

- **Postfix, one connection**: by host, program and process id up to the `disconnect` line, whose counts of AUTH commands
  show the tries that have no line of their own: a sign-in without a message, a client that vanished, an AUTH that was
  not offered.
- **Dovecot, one connection**: by session id. The auth process gives user and reason of each try, the login process
  service, mechanism and TLS, and at the end how many tries there were.
- **Postfix with Dovecot's SASL**: by client address, user and time, for Dovecot's auth process knows no Postfix session.

Bounded memory: attempts leave WINDOW seconds after their line, or earlier if there are too many; what arrives later
cannot reach them. Times are compared in whole seconds, so that a log with microseconds joins as one without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from kit.logs.classes import LineClass, Row
from kit.logs.scan import Batch
from kit.model import Cause, Outcome

WINDOW: Final = 200
"""Seconds. Dovecot's login line comes when the connection ends, up to three minutes after the try."""
PATIENCE: Final = 30
"""Seconds that Postfix may take to log what Dovecot's auth process has judged; Dovecot delays failures by up to 17."""
DISORDER: Final = 2
"""Seconds by which two daemons' lines may stand in the wrong order."""
IDLE: Final = 3600
"""Seconds after which a Postfix connection without a line is forgotten."""
MOST_OPEN: Final = 50_000
"""Attempts that may wait for lines to come."""

_UNNAMED: Final = frozenset(("", "(unavailable)", "?"))
_PLAINTEXT: Final = frozenset(("PLAIN", "LOGIN"))
# Dovecot's auth lines name the password database for plaintext mechanisms, and the mechanism itself for the others.
_MECHANISMS: Final = frozenset(
    (
        "plain",
        "login",
        "cram-md5",
        "digest-md5",
        "scram-sha-1",
        "scram-sha-256",
        "xoauth2",
        "oauthbearer",
        "external",
        "gssapi",
        "ntlm",
        "apop",
    )
)
_UNKNOWN_USER: Final = Cause.UNKNOWN_USER.value


class Draft:
    """An attempt that may still learn from lines to come. Fields as in kit.model.Attempt; None is not known."""

    __slots__ = (
        "alive", "cause", "client_ip", "client_name", "client_port", "count", "driver", "file", "host", "line", "mechanism",
        "micros", "number", "offset", "outcome", "seconds", "service_raw", "session", "software", "tls", "user",
    )  # fmt: skip

    def __init__(
        self, batch: Batch, i: int, line_class: LineClass, host: str, outcome: str, cause: str, user: str, client_ip: str,
        mechanism: str | None, service_raw: str | None,
    ) -> None:  # fmt: skip
        self.micros = batch.micros[i]
        self.seconds = self.micros // 1_000_000
        self.number = batch.numbers[i]
        self.offset = batch.offsets[i]
        self.line = batch.lines[i]
        self.file = batch.file
        self.host = host
        self.software = line_class.software
        self.outcome = outcome
        self.cause = cause
        self.user = None if user in _UNNAMED else user
        self.client_ip = client_ip
        self.mechanism = mechanism
        self.service_raw = service_raw
        self.client_name: str | None = None
        self.client_port: str | None = None
        self.tls: str | None = None
        self.session: str | None = None
        self.driver: str | None = None
        self.count = 1
        self.alive = True


class _Connection:
    """A Postfix connection: the tries that already are attempts."""

    __slots__ = ("failures", "last", "lost", "success")

    def __init__(self) -> None:
        self.failures = 0
        self.success = False
        self.lost = False
        self.last = 0


class Joiner:
    """Takes batches of events in order, gives attempts in order of their lines."""

    def __init__(self) -> None:
        self._open: list[Draft] = []
        self._newest = -(1 << 62)
        self._connections: dict[tuple[str, str, str], _Connection] = {}
        self._sessions: dict[str, list[Draft]] = {}  # Dovecot's session id → tries seen so far
        self._judged: dict[str, list[Draft]] = {}  # address → Dovecot's verdicts that wait for Postfix's line
        self._unexplained: dict[str, list[Draft]] = {}  # address → Postfix's failures that wait for Dovecot's reason
        self._verdicts: dict[tuple[str, str], tuple[str, str]] = {}
        self._handlers = {
            "verdict": self._verdict,
            "success": self._success,
            "lost": self._lost,
            "summary": self._summary,
            "backend": self._backend,
            "login": self._login,
            "ended": self._ended,
            "refused": self._refused,
            "ended-refused": self._ended_refused,
        }

    def feed(self, batch: Batch) -> Iterator[Draft]:
        """Joins a batch; yields the attempts that nothing can reach any more."""
        if not batch.rows:
            return
        now = max(batch.micros) // 1_000_000
        if batch.micros[0] // 1_000_000 < self._newest - WINDOW:  # another file, of an earlier time
            yield from self.finish()
        self._newest = now
        handlers = self._handlers
        for i, (line_class, row) in enumerate(batch.rows):
            handlers[line_class.role](batch, i, line_class, row)
        yield from self._leave(now - WINDOW)
        self._forget(now)

    def finish(self) -> Iterator[Draft]:
        """What is still open, at the end of the log."""
        yield from self._leave(None)
        for memory in (self._connections, self._sessions, self._judged, self._unexplained):
            memory.clear()  # type: ignore[attr-defined]

    def _leave(self, before: int | None) -> Iterator[Draft]:
        drafts = self._open
        if before is None:
            cut = len(drafts)
        else:
            cut = max(next((k for k, d in enumerate(drafts) if d.seconds >= before), len(drafts)), len(drafts) - MOST_OPEN)
        leaving = [d for d in drafts[:cut] if d.alive]
        self._open = drafts[cut:]
        leaving.sort(key=_place)
        yield from leaving

    def _forget(self, now: int) -> None:
        self._connections = {k: c for k, c in self._connections.items() if c.last >= now - IDLE}
        self._sessions = {k: d for k, d in self._sessions.items() if d[-1].seconds >= now - WINDOW}
        self._judged = {k: d for k, d in self._judged.items() if d[-1].seconds >= now - PATIENCE}
        self._unexplained = {k: d for k, d in self._unexplained.items() if d[-1].seconds >= now - PATIENCE}

    def _new(self, draft: Draft) -> Draft:
        draft.client_ip = draft.client_ip.removeprefix("::ffff:")
        self._open.append(draft)
        return draft

    def _how(self, line_class: LineClass, reason: str) -> tuple[str, str]:
        """Outcome and cause by the server's words; remembered, for servers repeat themselves."""
        key = (line_class.id, reason)
        found = self._verdicts.get(key)
        if found is None:
            outcome, cause = line_class.verdict(reason)
            found = (outcome.value, cause.value)
            if len(self._verdicts) < 10_000:
                self._verdicts[key] = found
        return found

    # -------------------------------------------------------------------------------------- Postfix

    def _connection(self, host: str, program: str, pid: str, now: int) -> _Connection:
        connection = self._connections.get((host, program, pid))
        if connection is None:
            connection = self._connections[host, program, pid] = _Connection()
        connection.last = now
        return connection

    def _verdict(self, batch: Batch, i: int, line_class: LineClass, row: Row) -> None:
        _, host, program, pid, name, ip, port, mechanism, reason, user, _ = row
        outcome, cause = self._how(line_class, reason)
        draft = self._postfix(Draft(batch, i, line_class, host, outcome, cause, user, ip, mechanism or None, program), name, port)
        self._connection(host, program, pid, draft.seconds).failures += 1
        judged = self._take(self._judged, draft.client_ip, draft.user, draft.seconds, PATIENCE)
        if judged:
            _explain(draft, judged)
        elif outcome == Outcome.FAILURE:
            self._unexplained.setdefault(draft.client_ip, []).append(draft)

    def _success(self, batch: Batch, i: int, line_class: LineClass, row: Row) -> None:
        _, host, program, pid, name, ip, port, mechanism, user, _ = row
        connection = self._connection(host, program, pid, batch.micros[i] // 1_000_000)
        if not connection.success:  # a second message needs no second sign-in
            connection.success = True
            draft = Draft(batch, i, line_class, host, line_class.outcome.value, line_class.cause.value, user, ip, mechanism, program)
            self._drop_chain(self._judged.get(self._postfix(draft, name, port).client_ip), draft)

    def _postfix(self, draft: Draft, name: str, port: str) -> Draft:
        draft.client_name = None if name == "unknown" else name
        draft.client_port = port or None
        return self._new(draft)

    def _lost(self, batch: Batch, i: int, _line_class: LineClass, row: Row) -> None:
        _, host, program, pid, _ = row
        self._connection(host, program, pid, batch.micros[i] // 1_000_000).lost = True

    def _summary(self, batch: Batch, i: int, line_class: LineClass, row: Row) -> None:
        _, host, program, pid, name, ip, port, good, total, _ = row
        connection = self._connections.pop((host, program, pid), None) or _Connection()
        succeeded = int(good)
        failed = int(total) - succeeded if total else 0

        def add(outcome: Outcome, cause: Cause, count: int = 1) -> Draft:
            draft = self._postfix(Draft(batch, i, line_class, host, outcome.value, cause.value, "", ip, None, program), name, port)
            draft.count = count
            return draft

        if succeeded and not connection.success:
            add(Outcome.SUCCESS, Cause.NONE)
        missing = failed - connection.failures
        if missing > 0 and connection.lost:
            missing -= 1
            self._vanished(add, program, ip, batch.micros[i] // 1_000_000)
        if missing > 0:
            # AUTH commands that were answered without a try: not offered here, or already signed in.
            offered = connection.failures or connection.success or succeeded
            add(Outcome.REFUSED, Cause.UNKNOWN if offered else Cause.AUTH_NOT_OFFERED, missing)

    def _vanished(self, add: Callable[[Outcome, Cause], Draft], program: str, ip: str, now: int) -> None:
        """The client went away before Postfix answered its AUTH. Dovecot may have judged it already."""
        judged = self._take(self._judged, ip, None, now, PATIENCE)
        if judged:
            judged.service_raw, judged.software = program, "postfix"
        else:
            add(Outcome.ABORTED, Cause.ABORTED)

    # -------------------------------------------------------------------------------------- Dovecot

    def _backend(self, batch: Batch, i: int, line_class: LineClass, row: Row) -> None:
        _, host, process, driver, user, ip, session, reason, _ = row
        outcome, cause = self._how(line_class, reason)
        mechanism = driver.upper() if driver in _MECHANISMS else None
        draft = Draft(batch, i, line_class, host, outcome, cause, user, ip, mechanism, None)
        draft.driver = f"{process} {driver}"
        if session:
            draft.session = session
            self._sessions.setdefault(session, []).append(self._new(draft))
        elif late := self._take(self._unexplained, ip, draft.user, draft.seconds, DISORDER):
            _explain(late, draft)
        else:
            self._judged.setdefault(self._new(draft).client_ip, []).append(draft)

    def _login(self, batch: Batch, i: int, line_class: LineClass, row: Row) -> None:
        _, host, service, user, mechanism, ip, tls, session, _ = row
        draft = self._new(
            Draft(batch, i, line_class, host, line_class.outcome.value, line_class.cause.value, user, ip, mechanism or None, service)
        )
        _set_session(draft, tls, session)
        earlier = self._sessions.pop(session, None)
        if earlier:
            self._drop_chain(earlier, draft)
            _enrich(earlier, service, mechanism, draft.tls)

    def _ended(self, batch: Batch, i: int, line_class: LineClass, row: Row) -> None:
        _, host, service, total, user, mechanism, ip, tls, session, _ = row
        tries = self._sessions.pop(session, [])
        count = int(total)
        _merge_chains(tries, count)
        tries = [d for d in tries if d.alive]
        _enrich(tries, service, mechanism, _tls(tls))
        if len(tries) < count:  # the auth process does not log, or did so too long ago
            draft = self._new(
                Draft(batch, i, line_class, host, line_class.outcome.value, line_class.cause.value, user, ip, mechanism or None, service)
            )
            draft.count = count - len(tries)
            _set_session(draft, tls, session)

    def _refused(self, batch: Batch, i: int, line_class: LineClass, row: Row) -> None:
        _, host, service, reason, user, mechanism, ip, tls, session, _ = row
        outcome, cause = self._how(line_class, reason)
        draft = self._new(Draft(batch, i, line_class, host, outcome, cause, user, ip, mechanism or None, service))
        _set_session(draft, tls, session)
        if session:
            self._sessions.setdefault(session, []).append(draft)

    def _ended_refused(self, batch: Batch, i: int, line_class: LineClass, row: Row) -> None:
        """The last line of a connection; its try may have had a line of its own."""
        outcome, _ = self._how(line_class, row[3])
        tries = self._sessions.get(row[8], [])
        if not any(d.outcome == outcome for d in tries):
            self._refused(batch, i, line_class, row)
        _enrich(self._sessions.pop(row[8], []), row[2], row[5], _tls(row[7]))

    # -------------------------------------------------------------------------------------- joins

    @staticmethod
    def _take(waiting: dict[str, list[Draft]], ip: str, user: str | None, now: int, patience: int) -> Draft | None:
        """The oldest waiting draft of that address and user, which waits no longer."""
        queue = waiting.get(ip)
        if queue is None:
            return None
        for k, draft in enumerate(queue):
            if abs(now - draft.seconds) <= patience and _same_user(draft.user, user):
                del queue[k]
                if not queue:
                    del waiting[ip]
                return draft
        return None

    @staticmethod
    def _drop_chain(earlier: list[Draft] | None, success: Draft) -> None:
        """Where several password databases are asked in turn, "unknown user" from the first is no failed try."""
        for draft in earlier or ():
            if draft.cause == _UNKNOWN_USER and _same_user(draft.user, success.user) and abs(success.seconds - draft.seconds) <= DISORDER:
                draft.alive = False


def _place(draft: Draft) -> tuple[str, int]:
    return draft.file, draft.offset


def _same_user(one: str | None, other: str | None) -> bool:
    """Whether the two may be one user: a server may lower-case a name or add the domain."""
    if one is None or other is None or one == other:
        return True
    one, other = one.lower(), other.lower()
    return one == other or one == other.partition("@")[0] or one.partition("@")[0] == other


def _explain(failure: Draft, judged: Draft) -> None:
    """Postfix's failure learns what Dovecot knows; the two are one attempt."""
    judged.alive = False
    if failure.user is None:
        failure.user = judged.user
    if failure.outcome == Outcome.FAILURE and failure.cause == Cause.CREDENTIALS:
        failure.outcome, failure.cause = judged.outcome, judged.cause


def _tls(logged: str) -> str:
    """Dovecot's login line always tells: `TLS`, `secured` (a local or trusted connection), or nothing."""
    return "TLS" if logged == "TLS" else "none"


def _set_session(draft: Draft, tls: str, session: str) -> None:
    draft.tls = _tls(tls)
    draft.session = session or None


def _enrich(tries: list[Draft], service: str, mechanism: str, tls: str | None) -> None:
    for draft in tries:
        draft.service_raw = draft.service_raw or service
        draft.tls = draft.tls or tls
        if draft.mechanism is None and mechanism in _PLAINTEXT:
            draft.mechanism = mechanism


def _merge_chains(tries: list[Draft], count: int) -> None:
    """Several password databases asked for one try give a line each: merge until there are as many tries as Dovecot counted."""
    surplus = len(tries) - count
    for earlier, later in zip(tries, tries[1:], strict=False):
        if surplus <= 0:
            return
        if earlier.user == later.user and earlier.driver != later.driver and later.seconds - earlier.seconds <= DISORDER:
            earlier.alive = False
            surplus -= 1
            if later.cause == _UNKNOWN_USER:
                later.cause = earlier.cause
