"""Servers that an address may send through, who named them, and which one to use. Opens nothing: `discovery` brings what is judged here."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import StrEnum
from typing import Unpack

from kit import fields
from kit.errors import UsageError
from kit.knowledge.findings import found
from kit.knowledge.providers import Provider, find_provider_by_host
from kit.model import Finding, Profile, Security
from kit.profiles import Options, build_profile, override


class Source(StrEnum):
    """Who says it, the most believable first: what the kit has read itself, then what is proven by TLS, then mere DNS, then a stranger."""

    DOMAIN = "the kit's table, by the address's domain"
    AUTOCONFIG = "the domain's own autoconfig document"
    SRV = "the domain's SRV records"
    MX = "the kit's table, by the domain's mail servers"
    ISPDB = "Thunderbird's database of providers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A server that a source names.

    Attributes:
        mechanisms: that the source speaks of; empty where it does not.
        user: what to sign in as, where the source knows better than the address.
        proven: a forged DNS answer cannot have made it up; see `discovery`.
        provider: the service that the kit knows this server to belong to.
    """

    source: Source
    host: str
    port: int
    security: Security
    mechanisms: tuple[str, ...] = ()
    user: str | None = None
    proven: bool = True

    @property
    def provider(self) -> Provider | None:
        """The service that the kit knows by this server's name."""
        return find_provider_by_host(self.host)

    @property
    def text(self) -> str:
        """On one line."""
        return " ".join((f"{self.host}:{self.port}, security {self.security}", *self.mechanisms))


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one source gave.

    Attributes:
        candidates: the server that it would have used comes first.
        why: where it was found, or why there is none.
        refuses: it says that the domain offers no submission.
    """

    source: Source
    candidates: tuple[Candidate, ...]
    why: str
    refuses: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What all sources gave, and what the kit makes of it.

    Attributes:
        target: an address, or a domain.
        domain: of the mail, as DNS has it.
        told: one for each source, in the order of `Source`.
        chosen: the server to use; None where nobody named one that protects the password.
        reason: why that one.
    """

    target: str
    domain: str
    told: tuple[Told, ...]
    chosen: Candidate | None
    reason: str
    findings: tuple[Finding, ...]

    def profile(self, **options: Unpack[Options]) -> Profile:
        """The chosen server as a profile.

        Args:
            options: what was said beside the target, and counts instead.

        Raises:
            UsageError: nobody named a server, or an option cannot be right.
        """
        if self.chosen is None:
            hint = "".join(f"; {each.why}" for each in self.told if each.source is Source.MX)  # also says that DNS does not answer
            raise UsageError(
                f"nobody names a mail server for this domain that can be signed in to safely{hint}",
                where=fields.shown(self.target),
                next_step=f"Ask whoever runs it for the server's name, then: kit check HOST --user {shlex.quote(self.target)}",
            )
        user = self.chosen.user or (self.target if "@" in self.target else None)
        return override(build_profile(host=self.chosen.host, port=self.chosen.port, security=self.chosen.security, user=user), options)


def judge(target: str, domain: str, told: tuple[Told, ...]) -> Discovery:
    """The server to use, why, and what is odd about what was told.

    Args:
        target: what was asked for.
        domain: of the mail.
        told: the most believable source first.
    """
    spoke = [each for each in told if each.candidates]
    plain = [candidate for each in spoke for candidate in each.candidates if candidate.security is Security.NONE]
    chosen = next((first for each in spoke if (first := _first_of(each))), None)
    profile = Profile(host=chosen.host if chosen else domain, port=chosen.port if chosen else 587, security=Security.STARTTLS)
    findings = []
    reason = "no source names a server that protects the password"
    if chosen:
        others = [each for each in spoke if each.source is not chosen.source]
        agree = [each.source for each in others if any(_same(chosen, other) for other in each.candidates)]
        reason = f"{chosen.text}: from {chosen.source}" + (f"; {' and '.join(agree)} agree" if agree else "")
        # Where a domain's mail arrives is a hint at who sends it, and no statement that could be contradicted.
        if any(each.source not in (*agree, Source.MX) for each in others):
            said = [f"{each.source}: {', '.join(candidate.text for candidate in each.candidates[:3])}" for each in spoke]
            findings.append(found("discovery-disagrees", profile, *said))
        if any(each.refuses for each in told):
            findings.append(found("srv-says-no", profile, *(each.why for each in told if each.refuses)))
        if not chosen.proven and not agree:
            findings.append(found("discovery-unproven", profile, reason))
    if plain:
        findings.append(found("discovery-plain", profile, *(f"{each.source}: {each.text}" for each in plain[:4])))
    return Discovery(target=target, domain=domain, told=told, chosen=chosen, reason=reason, findings=tuple(findings))


def _first_of(told: Told) -> Candidate | None:
    """The one to use of one source: implicit TLS comes first (RFC 8314 section 3.3), but SRV's own order is the domain's wish."""
    safe = [each for each in told.candidates if each.security is not Security.NONE]
    if told.source is not Source.SRV:
        safe.sort(key=lambda each: each.security is not Security.TLS)
    return safe[0] if safe else None


def _same(one: Candidate, other: Candidate) -> bool:
    """They do not contradict each other: the same server or service, and if the same port then the same security."""
    of_one = one.host == other.host or (one.provider is not None and one.provider is other.provider)
    return of_one and (one.port != other.port or one.security is other.security)
