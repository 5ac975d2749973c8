"""What pasted headers say. Vectors are reasoned from the RFCs that they name, and in the forms that the big receivers write."""

from __future__ import annotations

import asyncio
import json
import re
import time
import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

import kit
from kit.cli import main
from kit.model import Attempt, Cause, Outcome, Profile, Security, SendResult, Severity, to_plain
from kit.sending.headers import LIMIT, is_headers
from kit.sending.received import read_received
from kit.widgets.results import received_html
from tests.servers.opensmtpd import ADDRESS, PASSWORD, USER, opensmtpd

TABLE = tomllib.loads((Path(kit.__file__).parent / "knowledge/received.toml").read_text("utf-8"))

# Handed in to Postfix, on to Gmail, in its inner ways to the mailbox.
GMAIL = """\
Delivered-To: bob@example.net
Received: by 2002:a05:6402:1234:b0:5c9:4d31:2345 with SMTP id k11csp1234567edc;
        Tue, 24 Nov 2026 02:00:09 -0800 (PST)
Return-Path: <anna@example.com>
Received: from mail.example.com (mail.example.com. [192.0.2.10])
        by mx.google.com with ESMTPS id a1-20020a17si123.45.2026.11.24.02.00.08
        for <bob@example.net>
        (version=TLS1_3 cipher=TLS_AES_256_GCM_SHA384 bits=256/256);
        Tue, 24 Nov 2026 02:00:08 -0800 (PST)
Authentication-Results: mx.google.com;
       dkim=pass header.i=@example.com header.s=sel header.b="abc/+D1";
       spf=pass (google.com: domain of anna@example.com designates 192.0.2.10 as permitted sender) smtp.mailfrom=anna@example.com;
       dmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from=example.com
Received: from [192.0.2.5] (laptop.example.com [192.0.2.5])
\t(using TLSv1.2 with cipher ECDHE-RSA-AES256-GCM-SHA384 (256/256 bits)
\t key-exchange X25519 server-signature RSA-PSS (2048 bits))
\t(No client certificate requested)
\tby mail.example.com (Postfix) with ESMTPSA id 4XyZ11
\tfor <bob@example.net>; Tue, 24 Nov 2026 11:00:05 +0100 (CET)
From: "Anna <of> Example" <anna@example.com>
To: bob@example.net
Subject: A test [0123456789ab]
Message-ID: <17.1.2.0123456789ab@example.com>
X-Kit-Trace: 0123456789ab
"""


def received(*fields: str, sender: str = "anna@example.com") -> str:
    return "".join(f"{field}\r\n" for field in (*fields, f"From: {sender}")) + "\r\nbody\r\n"


def hop(seconds: int, *, by: str = "mx.example.net", how: str = "ESMTPS") -> str:
    stamp = datetime.fromtimestamp(1795514400 + seconds, UTC)
    return f"Received: from a.example.com (a.example.com [192.0.2.1]) by {by} with {how} id 1; {stamp:%a, %d %b %Y %H:%M:%S +0000}"


def titles(read) -> dict[str, Severity]:
    return {finding.title: finding.severity for finding in read.findings}


def title(*path: str, domain: str = "example.com") -> str:
    row = TABLE
    for key in path:
        row = row[key]
    return row["title"].replace("DOMAIN", domain)


def sent(**changed) -> SendResult:
    attempt = Attempt(time=datetime(2026, 11, 24, tzinfo=UTC), outcome=Outcome.SUCCESS, cause=Cause.NONE, user="anna@example.com")
    result = SendResult(
        target="mail.example.com",
        host="mail.example.com",
        port=587,
        security=Security.STARTTLS,
        steps=(),
        attempt=attempt,
        findings=(),
        message_id="<17.1.2.0123456789ab@example.com>",
        queue_id=None,
        accepted=("bob@example.net",),
        rejected=(),
        round_trips=7,
    )
    return replace(result, **changed)


# --- the way: RFC 5321 section 4.4, RFC 3848 ---------------------------------------------------------------------------


def test_the_way_of_a_message_in_the_order_of_the_journey():
    first, border, inner = read_received(GMAIL).hops
    assert (first.came_from, first.by, first.id) == ("[192.0.2.5] (laptop.example.com [192.0.2.5])", "mail.example.com", "4XyZ11")
    assert (first.protocol, first.signed_in, first.encrypted) == ("ESMTPSA", True, True)
    assert (first.tls, first.cipher) == ("TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384")
    assert (first.time, first.seconds) == (datetime(2026, 11, 24, 10, 0, 5, tzinfo=UTC), None)
    assert (border.protocol, border.signed_in, border.encrypted, border.tls, border.seconds) == ("ESMTPS", False, True, "TLSv1.3", 3)
    assert (inner.came_from, inner.protocol, inner.encrypted, inner.seconds) == (None, "SMTP", False, 1)


