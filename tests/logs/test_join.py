"""One try counts once (law 5): short logs, and how many tries of which kind an operator would count in them."""

from __future__ import annotations

import pytest

from kit.logs.authlog import read_logs

IP = "192.0.2.1"


def attempts_of(tmp_path, *lines: str) -> list[tuple[str, str, str | None, int]]:
    path = tmp_path / "mail.log"
    path.write_text(
        "".join(
            f"Nov  3 08:00:{second:02d} mx {rest}\n" for second, rest in (line.split(" ", 1) for line in lines) for second in [int(second)]
        )
    )
    log = read_logs(path, year=2026)
    assert log.coverage.not_understood == 0
    return [(row["outcome"], row["cause"], row["user"], row["count"]) for row in log.table.to_pylist()]


CHAIN_THEN_LOST = [
    f"00 dovecot: auth: pam(a@b.test,{IP}): unknown user",
    f"01 postfix/smtpd[1]: 4Zx8Qk1vWz: client=unknown[{IP}], sasl_method=PLAIN, sasl_username=a@b.test",
    f"02 postfix/smtpd[2]: lost connection after AUTH from unknown[{IP}]",
    f"02 postfix/smtpd[2]: disconnect from unknown[{IP}] ehlo=1 auth=0/1 commands=1/2",
]


def test_a_verdict_that_was_no_failure_explains_nothing_else(tmp_path):
    """The first password database did not know the user, the second did: a success. Then another client went away."""
    assert attempts_of(tmp_path, *CHAIN_THEN_LOST) == [("success", "none", "a@b.test", 1), ("aborted", "aborted", None, 1)]


@pytest.mark.parametrize("postfix_first", [False, True])
def test_postfix_learns_the_reason_from_dovecot(tmp_path, postfix_first):
    lines = [
        f"10 dovecot: auth: passwd-file(a@b.test,{IP}): Password mismatch",
        f"10 postfix/smtpd[1]: warning: unknown[{IP}]: SASL LOGIN authentication failed: UGFzc3dvcmQ6",
    ]
    assert attempts_of(tmp_path, *(lines[::-1] if postfix_first else lines)) == [("failure", "wrong-password", "a@b.test", 1)]


def test_two_users_behind_one_address_keep_their_own_reasons(tmp_path):
    lines = [
        f"10 dovecot: auth: passwd-file(a@b.test,{IP}): Password mismatch",
        f"10 dovecot: auth: passwd-file(nobody@b.test,{IP}): unknown user",
        f"12 postfix/smtpd[1]: warning: unknown[{IP}]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=nobody@b.test",
        f"12 postfix/smtpd[2]: warning: unknown[{IP}]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=a@b.test",
    ]
    assert attempts_of(tmp_path, *lines) == [("failure", "unknown-user", "nobody@b.test", 1), ("failure", "wrong-password", "a@b.test", 1)]


def test_two_tries_of_one_connection_are_two(tmp_path):
    lines = [
        f"10 dovecot: auth: passwd-file(a,{IP},<s1>): Password mismatch",
        f"13 dovecot: auth: passwd-file(a,{IP},<s1>): Password mismatch",
        f"15 dovecot: imap-login: Disconnected: Connection closed (auth failed, 2 attempts in 5 secs): user=<a>, method=PLAIN, rip={IP}, lip=192.0.2.9, session=<s1>",
    ]
    assert attempts_of(tmp_path, *lines) == [("failure", "wrong-password", "a", 1)] * 2


@pytest.mark.parametrize("login_first", [False, True])
def test_the_last_line_of_a_connection_may_come_before_its_try(tmp_path, login_first):
    """Both are written within a millisecond, by two processes: a busy machine logs them in either order."""
    lines = [
        f"10 dovecot: auth: plain(?,{IP},<s1>): Invalid base64 data in initial response",
        f"10 dovecot: imap-login: Disconnected: Aborted login by logging out (sent invalid base64 in response): user=<>, method=PLAIN, rip={IP}, lip=192.0.2.9, session=<s1>",
    ]
    path = tmp_path / "mail.log"
    path.write_text("".join(f"Nov  3 08:00:{line[:2]} mx {line[3:]}\n" for line in (lines[::-1] if login_first else lines)))
    (attempt,) = read_logs(path, year=2026).table.to_pylist()
    assert (attempt["outcome"], attempt["service"], attempt["mechanism"]) == ("malformed", "imap", "PLAIN")


def test_dovecot_24_counts_a_connections_tries_before_or_after_their_lines(tmp_path):
    """Its login process may be faster than the auth process; a client that vanished it tells of twice, the end first; Postfix has no session."""
    ended = f"user=<b>, method=PLAIN, rip={IP}, lip=192.0.2.9, TLS, session=<s1>"
    vanished = f"user=<>, method=LOGIN, rip={IP}, lip=192.0.2.9, TSL, session=<s2>"
    lines = [
        f"10 dovecot: auth(a,{IP},sasl:plain)<s1>: passwd-file: Password mismatch",
        f"11 dovecot: imap-login: Login aborted: Logged out (auth failed, 3 attempts in 1 secs) (auth_failed): {ended}",
        f"11 dovecot: auth(b,{IP},sasl:plain)<s1>: passwd-file: unknown user",
        f"20 dovecot: imap-login: Login aborted: Connection closed (client didn't finish SASL auth, 1 attempts in 0 secs) (auth_waiting_client): {vanished}",
        f"20 dovecot: imap-login: Authenticate LOGIN failed: Aborted: {vanished}",
        f"30 dovecot: auth(c,{IP},sasl:login): passwd-file: Password mismatch",
        f"30 postfix/smtpd[1]: warning: unknown[{IP}]: SASL LOGIN authentication failed: (reason unavailable), sasl_username=c",
    ]
    assert attempts_of(tmp_path, *lines) == [
        ("failure", "wrong-password", "a", 1),
        ("failure", "credentials", "b", 1),
        ("failure", "unknown-user", "b", 1),
        ("aborted", "aborted", None, 1),
        ("failure", "wrong-password", "c", 1),
    ]


