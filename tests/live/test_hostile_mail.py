"""Servers that turn hostile once somebody is signed in, at each command of a mail: it is named, nothing hangs, and nobody counts as reached."""

from __future__ import annotations

import asyncio
import base64
import ssl
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

import kit
from kit.model import Outcome, Profile, Security
from kit.redact import Secret
from kit.sending import session
from kit.sending.message import build_test_message
from kit.sending.send import send
from tests.live.hostile_servers import BANNER, INSIDE, OFFER, Certificates, Peer, run

pytestmark = pytest.mark.needs("linux")

USER, PASSWORD, TIMEOUT = "anna@example.test", "zwoelfHasen", 1.0
LAST_WORD = 3  # time-outs for the answer to the content, where the kit has thirty
GOOD = {
    b"EHLO": INSIDE,
    b"AUTH": b"235 2.7.0 ok\r\n",
    b"DATA": b"354 go on\r\n",
    b".": b"250 2.0.0 Ok: queued as 4C0FFEE123\r\n",
    b"QUIT": b"221 2.0.0 bye\r\n",
}


def mixed(peer: Peer) -> None:
    peer.say(b"250-yes\r\n550 no\r\n")


def endless(peer: Peer) -> None:
    while True:
        peer.say(b"250-more\r\n" * 500)


def drip(peer: Peer) -> None:
    for byte in b"250-slowly\r\n" * 9:
        peer.say(bytes([byte]))
        if peer.stop.wait(0.3):
            return


def silent(peer: Peer) -> None:
    peer.hold()


def gone(peer: Peer) -> None:
    peer.reset()


def cut_off(peer: Peer) -> None:
    peer.say(b"250-yes\r\n25")
    peer.reset()


def garbage(peer: Peer) -> None:
    peer.say(b"\x00\x01\x02\xff\r\n")


def parrot(peer: Peer) -> None:
    blob = bytes(peer.told).rpartition(b"AUTH PLAIN ")[2].split()[0]
    peer.say(b"550 5.7.1 " + blob + b" \x1b[2J " + base64.b64decode(blob).rpartition(b"\0")[2] + b"\r\n")


def closing(peer: Peer) -> None:
    peer.say(b"421 4.3.2 shutting down\r\n")
    peer.reset()


def go_on(peer: Peer) -> None:
    peer.say(b"354 go on\r\n")


def yes_at_once(peer: Peer) -> None:
    """RFC 5321 section 4.3.2 gives DATA no other yes than 354."""
    peer.say(b"250 2.0.0 Ok: queued as NOTHING1\r\n")


# What the mail finds, and the check where it says the same commands to the account's own address.
FAULTS: dict[Callable[[Peer], None], str] = {
    mixed: "different codes",
    endless: "no end",
    drip: "not complete in time",
    silent: "stopped answering",
    gone: "closed the connection in the middle",
    cut_off: "closed the connection in the middle",
    garbage: "no reply that SMTP knows",
    parrot: "",  # what 550 says depends on the command
    closing: "closes the connection",
}
NO_GOODBYE = (silent, gone, garbage, closing)  # the others say 250 or 550 to QUIT
CASES = [(verb, fault) for verb in (b"MAIL", b"RCPT", b"DATA", b".", b"QUIT") for fault in FAULTS]
CASES += [(b"DATA", yes_at_once), (b".", go_on), (b"NOOP", garbage), (b"NOOP", closing), (b"NOOP", mixed)]
NAMES = [f"{verb.decode()}-{fault.__name__}" for verb, fault in CASES]


