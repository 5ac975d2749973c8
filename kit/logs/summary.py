"""Totals of a stream of attempts, in memory that does not grow with the log: for the terminal and for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

MOST_PAIRS: Final = 1 << 17
"""Pairs of user and address that are remembered; of more, those with the fewest failures are let go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A user, an address or a service, and how its attempts ended.

    Attributes:
        failed: attempts that did not end in success.
        others: for a user, from how many addresses; for an address, how many users it tried.
        last: of its attempts.
    """

    name: str
    failed: int
    good: int
    others: int
    last: datetime


class Summary:
    """Takes tables of `kit.logs.table.SCHEMA`, answers with totals; every total sums `count`."""

    def __init__(self) -> None:
        self._kinds: list[pa.Table] = []
        self._pairs: list[pa.Table] = []
        self.complete = True  # False once pairs were let go: users and addresses are then a selection

    def add(self, table: pa.Table) -> None:
        """One more table of attempts."""
        if not len(table):
            return
        text = {name: table[name].cast(pa.string()) for name in ("outcome", "cause", "service", "user", "client_ip")}
        good = pc.equal(text["outcome"], "success")
        counted = {"failed": pc.if_else(good, 0, table["count"]), "good": pc.if_else(good, table["count"], 0)}
        times = {"first": table["time"], "last": table["time"]}
        kinds = {name: text[name] for name in ("outcome", "cause", "service")}
        self._kinds = [_grouped([*self._kinds, _grouped([pa.table({**kinds, **counted, **times})], *kinds)], *kinds)]
        pairs = pa.table({"user": text["user"], "client_ip": text["client_ip"], **counted, **times})
        self._pairs.append(_grouped([pairs], "user", "client_ip"))
        if sum(map(len, self._pairs)) > 2 * MOST_PAIRS:
            self._compact()

    def _compact(self) -> None:
        if not self._pairs:
            return
        whole = _grouped(self._pairs, "user", "client_ip")
        if len(whole) > MOST_PAIRS:
            whole = whole.sort_by([("failed", "descending")]).slice(0, MOST_PAIRS)
            self.complete = False
        self._pairs = [whole]

    @property
    def attempts(self) -> int:
        """How many there were."""
        return sum(self.outcomes.values())

    @property
    def outcomes(self) -> Mapping[str, int]:
        """How the attempts ended, the most frequent first."""
        return self._totals("outcome")

    @property
    def causes(self) -> Mapping[str, int]:
        """Why, the most frequent first; `none` for what succeeded."""
        return self._totals("cause")

    @property
    def period(self) -> tuple[datetime, datetime] | None:
        """The first and the last attempt; None where there is none."""
        if not self._kinds:
            return None
        return pc.min(self._kinds[0]["first"]).as_py(), pc.max(self._kinds[0]["last"]).as_py()

    def users(self) -> list[Subject]:
        """Those who failed, the most failures first."""
        return self._failing("user", "client_ip")

    def addresses(self) -> list[Subject]:
        """Where failures came from, the most first."""
        return self._failing("client_ip", "user")

    def services(self) -> list[Subject]:
        """What was spoken to, the most failures first; the name is empty where the log does not tell."""
        return [] if not self._kinds else sorted(_subjects(self._kinds[0], "service", "cause"), key=_rank)

    def _totals(self, column: str) -> Mapping[str, int]:
        if not self._kinds:
            return {}
        table = _grouped(self._kinds, column)
        counts = {
            name: failed + good for name, failed, good in zip(*(table[c].to_pylist() for c in (column, "failed", "good")), strict=True)
        }
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def _failing(self, column: str, other: str) -> list[Subject]:
        self._compact()
        return sorted((s for s in _subjects(self._pairs[0], column, other) if s.name and s.failed), key=_rank) if self._pairs else []


def _rank(subject: Subject) -> tuple[int, int, str]:
    return -subject.failed, -subject.good, subject.name


def _grouped(tables: list[pa.Table], *keys: str, extra: tuple[tuple[str, str], ...] = ()) -> pa.Table:
    """The tables as one, a row for each combination of the keys."""
    whole = pa.concat_tables([table.select([*keys, "failed", "good", "first", "last", *(name for name, _ in extra)]) for table in tables])
    sums = [("failed", "sum"), ("good", "sum"), ("first", "min"), ("last", "max"), *extra]
    found = whole.group_by(list(keys), use_threads=False).aggregate(sums)
    return found.rename_columns([*keys, "failed", "good", "first", "last", *(name for name, _ in extra)])


def _subjects(table: pa.Table, column: str, other: str) -> list[Subject]:
    rows: list[dict[str, Any]] = _grouped([table], column, extra=((other, "count_distinct"),)).to_pylist()
    return [Subject(name=r[column] or "", failed=r["failed"], good=r["good"], others=r[other], last=r["last"]) for r in rows]
