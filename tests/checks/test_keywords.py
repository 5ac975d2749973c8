"""What a look around makes of ports, families and answers to EHLO, against raw servers that stand in for a host's ports."""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from kit.checks import handshake as handshake_module
from kit.checks import survey as survey_module
from kit.checks.keywords import judge_keywords
from kit.checks.survey import USUAL, survey
from kit.knowledge.findings import found
from kit.knowledge.load import load_table
from kit.model import Probe, Profile, Reply, Security, Severity, Step
from kit.sending.session import Break, Broken
from kit.sending.transport import connect
from tests.live.check_servers import make_pki, serve, smtp

HOST, V4, V6 = "mail.example.test", "192.0.2.1", "2001:db8::1"
# What Postfix 3.7 says on its submission port with the settings of its own; a server as most are.
ORDINARY = (
    "PIPELINING",
    "SIZE 10240000",
    "VRFY",
    "ETRN",
    "AUTH PLAIN LOGIN",
    "ENHANCEDSTATUSCODES",
    "8BITMIME",
    "DSN",
    "SMTPUTF8",
    "CHUNKING",
)


@pytest.fixture
def pki(tmp_path):
    return make_pki(tmp_path)


def hello(*keywords: str) -> bytes:
    lines = (HOST, *keywords)
    return b"".join(f"250{' ' if each == lines[-1] else '-'}{each}\r\n".encode() for each in lines)


def ordinary(tls, *, before=ORDINARY, after=ORDINARY, **more):
    """An SMTP server with STARTTLS that answers so."""
    return smtp({b"EHLO": [hello(*before, "STARTTLS"), hello(*after)]}, tls=tls, **more)


@asynccontextmanager
async def host(monkeypatch, servers, *, silent=(), name=HOST):
    """`survey` finds `servers` at these addresses and ports of `name`; the `silent` ones drop what comes, and all others refuse it."""
    async with AsyncExitStack() as stack:
        ports = {place: (await stack.enter_async_context(serve(handler, tls=tls))).port for place, (handler, tls) in servers.items()}

        async def addresses(profile):
            hosts = dict.fromkeys(address for address, _ in (*servers, *silent))
            return [
                survey_module.Address(family=socket.AF_INET6 if ":" in each else socket.AF_INET, host=each, port=profile.port)
                for each in hosts
            ]

        async def here(address, profile, context):
            place = (address.host, address.port)
            if place not in ports:
                why = Break.NO_ANSWER if place in silent else Break.REFUSED
                raise Broken(why, f"{address.host}: {'no answer' if place in silent else 'Connection refused'}")
            wire = await connect(replace(address, family=socket.AF_INET, host="127.0.0.1", port=ports[place]), profile, context)
            wire.address = address.host
            return wire

        async def no_dns(_):
            return None

        monkeypatch.setattr(survey_module, "resolve", addresses)
        monkeypatch.setattr(survey_module, "connect", here)
        monkeypatch.setattr(handshake_module, "connect", here)
        monkeypatch.setattr(survey_module, "_look_up", no_dns)

        async def look(port=587, security=Security.STARTTLS, *, others=USUAL, ca_file=None):
            profile = Profile(host=name, port=port, security=security, timeout=2, ca_file=ca_file)
            around = await survey(profile, others=others)
            return [each for each in around.findings if each.severity is not Severity.OK]

        yield look


def named(name: str, port: int = 587, host: str = HOST) -> str:
    return found(name, Profile(host=host, port=port, security=Security.STARTTLS)).title


def titles(findings) -> list[str]:
    return [each.title for each in findings]


# --- ports ---------------------------------------------------------------------------------------------------------------


async def test_an_ordinary_host_gives_no_reason_for_a_word(monkeypatch, pki):
    tls = pki.server(HOST)
    at_once = (smtp({b"EHLO": hello(*ORDINARY)}), tls)
    servers = {(each, port): at_once if port == 465 else (ordinary(tls), None) for each in (V4, V6) for port in (465, 587, 25, 2525)}
    async with host(monkeypatch, servers) as look:
        assert titles(await look(ca_file=pki.ca_file)) == []


