"""Nothing that is a secret comes out, and what is none stays as it was."""

from __future__ import annotations

import base64
import copy
import dataclasses
import html
import json
import logging
import pickle
import pprint
import random
import re
import time
import traceback
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from kit import redact
from kit.errors import KitError
from kit.model import to_plain
from kit.redact import MASKED, Secret, mask, mask_lines

SECRETS = st.text(st.characters(exclude_categories=["Cs"]), min_size=4, max_size=40)
AROUND = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


# --- known secrets ---------------------------------------------------------------------------------------------


@given(secret=SECRETS, left=AROUND, right=AROUND)
@example(secret="p+/=", left="", right="")
@example(secret="a\\\"'<&>%\x01ö😀", left="x", right="y")
def test_a_known_secret_never_survives(secret, left, right):
    known = [Secret(secret)]
    assume(secret not in left + MASKED + right)  # then the surroundings themselves would say it, or the mask would
    assert secret not in mask(left + secret + right, known)
    literals = [repr(secret)[1:-1], ascii(secret)[1:-1], repr(secret.encode())[2:-1]]
    in_json = [json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]]
    in_html = [html.escape(secret), html.escape(secret, quote=False), html.escape(secret).replace("&#x27;", "&#39;")]
    in_url = [quote(secret), quote(secret, safe=""), quote_plus(secret), re.sub("%..", lambda code: code[0].lower(), quote(secret))]
    for form in literals + in_json + in_html + in_url:
        assert mask(f"<{form}>", known) == f"<{MASKED}>"


@given(secret=SECRETS, before=st.binary(max_size=7), after=st.binary(max_size=7))
def test_nor_in_base64_wherever_it_stands_in_the_blob(secret, before, after):
    raw = secret.encode()
    for encode, decode in ((base64.b64encode, base64.b64decode), (base64.urlsafe_b64encode, base64.urlsafe_b64decode)):
        blob = encode(before + raw + after).decode()
        masked = mask(f"334 {blob} ", [Secret(secret)])
        assert MASKED in masked
        # Whatever is left, decoded from any place on, does not hold the secret.
        for piece in masked[4:].replace(MASKED, " ").split():
            for skip in range(4):
                rest = piece[skip:].rstrip("=")
                rest = rest[: len(rest) // 4 * 4]
                assert raw not in decode(rest)


@given(SECRETS)
def test_nor_in_an_initial_response(secret):
    assume("\0" not in secret)
    blob = base64.b64encode(f"\0ann\0{secret}".encode()).decode()
    assert blob not in mask(f"C: AUTH PLAIN {blob}")
    assert base64.b64encode(secret.encode()).decode() not in mask(f"C: AUTH PLAIN {blob}", [Secret(secret)])


def test_of_two_secrets_the_longer_goes_first():
    assert mask("hunter2hunter22", [Secret("hunter2"), Secret("hunter22")]) == MASKED * 2


def test_a_very_short_secret_is_hidden_only_where_it_stands_alone():
    known = [Secret("abc")]
    assert mask("abc abcd xabc (abc) YWJj xYWJj", known) == f"{MASKED} abcd xabc ({MASKED}) {MASKED} xYWJj"
    assert mask("nothing", [Secret("")]) == "nothing"


# --- the Secret itself -----------------------------------------------------------------------------------------


@dataclasses.dataclass
class _Holder:
    name: str
    secret: Secret


def _all_said(secret: Secret) -> list[str]:
    return [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret:>40}",
        f"{secret!r:.9}",
        "{0}".format(secret),  # noqa: UP030, UP032 - the old way must be silent too
        "%s %r %a" % (secret, secret, secret),  # noqa: UP031
        repr({"password": secret, secret: 1}),
        repr(_Holder("x", secret)),
        pprint.pformat([secret, (secret,)]),
        repr(to_plain(_Holder("x", secret))),
        repr(to_plain({"a": [secret]})),
        json.dumps(to_plain(_Holder("x", secret)), default=str),
    ]


