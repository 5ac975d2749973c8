"""What a server offers in TLS, seen from one connection: one version of the protocol, or the whole certificate chain.

    probe_tls_version ─┐                                            ┌─► VersionProbe ─► judge_versions
                       ├─► connect → [banner → ehlo → starttls] → TLS                                  (kit.checks.chain)
    probe_chain ───────┘                                            └─► Chain ────────► judge_chain

A `kit check` for a sign-in trusts `ssl` alone. Here pyOpenSSL looks closer: it speaks versions that must not be used any more, goes on
where a certificate is bad, and shows every certificate that came. Nothing but EHLO and QUIT is ever said over such a connection.

One of the few modules that open something.
"""

from __future__ import annotations

import ipaddress
import ssl
from asyncio import timeout
from collections.abc import Iterator
from contextlib import suppress
from time import perf_counter
from typing import Final

from cryptography import x509
from OpenSSL import SSL, crypto

from kit.checks.chain import Certificate, Chain, Complaint, Offered, VersionProbe, parse_certificate, show_name
from kit.fields import CONTROL
from kit.model import Profile, Security
from kit.sending.approach import hang_up
from kit.sending.dialogue import ehlo, greet
from kit.sending.reply import Offer
from kit.sending.session import Break, Broken, Session
from kit.sending.transport import Address, Streams, connect, tls_context

VERSIONS: Final = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
"""What can be asked for, as OpenSSL and logs name it."""
_NUMBERS: Final = dict(zip(VERSIONS, (SSL.TLS1_VERSION, SSL.TLS1_1_VERSION, SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION), strict=True))
# Level 0 allows what TLS 1.0 and weak keys need; without it this machine's own policy would answer in the server's place.
_CIPHERS: Final = b"ALL:!aNULL:!eNULL:@SECLEVEL=0"
# Alerts (RFC 8446 section 6) with which a server turns down what a ClientHello offers. Others tell of other trouble.
_REFUSALS: Final = {
    70: "the server refuses this version (alert protocol_version)",
    40: "the server finds nothing in common in this version (alert handshake_failure)",
    71: "the server finds no cipher of this version strong enough (alert insufficient_security)",
}
_OTHER_VERSION: Final = ("unsupported protocol", "wrong ssl version", "version too low")  # OpenSSL's words where ServerHello names another
_COMPLAINTS: Final = {
    number: name.removeprefix("ERR_").replace("_", " ").lower()
    for name, number in vars(SSL.X509VerificationCodes).items()
    if name.startswith("ERR_")
}
_MOST: Final = 20  # certificates and names that are looked at; honest chains have two to five
_GOODBYE: Final = 3.0  # seconds that banner and QUIT may take inside TLS: nothing hangs on them
_LONGEST: Final = 16 * 1024  # octets read of them


async def probe_tls_version(address: Address, profile: Profile, version: str) -> VersionProbe:
    """Offer one version of TLS and nothing else, over one connection.

    Args:
        address: where to connect, see `kit.sending.transport.resolve`.
        profile: whether TLS comes first or after STARTTLS, the name that is asked for, and the seconds for each step.
        version: one of VERSIONS.
    """
    began = perf_counter()
    try:
        context = _context(_NUMBERS[version])
    except SSL.Error as fault:
        cipher, (outcome, detail) = None, _cannot_speak(_words(fault))
    else:
        shake = _Shake(context, profile)
        await shake.run(address)
        cipher = shake.connection.get_cipher_name()
        outcome, detail = (Offered.OFFERED, shake.problem) if shake.agreed else _why_not(shake)
    return VersionProbe(
        version=version,
        outcome=outcome,
        cipher=cipher,
        detail=detail,
        address=address.host,
        port=address.port,
        seconds=round(perf_counter() - began, 6),
    )


def _cannot_speak(why: str | None) -> tuple[Offered, str | None]:
    name = SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode("ascii", "replace")
    return Offered.COULD_NOT_CHECK, f"this machine's {name} cannot speak it: {why}"


