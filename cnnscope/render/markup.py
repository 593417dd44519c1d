"""A table as Markdown or HTML; every text in it is escaped."""

from __future__ import annotations

import html as html_
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..graph import ModelGraph
from ..table import Table
from . import cells
from .texts import heading, summary

# The same for every table of a page, so that many of them do not disturb one another.
_STYLE = (
    "<style>.cnnscope{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    ".cnnscope caption,.cnnscope th,.cnnscope td{text-align:left;padding:1px 8px}"
    ".cnnscope .number{text-align:right}</style>"
)


def markdown(
    table: Table[Any] | ModelGraph, *, columns: Sequence[str] | None = None, titles: Mapping[str, str] | None = None
) -> str:
    """The table in GitHub's Markdown, its total in bold, the summary as a list.

    Raises:
        UnknownColumn: a column does not exist.
    """
    table = cells.tabular(table)
    from tabulate import tabulate

    shown = cells.shown(table, columns, titles)
    grid = [[_inline(cells.cell(row, column)) for column in shown] for row in table.values()]
    if cells.has_total(table, shown):
        last = [_inline(cells.total_cell(table, column)) for column in shown]
        grid.append([f"**{text}**" if text else "" for text in last])
    body = tabulate(
        grid,
        headers=[_inline(column.head()) for column in shown],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["right" if column.right else "left" for column in shown] if grid else None,
    )
    below = [f"- {_inline(re.sub(' +', ' ', cells.visible(line)))}" for line in [*summary(table), *table.notes]]
    return "\n".join([f"**{_inline(heading(table))}**", "", body, *(["", *below] if below else []), ""])


def html(
    table: Table[Any] | ModelGraph, *, columns: Sequence[str] | None = None, titles: Mapping[str, str] | None = None
) -> str:
    """The table as one HTML fragment that needs no style sheet.

    Raises:
        UnknownColumn: a column does not exist.
    """
    table = cells.tabular(table)
    shown = cells.shown(table, columns, titles)

    def line(tag: str, texts: list[str]) -> str:
        marks = [' class="number"' if column.right else "" for column in shown]
        return "".join(f"<{tag}{m}>{html_.escape(t)}</{tag}>" for m, t in zip(marks, texts, strict=True))

    rows = [f"<tr>{line('td', [cells.cell(row, column) for column in shown])}</tr>" for row in table.values()]
    total = [cells.total_cell(table, column) for column in shown] if cells.has_total(table, shown) else []
    foot = f"<tfoot><tr>{line('th', total)}</tr></tfoot>" if total else ""
    below = "<br>".join(html_.escape(cells.visible(line)) for line in [*summary(table), *table.notes])
    return "\n".join(
        [
            f'{_STYLE}<table class="cnnscope"><caption>{html_.escape(heading(table))}</caption>',
            f"<thead><tr>{line('th', [column.head() for column in shown])}</tr></thead><tbody>",
            *rows,
            f"</tbody>{foot}</table>",
            *([f"<p>{below}</p>"] if below else []),
        ]
    )


def _inline(text: str) -> str:
    """Text that Markdown shows as it is. ``_`` matters only where it does not stand between letters."""
    text = re.sub(r"([\\`*\[\]<&|~])", r"\\\1", text)
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)
    return " ".join(text.split())
