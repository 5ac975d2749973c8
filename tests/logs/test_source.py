"""Where lines come from: every byte is read or its absence is told, and what is no log is refused in words."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import re
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.errors import UnreadableInput
from kit.logs.authlog import AuthLog, read_logs
from kit.logs.rotation import find_sources
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


# ------------------------------------------------------------------------------------------------ packed

PACKINGS = {"gzip": gzip.compress, "xz": partial(lzma.compress, preset=0), "bzip2": bz2.compress, "zstd": zstandard.compress}


@pytest.fixture(scope="module")
def noise() -> bytes:
    """Some 5 MB that pack badly, so that the packed stream has many blocks."""
    return b"".join(
        b"2026-11-24T12:00:00Z mx other: %s\n" % random.Random(line).randbytes(60).hex().encode() + line
        for line in log_bytes(16_000).splitlines(keepends=True)
    )


@pytest.mark.parametrize("packing", PACKINGS)
def test_members_and_padding(path, packing):
    """As `cat a.gz b.gz` makes them; RFC 1952, the xz format, bzip2 and RFC 8878 all know several members, and some writers pad."""
    pack = PACKINGS[packing]
    path.write_bytes(pack(log_bytes(2)) + pack(b"") + pack(log_bytes(2, 2)[:50]) + pack(log_bytes(2, 2)[50:]) + b"\0" * 1000)
    log = read_logs(path)
    assert users(log) == ["u0", "u1", "u2", "u3"]
    assert log.problems == ()


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("share", [0.5, 0.999])
def test_cut_short_is_told(path, noise, packing, share):
    packed = PACKINGS[packing](noise)
    path.write_bytes(packed[: int(len(packed) * share)])
    log = read_logs(path)
    (problem,) = log.problems
    found = users(log)
    said = re.fullmatch(
        rf"{re.escape(str(path))}: the {packing} file is cut short; ([\d,]+) bytes of text before the cut could be unpacked", problem
    )
    lines = noise[: int(said[1].replace(",", ""))].splitlines(keepends=True)
    assert log.coverage.lines == len([line for line in lines if line.endswith(b"\n")])  # the last may be cut within a user's name
    assert found == [f"u{n}" for n in range(len(found))]
    # What is read is about as much as is there: a block of bzip2 is 900 kB of text, some 3,000 tries here; of the others less.
    assert 16_000 * share - 3_300 < len(found) <= 16_000


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("piece", [1 << 18, 1])
def test_what_stands_behind_the_packed_data_is_told_for_what_it_is(path, packing, piece, monkeypatch):
    """gzip(1) calls it trailing garbage, and the data is sound."""
    monkeypatch.setattr("kit.logs.source.BLOCK", piece)
    pack = PACKINGS[packing]
    path.write_bytes(pack(log_bytes(2)) + log_bytes(2, 2))
    log = read_logs(path)
    assert users(log) == ["u0", "u1"]
    assert log.problems == (f"{path}: behind the {packing} data stands something else, which was not read",)
    for cut in (1, 2, 3, 7):  # the beginning of a member is none
        path.write_bytes(pack(log_bytes(2)) + pack(log_bytes(2, 2))[:cut])
        assert "cut short" in read_logs(path).problems[0]


def test_a_zstd_frame_that_is_to_be_skipped_is(path):
    """RFC 8878 section 3.1.2: sixteen magic numbers."""
    pack = PACKINGS["zstd"]
    skipped = [bytes((kind, 0x2A, 0x4D, 0x18)) + (4).to_bytes(4, "little") + b"skip" for kind in range(0x50, 0x60)]
    path.write_bytes(b"".join((*skipped, pack(log_bytes(2)), *skipped, pack(log_bytes(2, 2)))))
    assert users(read_logs(path)) == ["u0", "u1", "u2", "u3"]


@pytest.mark.parametrize("packing", PACKINGS)
def test_damaged_in_the_middle_is_told(path, noise, packing):
    packed = bytearray(PACKINGS[packing](noise))
    half = len(packed) // 2
    packed[half : half + 2000] = b"\xff" * 2000
    path.write_bytes(packed)
    log = read_logs(path)
    assert f"the {packing} data is damaged (" in log.problems[0]  # a garbled line may be a long one, which is told too
    found = users(log)
    # Garbled text may come before the damage is seen, for only the check sum at the end of a gzip tells of it.
    assert found[:4_000] == [f"u{n}" for n in range(4_000)]
    assert log.coverage.lines == sum(
        (log.coverage.attempt_lines, log.coverage.other, log.coverage.not_understood, log.coverage.undecodable)
    )


@pytest.mark.parametrize("packing", PACKINGS)
def test_rubbish_behind_is_told(path, packing):
    path.write_bytes(PACKINGS[packing](log_bytes(3)) + b"rubbish, and more of it")
    log = read_logs(path)
    assert users(log) == ["u0", "u1", "u2"]
    assert len(log.problems) == 1


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("size", [3, 7])
def test_read_in_small_pieces(path, monkeypatch, packing, size):
    monkeypatch.setattr("kit.logs.source.BLOCK", size)
    path.write_bytes(PACKINGS[packing](log_bytes(3)) + PACKINGS[packing](log_bytes(3, 3)))
    assert users(read_logs(path)) == [f"u{n}" for n in range(6)]


def test_a_zstd_stream_that_begins_with_a_frame_to_skip(path):
    """RFC 8878, 3.1.2: 0x184D2A50 and a length; pzstd begins so."""
    path.write_bytes(bytes.fromhex("502a4d1804000000") + b"skip" + zstandard.compress(log_bytes(3)))
    assert users(read_logs(path)) == ["u0", "u1", "u2"]


def test_gzip_that_fails_its_checksum_is_told(path):
    data = bytearray(gzip.compress(log_bytes(3)))
    data[-8] ^= 1  # RFC 1952: CRC32, then the length
    path.write_bytes(gzip.compress(log_bytes(2)) + data)
    log = read_logs(path)
    assert len(log.problems) == 1
    assert users(log)[:2] == ["u0", "u1"]
    path.write_bytes(data)
    assert "damaged" in str(refusal(path))


STREAMS = {
    "plain": lambda path: path.open("wb"),
    "gzip": partial(gzip.open, mode="wb", compresslevel=1),
    "xz": partial(lzma.open, mode="wb", preset=0),
    "bzip2": partial(bz2.open, mode="wb", compresslevel=1),
    "zstd": partial(zstandard.open, mode="wb"),
}


@pytest.mark.needs("linux")
@pytest.mark.parametrize("packing", STREAMS)
def test_a_line_of_100_megabytes_takes_no_memory(path, packing):
    """However well it is packed: hardly more memory than for a log of one line."""

    def read(megabytes: int) -> tuple[int, int]:
        with STREAMS[packing](path) as stream:
            stream.write(log_bytes(1))
            for _ in range(megabytes):
                stream.write(b"x" * 1_000_000)
        code = f"import kit; print(kit.read_logs({str(path)!r}).coverage.lines, open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
        lines, kilobytes = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
        return int(lines), int(kilobytes)

    (one, before), (two, after) = read(0), read(100)
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


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_a_log_in_a_folder_that_is_utf_16_is_told(tmp_path, encoding):
    """As Out-File of Windows PowerShell writes one."""
    (tmp_path / "mail.log").write_text(LINE.format(0, 1))
    bom = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "other.log").write_bytes((bom + LINE.format(1, 2)).encode(encoding))
    (tmp_path / "setup.log").write_bytes((bom + "The setup began.\n").encode(encoding))  # no log in the first place
    (problem,) = read_logs(tmp_path, year=2026).problems
    assert "other.log: is UTF-16" in problem
    assert "iconv" in problem


def test_the_clients_report_in_a_folder_is_told(tmp_path):
    (tmp_path / "mail.log").write_text(LINE.format(0, 1))
    (tmp_path / "report.csv").write_text("Sender Address,Domain,TLS 1.2,Messages\nann@example.com,example.com,100,7\n")
    (problem,) = read_logs(tmp_path, year=2026).problems
    assert "SMTP AUTH clients report" in problem
    assert "kit basic" in problem


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


def test_files_named_one_by_one_are_put_in_order(tmp_path):
    """A shell's mail.log* comes in the order of letters; another log keeps its place."""
    names = ["mail.log", "mail.log.1", "mail.log.10.xz", "mail.log.2.bz2", "mail.log.3.zst"]
    order = ["mail.log.10.xz", "mail.log.3.zst", "mail.log.2.bz2", "mail.log.1", "mail.log"]
    for name in names:
        pack = {".xz": lzma.compress, ".bz2": bz2.compress, ".zst": zstandard.compress}.get(Path(name).suffix, bytes)
        (tmp_path / name).write_bytes(pack(log_bytes(1, order.index(name))))
    (tmp_path / "another.log").write_bytes(log_bytes(1, 9))
    paths = [tmp_path / "another.log", *(tmp_path / name for name in names)]
    assert users(read_logs(paths)) == ["u9", "u0", "u1", "u2", "u3", "u4"]


