"""``capacity``: the largest batches that fit into a device's memory, and how long one takes then."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ..devices import Device
from ..graph import ModelGraph
from ..table import Table, column, table
from ..units import binary
from .assumptions import assumptions
from .fitting import Peaks, largest_batches
from .rooflines import KernelTime, roofline

# What it means that a batch fits by a figure of the memory analysis. Where nothing is reserved (on a CPU) the last one.
WORDS = {"reserved": "fits, by tensors alone", "upper bound": "fits surely", "allocated": "fits"}


@dataclasses.dataclass(frozen=True)
class Capacity:
    """The largest batch by one figure of memory; the bytes and the seconds that it takes.

    low, high: predicted seconds of such a batch, between these for the central 80% of nets; image_low, image_high: of
    one image in it; bound: what limits most of the time.
    """

    name: str = column("memory")
    module: str = column("module", hidden=True, default="")
    batch: int | None = column("largest batch", "count", default=None)
    bytes: int | None = column("takes", "byte", default=None)
    low: float | None = column("a batch", "second", default=None)
    high: float | None = column("up to", "second", default=None)
    image_low: float | None = column("an image", "second", default=None)
    image_high: float | None = column("up to", "second", default=None)
    bound: str | None = column("bound", default=None)
    missing: tuple[str, ...] = column("missing", hidden=True, fold="join", default=())


def capacity(
    graph_at: Callable[[int], ModelGraph],
    peaks: Peaks,
    device: Device,
    budget: int,
    *,
    dtype: str = "fp32",
    compiled: bool = False,
) -> Table[Capacity]:
    """For each figure of memory the largest batch within ``budget`` bytes, with its predicted time.

    graph_at: the run at a batch size, in the precision of ``dtype``; peaks: its memory by batch size. A batch of 0 says
    that not even one image fits.
    """
    fits = {fit.name: fit for fit in largest_batches(peaks, budget).values()}
    figures = ("upper bound", "reserved") if "reserved" in fits else ("allocated",)
    rows, notes = [], assumptions(graph_at(2).run)
    for figure in figures:
        batch = fits[figure].batch or 0
        row = Capacity(WORDS[figure], "", batch, fits[figure].bytes)
        if batch:
            time = roofline(graph_at(batch), device, dtype=dtype, compiled=compiled)
            row, notes = _timed(row, time.total, batch), (*assumptions(graph_at(2).run), *time.notes)
        rows.append(row)
    return table(f"largest batch within {binary(budget)}", rows, Capacity, notes=notes)


def _timed(row: Capacity, total: KernelTime, batch: int) -> Capacity:
    if total.low is None or total.high is None:
        return dataclasses.replace(row, missing=total.missing)
    return Capacity(
        row.name, "", batch, row.bytes, total.low, total.high, total.low / batch, total.high / batch, total.bound,
        total.missing,
    )  # fmt: skip
