"""The pace: never more than the limit in any window, and never a longer wait than that takes."""

from __future__ import annotations

import multiprocessing
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.auth.budget import take_attempt
from kit.errors import UnreadableInput, UsageError
from kit.knowledge.providers import find_provider_by_host
from kit.model import Profile, Security
from kit.sending.pace import Limit, Offered, Pace, limits_of, parse_limits
from kit.sending.reply import parse_reply

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
NOON = 1_793_620_800.0  # seconds since 1970, as the clock of a machine has them


def limit(most: int, seconds: float = MINUTE) -> Limit:
    return Limit(most=most, window={MINUTE: "minute", HOUR: "hour", DAY: "day"}.get(seconds, "window"), seconds=seconds, source="a test")


class Clock:
    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def paced(tmp_path, clock):
    return lambda *limits, account="anna@mail.example.com": Pace(account, limits, clock=clock, path=tmp_path / "attempts.sqlite")


def run(pace: Pace, clock: Clock, messages: int, *, answer: float = 0.0) -> list[float]:
    """When each of a series went out; the server takes `answer` seconds for each."""
    times = []
    for _ in range(messages):
        while wait := pace.take():
            clock.now += wait
        times.append(clock.now)
        clock.now += answer
        pace.settle()
    return times


def most_within(times: list[float], seconds: float) -> int:
    """The greatest number in any window of that length. One that begins with a message sees the most."""
    return max(sum(begin <= each < begin + seconds for each in times) for begin in times)


# What a limit allows, told without the code: a message may go at `when` unless the `most` recipients before it lie within the window.
LIMITS = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 50)), min_size=1, max_size=3)
CALLS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 20)), min_size=1, max_size=40)


@given(LIMITS, CALLS)
def test_no_window_sees_more_than_the_limit_and_nothing_waits_longer_than_needed(numbers, calls):
    limits = [limit(most, seconds) for most, seconds in numbers]
    spent: list[tuple[float, int]] = []
    now = 0.0
    for count, pause in calls:
        now += pause
        free = max(each.free_at(spent, count) for each in limits)
        earliest = max(now, free)
        for most, seconds in numbers:
            within = sum(number for when, number in spent if when > earliest - seconds)
            # One that is larger than the whole window has it for itself.
            assert within + count <= most or (count > most and within == 0)
        if earliest > now:  # a moment before, one of the limits would have been passed
            before = earliest - 0.5  # all times here are whole seconds
            assert any(
                sum(number for when, number in spent if when > before - seconds) + min(count, most) > most for most, seconds in numbers
            )
        now = earliest
        spent.append((now, count))


def test_sixty_at_thirty_a_minute_take_a_minute_and_no_window_has_more_than_thirty(paced, clock):
    times = run(paced(limit(30)), clock, 60)
    # 30 fit into the first window, so they go at once. The 31st waits until the first of them is a minute old, and the
    # 29 behind it go with it: 60 s from the first to the last.
    assert times[-1] - times[0] == pytest.approx(60)
    assert most_within(times, MINUTE) == 30


def test_the_servers_clock_sees_the_limit_kept_however_slow_it_is(paced, clock):
    # The server counts a message at some moment between its going out and the answer. The worst for us: the first of a
    # window as late, and the next as early as can be.
    times = run(paced(limit(3)), clock, 12, answer=7)
    late = [when + 7 for when in times]
    for number, when in enumerate(times[3:]):
        assert when >= late[number] + 60 - 1e-6


def test_several_limits_are_all_kept(paced, clock):
    times = run(paced(limit(2), limit(5, HOUR)), clock, 12)
    assert most_within(times, MINUTE) == 2
    assert most_within(times, HOUR) == 5
    # 5 in the first hour, 5 in the second, the last two at the beginning of the third.
    assert times[-1] - times[0] == pytest.approx(2 * HOUR, abs=1e-3)


