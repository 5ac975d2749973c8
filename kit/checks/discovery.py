"""Which server an address sends through: what each source says, where they disagree, and the one to use.

    table ─┐
    DNS   ─┼─► Told… ─► judge ─► Discovery ─► Profile
    HTTPS ─┘

One of the few modules that reach out; `read_autoconfig` and `judge` do not.
"""

from __future__ import annotations

import asyncio
import shlex
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Unpack
from urllib.parse import quote

from kit import fields
from kit.checks.dns import Answer, Nameserver, look_up, mail_hosts
from kit.checks.web import fetch
from kit.errors import UsageError
from kit.knowledge.providers import Provider, find_provider, find_provider_by_host, find_provider_by_mx
from kit.model import Finding, Profile, Security
from kit.profiles import Options, build_profile, override
from kit.sending.findings import found

_MOST_SERVERS: Final = 8  # of one source
_ISPDB: Final = "https://autoconfig.thunderbird.net/v1.1/"

_SOCKETS: Final = {"SSL": Security.TLS, "STARTTLS": Security.STARTTLS, "plain": Security.NONE}
_AUTHENTICATIONS: Final = {
    "password-cleartext": ("PLAIN", "LOGIN"),
    "plain": ("PLAIN", "LOGIN"),  # its older name
    "password-encrypted": ("CRAM-MD5",),
    "secure": ("CRAM-MD5",),
    "OAuth2": ("XOAUTH2", "OAUTHBEARER"),
}


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
        proven: nobody on the way could have made it up: it is the kit's own, came by verified TLS or with DNSSEC, or stays within the domain.
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
    """What one source gave, the server it would have used first, and how, or why it gave none."""

    source: Source
    candidates: tuple[Candidate, ...]
    why: str


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
            raise UsageError(
                "nobody names a mail server for this domain that can be signed in to safely",
                where=fields.shown(self.target),
                next_step=f"Ask whoever runs it for the server's name, then: kit check HOST --user {shlex.quote(self.target)}",
            )
        user = self.chosen.user or (self.target if "@" in self.target else None)
        return override(build_profile(host=self.chosen.host, port=self.chosen.port, security=self.chosen.security, user=user), options)


async def discover(
    target: str,
    *,
    ask_third_parties: bool = False,
    timeout: float = 8.0,  # noqa: ASYNC109
    nameserver: Nameserver | None = None,
) -> Discovery:
    """All sources at once about an address or a domain. What they fail to say is in the result and never raised.

    The domain's own name servers and its own web server are asked; the latter learns the address, as mail programs tell it too.

    Args:
        target: an address, or a domain.
        ask_third_parties: ask Thunderbird's database as well, whose keeper then learns the domain.
        timeout: seconds for each source.
        nameserver: address and port, in place of the system's.

    Raises:
        UsageError: the target is neither an address nor a domain.
    """
    address = fields.check_address("TARGET", target) if "@" in target else None
    domain = fields.check_host(target.rpartition("@")[2])

    async def ask(name: str, kind: str) -> Answer:
        return await look_up(name, kind, timeout=timeout, nameserver=nameserver)

    async def ask_web(source: Source, *urls: str) -> Told:
        whys = []
        for url in urls:
            document = await fetch(url, timeout=timeout / len(urls), nameserver=nameserver)
            if document.body is None:
                whys.append(f"{url.partition('?')[0]}: {document.why}")
                continue
            try:
                candidates = read_autoconfig(document.body, source, address=address, domain=domain)
            except ValueError as fault:
                whys.append(f"{url.partition('?')[0]}: {fault}")
                continue
            return Told(source=source, candidates=candidates, why=f"from {document.url.partition('?')[0]}")
        return Told(source=source, candidates=(), why="; ".join(whys))

    query = f"?emailaddress={quote(address)}" if address else ""
    path = f"mail/config-v1.1.xml{query}"
    own = ask_web(Source.AUTOCONFIG, f"https://autoconfig.{domain}/{path}", f"https://{domain}/.well-known/autoconfig/{path}")
    mx, tls, starttls, autoconfig = await asyncio.gather(
        ask(domain, "MX"), ask(f"_submissions._tcp.{domain}", "SRV"), ask(f"_submission._tcp.{domain}", "SRV"), own
    )
    ispdb = Told(source=Source.ISPDB, candidates=(), why="not asked: its keeper would learn the domain")
    if ask_third_parties:
        ispdb = await ask_web(Source.ISPDB, _ISPDB + domain)
    told = (_by_domain(domain), autoconfig, _by_srv(domain, tls, starttls), _by_mx(mx), ispdb)
    return judge(target, domain, told, srv_says_no=_says_no(tls) and _says_no(starttls))


