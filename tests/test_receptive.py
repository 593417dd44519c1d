"""Receptive fields: what papers print, and what the gradients of real networks reach.

The oracle is autograd in float64: with weights and inputs that cannot cancel, the gradient of one output element is
non-zero exactly where the element depends on the input. Where the field lies inside the input, both must agree to
the pixel; at the border the theoretical field is wider, and may only be wider.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cnnscope.analyses.receptive import Field, follow, receptive_field, spatial_input
from cnnscope.analyses.windows import Window
from cnnscope.table import Table
from cnnscope.tracing import trace
from cnnscope.zoo import build


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


# -- the oracle -------------------------------------------------------------------------------------------------------

Stretch = tuple[int, int] | None


def predicted(windows: tuple[Window, ...], index: tuple[int, ...]) -> Stretch:
    """The hull of what the element at the index sees of one axis, not clipped."""
    ends = [window.at(index) for window in windows]
    ends = [(low, high) for low, high in ends if low <= high]
    return (int(min(low for low, _ in ends)), int(max(high for _, high in ends))) if ends else None


def reached(gradient: Tensor, axis: int) -> Stretch:
    """The hull of the places of one axis at which a gradient is not zero."""
    places = gradient.abs().movedim(axis, 0).flatten(1).sum(1).nonzero().flatten().tolist()
    return (places[0], places[-1]) if places else None


def positions(moving: list[int], shape: torch.Size, limit: int) -> Iterator[tuple[int, ...]]:
    """Indices of an output along the dimensions that matter, spread evenly, ends and middle among them."""
    count = max(2, math.ceil(limit ** (1 / max(len(moving), 1))))
    picks = []
    for size in (shape[d] for d in moving):
        step = max(1, (size - 1) / (count - 1))
        picks.append(sorted({0, size // 2, size - 1, *(round(i * step) for i in range(count) if i * step < size)}))
    return product(*picks)


def compare(model: nn.Module, shape: tuple[int, ...], *, twin: nn.Module | None = None, limit: int = 9,
            border: str = "wider", positive: bool = True) -> tuple[int, int]:  # fmt: skip
    """Hold the fields of the model's output against gradients; counts the elements compared and those inside.

    border: whether at the border the field may be "wider" than the gradient, has to be "exact", or may be "other"
    (reflection pads read elsewhere). twin: a model of the same structure that has a gradient everywhere.
    """
    graph = trace(model, shape)
    source, axes = spatial_input(graph)
    assert source is not None
    known, missing = follow(graph, source, axes)
    assert not missing, missing
    field = known[graph.outputs[0].name]
    assert field is not None
    net = (twin or model).double().eval()
    for parameter in net.parameters() if positive else ():
        nn.init.uniform_(parameter, 0.5, 1.5)
    x = torch.rand(shape, dtype=torch.float64).add_(0.5).requires_grad_()
    out = net(x)
    assert out.shape == graph.outputs[0].shape
    assert all(m.size == n for ws in field for w in ws for m, n in zip(w.motions, out.shape, strict=True))
    moving = sorted({d for ws in field for w in ws for d, motion in enumerate(w.motions) if not motion.still})
    summed = out.sum([d for d in range(out.dim()) if d not in moving]) if len(moving) < out.dim() else out
    compared = inside = 0
    for at in positions(moving, out.shape, limit):
        (gradient,) = torch.autograd.grad(summed[at], x, retain_graph=True)
        index = tuple(at[moving.index(d)] if d in moving else 0 for d in range(out.dim()))
        stretches = [predicted(windows, index) for windows in field]
        found = [reached(gradient, axis) for axis in axes]
        lengths = [shape[axis] for axis in axes]
        within = all(s is None or s[0] >= 0 and s[1] < n for s, n in zip(stretches, lengths, strict=True))
        compared, inside = compared + 1, inside + within
        if within or border == "exact":
            clipped = [s and (max(s[0], 0), min(s[1], n - 1)) for s, n in zip(stretches, lengths, strict=True)]
            assert found == clipped, (index, stretches)
        elif border == "wider":
            for seen, stretch in zip(found, stretches, strict=True):
                assert seen is None or stretch and stretch[0] <= seen[0] and seen[1] <= stretch[1], (index, stretches)
    return compared, inside


# -- random networks --------------------------------------------------------------------------------------------------


class Branches(nn.Module):
    """Several ways that may begin at different places, added up or side by side."""

    def __init__(self, rank: int, ways: list[nn.Module], join: str) -> None:
        super().__init__()
        self.ways, self.join = nn.ModuleList(ways), join
        self.mix = CONVS[rank](WIDTH * len(ways), WIDTH, 1) if join == "cat" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        results = [way(x) for way in self.ways]
        size = [min(r.shape[d] for r in results) for d in range(2, x.dim())]
        if self.join == "even":  # cut to one size, at the end only: the ways' starts differ
            results = [r[(..., *(slice(0, n) for n in size))] for r in results]
        return self.mix(torch.cat(results, 1) if self.join == "cat" else sum(results[1:], results[0]))


Layer = Callable[[bool], nn.Module]  # with max pools, or with averages in their place
CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOLS = {1: (nn.MaxPool1d, nn.AvgPool1d), 2: (nn.MaxPool2d, nn.AvgPool2d), 3: (nn.MaxPool3d, nn.AvgPool3d)}
PADS = {1: nn.ConstantPad1d, 2: nn.ConstantPad2d, 3: nn.ConstantPad3d}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
WIDTH = 4


@st.composite
def layer(draw: st.DrawFn, rank: int, deep: int = 1) -> Layer:
    def each(low: int, high: int) -> tuple[int, ...]:
        return draw(st.tuples(*[st.integers(low, high)] * rank))

    kind = draw(st.sampled_from(["conv", "conv", "pool", "transposed", "up", "pad", "adaptive", "shuffle", "join", "join"]))
    if kind == "conv":
        groups = draw(st.sampled_from([1, 2, WIDTH]))
        args = (each(1, 5), each(1, 3), each(0, 3), each(1, 2), groups)
        return lambda twin: CONVS[rank](WIDTH, WIDTH, *args)
    if kind == "pool":
        kernel, stride, ceil = each(1, 4), each(1, 3), draw(st.booleans())
        padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
        return lambda twin: POOLS[rank][twin](kernel, stride, padding, ceil_mode=ceil)
    if kind == "transposed":
        stride, dilation = each(1, 3), each(1, 2)
        extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
        args = (each(1, 4), stride, each(0, 2), extra, 1, True, dilation)
        return lambda twin: TRANSPOSED[rank](WIDTH, WIDTH, *args)
    if kind == "up":
        mode = draw(st.sampled_from(["nearest", "nearest-exact", LINEAR[rank]]))
        corners = {"align_corners": draw(st.booleans())} if mode == LINEAR[rank] else {}
        scale = draw(st.sampled_from([2.0, 3.0, 1.5, 0.5]))
        return lambda twin: nn.Upsample(scale_factor=scale, mode=mode, **corners)
    if kind == "pad":
        pad = tuple(draw(st.integers(0, 2)) for _ in range(2 * rank))
        return lambda twin: PADS[rank](pad, 0.0)
    if kind == "adaptive":
        return draw(_adaptive(rank))
    if kind == "shuffle" and rank == 2:
        return lambda twin: nn.Sequential(nn.PixelShuffle(2), nn.Conv2d(1, WIDTH, 1))
    return draw(_branches(rank, deep))


@st.composite
def _adaptive(draw: st.DrawFn, rank: int) -> Layer:
    sizes = draw(st.tuples(*[st.integers(3, 9)] * rank))
    pool = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}[rank]
    return lambda twin: pool(sizes)


@st.composite
def _branches(draw: st.DrawFn, rank: int, deep: int) -> Layer:
    join = draw(st.sampled_from(["cat", "add", "even"]))
    if join == "even" and deep:
        ways = draw(st.lists(st.lists(layer(rank, 0), min_size=0, max_size=2), min_size=2, max_size=3))
    else:
        ways = [[_same(rank, draw(st.integers(0, 3)), draw(st.integers(1, 2)))] for _ in range(draw(st.integers(2, 3)))]
    return lambda twin: Branches(rank, [nn.Sequential(*[make(twin) for make in way]) for way in ways], join)


def _same(rank: int, half: int, dilation: int) -> Layer:
    return lambda twin: CONVS[rank](WIDTH, WIDTH, 2 * half + 1, 1, half * dilation, dilation)


SIZES = {1: (61,), 2: (29, 26), 3: (13, 11, 12)}


@pytest.mark.parametrize("rank", [1, 2, 3])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_random_networks_see_what_their_gradients_reach(rank: int, data: st.DataObject) -> None:
    first = CONVS[rank](3, WIDTH, 1)  # tells the rank of the input
    layers = data.draw(st.lists(layer(rank), min_size=1, max_size=4))
    shape = (1, 3, *SIZES[rank])
    try:
        model = nn.Sequential(first, *[make(False) for make in layers]).to("meta")
        out = model(torch.empty(shape, device="meta"))
        nn.Sequential(*[make(True) for make in layers])
    except (RuntimeError, ValueError):
        assume(False)
    assume(0 < out.numel() < 200_000)
    twin = nn.Sequential(CONVS[rank](3, WIDTH, 1), *[make(True) for make in layers])
    note(repr(model))
    compare(model, shape, twin=twin)
