"""The README's table of mail servers, made from the line classes; `python -m tests.server_table` writes it there."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
START, END = "<!-- servers: python -m tests.server_table -->\n", "<!-- end of servers -->\n"
HEAD = "| `server` | failures | successes | user | address | mechanism | known from |\n|---|---|---|---|---|---|---|\n"


def table() -> str:
    """A row for each server of which at least one line is about a try to sign in."""
    tables = [tomllib.loads(path.read_text("utf-8")) for path in sorted((ROOT / "kit/knowledge/log_lines").glob("*.toml"))]
    software = sorted({each["software"] for each in tables if "software" in each})
    rows = [
        _row(name, [c for each in tables if each.get("software") == name for c in each.get("class", ()) if c["role"] != "none"])
        for name in software
    ]
    return HEAD + "".join(filter(None, rows))


def _row(name: str, classes: list[dict]) -> str:
    if not classes:
        return ""
    ends = {end["outcome"] for entry in classes for end in (entry, *entry.get("reasons", ())) if "outcome" in end}
    groups = {group for entry in classes for group in re.findall(r"\(\?P<(\w+)>", entry["pattern"])}
    # What stands behind a server (PAM, saslauthd) names a module there, and never a mechanism.
    mechanisms = {"mechanism"} | ({"driver"} if any(entry["role"] != "behind" for entry in classes) else set())
    known = Counter(entry["verified"] for entry in classes)
    told = [
        ends - {"success"},
        ends & {"success"},
        groups & {"user"},
        groups & {"client_ip", "client_name"},
        groups & mechanisms,
    ]
    return f"| {name} | {' | '.join('yes' if part else '–' for part in told)} | {', '.join(word for word, _ in known.most_common())} |\n"


def put_into(readme: str) -> str:
    """The README with the table as it is now."""
    before, _, rest = readme.partition(START)
    return before + START + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(put_into(path.read_text("utf-8")), "utf-8")
