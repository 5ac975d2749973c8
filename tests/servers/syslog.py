"""A syslog daemon of our own for the servers of one run, so that what they write stands in one file, in order of arrival.

Postfix and Dovecot write through syslog(3), which knows one address: the socket /dev/log. Where nobody listens there, as in a
container, this run does. Where the machine's own daemon does, the servers run in a mount namespace in which that name leads here,
and the machine's log never hears of them.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

DEVICE = Path("/dev/log")
LOCK = Path(tempfile.gettempdir()) / "kit-dev-log.lock"  # one run at a time has the device
_TIME = re.compile(rb"^<\d+>(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d )?")  # <PRI>Mon DD HH:MM:SS TAG: message, as syslog(3) sends it


@contextlib.contextmanager
def syslog(folder: Path, stamp: Callable[[], str]) -> Iterator[tuple[str, ...]]:
    """Writes what comes to `mail.log` in the folder, as `TIME HOST TAG: message`.

    Yields:
        What to put before the command of a daemon that shall log here.
    """
    with LOCK.open("w") as lock, _once():
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _has_listener():
            path = folder / "log"
            prefix: tuple[str, ...] = (*_IN_A_NAMESPACE, "sh", "-c", f'mount --bind "$0" {DEVICE} && exec "$@"', str(path))
        else:
            path, prefix = DEVICE, ()
            DEVICE.unlink(missing_ok=True)  # left by a run that died
        with recorded(path, folder / "mail.log", stamp):
            yield prefix


@contextlib.contextmanager
def recorded(path: Path, log_file: Path, stamp: Callable[[], str]) -> Iterator[None]:
    """Writes what comes to the socket of that path to the file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as device:
        device.bind(str(path))
        path.chmod(0o666)
        device.settimeout(0.2)
        ended = threading.Event()
        log_file.touch()
        thread = threading.Thread(target=_write, args=(device, log_file, stamp, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _once() -> Iterator[None]:
    """Another run is waited for; this one would wait for itself for ever."""
    global _taken  # noqa: PLW0603
    if _taken:
        raise RuntimeError("this run has servers with a log already: end those first")
    _taken = True
    try:
        yield
    finally:
        _taken = False


_taken = False
_IN_A_NAMESPACE = ("unshare", "--mount")


def syslog_is_possible() -> bool:
    """Whether a run can have its own: nobody listens at /dev/log, or this machine lets root make mount namespaces."""
    if not _has_listener():
        return True
    with LOCK.open("w") as lock:  # a listener of ours, in another run: it will end
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return bool(shutil.which("unshare")) and subprocess.run([*_IN_A_NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


def _has_listener() -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(str(DEVICE))
        except (FileNotFoundError, ConnectionRefusedError):  # nothing there, or what a dead process left
            return False
        except OSError:
            return True  # somebody's, but not for datagrams
    return True


def _write(device: socket.socket, log_file: Path, stamp: Callable[[], str], ended: threading.Event) -> None:
    with log_file.open("ab", buffering=0) as log:
        while True:
            try:
                datagram = device.recv(1 << 16)
            except TimeoutError:
                if ended.is_set():
                    return
                continue
            message = _TIME.sub(b"", datagram.rstrip(b"\0\n"))
            log.write(f"{stamp()} mx ".encode() + message.replace(b"\n", b" ") + b"\n")
