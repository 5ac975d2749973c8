"""Servers that name the session in each of its lines: one line says who the client is, others what it tried.

A try is told by one line or by two: what was judged, and what the client was told. They find each other by session, outcome
and time, in either order; the first of them stands for the try, and learns from the second.

Exchange makes a client that failed wait, before or after it answers: its further lines about a try belong to the session's last one.

Haraka has a line for each AUTH command, one for each that failed, and a last one that tells whether a client may send mail anywhere, as who
signed in may.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from kit.logs.columns import FIELDS, Attempts
from kit.logs.tries import IDLE, WINDOW, Try
from kit.model import Cause, Outcome

PAUSE: Final = 5
"""Seconds between two lines about one try; OpenSMTPD lets a client that failed wait for up to one."""
MOST_SESSIONS: Final = 50_000
"""Sessions that are remembered; beyond, the oldest are forgotten."""

_OF_SESSION: Final = ("client_ip", "client_port", "client_name", "helo", "tls")
_OF_TRY: Final = ("user", "mechanism")
TAKES: Final = dict.fromkeys(("opens", "try", "again", "asked"), ("host", "session")) | {
    "told": ("host", "session", "reason"),
    "closes": ("host", "session", "good", "reason"),
}
_MALFORMED: Final = '"504 Invalid AUTH'
_FIRST, _SECOND, _BOTH = range(3)


@dataclass(slots=True)
class _Session:
    """What is known of a session, and its tries of the last minutes: told by the first kind of line, by the second, by both."""

    last: int = 0
    known: dict[str, str | None] = field(default_factory=dict)
    tries: tuple[list[Try], list[Try], list[Try]] = field(default_factory=lambda: ([], [], []))
    latest: Try | None = None
    told: set[bool] | None = None  # of the latest try: what it was called, the answer; None where there was no try
    asked: int = 0  # AUTH commands
    failed: int = 0

    def tell(self, known: dict[str, str | None], now: int) -> None:
        """Its tries, as far as they can, learn what is known of the session."""
        for tries in self.tries:
            for each in tries:
                if abs(now - each.second) <= WINDOW:
                    _learn(each, known)

    def remembers(self, now: int) -> bool:
        """Lets go of tries that no line tells of any more; whether any are left."""
        for tries in self.tries:
            tries[:] = [each for each in tries if now - each.second <= WINDOW]
        if self.latest and now - self.latest.second > WINDOW:
            self.latest = None
        return bool(self.latest or any(self.tries))


class Sessions:
    """The handlers of those lines' roles, and what they remember, by host and session."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[tuple[str, str], _Session] = OrderedDict()  # the longest silent first
        self._trying: dict[int, _Session] = {}  # by identity, those that remember tries: each try keeps its whole batch in memory
        self.handlers: dict[str, Any] = {
            "opens": self._opens,
            "try": partial(self._try, _FIRST),
            "again": partial(self._try, _SECOND),
            "told": self._told,
            "asked": self._asked,
            "closes": self._closes,
        }

    def _at(self, held: Attempts, i: int, host: str, name: str) -> _Session:
        session = self._sessions.setdefault((host, name), _Session())
        self._sessions.move_to_end((host, name))
        session.last = held.seconds[i]
        return session

    def _opens(self, held: Attempts, i: int, host: str, name: str) -> None:
        session = self._at(held, i, host, name)
        session.known |= {of: text for of in _OF_SESSION if (text := held.columns[of][i])}
        session.tell(session.known, session.last)

    def _try(self, kind: int, held: Attempts, i: int, host: str, name: str) -> None:
        session = self._at(held, i, host, name)
        each = Try(held, i, session.last, None)
        for k, earlier in enumerate(others := session.tries[_SECOND - kind]):
            if earlier.get("outcome") == each.get("outcome") and abs(session.last - earlier.second) <= PAUSE:
                _learn(earlier, {of: each.get(of) for of in _OF_TRY})
                each.drop()
                session.tries[_BOTH].append(others.pop(k))
                return
        _learn(each, session.known)
        session.tries[kind].append(each)
        session.latest, session.told = each, set()
        self._trying[id(session)] = session
        session.failed += 1

    def _told(self, held: Attempts, i: int, host: str, name: str, answer: str | None) -> None:
        session = self._at(held, i, host, name)
        each = Try(held, i, session.last, None)
        if session.told is None or bool(answer) in session.told:
            _learn(each, session.known)
            session.latest, session.told = each, {bool(answer)}
            self._trying[id(session)] = session
            return
        session.told.add(bool(answer))
        if session.latest and abs(session.last - session.latest.second) <= PAUSE:
            _learn(session.latest, {of: each.get(of) for of in _OF_TRY})
        each.drop()

    def _asked(self, held: Attempts, i: int, host: str, name: str) -> None:
        self._at(held, i, host, name).asked += 1

    def _closes(self, held: Attempts, i: int, host: str, name: str, good: str, answer: str) -> None:
        session = self._at(held, i, host, name)
        del self._sessions[host, name]
        _learn(Try(held, i, session.last, None), session.known)
        of_line = {of: held.columns[of][i] for of in FIELDS}
        session.tell({of: of_line[of] for of in _OF_SESSION}, session.last)
        succeeded = good == "Y" and session.asked > 0
        held.alive[i] = succeeded
        if (unfinished := session.asked - session.failed - succeeded) > 0:
            how = (Outcome.MALFORMED, Cause.MALFORMED) if answer.startswith(_MALFORMED) else (Outcome.ABORTED, Cause.ABORTED)
            held.add(i, of_line, *how, unfinished)

    def forget(self, now: int) -> None:
        """Forgets what was silent for too long."""
        while self._sessions and (len(self._sessions) > MOST_SESSIONS or next(iter(self._sessions.values())).last < now - IDLE):
            self._sessions.popitem(last=False)
        self._trying = {key: session for key, session in self._trying.items() if session.remembers(now)}

    def clear(self) -> None:
        """Forgets all."""
        self._sessions.clear()
        self._trying.clear()


def _learn(each: Try, known: dict[str, Any]) -> None:
    for of, text in known.items():
        each.learn(of, text)
