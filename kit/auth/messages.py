"""One SASL message, read without knowing which mechanism it belongs to: whose it is, what it names, that a secret is in it.

Pure, and careful: a message is claimed only where it has a mechanism's whole shape. Nothing is verified.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from kit.knowledge.load import load_table
from kit.redact import MASKED

QUESTION: Final = re.compile(r"(?i)(user ?name|password):?\0?")
_CRAM_CHALLENGE: Final = re.compile(r"<\d{1,20}\.(\d{1,20})\.?[^@<>\s]{0,64}@([^<>\s]{1,255})>")
_CRAM_ANSWER: Final = re.compile(r"([^\x00-\x1f]{1,255}) [0-9a-f]{32}")
_SCRAM_FIRST: Final = re.compile(r"(?:n|y|p=[\w.-]{1,64}),(?:a=([^,]{1,255}))?,n=([^,]{1,255}),r=([!-+\--~]{1,512})(?:,.{0,255})?")
_SCRAM_SERVER: Final = re.compile(r"r=[!-+\--~]{1,1024},s=([A-Za-z0-9+/=]{1,1024}),i=(\d{1,10})(?:,.{0,255})?")
_SCRAM_FINAL: Final = re.compile(r"c=[A-Za-z0-9+/=]{1,4096},r=[!-+\--~]{1,1024},p=[A-Za-z0-9+/=]{1,255}")
_SCRAM_END: Final = re.compile(r"v=[A-Za-z0-9+/]{26,88}={0,2}|e=([a-z0-9-]{1,64})")
_SCRAM_ERRORS: Final = {"invalid-proof": "scram-proof", "unknown-user": "scram-user"}
_OAUTH: Final = re.compile(r"(?s)(?:user=([^\x01]{0,512})|[nyp][^,\x01]{0,64},(?:a=([^,\x01]{0,512}))?,)\x01(.*)")
# By message: where its flags stand, and where the names do.
_NTLM: Final = {
    1: (12, (("domain", 16), ("workstation", 24))),
    2: (20, (("target", 12),)),
    3: (60, (("domain", 28), ("user", 36), ("workstation", 44))),
}
# RFC 2743 section 3.1: a token begins with the number of its mechanism.
_GSSAPI: Final = {b"\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02": "Kerberos", b"\x06\x06\x2b\x06\x01\x05\x05\x02": "SPNEGO"}


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it was understood.

    Attributes:
        said: its entry in `kit/knowledge/blobs.toml`.
        mechanism: as the message itself tells it.
        facts: what it names, as (label, text from the message).
        secrets: what must not be shown, however it came into a fact.
    """

    said: str
    mechanism: str
    facts: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = field(default=(), repr=False)


def read_message(raw: bytes, *, now: datetime | None = None) -> Message | None:
    """The mechanism whose message `raw` is, and what it says; None where it is none that is known.

    Args:
        raw: what the base64 stood for.
        now: to tell whether a token has expired.
    """
    if message := _ntlm(raw) or _gssapi(raw):
        return message
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return _plain(raw.decode("latin-1"), "not-utf8")
    if oauth := _OAUTH.fullmatch(text):
        return _oauth(oauth, now)
    return next((message for read in _READERS if (message := read(text))), None)


