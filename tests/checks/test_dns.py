"""What DNS says, asked of a real name server that validates DNSSEC; and what follows from it."""

from __future__ import annotations

import asyncio
import time

import pytest

from kit.checks.dns import Answer, DnsStatus, DnsView, MailHost, look_up, mail_hosts, probe_dns
from kit.checks.policies import judge_dns
from kit.checks.web import Document
from kit.model import Severity

needs_unbound = pytest.mark.needs("unbound")
KEY = "3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"


def titles(view: DnsView) -> list[tuple[Severity, str]]:
    return [(finding.severity, finding.title) for finding in judge_dns(view)]


# --- one question --------------------------------------------------------------------------------------------------


@needs_unbound
@pytest.mark.parametrize(
    ("name", "kind", "status", "records"),
    [
        ("mail.plain.test", "A", DnsStatus.FOUND, ("192.0.2.5",)),
        ("mail.plain.test", "AAAA", DnsStatus.NO_DATA, ()),
        ("nobody.plain.test", "A", DnsStatus.NO_SUCH_NAME, ()),
        ("mail.broken.test", "A", DnsStatus.SERVER_FAILURE, ()),  # signed with another key than the one that is trusted
        ("mail.refused.test", "A", DnsStatus.REFUSED, ()),
        ("mail.silent.test", "A", DnsStatus.TIME_OUT, ()),
        ("two..dots", "A", DnsStatus.FAILED, ()),
        ("texts.plain.test", "TXT", DnsStatus.FOUND, ("v=STSv1; id=1;",)),  # RFC 8461 section 3.1: strings are joined without a space
        ("_465._tcp.mail.signed.test", "TLSA", DnsStatus.FOUND, (KEY,)),
    ],
)
async def test_each_kind_of_no_answer_is_told_apart(nameserver, name, kind, status, records):
    answer = await look_up(name, kind, timeout=1, nameserver=nameserver)
    assert (answer.status, answer.records) == (status, records)
    assert answer.status.known == (status in (DnsStatus.FOUND, DnsStatus.NO_DATA, DnsStatus.NO_SUCH_NAME))


async def test_a_name_server_that_is_not_there_is_an_answer_too():
    answer = await look_up("mail.plain.test", "A", timeout=0.3, nameserver=("127.0.0.1", 1))
    assert not answer.status.known
    assert answer.detail


@needs_unbound
async def test_a_name_server_may_say_why(nameserver):
    answer = await look_up("mail.broken.test", "A", nameserver=nameserver)
    assert answer.detail == "EDE 6 (DNSSEC Bogus)"  # RFC 8914 section 4.7


@needs_unbound
async def test_the_chain_of_aliases(nameserver):
    answer = await look_up("one.plain.test", "A", nameserver=nameserver)
    assert (answer.chain, answer.records) == (("two.plain.test", "mail.plain.test"), ("192.0.2.5",))


@needs_unbound
async def test_no_control_character_comes_through(nameserver):
    answer = await look_up("hostile.plain.test", "TXT", nameserver=nameserver)
    assert answer.records == ("red ?[31m and ? a bell ?",)


@needs_unbound
@pytest.mark.parametrize(
    ("domain", "authenticated", "signed"), [("signed.test", True, True), ("unchecked.test", False, True), ("plain.test", False, False)]
)
async def test_who_vouches_for_a_record(nameserver, domain, authenticated, signed):
    port = 25 if domain == "plain.test" else 465
    answer = await look_up(f"_{port}._tcp.mail.{domain}", "TLSA", nameserver=nameserver)
    assert (answer.authenticated, answer.signed, answer.is_local) == (authenticated, signed, True)


@needs_unbound
async def test_srv_and_mx_in_the_order_to_try_them(nameserver):
    mx, srv = await asyncio.gather(
        look_up("plain.test", "MX", nameserver=nameserver), look_up("_order._tcp.plain.test", "SRV", nameserver=nameserver)
    )
    assert [each.host for each in mail_hosts(mx)] == ["first.plain.test", "second.plain.test"]
    # a space belongs into no host's name, and there is no port 0
    assert [each.host for each in mail_hosts(srv)] == ["heavy.plain.test", "light.plain.test", "last.plain.test"]
    assert mail_hosts(srv)[0] == MailHost(host="heavy.plain.test", preference=10, weight=5, port=587)


# --- all that is said of a server ----------------------------------------------------------------------------------


