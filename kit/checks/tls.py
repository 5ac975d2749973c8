"""What a server offers in TLS, seen from one connection: one version of the protocol, or the whole certificate chain.

    probe_tls_version ─┐                                            ┌─► VersionProbe ─► judge_versions
                       ├─► connect → [banner → ehlo → starttls] → TLS                                  (kit.checks.chain)
    probe_chain ───────┘                                            └─► Chain ────────► judge_chain

A `kit check` for a sign-in trusts `ssl` alone. Here pyOpenSSL looks closer: it speaks versions that must not be used any more, goes on
where a certificate is bad, and shows every certificate that came.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import suppress
from time import perf_counter
from typing import Final

from cryptography import x509
from OpenSSL import SSL, crypto

from kit.checks.certificates import parse_certificate, show_name
from kit.checks.chain import HUNG_UP, OLD, Certificate, Chain, Complaint, Offered, VersionProbe
from kit.checks.handshake import Shake, words
from kit.model import Profile
from kit.sending.session import Break
from kit.sending.transport import Address, tls_context

VERSIONS: Final = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
"""What can be asked for, as OpenSSL and logs name it."""
_NUMBERS: Final = dict(zip(VERSIONS, (SSL.TLS1_VERSION, SSL.TLS1_1_VERSION, SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION), strict=True))
# Level 0 allows what TLS 1.0 and weak keys need; without it this machine's own policy would answer in the server's place.
_CIPHERS: Final = b"ALL:!aNULL:!eNULL:@SECLEVEL=0"
# Alerts (RFC 8446 section 6) with which a server turns down what a ClientHello offers: GnuTLS says 40 of a version it does not have.
# Others tell of other trouble.
_REFUSALS: Final = {
    70: "the server refuses this version (alert protocol_version)",
    40: "the server finds nothing in common in this version (alert handshake_failure)",
    71: "the server finds no cipher of this version strong enough (alert insufficient_security)",
}
# OpenSSL 3 has no signature for TLS 1.0 and 1.1 from security level 1 on, which is everybody's, and calls that its internal error.
_REFUSALS_OF_OLD: Final = {
    80: "the server breaks off (alert internal_error), as OpenSSL 3 does where its security level forbids the version"
}
_OTHER_VERSION: Final = ("unsupported protocol", "wrong ssl version", "version too low")  # OpenSSL's words where ServerHello names another
_COMPLAINTS: Final = {
    number: name.removeprefix("ERR_").replace("_", " ").lower()
    for name, number in vars(SSL.X509VerificationCodes).items()
    if name.startswith("ERR_")
}
_MOST: Final = 20  # certificates and names that are looked at; honest chains have two to five


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
        cipher, (outcome, detail) = None, _cannot_speak(words(fault))
    else:
        shake = Shake(context, profile)
        await shake.run(address)
        cipher = shake.connection.get_cipher_name()
        outcome, detail = (Offered.OFFERED, shake.problem) if shake.agreed else _why_not(shake, version)
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


def _why_not(shake: Shake, version: str) -> tuple[Offered, str | None]:
    """No ServerHello that could be used has come: does that speak of the version?"""
    if not shake.began:
        return Offered.COULD_NOT_CHECK, shake.problem
    if shake.why is Break.TLS and not shake.heard:  # OpenSSL gave up before the server said a word
        return _cannot_speak(shake.problem)
    refusals = _REFUSALS | _REFUSALS_OF_OLD if version in OLD else _REFUSALS
    if shake.alert in refusals:
        return Offered.NOT_OFFERED, refusals[shake.alert]
    if shake.why is Break.CLOSED and not shake.heard:
        return Offered.NOT_OFFERED, HUNG_UP
    if shake.alert is None and any(said in (shake.problem or "") for said in _OTHER_VERSION):
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
    shake = Shake(context, profile)
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
    """The same authorities, the same strictness and the same certificate of our own as for a sign-in."""
    pattern, store = tls_context(profile), context.get_cert_store()
    assert store is not None  # noqa: S101 - every context has one
    store.set_flags(int(pattern.verify_flags))
    paths = ssl.get_default_verify_paths()
    if profile.cert_file:
        context.use_certificate_chain_file(profile.cert_file)
        context.use_privatekey_file(profile.key_file or profile.cert_file)
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
