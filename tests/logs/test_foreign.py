"""Lines as servers write them into files of their own: what is read from each, and that nothing makes the reader slow or fall over."""

from __future__ import annotations

import time

import pytest

from kit.logs.authlog import read_logs
from kit.logs.envelope import canonical, message_of
from kit.model import Cause, Outcome
from tests.logs.test_slow_reader import assert_agree

F, S = Outcome.FAILURE, Outcome.SUCCESS
# Of our own hand, after the servers' sources and descriptions. 08:12:44 UTC everywhere.
WRITTEN = {
    "zimbra": (
        (
            "2026-11-03 08:12:44,000 WARN  [ImapServer-5] [ip=192.0.2.1;oip=192.0.2.60;ua=x;cid=14;] security - cmd=Auth; account=ida@example.test; "
            "protocol=imap; error=authentication failed for [ida], invalid password;"
        ),
        ("zimbra", "imap", F, Cause.WRONG_PASSWORD, "ida@example.test", "192.0.2.60"),
    ),
    "maddy": (
        '2026-11-03T08:12:44.000Z submission: authentication failed\t{"reason":"unknown credentials","src_ip":"192.0.2.70:51000","username":"nia"}',
        ("maddy", "submission", F, Cause.CREDENTIALS, "nia", "192.0.2.70"),
    ),
    "maddy, docker": (
        (
            '{"log":"submission: authentication failed\\t{\\"reason\\":\\"unknown credentials\\",\\"src_ip\\":\\"192.0.2.70:51000\\",\\"username\\":\\"nia\\"}\\n",'
            '"stream":"stderr","time":"2026-11-03T08:12:44.000000000Z"}'
        ),
        ("maddy", "submission", F, Cause.CREDENTIALS, "nia", "192.0.2.70"),
    ),
    "maddy, Kubernetes": (
        (
            "2026-11-03T08:12:44.000000000Z stderr F "
            'imap: authentication failed\t{"reason":"unknown credentials","src_ip":"192.0.2.70:51000","username":"nia"}'
        ),
        ("maddy", "imap", F, Cause.CREDENTIALS, "nia", "192.0.2.70"),
    ),
    "nginx": (
        (
            '2026/11/03 08:12:44 [info] 6280#6280: *14 client login failed: "Invalid login or password" while in http auth state, '
            'client: 192.0.2.95, server: 0.0.0.0:587, login: "nia"'
        ),
        ("nginx", "submission", F, Cause.CREDENTIALS, "nia", "192.0.2.95"),
    ),
    "stalwart": (
        (
            '2026-11-03T08:12:44Z INFO Authentication successful (auth.success) listenerId = "imaptls", localPort = 993, remoteIp = 192.0.2.71, '
            'remotePort = 50125, accountName = "pia", accountId = 7, type = "individual"'
        ),
        ("stalwart", "imaps", S, Cause.NONE, "pia", "192.0.2.71"),
    ),
    "mailu": (
        "[2026-11-03 08:12:44,000] INFO in nginx: Login attempt for: quin@example.test/smtp/465 from: 192.0.2.74/50130: failed: badauth: 3fa2c1",
        ("mailu", "submissions", F, Cause.WRONG_PASSWORD, "quin@example.test", "192.0.2.74"),
    ),
    "mailu, docker compose": (
        "admin-1  | [2026-11-03 08:12:44,000] WARNING in limiter: Authentication attempt from 192.0.2.76 has been rate-limited.",
        ("mailu", None, Outcome.REFUSED, Cause.TOO_MANY, None, "192.0.2.76"),
    ),
    "mailu, docker": (
        (
            '{"log":"[2026-11-03 08:12:44,000] WARNING in limiter: Authentication attempt from 192.0.2.76 has been rate-limited.\\n",'
            '"stream":"stderr","time":"2026-11-03T09:12:44.1Z"}'
        ),
        ("mailu", None, Outcome.REFUSED, Cause.TOO_MANY, None, "192.0.2.76"),
    ),
    "sogo": (
        (
            "Nov 03 08:12:44 sogod [4711]: SOGoRootPage Login from '192.0.2.77' for user 'una' might not have worked - password policy: 65535"
            "  grace: -1  expire: -1  bound: 0"
        ),
        ("sogo", "http", F, Cause.CREDENTIALS, "una", "192.0.2.77"),
    ),
    "horde": (
        '2026-11-03T09:12:44+01:00 INFO: [imp] FAILED LOGIN for xaver (192.0.2.79) to {imap://mx.example.test/} [pid 1 on line 230 of "/Auth.php"]',
        ("horde", "http", F, Cause.CREDENTIALS, "xaver", "192.0.2.79"),
    ),
    "roundcube": (
        (
            "[03-Nov-2026 09:12:44 +0100]: <a1b2c3d4> IMAP Error: Login failed for abel against mx.example.test from 192.0.2.62. "
            "AUTHENTICATE PLAIN: Authentication failed. in /rcube_imap.php on line 211 (POST /?_task=login)"
        ),
        ("roundcube", "http", F, Cause.CREDENTIALS, "abel", "192.0.2.62"),
    ),
    "kerio": (
        "[03/Nov/2026 08:12:44] Failed SMTP login from 192.0.2.82 with SASL method LOGIN.",
        ("kerio", "smtp", F, Cause.CREDENTIALS, None, "192.0.2.82"),
    ),
    "domino, day first": (
        "[1A2B:0002-0F3C] 03.11.2026 08:12:44   smtp: emil [192.0.2.86] authentication failure using internet password",
        ("domino", "smtp", F, Cause.CREDENTIALS, "emil", "192.0.2.86"),
    ),
    "domino, month first": (
        "11/03/2026 08:12:44 AM  SMTP Server: Authentication failed for user emil ; connecting host 192.0.2.86",
        ("domino", "smtp", F, Cause.CREDENTIALS, "emil", "192.0.2.86"),
    ),
    "hmailserver": (
        '"SMTPD"\t2680\t34\t"2026-11-03 08:12:44.000"\t"192.0.2.88"\t"SENT: 535 Authentication failed. Restarting authentication process."',
        ("hmailserver", "smtp", F, Cause.CREDENTIALS, None, "192.0.2.88"),
    ),
}


