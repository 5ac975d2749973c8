"""Servers that mean no good, or cannot help it: one small function each, on plain sockets and threads.

A server hears and says bytes, and knows nothing of the kit. `SERVERS` pairs each with the one thing that must be found.
"""

from __future__ import annotations

import base64
import datetime as dt
import os
import socket
import ssl
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from kit.model import Cause, Security
from tests.live.check_servers import Pki, make_pki

BANNER = b"220 mail.example.test ESMTP\r\n"
OFFER = b"250-mail.example.test\r\n250 STARTTLS\r\n"  # AUTH in clear would be a finding of its own
INSIDE = b"250-mail.example.test\r\n250 AUTH PLAIN LOGIN\r\n"
TOKEN = "ya29.Hasen-A_token.of/some+length~which.is.longer.than.what.a.reply.has.left"
PATIENCE = 60  # seconds that a server waits for anything; the kit must have been quicker


class Gone(Exception):
    """The client has hung up."""


@dataclass
class Peer:
    """One connection, from the server's end.

    Attributes:
        heard: all that came, of every connection to this server; what came in TLS is in `told`.
    """

    sock: socket.socket
    certificates: Certificates
    heard: bytearray
    told: bytearray
    stop: threading.Event

    def say(self, data: bytes) -> None:
        self.sock.sendall(data)

    def hear(self) -> bytes:
        """One line."""
        line = bytearray()
        while not line.endswith(b"\n"):
            line += self.read(1)
        return bytes(line)

    def read(self, most: int) -> bytes:
        data = self.sock.recv(most)
        (self.told if isinstance(self.sock, ssl.SSLSocket) else self.heard).extend(data)
        if not data:
            raise Gone
        return data

    def hold(self) -> None:
        """Say nothing, until the client has had enough."""
        while True:
            self.read(4096)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        raise Gone

    def encrypt(self, kind: str = "good") -> None:
        self.sock = self.certificates.context(kind).wrap_socket(self.sock, server_side=True)

    def until(self, verb: bytes, *, offer: bytes = OFFER, inside: bytes = INSIDE) -> None:
        """Be a good server until the client says `verb`."""
        good = {b"EHLO": offer, b"AUTH": b"235 2.7.0 ok\r\n", b"QUIT": b"221 bye\r\n", b"STARTTLS": b"220 go\r\n"}
        self.say(BANNER)
        while (said := self.hear().split()[0].upper()) != verb:
            self.say(good.get(said, b"250 2.0.0 ok\r\n"))
            if said == b"STARTTLS":
                self.encrypt()
                good[b"EHLO"] = inside

    def until_tls(self, kind: str) -> None:
        """Agree to STARTTLS, then show `kind` of certificate."""
        self.until(b"STARTTLS")
        self.say(b"220 go\r\n")
        self.encrypt(kind)
        self.hold()


