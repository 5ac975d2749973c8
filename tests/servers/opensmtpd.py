"""A real OpenSMTPD on loopback, in a root folder of its own. Needs root, and Debian's package with its libraries, unpacked.

Its paths and users are built in, so it lives where they are free: in a folder that it takes for the whole file system.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kit.sandbox.authority import issue
from tests.servers.syslog import recorded

USER, PASSWORD = "alice", "good-alice"
ADDRESS, GREY = "alice@example.test", "alice+grey@example.test"
# Numbers of user and group that no system gives away: it changes to the first two, and delivers mail as the third.
_USERS = {"opensmtpd": 64_123, "opensmtpq": 64_124, USER: 64_125}


@dataclass(frozen=True, kw_only=True)
class OpenSmtpd:
    """Where it is. `port` takes STARTTLS, `tls_port` speaks TLS from the first byte; both take mail of whoever signed in.
    `plain_port` has neither TLS nor AUTH, and takes mail from 127.0.0.2 alone."""

    port: int
    tls_port: int
    plain_port: int
    ca_file: str
    log_file: Path
    mailbox: Path
    host: str = "localhost"

    def wait_for(self, text: str, *, after: int = 0, seconds: float = 10) -> str:
        """The log from byte `after` on, once it holds the text."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if text in (log := self.log_file.read_bytes()[after:].decode()):
                return log
            time.sleep(0.02)
        raise AssertionError(f"no {text!r} within {seconds} s; the log ends:\n{log[-1500:]}")

    def stop_greylisting(self) -> None:
        root = self.log_file.parent
        (root / "etc/grey").write_text("")
        subprocess.run(["chroot", root, "/usr/sbin/smtpctl", "update", "table", "grey"], check=True, stdout=subprocess.DEVNULL)


def find_opensmtpd(release: str) -> Path | None:
    """What root can start: Debian's package of that release and what it stands on, unpacked into KIT_TEST_UNPACKED/opensmtpd-RELEASE."""
    folder = Path(os.environ.get("KIT_TEST_UNPACKED", "/nowhere"), f"opensmtpd-{release}")
    return folder if os.geteuid() == 0 and (folder / "usr/sbin/smtpd").exists() else None


@contextlib.contextmanager
def opensmtpd(release: str = "trixie") -> Iterator[OpenSmtpd]:
    """PLAIN and LOGIN, which is all it has, under TLS, for one user. Mail to that user is delivered, mail to others refused: by the
    server, and to policy@ by a rule; mail to alice+grey@ is put off until `stop_greylisting`."""
    unpacked = find_opensmtpd(release)
    assert unpacked
    with tempfile.TemporaryDirectory(prefix="kit-opensmtpd-") as made, contextlib.ExitStack() as stack:
        root = Path(made)
        root.chmod(0o755)
        shutil.copytree(unpacked, root, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("share", "gconv"))
        for name in ("bin", "lib", "lib64"):  # in a newer Debian no package of these brings the links to /usr
            if not (root / name).exists():
                (root / name).symlink_to(f"usr/{name}")
        (root / "tls").mkdir()
        ca_file, server_file = issue(root / "tls")
        names = ("port", "tls_port", "plain_port")
        ports = dict(zip(names, _free_ports(len(names)), strict=True))
        server = OpenSmtpd(**ports, ca_file=str(ca_file), log_file=root / "log", mailbox=root / "home" / USER / "Maildir/new")
        _configure(root, server, f"/tls/{server_file.name}")
        stack.enter_context(recorded(root / "dev/log", server.log_file, lambda: datetime.now(UTC).isoformat(timespec="microseconds")))
        out = stack.enter_context((root / "start.out").open("wb"))
        process = subprocess.Popen(["chroot", root, "/usr/sbin/smtpd", "-F"], stderr=out, stdout=out, stdin=subprocess.DEVNULL)
        try:
            _wait(process, server)
            yield server
        finally:
            process.terminate()  # its children end with it
            process.wait(timeout=10)


def _configure(root: Path, server: OpenSmtpd, server_file: str) -> None:
    for name in ("dev", "run", "tmp", "etc/ssl/certs", "var/lib/opensmtpd/empty", "var/spool/smtpd", f"home/{USER}"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "var/run").symlink_to("../run")
    (root / "var/spool/smtpd").chmod(0o711)
    os.chown(root / "home" / USER, _USERS[USER], _USERS[USER])
    os.chown(root / "usr/sbin/smtpctl", 0, _USERS["opensmtpq"])
    (root / "usr/sbin/smtpctl").chmod(0o2755)  # it asks to be setgid
    hashed = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=PASSWORD, capture_output=True, text=True, check=True).stdout
    users = {"root": 0, **_USERS}
    for name, text in {
        "passwd": "".join(f"{name}:x:{number}:{number}::/home/{name}:/bin/false\n" for name, number in users.items()),
        "group": "".join(f"{name}:x:{number}:\n" for name, number in users.items()),
        "hosts": "127.0.0.1 localhost\n",
        "ssl/certs/ca-certificates.crt": Path(server.ca_file).read_text(),
        "grey": GREY,
        "credentials": f"{USER} {hashed}",
        "smtpd.conf": f"""
pki mx.example.test cert "{server_file}"
pki mx.example.test key "{server_file}"
table credentials file:/etc/credentials
table grey file:/etc/grey
filter no phase rcpt-to match rcpt-to {{ "policy@example.test" }} reject "554 5.7.1 Not from you"
filter later phase rcpt-to match rcpt-to <grey> reject "450 4.2.0 Greylisted, try again in 2 seconds"
filter policy chain {{ no, later }}
listen on 127.0.0.1 port {server.port} hostname mx.example.test filter policy tls pki mx.example.test auth <credentials>
listen on 127.0.0.1 port {server.tls_port} hostname mx.example.test filter policy smtps pki mx.example.test auth <credentials>
listen on 127.0.0.1 port {server.plain_port} hostname mx.example.test
action deliver maildir
match auth from any for domain example.test action deliver
match from src 127.0.0.2 for domain example.test action deliver
""",
    }.items():
        (root / "etc" / name).write_text(text)


def _wait(process: subprocess.Popen[bytes], server: OpenSmtpd) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", server.plain_port), timeout=1).close()
            server.wait_for("smtp disconnected")  # so that the tests find none but their own sessions in the log
            return
        time.sleep(0.05)
    raise RuntimeError(f"OpenSMTPD does not listen:\n{server.log_file.with_name('start.out').read_text()}{server.log_file.read_text()}")


def _free_ports(count: int) -> list[int]:
    doors = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [door.getsockname()[1] for door in doors]
    for door in doors:
        door.close()
    return ports
