"""What TLS probes found, and what it means: certificates and versions, judged without a connection.

OpenSSL verified the chain when it came (`kit.checks.tls`); what is judged here is only why it was or was not content.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from kit.knowledge.findings import found
from kit.knowledge.load import load_table
from kit.model import Finding, Profile, Severity

SOON: Final = timedelta(days=14)
_WEAKEST: Final = {"RSA": 2048, "DSA": 2048, "EC": 256}  # bits; CA/Browser Forum baseline requirements, section 6.1.5
_WEAK_HASHES: Final = ("md5", "sha1")
HUNG_UP: Final = "the server hung up on it without a word"
"""How some turn down a version, and how others meet every client."""
OLD: Final = ("TLSv1", "TLSv1.1")
"""Given up by RFC 8996."""
# What OpenSSL has against a chain, by X509_V_ERR_ number, where more can be said than its own words.
_NO_ISSUER: Final = (2, 20, 21)
_SELF_SIGNED: Final = 18
_ROOT_UNKNOWN: Final = 19
_DATES: Final = (9, 10)
_EXPLAINED: Final = (*_NO_ISSUER, _SELF_SIGNED, _ROOT_UNKNOWN, *_DATES, 27)


# --- what was found ---------------------------------------------------------------------------------------------


class Offered(StrEnum):
    """Whether a server speaks a version of TLS."""

    OFFERED = "offered"
    NOT_OFFERED = "not-offered"
    COULD_NOT_CHECK = "could-not-check"


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionProbe:
    """One version of TLS at one address.

    Attributes:
        version: `TLSv1`, `TLSv1.1`, `TLSv1.2` or `TLSv1.3`.
        cipher: the one that the server took, in OpenSSL's words; None where the handshake ended before that counted.
        detail: how the server turned the version down, why it could not be checked, or what else went wrong.
        seconds: from connect to close.
    """

    version: str
    outcome: Offered
    cipher: str | None
    detail: str | None
    address: str
    port: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One certificate. Its texts are made printable; they are as true as whoever wrote them.

    Attributes:
        names: the DNS names and IP addresses that it is for (subjectAltName), in lower case.
        common_name: the subject's last CN, which counts as a name no more (RFC 9525).
        key: `RSA`, `EC`, `Ed25519`, …
        bits: the key's size, where one key of this type can be larger than another.
        digest: the hash of its signature; None where the signature has none of its own.
        issuer_url: where the issuer's certificate can be fetched, as public authorities write it.
        raw: as it came (DER).
    """

    subject: str
    issuer: str
    names: tuple[str, ...]
    common_name: str | None
    not_before: datetime
    not_after: datetime
    key: str
    bits: int | None
    digest: str | None
    issuer_url: str | None
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """One thing that OpenSSL has against a chain.

    Attributes:
        number: as in X509_V_ERR_….
        depth: of the certificate it concerns; 0 is the server's own.
    """

    number: int
    depth: int
    text: str
    certificate: Certificate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """What a server shows of itself in TLS.

    Attributes:
        version, cipher: what was agreed on when nearly everything is allowed, not what a careful client would get.
        certificates: in the server's order, its own first; only those that can be read.
        path: those that OpenSSL took to get to an authority, which need not have come from the server.
        complaints: none where the chain is trusted. The name is not looked at.
        client_certificate: the server asks for one.
        client_authorities: whose it would take, if it says so.
        problem: why the handshake did not come to its end.
    """

    address: str
    port: int
    seconds: float
    version: str | None
    cipher: str | None
    certificates: tuple[Certificate, ...]
    path: tuple[Certificate, ...]
    complaints: tuple[Complaint, ...]
    client_certificate: bool
    client_authorities: tuple[str, ...]
    problem: str | None


# --- what it means ----------------------------------------------------------------------------------------------


