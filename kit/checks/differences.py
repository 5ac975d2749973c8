"""What several probes of a host say together, and none of them alone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Final

from kit.checks.chain import Chain
from kit.checks.keywords import differing
from kit.knowledge.findings import found
from kit.model import Finding, Probe, Profile, Security

# Cisco's "ESMTP inspection" and its like overwrite what they do not want a client to see.
_REWRITTEN: Final = re.compile(r"\bX{4,}[A-Z]?\b|^\*{6,}")
_MAIL_PORTS: Final = (25, 465, 587, 2525)  # a port of another number may well be the sandbox's


def judge(profile: Profile, probes: tuple[Probe, ...]) -> tuple[Finding, ...]:
    """The differences that are worth knowing. Pure, but for whether this is a Binder session."""
    return (*_families(profile, probes), *_ports(profile, probes), *_rewritten(profile, probes))


def judge_external(chain: Chain, profile: Profile, probes: tuple[Probe, ...]) -> tuple[Finding, ...]:
    """A sign-in by certificate that can never come about on the port that is meant, as its TLS asks for none."""
    offered = any("EXTERNAL" in probe.mechanisms for probe in probes if probe.port == profile.port)
    idle = offered and chain.version is not None and not chain.client_certificate
    return (found("external-without-certificate", profile),) if idle else ()


def _families(profile: Profile, probes: tuple[Probe, ...]) -> Iterator[Finding]:
    same = [probe for probe in probes if probe.port == profile.port]
    for one, other in combinations(same, 2):
        up, down = (one, other) if one.connected else (other, one)
        if up.connected and not down.connected:
            yield found("family-dead", profile, f"{up.family} {up.address} answers", _told(down))
        elif up.connected and (evidence := [*differing(one, other), *_outcomes(one, other)]):
            yield found("families-differ", profile, *evidence)


def _outcomes(*pair: Probe) -> Iterator[str]:
    """Where it led, if not to the same over both families."""
    if len({probe.problem.title if probe.problem else "" for probe in pair}) > 1:
        yield from (f"over {probe.family}: {probe.problem.title}" for probe in pair if probe.problem)
    elif len({frozenset(probe.mechanisms) for probe in pair}) > 1:
        yield from (f"AUTH over {probe.family}: {' '.join(probe.mechanisms) or 'none'}" for probe in pair)


def _ports(profile: Profile, probes: tuple[Probe, ...]) -> Iterator[Finding]:
    by_port = {port: [p for p in probes if p.port == port] for port in {p.port for p in probes}}
    usable = {port for port, tried in by_port.items() if any(p.connected for p in tried)}
    if probes and not usable and profile.port in _MAIL_PORTS and any(key.startswith("BINDER_") for key in os.environ):
        yield found("binder-no-mail", profile, *map(_told, probes))
        return
    if len(by_port) < 2:
        return
    if not usable:
        yield found("no-port-answers", profile, *map(_told, probes))
        return
    if 587 in usable and 465 in by_port and 465 not in usable:
        yield found("only-587", profile, *map(_told, by_port[465]))
    if 465 in usable and 587 in by_port and 587 not in usable:
        yield found("only-465", profile, *map(_told, by_port[587]))
    if 25 in by_port and 25 not in usable:
        yield found("blocked-25", profile, *map(_told, by_port[25]))
    if profile.port not in usable and (better := next((port for port in (465, 587, 2525) if port in usable), None)):
        yield found("another-port", profile, f"port {better} answers", *map(_told, by_port[profile.port]))


def _rewritten(profile: Profile, probes: tuple[Probe, ...]) -> Iterator[Finding]:
    for probe in probes:
        for step in probe.steps:
            for line in step.reply.lines if step.reply and step.name in ("banner", "ehlo") else ():
                if probe.security is not Security.TLS and _REWRITTEN.search(line):
                    yield found("rewritten", profile, f"port {probe.port}, {step.name}: {line[:80]}")
                    return


def _told(probe: Probe) -> str:
    last = probe.steps[-1]
    return f"port {probe.port} over {probe.family}: {last.detail or (last.reply.text if last.reply else last.name)}"
