"""Logs made of attempts, without a line of text: for tests of what comes after reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import pyarrow as pa

from kit.logs.authlog import AuthLog, Coverage, Unknown
from kit.logs.table import SCHEMA
from kit.model import Attempt


def make_log(attempts: Sequence[Attempt], *, unknown: tuple[Unknown, ...] = (), problems: tuple[str, ...] = ()) -> AuthLog:
    """An AuthLog as `read_logs` would give it, had it found these attempts, one a line, and nothing else."""
    names = SCHEMA.names
    assert set(names) == {field.name for field in fields(Attempt)}, "the columns of the table are the fields of an Attempt"
    columns = {name: pa.array([getattr(attempt, name) for attempt in attempts], SCHEMA.field(name).type) for name in names}
    missed = sum(each.count for each in unknown)
    coverage = Coverage(
        lines=len(attempts) + missed,
        attempts=sum(attempt.count for attempt in attempts),
        attempt_lines=len(attempts),
        other=0,
        not_understood=missed,
        undecodable=0,
    )
    table = pa.Table.from_pydict(columns, schema=SCHEMA)
    return AuthLog(table=table, coverage=coverage, unknown=unknown, time_anchor=(), problems=problems)
