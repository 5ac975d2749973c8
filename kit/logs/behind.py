"""What works behind a mail server, saslauthd and PAM, and logs a try that the server logs too.

Such a line has no session, and mostly no address. It always comes first, so it waits for the next program's line about the same try: of that
host, service and user, failed, and of soon after. That line stands for the try, and learns user and cause. A line that waits in vain is an
attempt by itself.

Dovecot without `auth_verbose` has no line for a try, and counts those of a connection when it ends: PAM's lines of that client are these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kit.logs.classes import services
from kit.logs.columns import Attempts
from kit.logs.sessions import PAUSE
from kit.logs.tries import WINDOW, Try, same_user
from kit.model import Cause, Outcome

_FAILED: Final = frozenset((Outcome.FAILURE.value, Outcome.SERVER_ERROR.value))
_OPEN: Final = frozenset((Cause.CREDENTIALS.value, Cause.UNKNOWN.value))
_LONGEST: Final = 64  # characters of a user's name in Sendmail's lines
# Services that share their users' programs; any other may be each of these.
_FAMILIES: Final = {"smtp": 1, "submission": 1, "submissions": 1, "imap": 2, "imaps": 2, "pop3": 3, "pop3s": 3, "sieve": 4}


class Behind:
    """Lines that wait, by host."""

    def __init__(self) -> None:
        self._waiting: dict[str | None, list[Try]] = {}

    @property
    def waits(self) -> bool:
        """Whether any line does."""
        return bool(self._waiting)

    def before(self, handler: Callable[..., None]) -> Callable[..., None]:
        """The handler of a line, which first meets what waits for it."""

        def both(held: Attempts, i: int, *said: Any) -> None:
            self._meet(held, i)
            handler(held, i, *said)

        return both

    def _meet(self, held: Attempts, i: int) -> None:
        columns = held.columns
        if not held.alive[i] or columns["outcome"][i] not in _FAILED:
            return
        each = Try(held, i, held.seconds[i], columns["user"][i], held.behind.get(i))
        waiting = self._waiting.setdefault(columns["host"][i], [])
        for k, earlier in enumerate(waiting):
            if (
                abs(each.second - earlier.second) <= PAUSE
                and earlier.driver != each.driver
                and same_user(earlier.user and earlier.user[:_LONGEST], each.user and each.user[:_LONGEST])
                and _may_be_one(earlier.get("service_raw"), each.get("service_raw"))
            ):
                _learn(each, waiting.pop(k))
                break
        if each.driver:
            waiting.append(each)

    def of_client(self, held: Attempts, i: int, most: int) -> list[Try]:
        """Up to that many lines that wait for a connection's last line; they wait no longer."""
        waiting, ip = self._waiting.get(held.columns["host"][i], []), held.columns["client_ip"][i]
        found = [each for each in waiting if ip and each.get("client_ip") == ip and abs(held.seconds[i] - each.second) <= WINDOW][:most]
        for each in found:
            waiting.remove(each)
            for field in ("server", "service_raw"):
                each.set(field, held.columns[field][i])
        return found

    def forget(self, now: int) -> None:
        """Forgets what waits in vain."""
        for host, waiting in list(self._waiting.items()):
            waiting[:] = [each for each in waiting if now - each.second <= (WINDOW if each.get("client_ip") else PAUSE)]
            if not waiting:
                del self._waiting[host]

    def clear(self) -> None:
        """Forgets all."""
        self._waiting.clear()


def _may_be_one(raw: str | None, other: str | None) -> bool:
    one, two = (_FAMILIES.get(services().get(name or "") or "") for name in (raw, other))
    return one is None or two is None or one == two


def _learn(each: Try, earlier: Try) -> None:
    earlier.drop()
    each.learn("user", earlier.get("user"))
    each.learn("client_ip", earlier.get("client_ip"))
    if each.get("cause") in _OPEN:
        each.set("outcome", earlier.get("outcome"))
        each.set("cause", earlier.get("cause"))
