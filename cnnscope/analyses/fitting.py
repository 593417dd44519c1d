"""The largest batch that fits into a budget, and the peak over the batch size: from two traces, no third."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

from ..graph import ModelGraph
from ..table import Table, column, table
from .batches import Batches
from .memory import PeakMemory, peak_memory

FIGURES = {
    "requested": "peak_requested",
    "allocated": "peak_allocated",
    "reserved": "peak_reserved",
    "upper bound": "upper_bound",
}
LIMIT = 1 << 24


@dataclasses.dataclass(frozen=True)
class Fit:
    """The largest batch by one figure. bytes: at this batch; next: at one more; batch 0: not even one fits."""

    name: str = column("by")
    module: str = column("module", hidden=True, default="")
    batch: int | None = column("largest batch", "count", default=None)
    bytes: int | None = column("takes", "byte", default=None)
    next: int | None = column("one more takes", "byte", default=None)
    missing: tuple[str, ...] = column("missing", hidden=True, fold="join", default=())


@dataclasses.dataclass(frozen=True)
class Point:
    """Peaks in bytes at one batch size."""

    name: str = column("batch")
    module: str = column("module", hidden=True, default="")
    requested: int | None = column("requested", "byte", default=None)
    allocated: int | None = column("allocated", "byte", default=None)
    reserved: int | None = column("reserved", "byte", default=None)
    upper_bound: int | None = column("upper bound", "byte", default=None)
    missing: tuple[str, ...] = column("missing", hidden=True, fold="join", default=())


class Peaks:
    """The peak by batch size, each computed once; ``graph_at`` gives the graph at a batch size."""

    def __init__(self, graph_at: Callable[[int], ModelGraph], device: str | None) -> None:
        self._graph_at, self._device = graph_at, device
        self._known: dict[int, PeakMemory] = {}

    def __call__(self, batch: int) -> PeakMemory:
        if batch not in self._known:
            self._known[batch] = peak_memory(self._graph_at(batch), self._device)
        return self._known[batch]


def largest_batches(peaks: Peaks, budget: int, *, model: str = "", input: str = "") -> Table[Fit]:
    """For each figure the largest batch whose peak is within ``budget`` bytes."""
    rows = []
    for name, attribute in FIGURES.items():
        if getattr(peaks(2), attribute) is None:
            continue
        figure = functools.partial(_figure, peaks, attribute)
        batch = _largest(figure, budget)
        rows.append(Fit(name, "", batch, figure(batch) if batch else None, figure(batch + 1)))
    return table("largest batch", rows, Fit, model=model, input=input)


def curve(peaks: Peaks, sizes: Sequence[int], *, model: str = "", input: str = "") -> Table[Point]:
    """The peaks at several batch sizes."""
    rows = [
        Point(str(size), "", *(getattr(peaks(size), attribute) for attribute in FIGURES.values())) for size in sizes
    ]
    return table("peak by batch size", rows, Point, model=model, input=input)


def _figure(peaks: Peaks, attribute: str, batch: int) -> int:
    return getattr(peaks(batch), attribute)


def _largest(figure: Callable[[int], int], budget: int) -> int:
    """By doubling, then halving: peaks grow with the batch (reserved bytes all but so)."""
    if figure(1) > budget:
        return 0
    low = 1
    while low < LIMIT and figure(2 * low) <= budget:
        low *= 2
    high = 2 * low
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if figure(middle) <= budget else (low, middle)
    return low


def linear(low: ModelGraph, b: int, high: ModelGraph, c: int) -> Callable[[int], ModelGraph]:
    """The graph at any batch size from those at ``b`` and ``c``.

    Raises:
        NotLinear: the model runs other operators at another batch size.
    """
    return Batches(low, b, high, c).at
