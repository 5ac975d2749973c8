"""`kit logs` as a person, a script and a spreadsheet meet it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import stat
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from kit.cli import main
from kit.errors import UsageError
from kit.knowledge.load import load_table
from kit.logs import summary as summary_module
from kit.logs.authlog import LogReader, read_logs
from kit.logs.progress import Progress, progress_line
from kit.logs.report import printable
from kit.logs.source import Source
from kit.logs.summary import Summary
from kit.model import Attempt, Cause
from tests.logs.slow_reader import read_slowly

ROOT = Path(__file__).parents[2]
SAMPLE = Path(__file__).parent / "samples" / "mail.iso.log.gz"
FAILED = "2026-11-24T12:{:02d}:00Z mx postfix/smtpd[{}]: warning: unknown[{}]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username={}\n"


def kit(*arguments: str | Path):
    done = CliRunner().invoke(main, ["logs", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


@pytest.fixture
def log(tmp_path):
    """Six failures of three users from two addresses, one a minute."""
    path = tmp_path / "mail.log"
    rows = [("192.0.2.1", "a"), ("192.0.2.1", "a"), ("192.0.2.2", "a"), ("192.0.2.2", "b"), ("192.0.2.2", "B"), ("192.0.2.2", "c")]
    path.write_text("".join(FAILED.format(minute, minute, ip, user) for minute, (ip, user) in enumerate(rows)))
    return path


# ------------------------------------------------------------------------------------------------ JSON


def test_json_is_what_an_independent_count_says():
    done = kit(SAMPLE, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    attempts, coverage = read_slowly(SAMPLE, year=2026)
    assert set(document) == {"coverage", "time_anchor", "outcomes", "causes", "verdicts", "not_understood_examples", "problems"}
    assert document["coverage"] == coverage
    for name, field in (("outcomes", "outcome"), ("causes", "cause")):
        totals = Counter()
        for attempt in attempts:
            totals[attempt[field]] += attempt["count"]
        assert document[name] == totals
    assert sum(document["outcomes"].values()) == sum(document["causes"].values()) == coverage["attempts"]
    assert document["problems"] == document["not_understood_examples"] == []
    assert len(document["time_anchor"]) == 1


def test_not_understood_is_something_to_look_at(log):
    log.write_text(log.read_text() + "2026-11-24T12:30:00Z mx dovecot: auth: a new way of saying no\n" * 2)
    done = kit(log, "--json")
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert document["coverage"]["not_understood"] == 2
    assert [example["count"] for example in document["not_understood_examples"]] == [2]
    assert "a new way of saying no" in document["not_understood_examples"][0]["example"]
    text = kit(log)
    assert text.exit_code == 1
    assert "a new way of saying no" in text.stdout


def test_undecodable_is_something_to_look_at(log):
    log.write_bytes(log.read_bytes() + b"2026-11-24T12:30:00Z mx other: \xff\n")
    done = kit(log, "--json")
    assert (done.exit_code, json.loads(done.stdout)["coverage"]["undecodable"]) == (1, 1)


def test_a_cut_gzip_is_read_and_told(log):
    packed = gzip.compress(log.read_bytes() * 100)
    log.with_suffix(".gz").write_bytes(packed[: len(packed) - 20])
    done = kit(log.with_suffix(".gz"), "--json")
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert document["coverage"]["attempts"] > 0
    assert "cut short" in document["problems"][0]
    assert "cut short" in done.stderr
    assert "cut short" in " ".join(kit(log.with_suffix(".gz")).stdout.split())


@pytest.mark.parametrize("text", ["Dear diary,\n\ntoday it rained.\n", "#!/bin/sh\nexit 0\n", "a,b\n1,2\n"])
@pytest.mark.parametrize("name", ["notes.txt", "notes.gz"])
def test_what_is_no_log_is_unreadable_input(tmp_path, text, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    done = kit(path, "-o", tmp_path / "a.csv")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "no line at its beginning has the time stamp of a log" in done.stderr
    assert not (tmp_path / "a.csv").exists()


def test_beside_a_log_it_is_a_problem(tmp_path, log):
    (tmp_path / "notes.txt").write_text("Dear diary\n")
    done = kit(log, tmp_path / "notes.txt", "--json")
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert document["coverage"]["attempts"] == 6
    assert document["problems"] == [f"{tmp_path / 'notes.txt'}: no line at its beginning has the time stamp of a log"]


def test_what_it_says_of_signing_in_is_shown_all_the_same(tmp_path):
    """A log with a time that the kit does not know."""
    (tmp_path / "odd.log").write_text("24|11|26 12:00 login of ann refused\n")
    done = kit(tmp_path / "odd.log")
    assert done.exit_code == 1
    assert "login of ann refused" in done.stdout
    assert "no line at its beginning has the time stamp of a log" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    "text", ["2026-11-24T12:00:00Z mx other: hello\n", "#Software: Microsoft Exchange Server\n#Fields: date-time,connector-id\n"]
)
def test_a_log_of_a_quiet_day_is_one(tmp_path, text):
    (tmp_path / "mail.log").write_text(text)
    assert kit(tmp_path / "mail.log").exit_code == 0
    assert kit(tmp_path).exit_code == 0


# ------------------------------------------------------------------------------------------------ filters


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), 6),
        (("--user", "a"), 3),
        (("--user", "b"), 2),  # whatever the case of letters
        (("--ip", "192.0.2.1"), 2),
        (("--ip", "::ffff:192.0.2.1"), 2),
        (("--ip", "192.0.2.2", "--user", "a"), 1),
        (("--ip", "192.0.2.0/24"), 6),
        (("--ip", "192.0.2.9/31"), 0),
        (("--ip", "192.0.2.3/31"), 4),  # whichever address of the network is named
        (("--ip", "192.0.2.0/255.255.255.254"), 2),
        (("--ip", "::ffff:192.0.2.2/127"), 4),
        (("--ip", "2001:db8::/32"), 0),
        (("--ip", "::/0"), 0),
        (("--since", "2026-11-24T12:02:00Z"), 4),  # at or after
        (("--until", "2026-11-24T12:02:00Z"), 2),  # before
        (("--since", "2026-11-24T12:01", "--until", "2026-11-24T12:03"), 2),
        (("--since", "2026-11-24T13:02", "--tz", "Europe/Berlin"), 4),
        (("--since", "2026-11-24T13:02:00+01:00"), 4),
        (("--since", "2026-11-24"), 6),
        (("--since", "2026-11-25"), 0),
        (("--user", "nobody"), 0),
    ],
)
def test_filters(log, options, expected):
    document = json.loads(kit(log, *options, "--json").stdout)
    assert sum(document["outcomes"].values()) == expected
    assert document["coverage"]["attempts"] == 6  # coverage is always of all that was read
    text = kit(log, *options)
    assert text.exit_code == 0
    assert re.match(rf"{expected} attempts? to sign in" if expected else "No attempt to sign in fits, of 6[.]", text.stdout)


def test_a_network_of_ipv6_and_an_address_in_whatever_spelling(tmp_path):
    path = tmp_path / "mail.log"
    ips = ["2001:db8::7", "2001:db8:0:0:1:0:0:8", "2001:db8:1::9", "192.0.2.1"]
    path.write_text("".join(FAILED.format(0, 1, ip, f"u{i}") for i, ip in enumerate(ips)))
    for wanted, users in {"2001:DB8:0::/48": ["u0", "u1"], "[2001:db8::7]": ["u0"], "2001:db8::0:7": ["u0"], "0.0.0.0/0": ["u3"]}.items():
        assert read_logs(path, ip=wanted).table["user"].to_pylist() == users
    with pytest.raises(UsageError, match="no network"):
        read_logs(path, ip="192.0.2.")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--since", "yesterday"),
        ("--until", "2026-13-01"),
        ("--tz", "Mars/Olympus"),
        ("--ip", "300.0.0.1"),
        ("--ip", "192.0.2.0/33"),
        ("--ip", "mx.example.com"),
        ("--ip", ""),
        ("--year", "x"),
        ("--year", "99999"),
        ("-o", "attempts.xlsx"),
        ("-o", "attempts"),
        ("-o", "no/such/folder/attempts.csv"),
        ("-o", "."),
        ("no-such-file.log",),
        ("--no-such-option",),
    ],
)
def test_wrong_use_says_so_and_prints_nothing(log, arguments, monkeypatch):
    monkeypatch.chdir(log.parent)
    done = kit(log, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.strip()
    assert sorted(path.name for path in log.parent.iterdir()) == ["mail.log"]


def test_without_a_path_there_is_nothing_to_do():
    assert (kit().exit_code, kit().stdout) == (2, "")


# ------------------------------------------------------------------------------------------------ files


def plain(rows: list[dict]) -> list[dict]:
    return [row | {"time": row["time"].isoformat()} for row in rows]


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return read_slowly(SAMPLE, year=2026)[0]


def test_json_lines(tmp_path, rows):
    done = kit(SAMPLE, "-o", tmp_path / "a.jsonl")
    assert done.exit_code == 0
    assert done.stdout.startswith("772 attempts")
    read = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text("utf-8").splitlines()]
    assert all(tuple(row) == tuple(Attempt.__dataclass_fields__) or set(row) == set(Attempt.__dataclass_fields__) for row in read)
    assert [row | {"time": datetime.fromisoformat(row["time"]).isoformat()} for row in read] == plain(rows)


def test_parquet(tmp_path, rows):
    assert kit(SAMPLE, "-o", tmp_path / "a.parquet", "--json").exit_code == 0
    table = pq.read_table(tmp_path / "a.parquet")
    assert plain(table.to_pylist()) == plain(rows)


def test_csv(tmp_path, rows):
    assert kit(SAMPLE, "-o", tmp_path / "a.csv").exit_code == 0
    read = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text("utf-8"))))
    assert [row["user"] or None for row in read] == [row["user"] for row in rows]
    assert [datetime.fromisoformat(row["time"]) for row in read] == [row["time"] for row in rows]
    assert [int(row["offset"]) for row in read] == [row["offset"] for row in rows]


@pytest.mark.parametrize("user", ["=cmd|' /C calc'!A0", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1"])
def test_csv_holds_no_formula(tmp_path, user):
    path = tmp_path / "mail.log"
    path.write_bytes(FAILED.format(0, 1, "192.0.2.1", user).encode() + FAILED.format(1, 1, "192.0.2.1", "a=b").encode())
    kit(path, "-o", tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as stream:
        first, second = csv.DictReader(stream)
    assert first["user"] == f"'{user}"
    assert second["user"] == "a=b"


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_a_log_without_attempts_gives_a_file_without_rows(tmp_path, ending):
    path = tmp_path / "mail.log"
    path.write_text("2026-11-24T12:00:00Z mx other: hello\n")
    done = kit(path, "-o", tmp_path / f"a.{ending}")
    assert done.exit_code == 0
    assert done.stdout.startswith("No attempt to sign in.")
    size = (tmp_path / f"a.{ending}").stat().st_size
    assert size == 0 if ending == "jsonl" else size > 0


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_a_read_that_fails_leaves_the_old_file(tmp_path, log, ending):
    target = tmp_path / f"a.{ending}"
    kit(log, "-o", target)
    before = target.read_bytes()
    log.write_bytes(bytes(range(256)) * 10)
    done = kit(log, "-o", target)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "not a text log" in done.stderr
    assert target.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [target.name, "mail.log"]


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_an_earlier_export_is_replaced_and_it_is_said_what_was_written(tmp_path, log, ending):
    target = tmp_path / f"a.{ending}"
    target.touch()  # as mktemp leaves it
    for attempts in ("6 attempts", "1 attempt"):
        done = kit(log, "-o", target)
        assert (done.exit_code, done.stderr) == (0, "")
        assert f"Wrote {attempts} to {target}\n" in done.stdout
        log.write_text(log.read_text().splitlines(keepends=True)[0])
    again = kit(log, "-o", target, "--json")
    assert json.loads(again.stdout)["coverage"]["attempts"] == 1


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("content", [b"precious", b"time,amount\n1,2\n", b'{"time": 1}\n', b"[1]\n", b"PAR1PAR1", b"\xff\n", b"\n" * 3])
def test_another_file_is_never_written_over(tmp_path, log, ending, content):
    target = tmp_path / f"a.{ending}"
    target.write_bytes(content)
    done = kit(log, "-o", target)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "no earlier export" in done.stderr
    assert target.read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == [target.name, "mail.log"]


@pytest.mark.needs("linux")
def test_neither_is_a_pipe_and_a_link_stays_one(tmp_path, log):
    os.mkfifo(tmp_path / "pipe.csv")
    assert kit(log, "-o", tmp_path / "pipe.csv").exit_code == 2
    assert (tmp_path / "pipe.csv").is_fifo()
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    assert kit(log, "-o", tmp_path / "link.csv").exit_code == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_bytes().count(b"\n") == 7


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_ctrl_c_leaves_the_old_file_and_no_part_of_a_new_one(tmp_path, log, monkeypatch, ending):
    target = tmp_path / f"a.{ending}"
    kit(log, "-o", target)
    before = target.read_bytes()

    def interrupted(self, table):
        raise KeyboardInterrupt

    monkeypatch.setattr(Summary, "add", interrupted)
    assert kit(log, "-o", target).exit_code not in (0, 1)
    assert target.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [target.name, "mail.log"]


@pytest.mark.needs("linux")
def test_a_full_disk_is_told(tmp_path, monkeypatch):
    """Linux has a device that is always full."""
    monkeypatch.setattr("kit.logs.export.tempfile.mkstemp", lambda **_: (os.open(os.devnull, os.O_RDONLY), "/dev/full"))
    monkeypatch.setattr("kit.logs.export.Path.unlink", lambda self: None)
    done = kit(SAMPLE, "-o", tmp_path / "a.jsonl")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "No space left" in done.stderr


@pytest.mark.parametrize("way", ["itself", "a link to it", "in a folder"])
def test_a_log_that_is_read_is_never_written_over(tmp_path, way):
    path = tmp_path / "mail.csv"
    path.write_text(FAILED.format(0, 1, "192.0.2.1", "a"), "utf-8")
    before, output = path.read_bytes(), path
    if way == "a link to it":
        output = tmp_path / "out.csv"
        output.symlink_to(path)
    done = kit(tmp_path if way == "in a folder" else path, "-o", output)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "is a log that is being read" in done.stderr
    assert path.read_bytes() == before


@pytest.mark.needs("linux")
def test_the_file_is_its_owners_alone(tmp_path):
    kit(SAMPLE, "-o", tmp_path / "a.csv")
    assert stat.S_IMODE((tmp_path / "a.csv").stat().st_mode) == 0o600


def test_rows_are_written_in_portions(tmp_path, monkeypatch, rows):
    monkeypatch.setattr("kit.logs.table.ROWS", 10)
    monkeypatch.setattr("kit.logs.scan.FLUSH", 20)
    monkeypatch.setattr("kit.logs.source.BLOCK", 4096)
    monkeypatch.setattr("kit.logs.join.WINDOW", 5)
    for ending in ("parquet", "csv", "jsonl"):
        assert kit(SAMPLE, "-o", tmp_path / f"a.{ending}").exit_code == 0
    metadata = pq.ParquetFile(tmp_path / "a.parquet").metadata
    assert metadata.num_rows == len((tmp_path / "a.jsonl").read_bytes().splitlines())
    assert metadata.num_row_groups > 1


# ------------------------------------------------------------------------------------------------ the text


def test_report_tells_who_fails_and_why(log):
    text = kit(log).stdout
    assert text.startswith("6 attempts to sign in, 2026-11-24 12:00:00 to 2026-11-24 12:05:00 UTC\n")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "6 100 % failure" in lines
    assert "6 100 % credentials user or password wrong; the server does not say which" in lines
    # failed, good, from how many addresses, since, last seen, who
    assert "3 0 2 2026-11-24 2026-11-24 12:02 a" in lines
    assert "1 0 1 2026-11-24 2026-11-24 12:03 b" in lines
    # failed, good, how many users, since, last seen, from where
    assert "4 0 4 2026-11-24 2026-11-24 12:05 192.0.2.2" in lines
    assert "6 0 smtp" in lines
    assert "6 lines: 6 attempts from 6, 0 other, 0 not understood, 0 no UTF-8" in lines


def test_one_is_no_plural(log):
    log.write_text(log.read_text().splitlines(keepends=True)[0])
    text = kit(log).stdout
    assert text.startswith("1 attempt to sign in, 2026-11-24")
    assert "\n1 line: 1 attempt from 1, 0 other, 0 not understood, 0 no UTF-8\n" in text


def test_since_is_the_first_failure_and_last_the_last_of_any_kind(tmp_path):
    line = "2026-11-{0:02}T08:00:00Z mx dovecot: {1}\n"
    good = "imap-login: Login: user=<anna@example.test>, method=PLAIN, rip=192.0.2.1, lip=192.0.2.9, session=<g{0}>"
    bad = "auth: passwd-file(anna@example.test,192.0.2.1,<b{0}>): Password mismatch"
    days = {1: good, 2: bad, 5: bad, 9: good}
    path = tmp_path / "mail.log"
    path.write_text("".join(line.format(day, text.format(day)) for day, text in days.items()), "utf-8")
    lines = [" ".join(row.split()) for row in kit(path).stdout.splitlines()]
    assert "2 2 1 2026-11-02 2026-11-09 08:00 anna@example.test" in lines


def test_report_of_real_logs_is_narrow_ascii():
    text = kit(SAMPLE).stdout
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 100


HOSTILE = ["\x1b[2J\x1b]0;owned\x07", "\x9b31m", "\u202eevil", "\u2066x", "\x00", "\x7f", "\u2028", "é" * 500, "a" * 5000]


@pytest.mark.parametrize("user", HOSTILE)
def test_nothing_a_terminal_obeys_comes_through(tmp_path, user):
    path = tmp_path / "mail.log"
    unknown = f"2026-11-24T12:30:00Z mx dovecot: auth: a new way of saying no {user}\n"
    path.write_text(FAILED.format(0, 1, "192.0.2.1", user) + unknown, "utf-8")
    for options in ([], ["--json"], ["--user", user.replace("\0", "")]):
        text = kit(path, *options).stdout
        assert all(c.isprintable() or c == "\n" for c in text), options
        if "--json" not in options:
            assert max(map(len, text.splitlines())) <= 100


@given(st.text(max_size=300), st.integers(10, 120))
def test_printable_is_printable_and_short(text, limit):
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    if text.isprintable() and len(text) <= limit:
        assert shown == text


def test_a_file_name_is_hostile_too(tmp_path):
    path = tmp_path / "a\x1b[31m.log"
    path.write_text(FAILED.format(0, 1, "192.0.2.1", "a"))
    assert "\x1b" not in kit(path).stdout
    assert "\x1b" not in kit(tmp_path / "no\x1b[31m.log").stderr


def test_every_cause_has_its_words():
    words = load_table("causes")
    assert set(words) == set(Cause)
    assert all(text.isascii() and 0 < len(text) < 60 for text in words.values())


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp437"])
def test_a_plain_terminal_can_read_it(tmp_path, encoding):
    path = tmp_path / "mail.log"
    path.write_text(FAILED.format(0, 1, "192.0.2.1", "jürgen→"), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "kit", "logs", str(path)],
        capture_output=True, check=False, cwd=ROOT, env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    shown = done.stdout.decode(encoding)
    assert ("jürgen→" if encoding == "utf-8" else "jürgen\\u2192") in shown


def test_progress_is_for_terminals_only(tmp_path):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    source = Source(name="mail\x1b.log", path=None, modified=datetime.now(UTC), size=4_000_000, taken=1_000_000)
    assert progress_line(source, 1_000_000, 0.5) == r"mail\x1b.log: 25 % of 4 MB, 2 MB/s"
    for stream, silent in ((Terminal(), False), (io.StringIO(), True)):
        with Progress(stream) as progress:
            progress._shown -= 10
            progress(source)
        assert (stream.getvalue() == "") is silent
    with Progress(Terminal()) as progress:  # nothing was shown, so nothing is cleared
        pass
    assert progress._stream.getvalue() == ""


# ------------------------------------------------------------------------------------------------ totals


def test_totals_of_many_tables_are_those_of_one(monkeypatch):
    whole = Summary()
    whole.add(read_logs(SAMPLE).table)
    monkeypatch.setattr("kit.logs.scan.FLUSH", 20)
    monkeypatch.setattr("kit.logs.source.BLOCK", 4096)
    monkeypatch.setattr("kit.logs.join.WINDOW", 10)
    parts = Summary()
    for table in LogReader(SAMPLE).tables():
        parts.add(table.slice(0, 3))
        parts.add(table.slice(3))
    assert parts.outcomes == whole.outcomes
    assert parts.users(1000) == whole.users(1000)
    assert parts.addresses(1000) == whole.addresses(1000)
    assert (parts.causes, parts.services, parts.period) == (whole.causes, whole.services, whole.period)


def test_users_and_addresses_are_those_of_an_independent_count(rows):
    summary = Summary()
    summary.add(read_logs(SAMPLE).table)
    for found, mine, other in ((summary.users(1000), "user", "client_ip"), (summary.addresses(1000), "client_ip", "user")):
        for subject in found.top:
            own = [row for row in rows if row[mine] == subject.name]
            assert subject.failed == sum(row["count"] for row in own if row["outcome"] != "success")
            assert subject.good == sum(row["count"] for row in own if row["outcome"] == "success")
            assert subject.others == len({row[other] for row in own} - {None})
            assert subject.last == max(row["time"] for row in own)
        failing = {row[mine] for row in rows if row["outcome"] != "success"} - {None}
        assert {subject.name for subject in found.top} == failing
        assert len(failing) == found.total > 10
    for few in range(1, 25):  # the first of a ranking are those of the whole
        assert summary.users(few).top == summary.users(1000).top[:few]
        assert summary.addresses(few).top == summary.addresses(1000).top[:few]


def test_memory_for_users_is_bounded_and_the_worst_are_kept(monkeypatch):
    monkeypatch.setattr(summary_module, "MOST_PAIRS", 50)
    schema = read_logs(SAMPLE).table.schema
    summary = Summary()
    for part in range(20):
        users = [f"u{part}-{n}" for n in range(40)] + ["worst"] * 5
        row = {
            "time": datetime(2026, 11, 24, tzinfo=UTC),
            "outcome": "failure",
            "cause": "credentials",
            "client_ip": "192.0.2.1",
            "count": 1,
        }
        summary.add(pa.Table.from_pylist([row | {"user": user} for user in users], schema))
    assert summary.attempts == 20 * 45
    (worst,) = summary.users(1).top
    assert (worst.name, worst.failed) == ("worst", 100)
    assert summary.users(1).total <= 50
    assert len(summary._pairs.users) < 200
    assert not summary.complete


# ------------------------------------------------------------------------------------------------ as a command


def test_a_pipe_that_closes_early_is_no_fault():
    command = f"{sys.executable} -m kit logs {SAMPLE} --json | head -c 10; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=ROOT)
    assert "Traceback" not in done.stderr


def test_no_pandas_for_a_summary():
    code = "import sys; sys.argv = ['kit', 'logs', sys.argv[1], '-o', sys.argv[2]]; import atexit; atexit.register(lambda: print('pandas' in sys.modules, file=sys.stderr)); from kit.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, str(SAMPLE), os.devnull + ".parquet"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.stderr.endswith("False\n")
