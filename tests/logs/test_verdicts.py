"""Verdicts: the sample data's story, each kind by its example, everyday life that is none, and what holds of any log."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kit
from kit.errors import UsageError
from kit.knowledge.load import load_table
from kit.logs import ledger
from kit.logs.ledger import Ledger
from kit.logs.signals import Groups, thresholds
from kit.logs.verdicts import judge, judge_ledger
from kit.model import Attempt, Cause, Outcome, Service
from tests.widgets.made_logs import make_log

DATA = Path(__file__).parents[2] / "data"
KNOWLEDGE = load_table("verdicts")
START = datetime(2026, 10, 5, 6, tzinfo=UTC)
OUTCOMES = {"none": Outcome.SUCCESS, "backend-unavailable": Outcome.SERVER_ERROR, "tls-required": Outcome.REFUSED}
PART = re.compile(r"(?P<number>\d+) x (?P<user>\S+) from (?P<address>\S+) every (?P<minutes>[\d.]+) min: (?P<cause>[a-z-]+)")


def tries(text: str, *, start: datetime = START, **rest) -> list[Attempt]:
    """Tries as the examples of the knowledge table tell them, each part after the one before."""
    made: list[Attempt] = []
    for part in text.split("; "):
        told = PART.fullmatch(part)
        assert told, part
        for n in range(int(told["number"])):
            start += timedelta(minutes=float(told["minutes"]))
            user, address = told["user"].replace("*", str(n)), told["address"].replace("*", str(n + 1))
            made.append(
                Attempt(
                    time=start,
                    outcome=OUTCOMES.get(told["cause"], Outcome.FAILURE),
                    cause=Cause(told["cause"]),
                    user=None if user == "-" else user,
                    client_ip=None if address == "-" else address,
                    host="mx",
                    service=Service.IMAP,
                    mechanism="PLAIN",
                    file="mail.log",
                    line=len(made) + 1,
                    offset=100 * len(made),
                )
            )
    return [replace(each, **rest) for each in made]


def judged(*stories: str | list[Attempt], **options):
    made = [each for story in stories for each in (tries(story) if isinstance(story, str) else story)]
    return judge(make_log(made).table, **options)


def said(*stories: str | list[Attempt], **options) -> list[tuple[str, str, str | None]]:
    return [(v.subject, v.verdict.value, v.kind) for v in judged(*stories, **options)]


# ------------------------------------------------------------------------------------------------ the sample data


@pytest.fixture(scope="module")
def log():
    return kit.read_logs(DATA)


@pytest.fixture(scope="module")
def sample(log):
    return judge(log.table)


def test_the_sample_datas_story(sample):
    """data/README.md: a spray, a slow spray, a forgotten telephone, a scanner nobody knows, an hour without authentication."""
    attacks = {v.subject: v for v in sample if v.verdict == "likely-attack" and v.subject.startswith("address:")}
    spray = [f"address:192.0.2.{n}" for n in (61, 62, 64, 67)]
    assert all(attacks.pop(subject).kind == "spray" for subject in spray)
    assert {subject for subject, v in attacks.items() if v.kind == "slow"} == set(attacks)
    assert set(attacks) <= {f"address:192.0.2.{n}" for n in range(130, 142)}
    networks = [v for v in sample if v.subject == "network:192.0.2.0/24"]
    assert sorted((v.kind, v.tries, len(v.addresses)) for v in networks) == [("slow", 148, 12), ("spray", 88, 4)]
    rest = {(v.subject, v.verdict.value, v.kind) for v in sample if v.verdict != "likely-attack"}
    assert rest == {
        ("user:greta@example.test", "stale-client", None),
        ("user:scanner", "stale-client", None),
        ("server:mx", "backend-trouble", "outage"),
    }


def test_what_is_said_of_gretas_telephone(sample):
    greta = next(v for v in sample if v.subject == "user:greta@example.test")
    # data/README.md: from 12 November, 10:31 local time, every quarter of an hour, until Monday the 16th, 09:05.
    assert (greta.first.isoformat()[:16], greta.last.isoformat()[:16]) == ("2026-11-12T09:31", "2026-11-16T08:01")
    assert all(word in greta.next_step for word in ("greta@example.test", "2001:db8:40:7::17", "imap", "2026-11-12 09:31"))
    values = {signal.name: signal.value for signal in greta.signals}
    assert values["pause"] == 15
    assert values["known-before"] >= 1
    assert values["rhythm"] > 0.9


def test_the_lines_behind_a_verdict_are_of_its_tries(sample, log):
    places = {(row["file"], row["line"], row["offset"]): row for row in log.table.to_pylist()}
    for verdict in sample:
        what, name = verdict.subject.split(":", 1)
        for signal in verdict.signals:
            rows = [places[line] for line in signal.lines]
            assert rows
            if what == "user" and signal.name != "neighbours":
                assert {row["user"] for row in rows} == {name}
            if what == "address":
                assert {row["client_ip"] for row in rows} == {name}
            if verdict.verdict == "likely-attack":
                assert {row["outcome"] for row in rows} == {"failure"}


# ------------------------------------------------------------------------------------------------ the table


@pytest.mark.parametrize("name", [name for name, kind in KNOWLEDGE["kinds"].items() if name != "shared"])
def test_each_kind_by_its_example(name):
    kind = KNOWLEDGE["kinds"][name]
    found = judged(kind["example"])
    wanted = name if kind["verdict"] in ("likely-attack", "backend-trouble") else None
    assert (kind["verdict"], wanted) in {(v.verdict.value, v.kind) for v in found}
    if kind["verdict"] != "possible-compromise":  # which comes with the attack that led to it
        assert {v.verdict.value for v in found} == {kind["verdict"]}


def test_an_attack_through_an_address_that_others_use_names_no_address_to_block():
    (found,) = judged(KNOWLEDGE["kinds"]["shared"]["example"])
    assert (found.verdict.value, found.shared, found.addresses) == ("likely-attack", True, ())
    assert "Do not block" in found.next_step


def test_every_signal_has_words_a_source_and_a_date():
    for name, signal in KNOWLEDGE["signals"].items():
        assert signal["threshold"] > 0, name
        assert signal["words"], name
        assert signal["source"], name
        assert signal["checked"].isoformat() >= "2026-11-24", name


def test_thresholds_can_be_set_and_are_shown():
    story = "12 x ann@example.test from 192.0.2.9 every 0.5 min: wrong-password"
    (found,) = judged(story)
    assert [(signal.name, signal.value, signal.threshold) for signal in found.signals] == [("tries-10min", 12, 10)]
    assert "brute-force" not in {v.kind for v in judged(story, settings={"tries-10min": 13})}
    with pytest.raises(UsageError, match="no-such"):
        judge(make_log([]).table, settings={"no-such": 1})


def test_nobody_in_the_readers_own_networks_is_called_an_attacker():
    story = "20 x name* from 192.0.2.9 every 1 min: unknown-user"
    assert {v.verdict.value for v in judged(story)} == {"likely-attack"}
    assert "likely-attack" not in {v.verdict.value for v in judged(story, own=["192.0.2.0/28"])}
    with pytest.raises(UsageError):
        judged(story, own=["the office"])


# ------------------------------------------------------------------------------------------------ everyday life

WELL = "20 x ann@example.test from 198.51.100.7 every 240 min: none"
OFFICE = [
    replace(each, client_ip="198.51.100.20") for n in range(5) for each in tries(f"9 x user{n}@example.test from - every 600 min: none")
]


@pytest.mark.parametrize(
    "story",
    [
        "4 x ann@example.test from 198.51.100.7 every 0.5 min: wrong-password; 1 x ann@example.test from 198.51.100.7 every 1 min: none",
        "3 x ann@example.test from 203.0.113.9 every 1 min: wrong-password; 9 x ann@example.test from 203.0.113.9 every 60 min: none",
        "2 x an@example.test from 198.51.100.7 every 1 min: unknown-user",
        "2 x ann@example.test from 198.51.100.7 every 1 min: backend-unavailable",
        "1 x ann@example.test from 203.0.113.77 every 1 min: second-factor; 1 x ann@example.test from 203.0.113.77 every 1 min: none",
    ],
    ids=["a mistyped password", "a new telephone", "a mistyped name", "an error or two", "a second factor that was given"],
)
def test_everyday_life_is_nothing_to_tell(story):
    assert said(f"{WELL}; {story}", OFFICE) == []


def test_wrong_names_in_an_office_over_weeks_are_no_attack():
    names = tries("12 x mistaken* from 198.51.100.20 every 1500 min: unknown-user", start=START + timedelta(days=2))
    assert said(OFFICE, names) == []


def test_a_telephone_on_the_move_is_its_users_and_no_crowd():
    """A /64 for every four looks: too many addresses for a count of addresses alone."""
    phone = tries("96 x ann@example.test from - every 15 min: wrong-password", start=START + timedelta(days=5))
    phone = [replace(each, client_ip=f"2001:db8:{0x900 + n // 4:x}::1") for n, each in enumerate(phone)]
    assert said(WELL, phone) == [("user:ann@example.test", "stale-client", None)]


def test_a_crowd_on_one_user_is_no_telephone():
    crowd = tries("40 x ann@example.test from - every 15 min: wrong-password", start=START + timedelta(days=5))
    crowd = [replace(each, client_ip=f"192.0.{n}.7") for n, each in enumerate(crowd)]
    assert said(WELL, crowd) == [("user:ann@example.test", "likely-attack", "distributed")]


def test_hammering_through_a_carriers_address_names_the_user_and_not_the_address():
    """Bob's telephone was at that address, but never sent mail from anywhere."""
    bob = "20 x bob@example.test from 203.0.113.64 every 60 min: none"
    guesses = tries("60 x bob@example.test from 203.0.113.64 every 0.2 min: wrong-password", start=START + timedelta(days=2))
    guesses = [replace(each, service=Service.SUBMISSION, mechanism="LOGIN") for each in guesses]
    (found,) = judged(bob, guesses)
    assert (found.subject, found.verdict.value, found.kind, found.shared) == ("user:bob@example.test", "likely-attack", "brute-force", True)


