"""The kit's tables: TOML files beside this one, read once."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from kit.errors import KnowledgeError


@cache
def load_tables(folder: str) -> dict[str, dict[str, Any]]:
    """The tables in a folder, by name.

    Raises:
        KnowledgeError: one of them does not parse.
    """
    names = sorted(path.name.removesuffix(".toml") for path in (files("kit.knowledge") / folder).iterdir() if path.name.endswith(".toml"))
    return {name: load_table(f"{folder}/{name}") for name in names}


@cache
def load_table(name: str) -> dict[str, Any]:
    """The table `name` (without `.toml`) as TOML has it.

    Raises:
        KnowledgeError: there is no such table, or it does not parse.
    """
    try:
        return tomllib.loads((files("kit.knowledge") / f"{name}.toml").read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as fault:
        raise KnowledgeError(
            f"the table does not read ({fault})", where=f"kit/knowledge/{name}.toml", next_step="Please report it"
        ) from fault