def decode(blob: str) -> bytes | None:
    """Base64 in either alphabet, with or without its padding; None where it is none."""
    blob = blob.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(blob + "=" * (-len(blob) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def password_message(mechanism: str, password: str, *facts: tuple[str, str], said: str = "password") -> Message:
    """A message that holds a password, and whether a line end came into it."""
    said = "line-end" if password.endswith(("\n", "\r")) else said
    return Message(said, mechanism, (*facts, ("password", MASKED)), (password, password.strip()))


def stamp(time: datetime) -> str:
    """A time as it is shown; later ones sort later."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M UTC}"


def _plain(text: str, said: str = "password") -> Message | None:
    acting, _, rest = text.partition("\0")
    user, _, password = rest.partition("\0")
    if not user or not password or not f"{acting}{user}{password}".rstrip("\r\n").isprintable():
        return None
    return password_message("PLAIN", password, ("user", user), *_acting(acting, user), said=said)


def _acting(acting: str | None, user: str) -> tuple[tuple[str, str], ...]:
    return (("acting as", acting),) if acting and acting != user else ()


def _question(text: str) -> Message | None:
    question = QUESTION.fullmatch(text)
    return Message("question", "LOGIN", (("the server asks for the", question[1].lower()),)) if question else None


def _cram(text: str) -> Message | None:
    if challenge := _CRAM_CHALLENGE.fullmatch(text):
        made = _time(int(challenge[1])) or ""
        return Message("digest", "CRAM-MD5", (("challenge of", challenge[2]), *((("made", made),) if made > "2000" else ())))
    answer = _CRAM_ANSWER.fullmatch(text)
    return Message("digest", "CRAM-MD5", (("user", answer[1]), ("digest", MASKED))) if answer else None


def _scram(text: str) -> Message | None:
    if first := _SCRAM_FIRST.fullmatch(text):
        acting, user = _name(first[1]), _name(first[2])
        return Message("scram", "SCRAM", (("user", user), *_acting(acting, user), ("nonce", f"{first[3][:6]}…")))
    if server := _SCRAM_SERVER.fullmatch(text):
        return Message("scram", "SCRAM", (("rounds", server[2]), ("octets of salt", str(len(decode(server[1]) or b"")))))
    if _SCRAM_FINAL.fullmatch(text):
        return Message("scram", "SCRAM", (("proof", MASKED),))
    if end := _SCRAM_END.fullmatch(text):
        return Message(_SCRAM_ERRORS.get(end[1], "scram-error"), "SCRAM", (("error", end[1]),)) if end[1] else Message("scram", "SCRAM")
    return None


def _name(text: str | None) -> str:
    """RFC 5801 section 4: a comma and an equals sign have their own spelling."""
    return (text or "").replace("=2C", ",").replace("=3D", "=")


def _refusal(text: str) -> Message | None:
    """The JSON behind a 334 that refuses a token."""
    said = _json(text) or {}
    if "status" not in said or not {"schemes", "scope", "openid-configuration"} & set(said):
        return None
    facts = tuple((key, _listed(said[key])) for key in ("status", "scope") if said.get(key))
    return Message("token-refused", "OAUTHBEARER" if "openid-configuration" in said else "XOAUTH2", facts)


_READERS: Final[tuple[Callable[[str], Message | None], ...]] = (_question, _plain, _cram, _scram, _refusal)


def _oauth(match: re.Match[str], now: datetime | None) -> Message:
    fields = {"user": _name(match[1] or match[2]), **dict(item.partition("=")[::2] for item in match[3].split("\x01")[:16])}
    scheme, _, token = fields.get("auth", "").partition(" ")
    said, facts = _token(token.strip(), now)
    if token and (scheme.lower() != "bearer" or not match[3].endswith("\x01\x01")):
        said = "token-form"
    named = tuple((name, fields[name]) for name in ("user", "host", "port") if fields.get(name))
    return Message(said, "OAUTHBEARER" if match[1] is None else "XOAUTH2", (*named, *facts), (token,))


def _token(token: str, now: datetime | None) -> tuple[str, tuple[tuple[str, str], ...]]:
    """What a token says of itself (RFC 7519), unverified, and which entry of the table that is."""
    table = load_table("blobs")
    if not token:
        return "token-empty", ()
    parts = token.split(".")
    claims = _json((decode(parts[1]) or b"").decode("utf-8", "replace")) if len(parts) == 3 else None
    if claims is None:
        kind = next((kind for begin, kind in table["token"].items() if token.startswith(begin)), "opaque: only the server can read it")
        return "token-refresh" if token.startswith("1//") else "token", (("token", MASKED), (f"({kind})", ""))
    named = {
        "for": _listed(claims.get("aud") or ""),
        "scopes": _listed(claims.get("scp") or claims.get("scope") or claims.get("roles") or ""),
        "expires": _time(claims.get("exp")) or "",
    }
    said: str = table["audience"].get(named["for"], "token")
    if now and named["expires"] and named["expires"] < stamp(now):
        said = "token-expired"
    return said, (("token", MASKED), ("(a JWT, not verified)", ""), *((label, text) for label, text in named.items() if text))


def _ntlm(raw: bytes) -> Message | None:
    """[MS-NLMP] section 2.2, all little-endian: a name is told by its length, its room and its place."""
    kind = int.from_bytes(raw[8:12], "little")
    if not raw.startswith(b"NTLMSSP\0") or kind not in _NTLM:
        return None
    flags_at, places = _NTLM[kind]
    wide = kind > 1 and any(octet & 1 for octet in raw[flags_at : flags_at + 1])
    facts = [("message", str(kind))]
    for label, at in places:
        length, begin = int.from_bytes(raw[at : at + 2], "little"), int.from_bytes(raw[at + 4 : at + 8], "little")
        if begin >= at + 8 and (octets := raw[begin : begin + min(length, 512)]):
            facts.append((label, octets.decode("utf-16-le" if wide else "latin-1", "replace")))
    return Message("ntlm", "NTLM", tuple(facts))


def _gssapi(raw: bytes) -> Message | None:
    name = next((name for number, name in _GSSAPI.items() if raw[:1] == b"\x60" and 0 < raw.find(number, 0, 20) <= 6), None)
    return Message("gssapi", "GSSAPI", ((f"a token of {name}", ""),)) if name else None


def _json(text: str) -> dict[str, Any] | None:
    try:
        said = json.loads(text) if text.startswith("{") else None
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _listed(value: object) -> str:
    """Text, number or a list of them, as text."""
    return " ".join(str(item)[:200] for item in value[:20]) if isinstance(value, list) else str(value)


def _time(seconds: object) -> str | None:
    try:
        return stamp(datetime.fromtimestamp(seconds, UTC)) if isinstance(seconds, (int, float)) else None
    except (ValueError, OverflowError, OSError):
        return None