@given(SECRETS)
def test_a_secret_cannot_print_itself(text):
    assert Secret(text).reveal() == text
    # Whatever it is made of, it says the same.
    assert _all_said(Secret(text)) == _all_said(Secret("another one"))


def test_it_is_neither_copied_nor_pickled_nor_put_into_json():
    secret = Secret("hunter2")
    holder = _Holder("x", secret)
    attempts = [
        lambda: pickle.dumps(secret),
        lambda: pickle.dumps(holder, protocol=0),
        lambda: copy.copy(secret),
        lambda: copy.deepcopy([secret]),
        lambda: dataclasses.asdict(holder),
        secret.__getstate__,
        lambda: json.dumps(secret),
        lambda: Secret(b"hunter2"),
        lambda: Secret(None),
        lambda: vars(secret),
    ]
    for attempt in attempts:
        with pytest.raises(TypeError) as caught:
            attempt()
        assert "hunter2" not in "".join(traceback.format_exception(caught.value)[-1:])


def test_it_is_not_told_by_equality_or_hash():
    one, other = Secret("hunter2"), Secret("hunter2")
    assert one != other
    assert one != "hunter2"
    assert bool(one)
    assert not Secret("")


def _fail_with(secret: Secret) -> None:
    holder = _Holder("x", secret)
    raise KitError(f"cannot use {secret}", where=str(holder), next_step=repr([secret]))


def test_it_stays_out_of_tracebacks_and_logs(caplog):
    secret = Secret("hunter2"[::-1])  # so that this source line, which tracebacks show, does not hold it
    with pytest.raises(KitError) as caught:
        _fail_with(secret)
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "cannot use" in "".join(shown.format())
    assert "2retnuh" not in "".join(shown.format())
    assert "2retnuh" not in str(caught.value)
    logging.getLogger("test").error("with %s", secret, exc_info=caught.value)
    assert "with Secret" in caplog.text
    assert "2retnuh" not in caplog.text


# --- what looks like a secret ----------------------------------------------------------------------------------

