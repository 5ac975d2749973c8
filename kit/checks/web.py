"""One document by HTTPS from a place that somebody else names: bounded, verified, and never from a network of one's own.

One of the few modules that open something. That an address is public is checked on the very address that is then connected to: whoever
answers a second look-up otherwise gains nothing by it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

from kit import fields
from kit.checks.dns import Nameserver, look_up
from kit.errors import UsageError

if TYPE_CHECKING:
    import httpx

LARGEST: Final = 256 * 1024  # bytes of one document
PORT: Final = 443
_MOST_ADDRESSES: Final = 3  # of one host
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last four bytes are an IPv4 address


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What came of one request.

    Attributes:
        url: where it came from in the end, behind all redirects.
        body: None where nothing usable came.
        why: what happened, in plain words; bounded, without control characters.
    """

    url: str
    body: bytes | None
    why: str


class _Refused(Exception):
    """The kit will not go there, or not on."""


async def fetch(url: str, *, timeout: float, nameserver: Nameserver | None = None, redirects: int = 3) -> Document:  # noqa: ASYNC109
    """The document behind an HTTPS address; a failure is a Document without a body.

    Args:
        url: to ask first.
        timeout: seconds for everything, redirects included.
        nameserver: address and port, in place of the system's.
        redirects: how many are followed.
    """
    import httpx  # noqa: PLC0415 - only those who fetch pay for it

    context = ssl.create_default_context()
    try:
        async with (
            asyncio.timeout(timeout),
            # No proxy and no .netrc of the environment, no unpacking (a small archive may hold gigabytes), no cookies.
            httpx.AsyncClient(verify=context, trust_env=False, timeout=timeout / 2, headers={"Accept-Encoding": "identity"}) as client,
        ):
            body, onward = await _get(client, url, nameserver)
            while onward is not None and redirects:
                url, redirects = onward, redirects - 1
                body, onward = await _get(client, url, nameserver)
        why = f"{len(body)} bytes"
        if onward is None:
            return Document(url=url, body=body, why=why)
        why = f"it redirects once more, to {onward}, which is not followed"
    except TimeoutError:
        why = f"not complete within {timeout:g} s"
    except (_Refused, httpx.HTTPError, httpx.InvalidURL, OSError) as fault:
        why = str(fault) or type(fault).__name__
    return Document(url=fields.CONTROL.sub("?", url[:500]), body=None, why=fields.CONTROL.sub("?", why[:300]))


async def _get(client: httpx.AsyncClient, url: str, nameserver: Nameserver | None) -> tuple[bytes, str | None]:
    """The body, or where it redirects to."""
    import httpx  # noqa: PLC0415

    host, path = _checked(url)
    fault: Exception = _Refused(f"{host} has no address")
    for address in await _public_addresses(host, nameserver):
        there = f"[{address}]" if ":" in address else address
        request = client.build_request("GET", f"https://{there}:{PORT}{path}", headers={"Host": host}, extensions={"sni_hostname": host})
        try:
            response = await client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            fault = error
            continue
        try:
            if response.is_redirect:
                return b"", urljoin(url, response.headers["location"])
            if response.status_code != 200:
                raise _Refused(f"{host} answers {response.status_code}")
            return await _bounded(response), None
        finally:
            await response.aclose()
    raise fault


def _checked(url: str) -> tuple[str, str]:
    """Host and path of an address that may be asked."""
    try:
        parts = urlsplit(url)
        if parts.scheme != "https" or parts.port not in (None, PORT) or parts.username is not None:
            raise _Refused(f"{fields.shown(url)} is no plain https:// address")
        return fields.check_host(parts.hostname), (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    except UsageError as fault:
        raise _Refused(str(fault)) from None
    except ValueError:
        raise _Refused(f"{fields.shown(url)} is no address") from None


async def _public_addresses(host: str, nameserver: Nameserver | None) -> tuple[str, ...]:
    try:
        found: tuple[str, ...] = (str(ipaddress.ip_address(host)),)
    except ValueError:
        answers = await asyncio.gather(*(look_up(host, kind, nameserver=nameserver) for kind in ("AAAA", "A")))
        found = tuple(record for answer in answers for record in answer.records[:_MOST_ADDRESSES])
        if not found:
            raise _Refused(f"{host} has no address ({answers[1].status})") from None
    for address in found:
        if not is_public(address):
            raise _Refused(f"{host} is at {address}, which is no public address: the kit does not go there for others")
    return found


def is_public(address: str) -> bool:
    """Reachable for all the world: not private, loopback, link-local, multicast, nor one of these within IPv6."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ipaddress.IPv4Address(ip.packed[-4:]) if ip in _NAT64 else None)
        if inner is not None:
            ip = inner
    return ip.is_global and not ip.is_multicast


async def _bounded(response: httpx.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > LARGEST:
            raise _Refused(f"more than {LARGEST // 1024} kB")
    return bytes(body)
