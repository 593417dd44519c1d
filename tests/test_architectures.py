"""The zoo against the papers.

Every figure is counted by torch itself or from the layers' own shapes, with nothing of cnnscope's analyses:
the networks are proven right before anything is proven with them.
"""

from __future__ import annotations

import importlib
import re
import tomllib
from importlib.resources import files
from math import prod
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

ARCHITECTURES = files("cnnscope") / "architectures"
CATALOG = tomllib.loads((ARCHITECTURES / "catalog.toml").read_text(encoding="utf-8"))
MODELS = {entry["name"]: entry for paper in CATALOG["paper"] for entry in paper["model"]}
FIGURES = ("params", "weights", "macs", "depth")


def build(name: str) -> nn.Module:
    file, function = MODELS[name]["build"].split(":")
    module = importlib.import_module(f"cnnscope.architectures.{file}")
    return getattr(module, function)(**MODELS[name].get("args", {})).eval()


def build_on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return build(name)


def run_on_meta(name: str, model: nn.Module | None = None) -> Any:
    return (model or build_on_meta(name))(torch.empty(MODELS[name]["input"], device="meta"))


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Module path to the shape of its output, without the batch, as seen by forward hooks."""
    model, seen = build_on_meta(name), {}

    def note(path: str) -> Any:
        return lambda module, inputs, output: seen.__setitem__(path, tuple(output.shape[1:]))

    for path, module in model.named_modules():
        if path:
            module.register_forward_hook(note(path))
    run_on_meta(name, model)
    return seen


def macs(name: str, path: str = "") -> int:
    """What torch's own counter finds in the module at `path`; two FLOPs to a multiply-add."""
    model = build_on_meta(name)
    with FlopCounterMode(display=False) as counter:
        run_on_meta(name, model)
    flops = counter.get_flop_counts()["Global" if not path else f"{type(model).__name__}.{path}"]
    return sum(flops.values()) // 2


def weights(module: nn.Module) -> int:
    layers = (layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear))
    return sum(layer.weight.numel() for layer in layers)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def depth(model: nn.Module) -> int:
    """Convolutions and linear layers on the longest path of the program that torch.fx records."""
    graph, longest = fx.symbolic_trace(model), {}
    modules = dict(graph.named_modules())
    for node in graph.graph.nodes:
        before = max((longest[source] for source in node.all_input_nodes), default=0)
        weighted = node.op == "call_module" and isinstance(modules[node.target], nn.Conv2d | nn.Linear)
        longest[node] = before + weighted
    return max(longest.values())


# Every model of the catalog


@pytest.mark.parametrize("name", MODELS)
def test_has_the_figures_of_its_paper(name: str) -> None:
    stated = {figure: MODELS[name][figure] for figure in FIGURES if figure in MODELS[name]}
    assert stated, "a model without a single stated figure is held to nothing"
    model = build_on_meta(name)
    found = {
        "params": parameters(model),
        "weights": weights(model),
        "macs": macs(name),
        "depth": depth(model),
    }
    assert {figure: found[figure] for figure in stated} == stated


@pytest.mark.parametrize("name", MODELS)
def test_runs_in_place_nowhere_and_holds_no_data(name: str) -> None:
    model = build_on_meta(name)
    assert not [path for path, module in model.named_modules() if getattr(module, "inplace", False)]
    assert all(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))


def test_a_file_and_its_layers_can_be_copied_out() -> None:
    for file in {entry["build"].split(":")[0] for entry in MODELS.values()}:
        source = (ARCHITECTURES / f"{file}.py").read_text(encoding="utf-8")
        assert set(re.findall(r"^from (\.\S*|cnnscope\S*)", source, re.MULTILINE)) <= {".layers"}


OUTPUTS = {  # where they are not (1, 1000)
    **dict.fromkeys(("lenet5", "lenet5_modern", "lenet_caffe"), (1, 10)),
    "conv1x1_example": (1, 32, 56, 56),
    **dict.fromkeys(("stack3x3", "conv7x7"), (1, 256, 28, 28)),
    "inception_naive": (1, 672, 28, 28),
    "inception_bottleneck": (1, 480, 28, 28),
}


@pytest.mark.parametrize("name", MODELS)
def test_output_is_a_score_for_each_class(name: str) -> None:
    output = run_on_meta(name)
    expected = OUTPUTS.get(name, (1, 1000))
    for scores in output if isinstance(output, tuple) else (output,):
        assert tuple(scores.shape) == expected


def test_catalog_is_complete_and_its_names_are_unambiguous() -> None:
    names = [word for entry in MODELS.values() for word in (entry["name"], *entry.get("aliases", []))]
    assert len(names) == len(set(names))
    for paper in CATALOG["paper"]:
        assert {"key", "chapter", "title", "authors", "venue", "year", "arxiv", "model"} <= paper.keys()
        for entry in paper["model"]:
            assert {"name", "build", "input", "summary"} <= entry.keys()
            assert entry["build"].split(":")[1] == entry["name"] or "args" in entry


# LeNet-5

