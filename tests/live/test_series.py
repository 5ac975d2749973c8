"""A series: one connection, later where the server says later, and whatever cuts it short, nothing twice and nothing lost in silence."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kit.errors import BudgetSpent, UnreadableInput
from kit.model import Cause, Outcome, Profile, Security, Severity
from kit.redact import Secret
from kit.sending.entries import Series, State
from kit.sending.journal import Journal
from kit.sending.mail import Mail, mail
from kit.sending.message import build_test_message
from kit.sending.pace import Limit, Pace
from kit.sending.series import SeriesResult, send_series

HANGUP, MUTE = None, "says nothing until the other side goes"
ANNA = "anna@example.com"
EHLO = "250-mail.example.com\r\n250-SIZE 10240000\r\n250 AUTH PLAIN"
PIPELINING = EHLO.replace("250 AUTH", "250-PIPELINING\r\n250 AUTH")


class Scripted:
    """A server. What it answers may be a list: an answer for each time it is asked, the last one for ever; None hangs up.

    `took` has the numbers of the messages it took, `tries` those it was given; `heard` is what was said, connection by connection.
    """

    def __init__(self, answers: dict[str, str | list[str | None]]) -> None:
        usual = {"banner": "220 mail.example.com", "EHLO": EHLO, "AUTH": "235 2.7.0 Yes", ".": "250 2.0.0 Ok: queued as 4C0FFEE123"}
        usual |= {"MAIL": "250 Ok", "RCPT": "250 Ok", "DATA": "354 Go on", "RSET": "250 Ok", "QUIT": "221 Bye"}
        self.answers = {key: list(value) if isinstance(value, list) else [value] for key, value in (usual | answers).items()}
        self.took: list[int] = []
        self.heard: list[list[str]] = []
        self.times: list[float] = []
        self.muted = asyncio.Event()

    def _answer(self, line: str, envelope: list[str]) -> str | None:
        word = line.partition(" ")[0]
        if {"MAIL": len(envelope) > 0, "RCPT": len(envelope) == 0, "DATA": len(envelope) < 2}.get(word):
            return "503 5.5.1 Not now"
        answer = self._scripted(line)
        if word in ("MAIL", "RCPT") and (answer or "").startswith("250"):
            envelope.append(line)
        elif word in (".", "RSET"):
            envelope.clear()
        return answer

    def _scripted(self, line: str) -> str | None:
        key = next((key for key in self.answers if " " in key and line.startswith(key)), line.partition(" ")[0])
        answers = self.answers[key]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard.append(heard := [])
        line, envelope = "banner", []
        try:
            while (answer := self._answer(line, envelope)) is not HANGUP:
                if answer == MUTE:
                    self.muted.set()
                    await reader.read()
                    return
                writer.write(f"{answer}\r\n".encode())
                await writer.drain()
                if line == "QUIT" or (answer.startswith("421") and "slowly" not in answer):
                    return
                if line == "DATA" and answer.startswith("354"):
                    line = "."
                    content = (await reader.readuntil(b"\r\n.\r\n")).decode()
                    self.times.append(time.monotonic())
                    number = int(re.search(r"Subject: number (\d+)", content)[1])
                    if (self.answers["."][0] or "").startswith("250"):
                        self.took.append(number)
                else:
                    line = (await reader.readline()).decode().strip()
                    if not line:
                        return
                heard.append(line)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def said(self, word: str) -> int:
        return sum(line.startswith(word) for heard in self.heard for line in heard)


@asynccontextmanager
async def serving(**answers: str | list[str | None]) -> AsyncIterator[tuple[Scripted, Profile]]:
    script = Scripted({{"DOT": "."}.get(key, key): value for key, value in answers.items()})
    async with await asyncio.start_server(script, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield script, Profile(host="127.0.0.1", port=port, security=Security.NONE, user=ANNA, timeout=2.0)


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture
def run(tmp_path: Path):
    """Sends a series, or what is left of it."""

    @contextmanager
    def opened(messages: int, name: str | None):
        series = Series(target="t", account=ANNA, messages=messages, sender=ANNA, recipients=("ben@example.net",))
        with Journal.resume(name, folder=tmp_path) if name else Journal.start(series, now=datetime.now(UTC), folder=tmp_path) as journal:
            yield journal

    async def go(
        profile: Profile, messages: int = 3, *, to=("ben@example.net",), name: str | None = None, pace: Pace | None = None, **more
    ) -> SeriesResult:
        def make(number: int) -> Mail:
            return mail(build_test_message(ANNA, to, subject=f"number {number}"))

        free = Limit(most=1000, window="minute", seconds=60.0, source="a test")
        pace = pace or Pace(ANNA, [free], path=tmp_path / "book")
        with opened(messages, name) as journal:
            return await send_series(profile, make, pace=pace, journal=journal, budget=tmp_path / "book", **more)

    return go


def states(result: SeriesResult) -> list[str]:
    return [entry.state.value for entry in result.entries]


@pytest.mark.parametrize("ehlo", [EHLO, PIPELINING])
async def test_a_series_goes_over_one_connection_with_one_sign_in(run, ehlo):
    async with serving(EHLO=ehlo) as (script, profile):
        seen = []
        result = await run(profile, 5, secret=Secret("pass phrase"), allow_clear=True, on_entry=seen.append)
    assert script.took == [1, 2, 3, 4, 5]
    assert len(script.heard) == result.connections == 1
    assert [script.said(word) for word in ("EHLO", "AUTH", "MAIL", "QUIT")] == [1, 1, 5, 1]
    assert states(result) == ["accepted"] * 5
    assert [attempt.outcome for attempt in result.attempts] == [Outcome.SUCCESS]
    assert {entry.queue_id for entry in result.entries} == {"4C0FFEE123"}
    assert seen == list(result.entries)


async def test_the_pace_is_kept(run, tmp_path):
    pace = Pace(ANNA, [Limit(most=2, window="moment", seconds=0.5, source="a test")], path=tmp_path / "book")
    async with serving() as (script, profile):
        waits = []
        await run(profile, 5, pace=pace, on_wait=waits.append)
    assert len(waits) >= 2
    assert all(0 < wait <= 0.5 for wait in waits)
    # 2 at once, 2 half a second later, the last one a second after the first.
    assert script.times[-1] - script.times[0] >= 0.99
    assert all(later - earlier >= 0.49 for earlier, later in zip(script.times, script.times[2:], strict=False))


async def test_what_would_have_to_wait_for_hours_is_left_in_the_journal_and_that_is_said(run, tmp_path):
    pace = Pace(ANNA, [Limit(most=2, window="day", seconds=86400.0, source="a test")], path=tmp_path / "book")
    async with serving() as (script, profile):
        result = await run(profile, 5, pace=pace)
        assert states(result) == ["accepted"] * 2 + ["planned"] * 3
        (finding,) = [each for each in result.findings if each.cause is Cause.TOO_MANY]
        # The day is said, as it is another one; to the minute, by the clock on the wall.
        tomorrow = datetime.now().astimezone() + timedelta(days=1)
        at = re.fullmatch(r"Not sent yet: 3 of 5\. The next may go at (\S+ \S+), in 24 h", finding.title)[1]
        assert abs(datetime.strptime(at, "%Y-%m-%d %H:%M").astimezone() - tomorrow) < timedelta(minutes=2)
        assert result.name in finding.next_step
        assert script.heard[0][-1] == "QUIT"
        await run(profile, name=result.name)
    assert script.took == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("word", ["MAIL", "RCPT", "DATA", "DOT"])
@pytest.mark.parametrize("ehlo", [EHLO, PIPELINING])
async def test_later_is_tried_again_once_and_not_before_the_time_that_was_named(run, ehlo, word):
    usual = {"MAIL": "250 Ok", "RCPT": "250 Ok", "DATA": "354 Go on", "DOT": "250 Ok"}[word]
    began = time.monotonic()
    async with serving(EHLO=ehlo, **{word: ["451 4.7.1 Greylisted, try again in 1 second", usual]}) as (script, profile):
        result = await run(profile, 1)
    assert states(result) == ["accepted"]
    assert script.took == [1]
    assert script.said("MAIL") == 2
    assert script.times[-1] - began >= 1
    assert result.entries[0].tries == 1
    assert len(script.heard) == 1 or word == "DOT"  # there the goodbye had gone out with the content


async def test_all_is_well_where_every_message_was_taken_and_nothing_else_is_to_be_looked_at(run):
    """By the same rule as of a single mail; a “later” that was kept is no more than worth a note."""
    greylisted = "451 4.7.1 Greylisted, try again in 1 seconds"
    async with serving(RCPT=["250 Ok", greylisted, "250 Ok"]) as (_, profile):
        result = await run(replace(profile, user=None), 3)
    assert states(result) == ["accepted"] * 3
    assert [each.severity for each in result.findings if greylisted in str(each.evidence)] == [Severity.NOTE]
    assert result.ok
    async with serving() as (_, profile):
        result = await run(profile, 2, secret=Secret("pass phrase"), allow_clear=True)
    assert states(result) == ["accepted"] * 2
    assert not result.ok, "everybody on the way could read the password"
    async with serving(DOT=["250 Ok", HANGUP]) as (_, profile):
        result = await run(replace(profile, user=None), 2)
    assert not result.ok


async def test_after_the_second_later_it_is_given_up(run):
    async with serving(RCPT="450 4.2.0 Greylisted for 1 sec") as (script, profile):
        result = await run(profile, 1)
    assert states(result) == ["refused"]
    assert (result.entries[0].code, result.entries[0].rejected) == (450, ("ben@example.net",))
    assert script.said("RCPT") == 2


@pytest.mark.parametrize("then", ["450 Try again in 1 s", "550 5.1.1 Unknown"])
async def test_who_gets_no_second_yes_does_not_make_the_message_refused_that_others_have(run, then):
    async with serving(**{"RCPT TO:<later@": ["450 Try again in 1 s", then]}) as (_, profile):
        result = await run(profile, 1, to=("yes@example.net", "later@example.net"))
    (entry,) = result.entries
    assert (entry.state, entry.code, entry.queue_id) == (State.ACCEPTED, 250, "4C0FFEE123")
    assert entry.rejected == ("later@example.net",)
    assert not result.ok


async def test_no_is_never_tried_again_and_the_others_go_on(run):
    async with serving(MAIL=["250 Ok", "550 5.7.1 No", "250 Ok"]) as (script, profile):
        result = await run(profile, 3)
    assert states(result) == ["accepted", "refused", "accepted"]
    assert script.took == [1, 3]
    assert script.said("MAIL") == 3
    assert not result.ok


async def test_each_recipient_has_an_answer_of_its_own(run):
    answers = {"RCPT TO:<later@": ["450 Try again in 1 s", "250 Ok"], "RCPT TO:<no@": "550 5.1.1 Unknown"}
    async with serving(**answers) as (script, profile):
        result = await run(profile, 1, to=("yes@example.net", "later@example.net", "no@example.net"))
    # The second time only the one that was put off is asked for.
    assert script.took == [1, 1]
    assert [script.said(f"RCPT TO:<{who}@") for who in ("yes", "later", "no")] == [1, 2, 1]
    assert states(result) == ["accepted"]
    assert result.entries[0].rejected == ("no@example.net",)
    assert not result.ok


async def test_what_a_later_is_about_is_paused(run):
    # One recipient's mailbox: the next message goes at once. The account: nothing goes before that time.
    for word, waits in (("RCPT", False), ("MAIL", True)):
        async with serving(**{word: ["451 4.3.2 try again in 1 second", "250 Ok"]}) as (script, profile):
            began = time.monotonic()
            await run(profile, 2)
        assert sorted(script.took) == [1, 2]
        assert (script.times[0] - began >= 1) is waits


@pytest.mark.parametrize("ehlo", [EHLO, PIPELINING])
@pytest.mark.parametrize("how", ["and hangs up", "slowly"])
async def test_where_the_server_says_goodbye_the_next_connection_goes_on(run, ehlo, how):
    async with serving(EHLO=ehlo, MAIL=["250 Ok", "250 Ok", f"421 4.3.2 {how}: back in 1 s", "250 Ok"]) as (script, profile):
        result = await run(profile, 4)
    assert states(result) == ["accepted"] * 4
    assert sorted(script.took) == [1, 2, 3, 4]
    assert len(script.heard) == 2
    assert sum(line.startswith("MAIL") for line in script.heard[0]) == 3


async def test_where_it_hangs_up_without_a_word_too(run):
    async with serving(MAIL=["250 Ok", HANGUP, "250 Ok"]) as (script, profile):
        result = await run(profile, 3)
    assert states(result) == ["accepted"] * 3
    assert script.took == [1, 2, 3]
    assert len(script.heard) == 2


async def test_a_server_that_takes_two_a_connection_gets_two(run):
    async with serving(EHLO=EHLO.replace("250 AUTH", "250-LIMITS MAILMAX=2\r\n250 AUTH")) as (script, profile):
        result = await run(profile, 5)
    assert states(result) == ["accepted"] * 5
    assert [sum(line.startswith("MAIL") for line in heard) for heard in script.heard] == [2, 2, 1]
    assert all(heard[-1] == "QUIT" for heard in script.heard)


@pytest.mark.parametrize(("answer", "heard"), [(HANGUP, "the server closed the connection"), ("what was that?", "what was that?")])
async def test_what_has_no_answer_is_in_doubt_and_not_sent_again(run, answer, heard):
    async with serving(DOT=["250 Ok", answer, "250 Ok"]) as (script, profile):
        result = await run(profile, 3)
        assert states(result) == ["accepted", "handed-over", "accepted"]
        (doubt,) = [finding for finding in result.findings if "Message 2 of the series" in finding.title]
        assert f"Message-ID: {result.entries[1].message_id}" in doubt.evidence
        assert heard in doubt.evidence[-1]
        # It is told of once, and nothing says to try once more.
        assert [finding.severity for finding in result.findings if finding.evidence] == [Severity.WARNING]
        again = await run(profile, name=result.name)
    assert states(again) == states(result)
    assert script.said("MAIL") == 3
    assert len(script.heard) == 2


async def test_what_never_left_is_in_no_doubt_and_goes_over_the_next_connection(run):
    """An answer that came before the content keeps it here."""
    async with serving(DATA=["354 Go on", "354 Go on\r\n250 2.0.0 Ok: queued as TOOEARLY1", "354 Go on"]) as (script, profile):
        result = await run(profile, 2)
    assert states(result) == ["accepted", "accepted"]
    assert (script.took, len(script.heard)) == ([1, 2], 2)
    assert any("before it was asked" in finding.title for finding in result.findings)


@pytest.mark.parametrize("word", ["banner", "EHLO", "MAIL", "DOT"])
async def test_who_hangs_up_on_everything_is_asked_once(run, word):
    async with serving(**{word: [HANGUP]}) as (script, profile):
        result = await run(profile, 3)
    assert len(script.heard) == 1
    assert "accepted" not in states(result)
    assert result.findings


async def test_a_sign_in_that_fails_ends_it(run):
    async with serving(AUTH="535 5.7.8 Authentication failed") as (script, profile):
        result = await run(profile, 3, secret=Secret("pass phrase"), allow_clear=True)
        assert script.said("AUTH") == 1
        assert script.said("MAIL") == 0
        assert states(result) == ["planned"] * 3
        assert [finding.cause for finding in result.findings if finding.cause is Cause.CREDENTIALS]
        await run(profile, secret=Secret("pass phrase"), allow_clear=True, name=result.name)
        with pytest.raises(BudgetSpent):  # two an hour
            await run(profile, secret=Secret("pass phrase"), allow_clear=True, name=result.name)


@pytest.mark.parametrize(
    "answers",
    [
        # Exchange Online and Gmail to who has not signed in, Postfix to who has no TLS, at MAIL; RFC 4954 section 6.
        {"MAIL": "530 5.7.57 Client not authenticated to send mail. [LO2P265CA0001.GBRP265.PROD.OUTLOOK.COM]"},
        {
            "MAIL": "530-5.7.0 Authentication Required. For more information, go to\r\n530 5.7.0 https://support.google.com/mail/?p=WantAuthError"
        },
        {"MAIL": "530 5.7.0 Must issue a STARTTLS command first"},
        {"MAIL": "535 5.7.8 Sign in first"},
        # Sendmail and qmail say so in words only; Postfix knows at RCPT only that nobody signed in.
        {"MAIL": "550 5.7.1 Authentication required"},
        {"RCPT": "554 5.7.1 <ben@example.net>: Relay access denied"},
        {"MAIL": "421 4.3.2 Service shutting down"},
        {"RCPT": "421 4.7.0 Too many errors"},
        {"EHLO": "550 5.7.1 Go away"},
        {"DATA": "530 5.7.0 Authentication required"},
    ],
)
@pytest.mark.parametrize("pipelining", [False, True])
async def test_a_refusal_of_whoever_asks_ends_it_and_no_message_is_given_up(run, answers, pipelining):
    async with serving(**({"EHLO": PIPELINING if pipelining else EHLO} | answers)) as (script, profile):
        result = await run(profile, 3)
        assert states(result) == ["planned"] * 3
        assert script.said("MAIL") <= 1
        assert len(script.heard) == 1
        assert [finding for finding in result.findings if finding.severity in (Severity.ERROR, Severity.WARNING) and finding.evidence]
        script.answers |= {"EHLO": [EHLO], "MAIL": ["250 Ok"], "RCPT": ["250 Ok"], "DATA": ["354 Go on"]}
        result = await run(profile, name=result.name)
    assert states(result) == ["accepted"] * 3
    assert script.took == [1, 2, 3]


@pytest.mark.parametrize("answer", ["530 5.7.0 Sign in first", "421 4.3.2 Shutting down"])
async def test_after_the_content_too_it_is_no_answer_to_the_message(run, answer):
    async with serving(DOT=[answer, "250 Ok"]) as (script, profile):
        result = await run(profile, 2)
    assert states(result) == ["later", "planned"]
    assert script.said("MAIL") == 1


async def test_a_session_that_is_no_longer_signed_in_ends_it_however_much_went_before(run):
    async with serving(MAIL=["250 Ok", "530 5.7.0 Authentication required", "250 Ok"]) as (script, profile):
        result = await run(profile, 3)
    assert states(result) == ["accepted", "planned", "planned"]
    assert (script.said("MAIL"), script.heard[0][-1]) == (2, "QUIT")


async def test_where_nobody_signed_in_a_recipient_that_is_taken_is_not_held_back_by_one_that_is_not(run):
    async with serving(**{"RCPT TO:<far@": "554 5.7.1 Relay access denied"}) as (script, profile):
        result = await run(profile, 2, to=("near@example.net", "far@example.net"))
    assert states(result) == ["accepted"] * 2
    assert script.took == [1, 2]


async def test_what_the_server_cannot_take_is_not_offered_to_it(run):
    async with serving(EHLO="250-mail.example.com\r\n250 SIZE 100") as (script, profile):
        result = await run(profile, 2)
    assert states(result) == ["refused"] * 2
    assert script.said("MAIL") == 0
    assert len(result.findings) == len({finding.title for finding in result.findings})  # said once, not for each message


async def test_what_the_server_cannot_take_waits_for_no_turn(run, tmp_path):
    pace = Pace(ANNA, [Limit(most=1, window="minute", seconds=60.0, source="a test")], path=tmp_path / "book")
    async with serving(EHLO="250-mail.example.com\r\n250 SIZE 100") as (_, profile):
        result = await asyncio.wait_for(run(profile, 3, pace=pace), 10)
    assert states(result) == ["refused"] * 3


@pytest.mark.parametrize(
    "answers",
    [
        {"EHLO": PIPELINING, "MAIL": "250 Ok\r\n250 Ok"},  # each answer after this one is to the command before
        {"EHLO": PIPELINING, "DATA": "250 Ok"},
        {"DATA": "250 Ok"},
        {"MAIL": "334 VXNlcm5hbWU6"},
        {"RCPT": "354 Go on"},
    ],
)
async def test_an_answer_to_something_else_refuses_no_message(run, answers):
    async with serving(**answers) as (script, profile):
        result = await run(profile, 3)
    assert states(result) == ["planned"] * 3
    assert (script.took, len(script.heard)) == ([], 1)
    assert any(finding.severity is Severity.ERROR for finding in result.findings)


@pytest.mark.parametrize("ehlo", [EHLO, PIPELINING])
async def test_killed_at_every_step_nothing_goes_twice_and_nothing_is_lost(run, tmp_path, monkeypatch, ehlo):
    """Killed after each reply, and before and after each line of the journal."""
    left = 1000
    write = Journal._write

    def step(_: object = None) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed

    def between(journal: Journal, event: dict) -> None:
        if "number" in event:
            step()
        write(journal, event)
        if "number" in event:
            step()

    monkeypatch.setattr(Journal, "_write", between)
    async with serving(EHLO=ehlo) as (script, profile):
        await run(profile, 3, on_step=step)
        assert script.took == [1, 2, 3]
        for last in range(1, 1000 - left):
            script.took.clear()
            for file in tmp_path.glob("2*.*"):
                file.unlink()
            left = last
            with pytest.raises(Killed):
                await run(profile, 3, on_step=step)
            (path,) = tmp_path.glob("*.jsonl")
            result = await run(profile, name=path.stem)
            doubtful = {entry.number for entry in result.entries if entry.state is State.HANDED_OVER}
            assert len(doubtful) <= 1
            assert set(states(result)) <= {"accepted", "handed-over"}
            assert len(script.took) == len(set(script.took)), last
            assert set(script.took) | doubtful == {1, 2, 3}, last


async def test_cancelled_in_the_middle_it_can_go_on(run, tmp_path):
    async with serving() as (script, profile):
        third = asyncio.Event()

        def watch(entry: object) -> None:
            if len(script.took) == 3:
                third.set()

        pace = Pace(ANNA, [Limit(most=3, window="moment", seconds=30.0, source="a test")], path=tmp_path / "slow")
        task = asyncio.create_task(run(profile, 5, pace=pace, on_entry=watch))
        await third.wait()
        await asyncio.sleep(0.05)  # now it waits for the pace
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (path,) = tmp_path.glob("*.jsonl")
        result = await run(profile, name=path.stem)
    assert states(result) == ["accepted"] * 5
    assert script.took == [1, 2, 3, 4, 5]


async def test_cut_short_after_the_content_it_says_what_is_in_doubt(run):
    async with serving(DOT=["250 Ok", MUTE]) as (script, profile):
        cut: list[SeriesResult] = []
        task = asyncio.create_task(run(profile, 3, on_cut=cut.append))
        await script.muted.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    (result,) = cut
    assert states(result) == ["accepted", "handed-over", "planned"]
    (doubt,) = [finding for finding in result.findings if "Message 2 of the series" in finding.title]
    assert f"Message-ID: {result.entries[1].message_id}" in doubt.evidence


async def test_where_the_journal_cannot_be_written_no_content_goes_out(run, monkeypatch):
    def full(self: Journal, *_: object, **__: object) -> None:
        raise UnreadableInput("the disk is full")

    monkeypatch.setattr(Journal, "hand_over", full)
    async with serving() as (script, profile):
        with pytest.raises(UnreadableInput, match="the disk is full"):
            await run(profile, 2)
        await asyncio.sleep(0.05)
    assert script.took == []
