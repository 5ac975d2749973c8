"""Stamps to times: the year that RFC 3164 leaves out, zones, and stamps of times that never were."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest

from kit.errors import UsageError
from kit.logs.authlog import read_logs

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
