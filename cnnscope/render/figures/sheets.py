"""Sheets: every result is a stack of its maps, with the window that the next layer slides over them, as for LeNet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..canvas.shapes import INK, Box, Paint, Picture, Point, Shape, Text, line, polygon
from ..diagram.labels import number
from .captions import Caption, heading
from .stages import Stage

_LARGEST, _TALLEST = 156.0, 190.0
_MOST = 16  # sheets of one stack; the label has the true number
_EDGE, _WINDOW = "#4a5a72", "#b4530a"
_BAR, _SLANT, _BETWEEN = 17.0, 11.0, 74.0
_TINTS = {
    "input": ("#e3ebf5", "#d3e0ef"), "convolution": ("#dfe9f5", "#cfdff0"), "pooling": ("#f6dedd", "#f0cccb"),
    "block": ("#dff0e3", "#cce6d2"), "other": ("#eceef1", "#dfe3e8"), "vector": ("#e6ddf5", "#e6ddf5"),
}  # fmt: skip
_WORDS = {"convolution": "Convolution", "pooling": "Pooling", "vector": "Full connection", "block": "Block"}


@dataclass
class _Stack:
    """A stage in its place. left, right, top, bottom: of all of it; front: upper left corner and side of its front."""

    stage: Stage
    left: float
    right: float
    top: float
    bottom: float
    front: tuple[float, float, float, float]


def sheets(stages: Sequence[Stage], title: str, facts: str) -> Picture:
    """The figure of a chain of stages."""
    return _Figure(stages).picture(title, facts)


class _Figure:
    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = stages
        self.largest = max(max(stage.size) for stage in stages)
        self.longest = max((stage.channels for stage in stages if stage.flat), default=1)
        deepest = max(self._extent(stage)[1] for stage in stages)
        self.axis = 112 + deepest / 2
        self.foot = self.axis + deepest / 2 + 34

    def picture(self, title: str, facts: str) -> Picture:
        captions = [_caption(stage) for stage in self.stages[1:]]
        stacks, words = self._placed(captions)
        parts: list[Shape] = []
        for stack in stacks:
            parts += self._bar(stack) if stack.stage.flat else _sheets(stack)
            parts.append(_label(stack))
        for before, after in pairwise(stacks):
            parts += _between(before, after)
        heads = heading(title, facts)
        right = max(stacks[-1].right, *(text.left + text.width for text in [*words, *heads])) + 40
        kept = frozenset(tint for tints in _TINTS.values() for tint in tints) | {_EDGE, _WINDOW}
        return Picture(right, self.foot + 50, [*heads, *parts, *words], title, f"Sheets of {title}: {facts}", kept=kept)

    def _placed(self, captions: Sequence[Caption]) -> tuple[list[_Stack], list[Text]]:
        """The stacks from left to right; a caption stands between the two stages that its layer joins."""
        stacks: list[_Stack] = []
        words: list[Text] = []
        x, free = 44.0, 12.0
        for i, stage in enumerate(self.stages):
            wide, high = self._extent(stage)
            if i:
                caption = captions[i - 1]
                # The caption's middle is halfway between the stacks; it must not touch the one before it.
                x = max(x, 2 * (free + caption.width / 2) - stacks[-1].right)
                middle = (stacks[-1].right + x) / 2
                words += caption.shapes(middle, self.foot)
                free = middle + caption.width / 2 + 16
            stacks.append(self._stack(stage, x, wide, high))
            x += wide + _BETWEEN
        return stacks, words

    def _extent(self, stage: Stage) -> tuple[float, float]:
        """Width and height of all sheets of a stage, or of its bar."""
        if stage.flat:
            return _BAR, max(_TALLEST * (stage.channels / self.longest) ** 0.4, 24.0) + _SLANT
        spread = _step(stage) * (_count(stage) - 1)
        return self._side(stage.size[1]) + spread, self._side(stage.size[0]) + spread

    def _side(self, size: int) -> float:
        return max(_LARGEST * (size / self.largest) ** 0.7, 12.0)

    def _stack(self, stage: Stage, x: float, wide: float, high: float) -> _Stack:
        top, spread = self.axis - high / 2, 0.0 if stage.flat else _step(stage) * (_count(stage) - 1)
        front = (x + spread, top + spread, wide - spread, high - spread)
        return _Stack(stage, x, x + wide, top, top + high, front)

    def _bar(self, stack: _Stack) -> list[Shape]:
        """A vector: a standing bar, seen from the side."""
        x, right, top, low = stack.left, stack.right, stack.top, stack.bottom
        points = [(x, top + _SLANT), (right, top), (right, low - _SLANT), (x, low)]
        return [polygon(points, Paint(_TINTS["vector"][0], _EDGE, 0.9))]


def _count(stage: Stage) -> int:
    return min(stage.channels, _MOST)


def _step(stage: Stage) -> float:
    return 9.0 - 0.25 * _count(stage)


def _sheets(stack: _Stack) -> list[Shape]:
    """From the last one at the upper left to the first one in front."""
    count, step = _count(stack.stage), _step(stack.stage)
    _, _, wide, high = stack.front
    tints = _TINTS[stack.stage.kind]
    # The one in front has the stronger tint, and so has every other one behind it.
    paints = [Paint(tints[1 - (count - 1 - i) % 2], _EDGE, 0.9) for i in range(count)]
    return [Box(stack.left + i * step, stack.top + i * step, wide, high, paints[i]) for i in range(count)]


def _label(stack: _Stack) -> Text:
    stage = stack.stage
    tall, broad = stage.size
    words = str(stage.channels) if stage.flat else f"{stage.channels} @ {tall}×{broad}"
    return Text((stack.left + stack.right) / 2, stack.top - 10, words, 11.5, INK, anchor="middle")


def _between(before: _Stack, after: _Stack) -> list[Shape]:
    """A window and where it leads to, or the outline of a full connection."""
    if after.stage.flat:
        return _funnel(before, after)
    target = _on(after, 0.32, 0.52)
    if after.stage.kernel is None:
        y = (before.front[1] + before.front[3] / 2 + target[1]) / 2
        return [
            line([(before.right + 4, y), (after.left - 6, y)], Paint("none", _WINDOW, 1.1)),
            *_tip(after.left - 6, y),
        ]
    x, y, wide, high = before.front
    tall, broad = before.stage.size
    rows, columns = after.stage.kernel
    high_, wide_ = max(high * min(rows / tall, 1), 5.0), max(wide * min(columns / broad, 1), 5.0)
    left, top = x + (wide - wide_) * 0.66, y + (high - high_) * 0.5
    right = left + wide_
    paint = Paint("none", _WINDOW, 1.1)
    return [
        Box(left, top, wide_, high_, Paint("none", _WINDOW, 1.4)),
        line([(right, top), target], paint),
        line([(right, top + high_), target], paint),
        Box(target[0] - 2.5, target[1] - 2.5, 5, 5, Paint(_WINDOW)),
    ]


def _funnel(before: _Stack, after: _Stack) -> list[Shape]:
    paint = Paint("none", _EDGE, 0.8)
    top = before.top if before.stage.flat else before.front[1]
    low = before.bottom - (_SLANT if before.stage.flat else 0)
    return [
        line([(before.right, top), (after.left, after.top + _SLANT)], paint),
        line([(before.right, low), (after.left, after.bottom)], paint),
    ]


def _on(stack: _Stack, across: float, down: float) -> Point:
    x, y, wide, high = stack.front
    return x + wide * across, y + high * down


def _tip(x: float, y: float) -> list[Shape]:
    return [polygon([(x - 1, y - 3), (x + 6, y), (x - 1, y + 3)], Paint(_WINDOW))]


def _caption(stage: Stage) -> Caption:
    """``Convolution``, ``5×5 · Tanh``, ``156 params``."""
    words = _WORDS.get(stage.kind, stage.title)
    if stage.kind == "convolution" and stage.flat:
        words = _WORDS["vector"]
    if stage.kind == "other":
        words = stage.title
    window = stage.title.split(" ", 1)[1] if stage.kernel and " " in stage.title else ""
    what = stage.title if stage.kind == "block" else window
    line_ = " · ".join(each for each in (what, stage.activation) if each)
    return Caption(
        words, [*([line_] if line_ else []), f"{number(stage.params)} params" if stage.params else "no params"]
    )