BLOB = "AGFubgBodW50ZXIy"  # base64 of NUL ann NUL hunter2
GIVEAWAYS = [
    # Dovecot, auth_verbose_passwords
    ("auth: sql(ann,192.0.2.7): Password mismatch (given password: hunter2)", "hunter2"),
    ("auth: pam(ann,192.0.2.7): unknown user (SHA1 of given password: f638ff) - trying the next passdb", "f638ff"),
    ("auth: sql(ann): Password mismatch (given password: a) (b) c)", "a) (b) c"),
    ("auth: sql(ann): Password mismatch (given password: cut off by sysl", "cut off by sysl"),
    # Dovecot, auth_debug_passwords, as rsyslog writes tabs
    (f"auth: Debug: client in: AUTH#0111#011PLAIN#011service=smtp#011resp={BLOB}", BLOB),
    (f"auth: Debug: client in: CONT#0111#011{BLOB}", BLOB),
    (f"auth: Debug: client in: CONT\t12\t{BLOB}", BLOB),
    ("auth: Debug: master out: USER#0112#011ann#011pass=hunter2", "hunter2"),
    # Postfix, verbose
    (f"smtpd_sasl_authenticate: sasl_method PLAIN, init_response {BLOB}", BLOB),
    ("xsasl_cyrus_server_auth_response: decoded initial response ?ann?hunter2", "?ann?hunter2"),
    (f"< client.example.com[192.0.2.7]: AUTH PLAIN {BLOB}", BLOB),
    # transcripts
    (f"AUTH PLAIN {BLOB}", BLOB),
    (f"auth plain {BLOB}", BLOB),
    (f"AUTH PLAIN  '{BLOB}'", BLOB),
    ("AUTH LOGIN YW5uQGV4YW1wbGUuY29t", "YW5uQGV4YW1wbGUuY29t"),
    ("AUTH XOAUTH2 dXNlcj1hbm5AZXhhbXBsZS5jb20BYXV0aD1CZWFyZXIg", "dXNlcj1hbm5"),
    (f"AUTH PLAIN {BLOB[:14]}", BLOB[:14]),  # cut off in the middle of a group
    ("user=ann@example.com\x01auth=Bearer ya29.a0Af_H6-x~y/z+w==\x01\x01", "ya29.a0Af_H6-x~y/z+w=="),
    ("Authorization: Bearer eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJub25lIn0"),
    ("auth%3DBearer%20ya29.a0AfH6%01", "ya29.a0AfH6"),
    ("authorization: basic YW5uOmh1bnRlcjI=", "YW5uOmh1bnRlcjI="),
    # vpopmail, Courier
    ("vpopmail[939]: vchkpw-pop3: password fail (pass: 'hunter2') ann@example.com:192.0.2.7", "hunter2"),
    ("WARNING in nginx: Received undecodable user/password from nginx: 'ann'/'hun'ter2'", "hun'ter2"),  # Mailu
    ("vpopmail[939]: vchkpw-pop3: password fail (pass: 'it's') ann@example.com:192.0.2.7", "it's"),
    ('courieresmtpd: error,relay=::ffff:192.0.2.7,msg="535 Authentication failed.",cmd: aHVudGVyMg==', "aHVudGVyMg"),
    (f'courieresmtpd: error,relay=::ffff:192.0.2.7,port=40810,msg="535 Authentication failed.",cmd: AUTH PLAIN {BLOB} ann', BLOB),
    (f'sm-mta[7]: 6AOJWEmH031956: AUTH decode64 error [-5 for "{BLOB}="], relay=dsl.example.net [192.0.2.7]', BLOB),
    # OpenSMTPD, on a port that takes no sign-in
    (f'smtpd[9]: 0cef4f4607ce4106 smtp failed-command command="AUTH PLAIN {BLOB}" result="503 5.5.1 Invalid command"', BLOB),
    ('smtpd[9]: 0cef4f4769a2dd68 smtp failed-command command="aHVudGVyMg==" result="500 5.5.1 Invalid command"', "aHVudGVyMg"),
    # configuration, scripts, addresses
    ("password=hunter2", "hunter2"),
    ("DB_PASSWORD='correct horse' other=1", "correct horse"),
    ('$smtpPassword = "correct `"horse"', "correct"),
    ('{"user": "ann", "password": "correct \\"horse", "port": 587}', 'correct \\"horse'),
    ('{\\"password\\": \\"hunter2\\"}', "hunter2"),
    ("'password' => 'hunter2',", "hunter2"),
    ("passphrase: correct", "correct"),
    ("Pwd=hunter2;Server=mx", "hunter2"),
    ("password = (a,b)<c>", "(a,b)<c>"),
    ("client_secret=ab.cd~ef", "ab.cd~ef"),
    ('"refresh_token":"1//0abc"', "1//0abc"),
    ("api-key: k-123", "k-123"),
    ("smtp://ann:hunter2@mx.example.com:587", "hunter2"),
]
# In words that no server known to the kit writes: what a password may look like, wherever it stands.
GUESSES = [
    ('thing[1]: login of ann failed, pass "hunter2"', "hunter2"),
    ("thing[1]: login of ann failed, pass 'it's' given", "it's"),
    ("thing[1]: login of ann failed, pass 'hunt", "hunt"),  # cut off
    ("{'user': 'ann', 'pass': 'hunter2'}", "hunter2"),
    ('{"MESSAGE":"login of ann failed, pass \\"hunter2\\""}', "hunter2"),
    ("thing[1]: bad password hunter2 for ann", "hunter2"),
    ("Anmeldung von ann fehlgeschlagen, Passwort: geheim", "geheim"),
    ("Anmeldung fehlgeschlagen (Kennwort 'ge heim')", "ge heim"),
    ("identifiant ann, mot de passe : sésame", "sésame"),
    ("thing[1]: login failed (ann/hunter2) from 192.0.2.7", "hunter2"),
    ("thing[1]: login failed (ann@example.com/hun ter)2)", "hun ter)2"),
    ("thing[1]: login failed (ann/hunt", "hunt"),
    ("thing[1]: login failed (Ann/HUNTER2)", "HUNTER2"),
    ("imapd: AUTH LOGIN failed: aHVudGVyMg== for ann", "aHVudGVyMg=="),
    ("imapd: AUTH PLAIN response AGFubgBodW50ZXIy is wrong", "AGFubgBodW50ZXIy"),
    ("imapd: AUTH PLAIN response AGFubgBodW50ZXI", "AGFubgBodW50ZXI"),
    # MailEnable's SMTP activity log: a tab between the columns
    ("11/24/26 12:00:01\tSMTP-IN\tC4D9.MAI\t1016\t192.0.2.7\tAUTH\tYW5u\t334 UGFzc3dvcmQ6\t18\t10", "YW5u"),
    ("11/24/26 12:00:01\tSMTP-IN\tC4D9.MAI\t1016\t192.0.2.7\tAUTH\tbfxsbGVy\t535 Invalid Username or Password\t34\t14", "bfxsbGVy"),
    # saslauthd -d, auth_shadow.c: what /etc/shadow has, also as crypt(3) of old wrote it
    ("saslauthd[9]: DEBUG: auth_shadow: pw mismatch: 'ab1Lq9Uz8Xk2c' != 'ab7tYv5PqLd0E'", "'ab1Lq9Uz8Xk2c' != 'ab7tYv5PqLd0E'"),
    ("saslauthd[9]: auth_shadow: pw mismatch: hun'ter2 != ab1Lq9Uz8Xk2c", "hun'ter2 != ab1Lq9Uz8Xk2c"),
    ("login: hash $6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2 of ann", "saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2"),
    ("login: compared {SSHA256}LUgtYWxsb3dlZC1oZXJl with another", "LUgtYWxsb3dlZC1oZXJl"),
]


