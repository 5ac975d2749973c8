"""Mechanisms against the vectors of their specifications."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.auth.mechanisms import MECHANISMS, login, plain
from kit.errors import UsageError
from kit.redact import Secret

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


def test_plain_first_example_of_rfc_4616_section_4():
    assert next(plain("tim", Secret("tanstaaftanstaaf"))) == b"\0tim\0tanstaaftanstaaf"


def test_plain_second_example_of_rfc_4616_section_4_acts_as_another():
    assert next(plain("Kurt", Secret("xipj3plmq"), act_as="Ursel")) == b"Ursel\0Kurt\0xipj3plmq"


def test_plain_blob_of_rfc_4954_section_4_1():
    blob = base64.b64encode(next(plain("test", Secret("1234"), act_as="test")) or b"")
    assert blob == b"dGVzdAB0ZXN0ADEyMzQ="


def test_plain_ends_after_its_one_response():
    exchange = plain("tim", Secret("x"))
    next(exchange)
    with pytest.raises(StopIteration):
        exchange.send(b"")


def test_login_example_of_ms_xlogin_section_4():
    exchange = login("Charlie", Secret("password"))
    assert next(exchange) is None  # AUTH LOGIN goes out alone
    assert base64.b64encode(exchange.send(base64.b64decode("VXNlcm5hbWU6")) or b"") == b"Q2hhcmxpZQ=="
    assert base64.b64encode(exchange.send(base64.b64decode("UGFzc3dvcmQ6")) or b"") == b"cGFzc3dvcmQ="
    with pytest.raises(StopIteration):
        exchange.send(b"")


def test_login_answers_in_order_however_it_is_asked():
    exchange = login("u", Secret("p"))
    assert [next(exchange), exchange.send(b"User Name\0"), exchange.send(b"")] == [None, b"u", b"p"]


@given(user=TEXT, password=TEXT)
def test_a_server_that_splits_at_nul_gets_back_what_was_typed(user, password):
    act_as, authcid, passwd = (next(plain(user, Secret(password))) or b"").split(b"\0")  # RFC 4616 section 2
    assert (act_as, authcid.decode(), passwd.decode()) == (b"", user, password)


@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize(
    ("user", "password", "field"), [("a\0b", "p", "user"), ("u", "hunter\0two", "password"), ("u", "half\ud800", "password")]
)
def test_what_cannot_be_sent_is_refused_and_not_repeated(name, user, password, field):
    with pytest.raises(UsageError) as fault:
        next(MECHANISMS[name].start(user, Secret(password)))
    assert fault.value.where == field
    assert "hunter" not in str(fault.value)
    assert "half\ud800" not in str(fault.value)


def test_the_table_says_which_reveal_the_password():
    # RFC 4616 section 6 for PLAIN; LOGIN sends the same in two parts.
    assert {name: mechanism.reveals_password for name, mechanism in MECHANISMS.items()} == {"PLAIN": True, "LOGIN": True}
    assert all(name == mechanism.name for name, mechanism in MECHANISMS.items())