LENET5_CONNECTIONS = {  # the paper's own figures, layer by layer
    "C1": 122_304, "S2": 5_880, "C3": 151_600, "S4": 2_000, "C5": 48_120, "F6": 10_164, "OUTPUT": 840,
}  # fmt: skip
LENET5_PARAMETERS = {"C1": 156, "S2": 12, "C3": 1_516, "S4": 32, "C5": 48_120, "F6": 10_164, "OUTPUT": 0}


def connections(name: str) -> dict[str, int]:
    """The paper's count: for every output unit its inputs and, where it has one, its bias."""
    model, out = build_on_meta(name), {path: prod(shape) for path, shape in shapes(name).items()}
    found: dict[str, int] = {}
    for path, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            fan_in = layer.weight[0].numel() + 1
        elif type(layer).__name__ == "Subsample":
            fan_in = 2 * 2 + 1
        elif type(layer).__name__ == "RBF":
            fan_in = layer.bitmaps.shape[1]
        else:
            continue
        row = path.split(".")[0]
        found[row] = found.get(row, 0) + out[path] * fan_in
    return found


def test_lenet5_has_the_connections_and_parameters_of_1998() -> None:
    assert connections("lenet5") == LENET5_CONNECTIONS
    assert sum(LENET5_CONNECTIONS.values()) == 340_908
    found = {path: parameters(layer) for path, layer in build_on_meta("lenet5").named_children()}
    assert {path: found[path] for path in LENET5_PARAMETERS} == LENET5_PARAMETERS
    assert macs("lenet5", "C3") == 150_000


def test_lenet5_c3_sees_exactly_what_table_1_marks() -> None:
    table = importlib.import_module("cnnscope.architectures.lenet5").TABLE_I
    c3 = build("lenet5").get_submodule("C3")
    silence = c3(torch.zeros(1, 6, 14, 14))
    for seen, row in enumerate(table):
        x = torch.zeros(1, 6, 14, 14)
        x[:, seen] = torch.rand(14, 14)
        changed = (c3(x) - silence).abs().sum(dim=(0, 2, 3)) > 0
        assert changed.tolist() == [mark == "X" for mark in row.split()]


def test_lenet5_outputs_are_distances_to_ten_different_bitmaps() -> None:
    rbf = build("lenet5").get_submodule("OUTPUT")
    assert rbf.bitmaps.abs().eq(1).all()
    distances = rbf(rbf.bitmaps)
    assert torch.equal(distances.argmin(dim=1), torch.arange(10))
    assert torch.equal(distances.diagonal(), torch.zeros(10))
    assert (distances > 0).sum() == 90


# The slides

ALEXNET_SLIDE = {
    "conv1": (96, 55, 55), "pool1": (96, 27, 27), "norm1": (96, 27, 27),
    "conv2": (256, 27, 27), "pool2": (256, 13, 13), "norm2": (256, 13, 13),
    "conv3": (384, 13, 13), "conv4": (384, 13, 13), "conv5": (256, 13, 13), "pool3": (256, 6, 6),
    "fc6": (4096,), "fc7": (4096,), "fc8": (1000,),
}  # fmt: skip
ZFNET_FIGURE_3 = {
    "conv1": (96, 110, 110), "pool1": (96, 55, 55), "conv2": (256, 26, 26), "pool2": (256, 13, 13),
    "conv3": (384, 13, 13), "conv4": (384, 13, 13), "conv5": (256, 13, 13), "pool5": (256, 6, 6),
}  # fmt: skip
GOOGLENET_TABLE_1 = {
    "conv1": (64, 112, 112), "pool1": (64, 56, 56), "conv2": (192, 56, 56), "pool2": (192, 28, 28),
    "inception3a": (256, 28, 28), "inception3b": (480, 28, 28), "pool3": (480, 14, 14),
    "inception4a": (512, 14, 14), "inception4b": (512, 14, 14), "inception4c": (512, 14, 14),
    "inception4d": (528, 14, 14), "inception4e": (832, 14, 14), "pool4": (832, 7, 7),
    "inception5a": (832, 7, 7), "inception5b": (1024, 7, 7), "pool5": (1024, 1, 1), "fc": (1000,),
}  # fmt: skip
RESNET_TABLE_1 = {
    "conv1": (64, 112, 112), "conv2_x": (256, 56, 56), "conv3_x": (512, 28, 28), "conv4_x": (1024, 14, 14),
    "conv5_x": (2048, 7, 7), "fc": (1000,),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alexnet", ALEXNET_SLIDE),
        ("alexnet_grouped", {**ALEXNET_SLIDE, "norm1": (96, 55, 55), "norm2": (256, 27, 27)}),
        ("zfnet", ZFNET_FIGURE_3),
        ("zfnet_slide", {"pool3": (512, 13, 13)}),
        ("googlenet", GOOGLENET_TABLE_1),
        ("resnet50", RESNET_TABLE_1),
        ("resnet152", RESNET_TABLE_1),
    ],
)
def test_maps_have_the_sizes_that_are_printed(name: str, expected: dict[str, tuple[int, ...]]) -> None:
    found = shapes(name)
    assert {row: found[row] for row in expected} == expected


