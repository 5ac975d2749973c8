"""`kit check` as a person runs it: a process of its own, its two streams, its exit code."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner

from kit.checks.discovery import Candidate, Source, Told, judge
from kit.checks.text import plan
from kit.cli import main
from kit.model import Profile, Security
from kit.redact import Secret
from tests.live.check_servers import make_pki, serve, smtp
from tests.servers.openssl_server import client_file

PASSWORD = "correct horse 7"


@pytest.fixture
def env(tmp_path):
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "SYSTEMROOT", "COVERAGE_PROCESS_START")}
    return kept | {
        "KIT_CONFIG_DIR": str(tmp_path / "config"),
        "KIT_STATE_DIR": str(tmp_path / "state"),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",  # nobody's real vault is opened
        "PYTHONIOENCODING": "utf-8",
    }


async def start(env, *arguments, stdin=asyncio.subprocess.DEVNULL, command="check"):
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kit", command, *map(str, arguments)),
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=env,
    )


async def run(env, *arguments, stdin=None):
    process = await start(env, *arguments, stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL)
    out, err = (stream.decode() for stream in await asyncio.wait_for(process.communicate(stdin), 30))
    assert "Traceback" not in out + err
    assert PASSWORD not in out + err
    return process.returncode, out, err


async def test_a_good_sign_in_reads_well(env, tmp_path):
    pki = make_pki(tmp_path)
    answers = {b"EHLO": [b"250-mail\r\n250 STARTTLS\r\n", b"250-mail\r\n250 AUTH PLAIN\r\n"]}
    async with serve(smtp(answers, tls=pki.server())) as server:
        code, out, err = await run(
            env,
            "127.0.0.1",
            "--port",
            server.port,
            "--user",
            "anna",
            "--password-stdin",
            "--ca",
            pki.ca_file,
            stdin=PASSWORD.encode() + b"\n",
        )
    assert (code, err) == (0, "")
    around, ways, climb, _ = out.split("\n\n")
    first, probe, *versions = around.splitlines()
    assert first == "127.0.0.1: up to 6 connections, at most 3 at once, without a sign-in"
    assert probe.split()[:2] == ["✓", "ok"]
    assert probe.split()[4:8] == [str(server.port), "starttls", "IPv4", "127.0.0.1"]
    # The test's server is Python's, with its own defaults: TLS 1.2 and newer.
    assert {tuple(line.split()[4:6]) for line in versions} == {
        ("TLSv1", "not"),
        ("TLSv1.1", "not"),
        ("TLSv1.2", "offered"),
        ("TLSv1.3", "offered"),
    }
    assert [line.split() for line in ways.splitlines()] == [["PLAIN"], [str(server.port), "starttls", "use", "this"]]
    plan, *steps = climb.splitlines()
    assert plan == f"127.0.0.1:{server.port}, security starttls: at most 3 connections, one after the other, one sign-in as anna"
    assert [line.split()[4] for line in steps] == [
        "resolve",
        "connect",
        "banner",
        "ehlo",
        "starttls",
        "tls",
        "ehlo",
        "auth",
        "noop",
        "quit",
    ]
    assert all(line.startswith("✓ ok") for line in steps)
    assert "AUTH PLAIN [hidden] → 235 2.7.0 ok" in out
    assert "The sign-in as anna works" in out


async def test_json_is_one_document_with_the_fields_of_the_design(env, tmp_path):
    pki = make_pki(tmp_path)
    handler = smtp({b"AUTH": b"535 5.7.8 Error: authentication failed: \r\n"})
    async with serve(handler, tls=pki.server()) as server:
        arguments = (
            "127.0.0.1",
            "--port",
            server.port,
            "--security",
            "tls",
            "--user",
            "anna",
            "--password-stdin",
            "--ca",
            pki.ca_file,
            "--json",
        )
        code, out, err = await run(env, *arguments, stdin=PASSWORD.encode())
        document = json.loads(out)
        # Twice wrong, and the third is not made: exit 2, nothing on standard output, and when it is free again.
        await run(env, *arguments, stdin=PASSWORD.encode())
        connections = server.connections
        third = await run(env, *arguments, stdin=PASSWORD.encode())
        assert server.connections == connections  # not even to look around
    assert (code, err) == (1, "")
    assert list(document) == [
        "target",
        "host",
        "port",
        "security",
        "steps",
        "attempt",
        "findings",
        "dns",
        "probes",
        "versions",
        "chain",
        "ways",
    ]
    way = {"port": server.port, "security": "tls"}
    assert document["ways"] == [way | {"mechanism": "PLAIN", "rating": "use this"}, way | {"mechanism": "LOGIN", "rating": "safe"}]
    assert {"name", "seconds", "ok", "reply"} <= set(document["steps"][0])
    assert {"cause", "severity", "title", "next_step", "evidence"} == set(document["findings"][0])
    assert (document["target"], document["security"], document["attempt"]["outcome"]) == ("127.0.0.1", "tls", "failure")
    assert third[:2] == (2, "")
    assert "UTC" in third[2]


async def test_a_refusal_is_explained(env, tmp_path):
    pki = make_pki(tmp_path)
    refusal = b"535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.\r\n"
    async with serve(smtp({b"AUTH": refusal}), tls=pki.server()) as server:
        code, out, _ = await run(
            env,
            "127.0.0.1",
            "--port",
            server.port,
            "--security",
            "tls",
            "--user",
            "anna",
            "--password-stdin",
            "--ca",
            pki.ca_file,
            stdin=PASSWORD.encode(),
        )
    assert code == 1
    last = out.split("\n\n")[-1]
    assert last.startswith("✗ error: ")
    assert "(method-disabled)" in last
    assert "Set-CASMailbox" in last
    assert "535 5.7.139" in last


async def test_a_saved_profile_is_a_target(env, tmp_path):
    async with serve(smtp()) as server:
        folder = tmp_path / "config"
        folder.mkdir()
        (folder / "profiles.toml").write_text(f'[scanner]\nhost = "127.0.0.1"\nport = {server.port}\nsecurity = "none"\nuser = "anna"\n')
        code, out, _ = await run(env, "scanner", "--json")
        heard = list(server.heard)
    document = json.loads(out)
    assert code == 1  # nothing is encrypted
    assert (document["target"], document["host"], document["attempt"]) == ("scanner", "127.0.0.1", None)
    assert heard == [b"EHLO [127.0.0.1]", b"QUIT"] * 2


@pytest.mark.parametrize("json_too", [[], ["--json"]])
async def test_an_unreachable_host_is_something_to_look_at(env, json_too):
    async with serve(smtp()) as server:
        pass
    code, out, err = await run(env, "127.0.0.1", "--port", server.port, *json_too)
    assert (code, err) == (1, "")
    assert "nothing listens on this port" in out
    code, out, _ = await run(env, "mail.nowhere.invalid", *json_too)
    assert code == 1
    assert "The host's name has no address" in out


async def test_a_port_that_says_nothing(env):
    async def mute(line):
        await asyncio.sleep(60)

    async with serve(mute) as server:
        code, out, _ = await run(env, "127.0.0.1", "--port", server.port, "--timeout", 0.3)
    assert code == 1
    assert "says nothing" in out
    assert f"kit check 127.0.0.1 --port {server.port} --security tls" in " ".join(out.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["127.0.0.1", "--port", "0"],
        ["127.0.0.1", "--port", "70000"],
        ["127.0.0.1", "--port", "smtp"],
        ["127.0.0.1:0"],
        ["https://mail.example.com/"],
        ["nobody@a-domain-that-nobody-knows.example"],
        ["127.0.0.1", "--security", "ssl"],
        ["127.0.0.1", "--mechanism", "NTLM"],
        ["127.0.0.1", "--ca", "/nowhere/ca.pem"],
        ["127.0.0.1", "--ca", "/dev/null"],
        ["127.0.0.1", "--timeout", "0"],
        ["127.0.0.1", "--password-stdin"],
        ["127.0.0.1", "--attempts", "0"],
        ["127.0.0.1", "--password", "x"],
        [],
    ],
)
async def test_wrong_use_says_so_on_standard_error_alone(env, arguments):
    for more in ([], ["--json"]):
        code, out, err = await run(env, *arguments, *more)
        assert (code, out) == (2, "")
        assert err.strip()


async def test_a_password_that_would_go_in_clear_is_wrong_use(env):
    async with serve(smtp()) as server:
        settings = ("--port", server.port, "--security", "none", "--user", "anna", "--mechanism", "PLAIN")
        code, out, err = await run(env, "127.0.0.1", *settings, "--password-stdin", stdin=PASSWORD.encode())
        assert server.connections == 0
    assert (code, out) == (2, "")
    assert "--security" in err


@pytest.mark.needs("linux")
async def test_ctrl_c_ends_it_quietly(env):
    came = asyncio.Event()

    async def mute(line):
        came.set()
        await asyncio.sleep(60)

    async with serve(mute) as server:
        process = await start(env, "127.0.0.1", "--port", server.port)
        await asyncio.wait_for(came.wait(), 30)
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 130
    assert b"Traceback" not in err


@pytest.mark.needs("linux")
@pytest.mark.parametrize(("typed", "signs_in"), [(PASSWORD, True), ("", False)])
async def test_on_a_terminal_the_password_is_asked_for_and_not_shown(env, tmp_path, typed, signs_in):
    import pty  # Windows has none

    pki = make_pki(tmp_path)
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    try:
        async with serve(smtp(), tls=pki.server()) as server:
            process = await start(
                env, "127.0.0.1", "--port", server.port, "--security", "tls", "--user", "anna", "--ca", pki.ca_file, "--json", stdin=theirs
            )
            asked = await asyncio.wait_for(process.stderr.readuntil(b": "), 30)
            os.write(ours, typed.encode() + b"\n")
            out, err = await asyncio.wait_for(process.communicate(), 30)
            assert any(line.startswith(b"AUTH") for line in server.heard) is signs_in
        assert b"anna" in asked
        assert process.returncode == 0
        assert (json.loads(out)["attempt"] is not None) is signs_in
        with contextlib.suppress(BlockingIOError):  # the terminal showed nothing at all
            assert PASSWORD.encode() not in os.read(ours, 4096)
        assert PASSWORD.encode() not in out + err
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.needs("linux")
@pytest.mark.parametrize("command", ["check", "send"])
async def test_a_certificate_signs_in_and_nobody_is_asked_for_a_password(env, tmp_path, command):
    import pty  # Windows has none

    pki, certificate = make_pki(tmp_path), client_file(tmp_path, "anna", None)
    tls = pki.server()
    tls.load_verify_locations(certificate)
    tls.verify_mode = ssl.CERT_REQUIRED
    said = smtp({b"EHLO": b"250-mail.example.test\r\n250 AUTH PLAIN EXTERNAL\r\n", b"DATA": b"354 go\r\n"})
    target = ("127.0.0.1", *(("--to", "b@example.com", "--from", "anna@example.com", "--dry-run") if command == "send" else ()))
    ours, theirs = pty.openpty()
    try:
        async with serve(said, tls=tls) as server:
            options = ("--port", server.port, "--security", "tls", "--user", "anna", "--ca", pki.ca_file, "--cert", certificate)
            process = await start(env, *target, *options, stdin=theirs, command=command)
            out, err = await asyncio.wait_for(process.communicate(), 30)
            assert [line for line in server.heard if line.startswith(b"AUTH")] == [b"AUTH EXTERNAL YW5uYQ=="]
        assert process.returncode == 0, out + err
        assert b"one sign-in by certificate, where that is offered" in out
    finally:
        os.close(ours)
        os.close(theirs)


def test_the_plan_says_who_would_sign_in_and_how():
    profile = Profile(host="mail.example.test", port=465, security=Security.TLS, user="anna")
    shown = replace(profile, cert_file="me.pem")
    for settings, secret, said in (
        (profile, None, "no sign-in"),
        (profile, Secret("x"), "one sign-in as anna"),
        (shown, Secret("x"), "one sign-in as anna"),
        (shown, None, "one sign-in by certificate, where that is offered"),
        (replace(shown, mechanism="PLAIN"), None, "no sign-in"),
        (replace(shown, mechanism="EXTERNAL"), Secret("x"), "one sign-in by certificate"),
    ):
        assert plan(settings, gentle=True, secret=secret).rpartition(", security tls: ")[2] == f"one connection, {said}"


@pytest.mark.parametrize("command", ["check", "send --to b@example.com --from a@example.com"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--cert missing.pem", "missing.pem: it cannot be read (No such file or directory). Give a PEM file"),
        ("--key me.pem", "--key: a key without its certificate is of no use. Add --cert FILE"),
        ("--mechanism EXTERNAL", "Add --cert FILE"),
    ],
)
def test_a_certificate_that_is_not_there_is_said_before_anything_else(monkeypatch, tmp_path, command, options, said):
    monkeypatch.setenv("KIT_CONFIG_DIR", str(tmp_path))
    name, *rest = command.split()
    result = CliRunner().invoke(main, [name, "mail.example.test", *rest, *options.split()])
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


async def test_what_a_server_says_cannot_move_the_cursor(env):
    async with serve(smtp(banner=b"220 \x1b[2J\x1b]0;title\x07\xe2\x80\xae mail\r\n")) as server:
        _, out, _ = await run(env, "127.0.0.1", "--port", server.port, "--security", "none")
    assert all(character.isprintable() or character == "\n" for character in out)
    assert "\\x1b[2J" in out


# --- an address of a domain that nothing here knows ----------------------------------------------------------------


@pytest.fixture
def told(monkeypatch):
    """The domain's own answer, as discovery has it; the server it names is this machine."""

    def tell(port):
        server = Candidate(source=Source.AUTOCONFIG, host="127.0.0.1", port=port, security=Security.STARTTLS)
        answer = Told(source=Source.AUTOCONFIG, candidates=(server,), why="from https://autoconfig.example.org/mail/config-v1.1.xml")

        async def discover(target, **_):
            return judge(target, "example.org", (answer,))

        monkeypatch.setattr("kit.checks.discovery.discover", discover)

    return tell


def test_the_domain_is_asked_and_its_answer_told(told, monkeypatch, tmp_path):
    monkeypatch.setenv("KIT_CONFIG_DIR", str(tmp_path))
    told(9)  # nothing listens there
    result = CliRunner().invoke(main, ["check", "anna@example.org", "--timeout", "2"])
    first, *_ = result.stdout.split("\n\n")
    assert result.exit_code == 1
    assert first.splitlines()[0] == "anna@example.org: who names its server"
    assert "127.0.0.1:9, security starttls: from the domain's own autoconfig document" in first.splitlines()[-1]


def test_nothing_is_printed_where_the_use_is_wrong(told, monkeypatch, tmp_path):
    monkeypatch.setenv("KIT_CONFIG_DIR", str(tmp_path))
    told(9)
    result = CliRunner().invoke(main, ["check", "anna@example.org", "--mechanism", "MAGIC"])
    assert (result.exit_code, result.stdout) == (2, "")
