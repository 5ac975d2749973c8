"""`kit sandbox` as a person runs it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from kit.sandbox.scenarios import scenarios

KIT = [sys.executable, "-m", "kit", "sandbox"]


def run(*arguments):
    return subprocess.run([*KIT, *arguments], capture_output=True, text=True, timeout=30, check=False)


@contextmanager
def running(*arguments):
    """The process, and what it has printed up to the live transcript."""
    process = subprocess.Popen([*KIT, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        head = []
        while (line := process.stdout.readline()) and not line.startswith("Ctrl-C"):
            head.append(line)
        yield process, "".join(head)
    finally:
        process.terminate()  # not killed: it clears its folder away
        process.communicate(timeout=10)


def ready_command(head, verb):
    (line,) = (line.strip() for line in head.splitlines() if f"kit {verb} " in line)
    return line.replace("| kit ", f"| {sys.executable} -m kit ")


def test_list_names_them_all():
    answer = run("--list")
    assert (answer.returncode, answer.stderr) == (0, "")
    lines = answer.stdout.splitlines()
    for scenario in scenarios():
        assert lines.index(f"{scenario.group}:") < lines.index(f"  {scenario.name:<27} {scenario.title}")
    assert "m365-smtp-auth-off-tenant" in answer.stdout  # of reply:ID
    assert len(lines) < 60
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("name", ["reply:nonesuch", "reply:name-not-found", "reset:nowhere", "rcpt:hello", "connect:550 No", ":"])
def test_what_cannot_be_played_is_wrong_use(name):
    answer = run("--scenario", name)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert name.rpartition(":")[2] in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_unknown_scenario_is_wrong_use():
    answer = run("--scenario", "nonesuch")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "nonesuch" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert all(scenario.name in answer.stderr for scenario in scenarios())


@pytest.mark.needs("linux")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_shows_how_to_try_it_and_what_is_said_until_it_is_stopped(end, tmp_path):
    with running("--scenario", "wrong-password") as (process, head):
        ca_file = Path(re.search(r"authority +(\S+)", head)[1])
        password = re.search(r"  password +(\S+)", head)[1]
        assert ca_file.exists()
        env = {**os.environ, "KIT_STATE_DIR": str(tmp_path), "KIT_CONFIG_DIR": str(tmp_path)}
        check = subprocess.run(ready_command(head, "check"), shell=True, capture_output=True, text=True, timeout=30, env=env, check=False)
        assert (check.returncode, check.stderr) == (1, "")
        assert "535 5.7.8" in check.stdout
        live = ""
        while "S: 535 5.7.8" not in live:
            live += process.stdout.readline()
        assert "C: AUTH PLAIN [hidden]" in live
        process.send_signal(end)
        rest, errors = process.communicate(timeout=10)
        assert (process.returncode, errors) == (0, "")
        assert password not in live + rest
        assert not ca_file.parent.exists()


@pytest.mark.needs("linux")
def test_the_ready_command_sends(tmp_path):
    with running() as (_, head):
        env = {**os.environ, "KIT_STATE_DIR": str(tmp_path), "KIT_CONFIG_DIR": str(tmp_path)}
        sent = subprocess.run(ready_command(head, "send"), shell=True, capture_output=True, text=True, timeout=30, env=env, check=False)
        assert (sent.returncode, sent.stderr) == (0, "")
        assert "SANDBOX1" in sent.stdout


@pytest.mark.needs("linux")
def test_it_ends_in_peace_when_nobody_reads_any_more():
    with running() as (process, head):
        port = int(re.search(r"port (\d+) \(STARTTLS\)", head)[1])
        process.stdout.close()
        for _ in range(50):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except ConnectionRefusedError:
                break
            time.sleep(0.1)
        assert process.wait(10) == 0
        assert "Traceback" not in process.stderr.read()
