"""Stamps to times: the year that RFC 3164 leaves out, zones, and stamps of times that never were."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import zstandard

from kit.errors import UsageError
from kit.logs.authlog import read_logs
from tests.logs.slow_lines import MONTHS
from tests.logs.slow_reader import read_slowly

LINE = "{} mx postfix/smtpd[1]: warning: unknown[192.0.2.17]: SASL LOGIN authentication failed: UGFzc3dvcmQ6"


def read(tmp_path, *stamps: str, modified: str | None = None, **options):
    path = tmp_path / "mail.log"
    path.write_text("".join(LINE.format(stamp) + "\n" for stamp in stamps))
    if modified:
        seconds = datetime.fromisoformat(modified).replace(tzinfo=UTC).timestamp()
        os.utime(path, (seconds, seconds))
    return read_logs(path, **options)


def times(log) -> list[str]:
    return [f"{row['time']:%Y-%m-%d %H:%M:%S}" for row in log.table.to_pylist()]


NEW_YEAR = ["Dec 31 23:59:58", "Dec 31 23:59:59", "Jan  1 00:00:01", "Jan  2 00:00:00"]
AS_READ = ["2025-12-31 23:59:58", "2025-12-31 23:59:59", "2026-01-01 00:00:01", "2026-01-02 00:00:00"]


def test_new_year_with_the_year_given(tmp_path):
    log = read(tmp_path, *NEW_YEAR, year=2025)
    assert times(log) == AS_READ
    assert "2025 as given" in log.time_anchor[0]


def test_new_year_from_the_files_time(tmp_path):
    log = read(tmp_path, *NEW_YEAR, modified="2026-01-02 00:00:05")
    assert times(log) == AS_READ
    assert "2026-01-02" in log.time_anchor[0]


@pytest.mark.parametrize("flush", [1, 1 << 14])
def test_a_disorder_of_seconds_at_new_year(tmp_path, monkeypatch, flush):
    """Two daemons write at once: the old year's line may come a second after the new year's."""
    monkeypatch.setattr("kit.logs.scan.FLUSH", flush)
    monkeypatch.setattr("kit.logs.source.BLOCK", 200)
    log = read(tmp_path, "Dec 31 23:59:59", "Jan  1 00:00:00", "Dec 31 23:59:59", "Jan  1 00:00:01", year=2025)
    assert times(log) == ["2025-12-31 23:59:59", "2026-01-01 00:00:00", "2025-12-31 23:59:59", "2026-01-01 00:00:01"]


PACKINGS = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress, ".zst": zstandard.compress}
# Three New Years; written on 2 March 2026, so the first November is that of 2022, and the leap day is there.
YEARS = [
    "Nov 20 10:00:00",
    "Feb  1 10:00:00",
    "Dec 31 23:59:59",
    "Jan  1 00:00:00",
    "Feb 29 10:00:00",
    "Jun  1 10:00:00",
    "Mar  1 10:00:00",
]
IN_YEARS = ["2022-11-20", "2023-02-01", "2023-12-31", "2024-01-01", "2024-02-29", "2024-06-01", "2025-03-01"]


def write(path, *stamps: str, modified: str, line: str = LINE) -> Path:
    path.write_bytes(
        PACKINGS[path.suffix if path.suffix in PACKINGS else ""]("".join(line.format(stamp) + "\n" for stamp in stamps).encode())
    )
    seconds = datetime.fromisoformat(modified).replace(tzinfo=UTC).timestamp()
    os.utime(path, (seconds, seconds))
    return path


def days(log) -> list[str]:
    return [f"{row['time']:%Y-%m-%d}" for row in log.table.to_pylist()]


@pytest.mark.parametrize("packing", PACKINGS)
def test_several_new_years_in_one_file(tmp_path, packing):
    """The last line has the latest year that the file's time allows; the New Years before it are counted."""
    path = write(tmp_path / f"mail.log{packing}", *YEARS, modified="2025-03-02 10:00:00")
    log = read_logs(path)
    assert days(log) == IN_YEARS
    assert log.time_anchor == (
        f"{path}: year 2025 of the last line from the file's modification time (2025-03-02); 3 New Years before it; zone UTC assumed",
    )
    assert log.table.to_pylist() == read_slowly(path, year=None)[0]


def test_a_file_that_spans_more_than_a_year_and_ends_later_in_it(tmp_path):
    """From the first line alone, 10 January might be that of the file's own year."""
    path = write(tmp_path / "mail.log", "Jan 10 10:00:00", "Dec 20 10:00:00", "Jan 30 10:00:00", modified="2026-02-01 10:00:00")
    assert days(read_logs(path)) == ["2025-01-10", "2025-12-20", "2026-01-30"]


def test_a_new_year_where_nobody_signed_in(tmp_path):
    """Between the two tries lie more than a year and lines of another kind, which show it."""
    path = tmp_path / "mail.log"
    quiet = [f"{month}  5 10:00:00 mx kernel: nothing" for month in MONTHS]
    lines = [LINE.format("Mar  4 10:00:00"), *quiet[3:], *quiet, LINE.format("Jan  6 10:00:00")]
    path.write_text("\n".join(lines))
    os.utime(path, (1_770_000_000,) * 2)  # 2 February 2026
    assert days(read_logs(path)) == ["2024-03-04", "2026-01-06"]
    assert read_logs(path).table.to_pylist() == read_slowly(path, year=None)[0]


