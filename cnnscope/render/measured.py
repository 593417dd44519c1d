"""A record of a measurement in a few lines."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from ..records import Measurement, Samples
from ..units import binary, duration
from .cells import visible
from .texts import terminal_width


def summary(record: Measurement, width: int | None = None) -> str:
    """What was measured, a paragraph for each part, and why what is missing is missing.

    width: of a line, by default the terminal's, and 100 in a pipe.
    """
    width = width or terminal_width() or 100
    whose = f"{record.model} ({record.input_text}): {record.mode}, on {record.environment.name}"
    lines = [whose, "", *(f"{label:<8}  {words}" for label, words in _parts(record))]
    lines += [f"{'note':<8}  {note}" for note in record.notes]
    if not record.complete:
        lines.append(f"{'stopped':<8}  {record.stopped}")
    return "\n".join(part for line in lines for part in _wrapped(visible(line), width)) + "\n"


def _wrapped(line: str, width: int) -> list[str]:
    """A line as many as it takes, the further ones under its words."""
    parts = textwrap.wrap(line, width, subsequent_indent=" " * 10, break_long_words=False, break_on_hyphens=False)
    return parts or [""]


def _parts(record: Measurement) -> Iterator[tuple[str, str]]:
    yield from _time(record)
    yield from _memory(record)
    yield from _power(record)
    where = record.environment
    more = [f"CUDA {where.cuda}", f"driver {where.driver}"] if where.cuda else []
    yield "with", ", ".join([f"torch {where.torch}", *more, f"{where.threads} threads", where.date])


def _time(record: Measurement) -> Iterator[tuple[str, str]]:
    time, layers = record.time, record.layers
    if time is None:
        yield "time", f"not measured: {record.reason('time')}"
        return
    yield "time", f"{_samples(time.whole)}; {time.images_per_second:,.4g} images/s; first call {duration(time.first)}"
    if time.graph:
        yield "graph", f"{_samples(time.graph)}, replayed as a CUDA graph"
    if layers and layers.difference is not None:
        more = "more" if layers.difference > 0 else "less"
        words = f"{len(layers.rows)} layers one by one: {duration(layers.total)}"
        yield "layers", f"{words}, {duration(abs(layers.difference))} {more} than the whole"
    elif layers is None:
        yield "layers", f"not measured: {record.reason('layers')}"


def _samples(samples: Samples) -> str:
    spread = f"interquartile range {duration(samples.iqr)}, least {duration(samples.least)}"
    return f"{duration(samples.median)}, median of {samples.count} calls ({spread})"


def _memory(record: Measurement) -> Iterator[tuple[str, str]]:
    memory = record.memory
    if memory is None:
        yield "memory", f"not measured: {record.reason('memory')}"
        return
    peaks = [
        f"{binary(value)} {word}"
        for word, value in (
            ("requested", memory.peak_requested),
            ("allocated", memory.peak_allocated),
            ("reserved", memory.peak_reserved),
        )
        if value is not None
    ]  # fmt: skip
    where = f", in {memory.peak_op}" if memory.peak_op else ""
    yield "memory", f"peak {', '.join(peaks)}{where}"
    rest = [
        f"{binary(value)} {word}"
        for word, value in (
            ("before the call", memory.base), ("workspace at the peak", memory.workspace),
            ("kept by cuBLAS", memory.library_workspace), ("CUDA context and others", memory.context),
            ("of this process by NVML", memory.process),
        )
        if value is not None
    ]  # fmt: skip
    yield "", ", ".join(rest)


def _power(record: Measurement) -> Iterator[tuple[str, str]]:
    power = record.power
    if power is None:
        yield "power", f"not measured: {record.reason('power')}"
        return
    if power.watts is not None:
        idle = "" if power.idle_watts is None else f", idle {power.idle_watts:.0f} W (not subtracted)"
        yield "power", f"{power.watts:.0f} W over {power.window_seconds:.1f} s{idle}; {power.reading}"
    else:
        yield "power", f"not measured: {record.reason('power.watts')}"
    if power.joules_per_image is not None:
        integral = "" if power.integral_joules is None else f", integral of the watts {power.integral_joules:.4g} J"
        counter = (
            f"counter {power.energy_joules:.4g} J in {power.counter_seconds:.2f} s, {power.counter_ticks} ticks"
            if power.energy_joules is not None and power.counter_seconds is not None
            else f"no counter: {record.reason('power.energy_joules')}"
        )
        yield "energy", f"{power.joules_per_image:.4g} J an image, by the {power.joules_by} ({counter}{integral})"
    if power.throttled_by:
        yield "", f"clocks were held down by: {', '.join(power.throttled_by)}"
