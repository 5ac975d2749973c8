"""What a log was read as, held against what clients did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import kit
from tests.logs.test_slow_reader import assert_agree
from tests.servers.drive import Try


def tries(path: Path) -> Counter[Try]:
    """The tries that the log is read as."""
    frame = kit.read_logs(path).frame
    frame = frame.astype(object).where(frame.notna(), None)
    fields = ("service", "outcome", "cause", "user", "mechanism")
    found: Counter[Try] = Counter()
    for row in frame.to_dict("records"):
        found[Try(address=row["client_ip"], **{field: row[field] for field in fields})] += row["count"]
    return found


def compare(name: str, path: Path, truth: Iterable[Try], silent: Counter[str]) -> None:
    """Each try is found once and none is invented. Prints recall and precision, and what the server does not log."""
    found, expected = tries(path), Counter(truth)
    right = (found & expected).total()
    unlogged = ", ".join(f"{kind} {count}" for kind, count in sorted(silent.items())) or "nothing"
    print(
        f"\n{name}: recall {right / expected.total():.2%} of {expected.total()}, precision {right / found.total():.2%}; not logged: {unlogged}"
    )
    wrong = [
        f"{what}: {each}"
        for more, what in ((expected - found, "not found"), (found - expected, "nobody made"))
        for each in sorted(more.elements(), key=str)
    ]
    assert not wrong, "\n".join(wrong)


def covered(path: Path) -> None:
    """Every line is accounted for, none was not understood, and the slow reader finds the same."""
    log = assert_agree(path, year=2026)
    assert not log.unknown, log.unknown
    assert log.coverage.undecodable == 0
