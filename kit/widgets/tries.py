"""Single tries, the latest first, and the lines of the log that stand behind one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import ipywidgets as w
import pyarrow as pa

from kit.errors import KitError
from kit.logs.around import read_line
from kit.logs.selection import Selection
from kit.widgets.common import escape, say

PAGE: Final = 12
_COLUMNS: Final = (("user", 26), ("client_ip", 20), ("service", 11), ("mechanism", 11), ("outcome", 12), ("cause", 20))


class Tries(w.VBox):
    """A page of tries at a time; who chooses one sees its line, masked, with those around it.

    Args:
        table: of the log.
        readable: whether the log's files can be looked into.
    """

    def __init__(self, table: pa.Table, *, readable: bool = True) -> None:
        self._table, self._readable = table, readable
        self._selection: Selection | None = None
        self._skip = 0
        self.list = w.Select(description="Tries", rows=PAGE, layout=w.Layout(width="auto"))
        self.list.add_class("kit-tries")
        self.newer, self.older = w.Button(description="Newer"), w.Button(description="Older")
        self._where, self.raw = w.HTML(), w.HTML()
        self.list.observe(self._choose, "value")
        self.newer.on_click(lambda _: self._turn(-PAGE))
        self.older.on_click(lambda _: self._turn(PAGE))
        super().__init__([w.HBox([self.newer, self.older, self._where]), self.list, self.raw])

    def show(self, selection: Selection) -> None:
        """The latest tries of a selection."""
        self._selection, self._skip = selection, 0
        self._fill()

    def renew(self, table: pa.Table, selection: Selection) -> None:
        """The same page of a log that has grown; the try that is chosen, and its lines, stay."""
        chosen, raw = self._row(self.list.value), self.raw.value
        self._table, self._selection = table, selection
        with self.raw.hold_sync():
            self._fill()
            same = [place for _, place in self.list.options if chosen and _place_in_log(self._row(place)) == _place_in_log(chosen)]
            self.list.value = same[0] if same else None
            self.raw.value = raw

    def _row(self, place: int | None) -> dict[str, Any] | None:
        return None if place is None else self._table.slice(place, 1).to_pylist()[0]

    def _turn(self, by: int) -> None:
        self._skip = max(self._skip + by, 0)
        self._fill()

    def _fill(self) -> None:
        if self._selection is None:
            return
        places = self._selection.rows(PAGE + 1, skip=self._skip)
        rows = self._table.take(pa.array(places[:PAGE])).to_pylist()
        self.newer.disabled, self.older.disabled = not self._skip, len(places) <= PAGE
        self._where.value = say(
            f"{self._skip + 1:,} to {self._skip + len(rows):,} of the latest tries; choose one for its line" if rows else ""
        )
        self.raw.value = ""
        self.list.options = [(_label(row), place) for row, place in zip(rows, places.tolist(), strict=False)]
        self.list.value = None

    def _choose(self, change: Any) -> None:
        if (row := self._row(change["new"])) is None:
            self.raw.value = ""
            return
        self.raw.value = _lines(row) if self._readable and row["file"] else _masked(row)


def _place_in_log(row: Mapping[str, Any] | None) -> tuple[Any, ...] | None:
    return None if row is None else (row["file"], row["offset"], row["outcome"])


def _label(row: Mapping[str, Any]) -> str:
    """A try as one line of text in columns."""
    cells = (_fit(row[name], width) for name, width in _COLUMNS)
    times = f" ×{row['count']}" if row["count"] > 1 else ""
    return f"{row['time']:%Y-%m-%d %H:%M:%S}  {'  '.join(cells)}{times}"


def _fit(value: object, width: int) -> str:
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str("–" if value is None else value)[: width + 1])
    return (text if len(text) <= width else text[: width - 1] + "…").ljust(width)


def _lines(row: Mapping[str, Any]) -> str:
    try:
        lines = read_line(row["file"], row["offset"])
    except KitError as fault:
        return _masked(row) + say(f"Its file cannot be looked into now: {fault}")
    text = "\n".join(f"<b>{escape(line.text)}</b>" if line.chosen else escape(line.text) for line in lines)
    return f'<div class="kit-note">{escape(row["file"])}, line {row["line"]:,}</div><div class="kit-said">{text}</div>'


def _masked(row: Mapping[str, Any]) -> str:
    return f'<div class="kit-said">{escape(row["text"] or "")}</div>'
