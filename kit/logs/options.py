"""What is typed beside a log's path, as values."""

from __future__ import annotations

from datetime import datetime
from ipaddress import IPv6Address, ip_address

from kit.errors import UsageError
from kit.logs.clock import zone_info


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


def parse_address(text: str | None) -> str | None:
    """An IP address as servers log it.

    Raises:
        UsageError: it is none.
    """
    if text is None:
        return None
    try:
        address = ip_address(text.strip("[]"))
    except ValueError as fault:
        raise UsageError(f"{text!r} is no IP address", where="--ip", next_step="Write it like 192.0.2.7 or 2001:db8::7") from fault
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
