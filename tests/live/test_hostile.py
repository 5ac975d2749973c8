"""Hostile servers, one after the other a way to hang, flood, forge or confuse: the kit ends in time, says what it met, and tells no secret."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import kit
from kit.checks.survey import Survey, survey
from kit.model import Cause, CheckResult, Finding, Outcome, Profile, SendResult, to_plain
from kit.redact import Secret
from kit.sending.message import build_test_message
from kit.sending.send import send
from tests.live.hostile_servers import (
    ALSO,
    SERVERS,
    TOKEN,
    Certificates,
    Running,
    escapes,
    gone_after_success,
    parrot,
    run,
    thousands_of_mechanisms,
)

pytestmark = pytest.mark.needs("linux")  # /proc tells how much memory a process had at most, and which files are open

USER, PASSWORD = "anna@example.test", 'Zwölf "Hasen" \\7'
TIMEOUT = 2.0  # seconds for one step, as given to the kit
# One step fails by its time-out, saying goodbye to a server that is there but silent takes as long again, hanging up a second.
BOUND = 2 * TIMEOUT + 1
SLACK = 2.0  # seconds that two busy cores may take for everything else
START = 6.0  # seconds in which such a machine starts the command
MEMORY = 150  # MB; Python with asyncio, ssl and the kit takes 50
NAMES = [server.__name__ for server in SERVERS]


@dataclass
class Checked:
    """What `kit.check` made of a server, in this process, then the look around, and `kit.send`."""

    result: CheckResult
    around: Survey
    mailed: SendResult
    seconds: float
    mailed_in: float
    server: Running


@dataclass
class Commanded:
    """What `kit check` made of it, in a process of its own."""

    code: int
    out: str
    err: str
    seconds: float
    memory: float
    server: Running


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def checked(certificates, tmp_path_factory):
    """Every server checked in one loop, and what was open before and after."""
    folder, gate, done, left = tmp_path_factory.mktemp("budget"), asyncio.Semaphore(8), {}, {}

    async def one(server, expected, running):
        profile = Profile(
            host="127.0.0.1",
            port=running.port,
            security=expected.security,
            user=USER,
            mechanism=expected.mechanism,
            timeout=TIMEOUT,
            ca_file=certificates.pki.ca_file,
        )
        secret, budget = Secret(TOKEN if expected.mechanism else PASSWORD), folder / "budget.sqlite"
        async with gate:
            began = time.monotonic()
            result = await kit.check(profile, secret, budget=budget)
            seconds, around, began = time.monotonic() - began, await survey(profile), time.monotonic()
            mailed = await send(profile, build_test_message(USER, ["ben@example.test"]), secret, budget=budget)
            done[server.__name__] = Checked(result, around, mailed, seconds, time.monotonic() - began, running)

    async def everyone(running):
        await asyncio.gather(*(one(server, expected, running[server]) for server, expected in SERVERS.items()))
        left["tasks"] = asyncio.all_tasks() - {asyncio.current_task()}

    before = _open_files(), threading.active_count()
    with ExitStack() as stack:
        asyncio.run(everyone({server: stack.enter_context(run(server, certificates)) for server in SERVERS}))
    left["files"], left["threads"] = _open_files() - before[0], threading.active_count() - before[1]
    return done, left


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(scope="module")
def commanded(certificates, tmp_path_factory):
    """The command let loose on every server, four at once."""
    folder = tmp_path_factory.mktemp("command")

    def one(server):
        with run(server, certificates) as running:
            return _command(server, running, certificates.pki.ca_file, folder)

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(NAMES, pool.map(one, SERVERS), strict=True))


# The kit as `python -m kit` runs it, and at its end how much memory it had at most. (getrusage would count this process too,
# of which it is a copy in its first moment.)
CHILD = """
import atexit, pathlib, runpy, sys
file = pathlib.Path(sys.argv.pop(1))
atexit.register(lambda: file.write_text(pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]))
runpy.run_module("kit", run_name="__main__", alter_sys=True)
"""


def _command(server, running: Running, ca_file: str, folder: Path, *more: str) -> Commanded:
    expected = (SERVERS | ALSO)[server]
    memory = folder / f"{server.__name__}.kB"
    env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_START") if name in os.environ}
    env |= {
        "KIT_CONFIG_DIR": str(folder / "config"),
        "KIT_STATE_DIR": str(folder / "state"),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "PYTHONIOENCODING": "utf-8",
    }
    options = {
        "--port": running.port,
        "--security": expected.security,
        "--user": USER,
        "--timeout": TIMEOUT,
        "--ca": ca_file,
    }
    if expected.mechanism:
        options["--mechanism"] = expected.mechanism
    began = time.monotonic()
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            CHILD,
            memory,
            "check",
            "127.0.0.1",
            "--password-stdin",
            *(str(x) for pair in options.items() for x in pair),
            *more,
        ],
        input=(TOKEN if expected.mechanism else PASSWORD).encode() + b"\n",
        capture_output=True,
        env=env,
        timeout=60,
        check=False,
    )
    return Commanded(
        done.returncode, done.stdout.decode(), done.stderr.decode(), time.monotonic() - began, int(memory.read_text()) / 1024, running
    )


def fits(expected, findings: tuple[Finding, ...]) -> bool:
    return any(
        finding.cause is expected.cause
        and expected.title in finding.title
        and any(re.search(expected.evidence, text) for text in finding.evidence or ("",))
        for finding in findings
    )


# --- in this process -----------------------------------------------------------------------------------------------------


def test_there_are_twenty_and_more():
    assert len(SERVERS) >= 20


@pytest.mark.parametrize(("server", "expected"), SERVERS.items(), ids=NAMES)
def test_the_finding_names_the_fault(checked, server, expected):
    result = checked[0][server.__name__].result
    assert fits(expected, result.findings), result.findings
    assert not result.ok


@pytest.mark.parametrize("name", NAMES)
def test_no_expectation_fits_another_server(checked, name):
    findings = checked[0][name].result.findings
    assert [server.__name__ for server, expected in SERVERS.items() if fits(expected, findings)] == [name]


@pytest.mark.parametrize(("server", "expected"), SERVERS.items(), ids=NAMES)
def test_a_mail_meets_the_same_fault(checked, server, expected):
    mailed = checked[0][server.__name__].mailed
    if server is gone_after_success:  # a check says NOOP there
        expected = replace(expected, evidence="^mail: ")
    assert fits(expected, mailed.findings), mailed.findings
    assert not mailed.ok
    assert mailed.accepted == ()


@pytest.mark.parametrize("name", NAMES)
def test_a_mail_ends_in_time_and_tells_no_password(checked, name):
    assert checked[0][name].mailed_in < BOUND + SLACK
    assert not _holds_the_password(repr(checked[0][name].mailed) + json.dumps(to_plain(checked[0][name].mailed), ensure_ascii=False))


@pytest.mark.parametrize(("server", "expected"), SERVERS.items(), ids=NAMES)
def test_the_look_around_names_it_too_as_far_as_it_gets(checked, server, expected):
    (probe,) = checked[0][server.__name__].around.probes
    if server.__name__ in ASKED:
        assert probe.problem is None
    else:
        assert probe.problem
        assert fits(expected, (probe.problem,))


@pytest.mark.parametrize("name", ["hello_refused", "reset_in_the_handshake"])
def test_hanging_up_on_every_hello_says_nothing_about_versions(checked, name):
    assert checked[0][name].around.findings == ()  # the check has one finding, and that is it


@pytest.mark.parametrize("name", NAMES)
def test_each_ends_in_time(checked, name):
    assert checked[0][name].seconds < BOUND + SLACK


def test_nothing_is_left_behind(checked):
    assert checked[1] == {"tasks": set(), "files": 0, "threads": 0}


@pytest.mark.parametrize("name", NAMES)
def test_the_password_is_in_nothing_that_comes_of_it(checked, name):
    result = checked[0][name].result
    assert not _holds_the_password(repr(result) + json.dumps(to_plain(result), ensure_ascii=False))


@pytest.mark.parametrize("name", NAMES)
def test_the_password_goes_to_nobody_but_a_server_with_a_good_certificate(checked, name):
    server = checked[0][name].server
    assert b"AUTH" not in server.heard
    assert (b"AUTH" in server.told) is (name in ASKED)


@pytest.mark.parametrize("name", NAMES)
def test_the_attempt_is_what_became_of_it(checked, name):
    attempt = checked[0][name].result.attempt
    assert (attempt and attempt.outcome) == ASKED.get(name)


# These let the client come as far as AUTH, inside TLS with a good certificate. Without a verdict, or with one that proves nothing, the attempt is
# aborted; only 235 is success.
ASKED = {
    **dict.fromkeys(
        (
            "tarpit",
            "questions_without_end",
            "asks_twice",
            "mixed_verdict",
            "plain_inside_tls",
            "huge_question",
            "a_hundred_thousand_lines",
            "work_without_end",
            "impostor",
        ),
        Outcome.ABORTED,
    ),
    **dict.fromkeys(("yes_to_auth", "escapes", "latin_1", "parrot", "old_token", "parrot_of_a_token"), Outcome.FAILURE),
    "parrot_in_pieces": Outcome.FAILURE,
    "gone_after_success": Outcome.SUCCESS,
}


def _holds_the_password(text: str) -> list[str]:
    """In which forms it stands there: as typed, as a literal, in base64 at each of the places that it may have in a blob."""
    raw = PASSWORD.encode()
    blobs = {base64.b64encode(before + raw)[4:-4].decode() for before in (b"\0" * 3, b"\0" * 4, b"\0" * 5)}
    forms = {PASSWORD, TOKEN[:8], repr(PASSWORD)[1:-1], ascii(PASSWORD)[1:-1], json.dumps(PASSWORD)[1:-1], "Hasen", *blobs}
    return [form for form in forms if form in text]


def test_the_search_for_the_password_would_find_it():
    blob = base64.b64encode(b"\0".join((b"", USER.encode(), PASSWORD.encode()))).decode()
    assert all(
        _holds_the_password(text)
        for text in (f"is {PASSWORD}!", f"Bearer {TOKEN[:20]}", f"{PASSWORD!r}", f"{PASSWORD!a}", json.dumps([PASSWORD]), blob)
    )


# --- the command -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("server", "expected"), SERVERS.items(), ids=NAMES)
def test_the_command_says_so_and_ends_with_1(commanded, server, expected):
    done = commanded[server.__name__]
    assert (done.code, done.err) == (1, ""), done.out + done.err
    findings = [line for line in done.out.split("\n\n")[-1].splitlines() if line.startswith(("✗ error: ", "! warning: "))]
    title, cause = expected.closer or expected.title, f"({expected.cause})"
    assert any(title in line and line.endswith(cause) for line in findings), done.out


@pytest.mark.parametrize("name", NAMES)
def test_the_command_ends_in_time(commanded, name):
    assert commanded[name].seconds < START + 2 * BOUND + SLACK  # it looks around first, and that takes as long again


@pytest.mark.parametrize("name", NAMES)
def test_memory_is_bounded(commanded, name):
    assert commanded[name].memory < MEMORY


@pytest.mark.parametrize("name", NAMES)
def test_no_control_byte_reaches_the_terminal(commanded, name):
    done = commanded[name]
    assert all(letter.isprintable() or letter == "\n" for letter in done.out + done.err)  # bidi marks are not printable either


@pytest.mark.parametrize("name", NAMES)
def test_neither_password_nor_traceback(commanded, name):
    done = commanded[name]
    assert not _holds_the_password(done.out + done.err)
    assert "Traceback" not in done.out + done.err
    assert b"AUTH" not in done.server.heard
    assert (b"AUTH" in done.server.told) is (name in ASKED)


def test_what_is_shown_is_bounded(certificates, tmp_path):
    with run(thousands_of_mechanisms, certificates) as running:
        done = _command(thousands_of_mechanisms, running, certificates.pki.ca_file, tmp_path)
    assert done.code == 1
    assert max(map(len, done.out.splitlines())) < 1000


@pytest.mark.parametrize("server", [escapes, parrot], ids=lambda server: server.__name__)
def test_json_is_as_harmless(certificates, tmp_path, server):
    with run(server, certificates) as running:
        done = _command(server, running, certificates.pki.ca_file, tmp_path, "--json")
    assert (done.code, done.err) == (1, "")
    assert fits(SERVERS[server], tuple(_finding(**each) for each in json.loads(done.out)["findings"]))
    assert all(letter.isprintable() or letter == "\n" for letter in done.out)
    assert not _holds_the_password(done.out)
    assert not _holds_the_password(json.dumps(json.loads(done.out), ensure_ascii=False))


def _finding(*, cause: str, evidence: list[str], **rest: str) -> Finding:
    return Finding(cause=Cause(cause), evidence=tuple(evidence), **rest)
