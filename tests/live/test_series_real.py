"""A series to a real Postfix, its process killed on the way: what arrives, and what the journal says of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import Counter

import pytest

from kit.sending.journal import State, read_journal

pytestmark = pytest.mark.needs("postfix", "dovecot", "syslog", "linux")
ALICE, BOB = "alice@example.test", "bob@example.test"

# Sends a series, or what is left of it; is killed at a step by the one signal that nobody can catch.
SENDER = """
import asyncio, json, os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from kit.model import Profile, Security
from kit.redact import Secret
from kit.sending.journal import Journal, Series
from kit.sending.mail import mail
from kit.sending.message import build_test_message
from kit.sending.pace import Limit, Pace
from kit.sending.series import send_series

given = json.loads(sys.stdin.read())
folder, left = Path(given["folder"]), given["steps"]

def step(_):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

profile = Profile(host=given["host"], port=given["port"], security=Security.TLS, user=given["user"], ca_file=given["ca_file"])
pace = Pace("a", [Limit(most=10_000, window="minute", seconds=60.0, source="a test")], path=folder / "book")
series = Series(target="t", account="a", messages=20, sender=given["user"], recipients=(given["to"],))
names = sorted(folder.glob("*.jsonl"))
with Journal.resume(names[0].stem, folder=folder) if names else Journal.start(series, now=datetime.now(UTC), folder=folder) as journal:
    asyncio.run(send_series(
        profile, lambda number: mail(build_test_message(given["user"], [given["to"]], subject=f"{given['run']} number {number}")),
        Secret(given["password"]), pace=pace, journal=journal, on_step=step, budget=folder / "book",
    ))
"""


@pytest.mark.parametrize("steps", [3, 9, 13, 14, 15, 16, 17, 18, 40, 60])
def test_killed_nothing_arrives_twice_and_nothing_is_lost(postfix_dovecot, tmp_path, steps):
    """With PIPELINING a message has four steps: MAIL, RCPT, DATA and the message itself. What begins, ends at about the tenth."""
    run = f"run-{steps}"
    given = {
        "folder": str(tmp_path),
        "host": postfix_dovecot.host,
        "port": postfix_dovecot.submissions_port,
        "ca_file": postfix_dovecot.ca_file,
        "user": ALICE,
        "to": BOB,
        "password": postfix_dovecot.users[ALICE],
        "run": run,
    }

    def send(steps: int) -> int:
        return subprocess.run(
            [sys.executable, "-c", SENDER], input=json.dumps(given | {"steps": steps}), text=True, check=False, timeout=60
        ).returncode

    assert send(steps) == -9
    (path,) = tmp_path.glob("*.jsonl")
    assert send(0) == 0
    entries = read_journal(path)[1]
    accepted = {entry.number for entry in entries if entry.state is State.ACCEPTED}
    doubtful = {entry.number for entry in entries if entry.state is State.HANDED_OVER}
    assert accepted | doubtful == set(range(1, 21))
    assert len(doubtful) <= 1
    assert all(entry.message_id for entry in entries)

    def arrived() -> Counter[int]:
        found = (re.search(rb"Subject: %s number (\d+) " % run.encode(), each) for each in postfix_dovecot.mailbox(BOB))
        return Counter(int(each[1]) for each in found if each)

    deadline = time.monotonic() + 20
    while not accepted <= set(arrived()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert accepted <= set(arrived()) <= accepted | doubtful
    assert set(arrived().values()) == {1}
