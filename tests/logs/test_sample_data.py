"""The sample logs in `data/`: understood to the last line, and with the story in them that their README tells."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import kit

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="module")
def log():
    return kit.read_logs(DATA)


def between(frame, begin, end):
    return frame[(frame.time >= pd.Timestamp(begin)) & (frame.time < pd.Timestamp(end))]


def test_every_line_is_understood(log):
    assert log.problems == ()
    assert (log.coverage.not_understood, log.coverage.undecodable) == (0, 0)
    assert log.coverage.attempt_lines + log.coverage.other == log.coverage.lines


def test_the_files_come_oldest_first_and_cover_three_weeks(log):
    assert [Path(line.partition(": ")[0]).name for line in log.time_anchor] == ["mail.log.2.gz", "mail.log.1", "mail.log"]
    assert log.frame.time.is_monotonic_increasing
    assert log.frame.time.min() >= pd.Timestamp("2026-11-02T00:00+01:00")
    assert log.frame.time.max() < pd.Timestamp("2026-11-23T00:00+01:00")
    assert (log.frame.time.dt.date.nunique()) == 21


def test_gretas_telephone(log):
    failures = log.frame[(log.frame.user == "greta@example.test") & (log.frame.cause == "wrong-password")]
    phone = failures[failures.client_ip == "2001:db8:40:7::17"]
    # From 12 November 10:31 to 16 November 09:05 local time, every quarter of an hour: 94.6 hours, 379 tries.
    assert 375 <= len(phone) <= 380
    assert between(phone, "2026-11-12T10:30+01:00", "2026-11-16T09:06+01:00").shape == phone.shape
    assert phone.time.diff().dt.total_seconds().between(800, 1000)[1:].all()
    # Her computer goes on all the while.
    well = log.frame[(log.frame.user == "greta@example.test") & (log.frame.outcome == "success")]
    assert len(between(well, "2026-11-12T11:00+01:00", "2026-11-16T09:05+01:00")) > 5


def test_the_spray(log):
    night = between(log.frame, "2026-11-11T02:15+01:00", "2026-11-11T03:15+01:00")
    assert set(night.client_ip) == {"192.0.2.61", "192.0.2.62", "192.0.2.64", "192.0.2.67"}
    assert len(night) == 88  # 22 names, each with and without the domain, and two passwords
    assert night.user.nunique() == 44
    assert set(night.outcome) == {"failure"}


def test_the_slow_spray(log):
    slow = log.frame[log.frame.client_ip.astype(str).str.match(r"192\.0\.2\.1[34]\d$")]
    # 150 tries over 96 hours; the one or two that fell into the hour without authentication never got as far as a password.
    assert 146 <= len(slow) <= 150
    assert between(slow, "2026-11-18T13:45+01:00", "2026-11-18T14:35+01:00").empty
    assert between(slow, "2026-11-16T00:00+01:00", "2026-11-20T00:00+01:00").shape == slow.shape
    assert slow.groupby("client_ip", observed=True).size().max() < 30


def test_the_hour_without_authentication(log):
    down = log.frame[log.frame.cause == "backend-unavailable"]
    assert len(down) == 18
    assert set(down.outcome) == {"server-error"}
    assert between(down, "2026-11-18T13:40+01:00", "2026-11-18T13:45+01:00").shape == down.shape
    submissions = log.frame[log.frame.service.isin(["submission", "submissions"])]
    assert "success" not in set(between(submissions, "2026-11-18T13:40+01:00", "2026-11-18T14:35+01:00").outcome)


def test_the_scanner(log):
    scanner = log.frame[log.frame.user == "scanner"]
    assert set(scanner.client_ip) == {"198.51.100.40"}
    assert set(scanner.cause) == {"unknown-user"}
    assert scanner.time.min() > pd.Timestamp("2026-11-10T07:59+01:00")
