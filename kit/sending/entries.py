"""A series of mails: what it is of, and what became of each of its messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from kit.auth.budget import account_of
from kit.knowledge.findings import bounded
from kit.model import Cause, Finding, Profile, Severity


class State(StrEnum):
    """What became of a message. `later`: the server asked to come again, for some recipients at least."""

    PLANNED = "planned"
    HANDED_OVER = "handed-over"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    LATER = "later"


WORDS: Final = {
    State.ACCEPTED: "taken",
    State.REFUSED: "refused",
    State.HANDED_OVER: "in doubt",
    State.LATER: "put off",
    State.PLANNED: "not sent",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What a series is of: whatever it takes to make its messages again, and to come to its server.

    Attributes:
        target: as the user named it.
        account: whom the server counts.
        profile: the server's settings, with absolute paths; None where only the target tells them.
        messages: how many.
        kind, subject, size, other, eml: as the user gave them.
    """

    target: str
    account: str
    messages: int
    sender: str
    recipients: tuple[str, ...]
    kind: str | None = None
    subject: str | None = None
    size: int | None = None
    other: str | None = None
    eml: str | None = None
    profile: Profile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One message of a series.

    Attributes:
        number: from 1.
        time: of the last event, in seconds since 1970.
        message_id, trace: those it was handed over with last.
        recipients: who is to get it; of `handed-over` and `later`, those that are still open. Empty where all of the series are.
        rejected: who does not get it.
        code: of the server's last answer.
        until: `later` is not before this, in seconds since 1970.
        tries: how often the answer was `later`.
    """

    number: int
    state: State = State.PLANNED
    time: float = 0.0
    message_id: str | None = None
    trace: str | None = None
    recipients: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    queue_id: str | None = None
    code: int | None = None
    until: float | None = None
    tries: int = 0


def series_of(profile: Profile, *, target: str | None = None, sender: str | None = None, **what: Any) -> Series:
    """A new series to that server. `what`: its messages, by the names that Series has for it."""
    profile = anywhere(profile)
    sender = sender or profile.sender or profile.user or ""
    return Series(target=target or profile.name or profile.host, account=account_of(profile), profile=profile, sender=sender, **what)


def anywhere(profile: Profile) -> Profile:
    """The same settings, in whichever folder they are used."""
    files = {name: str(Path(path).absolute()) for name in ("ca_file", "cert_file", "key_file") if (path := getattr(profile, name))}
    return replace(profile, **files)  # type: ignore[arg-type]


def totals(entries: Sequence[Entry]) -> str:
    """How many came to what."""
    states = Counter(entry.state for entry in entries)
    return ", ".join(f"{states[state]} {word}" for state, word in WORDS.items() if states[state])


def found_in_doubt(entry: Entry, heard: str = "") -> Finding:
    """What to say of a message that was handed over and has no answer; what was `heard` instead."""
    ids = [f"{what}: {value}" for what, value in (("Message-ID", entry.message_id), ("trace", entry.trace)) if value]
    return Finding(
        cause=Cause.ABORTED,
        severity=Severity.WARNING,
        title=f"Message {entry.number} of the series was under way and no clear answer came: perhaps the server took it",
        next_step="Look for its Message-ID in the recipient's mailbox or the server's log. It is not sent again by itself.",
        evidence=(
            *ids,
            f"for {', '.join(entry.recipients)}",
            f"at {datetime.fromtimestamp(entry.time, UTC):%Y-%m-%d %H:%M:%S} UTC",
            *bounded((heard,)),
        ),
    )
