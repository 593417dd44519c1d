"""A picture as SVG: one file with no style sheet but for the night, no font and no link."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil

from .markup import escape, num, short
from .metrics import FONT
from .night import night
from .shapes import Box, Disc, Group, Paint, Path, Picture, Point, Shape, Step, Text


def svg(picture: Picture, prefix: str, *, dark: bool = False) -> str:
    """The whole file. Every id begins with ``prefix``, so that pictures on one page do not clash.

    dark: where a viewer asks for dark colours (``prefers-color-scheme``), it gets them.
    """
    # Whole numbers, so that a picture in pixels has no half-transparent edge.
    wide, high, name = ceil(picture.width), ceil(picture.height), escape(prefix)
    body = [
        f'<title id="{name}-title">{escape(short(picture.title))}</title>',
        f'<desc id="{name}-desc">{escape(short(picture.description))}</desc>',
        _box(Box(0, 0, wide, high, Paint(picture.ground))),
        *(_drawn(part, prefix) for part in picture.parts),
    ]
    if dark:
        body.insert(2, _style(picture, prefix))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" id="{name}-picture" width="{wide}" height="{high}" '
        f'viewBox="0 0 {wide} {high}" role="img" font-family="{escape(FONT)}" '
        f'aria-labelledby="{name}-title {name}-desc">'
    )
    return "\n".join([head, *(each for each in body if each), "</svg>"])


def _style(picture: Picture, prefix: str) -> str:
    """Rules that exchange each colour that occurs, for this picture alone."""
    fills, strokes = {picture.ground}, set[str]()
    for shape in _all(picture.parts):
        if isinstance(shape, Text):
            fills.add(shape.ink)
        else:
            fills.add(shape.paint.fill or "")
            strokes.add(shape.paint.stroke or "")
    place = "".join(letter if letter.isalnum() else f"\\{ord(letter):x} " for letter in f"{prefix}-picture")
    rules = [
        f'#{place} [{name}="{colour}"]{{{name}:{night(colour)}}}'
        for name, used in (("fill", fills), ("stroke", strokes))
        for colour in sorted(used - picture.kept)
        if colour.startswith("#")
    ]
    return f"<style>@media (prefers-color-scheme:dark){{{''.join(rules)}}}</style>"


def _all(parts: Sequence[Shape]) -> Iterator[Shape]:
    for part in parts:
        yield part
        if isinstance(part, Group):
            yield from _all(part.parts)


def _drawn(shape: Shape, prefix: str) -> str:
    if isinstance(shape, Text):
        return _text(shape)
    if isinstance(shape, Box):
        return _box(shape)
    if isinstance(shape, Path):
        return _path(shape)
    if isinstance(shape, Disc):
        return f'<circle cx="{num(shape.x)}" cy="{num(shape.y)}" r="{num(shape.radius)}"{_paint(shape.paint)}/>'
    inner = [_drawn(part, prefix) for part in shape.parts]
    if not inner:
        return ""
    break_ = "" if shape.id else "\n"  # a card is one line of the file
    name = f' id="{escape(prefix)}-{escape(shape.id)}"' if shape.id else ""
    head = f"<g{name}{_data(shape.data)}{_paint(shape.paint)}>{_note(shape.note)}"
    return break_.join([head, *inner, "</g>"])


def _text(line: Text) -> str:
    """``textLength`` keeps it in its place where a viewer has no font of Helvetica's widths."""
    parts = [f'<text x="{num(line.x)}" y="{num(line.y)}" font-size="{num(line.size)}" fill="{line.ink}"']
    if line.bold:
        parts.append(' font-weight="bold"')
    if line.anchor != "start":
        parts.append(f' text-anchor="{line.anchor}"')
    if line.turned:
        parts.append(f' transform="rotate({num(line.turned)} {num(line.x)} {num(line.y)})"')
    if len(line.text) > 1:
        parts.append(f' textLength="{num(line.width)}" lengthAdjust="spacingAndGlyphs"')
    return f"{''.join(parts)}>{escape(line.text)}</text>"


def _box(box: Box) -> str:
    place = f'x="{num(box.x)}" y="{num(box.y)}" width="{num(box.width)}" height="{num(box.height)}"'
    round_ = f' rx="{num(box.radius)}"' if box.radius else ""
    return f"<rect {place}{round_}{_paint(box.paint)}/>"


def _path(path: Path) -> str:
    head = f'<path{_data(path.data)} d="{_way(path.steps)}"{_paint(path.paint)}'
    return f"{head}>{_note(path.note)}</path>" if path.note else f"{head}/>"


def _way(steps: Sequence[Step]) -> str:
    parts, here = [], (0.0, 0.0)
    for letter, points in steps:
        parts.append(_step((letter, points), here))
        here = points[-1] if points else here
    return "".join(parts)


def _step(step: Step, here: Point) -> str:
    letter, points = step
    if letter == "L":
        (x, y) = points[0]
        if abs(x - here[0]) < 0.005:
            return f"V{num(y)}"
        if abs(y - here[1]) < 0.005:
            return f"H{num(x)}"
    return letter + " ".join(f"{num(x)} {num(y)}" for x, y in points)


def _paint(paint: Paint) -> str:
    fill = f' fill="{paint.fill}"' if paint.fill else ""
    stroke = f' stroke="{paint.stroke}"' if paint.stroke else ""
    line = f' stroke-width="{num(paint.line)}"' if paint.line is not None else ""
    dash = f' stroke-dasharray="{paint.dash}"' if paint.dash else ""
    return f"{fill}{stroke}{line}{dash}"


def _data(data: Mapping[str, str]) -> str:
    return "".join(f' data-{name}="{escape(text)}"' for name, text in data.items())


def _note(text: str) -> str:
    return f"<title>{escape(short(text))}</title>" if text else ""
