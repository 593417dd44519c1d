"""Receptive fields: what papers print, and what the gradients of real networks reach.

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

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cnnscope.analyses import windows
from cnnscope.analyses.receptive import Field, follow, receptive_field, spatial_input
from cnnscope.analyses.windows import Motion, Windows
from cnnscope.libraries import torchvision_model
from cnnscope.table import Table
from cnnscope.tracing import trace
from cnnscope.zoo import build, entry, names


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


# -- what is published ------------------------------------------------------------------------------------------------


def at(table: Table[Field], end: str) -> tuple[int | None, float | None, int | None]:
    """Size, jump and start of the operator whose name starts like this; both axes alike."""
    (row,) = [row for name, row in table.items() if name.startswith(f"{end}.")]
    both = [(size, jump, start) for size, jump, start in zip(row.size, row.jump, row.start, strict=True)]
    assert both[0] == both[1]
    return both[0]


def test_vgg16() -> None:
    """Araujo, Norris, Sim (Distill 2019): vgg_16 sees 212, effective stride 32, effective padding 90."""
    table = field(build("vgg16"), (1, 3, 224, 224))
    assert [at(table, f"pool{i}")[0] for i in range(1, 6)] == [6, 16, 44, 100, 212]
    assert at(table, "conv5_3") == (196, 16, -90)
    assert at(table, "pool5") == (212, 32, -90)
    assert not table["pool5.max_pool2d_with_indices"].whole
    assert table["fc6.addmm"].size == (404, 404) and table["fc6.addmm"].whole and table["fc6.addmm"].jump == (0, 0)
    assert table.total.size == (404, 404) and not table.missing


@pytest.mark.parametrize("name", ["alexnet", "alexnet_grouped"])
def test_alexnet(name: str) -> None:
    """alexnet_v2 of the same table, every layer; the normalisation between them slides over channels only."""
    table = field(build(name), (1, 3, 227, 227))
    sizes = {"conv1": (11, 4, 0), "pool1": (19, 8, 0), "conv2": (51, 8, -16), "conv3": (99, 16, -32),
             "conv4": (131, 16, -48), "conv5": (163, 16, -64), "pool3": (195, 32, -64)}  # fmt: skip
    assert {end: at(table, end) for end in sizes} == sizes


def test_three_3x3_see_as_far_as_one_7x7() -> None:
    """VGG, section 2.3."""
    one, three = last(build("conv7x7"), (1, 256, 28, 28)), last(build("stack3x3"), (1, 256, 28, 28))
    assert one.size == three.size == (7, 7)
    assert one.start == three.start == (-3, -3)


class Unit(nn.Module):
    """A bottleneck of TF-slim's resnet_v1, which strides in the last unit of a block; widths do not matter."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.conv, self.stride = nn.Conv2d(1, 1, 3, stride, 1), stride

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + x[:, :, :: self.stride, :: self.stride]


@pytest.mark.parametrize(
    "units, size, padding",
    [((3, 4, 6, 3), 483, 239), ((3, 4, 23, 3), 1027, 511), ((3, 8, 36, 3), 1507, 751), ((3, 24, 36, 3), 1763, 879)],
    ids=["resnet_v1_50", "resnet_v1_101", "resnet_v1_152", "resnet_v1_200"],
)
def test_resnets_of_the_table(units: tuple[int, ...], size: int, padding: int) -> None:
    """resnet_v1_50, 101, 152, 200 of the same table: through shortcuts the hull of both ways."""
    strides = [2 if last and block < 3 else 1 for block, n in enumerate(units) for last in [False] * (n - 1) + [True]]
    stem = [nn.Conv2d(1, 1, 7, 2, 3), nn.MaxPool2d(3, 2, ceil_mode=True)]  # TensorFlow pads 112 at its end only
    row = last(nn.Sequential(*stem, *map(Unit, strides)), (1, 1, 224, 224))
    assert row.size == (size, size) and row.jump == (32, 32)
    assert row.start == (-padding, -padding)
    assert row.whole


