"""What a server's reply means: pure functions from text to an Explanation or a Finding.

The known texts and codes are in `kit/knowledge/replies.toml`; here is only how a reply is found in what somebody
pasted, and how the table is asked. A known text gives a full answer; a code alone gives a weaker one, and says so by
its words; anything else is `unknown`. Nothing is ever made up, and nothing pasted is ever given back but the names in the
base64 of a sign-in (`kit/auth/blobs.py`).
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, Final

from kit.auth.blobs import explain_blobs
from kit.errors import KnowledgeError
from kit.knowledge.findings import EVIDENCE_LIMIT
from kit.knowledge.load import load_table
from kit.model import Cause, Explanation, Finding, Reply, Severity
from kit.redact import mask_known

LIMIT: Final = 64 * 1024  # characters of a pasted text that are looked at

# Every code that SMTP and its extensions define (RFC 5321 section 4.2.3, RFC 4954, RFC 5248 registry).
_CODES: Final = frozenset(
    (
        *(211, 214, 220, 221, 235, 250, 251, 252, 334, 354, 421, 432, 450, 451, 452, 454, 455, 458, 459),
        *(500, 501, 502, 503, 504, 521, 523, 525, 530, 534, 535, 538, 550, 551, 552, 553, 554, 555, 556, 557),
    )
)
_CHALLENGES: Final = (334, 354)
_ENHANCED: Final = r"[245]\.\d{1,3}\.\d{1,3}(?![\w.])"
_CODE_AND_ENHANCED: Final = re.compile(rf"(?<![\w.])([245]\d\d)[- ,:'\"b#]{{1,5}}({_ENHANCED})")
# Where a reply begins: at the start, or behind what programs put before it ("said: ", "(535, b'…", "S: ", "error 535"). A process's
# number in brackets, a size, a port and what HTTP logs write behind a request are none.
_START: Final = (
    r"(?:^|[:>(|] ?|[\"']|(?<!\w)\[|(?:code|error|status|smtp|reply|response|dsn)= ?"
    r"|\b(?:code|error|status|smtp|reply|response|said|server|dsn) )"
)
_CODE_ALONE: Final = re.compile(rf"(?i){_START}([2345]\d\d)(-|(?![\w.]))")
# A heading is numbered so too.
_HEADING: Final = r"(?! (?:how|what|why|when|where|which|(?:add|configur|connect|creat|enabl|install|manag|mov|test|us)ing)\b)"
_ENHANCED_ALONE: Final = re.compile(rf"(?i){_START}({_ENHANCED}){_HEADING}")
# Words that make a number a reply. "535 users complain" has none of them.
_MAIL_WORDS: Final = re.compile(
    r"(?i)\b(?:smtp|esmtp|e?auth\w*|log[ -]?in|sign[ -]?in|passw\w+|credentials?|username|user unknown|unknown user|no such user|mailbox|recipient"
    r"|sender|relay(?:ing)?|starttls|tls|ssl|encrypt\w*|command|sequence|syntax|denied|reject\w*|refused|not allowed|not permitted|disabled"
    r"|blocked|policy|unavailable|too many|quota|try again|temporar\w+|ok|bye|queued|hello|go ahead|end data|ready|accepted|busy|wait|closing|connections?|service)\b"
)
# What stands behind a number that counts something, or is of a place in a program.
_COUNTED: Final = re.compile(
    r"(?i) (?!too |no )(?:[\w-]{1,30} ){0,2}(?:log[ -]?in|sign[ -]?in|auth\w*|password) (?:attempts|failures|tries|errors|requests|resets)\b"
    r"| (?!too |no )(?:[\w-]{1,30} )?(?:items|e?-?mails|users|people|accounts|mailboxes|moves|euros?|dollars)\b"
    r"| in (?:the )?(?:module|file|function|line|step|thread|plug-?in|component|script)\b"
)
_FTP: Final = re.compile(r"(?i)(?<![\w.@/-])[a-z-]{0,5}ftps?d?(?![\w.-])")  # whose codes are of the same kind (RFC 959 section 4.2)
# The wait that a “later” names.
_WAIT: Final = re.compile(
    r"(?i)\b(?:again|retry|wait|back|return|later|after|[gd]r[ea]ylist\w{0,3}|deferred)\b[^0-9]{0,40}"
    r"(?:(\d{1,2}):(\d\d):(\d\d)|(\d{1,5}) ?(s|m|h)(?:ecs?|ins?|rs?|econds?|inutes?|ours?)?)\b"
)
_RETRY_AFTER: Final = re.compile(r"(?i)\bretry[- ]after:? ?(\d{1,5})(?![\d.:])\b")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600}
# A terminal's colours, and a line break as programs spell it.
_COLOUR_OR_BREAK: Final = re.compile(r"\x1b\[[\d;]{0,20}[A-Za-z]|(?:\\r)?\\n")
_IN_REPLY_TO: Final = re.compile(r"(?i)in reply to (?:the )?(end of data|data|auth|mail from|rcpt to|starttls|ehlo)")
_STAGE_OF: Final = {"end of data": "data", "mail from": "mail", "rcpt to": "rcpt"}


@dataclass(frozen=True, slots=True)
class _Known:
    """One [[reply]] of the table."""

    pattern: re.Pattern[str]
    hosts: tuple[str, ...]
    severity: Severity
    explanation: Explanation


@dataclass(frozen=True, slots=True)
class _Code:
    """One [[code]] of the table."""

    code: str
    stages: tuple[str, ...]
    explanation: Explanation


@dataclass(frozen=True, slots=True)
class _Found:
    """The reply's codes as found in a text, and where; 0 where only an enhanced code stands there."""

    code: int
    enhanced: str | None = None
    at: int = 0

    @property
    def accepted(self) -> bool:
        return 200 <= self.code < 400

    @property
    def later(self) -> bool:
        return str(self.code or self.enhanced).startswith("4")


