"""From an address to a server: against a real name server and a real web server, and what the kit makes of what they say."""

from __future__ import annotations

import pytest

from kit.checks.candidates import Candidate, Discovery, Source, Told, judge
from kit.checks.discovery import discover, read_autoconfig
from kit.errors import UsageError
from kit.model import Security, Severity

needs_unbound = pytest.mark.needs("unbound")

TLS, STARTTLS, NONE = Security.TLS, Security.STARTTLS, Security.NONE


def names(found: Discovery) -> list[str]:
    """The findings by the beginning of their titles."""
    return [" ".join(finding.title.split()[:4]) for finding in found.findings]


def told(found: Discovery, source: Source) -> Told:
    (one,) = (each for each in found.told if each.source is source)
    return one


@pytest.fixture
def discovered(nameserver, site):
    return lambda target, **options: discover(target, **({"nameserver": nameserver, "timeout": 4} | options))


# --- each source --------------------------------------------------------------------------------------------------


@needs_unbound
@pytest.mark.parametrize(
    ("target", "source", "expected"),
    [
        ("ann@srv.found.test", Source.SRV, ("mail.srv.found.test", 465, TLS)),
        ("srv.found.test", Source.SRV, ("mail.srv.found.test", 465, TLS)),
        ("ann@rather-starttls.found.test", Source.SRV, ("mail.rather-starttls.found.test", 587, STARTTLS)),  # RFC 2782: its lower priority
        ("ann@auto.found.test", Source.AUTOCONFIG, ("smtp.auto.found.test", 465, TLS)),  # RFC 8314 section 3.3 prefers implicit TLS
        ("ann@known.found.test", Source.AUTOCONFIG, ("smtp.known.found.test", 587, STARTTLS)),
        ("ann@hosted.found.test", Source.MX, ("smtp.office365.com", 587, STARTTLS)),
        ("ann@fast.found.test", Source.SRV, ("smtp.fastmail.com", 465, TLS)),
        ("ann@far.found.test", Source.SRV, ("smtp.elsewhere.test", 465, TLS)),
        ("ann@disagree.found.test", Source.AUTOCONFIG, ("new.disagree.found.test", 465, TLS)),
        ("ann@closed-but.found.test", Source.AUTOCONFIG, ("smtp.closed-but.found.test", 465, TLS)),
    ],
)
async def test_the_server_to_use_and_who_named_it(discovered, target, source, expected):
    found = await discovered(target)
    assert (found.chosen.host, found.chosen.port, found.chosen.security) == expected
    assert found.chosen.source is source
    assert found.chosen.host in found.reason
    assert source in found.reason
    profile = found.profile()
    assert (profile.host, profile.port, profile.security) == expected
    assert [each.source for each in found.told] == list(Source)
    assert all(each.why for each in found.told)


@needs_unbound
@pytest.mark.parametrize(
    ("target", "source", "why"),
    [
        (
            "ann@closed.found.test",
            Source.SRV,
            "_submissions._tcp.closed.found.test: not offered; _submission._tcp.closed.found.test: not offered",
        ),
        ("ann@own.found.test", Source.SRV, "_submissions._tcp.own.found.test: no such name"),
        ("ann@own.found.test", Source.DOMAIN, "does not know this domain"),
        ("ann@own.found.test", Source.MX, "goes to mx.own.found.test, of no service that the kit knows"),
        ("ann@own.found.test", Source.AUTOCONFIG, "autoconfig.own.found.test has no address (no such name)"),
        ("ann@own.found.test", Source.ISPDB, "not asked"),
        ("ann@nomail.found.test", Source.MX, "takes no mail"),
        ("ann@nobody.found.test", Source.MX, "no such name"),
        ("ann@mail.silent.test", Source.MX, "no name server answered"),
        ("ann@bomb.found.test", Source.AUTOCONFIG, "not the XML of an autoconfig document"),
        ("ann@outside.found.test", Source.AUTOCONFIG, "not the XML of an autoconfig document"),
        ("ann@deep.found.test", Source.AUTOCONFIG, "not the XML of an autoconfig document"),
        ("ann@html.found.test", Source.AUTOCONFIG, "not the XML of an autoconfig document"),
        ("ann@endless.found.test", Source.AUTOCONFIG, "more than 256 kB"),
    ],
)
async def test_why_a_source_gave_nothing(discovered, target, source, why):
    found = await discovered(target, timeout=1)
    one = told(found, source)
    assert one.candidates == ()
    assert why in one.why
    assert one.why.isprintable()
    assert found.chosen is None
    with pytest.raises(UsageError, match=f"kit check HOST --user {target}") as refused:
        found.profile()
    assert told(found, Source.MX).why in str(refused.value)


# --- the web server -----------------------------------------------------------------------------------------------


@needs_unbound
async def test_the_domain_is_asked_for_the_address_and_in_this_order(discovered, site):
    await discovered("ann+box@known.found.test")
    assert site.asked == ["known.found.test/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=ann%2Bbox%40known.found.test"]
    site.asked.clear()
    await discovered("auto.found.test")
    assert site.asked == ["autoconfig.auto.found.test/mail/config-v1.1.xml"]


