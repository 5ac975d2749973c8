"""`kit send` to real servers, then `kit trace` on their logs: the whole way of each message, and whatever stands around a failed sign-in."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

import kit
from kit.cli import main
from kit.logs.ends import ends_of, found_missing
from kit.logs.trace import trace
from kit.logs.trail import State
from kit.model import Cause, Outcome, Profile, Security, Severity
from kit.redact import Secret
from kit.sending.entries import Series
from kit.sending.journal import Journal
from kit.sending.mail import mail
from kit.sending.pace import Limit, Pace
from kit.sending.sent import find_sent, last_sent, read_sent
from kit.sending.series import send_series
from tests.servers.exim import exim
from tests.servers.opensmtpd import opensmtpd
from tests.servers.postfix_dovecot import USERS, postfix_with_dovecot

ALICE, BOB, FAR, GONE = (f"{name}@example.test" for name in ("alice", "bob", "far", "gone"))
NEEDS_POSTFIX = pytest.mark.needs("postfix", "dovecot", "syslog")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as door:
        return door.getsockname()[1]


@pytest.fixture(scope="module")
def servers():
    """Postfix, in which mail to far@ waits for a server that is not there, mail to gone@ goes to one that refuses it, and mail to bob@
    comes back through a filter."""
    again, no = free_port(), free_port()
    maps = f"inline:{{ {{ {FAR} = smtp:[127.0.0.1]:1 }}, {{ {GONE} = smtp:[127.0.0.1]:{no} }} }}"
    settings = f"transport_maps = {maps}\nsmtpd_sender_restrictions = check_recipient_access inline:{{ {{ {BOB} = FILTER smtp:[127.0.0.1]:{again} }} }}"
    with postfix_with_dovecot(USERS | {"far": "good-far", "gone": "good-gone"}, settings=settings) as running:
        master = running.folder / "postfix/master.cf"
        back = f"127.0.0.1:{again} inet n - n - 10 smtpd\n  -o syslog_name=postfix/filtered\n  -o mynetworks=127.0.0.0/8\n  -o smtpd_sender_restrictions=\n"
        refusing = f"127.0.0.1:{no} inet n - n - 10 smtpd\n  -o syslog_name=postfix/refusing\n  -o smtpd_client_restrictions=reject\n"
        master.write_text(master.read_text() + "smtp unix - - n - - smtp\n" + back + refusing)
        subprocess.run(["postfix", "-c", str(running.folder / "postfix"), "reload"], check=True, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", again), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield running


def profile_of(server, port: int, user: str = ALICE) -> Profile:
    return Profile(host="localhost", port=port, security=Security.TLS, user=user, ca_file=server.ca_file)


async def send(server, to: str, tmp_path, password: str = "good-alice", sender: str = ALICE):
    user, port = (ALICE, server.submissions_port) if hasattr(server, "submissions_port") else ("alice", server.tls_port)
    message = kit.build_test_message(sender, [to])
    result = await kit.send(profile_of(server, port, user), message, Secret(password), budget=tmp_path / "budget", attempts_an_hour=20)
    return message, result


def kit_trace(*arguments):
    done = CliRunner().invoke(main, ["trace", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def states(story) -> list[State]:
    return [event.state for event in story.events if event.state is not State.TOLD]


# ------------------------------------------------------------------------------------------------ Postfix


@NEEDS_POSTFIX
@pytest.mark.parametrize("by", ["trace id", "Message-ID", "queue id"])
async def test_postfix_the_whole_way_through_a_filter(servers, tmp_path, by):
    message, result = await send(servers, BOB, tmp_path)
    assert result.ok, result.findings
    servers.wait_for(rf"to=<{BOB}>, relay=virtual.*status=sent", after=servers.log().find(result.queue_id))
    term = {"trace id": message["X-Kit-Trace"], "Message-ID": message["Message-ID"], "queue id": result.queue_id}[by]
    servers.wait_for(f"{second_id(servers.log(), result.queue_id)}: removed")
    (story,) = trace([term], servers.log_file).stories
    assert story.ids == (result.queue_id, second_id(servers.log(), result.queue_id))
    assert (story.message_id, story.sender, story.left) == (message["Message-ID"].strip("<>"), ALICE, True)
    assert [(fate.recipient, fate.state, fate.where) for fate in story.fates] == [(BOB, State.DELIVERED, "virtual")]
    assert sorted(states(story)) == sorted(
        [State.RECEIVED, State.QUEUED, State.HANDED_ON, State.ENDS, State.RECEIVED, State.QUEUED, State.DELIVERED, State.ENDS]
    )
    # The client's own connection, from its beginning to its end, and none of others.
    programs = [event.program for event in story.events if event.says and event.says.endswith(" connects")]
    assert programs == ["postfix/smtps/smtpd", "postfix/filtered/smtpd"]
    assert [(a.outcome, a.user) for a in story.attempts] == [(Outcome.SUCCESS, ALICE)]
    (end,) = ends_of(story)
    assert (end.severity, end.cause) == (Severity.OK, Cause.NONE)
    assert kit_trace(term, servers.log_file).exit_code == 0


def second_id(log: str, first: str) -> str:
    return next(line for line in log.splitlines() if f"{first}: to=" in line).rpartition("queued as ")[2].rstrip(")")


@NEEDS_POSTFIX
async def test_postfix_what_waits_in_the_queue_says_why(servers, tmp_path):
    _, result = await send(servers, FAR, tmp_path)
    servers.wait_for(f"{result.queue_id}: .*status=deferred")
    (story,) = trace([result.queue_id], servers.log_file).stories
    assert (story.left, [(fate.recipient, fate.state) for fate in story.fates]) == (False, [(FAR, State.DEFERRED)])
    (end,) = ends_of(story)
    assert (end.severity, end.cause) == (Severity.WARNING, Cause.UNREACHABLE)
    done = kit_trace(result.queue_id, servers.log_file)
    assert done.exit_code == 1
    assert "Still in the queue for far@example.test" in done.stdout


@NEEDS_POSTFIX
async def test_postfix_what_is_given_up_says_why(servers, tmp_path):
    _, result = await send(servers, GONE, tmp_path)
    servers.wait_for(f"{result.queue_id}: removed")
    (story,) = trace([result.queue_id], servers.log_file).stories
    assert (story.left, [(fate.recipient, fate.state) for fate in story.fates]) == (True, [(GONE, State.BOUNCED)])
    assert any(event.says and event.says.startswith("is reported: sender non-delivery notification") for event in story.events)
    (end,) = ends_of(story)
    assert end.severity is Severity.ERROR
    assert "554 5.7.1" in end.evidence[0]


@NEEDS_POSTFIX
async def test_postfix_a_failed_sign_in_with_all_that_stands_around_it(servers, tmp_path):
    start = servers.log_file.stat().st_size
    await send(servers, BOB, tmp_path, "wrong")
    servers.wait_for(r"disconnect from .* auth=0/1 ", after=start)
    (row,) = [row for row in kit.read_logs(servers.log_file).table.to_pylist() if row["offset"] >= start]
    assert row["cause"] == "wrong-password"
    found = trace([], servers.log_file, at=(row["file"], row["offset"]))
    (story,) = found.stories
    assert (story.kind, [event.sought for event in story.events].count(True)) == ("connection", 1)
    # Both programs, in the order of the log: the smtpd from connect to disconnect, and Dovecot's word in the midst of it.
    assert {event.program for event in story.events} == {"postfix/smtps/smtpd", "dovecot"}
    said = [event.says for event in story.events]
    assert said[0].endswith(" connects")
    assert said[-1].startswith("unknown[127.0.0.1] is gone")
    assert any("Password mismatch" in each for each in said)
    (attempt,) = story.attempts
    assert (attempt.user, attempt.cause, attempt.offset) == (ALICE, Cause.WRONG_PASSWORD, row["offset"])
    (end,) = ends_of(story)
    assert end.cause is Cause.WRONG_PASSWORD
    place = f"{servers.log_file}:{row['line']}"
    assert "the password was wrong" in kit_trace(place).stdout
    assert kit_trace(place).stdout == kit_trace(place, servers.log_file).stdout


@NEEDS_POSTFIX
async def test_postfix_what_was_never_taken(servers, tmp_path):
    start = servers.log_file.stat().st_size
    await send(servers, "nobody-at-all@example.test", tmp_path)
    servers.wait_for(r"disconnect from .* rcpt=0/1 ", after=start)
    (story,) = trace(["nobody-at-all@example.test"], servers.log_file).stories
    assert (story.kind, [fate.state for fate in story.fates]) == ("connection", [State.REFUSED])
    assert ends_of(story)[0].cause is Cause.RECIPIENT


@NEEDS_POSTFIX
async def test_what_the_client_knows_stands_on_the_same_time_line(servers, tmp_path):
    _, result = await send(servers, ALICE, tmp_path)
    servers.wait_for(f"{result.queue_id}: removed")
    path = tmp_path / "sent.json"
    path.write_text(json.dumps(kit.model.to_plain(result)))
    (story,) = trace([], servers.log_file, sent=read_sent(path)).stories
    sides = [event.side for event in story.events]
    assert sides.count("client") == len(result.steps)
    times = [event.time for event in story.events]
    assert times == sorted(times)
    # The server logs that the message begins to come in once the client has signed in, and has delivered it when the client has heard 250.
    words = [f"{event.side} {event.says}" for event in story.events]
    assert index(words, "client auth") < index(words, "server begins to come in") < index(words, "client message")
    done = kit_trace(path, servers.log_file, "--json")
    document = json.loads(done.stdout)
    assert [each["side"] for each in document["stories"][0]["events"]] == sides
    assert "good-alice" not in done.stdout


def index(words: list[str], beginning: str) -> int:
    return next(n for n, word in enumerate(words) if word.startswith(beginning))


@NEEDS_POSTFIX
async def test_each_message_of_a_series_by_its_journal(servers, tmp_path, monkeypatch):
    monkeypatch.setenv("KIT_STATE_DIR", str(tmp_path))
    series = Series(target="t", account="a", messages=3, sender=ALICE, recipients=(ALICE,))
    mails = [mail(kit.build_test_message(ALICE, [ALICE])) for _ in range(3)]
    pace = Pace("a", [Limit(most=1000, window="minute", seconds=60.0, source="a test")], path=tmp_path / "book")
    with Journal.start(series, now=datetime.now(UTC)) as journal:
        result = await send_series(
            profile_of(servers, servers.submissions_port),
            lambda number: mails[number - 1],
            Secret("good-alice"),
            pace=pace,
            journal=journal,
            budget=tmp_path / "book",
        )
    assert result.connections == 1
    entries = result.entries
    for entry in entries:
        servers.wait_for(f"{entry.queue_id}: removed")
    assert [sent.ids for sent in last_sent()] == [find_sent(entry.trace).ids for entry in reversed(entries)]
    for entry in entries:
        (story,) = trace([entry.trace], servers.log_file, sent=find_sent(entry.trace)).stories
        assert story.ids == (entry.queue_id,)  # the others came over the same connection, and are not in it
        assert [event.side for event in story.events].count("client") == 1
        assert [fate.state for fate in story.fates] == [State.DELIVERED]


@NEEDS_POSTFIX
async def test_what_is_not_there_is_told_with_what_that_may_mean(servers, tmp_path):
    _, result = await send(servers, ALICE, tmp_path)
    servers.wait_for(f"{result.queue_id}: removed")
    old = tmp_path / "mail.log.1"
    old.write_text("2026-01-02T03:04:05Z mx postfix/qmgr[1]: 99EFB276413: removed\n")
    path = tmp_path / "sent.json"
    path.write_text(json.dumps(kit.model.to_plain(result)))
    sent = read_sent(path)
    (finding,) = found_missing(trace([], old, sent=sent), sent)
    assert "and they end at 2026-01-02 03:04:05 UTC" in finding.title
    done = kit_trace(path, old)
    assert done.exit_code == 1
    assert "What the client knows" in done.stdout


# ------------------------------------------------------------------------------------------------ others


@pytest.mark.parametrize(
    ("name", "start"),
    [
        pytest.param("Exim", exim, marks=pytest.mark.needs("exim")),
        pytest.param("OpenSMTPD", opensmtpd, marks=pytest.mark.needs("opensmtpd")),
    ],
)
async def test_the_others_tell_the_whole_way_too(tmp_path, name, start):
    with start() as server:
        message, result = await send(server, ALICE, tmp_path)
        await send(server, "nobody@example.test", tmp_path)
        await send(server, ALICE, tmp_path, "wrong")
        server.wait_for(f"{result.queue_id} Completed" if name == "Exim" else "mda delivery", after=0)
        server.wait_for("no MAIL in SMTP connection" if name == "Exim" else "Authentication failed", after=0)
        log = tmp_path / "log"
        log.write_bytes(server.log_file.read_bytes())
    (story,) = trace([result.queue_id], log).stories
    assert (story.ids, story.left, story.sender) == ((result.queue_id,), True, ALICE)
    assert [(fate.recipient, fate.state) for fate in story.fates] == [(ALICE, State.DELIVERED)]
    assert ends_of(story)[0].severity is Severity.OK
    assert [(a.outcome, a.user) for a in story.attempts] == [(Outcome.SUCCESS, "alice")]
    if name == "Exim":
        assert [each.ids for each in trace([message["X-Kit-Trace"]], log).stories] == [story.ids]
        assert story.message_id == message["Message-ID"].strip("<>")
    else:
        assert trace([message["X-Kit-Trace"]], log).stories == (), "it logs no Message-ID"
    (refused,) = trace(["nobody@example.test"], log).stories
    assert [fate.state for fate in refused.fates] == [State.REFUSED]
    assert ends_of(refused)[0].cause is Cause.RECIPIENT
    failed = [story for story in trace(["alice"], log).stories if any(a.outcome is Outcome.FAILURE for a in story.attempts)]
    assert len(failed) == 1
    assert len(failed[0].events) > 1
    assert ends_of(failed[0])[0].cause is Cause.CREDENTIALS
