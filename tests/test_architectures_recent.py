"""Network in Network, later Inceptions and nets beside ResNet against their papers; figures are in the catalogue."""

from __future__ import annotations

import importlib
import inspect
import re
import tomllib
from collections.abc import Callable, Iterator
from importlib.resources import files
from itertools import combinations, product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from zoo_counts import depth, macs, parameters, running_statistics, weights

from cnnscope.architectures import (
    densenet,
    fractalnet,
    fusion,
    inception_resnet,
    inception_v3,
    inception_v4,
    nasnet,
    network_in_network,
    squeezenet,
)

ARCHITECTURES = files("cnnscope") / "architectures"
FILES = (
    "network_in_network", "inception_v3", "inception_v4", "inception_resnet", "densenet", "squeezenet", "fractalnet",
    "nasnet", "fusion",
)  # fmt: skip
NEEDS = {  # besides layers.py
    "inception_resnet": {".inception_v4"},  # the other half of the paper
    "fusion": {".inception_v3", ".inception_v4", ".inception_resnet", ".preact_resnet"},
}
CATALOGS = [ARCHITECTURES / name for name in ("catalog.toml", "fragment_recent.toml")]
PAPERS = [
    paper for file in CATALOGS if file.is_file() for paper in tomllib.loads(file.read_text(encoding="utf-8"))["paper"]
]
MODELS = {entry["name"]: entry for paper in PAPERS for entry in paper["model"] if entry["build"].split(":")[0] in FILES}
FIGURES = ("params", "weights", "macs", "depth")
CIFAR = (1, 3, 32, 32)
Shapes = dict[str, tuple[int, ...]]


def builder(name: str) -> Any:
    file, function = MODELS[name]["build"].split(":")
    return getattr(importlib.import_module(f"cnnscope.architectures.{file}"), function)


def on_meta(make: Any, *args: Any) -> nn.Module:
    with torch.device("meta"):
        return make(*args).eval()


def picture(size: int) -> tuple[int, int, int, int]:
    return 1, 3, size, size


def millions(count: int) -> float:
    return round(count / 1e6, 1)


def shapes(model: nn.Module, shape: tuple[int, ...]) -> Shapes:
    """Module path to the shape of its output, without the batch, as seen by forward hooks."""
    seen: Shapes = {}

    def note(path: str) -> Any:
        return lambda module, inputs, output: seen.__setitem__(path, tuple(output.shape[1:]))

    for path, module in model.named_modules():
        if path:
            module.register_forward_hook(note(path))
    model(torch.empty(shape, device="meta"))
    return seen


# Every model of the nine files


@pytest.mark.parametrize("name", MODELS)
def test_has_the_figures_of_its_paper(name: str) -> None:
    entry = MODELS[name]
    stated = {figure: entry[figure] for figure in FIGURES if figure in entry}
    assert stated, "a model without a single stated figure is held to nothing"
    model = on_meta(lambda: builder(name)(**entry.get("args", {})))
    found = {"params": parameters(model), "weights": weights(model)}
    if "macs" in stated:
        found |= {"macs": macs(model, entry["input"])}
    if "depth" in stated:
        found |= {"depth": depth(model)}
    assert {figure: found[figure] for figure in stated} == stated
    assert not [path for path, module in model.named_modules() if getattr(module, "inplace", False)]
    assert all(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))


@pytest.mark.parametrize("name", [name for name in MODELS if "parameters" in MODELS[name]])
def test_a_family_is_named_after_its_builder_and_lists_its_arguments(name: str) -> None:
    defaults = {key: each.default for key, each in inspect.signature(builder(name)).parameters.items()}
    assert builder(name).__name__ == name
    assert MODELS[name]["parameters"] == defaults
    assert "args" not in MODELS[name]


