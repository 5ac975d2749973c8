"""A log that is followed says at every moment what one read of its lines would say, however it is written and rotated."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kit
from kit.errors import UnreadableInput
from kit.logs.around import read_line
from kit.logs.tail import Tail

SAMPLES = Path("tests/logs/samples")
FORMATS = {
    name: gzip.decompress((SAMPLES / f"mail.{name}.log.gz").read_bytes()).splitlines(keepends=True) for name in ("iso", "json", "5424")
}
LINES = 150
"""Of a sample: some attempts of each kind, among them such that several lines tell of."""
FAILED = "2026-11-24T12:{:02d}:{:02d}Z mx postfix/smtpd[7]: warning: unknown[192.0.2.7]: SASL LOGIN authentication failed: no, sasl_username=u{}\n"


def failed(*numbers: int) -> str:
    return "".join(FAILED.format(*divmod(number, 60), number) for number in numbers)


def adds_up(tail: Tail) -> None:
    log = tail.log
    c = log.coverage
    assert c.attempt_lines + c.not_understood + c.undecodable + c.other == c.lines
    assert c.attempts == sum(log.table["count"].to_pylist())


def same(tail: Tail, *paths: Path) -> None:
    """Rows, in their order, with their place in the files; and what became of each line."""
    log, expected = tail.log, kit.read_logs(paths)
    assert log.table.to_pylist() == expected.table.to_pylist()
    assert log.coverage == expected.coverage
    assert log.unknown == expected.unknown
    assert log.problems == ()


class Written:
    """A log as a daemon writes it, and as rotation treats it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "mail.log"
        self.path.touch()
        self.stream = self.path.open("ab", buffering=0)

    def write(self, data: bytes) -> None:
        self.stream.write(data)

    def make_room(self) -> Path:
        """Each rotated file becomes one older."""
        for number in range(20, 0, -1):
            for ending in ("", ".gz"):
                older = self.path.with_name(f"mail.log.{number}{ending}")
                if older.exists():
                    older.rename(self.path.with_name(f"mail.log.{number + 1}{ending}"))
        return self.path.with_name("mail.log.1")

    def rename(self) -> Path:
        rotated = self.make_room()
        self.path.rename(rotated)
        return rotated

    def reopen(self) -> None:
        self.stream.close()
        self.stream = self.path.open("ab", buffering=0)

    def copy_and_cut(self, packed: bool) -> None:
        rotated = self.make_room()
        shutil.copy(self.path, rotated)
        self.stream.truncate(0)
        if packed:
            rotated.with_name("mail.log.1.gz").write_bytes(gzip.compress(rotated.read_bytes()))
            rotated.unlink()

    def files(self) -> list[Path]:
        return sorted(self.path.parent.glob("mail.log*"))


STEPS = st.lists(
    st.sampled_from(["write", "write", "look", "rename", "rename late", "away", "copy", "copy and pack", "no rotation"]), max_size=14
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), form=st.sampled_from(sorted(FORMATS)), steps=STEPS)
def test_random_pieces_and_rotations_give_what_one_read_gives(tmp_path_factory, data, form, steps):
    log = Written(tmp_path_factory.mktemp("log"))
    begin = LINES * data.draw(st.integers(0, len(FORMATS[form]) // LINES - 1))
    text = b"".join(FORMATS[form][begin : begin + LINES])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=len(steps), max_size=len(steps))))
    with Tail(log.path) as tail:
        at, was_empty = 0, True
        tail.look()
        for step, cut in zip(steps, cuts, strict=True):
            log.write(text[at:cut])
            at = cut
            match step:
                case "look":
                    tail.look()
                    adds_up(tail)
                case "rename":
                    log.rename()
                    log.reopen()
                case "rename late" if log.path.stat().st_size:  # the daemon writes to the old file until it is told
                    tail.look()
                    log.rename()
                    log.path.touch()
                    tail.look()
                    log.write(FORMATS[form][-1])
                    log.reopen()
                case "away":
                    log.rename()
                    tail.look()
                    log.reopen()
                case "copy" | "copy and pack" if log.path.stat().st_size:
                    if was_empty:
                        tail.look()  # what came into an empty file and went again between two looks nobody has seen
                    log.copy_and_cut(packed=step == "copy and pack")
            if step != "write":
                tail.look()
                was_empty = log.path.stat().st_size == 0
        log.write(text[at:])
        tail.look()
        tail.look()
        same(tail, *log.files())


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_at_every_moment_it_shows_what_one_read_of_the_lines_so_far_shows(tmp_path_factory, data):
    """Also while a later line may still add to an attempt: that is shown as it stands, and once."""
    folder = tmp_path_factory.mktemp("log")
    path, so_far = folder / "mail.log", folder / "so far" / "mail.log"
    so_far.parent.mkdir()
    lines = FORMATS["iso"][:LINES]
    path.touch()
    with Tail(path) as tail:
        for line_count in sorted(data.draw(st.sets(st.integers(1, LINES), min_size=3, max_size=6))):
            text = b"".join(lines[:line_count])
            path.write_bytes(text + b"".join(lines[line_count : line_count + 1])[:40])  # the next line has no end yet
            so_far.write_bytes(text)
            tail.look()
            ours = tail.log.table.drop_columns(["file"]).to_pylist()
            assert ours == kit.read_logs(so_far).table.drop_columns(["file"]).to_pylist()
            assert tail.log.coverage == kit.read_logs(so_far).coverage


