"""Notebook 04 in a real browser: brush, click, drill down to the line; a cell that is run again goes on; nothing in a log acts."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

import kit

pytestmark = pytest.mark.needs("chromium")

OPEN = "04-who-is-failing"


def total(visitor):
    """Where the explorer says how many tries it shows."""
    return visitor.page.locator(".jp-OutputArea .kit-big", has_text="tries").last


def tries(visitor) -> int:
    return int(re.search(r"([\d,]+) tries", total(visitor).inner_text())[1].replace(",", ""))


def opened(visitor) -> None:
    visitor.open_notebook(OPEN)
    visitor.run_all()
    visitor.page.locator(".js-plotly-plot .bars path").first.wait_for()


def bar_of(visitor, pane: int, place: int):
    """A bar of the charts below, by pane and place from the top."""
    chart = visitor.page.locator(".js-plotly-plot").nth(1)
    return (
        chart.locator(f".subplot.x{pane if pane > 1 else ''}y{pane if pane > 1 else ''} .trace.bars")
        .first.locator(".point path")
        .nth(place)
    )


def test_brush_click_and_drill_down(visitor):
    frame = kit.read_logs([visitor.lab.home / "data"]).frame
    failed = frame[frame["outcome"] != "success"]
    opened(visitor)
    assert tries(visitor) == failed["count"].sum()

    visitor.page.locator(".js-plotly-plot").first.scroll_into_view_if_needed()
    box = visitor.page.locator(".js-plotly-plot").first.locator(".nsewdrag").bounding_box()
    middle = box["y"] + box["height"] / 2
    visitor.page.mouse.move(box["x"] + box["width"] * 0.42, middle)
    visitor.page.mouse.down()
    visitor.page.mouse.move(box["x"] + box["width"] * 0.5, middle + 20, steps=8)
    visitor.page.mouse.move(box["x"] + box["width"] * 0.6, middle + 20, steps=8)
    visitor.page.mouse.up()
    expect(visitor.control("Period")).to_have_value("from … to")
    brushed = tries(visitor)
    assert 0 < brushed < failed["count"].sum()
    bars = visitor.bars()
    assert sum(sum(y) for _, y in bars.values()) == brushed, "the chart shows what the brush has chosen"

    bar_of(visitor, 2, 0).click(force=True)
    expect(visitor.control("User")).not_to_have_value("")
    user = visitor.control("User").input_value()
    assert user in set(failed["user"])
    expect(total(visitor)).not_to_contain_text(f"{brushed:,} tries")
    assert 0 < tries(visitor) < brushed

    visitor.control("Tries").select_option(index=0)
    line = visitor.page.locator(".jp-OutputArea .kit-said b")
    expect(line).to_contain_text(user)
    assert visitor.page.locator(".jp-OutputArea .kit-note", has_text=re.compile(r"mail\.log.*, line [\d,]+")).count() == 1

    visitor.run_all()
    expect(visitor.control("User")).to_have_value(user)
    visitor.page.get_by_role("button", name="Show all").click()
    expect(total(visitor)).to_contain_text(f"{failed['count'].sum():,} tries")
    visitor.page.get_by_role("button", name="Back").click()
    expect(visitor.control("User")).to_have_value(user)


HOSTILE = [
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "<a href='javascript:document.title=1'>x</a>",
    "[click](javascript:document.title=1) ![x](x)",
    "=cmd()|' /C calc'!A0",
    "\x1b[31mred\x1b]0;owned\x07",
    "evil\N{RIGHT-TO-LEFT OVERRIDE}moc.elpmaxe@nna",
    "x" * 100_000,
]


def test_whatever_stands_in_a_log_is_text(visitor, tmp_path):
    path = tmp_path / "mail.log"
    lines = [
        f"2026-11-02T03:{n:02d}:05+00:00 mx postfix/smtpd[7]: warning: unknown[192.0.2.{n}]: SASL LOGIN authentication failed: {words}, sasl_username={words}\n"
        for n, words in enumerate(HOSTILE)
    ]
    lines += [f"2026-11-02T03:30:05+00:00 mx dovecot: auth: Error: SASL authentication {words} failed in a new way\n" for words in HOSTILE]
    path.write_text("".join(lines), "utf-8")
    opened(visitor)
    visitor.page.evaluate("() => { document.title = 'ours' }")
    visitor.control("Path").fill(str(path))
    visitor.page.get_by_role("button", name="Read", exact=True).click()
    expect(total(visitor)).to_contain_text(f"{len(HOSTILE)} tries")
    options = visitor.control("Tries").locator("option")
    expect(options).to_have_count(len(HOSTILE))
    for place in range(len(HOSTILE)):
        visitor.control("Tries").select_option(index=place)
        expect(visitor.page.locator(".jp-OutputArea .kit-said b").first).to_be_visible()
    bar_of(visitor, 2, 0).hover(force=True)
    outputs = visitor.page.locator(".jp-OutputArea-output")
    for tag in ("script", "img", "iframe", "a[href^=javascript]", "svg a"):
        assert outputs.locator(tag).count() == 0, tag
    assert "owned" not in visitor.page.title()
    shown = visitor.page.locator(".jp-OutputArea").all_inner_texts()
    assert any("<script>document.title" in text for text in shown), "it is shown, as text"
    assert not any(c in text for text in shown for c in "\x1b\x07\N{RIGHT-TO-LEFT OVERRIDE}")
