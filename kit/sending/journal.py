"""The journal of a series: what became of each message, so that a series that was cut short goes on without sending anything twice.

                  hand_over          conclude
    planned ──────────────► handed over ─────► accepted · refused
       │                                 └───► later ──► handed over …
       └─────────────── refused before the content went: refused · later

One JSON line an event, on the disk before the step that could not be taken back: the content goes out only once the line that says so
is safe. So a line without its end says nothing: what it tells of had not begun, or its message is in doubt already. What was handed
over and has no answer is in doubt, and is named, never sent again. The server's settings are kept, so that nothing but its name is needed
to go on; the content of a message is not kept, nor any secret.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast

from kit.auth.budget import budget_path
from kit.errors import UnreadableInput, UsageError
from kit.profiles import build_profile
from kit.sending.entries import Entry, Series, State

KEPT: Final = 30 * 86400.0  # seconds after its last line
_NAME: Final = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{4}")


class Journal:
    """One that is open for writing: `Journal.start` or `Journal.resume`. Nobody else has it until it is closed.

    Attributes:
        name: of the series.
        entries: all its messages, in order.
    """

    def __init__(self, name: str, path: Path, lock: sqlite3.Connection, series: Series, entries: list[Entry], length: int) -> None:
        self.name = name
        self.series = series
        self.entries = entries
        self._path = path
        self._lock = lock
        try:
            path.touch(mode=0o600)
            self._file = path.open("ab", buffering=0)
            self._file.truncate(length)  # what stands behind says nothing, and nothing may be written behind it
        except OSError as fault:
            raise self._unwritable(fault) from fault

    @classmethod
    def start(cls, series: Series, *, now: datetime, folder: Path | None = None) -> Journal:
        """That of a new series. Journals of long ago are cleared away.

        Raises:
            UnreadableInput: it cannot be written.
        """
        folder = folder or journal_folder()
        name = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        with ExitStack() as stack:
            lock = stack.enter_context(closing(_lock(folder, name)))
            journal = cls(name, folder / f"{name}.jsonl", lock, series, _planned(series), 0)
            journal._write(asdict(series))
            stack.pop_all()
        for old in folder.glob("*.*"):
            with suppress(OSError):
                if old.stat().st_mtime < now.timestamp() - KEPT:
                    old.unlink()
        return journal

    @classmethod
    def resume(cls, name: str, *, folder: Path | None = None) -> Journal:
        """That of a series that was cut short.

        Raises:
            UsageError: there is no such series, or another process is sending it.
            UnreadableInput: it does not read, or cannot be written.
        """
        folder = folder or journal_folder()
        path = folder / f"{name}.jsonl"
        if not _NAME.fullmatch(name) or not path.is_file():
            next_step = "Its name was shown when it began; it is kept for 30 days"
            raise UsageError(f"there is no series {name[:30]!r}", where="series", next_step=next_step)
        with ExitStack() as stack:
            lock = stack.enter_context(closing(_lock(folder, name)))
            journal = cls(name, path, lock, *read_journal(path))
            stack.pop_all()
        return journal

    @property
    def left(self) -> list[Entry]:
        """What is still to be sent, what was asked to come later among it."""
        return [entry for entry in self.entries if entry.state in (State.PLANNED, State.LATER)]

    @property
    def in_doubt(self) -> list[Entry]:
        """What was handed over and has no answer."""
        return [entry for entry in self.entries if entry.state is State.HANDED_OVER]

    def hand_over(self, number: int, *, now: datetime, message_id: str, trace: str | None, recipients: Sequence[str]) -> None:
        """The content is about to go out to the recipients that the server took. Returns once that is on the disk.

        Raises:
            UnreadableInput: it cannot be written; the content must not go out.
        """
        self._add(number, State.HANDED_OVER, now, message_id=message_id, trace=trace, recipients=list(recipients))

    def conclude(
        self,
        number: int,
        state: State,
        *,
        now: datetime,
        code: int,
        queue_id: str | None = None,
        rejected: Sequence[str] = (),
        recipients: Sequence[str] = (),
        until: datetime | None = None,
    ) -> None:
        """The server has answered with `code`: the message was `accepted`, `refused`, or is to come `later`.

        `rejected` will not get it; with `later`, `recipients` are to be tried again, and not before `until`.

        Raises:
            UnreadableInput: it cannot be written; nothing more should be sent.
        """
        more = {"rejected": [*self.entries[number - 1].rejected, *rejected], "recipients": list(recipients)}
        self._add(number, state, now, code=code, queue_id=queue_id, until=until and until.timestamp(), **more)

    def _add(self, number: int, state: State, now: datetime, **more: Any) -> None:
        event = {"number": number, "state": state.value, "time": now.timestamp()} | {name: value for name, value in more.items() if value}
        entry = _fold(self.entries[number - 1], event)
        self._write(event)
        self.entries[number - 1] = entry

    def _write(self, event: dict[str, Any]) -> None:
        line = json.dumps(event).encode() + b"\n"
        try:
            if self._file.write(line) != len(line):
                raise OSError("the disk took half a line")  # noqa: TRY301 - the same answer to each of them
            os.fsync(self._file.fileno())
        except (OSError, ValueError) as fault:  # ValueError: it was closed, by the fault before
            self.close()  # nothing may stand behind half a line
            raise self._unwritable(fault) from fault

    def _unwritable(self, fault: Exception) -> UnreadableInput:
        return UnreadableInput(
            f"the journal of the series cannot be written ({fault}), and without it nothing is sent",
            where=str(self._path),
            next_step=f"Make room or the folder writable; the series {self.name} can go on then",
        )

    def close(self) -> None:
        """Let others have it."""
        self._file.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def journal_folder() -> Path:
    """Where journals are kept: beside the budget of sign-ins."""
    return budget_path().parent / "series"


def read_journal(path: Path) -> tuple[Series, list[Entry], int]:
    """What a journal says, and how many of its octets say it: behind those may stand a line that was cut short.

    Raises:
        UnreadableInput: it does not read.
    """
    try:
        raw = path.read_bytes()
    except OSError as fault:
        raise UnreadableInput(f"the journal cannot be read ({fault.strerror})", where=str(path), next_step="Make it readable") from fault
    lines = raw.split(b"\n")[:-1]
    if lines and _parse(lines[-1]) is None:
        lines.pop()
    if not lines:
        raise UnreadableInput("the series had not begun: nothing was sent", where=str(path), next_step="Start it anew")
    number = 1
    try:
        series = _series(_parse(lines[0]))
        entries = _planned(series)
        for number, line in enumerate(lines[1:], 2):  # noqa: B007 - the error names it
            event = _parse(line) or {}
            at = range(1, series.messages + 1).index(event["number"])
            entries[at] = _fold(entries[at], event)
    except (KeyError, ValueError, TypeError) as fault:
        raise UnreadableInput(
            f"line {number} of the journal does not read, so nobody knows what was sent",
            where=str(path),
            next_step="Look for the messages in the recipients' mailboxes, then start a new series with what is missing",
        ) from fault
    return series, entries, sum(len(line) + 1 for line in lines)


def unfinished(folder: Path | None = None) -> dict[str, Series]:
    """The series that were cut short or are under way, by their names, the oldest first."""
    found = {}
    for path in sorted((folder or journal_folder()).glob("*.jsonl")):
        with suppress(UnreadableInput):
            series, entries, _ = read_journal(path)
            if any(entry.state not in (State.ACCEPTED, State.REFUSED) for entry in entries):
                found[path.stem] = series
    return found


def _planned(series: Series) -> list[Entry]:
    return [Entry(number=number) for number in range(1, series.messages + 1)]


def _parse(line: bytes) -> dict[str, Any] | None:
    """The line's object; None where it holds none."""
    with suppress(ValueError, RecursionError):
        if isinstance(event := json.loads(line), dict):
            return event
    return None


