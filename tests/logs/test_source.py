"""Where lines come from: every byte is read or its absence is told, and what is no log is refused in words."""

from __future__ import annotations

import gzip
import io
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kit.errors import UnreadableInput
from kit.logs.authlog import AuthLog, read_logs
from kit.logs.source import LONGEST_LINE

LINE = "2026-11-24T12:00:{:02d}Z mx postfix/smtpd[1]: warning: unknown[192.0.2.17]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=u{}\n"
CONNECT = "2026-11-24T12:00:00Z mx postfix/smtpd[1]: connect from unknown[192.0.2.17]\n"
ROOT = Path(__file__).parents[2]


def log_bytes(count: int, start: int = 0) -> bytes:
    return "".join(LINE.format(n % 60, n) for n in range(start, start + count)).encode()


def users(log: AuthLog) -> list[str]:
    return [row["user"] for row in log.table.to_pylist()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mail.log"


# ------------------------------------------------------------------------------------------------ plain files


def test_last_line_without_its_end(path):
    path.write_bytes(log_bytes(3)[:-1])
    log = read_logs(path)
    assert log.coverage.lines == 3
    assert users(log) == ["u0", "u1", "u2"]


@pytest.mark.parametrize(
    "long", [b"x" * 2_000_000, b"x" * (LONGEST_LINE - 1), b"x" * LONGEST_LINE, "é".encode() * 1_000_000, b"x" + "é".encode() * 1_000_000]
)
@pytest.mark.parametrize("before", [0, 1, 3000])
def test_a_line_of_megabytes_is_one_line(path, long, before):
    first, rest = log_bytes(before), log_bytes(2, before)
    path.write_bytes(first + long + b"\n" + rest)
    log = read_logs(path)
    assert log.coverage.lines == before + 3
    assert log.coverage.other == 1  # ordinary text, though long, and valid UTF-8 wherever it is cut
    rows = log.table.to_pylist()[before:]
    assert [row["line"] for row in rows] == [before + 2, before + 3]
    assert [row["offset"] for row in rows] == [len(first + long) + 1, len(first + long) + 1 + len(rest.split(b"\n")[0]) + 1]
    assert [row["user"] for row in rows] == [f"u{before}", f"u{before + 1}"]


def test_a_line_of_megabytes_at_the_end(path):
    path.write_bytes(log_bytes(1) + b"x" * 2_000_000)
    assert read_logs(path).coverage.lines == 2


def test_offsets_lead_to_the_lines(path, monkeypatch):
    monkeypatch.setattr("kit.logs.source.BLOCK", 1000)
    data = (CONNECT.encode() + log_bytes(1)) * 100
    path.write_bytes(data)
    rows = read_logs(path).table.to_pylist()
    assert len(rows) == 100
    for row in rows:
        assert data[row["offset"] :].decode().split("\n", 1)[0] == row["text"]
        assert data.count(b"\n", 0, row["offset"]) == row["line"] - 1


def test_a_few_zeros_after_a_crash_do_not_make_it_binary(path):
    path.write_bytes(log_bytes(10) + b"\0" * 50 + b"\n" + log_bytes(1, 10))
    assert len(users(read_logs(path))) == 11


# ------------------------------------------------------------------------------------------------ gzip


def test_gzip_of_several_members_and_padding(path):
    members = gzip.compress(log_bytes(2)) + gzip.compress(log_bytes(2, 2)[:50]) + gzip.compress(log_bytes(2, 2)[50:])
    path.write_bytes(members + b"\0" * 1000)
    log = read_logs(path)
    assert users(log) == ["u0", "u1", "u2", "u3"]
    assert log.problems == ()


@pytest.fixture(scope="module")
def long_gzip() -> bytes:
    noise = b"".join(
        b"2026-11-24T12:00:00Z mx other: %s\n" % random.Random(line).randbytes(40).hex().encode() + line
        for line in log_bytes(20_000).splitlines(keepends=True)
    )
    return gzip.compress(noise, 6)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.999])
