"""Receptive fields of random networks: what their gradients reach, through branches too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st
from receptive_oracle import compare, last
from torch import Tensor, nn


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
KINDS = ["conv", "pool", "transposed", "up", "pad", "adaptive", "shuffle", "join"]
WIDTH = 4


@st.composite
def layer(draw: st.DrawFn, rank: int, deep: int = 1) -> Layer:
    def each(low: int, high: int) -> tuple[int, ...]:
        return draw(st.tuples(*[st.integers(low, high)] * rank))

    kind = draw(st.sampled_from([*KINDS, "conv", "join"]))
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
@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_random_networks_see_what_their_gradients_reach(rank: int, data: st.DataObject) -> None:
    layers = data.draw(st.lists(layer(rank), min_size=1, max_size=4))
    shape = (1, 3, *SIZES[rank])

    def make(twin: bool) -> nn.Module:
        return nn.Sequential(CONVS[rank](3, WIDTH, 1), *[layer(twin) for layer in layers])  # first, a tell of the rank

    assume(all(sound(make(twin).to("meta"), shape) for twin in (False, True)))
    model = make(False)
    note(repr(model))
    inside = "wider" if any(map(crops, model.modules())) else "exact"
    # Where one branch lies in the padding along one axis, it sees nothing along the others either.
    written = "wider" if any(isinstance(module, Branches) for module in model.modules()) else "exact"
    compare(model, shape, twin=make(True), inside=inside, border="wider", written=written)


def sound(model: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether it runs, is not large, and no map shrinks to one position, which says nothing of jumps."""
    sizes: list[torch.Size] = []
    for module in model.modules():
        module.register_forward_hook(lambda module, inputs, output: sizes.append(output.shape))
    try:
        model(torch.empty(shape, device="meta"))
    except (RuntimeError, ValueError):  # too small for its kernel
        return False
    return min(n for size in sizes for n in size[2:]) > 1 and max(size.numel() for size in sizes) < 200_000


def crops(module: nn.Module) -> bool:
    """Whether it leaves out what is there: a padding after it then sees, in theory, what was left out."""
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        sizes = zip(module.padding, module.kernel_size, module.dilation, module.stride, strict=True)
        return any(p > max(0, (k - 1) * d - s + 1) for p, k, d, s in sizes)
    if isinstance(module, nn.Upsample):  # 13 positions by 1.5 are 19: of the last one half
        return module.scale_factor not in (2.0, 3.0)
    return isinstance(module, Branches) and module.join == "even"


@settings(max_examples=30, deadline=None, derandomize=True)
@given(data=st.data())
def test_concatenation_and_sum_have_the_same_field(data: st.DataObject) -> None:
    """Both are the hull of their branches, whose starts differ."""
    pads = data.draw(
        st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=4)
    )

    def way(kernel: int, left: int, right: int) -> nn.Module:
        extra = kernel - 1 - left  # as many as keep the size
        return nn.Sequential(nn.ConstantPad1d((left, extra), 0.0), nn.Conv1d(WIDTH, WIDTH, kernel))

    both = [last(Branches(1, [way(*pad) for pad in pads], join), (1, WIDTH, 20)) for join in ("cat", "add")]
    starts, ends = [-left for _, left, _ in pads], [kernel - 1 - left for kernel, left, _ in pads]
    for row in both:
        assert row.start == (min(starts),) and row.size == (max(ends) - min(starts) + 1,)
