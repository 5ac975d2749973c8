"""A Debian package's servers in a root folder of their own, which they take for the whole file system. Needs root.

Debian installs none of them beside Postfix, and their paths and users are built in. What they log goes to a file of ours: the folder has
its own /dev/log.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.servers.syslog import recorded


def find_root(name: str) -> Path | None:
    """What root can start: the packages and what they stand on, unpacked into KIT_TEST_UNPACKED/NAME."""
    folder = Path(os.environ.get("KIT_TEST_UNPACKED", "/nowhere"), name)
    return folder if os.geteuid() == 0 and (folder / "usr/bin").exists() else None


@dataclass(frozen=True)
class Root:
    """The folder, and what is started in it; all of that ends with the root."""

    path: Path
    log_file: Path
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        """A file of the root, with its folders."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def folder(self, name: str, owner: int = 0, mode: int = 0o755) -> None:
        """A folder of the root."""
        path = self.path / name
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)
        os.chown(path, owner, owner)

    def run(self, *command: str, user: str = "root", given: str = "") -> str:
        """Runs a command in the root, to its end; what it says."""
        done = subprocess.run(self._inside(user, command), input=given.encode(), capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr).decode()}\n{self._end()}")
        return done.stdout.decode()

    def start(self, *command: str, env: Mapping[str, str] | None = None) -> None:
        """Starts a server that stays in the foreground."""
        out = (self.path / "start.out").open("ab")
        with out:
            self._processes.append(
                subprocess.Popen(
                    ["setpriv", "--pdeathsig", "TERM", *self._inside("root", command)],  # a killed run takes along all but Cyrus
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    env={"PATH": "/usr/sbin:/usr/bin", **(env or {})},
                    start_new_session=True,
                )
            )

    def wait_for_port(self, port: int, seconds: float = 15) -> None:
        """Until somebody listens there."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.05)
        raise RuntimeError(f"nobody listens at port {port}:\n{self._end()}")

    def wait_for_quiet(self, seconds: float = 15) -> None:
        """Until nothing is logged any more; not for ever, as a stranger who knocks at the port again and again is logged too."""
        size, deadline = -1, time.monotonic() + seconds
        while size != (size := self.log_file.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.5)

    def stop(self) -> None:
        """Ends what was started, with all its children."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 15)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()

    def _inside(self, user: str, command: tuple[str, ...]) -> list[str]:
        return ["chroot", f"--userspec={user}", str(self.path), *command]

    def _end(self) -> str:
        out = self.path / "start.out"
        return (out.read_text("utf-8", "replace") if out.exists() else "") + self.log_file.read_text("utf-8", "replace")[-2000:]


@contextlib.contextmanager
def root(name: str, users: Mapping[str, int]) -> Iterator[Root]:
    """A copy of what was unpacked, with those users and groups, for as long as the block lasts."""
    unpacked = find_root(name)
    assert unpacked
    with tempfile.TemporaryDirectory(prefix="kit-root-", ignore_cleanup_errors=True) as made:
        path = Path(made)
        path.chmod(0o755)
        shutil.copytree(unpacked, path, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("share", "gconv"))
        for link in ("bin", "lib", "lib64", "sbin"):
            if not (path / link).exists():
                (path / link).symlink_to(f"usr/{link}")
        here = Root(path, path / "mail.log")
        for folder in ("run", "proc", "etc"):
            here.folder(folder)
        for folder in ("tmp", "dev"):
            here.folder(folder, mode=0o1777)
        everybody = {"root": 0, **users}
        here.write("etc/passwd", "".join(f"{user}:x:{number}:{number}::/home/{user}:/bin/sh\n" for user, number in everybody.items()))
        here.write("etc/group", "".join(f"{user}:x:{number}:\n" for user, number in everybody.items()))
        here.write("etc/hosts", "127.0.0.1 localhost mx.example.test mx\n")
        (path / "var/run").unlink(missing_ok=True) if (path / "var/run").is_symlink() else None
        (path / "var").mkdir(exist_ok=True)
        if not (path / "var/run").exists():
            (path / "var/run").symlink_to("../run")
        for device, numbers in {"null": (1, 3), "zero": (1, 5), "random": (1, 8), "urandom": (1, 9)}.items():
            os.mknod(path / "dev" / device, 0o020666, os.makedev(*numbers))
            (path / "dev" / device).chmod(0o666)
        with recorded(path / "dev/log", here.log_file, lambda: datetime.now(UTC).isoformat(timespec="microseconds")):
            try:
                yield here
            finally:
                here.stop()


def free_ports(count: int) -> list[int]:
    """That many, which nobody listens at."""
    doors = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [door.getsockname()[1] for door in doors]
    for door in doors:
        door.close()
    return ports
