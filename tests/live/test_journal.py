"""The journal of a series: whatever cuts it short, no message goes out twice, and none is lost in silence."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit.auth.budget import account_of
from kit.errors import UnreadableInput, UsageError
from kit.model import Profile, Security
from kit.sending.entries import Series, State, found_in_doubt, series_of
from kit.sending.journal import Journal, journal_folder, read_journal, unfinished

NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
SERIES = Series(
    target="mail.example.com",
    account="anna@mail.example.com",
    profile=Profile(host="mail.example.com", port=465, security=Security.TLS, user="anna", ca_file="/etc/ca.pem", name="mail"),
    messages=4,
    sender="anna@example.com",
    recipients=("ben@example.net",),
)


def test_a_series_has_settings_that_hold_in_every_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    profile = Profile(host="mx.example.com", port=465, security=Security.TLS, cert_file="me.pem")
    series = series_of(profile, sender="a@example.com", messages=2, recipients=("b@example.com",))
    assert series.profile.cert_file == str(tmp_path / "me.pem")
    assert series.account == account_of(series.profile), "else it could not be gone on with"


class Server:
    """What a real one would have: what it took, however the client ended."""

    def __init__(self) -> None:
        self.took: list[int] = []


def play(journal: Journal, server: Server, tell: Callable[[], None] = lambda: None) -> None:
    """A series of four: accepted, refused, later and then accepted, and the last one cut after the content. `tell` after each event."""

    def hand_over(number: int) -> None:
        journal.hand_over(number, now=NOON, message_id=f"<{number}@example.com>", trace=f"trace{number}", recipients=["ben@example.net"])
        tell()
        server.took.append(number)

    hand_over(1)
    journal.conclude(1, State.ACCEPTED, now=NOON, code=250, queue_id="4C0FFEE1")
    tell()
    journal.conclude(2, State.REFUSED, now=NOON, code=550, rejected=["ben@example.net"])
    tell()
    journal.conclude(3, State.LATER, now=NOON, code=451, recipients=["ben@example.net"], until=NOON + timedelta(minutes=5))
    tell()
    hand_over(3)
    journal.conclude(3, State.ACCEPTED, now=NOON, code=250, queue_id="4C0FFEE3")
    tell()
    hand_over(4)


@pytest.fixture
def whole(tmp_path) -> tuple[Path, list[int]]:
    """The journal of that series, and its length after each event."""
    lengths: list[int] = []
    with Journal.start(SERIES, now=NOON, folder=tmp_path) as journal:
        path = tmp_path / f"{journal.name}.jsonl"
        lengths.append(path.stat().st_size)
        play(journal, Server(), lambda: lengths.append(path.stat().st_size))
    return path, lengths


def states(entries) -> list[str]:
    return [entry.state.value for entry in entries]


def test_it_reads_as_it_was_written(whole):
    path, lengths = whole
    series, entries, length = read_journal(path)
    assert series == SERIES
    assert length == path.stat().st_size == lengths[-1]
    assert states(entries) == ["accepted", "refused", "accepted", "handed-over"]
    first, second, third, fourth = entries
    assert (first.queue_id, first.code, first.message_id, first.trace) == ("4C0FFEE1", 250, "<1@example.com>", "trace1")
    assert (second.code, second.rejected, second.message_id) == (550, ("ben@example.net",), None)
    assert (third.tries, third.until, third.queue_id) == (1, None, "4C0FFEE3")
    assert fourth.recipients == ("ben@example.net",)


def test_cut_at_every_octet_nothing_is_sent_twice_and_nothing_is_lost(whole, tmp_path):
    path, lengths = whole
    raw = path.read_bytes()
    # What the server has once so many events are on the disk: the content goes out after the event that says so, and only then.
    took = {1: [1], 5: [1, 3], 7: [1, 3, 4]}
    for size in range(len(raw) + 1):
        cut = tmp_path / f"20261102-120000-{size:04x}.jsonl"
        cut.write_bytes(raw[:size])
        events = sum(length <= size for length in lengths) - 1
        if events < 0:
            with pytest.raises(UnreadableInput, match="nothing was sent"):
                Journal.resume(cut.stem, folder=tmp_path)
            continue
        perhaps = {number for at, numbers in took.items() if at <= events for number in numbers}
        with Journal.resume(cut.stem, folder=tmp_path) as journal:
            left = {entry.number for entry in journal.left}
            doubtful = {entry.number for entry in journal.in_doubt}
            ended = {entry.number for entry in journal.entries if entry.state in (State.ACCEPTED, State.REFUSED)}
            assert not left & perhaps, size
            assert perhaps <= doubtful | ended, size
            assert left | doubtful | ended == {1, 2, 3, 4}, size
            assert len(left) + len(doubtful) + len(ended) == 4, size
            # What is written now stands behind whole lines.
            for entry in journal.left:
                journal.conclude(entry.number, State.REFUSED, now=NOON, code=550)
        assert not {"planned", "later"} & set(states(read_journal(cut)[1])), size
        cut.unlink()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, 2000), st.binary(max_size=40))
def test_what_a_disk_leaves_in_place_of_the_last_line_says_nothing(whole, size, rubbish):
    path, lengths = whole
    raw = path.read_bytes()
    size = min(size, len(raw))
    size = max((length for length in lengths if length <= size), default=None) or lengths[0]
    cut = path.with_name("20261102-120000-0000.jsonl")
    cut.write_bytes(raw[:size] + b"\0" + rubbish.replace(b"\n", b"\0"))
    assert read_journal(cut)[2] == size
    cut.write_bytes(raw[:size] + b"\0" + rubbish.replace(b"\n", b"\0") + b"\n")
    assert read_journal(cut)[2] == size


@pytest.mark.parametrize(
    "line",
    [
        b"rubbish",
        b"{}",
        b"[1]",
        b'{"number": 0, "state": "accepted", "time": 1}',
        b'{"number": 5, "state": "accepted", "time": 1}',
        b'{"number": -1, "state": "accepted", "time": 1}',
        b'{"number": 2, "state": "eaten", "time": 1}',
        b'{"number": 2, "state": "accepted"}',
        b'{"number": 2, "state": "accepted", "time": "noon"}',
        b'{"number": 1, "state": "handed-over", "time": 1}',  # what was accepted was never handed over again
        b"[" * 100_000,
    ],
)
def test_a_line_in_the_middle_that_does_not_read_ends_it_as_nobody_knows_what_it_said(whole, line):
    path, lengths = whole
    raw = path.read_bytes()
    path.write_bytes(raw[: lengths[2]] + line + b"\n" + raw[lengths[2] :])
    with pytest.raises(UnreadableInput, match="line 4 of the journal"):
        Journal.resume(path.stem, folder=path.parent)


def test_what_is_in_doubt_is_named(whole):
    path, _ = whole
    with Journal.resume(path.stem, folder=path.parent) as journal:
        (entry,) = journal.in_doubt
    finding = found_in_doubt(entry)
    assert "Message 4" in finding.title
    assert finding.evidence == ("Message-ID: <4@example.com>", "trace: trace4", "for ben@example.net", "at 2026-11-02 12:00:00 UTC")
    assert "not sent again" in finding.next_step


def test_of_two_recipients_the_one_that_waits_is_kept_and_the_one_that_is_refused_is_not_forgotten(tmp_path):
    with Journal.start(SERIES, now=NOON, folder=tmp_path) as journal:
        journal.hand_over(1, now=NOON, message_id="<1@example.com>", trace=None, recipients=["a@example.net"])
        until = NOON + timedelta(minutes=5)
        later = {"recipients": ["b@example.net"], "rejected": ["c@example.net"], "until": until}
        journal.conclude(1, State.LATER, now=NOON, code=450, queue_id="4C0FFEE", **later)
    with Journal.resume(journal.name, folder=tmp_path) as journal:
        entry = journal.left[0]
        assert (entry.recipients, entry.rejected, entry.queue_id) == (("b@example.net",), ("c@example.net",), "4C0FFEE")
        assert entry.until == until.timestamp()
        journal.conclude(1, State.REFUSED, now=NOON, code=550, rejected=["b@example.net"])
        assert journal.entries[0].rejected == ("c@example.net", "b@example.net")
        assert journal.entries[0].recipients == ()


def test_two_processes_do_not_send_the_same_series(tmp_path):
    code = (
        "import sys; from pathlib import Path; from kit.errors import UsageError; from kit.sending.journal import Journal\n"
        "try: Journal.resume(sys.argv[1], folder=Path(sys.argv[2]))\n"
        "except UsageError as fault: print(fault); sys.exit(3)\n"
    )

    def other(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code, name, str(tmp_path)], capture_output=True, text=True, check=False)

    with Journal.start(SERIES, now=NOON, folder=tmp_path) as journal:
        refused = other(journal.name)
        assert refused.returncode == 3
        assert "is being sent right now" in refused.stdout
        with pytest.raises(UsageError, match="right now"):  # nor twice in one process, as notebooks have it
            Journal.resume(journal.name, folder=tmp_path)
    assert other(journal.name).returncode == 0


def test_a_process_that_is_killed_leaves_no_lock(tmp_path):
    code = (
        "import os, signal, sys; from datetime import datetime, UTC; from pathlib import Path\n"
        "from kit.sending.journal import Journal, Series\n"
        "series = Series(target='x', account='x', messages=2, sender='a@example.com', recipients=('b@example.com',))\n"
        "journal = Journal.start(series, now=datetime.now(UTC), folder=Path(sys.argv[1]))\n"
        "journal.hand_over(1, now=datetime.now(UTC), message_id='<1@example.com>', trace=None, recipients=['b@example.com'])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode != 0
    (name,) = unfinished(tmp_path)
    with Journal.resume(name, folder=tmp_path) as journal:
        assert states(journal.entries) == ["handed-over", "planned"]


def test_where_it_cannot_be_written_the_content_does_not_go_out(tmp_path, monkeypatch):
    server = Server()
    with Journal.start(SERIES, now=NOON, folder=tmp_path) as journal:

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(UnreadableInput, match="No space left") as fault:
            play(journal, server)
        assert journal.name in fault.value.next_step
        monkeypatch.undo()
        with pytest.raises(UnreadableInput):  # nor does anything go out after it
            play(journal, server)
        assert states(journal.entries) == ["planned"] * 4
    assert server.took == []


def test_half_a_line_on_a_full_disk_is_nothing(tmp_path, monkeypatch):
    with Journal.start(SERIES, now=NOON, folder=tmp_path) as journal:
        whole = journal._file

        class Full:
            fileno, close = whole.fileno, whole.close

            def write(self, line: bytes) -> int:
                return whole.write(line[:9])

        journal._file = Full()
        with pytest.raises(UnreadableInput, match="half a line"):
            journal.conclude(1, State.REFUSED, now=NOON, code=550)
    with Journal.resume(journal.name, folder=tmp_path) as journal:
        assert states(journal.entries) == ["planned"] * 4


@pytest.mark.parametrize("name", ["", "20261102-120000-0000", "../attempts", "20261102-120000-0000/../x", "x" * 500])
def test_a_name_that_is_none(tmp_path, name):
    with pytest.raises(UsageError, match="there is no series"):
        Journal.resume(name, folder=tmp_path)


def test_unfinished_ones_are_found_by_name(tmp_path):
    names = []
    for minutes, ended in enumerate((True, False, False)):
        with Journal.start(SERIES, now=NOON + timedelta(minutes=minutes), folder=tmp_path) as journal:
            for entry in journal.left if ended else ():
                journal.conclude(entry.number, State.REFUSED, now=NOON, code=550)
            names.append(journal.name)
    (tmp_path / "20261102-110000-0000.jsonl").write_text("rubbish\n")
    assert list(unfinished(tmp_path)) == names[1:]
    assert unfinished(tmp_path)[names[1]] == SERIES
    assert unfinished(tmp_path / "nowhere") == {}


def test_journals_of_long_ago_are_cleared_away(tmp_path):
    kept = {}
    for days in (29, 31):
        with Journal.start(SERIES, now=NOON, folder=tmp_path) as journal:
            kept[days] = journal.name
        for file in tmp_path.glob(f"{journal.name}.*"):
            os.utime(file, (NOON.timestamp(), NOON.timestamp() - days * 86400))
    Journal.start(SERIES, now=NOON, folder=tmp_path).close()
    assert kept[29] in unfinished(tmp_path)
    assert not list(tmp_path.glob(f"{kept[31]}*"))


@pytest.mark.needs("linux")
def test_only_its_owner_reads_it_and_no_content_is_in_it(whole):
    path, _ = whole
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.glob("*.*")} == {0o600}
    keys = {key for line in path.read_text().splitlines()[1:] for key in json.loads(line)}
    assert keys == {"number", "state", "time", "message_id", "trace", "recipients", "rejected", "code", "queue_id", "until"}


def test_the_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("KIT_STATE_DIR", str(tmp_path))
    assert journal_folder() == tmp_path / "series"
