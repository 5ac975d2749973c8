"""What a user and a secret give away before anything is sent: the wrong kind of secret, a factory default, a weak one.

Pure, and quick enough to run at each sign-in. No finding holds the secret or any part of it. When a shape is told
stands in `kit/knowledge/credentials.toml`, in which words in `findings.toml` beside it.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from kit.errors import KnowledgeError
from kit.knowledge.findings import found
from kit.knowledge.load import load_table
from kit.knowledge.providers import find_provider, find_provider_by_host
from kit.model import Finding, Profile
from kit.redact import Secret

LIMIT: Final = 4096  # characters of a secret that are looked at
_JUDGED: Final = 32  # characters whose strength is judged: its cost grows steeply, and what is strong so far stays strong
_TOKEN_MECHANISMS: Final = ("XOAUTH2", "OAUTHBEARER")


@dataclass(frozen=True, slots=True)
class _Rule:
    """One [[rule]] of the table."""

    finding: str
    of_user: bool
    pattern: re.Pattern[str] | None
    decoded: re.Pattern[str] | None
    hosts: tuple[str, ...]
    sign_in: str | None
    names: bool
    final: bool


def check_credential(profile: Profile, secret: Secret, *, shape: bool = True, strength: bool = True) -> tuple[Finding, ...]:
    """What is wrong with this user and this secret, as far as they show it themselves; nothing is sent.

    Args:
        profile: who would sign in, and where, its host empty where that is not known yet; the mechanism tells whether a token is wanted.
        secret: a password, key or token.
        shape: whether they look like something else than is wanted, or were copied with something more.
        strength: whether somebody would guess the password.
    """
    text, user = secret.reveal()[:LIMIT], profile.user or ""
    if not text:
        return ()
    hosts, kind = _hosts(profile), "token" if (profile.mechanism or "").upper() in _TOKEN_MECHANISMS else "password"
    findings: list[Finding] = []
    for rule in _rules() if shape else ():
        looked_at = user if rule.of_user else text
        if rule.sign_in in (None, kind) and _at(rule.hosts, hosts) and _fits(rule, looked_at):
            findings.append(found(rule.finding, profile, *(_names(rule.pattern, looked_at) if rule.names and rule.pattern else ())))
            if rule.final:  # this cannot be the secret at all
                return tuple(findings)
    if shape and user and _decoded(text).strip() == user:
        return (*findings, found("password-is-user", profile))
    if strength and kind == "password" and (guess := _guess(user, text, hosts)):
        findings.append(found(guess[0], profile, *guess[1:]))
    return tuple(findings)


def _hosts(profile: Profile) -> set[str]:
    provider = find_provider_by_host(profile.host) if profile.host else find_provider(profile.user or "")
    return {name.lower().rstrip(".") for name in (profile.host, provider and provider.host) if name}


def _guess(user: str, text: str, hosts: set[str]) -> tuple[str, ...]:
    """Which finding says how the password would be guessed, and why; nothing where that takes long."""
    local, _, domain = user.casefold().partition("@")
    password = text.strip().casefold()
    if any(name in ("", user.casefold(), local) and password == default for name, default in _default_logins()):
        return ("default-login",)
    names = {
        user.casefold(),
        local,
        *(piece for name in (local, domain, *hosts) for piece in re.split(r"[^\w]+|_", name) if len(piece) > 2),
    }
    bare = _letters(password)
    if password in names or (bare and bare in map(_letters, names)):
        return ("guessable-password",)
    from zxcvbn_rs_py import zxcvbn  # noqa: PLC0415 - only where there is a secret to judge

    judged = zxcvbn(_whole(text[:_JUDGED]), [_whole(name[:100]) for name in sorted(names)[:50]])
    if int(judged.score) > 2:  # 3: some 10^8 guesses and more, which an online attacker does not get
        return ()
    why = judged.feedback.warning if judged.feedback else None
    return ("weak-password", str(why)) if why else ("weak-password",)


def _fits(rule: _Rule, text: str) -> bool:
    return (rule.pattern is None or rule.pattern.search(text) is not None) and (
        rule.decoded is None or rule.decoded.search(_decoded(text)) is not None
    )


def _at(wanted: tuple[str, ...], hosts: set[str]) -> bool:
    return not wanted or any(f".{host}".endswith(f".{name}") for host in hosts for name in wanted)


def _decoded(text: str) -> str:
    """What `text` says once it is decoded from base64; nothing where it is none, or no text."""
    try:
        return base64.b64decode(text.strip(), validate=True).decode("utf-8") if len(text) >= 8 else ""
    except (binascii.Error, ValueError):
        return ""


def _names(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    """The characters that the pattern finds, by name: they are what must go."""
    for character in sorted(set(pattern.findall(text)))[:4]:
        yield f"U+{ord(character):04X} {unicodedata.name(character, 'a control character')}"


def _letters(text: str) -> str:
    return re.sub(r"[\W\d_]+", "", text)


def _whole(text: str) -> str:
    """Without halves of surrogate pairs, at which zxcvbn would raise an error that holds the text."""
    return text.encode("utf-8", "replace").decode("utf-8")


@cache
def _rules() -> tuple[_Rule, ...]:
    """The [[rule]] entries, in the table's order."""
    try:
        return tuple(
            _Rule(
                entry["finding"],
                entry.get("of") == "user",
                _compiled(entry, "pattern"),
                _compiled(entry, "decoded"),
                tuple(entry.get("hosts", ())),
                entry.get("sign_in"),
                entry.get("names", False),
                entry.get("final", False),
            )
            for entry in load_table("credentials")["rule"]
        )
    except (KeyError, re.error) as fault:
        raise KnowledgeError(
            f"an entry does not read ({fault})", where="kit/knowledge/credentials.toml", next_step="Please report it"
        ) from fault


@cache
def _default_logins() -> frozenset[tuple[str, str]]:
    return frozenset((user, password) for entry in load_table("credentials")["default_login"] for user, password in entry["logins"])


def _compiled(entry: dict[str, Any], key: str) -> re.Pattern[str] | None:
    return re.compile(entry[key]) if key in entry else None