def turns_hostile(at: bytes, act: Callable[[Peer], None]) -> Callable[[Peer], None]:
    """Good until the command `at`."""

    def server(peer: Peer) -> None:
        def answer(verb: bytes) -> None:
            if verb == at:
                act(peer)
            else:
                peer.say((GOOD if isinstance(peer.sock, ssl.SSLSocket) else {b"EHLO": OFFER}).get(verb, b"250 2.0.0 ok\r\n"))

        peer.say(BANNER)
        while True:
            verb = peer.hear().split()[0].upper()
            if verb == b"STARTTLS":
                peer.say(b"220 go\r\n")
                peer.encrypt()
                continue
            answer(verb)
            if verb == b"DATA":
                while peer.hear() != b".\r\n":
                    pass
                answer(b".")

    return server


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Each server met by a check and by a mail, six at once."""
    certificates, gate, done = Certificates(tmp_path_factory.mktemp("certificates")), asyncio.Semaphore(6), {}

    async def one(name, running):
        profile = Profile(
            host="127.0.0.1", port=running.port, security=Security.STARTTLS, user=USER, timeout=TIMEOUT, ca_file=certificates.pki.ca_file
        )
        budget, message = tmp_path_factory.mktemp("budget") / "attempts", build_test_message(USER, ["ben@example.test", "cy@example.test"])
        async with gate:
            times = [time.monotonic()]
            checked = await kit.check(profile, Secret(PASSWORD), budget=budget)
            times.append(time.monotonic())
            mailed = await send(profile, message, Secret(PASSWORD), budget=budget)
            times.append(time.monotonic())
        done[name] = checked, mailed, max(times[1] - times[0], times[2] - times[1])

    async def everyone(stack):
        servers = [stack.enter_context(run(turns_hostile(*case), certificates)) for case in CASES]
        await asyncio.gather(*(one(name, running) for name, running in zip(NAMES, servers, strict=True)))

    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "LAST_WORD", LAST_WORD)
        asyncio.run(everyone(stack))
    return done


def titles(result) -> str:
    return " | ".join(finding.title for finding in result.findings if finding.severity in ("warning", "error"))


@pytest.mark.parametrize(("verb", "fault"), CASES, ids=NAMES)
def test_the_mail_names_it(results, verb, fault):
    _, mailed, _ = results[f"{verb.decode()}-{fault.__name__}"]
    if verb == b"NOOP" or (fault in NO_GOODBYE and verb == b"QUIT"):  # never said, or too late to matter
        assert mailed.accepted == ("ben@example.test", "cy@example.test")
        return
    assert mailed.accepted == ()
    assert mailed.queue_id is None
    assert not mailed.ok
    # The whole content was there, and no answer came, or one for it where that to QUIT had to be: it may have been taken.
    if verb == b"QUIT" or (verb == b"." and fault not in (parrot, closing)):
        assert "perhaps the server took it" in titles(mailed)
    else:
        assert FAULTS.get(fault, "none that SMTP foresees") in titles(mailed)
        assert "perhaps" not in titles(mailed)


@pytest.mark.parametrize(("verb", "fault"), [case for case in CASES if case[0] in (b"NOOP", b"MAIL", b"RCPT")])
def test_the_check_names_it_where_it_says_the_same(results, verb, fault):
    checked, _, _ = results[f"{verb.decode()}-{fault.__name__}"]
    assert checked.attempt.outcome is Outcome.SUCCESS
    assert FAULTS[fault] in titles(checked)


@pytest.mark.parametrize("name", NAMES)
def test_it_ends_in_time_and_says_neither_password_nor_control_byte(results, name):
    *both, seconds = results[name]
    longest = LAST_WORD if name.startswith(".") else 1
    assert seconds < (longest + 1) * TIMEOUT + 1 + 2  # one step, the goodbye, hanging up; and what a busy machine takes
    for result in both:
        texts = [text for finding in result.findings for text in (finding.title, *finding.evidence)]
        texts += [text for step in result.steps for text in (step.detail, step.reply and step.reply.text) if text]
        assert not any("Hasen" in text or base64.b64encode(PASSWORD.encode()).decode()[4:-4] in text for text in texts)
        assert all(text.isprintable() for text in texts)
