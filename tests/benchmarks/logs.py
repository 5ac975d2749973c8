"""What reading a log costs, beside what ripgrep pays to print the lines that might matter.

Run: python tests/benchmarks/logs.py [--log PATH | --size MB] [--rounds N] [--others]

In turn, A B C A B C …, so that a busy moment of the machine falls on all alike:
  A  rg -aN -F -f needles LOG > /dev/null, with the needles that the kit looks for in every line
  B  kit logs LOG -o FILE.parquet: every attempt joined, coverage, totals, the file written
  C  the kit on a hundred lines of the same log: what starting costs, taken off B for the cost of the log alone
With --others also lnav, pflogsumm and fail2ban-regex, where they are installed. The first round warms the file cache and
the compiled modules and does not count. Aim: B less than 10 times A, under 300 MB.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from kit.logs.classes import line_classes, needles_at_once

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Run:
    """One run of a command: user and system seconds, wall seconds, peak megabytes."""

    cpu: float
    wall: float
    peak: float


def run(command: Sequence[str]) -> Run:
    started = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        error = process.stderr.read().decode("utf-8", "replace")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)}: {error}")
    return Run(usage.ru_utime + usage.ru_stime, time.perf_counter() - started, usage.ru_maxrss / 1024)


def commands_for(log: Path, folder: Path, *, others: bool) -> dict[str, list[str]]:
    needles = folder / "needles"
    needles.write_bytes(b"\n".join(needles_at_once(line_classes())) + b"\n")
    short = folder / "short.log"
    with log.open("rb") as stream:
        short.write_bytes(b"".join(islice(stream, 100)))
    kit = [sys.executable, "-m", "kit", "logs"]
    commands = {
        "rg": ["rg", "-aN", "-F", "-f", str(needles), str(log)],
        "kit": [*kit, str(log), "-o", str(folder / "attempts.parquet")],
        "kit, 100 lines": [*kit, str(short), "-o", str(folder / "short.parquet")],
    }
    if others:
        candidates = {
            "lnav": ["lnav", "-n", "-q", "-c", ";SELECT count(*) FROM all_logs WHERE log_body LIKE '%SASL%'", str(log)],
            "pflogsumm": ["pflogsumm", str(log)],
            "fail2ban-regex": ["fail2ban-regex", "--print-no-missed", "--print-no-ignored", str(log), "postfix[mode=auth]"],
        }
        commands |= {name: command for name, command in candidates.items() if shutil.which(command[0])}
    return commands


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, help="take this log instead of making one")
    parser.add_argument("--size", type=float, default=1000, help="megabytes of the log to make [default: 1000]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--others", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = given.log or folder / "big.log"
        if not given.log:
            subprocess.run([sys.executable, HERE / "make_big_log.py", log, str(given.size)], check=True)
        commands = commands_for(log, folder, others=given.others)
        for command in commands.values():
            run(command)
        rounds = [{name: run(command) for name, command in commands.items()} for _ in range(given.rounds)]
        report(log.stat().st_size, rounds)


def report(size: int, rounds: list[dict[str, Run]]) -> None:
    print(f"{size / 1e6:,.0f} MB, {len(rounds)} rounds after one that warmed the file cache and the compiled modules; medians")
    print(f"{'':<16} {'CPU s':>8} {'MB/s CPU':>9} {'wall s':>8} {'peak MB':>8}  {'CPU x rg':>8}  min - max")
    for name in rounds[0]:
        runs, ratios = [r[name] for r in rounds], [r[name].cpu / r["rg"].cpu for r in rounds]
        cpu, wall = statistics.median(r.cpu for r in runs), statistics.median(r.wall for r in runs)
        speed = "" if name == "kit, 100 lines" else f"{size / 1e6 / cpu:,.0f}"
        line = f"{name:<16} {cpu:>8.3f} {speed:>9} {wall:>8.2f} {max(r.peak for r in runs):>8,.0f}"
        print(f"{line}  {statistics.median(ratios):>8.2f}  {min(ratios):.2f} - {max(ratios):.2f}")
    alone = [r["kit"].cpu - r["kit, 100 lines"].cpu for r in rounds]
    ratios = [cost / r["rg"].cpu for cost, r in zip(alone, rounds, strict=True)]
    print(
        f"the log alone, start-up taken off: {statistics.median(alone):.3f} s CPU, {statistics.median(ratios):.2f} x rg ({min(ratios):.2f} - {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
