"""What cnnscope predicts for the program that a record measured: time as a range, peak memory, work."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from .graph import ModelGraph
from .records import Measurement


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
    """Ranges by quantity (``time``, ``base``, ``peak_requested`` ...), and why a quantity has none; seconds by layer."""

    ranges: Mapping[str, Range]
    reasons: Mapping[str, str]
    layer_seconds: Mapping[str, Range]


QUANTITIES = ("time", "base", "peak_requested", "peak_allocated", "peak_reserved")


def prediction(graph: ModelGraph, record: Measurement) -> Prediction:
    """Everything that is predicted of a run of this graph on the record's device, with its settings."""
    ranges: dict[str, Range] = {}
    reasons: dict[str, str] = {}
    if (reason := _unlike(graph, record)) is not None:
        return Prediction({}, dict.fromkeys(QUANTITIES, reason), {})
    base = sum(storage.bytes for storage in graph.storages if storage.kind in ("param", "buffer", "input"))
    ranges["base"] = Range(base, base)
    for name in QUANTITIES:
        if name not in ranges:
            reasons[name] = "not predicted yet"
    return Prediction(ranges, reasons, {})


def _unlike(graph: ModelGraph, record: Measurement) -> str | None:
    """Why the graph is not the program that was measured; None when it is."""
    settings = record.settings
    if settings.train != graph.train:
        return "training is not predicted yet" if settings.train else "the graph is a training step"
    if settings.dtype not in ("fp32", "tf32"):
        return f"{settings.dtype} is not predicted yet"
    if settings.compile:
        return "compiled programs are not predicted"
    return None
