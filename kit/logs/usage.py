"""Who signed in how, by user and address: what a stream of attempts comes to, in memory that does not grow with the log.

Of pairs of user and address the MOST_PAIRS are kept that sign in most. Every total sums `count`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kit.knowledge.load import load_table
from kit.logs import arrow
from kit.logs.device import GAPS, SHORTEST, STEP
from kit.model import Cause, Outcome, Service

MOST_PAIRS: Final = 1 << 15
"""Pairs of user and address that are remembered; of more, those that never succeeded go first, then those that are seen least."""
MOST_TRAITS: Final = 8
"""Different ways in which a pair was seen that are remembered."""

METHODS: Final = ("password", "oauth", "other", "unknown")
PASSWORD, OAUTH, OTHER, UNKNOWN = range(len(METHODS))
FAILED, GOOD = 0, 1
NEVER: Final = np.iinfo(np.int64).max
LOW: Final = 0xFFFFFFFF
Ints = npt.NDArray[np.int64]

_DAY: Final = 86_400_000_000
_ROWS: Final = 1 << 14  # new pairs need room before others are let go
_READING: Final = frozenset({Service.IMAP, Service.IMAPS, Service.POP3, Service.POP3S})
_SENDING: Final = frozenset({Service.SMTP, Service.SUBMISSION, Service.SUBMISSIONS})
# A server says these of accounts that it has: whoever fails so is no stranger who guesses names.
_KNOWN: Final = frozenset(
    {Cause.METHOD_DISABLED, Cause.APP_PASSWORD_NEEDED, Cause.ACCOUNT_BLOCKED, Cause.PASSWORD_EXPIRED, Cause.SECOND_FACTOR}
)
# What a pair is: the user's number and, in the lower half, the address's; attempts by method, and failed or good; and of those with a
# password microseconds of the first, the last that failed, the last that was good, the latest read; and how they lie in time.
_PAIR: Final = np.dtype(
    [
        ("key", "i8"),
        ("count", "i8", (len(METHODS), 2)),
        ("first", "i8"),
        ("last", "i8", 2),
        ("before", "i8"),
        ("known", "?"),
        ("reads", "?"),
        ("sends", "?"),
        ("hours", "i4", (2, 24)),
        ("minutes", "i4", 60),
        ("gaps", "i4", GAPS),
    ]
)


class Trait(NamedTuple):
    """One way in which a pair was seen; None is what the log does not tell."""

    server: str | None
    service: str | None
    service_raw: str | None
    mechanism: str | None
    helo: str | None


@cache
def method_of(server: str | None, service: str | None, service_raw: str | None, mechanism: str | None) -> int:
    """Whether an attempt was made with a PASSWORD, with OAUTH, by an OTHER way; UNKNOWN where the log does not tell."""
    table = load_table("basic")
    if mechanism is not None:
        name = mechanism.upper()
        for number, method in enumerate(METHODS[:3]):
            if any(name.startswith(known[:-1]) if known.endswith("*") else name == known for known in table["mechanisms"][method]):
                return number
        return UNKNOWN
    apps = table["client_apps"]
    if server == apps["server"] and service_raw is not None:
        app = service_raw.lower()
        return next((number for number in (PASSWORD, OAUTH) if any(app == known.lower() for known in apps[METHODS[number]])), UNKNOWN)
    unnamed = any(server == row["server"] and (not row["services"] or service in row["services"]) for row in table["unnamed"])
    return PASSWORD if unnamed else UNKNOWN


class Usage:
    """Takes tables of `kit.logs.table.SCHEMA`.

    Attributes:
        complete: False once pairs were let go.
        users, addresses: the names behind the numbers in a pair's key.
        pairs: an array of _PAIR.
        traits: by place among the pairs, how each was seen with a password.
        days: by day since the epoch, attempts by method, and failed or good.
        reading: whether anybody was seen at a mailbox.
    """

    def __init__(self) -> None:
        self.complete = True
        self.users, self.addresses = Numbers(), Numbers()
        self.pairs = np.zeros(0, _PAIR)
        self.traits: dict[int, list[Trait]] = defaultdict(list)
        self.days: dict[int, Ints] = defaultdict(lambda: np.zeros((len(METHODS), 2), np.int64))
        self.reading = False
        self._place: dict[int, int] = {}

    def add(self, table: pa.Table) -> None:
        """One more table of attempts."""
        for batch in table.to_batches(max_chunksize=_ROWS):
            if len(batch):
                self._add(batch)

    def _add(self, batch: pa.RecordBatch) -> None:
        times, count = arrow.micros(batch["time"]), arrow.integers(batch["count"]).astype(np.int64)
        traits, trait = _traits(batch)
        method = np.array([method_of(*each[:4]) for each in traits], np.int64)[trait]
        good = _codes(batch["outcome"], lambda name: name == Outcome.SUCCESS)
        self.reading = self.reading or any(each.service in _READING for each in traits)
        self._count_days(times // _DAY, method, good, count)
        # Whoever is not named cannot be told to move.
        named = np.flatnonzero(_codes(batch["user"], lambda name: name is not None))
        if not len(named):
            return
        method, good, count = method[named], good[named], count[named]
        key = self.users.of(batch["user"]) << 32 | self.addresses.of(batch["client_ip"])
        row = self._rows(key[named])
        np.add.at(self.pairs["count"], (row, method, good), count)
        # What Basic is about; a user's OAuth tells only that the user exists.
        basic = np.flatnonzero(method == PASSWORD)
        if len(basic):
            row, named = row[basic], named[basic]
            self._count_habits(row, times[named], good[basic], count[basic])
            self._note(row, trait[named], traits, _codes(batch["cause"], lambda name: name in _KNOWN)[named] > 0)
        if len(self.pairs) > 2 * MOST_PAIRS:
            self._compact()

    def _count_days(self, day: Ints, method: Ints, good: Ints, count: Ints) -> None:
        kinds, which = np.unique(day << 3 | method << 1 | good, return_inverse=True)
        for kind, total in zip(kinds.tolist(), np.bincount(which, count).tolist(), strict=True):
            self.days[kind >> 3][kind >> 1 & 3, kind & 1] += int(total)

    def _rows(self, key: Ints) -> Ints:
        """The place of each pair, with room made for new ones."""
        keys, which = np.unique(key, return_inverse=True)
        fresh = [each for each in keys.tolist() if each not in self._place]
        self._place.update(zip(fresh, range(len(self._place), len(self._place) + len(fresh)), strict=True))
        room = np.zeros(len(fresh), _PAIR)
        room["key"], room["first"], room["last"], room["before"] = fresh, NEVER, -1, -1
        self.pairs = np.concatenate([self.pairs, room])
        return np.array([self._place[each] for each in keys.tolist()], np.int64)[which]

    def _count_habits(self, row: Ints, times: Ints, good: Ints, count: Ints) -> None:
        pairs = self.pairs
        np.minimum.at(pairs["first"], row, times)
        np.maximum.at(pairs["last"], (row, good), times)
        hours = times // 3_600_000_000
        weekend = ((hours // 24 + 3) % 7 >= 5).astype(np.int64)  # the epoch began on a Thursday
        np.add.at(pairs["hours"], (row, weekend, hours % 24), count)
        np.add.at(pairs["minutes"], (row, times // 60_000_000 % 60), count)
        order = np.lexsort((times, row))
        row, times = row[order], times[order]
        before = np.concatenate([[-1], times[:-1]])
        begins = np.flatnonzero(np.diff(row, prepend=-1))
        before[begins] = pairs["before"][row[begins]]
        pairs["before"][row[begins]] = times[np.append(begins[1:], len(row)) - 1]
        gaps = np.where(before < 0, 0, times - before) / 1e6
        long = gaps >= SHORTEST
        lengths = np.minimum(np.log(gaps[long] / SHORTEST) // np.log(STEP), GAPS - 1).astype(np.int64)
        np.add.at(pairs["gaps"], (row[long], lengths), 1)

    def _note(self, row: Ints, trait: Ints, traits: Sequence[Trait], known: npt.NDArray[np.bool_]) -> None:
        self.pairs["known"][row[known]] = True
        for field, services in (("reads", _READING), ("sends", _SENDING)):
            self.pairs[field][row[np.array([each.service in services for each in traits])[trait]]] = True
        seen = np.unique(row << 32 | trait)
        for place, number in zip((seen >> 32).tolist(), (seen & LOW).tolist(), strict=True):
            if len(noted := self.traits[place]) < MOST_TRAITS and traits[number] not in noted:
                noted.append(traits[number])

    def _compact(self) -> None:
        self.complete = False
        count = self.pairs["count"]
        kept = np.sort(np.lexsort((count.sum((1, 2)), count[:, :, GOOD].sum(1) > 0))[-MOST_PAIRS:])
        self.pairs = self.pairs[kept]
        keys = self.users.keep(self.pairs["key"] >> 32) << 32 | self.addresses.keep(self.pairs["key"] & LOW)
        self.pairs["key"] = keys
        self.traits = defaultdict(list, {new: self.traits[old] for new, old in enumerate(kept.tolist()) if old in self.traits})
        self._place = {key: place for place, key in enumerate(keys.tolist())}


class Numbers:
    """Numbers for texts; 0 is what is not known."""

    def __init__(self) -> None:
        self.names = [""]
        self._known: dict[str | None, int] = {None: 0, "": 0}

    def of(self, words: pa.DictionaryArray) -> Ints:
        """The numbers of an array's texts; a dictionary may hold others, too."""
        codes, names = arrow.codes(words), (*words.dictionary.to_pylist(), None)
        used = np.bincount(codes, minlength=len(names)).tolist()
        return np.array([self._number(name) if times else 0 for name, times in zip(names, used, strict=True)], np.int64)[codes]

    def keep(self, numbers: Ints) -> Ints:
        """Forgets all but these; returns their new numbers."""
        kept, place = np.unique(numbers, return_inverse=True)
        names = [self.names[number] for number in kept.tolist()]
        self.names, self._known = [""], {None: 0, "": 0}
        return np.array([self._number(name) for name in names], np.int64)[place]

    def _number(self, word: str | None) -> int:
        number = self._known.get(word)
        if number is None:
            number = self._known[word] = len(self.names)
            self.names.append(str(word))
        return number


def _codes(words: pa.DictionaryArray, test: Callable[[str | None], bool]) -> Ints:
    """1 for each row whose text passes the test, else 0."""
    return np.array([test(word) for word in (*words.dictionary.to_pylist(), None)], np.int64)[arrow.codes(words)]


def _traits(batch: pa.RecordBatch) -> tuple[list[Trait], Ints]:
    """The different traits of a batch, and which is each row's."""
    names = Trait._fields
    words = {name: (*batch[name].dictionary.to_pylist(), None) for name in names}
    codes = {name: arrow.codes(batch[name]) for name in names}
    key = np.zeros(len(batch), np.int64)
    for name in names:  # renumbered at each step, so that numbers stay small
        key = np.unique(key * len(words[name]) + codes[name], return_inverse=True)[1]
    first = np.unique(key, return_index=True)[1]
    columns = ([words[name][code] for code in codes[name][first].tolist()] for name in names)
    return [Trait(*each) for each in zip(*columns, strict=True)], key