@pytest.mark.parametrize(
    "name, size, padding", [("resnet50", 483, 239), ("resnet101", 1027, 511), ("resnet152", 1507, 751)]
)
def test_resnets_of_the_zoo(name: str, size: int, padding: int) -> None:
    """The paper's nets stride one unit later and in another layer than TF-slim's, and see just as far."""
    table = field(build(name), (1, 3, 224, 224))
    row = table["conv5_x.block3.relu.relu"]
    assert row.size == (size, size) and row.jump == (32, 32) and row.start == (-padding, -padding)
    assert table.total.whole and table.total.jump == (0, 0)


def test_inception_v3() -> None:
    """inception_v3 of the same table: 1311, stride 32, padding 618, through branches that see unequal rectangles."""
    table = field(torchvision_model("inception_v3")(), (1, 3, 299, 299))
    row = table["Mixed_7c.cat#3"]
    assert row.size == (1311, 1311) and row.jump == (32, 32) and row.start == (-618, -618)
    assert table["Mixed_6b.branch7x7_2.conv.convolution"].size == (159, 255)
    assert not table.missing


def test_googlenet_modules_see_what_their_widest_branch_sees() -> None:
    table = field(build("googlenet"), (1, 3, 224, 224))
    for module in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        five, joined = table[f"inception{module}.5x5.conv.convolution"], table[f"inception{module}.cat"]
        assert five.size == joined.size and five.start == joined.start
    assert table["pool5.avg_pool2d"].whole


@pytest.mark.parametrize("name", names())
def test_no_network_of_the_zoo_has_an_unknown_field(name: str) -> None:
    with torch.device("meta"):
        model = build(name)
    table = field(model, tuple(entry(name)["input"]))
    assert not table.missing


FAMILIES = [
    *("densenet121", "efficientnet_b0", "maxvit_t", "mobilenet_v3_small", "regnet_y_400mf", "shufflenet_v2_x0_5"),
    *("squeezenet1_1", "swin_t", "swin_v2_t", "vit_b_32", "convnext_tiny", "mnasnet0_5", "wide_resnet50_2"),
]


@pytest.mark.parametrize("name", FAMILIES)
def test_families_of_torchvision_end_seeing_everything(name: str) -> None:
    table = field(torchvision_model(name)(), (1, 3, 224, 224))
    assert not table.missing
    assert table.total.whole and table.total.jump == (0, 0)


# -- the oracle -------------------------------------------------------------------------------------------------------

Stretch = tuple[int, int] | None


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
        return Motion(size, None, lows[:size], highs[:size]) if moves else windows.still(size)

    with mock.patch.object(windows, "_shortest", written_out):
        for cached in (windows.reread, windows._split):
            cached.cache_clear()
        yield
    for cached in (windows.reread, windows._split):
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


# -- operators one by one ---------------------------------------------------------------------------------------------


class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.down, self.up = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x * torch.sigmoid(self.up(torch.relu(self.down(F.adaptive_avg_pool2d(x, 1)))))


