"""What a random network is held against: its real run, torch's own counter, and what must not change."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
from real_steps import LiveBytes
from step_counts import ATTENTION
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cnnscope.analyses.liveness import timeline
from cnnscope.graph import ModelGraph, Value
from cnnscope.layouts import contiguous

from .nets import Net, inputs, tensors

_READ = "_local_scalar_dense"


def run_differences(graph: ModelGraph, run: LiveBytes) -> Iterator[str]:
    """Operators in order, each result's shape, type and strides, and the bytes alive after each.

    That a program reads one number is left out: nothing is made, and a trace writes down only reads of what it has.
    """
    ours = [at for at, op in enumerate(graph) if op.kind != _READ]
    theirs = [at for at, kind in enumerate(run.kinds) if kind != _READ]
    live = _live(graph)
    for at, real in zip(ours, theirs, strict=False):
        op = graph.ops[at]
        if op.kind != run.kinds[real]:
            break
        found = [_layout(value) for value in op.outputs]
        expected = [(shape, dtype, _told(shape, strides)) for shape, dtype, strides in run.made[real]]
        if found != expected:
            yield f"results of {op.kind} ({at}): traced {short(found)}, real {short(expected)}"
            break
        if live[at] != run.events[real]:
            yield f"bytes alive after {op.kind} ({at}): traced {live[at]}, real {run.events[real]}"
            break
    kinds, expected_kinds = [graph.ops[at].kind for at in ours], [run.kinds[at] for at in theirs]
    if kinds != expected_kinds:
        pairs = enumerate(zip(kinds, expected_kinds, strict=False))
        at = next((at for at, (a, b) in pairs if a != b), min(len(kinds), len(expected_kinds)))
        yield f"operator {at}: traced {kinds[at : at + 3]}, real {expected_kinds[at : at + 3]}"


def _live(graph: ModelGraph) -> list[int]:
    """Bytes alive after each operator beside what existed before; gradients and state of a step before count."""
    line = timeline(graph)
    given = [line.kinds[kind] for kind in ("param", "buffer", "input", "constant") if kind in line.kinds]
    before = list(map(sum, zip(*given, strict=True))) or [0] * len(graph)
    return [live - other for live, other in zip(line.total, before, strict=True)]


def _layout(value: Value) -> tuple[Any, ...]:
    return value.shape, value.dtype, _told(value.shape, value.strides or contiguous(value.shape))


def _told(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """Strides as far as they say anything: not where there is one element or none along the dimension."""
    return () if 0 in shape else tuple(stride for size, stride in zip(shape, strides, strict=True) if size != 1)


def real_run(net: Net) -> tuple[LiveBytes, Any, Exception | None]:
    net = copy.deepcopy(net).eval()
    args, kwargs = inputs(net.recipe)
    held = [each for module in net.modules() for each in tensors(list(vars(module).values()))]
    tracker = LiveBytes([*tensors((args, kwargs)), *net.parameters(), *net.buffers(), *held])
    try:
        with torch.no_grad(), tracker:
            result = net(*args, **kwargs)
    except Exception as error:
        return tracker, None, error
    return tracker, result, None


def real_macs(net: Net) -> int:
    """Half the FLOPs of torch's own counter, which knows no products with vectors: those here by their definition."""
    net = copy.deepcopy(net).eval()
    args, kwargs = inputs(net.recipe)
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping={**ATTENTION, **VECTORS}) as counter:
        net(*args, **kwargs)
    return counter.get_total_flops() // 2


def _of_matrix(matrix: Any, vector: Any, *rest: Any, **out: Any) -> int:
    return 2 * matrix[0] * matrix[1]


VECTORS: dict[Any, Any] = {
    torch.ops.aten._trilinear: lambda x, weight, y, *rest, **out: 4 * math.prod(x[:-1] and (x[0], *weight)),
    torch.ops.aten.mv: _of_matrix,
    torch.ops.aten.addmv: lambda bias, matrix, vector, *rest, **out: 2 * matrix[0] * matrix[1],
    torch.ops.aten.dot: lambda a, b, **out: 2 * a[0],
    torch.ops.aten.vdot: lambda a, b, **out: 2 * a[0],
}


def state(net: nn.Module) -> Any:
    """All of a model and its surroundings that a trace must leave alone."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_state_dict_hooks")
    numbers = [(name, each.dtype, each.requires_grad, each.grad is None, each.detach().clone().flatten().tolist())
               for name, each in (*net.named_parameters(), *net.named_buffers())]  # fmt: skip
    modules = [(name, type(each), each.training, sorted(vars(each)), [len(getattr(each, hook)) for hook in hooks])
               for name, each in net.named_modules()]  # fmt: skip
    return repr(numbers), modules, torch.get_rng_state().tolist(), random.getstate()


def content(graph: ModelGraph) -> dict[str, str]:
    lazily = {"_by_name", *[name for name, each in vars(ModelGraph).items() if isinstance(each, cached_property)]}
    return {name: repr(each) for name, each in vars(graph).items() if name not in lazily}


def short(thing: Any) -> str:
    text = str(thing)
    return text if len(text) < 300 else f"{text[:300]}..."
