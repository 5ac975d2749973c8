"""Looking around without a password: one probe a port and family, three connections at once, and what the differences mean."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

import pytest

from kit.checks import survey as survey_module
from kit.checks.differences import judge
from kit.checks.matrix import Rating, table, ways
from kit.checks.survey import USUAL, Survey, survey, together
from kit.model import Cause, CheckResult, Finding, Probe, Profile, Reply, Security, Severity, Step
from tests.live.check_servers import make_pki, serve, smtp

HOST = "mail.example.test"


def probe(
    port=587, *, family="IPv4", connected=True, tls="TLSv1.3", clear=(), mechanisms=("PLAIN",), extensions=("AUTH", "STARTTLS"), lines=()
):
    security = Security.TLS if port == 465 else Security.STARTTLS
    reply = Reply(code=250, lines=tuple(lines or ("mail.example.test", *extensions))) if connected else None
    return Probe(
        port=port,
        security=security,
        family=family,
        address="192.0.2.1" if family == "IPv4" else "2001:db8::1",
        seconds=0.1,
        connected=connected,
        tls=tls if connected else None,
        clear=clear if connected else (),
        mechanisms=mechanisms if connected else (),
        extensions=extensions if connected else (),
        steps=(
            Step(
                name="ehlo" if connected else "connect", seconds=0.1, ok=connected, reply=reply, detail=None if connected else "no answer"
            ),
        ),
        problem=None,
    )


def profile(port=587, **more):
    return Profile(host=HOST, port=port, security=Security.STARTTLS, **more)


def titles(*probes, port=587):
    return [finding.title for finding in judge(profile(port), probes)]


# --- differences -------------------------------------------------------------------------------------------------


def test_alike_is_nothing_to_tell():
    assert titles(probe(), probe(family="IPv6"), probe(465), probe(25)) == []


@pytest.mark.parametrize("dead", ["IPv4", "IPv6"])
def test_a_dead_family_is_named_whichever_comes_first(dead):
    alive = "IPv4" if dead == "IPv6" else "IPv6"
    for pair in ((probe(family=alive), probe(family=dead, connected=False)), (probe(family=dead, connected=False), probe(family=alive))):
        (finding,) = judge(profile(), pair)
        assert (finding.cause, finding.severity) == (Cause.UNREACHABLE, Severity.WARNING)
        assert finding.evidence[0].startswith(f"{alive} ")
        assert f"over {dead}" in finding.evidence[1]


def test_starttls_over_one_family_only():
    (finding,) = judge(profile(), (probe(), probe(family="IPv6", extensions=("AUTH",))))
    assert finding.evidence == ("STARTTLS: offered over IPv4, not over IPv6",)


def test_other_mechanisms_over_the_other_family():
    (finding,) = judge(profile(), (probe(), probe(family="IPv6", mechanisms=("LOGIN", "PLAIN"))))
    assert finding.evidence == ("AUTH over IPv4: PLAIN", "AUTH over IPv6: LOGIN PLAIN")


def test_ports():
    dead = {port: probe(port, connected=False) for port, _ in USUAL}
    assert titles(probe(587), dead[465], dead[25]) == ["587 is open and 465 is not", "Port 25 does not answer"]
    assert titles(probe(465), dead[587], port=465) == ["465 is open and 587 is not"]
    assert titles(dead[587], probe(2525)) == ["Nothing answers on port 587, but another port of mail.example.test does"]
    assert titles(*dead.values()) == ["mail.example.test answers on none of the usual mail ports"]
    assert titles(dead[587]) == []  # the check itself tells of its one port


def test_in_binder_no_port_can_answer(monkeypatch):
    monkeypatch.setenv("BINDER_SERVICE_HOST", "127.0.0.1")
    (finding,) = judge(profile(), (probe(connected=False), probe(465, connected=False)))
    assert (finding.title, finding.severity) == ("A Binder session cannot reach mail ports", Severity.NOTE)


@pytest.mark.parametrize("line", ["XXXXXXXA", "250 XXXXXXXX", "*************************"])
def test_words_that_a_firewall_has_overwritten(line):
    (finding,) = judge(profile(), (probe(lines=("mail", line)),))
    assert finding.cause is Cause.TLS_REQUIRED


@pytest.mark.parametrize("line", ["XCLIENT NAME ADDR", "XEXCH50", "X-EXPS LOGIN", "XXX", "AUTH XOAUTH2"])
def test_ordinary_words_with_an_x(line):
    assert judge(profile(), (probe(lines=("mail", line)),)) == ()


# --- the matrix --------------------------------------------------------------------------------------------------


def rated(*probes, **settings):
    return {(way.port, way.security.value, way.mechanism): way.rating for way in ways(probes, profile(**settings))}


def test_implicit_tls_comes_first_and_one_way_is_named():
    found = rated(probe(25), probe(587, clear=("LOGIN",)), probe(465, mechanisms=("LOGIN", "PLAIN")))
    assert [way for way, rating in found.items() if rating is Rating.USE] == [(465, "tls", "PLAIN")]
    assert found[587, "none", "LOGIN"] is Rating.IN_CLEAR
    assert found[587, "starttls", "PLAIN"] is Rating.SAFE
    assert next(iter(found))[0] == 465
    assert list(found)[-1][0] == 25


def test_the_profile_has_its_say():
    found = rated(probe(587), probe(465, mechanisms=("LOGIN", "PLAIN")), mechanism="LOGIN")
    assert [way for way, rating in found.items() if rating is Rating.USE] == [(465, "tls", "LOGIN")]


def test_a_token_is_used_only_where_the_profile_names_it():
    tokens = probe(465, mechanisms=("XOAUTH2", "OAUTHBEARER"))
    assert Rating.USE not in rated(tokens).values()
    assert rated(tokens, mechanism="XOAUTH2")[465, "tls", "XOAUTH2"] is Rating.USE


def test_without_tls_nothing_is_to_be_used():
    found = rated(probe(587, tls=None, clear=("PLAIN", "CRAM-MD5"), mechanisms=()))
    assert found == {(587, "none", "PLAIN"): Rating.IN_CLEAR, (587, "none", "CRAM-MD5"): Rating.WEAK}


def test_the_table_has_a_row_a_port_and_security():
    columns, rows = table(ways((probe(587, clear=("LOGIN",)),), profile()))
    assert columns == ["PLAIN", "LOGIN"]
    assert rows == [("587 starttls", ["use this", ""]), ("587 none", ["", "in clear"])]


# --- looking around ----------------------------------------------------------------------------------------------


async def test_four_ports_three_connections_at_once(tmp_path):
    pki = make_pki(tmp_path)
    now, most = 0, 0

    async def slow(line):
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        await asyncio.sleep(0.1)
        try:
            await smtp(tls=pki.server())(line)
        finally:
            now -= 1

    async with serve(slow) as a, serve(slow) as b, serve(slow) as c, serve(slow) as d:
        settings = Profile(host="127.0.0.1", port=a.port, security=Security.STARTTLS, ca_file=pki.ca_file, timeout=5)
        planned, told = [], []
        others = [(each.port, Security.STARTTLS) for each in (a, b, c, d)]
        found = await survey(settings, others=others, on_plan=planned.append, on_probe=told.append)
        assert (planned, most) == ([4 + 5], 3)  # of the first port also four versions of TLS, and the chain
        assert sorted(p.port for p in found.probes) == sorted(each.port for each in (a, b, c, d))
        assert {type(each).__name__ for each in told} == {"Probe", "VersionProbe"}
        assert [each.connections for each in (a, b, c, d)] == [1 + 5, 1, 1, 1]
        assert {each.version: each.outcome.value for each in found.versions} == {
            "TLSv1": "not-offered",
            "TLSv1.1": "not-offered",
            "TLSv1.2": "offered",
            "TLSv1.3": "offered",
        }
        assert all((p.problem, p.mechanisms) == (None, ("PLAIN", "LOGIN")) for p in found.probes)
        assert not [line for each in (a, b, c, d) for line in each.heard if line.startswith(b"AUTH")]
        most = 0
        await survey(settings, others=others, gentle=True)
        assert most == 1


async def test_each_family_is_looked_at_by_itself(monkeypatch):
    async def both(_):
        return [
            survey_module.Address(family=f, host=h, port=server.port) for f, h in ((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1"))
        ]

    monkeypatch.setattr(survey_module, "resolve", both)
    async with serve(smtp()) as server:  # on 127.0.0.1 alone
        found = await survey(Profile(host="localhost", port=server.port, security=Security.NONE, timeout=2))
    assert [(p.family, p.connected) for p in found.probes] == [("IPv6", False), ("IPv4", True)]
    assert [finding.title for finding in found.findings] == ["localhost answers over one address family and not over the other"]


async def test_a_name_that_is_none_has_no_probes():
    assert (await survey(Profile(host="no-such-host.invalid", port=587, security=Security.STARTTLS, timeout=5))).probes == ()


def test_of_a_bad_certificate_the_chain_tells_more():
    def finding(cause, severity, title):
        return Finding(cause=cause, severity=severity, title=title, next_step="")

    result = CheckResult(
        target=HOST,
        host=HOST,
        port=587,
        security=Security.STARTTLS,
        steps=(),
        attempt=None,
        findings=(finding(Cause.CERTIFICATE, Severity.ERROR, "verify failed"), finding(Cause.UNKNOWN, Severity.NOTE, "other")),
    )
    around = Survey(host=HOST, dns=None, probes=(), versions=(), chain=None, findings=())
    assert [each.title for each in together(around, result).findings] == ["verify failed", "other"]
    for severity, left in ((Severity.ERROR, ["expired", "other"]), (Severity.WARNING, ["expired", "verify failed", "other"])):
        told = replace(around, findings=(finding(Cause.CERTIFICATE, severity, "expired"),))
        assert [each.title for each in together(told, result).findings] == left
