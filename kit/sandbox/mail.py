"""One mail transaction as a server sees it (RFC 5321 section 3.3), without network: commands in, replies out."""

from __future__ import annotations

import re
from typing import Final

LARGEST_MESSAGE: Final = 5 * 1024 * 1024
MOST_RECIPIENTS: Final = 100  # RFC 5321 section 4.5.3.1.8

_PATH: Final = re.compile(r"(?i)(FROM|TO): ?<([^<>]{0,320})>((?: [!-~]{1,200}){0,10}) *")
_MAIL_PARAMETER: Final = re.compile(r"(?i)SIZE=[0-9]{1,20}|BODY=(?:7BIT|8BITMIME)|SMTPUTF8|AUTH=[!-~]+")
_SIZE: Final = re.compile(r"(?i)(?:^| )SIZE=([0-9]+)")
_BARE: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)")

TOO_LARGE: Final = "552 5.3.4 Message size exceeds fixed limit"


def has_bare(line: bytes) -> bool:
    """Whether there is a CR or LF in a line from which its CRLF is gone."""
    return _BARE.search(line) is not None


class Envelope:
    """Who sends to whom. `sender` is None before MAIL, and empty for `<>`."""

    def __init__(self) -> None:
        self.sender: str | None = None
        self.recipients: list[str] = []

    def mail(self, rest: str) -> str:
        """The reply to `MAIL` with this behind it, from somebody who may send."""
        found = _PATH.fullmatch(rest)
        if not found or found[1].upper() != "FROM":
            return "501 5.5.4 Syntax: MAIL FROM:<address>"
        parameters = found[3].split()
        if not all(_MAIL_PARAMETER.fullmatch(parameter) for parameter in parameters):
            return "555 5.5.4 Unknown parameter"  # RFC 5321 section 4.1.1.11
        if not found[2].isascii() and "SMTPUTF8" not in map(str.upper, parameters):
            return "553 5.6.7 An address in other letters needs SMTPUTF8"  # RFC 6531 section 3.5
        if (size := _SIZE.search(found[3])) and int(size[1]) > LARGEST_MESSAGE:
            return TOO_LARGE  # RFC 1870 section 6.1
        self.sender = found[2]
        return "250 2.1.0 Ok"

    def rcpt(self, rest: str) -> str:
        """The reply to `RCPT` with this behind it."""
        found = _PATH.fullmatch(rest)
        if self.sender is None:
            return "503 5.5.1 MAIL comes first"
        if not found or found[1].upper() != "TO" or not found[2]:
            return "501 5.5.4 Syntax: RCPT TO:<address>"
        if found[3]:
            return "555 5.5.4 Unknown parameter"
        if len(self.recipients) >= MOST_RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        self.recipients.append(found[2])
        return "250 2.1.5 Ok"


class Body:
    """The message behind DATA, line by line. Beyond `LARGEST_MESSAGE` it is only counted."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.size = 0
        self._smuggled = False

    def add(self, line: bytes) -> None:
        """One line as it came, without its CRLF. A dot at its beginning was stuffed (RFC 5321 section 4.5.2)."""
        self.size += len(line) + 2
        self._smuggled = self._smuggled or has_bare(line)
        if self.size <= LARGEST_MESSAGE:
            self.data += line.removeprefix(b".") + b"\r\n"

    @property
    def refusal(self) -> str | None:
        """Why it is not taken, if it is not."""
        if self._smuggled:
            return "550 5.6.0 The message holds a bare CR or LF"
        return TOO_LARGE if self.size > LARGEST_MESSAGE else None
