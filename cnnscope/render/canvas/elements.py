"""Elements of SVG written by name, for pictures that set their own classes."""

from __future__ import annotations

from .markup import element, escape
from .shapes import Text


def rect(x: float, y: float, width: float, height: float, radius: float = 0, **attributes: object) -> str:
    return element("rect", "", x=x, y=y, width=width, height=height, rx=radius or None, **attributes)


def text(line: Text, **attributes: object) -> str:
    """A line of text. ``textLength`` keeps it in its place where a viewer has no font of Helvetica's widths."""
    return element(
        "text", escape(line.text), x=line.x, y=line.y, font_size=line.size,
        font_weight="bold" if line.bold else None, fill=line.ink or None,
        text_anchor=line.anchor if line.anchor != "start" else None,
        textLength=line.width if len(line.text) > 1 else None,
        lengthAdjust="spacingAndGlyphs" if len(line.text) > 1 else None, **attributes,
    )  # fmt: skip
