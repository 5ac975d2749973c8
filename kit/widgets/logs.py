"""The panel of notebook 04: which log? One found here, one at a path, or one from the reader's own machine."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
import time
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event, RLock
from typing import Any, Final

import ipywidgets as w
import pandas as pd

from kit.errors import UnreadableInput, UsageError
from kit.logs.authlog import AuthLog, LogReader, collect, read_logs
from kit.logs.progress import EVERY
from kit.logs.pseudonyms import Pseudonyms
from kit.logs.source import Source
from kit.logs.table import SCHEMA
from kit.logs.tail import JOURNAL, PAUSE, Tail
from kit.logs.view import Filter
from kit.widgets.common import STYLE, UNTIL_GONE, dismiss, nearby_logs, say, spawn
from kit.widgets.explorer import Explorer

_USUAL: Final = ("/var/log/mail.log", "/var/log/maillog", "/var/log/mail")
_CHOOSE: Final = "choose one …"
_SHARE: Final = 10
"""A log that is followed is looked at no more often than that what this takes is a tenth of the time."""
_NAP: Final = 0.1
"""Seconds until what somebody presses is seen while a log is followed."""
_NO_NAMES: Final = ("outcome", "cause", "service", "server")

_names = Pseudonyms()
"""Those of this session, for all panels."""


class LogPanel(w.VBox):
    """Reads the log that somebody chooses and shows who fails in it; what cannot be read is told in words.

    With `Follow` it goes on reading while the log is written. With `Hide names` all that it shows, and all that is made from it, holds
    pseudonyms in the place of users, hosts and addresses.

    Args:
        path: a file, a folder or a pattern.
        year: as `kit.read_logs` has it.
        tz: as `kit.read_logs` has it.
    """

    def __init__(self, path: str = "", *, year: int | None = None, tz: str | None = None) -> None:
        self._log: AuthLog | None = None
        self._hidden: tuple[AuthLog, AuthLog] | None = None  # a log, and what is shown in its place
        self._kept: Filter | None = None  # what is looked at next
        # Lab lets a thread of its own handle what the page says, while the log is followed in another.
        self._wake, self._lock = Event(), RLock()
        self._year, self._tz = year, tz
        self.found = w.Dropdown(description="Found here", options=[_CHOOSE, *found_logs()])
        self.path = w.Text(description="Path", value=path, placeholder="/var/log/mail.log", layout=w.Layout(width="min(480px, 95%)"))
        self.button = w.Button(description="Read", button_style="primary")
        self.upload = w.FileUpload(
            description="From your computer",
            tooltip="Send logs from the machine this page is on",
            multiple=True,
            layout=w.Layout(width="auto"),
        )
        self.follow = w.ToggleButton(description="Follow", tooltip="Go on reading while the log is written; press again to stop")
        self.hide = w.ToggleButton(
            description="Hide names",
            tooltip="Show pseudonyms in the place of users, hosts and addresses. Output of other cells stays as it is",
        )
        self.status, self._shown = w.HTML(), w.VBox()
        self.found.observe(self._choose, "value")
        self.button.on_click(lambda _: self.read())
        self.upload.observe(self._take, "value")
        self.follow.observe(self._follow_or_stop, "value")
        self.hide.observe(self._hide_or_not, "value")
        row = w.HBox([self.found, self.path, self.button, self.upload, self.follow, self.hide], layout=w.Layout(flex_flow="row wrap"))
        super().__init__([w.HTML(STYLE), row, self.status, self._shown])

    @property
    def auth_log(self) -> AuthLog | None:
        """The log that was read last, as it is shown; None before."""
        if self._log is None or not self.hide.value:
            return self._log
        if self._hidden is None or self._hidden[0] is not self._log:
            self._hidden = self._log, _names.hide(self._log)
        return self._hidden[1]

    @property
    def frame(self) -> pd.DataFrame:
        """Every try in it, one a row; without a row before a log was read."""
        return self.auth_log.frame if self.auth_log else SCHEMA.empty_table().to_pandas()

    def read(self) -> asyncio.Task[None]:
        """Begins to read what the path names. Who awaits the task has it read, or told why not; what is followed, until that ends."""
        path = os.path.expanduser(self.path.value.strip())  # noqa: PTH111 - pathlib refuses what it cannot expand
        if path == JOURNAL[0] and not self.follow.value:
            self.follow.value = True  # it has no end, and begins at once
        elif self.follow.value:
            self._start(self._follow(path))
        else:
            self._start(self._read([path]))
        return self._task

    def _choose(self, change: Any) -> None:
        if change["new"] != _CHOOSE:
            self.path.value = change["new"]
            self.read()

    def _take(self, change: Any) -> None:
        if change["new"]:
            self._start(self._read_uploads(change["new"]))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._allow(False)
        self._task = spawn(work, self.status, done=lambda: self._allow(True))

    def _allow(self, allowed: bool) -> None:
        self.found.disabled = self.button.disabled = self.upload.disabled = not allowed
        self.follow.disabled = self.hide.disabled = not allowed and not self.follow.value

    async def _read(self, paths: Sequence[str]) -> None:
        _named(paths)
        loop, shown = asyncio.get_running_loop(), 0.0

        def tell(source: Source) -> None:
            nonlocal shown
            if time.monotonic() - shown >= EVERY:
                shown = time.monotonic()
                which = "" if self.hide.value else f" {source.name}"
                loop.call_soon_threadsafe(setattr, self.status, "value", say(f"Reading{which}: {source.taken / 1e6:,.0f} MB so far"))

        def load() -> AuthLog:
            if self.hide.value:  # nothing of it is kept for the next time
                return collect(LogReader(paths, year=self._year, zone=self._tz, progress=tell))
            return read_logs(paths, year=self._year, tz=self._tz, progress=tell)

        self.status.value = say("Reading …")
        with self._unnamed():
            log = await asyncio.to_thread(load)
        await self._show(log)
        self.status.value = ""

    @contextmanager
    def _unnamed(self) -> Iterator[None]:
        """What is said where reading fails names no file while names are hidden."""
        try:
            yield
        except UnreadableInput as fault:
            if self.hide.value:
                raise UnreadableInput(fault.what, where="the log") from None
            raise

    async def _read_uploads(self, files: Sequence[Any]) -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="kit-upload-") as folder:
                await self._read(await asyncio.to_thread(write_uploads, files, Path(folder)))
        finally:
            self.upload.value = ()  # what was sent is no part of the page

    # ------------------------------------------------------------------------------------ a log that is written

    def _follow_or_stop(self, change: Any) -> None:
        if change["new"]:
            self.read()
        else:
            self._wake.set()

    async def _follow(self, path: str) -> None:
        try:
            _named([path])
            self.status.value = say("Reading …")
            origin: dict[str, Any] = {"command": JOURNAL} if path == JOURNAL[0] else {"paths": [path]}
            with self._unnamed(), await asyncio.to_thread(partial(Tail, **origin, year=self._year, zone=self._tz)) as tail:
                await self._keep_up(tail)
        finally:
            self.follow.value = False

    async def _keep_up(self, tail: Tail) -> None:
        said = f"since {datetime.now(UTC):%H:%M:%S} UTC no line has come"
        first = True
        while self.follow.value:
            self._wake.clear()
            began = time.process_time()
            if grown := await asyncio.to_thread(tail.look):
                said = said if first else f"the last line came at {datetime.now(UTC):%H:%M:%S} UTC"
            if grown or first or tail.ended or not self._shown.children:
                await self._show(await asyncio.to_thread(lambda: tail.log), again=not first)
            self.status.value = say(f"Following: {said}")
            if tail.ended:
                raise UnreadableInput("what was followed has ended", where=tail.name)
            spent = 0.0 if first else time.process_time() - began  # the panel itself is made once
            first = False
            until = time.monotonic() + max(PAUSE, _SHARE * spent)
            while not self._wake.is_set() and time.monotonic() < until:  # noqa: ASYNC110 - another thread may set it
                await asyncio.sleep(_NAP)
        self.status.value = say(f"Followed no more: {said}")

    # ------------------------------------------------------------------------------------ what is shown

    def _hide_or_not(self, _: Any) -> None:
        self.found.options = [_CHOOSE] if self.hide.value else [_CHOOSE, *found_logs()]
        self.status.value = ""
        with self._lock:
            self._kept = next((_without_names(shown.filter) for shown in self._shown.children if isinstance(shown, Explorer)), None)
            self._put(())
        if self.follow.value:
            self._wake.set()
        elif self._log:
            self._start(self._show(self._log))

    async def _show(self, log: AuthLog, *, again: bool = False) -> None:
        """Shows a log; again, where it has grown since it was shown."""
        self._log, hide = log, self.hide.value
        shown = await asyncio.to_thread(lambda: self.auth_log)
        with self._lock:
            if hide == self.hide.value and shown is not None:
                if again and self._shown.children:
                    self._shown.children[0].renew(shown)
                    return
                explorer = Explorer(shown, hidden=hide)
                if self._kept:
                    explorer.look(self._kept)
                self._kept = None
                self._put((explorer,))
                return
        await self._show(log, again=again)  # somebody has pressed meanwhile

    def _put(self, panels: tuple[Explorer, ...]) -> None:
        before, self._shown.children = self._shown.children, panels
        for panel in before:
            if self.hide.value:
                dismiss(panel)
            else:
                asyncio.get_running_loop().call_later(UNTIL_GONE, dismiss, panel)


def _named(paths: Sequence[str]) -> None:
    if not all(paths) or "-" in paths:  # the kernel's standard input is nobody's log
        raise UsageError("no log is named", where="Path", next_step="Choose one that was found here, or type the path of your own")


def _without_names(wanted: Filter) -> Filter:
    """What can be looked at in another log's names."""
    return replace(wanted, only={column: values for column, values in wanted.only.items() if column in _NO_NAMES})


def found_logs() -> list[str]:
    """Paths of logs on this machine: the sample's folder and files, where mail servers usually write, and what prints the journal."""
    samples = nearby_logs()
    folders = list(dict.fromkeys(str(path.parent) for path in samples))
    journal = [JOURNAL[0]] if shutil.which(JOURNAL[0]) else []
    return [*folders, *map(str, samples), *(path for path in _USUAL if Path(path).is_file()), *journal]


def write_uploads(files: Iterable[Any], folder: Path) -> list[str]:
    """Uploaded files as files, the oldest first, with the time they had: the year of a log may follow from it.

    Args:
        files: each with `name`, `content` and `last_modified`, as ipywidgets has them. A name may be anything.
        folder: an empty one.
    """
    paths = []
    for number, file in enumerate(sorted(files, key=lambda file: file.last_modified)):
        path = folder / str(number) / (re.sub(r"[^\w.-]", "_", file.name)[-100:].strip(".") or "log")
        path.parent.mkdir()
        path.write_bytes(file.content)
        os.utime(path, (file.last_modified.timestamp(),) * 2)
        paths.append(str(path))
    return paths
