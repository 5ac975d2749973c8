"""The journal of a real journald, followed while it is written."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.servers.journal import DAEMON


@pytest.mark.needs("linux", "root")
@pytest.mark.skipif(not DAEMON.exists(), reason="needs journald: apt-get install systemd")
def test_a_real_journal_is_followed_and_no_process_is_left():
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "tests.servers.journal"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    first, users, adds_up, attempts, left = json.loads(done.stdout)
    assert first == ["u1"]
    assert users[:3] == ["u1", "u2", "u\N{REPLACEMENT CHARACTER}"]
    assert users[3] is None or set(users[3]) == {"u"}
    assert (adds_up, attempts, left) == (True, 4, False)
