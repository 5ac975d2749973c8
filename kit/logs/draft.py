"""A first draft of the line class that would catch a shape of line that was not understood, for whoever adds it to the table."""

from __future__ import annotations

import json
import re
from datetime import date
from typing import Final

from kit.logs.classes import envelope, suspicion
from kit.logs.envelope import canonical
from kit.redact import MASKED

_TAGGED: Final = re.compile(envelope(r"[^\s\[\]:]{1,64}") + "(?P<message>.*)", re.ASCII | re.DOTALL)
_IP: Final = r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}|[0-9A-Fa-f]{0,4}:[0-9A-Fa-f.:]{2,40}"
# What is likely to differ in the next line of the shape, and what stands for it; the first that fits a place wins.
_PARTS: Final = re.compile(
    rf"(?P<client>(?P<client_name>[\w.-]{{1,255}})\[(?:{_IP})\](?::[0-9]{{1,5}}\b)?)"
    rf"|(?P<client_ip>(?<![\w.:-])(?:{_IP})(?![\w:-]))"
    r"|(?P<user>(?<=user=<)[^>]*|(?<=user=)(?!<)[^\s,;]+|(?<=username=)[^\s,;]+|(?<![\w@])[\w.+-]+@[\w.-]+)"
    r"|(?P<mechanism>\b(?:PLAIN|LOGIN|CRAM-MD5|DIGEST-MD5|SCRAM-SHA-[0-9]+|XOAUTH2|OAUTHBEARER|EXTERNAL|NTLM|GSSAPI)\b)"
    rf"|(?P<hidden>{re.escape(MASKED)})"
    r"|(?P<angled><[^>]*>)|(?P<quoted>\"[^\"]*\"|'[^']*')|(?P<hexadecimal>\b(?=[0-9A-Fa-f]*[0-9])[0-9A-Fa-f]{8,}\b)|(?P<number>[0-9]+)"
)
_STANDS_FOR: Final = {
    "client": r"(?P<client_name>[^\[\n]{1,255})\[(?P<client_ip>[^\]\n]{2,64})\](?::(?P<client_port>\d{1,5})|)",
    "client_ip": r"(?P<client_ip>[0-9A-Fa-f.:]{2,45})",
    "user": r"(?P<user>[^\s,;<>]{0,300})",
    "mechanism": r"(?P<mechanism>[A-Z0-9_-]{1,32})",
    "hidden": r".{1,300}",
    "angled": r"<[^>\n]{0,300}>",
    "quoted": r"""["'][^"'\n]{0,300}["']""",
    "hexadecimal": r"[0-9A-Fa-f]{8,64}",
    "number": r"\d{1,20}",
}
_NEEDLE: Final = re.compile(r"[ !#-.0-\[\]-~]{4,40}")  # without what JSON escapes


def draft(example: str, *, today: date) -> str | None:
    """The class as TOML, with the line as its example; None where the line has no message that a class could be of.

    It is a draft: what the line says (role, outcome, cause) is for a person to judge, and a user's name may need another anchor.
    """
    found = _TAGGED.fullmatch(canonical(example))
    if found is None:
        return None
    message, program = found["message"], found["program"]
    pieces: list[str] = []
    literals: list[str] = []
    named: set[str] = set()
    done = 0
    for part in _PARTS.finditer(message):
        kind = part.lastgroup or ""
        kind = "client" if kind == "client_name" else kind
        literals.append(message[done : part.start()])
        names = set(re.findall(r"\?P<(\w+)>", _STANDS_FOR[kind]))
        stands = _STANDS_FOR[kind] if not names & named else re.sub(r"\(\?P<\w+>", "(?:", _STANDS_FOR[kind])
        named |= names
        pieces += (_escape(literals[-1]), stands)
        done = part.end()
    literals.append(message[done:])
    pattern = "".join((*pieces, _escape(literals[-1])))
    needle = max((n for text in literals for n in _NEEDLE.findall(text)), key=_worth, default="")
    lines = [
        "[[class]]",
        f'id = "{re.sub(r"[^a-z0-9]+", "-", program.lower()).strip("-")}-…"',
        f"program = '''{_escape(program)}'''",
        f"needle = {_quoted(needle)}",
        'role = "attempt"',
        'outcome = "failure"',
        'cause = "unknown"',
        f"pattern = '''{pattern}'''",
        'source = "https://…"',
        f"checked = {today:%Y-%m-%d}",
        'verified = "server"',
        "[[class.example]]",
        f"line = {_quoted(canonical(example))}",
        'expect = { outcome = "failure", cause = "unknown" }',
    ]
    return "\n".join(lines)


def _worth(needle: str) -> tuple[bool, int]:
    """A needle that makes a line suspect costs nothing to look for; of those the longest is the rarest."""
    return any(word in needle for word in suspicion()), len(needle)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # as TOML has strings, too


def _escape(text: str) -> str:
    """For a pattern, between three apostrophes."""
    return "".join(f"\\{c}" if c in r"\.^$*+?{}[]|()" else c if c.isprintable() and c != "'" else _numbered(c) for c in text)


def _numbered(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 1 << 16 else f"\\U{number:08x}"
