"""Mechanisms against the vectors of their specifications."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.auth.mechanisms import MECHANISMS, cram_md5, external, login, oauthbearer, plain, scram, xoauth2
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


def end(exchange, word):
    """What the exchange hands back when it is sent this."""
    with pytest.raises(StopIteration) as stop:
        exchange.send(word)
    return stop.value.value


# --- CRAM-MD5 ------------------------------------------------------------------------------------------------------


def test_cram_md5_example_of_rfc_2195_section_2():
    exchange = cram_md5("tim", Secret("tanstaaftanstaaf"))
    assert next(exchange) is None
    answer = exchange.send(b"<1896.697170952@postoffice.reston.mci.net>")
    assert answer == b"tim b913a602c7eda7a495b4e6e7334d3890"
    assert base64.b64encode(answer) == b"dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw"
    assert end(exchange, None) is None


# --- SCRAM ---------------------------------------------------------------------------------------------------------

RFC_5802 = {  # section 5
    "mechanism": "SCRAM-SHA-1",
    "nonce": "fyko+d2lbbFgONRv9qkxdawL",
    "messages": (
        b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ),
}
RFC_7677 = {  # section 3
    "mechanism": "SCRAM-SHA-256",
    "nonce": "rOprNGfwEbeRWgbNEkqO",
    "messages": (
        b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ),
}


@pytest.mark.parametrize("vector", [RFC_5802, RFC_7677], ids=["RFC 5802", "RFC 7677"])
def test_scram_vectors(vector):
    client_first, server_first, client_final, server_final = vector["messages"]
    exchange = scram(vector["mechanism"], "user", Secret("pencil"), nonce=vector["nonce"])
    assert next(exchange) == client_first
    assert exchange.send(server_first) == client_final
    assert exchange.send(server_final) == b""  # RFC 4954 section 4: what comes with success is a challenge, and wants an answer
    assert end(exchange, None) is None


def started(messages=RFC_7677["messages"][:0]):
    exchange = scram("SCRAM-SHA-256", "user", Secret("pencil"), nonce=RFC_7677["nonce"])
    next(exchange)
    for message in messages:
        exchange.send(message)
    return exchange


@pytest.mark.parametrize(
    "server_final",
    [
        b"v=" + base64.b64encode(bytes(32)),
        RFC_5802["messages"][3],  # another one's
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4",
        b"v=",
        b"",
        b"\xff\0",
        b"235 2.7.0 ok",
    ],
    ids=repr,
)
def test_a_scram_server_that_does_not_know_the_password_is_an_impostor(server_final):
    remark = end(started([RFC_7677["messages"][1]]), server_final)
    assert remark.finding == "server-unproven"
    assert remark.evidence


@pytest.mark.parametrize("heard", [(), (RFC_7677["messages"][1],)])
def test_a_yes_without_a_proof_is_none(heard):
    assert end(started(heard), None).finding == "server-unproven"


def test_a_scram_server_may_say_why_it_says_no():  # RFC 5802 section 5.1, e=
    exchange = started([RFC_7677["messages"][1]])
    assert exchange.send(b"e=invalid-proof") == b""
    remark = end(exchange, None)
    assert (remark.finding, remark.evidence) == (None, "the server's error: e=invalid-proof")


NONCE, SALT = b"r=rOprNGfwEbeRWgbNEkqO", b"s=W22ZaJ0SNY7soEsUEjb6gQ=="


@pytest.mark.parametrize(
    "server_first",
    [
        b",".join((NONCE, SALT, b"i=4096")),  # section 5.1: the server's part is missing
        b",".join((b"r=rOprNGfwEbeRWgbNEkqx1234567890", SALT, b"i=4096")),  # not ours
        b",".join((b"r=xx" + NONCE[2:] + b"1234567890", SALT, b"i=4096")),  # ours within
        b",".join((NONCE + b"1234567890", SALT, b"i=1")),  # RFC 7677 section 4: 4096 at least
        b",".join((NONCE + b"1234567890", SALT, b"i=4095")),
        b",".join((NONCE + b"1234567890", SALT, b"i=0")),
        b",".join((NONCE + b"1234567890", SALT, b"i=-1")),
        b",".join((NONCE + b"1234567890", SALT, b"i=1000001")),  # more than the kit will do
        b",".join((NONCE + b"1234567890", SALT, b"i=10000000")),
        b",".join((NONCE + b"1234567890", SALT, b"i=4294967295")),
        b",".join((NONCE + b"1234567890", SALT, b"i=" + b"9" * 5000)),
        b",".join((NONCE + b"1234567890", SALT, "i=４０９６".encode())),
        b",".join((NONCE + b"1234567890", b"s=", b"i=4096")),
        b",".join((NONCE + b"1234567890", b"s=!", b"i=4096")),
        b",".join((b"m=ext", NONCE + b"1234567890", SALT, b"i=4096")),  # section 5.1: an extension that must be understood
        b"e=other-error",
        b"Username:",
        b"\xff" * 10_000,
        b"",
    ],
    ids=lambda text: repr(text[:60]),
)
def test_a_scram_challenge_that_breaks_the_rules_is_answered_with_nothing_and_costs_nothing(server_first):
    exchange = started()
    began = time.process_time()
    remark = end(exchange, server_first)
    assert time.process_time() - began < 0.25  # ten million iterations take seconds
    assert remark.finding == "scram-broken"
    assert remark.evidence.isprintable()
    assert len(remark.evidence) < 600


ASCII = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1)  # what SASLprep leaves as it is


@given(user=ASCII, password=ASCII)
def test_a_server_that_computes_the_proof_by_itself_takes_it(user, password):
    """The right column of RFC 5802 section 3, written down once more; the client's part of it is not used."""
    exchange = scram("SCRAM-SHA-256", user, Secret(password))
    bare = next(exchange).removeprefix(b"n,,")
    assert b"," not in bare.split(b",r=")[0]
    first = bare[bare.index(b",r=") + 1 :] + b"server," + SALT + b",i=4096"
    without_proof, _, proof = exchange.send(first).rpartition(b",p=")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(SALT[2:]), 4096)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    message = b",".join((bare, first, without_proof))
    signature = hmac.digest(stored, message, "sha256")
    key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature, strict=True))
    assert hashlib.sha256(key).digest() == stored
    server = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
    assert exchange.send(b"v=" + base64.b64encode(server)) == b""


