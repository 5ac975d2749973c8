"""SASL mechanisms as generators: raw bytes out, the server's raw challenge in. Base64 and the word AUTH are the dialogue's.

The first thing a mechanism yields is its initial response; `None` means that it has none, and an empty one is legal.
When it has nothing left to say, it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final

from kit.errors import UsageError
from kit.redact import Secret

Exchange = Generator[bytes | None, bytes, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """One way to sign in.

    Attributes:
        name: as EHLO lists it.
        reveals_password: whoever reads the connection reads the password.
        start: begins one exchange for a user and a secret.
    """

    name: str
    reveals_password: bool
    start: Callable[[str, Secret], Exchange]


def plain(user: str, secret: Secret, *, act_as: str = "") -> Exchange:
    """PLAIN (RFC 4616): everything at once.

    Args:
        user: who signs in.
        secret: the password.
        act_as: the authorization identity, where it is another one (such as a mailbox that `user` may open).
    """
    yield b"\0".join((_octets("user", act_as), _octets("user", user), _octets("password", secret.reveal())))


def login(user: str, secret: Secret) -> Exchange:
    """LOGIN (draft-murchison-sasl-login): the user to the first question, the password to the second, however they are put."""
    name, password = _octets("user", user), _octets("password", secret.reveal())
    yield None
    yield name
    yield password


def _octets(field: str, text: str) -> bytes:
    """UTF-8, as RFC 4616 wants it.

    Raises:
        UsageError: a NUL, which would end the field, or half a character. The text itself is never repeated.
    """
    try:
        octets = text.encode("utf-8")
    except UnicodeEncodeError:
        octets = b"\0"
    if b"\0" in octets:
        raise UsageError(
            "it holds a character that cannot be sent (NUL, or half of a surrogate pair)", where=field, next_step="Type it anew"
        )
    return octets


# From the one that is tried first to the last; both show the password to whoever can read along.
MECHANISMS: Final = {
    mechanism.name: mechanism
    for mechanism in (
        Mechanism(name="PLAIN", reveals_password=True, start=plain),
        Mechanism(name="LOGIN", reveals_password=True, start=login),
    )
}