@pytest.mark.parametrize(("line", "secret"), GIVEAWAYS + GUESSES)
def test_a_credential_is_known_by_its_surroundings(line, secret):
    masked = mask(line)
    assert secret not in masked
    assert MASKED in masked
    assert mask(masked) == masked
    # What stands before it is what makes the line useful.
    assert masked.startswith(line[: line.index(secret)])


def test_json_stays_json():
    masked = json.loads(mask('{"user": "ann", "password": "a \\" b", "port": 587}'))
    assert masked == {"user": "ann", "password": MASKED, "port": 587}


ORDINARY = [
    "postfix/smtpd[12]: warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: UGFzc3dvcmQ6",
    "postfix/smtpd[12]: warning: unknown[203.0.113.9]: SASL PLAIN authentication failed: (reason unavailable), sasl_username=ann@example.com",
    "postfix/smtpd[12]: disconnect from unknown[203.0.113.9] ehlo=1 auth=0/1 quit=1 commands=2/3",
    "postfix/smtpd[12]: disconnect from unknown[203.0.113.9] ehlo=2 starttls=1 auth=1 mail=1 rcpt=1 data=1 quit=1 commands=8",
    "postfix/submission/smtpd[12]: 4XyZ: client=mx.example.com[192.0.2.7], sasl_method=PLAIN, sasl_username=ann",
    "dovecot: imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): user=<ann>, method=PLAIN, rip=192.0.2.7",
    "dovecot: auth: passwd-file(ann,192.0.2.7): Password mismatch",
    "dovecot: auth: passwd-file(ann,192.0.2.7,<q+1/abcdefgh>): unknown user",
    "dovecot: auth-worker(9): pam(ann,192.0.2.7): pam_authenticate() failed: Authentication failure (password mismatch?)",
    "dovecot: auth: Debug: client in: AUTH#0111#011PLAIN#011service=smtp#011resp=<hidden>",
    "250-AUTH PLAIN LOGIN",
    "250-AUTH LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER XOAUTH SCRAM-SHA-256-PLUS",
    "250 AUTH=LOGIN PLAIN",
    "AUTH PLAIN",
    "AUTH LOGIN",
    "AUTH LOGIN authentication is disabled",
    "503 AUTH command used when not advertised",
    "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.",
    "Basic authentication, bearer authentication and OAuth",
    "Basic username/password sign-in; a bearer credential.",
    '334 {"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}',
    "534-5.7.9 Application-specific password required. https://support.google.com/mail/?p=InvalidSecondFactor",
    "535-5.7.8 Username and Password not accepted. For more information, go to https://support.google.com/mail/?p=BadCredentials",
    "exim: dovecot_login authenticator failed for (User) [203.0.113.9]: 535 Incorrect authentication data (set_id=ann@example.com)",
    'courieresmtpd: error,relay=::ffff:192.0.2.7,msg="535 Authentication failed.",cmd: QUIT',
    'smtpd[9]: 2d2fa345f2bb9d00 smtp failed-command command="AUTH LOGIN (password)" result="535 Authentication failed"',
    'smtpd[9]: 2d2fa350481022f0 smtp failed-command command="DATA" result="503 5.5.1 Invalid command"',
    "opendkim[7]: 4XyZ: s=key1 d=example.com SSL; dkim=pass spf=pass (mx.example.com) dmarc=pass",
    "https://mx.example.com:587/path?a@b and 2001:db8::1://",
    "kit send scanner --to ann@example.com --password-stdin",
    "Passwords: see the vault",
    "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits), (TLSv1.3/TLS_AES_256_GCM_SHA384), (mx/192.0.2.7)",
    "postfix/smtpd[12]: warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: VXNlcm5hbWU6",
    "334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UuZXhhbXBsZS5uZXQ+",
    "password mismatch for ann2, wrong password, the password is too old, pass the salt",
    "dovecot: auth: passwd-file(lena@example.test,198.51.100.20,<Q5H/8gVh47LGM2QU>): Password mismatch",
    "the scanner (SSL/TLS protocol filtering), (LOGIN/PLAIN)",
    "exchange-mailbox-auth: pass\tsession=00000000000000AA\tip=192.0.2.73",
    "SignIn",
    "authentication Authentication AUTHENTICATION mechanism unavailable SHA256 annotations",
    'password=""',
    "password:",
    "Ünïcödé İstanbul ſ K",
]


