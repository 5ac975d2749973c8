"""`send` against a server that says what the test tells it to: what it asks, in which order, and what comes of each answer."""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from kit.errors import BudgetSpent, InvalidMessage, PasswordInClear, UsageError
from kit.model import Cause, Outcome, Profile, Security, SendResult, Severity
from kit.redact import Secret
from kit.sending.deliver import queue_id
from kit.sending.mail import mail
from kit.sending.message import build_test_message
from kit.sending.reply import parse_reply
from kit.sending.send import send
from kit.sending.session import Break, Broken
from kit.sending.story import went_out
from kit.sending.transport import Streams
from tests.live.check_servers import Pki, make_pki

HANGUP = None
Answer = str | None


class Script:
    """A server whose answers stand in a table by command; what it heard is kept. None hangs up."""

    def __init__(self, answers: dict[str, Answer], tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls  # what STARTTLS brings up
        self.answers = {
            "banner": "220 mail.example.com ESMTP Postfix",
            "EHLO": "250-mail.example.com\r\n250-SIZE 10240000\r\n250 AUTH PLAIN LOGIN",
            "EHLO inside TLS": "250-mail.example.com\r\n250-SIZE 10240000\r\n250 AUTH PLAIN LOGIN",
            "AUTH": "235 2.7.0 Authentication successful",
            "MAIL": "250 2.1.0 Ok",
            "RCPT": "250 2.1.5 Ok",
            "DATA": "354 End data with <CR><LF>.<CR><LF>",
            ".": "250 2.0.0 Ok: queued as 4C0FFEE123",
            "RSET": "250 2.0.0 Ok",
            "QUIT": "221 2.0.0 Bye",
        } | answers
        self.heard: list[str] = []
        self.content = b""
        self.connections = 0
        self.port = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            if not await self._say("banner", writer):
                return
            while line := await reader.readline():
                command = line.decode().strip()
                self.heard.append(command)
                word = command.partition(" ")[0].upper()
                key = next((key for key in self.answers if command.startswith(key) and " " in key), word)
                if not await self._say(key, writer) or word == "QUIT":
                    return
                if word == "STARTTLS" and self.tls:
                    await writer.start_tls(self.tls)
                    self.answers["EHLO"] = self.answers["EHLO inside TLS"]
                if word == "DATA" and (self.answers["DATA"] or "").startswith("354"):
                    if self.answers.get("content", "") is HANGUP:
                        await reader.read(10)
                        return
                    self.content = await self._content(reader)
                    if not await self._say(".", writer):
                        return
        finally:
            writer.close()

    async def _content(self, reader: asyncio.StreamReader) -> bytes:
        content = await reader.readline()
        return content if content == b".\r\n" else content + await reader.readuntil(b"\r\n.\r\n")

    async def _say(self, key: str, writer: asyncio.StreamWriter) -> bool:
        answer = self.answers.get(key, "502 5.5.2 Error: command not recognized")
        if answer is not HANGUP:
            writer.write(answer.encode("latin-1") + b"\r\n")
            await writer.drain()
        return answer is not HANGUP


@asynccontextmanager
async def served(
    answers: dict[str, Answer] | None = None, *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Script, Profile]]:
    script = Script(answers or {}, starttls)
    async with await asyncio.start_server(script, "127.0.0.1", 0, ssl=tls) as server:
        script.port = server.sockets[0].getsockname()[1]
        yield script, Profile(host="127.0.0.1", port=script.port, security=Security.NONE, user="anna@example.com", timeout=2.0)


@pytest.fixture
def sent(tmp_path) -> Callable[..., object]:
    async def run(answers=None, *, to=("ben@example.net",), secret=None, body=None, change=None, **options) -> tuple[Script, SendResult]:
        async with served(answers) as (script, profile):
            message = build_test_message("anna@example.com", to, body=body)
            result = await send(
                replace(profile, **(change or {})), message, secret, budget=tmp_path / "budget", allow_clear=secret is not None, **options
            )
            return script, result

    return run


