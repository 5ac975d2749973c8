"""A real journald in a mount namespace of its own, and what `Tail` makes of its `journalctl --follow`: `python -m tests.servers.journal`.

Run by test_tail_journal.py within `unshare --mount`. Prints JSON: the users that were found at each step, the coverage, and the processes
that are left.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from kit.logs.tail import JOURNAL, Tail

DAEMON = Path("/lib/systemd/systemd-journald")
SOCKET = Path("/run/systemd/journal/dev-log")
PATIENCE = 20


def write(number: int) -> None:
    """A line as Postfix sends it to syslog; one of them is no UTF-8, and one longer than what journalctl shows without --all."""
    name = {3: b"u\xe4", 4: b"u" * 5000}.get(number, b"u%d" % number)
    line = b"<22>postfix/smtpd[7]: warning: unknown[192.0.2.7]: SASL LOGIN authentication failed: no, sasl_username=" + name
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.sendto(line, str(SOCKET))


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.1)


def main() -> None:
    subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
    Path("/run/log/journal").mkdir(parents=True)
    Path("/run/systemd/journal").mkdir(parents=True)
    daemon = subprocess.Popen([DAEMON], stderr=subprocess.DEVNULL)
    try:
        wait(SOCKET.exists)
        write(1)
        with Tail(command=JOURNAL) as tail:

            def seen(number: int) -> bool:
                tail.look()
                return tail.log.table.num_rows >= number

            wait(lambda: seen(1))
            first = tail.log.table["user"].to_pylist()
            for number in (2, 3, 4):
                write(number)
            wait(lambda: seen(4))
            log, process = tail.log, tail._growing._process.pid
        c = log.coverage
        adds_up = c.attempt_lines + c.not_understood + c.undecodable + c.other == c.lines
        print(json.dumps([first, log.table["user"].to_pylist(), adds_up, c.attempts, Path(f"/proc/{process}").exists()]))
    finally:
        daemon.terminate()
        daemon.wait()


if __name__ == "__main__":
    main()
