"""Devices that sign in with a password, as rows of a file that `kit.logs.export` writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Final

import pyarrow as pa

from kit.logs.basic import Device
from kit.logs.export import Kind

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


def device_table(devices: Sequence[Device]) -> pa.Table:
    """One device a row, with the fields of `Device`."""
    return pa.Table.from_pylist([asdict(device) for device in devices], DEVICES.schema)
