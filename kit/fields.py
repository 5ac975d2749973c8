"""The fields of a profile, each checked by one function: it hands the value back in its one true form, or says what is allowed."""

from __future__ import annotations

import ipaddress
import math
import re
from typing import Final

from kit.errors import UsageError
from kit.model import Security

CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_NAME: Final = re.compile(r"\w[\w .-]{0,63}")
_MECHANISM: Final = re.compile(r"[A-Za-z0-9_-]{1,20}")  # RFC 4422 section 3.1
_LONGEST: Final = 512  # of any text in a profile; RFC 5321 allows an address 254

NAME_RULE: Final = "A name is 1 to 64 letters, digits, spaces or . _ -, and begins with a letter or digit"
HOST_RULE: Final = "A host is a name (mail.example.com), host:port, an IP address or [IPv6]:port; no scheme, no path"


def shown(value: object) -> str:
    """A value as it may appear in a message: bounded, without control characters."""
    text = CONTROL.sub("?", str(value))
    return f"“{text[:80]}…”" if len(text) > 80 else f"“{text}”"


def check_text(field: str, value: object) -> str | None:
    """A line of printable text, as it is."""
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST or CONTROL.search(value):
        raise UsageError(f"{shown(value)} cannot be it", where=field, next_step=f"Give 1 to {_LONGEST} printable characters")
    return value


def check_name(value: object) -> str:
    """A profile's name. It can be no mail address and no host:port, so a target is never two things at once."""
    if not isinstance(value, str) or not _NAME.fullmatch(value) or value != value.strip():
        raise UsageError(f"{shown(value)} is no name for a profile", where="name", next_step=NAME_RULE)
    return value


def check_port(value: object) -> int:
    """A TCP port."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        raise UsageError(f"{shown(value)} is no TCP port", where="port", next_step="Give a number from 1 to 65535; usual are 587, 465, 25")
    return value


def check_security(value: object) -> Security:
    """One of the three kinds."""
    try:
        return Security(str(value))
    except ValueError:
        raise UsageError(f"{shown(value)} is no kind of security", where="security", next_step="Give tls, starttls or none") from None


def check_mechanism(value: object) -> str | None:
    """The name of a SASL mechanism, in capitals."""
    if value is None:
        return None
    if not isinstance(value, str) or not _MECHANISM.fullmatch(value):
        raise UsageError(
            f"{shown(value)} is no SASL mechanism",
            where="mechanism",
            next_step="Give a name such as PLAIN or LOGIN: 1 to 20 letters, digits, - or _",
        )
    return value.upper()


def check_address(field: str, value: object) -> str | None:
    """A mail address by its rough shape; what goes into a message is checked there."""
    text = check_text(field, value)
    if text is not None and not all(text.rpartition("@")):
        raise UsageError(f"{shown(value)} is no mail address", where=field, next_step="Give one such as scanner@example.com")
    return text


def check_timeout(value: object) -> float:
    """Seconds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or not 0 < value <= 3600:
        raise UsageError(f"{shown(value)} is no time limit", where="timeout", next_step="Give seconds, above 0 and up to 3600")
    return float(value)


def check_host(value: object) -> str:
    """A host name in its ASCII form, or an IP address in its shortest."""
    text = value if isinstance(value, str) and not CONTROL.search(value) else ""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    if not text.isascii():
        import idna  # noqa: PLC0415 - few need it

        try:
            text = idna.encode(text, uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            text = ""
    labels = text.removesuffix(".").split(".")
    # A last label of digits only is a mistyped IP address, or a port in the wrong place; never a name (RFC 3696 section 2).
    if len(text) > 253 or labels[-1].isdigit() or not all(_LABEL.fullmatch(label) for label in labels):
        raise UsageError(f"{shown(value)} is no host", where="host", next_step=HOST_RULE)
    return ".".join(labels).lower()


def split_host_port(target: str) -> tuple[str, int | None]:
    """`host`, `host:port`, `[IPv6]`, `[IPv6]:port` or a bare IPv6 address, apart."""
    bracketed = re.fullmatch(r"\[([^\[\]]*)\](?::(.*))?", target)
    if bracketed:
        host, port = bracketed[1], bracketed[2]
    elif target.count(":") == 1:
        host, _, port = target.partition(":")
    else:
        host, port = target, None
    if port is None:
        return host, None
    if not re.fullmatch(r"[0-9]{1,5}", port):
        raise UsageError(f"{shown(target)} is no target", where="TARGET", next_step=HOST_RULE)
    return host, int(port)