async def test_587_is_open_and_465_is_not_and_this_network_blocks_25(monkeypatch, pki):
    async with host(monkeypatch, {(V4, 587): (ordinary(pki.server(HOST)), None)}, silent=[(V4, 25)]) as look:
        findings = await look(ca_file=pki.ca_file)
    assert titles(findings) == [named("only-587"), named("blocked-25")]
    assert findings[0].evidence == (f"port 465 over IPv4: {V4}: Connection refused",)
    assert findings[1].evidence == (f"port 25 over IPv4: {V4}: no answer",)


@pytest.mark.parametrize(
    ("binder", "port", "others", "expected"),
    [
        (True, 587, USUAL, ["binder-no-mail"]),
        (True, 587, (), ["binder-no-mail"]),
        (True, 2526, (), []),  # the sandbox's own ports are of such numbers, and it can be reached there
        (False, 587, USUAL, ["no-port-answers"]),
        (False, 587, (), []),  # the check itself says so
    ],
)
async def test_a_binder_session_cannot_reach_mail_ports(monkeypatch, binder, port, others, expected):
    if binder:
        monkeypatch.setenv("BINDER_REPO_URL", "https://example.test/kit")
    async with host(monkeypatch, {}, silent=[(V4, each) for each in (25, 465, 587, 2525, 2526)]) as look:
        assert titles(await look(port, others=others)) == [named(each) for each in expected]


# --- what is done to an answer on its way -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("banner", "keywords"),
    [
        (b"220 mail.example.test ESMTP\r\n", ("PIPELINING", "XXXXXXXA", "AUTH PLAIN")),  # Cisco's way with STARTTLS
        (b"220 *******************************\r\n", ("PIPELINING", "AUTH PLAIN")),
    ],
)
async def test_starttls_was_rewritten(monkeypatch, banner, keywords):
    handler = smtp({b"EHLO": hello(*keywords)}, banner=banner)
    async with host(monkeypatch, {(V4, 587): (handler, None)}) as look:
        assert titles(await look(others=())) == [named("rewritten")]


@pytest.mark.parametrize(
    ("name", "keywords", "expected"),
    [
        ("smtp.gmail.com", ORDINARY, ["starttls-stripped"]),
        ("smtp.gmail.com", (), ["starttls-stripped"]),
        ("smtp.gmail.com", (*ORDINARY, "STARTTLS"), []),
        (HOST, ORDINARY, []),  # it may never have offered any
    ],
)
async def test_starttls_was_stripped_from_the_answer_of_a_service_that_is_known(monkeypatch, name, keywords, expected):
    handler = (smtp({b"EHLO": hello(*keywords), b"STARTTLS": b"454 later\r\n"}), None)
    async with host(monkeypatch, {(V4, port): handler for port in (587, 2526)}, name=name) as look:
        assert titles(await look(others=())) == [named(each, host=name) for each in expected]
        assert titles(await look(2526, others=())) == []  # nobody says that the service is to be found there


# --- families ------------------------------------------------------------------------------------------------------------------


async def test_starttls_over_ipv4_and_not_over_ipv6(monkeypatch, pki):
    # A server does not offer STARTTLS again inside TLS (RFC 3207 section 4.2), so only the first answers can be compared.
    servers = {(V4, 587): (ordinary(pki.server(HOST)), None), (V6, 587): (smtp({b"EHLO": hello(*ORDINARY)}), None)}
    async with host(monkeypatch, servers) as look:
        (finding,) = await look(others=(), ca_file=pki.ca_file)
    assert finding.title == named("families-differ")
    assert finding.evidence == ("STARTTLS: offered over IPv4, not over IPv6", f"over IPv6: {named('no-starttls')}")


async def test_another_certificate_over_ipv6(monkeypatch, pki):
    servers = {(V4, 587): (ordinary(pki.server(HOST)), None), (V6, 587): (ordinary(pki.server(HOST, days=-1)), None)}
    async with host(monkeypatch, servers) as look:
        (finding,) = await look(others=(), ca_file=pki.ca_file)
    assert finding.title == named("families-differ")
    (line,) = finding.evidence
    assert re.fullmatch("over IPv6: The server's certificate is out of date.*", line)


