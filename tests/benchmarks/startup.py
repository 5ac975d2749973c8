"""What starting costs, in CPU: bare Python, `import kit`, and `kit explain` answered. Run: python tests/benchmarks/startup.py [RUNS].

Aims: `import kit` less than 100 ms beyond bare Python, `kit explain` less than 300 ms in all.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence

REPLY = "535 5.7.8 Error: authentication failed: UGFzc3dvcmQ6"
COMMANDS: dict[str, Sequence[str]] = {
    "bare Python": [sys.executable, "-c", "pass"],
    "import kit": [sys.executable, "-c", "import kit"],
    "kit explain": [sys.executable, "-m", "kit", "explain", REPLY],
}


def cpu_seconds(command: Sequence[str]) -> float:
    """User and system time of one run of `command`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(runs: int) -> None:
    for command in COMMANDS.values():
        cpu_seconds(command)  # compiles what is not yet compiled
    # Round by round, so that a busy moment of the machine falls on all alike.
    rounds = [{name: cpu_seconds(command) for name, command in COMMANDS.items()} for _ in range(runs)]
    bare = statistics.median(seconds["bare Python"] for seconds in rounds)
    print(f"CPU, median of {runs} runs")
    for name in COMMANDS:
        median = statistics.median(seconds[name] for seconds in rounds)
        print(f"  {name:<12} {median * 1000:6.1f} ms   {(median - bare) * 1000:+6.1f} ms beyond bare Python   × {median / bare:4.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 21)
