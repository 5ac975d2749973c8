"""The panel that traces one message or sign-in, without a browser: what is found is shown, and nothing in it acts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.sending.entries import Series, State
from kit.sending.journal import Journal
from kit.widgets.trace import MOST, TracePanel
from tests.widgets.pages import assert_harmless, shown, state

HOSTILE = [
    "<script>window.acted = 1</script>",
    "<img src=x onerror=alert(1)>",
    "</pre></details></table><h1>taken over</h1>",
    "\x1b]0;title\x07\x1b[31mred",
    "\u202egnp.exe\u2066",
    "[a](javascript:alert(1)) **bold** `code` $x$",
    "=cmd|'/c calc'!A1",
    "{fields} {0.__class__} %s",
    "&lt;b&gt; \" ' `",
]
WAY = """\
2026-11-24T22:05:11.4Z mx postfix/smtps/smtpd[77]: connect from unknown[192.0.2.7]
2026-11-24T22:05:11.6Z mx postfix/smtps/smtpd[77]: 99EFB276413: client=unknown[192.0.2.7], sasl_method=PLAIN, sasl_username=ann@example.test
2026-11-24T22:05:11.7Z mx postfix/cleanup[78]: 99EFB276413: message-id=<85eaf6354506.9eb9@example.test>
2026-11-24T22:05:11.8Z mx postfix/qmgr[79]: 99EFB276413: from=<ann@example.test>, size=823, nrcpt=1 (queue active)
2026-11-24T22:05:11.8Z mx postfix/smtps/smtpd[77]: disconnect from unknown[192.0.2.7] ehlo=1 auth=1 mail=1 rcpt=1 data=1 quit=1 commands=6
2026-11-24T22:05:11.9Z mx postfix/virtual[80]: 99EFB276413: to=<bob@example.test>, relay=virtual, delay=0.02, delays=0.01/0.01/0/0, dsn=2.0.0, status=sent (delivered to maildir)
2026-11-24T22:05:12.0Z mx postfix/qmgr[79]: 99EFB276413: removed
"""
FAILED = "2026-11-24T12:00:00Z mx postfix/smtpd[7]: warning: unknown[192.0.2.7]: SASL LOGIN authentication failed: no, sasl_username={}\n"


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "mail.log"
    path.write_text(WAY)
    return path


async def look(path, what) -> TracePanel:
    panel = TracePanel(str(path), what)
    await panel.look()
    assert not panel.button.disabled
    return panel


async def test_a_message_is_shown_from_its_connection_to_its_end(log):
    panel = await look(log, "85eaf6354506")
    text = shown(panel)
    assert "Delivered to bob@example.test by virtual" in text
    words = ("connects", "begins to come in", "its Message-ID is", "is in the queue", "is gone", "is delivered to", "has left the queue")
    places = [text.index(word) for word in words]
    assert places == sorted(places)
    assert "postfix/qmgr[79]" not in text  # the envelope is in columns of its own
    assert "99EFB276413: removed" in text  # as logged
    assert_harmless(panel)


@pytest.mark.parametrize("what", ["", "ab", " ", "\0\0\0\0", "x" * 5000, *HOSTILE])
async def test_what_cannot_be_looked_for_is_said(log, what):
    panel = await look(log, what)
    assert "Problem:" in shown(panel) or "No line of these logs holds it" in shown(panel)
    assert "should not happen" not in shown(panel)
    assert_harmless(panel)


@pytest.mark.parametrize("path", ["", "-", "/no/such/mail.log", "\0", *HOSTILE])
async def test_a_log_that_cannot_be_read_is_said(path):
    panel = await look(path, "85eaf6354506")
    assert "Problem:" in shown(panel)
    assert "should not happen" not in shown(panel)
    assert panel.trace is None
    assert_harmless(panel)


@pytest.mark.parametrize("text", [one for one in HOSTILE if "\n" not in one and "\r" not in one])
async def test_nothing_in_a_log_acts(tmp_path, text):
    path = tmp_path / "mail.log"
    path.write_text(
        WAY.replace("delivered to maildir", text) + FAILED.format(f"sought{text}") + f"2026-11-24T23:00:00Z mx odd: sought {text}\n"
    )
    for what in ("99EFB276413", "192.0.2.7", "sought"):
        panel = await look(path, what)
        assert panel.trace.stories
        assert_harmless(panel)


async def test_a_password_in_a_line_is_hidden(tmp_path):
    path = tmp_path / "mail.log"
    path.write_text(
        "2026-11-24T23:00:00Z mx odd: ann@example.test password=hunter2\n" + WAY.replace("delivered to maildir", "password=hunter2")
    )
    for what in ("ann@example.test", "bob@example.test"):
        panel = await look(path, what)
        assert panel.trace.stories
        assert "hunter2" not in state(panel)


async def test_of_many_the_last_are_shown(tmp_path):
    path = tmp_path / "mail.log"
    connection = [
        f"2026-11-24T12:{n:02d}:00Z mx postfix/smtpd[7]: connect from unknown[192.0.2.7]\n"
        + FAILED.format("ann").replace("T12:00", f"T12:{n:02d}")
        + f"2026-11-24T12:{n:02d}:01Z mx postfix/smtpd[7]: disconnect from unknown[192.0.2.7] ehlo=1 auth=0/1 commands=1/2\n"
        for n in range(MOST + 5)
    ]
    path.write_text("".join(connection))
    panel = await look(path, "192.0.2.7")
    assert len(panel.trace.stories) == MOST + 5
    assert f"these are the last {MOST}" in shown(panel)
    assert shown(panel).count("failed: user or password wrong") == 2 * MOST - 1  # in the line that is folded, and in what it folds


async def test_the_messages_of_the_last_series_are_offered(tmp_path, monkeypatch, log):
    monkeypatch.setenv("KIT_STATE_DIR", str(tmp_path))
    assert TracePanel(str(log)).last.layout.display == "none"
    now = datetime(2026, 11, 24, 22, 5, 11, 750_000, tzinfo=UTC)
    series = Series(target="t", account="a", messages=1, sender="ann@example.test", recipients=("bob@example.test",))
    with Journal.start(series, now=now) as journal:
        journal.hand_over(1, now=now, message_id="<85eaf6354506.9eb9@example.test>", trace="85eaf6354506", recipients=["bob@example.test"])
        journal.conclude(1, State.ACCEPTED, now=now, code=250, queue_id="99EFB276413")
    panel = TracePanel(str(log))
    panel.last.value = panel.last.options[1]
    assert panel.what.value == "85eaf6354506.9eb9@example.test"
    await panel.look()
    (story,) = panel.trace.stories
    told = [event for event in story.events if event.side == "client"]
    assert [event.says for event in told] == ["is told that the server has taken it (250) as 99EFB276413"]
    assert told[0].time == now
    # Between the Message-ID's line and the queue's, as their clocks have it.
    assert "told" in shown(panel)[shown(panel).index("its Message-ID is") : shown(panel).index("is in the queue")]


def test_the_sample_log_has_what_the_notebook_looks_for():
    notebook = Path("notebooks/05-trace-an-attempt.ipynb").read_text()
    assert "9EEC022E099" in notebook
    assert "9EEC022E099: removed" in Path("data/mail.log").read_text()
