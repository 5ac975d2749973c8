"""A log that was read before gives the same, sooner; whatever makes that doubtful makes it be read again."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from kit.cli import main
from kit.logs import authlog, cache
from kit.logs.authlog import LogReader, read_logs

GOOD = "Nov  3 08:12:4{0} mx dovecot: imap-login: Login: user=<anna{0}@example.test>, method=PLAIN, rip=192.0.2.1, lip=192.0.2.9, session=<s{0}>\n"
ODD = "Nov  3 08:12:44 mx thing[1]: login refused, with a passwd=hunter22\n"


@pytest.fixture
def log(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("KIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "LEAST", 100)
    path = tmp_path / "mail.log"
    path.write_text("".join(GOOD.format(i) for i in range(3)) + ODD, "utf-8")
    return path


@pytest.fixture
def parsed(monkeypatch) -> list[int]:
    """One entry each time that a log is really read."""
    times: list[int] = []
    real = authlog.collect
    monkeypatch.setattr(authlog, "collect", lambda reader: times.append(1) or real(reader))
    return times


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "logs").glob("*"))


def test_the_second_time_says_the_same_without_reading(log, parsed):
    first, second = read_logs(log, year=2026), read_logs(log, year=2026)
    assert len(parsed) == 1
    assert second.table.to_pylist() == first.table.to_pylist()
    assert second.table.schema == first.table.schema
    assert (second.coverage, second.unknown, second.time_anchor) == (first.coverage, first.unknown, first.time_anchor)
    assert list(second.frame.dtypes) == list(first.frame.dtypes)


def test_a_selection_comes_from_it_too(log, parsed):
    assert read_logs(log, year=2026, user="anna1@example.test").table.num_rows == 1
    assert read_logs(log, year=2026).table.num_rows == 3
    assert len(parsed) == 2  # a selection is not kept
    assert read_logs(log, year=2026, user="ANNA1@example.test").table["session"].to_pylist() == ["s1"]
    assert len(parsed) == 2


@pytest.mark.parametrize("change", ["a line more", "touched", "year", "zone", "parser", "name"])
def test_whatever_changes_it_is_read_again(log, parsed, monkeypatch, change):
    read_logs(log, year=2026)
    year, zone, path = 2026, None, log
    match change:
        case "a line more":
            with log.open("a") as file:
                file.write(GOOD.format(4))
        case "touched":
            os.utime(log, (1, 1))
        case "year":
            year = 2025
        case "zone":
            zone = "+02:00"
        case "parser":
            monkeypatch.setattr(cache, "_fingerprint", lambda: "another")
        case "name":
            path = log.with_name("link.log")
            path.symlink_to(log)
    assert read_logs(path, year=year, tz=zone).table["file"].to_pylist()[0] == str(path)
    assert len(parsed) == 2


def test_a_log_that_grows_while_it_is_read_is_not_kept(log, tmp_path):
    def grow(_source) -> None:
        with log.open("a") as file:
            file.write(GOOD.format(5))

    read_logs(log, year=2026, progress=grow)
    assert kept(tmp_path) == []


def test_only_its_owner_reads_what_is_kept_and_no_password_is_in_it(log, tmp_path):
    read_logs(log, year=2026)
    (file,) = kept(tmp_path)
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert b"hunter22" not in file.read_bytes()


def test_what_is_damaged_is_read_again(log, tmp_path, parsed):
    read_logs(log, year=2026)
    (file,) = kept(tmp_path)
    for damage in (b"", b"ARROW1 but no more", file.read_bytes()[:-40]):
        file.write_bytes(damage)
        assert read_logs(log, year=2026).table.num_rows == 3
    assert len(parsed) == 4


def test_a_folder_that_takes_nothing_costs_only_the_memory(log, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    assert read_logs(log, year=2026).table.num_rows == 3


def test_what_was_used_longest_ago_makes_room(log, tmp_path, monkeypatch):
    read_logs(log, year=2026)
    (old,) = kept(tmp_path)
    os.utime(old, (1, 1))
    monkeypatch.setattr(cache, "MOST", old.stat().st_size)
    read_logs(log, year=2025)
    assert len(kept(tmp_path)) == 1
    assert kept(tmp_path) != [old]


def test_small_logs_and_pipes_are_not_kept(log, monkeypatch):
    monkeypatch.setattr(cache, "LEAST", 1 << 20)
    assert cache.key_of(LogReader(log).sources, year=None, zone=None) is None
    monkeypatch.setattr(cache, "LEAST", 0)
    assert cache.key_of(LogReader("-").sources, year=None, zone=None) is None
    assert cache.key_of(LogReader(log).sources, year=None, zone=None)


def test_forget(log, tmp_path):
    read_logs(log, year=2026)
    done = CliRunner().invoke(main, ["logs", "--forget"])
    assert (done.exit_code, kept(tmp_path)) == (0, [])
    assert "MB" in done.stdout


def test_batches_are_the_rows_of_the_tables(log):
    rows = [row for batch in LogReader(log, year=2026).batches() for row in batch.to_pylist()]
    assert rows == read_logs(log, year=2026).table.to_pylist()