@pytest.mark.parametrize(
    ("line", "protocol", "signed_in", "encrypted", "tls", "cipher"),
    [
        # Exim with GnuTLS, as a real one wrote it.
        (
            (
                "from [127.0.0.1]\r\n\tby mx.example.test with esmtpsa  (TLS1.3) tls TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384\r\n\t(Exim 4.96)"
                "\r\n\t(envelope-from <a@example.test>)\r\n\tid 1xVvV6-0005xz-19\r\n\tfor b@example.test"
            ),
            *("ESMTPSA", True, True, "TLSv1.3", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
        ),
        # Exim, OpenSMTPD, sendmail, Microsoft 365 from outside and inside, Yahoo, a queue file's own user, LMTP.
        (
            (
                "from [192.0.2.10] (helo=desk) by mail.example.org with esmtpsa (TLS1.3) tls TLS_AES_256_GCM_SHA384 (Exim 4.98)"
                " (envelope-from <carol@example.org>) id 1qABCD-000123-4X"
            ),
            *("ESMTPSA", True, True, "TLSv1.3", "TLS_AES_256_GCM_SHA384"),
        ),
        (
            (
                "from desk (host.example.com [192.0.2.5]) by mx.example.net (OpenSMTPD) with ESMTPSA id 1a2b3c4d"
                " (TLSv1.3:TLS_CHACHA20_POLY1305_SHA256:256:NO) auth=yes user=alice for <bob@example.net>"
            ),
            *("ESMTPSA", True, True, "TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256"),
        ),
        (
            (
                "from desk.example.com ([192.0.2.5]) (authenticated bits=0) by mx.example.net (8.18.1/8.18.1) with ESMTPSA id 2ABC"
                " (version=TLSv1.2 cipher=ECDHE-RSA-AES128-GCM-SHA256 bits=128 verify=NO)"
            ),
            *("ESMTPSA", True, True, "TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256"),
        ),
        (
            (
                "from mail.example.com (192.0.2.10) by AM1PEPF.mail.protection.outlook.com (203.0.113.1) with Microsoft SMTP Server"
                " (version=TLS1_3, cipher=TLS_AES_256_GCM_SHA384) id 15.20.9000.10 via Frontend Transport"
            ),
            *("Microsoft SMTP Server", None, True, "TLSv1.3", "TLS_AES_256_GCM_SHA384"),
        ),
        ("from AM0.example.net (2001:db8::1) by DB9.example.net with HTTPS", "HTTPS", None, None, None, None),
        ("from 192.0.2.1 by sonic.example.net (Hermes SMTP Server) with ESMTPA ID abc", "ESMTPA", True, False, None, None),
        ("by mail.example.net (Postfix, from userid 1000) id 0ABC123", None, None, None, None, None),
        ("from mx.example.net by store.example.net (Dovecot) with LMTPS id x", "LMTPS", False, True, None, None),
        # RFC 6531 section 4.3.
        ("from localhost ([2001:db8::1]) by smtp.example.net with UTF8SMTPSA id y", "UTF8SMTPSA", True, True, None, None),
    ],
)
def test_what_with_says(line, protocol, signed_in, encrypted, tls, cipher):
    [only] = read_received(received(f"Received: {line}; Tue, 24 Nov 2026 10:00:05 +0000")).hops
    assert (only.protocol, only.signed_in, only.encrypted, only.tls, only.cipher) == (protocol, signed_in, encrypted, tls, cipher)
    assert only.time == datetime(2026, 11, 24, 10, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize("broken", ["nonsense", "from a ((( by b; Tue, 24 Nov 2026 10:00:05 +0000", "from a by b; yesterday"])
def test_a_received_field_that_makes_no_sense_is_kept_and_stops_nothing(broken):
    read = read_received(received(hop(60), f"Received: {broken}", hop(0)))
    assert [each.seconds for each in read.hops] == [None, None, 60]
    assert (read.hops[1].text, read.hops[1].time) == (broken, None)


@pytest.mark.parametrize(("seconds", "late"), [(300, False), (301, True)])
def test_a_hop_of_more_than_five_minutes_is_named(seconds, late):
    read = read_received(received(hop(seconds + 9, by="store.example.net"), hop(seconds, by="slow.example.net"), hop(0)))
    found = [finding for finding in read.findings if finding.title == title("finding", "delayed")]
    assert [finding.evidence for finding in found] == ([(f"slow.example.net: {seconds} s after the hop before",)] if late else [])


@pytest.mark.parametrize(("seconds", "named"), [(-1, False), (-2, True)])
def test_clocks_that_disagree_are_named_and_not_hidden(seconds, named):
    # Fractions are not written: one second back may be none.
    read = read_received(received(hop(seconds, by="late.example.net"), hop(0)))
    assert read.hops[1].seconds == seconds
    found = [finding.evidence for finding in read.findings if finding.title == title("finding", "clocks")]
    assert found == ([("late.example.net: 2 s before the hop before",)] if named else [])


@pytest.mark.parametrize(
    ("how", "result", "user", "warned"),
    [
        ("ESMTPSA", sent(), None, False),
        ("ESMTPS", sent(), None, True),  # nobody signed in
        ("ESMTPA", sent(), None, True),  # no TLS
        ("ESMTP", sent(), None, True),
        ("ESMTPA", sent(security=Security.NONE), None, False),
        ("ESMTPS", sent(attempt=None), None, False),
        ("ESMTPS", None, "anna@example.com", True),
        ("ESMTP", None, None, False),  # nothing is known of how it was sent
        ("Microsoft SMTP Server", sent(), None, False),  # says nothing
    ],
)
def test_a_first_hop_that_is_not_as_it_was_sent(how, result, user, warned):
    read = read_received(received(hop(5), hop(0, how=how)), sent=result, user=user)
    assert (title("finding", "not-as-sent") in titles(read)) is warned


# --- what the receiver found out: RFC 8601 -----------------------------------------------------------------------------


def told(read, *, trusted: bool = True) -> list[tuple[str, str, str]]:
    return [(result.method, result.result, result.domain) for result in read.results if result.trusted is trusted]


ALL_PASS = [("dkim", "pass", "example.com"), ("spf", "pass", "example.com"), ("dmarc", "pass", "example.com")]


@pytest.mark.parametrize(
    ("value", "authserv_id", "expected"),
    [
        # Microsoft 365: no authserv-id, and properties without a type.
        (
            (
                "spf=pass (sender IP is 192.0.2.1)\r\n smtp.mailfrom=example.com; dkim=pass (signature was verified)\r\n"
                " header.d=example.com;dmarc=pass action=none\r\n header.from=example.com;compauth=pass reason=100"
            ),
            None,
            [("spf", "pass", "example.com"), ALL_PASS[0], ALL_PASS[2], ("compauth", "pass", "")],
        ),
        # Outlook.com of old: the receiver's domain between the results.
        (
            (
                "spf=none (sender IP is 192.0.2.1) smtp.mailfrom=example.com; hotmail.example; dkim=none (message not signed)"
                " header.d=none;hotmail.example; dmarc=none action=none header.from=example.com;"
            ),
            None,
            [("spf", "none", "example.com"), ("dkim", "none", "none"), ("dmarc", "none", "example.com")],
        ),
        # Yahoo: no blank before the comment, a semicolon at the end.
        (
            (
                "atlas1.mail.example.net;\r\n dkim=pass header.i=@example.com header.s=s1;\r\n spf=pass smtp.mailfrom=example.com;\r\n"
                " dmarc=pass(p=REJECT) header.from=example.com;"
            ),
            "atlas1.mail.example.net",
            ALL_PASS,
        ),
        # Fastmail: methods that no RFC knows are left out, as RFC 8601 section 2.7.6 asks for.
        (
            (
                "mx5.example.net;\r\n    arc=none (no signatures found);\r\n    x-csa=none;\r\n    dkim=pass (2048-bit rsa key sha256)"
                " header.d=example.com\r\n    header.i=@example.com header.b=abc header.a=rsa-sha256 header.s=s1\r\n    x-bits=2048;\r\n"
                "    dmarc=pass policy.published-domain-policy=none\r\n    (p=none,d=none,d.eval=none) policy.policy-from=p\r\n"
                "    header.from=example.com;\r\n    iprev=pass smtp.remote-ip=192.0.2.1 (mail.example.com);\r\n"
                "    spf=pass smtp.mailfrom=anna@example.com\r\n    smtp.helo=mail.example.com;\r\n    x-tls=pass smtp.version=TLSv1.3"
            ),
            "mx5.example.net",
            [("arc", "none", ""), ALL_PASS[0], ALL_PASS[2], ("iprev", "pass", ""), ALL_PASS[1]],
        ),
        # rspamd; policyd-spf with semicolons in a comment; RFC 8601's own grammar: version, CFWS, quoted strings, upper case.
        (
            (
                "mx.example.net;\r\n\tdkim=pass header.d=example.com header.s=s1 header.b=abc;\r\n\tspf=pass (mx.example.net: domain of"
                " anna@example.com designates 192.0.2.1 as permitted sender) smtp.mailfrom=anna@example.com;\r\n"
                "\tdmarc=pass (policy=none) header.from=example.com"
            ),
            "mx.example.net",
            ALL_PASS,
        ),
        (
            (
                "mx.example.net; spf=pass (sender SPF authorized) smtp.mailfrom=example.com"
                " (client-ip=192.0.2.1; helo=x.example.com; receiver=<UNKNOWN>)"
            ),
            "mx.example.net",
            [ALL_PASS[1]],
        ),
        (
            'MX.example.net (a (nested; dkim=fail) one) 1; DKIM / 1 = Pass reason="good; as\\" gold" header.d = "Example.COM"',
            "mx.example.net",
            [],
        ),
        ('mx.example.net 1; DKIM/1 = Pass reason="spf=fail; no" header.d = "Example.COM" (x', "mx.example.net", [ALL_PASS[0]]),
        ("mx.example.net; spf=pass smtp.mailfrom=anna@bücher.example", "mx.example.net", [("spf", "pass", "bücher.example")]),
        (
            'mx.example.net; spf=none smtp.mailfrom=<>; spf=pass smtp.mailfrom=""',
            "mx.example.net",
            [("spf", "none", ""), ("spf", "pass", "")],
        ),
        ("mx.example.net; none", None, []),
    ],
)
def test_what_receivers_write(value, authserv_id, expected):
    read = read_received(received(f"Authentication-Results: {value}"))
    if expected:
        assert read.authserv_id == authserv_id
    assert told(read) == expected


def test_the_receivers_own_words_are_kept():
    read = read_received(GMAIL)
    assert [result.said for result in read.results] == [
        None,
        "google.com: domain of anna@example.com designates 192.0.2.10 as permitted sender",
        "p=REJECT sp=REJECT dis=NONE",
    ]
    assert read.results[0].properties == (("header.i", "@example.com"), ("header.s", "sel"), ("header.b", "abc/+D1"))


def test_all_well():
    read = read_received(GMAIL, sent=sent())
    assert titles(read) == {title("finding", "proven"): Severity.OK}
    assert (read.ok, read.same, read.trace, read.sender) == (True, True, "0123456789ab", "anna@example.com")
    assert (read.authserv_id, told(read)) == ("mx.google.com", ALL_PASS)


FORGED = "Authentication-Results: mx.example.net; dmarc=pass header.from=example.com; spf=pass smtp.mailfrom=example.com"
REAL = "Authentication-Results: mx.example.net; spf=fail smtp.mailfrom=example.com"


@pytest.mark.parametrize(
    ("fields", "believed"),
    [
        # Below a Received that the receiver wrote: it was there when the message came in.
        ([REAL, hop(0), FORGED], [("spf", "fail", "example.com")]),
        # Right below, and speaks of what the receiver has spoken of itself.
        ([hop(0), REAL, FORGED], [("spf", "fail", "example.com")]),
        # Another name.
        (
            [hop(0), REAL, FORGED.replace("mx.", "evil.").replace("; spf=pass smtp.mailfrom=example.com", "")],
            [("spf", "fail", "example.com")],
        ),
        # Postfix with a program each for SPF, DKIM and DMARC: one server, three fields.
        (
            [
                hop(0),
                REAL,
                "Authentication-Results: mx.example.net; dkim=pass (2048-bit key; unprotected) header.d=example.com",
                "Authentication-Results: MX.example.net; dmarc=pass (p=none dis=none) header.from=example.com",
            ],
            [("spf", "fail", "example.com"), ("dkim", "pass", "example.com"), ("dmarc", "pass", "example.com")],
        ),
        # Microsoft's has no name, so no second one can have the same.
        (
            [REAL.replace("mx.example.net; ", ""), FORGED.replace("mx.example.net; ", "").replace("spf=pass", "dkim=pass")],
            [("spf", "fail", "example.com")],
        ),
    ],
)
def test_only_the_receiving_servers_own_results_are_believed(fields, believed):
    read = read_received(received(*fields))
    assert told(read) == believed
    doubtful = told(read, trusted=False)
    assert (title("finding", "senders-own-words") in titles(read)) is bool(doubtful)
    assert len(doubtful) + len(believed) == len(read.results)
    assert (title("finding", "proven") in titles(read)) is (("dmarc", "pass", "example.com") in believed)


@pytest.mark.parametrize(
    ("above", "authserv_id", "believed"),
    [
        # The field stands under the Received of who received it, as Gmail's and rspamd's do, and in that name.
        ([hop(0)], "mx.example.net", True),
        ([hop(0)], "example.net", True),
        ([hop(0)], "evil.example", False),
        ([hop(9), hop(0, by="relay.evil.example")], "evil.example", False),
        ([hop(0)], "net", False),
        # Under a name that says nothing of whose the server is, or under none, nothing is against it.
        ([hop(0, by="2002:a05:6402:1234")], "mx.example.net", True),
        ([hop(0, by="store1.internal")], "mx.example.net", True),
        ([hop(0, by="192.0.2.25")], "mx.example.net", True),
        ([], "mx.example.net", True),
        # Microsoft's has no name.
        ([hop(0, by="am1pepf.eurprd01.prod.outlook.com")], None, True),
        ([hop(0)], None, False),
        # What stands in brackets names no server.
        (
            ["Received: from a (checked by mx.example.net) by mx.example.org with ESMTPS id 1; Tue, 24 Nov 2026 10:00:05 +0000"],
            "mx.example.net",
            False,
        ),
    ],
)
def test_the_topmost_results_are_believed_in_the_name_of_who_received(above, authserv_id, believed):
    name = f"{authserv_id}; " if authserv_id else ""
    results = "dkim=pass header.d=example.com; dmarc=pass header.from=example.com"
    again = "Authentication-Results: mx.example.net; spf=pass smtp.mailfrom=example.com"
    read = read_received(received(*above, f"Authentication-Results: {name}{results}", again))
    assert bool(told(read)) is believed
    assert (title("finding", "proven") in titles(read)) is believed
    assert (title("finding", "no-results") in titles(read)) is not believed
    assert ("spf", "pass", "example.com") in told(read, trusted=believed and authserv_id == "mx.example.net")


@pytest.mark.parametrize(
    ("sender", "address", "shown"),
    [
        ('"ben@example.net" <anna@example.com>', "anna@example.com", "ben@example.net"),
        ('"<ben@example.net>" <anna@example.com>', "anna@example.com", "ben@example.net"),
        ("=?utf-8?q?ben=40example.net?= <anna@example.com>", "anna@example.com", "ben@example.net"),
        ('"anna@example.com" <anna@example.com>', "anna@example.com", None),
        ("Anna <anna@example.com>", "anna@example.com", None),
    ],
)
def test_a_name_that_looks_like_another_address_is_said(sender, address, shown):
    read = read_received(received(hop(0), sender=sender))
    assert read.sender == address
    found = [finding.evidence for finding in read.findings if "looks like another address" in finding.title]
    assert found == ([(f"From: {shown} stands before {address}",)] if shown else [])


def test_a_hundred_such_names_are_one_finding():
    read = read_received(received(hop(0), sender=", ".join(['"ben@example.net" <anna@example.com>'] * 100)))
    assert sum("looks like another address" in finding.title for finding in read.findings) == 1


def test_two_senders_are_said():
    read = read_received(received(hop(0), "From: eve@example.org"))
    [finding] = [finding for finding in read.findings if finding.severity is Severity.ERROR]
    assert finding.evidence == ("From: eve@example.org and anna@example.com",)


@pytest.mark.parametrize(
    ("method", "result"),
    [
        *(("spf", result) for result in ("fail", "softfail", "neutral", "none", "temperror", "permerror", "policy", "hardfail")),
        *(("dkim", result) for result in ("fail", "none", "neutral", "policy", "temperror", "permerror", "invalid", "cause", "other")),
        *(("dmarc", result) for result in ("fail", "none", "temperror", "permerror", "bestguesspass", "quarantine")),
        *(("compauth", result) for result in ("fail", "none", "softpass")),
        *(("arc", "fail"), ("auth", "fail"), ("iprev", "permerror")),
    ],
)
def test_every_result_that_is_no_pass_is_a_finding(method, result):
    property_ = {"spf": "smtp.mailfrom", "dkim": "header.d"}.get(method, "header.from")
    read = read_received(received(f"Authentication-Results: mx.example.net; {method}={result} (why) {property_}=example.com"))
    [only] = read.results
    row = TABLE["result"][method].get(result, TABLE["result"][method]["other"])
    assert only.meaning == row["title"].replace("DOMAIN", "example.com")
    [finding] = [finding for finding in read.findings if finding.title == only.meaning]
    assert (finding.cause, finding.severity) == (row["cause"], row["severity"])
    assert finding.severity is not Severity.OK
    assert finding.next_step == only.next_step
    assert f"mx.example.net: {method}={result} (why) {property_}=example.com" in finding.evidence


def test_a_method_that_passed_once_has_passed():
    # RFC 6376 section 6.1: a signature that does not hold is as none; another one may.
    read = read_received(
        received("Authentication-Results: mx.example.net; dkim=fail header.d=list.example.org; dkim=pass header.d=example.com")
    )
    assert titles(read) == {}


def test_the_servers_own_name_does_not_speak_for_the_envelope():
    # RFC 7208 section 2.3 and 2.4: two identities, two results.
    read = read_received(
        received("Authentication-Results: mx.example.net; spf=pass smtp.helo=a.example.com; spf=fail smtp.mailfrom=example.com")
    )
    assert titles(read) == {title("result", "spf", "fail"): Severity.ERROR}


def test_where_from_is_proven_the_rest_is_worth_a_note():
    # Forwarded mail: the envelope's domain does not name the forwarder, the signature still holds.
    read = read_received(
        received(
            "Authentication-Results: mx.example.net; spf=softfail smtp.mailfrom=example.com; dkim=pass header.d=example.com;"
            " dmarc=pass header.from=example.com"
        )
    )
    assert titles(read) == {title("result", "spf", "softfail"): Severity.NOTE, title("finding", "proven"): Severity.OK}
    assert read.ok


@pytest.mark.parametrize(
    ("proven", "words"),
    [
        # RFC 7489 section 3.1: strict is the same, relaxed the same organisational domain.
        ("mail.example.com", "one is under the other, so aligned with From in relaxed mode"),
        ("com", "another domain, not aligned with From"),  # no organisation is a whole top domain
        ("example.org", "another domain, not aligned with From"),
        ("notexample.com", "another domain, not aligned with From"),
    ],
)
def test_what_is_compared_where_dmarc_fails(proven, words):
    read = read_received(
        received(
            f"Authentication-Results: mx.example.net; spf=pass smtp.mailfrom=bounce@{proven}; dkim=pass header.d={proven};"
            " dmarc=fail (p=NONE) header.from=example.com"
        )
    )
    [finding] = [finding for finding in read.findings if finding.severity is Severity.ERROR]
    assert finding.title == title("result", "dmarc", "fail")
    assert finding.evidence[1:] == ("From: example.com", f"spf proved {proven}: {words}", f"dkim proved {proven}: {words}")


@pytest.mark.parametrize(
    ("results", "doubt"),
    [
        # RFC 7489 section 4.2: one aligned pass is enough, and without one there is no pass.
        ("spf=pass smtp.mailfrom=anna@example.com; dkim=none; dmarc=fail header.from=example.com", "contradiction"),
        ("spf=fail smtp.mailfrom=example.com; dkim=pass header.d=example.com; dmarc=fail header.from=example.com", "contradiction"),
        ("spf=pass smtp.mailfrom=example.org; dkim=none; dmarc=pass header.from=example.com", "contradiction"),
        ("spf=fail smtp.mailfrom=example.com; dkim=fail header.d=example.com; dmarc=pass header.from=example.com", "contradiction"),
        # A parent or a neighbour may be aligned or not: that is for the record and the list of top domains to say.
        ("spf=pass smtp.mailfrom=bounce.example.com; dkim=none; dmarc=fail header.from=example.com", None),
        ("spf=pass smtp.mailfrom=bounce.example.com; dkim=none; dmarc=pass header.from=example.com", None),
        # The server's own name proves no envelope; nor is one of the two all that was looked at.
        ("spf=pass smtp.helo=example.com; dkim=none; dmarc=fail header.from=example.com", None),
        ("spf=softfail smtp.mailfrom=example.com; dmarc=pass header.from=example.com", None),
        # Whom it speaks of: the domain in From, or one above it that has the record.
        ("dkim=pass header.d=evil.example; dmarc=pass header.from=evil.example", "dmarc-of-another"),
        ("dkim=fail header.d=evil.example; dmarc=fail header.from=evil.example", "dmarc-of-another"),
        ("dmarc=pass", None),
    ],
)
def test_a_verdict_on_dmarc_is_not_believed_against_what_it_stands_on(results, doubt):
    read = read_received(received(f"Authentication-Results: mx.example.net; {results}"))
    known = [name for name in ("contradiction", "dmarc-of-another", "proven") if title("finding", name) in titles(read)]
    passed = "dmarc=pass" in results
    assert known == ([doubt] if doubt else ["proven"] if passed else [])
    assert read.ok is (passed and doubt is None)
    assert (title("result", "dmarc", "fail") in titles(read)) is (not passed and doubt is None)


@pytest.mark.parametrize("written", ["bücher.example", "xn--bcher-kva.example"])
def test_a_domain_is_the_same_in_both_its_forms(written):
    value = f"Authentication-Results: mx.example.net; spf=none; dkim=pass header.d={written}; dmarc=pass header.from={written}"
    assert read_received(received(value, sender="anna@bücher.example")).ok


def test_dmarc_may_speak_of_the_domain_above_from():
    value = "Authentication-Results: mx.example.net; dkim=pass header.d=example.com; dmarc=pass header.from=example.com"
    assert read_received(received(value, sender="anna@news.example.com")).ok


@pytest.mark.parametrize(
    ("sender", "proven", "warned"),
    [
        ("a@example.com", "example.com", False),
        ("a@news.example.com", "bounce.example.com", False),  # perhaps of one organisation; nobody looked
        ("a@example.com", "example.org", True),
    ],
)
def test_alignment_where_the_receiver_does_not_judge_it(sender, proven, warned):
    read = read_received(received(f"Authentication-Results: mx.example.net; dkim=pass header.d={proven}", sender=f"Anna <{sender}>"))
    assert (title("finding", "not-aligned") in titles(read)) is warned


def test_no_result_at_all_is_said():
    assert title("finding", "no-results") in titles(read_received(received(hop(0))))
    assert title("finding", "no-results") in titles(read_received(received("Authentication-Results: mx.example.net; none")))


# --- whose it is -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, True),
        # A service that replaces the Message-ID leaves the trace, which the one that was sent holds too.
        ({"<17.1.2.0123456789ab@example.com>": "<0100@ses.example>"}, True),
        ({"X-Kit-Trace: 0123456789ab\n": ""}, True),
        ({"0123456789ab": "ba9876543210"}, False),
        ({"X-Kit-Trace: 0123456789ab\n": "", "Message-ID: <17.1.2.0123456789ab@example.com>\n": ""}, None),
        ({"X-Kit-Trace: 0123456789ab": "X-Kit-Trace:", "17.1.2": "18"}, False),
    ],
)
def test_is_it_the_message_that_was_sent(changed, same):
    text = GMAIL
    for old, new in changed.items():
        assert old in text
        text = text.replace(old, new)
    read = read_received(text, sent=sent())
    assert read.same is same
    assert (title("finding", "another-message") in titles(read)) is (same is False)
    assert read_received(text).same is None


