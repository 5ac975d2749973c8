"""The server's side of the mechanisms, without network and base64: each yields challenges, is sent responses, and
returns who claims to be whom, and whether that is so. What makes no sense to it is a ValueError.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from kit.redact import Secret

Talk = Generator[bytes, bytes, "Claim"]
SALT: Final = 16  # bytes, as Dovecot takes
ITERATIONS: Final = 4096  # RFC 7677 section 4
_NOBODY: Final = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The one there is. Its password is its token, too."""

    user: str
    password: Secret

    def is_right(self, user: str, password: str, acting_as: str = "") -> bool:
        """Whether that is the account, acting as itself."""
        given, ours = (text.encode("utf-8", "surrogatepass") for text in (password, self.password.reveal()))
        return user == self.user and acting_as in ("", self.user) and hmac.compare_digest(given, ours)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who says to be `user`.

    Attributes:
        right: they are.
        proof: a last challenge before a yes, by which the server proves itself.
        complaint: a last challenge before a no, which says why.
    """

    user: str
    right: bool
    proof: bytes | None = None
    complaint: bytes | None = None


def plain(account: Account) -> Talk:
    """RFC 4616: authorization identity, NUL, user, NUL, password."""
    acting_as, user, password = (yield b"").decode().split("\0")
    if not (user and password):
        raise ValueError("neither may be empty")  # RFC 4616 section 2
    return Claim(user=user, right=account.is_right(user, password, acting_as))


def login(account: Account) -> Talk:
    """No standard has it; every server does (draft-murchison-sasl-login)."""
    user = (yield b"Username:").decode()
    return Claim(user=user, right=account.is_right(user, (yield b"Password:").decode()))


def cram_md5(account: Account) -> Talk:
    """RFC 2195: a challenge that never comes twice, the user and the digest."""
    challenge = f"<{secrets.token_hex(8)}@localhost>".encode()
    user, space, digest = (yield challenge).decode().rpartition(" ")
    if not (user and space):
        raise ValueError("no user")
    right = hmac.new(account.password.reveal().encode("utf-8", "surrogatepass"), challenge, "md5").hexdigest()
    return Claim(user=user, right=user == account.user and hmac.compare_digest(digest.encode(), right.encode()))


def scram(mechanism: str, account: Account) -> Talk:
    """RFC 5802 and 7677 without channel binding. A user that is unknown is asked for a proof as well, so that nobody learns who is known."""
    from scramp import ScramException, ScramMechanism  # noqa: PLC0415 - who never signs in so need not wait for it

    first = (yield b"").decode()
    named: list[str] = []

    def stored(user: str) -> tuple[bytes, bytes, bytes, int]:
        named.append(user)
        password = account.password.reveal() if user == account.user else secrets.token_hex()
        info: tuple[bytes, bytes, bytes, int] = kind.make_auth_info(password, ITERATIONS, secrets.token_bytes(SALT))
        return info

    kind = ScramMechanism(mechanism)
    server = kind.make_server(stored)
    try:
        server.set_client_first(first)
        final = yield server.get_server_first().encode()
        server.set_client_final(final.decode())
    except ScramException as fault:
        if getattr(fault.server_error, "value", "") == "invalid-proof":
            return Claim(user=named[0], right=False)
        raise ValueError(str(fault)) from None
    return Claim(user=named[0], right=True, proof=server.get_server_final().encode())


def xoauth2(account: Account) -> Talk:
    """As Google and Microsoft describe it: `user=` and `auth=Bearer`, parted by Control-A."""
    user, token = _bearer((yield b"").decode().removesuffix("\1"), "user")
    complaint = {"status": "400", "schemes": "Bearer", "scope": "https://mail.example.test/"}
    return Claim(user=user, right=account.is_right(user, token), complaint=json.dumps(complaint).encode())


def oauthbearer(account: Account) -> Talk:
    """RFC 7628: the same behind a GS2 header, which names the user or leaves that to the token."""
    header, _, rest = (yield b"").decode().partition("\1")
    flag, _, identity = header.removesuffix(",").partition(",")
    if flag != "n" or not header.endswith(","):
        raise ValueError("no GS2 header without channel binding")
    user = identity.removeprefix("a=").replace("=2C", ",").replace("=3D", "=") or account.user
    _, token = _bearer(rest.removesuffix("\1"), None)
    complaint = {"status": "invalid_token", "schemes": "bearer", "scope": "https://mail.example.test/"}
    return Claim(user=user, right=account.is_right(user, token), complaint=json.dumps(complaint).encode())


def _bearer(pairs: str, user: str | None) -> tuple[str, str]:
    fields = dict(pair.split("=", 1) for pair in pairs.removesuffix("\1").split("\1"))
    scheme, _, token = fields.get("auth", "").partition(" ")
    if scheme.lower() != "bearer" or not token or (user and not fields.get(user)):
        raise ValueError("no user and bearer token")
    return fields.get(user or "", ""), token


def external(_: Account) -> Talk:
    """RFC 4422 appendix A: whom to act as; who one is a certificate says. The sandbox asks for none, so nobody is right."""
    return Claim(user=(yield b"").decode() or _NOBODY, right=False)


MECHANISMS: Final[Mapping[str, Callable[[Account], Talk]]] = {
    "PLAIN": plain,
    "LOGIN": login,
    "CRAM-MD5": cram_md5,
    "SCRAM-SHA-1": partial(scram, "SCRAM-SHA-1"),
    "SCRAM-SHA-256": partial(scram, "SCRAM-SHA-256"),
    "XOAUTH2": xoauth2,
    "OAUTHBEARER": oauthbearer,
    "EXTERNAL": external,
}