@pytest.mark.parametrize("file", FILES)
def test_a_file_needs_its_layers_only_but_for_the_two_that_say_so(file: str) -> None:
    source = (ARCHITECTURES / f"{file}.py").read_text(encoding="utf-8")
    needed = set(re.findall(r"^from (\.\S*|cnnscope\S*)", source, re.MULTILINE))
    assert needed - {".layers"} == NEEDS.get(file, set())


@pytest.mark.parametrize(
    ("make", "arguments", "expected"),
    [
        (densenet.densenet_cifar, {"depth": 39}, "depth 39 is not 3n + 4: 7, 10, 13, ..."),
        (densenet.densenet_bc, {"depth": 4}, "depth 4 is not 6n + 4: 10, 16, 22, ..."),
        (fractalnet.fractalnet, {"columns": 0}, "columns must be 1 or more, not 0"),
        (fractalnet.fractalnet, {"blocks": 6}, "blocks must be 1 to 5: 32 x 32 pixels can be halved so often"),
    ],
)
def test_an_impossible_net_is_said_to_be_one(make: Any, arguments: dict[str, int], expected: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        make(**arguments)


@pytest.mark.parametrize(
    ("make", "size", "classes"),
    [
        (network_in_network.nin_cifar100, 32, 100),
        (inception_v3.inception_v3_aux, 299, 1000),
        (inception_v4.inception_v4, 299, 1000),
        (inception_resnet.inception_resnet_v2_figures, 299, 1000),
        (lambda: densenet.densenet_cifar(13, 8), 32, 10),
        (lambda: densenet.densenet_bc(16, 8, classes=100), 32, 100),
        (densenet.densenet121, 224, 1000),
        (squeezenet.squeezenet1_1, 227, 1000),
        (lambda: fractalnet.fractalnet(filters=16), 32, 100),
        (lambda: fractalnet.fractalnet(2, 3, 8, 10), 32, 10),
        (nasnet.nasnet_a_mobile, 224, 1000),
    ],
)
def test_runs_on_real_numbers(make: Callable[[], nn.Module], size: int, classes: int) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        output = make().eval()(torch.randn(picture(size)))
    for scores in output if isinstance(output, tuple) else (output,):
        assert tuple(scores.shape) == (1, classes)
        assert scores.isfinite().all()


# What is printed of sizes

NIN_CIFAR10: Shapes = {"pool1": (96, 16, 16), "pool2": (192, 8, 8), "mlpconv3.cccp2": (10, 8, 8)}
NIN_IMAGENET: Shapes = {
    "mlpconv1.conv": (96, 54, 54), "pool1": (96, 27, 27), "pool2": (256, 13, 13), "pool3": (384, 6, 6),
    "mlpconv4.cccp2": (1000, 6, 6),
}  # fmt: skip
STEM: Shapes = {"conv1": (32, 149, 149), "conv2": (32, 147, 147), "conv3": (64, 147, 147)}
INCEPTION_V3_TABLE_1: Shapes = {
    "conv1a": (32, 149, 149), "conv2a": (32, 147, 147), "conv2b": (64, 147, 147), "pool3a": (64, 73, 73),
    "conv3b": (80, 73, 73), "pool5a": (192, 35, 35), "mixed5b": (256, 35, 35), "mixed5d": (288, 35, 35),
    "mixed6a": (768, 17, 17), "mixed6e": (768, 17, 17), "mixed7a": (1280, 8, 8), "mixed7c": (2048, 8, 8),
}  # fmt: skip
INCEPTION_V4_FIGURE_9: Shapes = {
    **STEM, "fork1": (160, 73, 73), "fork2": (192, 71, 71), "fork3": (384, 35, 35), "inception_a4": (384, 35, 35),
    "reduction_a": (1024, 17, 17), "inception_b7": (1024, 17, 17), "inception_c3": (1536, 8, 8),
}  # fmt: skip
INCEPTION_RESNET_V2: Shapes = {
    "mixed5b": (320, 35, 35), "block_a10": (320, 35, 35), "reduction_a": (1088, 17, 17), "block_b20": (1088, 17, 17),
    "reduction_b": (2080, 8, 8), "block_c10": (2080, 8, 8), "conv7b": (1536, 8, 8),
}  # fmt: skip
FIGURE_15: Shapes = {  # its 1154 and 2048 maps cannot be
    **STEM, "fork3": (384, 35, 35), "block_a5": (384, 35, 35), "reduction_a": (1152, 17, 17),
    "block_b10.linear": (1152, 17, 17), "reduction_b": (2144, 8, 8), "block_c5.linear": (2144, 8, 8),
}  # fmt: skip
DENSENET_121: Shapes = {
    "conv0": (64, 112, 112), "pool0": (64, 56, 56), "block1": (256, 56, 56), "transition1": (128, 28, 28),
    "block2": (512, 28, 28), "block3": (1024, 14, 14), "block4": (1024, 7, 7), "avgpool": (1024, 1, 1),
}  # fmt: skip
SQUEEZENET_1_1: Shapes = {"conv1": (64, 113, 113), "maxpool1": (64, 56, 56), "maxpool3": (128, 28, 28),
                          "maxpool5": (256, 14, 14), "conv10": (1000, 14, 14)}  # fmt: skip
FRACTALNET: Shapes = {
    "block1": (64, 32, 32), "pool1": (64, 16, 16), "pool2": (128, 8, 8), "pool3": (256, 4, 4), "pool4": (512, 2, 2),
    "pool5": (512, 1, 1),
}  # fmt: skip
NASNET_LARGE: Shapes = {
    "conv0": (96, 165, 165), "stem0": (168, 83, 83), "stem1": (336, 42, 42), "normal1_6": (1008, 42, 42),
    "reduction1": (1344, 21, 21), "normal2_6": (2016, 21, 21), "reduction2": (2688, 11, 11),
    "normal3_6": (4032, 11, 11),
}  # fmt: skip
NASNET_MOBILE: Shapes = {
    "conv0": (32, 111, 111), "stem0": (44, 56, 56), "stem1": (88, 28, 28), "normal1_4": (264, 28, 28),
    "normal2_4": (528, 14, 14), "normal3_4": (1056, 7, 7),
}  # fmt: skip


@pytest.mark.parametrize(
    ("make", "size", "expected"),
    [
        (network_in_network.nin_cifar10, 32, NIN_CIFAR10),
        (network_in_network.nin_imagenet, 224, NIN_IMAGENET),
        (inception_v3.inception_v3, 299, INCEPTION_V3_TABLE_1),
        (inception_v4.inception_v4, 299, INCEPTION_V4_FIGURE_9),
        (inception_resnet.inception_resnet_v2, 299, INCEPTION_RESNET_V2),
        (inception_resnet.inception_resnet_v2_figures, 299, FIGURE_15),
        (densenet.densenet121, 224, DENSENET_121),
        (squeezenet.squeezenet1_1, 227, SQUEEZENET_1_1),
        (fractalnet.fractalnet, 32, FRACTALNET),
        (nasnet.nasnet_a_mobile, 224, NASNET_MOBILE),
        (nasnet.nasnet_a_large, 331, NASNET_LARGE),
    ],
)
def test_maps_have_the_sizes_that_are_printed(make: Any, size: int, expected: Shapes) -> None:
    found = shapes(on_meta(make), picture(size))
    assert {row: found[row] for row in expected} == expected


# Inception


def test_inception_averages_what_is_there_and_not_the_zeros_around_it() -> None:
    ones = torch.ones(1, 4, 17, 17)
    assert torch.equal(inception_v3.average()(ones), ones)
    for model in (on_meta(inception_v3.inception_v3), on_meta(inception_v4.inception_v4)):
        assert {layer.eps for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)} == {1e-3}


