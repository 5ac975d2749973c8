"""The panel that reads a log, while the log is written and while names are hidden."""

from __future__ import annotations

import re
import sys
import time
from itertools import pairwise
from pathlib import Path

import comm
import pytest

from kit.logs import cache
from kit.logs.view import Filter
from kit.widgets import logs
from kit.widgets.explorer import Explorer
from kit.widgets.logs import LogPanel
from tests.logs.test_tail import failed, record
from tests.widgets.pages import assert_harmless, shown, state
from tests.widgets.test_server_panels import until

NAMES = ("annabel", "brunhilde", "secret.example", "198.51.100.23", "203.0.113.99", "mx-secret")
LINES = (
    "Nov  2 03:04:05 mx-secret postfix/smtpd[77]: warning: mail.secret.example[198.51.100.23]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=annabel@secret.example\n"
    "Nov  2 03:05:06 mx-secret postfix/smtpd[78]: warning: unknown[203.0.113.99]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=brunhilde\n"
    "Nov  2 03:05:07 mx-secret thing[1]: login of annabel@secret.example refused\n"
)  # fmt: skip


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(logs, "PAUSE", 0.02)
    monkeypatch.setattr(logs, "UNTIL_GONE", 0.0)


@pytest.fixture
def log(tmp_path) -> Path:
    path = tmp_path / "mail.log"
    path.write_text(LINES)
    return path


@pytest.fixture
def sent(monkeypatch) -> list[str]:
    """What goes to the page from now on."""
    messages: list[str] = []
    monkeypatch.setattr(comm.DummyComm, "publish_msg", lambda self, kind, **said: messages.append(repr((kind, said))))
    return messages


def explorer(panel: LogPanel) -> Explorer:
    [found] = panel._shown.children
    return found


async def tries(panel: LogPanel, number: int) -> None:
    await until(lambda: bool(panel._shown.children) and panel._shown.children[0].view.size == number)


async def stop(panel: LogPanel) -> None:
    task = panel._task
    panel.follow.value = False
    await task


# ------------------------------------------------------------------------------------------------ following


async def test_the_charts_grow_with_the_log_and_what_is_looked_at_stays(tmp_path):
    path = tmp_path / "mail.log"
    path.write_text(failed(1, 2))
    panel = LogPanel(str(path))
    panel.follow.value = True
    assert panel.button.disabled
    assert not panel.follow.disabled
    await tries(panel, 2)
    first = explorer(panel)
    first.look(Filter(only={"user": ("u2",)}))
    first.tries.list.value = first.tries.list.options[0][1]
    assert "sasl_username=u2" in first.tries.raw.value
    with path.open("a") as stream:
        stream.write(failed(2, 3))
    await tries(panel, 4)
    assert explorer(panel) is first
    assert first.filter == Filter(only={"user": ("u2",)})
    assert first.selection.total == sum(sum(trace.y) for trace in first.figure.data if trace.visible) == 2
    assert first.tries.list.value is not None
    assert "sasl_username=u2" in first.tries.raw.value
    assert "Following: the last line came at" in shown(panel)
    path.rename(tmp_path / "mail.log.1")
    path.write_text(failed(4))
    await tries(panel, 5)
    assert panel.frame["user"].tolist() == ["u1", "u2", "u2", "u3", "u4"]
    await stop(panel)
    assert "Followed no more" in shown(panel)
    assert not panel.button.disabled
    assert_harmless(panel)


async def test_a_cause_that_comes_later_is_drawn_and_can_be_chosen(tmp_path):
    path = tmp_path / "mail.log"
    path.touch()
    panel = LogPanel(str(path))
    panel.follow.value = True
    await tries(panel, 0)
    path.write_text(failed(1))
    await tries(panel, 1)
    assert sum(sum(trace.y) for trace in explorer(panel).figure.data if trace.visible) == 1
    assert explorer(panel).cause.options == ("all", "credentials")
    await stop(panel)


async def test_the_journal_is_followed_by_its_name_and_its_end_is_told(monkeypatch):
    program = f"import sys, time; sys.stdout.write({record(1) + record(2)!r}); sys.stdout.flush(); time.sleep(1)"
    monkeypatch.setattr(logs, "JOURNAL", (sys.executable, "-c", program))
    panel = LogPanel(sys.executable)
    task = panel.read()
    assert panel.follow.value
    await tries(panel, 2)
    await task
    assert not panel.follow.value
    assert "what was followed has ended" in shown(panel)


