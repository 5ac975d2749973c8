"""Versions of TLS and certificate chains against foreign servers: openssl's own, Python's, Postfix and Dovecot."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import warnings
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL

from kit.checks import handshake
from kit.checks.chain import Offered, VersionProbe, judge_chain, judge_versions
from kit.checks.tls import VERSIONS, probe_chain, probe_tls_version
from kit.knowledge.findings import found
from kit.knowledge.load import load_table
from kit.model import Profile, Security
from kit.sending.transport import Address
from tests.live.check_servers import Pki, make_pki, serve, smtp
from tests.servers.openssl_server import certify, s_server, sign_weakly

_DER = serialization.Encoding.DER
openssl = pytest.mark.needs("openssl")


@pytest.fixture(autouse=True)
def short_goodbye(monkeypatch):
    """`openssl s_server` says no banner, so nobody needs to wait for it."""
    monkeypatch.setattr(handshake, "_GOODBYE", 0.1)


@pytest.fixture
def pki(tmp_path) -> Pki:
    return make_pki(tmp_path)


def settings(port: int, security: Security = Security.TLS, **fields) -> Profile:
    return Profile(**{"host": "mail.example.test", "port": port, "security": security, "timeout": 5.0} | fields)


def at(port: int) -> Address:
    return Address(family=socket.AF_INET, host="127.0.0.1", port=port)


def names(findings, profile: Profile) -> list[str]:
    """The findings by their names in the table."""
    titles = {found(name, profile).title: name for name in load_table("findings")}
    return [titles[finding.title] for finding in findings]


async def ladder(profile: Profile):
    return [await probe_tls_version(at(profile.port), profile, version) for version in VERSIONS]


def judged(probes, profile: Profile) -> list[str]:
    return names(judge_versions(probes, profile), profile)


# --- versions ---------------------------------------------------------------------------------------------------


@openssl
@pytest.mark.parametrize(
    ("options", "offered", "finding"),
    [
        (["-tls1"], ["TLSv1"], "tls-only-old"),
        (["-tls1_1"], ["TLSv1.1"], "tls-only-old"),
        (["-tls1_2"], ["TLSv1.2"], "tls-versions"),
        (["-tls1_3"], ["TLSv1.3"], "tls-12-missing"),
        (["-no_tls1_2", "-no_tls1_3"], ["TLSv1", "TLSv1.1"], "tls-only-old"),
        (["-cipher", "DEFAULT@SECLEVEL=2"], ["TLSv1.2", "TLSv1.3"], "tls-versions"),  # as Debian has it: no signatures for older ones
        (["-no_tls1", "-no_tls1_1"], ["TLSv1.2", "TLSv1.3"], "tls-versions"),
        ([], list(VERSIONS), "tls-old"),  # security level 0, and OpenSSL's own floor is TLS 1.0
    ],
)
async def test_exactly_the_versions_that_openssl_was_told_to_serve(tmp_path, options, offered, finding):
    with s_server(tmp_path, certify("mail.example.test"), options=options) as port:
        probes = await ladder(settings(port))
    assert [probe.version for probe in probes if probe.outcome is Offered.OFFERED] == offered
    assert [probe.version for probe in probes if probe.outcome is Offered.NOT_OFFERED] == [v for v in VERSIONS if v not in offered]
    assert judged(probes, settings(port)) == [finding]
    assert all(bool(probe.cipher) is (probe.version in offered) for probe in probes)


@openssl
async def test_the_cipher_is_the_one_that_the_server_was_told_to_take(tmp_path):
    options = ["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"]
    with s_server(tmp_path, certify("mail.example.test"), options=options) as port:
        probe = await probe_tls_version(at(port), settings(port), "TLSv1.2")
    assert probe.cipher == "ECDHE-ECDSA-CHACHA20-POLY1305"
    assert probe.detail is None


@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
@pytest.mark.parametrize(
    ("lowest", "highest"), [("TLSv1", "TLSv1"), ("TLSv1_2", "TLSv1_2"), ("TLSv1_3", "TLSv1_3"), ("TLSv1_1", "TLSv1_3")]
)
async def test_python_servers_of_both_kinds(pki, security, lowest, highest):
    context = pki.server("mail.example.test")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version, context.maximum_version = ssl.TLSVersion[lowest], ssl.TLSVersion[highest]
    implicit = security is Security.TLS
    async with serve(smtp(tls=None if implicit else context), tls=context if implicit else None) as served:
        probes = await ladder(settings(served.port, security))
        await asyncio.sleep(0.05)
    names = [version.replace(".", "_") for version in VERSIONS]
    spoken = names[names.index(lowest) : names.index(highest) + 1]
    assert [probe.outcome for probe in probes] == [Offered.OFFERED if name in spoken else Offered.NOT_OFFERED for name in names]
    assert served.connections == (len(spoken) if implicit else len(VERSIONS))  # one a call; asyncio does not count what TLS kept out
    assert served.heard.count(b"QUIT") == len(spoken)  # in TLS, where the handshake came to its end


@pytest.mark.needs("postfix", "dovecot", "syslog")
@pytest.mark.parametrize("kind", ["submission", "submissions"])
async def test_postfix_logs_the_very_version_and_cipher_and_a_proper_goodbye(postfix_dovecot, kind):
    port = getattr(postfix_dovecot, f"{kind}_port")
    security = Security.STARTTLS if kind == "submission" else Security.TLS
    profile = settings(port, security, host=postfix_dovecot.host, ca_file=postfix_dovecot.ca_file)
    for version in VERSIONS:
        seen = len(postfix_dovecot.log().encode())
        probe = await probe_tls_version(at(port), profile, version)
        assert probe.outcome is Offered.OFFERED  # Postfix 3.7: smtpd_tls_protocols = >=TLSv1, no security level of its own
        established = rf"TLS connection established from [^\n]*: {re.escape(version)} with cipher {probe.cipher} "
        postfix_dovecot.wait_for(established + r"[^\n]*\n(?:[^\n]*\n)*?[^\n]*disconnect from [^\n]* quit=1 ", after=seen)


@pytest.mark.needs("postfix", "dovecot", "syslog")
async def test_dovecot_refuses_old_versions_as_its_own_log_says(postfix_dovecot):
    seen = len(postfix_dovecot.log().encode())
    probes = await ladder(settings(postfix_dovecot.dovecot_submission_port, Security.STARTTLS, host=postfix_dovecot.host))
    no, yes = Offered.NOT_OFFERED, Offered.OFFERED
    assert [probe.outcome for probe in probes] == [no, no, yes, yes]  # ssl_min_protocol is TLSv1.2 by default
    postfix_dovecot.wait_for(r"(?s)TLS handshaking: SSL_accept.*TLS handshaking: SSL_accept", after=seen)


async def test_a_version_that_openssl_cannot_speak_is_not_laid_at_the_servers_door(pki, monkeypatch):
    build = SSL.Context.set_max_proto_version
    # As where a build has no TLS 1.0: OpenSSL then finds no version between the limits, and never says ClientHello.
    monkeypatch.setattr(SSL.Context, "set_max_proto_version", lambda self, number: build(self, SSL.TLS1_VERSION))
    async with serve(smtp(), tls=pki.server("mail.example.test")) as served:
        probe = await probe_tls_version(at(served.port), settings(served.port), "TLSv1.2")
    assert probe.outcome is Offered.COULD_NOT_CHECK
    assert "this machine's OpenSSL" in probe.detail
    assert judged([probe], settings(served.port)) == ["tls-not-checked"]


async def test_a_policy_that_forbids_the_setting_is_could_not_check(monkeypatch):
    def forbid(self, number):
        raise SSL.Error([("SSL routines", "", "no protocols available")])

    monkeypatch.setattr(SSL.Context, "set_min_proto_version", forbid)
    probe = await probe_tls_version(at(1), settings(1), "TLSv1")
    assert probe.outcome is Offered.COULD_NOT_CHECK
    assert "no protocols available" in probe.detail


async def test_no_starttls_no_port_and_a_refusal_are_could_not_check(unused_tcp_port):
    probe = await probe_tls_version(at(unused_tcp_port), settings(unused_tcp_port), "TLSv1.2")
    assert (probe.outcome, probe.cipher) == (Offered.COULD_NOT_CHECK, None)
    for answers, words in (
        ({}, "no STARTTLS"),
        ({b"EHLO": b"250-x\r\n250 STARTTLS\r\n", b"STARTTLS": b"454 4.7.0 not now\r\n"}, "454 4.7.0"),
    ):
        async with serve(smtp(answers)) as served:
            probe = await probe_tls_version(at(served.port), settings(served.port, Security.STARTTLS), "TLSv1.2")
        assert probe.outcome is Offered.COULD_NOT_CHECK
        assert words in probe.detail
        assert served.heard[-1] == b"QUIT"


@pytest.mark.parametrize(
    ("outcomes", "expected"),  # of the versions from 1.0 to 1.3: yes, no, or not known
    [
        ("nnyy", ["tls-versions"]),
        ("nnyn", ["tls-versions"]),
        ("ynyy", ["tls-old"]),
        ("ynnn", ["tls-only-old"]),
        ("yy?n", ["tls-old", "tls-not-checked"]),  # 1.2 may be there: that there is nothing newer cannot be said
        ("nnny", ["tls-12-missing"]),
        ("nn?y", ["tls-not-checked"]),
        ("??yy", ["tls-not-checked"]),  # that there is nothing older cannot be said
        ("nnnn", ["tls-none"]),
        ("nnn?", ["tls-not-checked"]),
        ("????", ["tls-not-checked"]),
        ("", []),
    ],
)
def test_what_versions_mean(outcomes, expected):
    meant = {"y": Offered.OFFERED, "n": Offered.NOT_OFFERED, "?": Offered.COULD_NOT_CHECK}
    probes = [
        VersionProbe(version=version, outcome=meant[letter], cipher=None, detail=None, address="192.0.2.1", port=587, seconds=0.1)
        for version, letter in zip(VERSIONS, outcomes, strict=False)
    ]
    assert judged(probes, settings(587)) == expected


# --- chains -----------------------------------------------------------------------------------------------------

ROOT = certify("Example Root", authority=True, days=(-400, 400))
MIDDLE = certify("Example Intermediate", ROOT, authority=True, days=(-300, 300))
OLD_MIDDLE = certify("Example Intermediate", ROOT, authority=True, days=(-300, -2), key=MIDDLE.key)
STRANGER = certify("Somebody Else", authority=True)
URL = "http://ca.example.test/intermediate.crt"
HOST = "mail.example.test"
LEAF = certify(HOST, MIDDLE, names=[HOST], issuer_url=URL)
CURVE = certify("Example Short Curve", ROOT, authority=True, key=ec.generate_private_key(ec.SECP224R1()))
SHORT = rsa.generate_private_key(65537, 1024)

CHAINS = {
    # what is wrong: (what the server shows, whom the client trusts, what is found)
    "nothing": ((LEAF, MIDDLE), ROOT, {"certificate-good"}),
    "nothing, with the root": ((LEAF, MIDDLE, ROOT), ROOT, {"certificate-good"}),
    "a wildcard": ((certify("x", MIDDLE, names=["*.example.test"]), MIDDLE), ROOT, {"certificate-good"}),
    "expired": ((certify(HOST, ROOT, names=[HOST], days=(-90, -1)),), ROOT, {"certificate-expired"}),
    "not yet valid": ((certify(HOST, ROOT, names=[HOST], days=(1, 90)),), ROOT, {"certificate-too-new"}),
    "13 days left": ((certify(HOST, ROOT, names=[HOST], days=(-70, 13)),), ROOT, {"certificate-ends-soon", "certificate-good"}),
    "15 days left": ((certify(HOST, ROOT, names=[HOST], days=(-70, 15)),), ROOT, {"certificate-good"}),
    "expired above": ((LEAF, OLD_MIDDLE), ROOT, {"chain-expired"}),
    "wrong name": ((certify(HOST, ROOT, names=["www.example.test", "example.test"]),), ROOT, {"certificate-name"}),
    "a wildcard of another level": (
        (certify(HOST, ROOT, names=["*.test", "*.mail.example.test", "m*.example.test"]),),
        ROOT,
        {"certificate-name"},
    ),
    "common name only": ((certify(HOST, ROOT),), ROOT, {"certificate-common-name", "certificate-good"}),
    "self-signed": ((certify(HOST, names=[HOST]),), ROOT, {"certificate-self-signed"}),
    "no intermediate": ((LEAF,), ROOT, {"intermediate-missing"}),
    "no intermediate, and no hint": ((certify(HOST, MIDDLE, names=[HOST]),), ROOT, {"issuer-missing"}),
    "no intermediate, but others": ((LEAF, STRANGER), ROOT, {"intermediate-missing", "chain-extra"}),
    "private authority, root shown": ((LEAF, MIDDLE, ROOT), STRANGER, {"authority-unknown"}),
    "private authority, root not shown": ((LEAF, MIDDLE), STRANGER, {"authority-unknown"}),
    "wrong order": ((LEAF, ROOT, MIDDLE), ROOT, {"chain-order", "certificate-good"}),
    "one too many": ((LEAF, MIDDLE, STRANGER), ROOT, {"chain-extra", "certificate-good"}),
    "short key": ((certify(HOST, ROOT, names=[HOST], key=SHORT),), ROOT, {"key-weak"}),
    "short curve above": ((certify(HOST, CURVE, names=[HOST]), CURVE), ROOT, {"key-weak"}),
    "for clients only": ((certify(HOST, ROOT, names=[HOST], usage=ExtendedKeyUsageOID.CLIENT_AUTH),), ROOT, {"certificate-refused"}),
    "two faults": ((certify("x", ROOT, names=["x.test"], days=(-90, -1)),), ROOT, {"certificate-expired", "certificate-name"}),
}
MITM = certify("Zscaler Root CA", authority=True, organization="Zscaler Inc.")
FAKE = certify(HOST, MITM, names=[HOST])
CHAINS |= {
    "read along, and trusted": ((FAKE,), MITM, {"intercepted", "certificate-good"}),
    "read along": ((FAKE, MITM), ROOT, {"intercepted", "authority-unknown"}),
}


@openssl
@pytest.mark.parametrize("case", CHAINS)
async def test_what_is_wrong_with_a_chain(tmp_path, case):
    shown, trusted, expected = CHAINS[case]
    (tmp_path / "ca.pem").write_bytes(trusted.pem)
    with s_server(tmp_path, *shown) as port:
        profile = settings(port, ca_file=str(tmp_path / "ca.pem"))
        chain = await probe_chain(at(port), profile)
    assert [each.raw for each in chain.certificates] == [each.certificate.public_bytes(_DER) for each in shown]
    assert set(names(judge_chain(chain, profile, datetime.now(UTC)), profile)) == expected


@openssl
async def test_without_a_file_of_its_own_the_machines_authorities_count(tmp_path, monkeypatch):
    (tmp_path / "ca.pem").write_bytes(ROOT.pem)
    with s_server(tmp_path, LEAF, MIDDLE) as port:
        before = await probe_chain(at(port), settings(port))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        after = await probe_chain(at(port), settings(port))
    assert before.complaints
    assert after.complaints == ()
    assert [each.subject for each in after.path] == [f"CN={HOST}", "CN=Example Intermediate", "CN=Example Root"]


def test_every_product_that_reads_along_is_known_by_its_issuer_and_no_public_authority_is():
    public = (
        "CN=R11,O=Let's Encrypt,C=US",
        "CN=WR2,O=Google Trust Services,C=US",
        "CN=DigiCert Global Root G2,OU=www.digicert.com,O=DigiCert Inc,C=US",
    )
    for product in load_table("interception")["product"]:
        assert re.search(product["issuer"], product["example"]), product["name"]
        assert not any(re.search(product["issuer"], issuer) for issuer in public)
        assert product["source"]


@openssl
@pytest.mark.parametrize("digest", ["md5", "sha1"])
async def test_a_weak_signature(tmp_path, digest):
    root = certify("Example RSA Root", authority=True, key=rsa.generate_private_key(65537, 2048))  # MD5 was never defined for EC
    (tmp_path / "ca.pem").write_bytes(root.pem)
    with s_server(tmp_path, sign_weakly(certify(HOST, names=[HOST]), root, digest)) as port:
        profile = settings(port, ca_file=str(tmp_path / "ca.pem"))
        findings = judge_chain(await probe_chain(at(port), profile), profile, datetime.now(UTC))
    assert names(findings, profile) == ["signature-weak"]
    assert findings[0].evidence == (f"CN={HOST}: signed with {digest.upper()}",)


@openssl
async def test_an_address_is_no_name_and_no_wildcard_fits_it(tmp_path):
    for named, expected in ((["127.0.0.1"], "certificate-good"), (["*.0.0.1", "localhost"], "certificate-name")):
        own = certify("x", names=named, authority=True)
        (tmp_path / "ca.pem").write_bytes(own.pem)  # trusted by itself
        with s_server(tmp_path, own) as port:
            profile = settings(port, host="127.0.0.1", ca_file=str(tmp_path / "ca.pem"))
            chain = await probe_chain(at(port), profile)
        assert names(judge_chain(chain, profile, datetime.now(UTC)), profile) == [expected]


@openssl
async def test_facts_of_a_certificate(tmp_path):
    own = certify("Mail.Example.Test", names=["Mail.Example.Test", "192.0.2.1", "2001:db8::1"], key=rsa.generate_private_key(65537, 2048))
    with s_server(tmp_path, own, options=["-tls1_2"]) as port:
        chain = await probe_chain(at(port), settings(port))
    (leaf,) = chain.certificates
    assert leaf.names == ("mail.example.test", "192.0.2.1", "2001:db8::1")
    assert (leaf.key, leaf.bits, leaf.digest, leaf.common_name) == ("RSA", 2048, "sha256", "mail.example.test")
    assert (leaf.subject, leaf.issuer) == ("CN=Mail.Example.Test", "CN=Mail.Example.Test")
    assert (chain.version, chain.problem, chain.client_certificate) == ("TLSv1.2", None, False)
    assert "ECDHE-RSA" in chain.cipher


@openssl
@pytest.mark.parametrize("version", ["-tls1", "-tls1_2", "-tls1_3"])
@pytest.mark.parametrize(("wanted", "finding"), [("-verify", "client-certificate"), ("-Verify", "client-certificate-required")])
async def test_a_client_certificate_is_asked_for(tmp_path, monkeypatch, version, wanted, finding):
    (tmp_path / "ca.pem").write_bytes(ROOT.pem)
    own = certify(HOST, ROOT, names=[HOST])
    with s_server(tmp_path, own, options=[version, wanted, "1", "-CAfile", "ca.pem"]) as port:
        monkeypatch.setattr(handshake, "_GOODBYE", 0.5)  # nobody says a banner: that the connection lives on is known after this time
        profile = settings(port, ca_file=str(tmp_path / "ca.pem"))
        chain = await probe_chain(at(port), profile)
        probe = await probe_tls_version(at(port), profile, VERSIONS[("-tls1", "", "-tls1_2", "-tls1_3").index(version)])
    assert chain.client_certificate
    assert chain.client_authorities == ("CN=Example Root",)
    assert set(names(judge_chain(chain, profile, datetime.now(UTC)), profile)) == {"certificate-good", finding}
    assert probe.outcome is Offered.OFFERED  # whoever asks for a certificate speaks the version


@pytest.mark.needs("postfix", "dovecot", "syslog")
@pytest.mark.parametrize("kind", ["submission", "submissions", "dovecot_submission"])
async def test_real_servers_chains(postfix_dovecot, kind):
    port = getattr(postfix_dovecot, f"{kind}_port")
    security = Security.TLS if kind == "submissions" else Security.STARTTLS
    profile = settings(port, security, host=postfix_dovecot.host, ca_file=postfix_dovecot.ca_file)
    chain = await probe_chain(at(port), profile)
    assert set(names(judge_chain(chain, profile, datetime.now(UTC)), profile)) - {"certificate-ends-soon"} == {"certificate-good"}
    stranger = settings(port, security)
    judged = names(judge_chain(await probe_chain(at(port), stranger), stranger, datetime.now(UTC)), stranger)
    assert set(judged) - {"certificate-ends-soon"} == {"certificate-name", "issuer-missing"}  # the fixture's authority is nobody's
