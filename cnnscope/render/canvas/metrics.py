"""How wide a text is, so that every label fits the card it stands on.

The widths are those of Helvetica, which Arial and Liberation Sans share: thousandths of the font size.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"

_REGULAR = (
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556,
    556, 556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667,
    556, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556, 333, 556,
    556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722,
    500, 500, 500, 334, 260, 334, 584,
)  # fmt: skip
_BOLD = (
    278, 333, 474, 556, 556, 889, 722, 238, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556,
    556, 556, 556, 556, 333, 333, 584, 584, 584, 611, 975, 722, 722, 722, 722, 667, 611, 778, 722, 278, 556, 722,
    611, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 333, 278, 333, 584, 556, 333, 556,
    611, 556, 611, 556, 333, 611, 611, 278, 278, 556, 278, 889, 611, 611, 611, 611, 389, 556, 333, 611, 556, 778,
    556, 556, 500, 389, 280, 389, 584,
)  # fmt: skip
_SIGNS = {"×": 584, "·": 278, "–": 556, "…": 1000, "−": 584, "≥": 549, "→": 1000, "²": 333, "÷": 549, "µ": 576}
_UNKNOWN = 800  # wider than most Latin letters: a card too wide is no harm
_WIDE = 1100  # East Asian wide and fullwidth


@lru_cache(1 << 14)
def width(text: str, size: float, *, bold: bool = False) -> float:
    """Width of one line of text in pixels at a font size in pixels."""
    table = _BOLD if bold else _REGULAR
    units = 0
    for char in text:
        code = ord(char) - 32
        units += table[code] if 0 <= code < 95 else _rare(char)
    return units * size / 1000


def clean(text: str) -> str:
    """The text without what no label may hold: line breaks, control characters, signs that turn the direction."""
    if text.isprintable():
        return text
    return "".join(" " if char in "\n\r\t" else char for char in text if char in "\n\r\t" or _printable(char))


def fit(text: str, size: float, limit: float, *, bold: bool = False) -> str:
    """The text on one line, cut with an ellipsis when it is wider than ``limit`` pixels."""
    text = clean(text)
    if width(text, size, bold=bold) <= limit:
        return text
    room = limit - width("…", size, bold=bold)
    kept = 0
    for kept, char in enumerate(text):  # noqa: B007 - the position reached is what is wanted
        room -= width(char, size, bold=bold)
        if room < 0:
            break
    return text[:kept] + "…"


def _printable(char: str) -> bool:
    return char >= " " and unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _rare(char: str) -> int:
    if char in _SIGNS:
        return _SIGNS[char]
    return _WIDE if unicodedata.east_asian_width(char) in "WF" else _UNKNOWN