def _why_not(shake: _Shake) -> tuple[Offered, str | None]:
    """No ServerHello that could be used has come: does that speak of the version?"""
    if not shake.began:
        return Offered.COULD_NOT_CHECK, shake.problem
    if shake.why is Break.TLS and not shake.heard:  # OpenSSL gave up before the server said a word
        return _cannot_speak(shake.problem)
    if shake.alert in _REFUSALS:
        return Offered.NOT_OFFERED, _REFUSALS[shake.alert]
    if shake.why is Break.CLOSED and not shake.heard:
        return Offered.NOT_OFFERED, "the server hung up on it without a word"
    if shake.alert is None and any(words in (shake.problem or "") for words in _OTHER_VERSION):
        return Offered.NOT_OFFERED, "the server answered with another version"
    return Offered.COULD_NOT_CHECK, shake.problem


async def probe_chain(address: Address, profile: Profile) -> Chain:
    """The certificates as the server sends them, over one connection, and what OpenSSL says against them.

    Args:
        address: where to connect.
        profile: as for `probe_tls_version`, and whom to trust.

    Raises:
        UsageError: the profile's `ca_file` does not read.
    """
    began = perf_counter()
    context, complaints = _context(), list[Complaint]()
    _trust(context, profile)

    def note(_: SSL.Connection, certificate: crypto.X509, number: int, depth: int, good: int) -> bool:
        if not good and len(complaints) < _MOST:
            complaints.append(
                Complaint(number=number, depth=depth, text=_COMPLAINTS.get(number, f"error {number}"), certificate=_parsed(certificate))
            )
        return True

    context.set_verify(SSL.VERIFY_PEER, note)
    shake = _Shake(context, profile)
    await shake.run(address)
    connection = shake.connection
    cipher = connection.get_cipher_name()
    sent = [_parsed(each) for each in (connection.get_peer_cert_chain() or ())[:_MOST]]
    path = [_parsed(each) for each in (connection.get_verified_chain() or ())[:_MOST]]
    if sent and sent[0] is None:  # the rest means nothing without the server's own
        sent = []
    return Chain(
        address=address.host,
        port=address.port,
        seconds=round(perf_counter() - began, 6),
        version=connection.get_protocol_version_name() if shake.agreed else None,
        cipher=cipher,
        certificates=tuple(each for each in sent if each),
        path=tuple(each for each in path if each),
        complaints=tuple(complaints),
        client_certificate=shake.asked,
        client_authorities=tuple(_authorities(connection)),
        problem=shake.problem,
    )


def _context(number: int | None = None) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_cipher_list(_CIPHERS)
    context.set_options(SSL.OP_LEGACY_SERVER_CONNECT)  # a server without RFC 5746 is old, and still to be looked at
    context.set_min_proto_version(_NUMBERS["TLSv1"] if number is None else number)
    context.set_max_proto_version(0 if number is None else number)
    return context


def _trust(context: SSL.Context, profile: Profile) -> None:
    """The same authorities, and the same strictness, as for a sign-in."""
    pattern, store = tls_context(profile), context.get_cert_store()
    assert store is not None  # noqa: S101 - every context has one
    store.set_flags(int(pattern.verify_flags))
    paths = ssl.get_default_verify_paths()
    if profile.ca_file:
        store.load_locations(profile.ca_file)
    elif paths.cafile or paths.capath:
        store.load_locations(paths.cafile, paths.capath)
    else:  # Windows keeps them elsewhere, and `ssl` has read them there
        for der in pattern.get_ca_certs(binary_form=True):
            store.add_cert(crypto.load_certificate(crypto.FILETYPE_ASN1, der))


def _parsed(certificate: crypto.X509) -> Certificate | None:
    return parse_certificate(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate))


def _authorities(connection: SSL.Connection) -> Iterator[str]:
    """Whose certificates the server would take from a client."""
    for name in connection.get_client_ca_list()[:_MOST]:
        with suppress(ValueError):
            yield show_name(x509.Name.from_bytes(name.der()))


