"""Time layer by layer, in a pass of its own: a mark of the clock before and behind each operator."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator
from typing import Any

import torch

from ..records import Layers, LayerTime, rounded
from .clocks import Clock
from .operators import Operator, followed
from .subjects import Subject

Seconds = dict[tuple[str, bool], float]
_LONGEST_HOLD = 0.5


def layer_times(subject: Subject, clock: Clock, whole: float | None, budget: float) -> Layers:
    """Medians over passes, 3 to 20 in about ``budget`` seconds. whole: median seconds of the whole model.

    On a GPU each pass is held back until the host has queued it, so that the time between two marks is the operator's
    and not that of launching it.
    """
    passes: list[Seconds] = []
    types: dict[str, str] = {}
    queued = 0.0
    start = time.perf_counter()
    # The first pass is for warming up, and tells how long the host takes to queue one.
    while len(passes) < 4 or (len(passes) < 21 and time.perf_counter() - start < budget):
        operators, marks, queued = _pass(subject, clock, queued)
        seconds: Seconds = {}
        for operator, (first, last) in zip(operators, marks, strict=True):
            key = operator.layer, operator.phase == "backward"
            seconds[key] = seconds.get(key, 0.0) + clock.seconds(first, last)
            types.setdefault(operator.layer, operator.type)
        passes.append(seconds)
    rows = _rows(passes[1:], types)
    total = sum((row.seconds or 0) + (row.backward_seconds or 0) for row in rows)
    difference = None if whole is None else rounded(total - whole)
    return Layers(len(passes) - 1, clock.name, rounded(total), difference, rows)


def _pass(subject: Subject, clock: Clock, queued: float) -> tuple[list[Operator], list[tuple[Any, Any]], float]:
    """Operators, their marks, and the seconds that the host took to queue them."""
    marks: list[tuple[Any, Any]] = []

    @contextlib.contextmanager
    def between_marks(number: int) -> Iterator[None]:
        first = clock.mark()
        yield
        marks.append((first, clock.mark()))

    if queued and subject.device.type == "cuda":
        _hold_back(min(1.3 * queued, _LONGEST_HOLD))
    start = time.perf_counter()
    with followed(subject, between_marks) as operators:
        subject.call(0)
    queued = time.perf_counter() - start
    clock.wait()
    return operators, marks, queued


def _hold_back(seconds: float) -> None:
    """Keep the GPU busy for about that long, while what follows queues up behind."""
    mhz = getattr(torch.cuda.get_device_properties(), "clock_rate", 2_000_000) / 1e3
    torch.cuda._sleep(int(seconds * mhz * 1e6))


def _rows(passes: list[Seconds], types: dict[str, str]) -> tuple[LayerTime, ...]:
    """A layer that some passes leave out (stochastic depth) has the median of those that ran it."""

    def median(name: str, backward: bool) -> float | None:
        times = [each[name, backward] for each in passes if (name, backward) in each]
        return rounded(statistics.median(times)) if times else None

    rows = []
    for name, type_ in types.items():
        times = median(name, False), median(name, True)
        if times != (None, None):  # else only the first pass ran it
            rows.append(LayerTime(name, type_, *times))
    return tuple(rows)