def test_inception_v3_costs_3_6_googlenets_and_not_2_5() -> None:
    googlenet = importlib.import_module("cnnscope.architectures.googlenet").googlenet
    ratio = macs(on_meta(inception_v3.inception_v3), picture(299)) / macs(on_meta(googlenet), picture(224))
    assert round(ratio, 2) == 3.61


def test_a_residual_of_inception_resnet_is_scaled_and_then_added() -> None:
    torch.manual_seed(0)
    block, x = inception_resnet.block_c(32, 0.2).eval(), torch.randn(1, 32, 8, 8)
    branches = torch.cat([branch(x) for branch in block.get_submodule("branches").children()], dim=1)
    linear = block.get_submodule("linear")
    torch.testing.assert_close(block(x), torch.relu(x + 0.2 * linear(branches)))
    assert linear.bias is not None


def test_the_last_residual_of_the_release_is_neither_scaled_nor_cut_at_zero() -> None:
    model = on_meta(inception_resnet.inception_resnet_v2)
    factors = [layer.factor for layer in model.modules() if isinstance(layer, inception_resnet.Scale)]
    assert factors == [0.17] * 10 + [0.1] * 20 + [0.2] * 9 + [1.0]
    cut = [path for path, layer in model.named_children() if path.startswith("block") and hasattr(layer, "relu")]
    assert len(cut) == 39
    assert "block_c10" not in cut


