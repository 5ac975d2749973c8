"""A real Postfix with a real Dovecot behind it, on loopback, without systemd: for tests and for making sample logs.

Postfix takes mail for example.test on three ports and asks Dovecot who may sign in; Dovecot serves IMAP and submission of
its own. Both log through syslog(3) into one file, each line with the time of its arrival (see `tests/servers/syslog.py`). Needs
root. They end with the block, and also when the run is killed in the middle of it.
"""

from __future__ import annotations

import base64
import contextlib
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kit.sandbox.authority import issue
from tests.servers.openssl_server import Signed, certify
from tests.servers.syslog import syslog

HOST = "mx.example.test"
DOMAIN = "example.test"
USERS = {name: f"good-{name}" for name in ("alice", "bob", "carol", "dave", "erin")}
_PORTS = ("smtp", "submission", "submissions", "imap", "imaps", "dovecot_submission")


@dataclass(frozen=True, kw_only=True)
class Servers:
    """Where the servers are. `users` maps full addresses to passwords; certificates of users are by `clients`."""

    folder: Path
    ca_file: str
    log_file: Path
    users: Mapping[str, str]
    clients: Signed
    smtp_port: int
    submission_port: int
    submissions_port: int
    imap_port: int
    imaps_port: int
    dovecot_submission_port: int
    host: str = "localhost"

    def mailbox(self, address: str) -> list[bytes]:
        """The messages delivered to a user, in order of arrival."""
        folder = self.folder / "mail" / address.partition("@")[0] / "new"
        return [path.read_bytes() for path in sorted(folder.glob("*"), key=lambda p: p.stat().st_mtime_ns)]

    def log(self) -> str:
        return self.log_file.read_text("utf-8", "replace")

    def wait_for(self, pattern: str, *, seconds: float = 10, after: int = 0) -> str:
        """The log from byte `after` on, once it holds the pattern."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            text = self.log_file.read_bytes()[after:].decode("utf-8", "replace")
            if re.search(pattern, text):
                return text
            time.sleep(0.02)
        raise AssertionError(f"no line with {pattern!r} within {seconds} s; the log ends:\n{text[-1500:]}")

    def stop_auth(self) -> None:
        """Takes the authentication service away from Postfix, as when it has crashed: the process is killed, the socket gone."""
        (self.folder / "queue/private/auth").rename(self.folder / "queue/private/auth.away")
        master = (self.folder / "dovecot/run/master.pid").read_text().strip()
        subprocess.call(["pkill", "-KILL", "-P", master, "-x", "auth"])

    def start_auth(self) -> None:
        (self.folder / "queue/private/auth.away").rename(self.folder / "queue/private/auth")


@contextlib.contextmanager
def postfix_with_dovecot(
    users: Mapping[str, str] = USERS,
    *,
    stamp: Callable[[], str] = lambda: datetime.now(UTC).isoformat(timespec="microseconds"),
    mechanisms: str = "plain login cram-md5",
    token_key: bytes | None = None,
    settings: str = "",
) -> Iterator[Servers]:
    """The two servers, for as long as the block lasts.

    Args:
        users: names and passwords.
        stamp: gives the time that a line is logged with.
        mechanisms: in Dovecot's spelling. With external both servers ask for certificates, and Dovecot lets in whom one names.
        token_key: with it they take bearer tokens too, JWTs signed with it by HS256.
        settings: more lines for Postfix's main.cf.
    """
    ports = _free_ports()
    # A short name, for a Unix socket's path has at most 107 characters.
    made = tempfile.TemporaryDirectory(prefix="kit-mx-", ignore_cleanup_errors=True)
    folder = Path(made.name)
    folder.chmod(0o755)
    with made, syslog(folder, stamp) as prefix, _ended_with_the_run(folder):
        (folder / "tls").mkdir()
        ca_file, server_file = issue(folder / "tls")
        clients = certify("the clients' authority", authority=True)
        (folder / "tls/clients.pem").write_bytes(clients.pem)
        servers = Servers(
            folder=folder,
            ca_file=str(ca_file),
            log_file=folder / "mail.log",
            clients=clients,
            users={f"{name}@{DOMAIN}": password for name, password in users.items()},
            **{f"{name}_port": port for name, port in ports.items()},
        )
        _configure_postfix(servers, server_file, mechanisms, settings)
        _configure_dovecot(servers, server_file, mechanisms, token_key)
        _run(folder, *prefix, "postfix", "-c", str(folder / "postfix"), "check")  # makes the folder in which Dovecot opens a socket
        _run(folder, *prefix, "dovecot", "-c", str(folder / "dovecot/dovecot.conf"))
        _run(folder, *prefix, "postfix", "-c", str(folder / "postfix"), "start")
        for port in ports.values():
            _wait_for_port(port, folder)
        yield servers


# ---------------------------------------------------------------------------------------- the servers


def _configure_dovecot(servers: Servers, server_file: Path, mechanisms: str, token_key: bytes | None) -> None:
    folder, run = servers.folder, servers.folder / "dovecot"
    run.mkdir()
    (folder / "home").mkdir()
    shutil.chown(folder / "home", "dovecot", "dovecot")
    users = run / "users"
    users.write_text("".join(f"{address}:{{PLAIN}}{password}\n" for address, password in servers.users.items()))
    shutil.chown(users, "root", "dovecot")
    users.chmod(0o640)
    (run / "dovecot.conf").write_text(f"""