def errors(result: SendResult) -> list[Cause]:
    return [finding.cause for finding in result.findings if finding.severity is Severity.ERROR]


async def test_a_message_goes_out_once_and_whole(sent):
    body = "first\n.\n..two dots\n.x\nlast line without an end"
    script, result = await sent(body=body)
    assert re.sub(r"SIZE=\d+", "SIZE=n", "|".join(script.heard)) == (
        "EHLO [127.0.0.1]|MAIL FROM:<anna@example.com> SIZE=n|RCPT TO:<ben@example.net>|DATA|QUIT"
    )
    assert (result.accepted, result.rejected, result.queue_id) == (("ben@example.net",), (), "4C0FFEE123")
    # RFC 5321 section 4.5.2: the receiver takes one dot from the start of each line that has one.
    content = re.sub(rb"(?m)^\.", b"", script.content.removesuffix(b".\r\n"))
    assert content.partition(b"\r\n\r\n")[2] == body.replace("\n", "\r\n").encode() + b"\r\n"
    assert f"Message-ID: {result.message_id}".encode() in content
    assert int(re.search(r"SIZE=(\d+)", script.heard[1])[1]) == len(content)
    assert result.round_trips == 7  # one each for the banner, EHLO, MAIL, RCPT and QUIT, two for DATA
    assert [step.name for step in result.steps] == ["resolve", "connect", "banner", "ehlo", "mail", "rcpt", "data", "message", "quit"]
    assert all(step.ok for step in result.steps)


async def test_size_is_not_said_to_a_server_that_does_not_ask(sent):
    script, _ = await sent({"EHLO": "250 mail.example.com"})
    assert "MAIL FROM:<anna@example.com>" in script.heard


async def test_each_recipient_has_an_answer_of_its_own(sent):
    answers = {"RCPT TO:<nobody@example.net>": "550 5.1.1 <nobody@example.net>: Recipient address rejected: User unknown"}
    script, result = await sent(answers, to=("ben@example.net", "nobody@example.net", "carla@example.net"))
    assert result.accepted == ("ben@example.net", "carla@example.net")
    assert result.rejected == ("nobody@example.net",)
    assert errors(result) == [Cause.RECIPIENT]
    assert any("nobody@example.net: 550" in text for finding in result.findings for text in finding.evidence)
    assert not result.ok
    assert "DATA" in script.heard


async def test_no_recipient_no_content(sent):
    script, result = await sent({"RCPT": "554 5.7.1 <ben@example.net>: Relay access denied"})
    assert (result.accepted, result.rejected) == ((), ("ben@example.net",))
    assert errors(result) == [Cause.RELAY_DENIED]
    assert script.heard[-1] == "QUIT"  # which ends the transaction too (RFC 5321 section 4.1.1.10)
    assert "DATA" not in script.heard


async def test_a_dry_run_sends_nothing(sent):
    script, result = await sent(dry_run=True)
    assert "DATA" not in script.heard
    assert script.heard[-2:] == ["RSET", "QUIT"]
    assert (result.accepted, result.queue_id, errors(result)) == (("ben@example.net",), None, [])


@pytest.mark.parametrize(
    ("answers", "cause"),
    [
        ({"MAIL": "530 5.7.0 Must issue a STARTTLS command first"}, Cause.TLS_REQUIRED),
        ({"MAIL": "530 5.7.57 Client not authenticated to send mail."}, Cause.NOT_AUTHENTICATED),
        ({"MAIL": "550 5.7.60 SMTP; Client does not have permissions to send as this sender"}, Cause.SENDER_NOT_ALLOWED),
        ({"DATA": "554 5.7.1 <x>: Relay access denied"}, Cause.RELAY_DENIED),
        ({".": "552 5.2.2 mailbox full"}, Cause.QUOTA),
        ({"banner": "554 mail.example.com no service for you"}, Cause.UNREACHABLE),
        ({"banner": "HTTP/1.1 400 Bad Request"}, Cause.UNREACHABLE),
    ],
)
async def test_a_refusal_becomes_a_finding_and_nobody_is_accepted(sent, answers, cause):
    _, result = await sent(answers)
    assert errors(result) == [cause]
    assert result.accepted == ()
    assert result.queue_id is None


