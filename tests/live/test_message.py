"""The test message: what RFC 5321 and 5322 forbid never reaches the wire."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import SMTP
from email.policy import default as modern
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import InvalidMessage
from kit.sending.message import build_test_message, check_address, envelope, wire_bytes

ANNA = "anna@example.com"


def test_what_is_built_reads_back():
    message = build_test_message(ANNA, ["ben@example.net", "carla@example.org"], subject="Grüße", body="Erste Zeile\nÖde\n.\n")
    back = message_from_bytes(wire_bytes(message), policy=modern)
    assert back["From"] == ANNA
    assert [a.addr_spec for a in back["To"].addresses] == ["ben@example.net", "carla@example.org"]
    assert back["Subject"] == f"Grüße [{back['X-Kit-Trace']}]"
    assert re.fullmatch(r"[0-9a-f]{12}", back["X-Kit-Trace"])
    assert re.fullmatch(r"<[^<>@\s]+@example\.com>", back["Message-ID"])  # RFC 5322 section 3.6.4
    assert parsedate_to_datetime(back["Date"]).tzinfo is not None  # RFC 5322 section 3.3
    assert back["MIME-Version"] == "1.0"  # RFC 2045 section 4
    assert back.get_content() == "Erste Zeile\r\nÖde\r\n.\r\n"  # RFC 5322 section 2.1: lines end with CRLF
    assert envelope(message) == (ANNA, ("ben@example.net", "carla@example.org"))


def test_two_messages_have_two_traces():
    one, two = (build_test_message(ANNA, [ANNA]) for _ in range(2))
    assert one["X-Kit-Trace"] != two["X-Kit-Trace"]
    assert one["Message-ID"] != two["Message-ID"]


def test_the_wire_is_seven_bit_so_that_no_server_needs_8bitmime():
    wire = wire_bytes(build_test_message(ANNA, [ANNA], subject="Ölçüm", body="ß\u2028🙂\n"))
    assert wire.isascii()


@pytest.mark.parametrize(
    "address",
    [
        "anna@example.com",
        "anna+tag@mail.example.com",
        "o'neil@example.com",  # RFC 5322 section 3.2.3: atext
        "x" * 64 + "@example.com",  # RFC 5321 section 4.5.3.1.1
        "root@localhost",
        "a@printer.local",
        "a@mail.test",
        "a@test",
    ],
)
def test_good_addresses_pass_unchanged(address):
    assert check_address("To", address) == address


def test_a_domain_in_letters_goes_out_in_ascii():
    assert check_address("To", "anna@bücher.example") == "anna@xn--bcher-kva.example"  # RFC 5891; the example of RFC 3492 users


@pytest.mark.parametrize(
    "address",
    [
        "",
        "anna",
        "@example.com",
        "anna@",
        "an na@example.com",
        "anna@exa mple.com",
        "anna@example..com",
        ".anna@example.com",
        "anna@-example.com",
        "Anna <anna@example.com>",
        "anna@example.com, ben@example.com",
        "anna@example.com>",
        "<anna@example.com>",
        "x" * 65 + "@example.com",  # RFC 5321 section 4.5.3.1.1: 64 octets
        "anna@" + "x" * 64 + ".com",  # RFC 1035 section 2.3.4: 63 octets a label
        "анна@example.com",  # RFC 6531: wants SMTPUTF8
        "anna@example.com\r\nRCPT TO:<eve@example.com>",
        "anna@example.com\nBcc: eve@example.com",
        "anna\0@example.com",
        "=?utf-8?q?eve=40evil=2Etest?=@example.com",  # RFC 2047 words do not belong into an address
        "anna@localhost\r\n",
        "anna@.test",
        "anna@..local",
    ],
)
def test_bad_addresses_are_refused_in_every_place(address):
    with pytest.raises(InvalidMessage, match="RFC") as caught:
        build_test_message(address, [ANNA])
    assert caught.value.where == "From"
    assert caught.value.next_step
    assert str(caught.value).isprintable()
    with pytest.raises(InvalidMessage, match=r"^To: "):
        build_test_message(ANNA, [ANNA, address])


@pytest.mark.parametrize(
    "subject",
    [
        "a\r\nBcc: eve@example.com",
        "a\nb",
        "a\rb",
        "a\0b",
        "a\x0bb",
        "a\x85b",
        "a\u2028b",
        "a\ud800b",
        "=?utf-8?q?=0D=0ABcc:_eve=40example.com?=",
    ],
)
def test_a_subject_cannot_break_its_line(subject):
    with pytest.raises(InvalidMessage, match=r"^Subject: .*RFC (5322|2047)"):
        build_test_message(ANNA, [ANNA], subject=subject)


@pytest.mark.parametrize("body", ["a\0b", "\ud800"])
def test_a_body_holds_no_nul_and_no_half_character(body):
    with pytest.raises(InvalidMessage, match=r"^body: "):
        build_test_message(ANNA, [ANNA], body=body)


@pytest.mark.parametrize("count", [0, 101])  # RFC 5321 section 4.5.3.1.8: a server must take 100
def test_one_to_a_hundred_recipients(count):
    with pytest.raises(InvalidMessage, match=r"^To: .*4\.5\.3\.1\.8"):
        build_test_message(ANNA, [f"u{n}@example.com" for n in range(count)])


def test_long_lines_are_folded_below_the_limit():
    wire = wire_bytes(build_test_message(ANNA, [f"user{n}@example.com" for n in range(100)], subject="x" * 5000, body="y" * 5000))
    assert max(map(len, wire.split(b"\r\n"))) <= 998  # RFC 5322 section 2.1.1
    assert message_from_bytes(wire, policy=modern).get_content().strip() == "y" * 5000


def test_bcc_is_in_the_envelope_and_not_on_the_wire():
    message = build_test_message(ANNA, ["ben@example.com"])
    message["Bcc"] = "secret@example.com, ben@example.com"
    assert envelope(message) == (ANNA, ("ben@example.com", "secret@example.com"))
    assert b"secret" not in wire_bytes(message)
    assert message["Bcc"] == "secret@example.com, ben@example.com"  # the caller's message is left alone


def test_a_message_without_from_or_date_is_refused():
    message = EmailMessage(policy=SMTP)
    message["To"] = ANNA
    with pytest.raises(InvalidMessage, match=r"^From: 0 .*RFC 5322 section 3\.6"):
        envelope(message)
    with pytest.raises(InvalidMessage, match=r"^From: 0 .*RFC 5322 section 3\.6"):
        wire_bytes(message)
    message["From"] = ANNA
    with pytest.raises(InvalidMessage, match=r"^Date: 0 .*RFC 5322 section 3\.6"):
        wire_bytes(message)


def test_a_message_of_the_old_kind_cannot_carry_a_second_header():
    # email.message.Message checks nothing; whoever hands one in must not get it through either.
    for value in ("a\r\nBcc: eve@example.com", "a\nBcc: eve@example.com", "a\r\n\r\nsecond", "a\r\n.\r\nMAIL FROM:<eve@example.com>"):
        message = Message()
        message["From"], message["Date"], message["Subject"] = ANNA, "Tue, 24 Nov 2026 10:00:00 +0000", value
        with pytest.raises(InvalidMessage, match="RFC 5322"):
            wire_bytes(message)  # type: ignore[arg-type]


def test_a_long_line_that_nothing_folds_is_refused():
    message = build_test_message(ANNA, [ANNA])
    message.set_payload("z" * 999)
    del message["Content-Transfer-Encoding"]
    with pytest.raises(InvalidMessage, match=r"999 octets \(RFC 5322 section 2\.1\.1\)"):
        wire_bytes(message)


def lenient_messages(stream: bytes) -> list[bytes]:
    """DATA as the most careless server reads it: any mixture of CR and LF around a dot ends a message."""
    return re.split(rb"(?:\r\n|\r|\n)\.(?:\r\n|\r|\n)", stream)


_NASTY = st.text(st.one_of(st.sampled_from("\r\n.\0:<>@ =?\t\x0b\x85\u2028é"), st.characters()), max_size=60)


@given(_NASTY | st.none(), _NASTY | st.none(), st.one_of(st.just(ANNA), _NASTY, _NASTY.map(lambda t: t + "@example.com")))
def test_nothing_that_passes_can_smuggle(subject, body, address):
    try:
        wire = wire_bytes(build_test_message(address, [address], subject=subject, body=body))
    except InvalidMessage:
        return
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", wire)  # RFC 5321 section 2.3.8
    head = wire.partition(b"\r\n\r\n")[0]
    names = [line.partition(b":")[0] for line in head.split(b"\r\n") if line[:1] not in b" \t"]
    expected = [b"From", b"To", b"Subject", b"Date", b"Message-ID", b"Auto-Submitted", b"X-Kit-Trace"]
    assert names[:7] == expected
    assert set(names[7:]) == {b"Content-Type", b"Content-Transfer-Encoding", b"MIME-Version"}
    stuffed = re.sub(rb"(?m)^\.", b"..", wire) + b".\r\n"  # RFC 5321 section 4.5.2
    assert len(lenient_messages(stuffed)) == 2  # the message, and the nothing behind it