@needs_unbound
@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("mail.signed.test", 465, [(Severity.OK, "DANE: DNSSEC vouches for the certificate of port 465, and this machine's own name server has checked that")]),
        ("mail.signed.test", 587, []),
        ("mail.unchecked.test", 465, [(Severity.NOTE, "DANE: there are signed records for port 465, but this machine's name server did not check the signatures")]),
        ("mail.plain.test", 25, [(Severity.WARNING, "DANE: there are records for port 25, but no signature came with them, so they count for nothing")]),
        ("plain.test", 587, [(Severity.NOTE, "plain.test is a mail domain, whose mail other servers take")]),
        ("nomail.plain.test", 587, [(Severity.NOTE, "nomail.plain.test says by DNS that it takes no mail at all (null MX)")]),
        ("first.plain.test", 587, []),
        ("mail.broken.test", 25, [(Severity.NOTE, "The name servers give no answer about mail.broken.test")]),
        # RFC 7672 section 2.1.1 makes servers wait here, and clients with a password do not care
        ("dead.plain.test", 25, [(Severity.WARNING, "DANE: the question for records of port 25 fails, and servers that keep to DANE send no mail there until it is answered")]),
        ("dead.plain.test", 587, []),
    ],
)  # fmt: skip
async def test_what_follows_for_a_server(nameserver, host, port, expected):
    assert titles(await probe_dns(host, port, nameserver=nameserver)) == expected


@needs_unbound
async def test_everything_is_asked_at_once_and_ends_in_time(nameserver):
    begun = time.monotonic()
    view = await probe_dns("mail.silent.test", 25, timeout=0.5, nameserver=nameserver)
    assert time.monotonic() - begun < 1  # five questions, each of which waits for half a second
    assert {each.status for each in (view.a, view.aaaa, view.mx, view.tlsa, view.sts)} == {DnsStatus.TIME_OUT}
    assert [finding.evidence[0] for finding in judge_dns(view)] == ["mail.silent.test A: time-out (no name server answered within 0.5 s)"]


# --- MTA-STS: judged from values, as a policy's host must be asked by HTTPS (see test_web.py) ----------------------------


def view_of(policy: bytes | None, *records: str, why: str = "it answers 404") -> DnsView:
    def answer(kind: str, *records: str) -> Answer:
        return Answer(name="example.test", kind=kind, status=DnsStatus.FOUND if records else DnsStatus.NO_DATA, records=records)

    return DnsView(
        host="example.test",
        port=25,
        a=answer("A", "192.0.2.1"),
        aaaa=answer("AAAA"),
        mx=answer("MX", "0 example.test.", "10 a.mx.example.test."),
        tlsa=answer("TLSA"),
        domain="example.test",
        sts=answer("TXT", *records),
        policy=Document(url="https://mta-sts.example.test/.well-known/mta-sts.txt", body=policy, why=why),
    )


POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: example.test\r\nmx: *.mx.example.test\r\nmax_age: 86400\r\n"


@pytest.mark.parametrize(
    ("view", "severity", "words"),
    [
        (view_of(POLICY, "v=STSv1; id=1;"), Severity.OK, "has a policy"),
        # RFC 8461 section 4.1: the star stands for one label, no more and no fewer
        (view_of(POLICY.replace(b"*.mx", b"*"), "v=STSv1; id=1;"), Severity.WARNING, "does not name all"),
        (view_of(POLICY.replace(b"*.mx", b"*.a.mx"), "v=STSv1; id=1;"), Severity.WARNING, "does not name all"),
        (view_of(POLICY.replace(b"enforce", b"none"), "v=STSv1; id=1;"), Severity.OK, "has a policy"),
        (view_of(POLICY.replace(b"enforce", b"perhaps"), "v=STSv1; id=1;"), Severity.WARNING, "promises a policy"),
        (view_of(POLICY.replace(b"STSv1", b"STSv2"), "v=STSv1; id=1;"), Severity.WARNING, "promises a policy"),
        (view_of(b"\xff\x00\x1b[31m: <html>", "v=STSv1; id=1;"), Severity.WARNING, "promises a policy"),
        # section 3.2: max_age is a must, and of what is said twice the first counts
        (view_of(POLICY.replace(b"max_age", b"age"), "v=STSv1; id=1;"), Severity.WARNING, "promises a policy"),
        (view_of(POLICY + b"mode: perhaps\r\n", "v=STSv1; id=1;"), Severity.OK, "has a policy"),
        (view_of(None, "v=STSv1; id=1;"), Severity.WARNING, "promises a policy"),
        (view_of(POLICY, "v=STSv1; id=1;", "v=STSv1; id=2;"), Severity.WARNING, "several TXT records"),
    ],
)
def test_what_follows_from_an_mta_sts_policy(view, severity, words):
    (finding,) = judge_dns(view)
    assert finding.severity is severity
    assert words in finding.title
    assert not any(ord(letter) < 32 for text in finding.evidence for letter in text)


def test_another_text_record_is_no_policy():
    assert judge_dns(view_of(None, "v=spf1 -all")) == ()
