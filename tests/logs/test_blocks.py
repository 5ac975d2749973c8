"""Addresses to block: which are, and whether the programs that are to read them do."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kit
from kit.errors import UsageError
from kit.logs import blocks
from kit.logs.case import Judgement, Verdict
from kit.logs.verdicts import judge

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def attack(*addresses, verdict=Judgement.ATTACK, shared=False):
    return Verdict(
        subject="server:mx", verdict=verdict, kind="spray", words="", signals=(), tries=1, first=NOW, last=NOW, next_step="",
        addresses=addresses, shared=shared,
    )  # fmt: skip


def blocked(*addresses, own=(), **rest):
    return [str(address) for address in blocks.addresses_to_block([attack(*addresses, **rest)], own=own)]


# ------------------------------------------------------------------------------------------------ which


def test_only_attacks_that_come_from_nobody_elses_address():
    assert blocked("192.0.2.9") == ["192.0.2.9"]
    assert blocked("192.0.2.9", shared=True) == []
    assert blocked("192.0.2.9", verdict=Judgement.STALE) == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1",
        "10.1.2.3",
        "172.31.255.1",
        "192.168.1.1",
        "169.254.1.1",
        "100.64.0.1",
        "0.0.0.0",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "::",
    ],
)
def test_never_loopback_or_a_private_address(address):
    assert blocked(address, "192.0.2.9") == ["192.0.2.9"]


def test_never_what_the_reader_calls_own():
    own = ["192.0.2.0/28", "2001:db8:7::/48", "203.0.113.5"]
    assert blocked("192.0.2.15", "192.0.2.16", "2001:db8:7::9", "2001:db8:8::9", "203.0.113.5", own=own) == ["192.0.2.16", "2001:db8:8::9"]
    with pytest.raises(UsageError):
        blocked("192.0.2.9", own=["my office"])


def test_text_that_is_no_address_is_left_out_and_a_mapped_one_is_what_it_maps():
    assert blocked("192.0.2.9; drop", "fe80::1%eth0", "", "::ffff:192.0.2.7", "::ffff:127.0.0.1", "192.0.2.300") == ["192.0.2.7"]


addresses = st.lists(st.ip_addresses(network="192.0.2.0/24") | st.ip_addresses(network="2001:db8::/120"), max_size=60)


@given(addresses)
def test_networks_hold_exactly_the_addresses(found):
    lines = blocks.cidr(found).splitlines()
    written = [ip_network(line.split("\t")[0]) for line in lines]
    assert {address for network in written for address in network} == set(found)
    assert sum(network.num_addresses for network in written) == len(set(found))


# ------------------------------------------------------------------------------------------------ the sample data


@pytest.fixture(scope="module")
def sample():
    return judge(kit.read_logs(Path(__file__).parents[2] / "data").table)


def test_of_the_sample_data_the_sprays_addresses_and_nobody_elses(sample):
    # data/README.md: four addresses of the spray, a dozen of the slow one.
    wanted = [f"192.0.2.{n}" for n in (61, 62, 64, 67, *range(130, 142))]
    assert [str(address) for address in blocks.addresses_to_block(sample)] == wanted
    assert [str(address) for address in blocks.addresses_to_block(sample, own=["192.0.2.128/25"])] == wanted[:4]


# ------------------------------------------------------------------------------------------------ the file


def test_the_ending_names_the_format_and_nothing_else_is_written_over(tmp_path, sample):
    for ending in (".nft", ".sh", ".cidr"):
        path = tmp_path / f"list{ending}"
        for _ in range(2):
            assert blocks.write_blocks(path, sample, now=NOW) == 16
        assert "192.0.2.61" in path.read_text()
    for name, content in (("list.txt", None), ("other.nft", "table inet filter {}"), ("folder.cidr", None)):
        path = tmp_path / name
        if name == "folder.cidr":
            path.mkdir()
        elif content:
            path.write_text(content)
        with pytest.raises(UsageError):
            blocks.write_blocks(path, sample, now=NOW)
        assert content is None or path.read_text() == content
    with pytest.raises(UsageError):
        blocks.write_blocks(tmp_path / "nowhere" / "list.nft", sample, now=NOW)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]


MANY = [*(ip_address(f"198.51.100.{n}") for n in range(1, 120)), ip_address("2001:db8::7"), ip_address("2001:db8:1::7")]


@pytest.mark.skipif(not shutil.which("postmap"), reason="Postfix is not installed")
def test_postfix_finds_the_addresses_and_no_others(tmp_path):
    path = tmp_path / "list.cidr"
    blocks.write_blocks(path, [attack(*map(str, MANY))], now=NOW)
    config = tmp_path / "main.cf"
    config.write_text("")
    asked = "198.51.100.1 198.51.100.119 198.51.100.120 198.51.100.0 2001:db8::7 2001:db8::8".replace(" ", "\n")
    command = ["postmap", "-c", str(tmp_path), "-q", "-", f"cidr:{path}"]
    answer = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
    assert [line.split("\t")[0] for line in answer.stdout.splitlines()] == ["198.51.100.1", "198.51.100.119", "2001:db8::7"]
    assert "REJECT" in answer.stdout


@pytest.mark.needs("nft")
@pytest.mark.parametrize("found", [MANY, MANY[:1], MANY[-1:], []], ids=["many", "one", "one of IPv6", "none"])
def test_nft_takes_the_file(tmp_path, found):
    path = tmp_path / "list.nft"
    blocks.write_blocks(path, [attack(*map(str, found))], now=NOW)
    answer = subprocess.run(["nft", "-c", "-f", str(path)], capture_output=True, text=True, check=False)
    if "Operation not permitted" in answer.stderr and "syntax" not in answer.stderr:
        pytest.skip("nft may look at nothing here")
    assert (answer.returncode, answer.stderr) == (0, "")


def test_the_script_calls_fail2ban_for_every_address_once(tmp_path):
    path, client = tmp_path / "list.sh", tmp_path / "fail2ban-client"
    blocks.write_blocks(path, [attack(*map(str, MANY))], now=NOW)
    client.write_text('#!/bin/sh\necho "$@"\n')
    client.chmod(0o755)
    for jail, said in ((["dovecot"], "dovecot"), ([], "postfix-sasl")):
        command = ["sh", str(path), *jail]
        answer = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
        calls = [line.split() for line in answer.stdout.splitlines()]
        assert all(call[:3] == ["set", said, "banip"] for call in calls)
        assert [address for call in calls for address in call[3:]] == [str(address) for address in MANY]
