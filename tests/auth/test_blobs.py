"""What a sign-in's base64 says is told, its secret never, and base64 that is no sign-in has no answer."""

from __future__ import annotations

import base64
import json
import random
import struct
import time
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from kit.auth.blobs import LIMIT, explain_blobs
from kit.cli import main
from kit.explain import explain
from kit.knowledge.load import load_table
from kit.model import Cause, to_plain
from kit.redact import MASKED
from kit.widgets.explain import explanation_html

NOW = datetime(2026, 11, 24, 15, tzinfo=UTC)


def b64(text: str | bytes) -> str:
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def title(text, **more):
    answer = explain_blobs(text, **more)
    return answer.title if answer else None


def jwt(claims, header=None):
    parts = [json.dumps(part).encode() for part in (header or {"alg": "RS256", "typ": "JWT"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, b"not a signature"))


def xoauth2(token, user="ann@example.com"):
    return b64(f"user={user}\x01auth=Bearer {token}\x01\x01")


# --- PLAIN: RFC 4616 section 4 ---------------------------------------------------------------------------------------

TIM = b64("\0tim\0tanstaaftanstaaf")
URSEL = b64("Ursel\0Kurt\0xipj3plmq")


@pytest.mark.parametrize(
    "text",
    [
        TIM,
        f"AUTH PLAIN {TIM}",
        f"auth plain {TIM}\r\n",
        f"C: AUTH PLAIN {TIM}",
        f" -> AUTH PLAIN {TIM}",  # swaks
        f"send: 'AUTH PLAIN {TIM}\\r\\n'",  # smtplib
        f"> AUTH PLAIN {TIM}",  # curl
        f"Nov 24 15:00:00 mx postfix/smtpd[7]: < client.example.test[192.0.2.1]: AUTH PLAIN {TIM}",
        f"AUTH PLAIN\n334 \n{TIM}",
        f"C: AUTH PLAIN\r\nS: 334\r\nC: {TIM}\r\n",
        TIM[:12] + "\n" + TIM[12:],
    ],
)
def test_plain(text):
    assert title(text) == f"PLAIN: user tim, password {MASKED}"


def test_plain_with_an_authorization_identity():
    assert title(f"AUTH PLAIN {URSEL}") == f"PLAIN: user Kurt, acting as Ursel, password {MASKED}"


def test_who_acts_as_himself_does_not_act():
    assert title(b64("tim\0tim\0tanstaaftanstaaf")) == f"PLAIN: user tim, password {MASKED}"


@pytest.mark.parametrize(
    ("blob", "cause", "word"),
    [
        (b64("tim\0tanstaaftanstaaf"), Cause.MALFORMED, "NUL"),  # the first one was forgotten
        (b64("\\0tim\\0tanstaaftanstaaf"), Cause.MALFORMED, "NUL"),  # echo without -e
        (b64("\0tim\0tanstaaftanstaaf\n"), Cause.MALFORMED, "line end"),  # echo with -e
        (TIM[:-3], Cause.MALFORMED, "base64"),  # 28 octets of base64 less 3: no whole number of octets
        (b64(b"\0tim\0t\xf6nstaaf"), Cause.MALFORMED, "UTF-8"),  # ISO 8859-1
        (TIM, Cause.NONE, "password"),
    ],
)
def test_what_is_wrong_with_a_plain_answer(blob, cause, word):
    answer = explain_blobs(f"AUTH PLAIN {blob}")
    assert answer is not None
    assert answer.cause is cause
    assert word in answer.title


# --- LOGIN -----------------------------------------------------------------------------------------------------------

LOGIN_TRACES = [
    f"AUTH LOGIN\n334 VXNlcm5hbWU6\n{b64('ann')}\n334 UGFzc3dvcmQ6\n{b64('hunter2!')}",
    f"AUTH LOGIN {b64('ann')}\n334 UGFzc3dvcmQ6\n{b64('hunter2!')}",
    f"C: auth login\r\nS: 334 dXNlcm5hbWU6\r\nC: {b64('ann')}\r\nS: 334 cGFzc3dvcmQ6\r\nC: {b64('hunter2!')}\r\n",
    f" -> AUTH LOGIN\n<-  334 VXNlcm5hbWU6\n -> {b64('ann')}\n<-  334 UGFzc3dvcmQ6\n -> {b64('hunter2!')}\n",
    f"send: 'AUTH LOGIN {b64('ann')}\\r\\n'\nreply: b'334 UGFzc3dvcmQ6\\r\\n'\nreply: retcode (334); Msg: b'UGFzc3dvcmQ6'\nsend: '{b64('hunter2!')}\\r\\n'",
]


@pytest.mark.parametrize("text", LOGIN_TRACES)
def test_login(text):
    assert title(text) == f"LOGIN: user ann, password {MASKED}"


@pytest.mark.parametrize("question", ["Username:", "User Name\0", "username:", "Password:", "Password\0"])
def test_a_question_of_login_is_no_secret(question):
    answer = explain_blobs(f"334 {b64(question)}")
    assert answer is not None
    assert answer.cause is Cause.NONE
    assert answer.title == f"LOGIN: the server asks for the {question.lower().rstrip(chr(0)).rstrip(':')}"


@pytest.mark.parametrize(
    "text",
    [
        f"334 UGFzc3dvcmQ6\n{b64('hunter2!')}",
        f"AUTH LOGIN\n334 UGFzc3dvcmQ6\n{b64('hunter2!')}",
        f"AUTH LOGIN\n{b64('hunter2!')}",  # the line of the user is missing: who knows which answer this is
        f"AUTH LOGIN\n334 {b64('Say something:')}\n{b64('hunter2!')}",
    ],
)
def test_what_may_be_the_password_is_taken_for_it(text):
    said = title(text)
    assert said is not None
    assert MASKED in said
    assert "hunter2!" not in said


def test_the_users_answer_alone():
    assert title(f"334 VXNlcm5hbWU6\n{b64('ann@example.com')}") == "LOGIN: user ann@example.com"


# --- CRAM-MD5: RFC 2195 section 2 ------------------------------------------------------------------------------------


def test_cram():
    # 697170952 seconds after 1970 began, by date -u -d @697170952.
    said = title(
        "AUTH CRAM-MD5\n334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\ndGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw"
    )
    assert said == f"CRAM-MD5: challenge of postoffice.reston.mci.net, user tim, digest {MASKED}"


def test_a_cram_challenge_of_our_days_tells_its_time():
    # 2026-11-24 15:00 UTC is 1795532400.
    assert title(f"334 {b64('<7.1795532400@mx.example.test>')}") == "CRAM-MD5: challenge of mx.example.test, made 2026-11-24 15:00 UTC"


# --- SCRAM: RFC 5802 section 5, RFC 7677 section 3 -------------------------------------------------------------------

SCRAM_1 = [
    "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
    "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
    "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
    "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
]
SCRAM_256 = [
    "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
]


def test_scram():
    client, server, final, end = map(b64, SCRAM_1)
    said = title(f"AUTH SCRAM-SHA-1 {client}\n334 {server}\n{final}\n334 {end}\n")
    # The salt QSXCR+Q6sek8bf92 is 16 letters of base64: 12 octets.
    assert said == f"SCRAM-SHA-1: user user, nonce fyko+d…, rounds 4096, octets of salt 12, proof {MASKED}"


@pytest.mark.parametrize("message", SCRAM_1 + SCRAM_256)
def test_each_message_of_scram_is_known_alone(message):
    said = title(b64(message))
    assert said is not None
    assert said.startswith("SCRAM: ")


def test_scram_names_have_a_spelling_of_their_own():
    assert title(b64("n,a=boss,n=a=2Cb=3Dc,r=abcdefghij")) == "SCRAM: user a,b=c, acting as boss, nonce abcdef…"


@pytest.mark.parametrize(
    ("error", "cause"),
    [("invalid-proof", Cause.WRONG_PASSWORD), ("unknown-user", Cause.UNKNOWN_USER), ("channel-bindings-dont-match", Cause.MALFORMED)],
)
def test_scram_errors(error, cause):
    answer = explain_blobs(f"334 {b64(f'e={error}')}")
    assert answer is not None
    assert answer.cause is cause
    assert error in answer.title


# --- tokens: Google's page, RFC 7628 section 4 -----------------------------------------------------------------------

GOOGLE = "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="
BEARER = "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"


def test_xoauth2():
    assert title(f"AUTH XOAUTH2 {GOOGLE}") == f"XOAUTH2: user someuser@example.com, token {MASKED}, (Google's, which only Google can read)"


def test_a_token_broken_by_a_narrow_window():
    assert title(f"C: AUTH XOAUTH2 {GOOGLE[:70]}\n{GOOGLE[70:]}") == title(GOOGLE)


def test_oauthbearer():
    said = title(f"AUTH OAUTHBEARER {BEARER}")
    assert (
        said
        == f"OAUTHBEARER: user user@example.com, host server.example.com, port 143, token {MASKED}, (opaque: only the server can read it)"
    )


def test_a_jwt_is_read_and_not_believed():
    token = jwt({"aud": "https://outlook.office365.com", "exp": 1795536000, "scp": "SMTP.Send User.Read"})
    answer = explain_blobs(xoauth2(token), now=NOW)
    assert answer is not None
    assert answer.cause is Cause.NONE
    assert answer.title == (
        f"XOAUTH2: user ann@example.com, token {MASKED}, (a JWT, not verified), for https://outlook.office365.com, "
        "scopes SMTP.Send User.Read, expires 2026-11-24 16:00 UTC"
    )


@pytest.mark.parametrize(
    ("claims", "cause", "word"),
    [
        ({"exp": 1795528800}, Cause.TOKEN_REJECTED, "expired"),  # an hour before NOW
        ({"exp": 1795536000, "aud": "https://graph.microsoft.com"}, Cause.TOKEN_REJECTED, "Graph"),
        ({"exp": 1795536000, "aud": ["a", "b"], "roles": ["SMTP.SendAsApp"]}, Cause.NONE, "for a b, scopes SMTP.SendAsApp"),
        ({"exp": 10**400, "aud": {"a": 1}}, Cause.NONE, "JWT"),
        ({"exp": "soon"}, Cause.NONE, "JWT"),
        ({}, Cause.NONE, "JWT"),
    ],
)
def test_claims(claims, cause, word):
    answer = explain_blobs(xoauth2(jwt(claims)), now=NOW)
    assert answer is not None
    assert answer.cause is cause
    assert word in answer.title


@pytest.mark.parametrize(
    ("text", "cause", "word"),
    [
        (xoauth2(""), Cause.MALFORMED, "no token"),
        (xoauth2("1//0not-a-real-token"), Cause.TOKEN_REJECTED, "refresh token"),
        (b64("user=ann\x01auth=Bearer abc\x01"), Cause.MALFORMED, "put together"),
        (b64("user=ann\x01auth=abc\x01\x01"), Cause.MALFORMED, "no token"),
        (f"AUTH OAUTHBEARER {GOOGLE}", Cause.MALFORMED, "put together"),
        (f"AUTH XOAUTH2 {BEARER}", Cause.MALFORMED, "put together"),
        (f"AUTH XOAUTH2 {b64('user=ann^Aauth=Bearer ya29.abc^A^A')}", Cause.MALFORMED, "put together"),
    ],
)
def test_what_is_wrong_with_a_token(text, cause, word):
    answer = explain_blobs(text)
    assert answer is not None
    assert answer.cause is cause
    assert word in answer.title


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"status": "400", "schemes": "Bearer", "scope": "https://mail.google.com/"}, "status 400, scope https://mail.google.com/"),
        ({"status": "invalid_token", "scope": "example_scope", "openid-configuration": "https://example.com/"}, "scope example_scope"),
    ],
)
def test_why_a_token_was_refused(said, expected):
    answer = explain_blobs(f"AUTH XOAUTH2 {GOOGLE}\n334 {b64(json.dumps(said))}\n\n535 5.7.8 Bad")
    assert answer is not None
    assert answer.cause is Cause.TOKEN_REJECTED
    assert expected in answer.title
    assert explain(f"334 {b64(json.dumps(said))}").cause is Cause.TOKEN_REJECTED


