"""The panel of who still uses a password, without a browser: it shows what `kit basic` says, and nothing in a log can act."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from kit.knowledge.ways_out import ways_out
from kit.model import Attempt, Cause, Outcome, Service
from kit.widgets.basic import BasicPanel
from tests.widgets.made_logs import make_log
from tests.widgets.pages import assert_harmless, shown

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</td></table><iframe src=//evil.test>",
    "evil\N{RIGHT-TO-LEFT OVERRIDE}moc.elpmaxe@nna",
    "\x1b[31mred\x07",
    "a\u2028b",
    "a" * 100_000,
]
START = datetime(2026, 11, 2, 9, tzinfo=UTC)


def signed_in(day: int, user: str, mechanism: str | None = "PLAIN", **more) -> Attempt:
    more = {"service": Service.SUBMISSION, "server": "dovecot", "client_ip": "192.0.2.1"} | more
    return Attempt(time=START + timedelta(days=day), outcome=Outcome.SUCCESS, cause=Cause.NONE, user=user, mechanism=mechanism, **more)


@pytest.fixture
def panel():
    made = [signed_in(day, "scanner@example.test", helo="NPI1A2B3C", count=2) for day in range(3)]
    made += [signed_in(day, "ann@example.test", "XOAUTH2", count=5) for day in range(1, 3)]
    made += [signed_in(1, "relay@example.test", None, server="entra", service=Service.SMTP, service_raw="Authenticated SMTP")]
    return BasicPanel(make_log(made))


def series(panel: BasicPanel) -> dict[str, list[int]]:
    return {trace.name: list(trace.y) for trace in panel.figure.data}


def test_the_chart_is_password_against_oauth_by_day(panel):
    assert series(panel) == {"password": [2, 3, 2], "OAuth": [0, 5, 5]}
    assert list(panel.figure.data[0].x) == ["2026-11-02", "2026-11-03", "2026-11-04"]


def test_the_table_names_user_kind_and_ways_out(panel):
    text = shown(panel)
    assert "2 devices of 2 users sign in with a password" in text
    assert "likely scanner (HELO is a printer's name from the factory; " in text
    assert "ann@example.test" not in text, "who uses OAuth has nothing to move"
    assert "1 device at Exchange Online (smtp.office365.com), until 2026-12-31" in text
    for way in ways_out():
        assert (way.name in text) == any(way.name in device.move_to for device in panel.devices)


def test_a_kind_can_be_chosen(panel):
    panel.kind.value = "scanner"
    assert "relay@example.test" not in shown(panel)
    panel.kind.value = "every kind"
    assert "relay@example.test" in shown(panel)


def test_the_file_has_every_device_and_a_refusal_is_told(panel, tmp_path):
    panel.path.value = str(tmp_path / "devices.jsonl")
    panel.save()
    assert "Wrote 2 devices" in panel.status.value
    assert {json.loads(line)["user"] for line in (tmp_path / "devices.jsonl").read_text().splitlines()} == {
        "scanner@example.test",
        "relay@example.test",
    }
    panel.path.value = str(tmp_path / "devices.txt")
    panel.save()
    assert "Problem" in panel.status.value


def test_a_log_without_a_sign_in_is_said_to_have_none():
    assert "Nobody is seen to sign in with a password" in shown(BasicPanel(make_log([])))


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_in_a_log_acts(hostile):
    panel = BasicPanel(make_log([signed_in(0, hostile, helo=hostile)]))
    assert_harmless(panel)
    assert len(shown(panel)) < 10_000