@pytest.mark.parametrize(
    ("user", "result", "fields", "account"),
    [
        ("ANNA@example.com", None, [], None),
        ("scanner@example.com", None, [], "scanner@example.com"),
        ("scanner", None, [], None),  # a name that is no address cannot be compared
        (None, sent(), [], None),
        (None, sent(attempt=None), [], None),
        (None, None, [], None),
        # What the servers themselves say: RFC 8601 section 2.7.4, and Postfix's smtpd_sasl_authenticated_header.
        (None, None, ["Authentication-Results: mx.example.net; auth=pass (plain) smtp.auth=bob@example.com"], "bob@example.com"),
        (
            None,
            None,
            ["Received: from a (b [192.0.2.1]) (Authenticated sender: bob@example.com) by c with ESMTPSA id 1; x"],
            "bob@example.com",
        ),
    ],
)
def test_from_and_who_signed_in(user, result, fields, account):
    read = read_received(received(*(fields or [hop(0, how="ESMTPSA")])), sent=result, user=user)
    found = [finding.evidence for finding in read.findings if finding.title == title("finding", "another-from")]
    assert found == ([("From: anna@example.com", f"signed in: {account}")] if account else [])


# --- what mail programs make of it -------------------------------------------------------------------------------------


def unindented(text: str) -> str:
    return re.sub(r"(?m)^[ \t]+", "", text)


