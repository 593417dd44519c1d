"""What PyTorch's CPU allocator was really asked for, told by ``torch.profiler``.

The profiler writes down each allocation and free of the CPU allocator with its bytes, also those that kernels and
oneDNN make below the dispatcher. The peak of their running sum, on top of what existed before, is the truth that
predictions are held against. What the profiler itself needs does not come from that allocator; allocations of worker
threads inside a kernel are not reported by it and so are no part of the truth.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

BEGIN, OPERATOR = "cpu_truth.begin", "cpu_truth.operator"
os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # the profiler tells of each start and stop otherwise


def allocations(run: Callable[[], Any]) -> list[int]:
    """Bytes of every allocation (positive) and free (negative) of a run, in order.

    Freeing what was allocated before the run is not reported. Where the run marks a beginning (``mark()``), what came
    before is one first event, the bytes then alive.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    moments: list[tuple[int, int]] = []
    begin = 0
    for event in profiler.profiler.kineto_results.events():  # type: ignore[union-attr]
        name = event.name()
        if name == "[memory]":
            moments.append((event.start_ns(), event.nbytes()))
        elif name == BEGIN:
            begin = event.start_ns()
    moments.sort(key=lambda moment: moment[0])
    before = sum(size for time, size in moments if time < begin)
    after = [size for time, size in moments if time >= begin]
    return [before, *after] if begin else after


def mark() -> None:
    """Inside a run of ``allocations``: here begins what counts."""
    with record_function(BEGIN):
        pass


class Inside(NamedTuple):
    """Memory around one operator: the most above what was alive when it began, and what it left."""

    kind: str
    peak: int
    left: int


class _Marked(TorchDispatchMode):
    """Lets the profiler know where each operator begins and ends."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with record_function(f"{OPERATOR}{len(self.kinds)}"):
            result = func(*args, **(kwargs or {}))
        self.kinds.append(func._schema.name.partition("::")[2])
        return result


def operators(run: Callable[[], Any]) -> list[Inside]:
    """What every operator of a run allocates while it runs, in order."""
    marked = _Marked()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler, marked:
        run()
    moments, spans = [], {}
    for event in profiler.profiler.kineto_results.events():  # type: ignore[union-attr]
        name = event.name()
        if name == "[memory]":
            moments.append((event.start_ns(), event.nbytes()))
        elif name.startswith(OPERATOR):
            spans[int(name.removeprefix(OPERATOR))] = (event.start_ns(), event.end_ns())
    moments.sort(key=lambda moment: moment[0])
    times = [time for time, _ in moments]
    found = []
    for number, kind in enumerate(marked.kinds):
        begin, end = (bisect_left(times, time) for time in spans[number])
        sizes = [size for _, size in moments[begin:end]]
        found.append(Inside(kind, highest(sizes), sum(sizes)))
    return [each for each in found if not each.kind.startswith("_record_function")]


def highest(events: Iterable[int]) -> int:
    """The peak of a running sum, from nothing."""
    return max(accumulate(events, initial=0))


def storage_bytes(*things: Any) -> int:
    """Bytes of the distinct storages behind all tensors in modules and arguments."""
    found: dict[int, int] = {}
    for thing in things:
        tensors = [*thing.parameters(), *thing.buffers()] if isinstance(thing, nn.Module) else pytree.tree_leaves(thing)
        for tensor in tensors:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                found[storage._cdata] = storage.nbytes()
    return sum(found.values())


def inference_peak(model: nn.Module, *args: Any) -> int:
    """Peak bytes of one inference, parameters, buffers and inputs included.

    The model ran once before: what it caches in its first forward is there.
    """
    model.eval()
    with torch.no_grad():
        model(*args)
        return storage_bytes(model, args) + highest(allocations(lambda: model(*args)))


def training_peak(
    model: nn.Module, args: tuple[Any, ...], make: Callable[..., torch.optim.Optimizer] | None, loss: Callable[..., Any]
) -> int:
    """Peak bytes of the second training step: zero_grad (to None), forward, loss, backward, step."""
    model.train()
    optimizer = make([p for p in model.parameters() if p.requires_grad]) if make is not None else None

    def step() -> None:
        (optimizer or model).zero_grad()
        output = model(*args)
        total = loss(output)
        total.backward()
        if optimizer is not None:
            optimizer.step()

    def steps() -> None:
        step()
        mark()
        step()

    return storage_bytes(model, args) + highest(allocations(steps))
