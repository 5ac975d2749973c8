"""The table of mail services: every entry has its shape and its evidence, and is found by what gives it away."""

from __future__ import annotations

import re
from datetime import date

import pytest

from kit.fields import check_host
from kit.knowledge.load import load_table
from kit.knowledge.providers import find_provider, find_provider_by_host, find_provider_by_mx, providers
from kit.model import Security
from kit.profiles import resolve_target

MECHANISMS = {"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER"}
# Services whose page stands on another domain than their server.
SITES = {
    "smtp.gmail.com": "google.com",
    "smtp.mail.me.com": "apple.com",
    "smtp.office365.com": "microsoft.com",
    "smtp-mail.outlook.com": "microsoft.com",
    "securesmtp.t-online.de": "telekom.de",
    "smtp.protonmail.ch": "proton.me",
    "smtppro.zoho.eu": "zoho.com",
    "smtppro.zoho.in": "zoho.com",
    "ssl0.ovh.net": "github.com/ovh/",  # its guides are kept there
    "secure.emailsrvr.com": "github.com/rackerlabs/",
    "email-smtp.us-east-1.amazonaws.com": "aws.amazon.com",
    "smtp.sendgrid.net": "twilio.com",
    "smtp.mailgun.org": "mailgun.com",
}
# MX records as these services tell their customers to set them.
MX = {
    "aspmx.l.google.com": "smtp.gmail.com",
    "alt1.aspmx.l.google.com": "smtp.gmail.com",
    "smtp.google.com": "smtp.gmail.com",
    "contoso-com.mail.protection.outlook.com": "smtp.office365.com",
    "contoso-com.a-v1.mx.microsoft": "smtp.office365.com",
    "mx01.mail.icloud.com": "smtp.mail.me.com",
    "in1-smtp.messagingengine.com": "smtp.fastmail.com",
    "mailsec.protonmail.ch": "smtp.protonmail.ch",
    "mx.zoho.com": "smtppro.zoho.com",
    "mx2.zoho.eu": "smtppro.zoho.eu",
    "mx.yandex.net": "smtp.yandex.com",
    "mxbiz1.qq.com": "smtp.exmail.qq.com",
    "mx00.ionos.de": "smtp.ionos.de",
    "mx00.kundenserver.de": "smtp.ionos.de",
    "smtpin.rzone.de": "smtp.strato.de",
    "mx1.mail.ovh.net": "ssl0.ovh.net",
    "mta-gw.infomaniak.ch": "mail.infomaniak.com",
    "mx1.emailsrvr.com": "secure.emailsrvr.com",
    "aspmx1.migadu.com": "smtp.migadu.com",
    "mxext1.mailbox.org": "smtp.mailbox.org",
}


@pytest.mark.parametrize("provider", providers(), ids=lambda provider: provider.name)
def test_an_entry_has_its_shape_and_its_evidence(provider):
    for host in (provider.host, *(name for name in provider.other_hosts if name[0] != ".")):
        assert check_host(host) == host
        assert find_provider_by_host(host.upper()) is provider
    assert provider.ports
    for port, security in provider.ports:
        # RFC 8314: TLS from the start on 465; everywhere else STARTTLS, for nothing in clear stands in the table.
        assert security is (Security.TLS if port in (465, 2465, 8465, 443) else Security.STARTTLS)
    assert provider.mechanisms
    assert set(provider.mechanisms) <= MECHANISMS
    assert provider.password
    assert provider.password[0].islower()  # it goes on after “wants”
    assert not re.search(r"[.\n]$", provider.password)
    for source, checked, second_hand in ((each.source, each.checked, each.second_hand) for each in (provider, provider.limits) if each):
        assert second_hand or _is_its_own(provider, source)
        assert checked is not None or not second_hand
        assert checked is None or date(2026, 11, 1) <= checked <= date(2027, 12, 31)


def _is_its_own(provider, source):
    scheme, _, page = source.partition("https://")
    assert not scheme
    site = SITES.get(provider.host, ".".join(provider.host.split(".")[-2:]))
    return page.startswith(site) if "/" in site else page.split("/")[0].endswith(site)


def test_what_a_service_takes_is_a_number_of_its_own():
    limits = [each.limits for each in providers() if each.limits]
    assert len(limits) >= 9
    for each in limits:
        rates = [rate for rate in (each.per_minute, each.per_hour, each.per_day) if rate is not None]
        assert all(number > 0 for number in (*rates, each.connections or 1, each.recipients or 1))
        assert rates == sorted(rates)  # more a day than an hour, more an hour than a minute
        assert rates or each.connections


def test_the_limits_of_microsoft_are_those_of_its_page():
    # “SMTP submission improvements”: three connections at once, 30 messages a minute, 10,000 recipients a day.
    limits = find_provider_by_host("smtp.office365.com").limits
    assert (limits.per_minute, limits.per_hour, limits.per_day, limits.connections) == (30, None, 10_000, 3)


def test_what_the_service_itself_did_not_say_is_named_so():
    by_name = {each.name: each for each in providers()}
    assert by_name["Fastmail"].evidence == by_name["Fastmail"].source
    for name in ("GMX", "IONOS (Germany)"):  # somebody else's page, and none
        assert by_name[name].evidence == f"not verified at the service itself; see {by_name[name].source}"
    assert sum(each.evidence == each.source for each in providers()) >= 14


@pytest.mark.parametrize(("provider", "domain"), [(each, domain) for each in providers() for domain in each.domains], ids=str)
def test_an_address_leads_to_its_service(provider, domain):
    address = f"ann@{'contoso' if domain.startswith('.') else ''}{domain}"
    assert find_provider(address) is provider
    profile = resolve_target(address)
    assert (profile.host, profile.port, profile.security) == (provider.host, *provider.ports[0])


@pytest.mark.parametrize(("mx", "host"), MX.items())
def test_a_mail_server_leads_to_its_service(mx, host):
    assert find_provider_by_mx(mx.upper()).host == host


def test_the_table_knows_at_least_twenty_five_services():
    assert len({provider.name for provider in providers()}) == len(load_table("providers")["provider"]) >= 25


@pytest.mark.parametrize("kind", ["domains", "mx"])
def test_nothing_stands_for_two_services(kind):
    names = [name for provider in providers() for name in getattr(provider, kind)]
    assert len(names) == len(set(names))
    assert all(name == name.lower() for name in names)


def test_a_name_that_only_looks_alike_is_not_taken():
    assert find_provider("ann@notgmail.com") is None
    assert find_provider_by_mx("mail.protection.outlook.com.example") is None
    assert find_provider_by_host("smtp.gmail.com.example") is None