def test_a_users_own_script_in_a_loop_is_its_own():
    script = (
        "5 x job@example.test from 198.51.100.7 every 60 min: none; 900 x job@example.test from 198.51.100.7 every 0.2 min: wrong-password"
    )
    assert said(script) == [("user:job@example.test", "stale-client", None)]


def test_failures_of_an_outage_count_for_nobody():
    """Everybody's telephone fails while the server is down: no device is stale, and nobody attacks."""
    down = [
        each
        for n in range(5)
        for each in tries(f"30 x user{n}@example.test from 198.51.100.20 every 2 min: backend-unavailable", start=START + timedelta(days=4))
    ]
    assert said(OFFICE, down) == [("server:mx", "backend-trouble", "outage")]


def test_a_wave_that_does_not_end_at_once_is_no_outage():
    """After a change of everybody's password each device goes on until its owner comes to it."""
    changed = START + timedelta(days=4)
    waves = [
        each
        for n in range(6)
        for each in tries(
            f"{20 + 8 * n} x user{n}@example.test from 198.51.100.20 every 30 min: wrong-password; "
            f"5 x user{n}@example.test from 198.51.100.20 every 30 min: none",
            start=changed,
        )
    ]
    before = tries("6 x user* from 198.51.100.20 every 1 min: none")
    before = [replace(each, user=f"{each.user}@example.test") for each in before]
    assert {verdict for _, verdict, _ in said(before, waves)} == {"stale-client"}


