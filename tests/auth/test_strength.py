"""A user and a secret are judged by their shape and strength, and nothing that is said holds the secret."""

from __future__ import annotations

import base64
import json
import time
from datetime import date

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from kit.auth.strength import LIMIT, check_credential
from kit.knowledge.load import load_table
from kit.model import Cause, Profile, Security, Severity, to_plain
from kit.redact import Secret

TABLE = load_table("credentials")
RULES = TABLE["rule"]
FINDINGS = load_table("findings")
GOOD = "pelican-Tango4-vermilion-quartz"  # three words of a dictionary's rarer half, a name and a digit: nobody's first guess


def judge(user, secret, *, host=None, mechanism=None):
    return check_credential(Profile(host=host or "", port=587, security=Security.STARTTLS, user=user, mechanism=mechanism), secret)


def titles(user, secret, **more):
    return [finding.title for finding in judge(user, Secret(secret), **more)]


def title(name):
    return FINDINGS[name]["title"]


def at_rule(rule, text):
    user, secret = (text, GOOD) if rule.get("of") == "user" else ("ann@example.com", text)
    mechanism = {"token": "XOAUTH2", "password": "PLAIN", None: None}[rule.get("sign_in")]
    return titles(user, secret, host=rule.get("hosts", ["mail.example.test"])[0], mechanism=mechanism)


# --- the table -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r["finding"])
def test_rule_is_whole(rule):
    required = {"finding", "source", "checked", "examples"}
    assert required <= set(rule) <= required | {"of", "pattern", "decoded", "hosts", "sign_in", "names", "final", "others"}
    assert rule["finding"] in FINDINGS
    assert isinstance(rule["checked"], date)
    assert rule["source"]
    assert rule["examples"]
    assert "pattern" in rule or "decoded" in rule
    assert rule.get("sign_in") in (None, "token", "password")


@pytest.mark.parametrize(("rule", "text"), [pytest.param(r, x, id=r["finding"]) for r in RULES for x in r["examples"]])
def test_example_is_found(rule, text):
    assert title(rule["finding"]) in at_rule(rule, text)


@pytest.mark.parametrize(("rule", "text"), [pytest.param(r, x, id=r["finding"]) for r in RULES for x in r.get("others", ())])
def test_near_miss_is_not(rule, text):
    assert title(rule["finding"]) not in at_rule(rule, text)


@pytest.mark.parametrize("rule", [r for r in RULES if "hosts" in r], ids=lambda r: r["finding"])
def test_what_one_service_wants_no_other_wants(rule):
    user, secret = (rule["examples"][0], GOOD) if rule.get("of") == "user" else ("ann@example.com", rule["examples"][0])
    assert title(rule["finding"]) not in titles(user, secret, host=f"{rule['hosts'][0]}.example.test")


@pytest.mark.parametrize("entry", TABLE["default_login"], ids=lambda e: e["vendor"])
def test_a_factory_default_is_found_with_its_user_in_any_case(entry):
    for user, password in entry["logins"]:
        assert titles(user.title() or "scanner@example.com", password.title()) == [title("default-login")]


def test_but_not_with_another_user():
    assert title("default-login") not in titles("scanner@example.com", "1111")  # Xerox: with admin only


# --- the parts together ----------------------------------------------------------------------------------------------


def test_a_good_password_has_no_finding():
    assert judge("ann@example.com", Secret(GOOD), host="mail.example.test", mechanism="PLAIN") == ()


def test_no_secret_has_none_either():
    assert judge("ann@example.com", Secret("")) == ()


@pytest.mark.parametrize(
    "secret",
    ["ann", "ANN", "ann1", "Ann2026!", "#ann#1", "ann@example.com", "Example2026", "1example", "tester!"],
)
def test_the_name_of_user_domain_or_server_is_no_password(secret):
    assert titles("ann@example.com", secret, host="mail.tester.test") == [title("guessable-password")]


@pytest.mark.parametrize("secret", ["qwertzuiop", "Summer2026!", "P4ssw0rd!", "aaaaaaaaaaaaaaaaaaaaaaaaaaaa", "letmein", "19840101"])
def test_what_is_guessed_first_is_weak(secret):
    assert titles("ann@example.com", secret) == [title("weak-password")]


def test_names_within_a_password_add_nothing_to_it():
    # One and the same password, for the one whose names it is made of and for somebody else.
    assert titles("zbigniew.kowalczyk@example.com", "kowalczykzbigniew") == [title("weak-password")]
    assert titles("ann@example.com", "kowalczykzbigniew") == []


def test_the_provider_is_known_by_host_or_by_address():
    wanted = title("google-app-password")
    assert wanted in titles("ann@example.com", GOOD, host="smtp.gmail.com")
    assert wanted in titles("ann@gmail.com", GOOD)
    assert wanted not in titles("ann@gmail.com", GOOD, host="mail.example.test")  # the host at hand has the last word


