"""The test messages to choose from: each is what it says, and passes the kit's own rules."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.policy import default as modern

import pytest

from kit.errors import InvalidMessage, UsageError
from kit.sending.samples import build, samples

ANNA, BEN = "anna@example.com", "ben@example.net"
KINDS = [sample.kind for sample in samples()]


def made(kind, **options):
    mail = build(kind, ANNA, [BEN], **options)
    return mail, message_from_bytes(mail.content, policy=modern)


@pytest.mark.parametrize("kind", KINDS)
def test_each_has_its_envelope_its_trace_and_its_meaning(kind):
    mail, back = made(kind)
    assert (mail.sender, mail.recipients) == (ANNA, (BEN,))
    assert mail.trace == back["X-Kit-Trace"]
    assert back["Subject"].endswith(f"[{mail.trace}]")
    assert not back.defects
    own, back = made(kind, subject="My own", body="My own words\n")
    assert back["Subject"] == f"My own [{own.trace}]"
    assert back.get_body(("plain",)).get_content().startswith("My own words\r\n")
    sample = next(s for s in samples() if s.kind == kind)
    assert all((sample.title, sample.shows, sample.refused))


def test_html_has_both():
    _, back = made("html")
    assert back.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in back.iter_parts()] == ["text/plain", "text/html"]  # RFC 2046 section 5.1.4: the best last


@pytest.mark.parametrize("size", [1, 2, 75, 76, 1000, 3_000_001])
def test_an_attachment_has_its_size(size):
    mail, back = made("attachment", size=size)
    (part,) = back.iter_attachments()
    content = part.get_payload(decode=True)
    assert len(content) == size
    assert re.fullmatch(rb"[0-9a-f\n]*", content)
    assert mail.size > size * 4 / 3  # RFC 2045 section 6.8: four characters for three octets, and line ends


@pytest.mark.parametrize("size", [0, -1, 50_000_001])
def test_an_attachment_is_bounded(size):
    with pytest.raises(UsageError, match="size"):
        made("attachment", size=size)


def test_smtputf8_has_letters_as_they_are():
    mail, back = made("smtputf8")
    assert mail.needs == {"SMTPUTF8"}
    assert "привет".encode() in mail.content
    assert "привет" in back["Subject"]


def test_long_lines_are_as_long_as_may_be():
    mail, _ = made("long-lines")
    lines = mail.content.split(b"\r\n")
    assert sorted(len(line) for line in lines if len(line) > 78) == [998, 998]
    assert [line[:1] for line in lines if len(line) == 998] == [b"x", b"."]
    assert b"." in lines
    assert re.search(rb"\r\nX-Kit-Folded: [^\r]*\r\n ", mail.content)


def test_other_from_and_reply_to():
    for kind, field in (("other-from", "From"), ("reply-to", "Reply-To")):
        for other, seen in ((None, "somebody.else@example.com"), ("Carla <carla@example.org>", "carla@example.org")):
            mail, back = made(kind, other=other)
            assert back[field].addresses[0].addr_spec == seen
            assert mail.sender == ANNA
        with pytest.raises(InvalidMessage, match=f"^{field}: "):
            made(kind, other="carla")


def test_gtube_holds_the_text_on_a_line_of_its_own():
    # Put together here, so that this file is no spam itself. Source: https://spamassassin.apache.org/gtube/
    text = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL" + "*C.34X"
    for options in ({}, {"body": "Öde\n"}):
        assert text in made("gtube", **options)[1].get_content().splitlines()
    assert len(text) == 68


def test_an_unknown_kind_is_refused():
    with pytest.raises(UsageError, match="plain, html"):
        made("nonsense")
