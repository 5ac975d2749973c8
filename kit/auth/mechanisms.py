"""SASL mechanisms as generators: raw bytes out, the server's raw challenge in. Base64 and the word AUTH are the dialogue's.

The first thing a mechanism yields is its initial response; `None` means that it has none, and an empty one is legal.
It is sent `None` when the server has said its last word. When it has nothing left to say it ends, and may hand back a
`Remark`. Forms that bind to the TLS channel (SCRAM-…-PLUS) are not among them: no server at hand could prove them.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Final

from kit.errors import UsageError
from kit.redact import Secret

MOST_ITERATIONS: Final = 1_000_000  # of SCRAM's hash, some 0.3 s; RFC 7677 asks for 4,096, OWASP in 2023 for 600,000


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What a mechanism has to say beside the server's reply.

    Attributes:
        finding: the entry of `findings.toml` that holds against the server even where it says yes; None where nothing does.
        evidence: hostile where it repeats the server, but printable; whoever shows it masks it, and cuts it only then.
    """

    finding: str | None
    evidence: str


Exchange = Generator[bytes | None, bytes | None, Remark | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """One way to sign in.

    Attributes:
        name: as EHLO lists it.
        reveals_password: whoever reads the connection reads the password or the token.
        by_itself: may be chosen where the settings name none. Not so where the secret would have to be another kind of thing
            than a password, and not where the method is outdated.
        start: begins one exchange for a user and a secret.
    """

    name: str
    reveals_password: bool
    by_itself: bool
    start: Callable[[str, Secret], Exchange]


def plain(user: str, secret: Secret, *, act_as: str = "") -> Exchange:
    """PLAIN (RFC 4616): everything at once.

    Args:
        user: who signs in.
        secret: the password.
        act_as: the authorization identity, where it is another one (such as a mailbox that `user` may open).
    """
    yield b"\0".join((_octets("user", act_as), _octets("user", user), _octets("password", secret.reveal())))
    return None


def login(user: str, secret: Secret) -> Exchange:
    """LOGIN (draft-murchison-sasl-login): the user to the first question, the password to the second, however they are put."""
    name, password = _octets("user", user), _octets("password", secret.reveal())
    yield None
    yield name
    yield password
    return None


def cram_md5(user: str, secret: Secret) -> Exchange:
    """CRAM-MD5 (RFC 2195): hides the password, though not from whoever guesses at leisure what fits the answer."""
    name, password = _octets("user", user), _octets("password", secret.reveal())
    challenge = yield None
    yield name + b" " + hmac.new(password, challenge or b"", "md5").hexdigest().encode()
    return None


def scram(mechanism: str, user: str, secret: Secret, *, nonce: str | None = None) -> Exchange:
    """SCRAM (RFC 5802, RFC 7677) without channel binding: each side proves that it knows the password, and neither shows it.

    Args:
        mechanism: which of them.
        user: who signs in.
        secret: the password.
        nonce: for test vectors; else a new one.
    """
    from scramp import ScramClient, ScramException  # noqa: PLC0415 - 0.1 s, which only those who sign in so should pay

    _octets("user", user)
    _octets("password", secret.reveal())
    try:
        client = ScramClient([mechanism], user, secret.reveal(), c_nonce=nonce)
    except ScramException as fault:
        field = "user" if getattr(fault.server_error, "value", "") == "invalid-username-encoding" or not user else "password"
        raise UsageError(
            "SCRAM has no way to send it: it is empty, or holds a character that RFC 4013 forbids",
            where=field,
            next_step="Type it anew, or sign in with --mechanism PLAIN",
        ) from None
    challenge = yield client.get_client_first().encode()
    if challenge is None:
        return _UNPROVEN
    try:
        client.set_server_first(challenge.decode("utf-8", "replace"))
        answer = client.get_client_final().encode() if int(client.iterations) <= MOST_ITERATIONS else None
    except ScramException as fault:
        return Remark(finding="scram-broken", evidence=_printable(str(fault)))
    if answer is None:
        return Remark(finding="scram-broken", evidence=f"it asks for {client.iterations} iterations, and {MOST_ITERATIONS} are the most")
    final = yield answer
    if final is None:
        return _UNPROVEN
    error = Remark(finding=None, evidence=f"the server's error: {_printable(final)}") if final.startswith(b"e=") else None
    try:
        if error is None:
            client.set_server_final(final.decode("utf-8", "replace"))
    except ScramException as fault:
        return Remark(finding="server-unproven", evidence=_printable(str(fault)))
    yield b""
    return error


_UNPROVEN: Final = Remark(finding="server-unproven", evidence="the server said yes and sent no proof")


def xoauth2(user: str, secret: Secret) -> Exchange:
    """XOAUTH2, as Google and Microsoft describe it: user and token at once. An error comes as a challenge, and waits for an empty answer."""
    return (yield from _bearer(b"user=" + _octets("user", user), secret, b""))


def oauthbearer(user: str, secret: Secret, *, host: str | None = None, port: int | None = None) -> Exchange:
    """OAUTHBEARER (RFC 7628): as XOAUTH2, within the frame of GS2; an error waits for one byte.

    Args:
        user: who signs in.
        secret: the token.
        host: whom the client believes to speak with; servers do not ask for it.
        port: likewise.
    """
    name = _octets("user", user).replace(b"=", b"=3D").replace(b",", b"=2C")  # RFC 5801 section 4
    where = (f"host={host}" if host else "", f"port={port}" if port else "")
    return (yield from _bearer(b"\1".join((b"n,a=" + name + b",", *(part.encode() for part in where if part))), secret, b"\1"))


def _bearer(head: bytes, secret: Secret, on_error: bytes) -> Exchange:
    token = _octets("token", secret.reveal())
    if not token or not token.isascii() or any(byte <= 32 or byte == 127 for byte in token):
        raise UsageError("a token is one word of ASCII letters and signs", where="token", next_step="Copy it anew, in one line")
    error = yield head + b"\1auth=Bearer " + token + b"\1\1"
    if error is None:
        return None
    yield on_error
    return Remark(finding=None, evidence=f"the server's error: {_printable(error)}")


def external(user: str, _: Secret) -> Exchange:
    """EXTERNAL (RFC 4422 appendix A): the server knows the client already, as by its certificate; what is sent is whom to act as."""
    yield _octets("user", user)
    return None


def _printable(text: bytes | str) -> str:
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


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


# From the strongest to the weakest of those that take a password, then those that are used only where the settings name them.
MECHANISMS: Final = {
    name: Mechanism(name=name, reveals_password=reveals, by_itself=by_itself, start=start)
    for name, reveals, by_itself, start in (
        ("SCRAM-SHA-256", False, True, partial(scram, "SCRAM-SHA-256")),
        ("SCRAM-SHA-1", False, True, partial(scram, "SCRAM-SHA-1")),
        ("PLAIN", True, True, plain),
        ("LOGIN", True, True, login),
        ("OAUTHBEARER", True, False, oauthbearer),
        ("XOAUTH2", True, False, xoauth2),
        ("EXTERNAL", False, False, external),
        ("CRAM-MD5", False, False, cram_md5),
    )
}