# --- NTLM, GSSAPI, EXTERNAL ------------------------------------------------------------------------------------------


def ntlm(kind, flags_at, places, flags=1, encoding="utf-16-le"):
    """[MS-NLMP] 2.2: signature, kind, fields at their places, and behind 72 octets what they point to."""
    head, tail = bytearray(72), b""
    head[:12] = b"NTLMSSP\0" + struct.pack("<I", kind)
    head[flags_at : flags_at + 4] = struct.pack("<I", flags)
    for at, text in places.items():
        octets = text.encode(encoding)
        head[at : at + 8] = struct.pack("<HHI", len(octets), len(octets), 72 + len(tail))
        tail += octets
    return b64(bytes(head) + tail)


def test_ntlm():
    first = ntlm(1, 12, {16: "EXAMPLE", 24: "PC7"}, encoding="latin-1")
    second = ntlm(2, 20, {12: "EXAMPLE"})
    third = ntlm(3, 60, {20: "not the proof", 28: "EXAMPLE", 36: "änn", 44: "PC7"})
    said = title(f"AUTH NTLM {first}\n334 {second}\n{third}\n")
    assert said == (
        "NTLM: message 1, domain EXAMPLE, workstation PC7, message 2, target EXAMPLE, message 3, user änn"  # each name once
    )