class Windowed(nn.Module):
    """Attention within windows of 4 x 4, the second time with the windows shifted (Swin)."""

    def __init__(self, shift: int, *, blocks: int = 1) -> None:
        super().__init__()
        self.conv, self.qkv = nn.Conv2d(3, 4, 2, 2), nn.Linear(4, 12)
        self.shifts = [shift, 0] * blocks

    def attend(self, x: Tensor, shift: int) -> Tensor:
        n, h, w, c = x.shape
        x = torch.roll(x, (-shift, -shift), (1, 2))
        tokens = x.view(n, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)
        q, k, v = self.qkv(tokens).chunk(3, -1)
        y = torch.softmax(q @ k.transpose(1, 2) / 1e6, -1) @ v
        y = y.view(n, h // 4, w // 4, 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)
        return torch.roll(y, (shift, shift), (1, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).permute(0, 2, 3, 1)
        for shift in self.shifts:
            x = x + self.attend(x, shift)
        return x.permute(0, 3, 1, 2)


class Tokens(nn.Module):
    """Patches with a class token in front; what is done with them is given."""

    def __init__(self, then: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.token, self.then = nn.Conv2d(3, 4, 3, 3), nn.Parameter(torch.zeros(1, 1, 4)), then

    def forward(self, x: Tensor) -> Tensor:
        return self.then(torch.cat([self.token, self.conv(x).flatten(2).transpose(1, 2)], 1))


def convolve(x: Tensor) -> Tensor:
    return F.conv2d(x, torch.ones(2, 4, 2, 2, dtype=x.dtype), padding=1)


def shuffle_by_hand(x: Tensor) -> Tensor:
    return x.view(1, 1, 2, 2, 4, 4).permute(0, 1, 4, 2, 5, 3).reshape(1, 1, 8, 8)


def attention(x: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(x, x * 1.1, x)


BORDER = {"border": "wider"}
ELSEWHERE = {"border": "other", "written": "other"}
CASES: dict[str, tuple[Any, tuple[int, ...], dict[str, Any]]] = {
    # name: what is done with the result of a convolution (or a whole model), the input, how to compare
    "squeeze and excite": (SqueezeExcite(), (1, 3, 9, 8), {}),
    "response norm": (nn.LocalResponseNorm(3), (1, 3, 9, 8), {}),
    "group norm": (nn.GroupNorm(2, 4), (1, 3, 9, 8), {}),
    "instance norm": (nn.InstanceNorm2d(4), (1, 3, 9, 8), {}),
    "batch norm": (nn.BatchNorm2d(4), (1, 3, 9, 8), {}),
    "norm over width": (lambda x: F.layer_norm(x, x.shape[3:]), (1, 3, 9, 8), {}),
    "norm over channels": (lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,)), (1, 3, 9, 8), {}),
    "softmax over width": (lambda x: x.softmax(-1), (1, 3, 9, 8), {}),
    "softmax over channels": (lambda x: x.softmax(1), (1, 3, 9, 8), {}),
    "mean over height": (lambda x: x.mean(2), (1, 3, 9, 8), {}),
    "variance over all": (lambda x: x.var((2, 3), keepdim=True), (1, 3, 9, 8), {}),
    "sum of all": (lambda x: x.square().sum()[None], (1, 3, 9, 8), {}),
    "flatten and linear": (nn.Sequential(nn.Flatten(), nn.Linear(4 * 4 * 4, 3)), (1, 3, 9, 8), {}),
    "linear over width": (nn.Linear(4, 3), (1, 3, 9, 8), {}),
    "linear over channels": (nn.Sequential(Function(lambda x: x.movedim(1, 3)), nn.Linear(4, 3)), (1, 3, 9, 8), {}),
    "pixel shuffle": (nn.Sequential(nn.PixelShuffle(2), nn.Conv2d(1, 2, 3, padding=1)), (1, 3, 13, 12), BORDER),
    "pixel unshuffle": (nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(16, 2, 2)), (1, 3, 13, 12), {}),
    "pixel shuffle by hand": (shuffle_by_hand, (1, 3, 9, 8), {}),
    "channel shuffle": (lambda x: x.view(1, 2, 2, 4, 4).transpose(1, 2).reshape(1, 4, 4, 4), (1, 3, 9, 8), {}),
    "space to depth": (lambda x: torch.cat([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 1), (1, 3, 9, 8), {}),
    "focus crop": (lambda x: x[:, :, 1:-1, -3:], (1, 3, 13, 12), {}),
    "every second from the end": (lambda x: x.flip(-1)[..., ::2], (1, 3, 9, 8), {}),
    "flip both": (lambda x: x.flip(2, 3) + x, (1, 3, 9, 8), {}),
    "flip and convolve": (lambda x: convolve(x.flip(3)), (1, 3, 13, 12), BORDER),
    "roll": (lambda x: x.roll((1, -2), (2, 3)), (1, 3, 9, 8), {}),
    "roll and convolve": (lambda x: convolve(x.roll(1, 3)), (1, 3, 13, 12), {}),
    "repeat": (lambda x: x.repeat(1, 1, 1, 2), (1, 3, 9, 8), {}),
    "cumulative sum": (lambda x: x.cumsum(2), (1, 3, 9, 8), {}),
    "transposed": (lambda x: x.transpose(2, 3), (1, 3, 9, 12), {}),
    "tiles": (lambda x: x.reshape(1, 4, 2, 2, 2, 2).mean((3, 5)), (1, 3, 9, 8), {}),
    "halves side by side": (lambda x: torch.cat([x[..., 2:], x[..., :2]], 3), (1, 3, 9, 8), {}),
    "stack": (lambda x: torch.stack([x, x.mean(3, keepdim=True).expand_as(x)], 2), (1, 3, 9, 8), {}),
    "rows one by one": (lambda x: torch.stack(x.unbind(2), 3), (1, 3, 9, 8), {}),
    "chunks": (lambda x: x.chunk(2, 3)[1][:, :, 1:] * x.split([1, 3], 2)[1][..., :2], (1, 3, 9, 8), {}),
    "outer product": (lambda x: torch.einsum("nchw,nchv->nwv", x, x), (1, 3, 9, 8), {}),
    "attention of rows": (lambda x: attention(x.flatten(0, 1)), (1, 3, 9, 8), {}),
    "scores of rows": (lambda x: x[0] @ x[0].transpose(1, 2), (1, 3, 9, 8), {}),
    "transposed with holes": (nn.ConvTranspose2d(4, 2, 1, 3), (1, 3, 9, 8), {}),
    "bicubic": (nn.Upsample(scale_factor=2, mode="bicubic"), (1, 3, 29, 28), BORDER),
    "to the corners": (nn.Upsample(size=(7, 5), mode="bicubic", align_corners=True), (1, 3, 29, 28), BORDER),
    "made smaller": (nn.Upsample(size=(3, 5), mode="bilinear"), (1, 3, 29, 28), BORDER),
    "reflection": (nn.ReflectionPad2d((1, 2, 3, 0)), (1, 3, 13, 12), ELSEWHERE),
    "replication": (nn.ReplicationPad2d(2), (1, 3, 13, 12), ELSEWHERE),
    "same padding": (nn.Conv2d(4, 2, 4, padding="same"), (1, 3, 13, 12), {}),
    "cropped by padding": (lambda x: F.pad(x, (-1, 0, 2, -1)), (1, 3, 19, 12), BORDER),
    "window attention": (Windowed(0), (1, 3, 16, 24), {}),
    "shifted window attention": (Windowed(2), (1, 3, 16, 24), {}),
    "many shifted windows": (Windowed(1, blocks=2), (1, 3, 40, 24), {}),
    "tokens": (Tokens(lambda x: x + x[:, :1]), (1, 3, 9, 12), {}),
    "tokens that attend": (Tokens(attention), (1, 3, 9, 12), {}),
    "tokens without the first": (Tokens(lambda x: x[:, 1:].transpose(1, 2).reshape(1, 4, 3, 4)), (1, 3, 9, 12), {}),
    "one dimension, no batch": (nn.Conv1d(3, 2, 3, 2), (3, 15), {}),
    "three dimensions": (nn.ConvTranspose3d(3, 2, (2, 3, 1), (2, 1, 2)), (1, 3, 5, 4, 6), {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_operators_see_what_their_gradients_reach(case: str) -> None:
    then, shape, how = CASES[case]
    if not isinstance(then, SqueezeExcite | Windowed | Tokens | nn.Conv1d | nn.ConvTranspose3d):
        step = then if isinstance(then, nn.Module) else Function(then)
        then = nn.Sequential(nn.Conv2d(3, 4, (3, 2), 2), step)
    compare(then, shape, **{"count": 20, **how})


# -- what is not known ------------------------------------------------------------------------------------------------


class Sampled(nn.Module):
    """Where grid_sample reads, the values of a tensor decide."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.before(x)
        grid = F.affine_grid(torch.eye(2, 3, device=x.device).unsqueeze(0), list(x.shape), align_corners=False)
        return x, self.after(F.grid_sample(x, grid, align_corners=False))


def test_an_operator_without_a_rule_is_named_and_what_follows_is_unknown() -> None:
    table = field(Sampled(), (1, 3, 12, 12))
    assert dict(table.missing) == {"grid_sampler_2d": 1}
    unknown = table["grid_sampler_2d"]
    assert unknown.size is None and unknown.whole is None and unknown.missing == ("grid_sampler_2d",)
    after = table["after.convolution"]
    assert after.size is None and after.whole is None and after.missing == ()
    assert table["before.convolution"].size == (3, 3)


def test_what_does_not_depend_on_the_input_has_no_field() -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)))
    table = field(model, (1, 3, 8, 8))
    (norm,) = [row for row in table.values() if row.kind == "_weight_norm_interface"]
    assert norm.size is None and norm.whole is False and norm.missing == ()
    zeros = field(Function(lambda x: torch.zeros_like(x).cos()), (1, 3, 8, 8))
    assert [row.size for row in zeros.values()] == [None, None] and not zeros.missing


class Shifted(nn.Module):
    """Writes through a view of a tensor that is read again."""

    def __init__(self, write: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.write = nn.Conv2d(3, 3, 3, padding=1), write

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        self.write(y, x)
        return y + 1


def test_writes_through_views() -> None:
    relu = last(Shifted(lambda y, x: y[:, 1:].relu_()), (1, 3, 8, 8))
    assert relu.size == (3, 3) and not relu.missing
    zeroed = last(Shifted(lambda y, x: y[..., 0].zero_()), (1, 3, 8, 8))
    assert zeroed.size == (3, 3) and not zeroed.missing
    moved = last(Shifted(lambda y, x: y[..., 1:].add_(x[..., :-1])), (1, 3, 8, 8))
    assert moved.size is None and moved.missing == ("add",)
    whole = last(Shifted(lambda y, x: y.add_(x.mean((2, 3), keepdim=True))), (1, 3, 8, 8))
    assert whole.size == (9, 9), "all of the input, 0 to 7, and for the first element the padding at -1"


def test_a_detached_tensor_sees_what_it_was_made_from() -> None:
    assert last(Shifted(lambda y, x: y.data.relu_()), (1, 3, 8, 8)).size == (3, 3)
    data = field(nn.Sequential(nn.Conv2d(3, 3, 3), Function(lambda x: x.detach().data.exp())), (1, 3, 8, 8))
    assert data.total.size == (3, 3) and not data.missing


def test_circular_padding_is_unknown() -> None:
    row = last(nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular"), (1, 3, 8, 8))
    assert row.size is None and row.whole is None


# -- of which input, along which dimensions ---------------------------------------------------------------------------


def test_spatial_dimensions() -> None:
    linear = trace(nn.Linear(8, 8), (1, 5, 8))
    assert receptive_field(linear).notes == ("no input has spatial dimensions; axes= names them",)
    assert all(row.size is None for row in receptive_field(linear).values())
    assert receptive_field(linear, axes=(1,))["addmm"].size == (1,)
    assert receptive_field(linear, axes=(1, 2))["addmm"].size == (1, 8)
    assert last(nn.Conv1d(3, 3, 5), (1, 3, 9)).size == (5,)
    assert last(nn.Conv2d(3, 3, 5), (3, 9, 9)).size == (5, 5)
    assert last(nn.AvgPool2d(5), (1, 3, 9, 9)).size == (5, 5)
    assert last(nn.Conv3d(3, 3, (1, 3, 5)), (1, 3, 9, 9, 9)).size == (1, 3, 5)


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.conv = nn.Embedding(10, 3), nn.Conv2d(3, 3, 3)

    def forward(self, tokens: Tensor, image: Tensor) -> Tensor:
        return self.conv(image) + self.embed(tokens).mean(1)[..., None, None]


def test_the_first_spatial_input_is_meant() -> None:
    graph = trace(Two(), (torch.zeros(1, 4, dtype=torch.int64), (1, 3, 8, 8)))
    table = receptive_field(graph)
    assert table["embed.embedding"].size is None and table["embed.embedding"].whole is False
    assert table["add"].size == (3, 3) and not table.missing
    assert table.notes[0].startswith("fields in image (1x3x8x8)")


def test_jumps() -> None:
    assert last(nn.Sequential(nn.Conv2d(1, 1, 3, 2), nn.ConvTranspose2d(1, 1, 4, 4)), (1, 1, 9, 9)).jump == (0.5, 0.5)
    tokens = field(Tokens(attention), (1, 3, 9, 12))
    assert tokens["cat"].size == (3, 3) and tokens["cat"].jump == (None, None), "rows and columns in one dimension"
    assert tokens.total.jump == (0, 0) and tokens.total.whole


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
