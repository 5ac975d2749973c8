"""Tables into a file, as they stream: Parquet, CSV or JSON lines. The file appears when it is complete, or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from kit.errors import KitError, UsageError
from kit.logs.table import SCHEMA

Write = Callable[[pa.Table], None]
_LONGEST: Final = 1 << 20
"""Bytes of a line in which names of columns are looked for."""


class Kind(NamedTuple):
    """What is exported.

    Attributes:
        rows: what a row is, in the plural.
        schema: of the tables.
        marks: columns that tell an export, also of another version.
    """

    rows: str
    schema: pa.Schema
    marks: set[str]


ATTEMPTS: Final = Kind("attempts", SCHEMA, {"time", "outcome", "cause", "client_ip"})


@contextmanager
def open_export(path: Path, logs: Iterable[Path] = (), kind: Kind = ATTEMPTS) -> Iterator[Write]:
    """A function that adds tables of the kind's schema to the file. Only its owner may read it, for it holds users' names.

    Args:
        path: the file. An earlier export, or an empty file, is replaced, as who exports every night expects; anything else that is there
            is not, as it can only be a mistake.
        logs: what is being read, and must not be replaced.
        kind: of which an earlier export is replaced.

    Raises:
        UsageError: the ending is none of FORMATS, the folder takes no file, or the file is one of the logs, or something else.
    """
    path = path.resolve()  # where it is a link, the file that it names
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise UsageError("the ending names no format", where=str(path), next_step=f"Let the name end with one of {', '.join(FORMATS)}")
    if path.is_dir():
        raise UsageError("is a folder", where=str(path), next_step="Give the name of a file")
    if path.exists() and any(log.exists() and path.samefile(log) for log in logs):
        raise UsageError("is a log that is being read", where=str(path), next_step="Give the name of another file")
    with whole_file(path) as temporary:
        if path.exists() and not (path.is_file() and (path.stat().st_size == 0 or form.columns(path) >= kind.marks)):
            step = "Give another name, or take that file away"
            raise UsageError(f"is there already, and no earlier export of {kind.rows}", where=str(path), next_step=step)
        with form.write(temporary, kind.schema) as write:
            yield write


@contextmanager
def whole_file(path: Path) -> Iterator[str]:
    """The name of a file beside that one, which takes its place once all is written, and else is gone. Only its owner may read it.

    Raises:
        UsageError: the folder takes no file.
    """
    temporary = None
    try:
        number, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(number)
        yield temporary
        Path(temporary).replace(path)
    except KitError:  # a log that cannot be read is an OSError too, and none of ours here
        raise
    except OSError as fault:
        what = f"cannot be written ({fault.strerror or fault})"
        raise UsageError(what, where=str(path), next_step="Choose a folder that is there, is yours and has room") from fault
    finally:
        if temporary:
            with suppress(FileNotFoundError):
                Path(temporary).unlink()


class _Format(NamedTuple):
    """How to write a file, and which columns one that is there has."""

    write: Callable[[str, pa.Schema], AbstractContextManager[Write]]
    columns: Callable[[Path], set[str]]


@contextmanager
def _parquet(path: str, schema: pa.Schema) -> Iterator[Write]:
    import pyarrow.parquet as pq  # noqa: PLC0415 - only who writes Parquet pays for it

    # What hardly ever repeats gains nothing from a dictionary, and nobody asks for texts from one to another.
    words = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    with pq.ParquetWriter(path, schema, compression="snappy", use_dictionary=words, write_statistics=["time"]) as writer:
        yield writer.write_table


def _parquet_columns(path: Path) -> set[str]:
    import pyarrow.parquet as pq  # noqa: PLC0415 - the same

    try:
        return set(pq.read_schema(path).names)
    except pa.ArrowInvalid:
        return set()


@contextmanager
def _csv(path: str, schema: pa.Schema) -> Iterator[Write]:
    import pyarrow.csv as pc_csv  # noqa: PLC0415 - the same

    with pc_csv.CSVWriter(path, _cells(schema.empty_table()).schema) as writer:
        yield lambda table: writer.write_table(_cells(table))


def _csv_columns(path: Path) -> set[str]:
    return {name.strip('"') for name in _first_line(path).decode("utf-8", "replace").split(",")}


def _cells(table: pa.Table) -> pa.Table:
    """A list as one text; what a spreadsheet would take for a formula gets an apostrophe in front."""
    for i, field in enumerate(table.schema):
        column = pc.binary_join(table[i], "; ") if pa.types.is_list(field.type) else table[i]
        if pa.types.is_dictionary(column.type) or pa.types.is_string(column.type):
            text = pc.replace_substring_regex(column.cast(pa.string()), r"\A([=+\-@\t\r])", r"'\1")
            table = table.set_column(i, field.name, text)
    return table


@contextmanager
def _json_lines(path: str, _: pa.Schema) -> Iterator[Write]:
    import orjson  # noqa: PLC0415 - the same

    with Path(path).open("wb") as stream:

        def write(table: pa.Table) -> None:
            for batch in table.to_batches(max_chunksize=4096):
                stream.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z) for row in batch.to_pylist())

        yield write


def _json_columns(path: Path) -> set[str]:
    try:
        row = json.loads(_first_line(path))
    except ValueError:
        return set()
    return set(row) if isinstance(row, dict) else set()


def _first_line(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.readline(_LONGEST).rstrip()


FORMATS: Final = {
    ".parquet": _Format(_parquet, _parquet_columns),
    ".csv": _Format(_csv, _csv_columns),
    ".jsonl": _Format(_json_lines, _json_columns),
}