# --- what each source says ----------------------------------------------------------------------------------------


def _by_domain(domain: str) -> Told:
    provider = find_provider(domain)
    if provider is None:
        return Told(source=Source.DOMAIN, candidates=(), why="the kit's table does not know this domain")
    return Told(source=Source.DOMAIN, candidates=_of(provider, Source.DOMAIN), why=f"{provider.name}: {provider.source}")


def _by_mx(mx: Answer) -> Told:
    """Who takes a domain's mail often sends it too. Only services of the table are named: a forged answer cannot name another."""
    hosts = [each.host for each in mail_hosts(mx)]
    if hosts == [""]:
        return Told(source=Source.MX, candidates=(), why="the domain says that it takes no mail (null MX, RFC 7505)")
    if not hosts:
        return Told(source=Source.MX, candidates=(), why=f"MX of {mx.name}: {mx.detail or mx.status}")
    for host in hosts:
        provider = find_provider_by_mx(host)
        if provider:
            return Told(source=Source.MX, candidates=_of(provider, Source.MX), why=f"the domain's mail goes to {host}, {provider.name}")
    return Told(
        source=Source.MX,
        candidates=(),
        why=f"the domain's mail goes to {', '.join(hosts[:4])}, of no service that the kit knows; whoever runs that may run sending too",
    )


def _of(provider: Provider, source: Source) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(source=source, host=provider.host, port=port, security=security, mechanisms=provider.mechanisms)
        for port, security in provider.ports
    )


def _by_srv(domain: str, tls: Answer, starttls: Answer) -> Told:
    """RFC 6186, 8314: the lower priority first, at the same one implicit TLS."""
    ranked: list[tuple[int, Candidate]] = []
    for answer, security in ((tls, Security.TLS), (starttls, Security.STARTTLS)):
        for each in mail_hosts(answer):
            if each.host:
                # RFC 6186 section 6: a target outside of the domain may be a forger's, unless DNSSEC vouches for it.
                within = each.host == domain or each.host.endswith(f".{domain}")
                proven = within or (answer.authenticated and answer.is_local)
                candidate = Candidate(source=Source.SRV, host=each.host, port=each.port, security=security, proven=proven)
                ranked.append((each.preference, candidate))
    whys = [
        f"{answer.name}: {'not offered' if _says_no(answer) else ', '.join(answer.records[:4]) or answer.detail or answer.status}"
        for answer in (tls, starttls)
    ]
    ranked.sort(key=lambda each: each[0])  # stable: who is first of one priority and kind stays it
    return Told(source=Source.SRV, candidates=tuple(candidate for _, candidate in ranked[:_MOST_SERVERS]), why="; ".join(whys))


def _says_no(answer: Answer) -> bool:
    """RFC 6186 section 3.4: the target `.` alone says that the service is not offered."""
    return bool(answer.records) and all(each.host == "" for each in mail_hosts(answer))


