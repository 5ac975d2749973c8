"""A series of twenty to a real Postfix, its process killed at every kind of place: nothing arrives twice, nothing is lost in silence.

The mailbox is the judge of what arrived, and the reasoning beside each kind of place says which message must be in doubt.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

import pytest

from tests.conftest import REQUIRE_ALL
from tests.live import killed
from tests.live.killed import CONTENT, LINE, MESSAGES
from tests.servers.postfix_dovecot import postfix_with_dovecot

pytestmark = pytest.mark.needs("postfix", "dovecot", "syslog")
ALICE, BOB = "alice@example.test", "bob@example.test"
BEGINNING = ["resolve", "connect", "tls", "banner", "ehlo", "auth"]
OF_A_MESSAGE = ["mail", "rcpt", "data", "message"]
EVERY = range(1, MESSAGES + 1)
AT_ONCE = 4  # it is the server's disk that is waited for


@pytest.fixture(scope="module", params=[True, False], ids=["PIPELINING", "one by one"])
def pipelining(request):
    return request.param


@pytest.fixture(scope="module")
def postfix(pipelining):
    with postfix_with_dovecot(settings="" if pipelining else "smtpd_discard_ehlo_keywords = pipelining") as servers:
        yield servers


@pytest.fixture(scope="module")
def send(postfix):
    """Sends a series, or what is left of it, in a process of its own. How that ended, and what it said."""
    settings = {"port": postfix.submissions_port, "ca_file": postfix.ca_file, "user": ALICE, "to": BOB, "password": postfix.users[ALICE]}
    free: Queue[subprocess.Popen[str]] = Queue()
    for _ in range(AT_ONCE):
        free.put(subprocess.Popen([sys.executable, killed.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))

    def go(folder: Path, kill: tuple[str, int] | None = None) -> tuple[int, dict]:
        said = folder / "said.json"
        said.unlink(missing_ok=True)
        helper = free.get()
        print(json.dumps(settings | {"folder": str(folder), "run": folder.name, "kill": kill}), file=helper.stdin, flush=True)
        code = int(helper.stdout.readline())
        free.put(helper)
        return code, json.loads(said.read_text()) if said.exists() else {}

    yield go
    for _ in range(AT_ONCE):
        free.get(timeout=10).communicate()


def arrived(postfix) -> dict[str, dict[int, list[str]]]:
    """The Message-IDs in the mailbox by run and number, once the server has nothing more to deliver."""
    queues = [postfix.folder / "queue" / name for name in ("incoming", "active", "deferred")]
    deadline = time.monotonic() + 30
    while any(path.is_file() for queue in queues for path in queue.rglob("*")):
        assert time.monotonic() < deadline, "messages wait in the server's queue"
        time.sleep(0.1)
    found: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for copy in postfix.mailbox(BOB):
        run, number = re.search(rb"^Subject: (\S+) number (\d+) ", copy, re.MULTILINE).groups()
        found[run.decode()][int(number)].append(re.search(rb"^Message-ID:\s+(\S+)", copy, re.MULTILINE)[1].decode())
    return found


def places(*, pipelining: bool) -> dict[tuple[str, int], int | None]:
    """Where it is killed, and which message is in doubt then: one whose content may be out, and that has no answer in the journal."""
    chosen = EVERY if REQUIRE_ALL and pipelining else (1, 10, MESSAGES) if pipelining else (2, MESSAGES)
    steps = [(name, None) for name in BEGINNING]
    steps += [(name, number) for number in EVERY for name in OF_A_MESSAGE]
    steps.append(("quit", MESSAGES))
    found = {}
    for at, (name, number) in enumerate(steps, 1):
        if number is None or number in chosen:
            # The answer to QUIT vouches for the one to the last content, so both are read before the journal has them.
            found["step", at] = number if name in ("message", "quit") else None
    for number in chosen:
        before, answered = 2 * number, 2 * number + 1  # the journal's lines about it; the first line is about the series
        found |= {(kind, before): None for kind in LINE} | {(kind, answered): number for kind in LINE}
        found["after a line", before], found["after a line", answered] = number, None
        found |= {(kind, number): number for kind in CONTENT}
    return found


def check(said: dict, copies: dict[int, list[str]]) -> set[int]:
    """Nothing twice, nothing lost in silence, each doubtful one named. Which are doubtful?"""
    assert said["fault"] is None
    assert [number for number, _, _ in said["entries"]] == list(EVERY)
    for number, state, message_id in said["entries"]:
        assert state in ("accepted", "handed-over")
        assert copies[number] in ([[message_id]] if state == "accepted" else [[message_id], []]), number
    doubtful = {number: message_id for number, state, message_id in said["entries"] if state == "handed-over"}
    assert all(f"Message-ID: {message_id}" in said["evidence"] for message_id in doubtful.values())
    return set(doubtful)


def test_not_killed_it_has_the_steps_that_are_counted_on(send, tmp_path):
    code, said = send(tmp_path)
    assert code == 0
    assert said["steps"] == [*BEGINNING, *OF_A_MESSAGE * MESSAGES, "quit"]


def test_killed_anywhere_nothing_arrives_twice_and_nothing_is_lost_in_silence(send, postfix, pipelining, tmp_path):
    def run(place: tuple[str, int]) -> dict:
        folder = tmp_path / "-".join(map(str, place)).replace(" ", "-")
        folder.mkdir()
        assert send(folder, place) == (-9, {}), place
        code, said = send(folder)
        assert code == 0, place
        return {"run": folder.name, **said}

    expected = places(pipelining=pipelining)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        said = list(pool.map(run, expected))
    mailbox = arrived(postfix)
    for ((kind, at), doubtful), what in zip(expected.items(), said, strict=True):
        copies = mailbox[what["run"]]
        assert check(what, copies) == ({doubtful} if doubtful else set()), (kind, at)
        if doubtful and kind != "content out":  # there it is the server's to say
            # The journal was ready and the content not out, or half of it; or else there was an answer, read or unread.
            assert len(copies[doubtful]) == (0 if kind in ("after a line", "half the content") else 1), (kind, at)


@pytest.mark.parametrize("kind", LINE[:2])
def test_killed_before_it_has_begun_nothing_is_sent(send, postfix, tmp_path, kind):
    assert send(tmp_path, (kind, 1)) == (-9, {})
    code, said = send(tmp_path)
    assert code == 0
    assert "had not begun: nothing was sent" in said["fault"]
    assert not arrived(postfix)[tmp_path.name]


def test_killed_again_and_again_it_comes_to_its_end(send, postfix, tmp_path):
    """Every process sends one message, and is killed when the content of the next is out."""
    for _ in range(MESSAGES // 2):
        assert send(tmp_path, ("content out", 2)) == (-9, {})
    code, said = send(tmp_path)
    assert code == 0
    assert check(said, arrived(postfix)[tmp_path.name]) == set(range(2, MESSAGES + 1, 2))
