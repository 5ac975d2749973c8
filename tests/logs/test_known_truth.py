"""A run with known truth: what real clients did to a real Postfix with Dovecot is what the log is read as, each try once."""

from __future__ import annotations

import time
from collections import Counter
from itertools import product

import pytest

import kit
from kit.logs.authlog import LogReader
from kit.logs.classes import line_classes
from tests.servers.drive import MECHANISMS, Try, play

pytestmark = pytest.mark.needs("postfix", "dovecot", "syslog")
PLAYED = 240  # connections: each of eight kinds five times over each of six ports


@pytest.fixture(scope="module")
def played(postfix_dovecot, tmp_path_factory):
    """What was done, and the log of it in a file of its own."""
    start = postfix_dovecot.log_file.stat().st_size
    truth = play(postfix_dovecot, PLAYED)
    size = -1
    while size != (size := postfix_dovecot.log_file.stat().st_size):  # the last line of a connection comes after it has ended
        time.sleep(1)
    path = tmp_path_factory.mktemp("truth") / "mail.log"
    path.write_bytes(postfix_dovecot.log_file.read_bytes()[start:])
    return truth, path


def _tries(frame) -> Counter[Try]:
    frame = frame.astype(object).where(frame.notna(), None)
    return Counter(
        Try(
            service=row.service,
            address=row.client_ip,
            outcome=row.outcome,
            cause=row.cause,
            user=row.user,
            mechanism=row.mechanism,
        )
        for row in frame.itertuples()
        for _ in range(row.count_)
    )


def test_every_try_is_found_once_and_none_is_invented(played):
    truth, path = played
    assert len(truth) >= 200
    frame = kit.read_logs(path).frame.rename(columns={"count": "count_"})
    found, expected = _tries(frame), Counter(truth)
    assert sorted((expected - found).elements(), key=str) == [], "tries that were not found"
    assert sorted((found - expected).elements(), key=str) == [], "tries that nobody made"


def test_the_run_holds_every_kind(played):
    truth, _ = played
    services, outcomes = ("smtp", "submission", "submissions", "imap"), ("success", "failure", "aborted", "malformed", "refused")
    assert {(t.service, t.outcome) for t in truth} == set(product(services, outcomes))
    assert {t.mechanism for t in truth} == {*MECHANISMS, "XOAUTH2", None}
    assert {t.cause for t in truth if t.outcome == "failure"} == {"wrong-password", "unknown-user"}
    assert len({t.address for t in truth}) > 100


def test_every_line_is_accounted_for(played):
    _, path = played
    coverage = kit.read_logs(path).coverage
    assert coverage.lines == path.read_bytes().count(b"\n")
    assert coverage.attempt_lines + coverage.not_understood + coverage.undecodable + coverage.other == coverage.lines
    assert (coverage.not_understood, coverage.undecodable) == (0, 0)


@pytest.mark.parametrize("missing", ["postfix-sasl-failed", "postfix-disconnect-auth", "dovecot-auth-failed", "dovecot-login"])
def test_without_a_class_its_lines_are_not_understood(played, missing):
    _, path = played
    before = kit.read_logs(path).coverage
    reader = LogReader(path, classes=tuple(c for c in line_classes() if c.id != missing))
    for _ in reader.tables():
        pass
    gone = before.attempt_lines - reader.coverage.attempt_lines
    assert gone > 10
    assert reader.coverage.not_understood == gone
    assert reader.coverage.other == before.other
