"""Addresses to block, written for nftables, fail2ban or Postfix. They are written to a file, and never put in force.

Listed is what verdicts of a likely attack name: addresses that the server itself logged, from which nobody signed in within 30 days. Never a
wider network than those addresses fill, never what is the reader's own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, collapse_addresses, ip_address, ip_network
from pathlib import Path
from typing import Final, NamedTuple

from kit.errors import UsageError
from kit.logs.case import Judgement, Verdict
from kit.logs.export import whole_file
from kit.logs.familiar import Network, networks

Address = IPv4Address | IPv6Address

MARK: Final = "Addresses to block, as kit logs found them"
_AT_ONCE: Final = 50  # addresses in one call of fail2ban-client
# Loopback, private, link-local, carriers' inner addresses, multicast: RFC 1122, 1918, 3927, 6598, 5771; RFC 4291, 4193.
_INNER: Final = tuple(
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", "224.0.0.0/3"),
        *("::/127", "fc00::/7", "fe80::/10", "ff00::/8"),
    )
)


def addresses_to_block(verdicts: Iterable[Verdict], *, own: Iterable[str] = ()) -> list[Address]:
    """The addresses of all likely attacks, each once, in order, without the reader's own and without inner ones.

    Raises:
        UsageError: one of the own networks is none.
    """
    spared: list[Network] = [*_INNER, *networks(own)]
    found: set[Address] = set()
    for verdict in verdicts:
        if verdict.verdict is Judgement.ATTACK and not verdict.shared:
            found.update(address for text in verdict.addresses if (address := _address(text)) and not _is_in(address, spared))
    return sorted(found, key=lambda address: (address.version, int(address)))


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:  # a log may hold anything in its place
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return None if getattr(address, "scope_id", None) else mapped or address


def _is_in(address: Address, spared: Collection[Network]) -> bool:
    return any(address.version == network.version and address in network for network in spared)


# ------------------------------------------------------------------------------------------------ formats


def nftables(addresses: Collection[Address]) -> str:
    """A table with a set for each family and a chain that drops what comes from them to ports of mail: `nft -f FILE`."""
    sets, rules = [], []
    for version, kind, word in ((4, "ipv4_addr", "ip"), (6, "ipv6_addr", "ip6")):
        elements = ",\n            ".join(str(network).removesuffix(f"/{network.max_prefixlen}") for network in _merged(addresses, version))
        held = f"\n        elements = {{\n            {elements}\n        }}" if elements else ""
        sets.append(f"    set kit_blocked{version} {{\n        type {kind}\n        flags interval{held}\n    }}\n")
        rules.append(f"        tcp dport {{ 25, 110, 143, 465, 587, 993, 995, 4190 }} {word} saddr @kit_blocked{version} drop\n")
    chain = "    chain input {\n        type filter hook input priority -10; policy accept;\n" + "".join(rules) + "    }\n"
    return "add table inet kit_blocked\ndelete table inet kit_blocked\ntable inet kit_blocked {\n" + "".join(sets) + chain + "}\n"


def fail2ban(addresses: Collection[Address]) -> str:
    """A script that bans them in the jail that its argument names: `sh FILE dovecot`."""
    texts = [str(address) for address in addresses]
    calls = (" ".join(texts[start : start + _AT_ONCE]) for start in range(0, len(texts), _AT_ONCE))
    return 'jail="${1:-postfix-sasl}"\n' + "".join(f'fail2ban-client set "$jail" banip {call}\n' for call in calls)


def cidr(addresses: Collection[Address]) -> str:
    """A Postfix table (cidr_table(5)), for `smtpd_client_restrictions = check_client_access cidr:FILE`."""
    merged = (network for version in (4, 6) for network in _merged(addresses, version))
    return "".join(f"{network}\tREJECT too many failed sign-ins\n" for network in merged)


def _merged(addresses: Collection[Address], version: int) -> list[Network]:
    """As few networks as hold exactly these."""
    return list(collapse_addresses(ip_network(address) for address in addresses if address.version == version))  # type: ignore[type-var]


class _Format(NamedTuple):
    """How to write a file, and what to do with it."""

    write: Callable[[Collection[Address]], str]
    use: str
    first: str = ""


FORMATS: Final = {
    ".nft": _Format(nftables, "nft -f FILE, after nft -c -f FILE has looked at it; nft delete table inet kit_blocked takes it back"),
    ".sh": _Format(fail2ban, "sh FILE JAIL, as the user of fail2ban: it bans them in that jail for its bantime", "#!/bin/sh\n"),
    ".cidr": _Format(cidr, "smtpd_client_restrictions = check_client_access cidr:FILE, in main.cf or at the service in master.cf"),
}


def write_blocks(path: Path, verdicts: Iterable[Verdict], *, own: Iterable[str] = (), now: datetime) -> int:
    """Writes the file in the format that its ending names; returns how many addresses are in it.

    An earlier file of the kind, or an empty one, is replaced; anything else that is there is not.

    Raises:
        UsageError: the ending is none of FORMATS, there is something else, or the folder takes no file.
    """
    addresses = addresses_to_block(verdicts, own=own)
    form = format_of(path)
    head = f"{form.first}# {MARK} on {now:%Y-%m-%d}: {len(addresses):,}. Look at them before you use them:\n# {form.use}\n"
    with whole_file(path) as temporary:
        Path(temporary).write_text(head + form.write(addresses), "ascii")
    return len(addresses)


def format_of(path: Path) -> _Format:
    """The format of a file that may be written.

    Raises:
        UsageError: the ending is none of FORMATS, or something else is there.
    """
    if path.suffix not in FORMATS:
        raise UsageError("the ending names no format", where=str(path), next_step=f"Let the name end with one of {', '.join(FORMATS)}")
    try:
        if path.is_dir() or (path.exists() and path.stat().st_size and MARK not in path.read_bytes()[:200].decode("ascii", "replace")):
            raise UsageError("is there already, and no earlier list of addresses to block", where=str(path), next_step="Give another name")
    except OSError as fault:
        raise UsageError(f"cannot be read ({fault.strerror})", where=str(path), next_step="Give another name") from fault
    return FORMATS[path.suffix]
