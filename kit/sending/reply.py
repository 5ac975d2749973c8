"""SMTP replies from bytes (RFC 5321 section 4.2). Pure and linear, and nothing that a server says makes it raise."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from kit.model import Reply
from kit.redact import MASKED, Secret, mask_known

_CODED: Final = re.compile(rb"([0-9]{3})(?![0-9])([ -]?)(.*)", re.DOTALL)
_ENHANCED: Final = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?!\S)")  # RFC 3463; RFC 2034 puts it first
_MECHANISM: Final = re.compile(r"[A-Z0-9_-]{1,20}")  # RFC 4422 section 3.1
_MOST: Final = 30  # mechanisms that count; Cyrus SASL, which knows the most, has some fifteen
NOT_UTF_8: Final = "bytes that are not UTF-8"
CONTROLS: Final = "control characters"
_LONGEST_LINE: Final = 512  # octets with the line end (RFC 5321 section 4.5.3.1.5)


def ends_reply(line: bytes, *, first: bool) -> bool:
    """Is `line` the last of its reply? A line without a code is, unless it stands inside a reply that goes on."""
    coded = _CODED.match(line)
    return coded[2] != b"-" if coded else first


def parse_reply(raw: bytes) -> Reply:
    """The reply in `raw`: one or more lines, however odd, complete or not.

    The code is that of the last line that has one. A line with another code, or with none, is kept whole.
    """
    lines = _lines(raw)
    coded = [_CODED.match(line) for line in lines]
    code = next((match[1] for match in reversed(coded) if match), b"000")
    texts = tuple(_readable(match[3] if match and match[1] == code != b"000" else line) for line, match in zip(lines, coded, strict=True))
    enhanced = next((found[1] for text in texts if (found := _ENHANCED.match(text))), None)
    return Reply(code=int(code), lines=texts, enhanced=enhanced, raw=raw)


def codes(raw: bytes) -> tuple[str, ...]:
    """The codes of its lines, each once; RFC 5321 section 4.2.1 allows no more than one."""
    return tuple(dict.fromkeys(match[1].decode() for line in _lines(raw) if (match := _CODED.match(line))))


def oddities(raw: bytes) -> tuple[str, ...]:
    """What breaks the rules in a reply, in plain words."""
    lines = _lines(raw)
    found = (
        ("a line without a code", not all(_CODED.match(line) for line in lines)),
        ("lines with different codes", len(codes(raw)) > 1),
        ("a line that ends in a bare LF", re.search(rb"(?<!\r)\n", raw) is not None),
        ("a line longer than 512 octets", any(len(line) + 2 > _LONGEST_LINE for line in lines)),
        ("bytes outside ASCII", not raw.isascii()),
        (NOT_UTF_8, not _is_utf_8(raw)),
        (CONTROLS, re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", raw) is not None),
    )
    return tuple(what for what, so in found if so)


def masked(reply: Reply, secrets: Iterable[Secret]) -> Reply:
    """`reply` without the secrets, should the server have repeated them."""
    secrets = tuple(secrets)
    if not secrets:
        return reply
    escaped = [Secret(_readable(secret.reveal().encode("utf-8", "surrogatepass"))) for secret in secrets]  # as `lines` has it
    lines = tuple(mask_known("\n".join(reply.lines), [*secrets, *escaped]).split("\n")) if reply.lines else ()
    raw = mask_known(reply.raw.decode("utf-8", "surrogateescape"), secrets).encode("utf-8", "surrogateescape")
    whole = "".join(lines)
    if len(lines) > 1 and mask_known(whole, [*secrets, *escaped]) != mask_known(whole):  # in pieces, a line each
        lines, raw = (MASKED,), f"{reply.code:03d} {MASKED}\r\n".encode()
    return replace(reply, lines=lines, raw=raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a server's reply to EHLO offers. A refusal, and HELO's reply, offer nothing.

    Attributes:
        accepted: the server said 250.
        extensions: keywords, in capitals.
        mechanisms: of AUTH, in capitals and in the server's order, without repetition.
        size: the largest message in octets (RFC 1870); None where it is not said or has no limit.
    """

    accepted: bool = False
    extensions: frozenset[str] = frozenset()
    mechanisms: tuple[str, ...] = ()
    size: int | None = None


def parse_offer(reply: Reply) -> Offer:
    """What `reply`, the answer to EHLO, offers (RFC 5321 section 4.1.1.1). `AUTH=LOGIN PLAIN` is an old way to say AUTH."""
    if reply.code != 250:
        return Offer()
    extensions: set[str] = set()
    mechanisms: dict[str, None] = {}
    size = None
    for line in reply.lines[1:]:
        keyword, *words = line.upper().replace("AUTH=", "AUTH ", 1).split() or [""]
        extensions |= {keyword} - {""}
        if keyword == "AUTH":
            mechanisms |= dict.fromkeys(word for word in words if _MECHANISM.fullmatch(word))
        elif keyword == "SIZE" and words and re.fullmatch(r"[0-9]{1,20}", words[0]):
            size = int(words[0]) or None  # 0: no limit (RFC 1870 section 4)
    return Offer(accepted=True, extensions=frozenset(extensions), mechanisms=tuple(mechanisms)[:_MOST], size=size)


def _lines(raw: bytes) -> list[bytes]:
    lines = raw.split(b"\n")
    return [line.removesuffix(b"\r") for line in (lines if lines[-1] else lines[:-1])]


def _is_utf_8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _readable(line: bytes) -> str:
    """Letters of every script as they are; control characters, and bytes that are not UTF-8, as escapes."""
    text = line.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
