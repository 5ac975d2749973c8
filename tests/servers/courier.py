"""A real Courier on loopback: IMAP and POP3, in clear and with TLS from the first byte, and ESMTP. Clients sign in by plaintext too."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from kit.sandbox.authority import issue
from tests.servers.chroot import Root, free_ports, root

USERS = {"alice": "good-alice", "bob": "good bob"}
_COURIER, _BOX = 64_132, 64_133  # numbers of user and group that no system gives away
_TCPD = ("/usr/sbin/couriertcpd", "-address=127.0.0.1", "-maxprocs=100", "-maxperip=100", "-maxperc=100", "-nodnslookup")


@dataclass(frozen=True, kw_only=True)
class Courier:
    """Where it is."""

    imap_port: int
    imaps_port: int
    pop3_port: int
    pop3s_port: int
    smtp_port: int
    ca_file: str
    root: Root
    host: str = "localhost"


@contextlib.contextmanager
def courier() -> Iterator[Courier]:
    """PLAIN, LOGIN and CRAM-MD5 for the users."""
    with root("courier", {"courier": _COURIER, "box": _BOX}) as here:
        (here.path / "tls").mkdir()
        ca_file, server_file = issue(here.path / "tls")
        for path in (here.path / "tls", server_file):
            path.chmod(0o755)
        names = ("imap_port", "imaps_port", "pop3_port", "pop3s_port", "smtp_port")
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        _write_users(here)
        # What the start scripts would have exported from the files in /etc/courier.
        env = {
            "authmodulelist": "authuserdb",
            "authmodulelistorig": "authuserdb",
            "daemons": "5",
            "authdaemonvar": "/run/courier/authdaemon",
            "DEBUG_LOGIN": "0",
            "TLS_CERTFILE": f"/tls/{server_file.name}",
            "TLS_VERIFYPEER": "NONE",
            "COURIERTLS": "/usr/bin/couriertls",
            "IMAP_CAPABILITY": "IMAP4rev1 AUTH=PLAIN AUTH=LOGIN AUTH=CRAM-MD5",
            "IMAP_STARTTLS": "NO",
            "POP3AUTH": "PLAIN LOGIN CRAM-MD5",
            "ESMTPAUTH": "PLAIN LOGIN CRAM-MD5",
        }
        here.write("etc/courier/authdaemonrc", "".join(f'{name}="{value}"\n' for name, value in env.items()))
        here.start(
            "/usr/sbin/courierlogger", "-name=authdaemond", "-facility=mail", "/usr/lib/courier/courier-authlib/authdaemond", env=env
        )
        programs = "/usr/lib/courier/courier"
        imap = (f"{programs}/imaplogin", "/usr/bin/imapd", "Maildir")
        pop3 = (f"{programs}/courierpop3login", f"{programs}/courierpop3d", "Maildir")
        tls = ("/usr/bin/couriertls", "-server", "-tcpd", "-user=courier")
        _listen(here, "imapd", ports["imap_port"], imap, env | {"PROTOCOL": "IMAP"})
        _listen(here, "imapd-ssl", ports["imaps_port"], (*tls, *imap), env | {"PROTOCOL": "IMAP", "IMAP_TLS": "1"})
        _listen(here, "pop3d", ports["pop3_port"], pop3, env)
        _listen(here, "pop3d-ssl", ports["pop3s_port"], (*tls, *pop3), env | {"POP3_TLS": "1"})
        _listen(here, "courieresmtpd", ports["smtp_port"], ("/usr/sbin/courieresmtpd",), env)
        for port in ports.values():
            here.wait_for_port(port)
        yield Courier(**ports, ca_file=str(ca_file), root=here)


def _listen(here: Root, name: str, port: int, command: tuple[str, ...], env: dict[str, str]) -> None:
    here.start("/usr/sbin/courierlogger", f"-name={name}", "-facility=mail", *_TCPD, str(port), *command, env=env)


def _write_users(here: Root) -> None:
    for name, owner in {"run/courier": _COURIER, "run/courier/authdaemon": _COURIER, "home": _BOX}.items():
        here.folder(name, owner)
    users, secrets = [], []
    for user, password in USERS.items():
        for name in ("", "Maildir", "Maildir/new", "Maildir/cur", "Maildir/tmp"):
            here.folder(f"home/{user}/{name}", _BOX)
        hashed = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=password, capture_output=True, text=True, check=True).stdout
        challenged = here.run("/usr/sbin/userdbpw", "-hmac-md5", given=f"{password}\n{password}\n")
        users.append(f"{user}\tuid={_BOX}|gid={_BOX}|home=/home/{user}\n")
        secrets.append(f"{user}\tsystempw={hashed.strip()}|hmac-md5pw={challenged.strip()}\n")
    for name, lines in {"userdb": users, "userdbshadow": secrets}.items():
        here.run(
            "/usr/lib/courier/courier-authlib/makedatprog",
            "-",
            f"/etc/courier/{name}.tmp",
            f"/etc/courier/{name}.dat",
            given="".join([*lines, ".\n"]),
        )
        (here.path / f"etc/courier/{name}.dat").chmod(0o644)
