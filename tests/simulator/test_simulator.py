"""The simulator tells what it means to tell, and labels it."""

from __future__ import annotations

import time
from collections import Counter
from ipaddress import ip_address, ip_network

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import kit
from tests.simulator import tuning, unseen
from tests.simulator.life import Life, Try
from tests.simulator.writers import Style, write

ALL = [pytest.param((mix, family.SEEDS[0]), id=name) for family in (tuning, unseen) for name, mix in family.MIXES.items()]
KINDS = {"brute-force", "spray", "stuffing", "distributed", "enumeration", "slow"}
KEY = ["user", "client_ip", "service", "outcome", "cause"]
OUTCOMES = {"none": "success", "backend-unavailable": "server-error"}


@pytest.fixture(scope="module", params=ALL)
def played(request) -> tuple[Life, Style]:
    mix, seed = request.param
    return mix.live(seed), mix.style


def shown(each: Try, style: Style, ways: dict[int, str]) -> tuple[str | None, str, str, str, str]:
    """User, address, service, outcome and cause, as far as such a server logs them."""
    user, cause, mail = each.user, each.cause, each.service not in {"imap", "pop3"}
    judged, down = cause in {"wrong-password", "unknown-user"}, ways.get(each.story) == "socket"
    if style.mta == "entra":
        service = "smtp" if mail else each.service
        return user, each.address, service, OUTCOMES.get(cause, "failure"), "credentials" if cause == "wrong-password" else cause
    if style.mta == "exim" and mail:
        return user, each.address, each.service, OUTCOMES.get(cause, "failure"), "credentials" if judged else cause
    if (down and (not mail or style.names)) or (mail and not style.names and not style.verbose and cause != "none"):
        user = None
    return user, each.address, each.service, OUTCOMES.get(cause, "failure"), "credentials" if judged and not style.verbose else cause


def test_each_try_is_read_once_and_each_line_is_accounted_for(tmp_path, played):
    life, style = played
    path = tmp_path / "mail.log"
    path.write_text(write(life, style), "utf-8")
    log = kit.read_logs(path, year=2026)
    coverage = log.coverage
    assert (log.problems, log.unknown) == ((), ())
    assert (coverage.not_understood, coverage.undecodable) == (0, 0)
    assert coverage.attempt_lines + coverage.other == coverage.lines
    assert coverage.attempts == len(life.tries)

    ways = {trouble.story: trouble.way for trouble in life.troubles}
    meant = Counter(shown(each, style, ways) for each in life.tries)
    totals = log.table.group_by(KEY).aggregate([("count", "sum")])
    found = dict(zip(zip(*(totals[name].to_pylist() for name in KEY), strict=True), totals["count_sum"].to_pylist(), strict=True))
    assert found == meant

    # Up to three tries over one connection, of which a server without reasons writes at its end.
    failed = log.table.filter(pc.not_equal(log.table["outcome"].cast(pa.string()), "success"))
    times = np.repeat(failed["time"].cast(pa.int64()).to_numpy() / 1e6, failed["count"].to_numpy())
    assert np.abs(np.sort(times) - [each.time for each in life.tries if each.cause != "none"]).max() < 30


def test_labels_fit_their_tries(played):
    life, _ = played
    labelled = [id(each) for label in life.labels for each in label.tries]
    assert len(labelled) == len(set(labelled))
    for label in life.labels:
        story, times = label.story, [each.time for each in label.tries]
        assert times == sorted(times)
        assert life.begin <= label.first <= label.last < life.end
        what, _, name = story.subject.partition(":")
        if what == "user":
            assert {each.user for each in label.tries} == {name}
        elif what in {"address", "network"}:
            assert all(ip_address(each.address) in ip_network(name) for each in label.tries)
        else:
            assert story.subject == f"server:{life.host}"
        owners, causes = {each.owner for each in label.tries}, {each.cause for each in label.tries}
        match story.verdict:
            case "likely-attack":
                assert story.kinds
                assert set(story.kinds) <= KINDS
                assert owners == {None}
                assert causes <= {"wrong-password", "unknown-user"}
            case "stale-client":
                assert (len(owners), None in owners) == (1, False)
                assert causes <= {"wrong-password", "unknown-user", "account-blocked"}
                assert not story.needed or len(times) >= 10
            case "backend-trouble":
                assert causes == {"backend-unavailable"}
            case _:
                assert story.verdict == "possible-compromise"
                assert owners == {None}
                assert causes <= {"none", "second-factor"}
    strangers = [each for each in life.tries if each.owner is None]
    assert all(each.story for each in strangers), "a stranger without a story"


def test_a_seed_settles_everything():
    mix = tuning.MIXES["an office"]
    one, again, other = (write(mix.live(seed), mix.style) for seed in (3, 3, 4))
    assert one == again
    assert one != other


def test_the_two_families_have_nothing_in_common():
    assert not tuning.MIXES.keys() & unseen.MIXES.keys()
    assert not set(tuning.SEEDS) & set(unseen.SEEDS)


def test_two_months_of_sixty_people_take_seconds():
    mix = unseen.MIXES["a long quiet"]
    start = time.process_time()
    life = mix.live(1000)
    assert len(write(life, mix.style)) > 10_000_000
    assert len(life.people) == 60
    assert time.process_time() - start < 10