# Fusion


class Constant(nn.Module):
    """Says the same of every picture, and keeps the size of the last one."""

    def __init__(self, scores: list[float]) -> None:
        super().__init__()
        self.scores = torch.tensor([scores])
        self.size = 0

    def forward(self, x: Tensor) -> Tensor:
        self.size = x.shape[-1]
        return self.scores


def test_fusion_averages_probabilities_and_each_member_sees_its_own_size() -> None:
    first, second = Constant([0.0, 0.0]), Constant([0.0, 100.0])
    ensemble = fusion.Mean(first=fusion.member(first, 4, 6), second=fusion.member(second, 6, 6))
    torch.testing.assert_close(ensemble(torch.randn(1, 3, 6, 6)), torch.tensor([[0.25, 0.75]]))
    assert (first.size, second.size) == (4, 6)


def test_fusion_costs_what_its_members_cost() -> None:
    model = on_meta(fusion.fusion)
    members = [(on_meta(build), size) for build, size in fusion.MEMBERS.values()]
    assert parameters(model) == sum(parameters(net) for net, _ in members)
    assert macs(model, picture(299)) == sum(macs(net, picture(size)) for net, size in members) == 46_130_466_592
    assert depth(model) == 200
    assert tuple(model(torch.empty(picture(299), device="meta")).shape) == (1, 1000)


# FractalNet

TABLE_3 = {1: 0.3, 2: 0.8, 3: 2.1, 4: 4.8, 5: 10.2, 6: 21.1}  # columns: parameters in millions


@pytest.mark.parametrize("columns", TABLE_3)
def test_fractal_nets_have_the_parameters_and_the_depth_of_table_3(columns: int) -> None:
    model = on_meta(fractalnet.fractalnet, columns, 5, 16)
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert millions(parameters(model)) == TABLE_3[columns]
    assert len(convolutions) == 5 * (2**columns - 1)
    assert depth(model) - 1 == 5 * 2 ** (columns - 1)