def judge_versions(probes: Iterable[VersionProbe], profile: Profile) -> tuple[Finding, ...]:
    """What the versions that a server speaks mean. Several addresses may be mixed: one that differs counts."""
    probes = tuple(probes)
    evidence = tuple(_version_line(probe) for probe in probes)
    offered = {probe.version for probe in probes if probe.outcome is Offered.OFFERED}
    refused = {probe.version for probe in probes if probe.outcome is Offered.NOT_OFFERED}
    unknown = {probe.version for probe in probes if probe.outcome is Offered.COULD_NOT_CHECK}
    findings = []
    if offered & set(OLD):
        only = not offered - set(OLD) and {"TLSv1.2", "TLSv1.3"} <= refused
        findings.append(found("tls-only-old" if only else "tls-old", profile, *evidence))
    elif offered and "TLSv1.2" in refused:
        findings.append(found("tls-12-missing", profile, *evidence))
    elif offered and not unknown:
        findings.append(found("tls-versions", profile, *evidence))
    elif refused and not offered | unknown and any(probe.detail != HUNG_UP for probe in probes):  # else it hangs up on whatever comes
        findings.append(found("tls-none", profile, *evidence))
    if unknown:
        findings.append(
            found("tls-not-checked", profile, *(line for line, probe in zip(evidence, probes, strict=True) if probe.version in unknown))
        )
    return tuple(findings)


def _version_line(probe: VersionProbe) -> str:
    said = (f"{probe.version}: {probe.outcome}", probe.cipher, probe.detail)
    return ", ".join(part for part in said if part)


def judge_chain(chain: Chain, profile: Profile, now: datetime) -> tuple[Finding, ...]:
    """What a chain means for a client that wants `profile.host` at the time `now`."""
    if not chain.certificates:
        return (found("chain-unseen", profile, chain.problem or "no certificate that can be read"),)
    findings = [*judge_dates(chain, profile, now), *judge_name(chain, profile), *_trust(chain, profile), *_strength(chain, profile)]
    good = not any(finding.severity is Severity.ERROR for finding in findings)
    findings += [*_order(chain, profile), *_interception(chain, profile)]
    if good:
        leaf = chain.certificates[0]
        findings.append(found("certificate-good", profile, f"issued by {leaf.issuer}, valid until {leaf.not_after:%Y-%m-%d}"))
    if chain.client_certificate:
        names = ("client-certificate-taken", "client-certificate-refused")
        if not profile.cert_file:
            names = ("client-certificate", "client-certificate-required")
        findings.append(found(names[chain.problem is not None], profile, chain.problem or "", *chain.client_authorities[:5]))
    elif profile.cert_file and not chain.problem:
        findings.append(found("client-certificate-unasked", profile))
    return tuple(findings)


def judge_dates(chain: Chain, profile: Profile, now: datetime) -> Iterator[Finding]:
    """Whether the certificates are valid at the time `now`; nothing where they are."""
    leaf = chain.certificates[0]
    if leaf.not_after < now:
        yield found("certificate-expired", profile, f"valid until {leaf.not_after:%Y-%m-%d %H:%M} UTC")
    elif leaf.not_before > now:
        yield found("certificate-too-new", profile, f"valid from {leaf.not_before:%Y-%m-%d %H:%M} UTC; here it is {now:%Y-%m-%d %H:%M} UTC")
    elif leaf.not_after < now + SOON:
        yield found("certificate-ends-soon", profile, f"valid until {leaf.not_after:%Y-%m-%d %H:%M} UTC")
    for other in _above(chain):
        if not other.not_before <= now <= other.not_after:
            yield found("chain-expired", profile, f"{other.subject}: valid from {other.not_before:%Y-%m-%d} to {other.not_after:%Y-%m-%d}")


