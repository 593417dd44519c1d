"""What a change of the model or of its run would save: each one traced, none taken from a rule of thumb."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from .analyses.costs import cost
from .analyses.memory import peak_memory
from .errors import CnnscopeError
from .graph import ModelGraph
from .standins import stand_in
from .surroundings import surroundings_kept
from .table import Table, column, table
from .tracing import trace

Options = dict[str, Any]
_TRIED = 4  # blocks that are traced with a checkpoint to find the one that saves most


@dataclasses.dataclass(frozen=True)
class WhatIf:
    """One change. peak: requested bytes with it; saved: against the run as it is, negative where it costs; flops: extra
    work; None: it cannot be done, and ``note`` says why."""

    name: str = column("what if")
    module: str = column("module", hidden=True, default="")
    peak: int | None = column("peak", "byte", default=None)
    saved: int | None = column("saved", "byte", default=None)
    reserved: int | None = column("reserved", "byte", hidden=True, default=None)
    flops: int | None = column("extra FLOPs", "FLOP", default=None)
    note: str = column("note", default="")
    missing: tuple[str, ...] = column("missing", hidden=True, fold="join", default=())


def what_if(
    model: nn.Module,
    input: Any = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    memory_of: str | None = None,
    **options: Any,
) -> Table[WhatIf]:
    """The changes that lower the peak memory, each with the bytes saved and the extra work, the best first.

    Args:
        model, input, kwargs, options: as ``trace`` takes them.
        memory_of: the device, as ``memory`` takes it.

    Raises:
        CnnscopeError: the model cannot be traced as it is.
    """
    return _Changes(model, input, dict(kwargs or {}), memory_of, options).table()


class _Changes:
    """The run as it is, and its variations."""

    def __init__(self, model: nn.Module, input: Any, kwargs: dict[str, Any], device: str | None, options: Options):
        self.model, self.input, self.kwargs, self.device, self.options = model, input, kwargs, device, options
        self.base = trace(model, input, kwargs=kwargs, **options)
        self.peak = peak_memory(self.base, device)
        self.flops = cost(self.base).total.flops

    def table(self) -> Table[WhatIf]:
        rows = sorted(self.rows(), key=lambda row: (row.saved is None, -(row.saved or 0)))
        as_it_is = WhatIf("as it is", "", self.peak.peak, 0, self.peak.peak_reserved, 0)
        return table("what if", [as_it_is, *rows], WhatIf, model=self.base.name, input=self.base.input_text)

    def rows(self) -> Iterator[WhatIf]:
        yield from self._in_place()
        if self.base.train:
            yield from self._checkpoints()
            yield from self._optimizers()
            yield from self._resets()
        run = self.base.run
        if not run.dtype and not run.autocast:
            yield self._row("weights and activations in bfloat16", self.model, {"dtype": "bfloat16"})
            yield self._row("autocast to bfloat16", self.model, {"autocast": "bfloat16"})
        smaller = _smaller(self.input)
        if smaller is not None:
            yield self._row("one fewer in the batch", self.model, {}, input=smaller)

    # -- one variation ------------------------------------------------------------------------------------------------

    def _row(self, name: str, model: nn.Module, changed: Options, *, input: Any = None, note: str = "") -> WhatIf:
        try:
            graph = self._traced(model, changed, input)
        except CnnscopeError as error:
            return WhatIf(name, note=str(error).splitlines()[0])
        peak = peak_memory(graph, self.device)
        flops = cost(graph).total.flops
        extra = None if flops is None or self.flops is None else flops - self.flops
        return WhatIf(name, "", peak.peak, self.peak.peak - peak.peak, peak.peak_reserved, extra, note)

    def _traced(self, model: nn.Module, changed: Options, input: Any = None) -> ModelGraph:
        wanted = self.input if input is None else input
        return trace(model, wanted, kwargs=self.kwargs, **{**self.options, **changed})

    def _copy(self) -> nn.Module:
        with surroundings_kept(()):
            return stand_in(self.model)[0]

    # -- in-place activations -----------------------------------------------------------------------------------------

    def _in_place(self) -> Iterator[WhatIf]:
        """As many as autograd and the program allow."""
        wanted = [name for name, module in self.model.named_modules() if getattr(module, "inplace", None) is False]
        safe = _overwritable(self.base)
        possible = [name for name in wanted if name in safe]
        if not possible:
            return
        done = self._feasible([], possible)
        note = f"{len(done)} of {len(wanted)} activations; the others' inputs are needed again"
        if done:
            yield self._row(
                "activations in place", self._with_in_place(done), {}, note=note * (len(done) < len(wanted))
            )

    def _with_in_place(self, names: Sequence[str]) -> nn.Module:
        twin = self._copy()
        modules = dict(twin.named_modules())
        for name in names:
            modules[name].inplace = True
        return twin

    def _feasible(self, kept: list[str], more: list[str]) -> list[str]:
        """Of these, as many as can be in place together: all, or those of either half."""
        try:
            self._traced(self._with_in_place([*kept, *more]), {})
            return [*kept, *more]
        except CnnscopeError:
            if len(more) == 1:
                return kept
        half = len(more) // 2
        return self._feasible(self._feasible(kept, more[:half]), more[half:])

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def _checkpoints(self) -> Iterator[WhatIf]:
        saved = _saved_inside(self.base)
        one = sorted(saved, key=lambda path: -saved[path])[:_TRIED]
        found = [self._row(f"checkpoint {path}", self._with_checkpoints([path]), {}) for path in one]
        if found:
            best = max(found, key=lambda row: row.saved if row.saved is not None else -1)
            note = f"of single blocks the one that saves most; {len(found)} of {len(saved)} tried"
            yield dataclasses.replace(best, note=best.note or note)
        for depth in (1, 2, 3):
            paths = [path for path in saved if path.count(".") == depth - 1]
            if len(paths) > 1:
                name = f"checkpoint each of {len(paths)} blocks at depth {depth}"
                yield self._row(name, self._with_checkpoints(paths), {}, note=", ".join([*paths[:2], "..."]))

    def _with_checkpoints(self, paths: Sequence[str]) -> nn.Module:
        twin = self._copy()
        modules = dict(twin.named_modules())
        for path in paths:
            modules[path].__class__ = _checkpointed(type(modules[path]))
        return twin

    # -- optimizers and gradients -------------------------------------------------------------------------------------

    def _optimizers(self) -> Iterator[WhatIf]:
        if not self.options.get("optimizer"):
            return
        if any(storage.kind == "optimizer" for storage in self.base.storages):
            yield self._row("SGD without momentum", self.model, {"optimizer": "sgd"}, note="it learns differently")
        if self.base.run.foreach:
            yield self._row("optimizer tensor by tensor", self.model, {"foreach": False}, note="foreach=False; slower")

    def _resets(self) -> Iterator[WhatIf]:
        if not self.base.run.set_to_none:
            yield self._row("free gradients", self.model, {"set_to_none": True}, note="zero_grad(set_to_none=True)")
        if self.base.run.zero_grad == "before-backward":
            yield self._row("zero_grad before the forward", self.model, {"zero_grad": "before-forward"})


def _checkpointed(cls: type[nn.Module]) -> type[nn.Module]:
    """The class with a forward that saves its inputs alone and runs again in the backward pass."""

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        run: Callable[..., Any] = cls.forward
        return checkpoint(run, self, *args, use_reentrant=False, **kwargs)

    return type(cls.__name__, (cls,), {"forward": forward, "__module__": cls.__module__})


def _saved_inside(graph: ModelGraph) -> dict[str, int]:
    """Bytes saved for the backward by the operators of each module that calls others."""
    found: dict[str, int] = {}
    sizes = [0] * len(graph.calls)
    for storage in graph.storages:
        if storage.kind == "saved" and storage.born >= 0:
            call = graph.ops[storage.born].call
            while call > 0:
                sizes[call] += storage.bytes
                call = graph.calls[call].parent
    for module_call, size in zip(graph.calls, sizes, strict=True):
        if module_call.module and not module_call.leaf and size:
            found[module_call.module] = found.get(module_call.module, 0) + size
    return found


def _overwritable(graph: ModelGraph) -> set[str]:
    """Leaf modules whose input nothing reads after them, so that they may write their result over it."""
    last: dict[int, int] = {}
    forward = [(index, op) for index, op in enumerate(graph.ops) if op.phase == "forward"]
    for index, op in forward:
        for value in op.inputs:
            last[value.storage] = index
    kept = {value.storage for value in (*graph.inputs, *graph.outputs)} | {
        storage.id for storage in graph.storages if storage.born < 0
    }
    ends: dict[int, int] = {op.call: index for index, op in forward}
    safe: dict[str, bool] = {}
    for number, call in enumerate(graph.calls):
        if call.leaf and call.inputs and number in ends:
            storage = call.inputs[0].storage
            fine = storage not in kept and last.get(storage, -1) <= ends[number]
            safe[call.module] = safe.get(call.module, True) and fine
    return {path for path, fine in safe.items() if fine}


def _smaller(input: Any) -> Any:
    """The input with one fewer in the batch, or None where that cannot be said or there is but one."""
    import torch

    if isinstance(input, torch.Tensor):
        return input[:-1] if input.ndim and input.shape[0] > 1 else None
    if isinstance(input, (tuple, list)) and input and all(type(size) is int for size in input):
        return (input[0] - 1, *input[1:]) if input[0] > 1 else None
    if isinstance(input, (tuple, list)) and input:
        parts = [_smaller(each) for each in input]
        return None if any(part is None for part in parts) else type(input)(parts)
    return None
