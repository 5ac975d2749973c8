"""What DNS says of a name. The look-ups hand back values, never exceptions: that there is no answer is an answer too.

One of the few modules that open something; what the answers mean is said in `policies`.
"""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from kit import fields
from kit.errors import UsageError

if TYPE_CHECKING:
    from kit.checks.web import Document

Nameserver = tuple[str, int]  # address and port, in place of the system's

_MOST_RECORDS: Final = 32  # of one answer
_LONGEST: Final = 512  # characters of one record,
_LONGEST_TLSA: Final = 16 * 1024  # which may hold a whole certificate


class DnsStatus(StrEnum):
    """What became of one question."""

    FOUND = "found"
    NO_DATA = "no data"  # the name exists, without a record of this kind
    NO_SUCH_NAME = "no such name"
    SERVER_FAILURE = "server failure"  # the name's own servers are down, or DNSSEC does not add up
    REFUSED = "refused"
    TIME_OUT = "time-out"
    FAILED = "failed"  # no name server is known, it cannot be reached, or what came is no DNS

    @property
    def known(self) -> bool:
        """The question was answered, be it with nothing."""
        return self in (DnsStatus.FOUND, DnsStatus.NO_DATA, DnsStatus.NO_SUCH_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to one question.

    Attributes:
        kind: `A`, `MX`, `SRV`, …
        records: as a zone file has them, texts (TXT) without their quotes; bounded, control characters escaped.
        chain: the names that CNAME leads through, from the first behind `name` on.
        nameserver: whom the answer is from; None where there was none.
        authenticated: the name server says that it checked DNSSEC (the AD bit). It is as true as the way to it: see `is_local`.
        signed: signatures came along. Asked for with TLSA only.
        detail: what is worth knowing where there is no answer.
    """

    name: str
    kind: str
    status: DnsStatus
    records: tuple[str, ...] = ()
    chain: tuple[str, ...] = ()
    nameserver: str | None = None
    authenticated: bool = False
    signed: bool = False
    detail: str | None = None

    @property
    def is_local(self) -> bool:
        """The name server runs on this machine, so nobody on the way could have set the AD bit."""
        return self.nameserver is not None and ipaddress.ip_address(self.nameserver.partition("%")[0]).is_loopback


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsView:
    """All that DNS says of a mail server's name.

    Attributes:
        mx: mail servers of the host's name, as it may be a mail domain itself.
        tlsa: what DANE (RFC 6698) says of the port's certificate.
        domain: whose mail the host takes, as far as its name tells: the domain above it, where that one's MX says so, else itself.
        sts, policy: MTA-STS (RFC 8461) of that domain, asked where servers hand mail to servers (port 25); else None.
    """

    host: str
    port: int
    a: Answer
    aaaa: Answer
    mx: Answer
    tlsa: Answer
    domain: str
    sts: Answer | None = None
    policy: Document | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of both families."""
        return self.a.records + self.aaaa.records


@dataclass(frozen=True, slots=True, kw_only=True)
class MailHost:
    """One MX record, or one SRV record.

    Attributes:
        preference: the lower one is tried first.
        weight: of SRV; among equals the heavier one is the likelier.
        host: empty where the record says that there is none (`.`).
    """

    host: str
    preference: int
    weight: int = 0
    port: int = 25


def mail_hosts(answer: Answer) -> tuple[MailHost, ...]:
    """The records of an MX or SRV answer, the first to try first; such as cannot be right are left out."""
    hosts = []
    for record in answer.records:
        *numbers, target = record.split()
        preference, weight, port = map(int, numbers) if answer.kind == "SRV" else (int(numbers[0]), 0, 25)
        try:
            host = "" if target == "." else fields.check_host(target)
            hosts.append(MailHost(host=host, preference=preference, weight=weight, port=fields.check_port(port) if host else port))
        except UsageError:
            continue
    return tuple(sorted(hosts, key=lambda each: (each.preference, -each.weight, each.host, each.port)))


async def look_up(name: str, kind: str, *, timeout: float = 5.0, nameserver: Nameserver | None = None) -> Answer:  # noqa: ASYNC109
    """One question to the system's name servers, or to `nameserver`.

    Args:
        name: as DNS has it.
        kind: `A`, `MX`, `SRV`, …
        timeout: seconds for everything, retries and other name servers included.
        nameserver: address and port, in place of the system's.
    """
    import dns.asyncresolver  # noqa: PLC0415 - only those who ask pay for it
    import dns.exception  # noqa: PLC0415
    import dns.flags  # noqa: PLC0415
    import dns.resolver  # noqa: PLC0415

    def no_answer(status: DnsStatus, detail: str | None = None, message: dns.message.Message | None = None) -> Answer:
        # RFC 8914: a name server may say why.
        said = [error.to_text() for error in message.extended_errors()] if message else []
        return Answer(name=name, kind=kind, status=status, detail=plain("; ".join(said) or detail or "") or None)

    try:
        resolver = dns.asyncresolver.Resolver(configure=nameserver is None)
        if nameserver is not None:
            resolver.nameservers, resolver.port = [nameserver[0]], nameserver[1]
        resolver.flags = dns.flags.RD | dns.flags.AD  # RFC 6840 section 5.7: AD in a question asks for it in the answer
        resolver.use_edns(0, dns.flags.DO if kind == "TLSA" else 0, 1232)
        answer = await resolver.resolve(dns.name.from_text(name), kind, raise_on_no_answer=False, lifetime=timeout)
    except dns.resolver.NXDOMAIN as fault:
        return no_answer(DnsStatus.NO_SUCH_NAME, message=next(iter(fault.kwargs["responses"].values()), None))
    except dns.exception.Timeout:
        return no_answer(DnsStatus.TIME_OUT, f"no name server answered within {timeout:g} s")
    except dns.resolver.NoNameservers as fault:
        *_, why, message = fault.kwargs["errors"][-1]
        status = {"SERVFAIL": DnsStatus.SERVER_FAILURE, "REFUSED": DnsStatus.REFUSED}.get(str(why), DnsStatus.FAILED)
        return no_answer(status, str(why), message)
    except (dns.exception.DNSException, OSError, ValueError) as fault:
        return no_answer(DnsStatus.FAILED, str(fault) or type(fault).__name__)
    cnames = [str(record.target) for each in answer.chaining_result.cnames for record in each]
    return Answer(
        name=name,
        kind=kind,
        status=DnsStatus.FOUND if answer.rrset else DnsStatus.NO_DATA,
        records=tuple(
            plain(
                b"".join(record.strings).decode("utf-8", "replace") if kind == "TXT" else str(record),
                _LONGEST_TLSA if kind == "TLSA" else _LONGEST,
            )
            for record in list(answer.rrset or ())[:_MOST_RECORDS]
        ),
        chain=tuple(plain(cname.rstrip(".")) for cname in cnames[:_MOST_RECORDS]),
        nameserver=answer.nameserver,
        authenticated=bool(answer.response.flags & dns.flags.AD),
        signed=any(each.rdtype == dns.rdatatype.RRSIG for each in answer.response.answer),
    )


async def probe_dns(host: str, port: int, *, timeout: float = 5.0, nameserver: Nameserver | None = None) -> DnsView:  # noqa: ASYNC109
    """Everything at once about a server's name, which must not be an IP address."""

    async def ask(name: str, kind: str) -> Answer:
        return await look_up(name, kind, timeout=timeout, nameserver=nameserver)

    above = host.partition(".")[2]
    questions = [(host, "A"), (host, "AAAA"), (host, "MX"), (f"_{port}._tcp.{host}", "TLSA")]
    if port == 25:
        questions += [(f"_mta-sts.{host}", "TXT"), (above, "MX"), (f"_mta-sts.{above}", "TXT")][: 3 if "." in above else 1]
    a, aaaa, mx, tlsa, *rest = await asyncio.gather(*(ask(*question) for question in questions))
    sts, domain, policy = rest[0] if rest else None, host, None
    if len(rest) > 1 and not mx.records and host in (each.host for each in mail_hosts(rest[1])):
        domain, sts = above, rest[2]
    if sts and any(is_sts(record) for record in sts.records):
        from kit.checks.web import fetch  # noqa: PLC0415 - which looks names up itself

        # RFC 8461 section 3.3: a redirect is not followed, for it is the domain itself that must speak.
        policy = await fetch(f"https://mta-sts.{domain}/.well-known/mta-sts.txt", timeout=timeout, nameserver=nameserver, redirects=0)
    return DnsView(host=host, port=port, a=a, aaaa=aaaa, mx=mx, tlsa=tlsa, domain=domain, sts=sts, policy=policy)


def is_sts(record: str) -> bool:
    """Whether a TXT record is one of MTA-STS."""
    return record.startswith("v=STSv1;")


def plain(text: str, longest: int = _LONGEST) -> str:
    """What came by the network, bounded and without control characters."""
    return fields.CONTROL.sub("?", text[:longest])
