"""A real Sendmail on loopback that takes AUTH, with STARTTLS at one port. It is to log, and delivers nothing."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from kit.sandbox.authority import issue
from tests.servers.chroot import Root, free_ports, root

USERS = {"alice": "good-alice", "bob": "good bob"}
DOMAIN = "mx.example.test"
_SENDMAIL = 64_134  # a number of user and group that no system gives away


@dataclass(frozen=True, kw_only=True)
class Sendmail:
    """Where it is."""

    smtp_port: int
    ca_file: str
    root: Root
    host: str = "localhost"


@contextlib.contextmanager
def sendmail(*, saslauthd: bool = False) -> Iterator[Sendmail]:
    """PLAIN, LOGIN and CRAM-MD5 for the users; without the last where saslauthd judges passwords, by /etc/shadow."""
    with root("sendmail", {"smmta": _SENDMAIL}) as here:
        (here.path / "tls").mkdir()
        ca_file, server_file = issue(here.path / "tls")
        (port,) = free_ports(1)
        here.folder("var/spool/mqueue", mode=0o700)
        here.write("etc/mail/aliases", "")
        passwords = _start_saslauthd(here) if saslauthd else "pwcheck_method: auxprop\nauxprop_plugin: sasldb\n"
        for name in ("etc/mail/sasl/Sendmail.conf", "usr/lib/sasl2/Sendmail.conf", "etc/sasl2/Sendmail.conf"):
            here.write(name, f"{passwords}mech_list: PLAIN LOGIN{'' if saslauthd else ' CRAM-MD5 SCRAM-SHA-256'}\n", mode=0o600)
        for user, password in USERS.items():
            here.run("/usr/sbin/saslpasswd2", "-p", "-c", "-f", "/etc/sasldb2", "-u", DOMAIN, user, given=password)
        (here.path / "etc/sasldb2").chmod(0o600)
        here.write(
            "etc/mail/sendmail.cf", _CONF.format(port=port, server=f"/tls/{server_file.name}", ca=f"/tls/{ca_file.name}", domain=DOMAIN)
        )
        here.start("/usr/libexec/sendmail/sendmail", "-bD", "-C", "/etc/mail/sendmail.cf")
        here.wait_for_port(port)
        yield Sendmail(smtp_port=port, ca_file=str(ca_file), root=here)


def _start_saslauthd(here: Root) -> str:
    """What Sendmail has to know of it."""
    passwd, shadow = (here.path / "etc/passwd").read_text(), ""
    for number, (user, password) in enumerate(USERS.items(), _SENDMAIL + 1):
        passwd += f"{user}:x:{number}:{number}::/:/bin/false\n"
        hashed = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=password, capture_output=True, text=True, check=True).stdout
        shadow += f"{user}:{hashed.strip()}:19000:0:99999:7:::\n"
    here.write("etc/passwd", passwd)
    here.write("etc/shadow", shadow, mode=0o600)
    here.folder("run/saslauthd")
    here.start("/usr/sbin/saslauthd", "-d", "-a", "shadow", "-m", "/run/saslauthd")
    return "pwcheck_method: saslauthd\n"


_CONF = """V10/Berkeley
Cwlocalhost
Dj{domain}
O QueueDirectory=/var/spool/mqueue
O PidFile=/run/sendmail.pid
O AliasFile=/etc/mail/aliases
O DaemonPortOptions=Name=MTA, Addr=127.0.0.1, Port={port}
O AuthMechanisms=PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256
O CACertPath=/tls
O CACertFile={ca}
O ServerCertFile={server}
O ServerKeyFile={server}
O Timeout.ident=0
O ConnectionRateThrottle=0
S0
R$*	$#local $: $1
S3
S4
Mlocal, P=/bin/true, F=lsDFMAw5:/|@q, S=0, R=0, T=DNS/RFC822/X-Unix, A=true
Mprog, P=/bin/true, F=lsDFMoqeu9, S=0, R=0, D=/, T=X-Unix/X-Unix/X-Unix, A=true
"""
