"""What cnnscope predicts for the program that a record measured: time as a range, peak memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from .analyses.memory import PeakMemory, memory
from .graph import ModelGraph, Run
from .records import Measurement, Settings


@dataclasses.dataclass(frozen=True)
class Range:
    """A prediction between two values; both are the same where it is exact."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Ranges by quantity, seconds by layer, and why a quantity has no range."""

    ranges: Mapping[str, Range]
    layer_seconds: Mapping[str, Range]
    reasons: Mapping[str, str]


QUANTITIES = ("time", "base", "peak_requested", "peak_allocated", "peak_reserved", "upper_bound")
# What is there before a step that lets go of its gradients first.
_THERE = ("param", "buffer", "constant", "input", "optimizer")


def prediction(graph: ModelGraph, record: Measurement) -> Prediction:
    """Everything that is predicted of a run of this graph on the record's device, with its settings."""
    if reason := unlike(graph.run, record.settings):
        return Prediction({}, {}, dict.fromkeys(QUANTITIES, reason))
    base = sum(storage.bytes for storage in graph.storages if storage.kind in _THERE and storage.born < 0)
    ranges = {"base": Range(base, base), **_peaks(graph, record)}
    reasons = {name: "not predicted yet" for name in QUANTITIES if name not in ranges}
    return Prediction(ranges, {}, reasons)


def _peaks(graph: ModelGraph, record: Measurement) -> dict[str, Range]:
    total = memory(graph, record.settings.device).total
    assert isinstance(total, PeakMemory)
    values = {name: getattr(total, name) for name in QUANTITIES if name.startswith("peak") or name == "upper_bound"}
    return {name: Range(value, value) for name, value in values.items() if value is not None}


def unlike(run: Run, settings: Settings) -> str:
    """Why the program of a graph is not the one that was measured; '' where it is."""
    if run.train != settings.train:
        return "the graph is a training step" if run.train else "the graph is an inference"
    if settings.compile:
        return "compiled programs are not predicted"
    traced = ("amp" if run.autocast else "") or run.dtype or "fp32"
    measured = {"tf32": "fp32", "fp16": "float16", "bf16": "bfloat16"}.get(settings.dtype, settings.dtype)
    if traced != measured:
        return f"not predicted for {settings.dtype}: the graph is of {traced}"
    if run.channels_last != settings.channels_last:
        return "not predicted for this memory format"
    return ""
