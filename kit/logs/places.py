"""Country and network owner of an address, from a database file that the user has; nobody is asked over the network.

The format is MaxMind's (https://maxmind.github.io/MaxMind-DB/, checked 2026-11-24); GeoLite2, DB-IP and IPinfo are given away in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final

from kit.errors import UsageError
from kit.logs.view import Derived

_LONGEST: Final = 100


def open_places(paths: Iterable[Path]) -> Derived:
    """Columns `country` and `owner` for `kit.logs.view.View`, as far as the files have them.

    Raises:
        UsageError: a file is none of the kind, or has neither.
    """
    import maxminddb  # noqa: PLC0415 - for whoever has such a file

    found: dict[str, tuple[str, Callable[[str], str | None]]] = {}
    for path in paths:
        try:
            reader = maxminddb.open_database(path)
        except (OSError, ValueError, maxminddb.InvalidDatabaseError) as fault:
            step = "Give a file in MaxMind's format, such as GeoLite2-Country.mmdb"
            raise UsageError(f"cannot be read as a database of addresses ({fault})", where=str(path), next_step=step) from fault
        kind = reader.metadata().database_type.lower()
        told = {name: read for name, read in _READ.items() if any(word in kind for word in _KINDS[name])}
        if not told:
            step = "Give one of countries, cities, or networks (ASN)"
            raise UsageError(f"has neither countries nor owners: it is of {kind!r}", where=str(path), next_step=step)
        found |= {name: ("client_ip", partial(_look, reader, read)) for name, read in told.items()}
    return found


def _look(reader: Any, read: Callable[[dict[str, Any]], str | None], address: str) -> str | None:
    try:
        record = reader.get(address)
    except ValueError:  # no address, or one of IPv6 in a database of IPv4
        return None
    text = read(record) if isinstance(record, dict) else None
    return text[:_LONGEST] if text else None


def _country(record: dict[str, Any]) -> str | None:
    country = record.get("country") or record.get("registered_country")
    if isinstance(country, dict):
        names = country.get("names")
        return (names.get("en") if isinstance(names, dict) else None) or country.get("iso_code")
    return country if isinstance(country, str) else None


def _owner(record: dict[str, Any]) -> str | None:
    number, name = record.get("autonomous_system_number"), record.get("autonomous_system_organization")
    if number:
        return f"AS{number} {name or ''}".strip()
    return " ".join(str(record[key]) for key in ("asn", "as_name", "name") if record.get(key)) or None


_READ: Final = {"country": _country, "owner": _owner}
_KINDS: Final = {"country": ("country", "city"), "owner": ("asn", "isp")}
