"""What the joiner remembers between lines: tries that may still learn, and the connections they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from kit.logs.columns import Attempts
from kit.model import Cause

WINDOW: Final = 200
"""Seconds. Dovecot's login line comes when the connection ends, up to three minutes after the try."""
IDLE: Final = 3600
"""Seconds after which a connection without a line is forgotten."""
DISORDER: Final = 2
"""Seconds by which two daemons' lines may stand in the wrong order."""
_UNKNOWN_USER: Final = Cause.UNKNOWN_USER.value


@dataclass(slots=True)
class Try:
    """An attempt that may still learn from lines to come."""

    held: Attempts
    place: int
    second: int
    user: str | None
    driver: str | None = None

    def get(self, field: str) -> str | None:
        """A field, as far as it is known."""
        return self.held.columns[field][self.place]

    def set(self, field: str, value: str | None) -> None:
        """Writes what a later line has told."""
        self.held.columns[field][self.place] = value

    def learn(self, field: str, value: str | None) -> None:
        """Writes what a later line has told, if it was not known."""
        self.held.columns[field].learn(self.place, value)

    @property
    def alive(self) -> bool:
        """Whether it is an attempt of its own."""
        return self.held.alive[self.place] == 1

    def drop(self) -> None:
        """It is a part of another attempt."""
        self.held.alive[self.place] = 0


class Connection:
    """A Postfix connection: the tries that already are attempts."""

    __slots__ = ("failures", "ip", "last", "lost", "success")

    def __init__(self, ip: str) -> None:
        self.ip = ip
        self.failures = 0
        self.success = False
        self.lost = False
        self.last = 0

    def goes_on(self, now: int, ip: str) -> bool:
        """Whether a line of now from that client is of this connection: none was silent for so long, or changes its client."""
        return self.ip == ip and abs(now - self.last) <= IDLE


class Session:
    """A Dovecot connection before its login line: tries that may still learn, and the number of those too old for it."""

    __slots__ = ("gone", "last", "tries")

    def __init__(self) -> None:
        self.tries: list[Try] = []
        self.gone = 0
        self.last = 0

    def add(self, each: Try) -> None:
        """One more try over this connection."""
        self.tries.append(each)
        self.last = each.second

    def young(self, now: int) -> list[Try]:
        """The tries that may still learn something now."""
        return [each for each in self.tries if abs(now - each.second) <= WINDOW]

    def count(self) -> int:
        """How many tries there were."""
        return self.gone + sum(each.alive for each in self.tries)

    def age(self, now: int) -> None:
        """Lets go of what can learn no more: a try keeps its whole batch in memory."""
        young = self.young(now)
        self.gone, self.tries = self.count() - sum(each.alive for each in young), young


def same_user(one: str | None, other: str | None) -> bool:
    """Whether the two may be one user: a server may lower-case a name or add the domain."""
    if one is None or other is None or one == other:
        return True
    one, other = one.lower(), other.lower()
    return one == other or one == other.partition("@")[0] or one.partition("@")[0] == other


def take(waiting: dict[str, list[Try]], ip: str, user: str | None, now: int, patience: int) -> Try | None:
    """The oldest waiting try of that address and user, which waits no longer."""
    queue = waiting.get(ip)
    if queue is None:
        return None
    for k, each in enumerate(queue):
        if each.alive and abs(now - each.second) <= patience and same_user(each.user, user):
            del queue[k]
            if not queue:
                del waiting[ip]
            return each
    return None


def drop_chain(earlier: list[Try], user: str | None, now: int) -> None:
    """Where several password databases are asked in turn, "unknown user" from the first is no failed try."""
    for each in earlier:
        if each.get("cause") == _UNKNOWN_USER and same_user(each.user, user) and abs(now - each.second) <= DISORDER:
            each.drop()


def merge_chains(tries: list[Try], surplus: int) -> None:
    """Several password databases asked for one try give a line each: merge, until no more are left than Dovecot counted."""
    for earlier, later in pairwise(tries):
        if surplus > 0 and earlier.user == later.user and earlier.driver != later.driver and later.second - earlier.second <= DISORDER:
            surplus -= 1
            earlier.drop()
            if later.get("cause") == _UNKNOWN_USER:
                later.set("cause", earlier.get("cause"))
