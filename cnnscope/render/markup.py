"""A table as Markdown or HTML; every text in it is escaped."""

from __future__ import annotations

import html as html_
import re
from collections.abc import Sequence
from typing import Any

from ..table import Table
from . import cells
from .texts import summary

_STYLES = {
    "table": "border-collapse:collapse;font-variant-numeric:tabular-nums",
    "caption": "text-align:left;font-weight:bold",
    "left": "text-align:left;padding:1px 8px",
    "right": "text-align:right;padding:1px 8px",
}


def markdown(table: Table[Any], *, columns: Sequence[str] | None = None) -> str:
    """The table in GitHub's Markdown, its total in bold, the summary as a list.

    Raises:
        LookupError: a column does not exist.
    """
    from tabulate import tabulate

    shown = cells.shown(table, columns)
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
    heading = ", ".join(_inline(part) for part in (table.model, table.input, table.title) if part)
    below = [f"- {_inline(re.sub(' +', ' ', line))}" for line in [*summary(table), *table.notes]]
    return "\n".join([f"**{heading}**", "", body, *(["", *below] if below else []), ""])


def html(table: Table[Any], *, columns: Sequence[str] | None = None) -> str:
    """The table as one HTML fragment that needs no style sheet.

    Raises:
        LookupError: a column does not exist.
    """
    shown = cells.shown(table, columns)
    sides = [_STYLES["right" if column.right else "left"] for column in shown]

    def line(tag: str, texts: list[str]) -> str:
        inner = "".join(f'<{tag} style="{s}">{html_.escape(t)}</{tag}>' for s, t in zip(sides, texts, strict=True))
        return f"<tr>{inner}</tr>"

    rows = [line("td", [cells.cell(row, column) for column in shown]) for row in table.values()]
    total = [cells.total_cell(table, column) for column in shown] if cells.has_total(table, shown) else []
    heading = " · ".join(part for part in (table.model, table.input, table.title) if part)
    below = "<br>".join(html_.escape(line) for line in [*summary(table), *table.notes])
    return "\n".join(
        [
            f'<table class="cnnscope" style="{_STYLES["table"]}">',
            f'<caption style="{_STYLES["caption"]}">{html_.escape(heading)}</caption>',
            f"<thead>{line('th', [column.head() for column in shown])}</thead>",
            "<tbody>",
            *rows,
            "</tbody>",
            *([f"<tfoot>{line('th', total)}</tfoot>"] if total else []),
            "</table>",
            *([f"<p>{below}</p>"] if below else []),
        ]
    )


def _inline(text: str) -> str:
    """Text that Markdown shows as it is. ``_`` matters only where it does not stand between letters."""
    text = re.sub(r"([\\`*\[\]<&|~])", r"\\\1", text)
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)
    return " ".join(text.split())