async def test_later_is_a_warning_and_nothing_is_tried_again(sent):
    script, result = await sent({"MAIL": "451 4.3.0 try again later"})
    assert [f.severity for f in result.findings if f.cause is not Cause.TLS_REQUIRED] == [Severity.WARNING]
    assert script.connections == 1
    assert sum(line.startswith("MAIL") for line in script.heard) == 1


@pytest.mark.parametrize("answers", [{".": HANGUP}, {".": "what was that?"}, {".": "354 go on"}])
async def test_a_cut_while_the_message_is_under_way_is_perhaps_accepted_and_never_sent_again(sent, answers):
    script, result = await sent(answers)
    assert script.connections == 1
    assert sum(line == "DATA" for line in script.heard) == 1
    assert (result.accepted, result.rejected, result.queue_id) == ((), (), None)
    last = result.findings[-1]
    assert (last.cause, last.severity) == (Cause.ABORTED, Severity.WARNING)
    assert "perhaps" in last.title
    assert result.message_id in last.evidence[0]
    assert not result.ok


PIPELINING = {"EHLO": "250-mail.example.com\r\n250 PIPELINING"}


@pytest.mark.parametrize("ehlo", [{}, PIPELINING])
@pytest.mark.parametrize(
    "answers",
    [
        {".": "221 2.0.0 Bye"},
        {".": "250 2.0.0 Ok: queued as TOOEARLY1\r\n550 5.7.1 no"},
        {".": "250 2.0.0 Ok: queued as TOOEARLY1", "QUIT": "550 5.7.1 no"},
    ],
)
async def test_a_yes_that_may_be_to_something_else_is_perhaps(sent, ehlo, answers):
    _, result = await sent(ehlo | answers)
    assert (result.accepted, result.queue_id) == ((), None)
    assert "perhaps" in result.findings[-1].title
    assert result.message_id in result.findings[-1].evidence[0]
    assert not result.ok


@pytest.mark.parametrize("ehlo", [{}, PIPELINING])
@pytest.mark.parametrize(
    "answers", [{"RSET": "250 Ok\r\n550 5.1.1 no such user"}, {"QUIT": "250 2.0.0 Ok"}, {"QUIT": "550 5.1.1 no such user"}]
)
async def test_a_dry_run_whose_answers_are_out_of_step_does_not_believe_them(sent, ehlo, answers):
    _, result = await sent(ehlo | answers, dry_run=True)
    assert result.accepted == ()
    assert "none that SMTP foresees" in result.findings[-1].title
    assert "perhaps" not in result.findings[-1].title  # nothing was sent
    assert not result.ok


@pytest.mark.parametrize(
    ("answers", "rejected"),
    [
        ({".": "451 4.7.1 Greylisted, try again in 5 minutes"}, ("ben@example.net", "eve@example.net")),
        ({"RCPT": "450 4.2.0 Greylisted, see http://postgrey.example"}, ("ben@example.net", "eve@example.net")),
        ({"RCPT TO:<eve": "450 4.2.0 Greylisted"}, ("eve@example.net",)),
    ],
)
@pytest.mark.parametrize("ehlo", [{}, PIPELINING])
async def test_a_server_that_wants_it_later_has_not_taken_it(sent, ehlo, answers, rejected):
    # RFC 5321 section 4.2.1: 4yz, "the command was not accepted, and the requested action did not occur".
    script, result = await sent(ehlo | answers, to=("ben@example.net", "eve@example.net"))
    assert result.rejected == rejected
    assert [finding.severity for finding in result.findings if "perhaps" in finding.title or finding.severity is Severity.ERROR] == []
    assert Severity.WARNING in [finding.severity for finding in result.findings]
    assert sum(line == "DATA" for line in script.heard) <= 1


