"""A real Cyrus IMAP server on loopback: IMAP and POP3, with STARTTLS and with TLS from the first byte."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.sandbox.authority import issue
from tests.servers.chroot import Root, free_ports, root

USERS = {"alice": "good-alice", "bob": "good bob"}
DOMAIN = "mx.example.test"
_CYRUS = 64_131  # a number of user and group that no system gives away


@dataclass(frozen=True, kw_only=True)
class Cyrus:
    """Where it is."""

    imap_port: int
    imaps_port: int
    pop3_port: int
    pop3s_port: int
    ca_file: str
    root: Root
    host: str = "localhost"


@contextlib.contextmanager
def cyrus() -> Iterator[Cyrus]:
    """PLAIN, LOGIN, CRAM-MD5 and SCRAM for the users, who have no mailbox; passwords in clear are taken too."""
    with root("cyrus", {"cyrus": _CYRUS}) as here:
        (here.path / "tls").mkdir()
        ca_file, server_file = issue(here.path / "tls")
        for path in (here.path / "tls", server_file):
            path.chmod(0o755)
        names = ("imap_port", "imaps_port", "pop3_port", "pop3s_port")
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        _configure(here, ports, server_file)
        for user, password in USERS.items():
            here.run("/usr/sbin/saslpasswd2", "-p", "-c", "-f", "/etc/sasldb2", "-u", DOMAIN, user, given=password)
        (here.path / "etc/sasldb2").chmod(0o644)
        here.start("/usr/lib/cyrus/bin/master", "-D")
        for port in ports.values():
            here.wait_for_port(port)
        yield Cyrus(**ports, ca_file=str(ca_file), root=here)


def _configure(here: Root, ports: dict[str, int], server_file: Path) -> None:
    for name in (
        "var/lib/cyrus",
        "var/lib/cyrus/db",
        "var/spool/cyrus/mail",
        "run/cyrus",
        "run/cyrus/proc",
        "run/cyrus/lock",
        "run/cyrus/socket",
    ):
        here.folder(name, _CYRUS)
    here.write("etc/zones/zones.tab", "+513030 -0000731 Europe/London\n")  # it does not start without any
    here.write(
        "etc/imapd.conf",
        f"""
configdirectory: /var/lib/cyrus
proc_path: /run/cyrus/proc
mboxname_lockpath: /run/cyrus/lock
defaultpartition: default
partition-default: /var/spool/cyrus/mail
servername: {DOMAIN}
admins: cyrus
autocreate_quota: 1000
allowplaintext: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_mech_list: PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256
sasl_minimum_layer: 0
tls_server_cert: /tls/{server_file.name}
tls_server_key: /tls/{server_file.name}
syslog_prefix: cyrus
zoneinfo_dir: /etc/zones
failedloginpause: 0
""",
    )
    imap, imaps, pop3, pop3s = (f"127.0.0.1:{port}" for port in ports.values())
    here.write(
        "etc/cyrus.conf",
        f"""
START {{
  recover cmd="/usr/lib/cyrus/bin/ctl_cyrusdb -r"
}}
SERVICES {{
  imap cmd="/usr/lib/cyrus/bin/imapd" listen="{imap}" prefork=0
  imaps cmd="/usr/lib/cyrus/bin/imapd -s" listen="{imaps}" prefork=0
  pop3 cmd="/usr/lib/cyrus/bin/pop3d" listen="{pop3}" prefork=0
  pop3s cmd="/usr/lib/cyrus/bin/pop3d -s" listen="{pop3s}" prefork=0
}}
EVENTS {{
}}
""",
    )