def test_a_file_is_read_once_by_whatever_name(tmp_path):
    log = tmp_path / "mail.log"
    log.write_bytes(log_bytes(2))
    (tmp_path / "mail.log.1").write_bytes(log_bytes(2, 2))
    (tmp_path / "link.log").symlink_to(log)
    (tmp_path / "hard.log").hardlink_to(log)
    assert sorted(users(read_logs([log, tmp_path, f"{tmp_path}/*.log", f"{tmp_path}/../{tmp_path.name}/mail.log"]))) == [
        "u0",
        "u1",
        "u2",
        "u3",
    ]


@pytest.mark.parametrize(("packed", "expected"), [(log_bytes(3), 3), (log_bytes(3)[:50], 3), (log_bytes(2, 5), 5)])
def test_a_file_that_is_packed_beside_itself_is_read_once(tmp_path, packed, expected):
    """As an interrupted rotation leaves it, whole or not; an older log under that name is another log."""
    (tmp_path / "mail.log.1").write_bytes(log_bytes(3))
    (tmp_path / "mail.log.1.gz").write_bytes(gzip.compress(packed))
    log = read_logs(tmp_path)
    assert len(users(log)) == len(set(users(log))) == expected


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (("mainlog", "mainlog.1", "rejectlog", "rejectlog.1"), ["mainlog.1", "mainlog"]),
        (("main.log", "reject.log"), ["main.log"]),
        (("exim_mainlog", "exim_rejectlog"), ["exim_mainlog"]),
        (("rejectlog",), ["rejectlog"]),
        (("mainlog", "rejects"), ["mainlog", "rejects"]),
    ],
)
def test_what_exim_writes_to_two_logs_is_read_once(tmp_path, names, kept):
    """Exim's LOG_MAIN|LOG_REJECT: what is refused stands in both, line for line."""
    line = (
        b"2026-11-03 10:00:00 plain_server authenticator failed for (pc) [192.0.2.60]: 535 Incorrect authentication data (set_id=alice)\n"
    )
    for name in names:
        (tmp_path / name).write_bytes(line)
    assert [Path(source.name).name for source in find_sources([tmp_path])] == kept
    assert read_logs(tmp_path).coverage.attempts == len(kept)