async def test_who_hangs_up_while_the_content_comes_has_perhaps_taken_it(sent):
    _, result = await sent({"content": HANGUP}, body="x" * 100_000)
    assert (result.accepted, result.rejected) == ((), ())
    assert "perhaps" in result.findings[-1].title


async def test_where_answers_are_missing_it_says_how_far_they_came(sent):
    script, result = await sent(PIPELINING | {"RCPT TO:<eve": HANGUP}, to=("ben@example.net", "eve@example.net"))
    assert script.content == b""
    (evidence,) = result.findings[-1].evidence
    assert "2 of 4 commands sent together have a clear answer, the first without is RCPT TO:<eve@example.net>" in evidence
    assert "nothing was taken" in evidence
    assert "perhaps" not in result.findings[-1].title


async def test_an_empty_message_for_nobody_leaves_no_message_behind(sent):
    # RFC 2920 section 3.1: 354 though nobody was accepted. The dot alone is no message, whatever becomes of it.
    script, result = await sent(PIPELINING | {"RCPT": "550 5.1.1 no such user", ".": HANGUP})
    assert script.content == b".\r\n"
    assert not any(result.message_id in text for finding in result.findings for text in finding.evidence)
    assert "perhaps" not in result.findings[-1].title


async def test_an_answer_that_came_before_the_content_is_no_answer_to_it(sent):
    script, result = await sent({"DATA": "354 go on\r\n250 2.0.0 Ok: queued as TOOEARLY1", ".": "550 5.7.1 no"})
    # Whose answer the next one would be is not known any more, so the content stays here.
    assert not script.content
    assert (result.accepted, result.queue_id) == ((), None)
    assert "before it was asked" in result.findings[-1].title


async def test_content_that_nobody_took_any_more_is_no_perhaps(sent, monkeypatch):
    put = Streams.put

    def closed_before_the_content(wire: Streams, *lines: bytes) -> None:
        if lines[0].endswith(b"\r\n."):
            raise Broken(Break.CLOSED, "the server closed the connection")
        put(wire, *lines)

    monkeypatch.setattr(Streams, "put", closed_before_the_content)
    script, result = await sent()
    assert (script.heard[-1], script.content) == ("DATA", b"")
    assert result.findings[-1].cause is Cause.UNREACHABLE
    assert not went_out(result.steps)


async def test_a_yes_to_data_before_the_content_was_given_sends_nothing(sent):
    # RFC 5321 section 4.1.1.4: only 354 asks for the content.
    _, result = await sent({"DATA": "250 2.0.0 Ok: queued as NOTHING11"})
    assert (result.accepted, result.queue_id) == ((), None)
    assert "none that SMTP foresees" in result.findings[-1].title


@pytest.mark.parametrize("extra", ["250 2.1.5 Ok", "550 5.1.1 no such user"])
async def test_one_answer_too_many_ends_it(sent, extra):
    script, result = await sent({"MAIL": f"250 2.1.0 Ok\r\n{extra}"})
    assert not any(line.startswith("RCPT") for line in script.heard)
    assert "before it was asked" in result.findings[-1].title
    assert result.accepted == ()


async def test_a_server_that_says_421_before_it_hangs_up_is_heard(sent):
    # RFC 5321 section 3.8: it may do so at any time, so it need not be the answer to anything.
    _, result = await sent({"MAIL": "250 2.1.0 Ok\r\n421 4.3.2 shutting down", "RCPT": HANGUP})
    assert 421 in [step.reply.code for step in result.steps if step.reply]
    assert result.accepted == ()


@pytest.mark.parametrize(
    "answers",
    [{"banner": HANGUP}, {"EHLO": HANGUP}, {"MAIL": HANGUP}, {"RCPT": HANGUP}, {"RCPT": "421 4.3.2 shutting down"}, {"DATA": HANGUP}],
)
async def test_a_cut_before_the_content_is_no_perhaps(sent, answers):
    _, result = await sent(answers)
    assert result.findings[-1].cause in (Cause.UNREACHABLE, Cause.BACKEND_UNAVAILABLE)
    assert result.accepted == ()
    assert not result.ok


