"""A table as plain text for a terminal, a file or a pipe."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
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
        width: how many characters a line may have. Columns that do not fit are left out and named under the table;
            the first two numbers come before the first shape, this before texts, then the other numbers, then the
            other shapes. 0 is no limit; None is ``COLUMNS``, else the terminal's width, and no limit in a pipe.
        color: bold for the largest number of each column and for what makes a tenth of its total.
        titles: other titles for columns, by field name.

    Raises:
        UnknownColumn: a column does not exist.
    """
    every = cells.shown(table, columns, titles)
    shown = [column for column in every if not _is_prose(table, column)]
    limit = _width() if width is None else width
    grid = [[_shortened(text, limit) for text in line] for line in _grid(table, shown)]
    kept = _fitting(shown, grid, limit) if limit and columns is None else list(range(len(shown)))
    lines = _lines(table, [shown[i] for i in kept], [[line[i] for i in kept] for line in grid], color)
    if len(kept) < len(shown):
        lines += ["", f"hidden for width: {', '.join(c.title for i, c in enumerate(shown) if i not in kept)}"]
    prose = [column for column in every if column not in shown]
    below = [
        line
        for note in [*_prose(table, prose, limit), *summary(table), *table.notes]
        for line in _wrapped(note, limit or 100)
    ]
    return "\n".join([_shortened(heading(table), 3 * limit), "", *lines, *(["", *below] if below else [])])


def heading(table: Table[Any]) -> str:
    """``vgg16 (1x3x224x224): layers``."""
    whose = " ".join([cells.visible(table.model), f"({cells.visible(table.input)})" if table.input else ""]).strip()
    return f"{whose}: {table.title}" if whose else table.title


def summary(table: Table[Any]) -> list[str]:
    """The totals in words: those of parameters, work and activations, as far as the table has them."""
    total = table.total
    facts: list[tuple[str, str]] = []
    if getattr(total, "params", None) is not None:
        facts.append(("parameters", _parameters(total)))
    for name, unit in (("macs", "MAC"), ("flops", "FLOP")):
        value = getattr(total, name, None)
        if value is not None:
            least = ">= " if table.missing else ""
            exact = f" = {value:,}" if value >= 1000 else ""
            facts.append((f"{unit}s", f"{least}{cells.quantity(value, unit)}{exact}"))
    if getattr(total, "activation", None) is not None:
        facts.append(("activation", f"{cells.quantity(total.activation, 'byte')}, the results of all layers together"))
    if getattr(total, "depth", None) is not None:
        facts.append(("depth", f"{total.depth} layers with weights on the longest path"))
    if table.missing:
        facts.insert(0, ("missing", cells.at_least(table)))
    return [f"{name:<10}  {fact}" for name, fact in facts]


def _parameters(total: Any) -> str:
    parts = [("weights", "weights"), ("biases", "biases"), ("norm", "of normalisations")]
    known = [(getattr(total, name, 0), words) for name, words in parts]
    taken = " + ".join(f"{count:,} {words}" for count, words in known if count)
    buffers = getattr(total, "buffers", 0)
    frozen = total.params - getattr(total, "trainable", total.params)
    return (
        f"{total.params:,}"
        + (f" = {taken}" if taken else "")
        + (f"; buffers {buffers:,}" if buffers else "")
        + (f"; {frozen:,} frozen" if frozen else "")
    )


def _is_prose(table: Table[Any], column: Column) -> bool:
    """Sentences do not stand in a column but under the table."""
    if column.unit != "text" or column.name == "name":
        return False
    return any(len(cells.cell(row, column)) > 40 for row in table.values())


def _prose(table: Table[Any], prose: list[Column], limit: int) -> list[str]:
    names = {name: _shortened(cells.visible(name), limit) for name in table}
    width = max(map(len, names.values()), default=0)
    return [
        f"{names[name]:<{width}}  {column.title}: {_shortened(text, 10 * limit)}"
        for name, row in table.items()
        for column in prose
        if (text := cells.cell(row, column))
    ]


def _shortened(text: str, limit: int) -> str:
    """A text that no line has room for, cut in its middle to two thirds of a line; 0 is no limit."""
    if not limit or len(text) <= limit:
        return text
    half = max(limit // 3 - 2, 1)
    return f"{text[:half]}...{text[-half:]}"


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
        least = [_heavy(table, column) for column in shown]
        for i, row in enumerate(table.values()):
            values = [getattr(row, column.name) for column in shown]
            strong = [bool(v) and limit is not None and v >= limit for v, limit in zip(values, least, strict=True)]
            body[i] = _line(grid[i], shown, widths, strong)
    if cells.has_total(table, shown):
        body.insert(-1, rule)
    return [*(_line(head, shown, widths) for head in heads), rule, *body]


def _line(texts: list[str], shown: list[Column], widths: list[int], strong: Sequence[bool] = ()) -> str:
    padded = [t.rjust(w) if c.right else t.ljust(w) for t, c, w in zip(texts, shown, widths, strict=True)]
    if any(strong):
        padded = [f"{_BOLD}{t}{_PLAIN}" if bold else t for t, bold in zip(padded, strong, strict=True)]
    return (" " * _GAP).join(padded).rstrip()


def _heavy(table: Table[Any], column: Column) -> float | None:
    """From which value on a cell is heavy: a tenth of the total, or the largest of the column where none reaches it."""
    total = getattr(table.total, column.name)
    if column.field.metadata["fold"] != "sum" or not total:
        return None
    known = [value for row in table.values() if (value := getattr(row, column.name)) is not None]
    return min(total / 10, max(known, default=0))


def _fitting(shown: list[Column], grid: list[list[str]], limit: int) -> list[int]:
    """Which columns a line of ``limit`` characters has room for, the more important ones first."""
    widths = [
        max([len(column.title), len(column.prefix), *(len(line[i]) for line in grid)]) + _GAP
        for i, column in enumerate(shown)
    ]
    places = range(1, len(shown))
    numbers = [i for i in places if shown[i].right]
    shapes = [i for i in places if shown[i].unit == "shape"]
    texts = [i for i in places if i not in numbers and i not in shapes]
    kept, room = [0], limit + _GAP - widths[0]
    for i in [*numbers[:2], *shapes[:1], *texts, *numbers[2:], *shapes[1:]]:
        if widths[i] <= room:
            kept.append(i)
            room -= widths[i]
    return sorted(kept)


def _wrapped(note: str, width: int) -> list[str]:
    """A note of the form ``label  text`` with its further lines under the text."""
    label = re.match(r"\S+(?: \S+)* {2,}", note)
    indent = " " * (label.end() if label else 0)
    lines = textwrap.wrap(note, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return lines or [note]


def _width() -> int:
    if os.environ.get("COLUMNS", "").isdigit() or sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    return 0