def explain(text: str, *, stage: str | None = None, host: str | None = None, now: datetime | None = None) -> Explanation:
    """What `text` means: a reply, a line of a log or a program in which one stands, or the base64 of a sign-in.

    Args:
        text: what somebody pasted; only the first 64 Ki characters count.
        stage: what was being done: `banner`, `ehlo`, `starttls`, `auth`, `mail`, `rcpt` or `data`.
        host: the server, where it is known; some words mean different things at different providers.
        now: to tell whether a token in the text has expired.

    Returns:
        An Explanation; its cause is `none` where the text is no failure, `unknown` where the kit has no answer.
    """
    line = _one_line(text)
    if stage is None and (told := _IN_REPLY_TO.search(line)):
        stage = _STAGE_OF.get(told[1].lower(), told[1].lower())
    found = _find(line, trusted=stage is not None)
    answer = _judge(line, found, stage, host)[0]
    if found and found.later and (wait := _wait(line[found.at :])):
        answer = replace(answer, next_step=f"{answer.next_step} The reply names the wait: {wait:.0f} seconds.")
    said = explain_blobs(text, now=now)
    if said is None:
        return answer
    if answer.cause is Cause.NONE or answer is _otherwise("no-reply"):
        return said
    return replace(answer, next_step=f"{answer.next_step} In the same text: {said.title}.")


def finding(reply: Reply, *, stage: str, host: str | None = None) -> Finding:
    """What a live server's `reply` means at `stage`, with the reply as evidence.

    Args:
        reply: as the dialogue read it.
        stage: `banner`, `ehlo`, `starttls`, `auth`, `mail`, `rcpt` or `data`.
        host: the server's name.
    """
    explanation, severity = _judge(_one_line(reply.text), _Found(reply.code, reply.enhanced), stage, host)
    evidence = _printable(mask_known(reply.text))[:EVIDENCE_LIMIT]
    return Finding(
        cause=explanation.cause,
        severity=severity,
        title=explanation.title,
        next_step=explanation.next_step,
        evidence=(evidence,) if evidence else (),
    )


def wait_named_by(reply: Reply) -> float | None:
    """The seconds after which a reply that says “later” (4yz) wants to be asked again; None where it does not tell."""
    return _wait(" ".join(reply.lines)) if 400 <= reply.code < 500 else None


def _wait(text: str) -> float | None:
    text = text[:1000]
    if found := _WAIT.search(text):
        hours, minutes, seconds, number, unit = found.groups()
        return float(int(number) * _UNITS[unit.lower()] if number else int(hours) * 3600 + int(minutes) * 60 + int(seconds))
    return float(found[1]) if (found := _RETRY_AFTER.search(text)) else None


def _judge(line: str, found: _Found | None, stage: str | None, host: str | None) -> tuple[Explanation, Severity]:
    """The table's answer: a known text, else the codes, else an honest no."""
    # 334 is no failure by itself, but some servers put their refusal behind it.
    if not (found and found.accepted and found.code != 334):
        for known in _known():
            vague = stage == "banner" and known.explanation.cause is Cause.UNKNOWN  # who does not speak with us says more by that
            if not vague and _at_host(known.hosts, host, line) and known.pattern.search(line):
                return known.explanation, known.severity
    if found is None:
        return _otherwise("no-reply"), Severity.NOTE
    if found.accepted:
        return _otherwise("challenge" if found.code in _CHALLENGES else "accepted"), Severity.OK
    if found.code >= 600 or (found.code < 200 and not found.enhanced):
        return _otherwise("no-smtp"), Severity.ERROR
    for row in _codes():
        if row.code in _names(found) and (not row.stages or stage in row.stages):
            return row.explanation, Severity.WARNING if found.later else Severity.ERROR
    return (_otherwise("later"), Severity.WARNING) if found.later else (_otherwise("refused"), Severity.ERROR)


