"""Records by user and address, in memory that does not grow with the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kit.logs import arrow
from kit.logs.columns import Words

Ints = npt.NDArray[np.int64]
LOW: Final = 0xFFFFFFFF
NEVER: Final = np.iinfo(np.int64).max


class Pairs:
    """A record for each pair of user and address.

    Args:
        fields: of a record beside `key` and `first`, as numpy takes them; they begin at zero.
        most: records that there may be.
        worth: of each record, how much it is worth keeping.

    Attributes:
        records: their `key` is the user's number and, in the lower half, the address's; `first` is NEVER until it is set.
        complete: False once records were let go.
    """

    def __init__(self, fields: list[Any], most: int, worth: Callable[[npt.NDArray[Any]], Ints]) -> None:
        self.records = np.zeros(0, np.dtype([("key", "i8"), ("first", "i8"), *fields], align=True))
        self.complete = True
        self._most, self._worth = most, worth
        self._users, self._addresses = Words(), Words()
        self._place: dict[int, int] = {}

    @property
    def users(self) -> list[str | None]:
        """Names by number; the first is None, who is not known."""
        return self._users.names()

    @property
    def addresses(self) -> list[str | None]:
        """The same."""
        return self._addresses.names()

    def keys(self, batch: pa.RecordBatch) -> Ints:
        """The pair of each row."""
        (user, users), (address, addresses) = arrow.distinct(batch["user"]), arrow.distinct(batch["client_ip"])
        return _numbers(self._users, users)[user] << 32 | _numbers(self._addresses, addresses)[address]

    def places(self, keys: Ints) -> Ints:
        """Where the record of each pair is; one is made where there is none."""
        pairs, which = np.unique(keys, return_inverse=True)
        if fresh := [pair for pair in pairs.tolist() if pair not in self._place]:
            room = np.zeros(len(fresh), self.records.dtype)
            room["key"], room["first"] = fresh, NEVER
            self._place.update(zip(fresh, range(len(self.records), len(self.records) + len(fresh)), strict=True))
            self.records = np.concatenate([self.records, room])
        return np.array([self._place[pair] for pair in pairs.tolist()], np.int64)[which]

    def trim(self) -> None:
        """Where there are too many, lets the half go that is worth least, of the same worth the older, and the names that nobody has any more."""
        if len(self.records) <= self._most:
            return
        self.complete = False
        self.records = self.records[np.sort(np.argsort(self._worth(self.records), kind="stable")[-(self._most // 2) :])]
        users, addresses = self.users, self.addresses
        self._users, self._addresses = Words(), Words()
        user, address = (np.unique(half, return_inverse=True) for half in (self.records["key"] >> 32, self.records["key"] & LOW))
        self.records["key"] = (
            _numbers(self._users, [users[number] for number in user[0].tolist()])[user[1]] << 32
            | _numbers(self._addresses, [addresses[number] for number in address[0].tolist()])[address[1]]
        )
        self._place = {key: place for place, key in enumerate(self.records["key"].tolist())}


def _numbers(words: Words, texts: list[str | None]) -> Ints:
    return words.numbers(texts).astype(np.int64)
