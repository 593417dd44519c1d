"""``memory``: the bytes that are alive while each operator runs, their peak, and what a device makes of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..graph import ModelGraph
from ..processors import this_cpu
from ..table import Table, column
from ..units import binary
from . import of_graph
from .allocator import simulate
from .assumptions import assumptions
from .kernels import Cpu
from .liveness import Timeline, events, timeline
from .overheads import described, overheads
from .scratch import OnCpu, bound, on_cpu


def _kind(title: str) -> Any:
    return column(title, "byte", fold="max", hidden=True, default=0)


@dataclasses.dataclass(frozen=True)
class OpMemory:
    """Memory around one operator, in bytes.

    live: all that is alive when it has returned; allocated: what it brought into being; freed: what the program let go
    of between it and the next; scratch: what its kernel holds only while it runs, where a rule says so. The other
    columns split ``live`` by kind of storage.
    """

    name: str = column("operator")
    module: str = column("module", hidden=True)
    kind: str = column("kind", default="")
    phase: str = column("phase", default="")
    live: int = column("live", "byte", fold="max", default=0)
    allocated: int = column("allocated", "byte", fold="sum", default=0)
    freed: int = column("freed", "byte", fold="sum", default=0)
    scratch: int | None = column("scratch", "byte", fold="max", default=None)
    params: int = _kind("params")
    buffers: int = _kind("buffers")
    constants: int = _kind("constants")
    optimizer: int = _kind("optimizer")
    gradients: int = _kind("gradients")
    inputs: int = _kind("inputs")
    saved: int = _kind("saved")
    activations: int = _kind("activations")
    temporaries: int = _kind("temporaries")
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


@dataclasses.dataclass(frozen=True)
class PeakMemory(OpMemory):
    """The model's memory, in bytes; the columns by kind are those at the peak.

    peak, peak_requested: the most that live tensors take together, at ``peak_op``; steady: what stays between two runs;
    peak_compiled: the same peak if each tensor were freed behind its last use, as a compiled runtime does.
    peak_allocated, peak_reserved: what PyTorch's caching allocator makes of it on a CUDA device, reserved also with
    expandable segments; on ``cpu`` allocated is the peak with the kernels' own buffers and nothing is reserved.
    overheads: lines beside the tensors, by name; upper_bound: what the run will not exceed with all of them.
    """

    peak: int = 0
    peak_op: str = ""
    steady: int = 0
    peak_requested: int = 0
    peak_compiled: int = 0
    peak_allocated: int | None = None
    peak_reserved: int | None = None
    peak_reserved_expandable: int | None = None
    upper_bound: int | None = None
    kinds: Mapping[str, int] = dataclasses.field(default_factory=dict)
    overheads: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def needed(self) -> int:
        """Bytes that can be known to be taken from a device: reserved on a GPU, allocated on a CPU."""
        return (self.peak_reserved if self.peak_reserved is not None else self.peak_allocated) or self.peak


COLUMNS = {
    "param": "params", "buffer": "buffers", "constant": "constants", "optimizer": "optimizer",
    "gradient": "gradients", "input": "inputs", "saved": "saved", "activation": "activations",
    "temporary": "temporaries",
}  # fmt: skip


@of_graph
def memory(graph: ModelGraph, device: str | None = None) -> Table[OpMemory]:
    """Live bytes operator by operator, and in ``.total`` (a ``PeakMemory``) the peak and what it is made of.

    ``memory(graph).total.peak`` is in bytes, parameters, buffers and inputs included, and is that of the eager program:
    a tensor lives as long as Python or autograd hold it.

    Args:
        graph: an inference or a training step, as ``trace`` recorded it.
        device: a GPU of ``cnnscope devices`` or a device file; ``cuda`` (or None) for one that is not named; ``cpu``.

    Raises:
        UnknownDevice: nobody knows a device of that name.
    """
    line, inside = _followed(graph, device)
    rows = {row.name: row for row in _rows(graph, line, inside)}
    notes = (*assumptions(graph.run), *(_about(inside.cpu) if inside else ()))
    return Table("memory", OpMemory, rows, _peak(graph, line, inside, device), graph.name, graph.input_text, notes)


def peak_memory(graph: ModelGraph, device: str | None = None) -> PeakMemory:
    """The total of ``memory(graph, device)`` without its rows."""
    return _peak(graph, *_followed(graph, device), device)


def _followed(graph: ModelGraph, device: str | None) -> tuple[Timeline, OnCpu | None]:
    """What is alive when, and on a CPU also what its kernels hold."""
    line = timeline(graph, host=_counts_host(device))
    return line, on_cpu(line, this_cpu()) if _is_cpu(device) else None


def _peak(graph: ModelGraph, line: Timeline, inside: OnCpu | None, device: str | None) -> PeakMemory:
    total = _total(graph, line)
    return _on_cpu(total, inside) if inside else _on_cuda(total, graph, line, device)


def _is_cpu(device: str | None) -> bool:
    return device is not None and device.lower() == "cpu"


def _counts_host(device: str | None) -> bool:
    """A GPU does not hold what the program makes on the CPU."""
    return device is None or _is_cpu(device)


def _about(cpu: Cpu) -> tuple[str, ...]:
    return (
        f"allocated: with the buffers of oneDNN and ATen, by rules for {cpu.isa}, {cpu.threads} threads "
        f"and {binary(cpu.cache)} of level-2 cache a core, as this machine has them; float32",
    )


def _rows(graph: ModelGraph, line: Timeline, inside: OnCpu | None) -> list[OpMemory]:
    count = len(graph.ops)
    born, died = [0] * count, [0] * (count + 1)
    for storage in line.storages:
        if storage.born >= 0:
            born[storage.born] += storage.bytes
        if storage.dies is not None:
            died[storage.dies] += storage.bytes
    kinds = {COLUMNS[kind]: series for kind, series in line.kinds.items()}
    extras = inside.extras if inside else (None,) * count
    scratch = [held and held.bytes for held in extras]
    return [
        OpMemory(
            op.name,
            op.module,
            op.kind,
            op.phase,
            line.total[i],
            born[i],
            died[i + 1],
            scratch[i],
            **{kind: series[i] for kind, series in kinds.items()},  # type: ignore[arg-type]
        )
        for i, op in enumerate(graph.ops)
    ]


def _total(graph: ModelGraph, line: Timeline) -> PeakMemory:
    at = line.peak_at
    kinds = {kind: series[at] for kind, series in line.kinds.items()} if at >= 0 else {}
    return PeakMemory(
        "total",
        "",
        live=line.peak,
        allocated=sum(storage.bytes for storage in line.storages if storage.born >= 0),
        freed=sum(storage.bytes for storage in line.storages if storage.dies is not None),
        peak=line.peak,
        peak_op=graph.ops[at].name if at >= 0 else "",
        steady=sum(s.bytes for s in line.storages if s.dies is None and s.kind in _STAYS),
        peak_requested=line.peak,
        peak_compiled=timeline(graph, host=True, compiled=True).peak,
        kinds={kind: size for kind, size in kinds.items() if size},
        **{COLUMNS[kind]: size for kind, size in kinds.items()},  # type: ignore[arg-type]
    )


# A second equal run finds other free blocks than the first and may reserve more; a third rarely does.
RUNS = 3

_STAYS = frozenset(("param", "buffer", "constant", "optimizer", "gradient"))


def _numbers(graph: ModelGraph) -> int:
    """Bytes, at most, of Python numbers: each is a tensor of 8 bytes for as long as an operator takes.

    Autograd keeps those of ``x * 0.5`` for the backward pass, as tensors that no operator returns.
    """
    kept = [op for op in graph if op.phase == "forward" and isinstance(op.attrs.get("other"), (int, float))]
    return 8 * (8 + (len(kept) if graph.train else 0))


def _on_cpu(total: PeakMemory, found: OnCpu) -> PeakMemory:
    """What kernels hold while they run is part of the peak; one without a rule is bounded."""
    line, ops = found.line, found.line.graph.ops
    unknown = [live + bound(op) for op, live, held in zip(ops, line.total, found.extras, strict=True) if held is None]
    return dataclasses.replace(
        total,
        peak_allocated=found.peak,
        upper_bound=max([found.peak, *unknown]) + _numbers(line.graph),
        missing=found.missing,
    )


def _on_cuda(total: PeakMemory, graph: ModelGraph, line: Timeline, device: str | None) -> PeakMemory:
    capability = None
    if device is not None and device.lower() != "cuda":
        from ..devices import device as known

        capability = known(device).capability
    asked = events(line, runs=1 if graph.train and graph.run.step == "first" else RUNS)
    default, expandable = simulate(asked), simulate(asked, expandable=True)
    beside = overheads(graph, capability)
    return dataclasses.replace(
        total,
        peak_allocated=default.allocated_peak,
        peak_reserved=default.reserved_peak,
        peak_reserved_expandable=expandable.reserved_peak,
        upper_bound=max(default.reserved_peak, expandable.reserved_peak) + beside.total,
        overheads=described(beside),
    )