def _series(event: dict[str, Any] | None) -> Series:
    series = Series(**(event or {}))
    profile = None if series.profile is None else build_profile(**cast("dict[str, Any]", series.profile))
    return replace(series, messages=int(series.messages), recipients=tuple(map(str, series.recipients)), profile=profile)


def _fold(entry: Entry, event: dict[str, Any]) -> Entry:
    """`entry` after one more event. What has ended stays as it is."""
    if entry.state in (State.ACCEPTED, State.REFUSED):
        raise ValueError("an event after the last")
    state = State(event["state"])
    kept = {name: str(event[name]) for name in ("message_id", "trace", "queue_id") if name in event}
    return replace(
        entry,
        state=state,
        time=float(event["time"]),
        code=int(event["code"]) if "code" in event else None,
        until=float(event["until"]) if "until" in event else None,
        recipients=tuple(map(str, event.get("recipients", ()))),
        rejected=tuple(map(str, event.get("rejected", entry.rejected))),
        tries=entry.tries + (state is State.LATER),
        **kept,  # type: ignore[arg-type]
    )


def _lock(folder: Path, name: str) -> sqlite3.Connection:
    """The lock of a series, until it is closed. SQLite's, as that works on every system and ends with its process."""
    path = folder / f"{name}.lock"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        with ExitStack() as stack:
            lock = stack.enter_context(closing(sqlite3.connect(path, timeout=0, isolation_level=None)))
            lock.execute("BEGIN EXCLUSIVE")
            stack.pop_all()
            return lock
    except (OSError, sqlite3.Error) as fault:
        if getattr(fault, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
            next_step = "Wait for it to end, or end it there; then go on here"
            raise UsageError(f"{name} is being sent right now, by another window or command", where="series", next_step=next_step) from None
        raise UnreadableInput(
            f"the journal of the series cannot be kept ({fault})", where=str(path), next_step="KIT_STATE_DIR names another folder"
        ) from fault