def test_a_message_counts_once_for_each_recipient(paced, clock):
    pace = paced(limit(10))
    assert pace.take(6) == 0
    assert pace.take(4) == 0
    assert pace.take(1) == pytest.approx(60)


def test_a_message_to_more_than_the_limit_has_the_window_for_itself(paced, clock):
    pace = paced(limit(10))
    pace.take(1)
    assert pace.take(50) == pytest.approx(60)
    clock.now += 60
    assert pace.take(50) == 0
    assert pace.take(1) == pytest.approx(60)


def test_two_runs_keep_the_limit_together(paced, clock):
    for _ in range(20):
        assert paced(limit(30)).take() == 0
    clock.now += 40
    later = paced(limit(30))
    assert [later.take() for _ in range(10)] == [0] * 10
    assert later.take() == pytest.approx(20)  # the first twenty are a minute old in 20 s


def test_accounts_do_not_share(paced):
    assert paced(limit(1), account="anna@mail.example.com").take() == 0
    assert paced(limit(1), account="ben@mail.example.com").take() == 0


def _take_five(path, queue):
    pace = Pace("anna", [limit(7)], clock=lambda: NOON, path=path)
    queue.put(sum(pace.take() == 0 for _ in range(5)))


def test_processes_that_run_at_once_keep_it_together(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    runs = [context.Process(target=_take_five, args=(tmp_path / "book", queue)) for _ in range(3)]
    for each in runs:
        each.start()
    assert sum(queue.get(timeout=30) for _ in runs) == 7
    for each in runs:
        each.join()


def test_after_later_nothing_goes_for_as_long_as_was_asked(paced, clock):
    pace = paced(limit(30))
    pace.back_off(300)
    pace.back_off(10)  # a shorter one does not end it
    assert pace.take() == pytest.approx(300)
    clock.now += 300
    assert pace.take() == 0


def test_a_clock_that_was_wrong_does_not_hold_for_ever(paced, clock):
    clock.now += 400 * DAY
    run(paced(limit(1)), clock, 1)
    clock.now = NOON
    # Nobody knows when it was in truth; to be careful, just now.
    assert paced(limit(1)).take() == pytest.approx(60)
    clock.now += 60
    assert paced(limit(1)).take() == 0


def test_the_budget_of_sign_ins_is_kept_in_the_same_file_and_untouched(paced, clock, tmp_path):
    from datetime import UTC, datetime

    from kit.errors import BudgetSpent

    path, now = tmp_path / "attempts.sqlite", datetime.fromtimestamp(NOON, UTC)
    take_attempt("anna@mail.example.com", now=now, limit=1, path=path)
    run(paced(limit(5)), clock, 5)
    with pytest.raises(BudgetSpent):
        take_attempt("anna@mail.example.com", now=now, limit=1, path=path)


def test_where_it_cannot_be_counted_nothing_goes(tmp_path):
    path = tmp_path / "book"
    path.write_text("this is no database, and it is long enough to be looked at " * 20)
    with pytest.raises(UnreadableInput):
        Pace("anna", [limit(1)], path=path).take()


# ----------------------------------------------------------------------------------------------- the plan


def test_the_plan_takes_as_long_as_the_series_does(paced, clock):
    pace = paced(limit(30), limit(500, DAY))
    run(pace, clock, 10)
    clock.now += 5
    plan = pace.plan([1] * 60)
    # 20 at once, 10 when the first ten are a minute old (in 55 s), then 20 a minute from now, and the last 10 at 115 s.
    assert plan.seconds == pytest.approx(115)
    began = clock.now
    assert run(pace, clock, 60)[-1] - began == pytest.approx(plan.seconds)
    assert (plan.messages, plan.recipients, plan.binds) == (60, 60, limit(30))
    assert "at least 2 min, as the limit is 30 in a minute (a test)" in plan.text


def test_a_plan_spends_nothing_and_names_the_limit_that_is_waited_for_longest(paced):
    pace = paced(limit(30), limit(40, DAY))
    plan = pace.plan([1] * 45)
    assert plan.binds == limit(40, DAY)
    assert plan.seconds == pytest.approx(DAY)
    assert "at least 24 h, as the limit is 40 in a day" in plan.text
    assert pace.plan([1] * 45) == plan


def test_a_plan_within_the_limits_says_so(paced):
    plan = paced(limit(30), limit(500, DAY)).plan([2])
    assert (plan.seconds, plan.binds) == (0, None)
    assert plan.text == (
        "1 message to 2 recipients, one after the other over one connection, as fast as the server answers; "
        "within the limits of 30 in a minute (a test) and 500 in a day (a test)"
    )


def test_a_series_has_at_most_a_hundred_messages_unless_the_user_raises_it(paced):
    pace = paced(limit(1000))
    pace.plan([1] * 100)
    for counts in ([1] * 101, []):
        with pytest.raises(UsageError, match="1 to 100"):
            pace.plan(counts)
    assert pace.plan([1] * 101, most=101).messages == 101


# ----------------------------------------------------------------------------------------------- which limits


def of_host(host: str) -> dict[str, int]:
    return {each.window: each.most for each in limits_of(Profile(host=host, port=587, security=Security.STARTTLS, user="anna"))}


def test_the_limits_are_those_of_the_service_with_their_source():
    assert of_host("smtp.office365.com") == {"minute": 30, "day": 10000}
    first, _ = limits_of(Profile(host="smtp.office365.com", port=587, security=Security.STARTTLS))
    assert first.source == f"{find_provider_by_host('smtp.office365.com').limits.source}, second-hand"


def test_without_a_number_a_minute_the_kit_is_careful_and_says_that_it_is_its_own():
    assert of_host("mail.example.com") == {"minute": 30}
    assert of_host("smtp.gmail.com") == {"minute": 30, "day": 500}
    caution, day = limits_of(Profile(host="smtp.gmail.com", port=465, security=Security.TLS))
    assert "own caution" in caution.source
    assert day.source.startswith("https://support.google.com/")


def test_windows_are_as_long_as_they_are_called():
    seconds = {"minute": MINUTE, "hour": HOUR, "day": DAY}
    for host in ("smtp.office365.com", "smtp.gmail.com"):
        for each in limits_of(Profile(host=host, port=587, security=Security.STARTTLS)):
            assert each.seconds == seconds[each.window]


@pytest.mark.parametrize(
    ("line", "mails", "recipients"),
    [
        ("LIMITS RCPTMAX=20 MAILMAX=5", 5, 20),
        ("LIMITS MAILMAX=999999", 999999, None),
        ("limits mailmax=5", 5, None),  # keywords have no case (RFC 5321 section 2.4)
        ("LIMITS RCPTDOMAINMAX=1 RCPTMAX=3", None, 3),  # a limit that concerns nobody here
        # RFC 9422: a value has one to six digits and does not begin with 0; what is not understood is passed over.
        ("LIMITS MAILMAX=0 RCPTMAX=12", None, 12),
        ("LIMITS MAILMAX=1000000 RCPTMAX=-1", None, None),
        ("LIMITS MAILMAX RCPTMAX=", None, None),
        ("LIMITS", None, None),
        ("SIZE 1000", None, None),
        ("XLIMITS MAILMAX=5", None, None),
    ],
)
def test_what_the_server_says_of_itself(line, mails, recipients):
    ehlo = parse_reply(f"250-LIMITS MAILMAX=9\r\n250-{line}\r\n250-\r\n250 HELP\r\n".encode())  # the first line is the server's name
    assert parse_limits(ehlo) == Offered(mails=mails, recipients=recipients)


def test_the_real_clock_is_the_machines(tmp_path):
    pace = Pace("anna", [limit(1, 0.2)], path=tmp_path / "book")
    began = time.time()
    times = []
    for _ in range(3):
        while wait := pace.take():
            time.sleep(wait)
        times.append(time.time())
    assert times[-1] - began >= 0.39
    assert all(after - before >= 0.199 for before, after in pairwise(times))