def test_two_databases_asked_for_one_try_are_one(tmp_path):
    lines = [
        f"10 dovecot: auth: passwd-file(a,{IP},<s1>): unknown user",
        f"10 dovecot: auth: pam(a,{IP},<s1>): Password mismatch",
        f"12 dovecot: imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): user=<a>, method=PLAIN, rip={IP}, lip=192.0.2.9, session=<s1>",
    ]
    assert attempts_of(tmp_path, *lines) == [("failure", "wrong-password", "a", 1)]


def test_without_the_auth_lines_dovecots_count_stands(tmp_path):
    line = f"12 dovecot: imap-login: Disconnected: Connection closed (auth failed, 3 attempts in 9 secs): user=<a>, method=PLAIN, rip={IP}, lip=192.0.2.9, session=<s1>"
    assert attempts_of(tmp_path, line) == [("failure", "credentials", "a", 3)]


def test_many_messages_of_one_connection_are_one_sign_in(tmp_path):
    message = f"postfix/smtpd[1]: 4Zx8Qk1vWz: client=unknown[{IP}], sasl_method=PLAIN, sasl_username=a"
    end = f"30 postfix/smtpd[1]: disconnect from unknown[{IP}] ehlo=1 auth=1 mail=2 quit=1 commands=5"
    assert attempts_of(tmp_path, f"10 {message}", f"20 {message}", end) == [("success", "none", "a", 1)]
    assert attempts_of(tmp_path, f"10 {message}", end, f"40 {message}") == [("success", "none", "a", 1)] * 2


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (f"warning: AUTH command rate limit exceeded: 11 from unknown[{IP}] for service smtp", ("refused", "too-many", None, 1)),
        (f"warning: unknown[{IP}]: SASL LOGIN authentication aborted", ("aborted", "aborted", None, 1)),
    ],
)
def test_a_try_without_a_password_takes_no_verdict(tmp_path, other, expected):
    lines = [
        f"10 dovecot: auth: passwd-file(bob,{IP}): unknown user",
        f"11 postfix/smtpd[2]: {other}",
        f"12 postfix/smtpd[1]: warning: unknown[{IP}]: SASL LOGIN authentication failed: UGFzc3dvcmQ6",
    ]
    assert attempts_of(tmp_path, *lines) == [expected, ("failure", "unknown-user", "bob", 1)]


def test_another_client_is_another_sign_in(tmp_path):
    lines = [
        f"10 postfix/smtpd[7]: 4Zx8Qk1vWz: client=unknown[{IP}], sasl_method=PLAIN, sasl_username=bob",
        "50 postfix/smtpd[7]: 4Zx8Qk1vW1: client=unknown[192.0.2.2], sasl_method=PLAIN, sasl_username=eve",
    ]
    assert attempts_of(tmp_path, *lines) == [("success", "none", "bob", 1), ("success", "none", "eve", 1)]


def test_results_do_not_depend_on_batches(tmp_path, monkeypatch):
    path = tmp_path / "mail.log"
    path.write_text(
        f"Nov  3 08:00:10 mx dovecot: auth: passwd-file(bob,{IP},<s1>): Password mismatch\n"
        "Nov  3 08:05:00 mx dovecot: auth: passwd-file(eve,192.0.2.2,<s2>): Password mismatch\n"
        f"Nov  3 08:06:12 mx dovecot: imap-login: Disconnected: Inactivity (auth failed, 1 attempts in 362 secs): user=<bob>, method=PLAIN, rip={IP}, lip=192.0.2.9, session=<s1>\n"
    )
    at_once = read_logs(path, year=2026).table.to_pylist()
    monkeypatch.setattr("kit.logs.scan.FLUSH", 1)
    monkeypatch.setattr("kit.logs.source.BLOCK", 100)
    assert read_logs(path, year=2026).table.to_pylist() == at_once


def test_a_failure_for_want_of_the_authentication_server_is_none_of_the_users(tmp_path):
    """As Postfix 3.7 wrote it when Dovecot's socket was gone: the client got 454, the line of the try has no reason."""
    lines = [
        "10 postfix/smtpd[7]: warning: SASL: Connect to Dovecot auth socket 'private/auth' failed: No such file or directory",
        f"10 postfix/smtpd[7]: warning: unknown[{IP}]: SASL PLAIN authentication failed: (reason unavailable), sasl_username=(unavailable)",
        f"11 postfix/smtpd[8]: warning: unknown[{IP}]: SASL PLAIN authentication failed: (reason unavailable), sasl_username=bob",
    ]
    assert attempts_of(tmp_path, *lines) == [("server-error", "backend-unavailable", None, 1), ("failure", "credentials", "bob", 1)]


UNNAMED = f"warning: unknown[{IP}]: SASL PLAIN authentication failed: (reason unavailable), sasl_username=(unavailable)"


@pytest.mark.parametrize("place", [0, 1])
def test_a_try_without_a_user_was_not_judged_and_dovecot_alone_knows_why(tmp_path, place):
    """Dovecot's FAIL names the user as soon as there is one; without one no password can have been wrong."""
    lines = [f"10 postfix/smtpd[7]: {UNNAMED}"]
    assert attempts_of(tmp_path, *lines) == [("failure", "unknown", None, 1)]
    lines.insert(place, f"10 dovecot: auth: plain(?,{IP}): invalid input")
    assert attempts_of(tmp_path, *lines) == [("malformed", "malformed", None, 1)]
