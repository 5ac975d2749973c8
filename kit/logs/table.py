"""Attempts as an Arrow table, with one column a field of `kit.model.Attempt`."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import AddressValueError, IPv6Address
from itertools import compress
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from kit.logs import arrow
from kit.logs.classes import services
from kit.logs.columns import FIELDS, Attempts, Numbers, Words
from kit.model import Service
from kit.redact import mask_lines

_WORD: Final = pa.dictionary(pa.int32(), pa.string())

SCHEMA: Final = pa.schema(
    [
        pa.field("time", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("host", _WORD),
        pa.field("server", _WORD),
        pa.field("service", _WORD),
        pa.field("service_raw", _WORD),
        pa.field("outcome", _WORD, nullable=False),
        pa.field("cause", _WORD, nullable=False),
        pa.field("user", _WORD),
        pa.field("client_ip", _WORD),
        pa.field("client_port", pa.int32()),
        pa.field("client_name", _WORD),
        pa.field("helo", _WORD),
        pa.field("mechanism", _WORD),
        pa.field("tls", _WORD),
        pa.field("session", pa.string()),
        pa.field("count", pa.int32(), nullable=False),
        pa.field("text", pa.string()),
        pa.field("file", _WORD),
        pa.field("line", pa.int64()),
        pa.field("offset", pa.int64()),
    ]
)

ROWS: Final = 1 << 16
"""Rows of a table, about: each further table costs its readers and writers something."""
TEXT: Final = 1 << 25
"""Bytes of lines' texts in a table, about."""


class Portion:
    """Attempts that nothing can reach any more, until they make a table."""

    def __init__(self) -> None:
        self.rows = self._text = 0
        self._words = {field: Words() for field in (*FIELDS, "file") if field != "session"}
        self._numbers: dict[str, list[Numbers]] = {field: [] for field in self._words}
        self._arrays: dict[str, list[pa.Array]] = {field: [] for field in ("time", "count", "line", "offset", "session", "text")}

    def add(self, attempts: Attempts) -> None:
        """Takes a batch, in the order of its lines; the lines' texts are masked."""
        batch, extra = attempts.batch, attempts.extra
        places = np.flatnonzero(np.frombuffer(attempts.alive, np.uint8))
        columns = {field: column.numbers(places, [more.get(field) for _, more in extra]) for field, column in attempts.columns.items()}
        counts = np.ones(len(places), np.int32)
        if attempts.count:
            counts[:] = [attempts.count.get(i, 1) for i in places.tolist()]
        if extra:
            places = np.append(places, [i for i, _ in extra])
            counts = np.append(counts, [more["count"] for _, more in extra]).astype(np.int32)
            order = np.argsort(places, kind="stable")
            places, counts = places[order], counts[order]
            columns = {field: numbers[order] for field, numbers in columns.items()}
        names = attempts.columns["session"].words.names()
        arrays = {
            "time": arrow.numbers(batch.micros[places], SCHEMA.field("time").type),
            "count": arrow.numbers(counts, pa.int32()),
            "line": arrow.numbers(batch.numbers[places], pa.int64()),
            "offset": arrow.numbers(batch.offsets[places], pa.int64()),
            "session": arrow.texts([names[i] for i in columns.pop("session").tolist()]),
            "text": arrow.texts(mask_lines([batch.lines[i] for i in places.tolist()])),
        }
        for field, numbers in columns.items():
            self._numbers[field].append(self._words[field].numbers(attempts.columns[field].words.names())[numbers])
        self._numbers["file"].append(np.full(len(places), self._words["file"].number(batch.file), np.int32))
        for field, array in arrays.items():
            self._arrays[field].append(array)
        self.rows += len(places)
        self._text += arrays["text"].nbytes

    @property
    def full(self) -> bool:
        """Whether it should become a table."""
        return self.rows >= ROWS or self._text >= TEXT

    def table(self) -> pa.Table:
        """A table of SCHEMA."""
        words = {field: _Encoded.of(np.concatenate(self._numbers[field]), words.names()) for field, words in self._words.items()}
        words["client_ip"] = words["client_ip"].mapped(_shortest)
        words["service"] = words["service_raw"].mapped(lambda raw: services().get(raw, Service.OTHER.value))
        ports = words.pop("client_port")
        columns: dict[str, pa.Array] = {field: pa.concat_arrays(parts) for field, parts in self._arrays.items()}
        columns |= {field: arrow.words(*each) for field, each in words.items()}
        columns["client_port"] = arrow.numbers(np.array([*map(int, ports.names), -1], np.int32)[ports.which], pa.int32())
        return pa.Table.from_arrays([columns[field.name] for field in SCHEMA], schema=SCHEMA)


def _shortest(address: str) -> str:
    """Sendmail writes all eight groups of an IPv6 address; one client is to have one spelling (RFC 5952)."""
    if address.count(":") != 7 or "::" in address:
        return address
    try:
        return IPv6Address(address).compressed
    except AddressValueError:
        return address


class _Encoded(NamedTuple):
    """Texts, each kept once: of each row its place among the names, -1 for None."""

    which: Numbers
    names: list[Any]

    @classmethod
    def of(cls, numbers: Numbers, names: list[str | None]) -> _Encoded:
        """Only those names that occur."""
        used = np.bincount(numbers, minlength=len(names)) > 0
        used[0] = False
        which = np.where(used, np.cumsum(used, dtype=np.int32) - 1, np.int32(-1))
        return cls(which[numbers], list(compress(names, used.tolist())))

    def mapped(self, function: Callable[[str], str | None]) -> _Encoded:
        """What the function makes of each."""
        names: dict[str, int] = {}
        places = [-1 if (name := function(old)) is None else names.setdefault(name, len(names)) for old in self.names]
        return _Encoded(np.array([*places, -1], np.int32)[self.which], list(names))
