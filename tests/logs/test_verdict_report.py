"""What `kit logs` says of verdicts, in the terminal, in JSON and in a file."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from kit.cli import main
from kit.logs.case import Judgement, Verdict
from kit.logs.signals import Line, Signal
from kit.logs.verdict_report import verdict_text

DATA = str(Path(__file__).parents[2] / "data")
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def run(*arguments: str):
    return CliRunner().invoke(main, ["logs", *arguments])


def made(subject="user:ann@example.test", verdict=Judgement.STALE, kind=None, tries=9, next_step="Tell ann.") -> Verdict:
    signal = Signal(name="rhythm", value=0.82, threshold=0.5, words="of the pauses", lines=(Line("mail.log", 7, 123), Line(None, 8, 200)))
    return Verdict(
        subject=subject,
        verdict=verdict,
        kind=kind,
        words="a device",
        signals=(signal,),
        tries=tries,
        first=NOW,
        last=NOW,
        next_step=next_step,
    )


def test_the_terminal_tells_the_sample_datas_story():
    told = run(DATA).stdout
    assert told.index("likely attack (slow)") < told.index("backend trouble (outage)") < told.index("stale client: user greta@example.test")
    assert "address 192.0.2." not in told.split("What is behind it")[1], "its network says it"
    assert max(map(len, told.splitlines())) <= 100


def test_json_has_the_verdicts_with_signals_and_lines():
    verdicts = json.loads(run(DATA, "--json").stdout)["verdicts"]
    greta = next(v for v in verdicts if v["subject"] == "user:greta@example.test")
    assert (greta["verdict"], greta["kind"], greta["first"][:16], greta["last"][:16]) == (
        "stale-client",
        None,
        "2026-11-12T09:31",
        "2026-11-16T08:01",
    )
    assert {"name", "value", "threshold", "words", "lines"} <= set(greta["signals"][0])
    assert set(greta["signals"][0]["lines"][0]) == {"file", "line", "offset"}
    assert {v["verdict"] for v in verdicts} == {"likely-attack", "stale-client", "backend-trouble"}


def test_addresses_to_block_go_into_a_file_and_own_networks_do_not(tmp_path):
    path = tmp_path / "list.cidr"
    answer = run(DATA, "--block", str(path), "--own", "192.0.2.128/25")
    assert "4 addresses to block" in answer.stderr
    assert [line.split("\t")[0] for line in path.read_text().splitlines() if not line.startswith("#")] == [
        "192.0.2.61/32",
        "192.0.2.62/32",
        "192.0.2.64/32",
        "192.0.2.67/32",
    ]


@pytest.mark.parametrize("arguments", [("--own", "here"), ("--block", "list.txt"), ("--block", "/nowhere/list.nft")])
def test_what_is_no_network_or_no_format_is_wrong_use(arguments):
    answer = run(DATA, *arguments)
    assert (answer.exit_code, answer.stdout) == (2, "")


def test_at_most_ten_are_told_and_the_rest_counted():
    told = verdict_text([made(f"user:u{n}") for n in range(13)])
    assert told.count("stale client") == 10
    assert "and 3 more" in told


def test_what_a_log_holds_is_escaped_and_a_share_is_one():
    told = verdict_text([made("user:\x1b[31mann\u202e" + "x" * 500, next_step="Tell \x1b[31m\u202e")])
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert max(map(len, told.splitlines())) <= 100
    assert "82% of the pauses (50%)" in told
    assert "mail.log:7, the log:8" in told


def test_an_address_is_told_where_its_network_says_something_else():
    network = made("network:192.0.2.0/24", Judgement.ATTACK, "slow")
    assert "address 192.0.2.9" not in verdict_text([network, made("address:192.0.2.9", Judgement.ATTACK, "slow")])
    for other in ("address:192.0.2.9", "address:198.51.100.9", "address:no address"):
        assert other.replace(":", " ") in verdict_text([network, made(other, Judgement.ATTACK, "spray")])
