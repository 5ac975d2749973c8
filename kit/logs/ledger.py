"""Attempts in compact columns, for judgements that need all of them at once: some forty bytes an attempt, and a bound on how many.

Where there are more than the bound, tries that differ in nothing but their time are put together, first those of one minute, in the end
those of one day; their number is kept. Only where that is not enough the oldest are let go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kit.logs import arrow
from kit.logs.columns import Words

MOST_ROWS: Final = 1 << 21
MOST_NAMES: Final = 1 << 19
"""Different users, or addresses, of which the names are kept."""
MINUTE: Final = 60_000_000
"""In microseconds, as all times here."""
_GRAINS: Final = (MINUTE, 10 * MINUTE, 60 * MINUTE, 360 * MINUTE, 1440 * MINUTE)

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_WIDE: Final = ("user", "address")
_NARROW: Final = ("host", "service", "mechanism", "file", "outcome", "cause")
_FIELDS: Final = ("time", "user", "address", "host", "service", "mechanism", "file", "outcome", "cause", "count", "line", "offset")


@dataclass(frozen=True, slots=True)
class Entries:
    """Attempts in the order of time, a column each. Of what has a name, the number of it, 0 where it is not known.

    Attributes:
        time: microseconds since the epoch.
        user: in small letters.
        host: the machine that logged it, else the software.
        names: by field, the names by number.
        complete: False once the oldest were let go.
    """

    time: Ints
    user: npt.NDArray[np.int32]
    address: npt.NDArray[np.int32]
    host: npt.NDArray[np.int16]
    service: npt.NDArray[np.int16]
    mechanism: npt.NDArray[np.int16]
    file: npt.NDArray[np.int16]
    outcome: npt.NDArray[np.int16]
    cause: npt.NDArray[np.int16]
    count: npt.NDArray[np.int32]
    line: npt.NDArray[np.uint32]
    offset: Ints
    names: dict[str, list[str | None]]
    complete: bool = True

    def __len__(self) -> int:
        return len(self.time)

    @property
    def columns(self) -> list[npt.NDArray[Any]]:
        """All of them."""
        return [getattr(self, field) for field in _FIELDS]

    def chosen(self, rows: npt.NDArray[Any]) -> Entries:
        """Those rows: a mask, or places."""
        return replace(self, **{field: column[rows] for field, column in zip(_FIELDS, self.columns, strict=True)})

    def is_one_of(self, field: str, wanted: Sequence[str]) -> Mask:
        """Which rows have one of these words there."""
        fits: Mask = np.array([name in wanted for name in self.names[field]], bool)[getattr(self, field)]
        return fits


class Ledger:
    """Takes tables of `kit.logs.table.SCHEMA` in any order, and gives their rows in the order of time."""

    def __init__(self) -> None:
        self._words = {field: Words() for field in (*_WIDE, *_NARROW)}
        self._parts: list[list[npt.NDArray[Any]]] = []
        self._rows = 0
        self.complete = True

    def add(self, table: pa.Table) -> None:
        """One more table of attempts."""
        for batch in table.to_batches():
            if len(batch):
                self._parts.append(self._columns(batch))
                self._rows += len(batch)
        if self._rows > MOST_ROWS:
            self._compact()

    def entries(self) -> Entries:
        """All rows, in the order of time; among those of one moment successes come first."""
        names = {field: words.names() for field, words in self._words.items()}
        parts, self._parts = self._parts, []
        columns: dict[str, Any] = {}
        for place, field in enumerate(_FIELDS):  # one after the other, so that nothing but one column is there twice
            columns[field] = np.concatenate([part[place] for part in parts]) if parts else np.empty(0, np.int64)
            for part in parts:
                part[place] = part[place][:0]
        if not np.all(np.diff(columns["time"]) > 0):
            good = np.array([name == "success" for name in names["outcome"]], bool)[columns["outcome"]]
            order = np.argsort((columns["time"] << 1) + ~good, kind="stable")
            for field, column in columns.items():
                columns[field] = column[order]
        entries = Entries(**columns, names=names, complete=self.complete)
        self._parts = [entries.columns] if len(entries) else []
        return entries

    def _columns(self, batch: pa.RecordBatch) -> list[npt.NDArray[Any]]:
        users = [name and name.lower() for name in batch["user"].dictionary.to_pylist()]
        host = self._numbers("host", batch["host"])
        return [
            arrow.micros(batch["time"]).copy(),
            self._numbers("user", batch["user"], users),
            self._numbers("address", batch["client_ip"]),
            np.where(host > 0, host, self._numbers("host", batch["server"])),
            *(self._numbers(field, batch[field]) for field in ("service", "mechanism", "file", "outcome", "cause")),
            arrow.integers(batch["count"]).copy(),
            _plain(batch["line"]).astype(np.uint32),
            _plain(batch["offset"]).copy(),
        ]

    def _numbers(self, field: str, array: pa.DictionaryArray, names: list[str | None] | None = None) -> npt.NDArray[Any]:
        kind, most = (np.int32, 2**31 - 1) if field in _WIDE else (np.int16, 2**15 - 1)
        numbers = self._words[field].numbers([*(array.dictionary.to_pylist() if names is None else names), None])
        # A client may name a mechanism of its own with every try: what comes after the first 32,767 is not known.
        return np.where(numbers > most, 0, numbers).astype(kind)[arrow.codes(array)]

    def _compact(self) -> None:
        entries = self.entries()
        for grain in _GRAINS:
            entries = _merged(entries, grain)
            if len(entries) <= MOST_ROWS // 2:
                break
        while len(entries) > MOST_ROWS // 2 or any(len(np.unique(column)) > MOST_NAMES for column in (entries.user, entries.address)):
            entries, self.complete = entries.chosen(np.arange(len(entries) // 2, len(entries))), False
        self._parts, self._rows = [self._renamed(entries).columns], len(entries)

    def _renamed(self, entries: Entries) -> Entries:
        """With the names that are still in use."""
        changed: dict[str, Any] = {}
        for field in ("user", "address"):
            used, place = np.unique(getattr(entries, field), return_inverse=True)
            self._words[field] = Words()
            changed[field] = self._words[field].numbers([entries.names[field][number] for number in used.tolist()])[place]
        return replace(entries, **changed)


def _merged(entries: Entries, grain: int) -> Entries:
    """Tries that are alike in all but their time within a grain become one, that of the first; `count` sums."""
    words = [getattr(entries, field).astype(np.int64) for field in ("host", "service", "mechanism", "outcome", "cause")]
    what = words[0]
    for word in words[1:]:
        what = np.unique(what << 15 | word, return_inverse=True)[1]
    who = entries.user.astype(np.int64) << 32 | entries.address
    when = entries.time // grain
    order = np.lexsort((when, what, who))
    new = np.ones(len(order), bool)
    new[1:] = np.any([np.diff(column[order]) != 0 for column in (who, what, when)], axis=0)
    begins = np.flatnonzero(new)
    counts = np.minimum(np.add.reduceat(entries.count[order].astype(np.int64), begins), np.iinfo(np.int32).max)
    merged = replace(entries.chosen(order[begins]), count=counts.astype(np.int32))
    return merged.chosen(np.argsort(merged.time, kind="stable"))


def _plain(array: pa.Array) -> Ints:
    """Numbers; 0 where there is none."""
    return arrow.micros(pc.fill_null(array, 0) if array.null_count else array)
