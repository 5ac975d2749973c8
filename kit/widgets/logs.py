"""The panel of notebook 04: which log? One found here, one at a path, or one from the reader's own machine."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
import time
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import ipywidgets as w
import pandas as pd

from kit.errors import UsageError
from kit.logs.authlog import AuthLog, read_logs
from kit.logs.progress import EVERY
from kit.logs.source import Source
from kit.logs.table import SCHEMA
from kit.widgets.common import STYLE, UNTIL_GONE, dismiss, nearby_logs, say, spawn
from kit.widgets.explorer import Explorer

_USUAL: Final = ("/var/log/mail.log", "/var/log/maillog", "/var/log/mail")
_CHOOSE: Final = "choose one …"


class LogPanel(w.VBox):
    """Reads the log that somebody chooses and shows who fails in it; what cannot be read is told in words.

    Args:
        path: a file, a folder or a pattern.
        year: as `kit.read_logs` has it.
        tz: as `kit.read_logs` has it.

    Attributes:
        auth_log: the one that was read last; None before.
    """

    def __init__(self, path: str = "", *, year: int | None = None, tz: str | None = None) -> None:
        self.auth_log: AuthLog | None = None
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
        self.status, self._shown = w.HTML(), w.VBox()
        self.found.observe(self._choose, "value")
        self.button.on_click(lambda _: self.read())
        self.upload.observe(self._take, "value")
        row = w.HBox([self.found, self.path, self.button, self.upload], layout=w.Layout(flex_flow="row wrap"))
        super().__init__([w.HTML(STYLE), row, self.status, self._shown])

    @property
    def frame(self) -> pd.DataFrame:
        """Every try in the log, one a row; without a row before a log was read."""
        return self.auth_log.frame if self.auth_log else SCHEMA.empty_table().to_pandas()

    def read(self) -> asyncio.Task[None]:
        """Begins to read what the path names. Who awaits the task has it read, or told why not."""
        return self._start(self._read([os.path.expanduser(self.path.value.strip())]))  # noqa: PTH111 - pathlib refuses what it cannot expand

    def _choose(self, change: Any) -> None:
        if change["new"] != _CHOOSE:
            self.path.value = change["new"]
            self.read()

    def _take(self, change: Any) -> None:
        if change["new"]:
            self._start(self._read_uploads(change["new"]))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self._allow(False)
        return spawn(work, self.status, done=lambda: self._allow(True))

    def _allow(self, allowed: bool) -> None:
        self.found.disabled = self.button.disabled = self.upload.disabled = not allowed

    async def _read(self, paths: Sequence[str]) -> None:
        if not all(paths) or "-" in paths:  # the kernel's standard input is nobody's log
            raise UsageError("no log is named", where="Path", next_step="Choose one that was found here, or type the path of your own")
        loop, shown = asyncio.get_running_loop(), 0.0

        def tell(source: Source) -> None:
            nonlocal shown
            if time.monotonic() - shown >= EVERY:
                shown = time.monotonic()
                loop.call_soon_threadsafe(setattr, self.status, "value", say(f"Reading {source.name}: {source.taken / 1e6:,.0f} MB so far"))

        self.status.value = say("Reading …")
        log = await asyncio.to_thread(read_logs, paths, year=self._year, tz=self._tz, progress=tell)
        self.auth_log, before = log, self._shown.children
        self._shown.children = [Explorer(log)]
        for panel in before:
            loop.call_later(UNTIL_GONE, dismiss, panel)
        self.status.value = ""

    async def _read_uploads(self, files: Sequence[Any]) -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="kit-upload-") as folder:
                await self._read(await asyncio.to_thread(write_uploads, files, Path(folder)))
        finally:
            self.upload.value = ()  # what was sent is no part of the page


def found_logs() -> list[str]:
    """Paths of logs on this machine: the sample's folder and files, and where mail servers usually write."""
    samples = nearby_logs()
    folders = list(dict.fromkeys(str(path.parent) for path in samples))
    return [*folders, *map(str, samples), *(path for path in _USUAL if Path(path).is_file())]


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
