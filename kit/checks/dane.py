"""DANE: whether a TLSA record (RFC 6698) vouches for the certificates that a server shows, as mail servers see it (RFC 7672). Opens nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from kit.checks.chain import Certificate, Chain

# What a record's third number says of its data: as it is, or a digest of so many bytes.
_KINDS: Final[dict[str, tuple[int | None, Callable[[bytes], bytes]]]] = {
    "0": (None, bytes),
    "1": (32, lambda whole: hashlib.sha256(whole).digest()),
    "2": (64, lambda whole: hashlib.sha512(whole).digest()),
}


def compare(record: str, chain: Chain) -> tuple[bool | None, str]:
    """Whether `record` fits the chain, and why; None where mail servers cannot use the record at all. Names and dates are not looked at.

    Args:
        record: as a zone file has it.
        chain: with the server's own certificate at least.
    """
    usage, selector, kind, *rest = [*record.split(), "", "", ""]
    try:
        data = bytes.fromhex("".join(rest))
    except ValueError:
        data = b""
    if usage in ("0", "1"):
        return None, "usages 0 and 1 are not for mail (RFC 7672 section 3.1.3)"
    if usage not in ("2", "3") or selector not in ("0", "1") or kind not in _KINDS:
        return None, "a kind of record that nobody defined"
    length, reduce = _KINDS[kind]
    if len(data) != (length or len(data)) or not data or (length is None and not _reads(data, selector)):
        return None, "its data is not of the length or form that it promises"
    leaf, *above = map(_load, chain.certificates)
    if usage == "2" and selector + kind == "00":  # the record itself brings the authority, which the server then need not send
        above.append(x509.load_der_x509_certificate(data))
    for each in [leaf] if usage == "3" else _issuers(leaf, above):
        if reduce(_selected(each, selector)) == data:
            return True, "fits the server's own certificate" if usage == "3" else "fits the authority above the server's certificate"
    return False, "does not fit the server's own certificate" if usage == "3" else "fits no authority above the server's certificate"


def fitting(own: Certificate) -> str | None:
    """The record that RFC 7672 section 3.1 likes best for this certificate; None where its key cannot be read."""
    key = _selected(_load(own), "1")
    return f"3 1 1 {hashlib.sha256(key).hexdigest()}" if key else None


def _load(certificate: Certificate) -> x509.Certificate:
    return x509.load_der_x509_certificate(certificate.raw)  # it has read before, or there would be no Certificate


def _reads(data: bytes, selector: str) -> bool:
    try:
        x509.load_der_x509_certificate(data) if selector == "0" else load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        return False
    return True


def _selected(certificate: x509.Certificate, selector: str) -> bytes:
    """The whole certificate, or its public key (SubjectPublicKeyInfo); nothing where that is of a kind unknown here."""
    if selector == "0":
        return certificate.public_bytes(Encoding.DER)
    try:
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return b""


def _issuers(leaf: x509.Certificate, others: Iterable[x509.Certificate]) -> list[x509.Certificate]:
    """Those of `others` that signed `leaf`, directly or through each other. Whatever else a server sends vouches for nothing."""
    issuers, left, below = list[x509.Certificate](), list(others), [leaf]
    while below:
        one = below.pop()
        above = [other for other in left if _signed(one, other)]
        left = [other for other in left if other not in above]
        issuers += above
        below += above
    return issuers


def _signed(one: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
