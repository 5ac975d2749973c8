"""A real Dovecot 2.4 on loopback: IMAP, POP3 and submission. Needs root, and Debian's packages with their libraries, unpacked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from kit.sandbox.authority import issue
from tests.servers.chroot import Root, free_ports, root

USERS = {"alice@example.test": "good-alice", "bob": "good bob"}
_PORTS = ("imap_port", "imaps_port", "pop3_port", "submission_port")
_ACCOUNTS = {"dovecot": 64_151, "dovenull": 64_152, "vmail": 64_153}  # numbers of user and group that no system gives away


@dataclass(frozen=True, kw_only=True)
class Dovecot24:
    """Where it is."""

    imap_port: int
    imaps_port: int
    pop3_port: int
    submission_port: int
    ca_file: str
    root: Root
    host: str = "localhost"


@contextlib.contextmanager
def dovecot24(*, verbose: bool) -> Iterator[Dovecot24]:
    """PLAIN, LOGIN and CRAM-MD5, passwords in clear over TLS only. Says why a try failed where it is to be verbose."""
    with root("dovecot-trixie", _ACCOUNTS) as here:
        (here.path / "tls").mkdir()
        ca_file, server_file = issue(here.path / "tls")
        for path in (here.path / "tls", server_file):
            path.chmod(0o755)
        ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        for name in ("run/dovecot", "var/lib/dovecot"):
            here.folder(name)
        here.folder("srv", _ACCOUNTS["vmail"])
        here.write("etc/dovecot/users", "".join(f"{user}:{{PLAIN}}{password}\n" for user, password in USERS.items()))
        here.write("etc/dovecot/dovecot.conf", _configuration(ports, f"/tls/{server_file.name}", verbose=verbose))
        here.start("/usr/sbin/dovecot", "-F", "-c", "/etc/dovecot/dovecot.conf")
        for port in ports.values():
            here.wait_for_port(port)
        here.wait_for_quiet()
        yield Dovecot24(**ports, ca_file=str(ca_file), root=here)


def _configuration(ports: dict[str, int], server_file: str, *, verbose: bool) -> str:
    listeners = {
        "imap": {"imap": ports["imap_port"], "imaps": ports["imaps_port"]},
        "pop3": {"pop3": ports["pop3_port"], "pop3s": 0},
        "submission": {"submission": ports["submission_port"], "submissions": 0},
    }
    services = "".join(
        f"service {service}-login {{\n"
        + "".join(f"inet_listener {name} {{\nport = {port}\n}}\n" for name, port in ports_of.items())
        + "}\n"
        for service, ports_of in listeners.items()
    )
    return f"""
dovecot_config_version = 2.4.1
dovecot_storage_version = 2.4.1
protocols {{
  imap = yes
  pop3 = yes
  submission = yes
}}
listen = 127.0.0.1
mail_driver = maildir
mail_path = /srv/%{{user}}
mail_uid = vmail
mail_gid = vmail
first_valid_uid = 1000
auth_mechanisms = plain login cram-md5
auth_verbose = {"yes" if verbose else "no"}
auth_failure_delay = 0
auth_username_chars =
ssl_server_cert_file = {server_file}
ssl_server_key_file = {server_file}
submission_relay_host = 127.0.0.1
submission_relay_port = 1
passdb passwd-file {{
  passwd_file_path = /etc/dovecot/users
}}
userdb static {{
}}
{services}"""
