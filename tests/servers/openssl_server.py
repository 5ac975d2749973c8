"""A foreign TLS server, `openssl s_server`, and certificates with every fault that a test needs."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Signed:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def certify(
    subject: str,
    issuer: Signed | None = None,
    *,
    names: Sequence[str] = (),
    days: tuple[float, float] = (-1, 90),
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
    authority: bool = False,
    issuer_url: str | None = None,
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
    organization: str | None = None,
) -> Signed:
    """A certificate by `issuer`, or by itself. `days`: from when to when it is valid, seen from now."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, subject)]
    if organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    name = x509.Name(attributes)
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.certificate.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=days[0]))
        .not_valid_after(now + dt.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer:
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(each) for each in names]), critical=False)
    if issuer_url:
        access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(issuer_url))
        builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
    if not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return Signed(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def client_file(folder: Path, name: str, issuer: Signed | None, *, days: tuple[float, float] = (-1, 90)) -> str:
    """Where certificate and key of a client of that name stand."""
    own = certify(name, issuer, days=days, usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    path = folder / f"{own.certificate.serial_number}.pem"
    path.write_bytes(own.pem + own.key_pem)
    return str(path)


def sign_weakly(signed: Signed, issuer: Signed, digest: str) -> Signed:
    """The same certificate, but signed with `md5` or `sha1`, which only the command still does."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in (("own.pem", signed.pem), ("ca.pem", issuer.pem), ("ca.key", issuer.key_pem)):
            (folder / file).write_bytes(content)
        command = ["openssl", "x509", "-in", "own.pem", "-CA", "ca.pem", "-CAkey", "ca.key", f"-{digest}", "-days", "90"]
        pem = subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout
    return Signed(x509.load_pem_x509_certificate(pem), signed.key)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@contextlib.contextmanager
def s_server(folder: Path, own: Signed, *above: Signed, options: Sequence[str] = ()) -> Iterator[int]:
    """The port of an `openssl s_server` on loopback that shows `own` and then `above`, in that order."""
    (folder / "own.pem").write_bytes(own.pem)
    (folder / "key.pem").write_bytes(own.key_pem)
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", "own.pem", "-key", "key.pem", "-cipher", "ALL:@SECLEVEL=0"]
    if above:
        (folder / "above.pem").write_bytes(b"".join(each.pem for each in above))
        command += ["-cert_chain", "above.pem"]
    with subprocess.Popen(
        [*command, *options], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        try:
            assert server.stdout
            for line in server.stdout:
                if match := re.match(r"ACCEPT .*:(\d+)$", line):
                    yield int(match[1])
                    break
            else:
                raise AssertionError("openssl s_server does not start")
        finally:
            server.kill()
