"""The server's side of the mechanisms, without network and base64: each yields challenges, is sent responses, and
returns who claims to be whom. What makes no sense to it is a ValueError.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Final

from kit.redact import Secret

Talk = Generator[bytes, bytes, "Claim"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who says to be `user`, wants to act as `acting_as` where that is not empty, and knows `password`."""

    user: str
    password: Secret
    acting_as: str = ""


def plain() -> Talk:
    """RFC 4616: authorization identity, NUL, user, NUL, password."""
    acting_as, user, password = (yield b"").decode().split("\0")
    if not (user and password):
        raise ValueError("neither may be empty")  # RFC 4616 section 2
    return Claim(user=user, password=Secret(password), acting_as=acting_as)


def login() -> Talk:
    """No standard has it; every server does (draft-murchison-sasl-login)."""
    user = (yield b"Username:").decode()
    return Claim(user=user, password=Secret((yield b"Password:").decode()))


MECHANISMS: Final[Mapping[str, Callable[[], Talk]]] = {"PLAIN": plain, "LOGIN": login}
