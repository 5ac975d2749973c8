"""Months in the life of a mail server: every try to sign in, who was behind it, and what an operator ought to be told of it.

`Life` takes tries from people (`people.py`) and strangers (`attacks.py`), lets its troubles fall upon them, and knows the truth as
`Label`s. `writers.py` makes the log, `score.py` compares verdicts with the labels. All is settled by the seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import cached_property
from itertools import count
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

MONDAY: Final = date(2026, 9, 28)
"""The first day. Four weeks later summer time ends in Europe."""
DAY: Final = 86_400.0
ORDINARY: Final = 0
"""The story of a try that nobody need be told of."""


class Try(NamedTuple):
    """One try to sign in.

    Attributes:
        time: seconds since the epoch.
        cause: a word of `kit.model.Cause`; "none" of a success.
        story: its place among the stories; ORDINARY for what is nobody's business.
        owner: the person whose device it is; None for a stranger.
        service: `imap`, `pop3`, `submission`, `submissions` or `smtp`.
    """

    time: float
    user: str
    address: str
    service: str
    cause: str
    story: int
    owner: str | None
    mechanism: str


@dataclass(slots=True)
class Story:
    """What an operator ought to be told, once.

    Attributes:
        verdict: `likely-attack`, `stale-client`, `backend-trouble`, `possible-compromise`.
        kinds: of it that are true, the best first; empty where the verdict has none.
        subject: of whom, in the form of a verdict's subject.
        needed: whether it must be told. What a log hardly shows may be told, and need not.
    """

    verdict: str
    kinds: tuple[str, ...]
    subject: str
    what: str
    needed: bool = True


class Label(NamedTuple):
    """A story with its tries, in order of time; of a compromise, those that had the right password."""

    story: Story
    tries: list[Try]

    @property
    def first(self) -> float:
        return self.tries[0].time

    @property
    def last(self) -> float:
        return self.tries[-1].time


@dataclass(slots=True)
class Account:
    """What the server knows of a user: when its password was changed, and when it was removed or blocked."""

    changes: list[float] = field(default_factory=list)
    gone: float = float("inf")
    blocked: float = float("inf")


class Trouble(NamedTuple):
    """A time in which the server cannot judge passwords.

    Attributes:
        way: `socket` (Dovecot's authentication service is gone), `database` (it runs, and has nobody to ask) or `certificate` (clients go away
            before they sign in, so that the log has no try).
        share: of the tries that it meets.
        told: share of those that it meets which get as far as a try; the rest are turned away before.
    """

    begin: float
    end: float
    way: str
    share: float
    told: float
    story: int


class Life:
    """A server, its users and its strangers, for some weeks."""

    def __init__(self, seed: int, *, weeks: int, domain: str = "example.test", zone: str = "Europe/Berlin", host: str = "mx") -> None:
        self.chance = random.Random(seed)
        self.zone, self.domain, self.host = ZoneInfo(zone), domain, host
        days = [datetime.combine(MONDAY + timedelta(days=n), time(), self.zone) for n in range(7 * weeks + 1)]
        self.midnights = [day.timestamp() for day in days[:-1]]
        self.begin, self.end = self.midnights[0], days[-1].timestamp()
        self.accounts: dict[str, Account] = {}
        self.stories: list[Story | None] = [None]
        self.troubles: list[Trouble] = []
        self.silent: list[Try] = []  # those whom a bad certificate sent away
        self._tries: list[Try] = []
        self._strangers = count()

    # ------------------------------------------------------------------------------------------ while it is made

    def at(self, day: int, hour: float) -> float:
        """That hour, local time, of that day from 0."""
        return self.midnights[day] + 3600 * hour

    def days(self) -> Iterator[tuple[int, bool]]:
        """Each day from 0, and whether it is a working day."""
        return ((day, day % 7 < 5) for day in range(len(self.midnights)))

    def story(self, verdict: str, subject: str, what: str, *kinds: str, needed: bool = True) -> int:
        """A new story; returns its place."""
        self.stories.append(Story(verdict, kinds, subject, what, needed))
        return len(self.stories) - 1

    def attempt(
        self,
        when: float,
        user: str,
        address: str,
        service: str,
        right: bool,
        story: int = ORDINARY,
        owner: str | None = None,
        mechanism: str = "PLAIN",
        cause: str | None = None,
    ) -> None:
        """Somebody tries a password, which is the right one or not; beyond the end of the log nobody does."""
        if not self.begin <= when < self.end:
            return
        if cause is None:
            account = self.accounts.get(user)
            if account is None or when >= account.gone:
                cause = "unknown-user"
            elif right:
                cause = "none" if when < account.blocked else "account-blocked"
            else:
                cause = "wrong-password"
        self._tries.append(Try(when, user, address, service, cause, story, owner, mechanism))

    def strange_network(self) -> str:
        """The next /24 of strangers, as its first three parts and a dot; after 384 of them they come again."""
        n = next(self._strangers) % 384
        return f"198.19.{n}." if n < 256 else f"198.18.{n - 128}."

    def trouble(self, begin: float, hours: float, way: str, *, share: float = 1.0, told: float = 1.0, story: int | None = None) -> None:
        """From `begin` on the server cannot judge passwords. A certificate's end is nothing that a log of tries could tell."""
        if way == "certificate":
            story = ORDINARY
        elif story is None:
            story = self.story("backend-trouble", f"server:{self.host}", f"{way} down for {hours:.1f} h")
        self.troubles.append(Trouble(begin, begin + 3600 * hours, way, share, told, story))

    # ------------------------------------------------------------------------------------------ when it is made

    @cached_property
    def tries(self) -> list[Try]:
        """All that the log can tell, in order of time: what became of them in times of trouble included."""
        return [each for each in map(self._troubled, sorted(self._tries)) if each]

    def _troubled(self, each: Try) -> Try | None:
        for trouble in self.troubles:
            if not trouble.begin <= each.time < trouble.end or self.chance.random() >= trouble.share:
                continue
            if trouble.way == "certificate":
                if each.owner is None:
                    continue  # strangers do not look at it
                self.silent.append(each)
                return None
            return each._replace(cause="backend-unavailable", story=trouble.story) if self.chance.random() < trouble.told else None
        return each

    @cached_property
    def labels(self) -> list[Label]:
        """The stories that came to pass: what trouble has swallowed is none, and a device is stale once it has been for hours."""
        told: dict[int, list[Try]] = {}
        for each in self.tries:
            story = self.stories[each.story]
            if story and (story.verdict != "possible-compromise" or each.cause in {"none", "second-factor"}):
                told.setdefault(each.story, []).append(each)
        labels = [Label(story, tries) for number, tries in sorted(told.items()) if (story := self.stories[number])]
        for story, tries in labels:
            if story.verdict == "stale-client" and (len(tries) < 10 or tries[-1].time - tries[0].time < DAY / 4):
                story.needed = False
        return labels

    @cached_property
    def people(self) -> frozenset[str]:
        """Whoever signs in as the owner of a device."""
        return frozenset(each.owner for each in self.tries if each.owner)