base_dir = {run}/run
state_dir = {run}/run
syslog_facility = mail
auth_verbose = yes
auth_failure_delay = 0
auth_mechanisms = {mechanisms}{" oauthbearer xoauth2" if token_key else ""}
protocols = imap submission
listen = 127.0.0.1
ssl = yes
ssl_cert = <{server_file}
ssl_key = <{server_file}
disable_plaintext_auth = no
login_trusted_networks = 127.0.0.1/32
mail_location = maildir:{folder}/home/%n
default_internal_user = dovecot
default_login_user = dovenull
first_valid_uid = 1
hostname = {HOST}
submission_relay_host = 127.0.0.1
submission_relay_port = {servers.smtp_port}
{_tokens(run, token_key) if token_key else ""}
{_CERTIFICATES.format(folder=folder) if "external" in mechanisms else ""}
passdb {{
  driver = passwd-file
  mechanisms = {mechanisms}
  args = scheme=PLAIN username_format=%u {users}
}}
userdb {{
  driver = static
  args = uid=dovecot gid=dovecot home={folder}/home/%n
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {servers.imap_port}
  }}
  inet_listener imaps {{
    port = {servers.imaps_port}
  }}
}}
service submission-login {{
  chroot =
  inet_listener submission {{
    port = {servers.dovecot_submission_port}
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  unix_listener {folder}/queue/private/auth {{
    mode = 0660
    user = postfix
    group = postfix
  }}
}}
""")


_CERTIFICATES = """
ssl_ca = <{folder}/tls/clients.pem
ssl_verify_client_cert = yes
ssl_require_crl = no
auth_ssl_username_from_cert = yes
passdb {{
  driver = static
  mechanisms = external
  args = nopassword=y
}}
"""


def _tokens(run: Path, key: bytes) -> str:
    """Where Dovecot finds the key of a token that names no other, and how it checks tokens by itself."""
    keys = run / "keys"
    (keys / "default/HS256").mkdir(parents=True)
    (keys / "default/HS256/default").write_bytes(base64.b64encode(key))
    (run / "oauth2.conf").write_text(f"""
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={keys}/
username_attribute = sub
""")
    return f"""
passdb {{
  driver = oauth2
  mechanisms = oauthbearer xoauth2
  args = {run}/oauth2.conf
}}
"""


def _configure_postfix(servers: Servers, server_file: Path, mechanisms: str, settings: str) -> None:
    folder, conf = servers.folder, servers.folder / "postfix"
    conf.mkdir()
    (folder / "data").mkdir()
    shutil.chown(folder / "data", "postfix")
    (folder / "mail").mkdir()
    shutil.chown(folder / "mail", "nobody")
    nobody = pwd.getpwnam("nobody")
    mailboxes = ", ".join(f"{{ {address} = {address.partition('@')[0]}/ }}" for address in servers.users)
    (conf / "main.cf").write_text(f"""
compatibility_level = 3.6
config_directory = {conf}
queue_directory = {folder}/queue
data_directory = {folder}/data
mail_owner = postfix
setgid_group = postdrop
myhostname = {HOST}
mydestination =
mynetworks = 127.0.0.255/32
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
default_transport = discard
virtual_mailbox_domains = {DOMAIN}
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = inline:{{ {mailboxes} }}
virtual_uid_maps = static:{nobody.pw_uid}
virtual_gid_maps = static:{nobody.pw_gid}
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_sasl_security_options = noanonymous
smtpd_tls_security_level = may
smtpd_tls_cert_file = {server_file}
smtpd_tls_key_file = {server_file}
smtpd_tls_loglevel = 1
smtpd_tls_received_header = yes
smtpd_tls_CAfile = {folder}/tls/clients.pem
smtpd_tls_ask_ccert = {"yes" if "external" in mechanisms else "no"}
smtpd_relay_restrictions = permit_sasl_authenticated, permit_tls_all_clientcerts, reject_unauth_destination
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_client_connection_count_limit = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 2000
smtpd_error_sleep_time = 0
smtpd_peername_lookup = no
service_throttle_time = 1s
{settings}
""")
    (conf / "master.cf").write_text(f"""
127.0.0.1:{servers.smtp_port} inet n - n - 100 smtpd
127.0.0.1:{servers.submission_port} inet n - n - 100 smtpd
  -o syslog_name=postfix/submission
  -o smtpd_tls_security_level=encrypt
  -o smtpd_tls_auth_only=yes
  -o smtpd_client_restrictions=permit_sasl_authenticated,reject
127.0.0.1:{servers.submissions_port} inet n - n - 100 smtpd
  -o syslog_name=postfix/smtps
  -o smtpd_tls_wrappermode=yes
  -o smtpd_client_restrictions=permit_sasl_authenticated,reject
cleanup   unix  n  -  n  -  0  cleanup
qmgr      unix  n  -  n  300  1  qmgr
tlsmgr    unix  -  -  n  1000?  1  tlsmgr
rewrite   unix  -  -  n  -  -  trivial-rewrite
bounce    unix  -  -  n  -  0  bounce
defer     unix  -  -  n  -  0  bounce
trace     unix  -  -  n  -  0  bounce
verify    unix  -  -  n  -  1  verify
proxymap  unix  -  -  n  -  -  proxymap
error     unix  -  -  n  -  -  error
retry     unix  -  -  n  -  -  error
discard   unix  -  -  n  -  -  discard
virtual   unix  -  n  n  -  -  virtual
anvil     unix  -  -  n  -  1  anvil
scache    unix  -  -  n  -  1  scache
showq     unix  n  -  n  -  -  showq
""")
    (folder / "queue").mkdir()


def _run(folder: Path, *command: str) -> None:
    """Runs a command that leaves a daemon behind: it keeps standard output, so that must be a file and no pipe."""
    out = folder / "start.out"
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    with out.open("ab") as file:
        code = subprocess.call(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env={**os.environ, "PATH": path})
    if code:
        raise RuntimeError(f"{' '.join(command)} ended with {code}:\n{out.read_text()}\n{(folder / 'mail.log').read_text()[-2000:]}")


def _wait_for_port(port: int, folder: Path, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nobody listens at port {port}; the log says:\n{(folder / 'mail.log').read_text()[-2000:]}")


# Its standard input ends when the run does, however that ends. The daemons lead process groups of their own.
_GUARD = """
read -r _
cd "$0" || exit
masters=$(cat dovecot/run/master.pid queue/pid/master.pid)
kill $masters
for pid in $masters; do
    for _ in $(seq 100); do grep -q "State:.[^Z]" /proc/$pid/status || break; sleep 0.1; done
    kill -KILL -$pid
done
rm -rf "$0"
"""


@contextlib.contextmanager
def _ended_with_the_run(folder: Path) -> Iterator[None]:
    """Stops the daemons at the end, by a process that also lives to see this one killed."""
    guard = subprocess.Popen(
        ["sh", "-c", _GUARD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        guard.communicate()


def _free_ports() -> dict[str, int]:
    doors = [socket.create_server(("127.0.0.1", 0)) for _ in _PORTS]
    ports = {name: door.getsockname()[1] for name, door in zip(_PORTS, doors, strict=True)}
    for door in doors:
        door.close()
    return ports
