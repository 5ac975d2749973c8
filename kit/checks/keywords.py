"""What a server's answers to EHLO promise, by `kit/knowledge/keywords.toml`: limits that bite, words that get lost on the way. Opens nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from kit.knowledge.findings import found
from kit.knowledge.load import load_table
from kit.knowledge.providers import find_provider_by_host
from kit.model import Finding, Probe, Profile, Reply, Security
from kit.sending.reply import Offer, parse_offer

_LONGEST: Final = 512  # characters of one line that are looked at


def judge_keywords(profile: Profile, probes: tuple[Probe, ...]) -> Iterator[Finding]:
    """What is promised on the port that is meant, by the first address that answers there; and whether STARTTLS was taken out anywhere."""
    yield from _stripped(profile, probes)
    probe = next((probe for probe in probes if probe.port == profile.port and offers(probe)), None)
    if probe is None:
        return
    before, after = (offers(probe)[place].extensions for place in (0, -1))
    if probe.tls and (lost := [name for name in load_table("keywords")["inside"] if name in before - after]):
        yield found("keyword-lost", profile, f"port {probe.port}, before TLS and not after: {' '.join(lost)}")
    lines = [line[:_LONGEST].upper() for line in _answers(probe)[-1].lines[1:]]
    for rule in load_table("keywords")["rule"]:
        match = next(filter(None, (re.fullmatch(rule["pattern"], line) for line in lines)), None)  # what is said twice counts once
        if match and ("least" not in rule or int(match[1]) < rule["least"]):
            yield found(rule["finding"], profile, f"port {probe.port}: {match[0][:80]}")


def differing(one: Probe, other: Probe) -> Iterator[str]:
    """What one address promises and the other does not, EHLO for EHLO."""
    for name in load_table("keywords")["everywhere"]:
        for stage in zip(offers(one), offers(other), strict=False):
            has = [name in offer.extensions for offer in stage]
            if any(has) and not all(has):
                first, second = (one, other) if has[0] else (other, one)
                yield f"{name}: offered over {first.family}, not over {second.family}"
                break


def offers(probe: Probe) -> list[Offer]:
    """Before TLS and after it, as far as it came."""
    return [parse_offer(reply) for reply in _answers(probe)]


def _answers(probe: Probe) -> list[Reply]:
    return [step.reply for step in probe.steps if step.name == "ehlo" and step.reply and step.ok]


def _stripped(profile: Profile, probes: tuple[Probe, ...]) -> Iterator[Finding]:
    """A service that the kit knows offers STARTTLS; if its server does not, somebody on the way has taken it out of the answer."""
    provider = find_provider_by_host(profile.host)
    for probe in probes:
        known = provider and (probe.port, Security.STARTTLS) in provider.ports
        if provider and known and (said := offers(probe)) and "STARTTLS" not in said[0].extensions:
            offered = f"port {probe.port} offers: {' '.join(sorted(said[0].extensions)) or 'nothing'}"
            yield found("starttls-stripped", profile, offered, f"{provider.name} offers STARTTLS there: {provider.source}")
            return
