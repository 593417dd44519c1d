"""Which stretch of one input axis each element of a tensor sees: exact arithmetic on whole numbers.

The element at index (i, j, ...) of a tensor sees the places ``low + Σ low_d(i_d)`` to ``high + Σ high_d(i_d)`` of the
axis: a ``Window`` that moves along each dimension d in its own way, a ``Motion``. What the tensor as a whole sees is a
tuple of Windows, the hull of which is meant: two branches become one Window where that is exact, and stay two where it
is not. No Window: it sees nothing of the axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, reduce
from typing import NamedTuple

from ..graph import Shape
from .motions import NOWHERE, Motion, Place, Placed, Reads, merged, normal, reread, splits, still

LIMIT = 16  # Windows of one tensor; beyond that the field is unknown


class Undecided(Exception):
    """There is no exact answer: the field is unknown."""


class Window(NamedTuple):
    """A stretch ``low`` to ``high`` (both included) that moves along each dimension of a tensor."""

    low: Place
    high: Place
    motions: tuple[Motion, ...]

    def at(self, index: Sequence[int]) -> tuple[Place, Place]:
        """What the element at the index sees, from and to."""
        parts = [motion.at(i) for motion, i in zip(self.motions, index, strict=True)]
        return self.low + sum(low for low, _ in parts), self.high + sum(high for _, high in parts)

    @property
    def still(self) -> bool:
        return all(motion.still for motion in self.motions)


Windows = tuple[Window, ...]


def regroup(window: Window, shape: Sequence[int]) -> Windows:
    """The same elements in the same order under another shape."""
    if window.still or 0 in shape:
        return (Window(window.low, window.high, tuple(map(still, shape))),)
    found = [Window(window.low, window.high, ())]
    motions, sizes = list(window.motions), list(shape)
    while motions or sizes:
        merge = [motions.pop(0)] if motions else [still(1)]
        split = [sizes.pop(0)] if sizes else []
        while (before := math.prod(m.size for m in merge)) != (after := math.prod(split)):
            if before < after:
                merge.append(motions.pop(0))
            else:
                split.append(sizes.pop(0))
        options = splits(reduce(merged, merge), split)
        found = [Window(w.low + a, w.high + b, w.motions + ms) for w in found for a, b, ms in options]
        if len(found) > LIMIT:
            raise Undecided
    return tuple(found)


def placed(window: Window, dim: int, how: Placed | None) -> Windows:
    """The Window with another motion along one dimension."""
    if how is None:
        return ()
    motion, low, high = how
    return (Window(window.low + low, window.high + high, (*window.motions[:dim], motion, *window.motions[dim + 1 :])),)


def widened(window: Window, dims: Iterable[int]) -> Window:
    """What the indices along these dimensions see together, at every one of them."""
    low, high, motions = window.low, window.high, list(window.motions)
    for dim in dims:
        if not motions[dim].still:
            below, above = motions[dim].span()
            low, high, motions[dim] = low + below, high + above, still(motions[dim].size)
    return Window(low, high, tuple(motions))


def resized(window: Window, sizes: dict[int, int]) -> Window:
    """Other sizes along dimensions in which nothing moves."""
    return window._replace(motions=tuple(still(sizes[d]) if d in sizes else m for d, m in enumerate(window.motions)))


def broadcast(window: Window, shape: Shape) -> Window:
    lacking = len(shape) - len(window.motions)
    pairs = list(zip(window.motions, shape[lacking:], strict=True))
    if any(m.size not in (1, n) and not m.still for m, n in pairs):
        raise Undecided
    return window._replace(motions=(*map(still, shape[:lacking]), *(m if m.size == n else still(n) for m, n in pairs)))


def everywhere(windows: Iterable[Windows], shape: Shape) -> Iterator[Window]:
    """What whole tensors see, at every element of the shape."""
    for window in (window for each_ in windows for window in each_):
        wide = widened(window, range(len(window.motions)))
        yield Window(wide.low, wide.high, tuple(map(still, shape)))


def union(windows: Iterable[Window]) -> Windows:
    """The hull of all: as few Windows as can be had exactly."""
    kept: list[Window] = []
    waiting = list(windows)
    while waiting:
        window = waiting.pop(0)
        for other in kept:
            both = _united(window, other)
            if both is not None:
                kept.remove(other)
                waiting.insert(0, both)
                break
        else:
            kept.append(window)
        if len(kept) > LIMIT:
            raise Undecided
    return tuple(kept)


def _united(one: Window, two: Window) -> Window | None:
    """The hull of two Windows as one, if they differ along one dimension at most or one lies in the other."""
    differing = [d for d, (a, b) in enumerate(zip(one.motions, two.motions, strict=True)) if a != b]
    if not differing:
        return Window(min(one.low, two.low), max(one.high, two.high), one.motions)
    for a, b in ((one, two), (two, one)):
        wide = widened(b, range(len(b.motions))) if a.still else b
        if a.still and a.low <= wide.low and a.high >= wide.high:
            return a
    if len(differing) > 1:
        return None
    (dim,) = differing
    base = Window(0, 0, one.motions)
    return next(iter(placed(base, dim, _hull(one, two, dim))), None)


def _hull(one: Window, two: Window, dim: int) -> Placed | None:
    a, b = one.motions[dim], two.motions[dim]
    count, advance = a.size, None
    if a.advance is not None and b.advance is not None and a.advance * len(b.lows) == b.advance * len(a.lows):
        count = math.lcm(len(a.lows), len(b.lows))
        advance = a.advance * (count // len(a.lows))
    pairs = list(zip(a.entries(count), b.entries(count), strict=True))
    lows = [min(one.low + x[0], two.low + y[0]) for x, y in pairs]
    highs = [max(one.high + x[1], two.high + y[1]) for x, y in pairs]
    return normal(a.size, advance, lows, highs)


Step = Callable[[Window], Iterable[Window]]


def each(windows: Windows, step: Step) -> Windows:
    """Every Window through a step, and the hull of what comes out."""
    return union([result for window in windows for result in step(window)])


def read(windows: Windows, reads: dict[int, Reads]) -> Windows:
    """Through an operator that reads along some dimensions."""
    for dim, how in reads.items():
        windows = each(windows, lambda w, dim=dim, how=how: placed(w, dim, reread(w.motions[dim], how)))  # type: ignore[misc]
    return windows


@lru_cache(maxsize=64)
def size_and_start(windows: Windows) -> tuple[int, int | None]:
    """The widest stretch that an element sees, and where that of the first element begins (None: it sees nothing)."""
    # The hull's high is that of some Window, and its low that of some Window.
    widths = [a.high - b.low + 1 + sum(map(_widest, a.motions, b.motions)) for a in windows for b in windows]
    start = min(w.at((0,) * len(w.motions))[0] for w in windows)
    return int(max(widths)), None if start == NOWHERE else int(start)


def _widest(a: Motion, b: Motion) -> Place:
    if not a.size:
        return 0  # an empty dimension (a batch of nothing) sees nothing more
    if a == b:
        return max(high - low for low, high in zip(a.lows[: a.size], a.highs, strict=False))
    return max(x[1] - y[0] for x, y in zip(a.entries(a.size), b.entries(a.size), strict=True))
