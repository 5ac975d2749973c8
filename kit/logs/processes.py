"""A server of which one process serves one connection, and of which no line says when that ends: Exim.

Its process id is the connection, or the client's address and port, where they are logged. Over syslog a try that was not let in is logged
twice, for the main and the reject log; in Exim's own file, which names no host, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from kit.logs.columns import Attempts
from kit.logs.tries import IDLE

_NAMES: Final = ("origin", "client_ip", "client_port")
TAKES: Final[dict[str, tuple[str, ...]]] = {
    "failed": (*_NAMES, "driver", "user", "reason"),
    "declined": _NAMES,
    "hung-up": (*_NAMES, "reason"),
    "message": _NAMES,
    "signed-in": _NAMES,
    "no-mail": (*_NAMES, "reason"),
}
_OWN_FILE: Final = "- "
_TWINS: Final = 1
"""Seconds that a line and its copy for the reject log may lie apart."""


@dataclass(slots=True)
class _Connection:
    """AUTH commands that have a line, those of them that were no try, the sign-in, and a line that may come once more."""

    last: int = 0
    tries: int = 0
    declined: int = 0
    signed_in: bool = False
    once: tuple[Any, ...] | None = None
    once_at: int = 0


class Processes:
    """The handlers of those lines' roles, and what they remember."""

    def __init__(self) -> None:
        self._connections: dict[str, _Connection] = {}
        self.handlers: dict[str, Any] = {
            "failed": self._failed,
            "declined": self._declined,
            "hung-up": self._hung_up,
            "message": self._message,
            "signed-in": self._signed_in,
            "no-mail": self._no_mail,
        }

    def _at(self, now: int, origin: str, ip: str, port: str) -> _Connection | None:
        """The connection of a line; none where the line does not tell."""
        if not origin.endswith("]") and not port:
            return None
        key = f"{origin} {ip} {port}"
        found = self._connections.get(key)
        if found is None or abs(now - found.last) > IDLE:
            found = self._connections[key] = _Connection()
        found.last = now
        return found

    def _is_copy(self, held: Attempts, i: int, origin: str, connection: _Connection | None, *said: Any) -> bool:
        """Whether the line says once more what the last one did; then it is no attempt."""
        if connection is None or origin.startswith(_OWN_FILE):
            return False
        if copy := connection.once == said and abs(connection.last - connection.once_at) <= _TWINS:
            held.alive[i] = 0
        connection.once, connection.once_at = None if copy else said, connection.last
        return copy

    def _failed(self, held: Attempts, i: int, origin: str, ip: str, port: str, *said: str | None) -> None:
        connection = self._at(held.seconds[i], origin, ip, port)
        if not self._is_copy(held, i, origin, connection, *said) and connection:
            connection.tries += 1

    def _declined(self, held: Attempts, i: int, origin: str, ip: str, port: str) -> None:
        if connection := self._at(held.seconds[i], origin, ip, port):
            connection.tries += 1
            connection.declined += 1

    def _hung_up(self, held: Attempts, i: int, origin: str, ip: str, port: str, reason: str) -> None:
        connection = self._at(held.seconds[i], origin, ip, port)
        if self._is_copy(held, i, origin, connection, reason) or connection is None or "nonmail" in reason:
            return  # an AUTH beyond that number is not even looked at, nor listed in C=
        if connection.declined:
            held.alive[i] = 0  # it has a line of its own
        else:
            connection.tries += 1

    def _message(self, held: Attempts, i: int, origin: str, ip: str, port: str) -> None:
        if connection := self._at(held.seconds[i], origin, ip, port):
            held.alive[i] = not connection.signed_in  # a second message needs no second sign-in
            connection.signed_in = True

    def _signed_in(self, held: Attempts, i: int, origin: str, ip: str, port: str) -> None:
        held.alive[i] = 0
        self._message(held, i, origin, ip, port)

    def _no_mail(self, held: Attempts, i: int, origin: str, ip: str, port: str, reason: str) -> None:
        connection = self._at(held.seconds[i], origin, ip, port)
        untold = reason.count("AUTH") - connection.tries if connection else 0
        held.alive[i] = untold > 0
        if untold > 1:
            held.count[i] = untold

    def forget(self, now: int) -> None:
        """Forgets what was silent for too long."""
        self._connections = {key: connection for key, connection in self._connections.items() if connection.last >= now - IDLE}

    def clear(self) -> None:
        """Forgets all."""
        self._connections.clear()
