"""How long looking around takes, beside its slowest probe and beside what a perfect schedule of three connections would take.

Run: python -m tests.benchmarks.ladder [--delay SECONDS] [--rounds N]

Four ports of one host, each a server that waits before every reply; one probe a port, and on the port that is meant one a TLS
version and one for the chain; three at once. Printed for each round: the probes' own seconds (connect to close), the whole, and
its ratio to the slowest probe and to the best that three at a time could do with these probes. Aim: at most 1.3 times the slowest, or 1.1 times the perfect schedule where three bind.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from itertools import product
from pathlib import Path
from time import perf_counter

from kit.checks.survey import AT_ONCE, survey
from kit.model import Profile, Security
from tests.live.check_servers import Handler, Line, make_pki, serve, smtp


def slow(answer: Handler, delay: float) -> Handler:
    """A server that thinks before each reply."""

    async def handler(line: Line) -> None:
        say = line.say

        async def later(data: bytes) -> None:
            await asyncio.sleep(delay)
            await say(data)

        line.say = later  # type: ignore[method-assign]
        await answer(line)

    return handler


def perfect(seconds: list[float]) -> float:
    """The end of the best of all schedules."""
    return min(
        max(sum(s for s, slot in zip(seconds, chosen, strict=True) if slot == n) for n in range(AT_ONCE))
        for chosen in product(range(AT_ONCE), repeat=len(seconds))
    )


async def measure(delay: float, rounds: int, folder: Path) -> None:
    pki = make_pki(folder)
    handler = slow(smtp(tls=pki.server()), delay)
    ratios = []
    async with serve(handler) as a, serve(handler) as b, serve(handler) as c, serve(handler) as d:
        ports = [(each.port, Security.STARTTLS) for each in (a, b, c, d)]
        profile = Profile(host="127.0.0.1", port=a.port, security=Security.STARTTLS, ca_file=pki.ca_file, timeout=20)
        for number in range(rounds + 1):
            began = perf_counter()
            found = await survey(profile, others=ports)
            whole, each = perf_counter() - began, [probe.seconds for probe in (*found.probes, *found.versions, found.chain)]
            if number:  # the first warms
                ratios.append(whole / perfect(each))
                shown = " ".join(f"{s:.3f}" for s in each)
                print(
                    f"probes {shown} s, whole {whole:.3f} s: {whole / max(each):.2f} x the slowest, {ratios[-1]:.2f} x a perfect schedule"
                )
    print(f"median {statistics.median(ratios):.2f} x a perfect schedule of {AT_ONCE} ({min(ratios):.2f} - {max(ratios):.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay", type=float, default=0.1, help="seconds before each reply [default: 0.1]")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(given.delay, given.rounds, Path(folder)))


if __name__ == "__main__":
    main()
