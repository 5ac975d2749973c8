"""What a filter costs at ten million attempts, from the change of the widget to the last message to the page.

Run: python tests/benchmarks/interaction.py [--rows N] [--rounds N]

In a kernel's place stands a comm that packs every message as a kernel would and throws it away, so that the figures' JSON is part of the cost.
First the explorer: CPU from the change of a control's value to the last message, the median over filters in turn; and the size of the figures'
JSON. Then plain pandas on the same frame, for what the charts show: filtered rows, tries a bar by cause, the ten users and addresses.
Aim: 100 ms, and less than 1 MB of JSON.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import comm
import numpy as np
import orjson
import pandas as pd
import pyarrow as pa

from kit.logs import arrow
from kit.logs.authlog import AuthLog, Coverage
from kit.logs.table import SCHEMA
from kit.model import Outcome

DAY = 86_400_000_000
DAYS = 90
CAUSES = ["none", "credentials", "wrong-password", "unknown-user", "aborted", "malformed", "too-many"]
sent: list[int] = []


class Wire(comm.base_comm.BaseComm):
    """Packs as jupyter_client does, and counts octets."""

    def publish_msg(self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **keys: Any) -> None:
        packed = orjson.dumps({"type": msg_type, "data": data}, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
        sent.append(len(packed) + sum(len(memoryview(each).cast("B")) for each in buffers or ()))


def made(rows: int) -> pa.Table:
    """Attempts of ninety days: half of them good, by two thousand people; the others by a hundred thousand names from as many addresses,
    of whom a few are behind many, as attackers are.
    """
    dice = np.random.default_rng(3)
    names = [f"user{i}@example{i % 50}.test" for i in range(100_000)]
    addresses = [f"198.{18 + i // 65_536}.{i // 256 % 256}.{i % 256}" for i in range(100_000)]  # of RFC 2544's range
    good = dice.random(rows) < 0.5
    cause = np.where(good, 0, 1 + dice.integers(0, len(CAUSES) - 1, rows))
    few = dice.pareto(1.0, rows) * 40
    stranger = np.minimum(few.astype(np.int64), 99_999)

    def words(codes: np.ndarray, of: list[str]) -> pa.Array:
        return arrow.words(codes.astype(np.int32), of)

    columns = {
        "time": arrow.numbers(np.sort(dice.integers(0, DAYS * DAY, rows)) + 1_770_000_000_000_000, SCHEMA.field("time").type),
        "host": words(dice.integers(0, 2, rows), ["mx1", "mx2"]),
        "server": words(dice.integers(0, 2, rows), ["postfix", "dovecot"]),
        "service": words(dice.integers(0, 4, rows), ["smtp", "submission", "imap", "pop3"]),
        "outcome": words(np.where(good, 0, 1 + (cause > 4)), ["success", "failure", "refused"]),
        "cause": words(cause, CAUSES),
        "user": words(np.where(good, dice.integers(0, 2000, rows), stranger), names),
        "client_ip": words(np.where(good, dice.integers(0, 3000, rows), np.roll(stranger, 1)), addresses),
        "mechanism": words(dice.integers(0, 3, rows), ["PLAIN", "LOGIN", "CRAM-MD5"]),
        "count": arrow.numbers(np.ones(rows, np.int32), pa.int32()),
    }
    return pa.table([columns.get(field.name) if field.name in columns else pa.nulls(rows, field.type) for field in SCHEMA], schema=SCHEMA)


def cost(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return 1000 * (time.process_time() - start)


def by_pandas(frame: pd.DataFrame, cause: str) -> None:
    chosen = frame[(frame["outcome"] != "success") & (frame["cause"] == cause)]
    chosen.groupby([pd.Grouper(key="time", freq="6h"), "cause"], observed=True)["count"].sum()
    for column in ("user", "client_ip"):
        chosen.groupby(column, observed=True)["count"].sum().nlargest(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    comm.create_comm = Wire
    from kit.widgets.explorer import Explorer

    table = made(given.rows)
    nothing = Coverage(lines=given.rows, attempts=given.rows, attempt_lines=given.rows, other=0, not_understood=0, undecodable=0)
    log = AuthLog(table=table, coverage=nothing, unknown=(), time_anchor=(), problems=())
    opened = cost(lambda: setattr(main, "panel", Explorer(log)))
    panel = main.panel
    steps: list[tuple[str, Callable[[], Any]]] = [
        ("outcome: all", lambda: setattr(panel.outcome, "value", "all")),
        ("outcome: all that failed", lambda: setattr(panel.outcome, "value", "all that failed")),
        *[(f"cause: {cause}", lambda cause=cause: setattr(panel.cause, "value", cause)) for cause in CAUSES[1:4]],
        ("cause: all", lambda: setattr(panel.cause, "value", "all")),
        ("its last 7 days", lambda: setattr(panel.period, "value", "its last 7 days")),
        ("the whole log", lambda: setattr(panel.period, "value", "the whole log")),
        ("one user", lambda: setattr(panel.user, "value", "user7@example7.test")),
        ("every user", lambda: setattr(panel.user, "value", "")),
        (f"outcome: {Outcome.FAILURE}", lambda: setattr(panel.outcome, "value", Outcome.FAILURE.value)),
        ("outcome: all that failed", lambda: setattr(panel.outcome, "value", "all that failed")),
    ]
    for _, step in steps:
        step()
    taken: dict[str, list[float]] = {name: [] for name, _ in steps}
    for _ in range(given.rounds):
        for name, step in steps:
            taken[name].append(cost(step))
    frame = log.frame
    pandas = statistics.median(cost(lambda cause=cause: by_pandas(frame, cause)) for cause in CAUSES[1:] for _ in range(2))
    figures = len(orjson.dumps([f.to_plotly_json() for f in (panel.figure, panel._sides.figure)], option=orjson.OPT_SERIALIZE_NUMPY))
    everything = statistics.median(value for values in taken.values() for value in values)
    print(
        f"{everything:.0f} ms of CPU from a control's change to the last message, median of {len(steps)} filters, {given.rows:,} attempts"
    )
    print(f"{pandas:.0f} ms for plain pandas on the same frame: one filter, tries a bar, ten users and addresses; nothing drawn")
    print(f"{figures / 1e6:.2f} MB of JSON in the figures; {opened / 1000:.1f} s of CPU to open")
    for name, values in taken.items():
        print(f"{statistics.median(values):>8.0f} ms  {name}")


if __name__ == "__main__":
    main()
