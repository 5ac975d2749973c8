"""Secrets that cannot print themselves, and the one function that masks text.

Everything the kit keeps, shows or writes passes through `mask`: transcripts, log lines, findings, reports.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from typing import Final, NoReturn

MASKED: Final = "[hidden]"


class Secret:
    """A password, token or key. `reveal()` is the only way to its text.

    It has no useful repr, str, format, hash or pickle, and compares by identity, so that no log line, traceback,
    dict dump or notebook output can hold it by accident.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret itself. Call it where the bytes go to the wire or the vault, nowhere else."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret({MASKED})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is not pickled")


# Each pattern keeps its first group and hides what follows. All are linear: no nested repetition.
_GIVEAWAYS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        # Dovecot's auth_verbose_passwords: "(given password: hunter2)", "(SHA1 of given password: f638ff)".
        # The password may itself hold brackets: everything to the last one on the line goes.
        r"(given password: ).*(?=\))",
        # An AUTH command with an initial response (RFC 4954 section 4), in a transcript or quoted in a log.
        r"(?i:(\bAUTH [A-Z0-9_-]{1,20} ))[A-Za-z0-9+/]{4,}={0,2}(?![A-Za-z0-9+/])",
        # A bearer token, in an HTTP header or inside the SASL blobs of XOAUTH2 and OAUTHBEARER.
        r"(?i:(\bBearer ))[\w.~+/=-]{8,}",
        # key=value and key: value, as configuration and scripts have it.
        (
            r"(?i:(\b(?:password|passwd|passphrase|pwd|client_secret|api[_-]?key|access_token|refresh_token)['\"]?\s?[=:]\s?['\"]?))"
            r"[^\s'\",;)<>\[]{3,}"
        ),
        # vpopmail: "password fail (pass: 'hunter2')".
        r"(\(pass: ').*(?='\))",
    )
)
_TRIGGERS: Final = re.compile(r"(?i)given password|auth |bearer|passw|passphrase|pwd|client_secret|api[_-]?key|_token|\(pass: ")


def mask(text: str, secrets: Iterable[Secret] = ()) -> str:
    """`text` without its secrets.

    Known secrets are hidden wherever they stand, as they are or in base64 at any of its three alignments (so inside
    an AUTH PLAIN blob too). What merely looks like a credential is hidden by its surroundings. Length and shape of
    what was hidden are not kept.
    """
    for secret in secrets:
        for form in _forms(secret.reveal()):
            text = text.replace(form, MASKED)
    if _TRIGGERS.search(text):
        for pattern in _GIVEAWAYS:
            text = pattern.sub(rf"\g<1>{MASKED}", text)
    return text


def _forms(secret: str) -> list[str]:
    """The secret's spellings, the longest first. Base64 has three, by the offset of the secret in the blob."""
    if not secret:
        return []
    raw = secret.encode()
    forms = {secret, base64.b64encode(raw).decode()}
    for offset in range(3):
        # Characters that also depend on the neighbours' bits are cut off at both ends.
        blob = base64.b64encode(b"\0" * offset + raw).decode().rstrip("=")
        head = (0, 2, 3)[offset]
        tail = 1 if (len(raw) + offset) % 3 else 0
        core = blob[head : len(blob) - tail]
        if len(core) >= 4:
            forms.add(core)
    return sorted(forms, key=len, reverse=True)
