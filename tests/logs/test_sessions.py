"""Servers that name the session in each line: lines as OpenSMTPD 7.6 wrote them, and what its operator would count."""

from __future__ import annotations

import pytest

from kit.logs.authlog import read_logs

OPENS = "smtp connected address=192.0.2.7 host=client.example.test"
TLS = "smtp tls ciphers=TLSv1.3:TLS_AES_256_GCM_SHA384:256"
JUDGED = "smtp authentication user=alice result=permfail"
TOLD = 'smtp failed-command command="AUTH PLAIN (...)" result="535 Authentication failed"'
GOOD = "smtp authentication user=alice result=ok"
AGAIN = 'smtp failed-command command="AUTH PLAIN" result="503 5.5.1 Invalid command: Already authenticated"'
ALL = {"client_ip": "192.0.2.7", "client_name": "client.example.test", "tls": "TLSv1.3", "user": "alice", "mechanism": "PLAIN"}


def rows_of(tmp_path, *lines: tuple[int, str], session: str = "4f6e458e11fefcb5") -> list[dict]:
    path = tmp_path / "mail.log"
    with path.open("w") as file:
        for second, line in lines:
            stamp = f"Nov  3 {8 + second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
            file.write(f"{stamp} mx smtpd[7]: {line if line[16] == ' ' else f'{session} {line}'}\n")
    log = read_logs(path, year=2026)
    assert log.coverage.not_understood == 0
    return log.table.to_pylist()


def outcomes(rows: list[dict]) -> list[tuple]:
    return [(row["outcome"], row["user"], row["mechanism"]) for row in rows]


def test_two_lines_of_one_try_are_one_and_learn_who_the_client_was(tmp_path):
    (row,) = rows_of(tmp_path, (0, OPENS), (0, TLS), (10, JUDGED), (11, TOLD))
    assert row | ALL == row
    assert (row["outcome"], row["line"]) == ("failure", 3)


def test_three_tries_of_one_connection_are_three(tmp_path):
    rows = rows_of(tmp_path, (0, OPENS), *[(second, line) for second in (1, 2, 3) for line in (JUDGED, TOLD)])
    assert outcomes(rows) == [("failure", "alice", "PLAIN")] * 3


def test_what_the_client_was_told_of_another_command_is_no_part_of_a_success(tmp_path):
    """It signed in, and asked to sign in once more."""
    assert outcomes(rows_of(tmp_path, (0, GOOD), (0, AGAIN))) == [("success", "alice", None), ("refused", None, "PLAIN")]


def test_a_second_line_without_a_first_is_a_try(tmp_path):
    (row,) = rows_of(tmp_path, (0, OPENS), (1, TOLD))
    assert (row["client_ip"], row["user"], row["mechanism"]) == ("192.0.2.7", None, "PLAIN")


@pytest.mark.parametrize(("pause", "tries"), [(5, 1), (6, 2)])
def test_the_second_line_is_seconds_away(tmp_path, pause, tries):
    assert len(rows_of(tmp_path, (0, JUDGED), (pause, TOLD))) == tries


def test_lines_out_of_order_find_each_other(tmp_path):
    (row,) = rows_of(tmp_path, (11, TOLD), (10, JUDGED), (9, TLS), (9, OPENS))
    assert row | ALL == row


def test_other_sessions_are_others(tmp_path):
    rows = rows_of(tmp_path, (0, OPENS), (1, f"4f6e458e11fefcb6 {JUDGED}"), (1, TOLD))
    assert [(row["user"], row["client_ip"]) for row in rows] == [("alice", None), (None, "192.0.2.7")]


@pytest.mark.parametrize(("silent", "ip"), [(3_500, "192.0.2.7"), (3_900, None)])
def test_a_session_silent_for_over_an_hour_is_forgotten(tmp_path, silent, ip, monkeypatch):
    monkeypatch.setattr("kit.logs.scan.FLUSH", 1)
    monkeypatch.setattr("kit.logs.source.BLOCK", 100)
    between = f"4f6e458e11fefcb6 {OPENS}"
    assert [row["client_ip"] for row in rows_of(tmp_path, (0, OPENS), (silent - 10, between), (silent, between), (silent, JUDGED))] == [ip]


def test_no_more_sessions_are_remembered_than_there_is_room_for(tmp_path, monkeypatch):
    monkeypatch.setattr("kit.logs.scan.FLUSH", 1)
    monkeypatch.setattr("kit.logs.source.BLOCK", 100)
    monkeypatch.setattr("kit.logs.sessions.MOST_SESSIONS", 5)
    others = [(1, f"{number:016x} {OPENS}") for number in range(20)]
    assert [row["client_ip"] for row in rows_of(tmp_path, (0, OPENS), *others, (2, JUDGED))] == [None]
    assert [row["client_ip"] for row in rows_of(tmp_path, *others, (1, OPENS), (2, JUDGED))] == ["192.0.2.7"]


# ------------------------------------------------------------------------------------------------ Haraka, as 3.3 wrote it

UUID = "BB48FB82-9E63-4CB3-97C9-16AA99F300F8"
CONNECT = f"[NOTICE] [{UUID}] [core] connect ip=192.0.2.7 port=50325 local_ip=192.0.2.1 local_port=465"
ASKED = f'[INFO] [{UUID}] [core]  hook=unrecognized_command plugin=auth/flat_file function=hook_unrecognized_command params=AUTH retval=OK msg=""'
FAILED = f"[NOTICE] [{UUID}] [auth/flat_file] delaying for 1 seconds"


def left(relay: str, last: str = "", helo: str = "pc") -> str:
    flags = f"early=N esmtp=Y tls=Y pipe=N errors=0 txns=0 rcpts=0/0/0 msgs=0/0/0 bytes=0 lr={last} time=1.0"
    return f"[NOTICE] [{UUID}.1] [core] disconnect ip=192.0.2.7 rdns=NXDOMAIN helo={helo} relay={relay} {flags}"


def haraka(tmp_path, *lines: str) -> list[tuple]:
    path = tmp_path / "mail.log"
    path.write_text("".join(f"Nov  3 08:00:{second:02d} mx haraka[7]: {line}\n" for second, line in enumerate(lines)))
    rows = read_logs(path, year=2026).table.to_pylist()
    assert all((row["client_ip"], row["client_port"], row["tls"]) == ("192.0.2.7", 50325, "TLS") for row in rows)
    return [(row["outcome"], row["cause"], row["helo"], row["count"]) for row in rows]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([ASKED, left("Y", '""')], [("success", "none", "pc", 1)]),
        # relay=Y beside the last rejection: a failure, and then a success.
        (
            [FAILED, ASKED, ASKED, left("Y", '"535 5.7.8 Authentication failed"')],
            [("failure", "credentials", "pc", 1), ("success", "none", "pc", 1)],
        ),
        ([FAILED, ASKED, left("N", '"535 5.7.8 Authentication failed"')], [("failure", "credentials", "pc", 1)]),
        ([ASKED, left("N", '"504 Invalid AUTH string"')], [("malformed", "malformed", "pc", 1)]),
        ([ASKED, ASKED, left("N", '""')], [("aborted", "aborted", "pc", 2)]),
        # A client that may send without a sign-in, and made none.
        ([left("Y", '""')], []),
        # What the client calls itself stands between quotes, and says nothing for the server.
        ([ASKED, left("N", '""', r'"a\" relay=Y early=N esmtp=Y tls=N"')], [("aborted", "aborted", None, 1)]),
    ],
)
def test_haraka_counts_at_the_end_of_a_session(tmp_path, lines, expected):
    assert haraka(tmp_path, CONNECT, *lines) == expected