def expanded(block: nn.Module, x: Tensor, columns: int, row: int, of: int) -> list[Tensor]:
    """Section 3 to the letter: what f_columns, placed behind `row` in a block of `of` columns, brings to its join."""
    length = 2 ** (columns - 1)
    paths = [block.get_submodule(f"row{row + length}_column{of - columns + 1}")(x)]
    if columns > 1:
        middle = fractalnet.join(expanded(block, x, columns - 1, row, of))
        paths += expanded(block, middle, columns - 1, row + length // 2, of)
    return paths


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_a_fractal_block_is_the_expansion_rule(columns: int) -> None:
    torch.manual_seed(0)
    block, x = fractalnet.Fractal(3, 4, columns).eval(), torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(block(x), torch.stack(expanded(block, x, columns, 0, columns)).mean(dim=0))


def outcomes(paths: list[Any], drop: float) -> Iterator[tuple[set[Any], float]]:
    """What a join may keep of its paths, and how likely it is."""
    n = len(paths)
    for count in range(1, n + 1):
        for kept in combinations(paths, count):
            yield set(kept), (1 - drop) ** count * drop ** (n - count) + (drop**n / n if count == 1 else 0)


def needed(columns: int, kept: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """The convolutions (row, column) of a block from which kept paths lead to its end, found backwards."""
    live, rows = set(), {2 ** (columns - 1)}
    for row in range(2 ** (columns - 1), 0, -1):
        ends = {end for end in kept if end[0] == row} if row in rows else set()
        live |= ends
        rows |= {row - 2 ** (columns - column) for row, column in ends}
    return live


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_expected_cost_of_local_drop_path_is_the_sum_over_all_outcomes(columns: int) -> None:
    drop, total, ways = 0.15, 0.0, 0.0
    joins = [
        [(row, c) for c in range(1, columns + 1) if row % 2 ** (columns - c) == 0]
        for row in range(1, 2 ** (columns - 1) + 1)
    ]
    for choice in product(*(list(outcomes(paths, drop)) for paths in joins)):
        likely = 1.0
        for _, probability in choice:
            likely *= probability
        live = needed(columns, set().union(*(kept for kept, _ in choice)))
        total += likely * sum(7 if row == 2 ** (columns - c) else 5 for row, c in live)
        ways += likely
    assert ways == pytest.approx(1)
    assert fractalnet.expected(columns, columns, 7, 5, drop) == pytest.approx(total)


@pytest.mark.parametrize(("columns", "filters"), [(1, 16), (3, 64), (4, 64)])
def test_drop_path_costs_all_or_one_column_in_its_extremes(columns: int, filters: int) -> None:
    model = on_meta(fractalnet.fractalnet, columns, 5, filters)
    everything, fc = macs(model, CIFAR), model.get_submodule("fc").weight.numel()
    cost = {
        (drop, whole): fractalnet.drop_path_macs(columns, 5, filters, drop=drop, whole=whole)
        for drop, whole in ((0.0, 0.0), (0.15, 1.0), (0.15, 0.0), (0.15, 0.5))
    }
    assert cost[0.0, 0.0] == everything
    assert cost[0.15, 1.0] == pytest.approx((everything - fc) / columns + fc)
    assert cost[0.15, 0.5] == pytest.approx((cost[0.15, 0.0] + cost[0.15, 1.0]) / 2)
    assert fractalnet.drop_path_macs(3, 5, 64) == pytest.approx(0.590973 * 845_268_992, rel=1e-6)


# DenseNet

TABLE_2 = {  # L, k: parameters in millions; the second of BC nets
    densenet.densenet_cifar: {(40, 12): 1.0, (100, 12): 7.0, (100, 24): 27.2},
    densenet.densenet_bc: {(100, 12): 0.8, (250, 24): 15.3, (190, 40): 25.6},
}
WIDE_BC = {(40, 36): 1_542_682, (40, 48): 2_733_130, (40, 60): 4_261_690}  # the release's README: 1.5, 2.7, 4.3 million


def test_dense_nets_have_the_parameters_of_table_2() -> None:
    for make, nets in TABLE_2.items():
        assert {net: millions(parameters(on_meta(make, *net))) for net in nets} == nets
    assert {net: parameters(on_meta(densenet.densenet_bc, *net)) for net in WIDE_BC} == WIDE_BC


def test_a_dense_layer_reads_all_layers_before_it() -> None:
    torch.manual_seed(0)
    block = densenet.block(densenet.bottleneck, 5, 6, 4).eval()
    maps = [torch.randn(1, 6, 8, 8)]
    for index in range(1, 6):
        maps.append(block.get_submodule(f"layer{index}.new")(torch.cat(maps, dim=1)))
    assert torch.equal(block(maps[0]), torch.cat(maps, dim=1))


def test_dense_nets_for_imagenet_have_odd_depths_so_that_264_is_265() -> None:
    depths = {name: 2 * sum(counts) + 5 for name, (_, counts) in densenet.TABLE_1.items()}
    assert depths == {121: 121, 161: 161, 169: 169, 201: 201, 264: 265}


# SqueezeNet

SQUEEZENET_TABLE_1 = {  # row: shape, parameters
    "conv1": ((96, 111, 111), 14_208), "maxpool1": ((96, 55, 55), 0), "fire2": ((128, 55, 55), 11_920),
    "fire3": ((128, 55, 55), 12_432), "fire4": ((256, 55, 55), 45_344), "maxpool4": ((256, 27, 27), 0),
    "fire5": ((256, 27, 27), 49_440), "fire6": ((384, 27, 27), 104_880), "fire7": ((384, 27, 27), 111_024),
    "fire8": ((512, 27, 27), 188_992), "maxpool8": ((512, 13, 13), 0), "fire9": ((512, 13, 13), 197_184),
    "conv10": ((1000, 13, 13), 513_000),
}  # fmt: skip


def test_squeezenet_is_table_1_row_by_row() -> None:
    model = on_meta(squeezenet.squeezenet1_0)
    found = shapes(model, picture(227))
    rows = [name for name, _ in model.named_children() if not name.startswith(("relu", "drop", "avgpool", "flatten"))]
    assert {row: (found[row], parameters(model.get_submodule(row))) for row in rows} == SQUEEZENET_TABLE_1


def test_squeezenet_at_224_is_what_libraries_count_and_with_a_padded_conv10_the_release() -> None:
    assert macs(on_meta(squeezenet.squeezenet1_0), picture(224)) == 818_924_576
    assert macs(on_meta(squeezenet.squeezenet1_1), picture(224)) == 349_151_936
    assert 832_667_936 + (15 * 15 - 13 * 13) * 512 * 1000 == 861_339_936  # 1.72 GFLOPS, says the README


# NASNet


def test_nasnet_prints_parameters_with_running_statistics() -> None:
    counted = {
        make: parameters(model) + running_statistics(model)
        for make in (nasnet.nasnet_a_mobile, nasnet.nasnet_a_large)
        for model in [on_meta(make)]
    }
    assert counted == {nasnet.nasnet_a_mobile: 5_326_716, nasnet.nasnet_a_large: 88_949_818}


@pytest.mark.parametrize(
    ("make", "layers", "convolutions"), [(nasnet.nasnet_a_mobile, 58, 98), (nasnet.nasnet_a_large, 76, 128)]
)
def test_depth_of_nasnet_depends_on_whether_a_separable_convolution_is_one_layer(
    make: Any, layers: int, convolutions: int
) -> None:
    model = on_meta(make)
    assert depth(model) == convolutions
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Conv2d) and layer.groups > 1:
                parent.add_module(name, nn.Identity())
    assert depth(model) == layers


def test_behind_a_reduction_the_large_net_reaches_one_cell_further_back() -> None:
    further = {
        make: [name for name, back in on_meta(make).back.items() if back != 2]
        for make in (nasnet.nasnet_a_mobile, nasnet.nasnet_a_large)
    }
    assert further == {
        nasnet.nasnet_a_mobile: ["stem0"],
        nasnet.nasnet_a_large: ["stem0", "normal2_1", "normal3_1"],
    }


def test_factorized_reduction_sees_two_of_every_four_pixels() -> None:
    paths = nasnet.factorized_reduction(1, 2).get_submodule("paths")
    x = torch.arange(36.0).reshape(1, 1, 6, 6)
    even = paths.get_submodule("even.pick")(x)
    odd = paths.get_submodule("odd.pick")(paths.get_submodule("odd.shift")(x))
    assert torch.equal(even, x[:, :, ::2, ::2])
    assert torch.equal(odd, x[:, :, 1::2, 1::2])
