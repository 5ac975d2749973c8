"""Real Lab, started by `kit lab`, in a real Chromium."""

from __future__ import annotations

import base64
from datetime import timedelta
from itertools import pairwise

import pandas as pd
import pytest
from playwright.sync_api import expect

import kit

pytestmark = pytest.mark.needs("chromium")

CANARY = "canary-3K-typed-into-a-real-page"


def test_kit_lab_opens_the_first_notebook_and_its_first_panel_renders(visitor):
    visitor.open(visitor.lab.address)
    expect(visitor.page.get_by_role("heading", name="Start here")).to_be_visible()
    visitor.run_all()
    panel = visitor.page.locator(".jp-OutputArea .lm-Widget.widget-vbox, .jp-OutputArea .jupyter-widgets.widget-vbox").first
    expect(panel.get_by_role("link", name="Are my settings right?")).to_be_visible()
    expect(panel.get_by_role("cell", name="Passwords would be kept in")).to_be_visible()


def test_its_links_lead_on(visitor):
    visitor.open(visitor.lab.address)
    visitor.run_all()
    visitor.page.get_by_role("link", name="Are my settings right?").click()
    expect(visitor.page.get_by_role("heading", name="01 Are my settings right?")).to_be_visible()


def test_a_reply_is_explained_while_it_is_typed(visitor):
    visitor.open(visitor.lab.address)
    visitor.run_all()
    box = visitor.control("Reply")
    answer = visitor.page.locator(".kit-finding")
    expect(answer).to_contain_text("switched off")
    box.fill("535 5.7.8 Error: authentication failed: <img src=x onerror=alert(1)>")
    expect(answer).not_to_contain_text("switched off")
    assert visitor.page.locator(".jp-OutputArea img").count() == 0


@pytest.mark.parametrize(
    ("notebook", "label", "choice"),
    [
        ("00-start-here", "Reply", None),
        ("01-check-settings", "Server", "another server …"),
        ("03-send-a-test", "Server", "another server …"),
        ("04-who-is-failing", "Period", "from … to"),
        ("05-trace-an-attempt", "Look for", None),
    ],
)
def test_every_control_has_a_name_and_no_chart_offers_to_leave_the_machine(visitor, notebook, label, choice):
    visitor.open_notebook(notebook)
    visitor.run_all()
    expect(visitor.control(label)).to_be_visible()
    if choice:
        visitor.control(label).select_option(choice)
    assert visitor.nameless_controls() == []
    if notebook.startswith("04"):
        buttons = visitor.page.locator(".js-plotly-plot").get_by_role("button")
        expect(buttons.and_(visitor.page.get_by_label("Reset axes")).first).to_be_attached()
        assert buttons.and_(visitor.page.get_by_label("Share chart")).count() == 0


# ------------------------------------------------------------------------------------------------ 04


def wanted(chosen: pd.DataFrame, step: pd.Timedelta) -> dict[str, dict[pd.Timestamp, int]]:
    """Tries by cause and bar, counted one row at a time."""
    sums: dict[str, dict[pd.Timestamp, int]] = {}
    for row in chosen.to_dict("records"):
        bars = sums.setdefault(row["cause"], {})
        bars[row["time"].floor(step)] = bars.get(row["time"].floor(step), 0) + row["count"]
    return sums


def drawn(visitor) -> tuple[dict[str, dict[pd.Timestamp, int]], pd.Timedelta]:
    """What the page's chart holds, without bars of nought; and how wide a bar is."""
    bars = visitor.bars()
    steps = {b - a for x, _ in bars.values() for a, b in pairwise(x)}
    assert len(steps) == 1, "all bars are of one width"
    moments = {
        name: {pd.Timestamp(a, unit="ms", tz="UTC"): int(b) for a, b in zip(x, y, strict=True) if b} for name, (x, y) in bars.items()
    }
    return moments, pd.Timedelta(steps.pop(), unit="ms")


def assert_chart_shows(visitor, chosen: pd.DataFrame) -> None:
    """Waits for the page to say how many tries it shows; then its chart must hold exactly these."""
    assert len(chosen) > 1
    expect(visitor.page.get_by_text(f"{chosen['count'].sum():,} tries", exact=True)).to_be_visible()
    visitor.page.locator(".js-plotly-plot .bars path").first.wait_for()
    shown, step = drawn(visitor)
    assert shown == wanted(chosen, step)
    assert visitor.axis_type() == "date"


