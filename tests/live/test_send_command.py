"""`kit send` as people run it: another process, exit codes, one JSON document, and a password nobody sees."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from base64 import b64encode
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from kit.sandbox.server import open_sandbox
from tests.live.check_servers import Pki, make_pki
from tests.live.test_send import STARTTLS_OFFERED, served

KEYS = ["target", "host", "port", "security", "steps", "attempt", "findings"]
MORE = ["message_id", "queue_id", "accepted", "rejected", "round_trips"]


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def kit_send(tmp_path):
    async def run(*args: str, stdin: str = "", started=None, stdout=None, within=()) -> tuple[int, str, str]:
        env = os.environ | {"KIT_STATE_DIR": str(tmp_path), "KIT_CONFIG_DIR": str(tmp_path), "PYTHONUTF8": "1"}
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *within, sys.executable, "-m", "kit", "send", *args, stdin=pipe, stdout=stdout or pipe, stderr=pipe, env=env
        )
        if started:
            started(process)
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 30)
        return process.returncode or 0, (out or b"").decode(), err.decode()

    return run


async def test_a_message_that_goes_out_is_exit_code_0(kit_send, pki):
    async with served(STARTTLS_OFFERED, starttls=pki.server()) as (script, profile):
        options = (
            "--port",
            str(profile.port),
            "--security",
            "starttls",
            "--ca",
            pki.ca_file,
            "--user",
            "anna@example.com",
            "--password-stdin",
        )
        code, out, err = await kit_send(
            profile.host, *options, "--to", "ben@example.net", "--subject", "Grüße", "--json", stdin="hunter2!\n"
        )
    assert (code, err) == (0, "")
    got = json.loads(out)
    assert list(got) == KEYS + MORE
    assert (got["accepted"], got["rejected"], got["queue_id"]) == (["ben@example.net"], [], "4C0FFEE123")
    assert got["attempt"]["outcome"] == "success"
    assert got["message_id"].encode() in script.content
    assert b"=?utf-8?" in script.content
    assert "hunter2!" not in out


async def test_a_refused_sign_in_is_exit_code_1_and_says_what_to_do(kit_send, pki):
    refused = STARTTLS_OFFERED | {"AUTH": "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant."}
    async with served(refused, starttls=pki.server()) as (script, profile):
        options = (
            "--port",
            str(profile.port),
            "--security",
            "starttls",
            "--ca",
            pki.ca_file,
            "--user",
            "anna@example.com",
            "--password-stdin",
        )
        code, out, err = await kit_send(profile.host, *options, "--to", "ben@example.net", stdin="hunter2!\n")
    assert (code, err) == (1, "")
    assert "Set-CASMailbox" in out
    assert "hunter2!" not in out
    assert sum(line.startswith("AUTH") for line in script.heard) == 1


async def test_a_dry_run_needs_no_password(kit_send):
    async with served() as (script, profile):
        place = (profile.host, "--port", str(profile.port), "--security", "none")
        code, out, _ = await kit_send(*place, "--from", "anna@example.com", "--to", "ben@example.net", "--dry-run")
    assert "DATA" not in script.heard
    assert "would take the message" in out
    assert code == 0  # nobody signs in, and nobody else is on the way


async def test_a_closed_port_is_exit_code_1(kit_send):
    async with served() as (_, profile):
        pass
    code, out, err = await kit_send(profile.host, "--port", str(profile.port), "--from", "a@example.com", "--to", "b@example.com", "--json")
    assert (code, err) == (1, "")
    assert [f["cause"] for f in json.loads(out)["findings"]] == ["unreachable"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("127.0.0.1",), "--to"),
        (("127.0.0.1", "--to", "ben@example.net"), "nobody is named as sender"),
        (("127.0.0.1", "--from", "anna@example.com", "--to", "ben"), "RFC 5322"),
        (("127.0.0.1", "--from", "anna@example.com", "--to", "ben@example.net\r\nDATA"), "RFC 5322"),
        (("127.0.0.1", "--from", "anna@example.com", "--to", "ben@example.net", "--subject", "a\nBcc: eve@example.com"), "RFC 5322"),
        (("127.0.0.1", "--from", "anna@example.com", "--to", "ben@example.net", "--port", "70000"), "65535"),
        (("127.0.0.1", "--user", "anna@example.com", "--to", "ben@example.net", "--password-stdin"), "--password-stdin"),
        (("127.0.0.1", "--user", "anna@example.com", "--to", "ben@example.net", "--mechanism", "NTLM"), "NTLM"),
        # Who names a user means to sign in: without a password, and without a terminal to ask for it at, nothing goes out unsigned.
        (("127.0.0.1", "--user", "anna@example.com", "--to", "ben@example.net"), "--password-stdin"),
        (("127.0.0.1", "--user", "anna@example.com", "--to", "ben@example.net", "--security", "none"), "--password-stdin"),
        (("127.0.0.1", "--user", "anna@example.com", "--to", "ben@example.net", "--count", "2"), "--password-stdin"),
        (("127.0.0.1", "--from", "anna@example.com", "--to", "ben@example.net", "--size", "0"), "--size"),
        (("127.0.0.1", "--from", "anna@example.com", "--to", "ben@example.net", "--size", "0k"), "--size"),
        (("127.0.0.1", "--from", "anna@example.com", "--to", "ben@example.net", "--resume", ""), "--resume"),
        (("127.0.0.1", "--from", "anna@example.com", "--to", "ben@example.net", "--count", "101"), "--most 101"),
        (("127.0.0.1", "--from", "anna@example.com", "--to", "ben@example.net", "--count", "6", "--most", "5"), "5 messages at most"),
        (("--to", "ben@example.net", "--from", "anna@example.com"), "TARGET"),
        (("--resume", "20261124-120000-0000"), "no series"),
    ],
)
async def test_wrong_use_is_exit_code_2_with_an_empty_standard_output(kit_send, args, said):
    code, out, err = await kit_send(*args)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


# ---------------------------------------------------------------------------------------- what to send, and how often


async def in_sandbox(kit_send, *args: str, password: str | None = None, scenario: str = "good", target: bool = True):
    async with open_sandbox(scenario) as sandbox:
        server = ["127.0.0.1", "--port", str(sandbox.port), "--user", sandbox.user, "--ca", sandbox.ca_file, "--password-stdin"]
        code, out, err = await kit_send(*(server if target else []), *args, stdin=(password or sandbox.password.reveal()) + "\n")
        return code, out, err, sandbox


async def test_quiet_says_nothing_when_all_is_well_and_one_paragraph_when_not(kit_send):
    code, out, err, sandbox = await in_sandbox(kit_send, "--to", "ben@example.test", "--quiet")
    assert (code, out, err, len(sandbox.messages)) == (0, "", "", 1)
    code, out, err, sandbox = await in_sandbox(kit_send, "--to", "ben@example.test", "--quiet", password="wrong")
    assert (code, out, len(sandbox.attempts)) == (1, "", 1)
    (paragraph,) = err.splitlines()
    assert paragraph.startswith("kit send 127.0.0.1: ")
    assert "535" in paragraph  # the server's own words
    assert "Check the user's exact form" in paragraph  # and what to do


@pytest.mark.parametrize(
    ("answers", "extra"),
    [({"DATA": "354 go on\r\n250 2.0.0 Ok: queued as TOOEARLY1"}, ()), ({"RCPT": "550 5.1.1 no"}, ()), ({}, ("--dry-run",))],
)
async def test_where_no_content_went_out_there_is_no_message_id_to_look_for(kit_send, answers, extra):
    async with served(answers) as (script, profile):
        place = ("127.0.0.1", "--port", str(profile.port), "--security", "none", "--from", "anna@example.com", "--to", "ben@example.net")
        _, out, _ = await kit_send(*place, *extra)
    assert script.content == b""
    assert "Message-ID" not in out


async def test_a_kind_goes_through_the_kits_own_server_first(kit_send):
    code, out, err, sandbox = await in_sandbox(kit_send, "--to", "ben@example.test", "--kind", "html", "--sandbox")
    assert (code, err) == (0, "")
    assert out.startswith("In the sandbox first: taken\n")
    (message,) = sandbox.messages
    assert b"multipart/alternative" in message.data


async def test_a_file_is_sent_as_it_is_and_to_whom_the_command_says(kit_send, tmp_path):
    eml = tmp_path / "report.eml"
    eml.write_text(
        "From: scanner@example.test\nTo: nobody@example.net\nSubject: a scan\nDate: Tue, 24 Nov 2026 08:00:00 +0000\n\nhello\n", "ascii"
    )
    code, _, err, sandbox = await in_sandbox(kit_send, "--to", "ben@example.test", "--from", "scanner@example.test", "--eml", str(eml))
    assert (code, err) == (0, "")
    (message,) = sandbox.messages
    assert message.recipients == ("ben@example.test",)
    assert message.data.endswith(b"Subject: a scan\r\nDate: Tue, 24 Nov 2026 08:00:00 +0000\r\n\r\nhello\r\n")
    eml.write_bytes(b"From: scanner@example.test\r\nDate: x\r\n\r\nhello\n.\r\nMAIL FROM:<eve@example.com>\r\n")
    code, out, err, sandbox = await in_sandbox(kit_send, "--to", "ben@example.test", "--eml", str(eml))
    assert (code, out, sandbox.messages) == (2, "", [])
    assert f"{eml}" in err


async def test_a_series_goes_over_one_connection_and_says_what_became_of_each(kit_send):
    code, out, err, sandbox = await in_sandbox(kit_send, "--to", "ben@example.test", "--count", "3")
    assert (code, err, len(sandbox.messages), len(sandbox.attempts)) == (0, "", 3, 1)
    assert "3 messages to 3 recipients" in out
    assert [line.split()[:2] for line in out.splitlines() if "/3 " in line] == [["1/3", "taken,"], ["2/3", "taken,"], ["3/3", "taken,"]]
    # STARTTLS: banner, EHLO, STARTTLS, EHLO, AUTH; an envelope and a content each, the last with QUIT behind it (RFC 2920).
    assert out.rstrip().endswith(f"3 messages: 3 taken, {5 + 3 * 2} round trips")
    assert len({re.search(rb"X-Kit-Trace: (\w+)", message.data)[1] for message in sandbox.messages}) == 3


async def test_a_series_that_was_refused_says_how_to_go_on_and_goes_on(kit_send):
    code, out, err, _ = await in_sandbox(kit_send, "--to", "ben@example.test", "--count", "2", password="wrong")
    assert code == 1
    assert "2 not sent" in out
    name = re.search(r"kit send --resume (\S+) --password-stdin\n", err)[1]
    for beside in (("--user", "you@example.test", "--port", "9"), ("127.0.0.1", "--user", "eve@example.test"), ("localhost",)):
        code, out, err = await kit_send("--resume", name, "--password-stdin", *beside, stdin="x\n")
        assert (code, out) == (2, "")
        assert "another account" in err


async def test_a_series_goes_on_with_the_settings_it_began_with(kit_send, pki, monkeypatch, tmp_path):
    """Nothing is said a second time but where the password comes from; not even the folder is the same."""
    refused = STARTTLS_OFFERED | {"AUTH": "535 5.7.8 no"}
    monkeypatch.chdir(pki.folder)
    async with served(refused, starttls=pki.server()) as (script, profile):
        place = ("127.0.0.1", "--port", str(profile.port), "--ca", Path(pki.ca_file).name, "--user", "anna@example.com")
        series = ("--to", "ben@example.net", "--count", "2", "--kind", "html", "--mechanism", "LOGIN", "--password-stdin")
        code, out, err = await kit_send(*place, *series, stdin="hunter2!\n")
        assert (code, "2 not sent" in out) == (1, True)
        command = re.search(r"Go on with: kit send (.*)", err)[1].split()
        monkeypatch.chdir(tmp_path)
        script.answers |= STARTTLS_OFFERED | {
            "AUTH": "334 VXNlcm5hbWU6",
            b64encode(b"anna@example.com").decode().upper(): "334 UGFzc3dvcmQ6",
            b64encode(b"hunter2!").decode().upper(): "235 2.7.0 Yes",
        }
        code, out, err = await kit_send(*command[:2], stdin="hunter2!\n")
        assert (code, out) == (2, "")  # without the password it does not go on
        assert "--password-stdin" in err
        assert script.connections == 1
        code, out, err = await kit_send(*command, stdin="hunter2!\n")
    assert (code, err) == (0, "")
    assert "2 messages: 2 taken" in out
    assert "AUTH LOGIN" in script.heard
    assert b"multipart/alternative" in script.content
    assert all("hunter2!" not in path.read_text("latin-1") for path in tmp_path.rglob("*.jsonl"))


def muted(script, key: str, *, after: int = 0) -> asyncio.Event:
    """Lets the server of `script` fall silent where it would answer `key`, after so many answers. Set once it has."""
    say, silent, answered = script._say, asyncio.Event(), 0

    async def answer(what, writer):
        nonlocal answered
        answered += what == key
        if what != key or answered <= after:
            return await say(what, writer)
        silent.set()
        await asyncio.sleep(1)
        return False

    script._say = answer
    return silent


def ending(silent: asyncio.Event, how: int):
    """Sends a process the signal once the server is silent."""

    def started(process) -> None:
        async def end() -> None:
            await silent.wait()
            process.send_signal(how)

        process.ending = asyncio.create_task(end())

    return started


@pytest.mark.needs("linux")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("shape", [[], ["--json"], ["--quiet"]])
@pytest.mark.parametrize("until", ["RCPT", "."])
async def test_stopped_it_says_what_became_of_the_message(kit_send, shape, until, how):
    async with served() as (script, profile):
        silent = muted(script, until)

        place = ("127.0.0.1", "--port", str(profile.port), "--security", "none", "--from", "anna@example.com", "--to", "ben@example.net")
        code, out, err = await kit_send(*place, *shape, started=ending(silent, how))
    assert code == 130
    assert "Traceback" not in err
    told = err if shape == ["--quiet"] else out
    assert (out if shape == ["--quiet"] else err) == ""
    if until == "RCPT":
        assert "nothing was sent" in told
        assert "Message-ID: <" not in told
    else:
        assert "perhaps the server took it" in told
        message_id = re.search(rb"Message-ID: (<.+>)", script.content)[1].decode()
        assert f"Message-ID: {message_id}" in told
    if shape == ["--json"]:
        assert list(json.loads(out)) == KEYS + MORE


@pytest.mark.needs("linux")
async def test_what_a_shell_runs_behind_itself_can_be_stopped_too(kit_send):
    # POSIX, XCU 2.11: a command that a shell runs with & and without job control ignores SIGINT.
    async with served() as (script, profile):
        silent = muted(script, ".")
        place = ("127.0.0.1", "--port", str(profile.port), "--security", "none", "--from", "anna@example.com", "--to", "ben@example.net")
        code, out, err = await kit_send(*place, started=ending(silent, signal.SIGTERM), within=("env", "--ignore-signal=INT"))
    assert (code, err) == (130, "")
    assert "perhaps the server took it" in out


@pytest.mark.needs("linux")
@pytest.mark.parametrize("shape", [[], ["--json"], ["--quiet"]])
async def test_a_series_that_is_stopped_names_what_is_in_doubt_and_how_to_go_on(kit_send, shape):
    async with served() as (script, profile):
        silent = muted(script, ".", after=1)

        place = ("127.0.0.1", "--port", str(profile.port), "--security", "none", "--from", "anna@example.com", "--to", "ben@example.net")
        code, out, err = await kit_send(*place, "--count", "3", *shape, started=ending(silent, signal.SIGINT))
    message_id = re.search(rb"Message-ID: (<.+>)", script.content)[1].decode()
    assert code == 130
    assert re.search(r"1 not sent yet\. Go on with: kit send --resume [0-9a-f-]+\n$", err)
    assert f"Message-ID: {message_id}" in (err if shape == ["--quiet"] else out)
    if shape == ["--json"]:
        assert [entry["state"] for entry in json.loads(out)["entries"]] == ["accepted", "handed-over", "planned"]
    elif not shape:
        assert "3 messages: 1 taken, 1 in doubt, 1 not sent" in out


async def test_quiet_is_silent_about_a_relay_on_this_machine_that_wants_no_tls(kit_send):
    async with served() as (_, profile):
        place = ("127.0.0.1", "--port", str(profile.port), "--security", "none", "--from", "anna@example.com", "--to", "ben@example.net")
        assert await kit_send(*place, "--quiet") == (0, "", "")


async def test_quiet_names_what_is_in_doubt_before_all_else_and_never_says_to_send_it_again(kit_send):
    answers = {"RCPT TO:<no@": "550 5.1.1 Unknown", ".": None}
    async with served(answers) as (script, profile):
        place = ("127.0.0.1", "--port", str(profile.port), "--security", "none", "--from", "anna@example.com")
        code, out, err = await kit_send(*place, "--to", "no@example.net", "--to", "ben@example.net", "--quiet")
    message_id = re.search(rb"Message-ID: (<.+>)", script.content)[1].decode()
    assert (code, out) == (1, "")
    (paragraph,) = err.splitlines()
    assert paragraph.startswith("kit send 127.0.0.1: The message was under way and no clear answer came")
    assert f"(Message-ID: {message_id})" in paragraph
    assert "--quiet" not in paragraph


@pytest.mark.needs("linux")
@pytest.mark.parametrize("shape", [[], ["--json"], ["--count", "2"], ["--count", "2", "--json"]])
async def test_where_nobody_reads_any_more_the_mail_goes_out_all_the_same_and_the_other_stream_has_the_gist(kit_send, shape):
    async with served({".": None}) as (script, profile):
        place = ("127.0.0.1", "--port", str(profile.port), "--security", "none", "--from", "anna@example.com", "--to", "ben@example.net")
        with open("/dev/full", "w") as full:  # noqa: ASYNC230, PTH123 - a device
            code, _, err = await kit_send(*place, *shape, stdout=full)
    message_id = re.search(rb"Message-ID: (<.+>)", script.content)[1].decode()
    assert code == 1
    assert f"(Message-ID: {message_id})" in err
    assert "No space left on device" in err
    assert "Traceback" not in err


def test_a_line_about_a_message_is_in_plain_words_and_a_wait_has_its_day():
    from kit.commands.telling import entry_line
    from kit.sending.entries import Entry, State

    tomorrow = datetime.now().astimezone() + timedelta(days=1)
    later = Entry(number=2, state=State.LATER, until=tomorrow.timestamp())
    assert entry_line(later, 3) == f"  2/3 put off until {tomorrow:%Y-%m-%d %H:%M:%S}"
    assert entry_line(Entry(number=1, state=State.HANDED_OVER), 3) == "  1/3 in doubt"
    assert entry_line(Entry(number=1), 3) == "  1/3 not sent"
    assert entry_line(Entry(number=3, state=State.ACCEPTED, queue_id="4C0", rejected=("a@b",)), 3) == "  3/3 taken, 4C0; not for a@b"
    assert entry_line(Entry(number=3, state=State.REFUSED, code=550), 3) == "  3/3 refused, 550"


async def test_a_series_takes_no_second_description(kit_send):
    for more in (("--resume", "x", "--to", "ben@example.test"), ("--dry-run", "--count", "2", "--to", "ben@example.test"), ()):
        code, out, err = await kit_send("127.0.0.1", "--from", "anna@example.com", *more)
        assert (code, out) == (2, "")
        assert "Traceback" not in err


async def test_a_pause_is_said_before_it_is_made(kit_send):
    async with served({"MAIL": "421 4.3.2 Come back in 6 seconds"}) as (script, profile):
        # The first message is taken; the second meets the 421, and goes over the next connection.
        say, mails = script._say, 0

        async def answer(what, writer):
            nonlocal mails
            mails += what == "MAIL"
            if what != "MAIL" or mails == 2:
                return await say(what, writer)
            writer.write(b"250 Ok\r\n")
            return True

        script._say = answer
        place = ("127.0.0.1", "--port", str(profile.port), "--security", "none", "--from", "anna@example.com", "--to", "ben@example.net")
        code, out, _ = await kit_send(*place, "--count", "2")
    assert code == 0
    assert "2 messages: 2 taken" in out
    until = re.search(r"\n  waiting until (\S+ \S+)\n  2/2 taken", out)[1]
    assert abs(datetime.strptime(until, "%Y-%m-%d %H:%M:%S").astimezone() - datetime.now().astimezone()) < timedelta(seconds=6)