PASTED = {
    "CRLF": GMAIL.replace("\n", "\r\n"),
    "unfolded": re.sub(r"\n[ \t]+", " ", GMAIL),
    "indentation lost": unindented(GMAIL),
    "quoted": re.sub("(?m)^", "> ", GMAIL),
    "quoted twice": re.sub("(?m)^", ">> ", GMAIL),
    "indented": re.sub("(?m)^", "    ", GMAIL),
    "a line a paragraph": unindented(GMAIL).replace("\n", "\n\n"),
    "entities": GMAIL.replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;"),
    "hard blanks": GMAIL.replace(": ", ":\N{NO-BREAK SPACE}"),
    "words around it": f"Hello,\nthis is what I got:\n\n{GMAIL}\nCan you help?\n",
    # Gmail's page above the source.
    "Show original": "Message ID\t<x@example.org>\nFrom:\tMallory <m@example.org>\nSPF:\tFAIL with IP 192.0.2.66\n\nDownload original\n\n"
    + GMAIL,
    "an mbox": f"From - Tue Nov 24 10:00:09 2026\nX-Mozilla-Status: 0001\n{GMAIL}",
    # A body may hold anything, such as a bounce with headers of its own.
    "a whole message": f"{GMAIL}\nHello\n\n{received(FORGED, hop(9), sender='m@example.org')}",
}