def test_a_ticket_is_recognised_and_not_read():
    # RFC 4121 section 4.1: application 0, length, the number of Kerberos, then the ticket.
    token = b"\x60\x20\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02" + b"\x01\x00" + bytes(20)
    assert title(f"AUTH GSSAPI {b64(token)}") == "GSSAPI: a token of Kerberos"


@pytest.mark.parametrize(("blob", "said"), [("=", "EXTERNAL: a sign-in"), (b64("ann@example.com"), "EXTERNAL: acting as ann@example.com")])
def test_external(blob, said):
    assert title(f"AUTH EXTERNAL {blob}") == said


# --- no answer -------------------------------------------------------------------------------------------------------

RNG = random.Random(20261124)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "250-AUTH PLAIN LOGIN",
        "250 AUTH PLAIN LOGIN XOAUTH2",
        "250-AUTH=PLAIN LOGIN",
        "AUTH PLAIN LOGIN",
        "AUTH LOGIN",
        "AUTH PLAIN [hidden]",
        "AUTH LOGIN failed",
        "AUTH PLAIN Disabled",
        "AUTH PLAIN authentication is off",
        "Message-ID: <CAJ0cO7s8bV=not-real-at-all@mail.example.com>",
        "CAJ0cO7s8bVnotrealatallnotrealatall00",
        "DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=k1; bh=" + b64(RNG.randbytes(32)) + "; b=" + b64(RNG.randbytes(256)),
        b64("hunter2!"),  # it may be a password or a name: not ours to show
        b64("ann@example.com"),
        b64('{"status": "ok"}'),
        b64("Hello, world"),
        "-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(RNG.randbytes(700)).decode() + "-----END CERTIFICATE-----",
        "334 ",
        "535 5.7.8 Error: authentication failed: UGFzc3dvcmQ6",
    ],
)
def test_what_merely_looks_like_base64_has_no_answer(text):
    assert explain_blobs(text) is None


