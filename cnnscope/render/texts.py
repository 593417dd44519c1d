"""A table as plain text for a terminal, a file or a pipe."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ..graph import ModelGraph
from ..table import Table
from . import cells
from .cells import Column
from .fitting import GAP, fitted, wrapped

_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"


def text(
    table: Table[Any] | ModelGraph,
    *,
    columns: Sequence[str] | None = None,
    keep: Sequence[str] = (),
    width: int | None = None,
    color: bool = False,
    titles: Mapping[str, str] | None = None,
) -> str:
    """The table with its total, and a summary under it.

    Args:
        columns: names or titles of the columns to show behind the row's name; by default those that are not hidden.
        keep: columns that are shown in any case, also hidden ones.
        width: how many characters a line may have. Columns that do not fit are left out, in the order that ``fitting``
            states, and named under the table; the cells of those that may not be left out are wrapped. 0 is no limit;
            None is ``COLUMNS``, else the terminal's width, and no limit in a pipe.
        color: bold for the largest number of each column and for what makes a tenth of its total.
        titles: other titles for columns, by field name.

    Raises:
        UnknownColumn: a column does not exist.
    """
    table = cells.tabular(table)
    every = _chosen(table, columns, keep, titles)
    shown = [column for column in every if not _is_prose(table, column)]
    limit = terminal_width() if width is None else width
    grid = [[_shortened(text, limit) for text in line] for line in _grid(table, shown)]
    names = [each.name for each in shown] if columns is not None else [cells.find(table.row_type, n).name for n in keep]
    widths = fitted(shown, grid, limit, names)
    lines = _Lines(table, [shown[i] for i in widths], list(widths.values()), color)
    drawn = lines.all([[line[i] for i in widths] for line in grid])
    hidden = [column.title for i, column in enumerate(shown) if i not in widths]
    if hidden:
        drawn += ["", *_listed("hidden for width:", hidden, limit)]
    prose = [column for column in every if column not in shown]
    below = [
        line
        for note in [*_prose(table, prose, limit), *summary(table), *table.notes]
        for line in _wrapped(cells.visible(note), limit or 100)
    ]
    words = _shortened(heading(table), 3 * limit)
    head = wrapped(words, limit) if limit else [words]
    return "\n".join([*head, "", *drawn, *(["", *below] if below else [])])


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
        layers = "layer" if total.depth == 1 else "layers"
        facts.append(("depth", f"{total.depth} {layers} with weights on the longest path"))
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
    """Sentences do not stand in a column but under the table, unless the column has a rank: then it is wrapped."""
    if column.unit != "text" or column.name == "name" or column.rank is not None:
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


def _chosen(
    table: Table[Any], columns: Sequence[str] | None, keep: Sequence[str], titles: Mapping[str, str] | None
) -> list[Column]:
    """The columns to show, with those to keep behind them where they are not among them."""
    every = cells.shown(table, columns, titles)
    more = cells.shown(table, keep, titles) if keep else []
    return [*every, *(column for column in more if column.name not in {each.name for each in every})]


class _Lines:
    """The lines of a table whose columns have these widths."""

    def __init__(self, table: Table[Any], shown: list[Column], widths: list[int], color: bool) -> None:
        self.table, self.shown, self.widths, self.color = table, shown, widths, color

    def all(self, grid: list[list[str]]) -> list[str]:
        """Head, rule, rows, rule, total."""
        heads = [[column.title for column in self.shown], [column.prefix for column in self.shown]]
        if not any(heads[1]):
            heads.pop()
        rule = (" " * GAP).join("-" * width for width in self.widths)
        body = [self._line(line) for line in grid]
        if self.color:
            least = [_heavy(self.table, column) for column in self.shown]
            for i, row in enumerate(self.table.values()):
                values = [getattr(row, column.name) for column in self.shown]
                strong = [bool(v) and limit is not None and v >= limit for v, limit in zip(values, least, strict=True)]
                body[i] = self._line(grid[i], [any(strong), *strong[1:]])
        if cells.has_total(self.table, self.shown):
            body.insert(-1, [rule])
        return [
            *(line for head in heads for line in self._line(head)),
            rule,
            *(line for lines in body for line in lines),
        ]

    def _line(self, texts: list[str], strong: Sequence[bool] = ()) -> list[str]:
        """A row, on as many lines as its longest cell takes."""
        parts = [
            wrapped(text, width, 2 * (i == 0)) for i, (text, width) in enumerate(zip(texts, self.widths, strict=True))
        ]
        lines = []
        for k in range(max(map(len, parts))):
            pieces = [part[k] if k < len(part) else "" for part in parts]
            lines.append(self._joined(pieces, strong))
        return lines

    def _joined(self, pieces: list[str], strong: Sequence[bool]) -> str:
        cells_ = zip(pieces, self.shown, self.widths, strict=True)
        padded = [text.rjust(width) if column.right else text.ljust(width) for text, column, width in cells_]
        if any(strong):
            padded = [
                f"{_BOLD}{t}{_PLAIN}" if bold and t.strip() else t for t, bold in zip(padded, strong, strict=True)
            ]
        return (" " * GAP).join(padded).rstrip()


def _heavy(table: Table[Any], column: Column) -> float | None:
    """From which value on a cell is heavy: a tenth of the total, or the largest of the column where none reaches it."""
    total = getattr(table.total, column.name)
    if column.field.metadata["fold"] != "sum" or not total:
        return None
    known = [value for row in table.values() if (value := getattr(row, column.name)) is not None]
    return min(total / 10, max(known, default=0))


def _wrapped(note: str, width: int) -> list[str]:
    """A note of the form ``label  text`` with its further lines under the text."""
    label = re.match(r"\S+(?: \S+)* {2,}", note)
    indent = " " * (label.end() if label else 0)
    lines = textwrap.wrap(note, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return lines or [note]


def _listed(label: str, names: Sequence[str], width: int) -> list[str]:
    """The label and the names, on as many lines as it takes; no name is broken."""
    lines = [label]
    for i, name in enumerate(names):
        word = f" {name}{',' * (i < len(names) - 1)}"
        if len(lines[-1]) + len(word) > width and i:
            lines.append(" ")
        lines[-1] += word
    return lines


def terminal_width() -> int:
    """``COLUMNS``, else the terminal's width; 0 in a pipe."""
    if os.environ.get("COLUMNS", "").isdigit() or sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    return 0