@pytest.mark.parametrize("line", ORDINARY)
def test_an_ordinary_line_is_left_alone(line):
    assert mask(line) == line


def test_every_kind_of_giveaway_has_its_example():
    from kit import redact

    for words, pattern in redact._GIVEAWAYS:
        hits = [line for line, _ in GIVEAWAYS for word in words if (at := line.lower().find(word)) >= 0 and pattern.match(line, at)]
        assert hits, pattern.pattern


def test_every_guess_has_its_example():
    for pattern in redact._GUESSES:
        assert any(pattern.search(line) for line, _ in GUESSES), pattern.pattern


@given(
    user=st.from_regex(r"[a-z]{1,12}(@example\.com)?", fullmatch=True),
    password=st.text(st.characters(max_codepoint=0x24F, exclude_categories=["C", "Z"]), min_size=4, max_size=24),
)
@pytest.mark.parametrize(
    "saying", ["sign-in refused: {}", "AUTH LOGIN failed, client said {}", "auth: <{}> is wrong", "auth: [{}]", '"auth":"{}"']
)
def test_base64_of_a_password_is_hidden_in_whatever_words(saying, user, password):
    assume(password.rstrip(":").lower() not in ("user", "username", "login", "password"))  # as servers ask, in base64 too
    for fields in (password, f"\0{user}\0{password}", f"user={user}\x01auth=Bearer {password}\x01\x01"):
        blob = base64.b64encode(fields.encode()).decode()
        assume(re.search("[a-z]", blob) and re.search("[A-Z0-9]", blob))
        assert blob not in mask(saying.format(blob))


