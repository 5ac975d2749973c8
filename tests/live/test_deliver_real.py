"""Mail at a real Postfix with Dovecot, Exim and OpenSMTPD: what arrives, whom they refuse, what is tried again, how often they are waited for.

The judges are the mailboxes, the servers' own logs, and a relay that counts.
"""

from __future__ import annotations

import contextlib
import re
import socketserver
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest

import kit
from kit.model import Cause, Profile, Security, Severity
from kit.redact import Secret
from kit.sending.entries import Series, State
from kit.sending.journal import Journal
from kit.sending.mail import Mail, mail
from kit.sending.message import build_test_message
from kit.sending.pace import Limit, Pace
from kit.sending.samples import build, samples
from kit.sending.series import send_series
from tests.servers.exim import exim
from tests.servers.opensmtpd import opensmtpd
from tests.servers.postfix_dovecot import USERS, postfix_with_dovecot
from tests.servers.relay import relay

ALICE, POLICY, NOBODY, GREY = (f"{name}@example.test" for name in ("alice", "policy", "nobody", "alice+grey"))
JUERGEN = "jürgen@example.test"
LATER = "450 4.2.0 Greylisted, try again in 2 seconds"
NEVER = "554 5.7.1 Not from you"


class Judge(socketserver.ThreadingTCPServer):
    """A policy service for Postfix: what it is asked about which recipient, and when; and what it answers: the last for ever."""

    daemon_threads = True

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], list[str]] = {}
        self.asked: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        super().__init__(("127.0.0.1", 0), _Question)


class _Question(socketserver.StreamRequestHandler):
    server: Judge

    def handle(self) -> None:
        said: dict[str, str] = {}
        for line in self.rfile:
            name, _, value = line.decode().strip().partition("=")
            said[name] = value
            if not name:
                about = said["protocol_state"], said["recipient"]
                self.server.asked[about].append(time.monotonic())
                answers = self.server.answers.get(about, ["DUNNO"])
                self.wfile.write(f"action={answers.pop(0) if len(answers) > 1 else answers[0]}\n\n".encode())


@dataclass(kw_only=True)
class Place:
    """A server.

    Attributes:
        ports: by security.
        box: what has been delivered to alice and jürgen.
    """

    name: str
    profile: Profile
    secret: Secret
    ports: dict[Security, int]
    box: Callable[[], list[bytes]]
    log: Callable[[], str]
    server: object

    def copies(self, ids: list[str]) -> list[bytes]:
        """Those of the messages, once there are so many."""
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            found = [copy for copy in self.box() if any(one.encode() in copy for one in ids)]
            if len(found) >= len(ids):
                break
            time.sleep(0.05)
        return found

    def wait_for(self, pattern: str, start: int, count: int) -> list[str]:
        """What the log has of the pattern, once it is there so often."""
        deadline = time.monotonic() + 10
        while len(found := re.findall(pattern, self.log()[start:])) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        return found


@contextlib.contextmanager
def served() -> Iterator[Judge]:
    with Judge() as judge:
        thread = threading.Thread(target=judge.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield judge
        finally:
            judge.shutdown()
            thread.join()


@contextlib.contextmanager
def postfix() -> Iterator[tuple[Place, Judge]]:
    with served() as judge:
        asks = f"check_policy_service inet:127.0.0.1:{judge.server_address[1]}"
        lines = [f"smtpd_{stage}_restrictions = {asks}" for stage in ("recipient", "data", "end_of_data")]
        lines.append("smtpd_discard_ehlo_keyword_address_maps = inline:{{127.0.0.2 = pipelining}}")
        with postfix_with_dovecot(USERS | {"jürgen": "good-jürgen"}, settings="\n".join(lines)) as servers:
            ports = {
                Security.TLS: servers.submissions_port,
                Security.STARTTLS: servers.submission_port,
                Security.NONE: servers.smtp_port,
            }
            profile = Profile(host="localhost", port=ports[Security.TLS], security=Security.TLS, user=ALICE, ca_file=servers.ca_file)
            yield (
                Place(
                    name="Postfix",
                    profile=profile,
                    secret=Secret(servers.users[ALICE]),
                    ports=ports,
                    box=lambda: servers.mailbox(ALICE) + servers.mailbox(JUERGEN),
                    log=servers.log,
                    server=servers,
                ),
                judge,
            )


@contextlib.contextmanager
def other(name: str) -> Iterator[Place]:
    with exim() if name == "Exim" else opensmtpd() as server:
        plain = server.port if name == "Exim" else server.plain_port
        ports = {Security.TLS: server.tls_port, Security.STARTTLS: server.port, Security.NONE: plain}
        yield Place(
            name=name,
            profile=Profile(host="localhost", port=server.tls_port, security=Security.TLS, user="alice", ca_file=server.ca_file),
            secret=Secret("good-alice"),
            ports=ports,
            box=lambda: [path.read_bytes() for path in server.mailbox.glob("*")],
            log=server.log_file.read_text,
            server=server,
        )


@pytest.fixture(scope="module")
def at_postfix():
    with postfix() as both:
        both[1].answers[("RCPT", POLICY)] = [NEVER]
        yield both


NEEDS_POSTFIX = pytest.mark.needs("postfix", "dovecot", "syslog")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("Postfix", marks=NEEDS_POSTFIX),
        pytest.param("Exim", marks=pytest.mark.needs("exim")),
        pytest.param("OpenSMTPD", marks=pytest.mark.needs("opensmtpd")),
    ],
)
def place(request):
    if request.param == "Postfix":
        yield request.getfixturevalue("at_postfix")[0]
    else:
        with other(request.param) as it:
            yield it