async def test_a_server_that_says_nothing_is_not_waited_for_longer_than_the_limit(sent):
    async with served() as (script, profile):
        script.answers["banner"] = ""  # an empty line, and then silence
        message = build_test_message("anna@example.com", ["ben@example.net"])
        result = await asyncio.wait_for(send(replace(profile, timeout=0.3), message), 5)
    assert not result.ok


async def test_the_answer_to_the_content_may_take_longer_than_any_other(sent, tmp_path):
    """Filters read a message before it is taken; RFC 5321 section 4.5.3.2.6 gives them ten minutes, and section 6.1 says why."""
    async with served() as (script, profile):
        say = script._say

        async def slowly(key, writer):
            await asyncio.sleep(1.5 if key == "." else 0)
            return await say(key, writer)

        script._say = slowly
        result = await send(replace(profile, timeout=1.0), build_test_message("anna@example.com", ["ben@example.net"]))
    assert result.accepted == ("ben@example.net",)


async def test_nobody_listens():
    async with served() as (_, profile):
        pass
    result = await send(profile, build_test_message("anna@example.com", ["ben@example.net"]))
    assert errors(result) == [Cause.UNREACHABLE]
    assert result.round_trips == 0
    assert result.steps[-1].name == "connect"


async def test_a_name_that_does_not_exist():
    profile = Profile(host="no-such-host.invalid", port=587, security=Security.STARTTLS, timeout=5.0)
    result = await send(profile, build_test_message("anna@example.com", ["ben@example.net"]))
    assert errors(result) == [Cause.UNREACHABLE]
    assert result.steps[-1].name == "resolve"


# --- signing in -------------------------------------------------------------------------------------------------


async def test_one_sign_in_with_the_named_mechanism(sent):
    script, result = await sent(secret=Secret("hunter2!"), change={"mechanism": "PLAIN"})
    blob = base64.b64encode(b"\0anna@example.com\0hunter2!").decode()  # RFC 4616
    assert [line for line in script.heard if line.startswith("AUTH")] == [f"AUTH PLAIN {blob}"]
    assert result.attempt.outcome is Outcome.SUCCESS
    assert result.accepted == ("ben@example.net",)
    assert blob not in repr(result)
    assert "hunter2!" not in repr(result)


async def test_a_refused_sign_in_ends_it_before_the_mail(sent):
    script, result = await sent({"AUTH": "535 5.7.8 Error: authentication failed: "}, secret=Secret("wrong"))
    assert sum(line.startswith("AUTH") for line in script.heard) == 1
    assert not any(line.startswith("MAIL") for line in script.heard)
    assert (result.attempt.outcome, result.attempt.cause) == (Outcome.FAILURE, Cause.CREDENTIALS)
    assert errors(result) == [Cause.CREDENTIALS]


async def test_the_budget_holds_for_mail_too(tmp_path):
    async with served({"AUTH": "535 5.7.8 Error: authentication failed: "}) as (script, profile):
        message = build_test_message("anna@example.com", ["ben@example.net"])
        for _ in range(2):
            await send(profile, message, Secret("wrong"), budget=tmp_path / "budget", allow_clear=True)
        with pytest.raises(BudgetSpent):
            await send(profile, message, Secret("wrong"), budget=tmp_path / "budget", allow_clear=True)
    assert script.connections == 2


async def test_no_password_in_clear_and_not_even_a_connection(tmp_path):
    async with served() as (script, profile):
        with pytest.raises(PasswordInClear):
            await send(
                replace(profile, mechanism="LOGIN"),
                build_test_message("a@example.com", ["b@example.com"]),
                Secret("x"),
                budget=tmp_path / "budget",
            )
    assert script.connections == 0


