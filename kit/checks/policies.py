"""What a name's DNS records mean for those who hand mail to it: null MX, DANE, MTA-STS. Opens nothing: `probe_dns` brings what is judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from kit.checks.chain import Chain, judge_dates, judge_name
from kit.checks.dns import Answer, DnsStatus, DnsView, is_sts, mail_hosts, plain
from kit.knowledge.findings import found
from kit.model import Finding, Profile, Security, Severity

if TYPE_CHECKING:
    from kit.checks.web import Document

_MOST_LINES: Final = 32  # of a policy


def judge_dns(view: DnsView, chain: Chain | None = None, now: datetime | None = None) -> tuple[Finding, ...]:
    """What there is to say about it. That a name has no address, the connection's own step says.

    Args:
        view: what `probe_dns` brought.
        chain: the certificates that the server shows at that port, where it showed any.
        now: at which they must be valid; goes with `chain`.
    """
    profile = Profile(host=view.host, port=view.port, security=Security.STARTTLS)
    findings = []
    hosts = [each.host for each in mail_hosts(view.mx)]
    if hosts == [""]:
        findings.append(found("mx-null", profile, f"{view.host} MX {view.mx.records[0]}"))
    elif hosts and view.host not in hosts:
        findings.append(found("host-is-mail-domain", profile, *(f"{view.host} MX {record}" for record in view.mx.records[:4])))
    silent = [answer for answer in (view.a, view.aaaa) if not answer.status.known]
    if silent:
        findings.append(found("dns-no-answer", profile, *map(_no_answer, silent)))
    findings += _judge_tlsa(view, profile, chain if chain and chain.certificates else None, now)
    if view.sts is not None:
        servers = hosts if hosts and view.domain == view.host else [view.host]
        findings += _judge_sts(view.sts, view.policy, replace(profile, host=view.domain), servers)
    return tuple(findings)


def _no_answer(answer: Answer) -> str:
    return f"{answer.name} {answer.kind}: {answer.status}" + (f" ({answer.detail})" if answer.detail else "")


def _judge_tlsa(view: DnsView, profile: Profile, chain: Chain | None, now: datetime | None) -> Iterator[Finding]:
    """RFC 7672 section 2.2: TLSA records count where DNSSEC vouches for them, and nowhere else."""
    tlsa = view.tlsa
    evidence = [f"{tlsa.name} TLSA {_short(record)}" for record in tlsa.records[:4]]
    if tlsa.status is DnsStatus.SERVER_FAILURE and view.port == 25 and (view.a.status.known or view.aaaa.status.known):
        # RFC 7672 section 2.1.1: who sends mail there must wait then, as the records may say that TLS is a must.
        yield found("tlsa-failing", profile, _no_answer(tlsa))
    if not evidence:
        return
    if not tlsa.signed:
        yield found("tlsa-unsigned", profile, *evidence)
        return
    trust = "tlsa-unchecked" if not tlsa.authenticated else "tlsa-local" if tlsa.is_local else "tlsa-remote"
    if chain:
        yield _judge_fit(tlsa, profile, chain, now)
    if trust != "tlsa-local" or not chain:
        yield found(trust, profile, *evidence, f"name server: {tlsa.nameserver}")


def _judge_fit(tlsa: Answer, profile: Profile, chain: Chain, now: datetime | None) -> Finding:
    """One record that fits is enough; several are the way to change a key.

    Whether somebody here has checked the signatures does not matter: those who send mail to it do.
    """
    from kit.checks.dane import compare, fitting  # noqa: PLC0415 - only those who have both pay for it

    # RFC 7672 sections 3.1.1 and 3.1.2: usage 3 says all that there is to say of a certificate, usage 2 leaves name and dates to it.
    flaws = [
        each.title
        for each in (*(judge_dates(chain, profile, now) if now else ()), *judge_name(chain, profile))
        if each.severity is Severity.ERROR
    ]
    lines: dict[bool | None, list[str]] = {True: [], False: [], None: []}
    for record in tlsa.records:
        fits, why = compare(record, chain)
        if fits and flaws and record.startswith("2"):
            fits, why = False, f"{why}, but: {flaws[0]}"
        lines[fits].append(f"{_short(record)}: {why}")
    name = "tlsa-fits" if lines[True] else "tlsa-fits-not" if lines[False] else "tlsa-unusable"
    wanted = fitting(chain.certificates[0]) if not lines[True] else None
    evidence = [*lines[True], *lines[False], *lines[None]][:6]
    return found(name, profile, *evidence, *([f"this would fit: {tlsa.name} TLSA {wanted}"] if wanted else ()))


def _short(record: str) -> str:
    return record if len(record) <= 80 else record[:60] + "…"  # the digest of SHA-256 is shown whole


def _judge_sts(sts: Answer, document: Document | None, profile: Profile, hosts: list[str]) -> list[Finding]:
    """RFC 8461: a TXT record says that there is a policy, and HTTPS which."""
    versions = [record for record in sts.records if is_sts(record)]
    if not versions:
        return []
    if len(versions) > 1:  # section 3.1: then it counts as none
        return [found("sts-twice", profile, *versions)]
    if document is None or document.body is None:
        return [found("sts-no-policy", profile, versions[0], document.why if document else "")]
    lines = document.body.decode("utf-8", "replace").splitlines()[:_MOST_LINES]
    said = [(key.strip(), value.strip()) for key, _, value in (plain(line).partition(":") for line in lines)]
    policy = dict(reversed(said))  # section 3.2: of what is said twice the first counts
    patterns = [value.lower() for key, value in said if key == "mx"]
    mode = policy.get("mode")
    if (
        policy.get("version") != "STSv1"
        or mode not in ("enforce", "testing", "none")
        or (mode != "none" and not patterns)
        or not policy.get("max_age", "").isdecimal()
    ):
        return [found("sts-no-policy", profile, *(f"{key}: {value}" for key, value in said[:4]))]
    strays = [host for host in hosts if mode != "none" and not any(_sts_match(host, pattern) for pattern in patterns)]
    evidence = [f"mode: {mode}", *(f"mx: {pattern}" for pattern in patterns[:4])]
    if strays:
        return [found("sts-mx-missing", profile, *(f"not in the policy: {host}" for host in strays[:4]), *evidence)]
    return [found("sts-policy", profile, *evidence)]


def _sts_match(host: str, pattern: str) -> bool:
    """Section 4.1: `*.` stands for exactly one label."""
    return host == pattern or (pattern.startswith("*.") and host.partition(".")[2] == pattern[2:])