def read(tmp_path, *lines: str):
    path = tmp_path / "server.log"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return read_logs(path, year=2026)


@pytest.mark.parametrize(("line", "expected"), WRITTEN.values(), ids=list(WRITTEN))
def test_what_is_read_from_a_line_as_written(tmp_path, line, expected):
    (row,) = read(tmp_path, line).table.to_pylist()
    assert tuple(row[name] for name in ("server", "service", "outcome", "cause", "user", "client_ip")) == expected
    assert str(row["time"]) == "2026-11-03 08:12:44+00:00"
    assert row["host"] is None
    assert row["offset"] == 0


def test_all_of_them_in_one_file_cut_or_not(tmp_path):
    """The engine and the slow reader agree, on whole lines and on what a full disk leaves of them."""
    whole = [line for line, _ in WRITTEN.values()]
    assert read(tmp_path, *whole).coverage.attempt_lines == len(whole)
    path = tmp_path / "cut.log"
    path.write_text("\n".join(whole + [line[:cut] for line in whole for cut in range(1, len(line), 5)]), "utf-8")
    coverage = assert_agree(path, year=2026).coverage
    assert coverage.attempt_lines + coverage.other + coverage.not_understood == coverage.lines


@pytest.mark.parametrize(
    "pair",
    [
        (
            "[03/Nov/2026 08:12:44] SMTP: User emil doesn't exist. Attempt from IP address 192.0.2.84.",
            "[03/Nov/2026 08:12:45] Failed SMTP login from 192.0.2.84 with SASL method LOGIN.",
        ),
        (
            "03.11.2026 08:12:44   smtp: emil [192.0.2.84] authentication failure using internet password",
            "03.11.2026 08:12:44   SMTP Server: Authentication failed for user emil ; connecting host dsl.example.net",
        ),
    ],
)
def test_two_lines_of_one_try_count_once(tmp_path, pair):
    for lines in (pair, pair[::-1]):
        (row,) = read(tmp_path, *lines).table.to_pylist()
        assert row["user"] == "emil"
    assert len(read(tmp_path, *pair, *pair).table) == 2


def test_zimbras_mta_and_its_audit_log_tell_of_one_try(tmp_path):
    mta = (
        "Nov  3 08:12:44 mx postfix/smtps/smtpd[1]: warning: unknown[192.0.2.64]: SASL LOGIN authentication failed: authentication failure"
    )
    audit = (
        "2026-11-03 08:12:44,100 WARN  [qtp1-99] [oip=192.0.2.64;oport=57752;oproto=smtp;soapId=688cb579;] security - cmd=Auth; "
        "account=jon@example.test; protocol=soap; error=authentication failed for [jon@example.test], invalid password;"
    )
    for lines in ((mta, audit), (audit, mta)):
        (row,) = read(tmp_path, *lines).table.to_pylist()
        assert (row["server"], row["service"], row["user"]) == ("postfix", "submissions", "jon@example.test")
        assert (row["cause"], row["mechanism"]) == (Cause.WRONG_PASSWORD, "LOGIN")


# 12 hours of an American clock: 12 AM is midnight (NIST's own warning about the two).
@pytest.mark.parametrize(("written", "hour"), [("12:00:00 AM", "00"), ("01:00:00 PM", "13"), ("12:00:00 PM", "12"), ("11:00:00 PM", "23")])
def test_dominos_twelve_hours(written, hour):
    assert canonical(f"11/03/2026 {written}  smtp: x").startswith(f"2026-11-03T{hour}:00:00 - domino: ")


def test_roundcubes_two_files_tell_of_one_try(tmp_path):
    errors, _ = WRITTEN["roundcube"]
    logins = "[03-Nov-2026 09:12:44 +0100]: <a1b2c3d4> Failed login for abel from 192.0.2.62 in session a1b2c3d4e5f60718 (error: 0)"
    (row,) = read(tmp_path, errors, logins).table.to_pylist()
    assert (row["mechanism"], row["session"]) == ("PLAIN", "a1b2c3d4")
    (row,) = read(tmp_path, logins).table.to_pylist()  # where errors.log was not given
    assert (row["user"], row["client_ip"], row["outcome"]) == ("abel", "192.0.2.62", F)


@pytest.mark.parametrize("line", [line for line, _ in WRITTEN.values()], ids=list(WRITTEN))
def test_time_grows_with_the_line_and_no_faster(line):
    for place in range(0, len(line), 9):
        for piece in (line[place : place + 3], line[place], "] ", '"\t"'):
            started = time.process_time()
            message_of(canonical(line[:place] + piece * (100_000 // len(piece))))
            assert time.process_time() - started < 0.5