def test_a_log_whose_first_lines_have_no_time_is_found_in_a_folder(tmp_path):
    """journalctl begins with a remark, a rotated file perhaps within a line of several."""
    (tmp_path / "mail.log").write_bytes(b"-- Logs begin at Tue 2026-11-24 --\n" + log_bytes(1))
    assert users(read_logs(tmp_path)) == ["u0"]


# ------------------------------------------------------------------------------------------------ what may happen while it is read


def test_a_file_that_grows_while_it_is_read(path, monkeypatch):
    """What is appended before the end is reached is read too; what comes later is for the next time."""
    monkeypatch.setattr("kit.logs.source.BLOCK", 300)
    path.write_bytes(log_bytes(20))
    size = path.stat().st_size
    done = []

    def append(source):
        if not done:
            done.append(source)
            with path.open("ab") as stream:
                stream.write(log_bytes(5, 20))

    monkeypatch.setattr("kit.logs.scan.FLUSH", 1)
    log = read_logs(path, progress=append)
    assert users(log) == [f"u{n}" for n in range(25)]
    assert done[0].size == size


def test_a_file_that_is_emptied_while_it_is_read(path, monkeypatch):
    """logrotate's copytruncate: the lines until then are read, and nothing falls over."""
    monkeypatch.setattr("kit.logs.source.BLOCK", 300)
    monkeypatch.setattr("kit.logs.scan.FLUSH", 1)
    path.write_bytes(log_bytes(20))
    log = read_logs(path, progress=lambda _: os.truncate(path, 0))
    found = users(log)
    assert 0 < len(found) < 20
    assert found == [f"u{n}" for n in range(len(found))]
    assert log.coverage.lines - len(found) in (0, 1)  # of the last one only the beginning may have been there


