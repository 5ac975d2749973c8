"""Sends a series of twenty, or what is left of it, and is killed where it is told to by the one signal that nobody can catch.

Jobs come on standard input, a JSON object a line. Each is done by a process of its own, forked, as starting Python takes longer than
sending twenty messages; its end is told on standard output: `-9` where it was killed. What it has to say stands in `said.json`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kit.errors import UnreadableInput
from kit.model import Profile, Security, Step
from kit.redact import Secret
from kit.sending.entries import Series
from kit.sending.journal import Journal
from kit.sending.mail import Mail, mail
from kit.sending.message import build_test_message
from kit.sending.pace import Limit, Pace
from kit.sending.series import send_series
from kit.sending.transport import Streams

MESSAGES = 20
LINE, CONTENT = ("before a line", "half a line", "after a line"), ("half the content", "content out", "answer unread")


class Killer:
    """Kills this process where a kind of place is passed for the n-th time."""

    def __init__(self, kind: str | None, at: int) -> None:
        self.due = kind, at
        self.passed: Counter[str] = Counter()
        self.steps: list[str] = []
        self.content_out = False

    def passing(self, kind: str) -> None:
        if self.comes_to(kind):
            os.kill(os.getpid(), signal.SIGKILL)

    def comes_to(self, kind: str) -> bool:
        self.passed[kind] += 1
        return (kind, self.passed[kind]) == self.due

    def step(self, step: Step) -> None:
        self.steps.append(step.name)
        self.passing("step")

    def lie_in_wait(self) -> None:
        """At the journal's lines and on the wire."""
        write_line, write, hear = Journal._write, Streams.write, Streams.hear

        def line(journal: Journal, event: dict[str, Any]) -> None:
            self.passing("before a line")
            if self.comes_to("half a line"):
                journal._file.write(json.dumps(event).encode()[:-9])
                os.kill(os.getpid(), signal.SIGKILL)
            write_line(journal, event)
            self.passing("after a line")

        def out(wire: Streams, data: bytes) -> None:
            self.content_out = b"\r\nX-Kit-Trace: " in data
            if self.content_out and self.comes_to("half the content"):
                write(wire, data[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            write(wire, data)
            if self.content_out:
                self.passing("content out")

        async def answer(wire: Streams, patience: float | None = None) -> Any:
            if self.content_out:
                while not wire._inbox.data:
                    await wire._inbox.news()
                self.passing("answer unread")
                self.content_out = False
            return await hear(wire, patience)

        Journal._write, Streams.write, Streams.hear = line, out, answer  # type: ignore[method-assign, assignment]


def run(job: dict[str, Any]) -> None:
    killer = Killer(*(job["kill"] or (None, 0)))
    killer.lie_in_wait()
    folder, to = Path(job["folder"]), job["to"]

    def make(number: int) -> Mail:
        return mail(build_test_message(job["user"], [to], subject=f"{job['run']} number {number}"))

    profile = Profile(host="localhost", port=job["port"], security=Security.TLS, user=job["user"], ca_file=job["ca_file"])
    pace = Pace("a", [Limit(most=10_000, window="minute", seconds=60.0, source="a test")], path=folder / "book")
    series = Series(target="t", account="a", messages=MESSAGES, sender=job["user"], recipients=(to,))
    names = [path.stem for path in folder.glob("*.jsonl")]
    said: dict[str, Any] = {"fault": None}
    try:
        with Journal.resume(names[0], folder=folder) if names else Journal.start(series, now=datetime.now(UTC), folder=folder) as journal:
            secret = Secret(job["password"])
            result = asyncio.run(
                send_series(profile, make, secret, pace=pace, journal=journal, on_step=killer.step, budget=folder / "book")
            )
        said["entries"] = [(entry.number, entry.state, entry.message_id) for entry in result.entries]
        said["evidence"] = [text for finding in result.findings for text in finding.evidence]
        said["steps"] = killer.steps
    except UnreadableInput as fault:
        said["fault"] = str(fault)
    (folder / "said.json").write_text(json.dumps(said))


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            run(job)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