def judge_name(chain: Chain, profile: Profile) -> Iterator[Finding]:
    """Whether the server's certificate is for `profile.host`; nothing where it is."""
    leaf, host = chain.certificates[0], profile.host.lower().rstrip(".")
    if any(_fits(name, host) for name in leaf.names):
        return
    if not leaf.names and leaf.common_name and _fits(leaf.common_name, host):
        yield found("certificate-common-name", profile, f"CN={leaf.common_name}")
    else:
        named = leaf.names or ((f"CN={leaf.common_name}, which no longer counts",) if leaf.common_name else ("no name at all",))
        yield found("certificate-name", profile, f"it is for: {', '.join(named[:20])}")


def _fits(name: str, host: str) -> bool:
    """RFC 9525 section 6.3: the same name; or `*` as the whole of the first label, and only of it. An address fits itself alone."""
    try:
        return str(ipaddress.ip_address(host)) == name
    except ValueError:
        label, _, rest = host.partition(".")
        return name == host or bool(label and "." in rest and name == f"*.{rest}")


def _trust(chain: Chain, profile: Profile) -> Iterator[Finding]:
    numbers = {complaint.number: complaint for complaint in reversed(chain.complaints)}
    if _SELF_SIGNED in numbers:
        yield found("certificate-self-signed", profile, f"issued by itself: {chain.certificates[0].subject}")
    elif _ROOT_UNKNOWN in numbers:
        yield found("authority-unknown", profile, f"the chain ends at {_subject(numbers[_ROOT_UNKNOWN])}")
    elif missing := next((numbers[number] for number in _NO_ISSUER if number in numbers), None):
        top = missing.certificate
        issuer = f"issued by {top.issuer}, whose certificate is missing" if top else "its issuer is missing"
        if missing.depth:
            yield found("authority-unknown", profile, f"{_subject(missing)}: {issuer}")
        elif top and top.issuer_url:
            yield found("intermediate-missing", profile, issuer, f"it can be fetched at {top.issuer_url}")
        else:
            yield found("issuer-missing", profile, issuer)
    for number, complaint in sorted(numbers.items()):
        if number not in _EXPLAINED:
            yield found("certificate-refused", profile, f"{_subject(complaint)}: {complaint.text}")


def _subject(complaint: Complaint) -> str:
    return complaint.certificate.subject if complaint.certificate else "a certificate that does not read"


def _strength(chain: Chain, profile: Profile) -> Iterator[Finding]:
    for certificate in (chain.certificates[0], *_above(chain)):
        if certificate.bits and certificate.bits < _WEAKEST.get(certificate.key, 0):
            yield found("key-weak", profile, f"{certificate.subject}: {certificate.key} with {certificate.bits} bits")
        if certificate.digest in _WEAK_HASHES and certificate.subject != certificate.issuer:  # nobody relies on a root's own signature
            yield found("signature-weak", profile, f"{certificate.subject}: signed with {certificate.digest.upper()}")


def _order(chain: Chain, profile: Profile) -> Iterator[Finding]:
    place = {certificate.raw: number for number, certificate in enumerate(chain.path)}
    needed = [place[certificate.raw] for certificate in chain.certificates if certificate.raw in place]
    if needed != sorted(needed):
        yield found("chain-order", profile, *(f"{number}: {each.subject}" for number, each in enumerate(chain.certificates, 1)))
    # Another certificate of an authority on the path is no stranger: a cross-signature for clients with older roots.
    issuers = {certificate.issuer for certificate in (chain.certificates[0], *chain.path)}
    strangers = [each.subject for each in chain.certificates[1:] if each.subject not in issuers]
    if strangers:
        yield found("chain-extra", profile, *strangers[:5])


def _interception(chain: Chain, profile: Profile) -> Iterator[Finding]:
    issuers = "\n".join(certificate.issuer for certificate in (*chain.certificates, *chain.path))
    for product in load_table("interception")["product"]:
        if match := re.search(product["issuer"], issuers):
            line = next(line for line in issuers.split("\n") if match[0] in line)
            yield found("intercepted", profile, f"{product['name']}: the certificate is issued by {line}")
            return


def _above(chain: Chain) -> tuple[Certificate, ...]:
    """The path without the server's own certificate."""
    return chain.path[1:]