def test_errors_that_only_strangers_met_while_others_signed_in_are_not_the_servers():
    strangers = tries("30 x name* from 192.0.2.9 every 1 min: backend-unavailable", start=START + timedelta(days=1))
    assert "backend-trouble" not in {
        verdict for _, verdict, _ in said(WELL, "900 x ann@example.test from 198.51.100.7 every 5 min: none", strangers)
    }


def test_a_success_from_amid_an_attack_is_a_possible_compromise():
    spray = tries("20 x name* from 192.0.2.9 every 1 min: wrong-password", start=START + timedelta(days=1))
    hit = tries("3 x ann@example.test from 192.0.2.9 every 1 min: none", start=spray[-5].time)
    found = {(v.subject, v.verdict.value) for v in judged(WELL, spray, hit)}
    assert found == {("address:192.0.2.9", "likely-attack"), ("user:ann@example.test", "possible-compromise")}


def test_a_right_password_that_was_stopped_elsewhere_is_one_too_and_the_users_own_device_is_stale():
    assert said(f"{WELL}; 2 x ann@example.test from 192.0.2.9 every 3 min: second-factor") == [
        ("user:ann@example.test", "possible-compromise", None)
    ]
    assert said(f"{WELL}; 30 x ann@example.test from 198.51.100.7 every 15 min: second-factor") == [
        ("user:ann@example.test", "stale-client", None)
    ]


