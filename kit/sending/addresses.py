"""Mail addresses: one alone, and as a header field lists them, with names and groups. Pure; nothing is looked up."""

from __future__ import annotations

import quopri
import re
import unicodedata
from base64 import b64decode
from dataclasses import dataclass
from typing import Final

from kit.fields import CONTROL, shown
from kit.sending.rules import refused

_LONGEST_LOCAL: Final = 64  # octets (RFC 5321 section 4.5.3.1.1)
_LONGEST_DOMAIN: Final = 255
_LONGEST_ADDRESS: Final = 254  # a path of 256 without its brackets
_LONGEST_FIELD: Final = 65_536  # characters; a hundred addresses of full length need half of it
_LONGEST_WORD: Final = 998  # octets; a line has no more (RFC 5322 section 2.1.1)
_SUFFIX: Final = ".example.com"

# A field of addresses in pieces, spaces and comments among them; and what each piece is to the grammar of RFC 5322 section 3.4.
_PIECE: Final = re.compile(
    r'[ \t]+|\((?:[^()\\]|\\.)*\)|(?P<word>"(?:[^"\\]|\\.)*"|[^\s"(),:;<>@\[\]\\]+)|(?P<literal>\[[^\[\]\\\s]*\])|(?P<special>[,:;<>@])'
)
_BOX: Final = "(?:w*<w@[wl]>|w@[wl])"
_LIST: Final = re.compile(f"(?:{_BOX}|w+:(?:{_BOX}(?:,{_BOX})*)?;)(?:,(?:{_BOX}|w+:(?:{_BOX}(?:,{_BOX})*)?;))*")
_ITEM: Final = re.compile("(?P<group>w+:)|(?P<name>w*)<(?P<local>w)@(?P<domain>[wl])>|(?P<bare>w)@(?P<at>[wl])|[,;]")
_ROUTE: Final = re.compile("<(?:,*@[wl])+[,:]")
_ENCODED: Final = re.compile(r"=\?([^?]*)\?([bBqQ])\?([^?]*)\?=")
_LIKE_AN_ADDRESS: Final = re.compile(r"[^\s@<>\"(),:;]+@[^\s@<>\"(),:;]+")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One address of a field.

    Attributes:
        name: what stands before it, decoded; empty where nothing does.
        address: as it goes into the envelope.
    """

    name: str
    address: str

    @property
    def poses_as(self) -> str | None:
        """Another address that its name shows."""
        names = unicodedata.normalize("NFKC", self.name)
        return next((found for found in _LIKE_AN_ADDRESS.findall(names) if found.casefold() != self.address.casefold()), None)


def check_address(field: str, address: str) -> str:
    """`address` in the form that it has on the wire: its domain in ASCII, its local part with as few quotes as can be.

    Letters outside ASCII before the @ stay; such an address needs SMTPUTF8 (RFC 6531).

    Args:
        field: where it stands, for the error.
        address: without a name.

    Raises:
        InvalidMessage: it is no address, or too long.
    """
    from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email  # noqa: PLC0415 - brings idna with it

    if CONTROL.search(address):
        raise refused("control-in-header", field)
    if "=?" in address:
        raise refused("encoded-word-in-address", field, shown(address))
    local, _, domain = address.rpartition("@")
    sizes = {part: len(part.encode()) for part in (local, domain, address)}
    for rule, part, most in (
        ("local-too-long", local, _LONGEST_LOCAL),
        ("domain-too-long", domain, _LONGEST_DOMAIN),
        ("path-too-long", address, _LONGEST_ADDRESS),
    ):
        if sizes[part] > most:
            raise refused(rule, field, f"{shown(part)} has {sizes[part]} octets")
    # The library refuses localhost, .test and their like; in a safe place to test they are what one has. Under a
    # common domain it checks their syntax too.
    special = domain.lower().rpartition(".")[2] in SPECIAL_USE_DOMAIN_NAMES
    suffix = _SUFFIX if special else ""
    try:
        checked = validate_email(
            address + suffix,
            check_deliverability=False,
            globally_deliverable=False,
            allow_quoted_local=True,
            allow_domain_literal=True,
            strict=True,
        )
    except EmailNotValidError as fault:
        raise refused("address-syntax", field, shown(address), str(fault)) from fault
    # Whether capitals matter is for the receiver to say (RFC 5321 section 2.4); the library has its own mind about `Info`.
    kept = local if local.lower() == checked.local_part else checked.local_part
    return f"{kept}@{checked.ascii_domain.removesuffix(suffix)}"


def parse_addresses(field: str, text: str) -> tuple[Mailbox, ...]:
    """The mailboxes of a field such as To, and of the groups in it (RFC 5322 section 3.4).

    Args:
        field: where it stands, for the error.
        text: its value, on one line.

    Raises:
        InvalidMessage: it is no list of addresses, or one of them is none.
    """
    if CONTROL.search(text.replace("\t", " ")):
        raise refused("control-in-header", field)
    pieces, kinds = _pieces(field, text)
    if not _LIST.fullmatch(kinds):
        raise refused("source-route" if _ROUTE.search(kinds) else "address-list", field, shown(text))
    boxes, at = [], 0
    while item := _ITEM.match(kinds, at):
        at = item.end()
        local, domain = ("local", "domain") if item["local"] else ("bare", "at")
        if item[local]:
            address = check_address(field, f"{pieces[item.start(local)]}@{pieces[item.start(domain)]}")
            words = pieces[item.start("name") : item.end("name")] if item["name"] else []
            boxes.append(Mailbox(decoded(" ".join(map(_unquoted, words))), address))
    return tuple(boxes)


def decoded(text: str) -> str:
    """`text` with its encoded words (RFC 2047) read, as generously as the most generous reader."""
    return _ENCODED.sub(_decode, text)


def _decode(word: re.Match[str]) -> str:
    octets = word[3].encode("utf-8", "surrogateescape")
    if word[2] in "qQ":
        raw = quopri.decodestring(octets, header=True)
    else:
        digits = re.sub(rb"[^A-Za-z0-9+/]", b"", octets)
        raw = b64decode(digits[: len(digits) - (len(digits) % 4 == 1)] + b"==")
    try:
        # A language may stand behind the charset (RFC 2231 section 5). No line holds a longer word; some codecs are slow.
        return raw.decode(word[1].partition("*")[0] if len(raw) <= _LONGEST_WORD else "latin-1", "replace")
    except (LookupError, ValueError):  # a charset that nobody knows
        return raw.decode("latin-1")


def _pieces(field: str, text: str) -> tuple[list[str], str]:
    pieces, kinds, at = [], "", 0
    while at < len(text):
        piece = _PIECE.match(text, at) if len(text) <= _LONGEST_FIELD else None
        if piece is None:
            raise refused("address-list", field, shown(text[at:]))
        if piece.lastgroup:
            pieces.append(piece[0])
            kinds += piece[0] if piece.lastgroup == "special" else piece.lastgroup[0]
        at = piece.end()
    return pieces, kinds


def _unquoted(word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word[1:-1]) if word.startswith('"') else word
