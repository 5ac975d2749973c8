"""Events → attempts: one try to sign in counts once, whatever number of lines tells of it (law 5).

Three joins here, each by what the servers themselves write; more in kit.logs.sessions, kit.logs.processes and kit.logs.behind:

- **Postfix, one connection**: by host, program and process id up to the `disconnect` line, whose counts of AUTH commands
  show the tries that have no line of their own: a sign-in without a message, a client that vanished, an AUTH that was
  not offered.
- **Dovecot, one connection**: by session id. The auth process gives user and reason of each try, the login process
  service, mechanism and TLS, and at the end how many tries there were.
- **Postfix with Dovecot's SASL**: by client address, user and time, for Dovecot's auth process knows no Postfix session.

Bounded memory: a batch of attempts leaves WINDOW seconds after its last line, or earlier if there are too many; what
arrives later cannot reach it. Times are compared in whole seconds, so that a log with microseconds joins as one without.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from itertools import repeat
from typing import Any, Final

import numpy as np

from kit.logs.behind import Behind
from kit.logs.columns import Attempts, say
from kit.logs.processes import TAKES as OF_PROCESS
from kit.logs.processes import Processes
from kit.logs.scan import Batch
from kit.logs.sessions import TAKES, Sessions
from kit.logs.tries import DISORDER, IDLE, WINDOW, Connection, Session, Try, drop_chain, merge_chains, take
from kit.model import Cause, Outcome

PATIENCE: Final = 30
"""Seconds that Postfix may take to log what Dovecot's auth process has judged; Dovecot delays failures by up to 17."""
MOST_HELD: Final = 50_000
"""Candidate lines whose attempts may wait for lines to come."""
_DAY: Final = 86_400

# A member of an Enum costs more to look up than all else that is done with it.
_FAILURE: Final = Outcome.FAILURE.value
_OPEN: Final = frozenset((Cause.CREDENTIALS.value, Cause.UNKNOWN.value))  # what Postfix alone says of a try that failed
_WRONG_PASSWORD: Final = Cause.WRONG_PASSWORD.value

_FROM: Final = re.compile(r"disconnect from ([^\[]{1,255})\[([^\]]{2,64})\](?::(\d{1,5}))?")
_LONG_AGO: Final = -(1 << 62)
_PLAINTEXT: Final = frozenset(("PLAIN", "LOGIN"))
# Tries of Postfix that Dovecot may have judged: a password was sent, whatever Postfix has heard of the answer.
_JUDGED: Final = frozenset((_FAILURE, Outcome.SERVER_ERROR.value))
# What each role's handler takes of what the line says, behind the batch and the place of the line in it.
_TAKES: Final[dict[str, tuple[str, ...]]] = {
    "verdict": ("origin", "client_ip", "user", "outcome"),
    "success": ("origin", "client_ip", "user"),
    "lost": ("origin", "client_ip"),
    "summary": ("origin", "client_ip", "good", "total"),
    "trouble": ("origin",),
    "backend": ("client_ip", "user", "session", "process", "driver"),
    "login": ("session", "user"),
    "ended": ("session", "total"),
    "refused": ("session", "user"),
    "ended-refused": ("session",),
    "attempt": (),
    "behind": (),
    **TAKES,
    **OF_PROCESS,
}
# These say something about attempts that have lines of their own.
_BESIDE: Final = frozenset(("asked", "lost", "summary", "trouble"))
# Each line of these roles is an attempt, until another line is found to tell of the same.
_ATTEMPTS: Final = frozenset(("verdict", "backend", "login", "refused", "attempt", "behind", "try", "again", "told", *OF_PROCESS))


