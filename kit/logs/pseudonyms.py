"""Names for names: a log that can be shown without telling whose it is.

A user, a domain, a host and an address have a pseudonym each, the same wherever they stand as long as the object lives. It follows from a random key
that stays in memory: who sees pseudonyms cannot find out by trying whether a name is among them. Addresses keep their networks: two that share
a /24 or /64, or a /16 or /48, share one afterwards, and ranges with a meaning (private, loopback, documentation, …) stay what they are. Any
other pseudonym is an address that somebody may own: it says nothing of them. What else could hold a name, such as lines, is left out.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from ipaddress import ip_network
from typing import Final

import numpy as np
import pyarrow as pa

from kit.knowledge.load import load_table
from kit.logs import arrow
from kit.logs.authlog import AuthLog
from kit.logs.classes import services

_LETTERS: Final = bytes.maketrans(b"0123456789abcdef", b"bcdfghjklmnpqrst")  # no vowels: it spells nothing
_LENGTHS: Final = {"domain": 2}
_LENGTH: Final = 4
"""Letters of other kinds, at least: where two names would share them, the later one has more."""
_MECHANISM: Final = re.compile(r"PLAIN|LOGIN|CRAM-MD5|DIGEST-MD5|SCRAM-SHA-(?:1|256|512)(?:-PLUS)?|XOAUTH2|OAUTHBEARER|EXTERNAL|GSSAPI|GS2-KRB5|NTLM|APOP|ANONYMOUS|OTP")  # fmt: skip
_TLS: Final = re.compile(r"none|(?:TLS|SSL)(?:v?\d(?:\.\d)?)?(?:[:/ ][A-Z0-9_-]{1,64}){0,2}")
_LEVELS: Final = {4: (16, 24, 32), 6: (48, 64, 128)}
"""Bits of the prefixes that addresses share afterwards as they did before."""
_ORDINARY: Final = {4: (0, 0), 6: (3, 1)}
"""Bits and value of the prefix in which every other address lies: all of IPv4, 2000::/3."""
_ANY: Final = (0, 0)
_WRAPPED: Final = 0xFFFF
"""What stands before an IPv4 address within an IPv6 one."""
_TRIES: Final = 64

Range = tuple[int, int]
"""Bits and value of a prefix."""


@cache
def _ranges(version: int, *, nobody: bool = False) -> tuple[Range, ...]:
    """Those of a version with a meaning, the longest first; or only those whose addresses name no machine."""
    entries = [entry for entry in load_table("address_ranges")["range"] if entry.get("nobody", False) or not nobody]
    found = [network for network in map(ip_network, (entry["network"] for entry in entries)) if network.version == version]
    return tuple(sorted(((n.prefixlen, int(n.network_address) >> (n.max_prefixlen - n.prefixlen)) for n in found), reverse=True))


class Pseudonyms:
    """Pseudonyms that last as long as the object."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._words: dict[tuple[str, str, bool], str] = {}
        self._variants: dict[tuple[str, str], dict[str, str]] = {}
        self._addresses: dict[str, str] = {}
        self._prefixes: dict[tuple[int, int, int], tuple[int, Range | None]] = {}  # version, bits, value → value, range
        self._taken: set[tuple[object, ...]] = set()
        self._real: set[tuple[int, int, int]] = set()  # addresses that are hidden
        self._columns: dict[str, Callable[[str], str]] = {
            "host": self.machine,
            "service_raw": lambda text: text if text in services() else f"service-{self._word('service', text)}",
            "user": self.user,
            "client_ip": self.address,
            "client_name": self.machine,
            "helo": self.machine,
            "mechanism": lambda text: text if _MECHANISM.fullmatch(text) else f"mechanism-{self._word('mechanism', text)}",
            "tls": lambda text: text if _TLS.fullmatch(text) else f"tls-{self._word('tls', text)}",
            "file": self.file,
        }

    def hide(self, log: AuthLog) -> AuthLog:
        """The log with pseudonyms in the place of names; lines and sessions are left out. What is unknown stays so."""
        table = log.table.unify_dictionaries()
        for word in _dictionary(table["client_ip"]):
            if word not in self._addresses and (found := _parsed(word)):
                self._real.add((found[0], _LEVELS[found[0]][-1], found[1]))
        columns = [self._column(field, table[field.name]) for field in table.schema]
        files = [(word, self.file(word)) for word in sorted(_dictionary(table["file"]), key=len, reverse=True)]
        return replace(
            log,
            table=pa.table(columns, schema=table.schema),
            unknown=tuple(replace(each, example="(left out: it may hold a name)") for each in log.unknown),
            time_anchor=tuple(_renamed(anchor, files) for anchor in log.time_anchor),
            problems=tuple("a part of a file could not be read" for _ in log.problems),
        )

    def user(self, text: str) -> str:
        """`user-…@domain-….invalid`, or `user-…` where the name has no domain."""
        local, at, domain = text.rpartition("@") if "@" in text else (text, "", "")
        return (local and f"user-{self._spelt('user', local)}") + at + (domain and self.domain(domain))

    def domain(self, text: str) -> str:
        """`domain-….invalid`."""
        return f"domain-{self._spelt('domain', text)}.invalid"

    def file(self, text: str) -> str:
        """`log-…`."""
        return f"log-{self._word('file', text)}"

    def machine(self, text: str) -> str:
        """`host-….invalid`, or `host-…` where the name has no dot; of an address, its pseudonym."""
        if literal := re.fullmatch(r"\[(IPv6:|)([0-9A-Fa-f.:]{2,45})\]", text):
            return f"[{literal[1]}{self.address(literal[2])}]"
        if re.fullmatch(r"[0-9.]{7,15}|[0-9A-Fa-f:]{2,39}", text) and (":" in text or "." in text):
            return self.address(text)
        return f"host-{self._spelt('host', text)}{'.invalid' if '.' in text else ''}"

    def address(self, text: str) -> str:
        """An address of the same kind; `address-…` for what is none."""
        if (known := self._addresses.get(text)) is None:
            found = _parsed(text)
            known = self._addresses[text] = self._hidden(*found) if found else f"address-{self._word('address', text)}"
        return known

    # ------------------------------------------------------------------------------------ words

    def _word(self, kind: str, text: str, *, spare: bool = False) -> str:
        """Letters for a text; no two texts of a kind have the same."""
        key = (kind, text, spare)
        if (known := self._words.get(key)) is None:
            letters = self._digest(f"{kind}\0{spare}\0{text}".encode("utf-8", "surrogatepass")).hex().encode().translate(_LETTERS).decode()
            length = next(n for n in range(_LENGTHS.get(kind, _LENGTH), len(letters) + 1) if (kind, letters[:n]) not in self._taken)
            known = self._words[key] = letters[:length]
            self._taken.add((kind, known))
        return known

    def _spelt(self, kind: str, text: str) -> str:
        """The same, so that two spellings that differ in capitals do so afterwards."""
        lower = text.lower()
        word = self._word(kind, lower)
        if text == lower:
            return word
        variants = self._variants.setdefault((kind, lower), {})
        if (known := variants.get(text)) is None:
            number = len(variants) + 1
            several = number < 1 << len(word)
            spelt = "".join(c.upper() if number >> i & 1 else c for i, c in enumerate(word))
            known = variants[text] = spelt if several else self._word(kind, text, spare=True)
        return known

    def _digest(self, data: bytes) -> bytes:
        return hashlib.blake2b(data, key=self._key, digest_size=16).digest()

    # ------------------------------------------------------------------------------------ addresses

    def _hidden(self, version: int, value: int, zone: str) -> str:
        if version == 6 and value >> 32 == _WRAPPED:
            return f"::ffff:{self._hidden(4, value & 0xFFFFFFFF, '')}"
        width = _LEVELS[version][-1]
        if not any(value >> (width - bits) == begin for bits, begin in _ranges(version, nobody=True)):
            value, _ = self._prefix(version, len(_LEVELS[version]) - 1, value)
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        return socket.inet_ntop(family, value.to_bytes(width // 8)) + (zone and f"%{self._word('zone', zone)}")

    def _prefix(self, version: int, level: int, value: int) -> tuple[int, Range | None]:
        """What stands for a prefix of that level, and the range that it is in."""
        bits = _LEVELS[version][level]
        key = (version, bits, value)
        if (known := self._prefixes.get(key)) is None:
            fixed_bits, fixed = 0, 0
            above: Range | None = _ANY
            if level:
                fixed_bits = _LEVELS[version][level - 1]
                fixed, above = self._prefix(version, level - 1, value >> (bits - fixed_bits))
            # Within a prefix that is like any other, all are.
            kind = above and _kind(version, bits, value)
            known = self._prefixes[key] = self._chosen(key, above, kind, fixed_bits, fixed), kind
            self._taken.add((version, bits, known[0]))
        return known

    def _chosen(self, key: tuple[int, int, int], above: Range | None, kind: Range | None, fixed_bits: int, fixed: int) -> int:
        """One that is free, within the prefix `fixed` and the same range as the real one; at first none that is a real one elsewhere."""
        version, bits, value = key
        if kind and kind[0] >= bits:  # a range of its own, or one that holds some
            return value
        narrow_bits, narrow = kind or _ORDINARY[version]
        if narrow_bits > fixed_bits:
            fixed_bits, fixed = narrow_bits, narrow
        free = bits - fixed_bits
        digest = self._digest(f"{version}/{bits}/{value}".encode())
        seed, step = int.from_bytes(digest[:8]), int.from_bytes(digest[8:]) | 1  # an odd step leads to each place
        for number in range((1 << min(free, 20)) + _TRIES):
            found = fixed << free | (seed + number * step) & ((1 << free) - 1)
            free_of_names = number >= _TRIES or (version, bits, found) not in self._real
            if free_of_names and (version, bits, found) not in self._taken and (not above or _kind(version, bits, found) == kind):
                return found
        raise AssertionError("as many prefixes are there as before")  # pragma: no cover

    # ------------------------------------------------------------------------------------ columns

    def _column(self, field: pa.Field, column: pa.ChunkedArray) -> pa.ChunkedArray:
        if pa.types.is_string(field.type):
            return pa.chunked_array([pa.nulls(len(chunk), field.type) for chunk in column.chunks], field.type)
        if (function := self._columns.get(field.name)) is None:
            return column
        words = _dictionary(column)
        places: dict[str, int] = {}
        which = np.array([places.setdefault(function(word), len(places)) for word in words], np.int32)
        names = arrow.texts(list(places))
        merged = len(places) < len(words)  # two spellings of one address
        to = pa.array(which)
        chunks = [pa.DictionaryArray.from_arrays(to.take(c.indices) if merged else c.indices, names) for c in column.chunks]
        return pa.chunked_array(chunks, field.type)


def _dictionary(column: pa.ChunkedArray) -> list[str]:
    """The words of a column whose chunks have one dictionary."""
    words: list[str] = column.chunk(0).dictionary.to_pylist() if column.num_chunks else []
    return words


def _parsed(text: str) -> tuple[int, int, str] | None:
    """Version, value and zone of an address."""
    plain, _, zone = text.partition("%")
    version, family = (6, socket.AF_INET6) if ":" in plain else (4, socket.AF_INET)
    try:
        return version, int.from_bytes(socket.inet_pton(family, plain)), zone
    except (OSError, ValueError):
        return None


def _kind(version: int, bits: int, value: int) -> Range | None:
    """The range that a prefix lies in, or of those that lie in it the longest; None where it is like any other."""
    for of_range, begin in _ranges(version):
        if of_range <= bits:
            if value >> (bits - of_range) == begin:
                return of_range, begin
        elif begin >> (of_range - bits) == value:
            return of_range, begin
    return None


def _renamed(text: str, files: list[tuple[str, str]]) -> str:
    """What begins with a file's name, with its pseudonym; nothing of it where no file is known by it."""
    return next((f"{new}: {text[len(old) + 2 :]}" for old, new in files if text.startswith(f"{old}: ")), "another file: left out")