async def test_a_stripped_starttls_ends_it_before_the_password(tmp_path):
    async with served() as (script, profile):  # its EHLO offers AUTH, and no STARTTLS
        message = build_test_message("anna@example.com", ["ben@example.net"])
        result = await send(replace(profile, security=Security.STARTTLS), message, Secret("hunter2!"), budget=tmp_path / "budget")
    assert Cause.TLS_REQUIRED in errors(result)
    assert [line.partition(" ")[0] for line in script.heard] == ["EHLO", "QUIT"]


async def test_a_password_without_a_user(sent):
    with pytest.raises(UsageError):
        await sent(secret=Secret("x"), change={"user": None})


async def test_a_message_that_must_not_go_out_never_leaves(sent):
    message = build_test_message("anna@example.com", ["ben@example.net"])
    message.replace_header("To", "ben@example.net, nobody")
    async with served() as (script, profile):
        with pytest.raises(InvalidMessage):
            await send(profile, message)
    assert script.connections == 0


async def test_steps_are_told_as_they_end(sent):
    told = []
    _, result = await sent(on_step=told.append)
    assert tuple(told) == result.steps


# --- TLS --------------------------------------------------------------------------------------------------------

STARTTLS_OFFERED = {"EHLO": "250-mail.example.com\r\n250 STARTTLS", "STARTTLS": "220 2.0.0 Ready to start TLS"}


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


def message():
    return build_test_message("anna@example.com", ["ben@example.net"])


async def test_starttls_then_sign_in_then_the_mail(pki, tmp_path):
    async with served(STARTTLS_OFFERED, starttls=pki.server()) as (script, profile):
        account = replace(profile, security=Security.STARTTLS, ca_file=pki.ca_file)
        result = await send(account, message(), Secret("hunter2!"), budget=tmp_path / "budget")
    verbs = [line.partition(" ")[0] for line in script.heard]
    assert verbs == ["EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "QUIT"]
    assert result.accepted == ("ben@example.net",)
    assert result.attempt.tls == "TLSv1.3"
    assert [step.name for step in result.steps].count("tls") == 1


async def test_tls_from_the_start(pki, tmp_path):
    async with served(tls=pki.server()) as (script, profile):
        account = replace(profile, security=Security.TLS, ca_file=pki.ca_file)
        result = await send(account, message(), Secret("hunter2!"), budget=tmp_path / "budget")
    assert result.ok
    assert [step.name for step in result.steps][:5] == ["resolve", "connect", "tls", "banner", "ehlo"]
    assert script.connections == 1


@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
@pytest.mark.parametrize("bad", [{"name": "mail.example.com"}, {"days": -1}, {"self_signed": True}, None])
async def test_a_certificate_that_does_not_pass_ends_it_before_the_password(pki, tmp_path, security, bad):
    context = pki.server(**(bad or {}))
    how = {"tls": context} if security is Security.TLS else {"starttls": context}
    async with served(STARTTLS_OFFERED, **how) as (script, profile):
        account = replace(profile, security=security, ca_file=pki.ca_file if bad else None)  # None: an authority nobody knows
        result = await send(account, message(), Secret("hunter2!"), budget=tmp_path / "budget")
    assert errors(result) == [Cause.CERTIFICATE]
    assert not any(line.startswith(("AUTH", "MAIL")) for line in script.heard)
    assert result.attempt is None


async def test_tls_against_a_server_that_begins_in_plain_text(pki):
    async with served() as (_, profile):
        result = await send(replace(profile, security=Security.TLS, ca_file=pki.ca_file), message())
    assert errors(result) == [Cause.TLS_MISMATCH]


async def test_what_is_slipped_in_before_tls_is_not_taken_for_an_answer(pki, tmp_path):
    # CVE-2011-0411 from the client's side: what follows the 220 in clear must not answer the EHLO inside TLS.
    slipped = STARTTLS_OFFERED | {"STARTTLS": "220 go\r\n250-evil.example\r\n250 AUTH PLAIN"}
    async with served(slipped, starttls=pki.server()) as (script, profile):
        account = replace(profile, security=Security.STARTTLS, ca_file=pki.ca_file)
        result = await send(account, message(), Secret("hunter2!"), budget=tmp_path / "budget")
    assert not any(line.startswith("AUTH") for line in script.heard)
    assert "EHLO [127.0.0.1]" not in script.heard[2:]
    assert next(f.title for f in result.findings if f.severity is Severity.ERROR).startswith("Before TLS began, bytes came in clear")


async def test_a_refused_starttls_ends_it(pki):
    async with served(STARTTLS_OFFERED | {"STARTTLS": "454 4.7.0 TLS not available due to local problem"}) as (script, profile):
        result = await send(replace(profile, security=Security.STARTTLS, ca_file=pki.ca_file), message())
    assert not any(line.startswith("MAIL") for line in script.heard)
    assert [f.cause for f in result.findings if f.severity is Severity.WARNING][-1] is Cause.BACKEND_UNAVAILABLE


# --- small things -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("250 2.0.0 Ok: queued as 4XyZ12Abc", "4XyZ12Abc"),
        ("250 2.0.0 Ok: queued as 9F3A21C0D3\r\n", "9F3A21C0D3"),
        ("250 OK id=1rXyZ0-0001Ab-Cd", "1rXyZ0-0001Ab-Cd"),
        ("250 2.0.0 <m@x> [InternalId=104857600, Hostname=XY.example] 1234 bytes in 0.1 Queued mail for delivery", "104857600"),
        ("250 2.0.0 OK  1732445566 x1-20020a17090example.5 - gsmtp", "x1-20020a17090example.5"),
        ("250 Ok 0100019example-a1b2c3d4-0000", "0100019example-a1b2c3d4-0000"),
        ("250 2.0.0 4ABCdef012345 Message accepted for delivery", "4ABCdef012345"),
        ("250 2.0.0 Ok", None),
        ("250 OK: accepted", None),
        ("250 2.0.0 Ok delivered", None),
        ("250 message accepted", None),
        ("250", None),
    ],
)
def test_queue_ids(reply, expected):
    assert queue_id(parse_reply(reply.encode())) == expected