class Certificates:
    """An authority of our own, and contexts with what it signed."""

    def __init__(self, folder: Path) -> None:
        self.pki = make_pki(folder)
        old, ancient = self.pki.server(), self.pki.server()
        with warnings.catch_warnings(action="ignore"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1
        old.set_ciphers("ALL:@SECLEVEL=0")
        ancient.maximum_version = ssl.TLSVersion.TLSv1_2
        ancient.set_ciphers("ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")  # CBC with SHA-1, which Python's clients turn down
        self._contexts = {
            "good": self.pki.server(),
            "expired": self.pki.server(days=-1),
            "other name": self.pki.server("other.example.test"),
            "self-signed": self.pki.server(self_signed=True),
            "old TLS": old,
            "ancient cipher": ancient,
            "4 MB": _huge(self.pki),
        }

    def context(self, kind: str) -> ssl.SSLContext:
        return self._contexts[kind]


def _huge(pki: Pki) -> ssl.SSLContext:
    """A good certificate, and four of a megabyte each behind it."""
    now = dt.datetime.now(dt.UTC)
    whale = (
        x509.CertificateBuilder()
        .subject_name(pki.certificate.subject)
        .issuer_name(pki.certificate.subject)
        .public_key(pki.key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.1"), b"x" * 1_000_000), critical=False)
        .sign(pki.key, hashes.SHA256())
    )
    context = pki.server()
    path = pki.folder / "whale.pem"
    leaf = max(pki.folder.glob("[0-9]*.pem"), key=lambda each: each.stat().st_mtime_ns)  # the one just made
    path.write_bytes(leaf.read_bytes() + 4 * whale.public_bytes(Encoding.PEM))
    context.load_cert_chain(path)
    return context


# --- the servers ---------------------------------------------------------------------------------------------------


def mute(peer: Peer) -> None:
    peer.hold()


def mute_tls(peer: Peer) -> None:
    peer.hold()


def mute_inside_tls(peer: Peer) -> None:
    peer.encrypt()
    peer.hold()


def gone_inside_tls(peer: Peer) -> None:
    peer.encrypt()
    peer.sock.unwrap()


def drip(peer: Peer) -> None:
    for byte in BANNER * 9:
        peer.say(bytes([byte]))
        if peer.stop.wait(1):
            return


def line_without_end(peer: Peer) -> None:
    peer.say(b"220 ")
    while True:
        peer.say(b"x" * 10_000)


def hang_up(peer: Peer) -> None:
    peer.reset()


def ssh(peer: Peer) -> None:
    peer.say(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
    peer.hold()


def http_that_waited_too_long(peer: Peer) -> None:
    peer.say(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def http_without_tls(peer: Peer) -> None:
    peer.read(10)
    peer.say(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def shut_out(peer: Peer) -> None:
    peer.say(b"554 5.7.1 no service for you\r\n")
    peer.hold()


def busy(peer: Peer) -> None:
    peer.until(b"EHLO")
    peer.say(b"421 4.7.0 mail.example.test closing\r\n")


def half_open(peer: Peer) -> None:
    peer.until(b"EHLO")
    peer.hold()


def one_line_of_a_megabyte(peer: Peer) -> None:
    peer.until(b"EHLO")
    peer.say(b"250-mail.example.test\r\n250-" + b"x" * 1_000_000 + b"\r\n250 STARTTLS\r\n")
    peer.hold()


def lines_without_end(peer: Peer) -> None:
    peer.until(b"EHLO")
    while True:
        peer.say(b"250-and another thing\r\n" * 500)


def reset_after_ehlo(peer: Peer) -> None:
    peer.until(b"EHLO")
    peer.reset()


def other_codes(peer: Peer) -> None:
    """RFC 5321 section 4.2.1 wants the same code on every line."""
    peer.say(BANNER)
    while True:
        peer.hear()
        peer.say(b"250-mail.example.test\r\n334-more\r\n599 STARTTLS\r\n")


def no_starttls(peer: Peer) -> None:
    peer.until(b"STARTTLS", offer=b"250-mail.example.test\r\n250 SIZE 1000000\r\n")


def reset_at_starttls(peer: Peer) -> None:
    peer.until(b"STARTTLS")
    peer.reset()


def yes_to_everything(peer: Peer) -> None:
    peer.say(BANNER)
    while said := peer.hear():
        peer.say(OFFER if said.startswith(b"EHLO") else b"250 ok\r\n")


def early_success(peer: Peer) -> None:
    """What somebody on the way could slip in, hoping that it is taken for the answer to AUTH."""
    peer.until(b"EHLO")
    peer.say(OFFER + b"235 2.7.0 ok\r\n")
    peer.hold()


def reply_before_tls(peer: Peer) -> None:
    peer.until(b"STARTTLS")
    peer.say(b"220 go\r\n250-mail.example.test\r\n250 AUTH PLAIN\r\n")
    peer.encrypt()
    peer.hold()


def plain_after_starttls(peer: Peer) -> None:
    peer.until(b"STARTTLS")
    peer.say(b"220 go\r\n")
    peer.read(10)  # the client's hello
    peer.say(b"500 5.5.1 what?\r\n")
    peer.hold()


def hello_refused(peer: Peer) -> None:
    """Hangs up on every client hello, whichever version of TLS it names."""
    peer.read(10)
    peer.reset()


def no_handshake(peer: Peer) -> None:
    peer.until(b"STARTTLS")
    peer.say(b"220 go\r\n")
    peer.hold()


def reset_in_the_handshake(peer: Peer) -> None:
    peer.until(b"STARTTLS")
    peer.say(b"220 go\r\n")
    peer.read(10)
    peer.reset()


def alerts_without_end(peer: Peer) -> None:
    """In the place of a handshake: records that each hold the warning `user_canceled` (RFC 5246 section 7.2)."""
    peer.until(b"STARTTLS")
    peer.say(b"220 go\r\n")
    peer.read(10)
    while True:
        peer.say(b"\x15\x03\x03\x00\x02\x01\x5a" * 1000)


def self_signed(peer: Peer) -> None:
    peer.until_tls("self-signed")


def expired(peer: Peer) -> None:
    peer.until_tls("expired")


def other_name(peer: Peer) -> None:
    peer.until_tls("other name")


def old_tls(peer: Peer) -> None:
    peer.until_tls("old TLS")


def ancient_cipher(peer: Peer) -> None:
    peer.until_tls("ancient cipher")


def certificates_of_four_megabytes(peer: Peer) -> None:
    peer.until_tls("4 MB")


def tarpit(peer: Peer) -> None:
    peer.until(b"AUTH")
    peer.stop.wait(30)
    peer.say(b"535 5.7.8 no\r\n")


def questions_without_end(peer: Peer) -> None:
    peer.until(b"AUTH")
    while True:
        peer.say(b"334 bW9yZQ==\r\n")
        peer.hear()


def asks_twice(peer: Peer) -> None:
    """Does not see what came with AUTH, asks for it, and takes `*` for an answer (RFC 4954 section 4)."""
    peer.until(b"AUTH")
    peer.say(b"334 \r\n")
    peer.hear()
    peer.say(b"501 5.7.0 cancelled\r\n")
    peer.hold()


def _bearer(peer: Peer, mechanism: bytes, error: bytes) -> None:
    """Refuse a token as RFC 7628 section 3.2.2 and Google's XOAUTH2 have it: the reason as a challenge, an answer, then 535."""
    peer.until(b"AUTH", inside=b"250-mail.example.test\r\n250 AUTH " + mechanism + b"\r\n")
    peer.say(b"334 " + base64.b64encode(error) + b"\r\n")
    peer.hear()
    peer.say(b"535 5.7.8 authentication failed\r\n")
    peer.hold()


def old_token(peer: Peer) -> None:
    _bearer(peer, b"XOAUTH2", b'{"status":"401","schemes":"bearer","scope":"https://mail.example.test/"}')


def parrot_of_a_token(peer: Peer) -> None:
    """Says the token back within its error."""
    _bearer(peer, b"OAUTHBEARER", b'{"status":"invalid_token","token":"' + TOKEN.encode() + b'"}')


def mixed_verdict(peer: Peer) -> None:
    """Whoever looks at the first line, or the last, is signed in or not."""
    peer.until(b"AUTH")
    peer.say(b"535-5.7.8 no\r\n235 2.7.0 ok\r\n")
    peer.hold()


def yes_to_auth(peer: Peer) -> None:
    """Success is 235 (RFC 4954 section 6) and nothing else."""
    peer.until(b"AUTH")
    peer.say(b"250 2.7.0 yes\r\n")
    peer.hold()


def _scram(peer: Peer, iterations: int) -> None:
    """Offer SCRAM alone, and ask for so many rounds of its hash (RFC 5802 section 5.1)."""
    peer.until(b"AUTH", inside=b"250-mail.example.test\r\n250 AUTH SCRAM-SHA-256\r\n")
    nonce = base64.b64decode(bytes(peer.told).rpartition(b"AUTH SCRAM-SHA-256 ")[2]).rpartition(b"r=")[2]
    asked = b"r=" + nonce + b"more,s=" + base64.b64encode(b"sixteen of salt!") + f",i={iterations}".encode()
    peer.say(b"334 " + base64.b64encode(asked) + b"\r\n")
    peer.hear()


def work_without_end(peer: Peer) -> None:
    _scram(peer, 9_999_999)
    peer.say(b"501 5.5.2 given up\r\n")
    peer.hold()


def impostor(peer: Peer) -> None:
    """Takes whatever comes for the right password; that it knows it itself it cannot prove."""
    _scram(peer, 4096)
    peer.say(b"235 2.7.0 welcome\r\n")
    peer.hold()


def plain_inside_tls(peer: Peer) -> None:
    """What somebody on the way, who has no keys, can do at most: put in bytes of their own."""
    peer.until(b"AUTH")
    os.write(peer.sock.fileno(), b"235 2.7.0 ok\r\n")
    peer.hold()


def huge_question(peer: Peer) -> None:
    peer.until(b"AUTH")
    peer.say(b"334 " + b"QUFB" * 25_000 + b"\r\n")
    peer.hold()


def a_hundred_thousand_lines(peer: Peer) -> None:
    peer.until(b"AUTH")
    peer.say(b"235-2.7.0 ok\r\n" * 100_000 + b"235 2.7.0 ok\r\n")
    peer.hold()


def gone_after_success(peer: Peer) -> None:
    peer.until(b"AUTH")
    peer.say(b"235 2.7.0 ok\r\n")


def escapes(peer: Peer) -> None:
    """A terminal's title, a cleared screen, C1's CSI and its single byte, a bidi override, NUL, bell and backspace: in every reply."""
    bad = b"\x1b]0;gotcha\x07\x1b[2J\xc2\x9b31m\x9b\xe2\x80\xae\x00\x08\r"
    peer.say(b"220 mail " + bad + b"\r\n")
    while said := peer.hear().split()[0].upper():
        replies = {
            b"EHLO": b"250-"
            + bad
            + b"\r\n250-STARTTLS\r\n250-"
            + bad
            + b"\r\n250 "
            + (b"AUTH PLAIN X" if isinstance(peer.sock, ssl.SSLSocket) else b"X")
            + bad
            + b"\r\n",
            b"STARTTLS": b"220 " + bad + b"\r\n",
            b"AUTH": b"535 5.7.8 " + bad + b"\r\n",
        }
        peer.say(replies.get(said, b"221 " + bad + b"\r\n"))
        if said == b"STARTTLS":
            peer.encrypt()


def latin_1(peer: Peer) -> None:
    peer.until(b"AUTH")
    peer.say("535 5.7.8 Kennwort ungültig\r\n".encode("latin-1"))
    peer.hold()


def parrot(peer: Peer) -> None:
    """Says the password back: as it came, in clear, and as a program's literal."""
    peer.until(b"AUTH")
    blob = bytes(peer.told).rpartition(b"AUTH PLAIN ")[2].split()[0]
    password = base64.b64decode(blob).rpartition(b"\0")[2]
    peer.say(b"535-5.7.8 " + blob + b" is no good\r\n535-5.7.8 nor is " + password + b"\r\n")
    peer.say(f"535 5.7.8 {password.decode()!r} {password.decode()!a}\r\n".encode())
    peer.hold()


def parrot_in_pieces(peer: Peer) -> None:
    """Says the password back, four letters a line."""
    peer.until(b"AUTH")
    password = base64.b64decode(bytes(peer.told).rpartition(b"AUTH PLAIN ")[2]).rpartition(b"\0")[2]
    pieces = [password[i : i + 4] for i in range(0, len(password), 4)]
    peer.say(b"535-5.7.8 no\r\n" + b"".join(b"535-" + piece + b"\r\n" for piece in pieces) + b"535 no\r\n")
    peer.hold()


def thousands_of_mechanisms(peer: Peer) -> None:
    """Each would be a column of the table of ways to sign in, and the last a wide one."""
    names = b" ".join(b"X%d" % number for number in range(5000))
    peer.until(b"AUTH", inside=b"250-mail.example.test\r\n250 AUTH PLAIN " + names + b" " + b"Y" * 20_000 + b"\r\n")
    peer.say(b"535 5.7.8 no\r\n")
    peer.hold()


# --- what must be found -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Expected:
    """The one finding that names the fault.

    Attributes:
        title: words of it.
        evidence: a regex that one piece of it must match: where it happened, or what the server said.
        mechanism: which the settings name; the secret is TOKEN then.
        closer: the title's words after a look at the whole chain of certificates, where they are others then.
    """

    cause: Cause
    title: str
    evidence: str = ""
    mechanism: str | None = None
    security: Security = Security.STARTTLS
    closer: str = ""


UNREACHABLE, MALFORMED, CERTIFICATE, CREDENTIALS = Cause.UNREACHABLE, Cause.MALFORMED, Cause.CERTIFICATE, Cause.CREDENTIALS
# Where two servers fail alike, what tells them apart is the step at which they do, and that stands in the evidence.
SERVERS: dict[Callable[[Peer], None], Expected] = {
    mute: Expected(UNREACHABLE, "says nothing"),
    mute_tls: Expected(UNREACHABLE, "takes connections and does not answer to TLS", security=Security.TLS),
    mute_inside_tls: Expected(UNREACHABLE, "gives no greeting", "^banner: ", security=Security.TLS),
    gone_inside_tls: Expected(UNREACHABLE, "without a greeting", "^banner: ", security=Security.TLS),
    hello_refused: Expected(UNREACHABLE, "hangs up during the TLS handshake", security=Security.TLS),
    drip: Expected(UNREACHABLE, "not complete in time", "^banner: "),
    line_without_end: Expected(UNREACHABLE, "A line of the reply has no end", "^banner: "),
    hang_up: Expected(UNREACHABLE, "without a word"),
    ssh: Expected(UNREACHABLE, "does not speak SMTP", "^SSH-2.0-OpenSSH"),
    http_that_waited_too_long: Expected(UNREACHABLE, "does not speak SMTP", "^HTTP/1.1 408"),
    http_without_tls: Expected(Cause.TLS_MISMATCH, "client began with TLS, the server with plain text", security=Security.TLS),
    shut_out: Expected(UNREACHABLE, "does not speak with this address"),
    busy: Expected(Cause.BACKEND_UNAVAILABLE, "closes the connection"),
    half_open: Expected(UNREACHABLE, "stopped answering", "^ehlo: "),
    one_line_of_a_megabyte: Expected(UNREACHABLE, "A line of the reply has no end", "^ehlo: "),
    lines_without_end: Expected(UNREACHABLE, "The reply has no end", "^ehlo: "),
    reset_after_ehlo: Expected(UNREACHABLE, "closed the connection in the middle", "^ehlo: "),
    other_codes: Expected(MALFORMED, "different codes", "^ehlo: .*250, 334, 599"),
    no_starttls: Expected(Cause.TLS_REQUIRED, "does not offer STARTTLS"),
    reset_at_starttls: Expected(UNREACHABLE, "closed the connection in the middle", "^starttls: "),
    yes_to_everything: Expected(Cause.UNKNOWN, "none that SMTP foresees", "^250 ok"),
    early_success: Expected(MALFORMED, "before it was asked", "^235 2.7.0 ok"),
    reply_before_tls: Expected(MALFORMED, "came in clear", "AUTH PLAIN"),
    plain_after_starttls: Expected(MALFORMED, "went on in plain text"),
    no_handshake: Expected(UNREACHABLE, "agreed to STARTTLS and does not answer"),
    reset_in_the_handshake: Expected(UNREACHABLE, "agreed to STARTTLS and hung up"),
    alerts_without_end: Expected(Cause.UNKNOWN, "TLS did not come about", "ALERTS"),
    self_signed: Expected(CERTIFICATE, "signed by itself"),
    expired: Expected(CERTIFICATE, "out of date", closer="has expired"),
    other_name: Expected(CERTIFICATE, "another name", closer="not for the name 127.0.0.1"),
    certificates_of_four_megabytes: Expected(CERTIFICATE, "larger than a client"),
    old_tls: Expected(Cause.TLS_TOO_OLD, "only a TLS version"),
    ancient_cipher: Expected(Cause.TLS_TOO_OLD, "no cipher that both"),
    tarpit: Expected(UNREACHABLE, "stopped answering", "^auth: "),
    questions_without_end: Expected(MALFORMED, "keeps asking", "^334 "),
    asks_twice: Expected(MALFORMED, "keeps asking", "^501 "),
    old_token: Expected(Cause.TOKEN_REJECTED, "refused the OAuth token", '"status":"401".*"scope":"https://mail', mechanism="XOAUTH2"),
    parrot_of_a_token: Expected(Cause.TOKEN_REJECTED, "refused the OAuth token", r"\[hidden\]", mechanism="OAUTHBEARER"),
    mixed_verdict: Expected(MALFORMED, "different codes", "^auth: .*535, 235"),
    yes_to_auth: Expected(Cause.UNKNOWN, "none that SMTP foresees", "^250 2.7.0 yes"),
    work_without_end: Expected(MALFORMED, "SCRAM exchange breaks the rules", "iterations"),
    impostor: Expected(Cause.ABORTED, "did not prove", "sent no proof"),
    plain_inside_tls: Expected(MALFORMED, "TLS broke in the middle", "^auth: .*WRONG_VERSION_NUMBER"),
    huge_question: Expected(UNREACHABLE, "A line of the reply has no end", "^auth: "),
    a_hundred_thousand_lines: Expected(UNREACHABLE, "The reply has no end", "^auth: "),
    gone_after_success: Expected(UNREACHABLE, "closed the connection in the middle", "^noop: "),
    escapes: Expected(MALFORMED, "control characters", r"^auth: 535 5.7.8 \\x1b\]0;gotcha"),
    latin_1: Expected(MALFORMED, "character set", r"ung\\xfcltig"),
    parrot: Expected(CREDENTIALS, "password", r"nor is \[hidden\]"),
    parrot_in_pieces: Expected(CREDENTIALS, "password", r"^535 \[hidden\]$"),
}
# What these do has no finding of its own.
ALSO: dict[Callable[[Peer], None], Expected] = {thousands_of_mechanisms: Expected(CREDENTIALS, "password")}


# --- running them -----------------------------------------------------------------------------------------------------


@dataclass
class Running:
    """One server.

    Attributes:
        heard: what came in clear, of all connections.
        told: what came in TLS.
    """

    port: int
    connections: int = 0
    heard: bytearray = field(default_factory=bytearray)
    told: bytearray = field(default_factory=bytearray)


@contextmanager
def run(server: Callable[[Peer], None], certificates: Certificates) -> Iterator[Running]:
    """The server on a port of 127.0.0.1; when the block ends its sockets and threads are gone."""
    threads: list[threading.Thread] = []
    peers: list[Peer] = []
    stop = threading.Event()

    def answer(peer: Peer) -> None:
        with suppress(OSError, Gone):  # however the client leaves, or turns TLS down
            server(peer)
        with suppress(OSError):
            peer.sock.close()

    def accept() -> None:
        with suppress(OSError):
            while True:
                sock = listener.accept()[0]
                sock.settimeout(PATIENCE)
                peers.append(Peer(sock, certificates, running.heard, running.told, stop))
                threads.append(threading.Thread(target=answer, args=(peers[-1],)))
                running.connections += 1
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        running = Running(listener.getsockname()[1])
        threads.append(threading.Thread(target=accept))
        threads[0].start()
        try:
            yield running
        finally:
            stop.set()
            listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
            threads[0].join(5)
            for peer in peers:
                with suppress(OSError):
                    peer.sock.shutdown(socket.SHUT_RDWR)
            for thread in threads[1:]:
                thread.join(5)