@pytest.mark.parametrize("path", ["", "-", "/no/such/mail.log", "tests"])
async def test_what_cannot_be_followed_is_told(path):
    panel = LogPanel(path)
    panel.follow.value = True
    await panel._task
    assert "Problem:" in shown(panel)
    assert not panel.follow.value
    assert not panel.button.disabled


async def test_a_log_is_looked_at_more_seldom_where_that_takes_long(tmp_path, monkeypatch):
    """A tenth of the time at most: of a look that takes 50 ms, two a second."""
    path = tmp_path / "mail.log"
    path.write_text(failed(1))
    times = []
    real = logs.Tail.look

    def slow(tail):
        times.append(time.monotonic())
        until_then = time.thread_time() + 0.05
        while time.thread_time() < until_then:
            pass
        return real(tail)

    monkeypatch.setattr(logs.Tail, "look", slow)
    panel = LogPanel(str(path))
    panel.follow.value = True
    await until(lambda: len(times) == 4)
    await stop(panel)
    assert min(b - a for a, b in pairwise(times[1:])) > 0.5


# ------------------------------------------------------------------------------------------------ hidden names


def assert_no_name(text: str) -> None:
    assert [name for name in NAMES if re.search(rf"{re.escape(name)}(?!\d)", text.lower())] == []


@pytest.mark.parametrize("follow", [False, True])
async def test_names_are_hidden_everywhere_and_come_back(log, tmp_path, monkeypatch, sent, follow):
    monkeypatch.setenv("KIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "LEAST", 0)
    panel = LogPanel(str(log), year=2026)
    panel.follow.value = follow
    await (tries(panel, 2) if follow else panel.read())
    explorer(panel).look(Filter(only={"user": ("annabel@secret.example",), "outcome": ("failure",)}))
    assert all(name in state(panel) for name in NAMES[:5])
    kept = sorted((tmp_path / "cache").rglob("*"))

    sent.clear()
    panel.hide.value = True
    await until(lambda: bool(panel._shown.children))
    if follow:
        with log.open("a") as stream:
            stream.write(LINES.splitlines(keepends=True)[0])
        await tries(panel, 3)
    hidden = explorer(panel)
    assert hidden.filter == Filter(only={"outcome": ("failure",)})
    hidden.tries.list.value = hidden.tries.list.options[0][1]
    hidden.look(Filter())
    assert_no_name(state(panel))
    assert_no_name(repr(sent))
    assert_no_name(panel.frame.to_csv())
    assert_no_name(repr((panel.auth_log.unknown, panel.auth_log.problems)))
    for ending in ("csv", "parquet", "jsonl", "html"):
        hidden.file.value = str(tmp_path / f"export.{ending}")
        hidden.save.click()
        assert_no_name((tmp_path / f"export.{ending}").read_bytes().decode("latin-1"))
    hidden.file.value = str(tmp_path / "attackers.nft")
    hidden.save.click()
    assert "would block those whom pseudonyms belong to" in shown(hidden)
    assert not (tmp_path / "attackers.nft").exists()
    assert sorted((tmp_path / "cache").rglob("*")) == kept

    panel.hide.value = False
    await until(lambda: bool(panel._shown.children))
    assert all(name in state(panel) for name in NAMES[:5])
    if follow:
        await stop(panel)


async def test_a_log_that_is_read_while_names_are_hidden_is_kept_nowhere(log, tmp_path, monkeypatch, sent):
    monkeypatch.setenv("KIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "LEAST", 0)
    panel = LogPanel(str(log), year=2026)
    panel.hide.value = True
    await panel.read()
    assert len(panel.frame) == 2
    assert not (tmp_path / "cache").exists()
    assert_no_name(state(panel) + repr(sent))
    panel.hide.value = False
    await until(lambda: bool(panel._shown.children))
    await panel.read()
    assert (tmp_path / "cache").exists()


async def test_two_panels_hide_a_name_behind_the_same_and_equal_logs_keep_it(log):
    frames = []
    for _ in range(2):
        panel = LogPanel(str(log), year=2026)
        panel.hide.value = True
        await panel.read()
        frames.append(panel.frame)
    assert frames[0].equals(frames[1])


async def test_no_file_is_named_while_names_are_hidden(tmp_path):
    (tmp_path / "annabel").mkdir()
    (tmp_path / "annabel/mail.log").write_bytes(bytes(range(256)) * 40)
    panel = LogPanel(str(tmp_path / "anna*" / "mail.log"))
    panel.hide.value = True
    assert panel.found.options == ("choose one …",)
    await panel.read()
    assert "the log: is not a text log" in shown(panel)
    assert_no_name(shown(panel))
    panel.hide.value = False
    assert len(panel.found.options) > 1