@pytest.mark.parametrize("form", PASTED)
def test_it_is_read_however_it_was_pasted(form):
    expected = read_received(GMAIL, sent=sent())
    read = read_received(PASTED[form], sent=sent())
    assert is_headers(PASTED[form])
    assert [replace(each, text="") for each in read.hops] == [replace(each, text="") for each in expected.hops]
    assert replace(read, hops=()) == replace(expected, hops=())


def test_a_signatures_list_of_names_is_no_field():
    text = unindented(
        GMAIL.replace("From:", "DKIM-Signature: v=1; a=rsa-sha256; h=to:subject\n :date\n from:message-id:received:to;\n b=x\nFrom:")
    )
    assert read_received(text, sent=sent()).sender == "anna@example.com"


@pytest.mark.parametrize(
    "text", ["", "535 5.7.8 Error: authentication failed", "Subject: hello\nFrom: a@example.com\n\nReceived wisdom", "\n\n"]
)
def test_what_is_no_header_is_said_to_be_none(text):
    assert not is_headers(text)
    read = read_received(text)
    assert titles(read) == {title("finding", "no-headers"): Severity.WARNING}
    assert (read.hops, read.results, read.authserv_id, read.same) == ((), (), None, None)


# --- hostile -----------------------------------------------------------------------------------------------------------


