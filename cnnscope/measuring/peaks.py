"""Memory of one steady call: its peaks, and who holds what at the peak."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from ..errors import UnusableDevice
from ..records import Holder, Memory
from . import profiling
from .operators import Operator, followed
from .replaying import Event, of_tensors, replayed
from .subjects import Subject

Reasons = dict[str, str]
_GPU_ONLY = {
    "peak_reserved": "a CPU has no caching allocator",
    "library_workspace": "a CPU has no cuBLAS",
    "context": "a CPU has no CUDA context",
}
_FOLLOWED = ("peak_requested", "peak_op", "workspace", "holders")
_COMPILED = "a compiled model is one program: its operators belong to no layer"


class Followed(NamedTuple):
    """What a call tells in which every allocation is known to belong to an operator."""

    peak_requested: int | None = None
    peak_op: str | None = None
    workspace: int | None = None
    holders: tuple[Holder, ...] | None = None


def peaks(subject: Subject, process: int | None, reasons: Reasons) -> Memory:
    """The memory of one call; it must have run before. process: bytes that NVML counts to this process.

    What cannot be known gets its reason in ``reasons``, by the path of the field.
    """
    gc.collect()
    return _on_gpu(subject, process, reasons) if subject.device.type == "cuda" else _on_cpu(subject, reasons)


def _on_cpu(subject: Subject, reasons: Reasons) -> Memory:
    """``torch.profiler`` names every allocation. Allocated is of a call that nothing follows, the rest of another."""
    reasons.update({f"memory.{name}": reason for name, reason in _GPU_ONLY.items()})
    subject.drop_gradients()
    base = subject.living()
    peak = replayed(profiling.allocations(subject, follow=False)[0])
    found = Followed()
    if subject.settings.compile:
        reasons.update({f"memory.{name}": _COMPILED for name in _FOLLOWED})
    else:
        subject.drop_gradients()
        found = _followed(*profiling.allocations(subject, follow=True), base)
    return Memory(
        base=base,
        peak_allocated=base + peak.bytes,
        peak_reserved=None,
        library_workspace=None,
        context=None,
        process=None,
        source="allocations in torch.profiler, above what was alive before the call",
        **found._asdict(),
    )


def _followed(events: Sequence[Event], operators: list[Operator], base: int) -> Followed:
    """Peaks, holders and workspace of allocations that are known to belong to operators."""
    peak = replayed(events)
    rows: dict[tuple[str, str], list[int]] = {("(before the call)", ""): [base - peak.freed_before, 0]}
    for each in peak.alive:
        owner = operators[each.operator] if each.operator >= 0 else None
        key = (owner.layer, owner.phase) if owner else ("(outside of operators)", "")
        row = rows.setdefault(key, [0, 0])
        row[0] += each.bytes
        row[1] += each.workspace
    return Followed(
        base + replayed(of_tensors(events)).bytes,
        _place(operators[peak.operator]) if peak.operator >= 0 else "outside of operators",
        sum(each.workspace for each in peak.alive),
        tuple(Holder(*key, *row) for key, row in rows.items()),
    )


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
    allocated, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    return Memory(
        base=base,
        peak_allocated=allocated,
        peak_reserved=reserved,
        library_workspace=library,
        context=_context(),
        process=process,
        source="the caching allocator's statistics and history, its cache emptied before the call",
        **_history(subject, base, reasons)._asdict(),
    )


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


def _history(subject: Subject, base: int, reasons: Reasons) -> Followed:
    """What the allocator's own history tells, each entry of it tagged with an operator."""
    memory: Any = torch.cuda.memory
    reason = ""
    if subject.settings.compile:
        reason = _COMPILED
    elif not hasattr(memory, "_set_memory_metadata"):
        reason = f"torch {torch.__version__} cannot tag its allocator's history; 2.10 and later can"
    if reason:
        reasons.update({f"memory.{name}": reason for name in _FOLLOWED})
        return Followed()

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
    return _followed(list(_events(traces)), operators, base)


def _events(traces: list[dict[str, Any]]) -> Iterator[Event]:
    """Requested bytes as they came and went; what is freed has the size that it was allocated with."""
    sizes: dict[int, int] = {}
    for entry in traces:
        tag = entry.get("user_metadata") or ""
        number = int(tag) if tag.isdigit() else -1
        if entry["action"] == "alloc":
            sizes[entry["addr"]] = entry["size"]
            yield Event(entry["size"], entry["addr"], number)
        elif entry["action"] == "free_completed":
            yield Event(-sizes.pop(entry["addr"], entry["size"]), entry["addr"], number)


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
