"""Time on a device: marks between which seconds passed, warming up until steady, sampling."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch

Call = Callable[[int], Any]


class Clock(Protocol):
    """What tells the time of a device. A mark stands in the device's own order of work."""

    name: str
    tolerance: float

    def mark(self) -> Any: ...
    def seconds(self, start: Any, end: Any) -> float:
        """Between two marks, once the device has reached the second."""

    def reach(self, mark: Any) -> None:
        """Wait until the device has got to a mark."""

    def wait(self) -> None:
        """Wait until the device has done everything."""


class CpuClock:
    """``time.perf_counter``: on a CPU a call returns when it is done."""

    name = "time.perf_counter"
    tolerance = 0.05

    def mark(self) -> float:
        return time.perf_counter()

    def seconds(self, start: float, end: float) -> float:
        return end - start

    def reach(self, mark: float) -> None:
        pass

    def wait(self) -> None:
        pass


class CudaClock:
    """CUDA events, which the GPU stamps itself when it gets to them."""

    name = "CUDA events"
    tolerance = 0.02

    def mark(self) -> Any:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, start: Any, end: Any) -> float:
        return start.elapsed_time(end) / 1e3

    def reach(self, mark: Any) -> None:
        mark.synchronize()

    def wait(self) -> None:
        torch.cuda.synchronize()


def clock_of(device: torch.device) -> Clock:
    return CudaClock() if device.type == "cuda" else CpuClock()


class WarmUp(NamedTuple):
    """How the first calls went. seconds: median of a call in the last window."""

    calls: int
    spent: float
    steady: bool
    rule: str
    seconds: float


def warmed_up(call: Call, clock: Clock, expected: float, most: float) -> WarmUp:
    """Call in windows until the medians of three in a row lie within the clock's tolerance, or ``most`` seconds passed.

    A window is as many calls as take a twentieth of a second, at least three where so many fit into ``most``.
    expected: seconds of a call, at most.
    """
    rule = (
        f"medians of three windows in a row within {clock.tolerance:.0%}; "
        f"a window is 0.05 s of calls, at least 3 if short; at most {most:.3g} s"
    )
    least = 3 if 9 * expected < most else 1
    start = time.perf_counter()
    medians: list[float] = []
    calls = 0
    while True:
        count = least if not medians else max(least, min(200, int(0.05 / max(medians[-1], 1e-6))))
        times = timed(call, clock, calls, count)
        calls += count
        medians.append(statistics.median(times))
        spent = time.perf_counter() - start
        last = medians[-3:]
        steady = len(last) == 3 and max(last) - min(last) <= clock.tolerance * min(last)
        if steady or spent > most:
            return WarmUp(calls, spent, steady, rule, medians[-1])


def timed(call: Call, clock: Clock, first: int, count: int) -> list[float]:
    """Seconds of ``count`` calls, given to the device one behind the other, with numbers from ``first`` on."""
    marks = []
    for i in range(first, first + count):
        start = clock.mark()
        call(i)
        marks.append((start, clock.mark()))
    clock.wait()
    return [clock.seconds(start, end) for start, end in marks]


def sampled(call: Call, clock: Clock, expected: float, budget: float) -> tuple[list[float], float]:
    """Seconds of single calls for about ``budget`` seconds, 5 to 1000 of them; and how many were done in a second.

    expected: seconds of one call.
    """
    chunk = max(1, min(50, int(0.02 / max(expected, 1e-6))))
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < 1000 and (len(times) < 5 or time.perf_counter() - start < budget):
        times += timed(call, clock, len(times), chunk)
    return times, len(times) / (time.perf_counter() - start)


def kept_busy(call: Call, clock: Clock, expected: float, seconds: float) -> int:
    """Call for that long, the host about a tenth of a second ahead, so that the device never waits; how often."""
    chunk = max(1, min(200, int(0.1 / max(expected, 1e-6))))
    calls = 0
    before = None
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        for _ in range(chunk):
            call(calls)
            calls += 1
        mark = clock.mark()
        if before is not None:
            clock.reach(before)
        before = mark
    clock.wait()
    return calls