def test_scram_names_and_passwords_are_prepared():
    def first(user):
        return next(scram("SCRAM-SHA-1", user, Secret("x"), nonce="n"))

    # RFC 4013 section 3, examples 1 to 5; RFC 5802 section 5.1 for the comma and the equals sign.
    assert first("I\u00adX") == first("IX") == b"n,,n=IX,r=n"
    assert first("user") == b"n,,n=user,r=n"
    assert first("USER") == b"n,,n=USER,r=n"
    assert first("\u00aa") == b"n,,n=a,r=n"
    assert first("\u2168") == first("IX")
    assert first("a,b=c") == b"n,,n=a=2Cb=3Dc,r=n"


@pytest.mark.parametrize(
    ("user", "password", "field"),
    [("a\u0007", "x", "user"), ("\u0627\u0031", "x", "user"), ("", "x", "user"), ("a", "x\u0007y", "password")],
)
def test_what_saslprep_forbids_is_refused_before_the_first_byte(user, password, field):  # RFC 4013 section 3, examples 6 and 7
    with pytest.raises(UsageError) as fault:
        next(scram("SCRAM-SHA-256", user, Secret(password)))
    assert fault.value.where == field
    assert "\u0007" not in str(fault.value)


def test_every_scram_nonce_is_new():
    assert len({next(scram("SCRAM-SHA-256", "user", Secret("pencil"))) for _ in range(50)}) == 50


# --- tokens --------------------------------------------------------------------------------------------------------