def test_a_log_without_a_success_makes_nobody_an_attacker_for_failing_slowly():
    """Such as what `grep failed` leaves: nobody can be known."""
    office = [each for n in range(8) for each in tries(f"12 x user{n}@example.test from 198.51.100.20 every 117 min: wrong-password")]
    assert {verdict for _, verdict, _ in said(office)} == {"not-enough-data"}


def test_a_crowd_with_one_try_each_is_told_by_the_server():
    crowd = [
        replace(each, client_ip=f"192.{n // 200}.{n % 200}.7", user=f"name{n}@example.test")
        for n, each in enumerate(tries("300 x - from - every 20 min: wrong-password"))
    ]
    (found,) = judged(WELL, crowd)
    assert (found.subject, found.verdict.value, found.tries, len(found.addresses)) == ("server:mx", "likely-attack", 300, 300)


def test_a_device_whose_user_the_log_does_not_tell_is_told_by_its_address():
    phone = "20 x ann@example.test from 198.51.100.7 every 15 min: none; 40 x - from 198.51.100.7 every 15 min: credentials"
    assert said(phone) == [("address:198.51.100.7", "stale-client", None)]


# ------------------------------------------------------------------------------------------------ any log

USERS = [None, "ann@example.test", "Ann@example.test", "bob@example.test", "x" * 400, "\x1b[31m{0}\u202e", "name1", "name2"]
ADDRESSES = [None, "192.0.2.1", "192.0.2.2", "198.51.100.7", "2001:db8::1", "2001:db8::2", "fe80::1%eth0", "no address", "::1"]
any_try = st.builds(
    Attempt,
    time=st.integers(0, 30 * 24 * 60).map(lambda minutes: START + timedelta(minutes=minutes)),
    outcome=st.sampled_from(list(Outcome)),
    cause=st.sampled_from(list(Cause)),
    user=st.sampled_from(USERS),
    client_ip=st.sampled_from(ADDRESSES),
    host=st.sampled_from([None, "mx1", "mx2"]),
    server=st.sampled_from([None, "postfix"]),
    service=st.sampled_from([None, Service.IMAP, Service.SUBMISSION]),
    mechanism=st.sampled_from([None, "PLAIN", "LOGIN"]),
    count=st.integers(1, 40),
    file=st.sampled_from([None, "mail.log"]),
    line=st.none() | st.integers(1, 9),
    offset=st.none() | st.integers(0, 9),
)
some_tries = st.lists(any_try, max_size=60)


def facts(verdicts):
    return [(v.subject, v.verdict, v.kind, v.tries, v.first, v.last, v.addresses, [(s.name, s.value) for s in v.signals]) for v in verdicts]


def one_of_each_moment(made: list[Attempt]) -> list[Attempt]:
    return list({each.time: each for each in made}.values())


@given(some_tries)
def test_no_log_is_too_odd(made):
    for verdict in judged(made):
        assert len(verdict.subject) < 400
        assert verdict.first <= verdict.last
        assert verdict.tries >= 1
        assert all(signal.words for signal in verdict.signals)
        assert verdict.next_step