@pytest.fixture
def series(tmp_path):
    """Sends messages as a series."""

    async def go(place: Place, *mails: Mail, **more):
        what = Series(target="t", account="a", messages=len(mails), sender=ALICE, recipients=())
        pace = Pace("a", [Limit(most=1000, window="minute", seconds=60.0, source="a test")], path=tmp_path / "book")
        with Journal.start(what, now=datetime.now(UTC), folder=tmp_path / "series") as journal:
            return await send_series(
                place.profile,
                lambda number: mails[number - 1],
                place.secret,
                pace=pace,
                journal=journal,
                budget=tmp_path / "book",
                **more,
            )

    return go


# --- what arrives ------------------------------------------------------------------------------------------------

X998 = b"x" * 998  # RFC 5322 section 2.1.1: as long as a line may be
BODIES = {
    "dots": b".\r\n..\r\n...\r\n.a dot and words\r\n. \r\n \r\n.\r\n",
    "one dot": b".\r\n",
    "one dot, no line end": b".",
    "long lines": b"\r\n".join([X998, b"." + X998[1:], X998, b"." * 998]),
    "empty": b"",
    "empty lines": b"\r\n" * 5,
    "no line end": b"the last line has no end",
    "white space": b"\t \r\n  before and after  \r\nend \t",
    "what a mailbox or a shell may take for its own": b"From me\r\n>From you\r\n.QUIT\r\nRSET\r\n~q\r\n+OK\r\n",
    "control characters": b"\x01\x02\x07\x08\x0b\x0c\x1a\x1b[31m\x7f\r\n\x04\r\n",
    "eight bits": "Grüße, привет\r\n".encode() + bytes(range(128, 256)),
}
HEAD = b"From: alice@example.test\r\nTo: alice@example.test\r\nDate: Tue, 24 Nov 2026 18:46:56 +0000\r\n"


def by_hand(name: str, body: bytes, number: int, more: bytes = b"") -> Mail:
    subject = f"Subject: {name}\r\nMessage-ID: <{number}.by.hand@example.test>\r\n".encode()
    return mail(HEAD + subject + more + b"\r\n" + body)


def hard_ones() -> dict[str, Mail]:
    found = {name: by_hand(name, body, number) for number, (name, body) in enumerate(BODIES.items())}
    folded = b"X-Folded: a\r\n b\r\n\t\tc \t\r\nX-Long: " + b"y" * 990 + b"\r\nX-Empty:\r\nx-CASE:no space\r\n"
    found["odd header fields"] = by_hand("Grüße".encode().hex(), b"text\r\n", 100, folded)
    found["names and groups"] = mail(
        b'From: "Alice, of \\"Example\\"" <alice@example.test>\r\nTo: Team: alice@example.test , "A. B." <alice@example.test>;\r\n'
        b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nDate: Tue, 24 Nov 2026 18:46:56 +0000\r\nMessage-ID: <101.by.hand@example.test>\r\n\r\nx\r\n"
    )
    return found | {sample.kind: build(sample.kind, ALICE, [ALICE], size=2_000_000) for sample in samples()}