class Joiner:
    """Takes batches of events in order, gives attempts in order of their lines.

    Attributes:
        held: batches whose attempts may still learn from lines to come.
    """

    def __init__(self) -> None:
        self.held: deque[Attempts] = deque()
        self._newest = _LONG_AGO
        self._connections: dict[str, Connection] = {}  # by host, program and process id
        self._trouble_at: dict[str, int] = {}  # process → when it could not reach the authentication server
        self._sessions: dict[str, Session] = {}  # by Dovecot's session id
        self._ended_first: dict[str, Try] = {}  # session → its last line, which came before its try's
        self._judged: dict[str, list[Try]] = {}  # address → Dovecot's verdicts that wait for Postfix's line
        self._unexplained: dict[str, list[Try]] = {}  # address → Postfix's failures that wait for Dovecot's reason
        self._behind = Behind()
        self._named = Sessions()
        self._of_process = Processes()
        self._handlers = {
            "verdict": self._verdict,
            "success": self._success,
            "lost": self._lost,
            "summary": self._summary,
            "trouble": self._trouble,
            "backend": self._backend,
            "login": self._login,
            "ended": self._ended,
            "refused": self._refused,
            "ended-refused": self._ended_refused,
            "attempt": _stands,  # its line says all there is
            "behind": _stands,  # and where that tells of the same try, it is dropped there
            **self._named.handlers,
            **self._of_process.handlers,
        }

    def feed(self, batch: Batch) -> Iterator[Attempts]:
        """Joins a batch; yields the attempts that nothing can reach any more."""
        held = Attempts(batch)
        handlers, arguments = self._read(held)
        if not any(handlers):
            return
        if held.newest < self._newest - _DAY:
            yield from self.finish()  # another log, of an earlier time
        if held.behind or self._behind.waits:
            handlers = [handler and self._behind.before(handler) for handler in handlers]
        for handler, given in zip(handlers, arguments, strict=True):
            if handler:
                handler(*given)
        self.held.append(held)
        self._newest = held.newest
        while self.held[0].newest < self._newest - WINDOW or sum(len(h.alive) for h in self.held) > MOST_HELD:
            yield self.held.popleft()
        self._forget(self._newest)

    def _read(self, held: Attempts) -> tuple[list[Any], list[tuple[Any, ...]]]:
        """Takes the events class by class; returns for each line what handles it, and what that takes."""
        size = len(held.batch.lines)
        handlers, arguments = np.full(size, None, object), [()] * size
        alive = np.frombuffer(held.alive, np.uint8)
        for events in held.batch.events:
            role, said = events.line_class.role, say(events)
            if role not in _BESIDE:
                held.fill(events.index, said)
            if role == "behind":
                held.behind.update(zip(events.index.tolist(), events.columns["driver"], strict=True))
            if role in _ATTEMPTS:
                alive[events.index] = 1
            handlers[events.index] = self._handlers[role]
            takes = [repeat(texts) if isinstance(texts, str) or texts is None else texts for texts in map(said.get, _TAKES[role])]
            for given in zip(repeat(held), events.index.tolist(), *takes):
                arguments[given[1]] = given
        held.batch.events = ()
        untimely = held.set_times()
        handlers[untimely], alive[untimely] = None, 0
        return handlers.tolist(), arguments

    def finish(self) -> Iterator[Attempts]:
        """What is still open, at the end of the log."""
        yield from self.held
        self.held.clear()
        self._connections.clear()
        self._trouble_at.clear()
        self._sessions.clear()
        self._ended_first.clear()
        self._judged.clear()
        self._unexplained.clear()
        self._behind.clear()
        self._named.clear()
        self._of_process.clear()
        self._newest = _LONG_AGO

    def _forget(self, now: int) -> None:
        self._behind.forget(now)
        self._named.forget(now)
        self._of_process.forget(now)
        self._connections = {k: c for k, c in self._connections.items() if c.last >= now - IDLE}
        self._trouble_at = {k: second for k, second in self._trouble_at.items() if second >= now - DISORDER}
        self._sessions = {k: session for k, session in self._sessions.items() if session.last >= now - IDLE}
        for session in self._sessions.values():
            session.age(now)
        self._ended_first = {k: ended for k, ended in self._ended_first.items() if ended.second >= now - DISORDER}
        self._judged = {k: tries for k, tries in self._judged.items() if tries[-1].second >= now - PATIENCE}
        self._unexplained = {k: tries for k, tries in self._unexplained.items() if tries[-1].second >= now - DISORDER}

    # -------------------------------------------------------------------------------------- Postfix

    def _connection(self, origin: str, now: int, ip: str) -> Connection:
        """The connection of that process; a new one where the last has been silent for long, or had another client."""
        found = self._connections.get(origin)
        if found is None or not found.goes_on(now, ip):
            found = self._connections[origin] = Connection(ip)
        found.last = now
        return found

    def _verdict(self, held: Attempts, i: int, origin: str, ip: str, user: str | None, outcome: str) -> None:
        second = held.seconds[i]
        self._connection(origin, second, ip).failures += 1
        if self._trouble_at and outcome == _FAILURE and abs(second - self._trouble_at.get(origin, _LONG_AGO)) <= DISORDER:
            held.columns["outcome"][i], held.columns["cause"][i] = Outcome.SERVER_ERROR.value, Cause.BACKEND_UNAVAILABLE.value
            return
        if outcome not in _JUDGED:
            return
        if judged := take(self._judged, ip, user, second, PATIENCE):
            _explain(Try(held, i, second, user), judged)
        elif outcome == _FAILURE:
            self._unexplained.setdefault(ip, []).append(Try(held, i, second, user))

    def _trouble(self, held: Attempts, i: int, origin: str) -> None:
        self._trouble_at[origin] = held.seconds[i]

    def _success(self, held: Attempts, i: int, origin: str, ip: str, user: str | None) -> None:
        second = held.seconds[i]
        connection = self._connection(origin, second, ip)
        if not connection.success:  # a second message needs no second sign-in
            connection.success = True
            held.alive[i] = 1
            if waiting := self._judged.get(ip):
                drop_chain(waiting, user, second)

    def _lost(self, held: Attempts, i: int, origin: str, ip: str) -> None:
        self._connection(origin, held.seconds[i], ip).lost = True

    def _summary(self, held: Attempts, i: int, origin: str, ip: str, good: str, total: str) -> None:
        connection = self._connections.pop(origin, None)
        if connection is None or not connection.goes_on(held.seconds[i], ip):
            connection = Connection("")
        succeeded = int(good)
        missing = (int(total) - succeeded if total else 0) - connection.failures
        if missing <= 0 and (connection.success or not succeeded):
            return
        known = _from_summary(held.batch.lines[i], origin)
        if succeeded and not connection.success:
            held.add(i, known, Outcome.SUCCESS, Cause.NONE)
        if missing > 0 and connection.lost:
            # The client went away before Postfix answered its AUTH. Dovecot may have judged it already.
            missing -= 1
            if judged := take(self._judged, ip, None, held.seconds[i], PATIENCE):
                judged.set("service_raw", known["service_raw"])
                judged.set("server", known["server"])
            else:
                held.add(i, known, Outcome.ABORTED, Cause.ABORTED)
        if missing > 0:
            # AUTH commands that were answered without a try: not offered here, or already signed in.
            tried = connection.failures or connection.success or succeeded
            held.add(i, known, Outcome.REFUSED, Cause.UNKNOWN if tried else Cause.AUTH_NOT_OFFERED, missing)

    # -------------------------------------------------------------------------------------- Dovecot

    def _backend(self, held: Attempts, i: int, ip: str, user: str | None, session: str, process: str, driver: str) -> None:
        judged = Try(held, i, held.seconds[i], user, f"{process} {driver}")
        if session:
            self._session(session, judged)
            return
        if failure := take(self._unexplained, ip, user, judged.second, DISORDER):
            _explain(failure, judged)
        else:
            self._judged.setdefault(ip, []).append(judged)

    def _session(self, name: str, each: Try) -> None:
        """A try of that connection. Two processes write, so that the last line of it may have come before, and have counted this try."""
        ended = self._ended_first.pop(name, None)
        if not ended or abs(ended.second - each.second) > DISORDER or ended.get("outcome") != each.get("outcome"):
            self._sessions.setdefault(name, Session()).add(each)
            return
        _enrich([each], ended.held, ended.place)
        if others := ended.held.count.get(ended.place, 1) - 1:
            ended.held.count[ended.place] = others
            self._ended_first[name] = ended
        else:
            ended.drop()

    def _login(self, held: Attempts, i: int, name: str, user: str | None) -> None:
        if session := self._sessions.pop(name, None):
            tries = session.young(held.seconds[i])
            drop_chain(tries, user, held.seconds[i])
            _enrich(tries, held, i)

    def _ended(self, held: Attempts, i: int, name: str, total: str) -> None:
        session, count = self._sessions.pop(name, None) or Session(), int(total)
        tries, known = session.young(held.seconds[i]), session.count()
        if count == len(tries) == 1:
            tries[0].learn("user", held.columns["user"][i])
        if known > count:
            merge_chains(tries, known - count)
        elif known < count:
            more = self._behind.of_client(held, i, count - known)
            tries, known = tries + more, known + len(more)
        _enrich(tries, held, i)
        if known < count:  # the auth process does not log
            held.alive[i] = 1
            held.count[i] = count - known
            self._ended_first[name] = Try(held, i, held.seconds[i], None)

    def _refused(self, held: Attempts, i: int, name: str, user: str | None) -> None:
        if name:
            self._session(name, Try(held, i, held.seconds[i], user))

    def _ended_refused(self, held: Attempts, i: int, name: str) -> None:
        """The last line of a connection; its try may have a line of its own, which another process wrote: before it, or just after."""
        session = self._sessions.pop(name, None) or Session()
        tries = session.young(held.seconds[i])
        _enrich(tries, held, i)
        if not any(each.get("outcome") == held.columns["outcome"][i] for each in tries):
            held.alive[i] = 1
            self._ended_first[name] = Try(held, i, held.seconds[i], None)