@given(some_tries.map(one_of_each_moment), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(made, chance):
    shuffled = list(made)
    chance.shuffle(shuffled)
    parts = Ledger()
    for start in range(0, len(shuffled), 7):
        parts.add(make_log(shuffled[start : start + 7]).table)
    assert facts(judge_ledger(parts)) == facts(judged(made))


@given(some_tries, st.lists(st.tuples(st.integers(0, 40000), st.integers(0, 4)), max_size=30))
def test_successes_of_others_from_elsewhere_make_no_attack(made, successes):
    others = [
        Attempt(
            time=START + timedelta(minutes=minutes),
            outcome=Outcome.SUCCESS,
            cause=Cause.NONE,
            user=f"other{n}@example.test",
            client_ip=f"203.0.113.{n + 1}",
            host="mx1",
            service=Service.IMAP,
            mechanism="PLAIN",
        )
        for minutes, n in successes
    ]
    seen = any(each.outcome is Outcome.SUCCESS for each in made)

    def attacks(verdicts):
        return Counter(v.subject for v in verdicts if v.verdict == "likely-attack")

    before, after = attacks(judged(made)), attacks(judged(made, others))
    if seen or not successes:  # without any success more is left open, as nobody can be known
        assert not after - before


guesses = st.lists(
    st.builds(
        lambda minutes, name, host, number: Attempt(
            time=START + timedelta(minutes=minutes),
            outcome=Outcome.FAILURE,
            cause=Cause.WRONG_PASSWORD,
            user=f"name{name}",
            client_ip=f"192.0.2.{host}",
            host="mx",
            count=number,
        ),
        st.integers(0, 200),
        st.integers(1, 12),
        st.integers(1, 3),
        st.integers(1, 3),
    ),
    min_size=1,
    max_size=80,
)


@given(guesses)
def test_counts_are_those_of_a_slow_recount(made):
    table = make_log(made).table
    book = Ledger()
    book.add(table)
    entries = book.entries()
    rows = np.arange(len(entries))
    groups = Groups(entries, rows, entries.address, 10**15)
    by_address: dict[int, list[int]] = {}
    for row in rows.tolist():
        by_address.setdefault(int(entries.address[row]), []).append(row)
    minute = 60_000_000
    for group, address in enumerate(groups.key.tolist()):
        mine = by_address[address]
        time = {row: int(entries.time[row]) for row in mine}
        assert groups.tries[group] == sum(int(entries.count[row]) for row in mine)
        assert groups.different(entries.user)[group] == len({int(entries.user[row]) for row in mine})
        most = max(sum(int(entries.count[row]) for row in mine if end - 10 * minute < time[row] <= end) for end in time.values())
        assert groups.most_within(10 * minute)[group] == most
        # Names count once in so many minutes, and so may be fewer where one comes again and again; the first half hour has them all.
        names = max(len({int(entries.user[row]) for row in mine if end - 30 * minute < time[row] <= end}) for end in time.values())
        begin = min(time.values())
        at_first = len({int(entries.user[row]) for row in mine if time[row] < begin + 30 * minute})
        assert at_first <= groups.most_within(30 * minute, entries.user)[group] <= names


def test_every_total_sums_count():
    many = [replace(each, count=5) for each in tries("3 x ann@example.test from 192.0.2.9 every 1 min: wrong-password")]
    (found,) = judged(many)
    assert (found.kind, found.tries, found.signals[0].value) == ("brute-force", 15, 15)


# ------------------------------------------------------------------------------------------------ the ledger


def test_a_ledger_that_is_full_puts_alike_tries_together_and_keeps_their_number(monkeypatch):
    monkeypatch.setattr(ledger, "MOST_ROWS", 200)
    story = KNOWLEDGE["kinds"]["stale-client"]["example"].replace("40 x", "900 x")
    book = Ledger()
    for each in tries(story):
        book.add(make_log([each]).table)
    assert len(book.entries()) <= 200
    assert book.complete
    (found,) = judge_ledger(book)
    assert (found.subject, found.verdict.value, found.tries) == ("user:ann@example.test", "stale-client", 900)


def test_a_ledger_that_no_putting_together_helps_lets_the_oldest_go_and_says_so(monkeypatch):
    monkeypatch.setattr(ledger, "MOST_ROWS", 100)
    book = Ledger()
    book.add(make_log(tries("300 x name* from 192.0.2.9 every 1500 min: wrong-password")).table)
    entries = book.entries()
    assert (len(entries) <= 100, book.complete, entries.complete) == (True, False, False)
    names = {entries.names["user"][number] for number in entries.user.tolist()}
    assert "name299" in names
    assert "name0" not in names
    assert len(entries.names["user"]) <= 102


def test_what_is_not_known_stays_unknown():
    book = Ledger()
    book.add(make_log([Attempt(time=START, outcome=Outcome.FAILURE, cause=Cause.CREDENTIALS)]).table)
    entries = book.entries()
    assert [int(getattr(entries, field)[0]) for field in ("user", "address", "host", "service", "mechanism", "file")] == [0] * 6
    assert (int(entries.line[0]), int(entries.offset[0])) == (0, 0)


def test_no_table_is_no_verdict():
    assert judge(make_log([]).table) == []
    assert isinstance(make_log([]).table, pa.Table)
    assert thresholds({"names": 7})["names"] == 7
