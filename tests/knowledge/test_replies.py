"""The table of replies: every entry is whole, found by its own examples, and cannot be made slow."""

from __future__ import annotations

import re
import time
from datetime import date

import pytest

from kit.explain import explain
from kit.knowledge.load import load_table
from kit.model import Cause, Severity

TABLE = load_table("replies")
REPLIES = TABLE["reply"]
CODES = TABLE["code"]
CAUSES = {cause.value for cause in Cause}
STAGES = {"banner", "ehlo", "starttls", "auth", "mail", "rcpt", "data"}


def test_ids_are_unique():
    ids = [entry["id"] for entry in REPLIES]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("entry", REPLIES, ids=lambda e: e["id"])
def test_entry_is_whole(entry):
    required = {"id", "pattern", "cause", "severity", "title", "next_step", "sources", "checked", "examples"}
    assert required <= set(entry) <= required | {"provider", "hosts", "verify", "alternative"}
    assert entry["cause"] in CAUSES - {"none"}
    assert entry["severity"] in {s.value for s in Severity}
    assert entry["sources"]
    assert entry["examples"]
    assert isinstance(entry["checked"], date)
    for other in entry.get("alternative", ()):
        assert set(other) == {"cause", "title", "next_step"}
        assert other["cause"] in CAUSES - {"none", "unknown"}


@pytest.mark.parametrize(("entry", "example"), [pytest.param(e, x, id=e["id"]) for e in REPLIES for x in e["examples"]])
def test_example_is_won_by_its_entry(entry, example):
    got = explain(example)
    assert (got.title, got.cause) == (entry["title"], entry["cause"])


@pytest.mark.parametrize("row", CODES, ids=lambda r: r["code"])
def test_code_is_whole(row):
    assert {"code", "cause", "title", "next_step", "source"} <= set(row) <= {"code", "stages", "cause", "title", "next_step", "source"}
    assert re.fullmatch(r"[45]\d\d|[45]\.\d|x\.\d\.\d{1,2}", row["code"])
    assert row["cause"] in CAUSES - {"none"}
    assert set(row.get("stages", ())) <= STAGES


def test_no_code_stands_behind_one_that_takes_all_its_stages():
    done: dict[str, set[str]] = {}
    for row in CODES:
        taken, mine = done.setdefault(row["code"], set()), set(row.get("stages", STAGES))
        assert mine - taken, f"{row['code']} {mine} is never reached"
        taken |= mine


# What makes a careless expression slow: long runs of what it repeats, with the end missing. 100 kB of each.
_SLOW = [
    "a" * 100_000,
    " " * 100_000,
    "535 " * 25_000,
    "535-5.7.8 " * 10_000,
    "5.1.1 " * 16_000,
    "535 account " * 8_000,
    "5.7.8" * 20_000,
    "\\n" * 50_000,
    "&#27;" * 20_000,
    "&" * 100_000,
    "in reply to " * 8_000,
    "AUTH PLAIN " * 9_000,
    "\x1b[31m" * 20_000,
    "(535, b'" * 12_000,
]


@pytest.mark.parametrize("text", _SLOW, ids=lambda t: repr(t[:12]))
def test_hostile_text_is_read_in_linear_time(text):
    begin = time.process_time()
    explain(text)
    assert time.process_time() - begin < 2  # takes 0.3 s at worst; a quadratic expression takes minutes


@pytest.mark.parametrize("entry", REPLIES, ids=lambda e: e["id"])
def test_no_pattern_repeats_a_repetition_or_runs_without_bound(entry):
    assert not re.search(r"[*+]", re.sub(r"\\d\+", "", entry["pattern"])), "use {0,n}"