def test_gzip_cut_short_is_told(path, long_gzip, share):
    path.write_bytes(long_gzip[: int(len(long_gzip) * share)])
    log = read_logs(path)
    assert log.problems == (f"{path}: the gzip file is cut short; the lines before the cut were read",)
    assert users(log)[:3] == ["u0", "u1", "u2"]
    # What is read is about as much as is there: a deflate block is some 100 kB of text.
    assert 20_000 * share - 3000 < len(users(log)) <= 20_000


def test_gzip_damaged_in_the_middle_is_told(path, long_gzip):
    half = len(long_gzip) // 2
    path.write_bytes(long_gzip[:half] + b"\xff" * 2000 + long_gzip[half + 2000 :])
    log = read_logs(path)
    assert len(log.problems) == 1
    assert "damaged" in log.problems[0]
    assert "u0" in users(log)


def test_gzip_with_rubbish_behind_is_told(path):
    path.write_bytes(gzip.compress(log_bytes(3)) + b"rubbish")
    log = read_logs(path)
    assert users(log) == ["u0", "u1", "u2"]
    assert len(log.problems) == 1


def test_gzip_that_fails_its_checksum_is_told(path):
    data = bytearray(gzip.compress(log_bytes(3)))
    data[-8] ^= 1  # RFC 1952: CRC32, then the length
    path.write_bytes(gzip.compress(log_bytes(2)) + data)
    log = read_logs(path)
    assert len(log.problems) == 1
    assert users(log)[:2] == ["u0", "u1"]
    path.write_bytes(data)
    assert "damaged" in str(refusal(path))


@pytest.mark.needs("linux")
def test_a_gzip_bomb_stays_small(path):
    """300 MB of nothing in a small gzip: one line, and hardly more memory than for a log of one line."""

    def read(log: bytes) -> tuple[int, int]:
        path.write_bytes(log)
        code = f"import resource, kit; log = kit.read_logs({str(path)!r}); print(log.coverage.lines, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        lines, kilobytes = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
        return int(lines), int(kilobytes)

    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1) as stream:
        stream.write(log_bytes(1))
        for _ in range(300):
            stream.write(b"x" * 1_000_000)
    (one, before), (two, after) = read(gzip.compress(log_bytes(1))), read(buffer.getvalue())
    assert (one, two) == (1, 2)
    assert after - before < 50_000


# ------------------------------------------------------------------------------------------------ what is no log


def refusal(path) -> UnreadableInput:
    started = time.monotonic()
    with pytest.raises(UnreadableInput) as caught:
        read_logs(path)
    assert time.monotonic() - started < 5
    assert caught.value.next_step
    assert str(path) in caught.value.where
    return caught.value


def test_missing(path):
    assert "no such file" in str(refusal(path))


def test_empty(path):
    path.touch()
    assert "no line" in str(refusal(path))


def test_empty_gzip(path):
    path.write_bytes(gzip.compress(b""))
    assert "no line" in str(refusal(path))


@pytest.mark.parametrize(
    "data",
    [
        bytes(range(256)) * 100,
        b"\x7fELF" + b"\0" * 500,
        b"\x89PNG\r\n\x1a\n" + b"\0\1\2\3" * 100,
        gzip.compress(random.Random(1).randbytes(5000)),
    ],
)
def test_binary(path, data):
    path.write_bytes(data)
    assert "not a text log" in str(refusal(path))


@pytest.mark.needs("linux")
def test_pipe(path):
    os.mkfifo(path)
    assert "- <" in str(refusal(path))


@pytest.mark.needs("linux")
@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
def test_device(device):
    assert "device" in str(refusal(device))


@pytest.mark.needs("linux")
def test_socket(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        assert "socket" in str(refusal("s"))


def test_loop_of_links(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert "circle" in str(refusal(tmp_path / "a"))


def test_link_to_nothing(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "nowhere")
    assert "no such file" in str(refusal(tmp_path / "a"))


def test_a_file_taken_for_a_folder(path):
    path.write_bytes(log_bytes(1))
    assert "not a folder" in str(refusal(path / "mail.log"))


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, ""])
def test_a_name_that_no_file_can_have(name):
    with pytest.raises(UnreadableInput):
        read_logs(name)


