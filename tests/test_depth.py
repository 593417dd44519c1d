"""Depth: what papers call their networks, and random networks whose depth is known from how they were put together."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cnnscope.analyses.depths import LayerDepth, depth
from cnnscope.graph import ModelGraph, Op, Storage, Value
from cnnscope.libraries import torchvision_model
from cnnscope.table import Table, by_module
from cnnscope.tracing import trace
from cnnscope.zoo import build, entry, names

STATED = {name: entry(name)["depth"] for name in names() if "depth" in entry(name)}


def depths(model: nn.Module, input: Any) -> Table[LayerDepth]:
    return depth(trace(model, input))


def of_zoo(name: str) -> Table[LayerDepth]:
    with torch.device("meta"):
        model = build(name)
    return depths(model, tuple(entry(name)["input"]))


# -- what papers say --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, stated", STATED.items())
def test_networks_are_as_deep_as_their_names_say(name: str, stated: int) -> None:
    table = of_zoo(name)
    assert table.total.depth == stated
    path = [row for row in table.values() if row.on_path]
    assert [row.depth for row in path] == list(range(1, stated + 1))
    assert table.total.on_path is None and not table.missing


def test_names_with_a_number() -> None:
    assert {name: STATED[name] for name in ("vgg16", "alexnet", "googlenet", "resnet152", "plain34")} == {
        "vgg16": 16, "alexnet": 8, "googlenet": 22, "resnet152": 152, "plain34": 34,
    }  # fmt: skip


@pytest.mark.parametrize(
    "name, stated, longest",
    [
        ("densenet121", 121, 121),
        ("squeezenet1_0", 18, 18),
        ("inception_v3", 48, 48),  # the paper says 42; counted along the released network it is 48
        ("resnext50_32x4d", 50, 50),
        ("mobilenet_v2", 53, 53),
        ("efficientnet_b0", 50, 82),  # 16 blocks with a squeeze and excitation of two layers each
        ("vit_b_32", 50, 50),  # patches, 12 blocks of four products with weights, head
    ],
)
def test_torchvision(name: str, stated: int, longest: int) -> None:
    table = depths(torchvision_model(name)(), (1, 3, 299, 299) if name == "inception_v3" else (1, 3, 224, 224))
    assert (table.total.depth, table.total.longest) == (stated, longest)
    assert any("gates" in note for note in table.notes) == (longest > stated)


def test_classifiers_at_the_side_do_not_lengthen_it() -> None:
    table = of_zoo("googlenet_aux")
    assert table.total.depth == 22
    side = [row for row in table.values() if row.name.startswith("aux")]
    assert [row.depth for row in side] == [10, 11, 12, 16, 17, 18]
    assert not any(row.on_path for row in side) and not table.notes


def test_a_projection_is_on_no_longest_path() -> None:
    table = of_zoo("resnet50")
    projections = [row for row in table.values() if "shortcut" in row.name]
    assert len(projections) == 4 and not any(row.on_path for row in projections)


def test_by_module() -> None:
    folded = by_module(of_zoo("resnet50"))
    assert [folded[stage].depth for stage in ("conv2_x", "conv3_x", "conv4_x", "conv5_x")] == [10, 22, 40, 49]
    assert folded["conv2_x"].on_path is True and folded.total.depth == 50


# -- what a layer with weights is -------------------------------------------------------------------------------------


class Function(nn.Module):
    def __init__(self, function: Callable[..., Any], **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)
        self.matrix = nn.Parameter(torch.ones(4, 4))
        self.register_buffer("fixed", torch.ones(4, 4))

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self, *inputs)


CASES: dict[str, tuple[Any, Any, int]] = {
    "transposed convolution": (nn.ConvTranspose2d(3, 3, 2), (1, 3, 5, 5), 1),
    "weight norm": (nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), (2, 4), 1),
    "spectral norm": (nn.utils.parametrizations.spectral_norm(nn.Conv1d(4, 4, 3)), (1, 4, 9), 1),
    "computed weights": (Function(lambda m, x: x @ (m.matrix @ m.matrix).softmax(0)), (2, 4), 1),
    "a fixed matrix": (Function(lambda m, x: x @ m.fixed), (2, 4), 0),
    "two activations": (Function(lambda m, x: x @ x.T), (2, 4), 0),
    "weights on the left": (Function(lambda m, x: m.matrix @ x), (4, 2), 1),
    "einsum": (Function(lambda m, x: torch.einsum("nc,cd->nd", x, m.matrix)), (2, 4), 1),
    "vector": (Function(lambda m, x: m.matrix @ x), (4,), 1),
    "batched": (Function(lambda m, x: torch.baddbmm(x, x, m.matrix.expand(2, 4, 4))), (2, 4, 4), 1),
    "functional": (Function(lambda m, x: F.linear(x.relu(), m.matrix)), (2, 4), 1),
    "scale and shift": (nn.Sequential(nn.BatchNorm2d(3), nn.PReLU(3)), (1, 3, 4, 4), 0),
    "attention": (nn.MultiheadAttention(8, 2, batch_first=True), ((1, 5, 8), (1, 5, 8), (1, 5, 8)), 2),
    "encoder": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (1, 5, 8), 4),
    "embedding": (nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 4)), torch.zeros(1, 3, dtype=torch.int64), 1),
    "bilinear": (Function(lambda m, x: m.layer(x, x), layer=nn.Bilinear(4, 4, 2)), (2, 4), 1),
    "the same layer twice": (Function(lambda m, x: m.layer(m.layer(x)), layer=nn.Linear(4, 4)), (2, 4), 2),
    "one step after another": (nn.LSTM(4, 5), (3, 2, 4), 3),
    "steps and layers": (nn.GRU(4, 5, 2), (3, 2, 4), 6),  # all steps go through one tensor to the second layer
    "nothing": (nn.ReLU(), (1, 3), 0),
    "detached": (Function(lambda m, x: m.layer(m.layer(x).detach().data), layer=nn.Linear(4, 4)), (2, 4), 2),
    "no input": (Function(lambda m, x: m.layer(m.fixed), layer=nn.Linear(4, 4)), (2, 4), 0),
}


@pytest.mark.parametrize("case", CASES)
def test_layers_with_weights(case: str) -> None:
    model, input, expected = CASES[case]
    table = depths(model, input)
    assert table.total.depth == table.total.longest == expected
    assert not table.missing


def test_several_outputs() -> None:
    """The first is the network's; a deeper one is told of."""
    model = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)})
    pyramid = depths(Function(lambda m, x: [m.net["a"](x), m.net["b"](m.net["a"](x))], net=model), (2, 4))
    assert pyramid.total.depth == 1
    assert pyramid.notes == ("depth of the first output; all outputs: 1, 2",)

    def silent(m: Any, x: Tensor) -> None:
        m.net["a"](x)

    nothing = depths(Function(silent, net=model), (2, 4))
    assert nothing.total.depth == 1, "without an output, up to the last operator"


