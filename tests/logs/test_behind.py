"""saslauthd, PAM and the mail server before them: lines as saslauthd 2.1.28 with pam_unix wrote them, and what an operator would count."""

from __future__ import annotations

import pytest

from kit.logs.authlog import read_logs

IP = "192.0.2.1"
PAM = "saslauthd[7]: pam_unix(smtp:auth): authentication failure; logname= uid=0 euid=0 tty= ruser= rhost=  user=peggy"
UNKNOWN = "saslauthd[7]: pam_unix(smtp:auth): authentication failure; logname= uid=0 euid=0 tty= ruser= rhost= "
SASLAUTHD = "saslauthd[7]:                 : auth failure: [user=peggy] [service=smtp] [realm=] [mech=pam] [reason=PAM auth error]"
POSTFIX = f"postfix/smtpd[1]: warning: unknown[{IP}]: SASL LOGIN authentication failed: authentication failure"
DOVECOT = f"auth: pam_unix(dovecot:auth): authentication failure; logname= uid=0 euid=0 tty=dovecot ruser={{0}} rhost={IP}  user={{0}}"
ENDED = f"dovecot: imap-login: Disconnected: Connection closed (auth failed, 2 attempts in 9 secs): user=<eve>, method=PLAIN, rip={IP}, lip=192.0.2.9, TLS, session=<s1>"


def rows_of(tmp_path, *lines: tuple[int, str]) -> list[dict]:
    path = tmp_path / "mail.log"
    path.write_text("".join(f"Nov  3 08:{second // 60:02d}:{second % 60:02d} mx {line}\n" for second, line in lines))
    log = read_logs(path, year=2026)
    assert log.coverage.not_understood == 0
    return log.table.to_pylist()


def test_three_programs_lines_about_one_try_are_one(tmp_path):
    """PAM waits some two seconds before saslauthd hears of it."""
    (row,) = rows_of(tmp_path, (10, PAM), (13, SASLAUTHD), (13, POSTFIX))
    assert (row["server"], row["user"], row["client_ip"], row["mechanism"], row["line"]) == ("postfix", "peggy", IP, "LOGIN", 3)


def test_that_the_user_is_unknown_is_known_only_behind(tmp_path):
    lines = (10, UNKNOWN), (12, SASLAUTHD.replace("peggy", "mallory")), (12, POSTFIX)
    (row,) = rows_of(tmp_path, *lines)
    assert (row["server"], row["user"], row["cause"]) == ("postfix", "mallory", "unknown-user")


def test_an_outage_behind_is_none_of_the_users(tmp_path):
    (row,) = rows_of(tmp_path, (12, SASLAUTHD.replace("auth error", "start error")), (12, POSTFIX))
    assert (row["outcome"], row["cause"]) == ("server-error", "backend-unavailable")


@pytest.mark.parametrize(
    "other",
    [
        POSTFIX + ", sasl_username=walter",  # another user
        f"dovecot: auth: passwd-file(walter,{IP},<s1>): Password mismatch",  # and at another server
        "postfix/submission/smtpd[1]: 4Zx8Qk1vWz: client=unknown[192.0.2.1], sasl_method=PLAIN, sasl_username=peggy",  # a success
        'smtpd[7]: 4f6e458e11fefcb5 smtp failed-command command="AUTH PLAIN (...)" result="501 5.5.2 Syntax error"',  # nothing was judged
        SASLAUTHD.replace("smtp", "imap"),  # another service
        PAM,  # a second try
    ],
)
def test_another_try_is_another(tmp_path, other):
    assert len(rows_of(tmp_path, (10, PAM), (11, other))) == 2


@pytest.mark.parametrize(("pause", "tries"), [(5, 1), (6, 2)])
def test_the_servers_line_is_seconds_away(tmp_path, pause, tries):
    assert len(rows_of(tmp_path, (0, SASLAUTHD), (pause, POSTFIX))) == tries


def test_dovecot_counts_what_pam_names(tmp_path, monkeypatch):
    """Without auth_verbose Dovecot has one line for a connection."""
    lines = (10, DOVECOT.format("peggy")), (12, DOVECOT.format("eve")), (19, ENDED)
    known = {"server": "dovecot", "service": "imap", "outcome": "failure", "client_ip": IP, "mechanism": "PLAIN", "tls": "TLS", "count": 1}
    rows = rows_of(tmp_path, *lines)
    assert [row["user"] for row in rows] == ["peggy", "eve"]
    assert all(row | known == row for row in rows)
    monkeypatch.setattr("kit.logs.scan.FLUSH", 1)
    monkeypatch.setattr("kit.logs.source.BLOCK", 100)
    assert rows_of(tmp_path, *lines) == rows


def test_dovecots_own_line_for_a_try_stands_for_pams(tmp_path):
    (row,) = rows_of(tmp_path, (10, DOVECOT.format("peggy")), (10, f"dovecot: auth-worker(7): pam(peggy,{IP},<s1>): Password mismatch"))
    assert (row["server"], row["session"], row["cause"]) == ("dovecot", "s1", "wrong-password")


def test_one_of_two_tries_has_no_line_of_pam(tmp_path):
    rows = rows_of(tmp_path, (12, DOVECOT.format("eve")), (19, ENDED))
    assert [(row["user"], row["count"], row["line"]) for row in rows] == [("eve", 1, 1), ("eve", 1, 2)]
