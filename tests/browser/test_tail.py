"""In real Lab: a log that is followed while it is written and rotated, and names that are hidden while somebody looks on."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import pytest
from playwright.sync_api import expect

from tests.browser.lab import PATIENCE
from tests.browser.shots import THEMES, set_theme

pytestmark = pytest.mark.needs("chromium")

NAMES = ("annabel@secret.example", "brunhilde", "secret.example", "198.51.100.23", "203.0.113.99", "mx-secret")
WHOLE = "() => document.documentElement.innerHTML + [...document.querySelectorAll('input, select')].map((each) => each.value).join()"


def line(number: int) -> str:
    user, client = (("annabel@secret.example", "mail.secret.example[198.51.100.23]"), ("brunhilde", "unknown[203.0.113.99]"))[number % 2]
    now = datetime(2026, 11, 24, 12, number // 60, number % 60, tzinfo=UTC)
    said = f"warning: {client}: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username={user}"
    return f"{now:%Y-%m-%dT%H:%M:%S}Z mx-secret postfix/smtpd[7]: {said}\n"


def tries(visitor) -> float:
    return sum(sum(y) for _, y in visitor.bars().values())


def wait_for_tries(visitor, number: int, *, hidden: bool = False) -> None:
    """Until the chart holds so many tries; the panel before may still be there when names are hidden or shown."""
    deadline = time.monotonic() + PATIENCE
    seen = None
    while seen != (number, hidden):
        assert time.monotonic() < deadline, seen
        visitor.page.wait_for_timeout(200)
        seen = tries(visitor), not named_in(visitor.page.evaluate(WHOLE))
    expect(visitor.page.locator(".kit-big").filter(has_text=f"{number} tries")).to_be_visible()


def named_in(text: str) -> list[str]:
    return [name for name in NAMES if re.search(rf"{re.escape(name)}(?!\d)", text)]


@pytest.mark.parametrize("theme", THEMES)
def test_the_chart_grows_with_the_log_and_names_are_hidden_and_shown(visitor, tmp_path, theme):
    set_theme(visitor.lab, THEMES[theme])
    log = tmp_path / "mail.log"
    log.write_text("".join(map(line, range(20))))
    visitor.open_notebook("04-who-is-failing")
    visitor.run_all()
    page = visitor.page

    visitor.control("Path").fill(str(log))
    page.get_by_role("button", name="Follow", exact=True).click()
    wait_for_tries(visitor, 20)
    with log.open("a") as stream:
        stream.write("".join(map(line, range(20, 30))))
    wait_for_tries(visitor, 30)
    expect(page.get_by_text("Following: the last line came at")).to_be_visible()
    log.rename(tmp_path / "mail.log.1")
    log.write_text("".join(map(line, range(30, 34))))
    wait_for_tries(visitor, 34)

    received = len(visitor.received)
    page.get_by_role("button", name="Hide names", exact=True).click()
    wait_for_tries(visitor, 34, hidden=True)
    with log.open("a") as stream:
        stream.write("".join(map(line, range(34, 40))))
    wait_for_tries(visitor, 40, hidden=True)
    visitor.control("Outcome").select_option("all")
    visitor.control("Tries").select_option(index=0)
    page.wait_for_timeout(1000)
    assert named_in(page.evaluate(WHOLE)) == []
    frames = b"".join(visitor.received[received:])
    assert b"domain-" in frames, "what was received is looked into at all"
    assert named_in(frames.decode("utf-8", "replace")) == []
    assert "@domain-" in page.evaluate(WHOLE)

    page.get_by_role("button", name="Hide names", exact=True).click()
    wait_for_tries(visitor, 40)
    page.get_by_role("button", name="Follow", exact=True).click()
    expect(page.get_by_text("Followed no more")).to_be_visible()
    assert visitor.nameless_controls() == []
