"""A run with known truth: a real Dovecot as it comes asks the machine's PAM. PAM has a line for each try, Dovecot one for each connection."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

import kit
from tests.logs.slow_reader import read_slowly
from tests.servers.chroot import free_ports
from tests.servers.syslog import syslog

pytestmark = pytest.mark.needs("dovecot", "syslog")

# What clients call themselves, connection by connection, each with a wrong password. The machine has one of these users, and Dovecot does
# not ask PAM for the last: a user's name holds no blanks.
CONNECTIONS = [("root",), ("mallory",), ("root", "mallory"), ("mallory", "mallory"), ("x rhost=203.0.113.9  user=root",)] * 4
_CONF = """
base_dir = {root}/run
state_dir = {root}/run
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
mail_location = maildir:{root}/mail
passdb {{
  driver = pam
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home={root}
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
"""


@pytest.fixture(scope="module")
def log_file(tmp_path_factory) -> Path:
    root, (port,) = tmp_path_factory.mktemp("pam"), free_ports(1)
    (root / "run").mkdir()
    (root / "dovecot.conf").write_text(_CONF.format(root=root, port=port))
    with syslog(root, lambda: datetime.now(UTC).isoformat(timespec="microseconds")) as prefix:
        process = subprocess.Popen([*prefix, "dovecot", "-F", "-c", root / "dovecot.conf"])
        try:
            _wait(port)
            with ThreadPoolExecutor(len(CONNECTIONS)) as pool:
                list(pool.map(lambda number: _play(port, number), range(len(CONNECTIONS))))
        finally:
            process.terminate()
            process.wait(10)
    return root / "mail.log"


def _wait(port: int) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.05)
    raise RuntimeError("Dovecot does not listen")


def _play(port: int, number: int) -> None:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(_address(number), 0)) as sock,
        sock.makefile("rb") as heard,
    ):
        heard.readline()
        for user in CONNECTIONS[number]:
            sock.sendall(f'a LOGIN "{user}" wrong\r\n'.encode())
            assert heard.readline().startswith(b"a NO")
        sock.sendall(b"b LOGOUT\r\n")
        heard.readline()


def _address(number: int) -> str:
    return f"127.0.1.{number + 2}"


def test_every_try_is_found_once_with_what_both_know(log_file):
    log = kit.read_logs(log_file)
    rows = log.table.to_pylist()
    found = Counter((row["client_ip"], row["user"], row["cause"]) for row in rows for _ in range(row["count"]))
    # Whether a password is wrong PAM does not say; that there is no such user it does.
    causes = {"mallory": "unknown-user"}
    expected = Counter(
        (_address(number), user, causes.get(user, "credentials")) for number, users in enumerate(CONNECTIONS) for user in users
    )
    assert found == expected
    assert {(row["server"], row["service"], row["outcome"], row["mechanism"], row["tls"]) for row in rows} == {
        ("dovecot", "imap", "failure", "PLAIN", "none")
    }
    assert log.unknown == ()


def test_the_slow_reader_agrees(log_file):
    attempts, _ = read_slowly(log_file, year=2026)
    assert kit.read_logs(log_file).table.to_pylist() == attempts
