"""What the README, the changelog, `.ci/run` and `binder/` say is so."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import click
import pytest

import kit
from kit.cli import main
from tests import server_table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
CI = (ROOT / ".ci/run").read_text("utf-8")


def _command_lines(text: str) -> list[list[str]]:
    """Every `kit …` that a text shows, as words: in code blocks, and in `code` that begins with it."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    shown = [line for block in blocks for line in block.splitlines()] + re.findall(r"`((?:[^`\n]*[\\/])?kit [^`\n]+)`", text)
    found = []
    for line in shown:
        words = shlex.split(line.replace("\\", "/"), comments=True)
        for position, word in enumerate(words):
            before = words[position - 1] if position else "|"
            if word.rpartition("/")[2] == "kit" and (before in ("|", "&&") or before.endswith(";")):
                rest = words[position + 1 :]
                ends = [rest.index(sign) for sign in ("|", "&&", ";") if sign in rest]
                found.append(rest[: min(ends, default=len(rest))])
    return [list(words) for words in dict.fromkeys(map(tuple, found)) if words and words[0].islower()]


COMMANDS = _command_lines(README)


def test_the_commands_are_found_at_all():
    assert ["lab"] in COMMANDS
    assert ["logs", "-"] in COMMANDS
    assert len(COMMANDS) >= 9


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_of_the_readme_exists_with_all_its_options(words):
    command: click.Command = main
    rest = list(words)
    context = click.Context(main)
    while isinstance(command, click.Group) and rest and (inner := command.get_command(context, rest[0])):
        command, rest = inner, rest[1:]
    assert not isinstance(command, click.Group), f"kit has no command {words}"
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    assert {word for word in rest if word.startswith("-") and word != "-"} <= known | {"--help"}


def test_the_readme_names_every_command():
    assert {words[0] for words in COMMANDS} >= set(main.list_commands(click.Context(main)))


def test_files_the_readme_refers_to_exist():
    targets = re.findall(r"\]\(([^)]+)\)", README)
    assert "docs/who-is-failing.png" in targets
    for target in targets:
        if not target.startswith("https://"):
            assert (ROOT / target).is_file(), target


def test_links_are_whole_and_point_to_what_is_there():
    links = re.findall(r"https?://[^\s)\"'`>]+", README + (ROOT / "CHANGELOG.md").read_text("utf-8"))
    assert links
    for link in links:
        assert re.fullmatch(r"https://[a-z0-9.-]+\.[a-z]{2,}(/[\w./?=%~+-]*)?", link), link
        if "mybinder.org/v2" in link:
            assert (ROOT / link.partition("urlpath=lab/tree/")[2]).is_file()


def test_the_table_of_servers_says_what_the_line_classes_read():
    assert "| postfix |" in README
    assert server_table.put_into(README) == README, "python -m tests.server_table writes it anew"


def test_both_commands_start_from_nothing_but_python():
    assert "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/kit lab\n" in README
    assert "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest\n" in README
    assert f"Python {PROJECT['project']['requires-python'].removeprefix('>=')} or newer" in README


# --- .ci/run ---------------------------------------------------------------------------------------------------


def test_ci_runs_the_test_command_of_the_readme():
    extract = re.search(r"^command=\$\((.*)\)$", CI, re.MULTILINE)[1]
    command = subprocess.run(["bash", "-c", extract], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    assert command == "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest"
    assert CI.rstrip().endswith('bash -c "$command"')  # nothing is printed below pytest's summary


def test_ci_runs_what_a_developer_runs():
    tasks = PROJECT["tool"]["poe"]["tasks"]
    for name in tasks["check"]:
        tool, _, arguments = tasks[name].partition(" ")
        assert tool == "pytest" or f'/bin/{tool}" {arguments}'.rstrip() in CI, name


def test_ci_gets_whatever_a_test_may_need():
    from tests.conftest import NEEDS

    packages = set(re.search(r"^packages=\((.*)\)$", CI, re.MULTILINE)[1].split())
    wanted = {package for _, remedy in NEEDS.values() if "apt-get install" in remedy for package in remedy.partition("install ")[2].split()}
    assert wanted <= packages
    assert "KIT_TEST_REQUIRE_ALL=1" in CI


@pytest.mark.needs("linux")
@pytest.mark.parametrize("script", [".ci/run", "binder/postBuild", "binder/start"])
def test_a_script_can_be_run_and_stops_at_the_first_fault(script):
    path = ROOT / script
    assert os.access(path, os.X_OK)
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    assert path.read_text("utf-8").startswith("#!/bin/bash\n")
    assert "\nset -euo pipefail\n" in path.read_text("utf-8")


# --- binder ----------------------------------------------------------------------------------------------------


def test_binder_installs_the_kit_with_a_python_it_accepts():
    assert (ROOT / "binder/requirements.txt").read_text("utf-8").split() == [".[binder]"]
    assert "binder" in PROJECT["project"]["optional-dependencies"]
    runtime = re.fullmatch(r"python-3\.(\d+)", (ROOT / "binder/runtime.txt").read_text("utf-8").strip())
    assert int(runtime[1]) >= int(PROJECT["project"]["requires-python"].partition("3.")[2])


def test_binder_hands_over_to_the_server():
    assert (ROOT / "binder/start").read_text("utf-8").rstrip().splitlines()[-1] == 'exec "$@"'


# --- the rest --------------------------------------------------------------------------------------------------


def test_the_changelog_has_its_shape():
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## (.*)$", changelog, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert set(re.findall(r"^### (.*)$", changelog, re.MULTILINE)) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", kit.__version__)


def test_notebooks_are_kept_without_outputs_and_widget_state():
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        notebook = json.loads(path.read_text("utf-8"))
        assert "widgets" not in notebook["metadata"], path
        assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in notebook["cells"]), path
