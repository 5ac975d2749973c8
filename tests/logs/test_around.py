"""A line read back from where the table says that it stands."""

from __future__ import annotations

import bz2
import gzip
import lzma

import pytest
import zstandard

import kit
from kit.errors import UnreadableInput
from kit.logs.around import LONGEST, offset_of, read_line
from kit.logs.rotation import find_sources

PACKERS = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress, ".zst": zstandard.ZstdCompressor().compress}
FAILED = (
    "2026-11-24T12:00:{:02d}Z mx postfix/smtpd[7]: warning: unknown[192.0.2.7]: SASL LOGIN authentication failed: no, sasl_username=u{}\n"
)


def texts(lines):
    return [line.text for line in lines]


@pytest.fixture(params=PACKERS, ids=lambda name: name or "plain")
def log(request, tmp_path):
    """Sixty failures, each ten thousand other lines behind the last: several blocks."""
    path = tmp_path / f"mail.log{request.param}"
    other = "2026-11-24T12:00:00Z mx cron: nothing to see\n" * 1_000
    path.write_bytes(PACKERS[request.param]("".join(other + FAILED.format(n, n) for n in range(60)).encode()))
    return path


def test_every_attempt_is_read_back_by_its_own_offset(log):
    rows = kit.read_logs(log).table.select(["file", "offset", "text"]).to_pylist()
    assert len(rows) == 60
    for row in rows[::7]:
        lines = read_line(row["file"], row["offset"], around=2)
        assert [line.chosen for line in lines] == [False, False, True, False, False][: len(lines)]
        assert lines[2].text == row["text"]
        assert texts(lines)[:2] == ["2026-11-24T12:00:00Z mx cron: nothing to see"] * 2


def test_a_line_is_found_by_its_number(log):
    source = find_sources([log])[0]
    for row in kit.read_logs(log).table.select(["line", "offset"]).to_pylist()[::7]:
        assert offset_of(source, row["line"]) == row["offset"]
    assert offset_of(source, 1) == 0
    with pytest.raises(UnreadableInput, match="has 60,060 lines"):
        offset_of(source, 60_061)


@pytest.mark.parametrize("ending", [b"\n", b"", b"\r\n"])
def test_at_both_ends_there_are_fewer_lines_around(tmp_path, ending):
    path = tmp_path / "mail.log"
    path.write_bytes(b"one\r\ntwo\nthree" + ending)
    assert texts(read_line(path, 0)) == ["one", "two", "three"]
    assert texts(read_line(path, 9, around=1)) == ["two", "three"]
    assert [(line.offset, line.chosen) for line in read_line(path, 5)] == [(0, False), (5, True), (9, False)]
    assert texts(read_line(path, 5, around=0)) == ["two"]


@pytest.mark.parametrize("offset", [1, 4, 7, 1_000, 10**12])
def test_where_no_line_begins_it_says_so(tmp_path, offset):
    path = tmp_path / "mail.log"
    path.write_bytes(b"one\ntw\n" + b"x" * 200_000 + b"\n" if offset != 4 else b"onetwo\n")
    if offset == 7:
        path.write_bytes(b"one\ntw\n")
    with pytest.raises(UnreadableInput, match="no line begins"):
        read_line(path, offset)


def test_passwords_are_hidden_and_length_is_bounded(tmp_path):
    path = tmp_path / "mail.log"
    path.write_bytes(b"a: password=hunter2 b\n" + b"\xff" * 300_000 + b"\nlast\n")
    lines = read_line(path, 0)
    assert "hunter2" not in lines[0].text
    assert len(lines[1].text) == LONGEST
    assert lines[2].text == "last"


def test_lines_longer_than_what_is_looked_at_before(tmp_path):
    path = tmp_path / "mail.log"
    path.write_bytes((b"x" * 100_000 + b"\n") * 4 + b"here\nbehind\n")
    lines = read_line(path, 400_004)
    assert [line.text for line in lines if line.chosen] == ["here"]
    assert lines[-1].text == "behind"