def test_no_command_to_copy_holds_what_a_header_says():
    for hostile in ("$(reboot)", "a;reboot", "a`id`", "-f/etc/passwd", "a|b", "a\\nb", "a&b"):
        read = read_received(received(f'Authentication-Results: mx.example.net; spf=fail smtp.mailfrom="{hostile}"'))
        [result] = read.results
        assert hostile not in result.next_step
        assert hostile not in result.meaning


def test_what_is_kept_is_masked_and_printable():
    read = read_received(
        received(
            "Received: from a by b (password=hunter2) with ESMTPSA id AUTH-PLAIN; Tue, 24 Nov 2026 10:00:05 +0000",
            "Authentication-Results: mx.example.net; spf=fail (pass\x00word\x1b[2J password: hunter2\u202e) smtp.mailfrom=token=hunter2",
            "Authentication-Results: mx.example.net; spf=fail (password) (: hunter2) token (x) = hunter2; dkim=fail password(y)=hunter2",
            "X-Kit-Trace: AUTH PLAIN\r\n AGFubmEAaHVudGVyMg==",
        )
    )
    kept = str(to_plain(read))
    assert "hunter2" not in kept
    assert "AGFubmEAaHVudGVyMg" not in kept
    assert kept.isprintable()


WORDS = st.sampled_from(
    [
        *(
            "Received: ",
            "Authentication-Results: ",
            "From: ",
            "X-Kit-Trace: ",
            "Message-ID: ",
            "\n",
            "\r\n",
            "\n ",
            "\n\n",
            "> ",
            "&lt;",
            ";",
        ),
        *("from a", " by b", " with ESMTPSA", " id 1", "; Tue, 24 Nov 2026 10:00:05 +0000", "(", ")", '"', "\\", "[", "]", "<", ">", "="),
        *(
            "spf=pass ",
            "dkim=fail ",
            "dmarc=fail ",
            "smtp.mailfrom=",
            "a@example.com",
            "header.from=",
            "\x00",
            "\ud800",
            "\u2028",
            "(using TLSv1.3",
        ),
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.lists(WORDS, max_size=60).map("".join), st.text(max_size=300)), st.sampled_from([None, "anna@example.com", "anna", "@"])
)
@example("Received: from a by b; Tue, 24 Nov 99999 10:00:05 +0000", None)
@example("Received: from a by b; Fri, 31 Dec 9999 23:59:59 -2359\nReceived: from a by b; Mon, 01 Jan 0001 00:00:00 +2359", None)
def test_any_text_is_read(text, user):
    read = read_received(text, sent=sent(), user=user)
    kept = str(to_plain(read))
    assert kept.isprintable()
    assert "hunter2" not in kept
    assert all(result.meaning and result.next_step for result in read.results)
    assert read.findings or read.results or read.hops


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "Received: from a (b [192.0.2.1]) by c with ESMTP id x; Tue, 24 Nov 2026 10:00:05 +0000\n",
            "Received: (",
            "Received: from a by b\n",
        ),
        *(
            "Authentication-Results: a; spf=pass x=y;\n",
            "\\",
            '"',
            "(",
            "((a)",
            "a=",
            ' a="',
            " ",
            "\t",
            "\n",
            "\r",
            "> ",
            "&lt;",
            "a\n",
            "\n\n",
            "a: b\n",
        ),
        *(
            "<",
            "a@",
            "spf=pass;",
            "dkim=pass header.d=a.",
            "password=",
            "from ",
            "a.",
            "TLS1_3 (",
            "(version=",
            "\u2028",
            "=?utf-8?q?",
            "\ud800",
        ),
    ],
)
@pytest.mark.parametrize("head", ["", "Received: from a by b ", "Authentication-Results: a; spf=pass ", "From: "])
def test_a_flood_takes_no_time(head, unit):
    text = head + unit * (2 * LIMIT // len(unit))
    start = time.process_time()
    read_received(text, sent=sent())
    is_headers(text)
    assert time.process_time() - start < 2


# --- shown ------------------------------------------------------------------------------------------------------------

BAD = (
    GMAIL.replace("dmarc=pass", "dmarc=fail")
    .replace("header.i=@example.com", "header.i=@example.org")
    .replace("from=anna@example.com", "from=anna@example.org")
    .replace("mail.example.com. [", "<b>\x1b[2J [")
)


def test_explain_takes_headers():
    good = CliRunner().invoke(main, ["explain", "-"], input=GMAIL)
    assert good.exit_code == 0
    assert good.stdout.startswith(" 1 2026-11-24 10:00:05 UTC")
    assert "ESMTPSA signed in TLSv1.2" in good.stdout
    assert f"spf pass         {title('result', 'spf', 'pass')}" in good.stdout
    bad = CliRunner().invoke(main, ["explain", BAD])
    assert bad.exit_code == 1
    assert f"✗ error: {title('result', 'dmarc', 'fail')}" in bad.stdout
    assert "\x1b" not in bad.stdout


def test_explain_takes_a_file_with_a_byte_order_mark():
    got = CliRunner().invoke(main, ["explain", "-"], input=b"\xef\xbb\xbf" + GMAIL.replace("Delivered-To: bob@example.net\n", "").encode())
    assert got.stdout == CliRunner().invoke(main, ["explain", "-"], input=GMAIL).stdout


def test_explain_gives_headers_as_json():
    got = json.loads(CliRunner().invoke(main, ["explain", "--json", "-"], input=BAD).stdout)
    assert list(got) == ["hops", "results", "authserv_id", "sender", "trace", "same", "findings"]
    assert [each["protocol"] for each in got["hops"]] == ["ESMTPSA", "ESMTPS", "SMTP"]
    assert {each["method"]: each["result"] for each in got["results"]} == {"dkim": "pass", "spf": "pass", "dmarc": "fail"}


def test_headers_as_html_are_text():
    shown = received_html(read_received(BAD + FORGED))
    assert "<b>\N{REPLACEMENT CHARACTER}" not in shown
    assert "&lt;b&gt;\N{REPLACEMENT CHARACTER}[2J" in shown
    for words in (
        "ESMTPSA (signed in)",
        "TLSv1.3",
        "2026-11-24 10:00:08",
        title("result", "dmarc", "fail"),
        "not the receiving server&#x27;s own words",
    ):
        assert words in shown
    assert received_html(read_received("")).count("<table") == 0


# --- the table ---------------------------------------------------------------------------------------------------------


def test_the_table_reads_and_nothing_in_it_is_left_unsaid():
    for method, rows in TABLE["result"].items():
        assert {"pass", "other"} <= rows.keys(), method
        for row in rows.values():
            assert row.keys() == {"cause", "severity", "title", "next_step"}
            Cause(row["cause"]), Severity(row["severity"])
    source = (Path(kit.__file__).parent / "sending/received.py").read_text("utf-8")
    for name, row in TABLE["finding"].items():
        assert row.keys() == {"cause", "severity", "title", "next_step"}
        assert f'_say("{name}"' in source


# --- a real server -----------------------------------------------------------------------------------------------------


@pytest.mark.needs("postfix", "dovecot", "syslog")
@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
async def test_a_message_through_a_real_postfix(postfix_dovecot, tmp_path, security):
    alice, bob = "alice@example.test", "bob@example.test"
    port = {Security.TLS: postfix_dovecot.submissions_port, Security.STARTTLS: postfix_dovecot.submission_port}[security]
    profile = Profile(host=postfix_dovecot.host, port=port, security=security, user=alice, ca_file=postfix_dovecot.ca_file)
    message = kit.build_test_message(alice, [bob])
    before = datetime.now(UTC).replace(microsecond=0)
    result = await kit.send(profile, message, kit.Secret(postfix_dovecot.users[alice]), budget=tmp_path / "budget")
    deadline = time.monotonic() + 10
    while not (copies := [copy for copy in postfix_dovecot.mailbox(bob) if message["X-Kit-Trace"].encode() in copy]):
        assert time.monotonic() < deadline, "the message did not arrive"
        await asyncio.sleep(0.05)
    check_only_hop(read_received(copies[0].decode(), sent=result), result, before)
    # Anybody else's message, and another account.
    assert read_received(copies[0].decode(), sent=replace(result, message_id="<x@example.test>")).same is True  # by its queue id
    assert read_received(copies[0].decode(), sent=sent()).same is False
    assert title("finding", "another-from") in titles(read_received(copies[0].decode(), user=bob))


@pytest.mark.needs("opensmtpd")
async def test_a_message_through_a_real_opensmtpd():
    with opensmtpd() as server:
        profile = Profile(host=server.host, port=server.port, security=Security.STARTTLS, user=USER, ca_file=server.ca_file)
        before = datetime.now(UTC).replace(microsecond=0)
        result = await kit.send(profile, kit.build_test_message(ADDRESS, [ADDRESS]), kit.Secret(PASSWORD))
        server.wait_for("stat=Delivered")
        [path] = server.mailbox.iterdir()
        check_only_hop(read_received(path.read_text("utf-8"), sent=result), result, before)


def check_only_hop(read, result: SendResult, before: datetime) -> None:
    """The server has seen what this side of the connection has."""
    [only] = read.hops
    assert (only.by, only.protocol, only.signed_in, only.encrypted) == ("mx.example.test", "ESMTPSA", True, True)
    [tls] = [step for step in result.steps if step.name == "tls"]
    assert only.tls in tls.detail
    assert only.cipher in tls.detail
    assert only.id == result.queue_id
    assert before <= only.time <= datetime.now(UTC)
    assert (read.results, read.ok, read.same) == ((), True, True)
    assert read.sender == "alice@example.test"
