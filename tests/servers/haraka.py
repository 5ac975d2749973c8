"""A real Haraka on loopback, from npm."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kit.sandbox.authority import issue
from tests.servers.chroot import free_ports

USER, PASSWORD = "alice", "good-alice"
_DHPARAMS = ("openssl", "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048")


@dataclass(frozen=True, kw_only=True)
class Haraka:
    """Where it is. `port` takes STARTTLS, `tls_port` speaks TLS from the first byte; both take mail of whoever signed in. A client from
    loopback may sign in without TLS too."""

    port: int
    tls_port: int
    ca_file: str
    log_file: Path


def find_haraka() -> Path | None:
    """The program: the npm package, installed into KIT_TEST_UNPACKED/haraka."""
    program = Path(os.environ.get("KIT_TEST_UNPACKED", "/nowhere"), "haraka/node_modules/Haraka/bin/haraka")
    return program if shutil.which("node") and program.exists() else None


@contextlib.contextmanager
def haraka() -> Iterator[Haraka]:
    """PLAIN, LOGIN and CRAM-MD5 for one user. It logs to standard output, as under systemd, whose part this plays: each line gets time,
    host and program."""
    program = find_haraka()
    assert program
    with tempfile.TemporaryDirectory(prefix="kit-haraka-") as made:
        root = Path(made)
        ca_file, server_file = issue(root)
        key, _, chain = server_file.read_text().partition("-----BEGIN CERTIFICATE")
        port, tls_port = free_ports(2)
        subprocess.run(
            ["node", program, "-i", root], capture_output=True, check=True
        )  # its own configuration, which it does not start without
        for name, text in {
            "tls_key.pem": key,
            "tls_cert.pem": f"-----BEGIN CERTIFICATE{chain}",
            "dhparams.pem": subprocess.run(_DHPARAMS, capture_output=True, text=True, check=True).stdout,  # else it makes some, for long
            "me": "mx.example.test\n",
            "smtp.ini": f"listen=127.0.0.1:{port},127.0.0.1:{tls_port}\nsmtps_port={tls_port}\n",
            "plugins": "tls\nauth/flat_file\nrcpt_to.in_host_list\n",
            "host_list": "example.test\n",
            "auth_flat_file.ini": f"[core]\nmethods=PLAIN,LOGIN,CRAM-MD5\n[users]\n{USER}={PASSWORD}\n",
        }.items():
            (root / "config" / name).write_text(text)
        server = Haraka(port=port, tls_port=tls_port, ca_file=str(ca_file), log_file=root / "mail.log")
        server.log_file.touch()
        process = subprocess.Popen(
            ["node", program, "-c", root], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        thread = threading.Thread(target=_record, args=(process, server.log_file))
        thread.start()
        try:
            _wait(process, server)
            yield server
        finally:
            process.terminate()
            process.wait(timeout=10)
            thread.join()


def _record(process: subprocess.Popen[bytes], log_file: Path) -> None:
    """What it writes, with what the journal puts before it."""
    assert process.stdout
    with log_file.open("ab", buffering=0) as log:
        for line in process.stdout:
            log.write(f"{datetime.now(UTC).isoformat(timespec='microseconds')} mx haraka[{process.pid}]: ".encode() + line)


def _wait(process: subprocess.Popen[bytes], server: Haraka) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            for port in (server.port, server.tls_port):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.1)
    raise RuntimeError(f"Haraka does not listen:\n{server.log_file.read_text()}")
