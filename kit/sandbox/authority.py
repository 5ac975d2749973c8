"""A certificate authority that lives as long as one run: nobody else ever trusts it, and its key is never written."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kit.sandbox.scenarios import Tls


def issue(folder: Path, tls: Tls = Tls.GOOD) -> tuple[Path, Path]:
    """Writes a new authority's certificate, and certificate with key of a server on `localhost`, into a private folder.

    Args:
        folder: nobody else may look into it.
        tls: what is to be wrong with the server's certificate.

    Returns:
        The authority's PEM file, and the server's.
    """
    now = datetime.now(UTC)
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = _name("smtp-auth-kit sandbox authority")
    authority = (
        _certificate(authority_name, authority_name, authority_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    server_name = _name("localhost")
    signer_name, signer_key = {
        Tls.SELF_SIGNED: (server_name, server_key),
        Tls.UNKNOWN_ISSUER: (_name("an authority that nobody knows"), ec.generate_private_key(ec.SECP256R1())),
    }.get(tls, (authority_name, authority_key))
    addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
    names = [x509.DNSName("mail.example.test")] if tls is Tls.WRONG_NAME else [x509.DNSName("localhost"), *addresses]
    purpose = ExtendedKeyUsageOID.CLIENT_AUTH if tls is Tls.WRONG_PURPOSE else ExtendedKeyUsageOID.SERVER_AUTH
    server = (
        _certificate(server_name, signer_name, server_key.public_key(), now - timedelta(days=31 if tls is Tls.EXPIRED else 0))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key()), critical=False)
        .sign(signer_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    ca_file, server_file = folder / "authority.pem", folder / "server.pem"
    ca_file.write_bytes(authority.public_bytes(pem))
    server_file.touch(mode=0o600)
    key = server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    server_file.write_bytes(key + server.public_bytes(pem))
    return ca_file, server_file


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=30))
    )


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign,
        crl_sign=sign,
        encipher_only=False,
        decipher_only=False,
    )
