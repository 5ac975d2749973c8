"""A run with known truth: what real clients did to a real Cyrus is what its log is read as, each try once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from tests.logs.known import compare, covered
from tests.servers.boxes import Done, play
from tests.servers.cyrus import DOMAIN, USERS, cyrus
from tests.servers.drive import Try

pytestmark = pytest.mark.needs("cyrus")
PLAYED = 288  # connections: each of nine kinds by each of four mechanisms, twice over each of four ports


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """What was done, and the log of it."""
    with cyrus() as server:
        ports = {"imap": server.imap_port, "imaps": server.imaps_port, "pop3": server.pop3_port, "pop3s": server.pop3s_port}
        start = server.root.log_file.stat().st_size
        done = play(ports, server.ca_file, USERS, ("plaintext", "PLAIN", "LOGIN", "CRAM-MD5"), PLAYED)
        server.root.wait_for_quiet()
        log = server.root.log_file.read_bytes()[start:]
    path = tmp_path_factory.mktemp("truth") / "mail.log"
    path.write_bytes(log)
    return done, path


def _logged(done: Done) -> Try | None:
    """What Cyrus 3.10 writes of a try: of one that was aborted, and of a client that vanished, nothing. POP3 gives no details."""
    imap = "imap" in done.service
    # It makes names small; those that cannot be a user's it refuses as they came.
    user = done.user if set(done.user or "") & set('()"\\') else (done.user or "").lower() or None
    one = Try(service=done.service, address=done.address, outcome="failure", cause="credentials", user=user, mechanism=done.mechanism)
    match done.kind:
        case "good":
            return replace(one, outcome="success", cause="none")
        case "wrong":
            return replace(one, cause="wrong-password") if done.mechanism == "CRAM-MD5" and imap else one
        case "unknown":
            return replace(one, cause="unknown-user", user=_stranger(user, done.mechanism, imap))
        case "malformed":
            return replace(one, outcome="refused", cause="unknown") if imap else replace(one, outcome="malformed", cause="malformed")
        case "no-such-mechanism":
            return replace(one, outcome="refused", cause="unknown" if imap else "mechanism-unsupported")
    return None


def _stranger(user: str, mechanism: str, imap: bool) -> str | None:
    """A name that it does not know it writes where it asked for the password itself, or as its database is asked for it, by name and realm."""
    if mechanism == "plaintext":
        return user
    return (user if "@" in user else f"{user}@{DOMAIN}") if mechanism == "CRAM-MD5" and imap else None


def test_every_try_is_found_once_and_none_is_invented(played):
    done, path = played
    assert len(done) >= 200
    logged = [(each, _logged(each)) for each in done]
    compare("Cyrus IMAP", path, [told for _, told in logged if told], Counter(each.kind for each, told in logged if not told))


def test_every_line_is_accounted_for(played):
    covered(played[1])
