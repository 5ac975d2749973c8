"""A real Exim on loopback that logs: to its own file, and the same to syslog. Needs root, and Debian's package of one of two releases, unpacked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.sandbox.authority import issue
from tests.servers.chroot import Root, free_ports, root

USERS = {"alice": "good-alice", "bob@example.test": "good bob"}
RELEASES = {"bookworm": "4.96", "trixie": "4.98"}
# What Debian's configuration logs beyond Exim's default; and all there is.
SELECTORS = {"debian": "+smtp_protocol_error +smtp_syntax_error +tls_certificate_verified +tls_peerdn", "full": "+all -arguments"}
_EXIM = 64_141  # a number of user and group that no system gives away


@dataclass(frozen=True, kw_only=True)
class EximLogs:
    """Where it is. The ports are called after what they stand for; all take AUTH with and without TLS."""

    smtp_port: int
    submission_port: int
    submissions_port: int
    ca_file: str
    root: Root
    main_log: Path
    host: str = "localhost"


@contextlib.contextmanager
def exim_logs(release: str, selector: str) -> Iterator[EximLogs]:
    """PLAIN, LOGIN and CRAM-MD5, by authenticators that are called so; mail to no@ is refused, and none delivered."""
    with root(f"exim-{release}", {"Debian-exim": _EXIM}) as here:
        (here.path / "tls").mkdir()
        ca_file, server_file = issue(here.path / "tls")
        for path in (here.path / "tls", server_file):
            path.chmod(0o755)
        for name in ("spool", "log"):
            here.folder(name, _EXIM)
        names = ("smtp_port", "submission_port", "submissions_port")
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        here.write("conf", _configuration(ports, f"/tls/{server_file.name}", selector))
        here.start("/usr/sbin/exim4", "-bdf", "-C", "/conf")
        here.wait_for_port(ports["submissions_port"])
        yield EximLogs(**ports, ca_file=str(ca_file), root=here, main_log=here.path / "log/main")


def _configuration(ports: dict[str, int], server_file: str, selector: str) -> str:
    known = " ".join(f'of-{user}="{password}"' for user, password in USERS.items())
    return f"""
primary_hostname = mx.example.test
exim_path = /usr/sbin/exim4
spool_directory = /spool
log_file_path = /log/%s : syslog
log_selector = {SELECTORS[selector]}
keep_environment =
local_interfaces = 127.0.0.1
daemon_smtp_ports = {" : ".join(map(str, ports.values()))}
tls_on_connect_ports = {ports["submissions_port"]}
tls_certificate = {server_file}
tls_advertise_hosts = *
auth_advertise_hosts = *
acl_smtp_rcpt = acl_check_rcpt
host_lookup =
queue_only
smtp_accept_max = 100
begin acl
acl_check_rcpt:
  deny recipients = no@example.test
    message = Not from you
  accept
begin routers
all:
  driver = accept
  transport = nowhere
begin transports
nowhere:
  driver = appendfile
  file = /dev/null
  user = Debian-exim
begin authenticators
plain_server:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if eq{{$auth3}}{{${{extract{{of-$auth2}}{{{known}}}{{$value}}fail}}}}}}
  server_set_id = $auth2
dovecot_login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${{if eq{{$auth2}}{{${{extract{{of-$auth1}}{{{known}}}{{$value}}fail}}}}}}
  server_set_id = $auth1
cram_md5:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = ${{extract{{of-$auth1}}{{{known}}}{{$value}}fail}}
  server_set_id = $auth1
"""
