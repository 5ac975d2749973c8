"""Replies, offers and the dialogue: bytes in, bytes out, no socket anywhere."""

from __future__ import annotations

import ast
import asyncio
import base64
import contextlib
import gc
import itertools
import json
import time
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

import kit
from kit.errors import PasswordInClear, UsageError
from kit.model import Profile, Security, to_plain
from kit.redact import Secret
from kit.sending.approach import approach
from kit.sending.dialogue import Say, Verdict, authenticate, ehlo, greet, quit_, starttls
from kit.sending.reply import Offer, ends_reply, masked, oddities, parse_offer, parse_reply
from kit.sending.session import Break, Broken, Session, Tls
from kit.sending.signin import choose_mechanism, sign_in

# --- replies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "code", "enhanced", "lines"),
    [
        # RFC 5321 section 4.2.1: one line, several lines, no text at all.
        (b"250 OK\r\n", 250, None, ("OK",)),
        (b"250-First line\r\n250-Second line\r\n250-234 Text beginning with numbers\r\n250 The last line\r\n", 250, None,
         ("First line", "Second line", "234 Text beginning with numbers", "The last line")),
        (b"250\r\n", 250, None, ("",)),
        # RFC 2034 section 4 with RFC 3463: the enhanced code stands first in the text.
        (b"535 5.7.8 Authentication credentials invalid\r\n", 535, "5.7.8", ("5.7.8 Authentication credentials invalid",)),
        (b"250-2.1.0 a\r\n250 2.1.0 b\r\n", 250, "2.1.0", ("2.1.0 a", "2.1.0 b")),
        (b"220 5.6.7.example.com ready\r\n", 220, None, ("5.6.7.example.com ready",)),
        (b"535 5.7.1234 x\r\n", 535, None, ("5.7.1234 x",)),
        # What the standard does not foresee.
        (b"999 odd\r\n", 999, None, ("odd",)),
        (b"000 none\r\n", 0, None, ("000 none",)),
        (b"535no space\r\n", 535, None, ("no space",)),
        (b"5350 four digits\r\n", 0, None, ("5350 four digits",)),
        (b"250-a\r\n550 b\r\n", 550, None, ("250-a", "b")),
        (b"250-a\r\nstray\r\n250 b\r\n", 250, None, ("a", "stray", "b")),
        (b"SSH-2.0-OpenSSH_9.2\r\n", 0, None, ("SSH-2.0-OpenSSH_9.2",)),
        (b"250 bare\n", 250, None, ("bare",)),
        (b"250 cut", 250, None, ("cut",)),
        (b"535 Zugangsdaten ung\xc3\xbcltig\r\n", 535, None, ("Zugangsdaten ungültig",)),
        (b"535 ung\xfcltig\r\n", 535, None, ("ung\\xfcltig",)),
        (b"250 \x1b[31mred\x07\xe2\x80\xae\r\n", 250, None, ("\\x1b[31mred\\x07\\u202e",)),
        (b"", 0, None, ()),
    ],
)  # fmt: skip
def test_a_reply_is_read(raw, code, enhanced, lines):
    reply = parse_reply(raw)
    assert (reply.code, reply.enhanced, reply.lines, reply.raw) == (code, enhanced, lines, raw)


@given(
    st.binary(max_size=2000)
    | st.lists(st.sampled_from([b"250", b"-", b" ", b"\r", b"\n", b"5.7.8", b"x", b"\xff", b"\x00", b"9"])).map(b"".join)
)
def test_nothing_that_a_server_sends_makes_the_parser_raise(raw):
    reply = parse_reply(raw)
    assert reply.raw == raw
    assert 0 <= reply.code <= 999
    assert all(line.isprintable() for line in reply.lines)
    assert len(reply.lines) == (raw.count(b"\n") + (not raw.endswith(b"\n")) if raw else 0)
    oddities(raw)
    parse_offer(reply)