@needs_unbound
async def test_a_third_party_is_asked_only_where_that_was_said(discovered, site):
    assert (await discovered("ann@listed.found.test")).chosen is None
    assert site.asked == []
    found = await discovered("ann@listed.found.test", ask_third_parties=True)
    assert site.asked == ["autoconfig.thunderbird.net/v1.1/listed.found.test"]  # the domain, not the address
    assert (found.chosen.host, found.chosen.source) == ("smtp.listed.test", Source.ISPDB)


@needs_unbound
async def test_what_the_document_says_of_the_sign_in(discovered):
    found = await discovered("ann@known.found.test")
    assert found.chosen.mechanisms == ("XOAUTH2", "OAUTHBEARER", "PLAIN", "LOGIN")
    assert found.profile().user == "ann"
    assert found.profile(user="bob", port=465).user == "bob"
    assert (await discovered("known.found.test")).profile().user is None
    assert (await discovered("ann@auto.found.test")).profile().user == "ann@auto.found.test"


@needs_unbound
async def test_a_hostile_document_gives_what_is_right_in_it_and_no_more(discovered):
    candidates = told(await discovered("ann@evil.found.test"), Source.AUTOCONFIG).candidates
    # the first of the good ones has a control character in its user, all others before them something worse
    assert [each.host for each in candidates] == [f"good{n}.evil.found.test" for n in range(1, 9)]
    assert {each.mechanisms for each in candidates} == {("PLAIN", "LOGIN")}


@pytest.mark.parametrize(
    "body", [b"", b"\x00", b"<x/>", b"<?xml version='1.0' encoding='utf-99'?><x/>", b"\xff\xfe<\x00", b"<a" + b" b='c'" * 9]
)
def test_a_document_that_is_none(body):
    with pytest.raises(ValueError, match=r"autoconfig|names no SMTP server"):
        read_autoconfig(body, Source.AUTOCONFIG, address=None, domain="example.test")


# --- what is odd about it -----------------------------------------------------------------------------------------


@needs_unbound
@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("ann@srv.found.test", []),
        ("ann@auto.found.test", []),
        ("ann@fast.found.test", []),  # outside of the domain, but a service that the kit knows
        ("ann@far.found.test", ["Only an unprotected DNS"]),  # RFC 6186 section 6
        ("ann@signed.test", []),  # outside too, and DNSSEC vouches for it
        ("ann@disagree.found.test", ["The sources name different"]),
        ("ann@closed-but.found.test", ["The domain's SRV records"]),
        ("ann@clear.found.test", ["A source names a"]),
        ("ann@gmail.com", []),
    ],
)
async def test_findings(discovered, target, expected):
    found = await discovered(target)
    assert names(found) == expected
    assert {finding.severity for finding in found.findings} <= {Severity.WARNING}


@needs_unbound
async def test_a_server_in_clear_is_never_the_one_to_use(discovered):
    found = await discovered("ann@clear.found.test")
    assert told(found, Source.AUTOCONFIG).candidates[0].security is NONE
    assert found.chosen is None


@needs_unbound
async def test_where_they_disagree_both_are_shown(discovered):
    (finding,) = (await discovered("ann@disagree.found.test")).findings
    assert any("new.disagree.found.test:465" in line for line in finding.evidence)
    assert any("old.disagree.found.test:465" in line for line in finding.evidence)


def says(source: Source, *servers: tuple[str, int, Security]) -> Told:
    return Told(
        source=source,
        why="",
        candidates=tuple(Candidate(source=source, host=host, port=port, security=kind) for host, port, kind in servers),
    )


@pytest.mark.parametrize(
    ("servers", "disagree"),
    [
        ([("mail.example.test", 465, TLS)], False),
        ([("mail.example.test", 587, STARTTLS)], False),  # another door of the same house
        ([("mail.example.test", 465, STARTTLS)], True),
        ([("other.example.test", 465, TLS)], True),
        ([("other.example.test", 465, TLS), ("mail.example.test", 587, STARTTLS)], False),
    ],
)
def test_what_counts_as_a_disagreement(servers, disagree):
    found = judge("example.test", "example.test", (says(Source.AUTOCONFIG, ("mail.example.test", 465, TLS)), says(Source.SRV, *servers)))
    assert bool(found.findings) is disagree
    assert ("agree" in found.reason) is not disagree


def test_where_mail_arrives_is_only_a_hint():
    own, elsewhere = says(Source.SRV, ("mail.example.test", 465, TLS)), says(Source.MX, ("smtp.office365.com", 587, STARTTLS))
    found = judge("example.test", "example.test", (own, elsewhere))
    assert (found.chosen.host, found.findings) == ("mail.example.test", ())


@needs_unbound
@pytest.mark.parametrize("target", ["", "@", "ann@", "ann@exa mple.test", "192.0.2.1.", "ann@[192.0.2.1]", "ann\x1b@example.test", "-x"])
async def test_what_is_no_target(discovered, target):
    with pytest.raises(UsageError):
        await discovered(target)
