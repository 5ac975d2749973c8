"""The nouns: closed lists, frozen values, and a plain form that JSON takes and gives back."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from enum import StrEnum

import pytest

from kit import model
from kit.model import (
    Attempt,
    Cause,
    CheckResult,
    Explanation,
    Finding,
    Outcome,
    Profile,
    Reply,
    Security,
    SendResult,
    Service,
    Severity,
    Step,
    to_plain,
)

# Written by hand from the design: whoever adds a word there adds it here.
CAUSES = """
wrong-password unknown-user credentials app-password-needed method-disabled account-blocked password-expired second-factor
token-rejected tls-required tls-too-old tls-mismatch certificate auth-not-offered mechanism-unsupported malformed aborted
not-authenticated sender-not-allowed relay-denied recipient too-many quota backend-unavailable unreachable none unknown
"""
OUTCOMES = "success failure refused aborted malformed server-error"
SERVICES = "smtp submission submissions imap imaps pop3 pop3s sieve http other"
SEVERITIES = "ok note warning error"
SECURITIES = "tls starttls none"


@pytest.mark.parametrize(
    ("enum", "words"), [(Cause, CAUSES), (Outcome, OUTCOMES), (Service, SERVICES), (Severity, SEVERITIES), (Security, SECURITIES)]
)
def test_an_enum_holds_the_words_of_the_design_and_no_other(enum, words):
    assert sorted(member.value for member in enum) == sorted(words.split())
    assert all(member.name == member.value.upper().replace("-", "_") for member in enum)


# The fields that the design promises to whoever reads JSON, with the type each has there.
ATTEMPT_FIELDS = """
time outcome cause host server service service_raw user client_ip client_port client_name helo mechanism tls session count text file
line offset
"""


def test_an_attempt_has_the_fields_of_the_design():
    assert sorted(field.name for field in dataclasses.fields(Attempt)) == sorted(ATTEMPT_FIELDS.split())


@pytest.mark.parametrize(
    "noun", [value for value in vars(model).values() if dataclasses.is_dataclass(value)], ids=lambda noun: noun.__name__
)
def test_a_noun_is_frozen_without_a_dict_and_made_by_names(noun):
    assert noun.__dataclass_params__.frozen
    assert "__slots__" in vars(noun)
    assert all(field.kw_only for field in dataclasses.fields(noun))


REPLY = Reply(code=535, enhanced="5.7.8", lines=("5.7.8 Authentication failed", "ünï\\x1b"), raw=b"535-5.7.8 \xff\r\n")
ATTEMPT = Attempt(
    time=datetime(2026, 11, 24, 2, 0, 0, 123456, tzinfo=UTC),
    outcome=Outcome.FAILURE,
    cause=Cause.WRONG_PASSWORD,
    service=Service.SUBMISSION,
    user="ann@example.com",
    client_ip="2001:db8::7",
    client_port=50000,
)
FINDING = Finding(cause=Cause.TLS_TOO_OLD, severity=Severity.WARNING, title="old", next_step="renew", evidence=("a", "b"))
STEPS = (Step(name="resolve", seconds=0.25, ok=True), Step(name="auth", seconds=1.5, ok=False, sent="AUTH PLAIN [hidden]", reply=REPLY))
CHECK = CheckResult(
    target="mx.example.com", host="mx.example.com", port=587, security=Security.STARTTLS, steps=STEPS, attempt=ATTEMPT, findings=(FINDING,)
)


def test_a_check_in_plain_form_goes_through_json_and_leaves_raw_bytes_out():
    assert json.loads(json.dumps(to_plain(CHECK))) == {
        "target": "mx.example.com",
        "host": "mx.example.com",
        "port": 587,
        "security": "starttls",
        "steps": [
            {"name": "resolve", "seconds": 0.25, "ok": True, "sent": None, "reply": None, "detail": None},
            {
                "name": "auth",
                "seconds": 1.5,
                "ok": False,
                "sent": "AUTH PLAIN [hidden]",
                "reply": {"code": 535, "enhanced": "5.7.8", "lines": ["5.7.8 Authentication failed", "ünï\\x1b"]},
                "detail": None,
            },
        ],
        "attempt": {
            "time": "2026-11-24T02:00:00.123456+00:00",
            "outcome": "failure",
            "cause": "wrong-password",
            "host": None,
            "server": None,
            "service": "submission",
            "service_raw": None,
            "user": "ann@example.com",
            "client_ip": "2001:db8::7",
            "client_port": 50000,
            "client_name": None,
            "helo": None,
            "mechanism": None,
            "tls": None,
            "session": None,
            "count": 1,
            "text": None,
            "file": None,
            "line": None,
            "offset": None,
        },
        "findings": [{"cause": "tls-too-old", "severity": "warning", "title": "old", "next_step": "renew", "evidence": ["a", "b"]}],
    }


def test_a_plain_attempt_reads_back_as_the_same_attempt():
    plain = json.loads(json.dumps(to_plain(ATTEMPT)))
    plain |= {
        "time": datetime.fromisoformat(plain["time"]),
        "outcome": Outcome(plain["outcome"]),
        "cause": Cause(plain["cause"]),
        "service": Service(plain["service"]),
    }
    assert Attempt(**plain) == ATTEMPT


def test_plain_values_hold_no_enum():
    def walk(value):
        assert not isinstance(value, StrEnum)
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(item)

    inner = Explanation(cause=Cause.QUOTA, provider=None, title="x", next_step="y")
    walk(
        to_plain([CHECK, Explanation(cause=Cause.NONE, provider="p", title="t", next_step="n", alternatives=(inner,)), {"k": Security.TLS}])
    )
    walk(to_plain(Profile(host="mx.example.com", port=465, security=Security.TLS)))


def test_raw_bytes_do_not_show_in_a_repr():
    assert "raw" not in repr(REPLY)


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (Reply(code=250, lines=("mx.example.com", "AUTH PLAIN")), "250 mx.example.com AUTH PLAIN"),
        (Reply(code=0, lines=("garbage",)), "garbage"),
        (Reply(code=0, lines=()), ""),
    ],
)
def test_a_reply_as_one_line(reply, text):
    assert reply.text == text


@pytest.mark.parametrize(
    ("severity", "ok"), [(Severity.OK, True), (Severity.NOTE, True), (Severity.WARNING, False), (Severity.ERROR, False)]
)
def test_all_is_well_unless_there_is_a_warning_or_an_error(severity, ok):
    finding = dataclasses.replace(FINDING, severity=severity)
    check = dataclasses.replace(CHECK, findings=(finding,))
    assert check.ok is ok
    fields = {field.name: getattr(check, field.name) for field in dataclasses.fields(check)}
    sent = SendResult(**fields, message_id="<1@example.com>", queue_id=None, accepted=(), rejected=(), round_trips=7)
    assert sent.ok is ok
    assert list(to_plain(sent))[-5:] == ["message_id", "queue_id", "accepted", "rejected", "round_trips"]