@given(code=st.integers(100, 999), texts=st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126)), min_size=1))
def test_a_well_formed_reply_comes_back_as_it_was_written(code, texts):
    raw = b"".join(
        f"{code}{' ' if last else '-'}{text}\r\n".encode() for last, text in zip([*[False] * (len(texts) - 1), True], texts, strict=True)
    )
    reply = parse_reply(raw)
    assert (reply.code, reply.lines) == (code, tuple(texts))
    ends = [ends_reply(line, first=number == 0) for number, line in enumerate(raw.splitlines(keepends=True))]
    assert ends == [*[False] * (len(texts) - 1), True]


@pytest.mark.parametrize("piece", [b"250-\r\n", b"\n", b"250-5.7.8 \x1b\xff\r\n", b"5.7.", b"\x00"])
def test_parsing_takes_linear_time(piece):
    def cost(size):
        raw = piece * (size // len(piece))
        times = []
        gc.disable()  # what it costs depends on all the tests before
        for _ in range(7):
            began = time.process_time()
            parse_reply(raw)
            oddities(raw)
            times.append(time.process_time() - began)
        gc.enable()
        return min(times)

    # Eight times the input: eight times the time if linear, 64 times if quadratic.
    assert cost(512 * 1024) < 40 * cost(64 * 1024) + 0.05


def test_what_is_odd_is_said():
    assert oddities(b"250-a\r\n250 b\r\n") == ()
    assert oddities(b"250-a\r\n550 b\n") == ("lines with different codes", "a line that ends in a bare LF")
    assert oddities(b"250-a\r\nb\r\n") == ("a line without a code",)
    assert oddities("250 ungültig\r\n".encode()) == ("bytes outside ASCII",)
    assert oddities("250 ungültig\r\n".encode("latin-1")) == ("bytes outside ASCII", "bytes that are not UTF-8")
    assert oddities(b"250 \x1b[2J\r\n") == ("control characters",)
    assert "longer than 512" in oddities(b"250 " + b"x" * 600 + b"\r\n")[0]
    assert oddities(b"250 " + b"x" * 506 + b"\r\n") == ()  # 512 octets with the line end


# --- what EHLO offers --------------------------------------------------------------------------------------------


def test_the_offer_of_rfc_4954_section_4_1():
    reply = parse_reply(
        b"250-smtp.example.com Hello client.example.com\r\n250-AUTH GSSAPI DIGEST-MD5\r\n250-ENHANCEDSTATUSCODES\r\n250 STARTTLS\r\n"
    )
    assert parse_offer(reply) == Offer(
        accepted=True, extensions=frozenset({"AUTH", "ENHANCEDSTATUSCODES", "STARTTLS"}), mechanisms=("GSSAPI", "DIGEST-MD5")
    )


def test_old_and_lower_case_forms_say_the_same():
    reply = parse_reply(b"250-mail\r\n250-auth=login plain\r\n250-AUTH PLAIN CRAM-MD5\r\n250-AUTH=PLAIN\r\n250-\r\n250 size 1000\r\n")
    offer = parse_offer(reply)
    assert offer.mechanisms == ("LOGIN", "PLAIN", "CRAM-MD5")
    assert "SIZE" in offer.extensions
    assert offer.size == 1000
    # RFC 1870 section 4: zero is no limit, and so is none.
    assert [parse_offer(parse_reply(b"250-mail\r\n250 SIZE" + said + b"\r\n")).size for said in (b"", b" 0", b" many")] == [None] * 3


def test_the_first_line_names_the_server_and_offers_nothing():
    assert parse_offer(parse_reply(b"250 AUTH PLAIN\r\n")) == Offer(accepted=True)


# --- the dialogue --------------------------------------------------------------------------------------------------


def drive(talk, *replies):
    """The actions that `talk` yields when it hears `replies`, and what it returns. Each reply must be asked for."""
    actions = [next(talk)]
    for number, reply in enumerate(replies, 1):
        try:
            actions.append(talk.send(parse_reply(reply + b"\r\n")))
        except StopIteration as end:
            assert number == len(replies), f"ended before it heard {replies[number:]}"
            return actions, end.value
    raise AssertionError(f"goes on with {actions[-1]}")


def lines(actions):
    return [action.line for action in actions]


def test_the_banner_is_waited_for():
    actions, banner = drive(greet(), b"220 mail.example.com")
    assert actions == [Say("banner", None, None)]
    assert banner.code == 220


def test_ehlo():
    actions, offer = drive(ehlo("[192.0.2.1]"), b"250-mail\r\n250 STARTTLS")
    assert lines(actions) == [b"EHLO [192.0.2.1]"]
    assert offer.extensions == {"STARTTLS"}


def test_helo_only_where_ehlo_is_refused_for_good():
    actions, offer = drive(ehlo("client"), b"502 5.5.1 not implemented", b"250 mail AUTH PLAIN")
    assert lines(actions) == [b"EHLO client", b"HELO client"]
    assert offer == Offer(accepted=True)
    for refusal in (b"421 busy", b"450 later", b"garbage"):
        actions, offer = drive(ehlo("client"), refusal)
        assert len(actions) == 1
        assert not offer.accepted


def test_starttls_and_quit():
    assert lines(drive(starttls(), b"220 go")[0]) == [b"STARTTLS"]
    assert lines(drive(quit_(), b"221 bye")[0]) == [b"QUIT"]


def sign_in_as(mechanism, user, password, **how):
    return authenticate(mechanism, user, Secret(password), protected=True, **how)


def test_plain_goes_out_with_its_initial_response():
    actions, verdict = drive(sign_in_as("PLAIN", "tim", "tanstaaftanstaaf"), b"235 2.7.0 Authentication successful")
    # RFC 4616 section 4, first example, in the frame of RFC 4954 section 4.
    assert lines(actions) == [b"AUTH PLAIN " + base64.b64encode(b"\0tim\0tanstaaftanstaaf")]
    assert actions[0].shown == "AUTH PLAIN [hidden]"
    assert verdict.reply.code == 235


def test_a_response_too_long_for_a_command_goes_on_its_own_line():
    password = "x" * 400
    actions, _ = drive(sign_in_as("PLAIN", "tim", password), b"334 ", b"235 ok")
    assert lines(actions) == [b"AUTH PLAIN", base64.b64encode(b"\0tim\0" + password.encode())]
    # RFC 4954 section 4 with RFC 5321 section 4.5.3.1.4: 512 octets with CRLF, so 510 without; both sides of the edge.
    for length in range(360, 375):
        talk = sign_in_as("PLAIN", "tim", "x" * length)
        first = next(talk).line
        assert len(first) <= 510
        assert (first == b"AUTH PLAIN") == (len(b"AUTH PLAIN ") + len(base64.b64encode(b"x" * (length + 5))) > 510)


def test_login_takes_three_lines():
    actions, verdict = drive(sign_in_as("LOGIN", "Charlie", "password"), b"334 VXNlcm5hbWU6", b"334 UGFzc3dvcmQ6", b"535 5.7.8 no")
    assert lines(actions) == [b"AUTH LOGIN", b"Q2hhcmxpZQ==", b"cGFzc3dvcmQ="]  # MS-XLOGIN section 4
    assert [action.shown for action in actions] == ["AUTH LOGIN", "[hidden]", "[hidden]"]
    assert verdict.reply.enhanced == "5.7.8"


@pytest.mark.parametrize("question", [b"334", b"334 ", b"334 Username:", b"334 =====", b"334-VXNl\r\n334 cm5hbWU6"])
def test_login_answers_questions_that_are_no_base64(question):
    actions, _ = drive(sign_in_as("LOGIN", "Charlie", "password"), question, question, b"235 ok")
    assert lines(actions)[1:] == [b"Q2hhcmxpZQ==", b"cGFzc3dvcmQ="]


def test_a_server_that_asks_without_end_is_left():
    actions, verdict = drive(sign_in_as("PLAIN", "tim", "x"), b"334 bW9yZQ==", b"501 cancelled")
    assert lines(actions)[1] == b"*"  # RFC 4954 section 4
    assert (verdict.reply.code, verdict.gave_up) == (501, True)
    drive(sign_in_as("PLAIN", "tim", "x"), b"334 bW9yZQ==", b"334 bW9yZQ==")  # even a 334 to the * ends it


@pytest.mark.parametrize(
    "verdict", [b"535 5.7.8 no", b"421 4.7.0 too many", b"504 5.5.4 what", b"454 4.7.0 later", b"550 5.7.30 off", b"", b"hm"]
)
def test_every_verdict_ends_it_and_there_is_no_second_try(verdict):
    actions, ended = drive(sign_in_as("PLAIN", "tim", "x"), verdict)
    assert len(actions) == 1
    assert ended == Verdict(parse_reply(verdict + b"\r\n"), gave_up=False, remark=None)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_no_password_in_clear_unless_that_is_said(mechanism):
    with pytest.raises(PasswordInClear):
        authenticate(mechanism, "anna", Secret("x"), protected=False)
    talk = authenticate(mechanism, "anna", Secret("x"), protected=False, allow_clear=True)
    assert next(talk).line.startswith(b"AUTH")


def test_what_cannot_be_sent_is_refused_before_the_first_byte():
    with pytest.raises(UsageError):
        sign_in_as("PLAIN", "anna", "a\0b")


# --- choosing ------------------------------------------------------------------------------------------------------


def choose(offered, wanted=None):
    profile = Profile(host="mail.example.com", port=465, security=Security.TLS, user="anna", mechanism=wanted)
    chosen = choose_mechanism(profile, Offer(accepted=True, mechanisms=tuple(offered.split())))
    return chosen[0] if isinstance(chosen, tuple) else chosen.cause


@pytest.mark.parametrize(
    ("offered", "wanted", "chosen"),
    [
        ("LOGIN PLAIN", None, "PLAIN"),
        ("XOAUTH2 LOGIN", None, "LOGIN"),
        ("PLAIN LOGIN", "LOGIN", "LOGIN"),
        ("PLAIN", "LOGIN", "mechanism-unsupported"),
        ("GSSAPI NTLM", None, "mechanism-unsupported"),
        ("", None, "auth-not-offered"),
        ("", "PLAIN", "auth-not-offered"),
    ],
)
def test_one_mechanism_is_chosen(offered, wanted, chosen):
    assert choose(offered, wanted) == chosen


# --- the session ---------------------------------------------------------------------------------------------------


class Script:
    """A wire that answers what it was told to answer, in order."""

    timeout = 1.0

    def __init__(self, *replies):
        self.heard = []
        self._replies = iter(replies)

    def put(self, *lines):
        self.heard += lines

    async def hear(self, patience=None):
        reply = next(self._replies)
        if isinstance(reply, Broken):
            raise reply
        return parse_reply(reply + b"\r\n")

    async def encrypt(self):
        return Tls(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384")


def ticking():
    """A clock that advances half a second each time it is read."""
    return map(float, itertools.count(0, 0.5)).__next__


async def test_every_command_becomes_a_step_with_its_time():
    told = []
    session = Session(on_step=told.append, clock=ticking())
    wire = Script(b"220 mail.example.test ESMTP Postfix", b"250-mail\r\n250 STARTTLS", b"220 go")
    for talk in (greet(), ehlo("client"), starttls()):
        await session.run(talk, wire)
    await session.encrypt(wire)
    assert [(step.name, step.sent, step.ok, step.seconds) for step in session.steps] == [
        ("banner", None, True, 0.5),
        ("ehlo", "EHLO client", True, 0.5),
        ("starttls", "STARTTLS", True, 0.5),
        ("tls", None, True, 0.5),
    ]
    assert told == session.steps
    assert session.tls is not None
    assert session.server == "postfix"


async def test_a_refused_starttls_brings_no_tls():
    session, wire = Session(), Script(b"220 mail", b"250-mail\r\n250 STARTTLS", b"454 4.7.0 TLS not available")
    assert await approach(session, wire, Profile(host="mail.example.test", port=587, security=Security.STARTTLS), "client") is None
    assert [step.ok for step in session.steps] == [True, True, False]
    assert session.tls is None


# RFC 5321 section 4.3.2, for AUTH RFC 4954 section 4, for STARTTLS RFC 3207 section 4: the yes to each, and another command's.
@pytest.mark.parametrize(
    ("name", "yes", "no"),
    [
        ("banner", "220", "250 354 421 554"),
        ("ehlo", "250", "220 354 502"),
        ("helo", "250", "220 354 502"),
        ("starttls", "220", "250 354 454"),
        ("auth", "235 334", "250 354 535"),
        ("noop", "250", "334 354 421"),
        ("mail", "250", "334 354 451 550"),
        ("rcpt", "250 251 252", "334 354 450 550"),
        ("data", "354", "221 250 334 503"),
        ("message", "250", "221 235 354 451 554"),
        ("rset", "250", "354 421 503"),
        ("quit", "221", "250 354 502"),
    ],
)
async def test_a_step_is_well_where_the_reply_is_the_one_to_its_own_command(name, yes, no):
    async def well(code):
        def talk():
            yield Say(name, b"x", "x")

        session = Session()
        await session.run(talk(), Script(f"{code} x".encode()))
        return session.steps[0].ok

    assert [code for code in f"{yes} {no}".split() if await well(code)] == yes.split()


async def test_a_broken_connection_leaves_the_failed_step_with_what_came():
    session = Session()
    with pytest.raises(Broken):
        await session.run(ehlo("client"), Script(Broken(Break.SILENT, "no complete reply within 1 s", b"250-mail\r\n250-AU")))
    step = session.steps[-1]
    assert (step.ok, step.sent, step.detail) == (False, "EHLO client", "no complete reply within 1 s")
    assert step.reply.lines == ("mail", "AU")


PROFILE = Profile(host="mail.example.test", port=465, security=Security.TLS, user="anna@example.test")
SECRETS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=4, max_size=40)


def strings(value):
    """Every string inside of what JSON knows."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def everything_written(session):
    plain = to_plain({"steps": session.steps, "attempt": session.attempt, "findings": session.findings})
    yield from strings(json.loads(json.dumps(plain)))
    yield from (repr(session.steps), repr(session.attempt), repr(session.findings))
    yield from (step.reply.raw.decode("utf-8", "replace") for step in session.steps if step.reply)


def run_sign_in(password, mechanism, budget):
    """A server that repeats what it hears, as it is, in base64 and decoded."""
    secret = Secret(password)
    blob = base64.b64encode(password.encode("utf-8"))
    echo = (
        b"535 5.7.8 wrong: "
        + password.encode("utf-8")
        + b" "
        + blob
        + b" "
        + base64.b64encode(b"\0anna@example.test\0" + password.encode())
    )
    session = Session(secrets=[secret])
    session.tls = Tls(version="TLSv1.3", cipher="x")
    wire = Script(*([b"334 VXNlcm5hbWU6", b"334 " + blob] if mechanism == "LOGIN" else []), echo)
    offer = Offer(accepted=True, mechanisms=(mechanism,))
    asyncio.run(sign_in(session, wire, PROFILE, secret, offer, helo="client", budget=budget, attempts_an_hour=10**6))
    return session, wire


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@given(password=SECRETS)
@example(password="a\\\x01b")
@example(password="pass\\word'\"<&>")
@example(password="gehéim\u202e\U000e0001")
def test_a_secret_is_in_nothing_that_is_written(mechanism, password, tmp_path_factory):
    budget = tmp_path_factory.getbasetemp() / "budget"
    # What stands there with any other password cannot tell this one.
    session, _ = run_sign_in("another one entirely", mechanism, budget)
    assume(not any(password in text for text in everything_written(session)))
    session, wire = run_sign_in(password, mechanism, budget)
    assert any(base64.b64encode(password.encode()) in line or b"AUTH PLAIN " in line for line in wire.heard)  # it did go out
    blob = base64.b64encode(password.encode()).decode()
    escaped = repr(password)[1:-1]
    for text in everything_written(session):
        assert password not in text
        assert escaped not in text
        assert blob not in text


@pytest.mark.parametrize("secret", ["535", "5.7", "0", "250-", "\n"])
def test_masking_never_changes_what_a_reply_is(secret):
    reply = parse_reply(b"250-mail\r\n535 5.7.8 no\r\n")
    assert (masked(reply, [Secret(secret)]).code, masked(reply, [Secret(secret)]).enhanced) == (535, "5.7.8")


def test_a_challenge_is_left_as_it_came():
    # RFC 7677 section 3, and an OAuth error (RFC 7628 section 3.2.2): base64 of plain text, which elsewhere may be a password.
    for plain in (b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", b'{"status":"invalid_token"}'):
        reply = parse_reply(b"334 " + base64.b64encode(plain) + b"\r\n")
        assert masked(reply, [Secret("pencil")]).lines == reply.lines


_IDS = st.from_regex(r"4[0-9A-Za-z]{9,20}", fullmatch=True)
_BASE64_OF_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=6).map(
    lambda text: base64.b64encode(text.encode()).decode()
)


@given(id_=_IDS | _BASE64_OF_TEXT)  # elsewhere the latter may be a password
@pytest.mark.parametrize("words", ["250 2.0.0 Ok: queued as {}", "250 OK id={}", "250 2.0.0 {} Message accepted for delivery"])
def test_a_servers_own_id_of_a_message_is_never_hidden(words, id_):
    reply = masked(parse_reply(f"{words.format(id_)}\r\n".encode()), [Secret("correct horse battery")])
    assert id_ in reply.lines[0]
    assert id_ in reply.raw.decode()


async def test_the_attempt_says_what_became_of_it(tmp_path):
    async def attempt(*replies, mechanism="PLAIN", budget):
        session = Session()
        session.tls = Tls(version="TLSv1.2", cipher="x")
        wire = Script(*replies)
        with contextlib.suppress(Broken):
            await sign_in(
                session,
                wire,
                PROFILE,
                Secret("hunter22"),
                Offer(accepted=True, mechanisms=(mechanism,)),
                helo="client",
                budget=tmp_path / budget,
            )
        return session.attempt.outcome, session.attempt.cause

    # The verdicts of RFC 4954 section 6, and what may come instead of one.
    assert await attempt(b"235 2.7.0 ok", budget="a") == ("success", "none")
    assert await attempt(b"535 5.7.8 Error: authentication failed: ", budget="b") == ("failure", "credentials")
    assert await attempt(b"504 5.5.4 Unrecognized authentication type", budget="c") == ("refused", "mechanism-unsupported")
    assert await attempt(b"538 5.7.11 Encryption required for requested authentication mechanism", budget="d") == (
        "refused",
        "tls-required",
    )
    assert await attempt(b"454 4.7.0 Temporary authentication failure: Connection lost to authentication server", budget="e") == (
        "server-error",
        "backend-unavailable",
    )
    assert (await attempt(b"334 bW9yZQ==", b"501 5.7.0 cancelled", budget="f"))[0] == "aborted"
    assert await attempt(Broken(Break.CLOSED, "gone"), budget="g") == ("aborted", "aborted")
    assert (await attempt(b"250 ok", budget="h"))[0] == "failure"


@pytest.mark.parametrize(
    "module", ["auth/mechanisms", "sending/reply", "sending/dialogue", "sending/session", "sending/findings", "sending/approach"]
)
def test_the_core_opens_nothing(module):
    tree = ast.parse((Path(kit.__file__).parent / f"{module}.py").read_text("utf-8"))
    roots = {alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    roots |= {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not roots & {"asyncio", "socket", "ssl", "os", "pathlib", "sqlite3", "aiosmtplib", "datetime", "random"}
