"""The table of a page: cells as every other table shows them, and the raw values that sorting and heat need."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ...table import Table
from .. import cells
from ..canvas.metrics import clean
from ..cells import Column

COLUMNS = (
    "type", "output", "window", "params", "macs", "share", "flops", "seconds", "activation", "receptive_field", "depth",
)  # fmt: skip
_TITLES = {"share": "MACs %", "receptive_field": "field"}
_FURTHER = ("bytes_read", "bytes_written", "intensity")  # what a diagram can be coloured by beside them


class Cell(NamedTuple):
    """One cell. share: how long its bar is, 0 to 1."""

    text: str
    number: bool
    share: float = 0.0


_LONGEST = 200


def short(text: str) -> str:
    """A name that a page can show: on one line, and not thousands of letters long."""
    text = clean(text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def shown(table: Table[Any]) -> list[Column]:
    """The columns of the table that a page shows: those in which anything stands."""
    known = {field.name for field in dataclasses.fields(table.row_type)}
    found = cells.shown(table, [name for name in COLUMNS if name in known], _TITLES)
    return [each for each in found if any(getattr(row, each.name) not in (None, "") for row in table.values())]


def rows(table: Table[Any], columns: Sequence[Column]) -> Iterator[list[Cell]]:
    """The cells of every row."""
    largest = max((row.share or 0.0 for row in table.values()), default=0.0)
    for row in table.values():
        yield [
            Cell(
                _percent(row.share) if each.name == "share" else short(cells.cell(row, each)),
                each.right,
                _bar(row, each, largest),
            )
            for each in columns
        ]


def total(table: Table[Any], columns: Sequence[Column]) -> list[Cell]:
    """The cells of the last line."""
    return [Cell("" if each.name == "share" else cells.total_cell(table, each), each.right) for each in columns]


def _percent(share: float | None) -> str:
    if share is None:
        return ""
    return f"{100 * share:.1f}" if share >= 0.0005 or not share else "<0.1"


def _bar(row: Any, column: Column, largest: float) -> float:
    return row.share / largest if column.name == "share" and row.share else 0.0


def heats(table: Table[Any]) -> dict[str, str]:
    """The columns that a diagram can be coloured by, with their titles: all that hold amounts."""
    return {name: _TITLES.get(name, _field(table, name).metadata["title"]) for name in _amounts(table)}


def raw(table: Table[Any]) -> dict[str, dict[str, Any]]:
    """Values by column, as numbers that can be compared; ``fold``: how those of one card become one."""
    return {
        name: {
            "fold": "sum" if _field(table, name).metadata["fold"] == "sum" else "max",
            "unit": _field(table, name).metadata["unit"],
            "values": [_plain(getattr(row, name)) for row in table.values()],
        }
        for name in (*_amounts(table), "output")
    }


def _amounts(table: Table[Any]) -> list[str]:
    wanted = [*COLUMNS[COLUMNS.index("params") :], *_FURTHER]
    return [name for name in wanted if any(_amount(getattr(row, name, None)) for row in table.values())]


def _field(table: Table[Any], name: str) -> dataclasses.Field[Any]:
    return next(field for field in dataclasses.fields(table.row_type) if field.name == name)


def _plain(value: Any) -> float | None:
    found = _amount(value)
    return float(f"{found:.4g}") if isinstance(found, float) else found


def _amount(value: Any) -> float | None:
    """A shape is as large as it has elements."""
    if isinstance(value, tuple):
        return math.prod(size for size in value if isinstance(size, int | float)) if value else 0
    return value if isinstance(value, int | float) else None
