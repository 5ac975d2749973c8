"""Which server an address sends through: what each source says of it.

    table ─┐
    DNS   ─┼─► Told… ─► judge ─► Discovery ─► Profile
    HTTPS ─┘

One of the few modules that reach out; `read_autoconfig` does not, nor does `judge` in `candidates`.
"""

from __future__ import annotations

import asyncio
from itertools import chain, islice, product
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from kit import fields
from kit.checks.candidates import Candidate, Discovery, Source, Told, judge
from kit.checks.dns import Answer, Nameserver, look_up, mail_hosts
from kit.checks.web import fetch
from kit.errors import UsageError
from kit.knowledge.providers import Provider, find_provider, find_provider_by_host, find_provider_by_mx
from kit.model import Security

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element  # the type alone: defusedxml does the reading

__all__ = ["Discovery", "discover", "read_autoconfig"]

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
    return judge(target, domain, told)


# --- what each source says ----------------------------------------------------------------------------------------


def _by_domain(domain: str) -> Told:
    provider = find_provider(domain)
    if provider is None:
        return Told(source=Source.DOMAIN, candidates=(), why="the kit's table does not know this domain")
    return Told(source=Source.DOMAIN, candidates=_of(provider, Source.DOMAIN), why=f"{provider.name}: {provider.evidence}")


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
                # RFC 6186 section 6: a target outside of the domain may be a forger's, unless DNSSEC vouches for it. One of the kit's
                # table would gain a forger nothing.
                within = each.host == domain or each.host.endswith(f".{domain}")
                proven = within or (answer.authenticated and answer.is_local) or find_provider_by_host(each.host) is not None
                candidate = Candidate(source=Source.SRV, host=each.host, port=each.port, security=security, proven=proven)
                ranked.append((each.preference, candidate))
    whys = [
        f"{answer.name}: {'not offered' if _says_no(answer) else ', '.join(answer.records[:4]) or answer.detail or answer.status}"
        for answer in (tls, starttls)
    ]
    ranked.sort(key=lambda each: each[0])  # stable: who is first of one priority and kind stays it
    candidates = tuple(candidate for _, candidate in ranked[:_MOST_SERVERS])
    return Told(source=Source.SRV, candidates=candidates, why="; ".join(whys), refuses=_says_no(tls) and _says_no(starttls))


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
    words = {"%EMAILDOMAIN%": domain}
    if address:
        words |= {"%EMAILADDRESS%": address, "%EMAILLOCALPART%": address.rpartition("@")[0]}
    servers = (_read_server(server, source, words) for server in root.iterfind("./emailProvider/outgoingServer"))
    candidates = tuple(islice((each for each in servers if each), _MOST_SERVERS))
    if not candidates:
        raise ValueError("it names no SMTP server that could be one")
    return candidates


def _read_server(server: Element, source: Source, words: dict[str, str]) -> Candidate | None:
    """One `outgoingServer`, if it can be right."""
    said = {field: (server.findtext(field) or "").strip()[:512] for field in ("hostname", "port", "socketType", "username")}
    for field, (word, meaning) in product(said, words.items()):
        said[field] = said[field].replace(word, meaning)
    security, port, user = _SOCKETS.get(said["socketType"]), said["port"], said["username"]
    if server.get("type") != "smtp" or security is None or not (port.isascii() and port.isdigit()):
        return None
    authentications = [_AUTHENTICATIONS.get((each.text or "").strip(), ()) for each in server.iterfind("authentication")]
    try:
        return Candidate(
            source=source,
            host=fields.check_host(said["hostname"]),
            port=fields.check_port(int(port)),
            security=security,
            mechanisms=tuple(dict.fromkeys(chain(*authentications))),
            user=None if not user or "%EMAIL" in user else fields.check_text("username", user),
        )
    except UsageError:
        return None
