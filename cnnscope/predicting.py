"""What cnnscope predicts for the program that a record measured: time as a range, peak memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from .analyses.kernels import Cpu
from .analyses.layering import layers
from .analyses.liveness import timeline
from .analyses.memory import peak_memory
from .analyses.rooflines import KernelTime, roofline
from .analyses.scratch import on_cpu
from .errors import CnnscopeError, UnknownDevice
from .graph import ModelGraph, Run
from .records import Measurement, Settings
from .table import Table


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


def prediction(graph: ModelGraph, record: Measurement, device: str | None = None) -> Prediction:
    """Everything that is predicted of a run of this graph on the record's device, with its settings.

    device: whose time, a name of ``cnnscope devices`` or a device file; None is that of the record.
    """
    ranges: dict[str, Range] = {}
    reasons = dict.fromkeys(QUANTITIES, "no rule says so yet")
    if reason := unlike(graph.run, record.settings):
        reasons.update(dict.fromkeys(QUANTITIES, reason))
    else:
        base = sum(storage.bytes for storage in graph.storages if storage.kind in _THERE and storage.born < 0)
        ranges = {"base": Range(base, base), **_peaks(graph, record)}
    seconds, reason = _time(graph, record, device or device_of(record))
    if reason:
        reasons["time"] = reason
    elif seconds is not None:
        ranges["time"] = Range(seconds.total.low or 0.0, seconds.total.high or 0.0)
    layer_seconds = {} if seconds is None else _by_layer(graph, seconds)
    return Prediction(ranges, layer_seconds, {name: why for name, why in reasons.items() if name not in ranges})


def device_of(record: Measurement) -> str:
    """What the device of a record is called among those to predict for: of all CPUs there is one, ``cpu``."""
    return "cpu" if record.settings.device == "cpu" else record.environment.name


def _time(graph: ModelGraph, record: Measurement, device: str) -> tuple[Table[KernelTime] | None, str]:
    """The roofline of the run, kernel by kernel, or why there is none."""
    settings = record.settings
    if graph.run.train != settings.train:
        return None, unlike(graph.run, settings)
    try:
        found = roofline(
            graph,
            device,
            dtype=settings.dtype,
            channels_last=settings.channels_last,
            compiled=settings.compile,
        )
    except CnnscopeError as error:
        return None, str(error).partition("\n")[0].partition(";")[0]
    if not found.total.low:
        return None, "nothing is known of the device's rates"
    return found, ""


def _by_layer(graph: ModelGraph, kernels: Table[KernelTime]) -> dict[str, Range]:
    """The seconds of the kernels of each layer; one whose kernels are not all known has none."""
    layer_of = {name: layer.name for layer in layers(graph).values() for name in layer.ops}
    sums: dict[str, tuple[float, float]] = {}
    unknown = set()
    for row in kernels.values():
        layer = layer_of.get(row.name) or layer_of.get(row.name.rpartition(".")[0], "")
        if row.low is None or row.high is None:
            unknown.add(layer)
        else:
            low, high = sums.get(layer, (0.0, 0.0))
            sums[layer] = low + row.low, high + row.high
    return {name: Range(*both) for name, both in sums.items() if name and name not in unknown}


def _peaks(graph: ModelGraph, record: Measurement) -> dict[str, Range]:
    try:
        total = peak_memory(graph, device_of(record))
    except UnknownDevice:
        total = peak_memory(graph, "cuda")
    values = {name: getattr(total, name) for name in QUANTITIES if name.startswith("peak") or name == "upper_bound"}
    found = {name: Range(value, value) for name, value in values.items() if value is not None}
    if record.settings.device == "cpu":
        found["peak_allocated"] = _on_that_cpu(graph, record)
    return found


def _on_that_cpu(graph: ModelGraph, record: Measurement) -> Range:
    """With what kernels hold on the CPU of the record, which need not be this one; a range where one has no rule."""
    where = record.environment
    isa = "avx512" if "AVX512" in where.capability else "avx2"
    line = timeline(graph)
    found = on_cpu(line, Cpu(isa, where.threads, where.core_cache or Cpu().cache))
    unknown = [
        live + 2 * sum(value.bytes for value in (*op.inputs, *op.outputs))
        for op, live, held in zip(graph.ops, line.total, found.extras, strict=True)
        if held is None
    ]
    return Range(found.peak, max([found.peak, *unknown]))


def unlike(run: Run, settings: Settings) -> str:
    """Why the memory of a graph's program is not that of the one that was measured; '' where it is."""
    if run.train != settings.train:
        return "the graph is a training step" if run.train else "the graph is an inference"
    if settings.compile:
        return "compiled programs are not predicted"
    traced = ("amp" if run.autocast else "") or run.dtype or "fp32"
    measured = {"tf32": "fp32", "fp16": "float16", "bf16": "bfloat16"}.get(settings.dtype, settings.dtype)
    if traced != measured:
        return f"the graph is of {traced}, the record of {settings.dtype}"
    if run.channels_last != settings.channels_last:
        return "the graph has another memory format"
    return ""