def test_nor_has_anything_at_random():
    for _ in range(3000):
        blob = b64(RNG.randbytes(RNG.randrange(4, 120)))
        assert explain_blobs(blob) is None
        assert explain_blobs(f"b={blob}") is None


def test_every_entry_of_the_table_reads():
    for entry in load_table("blobs")["said"].values():
        assert {"cause", "next_step", "source"} <= set(entry) <= {"cause", "title", "next_step", "source"}
        assert Cause(entry["cause"]) is Cause.NONE or entry["title"]
    assert set(load_table("blobs")["audience"].values()) <= set(load_table("blobs")["said"])


# --- with a reply in the same text -----------------------------------------------------------------------------------


def test_the_servers_refusal_comes_first_and_the_sign_in_after_it():
    answer = explain(f"{LOGIN_TRACES[0]}\n535 5.7.8 Error: authentication failed")
    assert answer.cause is explain("535 5.7.8 Error: authentication failed").cause
    assert answer.next_step.endswith(f"In the same text: LOGIN: user ann, password {MASKED}.")


def test_what_succeeded_is_told_by_the_sign_in():
    assert explain(f"AUTH PLAIN {TIM}\n235 2.7.0 OK").title == f"PLAIN: user tim, password {MASKED}"


# --- laws ------------------------------------------------------------------------------------------------------------

