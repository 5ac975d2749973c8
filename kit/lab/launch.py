"""`kit lab`: the guided notebooks in JupyterLab, with a configuration of their own beside the user's."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import kit
from kit.errors import UsageError
from kit.lab.settings import write_settings

START: Final = "notebooks/00-start-here.ipynb"
_PACKAGE: Final = Path(kit.__file__).parent
_LEDGER: Final = ".smtp-auth-kit.json"


def find_home(folder: Path | None) -> tuple[Path, list[str]]:
    """The folder to open, and the files in it that were left as somebody has edited them.

    From a checkout it is the checkout itself. An installed kit lays its notebooks and sample data out in `folder`, by
    default `smtp-auth-kit` here: new files are written, and older ones renewed where nobody has touched them.

    Raises:
        UsageError: the folder cannot be written.
    """
    checkout = _PACKAGE.parent
    if folder is None and (checkout / START).is_file() and (checkout / "pyproject.toml").is_file():
        return checkout, []
    source = _PACKAGE / "share" if (_PACKAGE / "share").is_dir() else checkout
    home = (folder or Path("smtp-auth-kit")).resolve()
    try:
        return home, _lay_out(source, home)
    except OSError as fault:
        raise UsageError(
            f"the notebooks cannot be written there ({fault.strerror or fault})",
            where=str(home),
            next_step="Name a folder that you may write: kit lab DIR",
        ) from fault


def _lay_out(source: Path, home: Path) -> list[str]:
    home.mkdir(parents=True, exist_ok=True)
    ledger = home / _LEDGER
    laid = _read_ledger(ledger)
    kept = []
    for path in sorted(p for part in ("notebooks", "data") for p in (source / part).rglob("*") if p.is_file()):
        name = path.relative_to(source).as_posix()
        if "/." in name or "__pycache__" in name:  # left there by Jupyter or pip
            continue
        target, digest = home / name, _digest(path)
        if target.exists() and _digest(target) not in (digest, laid.get(name)):
            kept.append(name)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        laid[name] = digest
    ledger.write_text(json.dumps(laid, indent=1), "utf-8")
    return kept


def _read_ledger(ledger: Path) -> dict[str, str]:
    """What was laid out before. Where that cannot be told, every file that differs counts as edited."""
    try:
        laid = json.loads(ledger.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return laid if isinstance(laid, dict) else {}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run_lab(home: Path, *, browser: bool = True, port: int | None = None) -> int:
    """Starts JupyterLab on the first notebook and waits until it ends; returns its exit code.

    Raises:
        UsageError: the port cannot be used.
    """
    if port is not None:
        _try_port(port)
    trust(home)
    with tempfile.TemporaryDirectory(prefix="kit-lab-") as folder:
        write_settings(Path(folder))
        environment = dict(os.environ, JUPYTER_PREFER_ENV_PATH="1")
        environment["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, (folder, os.environ.get("JUPYTER_CONFIG_PATH"))))
        command = [
            sys.executable,
            "-m",
            "jupyterlab",
            "--ip=127.0.0.1",
            f"--ServerApp.root_dir={home}",
            f"--LabApp.default_url=/lab/tree/{START}",
        ]
        if not browser:
            command.append("--no-browser")
        if port is not None:
            command += [f"--port={port}", "--ServerApp.port_retries=0"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.append("--allow-root")
        process = subprocess.Popen(command, cwd=home, env=environment)  # noqa: S603 - Lab, with arguments of our own
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())  # whoever ends `kit lab` means Lab
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # Lab has had the same signal, and asks whether it shall stop


def trust(home: Path) -> None:
    """Signs the notebooks, so that a second page on the same session shows what the first one does."""
    import nbformat  # noqa: PLC0415 - only those who start Lab need it
    from nbformat.sign import NotebookNotary  # noqa: PLC0415

    notary = NotebookNotary()
    for path in sorted((home / "notebooks").glob("*.ipynb")):
        with suppress(Exception):  # what is no notebook stays unsigned; Lab itself says so when somebody opens it
            notary.sign(nbformat.read(path, as_version=4))


def _try_port(port: int) -> None:
    with socket.socket() as probe:
        if sys.platform != "win32":  # there it would allow a second listener
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as fault:
            what = f"port {port} is taken" if fault.errno == errno.EADDRINUSE else f"port {port} cannot be used ({fault.strerror})"
            raise UsageError(what, where="--port", next_step="Give another one, or leave it out and Lab finds one") from fault
