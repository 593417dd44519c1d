"""Which way data runs over the page, and how a layout that knows only *across* and *along* gets there.

All layout is done for data that runs down: across is x, along is y. Turned, across is y and along is x; backward, data
runs up, or to the left.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..canvas.shapes import Point
from .faces import Face

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Flow:
    """The direction of the data. sideways: along the page's x; backward: up, or to the left."""

    sideways: bool = False
    backward: bool = False

    def sizes(self, face: Face) -> tuple[float, float]:
        """How far a card's box reaches across and along."""
        return (face.height, face.width) if self.sideways else (face.width, face.height)

    def shadow(self, deep: float) -> Box:
        """Room across before and behind, along before and behind, for frames that look out to the upper right."""
        if self.sideways:
            return (deep, 0, deep, 0) if self.backward else (deep, 0, 0, deep)
        return (0, deep, 0, deep) if self.backward else (0, deep, deep, 0)

    @property
    def toward(self) -> Point:
        """The direction on the page."""
        step = -1.0 if self.backward else 1.0
        return (step, 0.0) if self.sideways else (0.0, step)


DOWN = Flow()


@dataclass(frozen=True)
class Place:
    """Where a column stands: its corner on the page, and how long it is."""

    flow: Flow
    x: float
    y: float
    long: float

    def point(self, across: float, along: float) -> Point:
        along = self.long - along if self.flow.backward else along
        return (self.x + along, self.y + across) if self.flow.sideways else (self.x + across, self.y + along)

    def box(self, across: float, along: float, wide: float, long: float) -> Box:
        """Left, top, width and height on the page."""
        start = self.point(across, along + long if self.flow.backward else along)
        return (*start, long, wide) if self.flow.sideways else (*start, wide, long)
