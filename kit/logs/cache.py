"""Large logs that were read before: their attempts in Arrow's file format, in a folder that only the user can read.

A log is known by its path, size and time of change, and by the parser and the tables that read it: whichever changes, it is read anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

if TYPE_CHECKING:
    from kit.logs.source import Source

LEAST: Final = 20_000_000  # bytes of logs: what is smaller is read again sooner than it is looked up with care
MOST: Final = 1_000_000_000  # bytes of the folder; beyond, what was used longest ago goes


def cache_folder() -> Path:
    """Where: in KIT_CACHE_DIR where it is set, else where this system keeps such files."""
    folder = os.environ.get("KIT_CACHE_DIR")
    if not folder:
        from platformdirs import user_cache_dir  # noqa: PLC0415 - only those who look for the folder pay for it

        folder = user_cache_dir("smtp-auth-kit", appauthor=False)
    return Path(folder) / "logs"


def key_of(sources: Sequence[Source], *, year: int | None, zone: str | None) -> str | None:
    """The name under which these logs are kept; None where they are small, or one of them is no file."""
    found: list[tuple[str, int, int]] = []
    for source in sources:
        if source.path is None:
            return None
        try:
            state = source.path.stat()
        except OSError:
            return None
        found.append((str(source.path.resolve()), state.st_size, state.st_mtime_ns))
    if sum(size for _, size, _ in found) < LEAST:
        return None
    named = [source.name for source in sources]  # it stands in the rows
    return hashlib.sha256(json.dumps([found, named, year, zone, _fingerprint()]).encode()).hexdigest()


def load(key: str) -> tuple[pa.Table, dict[str, Any]] | None:
    """The attempts that are kept under that name, and what was kept beside them; None where there are none that read."""
    path = cache_folder() / f"{key}.arrow"
    try:
        with pa.OSFile(str(path), "rb") as file:
            table = pa.ipc.open_file(file).read_all()
        beside: dict[str, Any] = json.loads(table.schema.metadata[b"kit"])
        os.utime(path)
    except (OSError, KeyError, ValueError):  # pa.ArrowInvalid is a ValueError
        return None
    return table.replace_schema_metadata(None), beside


def store(key: str, table: pa.Table, beside: dict[str, Any]) -> None:
    """Keep them, if the folder takes them. Whoever reads meanwhile sees all of it or nothing."""
    folder = cache_folder()
    temporary = folder / f"{key}.{os.getpid()}.part"
    table = table.replace_schema_metadata({b"kit": json.dumps(beside, default=asdict).encode()})
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with (
            os.fdopen(descriptor, "wb") as file,
            pa.ipc.new_file(file, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as out,
        ):
            out.write_table(table)
        temporary.replace(folder / f"{key}.arrow")
        _make_room(folder)
    except OSError:  # a full disk or a folder of somebody else's: the log is read again next time
        with suppress(OSError):
            temporary.unlink()


def forget() -> int:
    """Take away all that is kept: how many bytes that were."""
    freed = 0
    for path in cache_folder().glob("*.*"):
        with suppress(OSError):
            size = path.stat().st_size
            path.unlink()
            freed += size
    return freed


def _make_room(folder: Path) -> None:
    states = sorted(((path.stat(), path) for path in folder.glob("*.arrow")), key=lambda each: -each[0].st_mtime)
    total = 0
    for state, path in states:
        total += state.st_size
        if total > MOST:
            path.unlink()


@cache
def _fingerprint() -> str:
    """Of all that decides what is read from a line."""
    digest = hashlib.sha256()
    kit = files("kit")
    for folder in (kit / "logs", kit / "knowledge" / "log_lines"):
        for each in sorted(folder.iterdir(), key=lambda each: each.name):
            if each.is_file() and each.name.endswith((".py", ".toml")):
                digest.update(each.read_bytes())
    for name in ("redact.py", "model.py"):
        digest.update((kit / name).read_bytes())
    return digest.hexdigest()
