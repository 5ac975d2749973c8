"""Arrow arrays made from buffers.

`pa.array` would do the same, but looks whether its argument is a pandas object and imports pandas for it: half a second
that a command which needs no frame should not pay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def numbers(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Numbers of the kind's width; a negative one of 32 bits is null."""
    known = _bits(values >= 0) if kind == pa.int32() else None
    return pa.Array.from_buffers(kind, len(values), [known, pa.py_buffer(np.ascontiguousarray(values))])


def micros(times: pa.Array) -> npt.NDArray[np.int64]:
    """The 64-bit numbers of an array without nulls."""
    return np.frombuffer(times.buffers()[1], np.int64, len(times), times.offset * 8)


def integers(array: pa.Array) -> npt.NDArray[np.int32]:
    """The 32-bit numbers of an array without nulls."""
    return np.frombuffer(array.buffers()[1], np.int32, len(array), array.offset * 4)


def codes(array: pa.DictionaryArray) -> npt.NDArray[np.int32]:
    """Of each row the place of its text in the dictionary; behind the last where it is null."""
    rows = slice(array.indices.offset, array.indices.offset + len(array))
    known, data = array.indices.buffers()
    places = np.frombuffer(data, np.int32)[rows].copy()
    if known is not None:
        places[np.unpackbits(np.frombuffer(known, np.uint8), bitorder="little")[rows] == 0] = len(array.dictionary)
    return places


def texts(values: Sequence[str | None]) -> pa.Array:
    """Texts, None as null."""
    known, present = None, cast("Sequence[str]", values)
    try:
        joined = "".join(present)
    except TypeError:  # one is None
        known, present = _bits(np.array([value is not None for value in values], bool)), [value or "" for value in values]
        joined = "".join(present)
    lengths = map(len, present if joined.isascii() else [text.encode("utf-8", "replace") for text in present])
    ends = np.zeros(len(present) + 1, np.int32)
    np.cumsum(np.fromiter(lengths, np.int32, len(present)), out=ends[1:])
    data = joined.encode("utf-8", "replace")
    return pa.Array.from_buffers(pa.string(), len(present), [known, pa.py_buffer(ends), pa.py_buffer(data)])


def words(which: npt.NDArray[np.int32], names: Sequence[str]) -> pa.DictionaryArray:
    """Texts that repeat themselves, each kept once: of each row its place among the names, a negative one is null."""
    return pa.DictionaryArray.from_arrays(numbers(which, pa.int32()), texts(names))


def _bits(flags: npt.NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(flags, bitorder="little"))
