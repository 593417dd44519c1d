"""A table for programs: CSV and JSON, with raw numbers."""

from __future__ import annotations

import csv as csv_
import io
import json as json_
from collections.abc import Sequence
from typing import Any

from ..graph import ModelGraph
from ..table import Table
from ..table import columns as fields
from . import cells


def csv(table: Table[Any] | ModelGraph, *, columns: Sequence[str] | None = None) -> str:
    """The rows and the total as comma-separated values, headed by field names; unknown is ``?``.

    A table in which something is missing has a further column ``missing`` that says in each row what was not counted.

    Raises:
        UnknownColumn: a column does not exist.
    """
    table = cells.tabular(table)
    shown = cells.shown(table, columns, empty=True)
    extra = bool(table.missing) and all(column.name != "missing" for column in shown)
    out = io.StringIO()
    writer = csv_.writer(out, lineterminator="\n")
    writer.writerow([column.name for column in shown] + ["missing"] * extra)
    total = [table.total] if cells.has_total(table, shown) else []
    for row in [*table.values(), *total]:
        values = [_raw(row, column) if row is not table.total or _in_total(column) else "" for column in shown]
        note = cells.at_least(table) if row is table.total else " ".join(row.missing)
        writer.writerow([_inert(value) for value in values + [note] * extra])
    return out.getvalue()


def json(table: Table[Any] | ModelGraph, *, columns: Sequence[str] | None = None) -> str:
    """The table as one JSON object, a line for each row: raw numbers, no formatted strings.

    Raises:
        UnknownColumn: a column does not exist.
    """
    table = cells.tabular(table)
    plain = table.to_dict()
    # What a column that does not fold has in the total says nothing, and what was missing is said once.
    # A total may say more than its rows: figures of the whole.
    folded = [f.name for f in fields(type(table.total)) if f.metadata.get("fold", "whole") not in ("none", "join")]
    plain["total"] = {name: plain["total"][name] for name in folded}
    if columns is not None:
        names = [column.name for column in cells.shown(table, columns)]
        plain["rows"] = [{name: row[name] for name in names} for row in plain["rows"]]
    rows = ",\n".join(f"    {_dumped(row)}" for row in plain.pop("rows"))
    head = "".join(f"  {_dumped(key)}: {_dumped(value)},\n" for key, value in plain.items())
    return "{\n" + head + '  "rows": [' + (f"\n{rows}\n  " if rows else "") + "]\n}\n"


def _in_total(column: cells.Column) -> bool:
    return column.name == "name" or column.additive


def _dumped(value: Any) -> str:
    return json_.dumps(value, allow_nan=False)


def _raw(row: Any, column: cells.Column) -> str:
    value = getattr(row, column.name)
    if value is None:
        return "?" if cells.cell(row, column) == "?" else ""
    if isinstance(value, tuple) and column.unit == "text":
        return " ".join(map(str, value))
    return cells.raw(value)


def _inert(text: str) -> str:
    """Text on one line; a name that a spreadsheet would take for a formula is marked as text."""
    text = cells.visible(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text.removesuffix("%"))
    except ValueError:
        return False
    return True