def test_a_line_waits_for_its_end(tmp_path):
    path = tmp_path / "mail.log"
    text = failed(1, 2).encode()
    path.write_bytes(text[:-5])
    with Tail(path) as tail:
        assert tail.look()
        assert tail.log.coverage.lines == 1
        assert not tail.look()
        path.write_bytes(text)
        assert tail.look()
        assert tail.log.table["user"].to_pylist() == ["u1", "u2"]


def test_lines_of_rotated_files_are_read_back_where_they_are_now(tmp_path):
    log = Written(tmp_path)
    with Tail(log.path) as tail:
        for number in range(4):
            log.write(failed(number).encode())
            tail.look()
            log.rename()
            if number == 1:  # it goes into another folder, as `olddir` of logrotate has it
                log.path.with_name("mail.log.1").rename(tmp_path / "elsewhere")
            log.reopen()
        log.write(failed(4).encode())
        tail.look()
        rows = tail.log.table.to_pylist()
    assert [row["user"] for row in rows] == ["u0", "u1", "u2", "u3", "u4"]
    assert [Path(row["file"]).name for row in rows][::2] == ["mail.log.4", "mail.log.2", "mail.log"]
    assert rows[1]["file"].startswith(f"{log.path} (gone since ")
    for row in (*rows[:1], *rows[2:]):
        assert read_line(row["file"], row["offset"], around=0)[0].text == row["text"]


def test_what_an_emptied_file_may_have_taken_with_it_is_said(tmp_path):
    log = Written(tmp_path)
    log.write(failed(1, 2).encode())
    with Tail(log.path) as tail:
        tail.look()
        log.stream.truncate(0)
        log.write(failed(3).encode())
        tail.look()
        assert tail.log.table["user"].to_pylist() == ["u1", "u2", "u3"]
        assert "its last lines may be missing" in tail.log.problems[0]
        adds_up(tail)


def test_a_file_that_goes_for_good_or_is_not_there_yet(tmp_path):
    log = Written(tmp_path)
    with Tail(log.path) as tail:
        assert not tail.look()
        log.path.unlink()
        log.write(failed(1).encode())  # its writer does not know
        assert tail.look()
        assert not tail.look()
        log.reopen()
        log.write(failed(2).encode())
        assert tail.look()
        assert tail.log.table["user"].to_pylist() == ["u1", "u2"]
    with pytest.raises(UnreadableInput, match="there is no such file"):
        Tail(tmp_path / "other.log")


def test_the_year_is_that_of_the_writing_and_not_of_the_first_look(tmp_path):
    """A quiet server: years may lie between the first look and its first try."""
    path = tmp_path / "mail.log"
    path.write_text("Nov 20 10:00:00 mx cron[1]: nothing\n")
    os.utime(path, (1.6e9, 1.6e9))  # 2020-09-13
    with Tail(path) as tail:
        tail.look()
        with path.open("a") as stream:
            stream.write(
                "Nov  2 03:04:05 mx postfix/smtpd[7]: warning: unknown[192.0.2.7]: SASL LOGIN authentication failed: no, sasl_username=ann\n"
            )
        tail.look()
        now = datetime.now(UTC)
        assert tail.log.table["time"].to_pylist() == [
            datetime(now.year - (now < datetime(now.year, 11, 2, tzinfo=UTC)), 11, 2, 3, 4, 5, tzinfo=UTC)
        ]


