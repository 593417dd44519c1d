"""``roofline``: how long each kernel takes on a device, and whether its rate, its memory or the launch is what limits.

A kernel takes ``max(FLOPs / (peak x e), bytes / (bandwidth x b)) + launch``, e and b being the parts of the peak that
kernels of its kind reach (Williams, Waterman, Patterson: Roofline, CACM 2009, with efficiencies). Times add up: one
stream runs one kernel after another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from ..devices import RATES, Device
from ..devices import device as device_of
from ..efficiencies import Efficiencies, shipped
from ..errors import UnusableInput
from ..graph import ModelGraph
from ..kernels import Kernel, kernels
from ..merging import merged
from ..precisions import program
from ..table import Table, column, table
from ..units import duration
from . import of_graph

BOUNDS = ("compute", "memory", "launch")


def _bound(row: Mapping[str, Any]) -> str | None:
    """What limits most of the time, of columns that are added up."""
    parts = [row[bound] or 0 for bound in BOUNDS]
    return BOUNDS[parts.index(max(parts))] if any(parts) else None


@dataclasses.dataclass(frozen=True, slots=True)
class KernelTime:
    """Predicted seconds of one kernel; None where its work or the device's rate for it is not known.

    low, high: between these for the central 80% of nets, a statement on totals. compute, memory, launch: the seconds
    under what limits them. flops, bytes: work; fused: operators in it.
    """

    name: str = column("kernel")
    module: str = column("module", hidden=True, default="")
    kind: str = column("kind", default="")
    flops: int | None = column("FLOPs", "FLOP", fold="sum", default=None)
    bytes: int | None = column("bytes", "byte", fold="sum", default=None)
    seconds: float | None = column("time", "second", fold="sum", default=None)
    low: float | None = column("low", "second", fold="sum", hidden=True, default=None)
    high: float | None = column("high", "second", fold="sum", hidden=True, default=None)
    compute: float | None = column("compute-bound", "second", fold="sum", hidden=True, default=None)
    memory: float | None = column("memory-bound", "second", fold="sum", hidden=True, default=None)
    launch: float | None = column("launches", "second", fold="sum", hidden=True, default=None)
    bound: str | None = column("bound", fold=_bound, default=None)
    kernels: int = column("kernels", "count", fold="sum", hidden=True, default=1)
    precision: str = column("precision", hidden=True, default="")
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


@of_graph
def roofline(
    graph: ModelGraph,
    device: Device | str,
    *,
    dtype: str = "fp32",
    channels_last: bool | None = None,
    compiled: bool = False,
    efficiencies: Efficiencies | None = None,
) -> Table[KernelTime]:
    """Predicted seconds of every kernel of a run, in order, on a device.

    Args:
        device: a name of ``cnnscope devices``, the path of a TOML file, or a ``Device``.
        dtype: fp32 (as traced, plain cores), tf32 (float32 tensors, products on tensor cores), fp16 and bf16 (every
            float32 tensor in that type), amp (autocast, to fp16 on a GPU and bf16 on a CPU).
        channels_last: images and weights lie in NHWC order; None: as traced.
        compiled: fused as ``torch.compile`` does; else each operator is a kernel.
        efficiencies: instead of those that a calibration put into the device, or those that are shipped.

    ``total.low`` and ``total.high`` are the range to quote. An operator that no rule knows is in ``missing``, and the
    total is a lower bound.

    Raises:
        UnknownDevice, UnusableInput: no such device or dtype, or the device has no rate for it.
    """
    device = device_of(device) if isinstance(device, str) else device
    channels_last = graph.run.channels_last if channels_last is None else channels_last
    reached = efficiencies or device.efficiencies or shipped(channels_last)
    run = program(graph, dtype, "cpu" if device.capability == "cpu" else "cuda")
    launched = merged(run, graph.outputs) if compiled else kernels(run)
    _check_rates(launched, device)
    if graph.run.train:
        reached = reached._replace(spread=reached.training)
    rows = [_row(kernel, device, reached, dtype) for kernel in launched]
    found = table("time", rows, KernelTime, model=graph.name, input=graph.input_text)
    where = f"{device.name}, {_regime(graph, dtype, channels_last, compiled)}"
    return dataclasses.replace(found, notes=_notes(found, where, reached.origin))


def _check_rates(launched: Iterable[Kernel], device: Device) -> None:
    """A known precision that the device's sheet gives no rate for is a mistake of whoever asks, not an unknown."""
    for kernel in launched:
        if kernel.padded and kernel.precision in RATES and device.rate(kernel.precision) is None:
            have = ", ".join(device.rates)
            raise UnusableInput(
                f"{device.name} has no rate for {kernel.precision}, which {kernel.name} needs; it has {have}"
            )


def _regime(graph: ModelGraph, dtype: str, channels_last: bool, compiled: bool) -> str:
    """In which way it runs: ``amp, channels-last, eager``."""
    precision = "amp" if graph.run.autocast else graph.run.dtype or dtype
    layout = ["channels-last"] if channels_last else []
    return ", ".join([precision, *layout, "compiled" if compiled else "eager"])


def _row(kernel: Kernel, device: Device, reached: Efficiencies, dtype: str) -> KernelTime:
    tensor_cores = dtype == "tf32" and kernel.precision == "fp32" and kernel.kind in ("dense", "grouped", "matmul")
    precision = "tf32" if tensor_cores else kernel.precision
    rate = device.rate(precision)
    row = KernelTime(kernel.name, kernel.module, kernel.kind, kernel.flops, kernel.bytes, precision=precision)
    if kernel.flops is None:
        return dataclasses.replace(row, missing=(kernel.ops[0].kind,))
    if device.bandwidth is None or (kernel.padded and rate is None):
        return dataclasses.replace(row, missing=(f"{kernel.ops[0].kind} in {precision}",))
    compute = kernel.padded / (rate * reached.compute.get(kernel.kind, 1.0)) if rate else 0.0
    memory = kernel.bytes / (device.bandwidth * reached.bandwidth[kernel.kind])
    limited = {"compute": compute if compute > memory else 0.0, "memory": memory if compute <= memory else 0.0}
    seconds = max(compute, memory) + reached.launch
    return dataclasses.replace(
        row,
        seconds=seconds,
        low=seconds * reached.spread[0],
        high=seconds * reached.spread[1],
        compute=limited["compute"],
        memory=limited["memory"],
        launch=reached.launch,
        bound=_bound({**limited, "launch": reached.launch}),
    )


def _notes(found: Table[KernelTime], where: str, origin: str) -> tuple[str, ...]:
    """The range to quote, where the time goes, and from where the efficiencies are."""
    total = found.total
    if not total.seconds or total.low is None or total.high is None:
        return (f"{where}: no time could be predicted",)
    least = "at least " if found.missing else ""
    shares = [f"{(getattr(total, bound) or 0) / total.seconds:.0%} {bound}" for bound in BOUNDS]
    return (
        f"{where}: {least}{between(total.low, total.high)}, {total.kernels:,} kernels; limited by {', '.join(shares)}",
        f"efficiencies: {origin}",
    )


def between(low: float, high: float) -> str:
    """A range of seconds with two digits: ``5.1 to 7.4 ms``."""
    first, second = duration(low, 2), duration(high, 2)
    number, _, unit = first.partition(" ")
    return f"{number} to {second}" if second.endswith(f" {unit}") else f"{first} to {second}"