@pytest.mark.needs("root")
def test_no_permission(path):
    path.write_bytes(log_bytes(1))
    path.chmod(0o640)
    for folder in path.parents:
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)
    # Nobody may read no mail log; the modules are loaded before, for nobody may not read them either, perhaps.
    code = (
        "import os, sys, kit, kit.cli, kit.commands.logs, kit.logs.authlog, kit.logs.export, kit.logs.report, kit.logs.options, kit.logs.progress, kit.logs.summary\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"sys.argv = ['kit', 'logs', {str(path)!r}]; kit.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert "you may not read it" in done.stderr
    assert f"sudo cat {path} | kit logs -" in done.stderr
    assert "Traceback" not in done.stderr


# ------------------------------------------------------------------------------------------------ folders


def test_folder_without_logs(tmp_path):
    (tmp_path / "notes.txt").write_text("Dear diary\n")
    (tmp_path / "empty.log").touch()
    (tmp_path / "deeper").mkdir()
    assert "no file here begins like a log" in str(refusal(tmp_path))


def test_a_log_in_a_folder_that_is_damaged_from_its_beginning_is_told(tmp_path):
    (tmp_path / "mail.log").write_text(LINE.format(0, 1))
    (tmp_path / "mail.log.2.xz").write_bytes(b"\xfd7zXZ\0" + b"\0" * 50)
    (tmp_path / "wtmp").write_bytes(b"\0\1\2" * 999)  # no log, and nothing to tell
    log = read_logs(tmp_path, year=2026)
    assert log.coverage.lines == 1
    (problem,) = log.problems
    assert "mail.log.2.xz" in problem
    assert "xz" in problem


def test_folder_with_rotated_logs_oldest_first(tmp_path):
    """logrotate's numbers count backwards; the plain name is the newest."""
    for place, name in enumerate(["mail.log.10.gz", "mail.log.2.gz", "mail.log.1", "mail.log"]):
        data = log_bytes(2, 2 * place)
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert users(read_logs(tmp_path)) == [f"u{n}" for n in range(8)]
    assert users(read_logs(f"{tmp_path}/mail.log*")) == [f"u{n}" for n in range(8)]


@pytest.mark.parametrize(
    "names",
    [
        ["maillog-20261101.gz", "maillog-20261108", "maillog"],  # dateext
        ["mail.log-2026110123", "mail.log-2026110200", "mail.log"],
        ["mail-2026-11-01.log", "mail-2026-11-02.log"],
        ["mail.2.log", "mail.1.log", "mail.log"],
        ["mail.log.2", "mail.log.1", "mail.log"],
    ],
)
def test_order_of_rotated_names(tmp_path, names):
    for place, name in enumerate(names):
        data = log_bytes(1, place)
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert users(read_logs(tmp_path)) == [f"u{n}" for n in range(len(names))]


def test_each_file_counts_its_own_lines(tmp_path):
    for name in ("mail.log.1", "mail.log"):
        (tmp_path / name).write_bytes(log_bytes(2))
    rows = read_logs([tmp_path / "mail.log.1", tmp_path / "mail.log"]).table.to_pylist()
    assert [(Path(row["file"]).name, row["line"]) for row in rows] == [
        ("mail.log.1", 1),
        ("mail.log.1", 2),
        ("mail.log", 1),
        ("mail.log", 2),
    ]


# ------------------------------------------------------------------------------------------------ standard input


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input(pack):
    done = subprocess.run(
        [sys.executable, "-m", "kit", "logs", "-", "--json"], input=pack(log_bytes(3)), capture_output=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert b'"attempts": 3' in done.stdout
    assert done.stderr == b""


def test_standard_input_that_is_closed():
    code = "import sys, os; os.close(0); sys.stdin = None; sys.argv = ['kit', 'logs', '-']; import kit.cli; kit.cli.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert "standard input" in done.stderr
    assert "Traceback" not in done.stderr
