"""Exim's lines: what is one connection, and what counts once. The slow reader has to agree on each story."""

from __future__ import annotations

import pytest

from kit.logs.authlog import read_logs
from tests.logs.slow_reader import read_slowly

BAD = "plain_server authenticator failed for (pc) [192.0.2.60]: 535 Incorrect authentication data (set_id=alice)"
OTHER = "plain_server authenticator failed for (pc) [192.0.2.60]: 535 Incorrect authentication data (set_id=bob)"
MAIL = "1xVvta-0007lC-2P <= alice@example.test H=(pc) [192.0.2.60] P=esmtpa A=plain_server:alice S=251"
DENIED = "H=(pc) [192.0.2.60] F=<alice@example.test> A=plain_server:alice rejected RCPT <x@example.net>: Not from you"
UNKNOWN = 'SMTP protocol error in "AUTH FOO" H=(pc) [192.0.2.60] FOO authentication mechanism not supported'
STRAW = 'SMTP call from (pc) [192.0.2.60] dropped: too many syntax or protocol errors (last command was "AUTH FOO",  C=EHLO,AUTH,AUTH)'
ENOUGH = 'SMTP call from (pc) [192.0.2.60] dropped: too many nonmail commands (last was "AUTH")'


def quiet(commands: str, of: str = "") -> str:
    return f"no MAIL in SMTP connection from (pc) [192.0.2.60] D=0s {of}C={commands}"


# Lines as (second, process, message); then the outcomes, each as often as it counts. Exim's own file may leave the process out.
STORIES = {
    "two tries of one name in one second": ("file", [(1, 7, BAD), (1, 7, BAD)], ["failure", "failure"]),
    "one try, for the main and the reject log": ("syslog", [(1, 7, BAD), (1, 7, BAD)], ["failure"]),
    "its copy comes with the next second": ("syslog", [(1, 7, BAD), (2, 7, BAD)], ["failure"]),
    "two tries, each twice": ("syslog", [(1, 7, BAD), (1, 7, BAD), (1, 7, BAD), (1, 7, BAD)], ["failure", "failure"]),
    "without duplication two tries are two": ("syslog", [(1, 7, BAD), (5, 7, BAD)], ["failure", "failure"]),
    "other names": ("syslog", [(1, 7, BAD), (1, 7, OTHER)], ["failure", "failure"]),
    "other processes between": ("syslog", [(1, 7, BAD), (1, 8, BAD), (1, 7, BAD), (1, 8, BAD)], ["failure", "failure"]),
    "two messages over one connection": ("syslog", [(1, 7, MAIL), (9, 7, MAIL)], ["success"]),
    "over two": ("file", [(1, 7, MAIL), (9, 8, MAIL)], ["success", "success"]),
    "nothing tells whether over one": ("file", [(1, None, MAIL), (9, None, MAIL)], ["success", "success"]),
    "a process id comes again": ("file", [(1, 7, MAIL), (4000, 7, MAIL)], ["success", "success"]),
    "all mail is refused": ("syslog", [(1, 7, DENIED), (1, 7, DENIED), (2, 7, DENIED)], ["success"]),
    "some is": ("file", [(1, 7, DENIED), (1, 7, MAIL)], ["success"]),
    "of an unknown connection": ("file", [(1, None, DENIED), (1, None, MAIL)], ["success"]),
    "no mail at all": ("file", [(1, 7, quiet("EHLO,AUTH,QUIT", "A=plain_server:alice "))], ["success"]),
    "a failure, and no mail": ("file", [(1, 7, BAD), (1, 7, quiet("EHLO,AUTH,QUIT"))], ["failure"]),
    "a failure over syslog, and no mail": ("syslog", [(1, 7, BAD), (1, 7, BAD), (1, 7, quiet("EHLO,AUTH,QUIT"))], ["failure"]),
    "two that no other line tells of": ("file", [(1, 7, BAD), (1, 7, quiet("EHLO,AUTH,AUTH,AUTH"))], ["failure", "refused", "refused"]),
    "a hint that cannot be held to a connection": ("file", [(1, None, quiet("EHLO,AUTH,QUIT"))], []),
    "an unknown mechanism": ("syslog", [(1, 7, UNKNOWN), (1, 7, UNKNOWN), (1, 7, quiet("EHLO,AUTH,AUTH"))], ["refused", "refused"]),
    "that was the last straw": ("syslog", [(1, 7, STRAW), (1, 7, STRAW), (1, 7, quiet("EHLO,AUTH,AUTH"))], ["refused", "refused"]),
    "and has a line of its own": ("file", [(1, 7, UNKNOWN), (1, 7, UNKNOWN), (1, 7, STRAW)], ["refused", "refused"]),
    "one AUTH too many": ("file", [(1, 7, BAD), (1, 7, ENOUGH), (1, 7, quiet("EHLO,AUTH"))], ["failure", "refused"]),
}


@pytest.mark.parametrize(("log", "lines", "outcomes"), STORIES.values(), ids=list(STORIES))
def test_what_counts_once(tmp_path, log, lines, outcomes):
    host = "-" if log == "file" else "mx"
    path = tmp_path / "log"
    path.write_text(
        "".join(
            f"2026-11-03 {10 + second // 3600}:{second // 60 % 60:02}:{second % 60:02} {host} exim{f'[{pid}]' if pid else ''}: {message}\n"
            for second, pid, message in lines
        )
    )
    found = read_logs(path, year=2026)
    assert [row["outcome"] for row in found.table.to_pylist() for _ in range(row["count"])] == outcomes
    assert found.coverage.attempt_lines == len(lines)
    mine, coverage = read_slowly(path, year=2026)
    assert mine == found.table.to_pylist()
    assert coverage["attempts"] == len(outcomes)
