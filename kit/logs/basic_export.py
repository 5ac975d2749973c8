"""Devices that sign in with a password, into a file: CSV, Parquet or JSON lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Final

import pyarrow as pa

from kit.logs.basic import Device
from kit.logs.export import Kind, open_export

_TYPES: Final = {
    "tuple[str, ...]": pa.list_(pa.string()),
    "str": pa.string(),
    "int": pa.int64(),
    "bool": pa.bool_(),
    "datetime | None": pa.timestamp("us", "UTC"),
    "float | None": pa.float64(),
}
DEVICES: Final = Kind(
    "devices", pa.schema([pa.field(each.name, _TYPES[str(each.type)]) for each in fields(Device)]), {"user", "kind", "move_to"}
)


def write_devices(path: Path, devices: Sequence[Device], *, read: Iterable[Path] = ()) -> None:
    """One device a row, with the fields of `Device`.

    Args:
        path: the file; what `open_export` says of it holds.
        devices: in the order in which they are to stand.
        read: what they come from, which must not be replaced.

    Raises:
        UsageError: the file cannot be written, or something else is there.
    """
    with open_export(path, read, DEVICES) as write:
        write(pa.Table.from_pylist([asdict(device) for device in devices], DEVICES.schema))
