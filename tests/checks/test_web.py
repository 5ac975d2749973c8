"""Documents by HTTPS from a real server: what is fetched, and where the kit does not go."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from kit.checks import web as web_module
from kit.checks.dns import probe_dns
from kit.checks.policies import judge_dns
from kit.checks.web import LARGEST, fetch, is_public
from kit.model import Severity
from tests.checks.conftest import WebSite

pytestmark = pytest.mark.needs("unbound")


@pytest.fixture
def fetched(nameserver, site: WebSite):
    return lambda url, **options: fetch(url, **({"timeout": 5, "nameserver": nameserver} | options))


async def test_a_document_comes_from_the_name_that_was_asked(fetched, site):
    document = await fetched("https://docs.web.test/good?a=b")
    assert (document.body, document.url) == (b"good", "https://docs.web.test/good?a=b")
    assert site.asked == ["docs.web.test/good?a=b"]  # which the system's own name server does not even know: nothing is looked up twice


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://docs.web.test/missing", "docs.web.test answers 404"),
        ("https://docs.web.test/twice", None),
        ("https://docs.web.test/thrice", None),
        ("https://docs.web.test/four-times", "it redirects once more"),
        ("https://docs.web.test/for-ever", "it redirects once more"),
        ("https://docs.web.test/to-http", "is no plain https:// address"),
        ("https://docs.web.test/to-port", "is no plain https:// address"),
        ("https://docs.web.test/to-user", "is no plain https:// address"),
        ("https://docs.web.test/to-file", "is no plain https:// address"),
        ("https://docs.web.test/to-metadata", "169.254.169.254, which is no public address"),
        ("https://docs.web.test/to-loopback", "127.0.0.2, which is no public address"),
        ("https://docs.web.test/to-v6", "::1, which is no public address"),
        ("https://docs.web.test/to-inside", "inside.web.test is at 10.0.0.5, which is no public address"),
        ("https://docs.web.test/to-mixed", "mixed.web.test is at 192.168.0.1, which is no public address"),
        ("https://docs.web.test/to-number", "2130706434” is no host"),  # 127.0.0.2 as one number, which some resolvers take
        ("https://docs.web.test/endless", "more than 256 kB"),
        ("https://docs.web.test/endless-headers", "too long"),
        ("https://inside.web.test/", "inside.web.test is at 10.0.0.5"),
        ("https://nobody.web.test/", "nobody.web.test has no address (no such name)"),
        ("https://wrong.web.test/good", "certificate verify failed"),  # its certificate is for another name
        ("https://docs.web.test/no-http", ""),
    ],
)
async def test_where_it_does_not_go(fetched, site, url, why):
    document = await fetched(url)
    if why is None:
        assert document.body == b"good"
        return
    assert document.body is None
    assert why in document.why
    assert document.why
    assert document.why.isprintable()
    assert len(document.why) <= 300


async def test_a_slow_server_is_given_up_in_time(fetched):
    begun = time.monotonic()
    document = await fetched("https://docs.web.test/slow", timeout=0.5)
    assert (document.body, document.why) == (None, "not complete within 0.5 s")
    assert time.monotonic() - begun < 1.5


async def test_what_is_too_large_is_not_kept(fetched):
    await fetched("https://docs.web.test/good")
    tracemalloc.start()
    document = await fetched("https://docs.web.test/endless")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert document.body is None
    assert most < 8 * LARGEST  # what the test's own server holds is in it


async def test_packed_bytes_are_not_unpacked(fetched):
    document = await fetched("https://docs.web.test/packed")
    assert document.body is not None
    assert len(document.body) < 2000  # a megabyte of zeros, as it came


@pytest.mark.parametrize(
    ("address", "public"),
    [
        # RFC 6890's registries of special-purpose addresses, and the ways to write one of them inside IPv6
        ("192.0.2.1", False),
        ("8.8.8.8", True),
        ("10.0.0.5", False),
        ("100.64.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("2001:4860:4860::8888", True),
        ("::ffff:10.0.0.5", False),
        ("::ffff:8.8.8.8", True),
        ("2002:a00:5::1", False),  # 6to4 of 10.0.0.5
        ("64:ff9b::a00:5", False),  # NAT64 of 10.0.0.5
        ("64:ff9b::808:808", True),
    ],
)
def test_what_counts_as_public(address, public):
    assert is_public(address) is public


# --- MTA-STS, which is fetched so ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "severity", "words"),
    [
        ("sts.web.test", Severity.OK, "has a policy"),
        ("sts-redirects.web.test", Severity.WARNING, "none that counts can be fetched"),  # RFC 8461 section 3.3
        ("sts-missing.web.test", Severity.WARNING, "none that counts can be fetched"),
    ],
)
async def test_the_policy_of_mta_sts(nameserver, site, host, severity, words):
    (finding,) = judge_dns(await probe_dns(host, 25, nameserver=nameserver))
    assert finding.severity is severity
    assert words in finding.title


@pytest.mark.parametrize(
    ("host", "severity", "title"),
    [
        ("mx.below.web.test", Severity.OK, "MTA-STS: below.web.test has a policy for servers that send mail to it"),
        ("backup.below.web.test", Severity.WARNING, "MTA-STS: the policy of below.web.test does not name all its mail servers"),
    ],
)
async def test_a_mail_server_is_judged_by_the_policy_of_the_domain_whose_mail_it_takes(nameserver, site, host, severity, title):
    (finding,) = judge_dns(await probe_dns(host, 25, nameserver=nameserver))
    assert (finding.severity, finding.title) == (severity, title)
    assert (f"not in the policy: {host}" in finding.evidence) is (severity is Severity.WARNING)


async def test_a_host_that_takes_no_mail_of_the_domain_above_is_not_judged_by_its_policy(nameserver, site):
    view = await probe_dns("shop.below.web.test", 25, nameserver=nameserver)
    assert (view.domain, judge_dns(view), site.asked) == ("shop.below.web.test", (), [])


async def test_mta_sts_is_not_asked_where_it_does_not_apply(nameserver, site):
    view = await probe_dns("sts.web.test", 587, nameserver=nameserver)
    assert (view.sts, view.policy, site.asked) == (None, None, [])


def test_the_port_is_that_of_https():
    assert web_module.PORT == 443