def test_new_years_in_a_file_of_which_only_places_are_looked_at(tmp_path):
    """4 MB, a line for each of some 40,000 quarters of an hour: eleven New Years and a bit."""
    start = datetime(2014, 11, 20, tzinfo=UTC)
    times = [start + timedelta(minutes=150 * n) for n in range(40_000)]
    stamps = [f"{time:%b} {time.day:2d} {time:%H:%M:%S}" for time in times]
    path = write(tmp_path / "mail.log", *stamps, modified="2026-04-20 10:00:00")
    assert f"{times[-1]:%Y-%m}" == "2026-04"
    log = read_logs(path)
    assert log.table["time"].to_pylist() == times
    assert "11 New Years" not in log.time_anchor[0]
    assert "12 New Years before it" in log.time_anchor[0]


@pytest.mark.parametrize(
    ("name", "stamp", "year"),
    [
        ("mail.log-20250601", "May 31 10:00:00", 2025),
        ("mail.log-20250601.gz", "May 31 10:00:00", 2025),
        ("mail.log-20250101.xz", "Dec 31 10:00:00", 2024),
        ("mail-2025-06-01.log", "Jun  1 23:00:00", 2025),
        ("mail.2025-06-01.log.zst", "Jun  1 23:00:00", 2025),
        ("mail.log-2025060112", "Jun  1 11:59:00", 2025),
        ("mail-202506.log", "Jun 30 10:00:00", 2025),  # a file for a month
        ("mail.log-1748772000", "Jun  1 09:00:00", 2025),  # dateformat -%s: `date -ud @1748772000` is 1 June 2025, 10:00
        ("mail.2025-12-31.log", "Jan  3 10:00:00", 2026),  # named after its first day
        ("mail.log-20250601", "Sep  1 10:00:00", 2024),  # a quiet server, or one that rotates once a year
        ("mail.log-20251331", "Jan  3 10:00:00", 2026),  # no date
        ("mail.log.1", "Jan  3 10:00:00", 2026),
    ],
)
def test_the_year_from_the_files_name(tmp_path, name, stamp, year):
    """The name stays with a copy, the time does not."""
    path = write(tmp_path / name, stamp, modified="2026-11-24 10:00:00")
    log = read_logs(path)
    assert [row["time"].year for row in log.table.to_pylist()] == [year]
    assert ("the file's name" in log.time_anchor[0]) == (name not in ("mail.log-20251331", "mail.log.1"))
    assert read_logs(path, year=2001).time_anchor == (f"{path}: year 2001 as given; zone UTC assumed",)


def test_a_year_in_the_line_needs_no_anchor(tmp_path):
    path = write(tmp_path / "mail.log-20250601", "2019-05-31T10:00:00Z", modified="2026-11-24 10:00:00")
    log = read_logs(path)
    assert days(log) == ["2019-05-31"]
    assert log.time_anchor == (f"{path}: zone from the lines",)


def test_standard_input_that_spans_more_than_a_year_says_so(monkeypatch, tmp_path):
    """It can be read only once, so its New Years cannot be counted before."""
    today = datetime.now(UTC)
    stamps = [f"{today - timedelta(days=days):%b %d} 10:00:00" for days in (700, 400, 100, 1)]
    path = write(tmp_path / "mail.log", *stamps, modified="2026-01-01")
    done = subprocess.run([sys.executable, "-m", "kit", "logs", "-", "--json"], stdin=path.open(), capture_output=True, check=False)
    (anchor,) = json.loads(done.stdout)["time_anchor"]
    assert "today's date" in anchor
    assert "give the year of its first line" in anchor
    assert "give the year" not in read_logs(path).time_anchor[0]


def test_year_from_the_files_time(tmp_path):
    # The last line cannot be later than the file: 20 November is before 24 November, 25 December is not.
    assert times(read(tmp_path, "Nov 20 10:00:00", modified="2026-11-24 10:00:00")) == ["2026-11-20 10:00:00"]
    assert times(read(tmp_path, "Dec 25 10:00:00", modified="2026-11-24 10:00:00")) == ["2025-12-25 10:00:00"]
    # A server ahead of UTC may already be in tomorrow.
    assert times(read(tmp_path, "Jan  1 00:30:00", modified="2025-12-31 23:30:00")) == ["2026-01-01 00:30:00"]


def test_a_whole_year_and_a_leap_day(tmp_path):
    stamps = ["Nov 30 00:00:00", "Feb 28 00:00:00", "Feb 29 00:00:00", "Mar  1 00:00:00", "Dec  1 00:00:00", "Jan  1 00:00:00"]
    assert times(read(tmp_path, *stamps, year=2027)) == [
        *("2027-11-30 00:00:00", "2028-02-28 00:00:00", "2028-02-29 00:00:00", "2028-03-01 00:00:00"),
        *("2028-12-01 00:00:00", "2029-01-01 00:00:00"),
    ]


