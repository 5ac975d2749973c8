"""A run with known truth: what real clients did to a real Sendmail is what its log is read as, each try once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from tests.logs.known import compare, covered
from tests.servers.boxes import Done, play
from tests.servers.drive import Try
from tests.servers.sendmail import USERS, sendmail

pytestmark = pytest.mark.needs("sendmail")
PLAYED = 180  # connections: each of nine kinds by each of three mechanisms, and LOGIN once more, five times


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """What was done, and the log of it."""
    with sendmail() as server:
        start = server.root.log_file.stat().st_size
        done = play({"smtp": server.smtp_port}, server.ca_file, USERS, ("plaintext", "PLAIN", "LOGIN", "CRAM-MD5"), PLAYED)
        server.root.wait_for_quiet()
        log = server.root.log_file.read_bytes()[start:]
    path = tmp_path_factory.mktemp("truth") / "mail.log"
    path.write_bytes(log)
    return done, path


def _logged(done: Done) -> Try | None:
    """What Sendmail 8.18 writes of a try: nothing of one that was aborted, of an unknown mechanism, and of a client that vanished; of what is
    no base64 only where it comes with the command itself."""
    user = done.user and done.user[:64]
    one = Try(service=None, address=done.address, outcome="failure", cause="credentials", user=user, mechanism=done.mechanism)
    match done.kind:
        case "good":
            return replace(one, outcome="success", cause="none")
        case "wrong":
            return replace(one, cause="wrong-password") if done.mechanism == "CRAM-MD5" else one
        case "unknown":
            return replace(one, cause="unknown-user")
    return None


def test_every_try_is_found_once_and_none_is_invented(played):
    done, path = played
    assert len(done) >= 200
    logged = [(each, _logged(each)) for each in done]
    compare("Sendmail", path, [told for _, told in logged if told], Counter(each.kind for each, told in logged if not told))


def test_every_line_is_accounted_for(played):
    covered(played[1])