NAMES = st.one_of(
    st.sampled_from(["ann", "ann@example.com"]), st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
)
SECRETS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=4, max_size=40),
    st.text("abcdefgh0123456789+/=-_", min_size=4, max_size=80),
)
SHAPES = {
    "plain": lambda user, secret: f"AUTH PLAIN {b64(f'{chr(0)}{user}{chr(0)}{secret}')}",
    "acting": lambda user, secret: b64(f"{secret}\0{user}\0{secret}"),
    "blob in the user": lambda user, secret: b64(f"\0{b64(secret)}\0{secret}"),
    "no nul": lambda user, secret: f"AUTH PLAIN {b64(f'{user}{chr(0)}{secret}')}",
    "login": lambda user, secret: f"AUTH LOGIN\n334 VXNlcm5hbWU6\n{b64(user)}\n334 UGFzc3dvcmQ6\n{b64(secret)}",
    "login again": lambda user, secret: f"AUTH LOGIN {b64(secret + user)}\n334 UGFzc3dvcmQ6\n{b64(secret)}",
    "login unasked": lambda user, secret: f"AUTH LOGIN\n{b64(secret)}\n{b64(user)}",
    "token": lambda user, secret: f"AUTH XOAUTH2 {b64(f'user={user}{secret}{chr(1)}auth=Bearer {secret}{chr(1)}{chr(1)}')}",
    "other": lambda user, secret: f"AUTH XOAUTH2 {b64(f'n,a={user},{chr(1)}host={secret}{chr(1)}auth=Bearer {secret}{chr(1)}{chr(1)}')}",
    "alone": lambda user, secret: b64(secret),
    "broken": lambda user, secret: f"C: AUTH PLAIN {b64(f'{chr(0)}{user}{chr(0)}{secret}')[1:]}",
    "refused": lambda user, secret: f"C: AUTH PLAIN {b64(f'{chr(0)}{user}{chr(0)}{secret}')}\nS: 535 5.7.8 {b64(secret)} no",
}


@settings(max_examples=400, deadline=None)
@given(shape=st.sampled_from(sorted(SHAPES)), user=NAMES, secret=SECRETS)
@example(shape="plain", user="hunter2", secret="hunter2")
@example(shape="token", user="x" * 100, secret="y" * 100)
def test_no_secret_in_any_output(shape, user, secret):
    assume(shape not in ("token", "other") or not set(secret) & set("\x01 ,="))  # of which no token is made
    text = SHAPES[shape](user, secret)
    answer = explain(text, now=NOW)
    outputs = [
        repr(answer),
        json.dumps(to_plain(answer)),
        json.dumps(to_plain(answer), ensure_ascii=False),
        explanation_html(answer),
        CliRunner().invoke(main, ["explain", "-"], input=text.encode()).output,
        CliRunner().invoke(main, ["explain", "-", "--json"], input=text.encode()).output,
    ]
    known = "".join(map(repr, (load_table("blobs"), load_table("replies"), explain("535"), user, answer.sources)))
    known += (
        "".join(explanation_html(explain(text)) for text in ("535", "535 5.7.8 x", f"AUTH PLAIN {TIM}", GOOGLE, "AUTH LOGIN", ""))
        + "LOGIN: PLAIN"
    )
    assume(secret not in known and secret.strip() not in known)
    for output in outputs:
        assert secret not in output
        assert b64(secret).rstrip("=")[: len(secret)] not in output


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=300), st.binary(max_size=200).map(lambda raw: f"AUTH NTLM {b64(b'NTLMSSP' + bytes(1) + raw)}")))
def test_whatever_is_pasted_nothing_breaks_and_no_control_character_comes_out(text):
    answer = explain_blobs(text, now=NOW)
    if answer:
        assert answer.title.isprintable()
        assert len(answer.title) < 4000


@pytest.mark.parametrize(
    "piece",
    [
        "A",
        "AUTH PLAIN ",
        "AUTH PLAIN AAAA\n",
        "334 ",
        "334 AAAA\n",
        ":",
        "> ",
        f"{'A' * 64}\n",
        "AUTH LOGIN\nYW5u\n",
        "AUTH XOAUTH2 " + "A" * 64 + "\n" + ("B" * 64 + "\n") * 900,
        b64("\0a\0b") + "\n",
        b64('{"status":' + "[" * 9000),
        xoauth2("e30." + "W1tb" * 5000 + ".x"),
        b64("user=" + "a" * 300 + "\x01" + "auth=" * 5000),
        b64("n,," + "r=" * 10000),
        "\\n",
    ],
    ids=lambda piece: repr(piece[:12]),
)
def test_hostile_text_is_read_in_linear_time(piece):
    begin = time.process_time()
    explain_blobs((piece * (LIMIT * 2 // len(piece) + 1))[: LIMIT * 2], now=NOW)
    assert time.process_time() - begin < 1
