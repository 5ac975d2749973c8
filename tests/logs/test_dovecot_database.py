"""A Dovecot whose database of users does not answer: each try is one attempt, the server's failure, and no line is passed over.

The lines are those of Debian's 2.3.19 and 2.4.1, with an SQLite file that was not there and an LDAP server that nobody had started; only
names and addresses are others. What is expected is what the client did.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.logs.test_slow_reader import assert_agree

STAMP = "2026-11-03T08:12:{:02d}.000000+00:00 mx "
ENDED = "TLS, session=<c7sxuA1hb9F/AAAz>"
WHO = "user=<ann@example.test>, method=PLAIN, rip=192.0.2.51, lip=192.0.2.1, "
OPEN = "dovecot: auth-worker(13463): Error: sqlite: open(/srv/users.db) failed: unable to open database file"
WORKER = "dovecot: auth-worker(13463): Error: conn unix:auth-worker (pid=13459,uid=104): auth-worker<1>: "
WORKER_24 = "dovecot: auth-worker(ann@example.test,192.0.2.51)<3147><c7sxuA1hb9F/AAAz>: request [1]: "
TEMPORARY = f"dovecot: imap-login: Disconnected: Aborted login by logging out (auth service reported temporary failure): {WHO}{ENDED}"
TEMPORARY_24 = (
    "dovecot: imap-login: Login aborted: Logged out (auth service reported temporary failure, {} attempts in 4 secs) (temp_fail): "
)

DOWN = {
    "2.3, SQL, one try": (
        1,
        "imap",
        [OPEN, WORKER + "sql(ann@example.test,192.0.2.51,<c7sxuA1hb9F/AAAz>): Not connected to database", TEMPORARY],
    ),
    "2.3, SQL, two tries of one connection": (
        2,
        "imap",
        [
            *[OPEN, WORKER + "sql(ann@example.test,192.0.2.51,<c7sxuA1hb9F/AAAz>): Password query failed: no such table: users"] * 2,
            TEMPORARY,
        ],
    ),
    "2.3, SQL, asked by Postfix": (
        1,
        "submission",
        [
            WORKER + "sql(ann@example.test,192.0.2.51): Not connected to database",
            (
                "postfix/submission/smtpd[13456]: warning: unknown[192.0.2.51]: SASL PLAIN authentication failed: (reason unavailable), "
                "sasl_username=ann@example.test"
            ),
        ],
    ),
    # Only the end of the connection names the client, whatever the number of its tries.
    "2.3, LDAP": (1, "imap", ["dovecot: auth: Error: ldap(/etc/dovecot/ldap.conf): Can't connect to server: 192.0.2.2:389", TEMPORARY]),
    "2.3, the worker dies": (
        1,
        "imap",
        [
            OPEN,
            "dovecot: auth: Error: auth-worker: Aborted PASSL request for ann@example.test: Worker process died unexpectedly",
            "dovecot: auth-worker(13463): Fatal: master: service(auth-worker): child 13463 killed with signal 11 (core dumps disabled)",
            TEMPORARY,
        ],
    ),
    # The password was right; then nobody knew where the mail is.
    "2.3, the user is looked up in SQL": (
        1,
        "imap",
        [
            OPEN,
            WORKER + "sql(ann@example.test,192.0.2.51,<c7sxuA1hb9F/AAAz>): User query failed: Cannot connect to database",
            (
                "dovecot: imap(21160): Error: auth-master: login: request [3574071297]: Login auth request failed: Internal auth failure (auth "
                "connected 25 msecs ago, request took 25 msecs, client-pid=21157 client-id=1)"
            ),
            f"dovecot: imap-login: Disconnected: Internal login failure (pid=21157 id=1): {WHO.removesuffix(' ')} mpid=21160, {ENDED}",
        ],
    ),
    "2.4, SQL, two tries of one connection": (
        2,
        "imap",
        [*[OPEN, WORKER_24 + "Error: sql: Not connected to database"] * 2, TEMPORARY_24.format(2) + WHO + ENDED],
    ),
}


@pytest.mark.parametrize(("tries", "service", "lines"), DOWN.values(), ids=list(DOWN))
def test_a_database_that_does_not_answer_is_no_failure_of_the_users(tmp_path: Path, tries: int, service: str, lines: list[str]) -> None:
    path = tmp_path / "mail.log"
    path.write_text("".join(f"{STAMP.format(second)}{line}\n" for second, line in enumerate(lines)))
    log = assert_agree(path, year=2026)
    rows = log.table.to_pylist()
    assert [(r["outcome"], r["cause"], r["service"], r["user"], r["client_ip"]) for r in rows for _ in range(r["count"])] == [
        ("server-error", "backend-unavailable", service, "ann@example.test", "192.0.2.51")
    ] * tries
    assert (log.coverage.not_understood, log.coverage.lines) == (0, len(lines))


def test_a_database_that_answers_says_why(tmp_path: Path) -> None:
    """2.4: the worker knows why, and the mechanism and the service are known to the login process."""
    ended = "dovecot: imap-login: Login aborted: Logged out (auth failed, 1 attempts in 2 secs) (auth_failed): "
    lines = [WORKER_24 + "sql: Password mismatch", ended + WHO + ENDED]
    path = tmp_path / "mail.log"
    path.write_text("".join(f"{STAMP.format(second)}{line}\n" for second, line in enumerate(lines)))
    (row,) = assert_agree(path, year=2026).table.to_pylist()
    assert (row["outcome"], row["cause"], row["mechanism"], row["service"]) == ("failure", "wrong-password", "PLAIN", "imap")


def test_what_the_cache_still_knows_is_no_reason(tmp_path: Path) -> None:
    """2.4 says so where it tells why a try failed; the word `expired` there is of the cache, not of the password."""
    path = tmp_path / "mail.log"
    path.write_text(
        f"{STAMP.format(0)}dovecot: auth(ann@example.test,192.0.2.51,sasl:plain)<c7sxuA1hb9F/AAAz>: Falling back to expired data from cache\n"
        f"{STAMP.format(1)}dovecot: imap-login: Logged in: {WHO}mpid=13355, {ENDED}\n"
    )
    (row,) = assert_agree(path, year=2026).table.to_pylist()
    assert (row["outcome"], row["user"]) == ("success", "ann@example.test")
