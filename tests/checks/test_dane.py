"""TLSA records against the certificates of a real TLS server; what the records must hold is worked out by the `openssl` command."""

from __future__ import annotations

import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from kit.checks import handshake
from kit.checks import survey as survey_module
from kit.checks.certificates import parse_certificate
from kit.checks.chain import Chain
from kit.checks.dane import compare, fitting
from kit.checks.dns import probe_dns
from kit.checks.policies import judge_dns
from kit.checks.survey import survey
from kit.checks.tls import probe_chain
from kit.model import Cause, Profile, Security, Severity
from kit.sending.transport import Address
from tests.checks.conftest import HEAD
from tests.live.check_servers import serve, smtp
from tests.servers.openssl_server import Signed, certify, s_server
from tests.servers.unbound import sign, unbound

HOST = "mail.dane.test"
ROOT = certify("root", authority=True)
MIDDLE = certify("middle", ROOT, authority=True)
OWN = certify(HOST, MIDDLE, names=[HOST])
OTHER = certify(HOST, MIDDLE, names=[HOST])  # what a renewal without --reuse-key makes
STRANGER = certify("stranger", authority=True)
NAMESAKE = certify("middle", STRANGER, authority=True)  # the name of the issuer, another key
pytestmark = pytest.mark.needs("openssl")


@pytest.fixture(autouse=True)
def short_goodbye(monkeypatch):
    """`openssl s_server` says no banner, so nobody needs to wait for it."""
    monkeypatch.setattr(handshake, "_GOODBYE", 0.1)


def openssl(*arguments: str, given: bytes) -> bytes:
    return subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True).stdout


def record(usage: int, selector: int, kind: int, signed: Signed) -> str:
    """As RFC 6698 section 2.1 has it, by another program than the kit."""
    if selector:
        data = openssl("pkey", "-pubin", "-outform", "DER", given=openssl("x509", "-noout", "-pubkey", given=signed.pem))
    else:
        data = openssl("x509", "-outform", "DER", given=signed.pem)
    if kind:
        data = openssl("dgst", f"-sha{(256, 512)[kind - 1]}", "-binary", given=data)
    return f"{usage} {selector} {kind} {data.hex()}"


async def seen(folder, *shown: Signed) -> Chain:
    """The chain as the kit sees it at a real server."""
    (folder / "root.pem").write_bytes(ROOT.pem)
    with s_server(folder, *shown) as port:
        profile = Profile(host=HOST, port=port, security=Security.TLS, ca_file=str(folder / "root.pem"), timeout=5)
        return await probe_chain(Address(family=2, host="127.0.0.1", port=port), profile)


# --- one record --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [OWN, certify(HOST, MIDDLE, names=[HOST], key=rsa.generate_private_key(65537, 2048))], ids=["EC", "RSA"])
async def test_each_kind_of_record_fits_its_own_certificate_and_no_other(tmp_path, own):
    chain = await seen(tmp_path, own, MIDDLE)
    for selector in (0, 1):
        for kind in (0, 1, 2):
            assert compare(record(3, selector, kind, own), chain)[0] is True
            assert compare(record(2, selector, kind, MIDDLE), chain)[0] is True
            for usage, no in ((3, MIDDLE), (3, OTHER), (2, own), (2, STRANGER)):
                assert compare(record(usage, selector, kind, no), chain)[0] is False, (usage, selector, kind)
    assert fitting(chain.certificates[0]) == record(3, 1, 1, own)


async def test_an_authority_must_have_signed_and_not_only_been_sent(tmp_path):
    chain = await seen(tmp_path, OWN, STRANGER, NAMESAKE, MIDDLE)
    assert [compare(record(2, 1, 1, each), chain)[0] for each in (MIDDLE, STRANGER, NAMESAKE)] == [True, False, False]
    # RFC 7671 section 5.2.2: a root that the server does not send fits only where the record holds all of it
    assert [compare(record(2, 0, kind, ROOT), chain)[0] for kind in (0, 1)] == [True, False]


async def test_records_that_mail_servers_cannot_use(tmp_path):
    chain = await seen(tmp_path, OWN, MIDDLE)
    digest = "00" * 32
    for text in (
        record(0, 0, 1, MIDDLE),  # RFC 7672 section 3.1.3
        record(1, 1, 1, OWN),
        f"4 1 1 {digest}",
        f"3 2 1 {digest}",
        f"3 1 3 {digest}",
        f"3 1 1 {digest}00",
        f"3 1 2 {digest}",
        f"3 0 0 {digest}",
        f"3 1 0 {digest}",
        "3 1 1 zz",
        "3 1 1",
        "3",
        "",
    ):
        assert compare(text, chain)[0] is None, text


# --- what is said about a server's records, as a real name server gives them ----------------------------------------------


RECORDS = {
    "fits": [record(3, 1, 1, OWN)],
    "whole": [record(3, 0, 0, OWN)],
    "renewal": [record(3, 1, 1, OTHER), record(3, 1, 1, OWN)],  # the new key's record beside the old one's, as it should be
    "above": [record(2, 1, 2, MIDDLE)],
    "renewed": [record(3, 1, 1, OTHER)],
    "pkix": [record(1, 1, 1, OWN)],
    "mixed": [record(1, 1, 1, OWN), record(3, 1, 1, OTHER)],
}


