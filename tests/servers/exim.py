"""A real Exim on loopback, unpacked beside Postfix, with which Debian lets nobody install it. Needs root.

Where the machine has no user of its name, there is one only for Exim itself: in a mount namespace with an /etc/passwd of its own.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.sandbox.authority import issue
from tests.servers.openssl_server import Signed, certify

USER, PASSWORD, GREY = "alice", "good-alice", "alice+grey@example.test"
_NOBODY_ELSE = 64_123  # a number of user and group that no system gives away
_IN_A_NAMESPACE = ("unshare", "--mount")


@dataclass(frozen=True, kw_only=True)
class Exim:
    """Where it is. `port` takes STARTTLS, `tls_port` speaks TLS from the first byte. Clients are asked for a certificate by
    `clients`; at `strict_port`, which takes STARTTLS, nobody gets on without one.

    Mail to the user and to jürgen@ comes into `mailbox`; mail to alice+grey@ too, but that is put off until `stop_greylisting`.
    """

    port: int
    tls_port: int
    strict_port: int
    clients: Signed
    ca_file: str
    log_file: Path
    mailbox: Path
    host: str = "localhost"

    def stop_greylisting(self) -> None:
        (self.log_file.parent / "greylisting").unlink()

    def wait_for(self, text: str, *, after: int, seconds: float = 10) -> str:
        """The log from byte `after` on, once it holds the text."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if text in (log := self.log_file.read_bytes()[after:].decode()):
                return log
            time.sleep(0.02)
        raise AssertionError(f"no {text!r} within {seconds} s; the log ends:\n{log[-1500:]}")


def find_exim() -> str | None:
    """The program, where root can start it: installed, or unpacked into the folder KIT_TEST_UNPACKED."""
    folders = os.pathsep.join(("/usr/sbin", f"{os.environ.get('KIT_TEST_UNPACKED', '/nowhere')}/usr/sbin"))
    possible = _number() or subprocess.run([*_IN_A_NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
    if os.geteuid() != 0 or not possible:
        return None
    return shutil.which("exim4", path=folders)


def _number() -> int | None:
    """Of Exim's user on this machine."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("Debian-exim").pw_uid
    return None


@contextlib.contextmanager
def exim() -> Iterator[Exim]:
    """PLAIN, LOGIN and CRAM-MD5 under TLS, for one user; EXTERNAL for whose certificate is good. PIPELINING, but not for 127.0.0.2."""
    binary = find_exim()
    assert binary
    with tempfile.TemporaryDirectory(prefix="kit-exim-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        (folder / "tls").mkdir()
        ca_file, server_file = issue(folder / "tls")
        ports = _free_ports()
        clients = certify("the clients' authority", authority=True)
        (folder / "tls/clients.pem").write_bytes(clients.pem)
        names = ("port", "tls_port", "strict_port")
        server = Exim(
            **dict(zip(names, ports, strict=True)),
            clients=clients,
            ca_file=str(ca_file),
            log_file=folder / "log-main",
            mailbox=folder / "mail/new",
        )
        start = [binary, "-bdf", "-C", str(folder / "conf")]
        if (number := _number()) is None:
            number = _NOBODY_ELSE
            for name, line in (("passwd", "Debian-exim:x:{0}:{0}::/:/bin/false"), ("group", "Debian-exim:x:{0}:")):
                (folder / name).write_text(Path("/etc", name).read_text().rstrip("\n") + "\n" + line.format(number) + "\n")
            mounts = f"mount --bind {folder}/passwd /etc/passwd && mount --bind {folder}/group /etc/group"
            start = [*_IN_A_NAMESPACE, "sh", "-c", f'{mounts} && exec "$0" "$@"', *start]
        (folder / "spool").mkdir()
        (folder / "greylisting").touch()
        server.log_file.touch()
        (folder / "conf").write_text(f"""
exim_path = {binary}
primary_hostname = mx.example.test
spool_directory = {folder}/spool
log_file_path = {folder}/log-%s
log_selector = +smtp_no_mail +pid +millisec
local_interfaces = 127.0.0.1
daemon_smtp_ports = {server.port} : {server.tls_port} : {server.strict_port}
tls_on_connect_ports = {server.tls_port}
tls_certificate = {server_file}
tls_verify_certificates = {folder}/tls/clients.pem
tls_try_verify_hosts = *
tls_verify_hosts = ${{if eq{{$received_port}}{{{server.strict_port}}}{{*}}}}
tls_advertise_hosts = *
acl_smtp_rcpt = acl_check_rcpt
auth_advertise_hosts = ${{if def:tls_in_cipher {{*}}}}
host_lookup =
rfc1413_hosts =
pipelining_connect_advertise_hosts =
pipelining_advertise_hosts = !127.0.0.2
deliver_drop_privilege
smtp_accept_queue_per_connection = 0
begin acl
acl_check_rcpt:
  deny recipients = policy@example.test
    message = 5.7.1 Not from you
  defer recipients = {GREY}
    condition = ${{if exists{{{folder}/greylisting}}}}
    message = Greylisted, try again in 2 seconds
  accept recipients = {USER}@example.test : jürgen@example.test : {GREY}
  deny message = 5.1.1 No such user here
begin routers
all:
  driver = accept
  transport = maildir
begin transports
maildir:
  driver = appendfile
  directory = {folder}/mail
  maildir_format
begin authenticators
PLAIN:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and {{{{eq{{$auth2}}{{{USER}}}}}{{eq{{$auth3}}{{{PASSWORD}}}}}}}}}
  server_set_id = $auth2
LOGIN:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${{if and {{{{eq{{$auth1}}{{{USER}}}}}{{eq{{$auth2}}{{{PASSWORD}}}}}}}}}
  server_set_id = $auth1
CRAM:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = ${{if eq{{$auth1}}{{{USER}}}{{{PASSWORD}}}fail}}
  server_set_id = $auth1
CERT:
  driver = external
  public_name = EXTERNAL
  server_advertise_condition = $tls_in_certificate_verified
  server_param2 = ${{certextract{{subject,CN}}{{$tls_in_peercert}}}}
  server_condition = ${{if eq{{$auth1}}{{$auth2}}}}
  server_set_id = $auth1
""")
        (folder / "tls").chmod(0o755)
        for path in (folder, folder / "spool", server.log_file, server_file):
            os.chown(path, number, -1)
        process = subprocess.Popen(start, stderr=subprocess.PIPE)
        try:
            _wait(process, server)
            yield server
        finally:
            process.terminate()
            process.communicate(timeout=10)


def _wait(process: subprocess.Popen[bytes], server: Exim) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.tls_port), timeout=1):
            return
        time.sleep(0.05)
    process.kill()
    raise RuntimeError(f"exim does not listen:\n{process.communicate()[1].decode()}\n{server.log_file.read_text()}")


def _free_ports() -> list[int]:
    doors = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [door.getsockname()[1] for door in doors]
    for door in doors:
        door.close()
    return ports
