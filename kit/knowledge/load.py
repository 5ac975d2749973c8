"""The kit's tables: TOML files beside this one, read once."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from kit.errors import KnowledgeError


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