# --- many lines ------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([line for line, _ in GIVEAWAYS] + ORDINARY), max_size=30))
def test_a_batch_of_lines_is_masked_as_its_lines_are(lines):
    one_by_one = [mask(line) for line in lines]
    assert mask("\n".join(lines)) == "\n".join(one_by_one)  # no pattern crosses a line
    assert mask_lines(lines) == one_by_one


def test_a_line_that_holds_a_line_end_does_not_shift_the_others():
    lines = ["one\ntwo", "password=hunter2", "\n", "three"]
    assert mask_lines(lines) == ["one\ntwo", f"password={MASKED}", "\n", "three"]
    assert mask_lines([]) == []


def test_no_pattern_reaches_over_the_end_of_a_line():
    for line in [
        "password:",
        "password =",
        '"password": "',
        "AUTH PLAIN",
        "Bearer ",
        "given password: x",
        "(pass: 'x",
        "resp=",
        "smtp://ann:",
    ]:
        assert mask(f"{line}\nabcDEF123456@x)')").endswith("\nabcDEF123456@x)')")


@given(st.text())
def test_any_text_at_all_can_be_masked_and_masking_twice_changes_nothing(text):
    once = mask(text, [Secret(text[:4])])
    assert mask(mask(text)) == mask(text)
    assert isinstance(once, str)


def test_broken_text_can_be_masked_too():
    broken = b"password=\xff\xfe hunter2 \xe4".decode("utf-8", "surrogateescape")
    assert mask(broken) == f"password={MASKED} hunter2 \udce4"
    assert mask_lines([broken]) == [mask(broken)]
    assert mask(f"x{broken}", [Secret(broken)]) == f"x{MASKED}"


# --- time ------------------------------------------------------------------------------------------------------

UNITS = [
    "given password: ",
    "(pass: '",
    "AUTH PLAIN ",
    "auth plain A",
    "Bearer ",
    "Bearer a",
    "basic a/",
    "://a:",
    "://",
    "password=",
    'password="\\',
    "password: '",
    "password\\\\\\",
    "passwd ::",
    "pwd",
    "token=secret=",
    "resp=",
    "CONT\t1\t",
    "#011",
    ",cmd: ",
    "decoded response",
    "pass ",
    "pass '",
    'pass "a" ',
    "pass \\\\\\",
    "pw: ",
    "password a",
    "password 1",
    "mot de passe",
    "(a/",
    "(a/b",
    "(a",
    "$6$",
    "$6$a",
    "{SSHA}",
    "{A1",
    "AUTH\t",
    "AUTH\ta",
    "pw mismatch: '",
    "aHVudGVy",
    "YW5u ",
    "bG9nZ2Vk/",
    "a",
    "A1",
    " ",
    "=",
    "\\",
    '"',
    ")",
]


def _seconds(text: str, known: list[Secret]) -> float:
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        mask(text, known)
        best = min(best, time.process_time() - start)
    return best


@pytest.mark.parametrize("unit", UNITS)
def test_time_grows_with_length_and_not_faster(unit):
    """100 kB of one unit repeated, against 10 kB: ten times the work is right, a hundred times would be quadratic."""
    known = [Secret("a" * 8), Secret('\\"' * 20)]
    small, large = (unit * (size // len(unit)) for size in (10_000, 100_000))
    assert _seconds(large, known) < 40 * _seconds(small, known) + 0.05


def test_time_on_mixed_units():
    chance = random.Random(4954)
    text = "".join(chance.choice(UNITS) for _ in range(20_000))[:100_000]
    assert _seconds(text, []) < 2


def test_words_fit_into_the_fast_search():
    assert len(redact._WORDS) <= 64
