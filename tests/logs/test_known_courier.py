"""A run with known truth: what real clients did to a real Courier is what its log is read as, each try once."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import replace

import pytest

import kit
from tests.logs.known import compare, covered
from tests.servers.boxes import Done, play
from tests.servers.courier import USERS, courier
from tests.servers.drive import Try

pytestmark = pytest.mark.needs("courier")
PLAYED = 180  # connections: each of nine kinds by each of four mechanisms over each of five ports


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """What was done, and the log of it."""
    with courier() as server:
        ports = {
            "imap": server.imap_port,
            "imaps": server.imaps_port,
            "pop3": server.pop3_port,
            "pop3s": server.pop3s_port,
            "smtp": server.smtp_port,
        }
        start = server.root.log_file.stat().st_size
        # It lets whoever failed wait for five seconds.
        done = play(ports, server.ca_file, USERS, ("plaintext", "PLAIN", "LOGIN", "CRAM-MD5"), PLAYED, at_once=40)
        server.root.wait_for_quiet()
        log = server.root.log_file.read_bytes()[start:]
    path = tmp_path_factory.mktemp("truth") / "mail.log"
    path.write_bytes(log)
    return done, path


def _logged(done: Done) -> Try | None:
    """What Courier writes of a try: all that fails is one failure. A sign-in by SMTP it does not log, nor that a client vanished but by POP3."""
    if (done.kind == "vanished" and "pop3" not in done.service) or (done.kind == "good" and done.service == "smtp"):
        return None
    one = Try(service=done.service, address=done.address, outcome="failure", cause="credentials", user=done.user, mechanism=done.mechanism)
    if done.kind == "good":
        return replace(one, outcome="success", cause="none", mechanism=None)
    if done.service == "smtp":
        return replace(one, user=done.user and done.user[: 79 - len(f"AUTH {done.mechanism} ")])
    return replace(one, mechanism=None) if done.mechanism == "plaintext" else replace(one, user=None)


def test_every_try_is_found_once_and_none_is_invented(played):
    done, path = played
    assert len(done) >= 200
    logged = [(each, _logged(each)) for each in done]
    silent = Counter(f"{each.kind} over {each.service}" for each, told in logged if not told)
    compare("Courier", path, [told for _, told in logged if told], silent)


def test_every_line_is_accounted_for(played):
    covered(played[1])


def test_what_clients_sent_is_masked(played):
    """The log holds the credentials of each AUTH PLAIN in base64, decoded they would be in every export."""
    _, path = played
    log, text = path.read_text("utf-8", "replace"), " ".join(kit.read_logs(path).frame["text"])
    sent = [blob for user in USERS if (blob := base64.b64encode(f"\0{user}\0wrong".encode()).decode()) in log]
    assert sent
    assert not any(blob in text for blob in sent)
