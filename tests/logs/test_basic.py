"""Who still signs in with a password: counted anew by hand, lives whose devices are known, Microsoft's records, and hostile names."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from kit.cli import main
from kit.errors import UsageError
from kit.knowledge.load import load_table
from kit.knowledge.ways_out import deadline, fitting, ways_out
from kit.logs import usage as usage_module
from kit.logs.basic import Basic
from kit.logs.basic_report import DEVICES, device_table, report
from kit.logs.clients_report import read_clients_reports
from kit.logs.device import GAPS, LONGEST, Device, Habits, signals
from kit.logs.export import open_export
from kit.logs.usage import METHODS, Usage, method_of
from kit.model import Attempt, Cause, Outcome, Service
from tests.logs.slow_reader import read_slowly
from tests.widgets.made_logs import make_log

DATA = Path(__file__).parents[2] / "data"
SAMPLE = Path(__file__).parent / "samples" / "mail.iso.log.gz"
MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
KINDS = {"scanner", "script", "phone", "mail-program", "server", "unknown"}


def kit(*arguments: str | Path):
    done = CliRunner().invoke(main, ["basic", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def basic_of(attempts: list[Attempt], *, rows: int = 1 << 16) -> Basic:
    usage = Usage()
    table = make_log(sorted(attempts, key=lambda attempt: attempt.time)).table
    for begin in range(0, len(table), rows):
        usage.add(table.slice(begin, rows))
    return Basic(usage)


def good(when: datetime, user: str | None, ip: str | None, service: Service = Service.SUBMISSION, **more) -> Attempt:
    more = {"server": "dovecot", "mechanism": "PLAIN", "service_raw": service.value} | more
    return Attempt(time=when, outcome=Outcome.SUCCESS, cause=Cause.NONE, user=user, client_ip=ip, service=service, **more)


def bad(when: datetime, user: str | None, ip: str | None, cause: Cause = Cause.CREDENTIALS, **more) -> Attempt:
    more = {"server": "dovecot", "mechanism": "PLAIN", "service": Service.SUBMISSION} | more
    return Attempt(time=when, outcome=Outcome.FAILURE, cause=cause, user=user, client_ip=ip, **more)


def write_devices(path: Path, devices) -> None:
    with open_export(path, kind=DEVICES) as write:
        write(device_table(devices))


def days(number: int, *, working: bool = False):
    return (day for n in range(number) if (day := MONDAY + timedelta(days=n)) and (not working or day.weekday() < 5))


# ------------------------------------------------------------------------------------------------ what is a password


@pytest.mark.parametrize(
    ("mechanism", "method"),
    [
        # RFC 4616, RFC 2195, RFC 2831, RFC 5802: all of them prove a password.
        *[(name, "password") for name in ("PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "NTLM", "APOP")],
        *[(name, "password") for name in ("plain", "Login", "plaintext")],  # as clients and Cyrus spell them
        # RFC 7628, and Google's forerunner of it.
        *[(name, "oauth") for name in ("XOAUTH2", "OAUTHBEARER", "xoauth2")],
        # RFC 4422 appendix A, RFC 4752: a certificate and a ticket.
        *[(name, "other") for name in ("EXTERNAL", "GSSAPI", "GS2-KRB5", "ANONYMOUS")],
        *[(name, "unknown") for name in ("PLAIN-CLIENTTOKEN", "FOO", "X", "")],
    ],
)
def test_a_mechanism_is_a_password_or_not(mechanism, method):
    assert METHODS[method_of("postfix", "submission", "submission", mechanism)] == method


@pytest.mark.parametrize(
    ("server", "service", "raw", "method"),
    [
        # Microsoft's list of legacy authentication, as the sign-in log writes its entries.
        ("entra", "smtp", "Authenticated SMTP", "password"),
        ("entra", "imap", "IMAP4", "password"),
        ("entra", "other", "Exchange ActiveSync", "password"),
        ("entra", "other", "Other clients", "password"),
        ("entra", "other", "Browser", "oauth"),
        ("entra", "other", "Mobile Apps and Desktop clients", "oauth"),
        ("entra", "other", "Something of 2027", "unknown"),
        # The unified audit log names no client app.
        ("entra", None, None, "unknown"),
        # A receive connector takes Basic and Integrated Windows authentication and no OAuth; IMAP's log names the mechanism.
        ("exchange", "submission", "port 587", "password"),
        ("exchange", "imap", "port 143", "unknown"),
        ("saslauthd", None, None, "password"),
        # A client app counts where Entra wrote it, and nowhere else.
        ("postfix", "other", "Browser", "unknown"),
        ("maddy", "submission", "submission", "unknown"),
    ],
)
def test_without_a_mechanism_the_server_tells_or_nobody_does(server, service, raw, method):
    assert METHODS[method_of(server, service, raw, None)] == method


# ------------------------------------------------------------------------------------------------ counting


@pytest.mark.parametrize("log", [SAMPLE, DATA / "mail.log"], ids=["many servers", "a company's week"])
def test_the_numbers_are_what_an_independent_count_says(log):
    attempts, _ = read_slowly(log, year=2026)
    words = re.compile(r"(?i)PLAIN|LOGIN|PLAINTEXT|CRAM-.*|DIGEST-.*|SCRAM-.*|APOP|NTLM")
    totals = Counter()
    for each in attempts:
        by_password = words.fullmatch(each["mechanism"]) if each["mechanism"] else each["server"] in ("pam", "saslauthd")
        if by_password:
            totals[each["outcome"] == "success", each["user"] is not None] += each["count"]
    document = json.loads(kit(log, "--json").stdout)
    assert sum(day["password"] for day in document["days"]) == totals[True, True] + totals[True, False]
    assert sum(day["failed"] for day in document["days"]) == totals[False, True] + totals[False, False]
    # Whoever has a name is a device's user or never succeeded.
    assert sum(each["good"] for each in document["devices"]) == totals[True, True]
    failed = sum(each["failed"] for each in document["devices"])
    assert failed + document["never_succeeded"]["tries"] == totals[False, True]


def test_every_total_sums_count():
    basic = basic_of([good(MONDAY, "ann", "192.0.2.1", count=5), good(MONDAY, "ann", "192.0.2.1", count=2, mechanism="XOAUTH2")])
    assert [(each.good, each.per_day) for each in basic.devices] == [(5, 5.0)]
    assert [(day.day, day.password, day.oauth) for day in basic.days] == [(date(2026, 11, 2), 5, 2)]


def test_oauth_alone_is_nobody():
    assert basic_of([good(day, "ann", "192.0.2.1", mechanism="XOAUTH2") for day in days(9)]).devices == []


def test_the_same_whatever_the_size_of_the_tables():
    dice = Random(7)
    attempts = [
        (good if dice.random() < 0.8 else bad)(
            MONDAY + timedelta(seconds=dice.randrange(10**6)), dice.choice("abc"), f"192.0.2.{dice.randrange(4)}"
        )
        for _ in range(400)
    ]
    whole, parts = basic_of(attempts), basic_of(attempts, rows=13)
    assert whole.devices == parts.devices
    assert (whole.days, whole.strangers) == (parts.days, parts.strangers)


def test_what_the_log_does_not_tell_is_counted_and_nobody_is_accused():
    basic = basic_of([good(MONDAY, "ann", "192.0.2.1", server="maddy", mechanism=None, count=3)])
    assert (basic.devices, basic.not_told) == ([], 3)
    assert "3 good sign-ins more: the log does not tell" in report(basic)


# ------------------------------------------------------------------------------------------------ whose device it is


def test_a_spray_on_names_that_exist_is_no_device_of_theirs():
    people = [good(day, name, "198.51.100.20") for day in days(5) for name in "abcdef"]
    spray = [bad(day + timedelta(seconds=n), name, f"192.0.2.{60 + n % 3}") for day in days(5) for n, name in enumerate("abcdefghij" * 3)]
    basic = basic_of(people + spray)
    assert {each.addresses for each in basic.devices} == {("198.51.100.20",)}
    assert basic.strangers == (10, 150)


def test_a_forgotten_phone_that_only_fails_is_one():
    phone = [bad(day + timedelta(minutes=m), "ann", "192.0.2.7", service=Service.IMAP) for day in days(3) for m in range(0, 1440, 15)]
    basic = basic_of([*phone, good(MONDAY, "ann", "198.51.100.20")])
    assert [(each.addresses, each.good, each.failed, each.working) for each in basic.devices] == [
        (("192.0.2.7",), 0, 3 * 96, False),
        (("198.51.100.20",), 1, 0, True),
    ]
    assert basic.devices[0].kind == "phone"


def test_an_account_that_the_server_knows_is_one_even_without_a_success():
    # Entra answers 530032 where the tenant has switched legacy authentication off: the password was not even looked at.
    basic = basic_of(
        [
            bad(
                MONDAY,
                "scan@example.test",
                "192.0.2.7",
                Cause.METHOD_DISABLED,
                server="entra",
                mechanism=None,
                service_raw="Authenticated SMTP",
                service=Service.SMTP,
            )
        ]
    )
    [device] = basic.devices
    assert (device.user, device.working, device.exchange_online, device.apps) == ("scan@example.test", False, True, ("Authenticated SMTP",))


def test_a_slip_of_the_keyboard_elsewhere_is_none():
    basic = basic_of([good(MONDAY, "ann", "198.51.100.20"), bad(MONDAY, "ann", "203.0.113.9")])
    assert (len(basic.devices), basic.strangers) == (1, (1, 1))


def test_a_phone_on_many_networks_is_one_device_and_a_desk_stays_its_own():
    dice = Random(2)
    desk = [good(day + timedelta(hours=8 + h), "ann", "198.51.100.20", Service.IMAPS) for day in days(14, working=True) for h in range(8)]
    phone = [
        good(day + timedelta(minutes=dice.randrange(1440)), "ann", f"2001:db8:{dice.randrange(40)}::7", Service.IMAPS)
        for day in days(14)
        for _ in range(4)
    ]
    devices = basic_of(desk + phone).devices
    assert [each.good for each in devices] == [80, 56]
    assert devices[1].networks >= 20
    assert devices[1].kind == "phone"
    assert any("networks" in why for why in devices[1].why)


def test_an_ipv6_address_that_changes_within_its_network_is_one_device():
    devices = basic_of([good(day, "ann", f"2001:db8:1:2::{n:x}") for n, day in enumerate(days(9), 1)]).devices
    assert [(each.good, each.networks) for each in devices] == [(9, 1)]


# ------------------------------------------------------------------------------------------------ what it is likely to be


def office(user: str, ip: str, seed: int, **more) -> list[Attempt]:
    dice = Random(seed)
    return [
        good(day + timedelta(hours=8, seconds=dice.randrange(9 * 3600)), user, ip, **more)
        for day in days(21, working=True)
        for _ in range(3)
    ]


def life() -> list[Attempt]:
    """Three weeks of a small company of which each device is known; somebody reads mail, so that who does not is seen."""
    dice = Random(1)
    made = office("copy@example.test", "198.51.100.40", 3, helo="NPI1A2B3C")  # a printer's name from the factory
    made += office("ground.floor@example.test", "198.51.100.41", 4, helo="[10.0.0.9]")  # no name gives it away
    made += [good(day + timedelta(hours=2, seconds=dice.randrange(9)), "erik@example.test", "198.51.100.50") for day in days(21)]  # cron
    made += [
        good(day + timedelta(minutes=dice.randrange(1440)), f"shop{n}@example.test", "198.51.100.60") for day in days(21) for n in range(6)
    ]
    for n, name in enumerate(("ann", "bob")):
        made += office(f"{name}@example.test", f"198.51.100.{20 + n}", 10 + n)
        made += office(f"{name}@example.test", f"198.51.100.{20 + n}", 20 + n, service=Service.IMAPS)
    when = MONDAY
    while (when := when + timedelta(minutes=30, seconds=dice.randrange(40))) < MONDAY + timedelta(
        days=21
    ):  # from its last look, not by the clock
        made.append(good(when, "cleo@example.test", "203.0.113.5", Service.IMAPS))
    made += [good(day, "rare@example.test", "198.51.100.70") for day in days(2)]
    return made


def test_each_device_of_a_known_life_is_taken_for_what_it_is():
    kinds = {(each.user.split("@")[0], each.kind) for each in basic_of(life()).devices}
    assert kinds == {
        ("copy", "scanner"),
        # Sends at working hours from one address, as a scanner does; two weak signs and “only sends” are as much as the rules ask for.
        ("ground.floor", "scanner"),
        ("erik", "script"),
        *((f"shop{n}", "server") for n in range(6)),
        ("ann", "mail-program"),
        ("bob", "mail-program"),
        ("cleo", "phone"),
        ("rare", "unknown"),  # two sign-ins say nothing
    }


def test_every_likely_kind_says_why():
    for each in basic_of(life()).devices:
        assert each.why or each.kind == "unknown"
        assert each.kind in KINDS


def test_where_no_mailbox_is_logged_that_somebody_only_sends_says_nothing():
    only_smtp = [attempt for attempt in life() if attempt.service is Service.SUBMISSION]
    kinds = {each.user.split("@")[0]: each.kind for each in basic_of(only_smtp).devices}
    assert kinds["ground.floor"] == kinds["shop1"] == kinds["ann"] == "unknown"
    assert (kinds["copy"], kinds["erik"]) == ("scanner", "script")


# ------------------------------------------------------------------------------------------------ Microsoft's records


SIGN_IN = {
    "createdDateTime": "2026-11-03T08:27:00Z", "id": "r1", "userPrincipalName": "scan@example.test", "ipAddress": "192.0.2.81",
    "clientAppUsed": "Authenticated SMTP", "status": {"errorCode": 0}, "riskLevelDuringSignIn": "none",
}  # fmt: skip


def test_entra_sign_ins_of_authenticated_smtp_have_a_date_and_ways_out(tmp_path):
    log = tmp_path / "signins.json"
    log.write_text(
        json.dumps({"value": [SIGN_IN, SIGN_IN | {"id": "r2", "userPrincipalName": "ann@example.test", "clientAppUsed": "Browser"}]})
    )
    done = kit(log, "--json")
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    [device] = document["devices"]
    assert (device["user"], device["apps"], device["exchange_online"]) == ("scan@example.test", ["Authenticated SMTP"], True)
    assert document["deadline"]["day"] == "2026-12-31"
    assert [way["name"] for way in document["ways_out"]] == device["move_to"]
    assert {"SMTP relay connector", "Direct Send", "High Volume Email"} <= set(device["move_to"])
    assert document["days"] == [{"day": "2026-11-03", "password": 1, "oauth": 1, "other": 0, "unknown": 0, "failed": 0}]
    text = kit(log).stdout
    assert "until 2026-12-31" in text
    assert "Direct Send" in text


def test_only_modern_clients_is_all_well(tmp_path):
    log = tmp_path / "signins.json"
    log.write_text(json.dumps([SIGN_IN | {"clientAppUsed": "Mobile Apps and Desktop clients"}]))
    assert [day["oauth"] for day in json.loads(kit(log, "--json").stdout)["days"]] == [1]
    done = kit(log)
    assert done.exit_code == 0
    assert done.stdout.startswith("Nobody is seen to sign in with a password")


def test_the_portals_csv_filtered_to_authenticated_smtp_is_read(tmp_path):
    log = tmp_path / "SignIns.csv"
    log.write_text(
        "Date (UTC),Request ID,User,Username,Application,IP address,Status,Sign-in error code,Client app\n"
        "2026-11-03T08:27:00Z,r1,Scan,scan@example.test,Office 365 Exchange Online,192.0.2.81,Success,None,Authenticated SMTP\n"
        "2026-11-04T08:27:00Z,r2,Scan,scan@example.test,Office 365 Exchange Online,192.0.2.81,Failure,50126,Authenticated SMTP\n"
    )
    [device] = json.loads(kit(log, "--json").stdout)["devices"]
    assert (device["user"], device["good"], device["failed"], device["working"]) == ("scan@example.test", 1, 1, False)
    assert (device["first"][:10], device["last"][:10], device["per_day"]) == ("2026-11-03", "2026-11-04", 1.0)


def test_a_receive_connectors_sign_ins_are_passwords_without_a_date(tmp_path):
    log = tmp_path / "RECV2026110308-1.LOG"
    log.write_text(
        "#Software: Microsoft Exchange Server\n#Log-type: SMTP Receive Protocol Log\n"
        "#Fields: date-time,connector-id,session-id,sequence-number,local-endpoint,remote-endpoint,event,data,context\n"
        r"2026-11-03T08:25:00.105Z,MBX1\Client,08DE1A6B5C7D9E01,5,192.0.2.1:587,192.0.2.71:51824,*,EXAMPLE\scanner,authenticated"
        "\n"
    )
    [device] = json.loads(kit(log, "--json").stdout)["devices"]
    assert (device["user"], device["servers"], device["exchange_online"]) == (r"EXAMPLE\scanner", ["exchange"], False)
    assert device["mechanisms"] == []


# The columns as Microsoft describes them; since October 2024 with the last one.
OLD_REPORT = '\ufeffSender address,Domain,TLS 1.0,TLS 1.1,TLS 1.2,Messages sent\nscanner@example.test,example.test,0,0,100,"1,234"\nann@example.test,example.test,12.5%,0,87.5%,7\n'
NEW_REPORT = "Sender address,Domain,Authentication protocol,TLS 1.2,Messages sent\nscanner@example.test,example.test,Basic,100,40\nann@example.test,example.test,OAuth,100,7\nScanner@example.test,example.test,Basic,100,2\n"


def test_the_report_of_smtp_auth_clients_tells_who_uses_basic(tmp_path):
    path = tmp_path / "report.csv"
    path.write_text(NEW_REPORT)
    found = read_clients_reports([str(path)])
    assert (found.password, found.oauth, found.untold) == (42, 7, 0)
    [device] = found.devices
    assert (device.user, device.good, device.mechanisms, device.tls, device.kind) == (
        "scanner@example.test",
        42,
        ("Basic",),
        ("TLSv1.2",),
        "scanner",
    )
    assert device.first is None
    done = kit(path)
    assert done.exit_code == 1
    assert "42 with a password, 7 with OAuth" in done.stdout


def test_an_older_report_does_not_tell_and_is_said_not_to(tmp_path):
    path = tmp_path / "report.csv"
    path.write_text(OLD_REPORT)
    found = read_clients_reports([str(path)])
    assert (found.password, found.oauth, found.untold) == (0, 0, 1241)
    assert [(each.user, each.good, each.mechanisms) for each in found.devices] == [
        ("scanner@example.test", 1234, ()),
        ("ann@example.test", 7, ()),
    ]
    assert found.devices[1].tls == ("TLSv1.0", "TLSv1.2")
    assert "1,241 of which it does not tell" in " ".join(kit(path).stdout.split())


def test_a_report_and_a_log_are_read_together(tmp_path):
    path = tmp_path / "report.csv"
    path.write_text(NEW_REPORT)
    document = json.loads(kit(path, DATA / "mail.log", "--json").stdout)
    assert {each["exchange_online"] for each in document["devices"]} == {True, False}


@pytest.mark.parametrize(
    "text", ["Sender address,Domain,TLS 1.2\na@example.test,example.test,100\n", "Sender address,Domain,Messages\n" + "x" * 200_000]
)
def test_a_report_that_does_not_read_is_exit_code_2(tmp_path, text):
    path = tmp_path / "report.csv"
    path.write_text(text)
    done = kit(path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert str(path) in done.stderr


# ------------------------------------------------------------------------------------------------ the file


@pytest.fixture
def devices():
    return basic_of([*life(), good(MONDAY, '=cmd|"/c calc"!A1', "192.0.2.1", helo="+1")]).devices


def test_the_csv_holds_every_device_and_no_formula(tmp_path, devices):
    path = tmp_path / "devices.csv"
    write_devices(path, devices)
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(devices)
    assert sum(int(row["good"]) for row in rows) == sum(each.good for each in devices)
    hostile = next(row for row in rows if "cmd" in row["user"])
    assert (hostile["user"], hostile["helos"]) == ('\'=cmd|"/c calc"!A1', "'+1")
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    assert path.stat().st_mode & 0o077 == 0


def test_parquet_and_json_lines_hold_the_same(tmp_path, devices):
    write_devices(tmp_path / "d.parquet", devices)
    write_devices(tmp_path / "d.jsonl", devices)
    table = pq.read_table(tmp_path / "d.parquet").to_pylist()
    lines = [json.loads(line) for line in (tmp_path / "d.jsonl").read_text().splitlines()]
    for row, line, device in zip(table, lines, devices, strict=True):
        assert row["user"] == line["user"] == device.user
        assert row["addresses"] == line["addresses"] == list(device.addresses)
        assert row["first"] == datetime.fromisoformat(line["first"]) == device.first
        assert row["per_day"] == line["per_day"] == device.per_day


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_an_earlier_export_is_replaced_and_nothing_else(tmp_path, devices, ending):
    path = tmp_path / f"d.{ending}"
    write_devices(path, devices[:1])
    write_devices(path, devices)
    path.write_text("a letter\n")
    with pytest.raises(UsageError, match="no earlier export"):
        write_devices(path, devices)
    assert path.read_text() == "a letter\n"
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_name_that_is_no_format_is_refused_before_a_log_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(Usage, "add", lambda *_: pytest.fail("it was read"))
    done = kit(DATA / "mail.log", "-o", tmp_path / "devices.txt")
    assert (done.exit_code, done.stdout) == (2, "")


def test_a_log_is_never_written_over(tmp_path):
    log = tmp_path / "mail.jsonl"
    log.write_text((DATA / "mail.log").read_text())
    done = kit(log, "-o", log)
    assert done.exit_code == 2
    assert log.read_text() == (DATA / "mail.log").read_text()


# ------------------------------------------------------------------------------------------------ hostile, and large


HOSTILE = ["\x1b[31mred\x07", "evil\N{RIGHT-TO-LEFT OVERRIDE}txt", "a" * 100_000, "b\u2028c", "<script>alert(1)</script>"]


def test_nothing_in_a_name_acts_in_a_terminal():
    attempts = [good(MONDAY, name, "192.0.2.1", helo=name) for name in HOSTILE]
    text = report(basic_of(attempts))
    assert all(char.isprintable() or char == "\n" for char in text)
    assert len(text) < 20_000
    assert "\\x1b[31mred" in text


def test_a_flood_of_pairs_and_of_helo_names_is_bounded(monkeypatch):
    monkeypatch.setattr(usage_module, "MOST_PAIRS", 50)
    people = [good(day, f"user{n}", f"198.51.100.{n}", helo=f"h{day:%d}") for day in days(20) for n in range(20)]
    flood = [bad(MONDAY + timedelta(seconds=n), f"guess{n}", f"203.0.113.{n % 250}") for n in range(2000)]
    usage = Usage()
    table = make_log(sorted(people + flood, key=lambda attempt: attempt.time)).table
    for begin in range(0, len(table), 40):
        usage.add(table.slice(begin, 40))
    assert len(usage.pairs.records) <= 50
    assert len(usage.pairs.users) <= 51
    assert max(map(len, usage.pairs.records["traits"])) <= usage_module.MOST_TRAITS
    basic = Basic(usage)
    assert not basic.complete
    # Who succeeded is kept, with all its sign-ins.
    assert [(each.user, each.good) for each in basic.devices] == [(f"user{n}", 20) for n in sorted(range(20), key=str)]
    assert sum(day.failed for day in basic.days) == 2000


def test_no_pandas_is_loaded():
    code = "import sys; from kit.cli import main; main(['basic', sys.argv[1]], standalone_mode=False); sys.exit('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(DATA / "mail.log")], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


# ------------------------------------------------------------------------------------------------ knowledge


@pytest.mark.parametrize("way", ways_out(), ids=lambda way: way.name)
def test_a_way_out_is_whole_and_says_where_that_was_read(way):
    assert way.fits
    assert set(way.fits) <= KINDS
    assert way.at in ("exchange-online", "anywhere", "own-server")
    assert way.tls in ("required", "optional")
    assert way.address in ("any", "static")
    assert all(1 <= port <= 65535 for port in way.ports)
    assert all(text for text in (way.what, way.host, way.sign_in, way.limits, way.beware))
    assert way.source.startswith("https://")
    assert way.checked <= date(2026, 11, 24)


def test_the_ways_that_the_issue_of_a_scanner_needs_are_there():
    names = {way.name for way in fitting("scanner", exchange_online=True)}
    wanted = {
        "SMTP relay connector",
        "Direct Send",
        "High Volume Email",
        "Azure Communication Services Email",
        "Amazon SES",
        "A relay of your own",
    }
    assert wanted <= names
    assert not any(way.sign_in.startswith("OAuth") for way in fitting("scanner", exchange_online=True))


def test_every_kind_has_a_way_wherever_it_is():
    assert all(fitting(kind, exchange_online=online) for kind in KINDS for online in (True, False))


def test_what_never_leaves_the_house_is_said_to():
    # Microsoft: both deliver to recipients in one's own organisation alone.
    assert {way.name for way in ways_out() if not way.outside} == {"Direct Send", "High Volume Email"}


def test_the_deadline_is_microsofts():
    end = deadline()
    assert (end.day, end.published) == (date(2026, 12, 31), date(2026, 1, 27))
    assert "techcommunity.microsoft.com" in end.source
    assert end.checked == date(2026, 11, 24)


@pytest.mark.parametrize("row", load_table("basic")["name"], ids=lambda row: row["signal"])
def test_a_name_that_gives_a_device_away_does_and_its_near_misses_do_not(row):
    pattern = re.compile(row["pattern"], re.IGNORECASE | re.ASCII)
    assert all(pattern.search(example) for example in row["examples"])
    assert not any(pattern.search(other) for other in row["others"])
    begin = time.perf_counter()
    for char in ("a", "-", ".", "scan-", "br"):
        pattern.search(char * LONGEST)
    assert time.perf_counter() - begin < 0.5


def at(*places: tuple[int, int], size: int) -> np.ndarray:
    """Counts of which only some are not zero."""
    counts = np.zeros(size, np.int64)
    for place, number in places:
        counts[place] = number
    return counts


def week(*hours: int) -> np.ndarray:
    """Ten sign-ins in each of these hours of working days."""
    return np.stack([at(*((hour, 10) for hour in hours), size=24), np.zeros(24, np.int64)])


ANN = Device(user="ann@example.test", good=1, exchange_online=False)
SHOWS = {
    "device_name": {"helos": ("NPI1A2B3C",)},
    "scanner_user": {"user": "scanner@example.test"},
    "script_user": {"user": "backup@example.test"},
    "phone_app": {"apps": ("Exchange ActiveSync",)},
    "program_app": {"apps": ("MAPI Over HTTP",)},
    "timetable": {"days": 3, "hours": week(2), "minutes": at((5, 10), size=60)},
    "poll": {"hours": week(2), "gaps": at((20, 5), (21, 4), size=GAPS)},  # 5 s * 1.3**20 and 21: 16 to 28 minutes
    "round_the_clock": {"hours": week(3, 11, 19)},
    "office_hours": {"days": 5, "hours": week(8, 17)},  # from 8 to 17 o'clock are ten hours
    "reads_and_sends": {"reads": True},
    "only_reads": {"reads": True, "sends": False},
    "only_sends": {"mailboxes_logged": True},
    "roams": {"networks": 4},
    "one_address": {"days": 5, "networks": 1, "neighbours": 1, "hours": week(2, 20)},
    "many_users": {"mailboxes_logged": True, "senders": 4},
}


@pytest.mark.parametrize("signal", load_table("basic")["likely"]["signals"])
def test_every_signal_with_a_weight_is_seen_where_it_is_shown(signal):
    assert not list(signals(ANN, Habits(sends=True)))
    shown = SHOWS[signal]
    named = {name: value for name, value in shown.items() if name in Device.__dataclass_fields__}
    habits = {name: value for name, value in shown.items() if name not in named}
    assert signal in dict(signals(replace(ANN, **named), Habits(**{"sends": True} | habits)))


def test_weights_are_of_kinds_and_names_give_signals_that_have_some():
    table = load_table("basic")
    assert {row["signal"] for row in table["name"]} <= set(table["likely"]["signals"])
    assert {kind for weights in table["likely"]["signals"].values() for kind in weights} == KINDS - {"unknown"}


@pytest.mark.parametrize(
    ("place", "told"),
    # The first length is from 5 seconds on and each 1.3 times the one before: 14 is from 197 s, 22 from 1604, 33 from 28,755, 38 from 106,770.
    [(14, "every 4 minutes"), (22, "every 30 minutes"), (25, "every hour"), (33, "every 9 hours"), (37, "every day"), (38, "every day")],
)
def test_a_poll_is_told_by_the_length_that_people_choose(place, told):
    habits = Habits(sends=True, hours=week(2), gaps=at((place, 9), size=GAPS))
    assert dict(signals(ANN, habits))["poll"].startswith(f"{told} or so, 100 % of the time")


def test_the_schema_of_the_file_follows_the_fields(tmp_path):
    write_devices(tmp_path / "d.parquet", [])
    assert pq.read_schema(tmp_path / "d.parquet").field("first").type == pa.timestamp("us", "UTC")
