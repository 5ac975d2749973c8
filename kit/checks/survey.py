"""All that can be learned of a host without a password: every usual port, each address family apart.

resolve → plan → probes (one connection each, three at once) → differences, matrix
                 └► of the port that is meant also every version of TLS, and the certificate chain
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from ssl import SSLContext
from time import perf_counter
from typing import Any, Final, TypeVar

from kit.checks.chain import Chain, VersionProbe, judge_chain, judge_versions
from kit.checks.differences import judge, judge_external
from kit.checks.dns import DnsView, probe_dns
from kit.checks.keywords import judge_keywords
from kit.checks.policies import judge_dns
from kit.model import Cause, CheckResult, Finding, Probe, Profile, Security, Severity
from kit.profiles import build_profile
from kit.sending.approach import approach, hang_up
from kit.sending.findings import found_broken
from kit.sending.reply import Offer, parse_offer
from kit.sending.session import Broken, Session
from kit.sending.transport import Address, connect, resolve, tls_context

T = TypeVar("T")

AT_ONCE: Final = 3
"""Connections to a host at once: more, and the operator's own address may be banned."""
USUAL: Final = ((465, Security.TLS), (587, Security.STARTTLS), (25, Security.STARTTLS), (2525, Security.STARTTLS))
"""Ports on which mail is taken, and how each begins: RFC 8314, RFC 6409, RFC 5321; 2525 is custom."""
_TLS_PROBES: Final = 5  # four versions, and the chain
_PATIENCE: Final = 10.0  # seconds; Postfix's postscreen makes strangers wait for six


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a host has to offer, and where its ports, addresses and names differ.

    Attributes:
        dns: None where the host is an address, or a name of this machine.
        versions, chain: of TLS on the port that is meant; empty and None where no handshake came about there.
    """

    host: str
    dns: DnsView | None
    probes: tuple[Probe, ...]
    versions: tuple[VersionProbe, ...]
    chain: Chain | None
    findings: tuple[Finding, ...]


async def survey(
    profile: Profile,
    *,
    others: Iterable[tuple[int, Security]] = (),
    on_plan: Callable[[int], None] | None = None,
    on_probe: Callable[[Probe | VersionProbe], None] | None = None,
    gentle: bool = False,
) -> Survey:
    """Look at the profile's port, and if wanted at the other usual ones, without signing in.

    Args:
        profile: the host, and the port and security that are meant.
        others: ports to look at too, and how each begins; see USUAL.
        on_plan: is told the number of connections before the first.
        on_probe: is told of every probe as it ends.
        gentle: one connection after the other.

    Raises:
        UsageError: settings that cannot be right.
    """
    profile = build_profile(**asdict(profile))
    context = tls_context(profile)
    gate = asyncio.Semaphore(1 if gentle else AT_ONCE)

    async def run(work: Coroutine[Any, Any, T]) -> T:
        async with gate:
            found = await work
        if on_probe and isinstance(found, (Probe, VersionProbe)):
            on_probe(found)
        return found

    async def look_closer(climbs: list[asyncio.Task[Probe]]) -> tuple[tuple[VersionProbe, ...], Chain | None]:
        """TLS on the port that is meant, one version a connection, where there is any."""
        speaks = [_shakes_hands(await climb, profile) for climb in climbs]
        if not any(speaks):
            return (), None
        from kit.checks.tls import VERSIONS, probe_chain, probe_tls_version  # noqa: PLC0415 - only those who get so far pay for it

        address, _ = plan[speaks.index(True)]
        each = asyncio.gather(*(run(probe_tls_version(address, profile, version)) for version in VERSIONS))
        chain, versions = await asyncio.gather(run(probe_chain(address, profile)), each)
        return tuple(versions), chain

    plan, main = await _plan(profile, others)
    if on_plan and plan:
        on_plan(len(plan) + (_TLS_PROBES if profile.security is not Security.NONE else 0))
    climbs = [asyncio.create_task(run(probe_port(address, settings, context))) for address, settings in plan]
    dns, (versions, chain), probes = await asyncio.gather(_look_up(profile), look_closer(climbs[:main]), asyncio.gather(*climbs))
    now = datetime.now(UTC)
    findings = [
        *(judge_dns(dns, chain, now) if dns else ()),
        *judge(profile, tuple(probes)),
        *judge_keywords(profile, tuple(probes)),
        *(judge_versions(versions, profile) if versions else ()),
        *(judge_chain(chain, profile, now) if chain and (chain.certificates or any(probe.tls for probe in probes[:main])) else ()),
        *(judge_external(chain, profile, tuple(probes)) if chain else ()),
    ]
    return Survey(host=profile.host, dns=dns, probes=tuple(probes), versions=versions, chain=chain, findings=tuple(findings))


def together(around: Survey, result: CheckResult) -> CheckResult:
    """The check with what was found around it. Of a certificate that is no good or missing, on either side, the look at the chain tells more.

    In TLS 1.2 the check itself hears of a missing one only that nothing is in common.
    """
    wrong = any(finding.cause is Cause.CERTIFICATE and finding.severity is Severity.ERROR for finding in around.findings)
    own = [finding for finding in result.findings if not wrong or finding.cause not in (Cause.CERTIFICATE, Cause.TLS_TOO_OLD)]
    return replace(result, findings=(*around.findings, *own))


def _shakes_hands(probe: Probe, profile: Profile) -> bool:
    """Whether TLS is spoken there: it came about, or failed otherwise than by silence."""
    last = probe.steps[-1]
    return probe.tls is not None or (last.name == "tls" and last.seconds < profile.timeout * 0.9)


async def _look_up(profile: Profile) -> DnsView | None:
    host = profile.host
    if ":" in host or host.rpartition(".")[2].isdigit() or host.rpartition(".")[2] in ("localhost", "local"):
        return None
    return await probe_dns(host, profile.port, timeout=min(profile.timeout, _PATIENCE))


async def _plan(profile: Profile, others: Iterable[tuple[int, Security]]) -> tuple[list[tuple[Address, Profile]], int]:
    """One probe a port; of the port that is meant one a family, for a client may take either: how many that are."""
    try:
        addresses = await resolve(profile)
    except Broken:
        return [], 0  # the check itself says so
    families = {address.family: address for address in reversed(addresses)}
    plan = [(address, profile) for address in sorted(families.values(), key=addresses.index)]
    main = len(plan)
    hurried = replace(profile, timeout=min(profile.timeout, _PATIENCE))
    for port, security in others:
        if port != profile.port:
            plan.append((replace(addresses[0], port=port), replace(hurried, port=port, security=security)))
    return plan, main


async def probe_port(address: Address, profile: Profile, context: SSLContext) -> Probe:
    """One connection, from connect to close, as far as it goes without a password."""
    session, began, offer = Session(), perf_counter(), None
    try:
        wire = await session.take("connect", connect(address, profile, context), lambda wire: wire.address)
        try:
            if profile.security is Security.TLS:
                await session.encrypt(wire)
            offer = await approach(session, wire, profile, wire.client)
            await hang_up(session, wire)
        finally:
            await wire.close()
    except Broken as broken:
        session.findings.append(found_broken(broken, session.steps[-1], profile))
    offers = [parse_offer(step.reply) for step in session.steps if step.name == "ehlo" and step.reply]
    inside = offers[-1] if offers and (session.tls or profile.security is Security.NONE) else Offer()
    return Probe(
        port=profile.port,
        security=profile.security,
        family="IPv6" if ":" in address.host else "IPv4",
        address=address.host,
        seconds=round(perf_counter() - began, 6),
        connected=session.steps[0].ok,
        tls=session.tls.version if session.tls else None,
        clear=offers[0].mechanisms if offers and profile.security is not Security.TLS else (),
        mechanisms=inside.mechanisms,
        extensions=tuple(sorted(offers[-1].extensions)) if offers else (),
        steps=tuple(session.steps),
        problem=session.findings[-1] if offer is None else None,  # a 421 is one too, though it is only a warning
    )