@pytest.fixture(scope="module")
def nameserver():
    text = HEAD + "".join(f"_25._tcp.{name} IN TLSA {each}\n{name} IN A 192.0.2.1\n" for name, all_ in RECORDS.items() for each in all_)
    signed, anchor = sign(text, "dane.test.")
    unchecked, _ = sign(text, "unchecked.test.")
    with unbound({"dane.test.": signed, "unchecked.test.": unchecked, "unsigned.test.": text}, anchors=(anchor,)) as address:
        yield address


def chain_for(host: str, **more) -> Chain:
    """`OWN`'s key in a certificate for `host`, by `MIDDLE`."""
    own = certify(host, MIDDLE, names=[host], key=OWN.key, **more)
    certificates = tuple(parse_certificate(openssl("x509", "-outform", "DER", given=each.pem)) for each in (own, MIDDLE))
    return Chain(
        address="192.0.2.1",
        port=25,
        seconds=0.1,
        version="TLSv1.3",
        cipher=None,
        certificates=certificates,
        path=certificates,
        complaints=(),
        client_certificate=False,
        client_authorities=(),
        problem=None,
    )


FITS, FITS_NOT = "the certificate of port 25 fits its records", "fits none of its records"


@pytest.mark.needs("unbound")
@pytest.mark.parametrize(
    ("host", "severity", "words", "also"),
    [
        ("fits.dane.test", Severity.OK, FITS, []),
        ("renewal.dane.test", Severity.OK, FITS, []),
        ("above.dane.test", Severity.OK, FITS, []),
        ("renewed.dane.test", Severity.WARNING, FITS_NOT, []),
        ("mixed.dane.test", Severity.WARNING, FITS_NOT, []),
        ("pkix.dane.test", Severity.WARNING, "can use none", []),
        # Who sends mail checks the signatures, whether or not this machine does.
        ("renewed.unchecked.test", Severity.WARNING, FITS_NOT, ["did not check the signatures"]),
        ("fits.unchecked.test", Severity.OK, FITS, ["did not check the signatures"]),
        # RFC 7672 section 2.2: unsigned records count for nothing, whatever they say.
        ("renewed.unsigned.test", Severity.WARNING, "no signature came with them", []),
    ],
)
async def test_what_follows(nameserver, host, severity, words, also):
    view = await probe_dns(host, 25, nameserver=nameserver)
    first, *more = judge_dns(view, chain_for(host), datetime.now(UTC))
    assert (first.severity, words in first.title) == (severity, True)
    assert [words in each.title for words, each in zip(also, more, strict=True)] == [True] * len(also)
    assert first.cause is (Cause.NONE if severity is Severity.OK else Cause.CERTIFICATE)


@pytest.mark.needs("unbound")
async def test_the_record_that_is_missing_is_named(nameserver):
    (finding,) = judge_dns(
        await probe_dns("renewed.dane.test", 25, nameserver=nameserver), chain_for("renewed.dane.test"), datetime.now(UTC)
    )
    old, missing = finding.evidence
    assert old == f"{record(3, 1, 1, OTHER)}: does not fit the server's own certificate"
    assert missing == f"this would fit: _25._tcp.renewed.dane.test TLSA {record(3, 1, 1, OWN)}"


@pytest.mark.needs("unbound")
@pytest.mark.parametrize(
    ("host", "fits"),
    [
        ("fits.dane.test", True),  # RFC 7672 section 3.1.1: usage 3 asks neither for the name nor for the date
        ("above.dane.test", False),  # section 3.1.2: usage 2 asks for both
    ],
)
async def test_name_and_date_count_for_an_authority_s_record_alone(nameserver, host, fits):
    view = await probe_dns(host, 25, nameserver=nameserver)
    now = datetime.now(UTC)
    for chain, when in ((chain_for("else.dane.test"), now), (chain_for(host), now + timedelta(days=365))):
        (finding,) = judge_dns(view, chain, when)
        assert (finding.severity is Severity.OK) is fits


@pytest.mark.needs("unbound")
async def test_a_record_may_hold_a_whole_certificate(tmp_path, nameserver):
    (finding,) = judge_dns(await probe_dns("whole.dane.test", 25, nameserver=nameserver), await seen(tmp_path, OWN), datetime.now(UTC))
    assert finding.severity is Severity.OK
    assert max(map(len, finding.evidence)) < 120


@pytest.mark.needs("unbound")
async def test_the_look_around_compares_them(tmp_path, monkeypatch):
    (tmp_path / "root.pem").write_bytes(ROOT.pem)
    (tmp_path / "own.pem").write_bytes(OWN.pem + MIDDLE.pem + OWN.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.pem")
    async with serve(smtp(tls=context)) as server:

        async def here(_):
            return [Address(family=2, host="127.0.0.1", port=server.port)]

        monkeypatch.setattr(survey_module, "resolve", here)
        profile = Profile(host=HOST, port=server.port, security=Security.STARTTLS, ca_file=str(tmp_path / "root.pem"), timeout=5)
        for own, words in ((OWN, "fits its records"), (OTHER, "fits none of its records")):
            text = f"{HEAD}mail IN A 127.0.0.1\n_{server.port}._tcp.mail IN TLSA {record(3, 1, 1, own)}\n"
            signed, anchor = sign(text, "dane.test.")
            with unbound({"dane.test.": signed}, anchors=(anchor,)) as address:
                monkeypatch.setattr(survey_module, "probe_dns", partial(probe_dns, nameserver=address))
                findings = (await survey(profile)).findings
            assert [words in each.title for each in findings if each.title.startswith("DANE")] == [True]
