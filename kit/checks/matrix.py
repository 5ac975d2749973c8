"""Port × security × mechanism: what is possible, what is safe, what to use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from kit.auth.mechanisms import MECHANISMS
from kit.model import Probe, Profile, Security


class Rating(StrEnum):
    """What a way to sign in is worth."""

    USE = "use this"
    SAFE = "safe"
    WEAK = "weak"
    IN_CLEAR = "in clear"


# These rest on MD5 or DES, and make the server keep what amounts to the password (RFC 6331, RFC 8314 section 4.1, MS-NLMP).
_WEAK: Final = frozenset(("CRAM-MD5", "DIGEST-MD5", "NTLM"))
# The mechanism hides the password, but the mail behind it goes in clear.
_HIDDEN: Final = frozenset(("CRAM-MD5", "DIGEST-MD5", "NTLM", "SCRAM-SHA-1", "SCRAM-SHA-256", "GSSAPI"))
_PORTS: Final = (465, 587, 2525, 25)  # implicit TLS first (RFC 8314 section 3.3), the servers' own port last


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to sign in that a host offers."""

    port: int
    security: Security
    mechanism: str
    rating: Rating


def ways(probes: Iterable[Probe], profile: Profile) -> tuple[Way, ...]:
    """Every way to sign in, the best port first. One is rated USE: the best that the kit can go and the profile allows."""
    found: dict[tuple[int, Security, str], Rating] = {}
    for probe in sorted(probes, key=lambda probe: _rank(probe.port, probe.security)):
        inside = Security.NONE if probe.security is Security.STARTTLS and probe.tls is None else probe.security
        for mechanism in probe.mechanisms:
            found[probe.port, inside, mechanism] = _rate(inside, mechanism)
        if probe.security is Security.STARTTLS:
            for mechanism in probe.clear:
                found.setdefault((probe.port, Security.NONE, mechanism), _rate(Security.NONE, mechanism))
    best = min(
        (way for way, rating in found.items() if rating is Rating.SAFE and _is_meant(profile, way[2])),
        key=lambda way: (_rank(way[0], way[1]), list(MECHANISMS).index(way[2])),
        default=None,
    )
    return tuple(
        Way(port=way[0], security=way[1], mechanism=way[2], rating=Rating.USE if way == best else rating) for way, rating in found.items()
    )


def table(found: tuple[Way, ...]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The mechanisms, and for each port and security a row of ratings; an empty text where a mechanism is not offered."""
    mechanisms = list(dict.fromkeys(way.mechanism for way in found))
    rows: dict[str, dict[str, str]] = {}
    for way in found:
        rows.setdefault(f"{way.port} {way.security}", {})[way.mechanism] = way.rating
    return mechanisms, [(name, [row.get(mechanism, "") for mechanism in mechanisms]) for name, row in rows.items()]


def _rate(security: Security, mechanism: str) -> Rating:
    if security is Security.NONE:
        return Rating.WEAK if mechanism in _HIDDEN else Rating.IN_CLEAR
    return Rating.WEAK if mechanism in _WEAK else Rating.SAFE


def _is_meant(profile: Profile, mechanism: str) -> bool:
    """The one that the profile names, else any that takes a password or the profile's certificate."""
    own = profile.mechanism or (profile.cert_file and "EXTERNAL")
    return mechanism in MECHANISMS and (mechanism == own or (profile.mechanism is None and MECHANISMS[mechanism].by_itself))


def _rank(port: int, security: Security) -> tuple[int, bool, int]:
    """Where to look first; a port of the user's own choice before all others."""
    return _PORTS.index(port) + 1 if port in _PORTS else 0, security is not Security.TLS, port