def test_the_content_ends_with_a_line_end():
    # Else aiosmtplib would add one, and SIZE would be short by two.
    assert mail(build_test_message("a@example.com", ["b@example.com"], body="no end")).content.endswith(b"\r\n")


# ---------------------------------------------------------------------------------------- cut short


@pytest.mark.parametrize(
    ("until", "said"),
    [
        ("EHLO", "nothing was sent"),
        ("RCPT", "nothing was sent"),
        (".", "perhaps the server took it"),
        ("QUIT", "The server took the message"),
    ],
)
async def test_whatever_cuts_it_short_it_says_what_became_of_the_message(tmp_path, until, said):
    reached = asyncio.Event()

    class Silent(Script):
        async def _say(self, key, writer):
            if key != until:
                return await super()._say(key, writer)
            reached.set()
            await asyncio.sleep(1)
            return False

    script = Silent({})
    async with await asyncio.start_server(script, "127.0.0.1", 0) as server:
        profile = Profile(host="127.0.0.1", port=server.sockets[0].getsockname()[1], security=Security.NONE)
        cut: list[SendResult] = []
        message = build_test_message("anna@example.com", ["ben@example.net"])
        task = asyncio.create_task(send(profile, message, budget=tmp_path / "budget", on_cut=cut.append))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    (result,) = cut
    (finding,) = [finding for finding in result.findings if said in finding.title]
    assert (f"Message-ID: {result.message_id}" in finding.evidence) is (until == ".")
    assert len(result.steps) == {"EHLO": 3, "RCPT": 5, ".": 7, "QUIT": 8}[until]


async def test_without_tls_on_this_machine_and_without_a_user_is_worth_a_note_only(sent):
    for change, severity in ({"user": None}, Severity.NOTE), ({}, Severity.WARNING):
        _, result = await sent(change=change)
        (finding,) = [finding for finding in result.findings if finding.cause is Cause.TLS_REQUIRED]
        assert finding.severity is severity
