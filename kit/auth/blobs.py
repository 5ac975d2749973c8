"""What the base64 of a sign-in says: mechanism, user, and that a secret is in it, but never the secret.

Pure: from what somebody pasted (a line, a whole AUTH command, a trace with its 334 questions) to an Explanation. What
is said to each kind of message stands in `kit/knowledge/blobs.toml`.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from kit.auth.messages import QUESTION, Message, decode, password_message, read_message
from kit.errors import KnowledgeError
from kit.knowledge.load import load_table
from kit.model import Cause, Explanation
from kit.redact import MASKED, Secret, mask

LIMIT: Final = 64 * 1024  # characters of a pasted text that are looked at
_SHOWN: Final = 120  # characters of a field that are shown
_ENOUGH: Final = 12  # messages; no sign-in has more

_BASE64: Final = r"[A-Za-z0-9+/_-]"
_MECHANISMS: Final = (
    r"(?:PLAIN|LOGIN|CRAM-MD5|SCRAM-SHA-(?:1|224|256|384|512)(?:-PLUS)?|XOAUTH2|OAUTHBEARER|NTLM|GSSAPI|GSS-SPNEGO|EXTERNAL)"
)
# In EHLO's answer a list of names stands behind AUTH, in prose a word: neither is an initial response.
_AUTH: Final = re.compile(
    rf"(?i)(?<![A-Za-z=-])(?<!250[ -])AUTH[ \t]{{1,4}}({_MECHANISMS})(?:[ \t]{{1,4}}(?!{_MECHANISMS}(?![\w+/=-]))"
    rf"(?!(?-i:[A-Za-z]?[a-z/]*)(?![\w+/=-]))(=|{_BASE64}{{4,}}={{0,2}}))?[ \t'\"]*$"
)
_CHALLENGE: Final = re.compile(rf"(?<![\w.])334(?:[ \t-]{{1,4}}({_BASE64}{{4,}}={{0,2}})|[ \t-]{{0,4}})[ \t'\"]*$")
_REPLY: Final = re.compile(r".{0,200}?(?<![\w.])[245]\d\d[ -]")  # any other ends the sign-in
# A line of its own, or behind what programs put before it: "C: ", "-> ", "send: '", "client[192.0.2.1]: ".
_ANSWER: Final = re.compile(rf"(?:.{{0,200}}[:>~][ \t]{{0,4}})?['\"]?(=|{_BASE64}{{2,}}={{0,2}})['\"]?[ \t]*")
# A long blob as a narrow window breaks it: the rest stands on lines of its own.
_UNFINISHED: Final = re.compile(rf"(?i)(?:^|AUTH[ \t]{{1,4}}[\w-]{{1,20}}[ \t]{{1,4}}){_BASE64}{{60,}}$")
_REST: Final = re.compile(rf"[ \t]*{_BASE64}+={{0,2}}[ \t]*")
# What a blob is that is no message of the mechanism that AUTH names.
_BROKEN: Final = {"PLAIN": "not-plain", "XOAUTH2": "token-form", "OAUTHBEARER": "token-form"}


def explain_blobs(text: str, *, now: datetime | None = None) -> Explanation | None:
    """What the base64 in a pasted text says about a sign-in; None where it says nothing that is known.

    Args:
        text: a base64 line, an AUTH command, or a trace of both sides.
        now: to tell whether a token has expired.
    """
    mechanism, messages = _sign_in(text, now)
    messages = [each for each in messages if each.said != "question"] or messages[:1]
    if not messages:
        return None
    entries = [_entry(each.said) for each in messages]
    entry = next((each for each in entries if each["cause"] != Cause.NONE), entries[-1])
    secrets = [Secret(secret) for each in messages for secret in each.secrets if secret]
    facts = dict.fromkeys((label, _printable(mask(value, secrets))) for each in messages for label, value in each.facts)
    title = ", ".join(f"{label} {value}".strip() for label, value in facts)
    return Explanation(
        cause=Cause(entry["cause"]),
        provider=None,
        title=f"{mechanism or messages[0].mechanism}: {'; '.join(part for part in (title, entry.get('title')) if part) or 'a sign-in'}",
        next_step=entry["next_step"],
        sources=(entry["source"],),
    )


def _sign_in(text: str, now: datetime | None) -> tuple[str | None, list[Message]]:
    """The mechanism as AUTH names it, and what was understood of the first sign-in that says anything."""
    if re.fullmatch(rf"{_BASE64}{{4,}}={{0,2}}", whole := re.sub(r"[ \t]*\r?\n[ \t]*", "", text[:LIMIT].strip())):
        return None, _understood(whole, now)
    mechanism: str | None = None
    messages: list[Message] = []
    asked: str | None = None  # the last question; None where the client has nothing to answer
    for line in _lines(text):
        blob = None
        command = _AUTH.search(line)
        if len(messages) > _ENOUGH or (command and messages):
            break
        if command:
            mechanism, asked, blob = command[1].upper(), "Username:" if command[2] else "", command[2]
        elif challenge := _CHALLENGE.search(line):
            asked = _text(challenge[1] or "")
            messages += _understood(challenge[1] or "", now)
        elif _REPLY.match(line):
            asked = None
        elif answer := _ANSWER.fullmatch(line):
            # Where nothing was asked, a line that only ends in base64 is no answer.
            blob = answer[1] if asked is not None or (not mechanism and answer.start(1) < 16) else None
        if blob:
            messages += _answered(blob, mechanism, asked or "", now)
            asked = "" if mechanism == "LOGIN" else None
    return mechanism, messages


def _lines(text: str) -> list[str]:
    lines: list[str] = []
    for line in re.sub(r"(?:\\r)?\\n|\r\n?", "\n", text[:LIMIT]).split("\n"):
        if lines and _REST.fullmatch(line) and _UNFINISHED.search(lines[-1]):
            lines[-1] += line.strip()
        else:
            lines.append(line)
    return lines


def _answered(blob: str, mechanism: str | None, asked: str, now: datetime | None) -> list[Message]:
    """What the client said with `blob`, after the server had asked `asked`."""
    raw = decode(blob)
    question = QUESTION.fullmatch(asked)
    understood = _understood(blob, now)
    if mechanism == "EXTERNAL":
        return [Message("external", mechanism, (("acting as", _text(blob)),) if raw else ())]
    if mechanism and raw is None:
        return [Message("not-base64", mechanism)]
    if (mechanism == "LOGIN" or (question and not mechanism)) and not any(each.mechanism == "PLAIN" for each in understood):
        return [_login(raw or b"", question[1].lower() if question else None)]
    if not understood and mechanism in _BROKEN and len(raw or b"") > 4:
        return [Message(_BROKEN[mechanism], mechanism)]
    tokens = {"XOAUTH2", "OAUTHBEARER"}
    return [
        Message("token-form", mechanism, each.facts, each.secrets)
        if mechanism in tokens and each.mechanism in tokens - {mechanism}
        else each
        for each in understood
    ]


def _login(raw: bytes, question: str | None) -> Message:
    """An answer of AUTH LOGIN. Where the question is not known, it may be the password."""
    text = raw.decode("utf-8", "replace")
    if question == "password":
        return password_message("LOGIN", text)
    if question:
        return Message("user", "LOGIN", (("user", text),))
    return Message("password", "LOGIN", (("an answer", MASKED),), (text, text.strip()))


def _understood(blob: str, now: datetime | None) -> list[Message]:
    message = read_message(decode(blob) or b"", now=now)
    return [message] if message else []


def _text(blob: str) -> str:
    return (decode(blob) or b"").decode("utf-8", "replace")


def _printable(text: str) -> str:
    text = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[: _SHOWN + 1])
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _entry(name: str) -> dict[str, str]:
    try:
        entry: dict[str, str] = load_table("blobs")["said"][name]
    except KeyError as fault:
        raise KnowledgeError(f"[said.{name}] is missing", where="kit/knowledge/blobs.toml", next_step="Please report it") from fault
    return entry
