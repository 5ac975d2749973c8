"""How good the verdicts are: precision and recall on simulated logs. Run: python tests/benchmarks/verdicts.py [--unseen|--tuning] [--seeds N].

Writes the logs of each mix (`tests/simulator/unseen.py`, or `tuning.py` for those who set thresholds) with N seeds, has them read by
`kit.read_logs` and judged by `kit.logs.verdicts.judge` at its defaults, and holds what it says against the truth; what counts is in
`tests/simulator/score.py`. With --wrong also each verdict that is not right, and each story that was not told: of unseen mixes that is for readers,
not for whoever sets thresholds.

Aims: precision and recall of each verdict at least 0.95, and no real user called an attacker.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
import kit
from tests.simulator import tuning, unseen
from tests.simulator.life import MONDAY
from tests.simulator.scenario import scenarios
from tests.simulator.score import Score, report


def measure(*, families: str, seeds: int, folder: Path) -> tuple[Score, dict[str, Score], float]:
    """The score of all, of each mix, and the seconds of CPU that judging took."""
    from kit.logs.verdicts import judge

    family = {"unseen": unseen, "tuning": tuning}[families]
    everything, of_mix, seconds = Score(), {}, 0.0
    for scenario in scenarios(family.MIXES, family.SEEDS[:seeds], folder):
        log = kit.read_logs(scenario.log, year=MONDAY.year)
        start = time.process_time()
        verdicts = judge(log.table)
        seconds += time.process_time() - start
        for score in (everything, of_mix.setdefault(scenario.name.partition(",")[0], Score())):
            score.add(scenario.name, scenario.life, verdicts)
        scenario.log.unlink()
    return everything, of_mix, seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tuning", action="store_const", dest="family", const="tuning", default="unseen")
    parser.add_argument("--unseen", action="store_const", dest="family", const="unseen")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="of each mix (default: 3)")
    parser.add_argument("--wrong", action="store_true", help="list what was wrong")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KIT_CACHE_DIR"] = folder
        everything, of_mix, seconds = measure(families=chosen.family, seeds=chosen.seeds, folder=Path(folder))
    print(f"{chosen.family} mixes, {len(of_mix)} with {chosen.seeds} seeds each; judged in {seconds:.1f} s of CPU\n")
    print(report(everything))
    print(f"\n{'mix':<32}{'given':>7}{'right':>7}{'due':>7}{'told':>7}{'called':>8}")
    for name, score in of_mix.items():
        print(
            f"{name:<32}"
            + "".join(f"{n.total():>7}" for n in (score.given, score.right, score.due, score.told))
            + f"{len(score.called):>8}"
        )
    if chosen.wrong:
        print("", *everything.wrong, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