def test_a_write_through_a_view_is_on_the_path() -> None:
    def written(m: Any, x: Tensor) -> Tensor:
        y = torch.zeros_like(x)
        y[:, :2] = m.layer(x)[:, :2]
        return m.layer(y)

    assert depths(Function(written, layer=nn.Linear(4, 4)), (2, 4)).total.depth == 2


def test_an_output_that_is_filled_piece_by_piece_is_as_deep_as_its_deepest_piece() -> None:
    class Filled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            out = x.new_zeros(3, 4)
            out[0] = self.two(self.one(x[0]))
            out[1:] = self.one(x[1:])
            return out

    found = depths(Filled(), (3, 4))
    assert found.total.depth == found.total.longest == 2 and not found.notes
    assert [row.on_path for row in found.values()] == [True, True, False]


def test_an_operator_that_nobody_knows_is_one_layer_and_is_named() -> None:
    x, w, y = (Value(name, (4, 4), "float32", i) for i, name in enumerate(("x", "w", "y")))
    op = Op("lstm", "lstm", (x, w), (y,), ("w",), {}, "", "forward", ("input", "params"))
    storages = tuple(Storage(i, 64, kind, -1, None) for i, kind in enumerate(("input", "param", "activation")))
    table = depth(ModelGraph("net", (op,), storages, inputs=(x,), outputs=(y,)))
    assert table.total.depth == 1 and dict(table.missing) == {"lstm": 1}


