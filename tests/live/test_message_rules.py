"""Every rule of `message_rules.toml` speaks to its `refuse` vectors, and not to those it should let pass."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files

import pytest

from kit.errors import InvalidMessage
from kit.model import Severity
from kit.sending.addresses import check_address
from kit.sending.mail import Mail, mail
from kit.sending.message import build_test_message

RULES = tomllib.loads((files("kit.knowledge") / "message_rules.toml").read_text("utf-8"))
# No vector can be short: the first two are about megabytes, the other an object of Python's.
WITHOUT_VECTORS = {"file-too-large", "header-too-large", "not-as-set"}
HEAD = "From: anna@example.com\r\n{}Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n"
TO = "To: ben@example.com\r\n"


def octets(text: str) -> bytes:
    return text.encode("latin-1")


def to_field(text: str) -> Mail:
    return mail(HEAD.format(f"To: {text}\r\n").encode() + b"\r\nText\r\n")


FEEDS = {
    "address": lambda text: check_address("To", text),
    "to": to_field,
    "header": lambda text: mail(octets(HEAD.format(TO) + text + "\r\n\r\nText\r\n")),
    "body": lambda text: mail(octets(HEAD.format(TO) + "\r\n" + text)),
    "bare": lambda text: mail(octets((HEAD.format(TO) + "\r\n").replace("\r\n", "\n") + text)),
    "eml": lambda text: mail(octets(text)),
    "subject": lambda text: mail(build_test_message("anna@example.com", ["ben@example.com"], subject=text)),
    "text": lambda text: mail(build_test_message("anna@example.com", ["ben@example.com"], body=text)),
}


def vectors(which: str) -> list[pytest.param]:
    return [
        pytest.param(rule, feed, re.sub(r"\{(.)\*(\d+)\}", lambda m: m[1] * int(m[2]), text), id=f"{rule}-{feed}-{number}")
        for rule, entry in RULES.items()
        for feed, texts in entry.get(which, {}).items()
        for number, text in enumerate(texts)
    ]


def spoken(feed: str, text: str) -> tuple[set[str], InvalidMessage | None]:
    """The titles of all rules that spoke, and the refusal, if it was one."""
    try:
        result = FEEDS[feed](text)
    except InvalidMessage as refusal:
        return {refusal.rule}, refusal
    titles = {note.title.casefold() for note in result.notes} if isinstance(result, Mail) else set()
    return {name for name, rule in RULES.items() if f"{rule['title']} ({rule['rfc']})".casefold() in titles}, None


@pytest.mark.parametrize(("rule", "feed", "text"), vectors("refuse"))
def test_the_rule_speaks(rule, feed, text):
    names, refusal = spoken(feed, text)
    assert rule in names
    assert (refusal is not None) == (RULES[rule]["severity"] == "error")
    if refusal:
        assert RULES[rule]["rfc"] in str(refusal)
        assert refusal.where
        assert refusal.next_step
        assert str(refusal).isprintable()


@pytest.mark.parametrize(("rule", "feed", "text"), vectors("accept"))
def test_the_rule_is_silent(rule, feed, text):
    names, refusal = spoken(feed, text)
    assert refusal is None, str(refusal)
    assert rule not in names


def test_every_rule_is_whole():
    for name, rule in RULES.items():
        assert set(rule) - {"refuse", "accept"} == {"rfc", "title", "next_step", "severity"}, name
        assert re.fullmatch(r"RFC \d{4} (section [\d.]+|appendix [A-Z])", rule["rfc"]), name
        assert Severity(rule["severity"]) is not Severity.OK, name
        assert (name in WITHOUT_VECTORS) != bool(rule.get("refuse") and rule.get("accept")), name
        assert rule.get("refuse", {}).keys() | rule.get("accept", {}).keys() <= FEEDS.keys(), name
