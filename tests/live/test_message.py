"""The test message: what RFC 5321 and 5322 forbid never reaches the wire."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import SMTP
from email.policy import default as modern
from email.utils import parsedate_to_datetime

import pytest

from kit.errors import InvalidMessage
from kit.sending.addresses import check_address
from kit.sending.mail import mail
from kit.sending.message import build_test_message

ANNA = "anna@example.com"


def test_what_is_built_reads_back():
    message = build_test_message(ANNA, ["ben@example.net", "carla@example.org"], subject="Grüße", body="Erste Zeile\nÖde\n.\n")
    back = message_from_bytes(mail(message).content, policy=modern)
    assert back["From"] == ANNA
    assert [a.addr_spec for a in back["To"].addresses] == ["ben@example.net", "carla@example.org"]
    assert back["Subject"] == f"Grüße [{back['X-Kit-Trace']}]"
    assert re.fullmatch(r"[0-9a-f]{12}", back["X-Kit-Trace"])
    assert re.fullmatch(r"<[^<>@\s]+@example\.com>", back["Message-ID"])  # RFC 5322 section 3.6.4
    assert parsedate_to_datetime(back["Date"]).tzinfo is not None  # RFC 5322 section 3.3
    assert back["MIME-Version"] == "1.0"  # RFC 2045 section 4
    assert back.get_content() == "Erste Zeile\r\nÖde\r\n.\r\n"  # RFC 5322 section 2.1: lines end with CRLF
    checked = mail(message)
    assert (checked.sender, checked.recipients) == (ANNA, ("ben@example.net", "carla@example.org"))


def test_two_messages_have_two_traces():
    one, two = (build_test_message(ANNA, [ANNA]) for _ in range(2))
    assert one["X-Kit-Trace"] != two["X-Kit-Trace"]
    assert one["Message-ID"] != two["Message-ID"]


def test_the_message_id_is_on_the_line_that_is_searched_for():
    """Folded it is as good by RFC 5322, but `grep '^Message-ID: <'` in a mailbox does not find it."""
    message = build_test_message("anna@mail.department.example.com", ["ben@example.net"])
    assert f"\r\nMessage-ID: {message['Message-ID']}\r\n".encode() in mail(message).content


def test_the_wire_is_seven_bit_so_that_no_server_needs_8bitmime():
    wire = mail(build_test_message(ANNA, [ANNA], subject="Ölçüm", body="ß\u2028🙂\n")).content
    assert wire.isascii()


@pytest.mark.parametrize(
    "address", ["anna", "an na@example.com", "anna@example.com\r\nBcc: eve@example.com", "=?utf-8?q?=0A?= <a@example.com>"]
)
def test_a_bad_address_is_refused_in_every_place(address):  # which ones are bad: kit/knowledge/message_rules.toml
    with pytest.raises(InvalidMessage, match=r"^From: .*RFC") as caught:
        build_test_message(address, [ANNA])
    assert caught.value.next_step
    with pytest.raises(InvalidMessage, match=r"^To: "):
        build_test_message(ANNA, [ANNA, address])


@pytest.mark.parametrize(
    ("given", "wire"),
    [
        ("anna@bücher.example", "anna@xn--bcher-kva.example"),  # RFC 5891; the example of RFC 3492 users
        ('"john doe"@example.com', '"john doe"@example.com'),  # RFC 5321 section 4.1.2
        ('"anna"@example.com', "anna@example.com"),  # the same section: as few quotes as can be
        ('"a\\b"@example.com', "ab@example.com"),  # quoted-pairSMTP: the backslash is no part of it
        ("Info@Example.com", "Info@example.com"),  # section 2.4: the local part is the receiver's, the domain has no case
        ("анна@example.com", "анна@example.com"),  # RFC 6531
        ("a@b@example.com", None),
        ("Anna <anna@example.com>", None),  # one address alone has no name
    ],
)
def test_an_address_as_the_wire_has_it(given, wire):
    if wire:
        assert check_address("To", given) == wire
    else:
        with pytest.raises(InvalidMessage):
            check_address("To", given)


def test_names_and_groups_are_read_and_only_addresses_go_into_the_envelope():
    message = build_test_message('"Müller, Anna" <anna@example.com>', ["Team: ben@example.com, Carla <carla@example.com>;", "Nobody:;"])
    checked = mail(message)
    assert (checked.sender, checked.recipients) == (ANNA, ("ben@example.com", "carla@example.com"))
    back = message_from_bytes(checked.content, policy=modern)
    assert back["From"].addresses[0].display_name == "Müller, Anna"
    assert [str(a) for a in back["To"].addresses] == ["ben@example.com", "Carla <carla@example.com>"]
    with pytest.raises(InvalidMessage, match=r"^To: .*0 recipients"):
        build_test_message(ANNA, ["Nobody:;"])
    with pytest.raises(InvalidMessage, match=r"^From: .*2 addresses"):
        build_test_message("anna@example.com, ben@example.com", [ANNA])


def test_the_content_and_the_envelope_say_what_the_server_must_offer():
    plain = mail(build_test_message(ANNA, [ANNA], subject="Grüße", body="Öde"))
    assert plain.needs == frozenset()
    other = mail(build_test_message(ANNA, ["Jörg <jörg@bücher.example>"], subject="Grüße"))
    assert other.recipients == ("jörg@xn--bcher-kva.example",)
    assert other.needs == {"SMTPUTF8"}
    assert "jörg@xn--bcher-kva.example".encode() in other.content  # RFC 6532: in the header as it is, no encoded word
    head = b"From: anna@example.com\r\nTo: ben@example.com\r\n"
    assert mail(head + b"\r\nGr\xc3\xbc\xc3\x9fe").needs == {"8BITMIME"}  # RFC 6152
    assert mail(head + b"\r\nText", recipients=["jörg@example.com"]).needs == {"SMTPUTF8"}


def test_what_is_known_of_a_mail_before_it_goes_out():
    message = build_test_message(ANNA, ["ben@example.net"])
    checked = mail(message)
    assert checked.size == len(checked.content)  # RFC 1870 section 5: every octet, CRLF among them, without the last dot
    assert checked.trace == message["X-Kit-Trace"]
    assert checked.message_id == message["Message-ID"]
    assert checked.notes == ()
    assert "X-Kit-Trace" not in repr(checked)


def test_the_envelope_may_be_another_than_the_header():
    message = build_test_message(ANNA, ["ben@example.net"])
    checked = mail(message, sender="bounces@example.com", recipients=["carla@example.org", "carla@example.org"])
    assert (checked.sender, checked.recipients) == ("bounces@example.com", ("carla@example.org",))
    assert checked.content == mail(message).content
    with pytest.raises(InvalidMessage, match=r"^recipients: "):
        mail(message, recipients=["carla"])
    with pytest.raises(InvalidMessage, match=r"^sender: "):
        mail(message, sender="Anna <anna@example.com>")


@pytest.mark.parametrize("body", ["a\0b", "\ud800"])
def test_a_body_holds_no_nul_and_no_half_character(body):
    with pytest.raises(InvalidMessage, match=r"^body: "):
        build_test_message(ANNA, [ANNA], body=body)


@pytest.mark.parametrize("count", [0, 101])  # RFC 5321 section 4.5.3.1.8: a server must take 100
def test_one_to_a_hundred_recipients(count):
    with pytest.raises(InvalidMessage, match=r"^To: .*4\.5\.3\.1\.8"):
        build_test_message(ANNA, [f"u{n}@example.com" for n in range(count)])


def test_long_lines_are_folded_below_the_limit():
    wire = mail(build_test_message(ANNA, [f"user{n}@example.com" for n in range(100)], subject="x" * 5000, body="y" * 5000)).content
    assert max(map(len, wire.split(b"\r\n"))) <= 998  # RFC 5322 section 2.1.1
    assert message_from_bytes(wire, policy=modern).get_content().strip() == "y" * 5000


def test_bcc_is_in_the_envelope_and_not_on_the_wire():
    message = build_test_message(ANNA, ["ben@example.com"])
    message["Bcc"] = "secret@example.com, ben@example.com"
    checked = mail(message)
    assert (checked.sender, checked.recipients) == (ANNA, ("ben@example.com", "secret@example.com"))
    assert b"secret" not in checked.content
    assert message["Bcc"] == "secret@example.com, ben@example.com"  # the caller's message is left alone


def test_a_message_without_from_is_refused_and_without_date_gets_one():
    message = EmailMessage(policy=SMTP)
    message["To"] = ANNA
    with pytest.raises(InvalidMessage, match=r"^From: .*RFC 5322 section 3\.6"):
        mail(message)
    message["From"] = ANNA
    checked = mail(message)
    back = message_from_bytes(checked.content, policy=modern)
    assert back["Date"].datetime.tzinfo is not None
    assert back["Message-ID"] == checked.message_id
    assert len(checked.notes) == 2


def test_a_message_of_the_old_kind_cannot_carry_a_second_header():
    # email.message.Message checks nothing; whoever hands one in must not get it through either.
    for value in ("a\r\nBcc: eve@example.com", "a\nBcc: eve@example.com", "a\r\n\r\nsecond", "a\r\n.\r\nMAIL FROM:<eve@example.com>"):
        message = Message()
        message["From"], message["Date"], message["Subject"] = ANNA, "Tue, 24 Nov 2026 10:00:00 +0000", value
        with pytest.raises(InvalidMessage, match="RFC 5322"):
            mail(message)


def test_a_long_line_that_nothing_folds_is_refused():
    message = build_test_message(ANNA, [ANNA])
    message.set_payload("z" * 999)
    del message["Content-Transfer-Encoding"]
    with pytest.raises(InvalidMessage, match=r"RFC 5322 section 2\.1\.1\): it has 999"):
        mail(message)
