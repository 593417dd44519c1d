"""A table as plain text for a terminal, a file or a pipe."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ..table import Table
from . import cells
from .cells import Column

_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"
_GAP = 2


def text(
    table: Table[Any],
    *,
    columns: Sequence[str] | None = None,
    width: int | None = None,
    color: bool = False,
    titles: Mapping[str, str] | None = None,
) -> str:
    """The table with its total, and a summary under it.

    Args:
        columns: names or titles of the columns to show behind the row's name; by default those that are not hidden.
        width: how many characters a line may have. Columns that do not fit are left out and named under the table:
            first shapes behind the first one, from the right, then numbers from the right, then the rest. 0 is no
            limit; None takes ``COLUMNS``, else the terminal's width, and has no limit where the output is none.
        color: bold for the largest number of each column and for what makes a tenth of its total.
        titles: other titles for columns, by field name.

    Raises:
        LookupError: a column does not exist.
    """
    shown = cells.shown(table, columns, titles)
    grid = _grid(table, shown)
    limit = _width() if width is None else width
    hidden = _too_wide(shown, grid, limit) if limit and columns is None else []
    kept = [i for i, column in enumerate(shown) if column not in hidden]
    lines = _lines(table, [shown[i] for i in kept], [[line[i] for i in kept] for line in grid], color)
    if hidden:
        lines.append(f"hidden for width: {', '.join(column.title for column in hidden)}")
    heading = " · ".join(cells.visible(part) for part in (table.model, table.input, table.title) if part)
    below = [*summary(table), *table.notes]
    return "\n".join([*([heading, ""] if heading else []), *lines, *(["", *below] if below else [])])


def summary(table: Table[Any]) -> list[str]:
    """The totals in words: those of parameters, work and activations, as far as the table has them."""
    total = table.total
    facts: list[tuple[str, str]] = []
    if getattr(total, "params", None) is not None and hasattr(total, "weights"):
        facts.append(("parameters", _parameters(total)))
    for name, unit in (("macs", "MAC"), ("flops", "FLOP")):
        value = getattr(total, name, None)
        if value is not None:
            least = ">= " if table.missing else ""
            facts.append((f"{unit}s", f"{least}{cells.quantity(value, unit)} = {value:,}"))
    if getattr(total, "activation", None) is not None:
        facts.append(("activations", f"{cells.quantity(total.activation, 'byte')} written, of all layers together"))
    if getattr(total, "depth", None) is not None:
        facts.append(("depth", f"{total.depth} layers with weights on the longest path"))
    lines = [f"{name:<11}  {fact}" for name, fact in facts]
    return [*([f"missing      {cells.at_least(table)}"] if table.missing else []), *lines]


def _parameters(total: Any) -> str:
    parts = [("weights", total.weights), ("biases", total.biases), ("of normalisations", total.norm)]
    taken = " + ".join(f"{count:,} {name}" for name, count in parts if count)
    buffers = f"; buffers {total.buffers:,}" if total.buffers else ""
    frozen = total.params - total.trainable
    return f"{total.params:,}" + (f" = {taken}" if taken else "") + buffers + (f"; {frozen:,} frozen" if frozen else "")


def _grid(table: Table[Any], shown: list[Column]) -> list[list[str]]:
    """Cells of all rows, and of the total line where there is one, as the last."""
    grid = [[cells.cell(row, column) for column in shown] for row in table.values()]
    if cells.has_total(table, shown):
        grid.append([cells.total_cell(table, column) for column in shown])
    return grid


def _lines(table: Table[Any], shown: list[Column], grid: list[list[str]], color: bool) -> list[str]:
    """Head, rule, rows, rule, total."""
    heads = [[column.title for column in shown], [column.prefix for column in shown]]
    if not any(heads[1]):
        heads.pop()
    widths = [max(map(len, cells_)) for cells_ in zip(*heads, *grid, strict=True)]
    rule = (" " * _GAP).join("-" * width for width in widths)
    body = [_line(line, shown, widths) for line in grid]
    if color:
        for i, row in enumerate(table.values()):
            strong = [_strong(table, getattr(row, column.name), column) for column in shown]
            body[i] = _line(grid[i], shown, widths, strong)
    if cells.has_total(table, shown):
        body.insert(-1, rule)
    return [*(_line(head, shown, widths) for head in heads), rule, *body]


def _line(texts: list[str], shown: list[Column], widths: list[int], strong: Sequence[bool] = ()) -> str:
    padded = [t.rjust(w) if c.right else t.ljust(w) for t, c, w in zip(texts, shown, widths, strict=True)]
    if any(strong):
        padded = [f"{_BOLD}{t}{_PLAIN}" if bold else t for t, bold in zip(padded, strong, strict=True)]
    return (" " * _GAP).join(padded).rstrip()


def _strong(table: Table[Any], value: Any, column: Column) -> bool:
    """The largest of its column, or a tenth of the total."""
    total = getattr(table.total, column.name)
    if column.field.metadata["fold"] != "sum" or not value or not total:
        return False
    others = (getattr(row, column.name) for row in table.values())
    return value >= total / 10 or value >= max(other for other in others if other is not None)


def _too_wide(shown: list[Column], grid: list[list[str]], limit: int) -> list[Column]:
    """The columns to leave out so that a line has at most ``limit`` characters, in the order in which they go."""
    widths = {
        column: max([len(column.title), len(column.prefix), *(len(line[i]) for line in grid)])
        for i, column in enumerate(shown)
    }
    shapes = [column for column in shown if column.unit == "shape"]
    numbers = [column for column in shown if column.right]
    others = [column for column in shown[1:] if column not in shapes and column not in numbers]
    order = [*reversed(shapes[1:]), *reversed(numbers[1:]), *reversed(others), *shapes[:1], *numbers[:1]]
    hidden: list[Column] = []
    for column in order:
        kept = [width for each, width in widths.items() if each not in hidden]
        if sum(kept) + _GAP * (len(kept) - 1) <= limit:
            break
        hidden.append(column)
    return hidden


def _width() -> int:
    if os.environ.get("COLUMNS", "").isdigit() or sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    return 0
