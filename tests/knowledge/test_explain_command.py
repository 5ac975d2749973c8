"""`kit explain`: exit codes, the JSON's keys, and nothing of the pasted text on the terminal."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from kit.cli import main


def run(*args: str, stdin: bytes = b""):
    return CliRunner().invoke(main, ["explain", *args], input=stdin)


def test_an_answer_is_exit_code_0():
    got = run("535 5.7.8 Error: authentication failed: UGFzc3dvcmQ6")
    assert got.exit_code == 0
    assert "UGFzc3dvcmQ6 is only the word" in got.stdout
    assert got.stderr == ""


def test_words_need_no_quotes():
    assert run("530", "5.7.0", "Must", "issue", "a", "STARTTLS", "command", "first", "--json").exit_code == 0


def test_no_failure_is_an_answer():
    got = run("235 2.7.0 Authentication successful", "--json")
    assert (got.exit_code, json.loads(got.stdout)["cause"]) == (0, "none")


def test_no_answer_is_exit_code_1():
    got = run("535 users complain", "--json")
    assert (got.exit_code, json.loads(got.stdout)["cause"]) == (1, "unknown")


@pytest.mark.parametrize(
    ("args", "stdin"), [((), b""), (("",), b""), (("  ",), b""), (("-",), b""), (("-",), b" \r\n"), (("--json",), b"")]
)
def test_nothing_is_exit_code_2_and_an_empty_standard_output(args, stdin):
    got = run(*args, stdin=stdin)
    assert got.exit_code == 2
    assert got.stdout == ""
    assert "nothing to explain" in got.stderr


def test_json_has_the_promised_keys():
    got = json.loads(run("535 5.7.3 Authentication unsuccessful", "--json").stdout)
    keys = ["cause", "provider", "title", "next_step", "verify", "sources", "alternatives"]
    assert list(got) == keys
    assert list(got["alternatives"][0]) == keys


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_hostile_bytes_and_secrets_do_not_reach_the_terminal(form):
    pasted = (
        b"\x1b]0;owned\x07\xff\xfe AUTH PLAIN AGFubmEAaHVudGVyMg==\r\n535 5.7.8 Error: authentication failed: password=hunter2 \x1b[2J\n"
    )
    got = run("-", *form, stdin=pasted)
    assert got.exit_code == 0
    assert got.stdout.replace("\n", "").isprintable()
    for secret in ("AGFubmEA", "hunter2", "owned"):
        assert secret not in got.stdout


def test_a_whole_log_on_standard_input_is_bounded():
    assert run("-", stdin=b"x" * 5_000_000 + b"\n535 5.7.8 Error: authentication failed").exit_code == 1
