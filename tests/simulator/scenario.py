"""A scenario: a mix of people, strangers and troubles, played with a seed and written in a server's words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.simulator.life import Life
from tests.simulator.writers import Style, write


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """What happens, and how it is logged.

    Attributes:
        weeks: how long.
        play: puts people, strangers and troubles into the life.
    """

    play: Callable[[Life], None]
    weeks: int = 4
    style: Style = field(default_factory=Style)

    def live(self, seed: int) -> Life:
        """The life of that seed."""
        life = Life(seed, weeks=self.weeks)
        self.play(life)
        return life


@dataclass(frozen=True, slots=True)
class Scenario:
    """A mix that was played."""

    name: str
    life: Life
    log: Path


def scenarios(mixes: Mapping[str, Mix], seeds: range, folder: Path) -> Iterator[Scenario]:
    """Each mix with each seed, its log in a file of the folder."""
    for name, mix in mixes.items():
        for seed in seeds:
            life = mix.live(seed)
            path = folder / f"{name.replace(' ', '-')}-{seed}.log"
            path.write_text(write(life, mix.style), "utf-8")
            yield Scenario(f"{name}, seed {seed}", life, path)
