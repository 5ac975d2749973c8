"""What belongs together in a log is found together, and nothing else; without a server."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from kit.cli import main
from kit.errors import UnreadableInput, UsageError
from kit.logs import find, stories
from kit.logs import trace as trace_module
from kit.logs.ends import ends_of, found_missing
from kit.logs.find import as_word
from kit.logs.trace import trace
from kit.logs.trail import State
from kit.model import Cause, Severity
from kit.sending.sent import Sent, read_sent

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def way(
    queue_id: str,
    name: str,
    *,
    minute: int = 0,
    pid: int = 77,
    to: str = "bob@example.test",
    end: str = "status=sent (delivered to maildir)",
) -> str:
    """What Postfix logs of one message with that Message-ID."""
    lines = [
        f"postfix/submission/smtpd[{pid}]: connect from unknown[192.0.2.7]",
        f"postfix/submission/smtpd[{pid}]: {queue_id}: client=unknown[192.0.2.7], sasl_method=PLAIN, sasl_username=ann@example.test",
        f"postfix/cleanup[78]: {queue_id}: message-id=<{name}@example.test>",
        f"postfix/qmgr[79]: {queue_id}: from=<ann@example.test>, size=823, nrcpt=1 (queue active)",
        f"postfix/submission/smtpd[{pid}]: disconnect from unknown[192.0.2.7] ehlo=1 auth=1 mail=1 rcpt=1 data=1 quit=1 commands=6",
        f"postfix/virtual[80]: {queue_id}: to=<{to}>, relay=virtual, delay=0.02, delays=0.01/0.01/0/0, dsn=2.0.0, {end}",
        f"postfix/qmgr[79]: {queue_id}: removed",
    ]
    start = NOON + timedelta(minutes=minute)
    return "".join(f"{start + timedelta(seconds=n):%Y-%m-%dT%H:%M:%SZ} mx {line}\n" for n, line in enumerate(lines))


OTHERS = "".join(way(f"B{n:010X}", f"other.{n}", minute=n, pid=900 + n) for n in range(30))


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "mail.log"
    path.write_text(OTHERS)
    return path


def told(story) -> list[str]:
    return [event.text for event in story.events]


def run(*arguments, given: bytes | None = None):
    done = CliRunner().invoke(main, ["trace", *map(str, arguments)], input=given)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


# ------------------------------------------------------------------------------------------------ what belongs together


@pytest.mark.parametrize("term", ["<other.7@example.test>", "other.7@example.test", "[B0000000007]", "B0000000007", " b0000000007 "])
def test_one_message_and_no_other(log, term):
    (story,) = trace([term], log).stories
    assert (story.kind, story.ids, story.message_id, story.left) == ("message", ("B0000000007",), "other.7@example.test", True)
    assert [event.time for event in story.events] == [NOON + timedelta(minutes=7, seconds=n) for n in range(7)]
    assert [event.line for event in story.events] == list(range(50, 57))
    lines = OTHERS.splitlines(keepends=True)
    assert [event.offset for event in story.events] == [sum(map(len, lines[:n])) for n in range(49, 56)]


def test_a_queue_id_that_comes_again_is_another_message(tmp_path):
    path = tmp_path / "mail.log"
    path.write_text(way("99EFB276413", "first") + OTHERS + way("99EFB276413", "second", minute=60, end="status=bounced (unknown user)"))
    (story,) = trace(["second@example.test"], path).stories
    assert [fate.state for fate in story.fates] == [State.BOUNCED]
    assert len(story.events) == 7
    first, second = trace(["99EFB276413"], path).stories
    assert (first.message_id, second.message_id) == ("first@example.test", "second@example.test")


def test_a_process_that_serves_many_and_a_number_that_comes_again(tmp_path):
    """Other connections of the same smtpd, before and behind, are not in the story; nor is another program of that number."""
    path = tmp_path / "mail.log"
    other = "2026-11-24T12:30:00Z mx postfix/qmgr[77]: statistics\n"
    path.write_text(way("A000000001", "before") + other + way("A000000002", "sought", minute=31) + way("A000000003", "behind", minute=32))
    (story,) = trace(["sought@example.test"], path).stories
    assert len(story.events) == 7
    assert story.ids == ("A000000002",)


def test_several_messages_over_one_connection_are_told_apart(tmp_path):
    path = tmp_path / "mail.log"
    one, two = way("A000000001", "one").splitlines(keepends=True), way("A000000002", "two").splitlines(keepends=True)
    path.write_text("".join([*one[:4], *two[1:], *one[5:]]))
    (story,) = trace(["one@example.test"], path).stories
    assert story.ids == ("A000000001",)
    assert not any("A000000002" in text for text in told(story))
    assert [text.split()[0] for text in told(story)] == [
        "connect",
        "A000000001:",
        "A000000001:",
        "A000000001:",
        "disconnect",
        "A000000001:",
        "A000000001:",
    ]


@pytest.mark.parametrize("hops", [1, 3])
def test_through_as_many_filters_as_there_are(tmp_path, hops):
    """Each filter gives the message back under another id; the log says so in the answer, though the Message-ID were gone."""
    path = tmp_path / "mail.log"
    ends = [f"status=sent (250 2.0.0 Ok: queued as A00000000{n + 1})" for n in range(hops)] + ["status=sent (delivered to maildir)"]
    path.write_text(OTHERS + "".join(way(f"A00000000{n}", f"name.{n}", minute=40 + n, end=end) for n, end in enumerate(ends)))
    (story,) = trace(["name.0@example.test"], path).stories
    assert story.ids == tuple(f"A00000000{n}" for n in range(hops + 1))
    assert [(fate.state, fate.where) for fate in story.fates] == [(State.DELIVERED, "virtual")]
    (again,) = trace([f"A00000000{hops}"], path).stories
    assert again.ids == story.ids  # from its end back to its beginning


def test_what_a_filter_says_of_it_is_a_part_of_it(tmp_path):
    """Its line begins with no id of the queue; it names one, or the Message-ID."""
    path = tmp_path / "mail.log"
    says = (
        "2026-11-24T12:00:04Z mx amavis[5]: (5-01) Passed CLEAN, Queue-ID: A000000001, Hits: -\n",
        "2026-11-24T12:00:04Z mx rspamd[6]: <a1b2c3>; id: <one@example.test>, from: <ann@example.test>, no action\n",
    )
    other = "2026-11-24T12:00:04Z mx amavis[5]: (5-02) Passed CLEAN, Queue-ID: A000000009, Hits: -\n"
    lines = way("A000000001", "one").splitlines(keepends=True)
    path.write_text("".join([*lines[:4], *says, other, *lines[4:]]))
    for term in ("one@example.test", "A000000001"):
        (story,) = trace([term], path).stories
        assert [event.program for event in story.events if event.says is None] == ["amavis", "rspamd"]
    assert [story.kind for story in trace(["ann@example.test"], path).stories] == ["message"]


def test_an_id_that_the_log_does_not_know_is_where_it_went(tmp_path):
    path = tmp_path / "mail.log"
    sent = (
        way("A000000001", "one")
        .replace("postfix/virtual[80]", "postfix/smtp[80]")
        .replace("relay=virtual", "relay=mx.example.net[192.0.2.9]:25")
    )
    path.write_text(sent.replace("delivered to maildir", "250 2.0.0 Ok: queued as C0FFEE0001"))
    (story,) = trace(["one@example.test"], path).stories
    assert [(fate.state, fate.where) for fate in story.fates] == [(State.HANDED_ON, "mx.example.net[192.0.2.9]:25")]
    assert ends_of(story)[0].severity is Severity.OK


def test_the_last_word_on_each_recipient_counts(tmp_path):
    path = tmp_path / "mail.log"
    lines = way("A000000001", "one", end="status=deferred (mailbox is full)").splitlines(keepends=True)
    later = lines[5].replace("12:00:05", "13:00:05").replace("status=deferred (mailbox is full)", "status=sent (delivered to maildir)")
    other = lines[5].replace("bob@", "carol@")
    path.write_text("".join([*lines[:6], other]))
    (story,) = trace(["one@example.test"], path).stories
    assert (story.left, [(f.recipient, f.state) for f in story.fates]) == (
        False,
        [("bob@example.test", State.DEFERRED), ("carol@example.test", State.DEFERRED)],
    )
    assert {end.cause for end in ends_of(story)} == {Cause.QUOTA}
    path.write_text("".join([*lines[:6], other, later]))
    (story,) = trace(["one@example.test"], path).stories
    assert {f.recipient: f.state for f in story.fates} == {"bob@example.test": State.DELIVERED, "carol@example.test": State.DEFERRED}


def test_a_message_without_an_end_is_something_to_look_at(tmp_path):
    path = tmp_path / "mail.log"
    path.write_text("".join(way("A000000001", "one").splitlines(keepends=True)[:5]))
    (story,) = trace(["one@example.test"], path).stories
    assert "says nothing of its end" in ends_of(story)[0].title
    assert run("one@example.test", path).exit_code == 1


# ------------------------------------------------------------------------------------------------ where it is looked for


def test_over_midnight_in_a_rotated_and_packed_file(tmp_path):
    lines = way("A000000001", "one").splitlines(keepends=True)
    (tmp_path / "mail.log.2.gz").write_bytes(gzip.compress(OTHERS.encode()))
    (tmp_path / "mail.log.1").write_text(OTHERS + "".join(lines[:2]))
    (tmp_path / "mail.log").write_text("".join(lines[2:]) + OTHERS)
    (story,) = trace(["one@example.test"], tmp_path).stories
    assert len(story.events) == 7
    assert [event.file for event in story.events] == [str(tmp_path / name) for name in ("mail.log.1",) * 2 + ("mail.log",) * 5]
    assert trace(["one@example.test"], tmp_path).lines == 3 * 210 + 7


def as_journald(lines: str, *, octets: bool = False) -> str:
    records = []
    for line in lines.splitlines():
        time, host, tag, message = line.split(" ", 3)
        program, _, pid = tag.rstrip("]:").partition("[")
        micros = int(datetime.fromisoformat(time).timestamp() * 1e6)
        record = {"__REALTIME_TIMESTAMP": str(micros), "_HOSTNAME": host, "SYSLOG_IDENTIFIER": program, "_PID": pid}
        records.append(json.dumps(record | {"MESSAGE": list(message.encode()) if octets else message}, separators=(",", ":")))
    return "\n".join(records) + "\n"


@pytest.mark.parametrize(
    "form",
    [
        as_journald,
        lambda text: as_journald(text, octets=True),
        lambda text: text.replace("T12:", " 12:").replace("2026-11-24 12", "Nov 24 12").replace("Z mx", " mx"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "".join(
            f"<22>1 {a} {b} {c.partition('[')[0]} {c.partition('[')[2].rstrip(']:')} - - {d}\n"
            for a, b, c, d in (x.split(" ", 3) for x in text.splitlines())
        ),
    ],
    ids=["journald", "journald, octets", "RFC 3164", "CRLF", "RFC 5424"],
)
def test_whatever_stands_before_the_message(tmp_path, form):
    path = tmp_path / "mail.log"
    path.write_bytes(form(OTHERS).encode())
    (story,) = trace(["other.7@example.test"], path, year=2026).stories
    assert [event.time for event in story.events] == [NOON + timedelta(minutes=7, seconds=n) for n in range(7)]


def test_standard_input_is_read_as_often_as_it_takes(log):
    done = subprocess.run(
        [sys.executable, "-m", "kit", "trace", "other.7@example.test", "-", "--json"],
        input=log.read_bytes(),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    document = json.loads(done.stdout)
    assert len(document["stories"][0]["events"]) == 7


def test_a_zone_and_a_time_choose(log):
    found = trace(["ann@example.test"], log, since=NOON + timedelta(minutes=10), until=NOON + timedelta(minutes=12))
    assert [story.ids for story in found.stories] == [("B000000000A",), ("B000000000B",)]
    (story,) = trace(["other.7@example.test"], log, zone="Europe/Berlin").stories  # the lines name their own
    assert story.begin == NOON + timedelta(minutes=7)


# ------------------------------------------------------------------------------------------------ words


@pytest.mark.parametrize(
    ("term", "yes", "no"),
    [
        (
            "ann@example.com",
            ["<ann@example.com>", "ANN@Example.COM", "user=ann@example.com,", "ann@example.com. It"],
            ["joann@example.com", "x.ann@example.com", "ann@example.com.au", "ann@example.community"],
        ),
        ("192.0.2.1", ["[192.0.2.1]", "::ffff:192.0.2.1", "192.0.2.1:25", "rip=192.0.2.1, "], ["192.0.2.10", "1192.0.2.1", "192.0.2.1.5"]),
        ("2001:db8::1", ["[2001:db8::1]", "2001:DB8::1,"], ["2001:db8::12", "2001:db8::1:5"]),
        ("99EFB276413", ["99EFB276413: removed", "as 99efb276413)"], ["199EFB276413", "99EFB276413A"]),
        ("908e12ae", ["msgid=908e12ae ", "evpid=908e12ae86ae2824 "], ["908e12ae8", "x908e12ae"]),
    ],
)
def test_a_term_is_a_word_of_its_own(term, yes, no):
    assert [text for text in yes if not as_word(term).search(text)] == []
    assert [text for text in no if as_word(term).search(text)] == []


@pytest.mark.parametrize("term", ["", "  ", "abc", "<ab>", "a\nbcd", "x" * 501, "\ud800abcd"])
def test_what_is_too_short_or_no_text_is_wrong_use(log, term):
    with pytest.raises(UsageError):
        trace([term], log)
    assert run(term, log).exit_code == 2


@given(st.text(max_size=40), st.binary(max_size=300))
def test_nothing_that_is_asked_or_read_raises_but_our_own(tmp_path_factory, term, content):
    path = tmp_path_factory.getbasetemp() / "odd.log"
    path.write_bytes(OTHERS.encode()[:2000] + b"\n2026-11-24T12:00:00Z mx x: " + term.encode("utf-8", "replace") + content + b"\n")
    try:
        found = trace([term], path)
    except (UsageError, UnreadableInput):
        return
    assert found.lines > 1


# ------------------------------------------------------------------------------------------------ bounded


def test_of_what_is_found_too_often_the_last_is_kept(log, monkeypatch):
    monkeypatch.setattr(trace_module, "MOST_LINES", 6)
    found = trace(["ann@example.test"], log)
    assert found.cut
    assert [story.ids for story in found.stories] == [(f"B{n:010X}",) for n in (27, 28, 29)]
    assert all(len(story.events) == 7 for story in found.stories), "what belongs to the last is complete"
    assert any("these are the last" in finding.title for finding in found_missing(found))


def test_what_belongs_to_it_is_bounded_too(log, monkeypatch):
    monkeypatch.setattr(find, "MOST", 20)
    monkeypatch.setattr(stories, "MOST_BESIDE", 1)
    assert len(trace(["ann@example.test"], log).stories) <= 30


# ------------------------------------------------------------------------------------------------ not there


def test_nothing_found_says_how_far_the_log_reaches(log):
    (finding,) = found_missing(trace(["nobody@example.test"], log))
    assert finding.severity is Severity.WARNING
    assert finding.evidence == ("210 lines were looked through", f"{log}: 2026-11-24 12:00:00 UTC to 2026-11-24 12:29:06 UTC")
    done = run("nobody@example.test", log)
    assert done.exit_code == 1
    assert "No line of these logs holds it" in done.stdout


@pytest.mark.parametrize(("minutes", "words"), [(-60, "and they begin at"), (60, "and they end at"), (10, "holds it")])
def test_where_the_client_knows_when_it_says_which_way_to_look(log, minutes, words):
    sent = Sent(ids=("not.there@example.test",), recipients=(), events=((NOON + timedelta(minutes=minutes), "is told yes"),))
    found = trace([], log, sent=sent)
    assert [event.side for event in found.client] == ["client"]
    assert words in found_missing(found, sent)[0].title


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"message_id": 1}',
        '{"entries": [{}]}',
        "not json",
        '{"message_id":"<a@b>","queue_id":null,"accepted":[],"rejected":[],"steps":[{}]}',
    ],
)
def test_a_file_that_kit_send_did_not_print(tmp_path, log, text):
    path = tmp_path / "sent.json"
    path.write_text(text)
    with pytest.raises(UnreadableInput, match="kit send --json prints"):
        read_sent(path)
    done = run(path, log)
    assert (done.exit_code, done.stdout) == (2, "")


# ------------------------------------------------------------------------------------------------ the command


def test_pandas_is_not_loaded_for_it(log):
    code = "import sys; from kit.cli import main; main(sys.argv[1:], standalone_mode=False)"
    code = f"import atexit, sys; atexit.register(lambda: print('pandas' in sys.modules, file=sys.stderr)); {code}"
    done = subprocess.run([sys.executable, "-c", code, "trace", "ann@example.test", str(log)], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1:] == ["False"]


def test_json_is_one_document_with_all_of_it(log):
    done = run("other.7@example.test", log, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert set(document) == {"sought", "stories", "client", "lines", "covered", "time_anchor", "problems", "cut", "findings"}
    (story,) = document["stories"]
    assert story["fates"] == [
        {
            "recipient": "bob@example.test",
            "state": "delivered",
            "where": "virtual",
            "why": "delivered to maildir",
            "time": "2026-11-24T12:07:05+00:00",
        }
    ]
    assert [finding["severity"] for finding in story["findings"]] == ["ok"]
    assert story["attempts"][0]["user"] == "ann@example.test"


def test_a_terminal_shows_text_and_obeys_nothing(tmp_path):
    path = tmp_path / "mail.log"
    path.write_text(way("A000000001", "one", end="status=bounced (\x1b[31m\x9b0m\u202e password=hunter2 )"))
    done = run("one@example.test", path)
    assert "hunter2" not in done.stdout
    assert all(character.isprintable() or character == "\n" for character in done.stdout)
    assert "\\x1b[31m" in done.stdout


@pytest.mark.parametrize("paths", [[], ["/no/such/log"], [os.devnull]])
def test_wrong_use_and_what_cannot_be_read_end_with_two(paths):
    done = run("other.7@example.test", *paths)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("kit: ")


def test_an_empty_log_is_told(tmp_path):
    (tmp_path / "mail.log").touch()
    with pytest.raises(UnreadableInput, match="no line in it"):
        trace(["other.7@example.test"], tmp_path / "mail.log")


def test_a_cut_file_is_read_as_far_as_it_goes_and_told(tmp_path):
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as stream:
        stream.write(OTHERS.encode() * 20)
    path = tmp_path / "mail.log.gz"
    path.write_bytes(packed.getvalue()[:-30])
    done = run("other.7@example.test", path)
    assert done.exit_code == 1
    assert "cut short" in done.stderr


def test_a_line_of_a_log_by_its_number(log):
    done = run(f"{log}:52")
    assert "B0000000007" in done.stdout
    assert done.stdout == run(f"{log}:52", log).stdout
    assert run(f"{log}:9999").exit_code == 2