def read_autoconfig(document: bytes, source: Source, *, address: str | None, domain: str) -> tuple[Candidate, ...]:
    """The SMTP servers of an autoconfig document (Thunderbird's format, config-v1.1); such as cannot be right are left out.

    Raises:
        ValueError: it is no such document, or names no server.
    """
    import defusedxml.ElementTree  # noqa: PLC0415 - only those who have a document pay for it

    try:
        # A document of this format needs no DTD, and so no entities: whoever brings one means harm.
        root = defusedxml.ElementTree.fromstring(document, forbid_dtd=True)
    except (ValueError, SyntaxError, LookupError) as fault:  # defusedxml's, the parser's own, an unknown encoding
        raise ValueError(f"not the XML of an autoconfig document ({fields.shown(fault)})") from None
    candidates = []
    for server in root.iterfind("./emailProvider/outgoingServer"):
        words = {
            "%EMAILADDRESS%": address or "%EMAILADDRESS%",
            "%EMAILLOCALPART%": (address or "%EMAILLOCALPART%").rpartition("@")[0] or "%EMAILLOCALPART%",
            "%EMAILDOMAIN%": domain,
        }

        def said(field: str, words: dict[str, str] = words, server: object = server) -> str:
            text = (server.findtext(field) or "").strip()[:512]  # type: ignore[attr-defined]
            for word, meaning in words.items():
                text = text.replace(word, meaning)
            return str(text)

        security, port = _SOCKETS.get(said("socketType")), said("port")
        if server.get("type") != "smtp" or security is None or not port.isascii() or not port.isdigit():
            continue
        mechanisms = [
            each for element in server.iterfind("authentication") for each in _AUTHENTICATIONS.get((element.text or "").strip(), ())
        ]
        user = said("username")
        try:
            candidates.append(
                Candidate(
                    source=source,
                    host=fields.check_host(said("hostname")),
                    port=fields.check_port(int(port)),
                    security=security,
                    mechanisms=tuple(dict.fromkeys(mechanisms)),
                    user=None if not user or "%EMAIL" in user else fields.check_text("username", user),
                    # The document may be read by everybody on the way here, not changed; a third party's word is another matter.
                    proven=source is Source.AUTOCONFIG,
                )
            )
        except UsageError:
            continue
        if len(candidates) == _MOST_SERVERS:
            break
    if not candidates:
        raise ValueError("it names no SMTP server that could be one")
    return tuple(candidates)


# --- what to make of it -------------------------------------------------------------------------------------------


def judge(target: str, domain: str, told: tuple[Told, ...], *, srv_says_no: bool = False) -> Discovery:
    """The server to use, why, and what is odd about what was told."""
    spoke = [each for each in told if each.candidates]
    safe = [(each, candidate) for each in spoke for candidate in each.candidates if candidate.security is not Security.NONE]
    first, chosen = safe[0] if safe else (None, None)
    if first and chosen:
        # Within one source implicit TLS comes first (RFC 8314 section 3.3), but SRV's own order is the domain's wish.
        if first.source is not Source.SRV:
            chosen = next((each for each in first.candidates if each.security is Security.TLS), chosen)
        others = [each.source for each in spoke if each is not first and any(_same(chosen, other) for other in each.candidates)]
        reason = f"{chosen.text}: from {chosen.source}" + (f"; {' and '.join(others)} agree" if others else "")
    else:
        reason = "no source names a server that protects the password"
    profile = Profile(host=chosen.host if chosen else domain, port=chosen.port if chosen else 587, security=Security.STARTTLS)
    findings = []
    if chosen and any(not any(_same(chosen, other) for other in each.candidates) for each in spoke):
        findings.append(
            found("discovery-disagrees", profile, *(f"{each.source}: {', '.join(c.text for c in each.candidates[:3])}" for each in spoke))
        )
    if srv_says_no and chosen:
        findings.append(found("srv-says-no", profile, *(each.why for each in told if each.source is Source.SRV)))
    if chosen and not chosen.proven and len({each.source for each in spoke if any(_same(chosen, other) for other in each.candidates)}) == 1:
        findings.append(found("discovery-unproven", profile, reason))
    plain = [candidate for each in spoke for candidate in each.candidates if candidate.security is Security.NONE]
    if plain:
        findings.append(found("discovery-plain", profile, *(f"{each.source}: {each.text}" for each in plain[:4])))
    return Discovery(target=target, domain=domain, told=told, chosen=chosen, reason=reason, findings=tuple(findings))


def _same(one: Candidate, other: Candidate) -> bool:
    """They do not contradict each other: the same server or service, and if the same port then the same security."""
    of_one = one.host == other.host or (one.provider is not None and one.provider is other.provider)
    return of_one and (one.port != other.port or one.security is other.security)
