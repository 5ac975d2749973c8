"""The list of verdicts: the story of the sample, each story's own tries on a click, and nothing in it acts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

import kit
from kit.logs.verdicts import judge
from kit.model import Attempt, Cause, Outcome
from kit.widgets import verdicts as module
from kit.widgets.explorer import Explorer
from tests.widgets.made_logs import make_log
from tests.widgets.pages import assert_harmless, shown
from tests.widgets.test_explorer import HOSTILE
from tests.widgets.test_server_panels import until

START = datetime(2026, 11, 1, 8, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def log():
    return kit.read_logs("data")


def test_the_samples_story_is_there(log):
    panel = Explorer(log)
    labels = [label for label, _ in panel.verdicts.list.options]
    for words in ("likely attack (spray)", "likely attack (slow)", "backend trouble", "stale client"):
        assert any(label.startswith(words) for label in labels), words
    assert any("greta@example.test" in label for label in labels)


def test_a_story_shows_its_own_tries(log):
    panel = Explorer(log)
    for label, number in panel.verdicts.list.options:
        panel.verdicts.list.value = number
        verdict = panel.verdicts._shown[number]
        assert panel.selection.total >= verdict.tries > 0, label
        assert panel.selection.span[0] >= verdict.first
        assert panel.selection.span[1] <= verdict.last
        assert verdict.next_step in shown(panel.verdicts)
        assert_harmless(panel)
    panel.back.click()
    assert panel.verdicts.list.options, "the list stays"


async def test_a_large_log_is_judged_when_asked(log, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 10)
    panel = Explorer(log)
    assert panel.verdicts.verdicts is None
    panel.verdicts.button.click()
    await until(lambda: panel.verdicts.verdicts is not None)
    assert panel.verdicts.verdicts == judge(log.table)


def test_nothing_stands_out():
    panel = Explorer(make_log([Attempt(time=START, outcome=Outcome.SUCCESS, cause=Cause.NONE, user="ann", client_ip="192.0.2.1")]))
    assert "Nothing stands out" in shown(panel.verdicts)
    assert panel.verdicts.list.layout.display == "none"


@pytest.mark.parametrize("words", HOSTILE)
def test_nothing_in_a_name_can_act(words):
    made = [
        Attempt(
            time=START, outcome=Outcome.SUCCESS, cause=Cause.NONE, user=words, client_ip="192.0.2.1", mechanism="PLAIN", service_raw="imap"
        )
    ]
    made += [
        Attempt(
            time=START + timedelta(days=1, minutes=15 * n),
            outcome=Outcome.FAILURE,
            cause=Cause.WRONG_PASSWORD,
            user=words,
            client_ip="192.0.2.1",
            mechanism="PLAIN",
            service_raw="imap",
        )
        for n in range(200)
    ]
    panel = Explorer(make_log(made))
    [(label, number)] = panel.verdicts.list.options
    assert label.isprintable()
    panel.verdicts.list.value = number
    assert_harmless(panel)
    assert panel.selection.total == 200


def test_what_is_ones_own_is_no_attacker(log):
    panel = Explorer(log)
    panel.verdicts.own.value = "192.0.2.0/24"
    assert not any("attack" in label for label, _ in panel.verdicts.list.options)
    panel.verdicts.own.value = "192.0.2.0/24, nonsense"
    assert "Problem" in shown(panel.verdicts)


def test_what_is_shown_is_saved_in_the_form_that_the_ending_names(log, tmp_path):
    panel = Explorer(log)
    total = panel.selection.total
    for name, said, begins in (
        ("a.csv", f"Wrote {total:,} tries", '"time"'),
        ("a.html", f"Wrote {total:,} tries", "<!doctype html>"),
        ("a.cidr", "addresses of likely attackers", "#"),
    ):
        panel.file.value = str(tmp_path / name)
        panel.save.click()
        assert said in shown(panel)
        assert (tmp_path / name).read_text("utf-8").startswith(begins)
    assert "192.0.2.130" in (tmp_path / "a.cidr").read_text()
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + len(log.frame[log.frame["outcome"] != "success"])
    panel.file.value = str(tmp_path / "a.txt")
    panel.save.click()
    assert "Problem" in shown(panel)
