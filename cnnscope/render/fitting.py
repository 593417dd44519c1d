"""What a line of so many characters has room for: which columns stay, how wide they are, and how cells are wrapped.

The stated order: the row's name and the columns of rank 0 stay always. The others come as far as there is room, first
those with a rank, the lowest first, then the first two numbers, the first shape, texts, the other numbers, the other
shapes, each in the order of the table. What does not fit is left out; what comes after it may still fit.

Text that must stay and has no room is wrapped, and so is text with a rank; numbers and shapes never are.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from .cells import Column

GAP = 2
_NARROW, _NARROWEST = 14, 6
_PIECE = re.compile(r"\s+|\S+?(?:[/_:>-]+|(?<!\d)[.,]+|[.,]+(?!\d))|\S+")  # names break behind a dot, numbers do not


def fitted(
    shown: Sequence[Column], grid: Sequence[Sequence[str]], limit: int, wanted: Collection[str] = ()
) -> dict[int, int]:
    """The places of the columns that stay, with their widths.

    grid: the cells, row by row; limit: characters in a line, 0 for any number; wanted: names of columns that stay
    whatever their rank.
    """
    titles = [max(len(column.title), len(column.prefix)) for column in shown]
    natural = [max([title, *(len(row[i]) for row in grid)]) for i, title in enumerate(titles)]
    if not limit:
        return dict(enumerate(natural))
    keys = [i for i, column in enumerate(shown) if not i or column.rank == 0 or column.name in wanted]
    widths = {i: natural[i] for i in keys}
    room = limit + GAP - sum(width + GAP for width in widths.values())
    if room < 0:
        lengths = {i: [titles[i], *(len(row[i]) for row in grid)] for i in keys if _wraps(shown[i])}
        return shrunk(widths, lengths, limit)
    for i in _order(shown, keys):
        least = min(natural[i], max(_NARROW, titles[i])) if shown[i].rank is not None else natural[i]
        width = natural[i] if natural[i] + GAP <= room else least if _wraps(shown[i]) else natural[i]
        if width + GAP <= room:
            widths[i] = width
            room -= width + GAP
    for i in sorted(widths):
        more = min(room, natural[i] - widths[i])
        widths[i] += more
        room -= more
    return dict(sorted(widths.items()))


def shrunk(widths: Mapping[int, int], lengths: Mapping[int, Sequence[int]], limit: int) -> dict[int, int]:
    """The same columns in a line of ``limit`` characters, as far as the texts among them can be wrapped.

    lengths: of the cells of each text, its title first. What adds the fewest lines is made narrower first.
    """
    found = dict(widths)

    def worth(i: int) -> tuple[int, int]:
        return sum(-(-length // (found[i] - 1)) - -(-length // found[i]) for length in lengths[i]), -found[i]

    for narrow in (_NARROW, _NARROWEST):
        while sum(found.values()) + GAP * (len(found) - 1) > limit:
            wide = [i for i, cells in lengths.items() if found[i] > max(narrow, cells[0])]
            if not wide:
                break
            found[min(wide, key=worth)] -= 1
    return dict(sorted(found.items()))


def wrapped(text: str, width: int, indent: int = 0) -> list[str]:
    """The text in lines of at most ``width`` characters, the later ones indented; names are broken behind a dot.

    A piece without a place to break is cut where the line ends.
    """
    if len(text) <= width:
        return [text]
    lines, line = [], ""
    for piece in _PIECE.findall(text):
        if len(line) + len(piece.rstrip()) > width and line.strip():
            lines.append(line.rstrip())
            line = " " * indent
        if not piece.isspace() or line.strip():
            line += piece
        while len(line.rstrip()) > width:
            lines.append(line[:width])
            line = " " * indent + line[width:]
    return [*lines, line.rstrip()] if line.strip() else lines


def _wraps(column: Column) -> bool:
    return column.unit == "text"


def _order(shown: Sequence[Column], keys: Collection[int]) -> list[int]:
    """The columns that may go, those that go last first."""
    places = [i for i in range(len(shown)) if i not in keys]
    ranked = sorted((i for i in places if shown[i].rank is not None), key=lambda i: shown[i].rank or 0)
    every = [i for i in range(1, len(shown)) if shown[i].right]
    numbers = [i for i in places if shown[i].right]
    first = [i for i in numbers if i in every[:2]]
    shapes = [i for i in places if shown[i].unit == "shape"]
    texts = [i for i in places if i not in numbers and i not in shapes]
    plain = [*first, *shapes[:1], *texts, *(i for i in numbers if i not in first), *shapes[1:]]
    return [*ranked, *(i for i in plain if i not in ranked)]
