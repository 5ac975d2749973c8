"""Laying the notebooks out in a folder, never over somebody's edits; and what is said where Lab cannot start."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
import time

import nbformat
import pytest
from click.testing import CliRunner
from nbformat.sign import NotebookNotary

from kit.cli import main
from kit.errors import UsageError
from kit.lab import launch

FIRST = "notebooks/00-start-here.ipynb"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """An installed kit: no checkout around it, its notebooks and data in `share`, where the wheel puts them."""
    share = tmp_path / "site-packages/kit/share"
    for name, text in {
        FIRST: "{}",
        "notebooks/04-who-is-failing.ipynb": "{}",
        "data/mail.log": "a line\n",
        "data/more/old.log": "older\n",
    }.items():
        (share / name).parent.mkdir(parents=True, exist_ok=True)
        (share / name).write_text(text)
    monkeypatch.setattr(launch, "_PACKAGE", share.parent)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return share


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_from_a_checkout_it_is_the_checkout(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    home, kept = launch.find_home(None)
    assert (home / "pyproject.toml").is_file()
    assert (home / FIRST).is_file()
    assert kept == []
    assert files(tmp_path) == set()


def test_a_folder_is_filled_from_a_checkout_too(tmp_path):
    home, kept = launch.find_home(tmp_path / "copy")
    assert home == tmp_path / "copy"
    assert kept == []
    assert (home / FIRST).read_bytes() == (launch._PACKAGE.parent / FIRST).read_bytes()


def test_an_installed_kit_lays_everything_out(installed, tmp_path):
    home, kept = launch.find_home(None)
    assert home == tmp_path / "here/smtp-auth-kit"
    assert kept == []
    assert files(home) - {launch._LEDGER} == files(installed)
    assert (home / "data/more/old.log").read_text() == "older\n"


def test_what_jupyter_and_pip_leave_behind_is_not_laid_out(installed):
    for name in (
        "notebooks/.ipynb_checkpoints/00-start-here-checkpoint.ipynb",
        "notebooks/.jupyter_ystore.db",
        "data/__pycache__/made.pyc",
    ):
        (installed / name).parent.mkdir(exist_ok=True)
        (installed / name).write_text("")
    home, _ = launch.find_home(None)
    assert files(home) - {launch._LEDGER} == {FIRST, "notebooks/04-who-is-failing.ipynb", "data/mail.log", "data/more/old.log"}


def test_what_was_edited_stays_and_is_named_and_what_was_not_is_renewed(installed):
    home, _ = launch.find_home(None)
    (home / FIRST).write_text('{"mine": 1}')
    (installed / FIRST).write_text('{"new": 1}')
    (installed / "data/mail.log").write_text("a new line\n")
    (installed / "data/added.log").write_text("new\n")
    _, kept = launch.find_home(None)
    assert kept == [FIRST]
    assert (home / FIRST).read_text() == '{"mine": 1}'
    assert (home / "data/mail.log").read_text() == "a new line\n"
    assert (home / "data/added.log").read_text() == "new\n"


def test_an_edit_is_still_known_after_several_starts(installed):
    home, _ = launch.find_home(None)
    (home / FIRST).write_text('{"mine": 1}')
    for release in range(3):
        (installed / FIRST).write_text(f'{{"release": {release}}}')
        assert launch.find_home(None)[1] == [FIRST]
    assert (home / FIRST).read_text() == '{"mine": 1}'


def test_what_was_edited_back_is_nobodys_edit(installed):
    home, _ = launch.find_home(None)
    original = (home / FIRST).read_bytes()
    (home / FIRST).write_text("{}  ")
    assert launch.find_home(None)[1] == [FIRST]
    (home / FIRST).write_bytes(original)
    (installed / FIRST).write_text('{"new": 1}')
    assert launch.find_home(None)[1] == []
    assert (home / FIRST).read_text() == '{"new": 1}'


def test_a_file_that_was_there_before_the_kit_is_never_written_over(installed, tmp_path):
    mine = tmp_path / "here/logs/data/mail.log"
    mine.parent.mkdir(parents=True)
    mine.write_text("my own log\n")
    assert launch.find_home(tmp_path / "here/logs")[1] == ["data/mail.log"]
    assert mine.read_text() == "my own log\n"


def test_a_file_that_was_deleted_comes_back(installed):
    home, _ = launch.find_home(None)
    (home / FIRST).unlink()
    assert launch.find_home(None)[1] == []
    assert (home / FIRST).read_text() == "{}"


@pytest.mark.parametrize("ledger", ["", "not json", "[]", '{"notebooks/00-start-here.ipynb": 7}', "\xff"])
def test_a_broken_ledger_costs_nobody_an_edit_and_nobody_a_start(installed, ledger):
    home, _ = launch.find_home(None)
    (home / FIRST).write_text('{"mine": 1}')
    (home / launch._LEDGER).write_bytes(ledger.encode("latin-1"))
    assert launch.find_home(None)[1] == [FIRST]
    assert (home / FIRST).read_text() == '{"mine": 1}'


def test_a_folder_that_cannot_be_written(installed, tmp_path):
    (tmp_path / "here/file").write_text("")
    with pytest.raises(UsageError) as told:  # below a file there is no folder, not even for root
        launch.find_home(tmp_path / "here/file/below")
    assert str(tmp_path / "here/file/below") in str(told.value)
    assert "kit lab DIR" in told.value.next_step


def test_the_command_says_so_without_a_traceback(installed, tmp_path):
    (tmp_path / "here/file").write_text("")
    ran = CliRunner().invoke(main, ["lab", "file/below", "--no-browser"])
    assert ran.exit_code == 2
    assert ran.stdout == ""
    assert "kit lab DIR" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_command_names_what_it_left(installed, monkeypatch):
    home, _ = launch.find_home(None)
    (home / FIRST).write_text('{"mine": 1}')
    monkeypatch.setattr(launch, "run_lab", lambda *_, **__: 0)
    ran = CliRunner().invoke(main, ["lab"])
    assert ran.exit_code == 0
    assert ran.stderr.count(FIRST) == 1
    assert "04-who" not in ran.stderr


def test_a_port_that_is_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} is taken") as told:
            launch.run_lab(tmp_path, browser=False, port=port)
    assert told.value.next_step


def test_a_port_that_one_may_not_use(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(launch.socket.socket, "bind", refuse)  # root may; and so may everybody in some containers
    with pytest.raises(UsageError, match=r"port 80 cannot be used \(Permission denied\)"):
        launch.run_lab(tmp_path, browser=False, port=80)


@pytest.mark.needs("linux")  # Windows has no such signal
def test_whoever_ends_kit_lab_ends_lab_too(tmp_path):
    """Nothing listens any more, and no folder is left behind."""
    own = {
        name: str(tmp_path / name.lower()) for name in ("HOME", "TMPDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    }
    (tmp_path / "tmpdir").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-m", "kit", "lab", str(tmp_path / "home of notebooks"), "--no-browser", "--port", str(port)]
        process = subprocess.Popen(command, env=os.environ | own, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while "token=" not in (tmp_path / "log").read_text():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.terminate()
        process.wait(30)
    finally:
        process.kill()
    launch._try_port(port)
    assert list((tmp_path / "tmpdir").glob("kit-lab-*")) == []


def test_signing_makes_the_notebooks_trusted_and_passes_over_what_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "notebooks/0-folder.ipynb").mkdir(parents=True)
    for number, broken in enumerate([b"", b"not json", b'{"cells": 7}', b"\xff"]):
        (tmp_path / f"notebooks/0-broken-{number}.ipynb").write_bytes(broken)
    shutil.copy(launch._PACKAGE.parent / FIRST, tmp_path / FIRST)
    notary = NotebookNotary()
    assert not notary.check_signature(nbformat.read(tmp_path / FIRST, as_version=4))
    launch.trust(tmp_path)
    assert NotebookNotary().check_signature(nbformat.read(tmp_path / FIRST, as_version=4))