CHART_AND_ROOM = """() => {
  const chart = document.querySelector(".js-plotly-plot .main-svg");
  return [chart.getBoundingClientRect().width, chart.closest(".widget-vbox").getBoundingClientRect().width];
}"""
IT_FILLS = f"(narrower) => {{ const [chart, room] = ({CHART_AND_ROOM})(); return room > narrower + 100 && Math.abs(room - chart) < 20 }}"


def assert_it_fills_the_page(visitor) -> None:
    """Also when a sidebar goes, and the window stays as it is."""
    visitor.page.wait_for_function(IT_FILLS, arg=0)
    _, room = visitor.page.evaluate(CHART_AND_ROOM)
    visitor.execute("application:toggle-left-area")
    visitor.page.wait_for_function(IT_FILLS, arg=room)


def test_the_chart_follows_the_filters_and_shows_what_the_log_says(visitor):
    frame = kit.read_logs([visitor.lab.home / "data"]).frame
    failed = frame[frame["outcome"] != "success"]
    visitor.open_notebook("04-who-is-failing")
    visitor.run_all()
    assert_chart_shows(visitor, failed)
    assert_it_fills_the_page(visitor)

    visitor.control("Outcome").select_option("all")
    assert_chart_shows(visitor, frame)

    cause = failed["cause"].value_counts().index[1]
    visitor.control("Cause").select_option(cause)
    assert_chart_shows(visitor, frame[frame["cause"] == cause])

    visitor.control("Cause").select_option("all")
    user = failed["user"].value_counts().index[0]
    visitor.control("User").fill(user)
    visitor.control("User").press("Enter")
    assert_chart_shows(visitor, frame[frame["user"] == user])

    visitor.page.get_by_role("button", name="Show all").click()
    visitor.control("Period").select_option("its last 7 days")
    assert_chart_shows(visitor, failed[failed["time"] >= frame["time"].max() - timedelta(days=7)])


