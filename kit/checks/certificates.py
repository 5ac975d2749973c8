"""A certificate's bytes as the values that people ask about. Whatever it holds is hostile: it reads or it does not, and nothing raises."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from kit.checks.chain import Certificate
from kit.fields import CONTROL


def parse_certificate(der: bytes) -> Certificate | None:
    """The certificate, or None where it does not read."""
    try:
        parsed = x509.load_der_x509_certificate(der)
        key, bits = _key(parsed)
        common = parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return Certificate(
            subject=show_name(parsed.subject),
            issuer=show_name(parsed.issuer),
            names=_names(parsed),
            common_name=_printable(str(common[-1].value)).lower() if common else None,
            not_before=parsed.not_valid_before_utc,
            not_after=parsed.not_valid_after_utc,
            key=key,
            bits=bits,
            digest=_digest(parsed),
            issuer_url=_issuer_url(parsed),
            raw=der,
        )
    except ValueError:
        return None


def show_name(name: x509.Name) -> str:
    """A distinguished name as one printable line."""
    return _printable(name.rfc4514_string())[:300] or "nobody"


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    named = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    return tuple(_printable(name).lower() for name in named)


def _key(certificate: x509.Certificate) -> tuple[str, int | None]:
    try:
        key = certificate.public_key()
    except UnsupportedAlgorithm:
        return "unknown", None
    for name, kind in (("RSA", rsa.RSAPublicKey), ("EC", ec.EllipticCurvePublicKey), ("DSA", dsa.DSAPublicKey)):
        if isinstance(key, kind):
            return name, key.key_size
    return type(key).__name__.removesuffix("PublicKey").strip("_"), None


def _digest(certificate: x509.Certificate) -> str | None:
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    return algorithm.name if algorithm else None


def _issuer_url(certificate: x509.Certificate) -> str | None:
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return None
    urls = [each.access_location.value for each in access if each.access_method == AuthorityInformationAccessOID.CA_ISSUERS]
    return _printable(str(urls[0]))[:300] if urls else None


def _printable(text: str) -> str:
    return CONTROL.sub("?", text)
