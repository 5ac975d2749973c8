"""Several processes read what one reads: the same attempts, the same four numbers, wherever the pieces are cut."""

from __future__ import annotations

import gzip
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit.errors import UnreadableInput
from kit.logs import workers
from kit.logs.authlog import AuthLog, LogReader, collect
from kit.logs.rotation import find_sources
from tests.logs.test_slow_reader import HERE, STORY, logs

SAMPLES = sorted((HERE / "samples").iterdir())
LINE = "Nov 24 12:00:{:02d} mx postfix/smtpd[1]: warning: unknown[192.0.2.17]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=u{}\n"


def read(paths: list[Path], processes: int, **options: object) -> AuthLog:
    return collect(LogReader(paths, processes=processes, **options))


def assert_same(one: AuthLog, other: AuthLog) -> None:
    assert one.coverage == other.coverage
    assert one.unknown == other.unknown
    assert one.time_anchor == other.time_anchor
    assert one.problems == other.problems
    assert one.table.to_pylist() == other.table.to_pylist()


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> list[Path]:
    """Every sample as a plain file, for a packed one is never cut."""
    folder, found = tmp_path_factory.mktemp("plain"), []
    for path in (*SAMPLES, *STORY):
        data = path.read_bytes()
        found.append(folder / path.name.removesuffix(".gz"))
        found[-1].write_bytes(gzip.decompress(data) if path.suffix == ".gz" else data)
        os.utime(found[-1], (path.stat().st_mtime,) * 2)
    return found


@pytest.mark.parametrize(("piece", "processes"), [(1_999, 2), (20_000, 3), (1 << 24, 2)])
def test_every_sample(monkeypatch, plain, piece, processes):
    monkeypatch.setattr(workers, "PIECE", piece)
    one = read(plain, 1)
    assert one.table.num_rows > 1_000
    assert_same(one, read(plain, processes))


def test_packed_files_are_read_whole(monkeypatch):
    monkeypatch.setattr(workers, "PIECE", 1_000)
    assert_same(read(SAMPLES, 1), read(SAMPLES, 2))


def test_the_order_in_which_files_are_named_changes_nothing_but_the_order(plain):
    forth, back = read(plain, 1), read(plain[::-1], 2)
    key = lambda row: (row["file"], row["offset"], row["count"])  # noqa: E731
    assert sorted(forth.table.to_pylist(), key=key) == sorted(back.table.to_pylist(), key=key)
    assert forth.coverage == back.coverage


def in_turn(pieces: Iterator, processes: int) -> Iterator[workers.Scanned]:
    """What the workers do, in this process: through the same bytes."""
    for piece in pieces:
        yield pickle.loads(pickle.dumps(workers.scan_piece(pickle.loads(pickle.dumps(piece)))))


@pytest.mark.parametrize("piece", [1, 60, 700])
def test_any_log_cut_anywhere(monkeypatch, tmp_path, piece):
    monkeypatch.setattr(workers, "PIECE", piece)
    monkeypatch.setattr(workers, "scan_pieces", in_turn)
    path = tmp_path / "mail.log"

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(logs(seconds=190) | st.binary(min_size=1, max_size=8).map(lambda data: b"Nov 24 12:00:00 mx x: " + data))
    def agree(data):
        path.write_bytes(data)
        assert_same(read([path], 1, year=2026), read([path], 2, year=2026))

    agree()


def test_pieces_are_whole_lines_and_the_whole_file(tmp_path):
    path = tmp_path / "mail.log"
    data = b"".join(b"x" * n + b"\n" for n in (0, 5, 200_000, 0, 70_000, 3)) + b"no end"
    path.write_bytes(data)
    [source] = find_sources([path])
    for size in (1, 10, 65_536, 65_537, 1_000_000):
        bounds = [(piece.begin, piece.end) for piece in source.pieces(size)]
        assert [begin for begin, _ in bounds] == [0, *(end for _, end in bounds[:-1])]
        assert all(data[end - 1 : end] == b"\n" for _, end in bounds[:-1])
        assert bounds[-1][1] is None


def test_names_of_columns_reach_the_pieces_behind_them(monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "PIECE", 300)
    path = tmp_path / "mixed.log"  # a CSV alone is one piece, for a cell of it may hold line ends
    head = "Date (UTC),Request ID,Username,Client app,IP address,Status,Sign-in error code\n"
    row = "2026-11-24T08:00:{:02d}Z,r{},ann@example.test,Authenticated SMTP,192.0.2.7,Failure,50126\n"
    path.write_text(LINE.format(1, "a") + head + "".join(row.format(n, n) for n in range(40)))
    one = read([path], 1)
    assert one.coverage.attempts == 41
    assert_same(one, read([path], 2))


def test_a_new_year_between_two_pieces(monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "PIECE", 150)
    path = tmp_path / "mail.log"
    path.write_text(LINE.format(1, "a").replace("Nov 24", "Dec 31") + LINE.format(2, "b").replace("Nov 24", "Jan  1"))
    os.utime(path, (1_767_300_000,) * 2)  # 2 January 2026
    log = read([path], 2)
    assert [row["time"].isoformat() for row in log.table.to_pylist()] == ["2025-12-31T12:00:01+00:00", "2026-01-01T12:00:02+00:00"]
    assert_same(read([path], 1), log)


def test_a_time_that_does_not_exist_is_told_by_whoever_reads(monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "PIECE", 150)
    path = tmp_path / "mail.log"
    path.write_text(LINE.format(1, "a") + LINE.format(2, "b").replace("Nov 24", "Feb 30") + LINE.format(3, "c"))
    log = read([path], 2)
    assert (log.coverage.attempts, log.coverage.not_understood, log.coverage.lines) == (2, 1, 3)
    assert_same(read([path], 1), log)


def test_what_is_no_log_is_refused_as_by_one_process(tmp_path):
    path = tmp_path / "mail.log"
    path.write_bytes(bytes(range(256)) * 40)
    faults = []
    for processes in (1, 2):
        with pytest.raises(UnreadableInput) as fault:
            read([path], processes)
        faults.append(str(fault.value))
    assert faults[0] == faults[1]


def test_a_worker_that_dies_is_told(monkeypatch, tmp_path):
    path = tmp_path / "mail.log"
    path.write_text(LINE.format(1, "a") * 1000)
    start = workers._Worker.__enter__

    def die(self):
        start(self)._process.kill()
        return self

    monkeypatch.setattr(workers._Worker, "__enter__", die)
    with pytest.raises(UnreadableInput, match="the process that read it ended"):
        read([path], 2)


def test_an_interrupt_leaves_no_worker_behind(tmp_path):
    path = tmp_path / "mail.log"
    with path.open("w") as stream:
        stream.writelines(LINE.format(n % 60, n) for n in range(400_000))
    code = (
        "import sys; from kit.logs.authlog import LogReader\n"
        "for table in LogReader(sys.argv[1:], processes=2, year=2026).tables(): print(len(table), flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout.readline()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 2
        process.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in process.communicate(timeout=20)[1]
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_line_that_is_cut_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "PIECE", 300_000)
    path = tmp_path / "mail.log"
    path.write_text((LINE.format(1, "a") + "x" * 2_000_000 + "\n") * 2 + LINE.format(2, "b"))
    log = read([path], 1, year=2026)
    assert log.coverage.lines == 5
    [problem] = log.problems
    assert "2 lines are longer than 262,144 bytes" in problem
    assert_same(log, read([path], 2, year=2026))
