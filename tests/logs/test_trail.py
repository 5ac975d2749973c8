"""The table of what a line tells of a message's way is held to its own examples."""

from __future__ import annotations

import string
import time
from datetime import date

import pytest

from kit.knowledge.load import load_table
from kit.logs.envelope import canonical
from kit.logs.trail import State, copy_of, read

ENTRIES = load_table("trace_lines")["line"]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["id"])
def test_each_entry_reads_its_own_example(entry):
    reading = read(canonical(entry["example"]["line"]))
    assert (reading.kind, reading.says, reading.state) == (entry["id"], entry["example"]["says"], State(entry["state"]))


def test_each_entry_says_where_it_was_learned():
    assert len({entry["id"] for entry in ENTRIES}) == len(ENTRIES)
    for entry in ENTRIES:
        assert entry["source"].startswith("https://")
        assert date(2026, 1, 1) <= entry["checked"] <= date(2026, 12, 31)
        assert entry["verified"] in ("server", "docs")


ANSWERS = {
    "250 2.0.0 Ok: queued as A215B2764B3": "A215B2764B3",
    "250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 4cbXyZ1Q2rz9vBn": "4cbXyZ1Q2rz9vBn",
    "250 OK id=1xVycx-0006zV-2L": "1xVycx-0006zV-2L",
    "250 2.0.0 908e12ae Message accepted for delivery": "908e12ae",
    "250 2.0.0 OK  1732485914 a1b2c3-20020a05600c - gsmtp": None,
    "delivered to maildir": None,
}


@pytest.mark.parametrize(("answer", "copy"), ANSWERS.items())
def test_the_id_under_which_the_next_server_has_it(answer, copy):
    line = f"2026-11-24T22:05:14Z mx postfix/smtp[1]: 9C64C2763F7: to=<b@example.net>, relay=h[192.0.2.9]:25, delay=1, dsn=2.0.0, status=sent ({answer})"
    assert copy_of(read(line)) == copy


def test_what_a_foreign_server_answers_is_no_field():
    """The reply in brackets is another's: it cannot name another relay, nor turn a refusal into a delivery."""
    line = "2026-11-24T22:05:14Z mx postfix/smtp[1]: 9C64C2763F7: to=<b@example.net>, relay=h[192.0.2.9]:25, delay=1, dsn=5.0.0, status=bounced (550 relay=evil, status=sent (250 queued as AAAAAAAAAA))"
    reading = read(line)
    assert (reading.state, reading.fields["where"]) == (State.BOUNCED, "h[192.0.2.9]:25")
    assert copy_of(reading) is None


def test_secrets_are_hidden_in_what_is_shown():
    line = (
        "2026-11-24T22:05:14Z mx postfix/smtp[1]: 9C64C2763F7: to=<b@example.net>, relay=h, delay=1, status=deferred (454 password=hunter2)"
    )
    reading = read(line)
    assert "hunter2" not in f"{reading.says}{reading.message}"
    assert "hunter2" not in read("2026-11-24T22:05:14Z mx odd: something else, password=hunter2").message


@pytest.mark.parametrize("start", ["A1B2C3D4E5: to=<", "1xVycx-0006zV-2L => ", "H=(", "eabf1b81a4d8366d mta delivery evpid=", "warning: "])
@pytest.mark.parametrize("piece", ["relay=a, ", "status=sent (", "[1] ", " id=x", " F=<a>", " A=b:c", "<a> ", "H=(a) [1.2.3.4] ", "a", "("])
def test_no_line_takes_long(start, piece):
    for program in ("postfix/smtp", "postfix/smtpd", "exim", "smtpd", "dovecot"):
        began = time.process_time()
        read(f"2026-11-24T22:05:14Z mx {program}[1]: {start}{piece * (4_000 // len(piece))}")
        assert time.process_time() - began < 0.1


def test_a_line_of_no_known_shape_still_says_whose_it_is():
    assert read("2026-11-24T22:05:14Z mx postfix/qmgr[1]: A215B2764B3: something new").fields == {"id": "A215B2764B3"}
    assert read("2026-11-24T22:05:14Z mx postfix/qmgr[1]: statistics: max connection rate").fields == {}
    assert read("no log line at all").stamp is None


def test_connections_are_told_apart():
    smtpd = read("2026-11-24T22:05:14Z mx postfix/submission/smtpd[77]: connect from unknown[192.0.2.1]").connection
    assert (smtpd.key, smtpd.opens, smtpd.closes) == (("pid", "mx", "postfix/submission/smtpd", "77"), True, False)
    assert read("2026-11-24T22:05:14Z mx postfix/qmgr[77]: A215B2764B3: removed").connection is None
    session = ("session", "mx", "UHrxAgZhOrogAQ24AEAABwAAAAAAAAAX")
    for message in (
        "auth: passwd-file(greta@example.test,2001:db8::17,<{}>): Password mismatch",
        "imap-login: Login: user=<g>, session=<{}>",
    ):
        assert read(f"2026-11-24T22:05:14Z mx dovecot: {message.format(session[2])}").connection.key == session


def test_braces_are_those_of_groups():
    for entry in ENTRIES:
        names = {name for _, name, _, _ in string.Formatter().parse(entry["says"]) if name}
        assert all(f"(?P<{name}>" in entry["pattern"] for name in names), entry["id"]
