"""What is typed beside a log's path, as values."""

from __future__ import annotations

from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from kit.errors import UsageError
from kit.logs.clock import zone_info

Network = IPv4Network | IPv6Network
_WRAPPING: Final = 96
"""Bits of ::ffff: before an IPv4 address."""


def parse_time(text: str | None, *, option: str, zone: str | None) -> datetime | None:
    """An ISO 8601 date or time; one that names no zone is in `zone`, else UTC.

    Raises:
        UsageError: it is none.
    """
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as fault:
        raise UsageError(f"{text!r} is no date or time", where=option, next_step="Write it like 2026-11-24 or 2026-11-24T08:30") from fault
    return time if time.tzinfo else time.replace(tzinfo=zone_info(zone))


def parse_network(text: str) -> Network:
    """An IP address, which is a network of one, or a network; what IPv6 only wraps is taken as IPv4, as servers log it.

    Raises:
        UsageError: it is neither.
    """
    address = text.partition("/")[0]
    try:
        network = ip_network(address.strip("[]") + text[len(address) :], strict=False)
    except ValueError as fault:
        step = "Write it like 192.0.2.7, 192.0.2.0/24, 2001:db8::7 or 2001:db8::/32"
        raise UsageError(f"{text!r} is no IP address and no network", where="--ip", next_step=step) from fault
    wrapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) and network.prefixlen >= _WRAPPING else None
    return ip_network((wrapped, network.prefixlen - _WRAPPING)) if wrapped else network


def is_within(address: str | None, network: Network) -> bool:
    """Whether a logged address, which may be none, belongs to the network."""
    try:
        return ip_address(address or "") in network
    except ValueError:
        return False