@pytest.mark.parametrize(("more", "less"), [("IPv4", "IPv6"), ("IPv6", "IPv4")])
async def test_other_words_over_the_other_family(monkeypatch, pki, more, less):
    servers = {V4 if less == "IPv4" else V6: [each for each in ORDINARY if each != "SMTPUTF8"], V4 if more == "IPv4" else V6: ORDINARY}
    tls = pki.server(HOST)
    handlers = {(address, 587): (ordinary(tls, before=words, after=words), None) for address, words in servers.items()}
    async with host(monkeypatch, handlers) as look:
        findings = await look(others=(), ca_file=pki.ca_file)
    assert [each.evidence for each in findings] == [(f"SMTPUTF8: offered over {more}, not over {less}",)]


# --- words ---------------------------------------------------------------------------------------------------------------------


async def test_what_is_offered_before_tls_and_not_after(monkeypatch, pki):
    less = [each for each in ORDINARY if each not in ("PIPELINING", "CHUNKING", "VRFY")]
    async with host(monkeypatch, {(V4, 587): (ordinary(pki.server(HOST), after=less), None)}) as look:
        (finding,) = await look(others=(), ca_file=pki.ca_file)
    assert (finding.title, finding.severity) == (named("keyword-lost"), Severity.NOTE)
    assert finding.evidence == ("port 587, before TLS and not after: PIPELINING CHUNKING",)


def answered(*lines: str) -> list[str]:
    """The titles for a port where EHLO is answered so."""
    step = Step(name="ehlo", seconds=0.1, ok=True, reply=Reply(code=250, lines=(HOST, *lines)))
    probe = Probe(
        port=465,
        security=Security.TLS,
        family="IPv4",
        address=V4,
        seconds=0.1,
        connected=True,
        tls="TLSv1.3",
        clear=(),
        mechanisms=("PLAIN",),
        extensions=(),
        steps=(step,),
        problem=None,
    )
    return titles(judge_keywords(Profile(host=HOST, port=465, security=Security.TLS), (probe,)))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # RFC 1870 section 4: bytes; 0 is no limit, no number is no word about it
        ("SIZE 1048576", ["size-small"]),
        ("size 4999999", ["size-small"]),
        ("SIZE 5000000", []),
        ("SIZE 35882577", []),
        ("SIZE 0", ["size-none"]),
        ("SIZE", []),
        ("SIZE big", []),
        ("SIZE " + "9" * 400, []),
        # RFC 9422 section 4; RFC 5321 section 4.5.3.1.8 asks every server for 100 recipients
        ("LIMITS RCPTMAX=99", ["limit-recipients"]),
        ("LIMITS MAILMAX=1000 RCPTMAX=50000", []),
        ("LIMITS MAILMAX=1 RCPTMAX=100", ["limit-mails"]),
        ("LIMITS RCPTDOMAINMAX=1", ["limit-domains"]),
        ("LIMITS XRCPTMAX=1", []),
        ("LIMITS", []),
        ("XCLIENT NAME ADDR PROTO HELO", []),
    ],
)
def test_a_line_that_tells_something(line, expected):
    assert answered(*ORDINARY[:1], line) == [named(each) for each in expected]


def test_what_is_said_a_thousand_times_is_told_once():
    assert answered(*["SIZE 1", "LIMITS " + "x " * 250] * 1000) == [named("size-small")]


def test_every_rule_has_an_example_that_fits():
    for rule in load_table("keywords")["rule"]:
        assert named(rule["finding"]) in answered(rule["example"]), rule


@pytest.mark.needs("postfix", "dovecot", "syslog")
@pytest.mark.parametrize("kind", ["submission", "submissions", "dovecot_submission"])
async def test_real_servers_give_no_reason_for_a_word(postfix_dovecot, kind):
    security = Security.TLS if kind == "submissions" else Security.STARTTLS
    port = getattr(postfix_dovecot, f"{kind}_port")
    profile = Profile(host=postfix_dovecot.host, port=port, security=security, ca_file=postfix_dovecot.ca_file, timeout=5)
    async with asyncio.timeout(20):
        around = await survey(profile)
    assert around.probes[0].problem is None
    assert list(judge_keywords(profile, around.probes)) == []