def test_another_log_is_read_from_a_path_a_choice_or_the_page(visitor, tmp_path):
    visitor.open_notebook("04-who-is-failing")
    visitor.run_all()
    visitor.control("Path").fill("/no/such/mail.log")
    visitor.page.get_by_role("button", name="Read", exact=True).click()
    expect(visitor.page.get_by_text("Problem: /no/such/mail.log: there is no such file")).to_be_visible()

    visitor.control("Found here").select_option("../data/mail.log")
    last_week = visitor.lab.home / "data/mail.log"
    frame = kit.read_logs(last_week).frame
    assert_chart_shows(visitor, frame[frame["outcome"] != "success"])

    lines = last_week.read_bytes().splitlines(keepends=True)
    own = tmp_path / "mail.log"
    own.write_bytes(b"".join(lines[: len(lines) // 2]))
    with visitor.page.expect_file_chooser() as chooser:
        visitor.page.get_by_role("button", name="From your computer").click()
    chooser.value.set_files(own)
    frame = kit.read_logs(own).frame
    assert_chart_shows(visitor, frame[frame["outcome"] != "success"])
    expect(visitor.page.get_by_role("button", name="From your computer (0)")).to_be_visible()


# ------------------------------------------------------------------------------------------------ secrets


def test_a_typed_password_is_in_no_file_and_on_no_wire_but_its_own(visitor):
    visitor.open_notebook("01-check-settings")
    visitor.run_all()
    box = visitor.control("Password")
    box.fill(CANARY)
    box.press("Enter")
    expect(box).to_have_value("")
    expect(visitor.page.locator(".kit-secret-status")).to_contain_text("taken")
    visitor.page.get_by_role("button", name="Check", exact=True).click()
    expect(visitor.page.get_by_role("cell", name="535 5.7.8")).to_be_visible()
    visitor.execute("docmanager:save")

    spellings = [CANARY.encode(), base64.b64encode(CANARY.encode()).rstrip(b"=")[:-2], base64.b64encode(b"\0\0" + CANARY.encode())[4:-4]]
    assert sum(any(each in frame for each in spellings) for frame in visitor.sent) == 1, "once, when it was typed"
    assert not any(each in frame for each in spellings for frame in visitor.received)
    files = [path for folder in (visitor.lab.home, visitor.lab.state) for path in folder.rglob("*") if path.is_file()]
    assert visitor.lab.home / "notebooks/01-check-settings.ipynb" in files
    assert [path for path in files if any(each in path.read_bytes() for each in spellings)] == []


# ------------------------------------------------------------------------------------------------ 03


SHARE = """() => {
  const chart = document.querySelector(".js-plotly-plot .main-svg");
  return chart ? chart.getBoundingClientRect().width / chart.closest(".widget-vbox").getBoundingClientRect().width : 0;
}"""


def send(visitor) -> None:
    visitor.page.get_by_role("button", name="Send", exact=True).click()


def test_a_test_mail_goes_through_and_is_explained(visitor):
    visitor.open_notebook("03-send-a-test")
    visitor.run_all()
    page = visitor.page
    expect(visitor.control("Headers")).to_be_hidden()
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    visitor.control("To").fill("colleague@example.test, other@example.test")
    send(visitor)
    expect(page.get_by_text("The server took the message for colleague@example.test, other@example.test")).to_be_visible()
    expect(page.get_by_role("row", name="taken other@example.test 250 2.1.5")).to_be_visible()
    expect(page.get_by_role("row", name="From you@example.test: the same as who signed in")).to_be_visible()
    expect(page.locator(".js-plotly-plot .ytick").filter(has_text="TLS handshake")).to_be_visible()
    page.wait_for_function(f"() => ({SHARE})() > 0.95")
    assert visitor.nameless_controls() == []
    page.get_by_text("The message as the sandbox has it").click()
    expect(page.locator("pre").filter(has_text="X-Kit-Trace")).to_be_visible()
    page.get_by_text("What was said", exact=True).click()
    expect(page.get_by_role("cell", name="AUTH PLAIN [hidden]")).to_be_visible()

    message_id = page.get_by_role("row", name="Message-ID").get_by_role("cell").inner_text()
    visitor.control("Headers").fill(
        "Authentication-Results: mx.example.net; spf=fail smtp.mailfrom=you@example.test; dmarc=fail header.from=example.test\n"
        "Received: from a.example.test (a.example.test [192.0.2.1]) by mx.example.net with ESMTPS; Tue, 24 Nov 2026 10:00:02 +0000\n"
        f"Message-ID: {message_id}\nFrom: you@example.test\n"
    )
    expect(page.get_by_role("cell", name="dmarc: fail")).to_be_visible()
    expect(page.get_by_role("cell", name="mx.example.net", exact=True).first).to_be_visible()


def test_a_refusal_is_explained(visitor):
    visitor.open_notebook("03-send-a-test")
    visitor.run_all()
    visitor.control("Server").select_option("sandbox: refused after the whole message")
    visitor.control("Message").select_option("GTUBE, the text that every spam filter should stop")
    expect(visitor.page.get_by_text("What a refusal means: The filter works")).to_be_visible()
    send(visitor)
    expect(visitor.page.get_by_text("There is one thing to look at.")).to_be_visible()
    expect(visitor.page.get_by_text("Error: The recipient's mailbox is full")).to_be_visible()
    expect(visitor.page.get_by_role("row", name="refused you@example.test 552 5.2.2")).to_be_visible()
    expect(visitor.page.locator(".js-plotly-plot text").filter(has_text="failed")).to_be_visible()
    expect(visitor.control("Headers")).to_be_hidden()


def test_a_series_shows_its_plan_and_can_be_cancelled_in_the_middle(visitor):
    visitor.open_notebook("03-send-a-test")
    visitor.run_all()
    page = visitor.page
    visitor.control("How many").fill("35")
    visitor.control("How many").press("Tab")
    expect(page.get_by_text("Plan: 35 messages to 35 recipients")).to_contain_text("60 s, as the limit is 30 in a minute")
    send(visitor)
    expect(page.get_by_text("30 of 35; waiting for the limit")).to_be_visible()
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_disabled()
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_text("30 taken, 5 not sent, of 35 messages.")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_hidden()
    page.get_by_text("Message by message").click()
    expect(page.get_by_role("cell", name="SANDBOX30", exact=True)).to_be_visible()
    visitor.control("How many").fill("1")
    visitor.control("How many").press("Tab")
    send(visitor)  # and goes on to the next
    expect(page.get_by_text("The server took the message for you@example.test")).to_be_visible()


def test_a_message_from_the_visitors_own_machine_is_judged_and_sent(visitor, tmp_path):
    visitor.open_notebook("03-send-a-test")
    visitor.run_all()
    visitor.control("Message").select_option("a message of your own: an .eml file …")
    own = tmp_path / "own.eml"
    for content, said in (
        (b"From: ann@example.test\r\n\r\nHi\n", "Problem: own.eml"),
        (b"From: ann@example.test\nTo: bob@example.test\n\nHi\n", "to bob@example.test"),
    ):
        own.write_bytes(content)
        with visitor.page.expect_file_chooser() as chooser:
            visitor.page.get_by_role("button", name="Choose the file").click()
        chooser.value.set_files(own)
        expect(visitor.page.get_by_text(said)).to_be_visible()
    send(visitor)
    expect(visitor.page.get_by_text("The server took the message for bob@example.test")).to_be_visible()
