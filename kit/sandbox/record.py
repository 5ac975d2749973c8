"""What a sandbox remembers of its visitors, in memory and bounded: what was said, who tried to sign in, which mail came."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from kit.model import Attempt
from kit.redact import Secret, mask

MOST_LINES: Final = 5_000  # of the transcript
LONGEST_TEXT: Final = 320  # characters: as long as an address may be
MOST_ATTEMPTS: Final = 5_000
MOST_BYTES: Final = 50 * 1024 * 1024  # of all messages together


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One line of the transcript, credentials masked.

    Attributes:
        client: the number of the connection, from 1.
        who: `C` the client, `S` the sandbox, `-` what happened.
    """

    time: datetime
    client: int
    who: str
    text: str

    def __str__(self) -> str:
        return f"{self.time:%H:%M:%S.%f}"[:-3] + f"Z #{self.client} {self.who}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message that the sandbox took.

    Attributes:
        data: as it stood on the wire, dots unstuffed.
        tls: the protocol version, None in clear.
        user: who had signed in.
    """

    sender: str
    recipients: tuple[str, ...]
    data: bytes = field(repr=False)
    peer: str
    tls: str | None
    user: str | None


class Record:
    """Keeps it. Whoever fills it up on purpose finds that it is full."""

    def __init__(self, password: Secret, listener: Callable[[Said], None] | None = None) -> None:
        self.transcript: list[Said] = []
        self.attempts: list[Attempt] = []
        self.messages: list[Received] = []
        self._password = password
        self._listener = listener
        self._bytes = 0
        self.forgotten = 0

    def say(self, client: int, who: str, text: str) -> None:
        """Adds a line to the transcript. A client may say its password anywhere, so it is masked here once more."""
        room = MOST_LINES - len(self.transcript)
        if room <= 0 and self._listener is None:
            return
        said = Said(time=datetime.now(UTC), client=client, who=who, text=mask(printable(text), [self._password]))
        if room > 0:
            self.transcript.append(said if room > 1 else Said(time=said.time, client=client, who="-", text="the transcript is full"))
        if self._listener:
            self._listener(said)

    def count(self, attempt: Attempt) -> None:
        """Adds a try to sign in. Who mixes up the fields of a form names the password as user: there too it is masked."""
        if len(self.attempts) < MOST_ATTEMPTS:
            self.attempts.append(replace(attempt, user=self._masked(attempt.user), helo=self._masked(attempt.helo)))
            return
        self.forgotten += 1
        if self.forgotten == 1:
            self.say(int(attempt.session or 0), "-", f"more than {MOST_ATTEMPTS} sign-ins: from here on they are only counted")

    def _masked(self, text: str | None) -> str | None:
        return None if text is None else mask(text, [self._password])

    def take(self, message: Received) -> bool:
        """Keeps a message, where there is room."""
        if self._bytes + len(message.data) > MOST_BYTES:
            return False
        self._bytes += len(message.data)
        self.messages.append(message)
        return True


def printable(text: str) -> str:
    """Bounded, and without anything that a terminal obeys."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:LONGEST_TEXT])