def test_a_hole_of_zeros_is_one_line(path):
    """A crash leaves a block of zeros in the middle, without disk space behind it."""
    with path.open("wb") as stream:
        stream.write(log_bytes(40))  # at its beginning, 4 kB of text show that it is a log
        stream.truncate(30_000_000)
        stream.seek(30_000_000)
        stream.write(b"\n" + log_bytes(2, 40))
    log = read_logs(path)
    assert users(log) == [f"u{n}" for n in range(42)]
    assert (log.coverage.lines, log.coverage.other) == (43, 1)


@pytest.mark.parametrize("pack", [bytes, *PACKINGS.values()])
def test_any_bytes_at_all_are_accounted_for(tmp_path_factory, pack):
    path = tmp_path_factory.mktemp("any") / "mail.log"

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.binary(max_size=80) | st.sampled_from(FRAGMENTS), max_size=12).map(b"".join))
    def account(data):
        data = CONNECT.encode() * 20 + data  # or it might be no text at all
        path.write_bytes(pack(data))
        coverage = read_logs(path).coverage
        assert coverage.lines == data.count(b"\n") + (not data.endswith(b"\n"))
        assert coverage.lines == coverage.attempt_lines + coverage.other + coverage.not_understood + coverage.undecodable

    account()


FRAGMENTS = [
    b"\n",
    b"\r\n",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"Nov 24 12:00:00 ",
    b"Feb 30 12:00:00 ",
    b"auth",
    b"SASL",
    log_bytes(1),
    b"{",
    b"}",
    b"<22>1 ",
]
FRAGMENTS += [
    b'{"log":"',
    b'","time":"',
    b"@400000006ae9a4c61dcd6500 ",
    b"name  | ",
    b"2026-11-24T12:00:00Z stdout F ",
    b"imap-login: Info: ",
    b"exim[1]: ",
]

# ------------------------------------------------------------------------------------------------ standard input


@pytest.mark.parametrize("pack", [bytes, *PACKINGS.values()])
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


def test_sixteen_megabytes_without_a_word_about_signing_in(path):
    other = b"2026-11-24T12:00:00Z mx CRON[7]: (root) CMD (run-parts /etc/cron.hourly)\n"
    path.write_bytes(log_bytes(1) + other * 400_000 + log_bytes(1, 1))
    log = read_logs(path)
    assert users(log) == ["u0", "u1"]
    assert (log.coverage.lines, log.coverage.other) == (400_002, 400_000)
