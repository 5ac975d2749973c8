"""A run with known truth: a real Sendmail asks a real saslauthd. Both log a try that failed, and it is one."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest

import kit
from tests.logs.known import compare, covered
from tests.logs.slow_reader import read_slowly
from tests.servers.boxes import Done, play
from tests.servers.drive import Try
from tests.servers.sendmail import USERS, sendmail

pytestmark = pytest.mark.needs("sendmail")
PLAYED = 216  # connections: each of nine kinds by each of two mechanisms, and LOGIN once more, eight times


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """What was done, and the log of it."""
    with sendmail(saslauthd=True) as server:
        start = server.root.log_file.stat().st_size
        done = play({"smtp": server.smtp_port}, server.ca_file, USERS, ("plaintext", "PLAIN", "LOGIN"), PLAYED)
        server.root.wait_for_quiet()
        log = server.root.log_file.read_bytes()[start:]
    path = tmp_path_factory.mktemp("truth") / "mail.log"
    path.write_bytes(log)
    return done, path


def _logged(done: Done) -> Try | None:
    """Sendmail knows the client, and saslauthd whether the user or the password was wrong."""
    user = done.user and done.user[:64]
    one = Try(service=None, address=done.address, outcome="failure", cause="wrong-password", user=user, mechanism=done.mechanism)
    match done.kind:
        case "good":
            return replace(one, outcome="success", cause="none")
        case "wrong":
            return one
        case "unknown":
            return replace(one, cause="unknown-user")
    return None


def test_every_try_is_found_once_and_none_is_invented(played):
    done, path = played
    assert len(done) >= 200
    failures = sum(each.kind in ("wrong", "unknown") for each in done)
    assert len(re.findall(rb"saslauthd\[\d+\]: .* auth failure: ", path.read_bytes())) == failures
    logged = [(each, _logged(each)) for each in done]
    compare("Sendmail with saslauthd", path, [told for _, told in logged if told], Counter(each.kind for each, told in logged if not told))


def test_every_line_is_accounted_for_and_the_slow_reader_agrees(played):
    _, path = played
    covered(path)
    attempts, _ = read_slowly(path, year=2026)
    assert kit.read_logs(path).table.to_pylist() == attempts


def test_no_hash_of_a_password_is_kept(played):
    """With -d saslauthd logs both hashes where a password was wrong."""
    _, path = played
    assert b"'$6$" in path.read_bytes()
    assert "$6$" not in str(kit.read_logs(path).table.to_pylist())