IN_FRONT = re.compile(rb"(?:(?:Return-Path|Received|Delivered-To|X-Original-To): ?[^\n]*\n(?:[ \t][^\n]*\n)*)+")


async def test_every_message_arrives_octet_for_octet(place, series):
    mails = hard_ones()
    steps = []
    result = await series(place, *mails.values(), on_step=steps.append)
    assert result.connections == 1
    offered = {line.split()[0] for line in next(step.reply for step in steps if step.name == "ehlo").lines}
    lacking = {name for name, one in mails.items() if one.needs - offered}
    assert lacking == ({"smtputf8"} if place.name == "OpenSMTPD" else set())  # it knows 8BITMIME, but no SMTPUTF8
    states = dict(zip(mails, (entry.state for entry in result.entries), strict=True))
    assert states == {name: State.REFUSED if name in lacking else State.ACCEPTED for name in mails}
    copies = place.copies([one.message_id for name, one in mails.items() if name not in lacking])
    for name, one in mails.items():
        found = [copy for copy in copies if one.message_id.encode() in copy]
        if name in lacking:
            assert not found
            continue
        (copy,) = found
        check_copy(copy, one)


def check_copy(copy: bytes, one: Mail) -> None:
    content = one.content.replace(b"\r\n", b"\n")  # a maildir has LF for CRLF
    assert copy.endswith(content), (copy[:3000], content[:3000])
    assert IN_FRONT.fullmatch(copy[: -len(content)])


async def test_addresses_in_all_letters_are_used_where_the_server_can_and_else_kept_from_it(place, tmp_path):
    one = mail(build_test_message(JUERGEN, [JUERGEN]))
    result = await kit.send(place.profile, one, place.secret, budget=tmp_path / "budget")
    if place.name == "OpenSMTPD":
        assert (result.accepted, result.ok) == ((), False)
        assert "mail" not in [step.name for step in result.steps]
    else:
        assert result.accepted == (JUERGEN,), result.findings
        check_copy(*place.copies([one.message_id]), one)


# --- who is refused, and what is tried again ---------------------------------------------------------------------


async def test_each_recipient_has_an_answer_of_its_own(place, tmp_path):
    message = mail(build_test_message(ALICE, [NOBODY, ALICE, POLICY]))
    result = await kit.send(place.profile, message, place.secret, budget=tmp_path / "budget")
    assert (result.accepted, result.rejected) == ((ALICE,), (NOBODY, POLICY))
    unknown, unwanted = (one for one in result.findings if one.severity is Severity.ERROR)
    assert unknown.cause is Cause.RECIPIENT
    assert unknown.title != unwanted.title
    assert unknown.evidence[0].startswith(f"{NOBODY}: 550 ")
    assert re.match(rf"{POLICY}: 55[04] 5\.7\.1 .*Not from you$", unwanted.evidence[0])
    assert len(place.copies([message.message_id])) == 1


REFUSED = {  # how their logs say that a recipient was
    "Postfix": r"reject: RCPT from .* 554 5\.7\.1 <policy@",
    "Exim": r"rejected RCPT <policy@",
    "OpenSMTPD": r'(?i)command="rcpt TO:<policy@',
}


async def test_a_no_is_never_asked_again(place, series):
    start = len(place.log())
    mails = [mail(build_test_message(ALICE, [to])) for to in (POLICY, ALICE, POLICY, ALICE)]
    result = await series(place, *mails)
    assert [entry.state for entry in result.entries] == [State.REFUSED, State.ACCEPTED] * 2
    assert [entry.tries for entry in result.entries] == [0] * 4
    assert len(place.copies([one.message_id for one in mails[1::2]])) == 2
    assert len(place.wait_for(REFUSED[place.name], start, 2)) == 2  # one for each message


STAGES = {"RCPT": "bob", "DATA": "carol", "END-OF-MESSAGE": "dave"}


