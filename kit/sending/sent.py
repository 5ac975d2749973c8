"""What this side knows of a message that it sent: from the journal of a series, or from what `kit send --json` printed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from kit.errors import UnreadableInput
from kit.sending.entries import Entry, Series, State
from kit.sending.journal import journal_folder, read_journal

_LARGEST: Final = 1 << 24
_WORDS: Final = {
    State.HANDED_OVER: "hands the message over and hears no answer",
    State.ACCEPTED: "is told that the server has taken it",
    State.REFUSED: "is told that the server refuses it",
    State.LATER: "is told to come again later",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One message.

    Attributes:
        ids: its Message-ID, its trace id, the id that the server gave it; those that are known.
        recipients: who was to get it.
        events: what the client did and heard: the time (UTC, None where nothing tells it), and in words.
    """

    ids: tuple[str, ...]
    recipients: tuple[str, ...]
    events: tuple[tuple[datetime | None, str], ...]

    @property
    def time(self) -> datetime | None:
        """The last that is known."""
        return max((time for time, _ in self.events if time), default=None)


def last_sent(most: int = 20, folder: Path | None = None) -> list[Sent]:
    """Messages of the last series, the newest first."""
    found: list[tuple[float, Sent]] = []
    for path in sorted((folder or journal_folder()).glob("*.jsonl"), reverse=True):
        if len(found) >= most:
            break
        with suppress(UnreadableInput):
            series, entries, _ = read_journal(path)
            found += [(entry.time, _from_entry(entry, series)) for entry in entries if entry.message_id]
    return [sent for _, sent in sorted(found, key=lambda each: -each[0])[:most]]


def find_sent(id: str, folder: Path | None = None) -> Sent | None:  # noqa: A002 - it is one
    """The message of a series that has that id: its Message-ID, its trace id or the server's; None where there is none."""
    wanted = id.strip().strip("<>")
    for path in sorted((folder or journal_folder()).glob("*.jsonl"), reverse=True):
        with suppress(UnreadableInput):
            series, entries, _ = read_journal(path)
            for entry in entries:
                if wanted in {text.strip("<>") for text in _ids(entry.message_id, entry.trace, entry.queue_id)}:
                    return _from_entry(entry, series)
    return None


def read_sent(path: Path) -> Sent:
    """What `kit send --json` printed into a file, of one message or of a series.

    Raises:
        UnreadableInput: it is none.
    """
    try:
        with path.open("rb") as stream:
            document = json.loads(stream.read(_LARGEST))
        if "entries" in document:
            entries = [Entry(**entry | {"state": State(entry["state"])}) for entry in document["entries"]]
            sent = [_from_entry(entry, None) for entry in entries if entry.message_id]
            return Sent(
                ids=tuple(text for each in sent for text in each.ids),
                recipients=tuple(dict.fromkeys(to for each in sent for to in each.recipients)),
                events=tuple(event for each in sent for event in each.events),
            )
        return Sent(
            ids=_ids(document["message_id"], document["queue_id"]),
            recipients=(*document["accepted"], *document["rejected"]),
            events=tuple(_steps(document)),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        step = "Give an id, or a file with what kit send --json printed"
        raise UnreadableInput("is not what kit send --json prints", where=str(path), next_step=step) from fault


def _steps(document: dict[str, Any]) -> Iterator[tuple[datetime | None, str]]:
    """Each step at its end. Only the sign-in has a time of day; the others follow from how long each took."""
    steps = document["steps"]
    signed = next((n for n, step in enumerate(steps) if step["name"] == "auth"), None)
    attempt = document.get("attempt")
    begin = None
    if attempt and signed is not None:
        before = sum(float(step["seconds"]) for step in steps[: signed + 1])
        begin = datetime.fromisoformat(attempt["time"]).astimezone(UTC) - timedelta(seconds=before)
    passed = 0.0
    for step in steps:
        passed += float(step["seconds"])
        reply = step.get("reply")
        heard = f", hears {reply['code']} {' '.join(reply['lines'])}" if reply else ""
        yield begin and begin + timedelta(seconds=passed), f"{step['name']}: {step.get('sent') or step.get('detail') or 'done'}{heard}"


def _from_entry(entry: Entry, series: Series | None) -> Sent:
    said = f" ({entry.code})" if entry.code else ""
    named = f" as {entry.queue_id}" if entry.queue_id else ""
    return Sent(
        ids=_ids(entry.message_id, entry.trace, entry.queue_id),
        recipients=entry.recipients or (series.recipients if series else ()),
        events=((datetime.fromtimestamp(entry.time, UTC), f"{_WORDS.get(entry.state, entry.state)}{said}{named}"),),
    )


def _ids(*ids: str | None) -> tuple[str, ...]:
    return tuple(text.strip("<>") for text in ids if text)
