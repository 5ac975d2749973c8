"""The door: sorted, complete, light; and nobody imports to the right."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import kit

ROOT = Path(kit.__file__).parent

# From left to right: a module may import its own room and those before it.
LAYERS = [
    "model",
    "errors",
    "redact",
    "knowledge",
    "fields",
    "profiles",
    "auth",
    "explain",
    "sending",
    "checks",
    "logs",
    "sandbox",
    "scripts",
    "review",
    "widgets",
    "lab",
    "commands",
    "cli",
]


def test_all_is_sorted_and_every_name_opens():
    assert kit.__all__ == sorted(kit.__all__)
    assert sorted(kit._ROOMS) == kit.__all__
    for name in kit.__all__:
        assert getattr(kit, name).__name__ == name


def test_a_room_does_not_take_the_place_of_what_lies_in_it():
    code = "import kit, kit.explain, kit.sandbox; from kit.explain import finding; print(callable(kit.explain), kit.explain('535').cause)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == [
        "True",
        "credentials",
    ]


def test_import_is_light():
    heavy = ["pandas", "plotly", "ipywidgets", "pyarrow", "numpy", "aiosmtplib", "keyring", "cryptography", "click", "asyncio"]
    code = f"import sys, kit, kit.model, kit.explain; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def _imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {f"{node.module}.{a.name}" for a in node.names}
        elif isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
    return {n.split(".")[1] for n in names if n.startswith("kit.") and n.split(".")[1] in LAYERS}


def test_every_module_has_its_layer_and_imports_to_the_left_only():
    for path in sorted(ROOT.rglob("*.py")):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if room in ("__init__", "__main__"):
            continue
        assert room in LAYERS, f"{room} stands in no layer"
        for other in _imports(path):
            assert LAYERS.index(other) <= LAYERS.index(room), f"{path.relative_to(ROOT)} imports kit.{other}, which stands to its right"
