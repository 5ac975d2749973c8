"""The sandbox's side of the mechanisms: by the specifications' vectors where they fit, and with whatever else may come."""

from __future__ import annotations

import base64
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.redact import Secret
from kit.sandbox.server import open_sandbox
from kit.sandbox.signin import MECHANISMS, Account
from tests.sandbox.raw_client import b64, greeted

TOKEN = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
GS2 = "n,a=user@example.com,\1host=server.example.com\1port=587\1auth=Bearer " + TOKEN + "\1\1"  # RFC 7628 section 4.1
XOAUTH2 = "user=user@example.com\1auth=Bearer " + TOKEN + "\1\1"  # as Google and Microsoft write it


def claim(mechanism, *responses, user="user@example.com", password=TOKEN):
    """What the mechanism makes of these responses: a claim, or the error that they are; None where it asks for more."""
    talk = MECHANISMS[mechanism](Account(user=user, password=Secret(password)))
    try:
        next(talk)
        for response in responses:
            talk.send(response if isinstance(response, bytes) else response.encode())
    except StopIteration as stop:
        return stop.value
    except ValueError as fault:
        return fault
    return None


@pytest.mark.parametrize(("mechanism", "message"), [("OAUTHBEARER", GS2), ("XOAUTH2", XOAUTH2)])
def test_a_token_is_judged_with_its_user(mechanism, message):
    assert claim(mechanism, message).right
    assert not claim(mechanism, message, password="another").right
    assert not claim(mechanism, message, user="other@example.com").right
    assert "status" in json.loads(claim(mechanism, message, password="another").complaint)


def test_a_gs2_header_may_leave_the_user_to_the_token():  # RFC 7628 section 3.1: the identity is optional
    found = claim("OAUTHBEARER", GS2.replace("a=user@example.com", ""))
    assert (found.user, found.right) == ("user@example.com", True)
    assert claim("OAUTHBEARER", "n,a=a=2Cb=3Dc,\1auth=bearer " + TOKEN + "\1\1", user="a,b=c").right  # escapes; RFC 6750: any case


@pytest.mark.parametrize(
    ("mechanism", "message"),
    [
        ("OAUTHBEARER", "p=tls-unique,a=x,\1auth=Bearer t\1\1"),  # it binds to no channel
        ("OAUTHBEARER", "auth=Bearer t\1\1"),
        ("OAUTHBEARER", "n,a=x,\1auth=Basic t\1\1"),
        ("OAUTHBEARER", "n,a=x,\1auth=Bearer \1\1"),
        ("XOAUTH2", "user=\1auth=Bearer t\1\1"),
        ("XOAUTH2", "user=x\1\1"),
        ("XOAUTH2", "x"),
        ("CRAM-MD5", "nospace"),
        ("CRAM-MD5", " b913a602c7eda7a495b4e6e7334d3890"),
        ("SCRAM-SHA-256", "n,,n=user"),
        ("SCRAM-SHA-256", "p=tls-unique,,n=user,r=abc"),
        ("SCRAM-SHA-1", "hello"),
    ],
)
def test_what_makes_no_sense_is_an_error(mechanism, message):
    assert isinstance(claim(mechanism, message, user="x", password="t"), ValueError)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@given(responses=st.lists(st.binary(max_size=200), min_size=3, max_size=3))
def test_whatever_comes_ends_in_an_error_or_a_no(mechanism, responses):
    end = claim(mechanism, *responses, user="user", password="pencil")
    assert end is not None
    assert isinstance(end, ValueError) or not end.right


@pytest.mark.parametrize(("user", "right"), [("anna", True), ("ben", False)])
def test_the_right_digest_is_good_for_its_user_only(user, right):
    talk = MECHANISMS["CRAM-MD5"](Account(user="anna", password=Secret("tanstaaftanstaaf")))
    digest = hmac.new(b"tanstaaftanstaaf", next(talk), "md5").hexdigest()
    with pytest.raises(StopIteration) as stop:
        talk.send(f"{user} {digest}".encode())
    assert stop.value.value.right is right


@pytest.mark.parametrize("acting_as", ["", "anna", "boss"])
def test_external_believes_nobody_without_a_certificate(acting_as):  # RFC 4422 appendix A
    assert not claim("EXTERNAL", acting_as, user="anna").right


async def test_every_challenge_is_new():
    async with open_sandbox("every-mechanism") as sandbox, greeted(sandbox) as raw:
        challenges = set()
        for _ in range(3):
            challenge = base64.b64decode((await raw.say(b"AUTH CRAM-MD5"))[4:])
            assert challenge.startswith(b"<")  # RFC 2195 section 2: the form of a message id
            challenges.add(challenge)
            digest = hmac.new(sandbox.password.reveal().encode(), b"<another@localhost>", "md5").hexdigest()
            assert (await raw.say(b64(f"{sandbox.user} {digest}")))[:3] == "535"
        assert len(challenges) == 3


@pytest.mark.parametrize(("mechanism", "last"), [(b"XOAUTH2", b""), (b"OAUTHBEARER", b"AQ=="), (b"XOAUTH2", b"*")])
async def test_a_refused_token_is_explained_and_counted_once(mechanism, last):
    message = (GS2 if mechanism == b"OAUTHBEARER" else XOAUTH2).replace(TOKEN, "wrong-token")
    async with open_sandbox("every-mechanism") as sandbox, greeted(sandbox) as raw:
        complaint = await raw.say(b"AUTH " + mechanism + b" " + b64(message))
        assert json.loads(base64.b64decode(complaint.removeprefix("334 ")))["schemes"].lower() == "bearer"
        assert (await raw.say(last))[:3] == "535"
        assert [(each.outcome, each.cause) for each in sandbox.attempts] == [("failure", "credentials")]
        assert "wrong-token" not in " ".join(str(said) for said in sandbox.transcript)


async def test_who_does_not_know_the_password_gets_no_proof_that_the_sandbox_does():
    async with open_sandbox("every-mechanism") as sandbox, greeted(sandbox) as raw:
        for user in (sandbox.user, "nobody@example.test"):  # nor learns who is known
            first = await raw.say(b"AUTH SCRAM-SHA-256 " + b64(f"n,,n={user},r=abc"))
            nonce = base64.b64decode(first[4:]).split(b",")[0]
            final = b"c=biws," + nonce + b",p=" + base64.b64encode(bytes(32))
            assert (await raw.say(b64(final)))[:3] == "535"
        assert [(each.outcome, each.cause, each.user) for each in sandbox.attempts] == [
            ("failure", "credentials", sandbox.user),
            ("failure", "credentials", "nobody@example.test"),
        ]