@pytest.mark.parametrize(
    ("zone", "stamp", "expected"),
    [
        (None, "Nov 24 12:00:00", "2026-11-24 12:00:00"),
        ("UTC", "Nov 24 12:00:00", "2026-11-24 12:00:00"),
        ("Europe/Berlin", "Nov 24 12:00:00", "2026-11-24 11:00:00"),
        ("Europe/Berlin", "Jul 24 12:00:00", "2026-07-24 10:00:00"),
        ("Europe/Berlin", "2026-07-24T12:00:00", "2026-07-24 10:00:00"),
        ("Europe/Berlin", "2026-07-24T12:00:00Z", "2026-07-24 12:00:00"),
        ("Europe/Berlin", "2026-07-24T12:00:00,5", "2026-07-24 10:00:00"),
        ("+02:00", "Nov 24 12:00:00", "2026-11-24 10:00:00"),
        ("-0330", "Nov 24 12:00:00", "2026-11-24 15:30:00"),
        # 25 October 2026, 3:00 summer time is 2:00 again: of the hour that comes twice, the first (still UTC+2).
        ("Europe/Berlin", "Oct 25 02:30:00", "2026-10-25 00:30:00"),
    ],
)
def test_zone(tmp_path, zone, stamp, expected):
    assert times(read(tmp_path, stamp, year=2026, tz=zone)) == [expected]


@pytest.mark.parametrize("zone", ["Mars/Olympus", "+99:00", "", "../../etc/passwd", "Europe/Berlin\0", "+2"])
def test_no_such_zone(tmp_path, zone):
    with pytest.raises(UsageError, match="time zone"):
        read(tmp_path, "Nov 24 12:00:00", tz=zone)


def test_the_hour_that_comes_twice(tmp_path):
    """In Berlin on 25 October 2026 3:00 is 2:00 again, at 1:00 UTC. Where the lines step back within it, the second hour has begun."""
    clocks = ["01:59:58", "02:10:00", "02:50:00", "02:49:55", "02:10:01", "02:10:00", "02:59:59", "03:00:01"]
    expected = ["23:59:58", "00:10:00", "00:50:00", "00:49:55", "01:10:01", "01:10:00", "01:59:59", "02:00:01"]
    path = write(tmp_path / "mail.log", *(f"Oct 25 {clock}" for clock in clocks), modified="2026-10-26")
    for zone in ("Europe/Berlin",):
        log = read_logs(path, tz=zone)
        assert [time[11:] for time in times(log)] == expected
        assert log.table.to_pylist() == read_slowly(path, year=None, zone=ZoneInfo(zone))[0]


@pytest.mark.parametrize("flush", [1, 2])
def test_the_hour_that_comes_twice_across_batches(tmp_path, monkeypatch, flush):
    monkeypatch.setattr("kit.logs.scan.FLUSH", flush)
    monkeypatch.setattr("kit.logs.source.BLOCK", 100)
    path = write(tmp_path / "mail.log", *(f"Oct 25 02:{minute}:00" for minute in (10, 50, 20, 40)), modified="2026-10-26")
    assert [time[11:16] for time in times(read_logs(path, tz="Europe/Berlin"))] == ["00:10", "00:50", "01:20", "01:40"]


NEVER = ["Nox 24 12:00:00", "Feb 30 12:00:00", "Nov 31 12:00:00", "Nov  0 12:00:00", "Nov 32 12:00:00"]
NEVER += ["Nov 24 24:00:01", "Nov 24 12:60:00", "Nov 24 12:00:61", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00", "2026-11-24T25:00:00Z"]


@pytest.mark.parametrize("never", NEVER)
def test_a_time_that_never_was_is_not_understood_and_moves_no_other(tmp_path, never):
    log = read(tmp_path, "Nov 23 12:00:00", never, "Nov 25 12:00:00", year=2026)
    assert times(log) == ["2026-11-23 12:00:00", "2026-11-25 12:00:00"]
    assert (log.coverage.attempt_lines, log.coverage.not_understood, log.coverage.lines) == (2, 1, 3)
    alone = read(tmp_path, never, "Nov 25 12:00:00", modified="2026-11-25 13:00:00")
    assert times(alone) == ["2026-11-25 12:00:00"]


def test_a_leap_second_is_a_time(tmp_path):
    """23:59:60 on 31 December 2016 was. Computers have no name for it: it is the next second."""
    assert times(read(tmp_path, "Dec 31 23:59:60", year=2016)) == ["2017-01-01 00:00:00"]


def test_stamps_of_both_kinds_in_one_file(tmp_path):
    """The daemon was told to write ISO times in the middle of the day, and the file went on."""
    log = read(tmp_path, "Nov 24 12:00:00", "2026-11-24T12:00:01+00:00", "2026-11-24T12:00:02", "Nov 24 12:00:03", year=2026)
    assert times(log) == [f"2026-11-24 12:00:0{second}" for second in range(4)]