def _explain(failure: Try, judged: Try) -> None:
    """Postfix's failure learns what Dovecot knows; the two are one attempt."""
    judged.drop()
    if failure.user is None:
        failure.set("user", judged.user)
    if failure.get("outcome") == _FAILURE and failure.get("cause") in _OPEN:
        failure.set("outcome", judged.get("outcome"))
        failure.set("cause", judged.get("cause"))


def _enrich(tries: list[Try], held: Attempts, i: int) -> None:
    """What the login process knows of the connection goes to each of its tries.

    It names one mechanism. Where a password database has judged a password, that cannot have been one without a password.
    """
    service, tls, mechanism = (held.columns[field][i] for field in ("service_raw", "tls", "mechanism"))
    for each in tries:
        each.learn("service_raw", service)
        each.learn("tls", tls)
        if mechanism in _PLAINTEXT or each.get("cause") != _WRONG_PASSWORD:
            each.learn("mechanism", mechanism)


def _from_summary(line: str, origin: str) -> dict[str, str | None]:
    """What a `disconnect` line tells of an attempt. Few are looked at, so its class does not capture that."""
    host, _, program = origin.partition(" ")
    found = _FROM.search(line)
    name, ip, port = found.groups() if found else (None, "", None)
    return {
        "host": host,
        "server": "postfix",
        "service_raw": program.partition("[")[0],
        "client_name": None if name == "unknown" else name,
        "client_ip": ip.removeprefix("::ffff:"),
        "client_port": port,
    }


def _stands(*_: Any) -> None:
    """For a line that is an attempt as it is."""