class _Shake:
    """One connection from connect to close, with one TLS handshake by pyOpenSSL over memory: it never blocks.

    Attributes:
        began: TLS was begun.
        heard: something came back since.
        alert: the number of the alert that the server sent, if it sent one.
        agreed: a ServerHello came that takes what was offered, whatever became of the handshake.
        asked: the server asked for a certificate of the client.
        why: the kind of what ended it early, and `problem` the same in words; None where the handshake came to its end.
    """

    def __init__(self, context: SSL.Context, profile: Profile) -> None:
        self.connection = SSL.Connection(context, None)
        self.connection.set_connect_state()
        self.connection.set_info_callback(self._note)
        if not _is_address(profile.host):  # an IP address is no name to ask for (RFC 6066 section 3)
            self.connection.set_tlsext_host_name(profile.host.encode("ascii", "ignore"))
        self.began = self.heard = self.agreed = self.asked = False
        self.alert: int | None = None
        self.why: Break | None = None
        self.problem: str | None = None
        self._profile = profile

    async def run(self, address: Address) -> None:
        """All of it. What goes wrong is in `why` and `problem`."""
        try:
            streams = await connect(address, self._profile, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
            try:
                if self._profile.security is Security.TLS or await self._ask_for_tls(streams):
                    await self._handshake(streams)
                    await self._leave(streams)
            finally:
                await streams.close()
        except Broken as broken:
            self.why, self.problem = broken.why, CONTROL.sub("?", broken.text)
        self.agreed = self.agreed or self.connection.get_cipher_name() is not None  # TLS 1.3 has it from ServerHello on

    async def _ask_for_tls(self, streams: Streams) -> bool:
        session = Session()
        banner = await session.run(greet(), streams)
        offer = await session.run(ehlo(streams.client), streams) if banner.code == 220 else Offer()
        if "STARTTLS" in offer.extensions:
            reply = await streams.ask(b"STARTTLS")
            if reply.code == 220:
                return True
            self.problem = f"STARTTLS was answered: {reply.text[:200]}"
        else:
            self.problem = "the server offers no STARTTLS" if offer.accepted else f"the server does not let us in: {banner.text[:200]}"
        await hang_up(session, streams)
        return False

    async def _handshake(self, streams: Streams) -> None:
        self.began = True
        try:
            async with timeout(self._profile.timeout):
                while not self._shaken():
                    self._flush(streams)
                    await self._feed(streams)
                self._flush(streams)
        except TimeoutError:
            raise Broken(Break.SILENT, f"the TLS handshake did not end within {self._profile.timeout:g} s") from None
        except SSL.Error as fault:
            self._flush(streams)  # OpenSSL has an alert to send
            raise Broken(Break.TLS, _words(fault)) from None

    def _shaken(self) -> bool:
        try:
            self.connection.do_handshake()
        except SSL.WantReadError:
            return False
        return True

    async def _leave(self, streams: Streams) -> None:
        """QUIT, after the banner where that still has to come."""
        try:
            async with timeout(min(self._profile.timeout, _GOODBYE)):
                if self._profile.security is Security.TLS:
                    await self._listen(streams)
                self.connection.send(b"QUIT\r\n")
                self._flush(streams)
                await self._listen(streams)
                self.connection.shutdown()
        except (TimeoutError, SSL.ZeroReturnError):
            pass
        except (SSL.Error, Broken) as fault:
            if self.asked:  # in TLS 1.3 the handshake ends before the server says what it thinks of no certificate
                self.problem = _words(fault) if isinstance(fault, SSL.Error) else "the server hung up as no certificate came"
        self._flush(streams)

    async def _listen(self, streams: Streams) -> None:
        """Whatever is said, to the end of a line."""
        said = b""
        while not said.endswith(b"\n") and len(said) < _LONGEST:
            try:
                said += self.connection.recv(_LONGEST)
            except SSL.WantReadError:
                await self._feed(streams)

    async def _feed(self, streams: Streams) -> None:
        came = await streams.read()
        if not came:
            raise Broken(Break.CLOSED, "the server hung up during the TLS handshake")
        self.heard = True
        self.connection.bio_write(came)

    def _flush(self, streams: Streams) -> None:
        with suppress(SSL.Error):  # WantReadError: all is out
            while True:
                streams.write(self.connection.bio_read(_LONGEST))

    def _note(self, connection: SSL.Connection, where: int, value: int) -> None:
        if where == SSL.SSL_CB_READ_ALERT:
            self.alert = value & 0xFF
        elif where == SSL.SSL_CB_CONNECT_LOOP:  # this is the state that ends here: what it names was taken
            state = connection.get_state_string()
            self.agreed = self.agreed or b"read server hello" in state
            self.asked = self.asked or b"read server certificate request" in state


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _words(fault: SSL.Error) -> str:
    """OpenSSL's own words for the first thing that went wrong."""
    queue = fault.args[0] if fault.args else ()
    if isinstance(queue, (list, tuple)) and queue:
        return str(queue[0][-1])
    return str(fault.args[-1]) if fault.args else type(fault).__name__
