"""A message by hand: an .eml file is judged by its octets, and what is wrong with it is named by file and line."""

from __future__ import annotations

import os
import re
import time

import pytest

from kit.errors import InvalidMessage, UnreadableInput
from kit.sending.mail import MAX_FILE, read_message

HEAD = b"From: Anna <anna@example.com>\r\nTo: ben@example.com\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n"


@pytest.fixture
def eml(tmp_path):
    def write(octets: bytes):
        path = tmp_path / "letter.eml"
        path.write_bytes(octets)
        return path

    return write


def test_a_good_file_goes_out_as_it_is(eml):
    octets = HEAD + b"Subject: folded\r\n\there\r\nReceived: by a\r\nReceived: by b\r\n\r\n.\r\n..two\r\n\x01\r\n"
    mail = read_message(eml(octets))
    assert mail.content == octets
    assert (mail.sender, mail.recipients) == ("anna@example.com", ("ben@example.com",))
    assert (mail.message_id, mail.trace, mail.needs, mail.notes) == ("<1@example.com>", None, frozenset(), ())


def test_a_file_from_unix_gets_crlf(eml):
    octets = HEAD + b"\r\nText\r\n.\r\nmore\r\n"
    assert read_message(eml(octets.replace(b"\r\n", b"\n"))).content == octets
    assert read_message(eml(octets.replace(b"\r\n", b"\n").rstrip(b"\n"))).content == octets  # RFC 5321 section 4.1.1.4


@pytest.mark.parametrize(
    ("octets", "where", "what"),
    [
        (b"", "letter.eml: ", "there is nothing in it"),
        (b"\r\n\r\n", "letter.eml: ", "there is nothing in it"),
        (b"\xef\xbb\xbf" + HEAD, "letter.eml:1: ", "byte order mark"),
        ((HEAD + b"To: eve@example.com\r\n").decode().encode("utf-16"), "letter.eml:1: ", "byte order mark"),
        # Whose mail it is comes before what it is about.
        (HEAD + b"Subject: a\r\nSubject: b\r\nFrom: eve@example.com\r\n", "letter.eml:7 (From): ", "RFC 5322 section 3.6"),
        (HEAD + b"\r\nfirst\r\nsecond\nthird\r\n", "letter.eml:7: ", "RFC 5321 section 2.3.8"),
        (HEAD + b"\r\nfirst\r\n\r\n.\nMAIL FROM:<eve@example.com>\r\n", "letter.eml:8: ", "RFC 5321 section 4.1.1.4"),
        (HEAD + b"\r\nfirst\r\n" + b"x" * 999, "letter.eml:7: ", "RFC 5322 section 2.1.1.*999"),
        (HEAD.replace(b"\r\n", b"\n") + b"\nfirst\nsec\0ond\n", "letter.eml:7: ", "NUL"),
        (HEAD + b"nonsense\r\n\r\n", "letter.eml:5: ", "no field.*nonsense"),
        (HEAD + b"Subject: a\r\n b\r\nto: carla@example.com\r\n\r\n", "letter.eml:7 (to): ", "RFC 5322 section 3.6"),
        (HEAD + b"Cc: ben\r\n\r\n", "letter.eml:5 (Cc): ", "RFC 5322 section 3.4.*ben"),
        (HEAD + b"Subject: a\x1b[2J\r\n\r\n", "letter.eml:5 (Subject): ", "control character"),
        (HEAD + b"Subject: a\r\n \t\r\nX-More: b\r\n\r\n", "letter.eml:6: ", "spaces"),
        (HEAD + b"Subject: Gr\xfc\xdfe\r\n\r\n", "letter.eml:5: ", "RFC 6532"),
    ],
)
def test_what_is_wrong_is_named_by_file_line_and_rule(eml, octets, where, what):
    with pytest.raises(InvalidMessage) as caught:
        read_message(eml(octets))
    assert where in str(caught.value)
    assert re.search(what, str(caught.value))
    assert caught.value.next_step
    assert str(caught.value).isprintable()


def test_blind_copies_get_it_and_are_not_seen(eml):
    mail = read_message(
        eml(HEAD + b"bCC: Carla\r\n <carla@example.org>,\r\n\tben@example.com\r\nResent-Bcc: dora@example.org\r\n\r\nText\r\n")
    )
    assert mail.recipients == ("ben@example.com", "carla@example.org")
    assert mail.content == HEAD + b"\r\nText\r\n"


def test_what_every_message_has_is_added_in_front(eml):
    mail = read_message(eml(b"From: anna@example.com\nTo: ben@example.com\nDate:\n\nText\n"))
    added = re.match(rb"Date: \w{3}, .* \+0000\r\nMessage-ID: (<\S+@example\.com>)\r\n", mail.content)
    assert added
    assert mail.message_id == added[1].decode()
    assert mail.content[added.end() :] == b"From: anna@example.com\r\nTo: ben@example.com\r\n\r\nText\r\n"


def test_the_envelope_may_be_named_apart(eml):
    path = eml(b"From: Team:;\nSubject: nobody is named\n\nText\n")
    mail = read_message(path, sender="anna@example.com", recipients=["Ben <ben@bücher.example>"])
    assert (mail.sender, mail.recipients) == ("anna@example.com", ("ben@xn--bcher-kva.example",))
    with pytest.raises(InvalidMessage, match=r"letter\.eml:1 \(From\): .*RFC 5322 section 3\.6\.2"):
        read_message(path)
    with pytest.raises(InvalidMessage, match=r"letter\.eml: .*0 recipients"):
        read_message(path, sender="anna@example.com")


def test_sender_signs_for_several_authors(eml):
    mail = read_message(eml(b"From: anna@example.com, ben@example.com\nSender: carla@example.com\nTo: dora@example.com\n\n"))
    assert mail.sender == "carla@example.com"  # RFC 5322 section 3.6.2


def test_a_file_is_bounded(eml, tmp_path):
    path = eml(HEAD + b"\r\n")
    os.truncate(path, MAX_FILE + 1)
    with pytest.raises(InvalidMessage, match=r"letter\.eml: more than 25 MB"):
        read_message(path)
    with pytest.raises(InvalidMessage, match=r"letter\.eml: a header of more than 1 MB"):
        read_message(eml(HEAD + b"X: y\r\n" * (1 << 18) + b"\r\n"))
    for nothing in (tmp_path / "none.eml", tmp_path, "a\0b"):
        with pytest.raises(UnreadableInput) as caught:
            read_message(nothing)
        assert str(caught.value).isprintable()


def test_a_hostile_file_is_judged_in_a_moment(eml):
    began = time.process_time()
    # Each of these is one step for a careful reader, and the square of their number for a careless one.
    for many in (
        b"a " * 150_000,
        b"(" * 150_000,
        b'"' * 150_000,
        b"a@b.c," * 50_000,
        b"a:" * 150_000,
        b"=?x?q?=" * 40_000,
        b"=?" * 150_000,
    ):
        folded = b"\r\n ".join(many[at : at + 900] for at in range(0, len(many), 900))
        with pytest.raises(InvalidMessage):
            read_message(eml(HEAD + b"Reply-To: " + folded + b"\r\n\r\n"))
    assert time.process_time() - began < 5  # seconds; it takes a fifth of one