def _at_host(hosts: tuple[str, ...], host: str | None, line: str) -> bool:
    if not hosts:
        return True
    if host is None:
        return any(name in line.lower() for name in hosts)
    return any(f".{host.lower().rstrip('.')}".endswith(f".{name}") for name in hosts)


def _names(found: _Found) -> tuple[str, ...]:
    """How the table may call this code: `535`, `x.7.8`, `5.7`."""
    enhanced = found.enhanced or ""
    return (str(found.code), f"x{enhanced[1:]}", enhanced.rpartition(".")[0])


def _find(line: str, *, trusted: bool) -> _Found | None:
    """The reply in `line`: the first failing one, else the first. `trusted`: the line is known to be a reply."""
    every = [_Found(int(m[1]), m[2], m.start()) for m in _CODE_AND_ENHANCED.finditer(line) if m[1][0] == m[2][0]]
    for match in _CODE_ALONE.finditer(line):
        code, rest = int(match[1]), line[match.end(1) : match.end(1) + 200]
        before = line[max(0, match.start() - 100) : match.end()]
        if code in _CODES and (trusted or not (_COUNTED.match(rest) or _FTP.search(before))):
            bare = not rest.strip(" .!?\"')]") and match.start() == 0
            foreign = match.start() == 0 and (code in _CHALLENGES or not rest.isascii())
            if trusted or bare or foreign or match[2] == "-" or _MAIL_WORDS.search(rest) or _MAIL_WORDS.search(before):
                every.append(_Found(code, at=match.start(1)))
    lone = None if every else _ENHANCED_ALONE.search(line)
    if lone and (trusted or _MAIL_WORDS.search(line, lone.end(), lone.end() + 200)):
        every.append(_Found(250 if lone[1][0] == "2" else 0, lone[1], lone.start()))
    return next((found for found in every if not found.accepted), every[0] if every else None)


def _one_line(text: str) -> str:
    """`text` as one printable line: breaks, colours and control characters are spaces, entities are
    characters, and what a multi-line reply repeats at the start of each line is gone.
    """
    text = _COLOUR_OR_BREAK.sub(" ", html.unescape(text[:LIMIT]))
    text = re.sub(r"\s+", " ", _printable(text)).strip()
    if match := re.search(rf"(?<![\w.])([245]\d\d)[- ](?:{_ENHANCED})?", text):
        again = rf"(?<= ){match[1]}[- ](?:{_ENHANCED} ?)?"
        text = text[: match.end()] + re.sub(again, "", text[match.end() :])
    return text


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


@cache
def _known() -> tuple[_Known, ...]:
    """The [[reply]] entries, in the table's order."""
    try:
        return tuple(
            _Known(
                re.compile(entry["pattern"], re.IGNORECASE),
                tuple(entry.get("hosts", ())),
                Severity(entry["severity"]),
                _explanation(entry, [f"{source} (checked {entry['checked']})" for source in entry["sources"]]),
            )
            for entry in load_table("replies")["reply"]
        )
    except (KeyError, ValueError, re.error) as fault:
        raise _broken(fault) from fault


@cache
def _codes() -> tuple[_Code, ...]:
    """The [[code]] entries, in the table's order."""
    try:
        return tuple(
            _Code(row["code"], tuple(row.get("stages", ())), _explanation(row, [row["source"]])) for row in load_table("replies")["code"]
        )
    except (KeyError, ValueError) as fault:
        raise _broken(fault) from fault


@cache
def _otherwise(name: str) -> Explanation:
    """What is left to say where neither text nor code is known."""
    try:
        return _explanation(load_table("replies")["otherwise"][name], load_table("replies")["otherwise"][name].get("sources", []))
    except (KeyError, ValueError) as fault:
        raise _broken(fault) from fault


def _explanation(entry: dict[str, Any], sources: list[str]) -> Explanation:
    return Explanation(
        cause=Cause(entry["cause"]),
        provider=entry.get("provider"),
        title=entry["title"],
        next_step=entry["next_step"],
        verify=entry.get("verify"),
        sources=tuple(sources),
        alternatives=tuple(_explanation(other, []) for other in entry.get("alternative", ())),
    )


def _broken(fault: Exception) -> KnowledgeError:
    return KnowledgeError(f"an entry does not read ({fault})", where="kit/knowledge/replies.toml", next_step="Please report it")