def test_an_app_password_needs_no_change():
    assert titles("ann@gmail.com", "wdkqmzxhvbrtlnpc") == []


def test_every_fault_of_a_copy_is_told():
    got = titles("ann@gmail.com", "wdkq\u00a0mzxh\u00a0vbrt\u00a0lnpc\n")
    assert got == [title("password-line-end"), title("password-invisible"), title("google-spaces")]


def test_an_invisible_character_is_named_and_nothing_beside_it():
    (finding,) = judge("ann@example.com", Secret(f"{GOOD}\u200b"))
    assert finding.evidence == ("U+200B ZERO WIDTH SPACE",)


def test_a_token_is_not_judged_as_a_password():
    token = "ya29.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    assert titles("ann@gmail.com", token, mechanism="xoauth2") == []
    assert title("token-as-password") in titles("ann@gmail.com", token, mechanism="PLAIN")


def test_the_users_name_in_base64_is_known_as_such():
    assert titles("ann@example.com", base64.b64encode(b"ann@example.com").decode()) == [title("password-is-user")]


def test_where_there_is_no_password_its_strength_is_not_judged():
    assert titles("ann@example.com", "********") == [title("password-masked")]


# --- laws ------------------------------------------------------------------------------------------------------------

USERS = st.sampled_from(["ann@example.com", "ann@gmail.com", "admin", "apikey", "", "ann\u200b"])
HOSTS = st.sampled_from([None, "smtp.gmail.com", "smtp.office365.com", "email-smtp.eu-west-1.amazonaws.com", "smtp.sendgrid.net"])
MECHANISMS = st.sampled_from([None, "PLAIN", "XOAUTH2"])
SHAPED = st.one_of(
    st.text(min_size=4, max_size=60),
    *(
        st.from_regex(rule["pattern"])
        for rule in RULES
        if rule["finding"] in ("ses-secret-key", "microsoft-client-secret", "brevo-api-key")
    ),
    st.binary(min_size=4, max_size=30).map(lambda raw: base64.b64encode(raw).decode()),
    st.text(min_size=3, max_size=20).map(lambda text: base64.b64encode(f"\0ann\0{text}".encode("utf-8", "replace")).decode()),
)


@settings(max_examples=300, deadline=None)
@given(user=USERS, secret=SHAPED, host=HOSTS, mechanism=MECHANISMS)
@example(user="ann@example.com", secret="a\ud800b\udfff" * 3, host=None, mechanism=None)
@example(user="ann@example.com", secret="x" * 10_000, host="smtp.gmail.com", mechanism="PLAIN")
def test_nothing_that_is_said_holds_the_secret(user, secret, host, mechanism):
    held = Secret(secret)
    findings = judge(user, held, host=host, mechanism=mechanism)
    said = repr(findings) + json.dumps(to_plain(findings)) + json.dumps(to_plain(findings), ensure_ascii=False)
    # What the texts themselves say is no secret: it was there before.
    before = repr(FINDINGS) + repr(TABLE) + (host or "")
    assume(secret not in before and secret.strip() not in before)
    assert secret not in said
    raw = secret.encode("utf-8", "replace")
    assert base64.b64encode(raw).decode().rstrip("=") not in said
    assert repr(held) not in said


@given(user=USERS, secret=SHAPED, host=HOSTS, mechanism=MECHANISMS)
def test_and_no_finding_is_an_error_that_keeps_the_user_from_trying(user, secret, host, mechanism):
    # A shape is a guess: it warns, and the server has the last word.
    for finding in judge(user, Secret(secret), host=host, mechanism=mechanism):
        assert finding.severity in (Severity.NOTE, Severity.WARNING)
        assert finding.cause in (Cause.CREDENTIALS, Cause.APP_PASSWORD_NEEDED, Cause.TOKEN_REJECTED)


@pytest.mark.parametrize("rule", [None, *RULES], ids=lambda r: r["finding"] if r else "any")
def test_a_long_secret_is_judged_at_once(rule):
    host = rule.get("hosts", [None])[0] if rule else None
    begin = time.process_time()
    for piece in ("a", "4@8({[<369&#!1/|0$5+7%2", " ", "eyJa.", "abcd ", "Aa1~", "user=\x01", "AGFu", "$", "xX"):
        judge("ann" * 3000, Secret((piece * LIMIT * 10)[: LIMIT * 10]), host=host, mechanism="XOAUTH2")
        judge("ann" * 3000, Secret(piece * LIMIT), host=host, mechanism="PLAIN")
    assert time.process_time() - begin < 4  # 20 of them; 1 s where the machine is idle
