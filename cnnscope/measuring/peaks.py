"""Memory of one steady call: its peaks, and who holds what at the peak."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

import torch

from ..errors import UnusableDevice
from ..records import Holder, Memory
from . import profiling
from .operators import Operator, followed
from .replaying import Event, Peak, replayed
from .subjects import Subject

Reasons = dict[str, str]
_GPU_ONLY = {
    "peak_allocated": "a CPU has no caching allocator",
    "peak_reserved": "a CPU has no caching allocator",
    "library_workspace": "a CPU has no cuBLAS",
    "context": "a CPU has no CUDA context",
}


def peaks(subject: Subject, process: int | None, reasons: Reasons) -> Memory:
    """The memory of one call; it must have run before. process: bytes that NVML counts to this process.

    What cannot be known gets its reason in ``reasons``, by the path of the field.
    """
    gc.collect()
    return _on_gpu(subject, process, reasons) if subject.device.type == "cuda" else _on_cpu(subject, reasons)


def _on_cpu(subject: Subject, reasons: Reasons) -> Memory:
    """``torch.profiler`` names every allocation. The peak is of a call that nothing follows, the holders of another."""
    reasons.update({f"memory.{name}": reason for name, reason in _GPU_ONLY.items()})
    subject.drop_gradients()
    base = subject.living()
    peak = replayed(profiling.allocations(subject, follow=False)[0])
    if subject.settings.compile:
        reasons["memory.holders"] = reasons["memory.workspace"] = reasons["memory.peak_op"] = _COMPILED
        holders, workspace, where = None, None, None
    else:
        subject.drop_gradients()
        events, operators = profiling.allocations(subject, follow=True)
        held = replayed(events)
        holders, workspace, where = _held(held, operators, base)
    source = "allocations in torch.profiler, above what was alive before the call"
    return Memory(base, base + peak.bytes, None, None, where, workspace, None, None, None, source, holders)


_COMPILED = "a compiled model is one program: its operators belong to no layer"


def _held(peak: Peak, operators: list[Operator], base: int) -> tuple[tuple[Holder, ...], int, str]:
    """The holders at a peak, the workspace among them, and where the peak was."""
    rows: dict[tuple[str, str], list[int]] = {("(before the call)", ""): [base - peak.freed_before, 0]}
    for each in peak.alive:
        owner = operators[each.operator] if each.operator >= 0 else None
        key = (owner.layer, owner.phase) if owner else ("(outside of operators)", "")
        row = rows.setdefault(key, [0, 0])
        row[0] += each.bytes
        row[1] += each.workspace
    holders = tuple(Holder(*key, *row) for key, row in rows.items())
    where = _place(operators[peak.operator]) if peak.operator >= 0 else "outside of operators"
    return holders, sum(each.workspace for each in peak.alive), where


def _place(operator: Operator) -> str:
    return f"{operator.layer} ({operator.kind}, {operator.phase})"


# -- CUDA -------------------------------------------------------------------------------------------------------------


def _on_gpu(subject: Subject, process: int | None, reasons: Reasons) -> Memory:
    torch.cuda.synchronize()
    library = _library_workspace(reasons)
    subject.call(0)  # makes the libraries' workspaces again: a steady call finds them
    subject.drop_gradients()
    base = subject.living()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    subject.call(0)
    torch.cuda.synchronize()
    statistics = torch.cuda.memory_stats()
    holders, workspace, where = _history(subject, base, reasons)
    return Memory(
        base,
        _statistic(statistics, "requested_bytes", reasons, "peak_requested"),
        torch.cuda.max_memory_allocated(),
        torch.cuda.max_memory_reserved(),
        where,
        workspace,
        library,
        _context(),
        process,
        "the caching allocator's statistics over one call, its cache emptied before",
        holders,
    )


def _statistic(statistics: dict[str, Any], name: str, reasons: Reasons, field: str) -> int | None:
    value = statistics.get(f"{name}.all.peak")
    if value is None:
        reasons[f"memory.{field}"] = f"this torch's allocator keeps no {name}"
    return value


def _library_workspace(reasons: Reasons) -> int | None:
    """Bytes that cuBLAS holds on to, found by letting it go of them."""
    clear = getattr(torch._C, "_cuda_clearCublasWorkspaces", None)
    if clear is None:
        reasons["memory.library_workspace"] = "this torch cannot tell what cuBLAS keeps"
        return None
    before = torch.cuda.memory_allocated()
    clear()
    return max(0, before - torch.cuda.memory_allocated())


def _context() -> int:
    """Bytes used on the GPU beside the allocator's: the CUDA context with its modules, and other processes."""
    free, total = torch.cuda.mem_get_info()
    return max(0, total - free - torch.cuda.memory_reserved())


def _history(subject: Subject, base: int, reasons: Reasons) -> tuple[tuple[Holder, ...] | None, int | None, str | None]:
    """Holders, workspace and place of the peak from the allocator's own history, each entry tagged with an operator."""
    memory: Any = torch.cuda.memory
    reason = ""
    if subject.settings.compile:
        reason = _COMPILED
    elif not hasattr(memory, "_set_memory_metadata"):
        reason = f"torch {torch.__version__} cannot tag its allocator's history; 2.10 and later can"
    if reason:
        for name in ("holders", "workspace", "peak_op"):
            reasons[f"memory.{name}"] = reason
        return None, None, None

    @contextlib.contextmanager
    def tagged(number: int) -> Iterator[None]:
        memory._set_memory_metadata(str(number))
        try:
            yield
        finally:
            memory._set_memory_metadata("")

    memory._record_memory_history("all", context=None, stacks="python", clear_history=True)
    try:
        subject.drop_gradients()
        with followed(subject, tagged) as operators:
            subject.call(0)
        torch.cuda.synchronize()
        traces = memory._snapshot()["device_traces"][torch.cuda.current_device()]
    finally:
        memory._record_memory_history(None)
    return _held(replayed(_events(traces)), operators, base)


def _events(traces: list[dict[str, Any]]) -> Iterator[Event]:
    """Requested bytes as they came and went."""
    for entry in traces:
        if entry["action"] in ("alloc", "free_completed"):
            tag = entry.get("user_metadata", "")
            number = int(tag) if tag.isdigit() else -1
            yield Event(entry["size"] if entry["action"] == "alloc" else -entry["size"], entry["addr"], number)


def cuda_there() -> None:
    """Check that there is a GPU that torch can use.

    Raises:
        UnusableDevice: the message says what is missing.
    """
    if torch.version.cuda is None:
        raise UnusableDevice(
            f"this torch ({torch.__version__}) has no CUDA; install a CUDA build, or measure with --device cpu"
        )
    if not torch.cuda.is_available():
        raise UnusableDevice("torch finds no NVIDIA GPU (see nvidia-smi); or measure with --device cpu")
