"""Receptive fields held against the gradients of real networks.

The oracle is autograd in float64: with weights and inputs that cannot cancel, the gradient of one output element is
non-zero exactly where the element depends on the input. Where the field lies inside the input, both must agree to
the pixel; at the border the theoretical field is wider, and may only be wider.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from cnnscope.analyses import motions
from cnnscope.analyses.motions import Motion
from cnnscope.analyses.receptive import Field, follow, receptive_field, spatial_input
from cnnscope.analyses.windows import Windows
from cnnscope.table import Table
from cnnscope.tracing import trace

Stretch = tuple[int, int] | None


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Any], **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def field(model: nn.Module, shape: tuple[int, ...]) -> Table[Field]:
    return receptive_field(trace(model, shape))


def last(model: nn.Module, shape: tuple[int, ...]) -> Field:
    return list(field(model, shape).values())[-1]


def predicted(field: Windows, index: tuple[int, ...]) -> Stretch:
    """The hull of what the element at the index sees of one axis, not clipped."""
    ends = [window.at(index) for window in field]
    ends = [(low, high) for low, high in ends if low <= high]
    return (int(min(low for low, _ in ends)), int(max(high for _, high in ends))) if ends else None


def reached(gradient: Tensor, axis: int) -> Stretch:
    """The hull of the places of one axis at which a gradient is not zero."""
    places = gradient.abs().movedim(axis, 0).flatten(1).sum(1).nonzero().flatten().tolist()
    return (places[0], places[-1]) if places else None


def some_indices(sizes: list[int], count: int) -> set[tuple[int, ...]]:
    """The first and the last element, the one in the middle, and others at random."""
    chance = random.Random(0)
    found = {tuple(0 for _ in sizes), tuple(n - 1 for n in sizes), tuple(n // 2 for n in sizes)}
    return found | {tuple(chance.randrange(n) for n in sizes) for _ in range(count - 3)}


@contextlib.contextmanager
def nothing_beyond_the_ends() -> Iterator[None]:
    """Every motion written out index by index: fields as they are at the border, where padding sees nothing."""

    def written_out(size: int, advance: int | None, lows: Any, highs: Any) -> Motion:
        if advance is not None:
            entries = [Motion(size, advance, lows, highs).at(i) for i in range(size)]
            lows, highs = tuple(low for low, _ in entries), tuple(high for _, high in entries)
        moves = any(lows) or any(highs)
        return Motion(size, None, lows[:size], highs[:size]) if moves else motions.still(size)

    with mock.patch.object(motions, "_shortest", written_out):
        for cached in (motions.reread, motions._split):
            cached.cache_clear()
        yield
    for cached in (motions.reread, motions._split):
        cached.cache_clear()


def fields_of(model: nn.Module, shape: tuple[int, ...]) -> tuple[list[Windows], tuple[int, ...]]:
    """What the model's (first) output sees of each axis, and the axes."""
    graph = trace(model, shape)
    source, axes = spatial_input(graph)
    assert source is not None
    known, missing = follow(graph, source, axes)
    assert not missing, missing
    field = known.get(graph.outputs[0].name, ((),) * len(axes))
    assert field is not None
    sizes = graph.outputs[0].shape
    assert all(tuple(m.size for m in w.motions) == sizes for ws in field for w in ws), "motions as large as the tensor"
    return list(field), axes


def compare(model: nn.Module, shape: tuple[int, ...], *, twin: nn.Module | None = None, count: int = 8,
            inside: str = "exact", border: str = "exact", written: str = "exact") -> tuple[int, int]:  # fmt: skip
    """Hold the fields of some elements of the model's output against gradients; counts them and those inside.

    inside, border: whether the theoretical field, clipped to the input, is "exact" or may be "wider", or may be
    "other" (reflection pads read elsewhere), for elements whose field lies inside the input and for the others.
    written: the same for the field with nothing beyond the ends. twin: the same structure, with gradients everywhere.
    """
    theory, axes = fields_of(model, shape)
    with nothing_beyond_the_ends():
        border_too = fields_of(model, shape)[0]
    x, out = _run(twin or model, shape)
    moving = sorted({d for ws in theory + border_too for w in ws for d, m in enumerate(w.motions) if not m.still})
    weighted = out * torch.rand_like(out).add_(0.5)  # or softmax over channels would have no gradient
    summed = weighted.sum([d for d in range(out.dim()) if d not in moving]) if len(moving) < out.dim() else weighted
    lengths = [shape[axis] for axis in axes]
    indices = some_indices([out.shape[d] for d in moving], count)
    within = 0
    for at in indices:
        (gradient,) = torch.autograd.grad(summed[at], x, retain_graph=True)
        index = tuple(at[moving.index(d)] if d in moving else 0 for d in range(out.dim()))
        found = [reached(gradient, axis) for axis in axes]
        stretches = [predicted(ws, index) for ws in theory]
        is_inside = all(s is None or (s[0] >= 0 and s[1] < n) for s, n in zip(stretches, lengths, strict=True))
        within += is_inside
        hold(found, stretches, lengths, inside if is_inside else border)
        hold(found, [predicted(ws, index) for ws in border_too], lengths, written)
    return len(indices), within


def hold(found: list[Stretch], stretches: list[Stretch], lengths: list[int], how: str) -> None:
    ends = [clipped(s, n) for s, n in zip(stretches, lengths, strict=True)]
    if how == "exact":
        assert found == (ends if None not in ends else [None] * len(ends)), stretches
    elif how == "wider":
        for seen, end in zip(found, ends, strict=True):
            assert seen is None or (end and end[0] <= seen[0] and seen[1] <= end[1]), (found, stretches)


def clipped(stretch: Stretch, length: int) -> Stretch:
    if stretch is None or stretch[1] < 0 or stretch[0] >= length:
        return None
    return max(stretch[0], 0), min(stretch[1], length - 1)


def _run(net: nn.Module, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """A real run with weights and an input between 0.5 and 1.5: nothing cancels."""
    torch.manual_seed(0)
    net = net.double().eval()
    for parameter in net.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    x = torch.rand(shape, dtype=torch.float64).add_(0.5).requires_grad_()
    return x, net(x)
