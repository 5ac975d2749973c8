"""Devices that sign in with a password, into a file: CSV, Parquet or JSON lines. The file appears when it is complete, or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final

from kit.errors import UsageError
from kit.logs.basic import Device
from kit.model import to_plain

_COLUMNS: Final = tuple(each.name for each in fields(Device))
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def write_devices(path: Path, devices: Sequence[Device], *, read: Iterable[str] = ()) -> None:
    """One device a row, with the fields of `Device`. Only the file's owner may read it, for it holds users' names.

    Args:
        path: the file. An earlier export of devices, or an empty file, is replaced; anything else that is there is not.
        devices: in the order in which they are to stand.
        read: paths that the devices come from, which must not be replaced.

    Raises:
        UsageError: the ending is none of FORMATS, the folder takes no file, or something else is there.
    """
    write = FORMATS.get(path.suffix.lower())
    if write is None:
        raise UsageError("the ending names no format", where=str(path), next_step=f"Let the name end with one of {', '.join(FORMATS)}")
    path, temporary = path.resolve(), None
    try:
        _check_free(path, read)
        number, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(number, "wb") as stream:
            write(stream, [to_plain(device) for device in devices])
        Path(temporary).replace(path)
    except UsageError:
        raise
    except OSError as fault:
        what = f"cannot be written ({fault.strerror or fault})"
        raise UsageError(what, where=str(path), next_step="Choose a folder that is there, is yours and has room") from fault
    finally:
        if temporary:
            with suppress(FileNotFoundError):
                Path(temporary).unlink()


def _check_free(path: Path, read: Iterable[str]) -> None:
    if path.exists() and (any(Path(log).exists() and path.samefile(log) for log in read) or not _is_ours(path)):
        step = "Give another name, or take that file away"
        raise UsageError("is there already, and no earlier export of devices", where=str(path), next_step=step)


def _is_ours(path: Path) -> bool:
    """Whether a file is empty, or begins with the names of our columns."""
    if not path.is_file():
        return False
    if path.stat().st_size == 0:
        return True
    if path.suffix.lower() == ".parquet":
        import pyarrow as pa  # noqa: PLC0415 - only who replaces Parquet pays for it
        import pyarrow.parquet as pq  # noqa: PLC0415 - the same

        try:
            return tuple(pq.read_schema(path).names) == _COLUMNS
        except pa.ArrowInvalid:
            return False
    with path.open("rb") as stream:
        head = stream.read(1 << 16).decode("utf-8", "replace").split("\n", 1)[0]
    return head.rstrip() == ",".join(_COLUMNS) or (head.startswith('{"user":') and '"move_to":' in head)


def _csv(stream: IO[bytes], rows: list[dict[str, Any]]) -> None:
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows([_cell(row[name]) for name in _COLUMNS] for row in rows)
    text.flush()
    text.detach()


def _cell(value: Any) -> Any:
    """A list as one text, nothing as an empty cell; what a spreadsheet would take for a formula gets an apostrophe in front."""
    text = "; ".join(value) if isinstance(value, list) else value
    return f"'{text}" if isinstance(text, str) and text.startswith(_FORMULA) else text


def _json_lines(stream: IO[bytes], rows: list[dict[str, Any]]) -> None:
    stream.writelines(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows)


def _parquet(stream: IO[bytes], rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa  # noqa: PLC0415 - only who writes Parquet pays for it
    import pyarrow.parquet as pq  # noqa: PLC0415 - the same

    kinds = {"tuple[str, ...]": pa.list_(pa.string()), "str": pa.string(), "int": pa.int64(), "bool": pa.bool_()}
    kinds |= {"datetime | None": pa.timestamp("us", "UTC"), "float | None": pa.float64()}
    schema = pa.schema([pa.field(each.name, kinds[str(each.type)]) for each in fields(Device)])

    timed = [row | {name: row[name] and datetime.fromisoformat(row[name]) for name in ("first", "last")} for row in rows]
    pq.write_table(pa.Table.from_pylist(timed, schema=schema), stream)


FORMATS: Final[dict[str, Callable[[IO[bytes], list[dict[str, Any]]], None]]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".jsonl": _json_lines,
}