# -- gates ------------------------------------------------------------------------------------------------------------


class Gate(nn.Module):
    def __init__(self, times: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.down, self.up = nn.Conv2d(4, 4, 1), nn.Linear(4, 2), nn.Linear(2, 4)
        self.times = times

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.times(x, self.up(self.down(x.mean((2, 3)))).sigmoid()[..., None, None])


GATES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], int]] = {
    "after": (lambda x, gate: x * gate, 1),
    "before": (lambda x, gate: gate * x, 1),
    "in place": (lambda x, gate: x.mul_(gate), 1),
    "expanded": (lambda x, gate: x * gate.expand_as(x), 1),
    "of the same size": (lambda x, gate: x * gate.repeat(1, 1, 4, 4), 3),
    "added": (lambda x, gate: x + gate, 3),
    "both stretched": (lambda x, gate: x.mean(1, keepdim=True) * gate, 3),
}


@pytest.mark.parametrize("case", GATES)
def test_an_operand_that_is_stretched_over_the_other_opens_no_path(case: str) -> None:
    times, expected = GATES[case]
    table = depths(Gate(times), (1, 4, 4, 4))
    assert (table.total.depth, table.total.longest) == (expected, 3)
    assert [row.longest for row in table.values()] == [1, 2, 3]


# -- random networks --------------------------------------------------------------------------------------------------


class Residual(nn.Module):
    def __init__(self, body: nn.Module, way: nn.Module) -> None:
        super().__init__()
        self.body, self.way = body, way

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.way(x)


class Side(nn.Module):
    """cat of two ways, and a mixing layer."""

    def __init__(self, one: nn.Module, two: nn.Module) -> None:
        super().__init__()
        self.one, self.two, self.mix = one, two, nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(torch.cat([self.one(x), self.two(x)], 1))


class Excite(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self.down, self.up = body, nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        return x * self.up(self.down(F.adaptive_avg_pool2d(x, 1)))


class Attend(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(4, 12), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x.flatten(2).transpose(1, 2)).chunk(3, -1)
        return self.out(F.scaled_dot_product_attention(q, k, v)).transpose(1, 2).reshape(x.shape)


Built = tuple[nn.Module, int, int]  # the module, its depth, its longest path

LEAVES: list[Callable[[], Built]] = [
    lambda: (nn.Conv2d(4, 4, 3, padding=1), 1, 1),
    lambda: (nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 1)), 1, 1),
    lambda: (nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(inplace=True)), 0, 0),
    lambda: (nn.Conv2d(4, 4, 3, padding=1, groups=4), 1, 1),
    lambda: (Attend(), 2, 2),
    lambda: (nn.Identity(), 0, 0),
]


def chained(parts: list[Built]) -> Built:
    return nn.Sequential(*[part[0] for part in parts]), sum(p[1] for p in parts), sum(p[2] for p in parts)


def wider(a: Built, b: Built) -> st.SearchStrategy[Built]:
    most = max(a[1], b[1]), max(a[2], b[2])
    return st.sampled_from([(Residual(a[0], b[0]), *most), (Side(a[0], b[0]), most[0] + 1, most[1] + 1)])


NETS = st.recursive(
    st.sampled_from(LEAVES).map(lambda make: make()),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map(chained),
        st.tuples(inner, inner).flatmap(lambda pair: wider(*pair)),
        inner.map(lambda net: (Excite(net[0]), net[1], net[2] + 2)),
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(net=NETS)
def test_random_networks_are_as_deep_as_they_were_built(net: Built) -> None:
    model, expected, longest = net
    table = depths(model, (1, 4, 6, 6))
    assert (table.total.depth, table.total.longest) == (expected, longest)
    assert [row.depth for row in table.values() if row.on_path] == list(range(1, expected + 1))


def test_resnet152_takes_milliseconds() -> None:
    graph = trace(torchvision_model("resnet152")(), (1, 3, 224, 224))
    times = []
    for _ in range(20):
        start = time.perf_counter()
        depth(graph)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.005, "1.2 ms on a free core"
