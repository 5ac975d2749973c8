"""The rate of a series, told by the server's own clock: messages to the sandbox, as fast as the pace allows.

Run: python tests/benchmarks/pace.py [--messages 60] [--a-minute 30]

The sandbox says in its transcript when it took each message. Printed is the greatest number in any window of 60 seconds,
wherever it begins, and how long the series took, beside what the plan said. It fails where a window has more than the limit.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from kit.auth.budget import account_of
from kit.model import Security
from kit.sandbox.server import open_sandbox
from kit.sending.entries import Series
from kit.sending.journal import Journal
from kit.sending.mail import mail
from kit.sending.message import build_test_message
from kit.sending.pace import Limit, Pace
from kit.sending.series import send_series


async def measure(messages: int, a_minute: int, state: Path) -> bool:
    limit = Limit(most=a_minute, window="minute", seconds=60.0, source="this measurement")
    async with open_sandbox() as sandbox:
        profile = sandbox.profile(Security.TLS)
        pace = Pace(account_of(profile), [limit], path=state)
        plan = pace.plan([1] * messages, most=messages)
        print(plan.text)
        series = Series(target="sandbox", account=sandbox.user, messages=messages, sender=sandbox.user, recipients=("you@example.test",))
        with Journal.start(series, now=datetime.now(UTC), folder=state.parent) as journal:
            began = time.monotonic()
            result = await send_series(
                profile,
                lambda _: mail(build_test_message(sandbox.user, series.recipients)),
                sandbox.password,
                pace=pace,
                journal=journal,
                budget=state,
            )
            assert result.ok, result.findings
        took = time.monotonic() - began
        times = [said.time.timestamp() for said in sandbox.transcript if said.who == "S" and "queued as" in said.text]
    assert len(times) == messages == len(sandbox.messages), (len(times), len(sandbox.messages))
    most = max(sum(begin <= each < begin + 60 for each in times) for begin in times)
    print(f"{messages} messages in {took:.1f} s (waiting for the limit: {plan.seconds:.1f} s), over {result.connections} connection(s)")
    print(f"in any 60 s at most {most}, by the server's clock; the limit is {a_minute}")
    return most <= a_minute


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=60)
    parser.add_argument("--a-minute", type=int, default=30)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(not asyncio.run(measure(given.messages, given.a_minute, Path(folder) / "attempts.sqlite")))


if __name__ == "__main__":
    main()
