"""Memory over the operators of a run, drawn in characters for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from math import ceil
from typing import NamedTuple

from .canvas.metrics import clean
from .timelines import KINDS, Timeline, scale

_SHADES = (frozenset(("param", "parameter", "buffer", "constant")), frozenset(("gradient", "optimizer")))


class Signs(NamedTuple):
    """Characters to draw with. shades: weights, their companions, the rest; parts: an eighth to all of a cell."""

    shades: str
    parts: str
    tick: str
    wall: str
    corner: str
    floor: str
    border: str
    peak: str
    cut: str


BLOCKS = Signs("░▒█", "▁▂▃▄▅▆▇█", "┤", "│", "└", "─", "┴", "▼", "…")
ASCII = Signs(".:#", "____####", "+", "|", "+", "-", "+", "v", "~")


def chart(timeline: Timeline, width: int = 80, height: int = 15, *, signs: Signs = BLOCKS) -> str:
    """Bars for the bytes, an axis with round numbers, the peak marked and named, the phases under it; no ``lines``.

    Args:
        width: characters that no line exceeds, at least 40.
        height: rows of the bars, about.
        signs: ``BLOCKS``, or ``ASCII`` for an output that knows nothing else.
    """
    width = max(width, 40)
    largest = max(timeline.totals)
    ticks = scale(largest)
    margin = max(len(tick.text) for tick in ticks) + 2
    across = width - margin
    step = ticks[1].bytes
    each = max(2, round(height * step / max(largest, 1)))  # rows from one tick to the next
    rows = max(1, ceil(largest / step * each))
    lines = [_cut(timeline.title, width, signs), "", _summit(timeline, margin, across, signs)]
    for row, bar in zip(range(rows, 0, -1), _bars(timeline, across, rows, step / each, signs), strict=True):
        tick = ticks[row // each].text if row % each == 0 else ""
        lines.append(f"{tick:>{margin - 2}} {signs.tick if tick else signs.wall}{bar}")
    spans = timeline.spans(across)
    edges = {span.first for span in spans[1:]}
    floor = "".join(signs.border if column in edges else signs.floor for column in range(across))
    lines.append(f"{ticks[0].text:>{margin - 2}} {signs.corner}{floor}")
    if any(span.phase for span in spans):
        lines.append(" " * margin + _phases([(s.phase, (s.first + s.end) / 2) for s in spans], across, signs))
    return "\n".join(line.rstrip() for line in [*lines, *_legend(timeline, margin, width, signs)])


def _bars(timeline: Timeline, across: int, rows: int, each: float, signs: Signs) -> Iterator[str]:
    """The rows from the top; one stands for ``each`` bytes."""
    heights = []
    for op in timeline.columns(across):
        levels = [0, 0, 0]
        for kind, values in timeline.stack.items():
            levels[_shade(kind)] += values[op]
        heights.append([sum(levels[: shade + 1]) / each for shade in range(3)])
    for row in reversed(range(rows)):
        yield "".join(_cell(levels, row, signs) for levels in heights)


def _cell(levels: list[float], row: int, signs: Signs) -> str:
    """One column in one row; ``levels`` are the upper ends of the three shades, in rows."""
    total = levels[-1]
    eighths = round((total - row) * 8)
    if row == 0 and total > 0:
        eighths = max(eighths, 1)  # what is not zero never looks like it
    if eighths <= 0:
        return " "
    middle = min(row + 0.5, (row + total) / 2)
    shade = next((i for i, level in enumerate(levels) if middle <= level), 2)
    if shade == 2:
        return signs.parts[min(eighths, 8) - 1]
    return signs.shades[shade] if eighths >= 4 or row == 0 else " "


def _summit(timeline: Timeline, margin: int, across: int, signs: Signs) -> str:
    """The mark above the peak, its name on the side that has more room."""
    at = margin + timeline.column(timeline.top, across)
    right = margin + across - at - 2
    if right >= at - 1:
        return " " * at + signs.peak + " " + _cut(timeline.summit, right, signs)
    words = _cut(timeline.summit, at - 1, signs)
    return " " * (at - 1 - _columns(words)) + words + " " + signs.peak


def _phases(names: list[tuple[str, float]], across: int, signs: Signs) -> str:
    """Names under the middle of their phases, moved apart where they would touch."""
    room = max(1, (across - len(names) + 1) // len(names))
    short = [name if len(names) == 1 else _cut(name, max(room, 3), signs) for name, _ in names]
    starts: list[int] = []
    limit = across
    for name, (_, middle) in zip(reversed(short), reversed(names), strict=True):
        starts.insert(0, min(round(middle - _columns(name) / 2), limit - _columns(name)))
        limit = starts[0] - 1
    line = ""
    for name, start in zip(short, starts, strict=True):
        line += " " * max(start - _columns(line), 1 if line else 0) + name
    return _cut(line, across, signs)


def _legend(timeline: Timeline, margin: int, width: int, signs: Signs) -> list[str]:
    """Which kinds each shade stands for, the upper first."""
    named = []
    for shade in (2, 1, 0):
        kinds = [kind for kind in timeline.stack if _shade(kind) == shade]
        if kinds:
            named.append(f"{signs.shades[shade]} {', '.join(KINDS.get(kind, kind) for kind in reversed(kinds))}")
    lines: list[str] = []
    for words in named:
        longer = f"{lines[-1]}   {words}" if lines else " " * margin + words
        if lines and _columns(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(_cut(" " * margin + words, width, signs))
    return lines


def _shade(kind: str) -> int:
    return next((i for i, kinds in enumerate(_SHADES) if kind in kinds), 2)


def _columns(text: str) -> int:
    """Columns of a terminal that a text takes."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _cut(text: str, limit: int, signs: Signs) -> str:
    """The text on one line of at most so many columns; in ASCII what is not becomes a question mark."""
    text = clean(text)
    if signs is ASCII:
        text = text.encode("ascii", "replace").decode()
    if _columns(text) <= limit:
        return text
    while text and _columns(text) > limit - 1:
        text = text[:-1]
    return text + signs.cut if limit else ""