@pytest.mark.parametrize("content", [gzip.compress(failed(1).encode()), b'[{"id": "1"},\n{"id": "2"}]\n'])
def test_what_does_not_grow_line_by_line_is_told(tmp_path, content):
    path = tmp_path / "mail.log"
    path.write_bytes(content)
    with Tail(path) as tail, pytest.raises(UnreadableInput, match="no log that grows line by line"):
        tail.look()


def test_earlier_files_are_read_first(tmp_path):
    log = Written(tmp_path)
    log.write(failed(1).encode())
    log.rename()
    log.reopen()
    log.write(failed(2).encode())
    with Tail(tmp_path) as tail:
        tail.look()
        log.write(failed(3).encode())
        tail.look()
        same(tail, *log.files())


def test_hardly_any_time_is_spent_on_a_log_that_rests(tmp_path):
    path = tmp_path / "mail.log"
    path.write_text(failed(*range(1000)))
    with Tail(path) as tail:
        tail.look()
        began = time.process_time()
        for _ in range(100):
            assert not tail.look()
        assert time.process_time() - began < 100 * 0.005, "less than 1 % of a processor, at a look every 0.7 seconds"


def test_many_small_looks_leave_few_tables(tmp_path):
    """An attempt is final 200 seconds after its last line: here after ten looks."""
    path = tmp_path / "mail.log"
    with path.open("w") as stream, Tail(path) as tail:
        for number in range(0, 3600, 20):
            stream.write(failed(number))
            stream.flush()
            tail.look()
        assert len(tail._tables) <= 2 + (3600 // 20).bit_length()
        assert tail.log.table.num_rows == 180


# ------------------------------------------------------------------------------------------------ commands


RECORD = {"__REALTIME_TIMESTAMP": "1795559472093435", "_HOSTNAME": "mx", "SYSLOG_IDENTIFIER": "postfix/smtpd", "_PID": "7"}


def record(number: int) -> str:
    message = f"warning: unknown[192.0.2.7]: SASL LOGIN authentication failed: no, sasl_username=u{number}"
    return json.dumps(RECORD | {"MESSAGE": message}) + "\n"


def printing(*actions: str) -> list[str]:
    return [sys.executable, "-uc", "import sys, time\n" + "\n".join(actions)]


def look_until(tail: Tail, users: int) -> None:
    deadline = time.monotonic() + 20
    while tail.log.table.num_rows < users and time.monotonic() < deadline:
        tail.look()
        time.sleep(0.02)


def test_what_a_command_prints_is_followed_and_it_ends_with_the_tail(tmp_path):
    text = record(1) + record(2) + record(3)[:50]
    with Tail(command=printing(f"sys.stdout.write({text!r}); time.sleep(60)")) as tail:
        look_until(tail, 2)
        assert tail.log.table["user"].to_pylist() == ["u1", "u2"]
        adds_up(tail)
        assert not tail.ended
        process = tail._growing._process
    assert process.poll() is not None


def test_a_command_that_fails_is_heard():
    with Tail(command=printing("sys.exit('No journal files were opened due to insufficient permissions.')")) as tail:
        while not tail.ended:
            tail.look()
        assert tail.log.problems == (f"{sys.executable}: No journal files were opened due to insufficient permissions.",)
    with pytest.raises(UnreadableInput, match="cannot be run"):
        Tail(command=["/no/such/command"])


def test_a_command_that_prints_without_pause_waits_and_does_not_fill_the_memory():
    with Tail(command=printing(f"while True: sys.stdout.write({record(1) * 200!r})")) as tail:
        while not tail._growing._queue.full():
            time.sleep(0.01)
        assert tail.look()
        adds_up(tail)
        assert not tail.ended


def test_a_command_ends_with_the_process_that_follows_it():
    """Also where nobody closes the tail, as when a kernel is stopped."""
    program = (
        "import sys\nfrom kit.logs.tail import Tail\n"
        "tail = Tail(command=[sys.executable, '-c', 'import time; time.sleep(60)'])\nprint(tail._growing._process.pid)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    state = Path(f"/proc/{int(done.stdout)}/stat")
    deadline = time.monotonic() + 20
    while state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert time.monotonic() < deadline
