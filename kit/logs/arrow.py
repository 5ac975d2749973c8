"""Arrow arrays made from buffers.

`pa.array` would do the same, but looks whether its argument is a pandas object and imports pandas for it: half a second
that a command which needs no frame should not pay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_MANY: Final = 1 << 32


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


def distinct(array: pa.DictionaryArray) -> tuple[npt.NDArray[np.int32], list[str | None]]:
    """Of each row the place of its text among those that occur, and these; the last is None."""
    places = codes(array)
    used = np.bincount(places, minlength=len(array.dictionary) + 1)[:-1] > 0
    names = array.dictionary if used.all() else array.dictionary.take(numbers(np.flatnonzero(used), pa.int64()))
    return np.append(np.cumsum(used, dtype=np.int32) - 1, np.int32(len(names)))[places], [*names.to_pylist(), None]


def combinations(batch: pa.RecordBatch, fields: Sequence[str]) -> tuple[list[tuple[str | None, ...]], npt.NDArray[np.int64]]:
    """The different rows that the batch has in these columns of words, and of each row which it is."""
    columns = [distinct(batch[field]) for field in fields]
    which, size = np.zeros(len(batch), np.int64), 1
    for places, names in columns:
        if size > _MANY:  # renumbered, so that numbers stay small
            used, which = np.unique(which, return_inverse=True)
            size = len(used)
        which, size = which * len(names) + places, size * len(names)
    _, first, which = np.unique(which, return_index=True, return_inverse=True)
    return list(zip(*([names[place] for place in places[first].tolist()] for places, names in columns), strict=True)), which


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