@NEEDS_POSTFIX
@pytest.mark.parametrize(
    ("answers", "state", "asked"),
    [([LATER, "DUNNO"], State.ACCEPTED, 2), ([LATER], State.REFUSED, 2), (["550 5.7.1 No"], State.REFUSED, 1)],
    ids=["later, then yes", "later for ever", "no"],
)
async def test_postfix_is_asked_once_more_after_its_wait_and_never_after_a_no(at_postfix, series, answers, state, asked):
    place, judge = at_postfix
    judge.asked.clear()
    start = len(place.log())
    about = {stage: (stage, f"{name}@example.test") for stage, name in STAGES.items()}
    judge.answers |= {one: list(answers) for one in about.values()}
    mails = [mail(build_test_message(ALICE, [to])) for _, to in about.values()]
    began = time.monotonic()
    result = await series(place, *mails)
    assert time.monotonic() - began < 15  # it waited for what the server named, not for the kit's own five minutes
    assert [entry.state for entry in result.entries] == [state] * 3
    for stage, one in about.items():
        times = judge.asked[one]
        assert len(times) == asked, stage
        assert all(later - earlier >= 2 for earlier, later in pairwise(times)), stage
        refusals = asked if state is State.REFUSED else asked - 1
        assert len(place.wait_for(rf"reject: {stage} from .* to=<{one[1]}>", start, refusals)) == refusals
        delivered = rf"to=<{one[1]}>, relay=virtual, .* status=sent"
        assert len(place.wait_for(delivered, start, 1 if state is State.ACCEPTED else 0)) == (state is State.ACCEPTED)


PUT_OFF = {"Exim": r"temporarily rejected RCPT <(\S+)>", "OpenSMTPD": r'command="RCPT TO:<(\S+)>" result="450 '}  # in their logs


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.needs(name.lower())) for name in PUT_OFF])
async def test_the_others_are_asked_once_more_after_their_wait(series, name):
    asked = []
    with other(name) as place:

        def watch(step):
            if step.name == "rcpt":
                asked.append(time.monotonic())
                if len(asked) == 1:
                    place.server.stop_greylisting()

        one = mail(build_test_message(ALICE, [GREY]))
        result = await series(place, one, on_step=watch)
        assert [(entry.state, entry.tries) for entry in result.entries] == [(State.ACCEPTED, 1)]
        assert len(place.copies([one.message_id])) == 1
        assert re.findall(PUT_OFF[name], place.log()) == [GREY]
    assert len(asked) == 2
    assert 2 <= asked[1] - asked[0] < 10  # what the server named, not the kit's own five minutes


# --- how often they are waited for -------------------------------------------------------------------------------


def least(security: Security, *, signs_in: bool, pipelining: bool) -> int:
    """Round trips of one message to one recipient: the banner and each command that needs an answer before the next may go."""
    trips = 2  # banner, EHLO (RFC 5321 sections 3.1 and 3.2)
    if security is Security.STARTTLS:
        trips += 2  # STARTTLS, and EHLO anew (RFC 3207 section 4.2)
    if signs_in:
        trips += 1  # AUTH PLAIN with its initial response (RFC 4954 section 4)
    # RFC 2920 section 3.1: DATA ends the first group, the final dot may begin the next, and QUIT ends that.
    return trips + (2 if pipelining else len(["MAIL", "RCPT", "DATA", "content", "QUIT"]))


@pytest.mark.parametrize("security", list(Security))
@pytest.mark.parametrize("pipelining", [True, False])
async def test_a_mail_takes_no_round_trip_more_than_it_must(place, tmp_path, round_trips, security, pipelining):
    signs_in = security is not Security.NONE
    # Postfix and Exim keep PIPELINING from 127.0.0.2; OpenSMTPD has none, and takes mail from there without a sign-in.
    source = "127.0.0.1" if pipelining else "127.0.0.2"
    if place.name == "OpenSMTPD":
        source, pipelining = "127.0.0.2", False
    async with relay(place.ports[security], security, tmp_path, source=source) as between:
        profile = replace(place.profile, port=between.port, security=security, mechanism="PLAIN", ca_file=between.ca_file)
        message = mail(build_test_message(ALICE, [ALICE]))
        result = await kit.send(profile, message, place.secret if signs_in else None, budget=tmp_path / "budget")
    assert result.accepted == (ALICE,), result.findings
    offered = next(step.reply.lines for step in reversed(result.steps) if step.name == "ehlo")
    assert ("PIPELINING" in offered) is pipelining
    expected = least(security, signs_in=signs_in, pipelining=pipelining)
    round_trips(place.name, security, "PIPELINING" if pipelining else "", counted=between.round_trips, least=expected)
    assert between.round_trips == result.round_trips == expected
