"""Verdicts held against the truth: how many of those given are right, and how many of those due were given.

**A verdict is about tries**: those that failed, or that a stranger made with the right password, of its subject, from `first` to `last` (and SLACK
seconds around). What is true of them is known try by try. So subjects need no rules of their own: whoever names an attack's network, its
one address or its only victim speaks of the same tries.

**Right** is a verdict whose tries hold at least half of some story of that name, or of whose failures at least half belong to such stories. A
possible compromise is right if a stranger's try with the right password is among its tries. Three traps are closed: a server is
in trouble or is not, but as the subject of an attack it must have suffered mostly that one, and it is never compromised; a network wider
than /24 or /48 is held to the same; and trouble must not be said to have lasted twice as long as it did, and an hour.

**Told** is a story of whose tries the right verdicts hold at least half (of a compromise: one). `not-enough-data` tells nothing. Precision is
right / given, for each verdict name; recall is told / due. Stories that a log hardly shows are not due, but may be told.

**Real users called attackers** are people who are within a verdict of attack and had no part in one: their own name, of
which strangers tried too little to make the verdict right; or an address from which they sign in, and no stranger does at
that time. An address that a stranger shares with them is rightly named, and counted apart, for it must not be blocked.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address, ip_network
from typing import Final, Protocol

from tests.simulator.life import Label, Life, Try

ATTACK, COMPROMISE, TROUBLE, UNDECIDED = "likely-attack", "possible-compromise", "backend-trouble", "not-enough-data"
NAMES: Final = (ATTACK, "stale-client", TROUBLE, COMPROMISE)
SLACK: Final = 300.0
NOTHING: Final = "nothing"
ORDINARY_LIFE: Final = "ordinary life"


class Given(Protocol):
    """What is needed of a verdict."""

    subject: str
    verdict: str
    kind: str | None
    first: datetime
    last: datetime


@dataclass(slots=True)
class Score:
    """Counts over any number of scenarios.

    Attributes:
        given, right: verdicts by name.
        due, told: stories by verdict name; `beyond` are those told that were not due.
        kinds: of attacks told, how many were given a kind that is true, and how many were told.
        timely: of stories told, how many with their beginning, within an hour or a tenth of their length, and how many were told.
        confusion: true kind → what was said.
        wrong: verdicts that are not right, and stories that were not told, in words.
    """

    given: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    due: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    beyond: Counter[str] = field(default_factory=Counter)
    kinds: list[int] = field(default_factory=lambda: [0, 0])
    timely: list[int] = field(default_factory=lambda: [0, 0])
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)
    people: int = 0
    called: set[tuple[str, str]] = field(default_factory=set)
    shared: int = 0
    wrong: list[str] = field(default_factory=list)

    def precision(self, name: str) -> float | None:
        """None where none was given."""
        return self.right[name] / self.given[name] if self.given[name] else None

    def recall(self, name: str) -> float | None:
        """None where none was due."""
        return self.told[name] / self.due[name] if self.due[name] else None

    def add(self, scenario: str, life: Life, verdicts: Sequence[Given]) -> None:
        """One more scenario."""
        truth = _Truth(life)
        judged = [(verdict, *truth.judge(verdict)) for verdict in verdicts]
        self.people += len(life.people)
        for verdict, tries, right in judged:
            if verdict.verdict == UNDECIDED:
                continue
            self.given[verdict.verdict] += 1
            self.right[verdict.verdict] += right
            if not right:
                stories = Counter(story.what if (story := life.stories[each.story]) else ORDINARY_LIFE for each in tries)
                self.wrong.append(f"{scenario}: {_words(verdict)}, in truth: {stories.most_common(2)}")
            if verdict.verdict == ATTACK:
                called, shared = truth.called(verdict, right)
                self.called |= {(scenario, person) for person in called}
                self.shared += shared
        for label in life.labels:
            self._label(scenario, label, judged)
        for user in sorted(truth.unlabelled()):
            said = Counter(v.verdict for v, _, right in judged if v.subject.lower() == f"user:{user}" and not right)
            self.confusion[ORDINARY_LIFE, said.most_common(1)[0][0] if said else NOTHING] += 1

    def _label(self, scenario: str, label: Label, judged: list[tuple[Given, set[Try], bool]]) -> None:
        story, tries = label.story, set(label.tries)
        shares = [(verdict, tries & scope, right) for verdict, scope, right in judged if _about(verdict, len(tries & scope), len(scope))]
        mine = [(verdict, held) for verdict, held, right in shares if right and verdict.verdict == story.verdict and held]
        told = _enough(story.verdict, len(set().union(*(held for _, held in mine))), len(tries))
        said = story.verdict if told else _said(shares, len(tries))
        if story.needed:
            self.due[story.verdict] += 1
            self.told[story.verdict] += told
            self.confusion[next(iter(story.kinds), story.verdict), said] += 1
            if not told:
                self.wrong.append(f"{scenario}: not told: {story.verdict} {story.subject} ({story.what}, {len(tries)} tries), but {said}")
        elif told:
            self.beyond[story.verdict] += 1
        if told and story.kinds:
            self.kinds[0] += any(verdict.kind in story.kinds for verdict, _ in mine)
            self.kinds[1] += 1
        if told:
            since = min(verdict.first.timestamp() for verdict, _ in mine)
            self.timely[0] += abs(since - label.first) <= max(3600.0, 0.1 * (label.last - label.first))
            self.timely[1] += 1


class _Truth:
    """The tries of a life that verdicts can be about, by user and by address."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._verdicts = [story.verdict if story else None for story in life.stories]
        self._sizes = Counter(each.story for label in life.labels for each in label.tries)
        self._users: dict[str, list[Try]] = defaultdict(list)
        self._addresses: dict[str, list[Try]] = defaultdict(list)
        for each in life.tries:
            self._users[each.user.lower()].append(each)
            self._addresses[each.address].append(each)
        self._parsed = {address: ip_address(address) for address in self._addresses}

    def unlabelled(self) -> set[str]:
        """Names of real users of whom nothing is to be told, whatever strangers tried on them among others."""
        subjects = {label.story.subject.lower() for label in self._life.labels}
        real = (user for user, tries in self._users.items() if any(each.owner for each in tries))
        return {user for user in real if f"user:{user}" not in subjects}

    def judge(self, verdict: Given) -> tuple[set[Try], bool]:
        """The tries that it is about, and whether it is right."""
        tries = {each for each in self._of(verdict) if each.cause != "none" or self._verdicts[each.story]}
        mine = [each for each in tries if self._verdicts[each.story] == verdict.verdict]
        if verdict.verdict == COMPROMISE:
            return tries, bool(mine) and not _wide(verdict.subject)
        failures = [each for each in tries if each.cause != "none"]
        most = bool(failures) and len(mine) >= len(failures) / 2
        whole = any(held >= self._sizes[story] / 2 for story, held in Counter(each.story for each in mine).items())
        if verdict.verdict == TROUBLE:
            return tries, (most or whole) and self._no_longer(verdict, mine)
        return tries, most or (whole and not _wide(verdict.subject))

    def _of(self, verdict: Given) -> list[Try]:
        """All tries of its subject in its time."""
        what, _, name = verdict.subject.partition(":")
        if what == "user":
            tries: Iterable[Try] = self._users.get(name.lower(), ())
        elif what == "server":
            tries = self._life.tries
        elif what == "address":
            tries = self._addresses.get(str(ip_address(name)), ())
        else:
            network = ip_network(name, strict=False)
            within = (address for address, parsed in self._parsed.items() if parsed in network)
            tries = (each for address in within for each in self._addresses[address])
        begin, end = verdict.first.timestamp() - SLACK, verdict.last.timestamp() + SLACK
        return [each for each in tries if begin <= each.time <= end]

    def _no_longer(self, verdict: Given, mine: list[Try]) -> bool:
        """Whether the trouble took a good part of the time that is told."""
        lasted = sum(t.end - t.begin for t in self._life.troubles if t.story in {each.story for each in mine})
        return (verdict.last - verdict.first).total_seconds() <= 2 * lasted + 3600

    def called(self, verdict: Given, right: bool) -> tuple[set[str], int]:
        """Real people whom it calls attackers, and addresses that they share with one."""
        by_address: dict[str, list[Try]] = defaultdict(list)
        for each in self._of(verdict):
            by_address[each.address].append(each)
        if verdict.subject.startswith("user:"):
            owners = {each.owner for tries in by_address.values() for each in tries if each.owner}
            return (set() if right else owners), 0
        if verdict.subject.startswith("server:"):
            return set(), 0
        called, shared = set(), 0
        for tries in by_address.values():
            owners = {each.owner for each in tries if each.owner}
            if all(each.owner for each in tries):
                called |= owners
            else:
                shared += bool(owners)
        return called, shared


