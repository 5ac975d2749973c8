"""Mail clients as their owners know them: desk programs, phones, devices, and those that nobody invited.

They come from any address: a PROXY protocol line (version 1) tells the servers where they say they come from. Each call
returns when the servers have written all their lines about it.
"""

from __future__ import annotations

import base64
import hmac
import imaplib
import os
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from tests.servers.postfix_dovecot import Servers

PATIENCE: Final = 30.0
"""Seconds until a client or a line is given up."""
HERE: Final = {4: "192.0.2.1", 6: "2001:db8::1"}
"""The mail server's own addresses, as its clients know them."""
_T = TypeVar("_T")


class MailClients:
    """Clients of one pair of servers.

    Attributes:
        outage: while it is true, the authentication process dies over every request, as on a machine without memory.
    """

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._tls = ssl.create_default_context(cafile=servers.ca_file)
        self._log = servers.log_file.open("rb")
        self.outage = False

    # ------------------------------------------------------------------------------------ IMAP

    def fetch(self, ip: str, user: str, password: str, *, mechanism: str = "LOGIN") -> None:
        """Signs in over implicit TLS, looks for new mail, signs out. `mechanism` LOGIN is IMAP's own command."""
        self._skip_log()
        client = _Imap(self._proxied(self._servers.imaps_port, ip, 993), self._tls)
        try:
            if mechanism == "LOGIN":
                self._judge(lambda: client.login(user, password))
            else:
                answer = f"\0{user}\0{password}".encode()
                self._judge(lambda: client.authenticate(mechanism, lambda _: answer))
            client.select("INBOX", readonly=True)
            client.logout()
            self._wait(rf"imap\({re.escape(user)}\)<.*Disconnected")
        except imaplib.IMAP4.error:
            client.logout()
            self._wait(rf"imap-login: Disconnected.*rip={re.escape(ip)},")

    # ------------------------------------------------------------------------------------ SMTP

    def submit(
        self,
        ip: str,
        user: str,
        password: str,
        *,
        service: str = "submission",
        mechanism: str = "PLAIN",
        helo: str = "[192.168.1.20]",
        mails: Sequence[tuple[str, str]] = (),
        first: Sequence[str] = (),
    ) -> None:
        """Signs in and sends mails, each a recipient and a Message-ID. `first`: AUTH lines that are tried before."""
        with self._smtp(ip, service, helo) as client:
            for line in first:
                client.docmd("AUTH", line)
            if self._sign_in(client, user, password, mechanism) == 235:
                for recipient, message_id in mails:
                    client.sendmail(user, [recipient], _message(user, recipient, message_id))
            client.quit()
            sent = len(mails) if client.last_code == 235 else 0
        self._wait(_disconnect(ip), *[" removed$"] * sent)

    def guess(
        self, ip: str, tries: Sequence[tuple[str, str]], *, service: str = "smtp", mechanism: str = "LOGIN", helo: str = "User"
    ) -> None:
        """Tries users and passwords, one after the other, over one connection."""
        with self._smtp(ip, service, helo, secure=False) as client:
            for user, password in tries:
                self._sign_in(client, user, password, mechanism)
            client.quit()
        self._wait(_disconnect(ip))

    def deliver(self, ip: str, helo: str, sender: str, recipient: str, message_id: str) -> None:
        """Another mail server brings a mail."""
        with self._smtp(ip, "smtp", helo) as client:
            client.sendmail(sender, [recipient], _message(sender, recipient, message_id))
            client.quit()
        self._wait(_disconnect(ip), " removed$")

    def probe(self, ip: str, commands: Sequence[str], *, service: str = "smtp", helo: str = "User") -> None:
        """Says a few things and hangs up without a word of goodbye."""
        with self._smtp(ip, service, helo, secure=False) as client:
            for command in commands:
                client.docmd(command)
        self._wait(_disconnect(ip))

    def _smtp(self, ip: str, service: str, helo: str, *, secure: bool = True) -> _Smtp:
        """A client after its greeting; with STARTTLS where the service has it and the client is not a careless one."""
        port, known = {"smtp": (self._servers.smtp_port, 25), "submission": (self._servers.submission_port, 587)}.get(
            service, (self._servers.submissions_port, 465)
        )
        self._skip_log()
        raw = self._proxied(port, ip, known)
        client = _Smtp(self._tls.wrap_socket(raw, server_hostname="localhost") if known == 465 else raw, helo)
        client.ehlo()
        if secure and known != 465:
            client.starttls(context=self._tls)
            client.ehlo()
        return client

    def _sign_in(self, client: _Smtp, user: str, password: str, mechanism: str) -> int:
        if mechanism == "PLAIN":
            last = "AUTH PLAIN " + _base64(f"\0{user}\0{password}")
        elif mechanism == "LOGIN":
            client.docmd("AUTH LOGIN")
            client.docmd(_base64(user))
            last = _base64(password)
        else:
            challenge = base64.b64decode(client.docmd("AUTH CRAM-MD5")[1])
            last = _base64(f"{user} {hmac.digest(password.encode(), challenge, 'md5').hex()}")
        client.last_code = self._judge(lambda: client.docmd(last))[0]
        return client.last_code

    # ------------------------------------------------------------------------------------ around

    def _proxied(self, port: int, ip: str, known_port: int) -> socket.socket:
        version = 6 if ":" in ip else 4
        sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        sock.sendall(f"PROXY TCP{version} {ip} {HERE[version]} {sock.getsockname()[1]} {known_port}\r\n".encode())
        return sock

    def _judge(self, say: Callable[[], _T]) -> _T:
        """Says the last word of a sign-in, the one that the server judges."""
        if not self.outage:
            return say()
        dying = _auth_processes(self._servers.folder)
        for pid in dying:
            os.kill(pid, signal.SIGSTOP)
        while any(_state(pid) not in "TZX" for pid in dying):
            time.sleep(0.002)
        killer = threading.Timer(0.05, lambda: [os.kill(pid, signal.SIGKILL) for pid in dying])
        killer.start()
        try:
            return say()
        finally:
            killer.join()

    def _skip_log(self) -> None:
        self._log.seek(0, os.SEEK_END)

    def _wait(self, *patterns: str) -> None:
        """Waits until the log holds, since `_skip_log`, a line for each of the patterns."""
        text, deadline = "", time.monotonic() + PATIENCE
        while any(len(re.findall(pattern, text, re.MULTILINE)) < patterns.count(pattern) for pattern in set(patterns)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"no lines for {patterns} in:\n{text}")
            if more := self._log.read():
                text += more.decode("utf-8", "replace")
            else:
                time.sleep(0.002)


class _Smtp(smtplib.SMTP):
    """smtplib's client on a connection that stands."""

    def __init__(self, sock: socket.socket, helo: str) -> None:
        super().__init__(local_hostname=helo)
        self.sock, self.last_code = sock, 0
        self._host = "localhost"
        self.getreply()

    def __exit__(self, *args: object) -> None:
        self.close()


class _Imap(imaplib.IMAP4):
    """imaplib's client on a connection that stands."""

    def __init__(self, raw: socket.socket, tls: ssl.SSLContext) -> None:
        self._ready = tls.wrap_socket(raw, server_hostname="localhost")
        super().__init__(timeout=PATIENCE)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        return self._ready


def _auth_processes(folder: Path) -> list[int]:
    master = (folder / "dovecot/run/master.pid").read_text().strip()
    found = subprocess.run(["pgrep", "-P", master, "-x", "auth"], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def _message(sender: str, recipient: str, message_id: str) -> str:
    return f"From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: about tomorrow\r\nMessage-ID: <{message_id}>\r\n\r\nSee you there.\r\n"


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _disconnect(ip: str) -> str:
    return rf"disconnect from \S+\[{re.escape(ip)}\]"
