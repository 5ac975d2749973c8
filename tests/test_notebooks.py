"""Every notebook runs from top to bottom, and is one that an operator reads at two in the morning."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
MOST_CODE_LINES = 7

each_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook: nbformat.NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def code_lines(source: str) -> int:
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in source.splitlines())


def test_the_story_is_told_in_order():
    assert [path.name[:2] for path in PATHS][:1] == ["00"]
    assert len({path.name[:2] for path in PATHS}) == len(PATHS) >= 4


# ------------------------------------------------------------------------------------------------ as it is committed


@each_notebook
def test_it_is_a_valid_notebook_with_an_id_for_each_cell(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor >= 5) == (4, True)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert notebook.metadata.kernelspec.name == "python3"


@each_notebook
def test_nothing_of_a_run_is_committed(path):
    notebook = read(path)
    assert [cell.id for cell in code_cells(notebook) if cell.outputs or cell.execution_count is not None] == []
    assert "widgets" not in notebook.metadata
    assert [cell.id for cell in notebook.cells if set(cell.metadata) - {"tags"}] == []


@each_notebook
def test_there_is_more_prose_than_code(path):
    notebook = read(path)
    code = code_cells(notebook)
    assert len(notebook.cells) - len(code) > len(code)
    assert {cell.id: code_lines(cell.source) for cell in code if code_lines(cell.source) > MOST_CODE_LINES} == {}


@each_notebook
def test_it_begins_with_its_title_and_ends_with_next_steps(path):
    notebook = read(path)
    assert notebook.cells[0].source.startswith("# ")
    assert notebook.cells[-1].source.startswith("## Next steps\n")
    assert len(re.findall(r"^# ", prose(notebook), re.MULTILINE)) == 1


@each_notebook
def test_its_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)\s]+)\)", prose(read(path)))
    inside = [link for link in links if "://" not in link]
    assert any(link.endswith(".ipynb") for link in inside), "the next steps lead to another notebook"
    assert [link for link in inside if not (NOTEBOOKS / link.partition("#")[0]).is_file()] == []


@each_notebook
def test_nothing_is_left_to_be_written(path):
    assert re.findall(r"\b(?:TODO|FIXME|XXX|STORY|TBD)\b", prose(read(path))) == []


@each_notebook
def test_its_code_is_plain_python_and_needs_nothing_but_the_kit_and_a_library_that_it_shows(path):
    for cell in code_cells(read(path)):
        for node in ast.walk(ast.parse(cell.source)):  # magics and shell commands do not parse
            if isinstance(node, ast.ImportFrom):
                assert node.module.partition(".")[0] == "kit", cell.id
            elif isinstance(node, ast.Import):
                assert {name.name.partition(".")[0] for name in node.names} <= {"kit", "aiosmtplib"}


# ------------------------------------------------------------------------------------------------ as it runs


@each_notebook
def test_it_runs_from_top_to_bottom(path, tmp_path, monkeypatch):
    for name in ("HOME", "KIT_CONFIG_DIR", "KIT_STATE_DIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
        (tmp_path / name.lower()).mkdir()
    for folder in ("notebooks", "data"):
        shutil.copytree(NOTEBOOKS.parent / folder, tmp_path / folder)
    before = set((tmp_path / "notebooks").rglob("*"))
    notebook = read(path)
    client = NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        store_widget_state=False,
        resources={"metadata": {"path": str(tmp_path / "notebooks")}},
    )
    client.execute()  # raises where a cell does
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert outputs
    assert all(cell.execution_count for cell in code_cells(notebook))
    assert [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"] == []
    assert "widgets" not in notebook.metadata
    assert set((tmp_path / "notebooks").rglob("*")) == before, "a run leaves no file behind"