def _wide(subject: str) -> bool:
    """Whether it names nobody in particular."""
    what, _, name = subject.partition(":")
    if what != "network":
        return what == "server"
    network = ip_network(name, strict=False)
    return network.prefixlen < (24 if network.version == 4 else 48)


def _about(verdict: Given, held: int, of: int) -> bool:
    """Whether a verdict speaks of a story: one that names nobody in particular does of what it is mostly about."""
    return verdict.verdict == TROUBLE or not _wide(verdict.subject) or held >= of / 2


def _enough(verdict: str, held: int, of: int) -> bool:
    return held >= (1 if verdict == COMPROMISE else of / 2)


def _said(shares: list[tuple[Given, set[Try], bool]], size: int) -> str:
    """What a story that was not told was taken for."""
    said: Counter[str] = Counter()
    for verdict, held, _ in shares:
        if held and len(held) >= size / 2:
            said[verdict.verdict] = max(said[verdict.verdict], len(held))
    return said.most_common(1)[0][0] if said else NOTHING


def _words(verdict: Given) -> str:
    return f"{verdict.verdict} {verdict.kind or ''} {verdict.subject} {verdict.first:%d %b %H:%M} to {verdict.last:%d %b %H:%M}"


def report(score: Score) -> str:
    """The figures as text: the summary, the confusion table, and what was wrong."""
    lines = [f"{'verdict':<22}{'given':>7}{'right':>7}{'precision':>11}{'due':>7}{'told':>7}{'recall':>9}"]
    for name in NAMES:
        precision, recall = (f"{value:.3f}" if value is not None else "-" for value in (score.precision(name), score.recall(name)))
        figures = f"{score.given[name]:>7}{score.right[name]:>7}{precision:>11}{score.due[name]:>7}{score.told[name]:>7}{recall:>9}"
        lines.append(f"{name:<22}{figures}")
    lines += [
        f"real users called attackers: {len(score.called)} of {score.people}",
        f"addresses named that a stranger shares with real users, not to be blocked: {score.shared}",
        f"kind of attack right: {score.kinds[0]} of {score.kinds[1]}; beginning right: {score.timely[0]} of {score.timely[1]}",
        f"told though not due: {dict(score.beyond) or 'none'}",
        "",
    ]
    columns = (*NAMES, UNDECIDED, NOTHING)
    rows = sorted({row for row, _ in score.confusion}, key=lambda row: (row == ORDINARY_LIFE, row))
    lines.append(f"{'in truth':<22}" + "".join(f"{column:>21}" for column in columns))
    lines += [f"{row:<22}" + "".join(f"{score.confusion[row, column] or '.':>21}" for column in columns) for row in rows]
    return "\n".join(lines)