VGG16_SLIDE = [  # row, dimension, parameters (the lecture counts weights, not biases)
    ("conv1_1", (64, 224, 224), 1_728), ("conv1_2", (64, 224, 224), 36_864), ("pool1", (64, 112, 112), 0),
    ("conv2_1", (128, 112, 112), 73_728), ("conv2_2", (128, 112, 112), 147_456),
    ("pool2", (128, 56, 56), 0),
    ("conv3_1", (256, 56, 56), 294_912), ("conv3_2", (256, 56, 56), 589_824),
    ("conv3_3", (256, 56, 56), 589_824), ("pool3", (256, 28, 28), 0),
    ("conv4_1", (512, 28, 28), 1_179_648), ("conv4_2", (512, 28, 28), 2_359_296),
    ("conv4_3", (512, 28, 28), 2_359_296), ("pool4", (512, 14, 14), 0),
    ("conv5_1", (512, 14, 14), 2_359_296), ("conv5_2", (512, 14, 14), 2_359_296),
    ("conv5_3", (512, 14, 14), 2_359_296), ("pool5", (512, 7, 7), 0),
    ("fc6", (4096,), 102_760_448),
    ("fc7", (4096,), 16_777_216),
    ("fc8", (1000,), 4_096_000),
]  # fmt: skip


def test_vgg16_is_the_lectures_table_row_by_row() -> None:
    model, found = build_on_meta("vgg16"), shapes("vgg16")
    silent = ("relu", "drop", "flatten")
    rows = [(path, layer) for path, layer in model.named_children() if not path.startswith(silent)]
    assert [(path, found[path], weights(layer)) for path, layer in rows] == VGG16_SLIDE


def test_vgg16_activations_are_not_the_24_million_of_the_slide() -> None:
    assert 224 * 224 * 3 + sum(prod(shape) for _, shape, _ in VGG16_SLIDE) == 15_237_608


def test_three_3x3_take_27_where_one_7x7_takes_49() -> None:
    channels, positions = 256, 28 * 28
    for name, factor in {"stack3x3": 27, "conv7x7": 49}.items():
        assert parameters(build_on_meta(name)) == factor * channels**2
        assert macs(name) == factor * channels**2 * positions


def test_naive_inception_is_the_slides_854_million() -> None:
    branches = {"1x1": 25_690_112, "3x3": 346_816_512, "5x5": 481_689_600}
    assert {branch: macs("inception_naive", branch) for branch in branches} == branches
    assert prod(run_on_meta("inception_naive").shape) == 526_848  # the slide prints 529k


def test_bottleneck_inception_is_358_million_only_with_the_3x3_counted_twice() -> None:
    assert macs("inception_bottleneck", "3x3.conv") == 86_704_128
    assert macs("inception_bottleneck") == 271_351_808
    assert 271_351_808 + 86_704_128 == 358_055_936


def test_zfnet_of_the_slide_costs_10_billion() -> None:
    assert round(macs("zfnet_slide") / 1e9, 2) == 10.15


# Details that totals do not show


def test_normalisation_of_alexnet_is_the_papers_formula() -> None:
    a = torch.randn(1, 7, 2, 2)
    b = build("alexnet").get_submodule("norm1")(a)
    near = torch.stack([a[:, max(0, i - 2) : i + 3].square().sum(dim=1) for i in range(7)], dim=1)
    torch.testing.assert_close(b, a / (2 + 1e-4 * near) ** 0.75)


def test_googlenet_auxiliary_classifiers_have_their_size() -> None:
    model = build_on_meta("googlenet_aux")
    assert parameters(model.get_submodule("aux1")) == 3_188_840
    assert parameters(model.get_submodule("aux2")) == 3_190_888


def test_resnet_bottleneck_strides_in_its_first_1x1() -> None:
    block = build_on_meta("resnet50").get_submodule("conv3_x.block1")
    strides = {path: layer.stride for path, layer in block.named_modules() if isinstance(layer, nn.Conv2d)}
    assert strides == {"conv1": (2, 2), "conv2": (1, 1), "conv3": (1, 1), "shortcut.conv": (2, 2)}


def test_option_a_pads_with_zeros() -> None:
    shortcut = build("resnet18_a").get_submodule("conv3_x.block1.shortcut")
    x = torch.randn(1, 64, 8, 8)
    y = shortcut(x)
    assert torch.equal(y[:, :64], x[:, :, ::2, ::2])
    assert torch.equal(y[:, 64:], torch.zeros(1, 64, 4, 4))


@pytest.mark.parametrize("name", ["lenet5", "lenet5_modern", "lenet_caffe", "googlenet_aux", "resnet18_a"])
def test_runs_on_real_numbers(name: str) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        output = build(name)(torch.randn(MODELS[name]["input"]))
    tensors: tuple[Tensor, ...] = output if isinstance(output, tuple) else (output,)
    assert all(tensor.isfinite().all() for tensor in tensors)
