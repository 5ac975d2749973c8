"""The panel that reads a log, without a browser: what is chosen is what is read, and what cannot be read is told in words."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest
from traitlets import Bunch

import kit
from kit.model import Attempt
from kit.widgets import logs
from kit.widgets.explorer import Explorer
from kit.widgets.logs import LogPanel, found_logs, write_uploads
from tests.widgets.pages import assert_harmless, shown
from tests.widgets.test_explorer import HOSTILE
from tests.widgets.test_server_panels import until

SAMPLE = "tests/logs/samples/mail.iso.log.gz"
LINE = "Nov  2 03:04:05 mx postfix/smtpd[77]: warning: unknown[192.0.2.7]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=ann@example.com\n"  # fmt: skip


def upload(name: str, content: bytes, year: int = 2026) -> Bunch:
    """One file, as ipywidgets hands it on."""
    when = datetime(year, 11, 3, tzinfo=UTC)
    return Bunch(name=name, type="", size=len(content), content=memoryview(content), last_modified=when)


@pytest.fixture
def sample_bytes() -> bytes:
    return Path(SAMPLE).read_bytes()


def trends_of(panel: LogPanel) -> list[Explorer]:
    return [child for child in panel._shown.children if isinstance(child, Explorer)]


async def test_it_reads_what_the_path_names():
    panel = LogPanel(SAMPLE, year=2026)
    assert panel.auth_log is None
    await panel.read()
    assert panel.frame.equals(kit.read_logs(SAMPLE, year=2026).frame)
    assert len(trends_of(panel)) == 1
    assert not panel.button.disabled


def test_before_that_there_are_columns_and_no_rows():
    frame = LogPanel().frame
    assert frame.empty
    assert set(frame.columns) == set(Attempt.__dataclass_fields__)


@pytest.mark.parametrize("path", ["", "  ", "-", "/no/such/mail.log", "~nobody-by-that-name/x", "\0", "tests", *HOSTILE])
async def test_what_cannot_be_read_is_said_and_the_last_log_stays(path):
    panel = LogPanel(SAMPLE, year=2026)
    await panel.read()
    before = panel.auth_log
    panel.path.value = path
    await panel.read()
    assert "Problem:" in shown(panel)
    assert "should not happen" not in shown(panel)
    assert panel.auth_log is before
    assert len(trends_of(panel)) == 1
    assert not panel.button.disabled
    assert_harmless(panel)


async def test_a_log_found_here_is_read_when_it_is_chosen(tmp_path, monkeypatch):
    for name in ("notebooks", "data"):
        (tmp_path / name).mkdir()
    (tmp_path / "data/mail.log").write_text(LINE)
    (tmp_path / "data/mail.log.1.gz").write_bytes(gzip.compress(LINE.replace("ann@", "bob@").encode()))
    (tmp_path / "data/README.md").write_text("no log")
    monkeypatch.chdir(tmp_path / "notebooks")
    assert found_logs()[:3] == ["../data", "../data/mail.log", "../data/mail.log.1.gz"]
    panel = LogPanel()
    panel.found.value = "../data/mail.log.1.gz"
    assert panel.path.value == "../data/mail.log.1.gz"
    await until(lambda: not panel.button.disabled)
    assert panel.frame["user"].tolist() == ["bob@example.com"]
    panel.found.value = "../data"
    await until(lambda: not panel.button.disabled)
    assert sorted(panel.frame["user"]) == ["ann@example.com", "bob@example.com"]


async def test_the_panel_of_the_log_before_is_let_go(monkeypatch):
    monkeypatch.setattr(logs, "UNTIL_GONE", 0)
    panel = LogPanel(SAMPLE, year=2026)
    await panel.read()
    before = trends_of(panel)[0]
    inside = [before, before.figure, before.cause]
    await panel.read()
    await until(lambda: all(each.comm is None for each in inside))
    assert trends_of(panel)[0].figure.comm is not None


async def test_an_upload_is_read_and_kept_nowhere(tmp_path, monkeypatch, sample_bytes):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    panel = LogPanel()
    panel.upload.set_trait("value", (upload("mail.log", LINE.encode(), year=2023), upload("old.gz", sample_bytes, year=2021)))
    assert panel.button.disabled
    assert panel.upload.disabled
    await until(lambda: not panel.button.disabled)
    assert len(panel.frame) == 1 + len(kit.read_logs(SAMPLE).frame)
    assert panel.frame["time"].iloc[-1] == datetime(2023, 11, 2, 3, 4, 5, tzinfo=UTC), (
        "the year of the file's own time; the older file first"
    )
    assert panel.upload.value == ()
    assert list(tmp_path.iterdir()) == []


async def test_an_upload_that_is_no_log_is_said():
    panel = LogPanel()
    panel.upload.set_trait("value", (upload("photo.jpg", bytes(range(256)) * 40),))
    await until(lambda: not panel.button.disabled)
    assert "photo.jpg: is not a text log" in shown(panel)
    assert panel.upload.value == ()


@pytest.mark.parametrize(
    "name", ["../../evil", "..", "", ".", "/etc/passwd", "a\\b\\c", "x" * 5000, "\0", "mail.log", "ü\u202egol", *HOSTILE]
)
def test_an_uploads_name_leads_nowhere_else(tmp_path, name):
    paths = write_uploads([upload(name, b"1"), upload(name, b"2")], tmp_path)
    assert [Path(path).read_bytes() for path in paths] == [b"1", b"2"]
    assert all(Path(path).resolve().is_relative_to(tmp_path) for path in paths)