def test_xoauth2_example_of_google():  # developers.google.com/workspace/gmail/imap/xoauth2-protocol
    exchange = xoauth2("someuser@example.com", Secret("ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"))
    assert base64.b64encode(next(exchange)) == (
        b"dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="
    )
    error = base64.b64decode("eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIG1hYyIsInNjb3BlIjoiaHR0cHM6Ly9tYWlsLmdvb2dsZS5jb20vIn0=")
    assert exchange.send(error) == b""
    remark = end(exchange, None)
    assert remark.finding is None
    assert '"status":"401"' in remark.evidence
    assert "https://mail.google.com/" in remark.evidence


def test_oauthbearer_example_of_rfc_7628_section_4_1():
    exchange = oauthbearer("user@example.com", Secret("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="), host="server.example.com", port=143)
    assert base64.b64encode(next(exchange)) == (
        b"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
    )
    assert end(exchange, None) is None


def test_an_oauthbearer_error_is_answered_as_in_rfc_7628_section_4_3():
    exchange = oauthbearer("user@example.com", Secret("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="))
    next(exchange)
    assert base64.b64encode(exchange.send(b'{"status":"invalid_token","scope":"example_scope"}')) == b"AQ=="
    assert "invalid_token" in end(exchange, None).evidence


def test_a_name_within_gs2_is_escaped():  # RFC 5801 section 4
    assert next(oauthbearer("a,b=c", Secret("t"))) == b"n,a=a=2Cb=3Dc,\1auth=Bearer t\1\1"


@pytest.mark.parametrize("start", [xoauth2, oauthbearer])
@pytest.mark.parametrize("token", ["", "two words", "line\n", "a\1b", "tökén", "\x7f"])
def test_a_token_is_one_word(start, token):
    with pytest.raises(UsageError) as fault:
        next(start("user@example.com", Secret(token)))
    assert fault.value.where == "token"
    assert not token or token not in str(fault.value)


@pytest.mark.parametrize("start", [xoauth2, oauthbearer])
@given(error=st.binary(max_size=5000))
def test_whatever_a_server_says_to_a_token_can_be_shown(start, error):
    exchange = start("user@example.com", Secret("t"))
    next(exchange)
    exchange.send(error)
    evidence = end(exchange, None).evidence
    assert evidence.isprintable()
    assert len(evidence) < 600


# --- EXTERNAL ------------------------------------------------------------------------------------------------------


def test_external_examples_of_rfc_4422_appendix_a():
    assert next(external("fred@example.com", Secret(""))) == b"fred@example.com"
    assert next(external("", Secret(""))) == b""  # an empty one, and not none


# --- all of them ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize(
    ("user", "secret", "field"), [("a\0b", "p", "user"), ("u", "hunter\0two", "secret"), ("u", "half\ud800", "secret")]
)
def test_what_cannot_be_sent_is_refused_and_not_repeated(name, user, secret, field):
    if (name, field) == ("EXTERNAL", "secret"):  # it has none
        assert next(MECHANISMS[name].start(user, Secret(secret))) == b"u"
        return
    with pytest.raises(UsageError) as fault:
        next(MECHANISMS[name].start(user, Secret(secret)))
    assert fault.value.where == ("user" if field == "user" else "token" if name in ("XOAUTH2", "OAUTHBEARER") else "password")
    assert "hunter" not in str(fault.value)
    assert "half\ud800" not in str(fault.value)


def test_the_table_says_which_reveal_the_secret_and_which_go_by_themselves():
    # RFC 4616 section 6 for PLAIN, and LOGIN sends the same in two parts; RFC 6750 section 5.2: a token is as good as a password
    # to whoever reads it. By itself none that takes another kind of secret, and not CRAM-MD5, which RFC 8314 section 4.1 leaves behind.
    revealing = {name for name, mechanism in MECHANISMS.items() if mechanism.reveals_password}
    assert revealing == {"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"}
    assert [name for name, mechanism in MECHANISMS.items() if mechanism.by_itself] == ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"]
    assert all(name == mechanism.name for name, mechanism in MECHANISMS.items())
