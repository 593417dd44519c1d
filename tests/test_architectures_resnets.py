"""ResNet's nets for CIFAR and its heirs against their papers; the figures are the catalogue's."""

from __future__ import annotations

import importlib
import inspect
import re
import tomllib
from functools import partial
from importlib.resources import files
from typing import Any

import pytest
import torch
from torch import nn
from zoo_counts import depth, macs, parameters, running_statistics, weights

from cnnscope.architectures import preact_resnet, resnet_cifar, resnext, senet, stochastic_depth, wide_resnet

ARCHITECTURES = files("cnnscope") / "architectures"
FILES = ("resnet_cifar", "preact_resnet", "wide_resnet", "resnext", "stochastic_depth", "senet")
CATALOGS = [ARCHITECTURES / name for name in ("catalog.toml", "fragment_resnets.toml")]
PAPERS = [
    paper for file in CATALOGS if file.is_file() for paper in tomllib.loads(file.read_text(encoding="utf-8"))["paper"]
]
ENTRIES = [entry for paper in PAPERS for entry in paper["model"] if entry["build"].split(":")[0] in FILES]
FAMILIES = {entry["name"]: entry for entry in ENTRIES if "parameters" in entry}
MODELS = {entry["name"]: entry for entry in ENTRIES if "parameters" not in entry}
FIGURES = ("params", "weights", "macs", "depth")
IMAGENET = (1, 3, 224, 224)
CIFAR = (1, 3, 32, 32)


def builder(entry: dict[str, Any]) -> Any:
    file, function = entry["build"].split(":")
    return getattr(importlib.import_module(f"cnnscope.architectures.{file}"), function)


def on_meta(make: Any, *args: Any) -> nn.Module:
    with torch.device("meta"):
        return make(*args).eval()


def millions(count: int, digits: int = 1) -> float:
    return round(count / 1e6, digits)


def convolutions(module: nn.Module) -> dict[str, nn.Conv2d]:
    return {path: layer for path, layer in module.named_modules() if isinstance(layer, nn.Conv2d)}


# Every model of the six files


@pytest.mark.parametrize("name", MODELS)
def test_has_the_figures_of_its_paper(name: str) -> None:
    entry = MODELS[name]
    stated = {figure: entry[figure] for figure in FIGURES if figure in entry}
    assert stated, "a model without a single stated figure is held to nothing"
    model = on_meta(partial(builder(entry), **entry.get("args", {})))
    found = {
        "params": parameters(model),
        "weights": weights(model),
        "macs": macs(model, entry["input"]),
        "depth": depth(model),
    }
    assert {figure: found[figure] for figure in stated} == stated
    assert not [path for path, module in model.named_modules() if getattr(module, "inplace", False)]
    assert all(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_named_after_its_builder_and_lists_its_arguments(name: str) -> None:
    family = FAMILIES[name]
    defaults = {key: each.default for key, each in inspect.signature(builder(family)).parameters.items()}
    assert builder(family).__name__ == name
    assert family["parameters"] == defaults


@pytest.mark.parametrize("name", FAMILIES.keys() - {"resnet_cifar_b"})
def test_a_family_has_the_figures_of_the_member_that_its_defaults_make(name: str) -> None:
    family = FAMILIES[name]
    (member,) = (
        entry
        for entry in MODELS.values()
        if entry["build"] == family["build"] and {**family["parameters"], **entry["args"]} == family["parameters"]
    )
    assert [family.get(figure) for figure in FIGURES] == [member.get(figure) for figure in FIGURES]


def test_a_file_and_its_layers_can_be_copied_out() -> None:
    for file in FILES:
        source = (ARCHITECTURES / f"{file}.py").read_text(encoding="utf-8")
        assert set(re.findall(r"^from (\.\S*|cnnscope\S*)", source, re.MULTILINE)) == {".layers"}


@pytest.mark.parametrize(
    ("make", "arguments", "expected"),
    [
        (resnet_cifar.resnet_cifar, {"depth": 111}, "depth 111 is not 6n + 2: 8, 14, 20, ..."),
        (preact_resnet.preact_resnet_cifar, {"depth": 2}, "depth 2 is not 9n + 2: 11, 20, 29, ..."),
        (wide_resnet.wrn, {"depth": 27}, "depth 27 is not 6n + 4: 10, 16, 22, ..."),
        (resnext.resnext, {"depth": 34}, "no net of depth 34 in the table; it has 50, 101, 152"),
    ],
)
def test_an_impossible_depth_is_said_to_be_one(make: Any, arguments: dict[str, int], expected: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        make(**arguments)


@pytest.mark.parametrize(
    ("model", "classes"),
    [
        (lambda: resnet_cifar.resnet_cifar(20), 10),
        (lambda: preact_resnet.preact_resnet_cifar(29), 10),
        (lambda: wide_resnet.wrn(16, 2), 10),
        (lambda: wide_resnet.wrn_imagenet(18, 0.5), 1000),
        (lambda: resnext.resnext_cifar(29, 32, 4), 10),
        (lambda: stochastic_depth.stochastic_depth(20), 10),
        (lambda: senet.se_resnet(18), 1000),
    ],
    ids=["resnet_cifar", "preact_resnet", "wide_resnet", "wrn_imagenet", "resnext", "stochastic_depth", "senet"],
)
def test_runs_on_real_numbers(model: Any, classes: int) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        output = model().eval()(torch.randn(2, 3, 32, 32))
    assert tuple(output.shape) == (2, classes)
    assert output.isfinite().all()


# ResNet for CIFAR

TABLE_6 = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7}
OPTION_B = {20: 272_474, 32: 466_906, 44: 661_338, 56: 855_770, 110: 1_730_714}


@pytest.mark.parametrize("layers", TABLE_6)
def test_cifar_nets_have_the_parameters_of_table_6_with_option_a_only(layers: int) -> None:
    printed = TABLE_6[layers]
    digits = len(str(printed).split(".")[1])
    residual = parameters(on_meta(resnet_cifar.resnet_cifar, layers))
    projected = parameters(on_meta(resnet_cifar.resnet_cifar_b, layers))
    assert millions(residual, digits) == printed
    assert parameters(on_meta(resnet_cifar.plain_cifar, layers)) == residual
    assert projected == OPTION_B[layers] == residual + 2_752
    assert (millions(projected, digits) == printed) == (layers not in (32, 56))


# Pre-activation


def test_preactivation_leaves_nothing_on_the_way_from_sum_to_sum() -> None:
    torch.manual_seed(0)
    unit = preact_resnet.preactivation(64, 64, 1).eval()
    x = torch.randn(1, 64, 8, 8)
    y = x
    for name in ("bn1", "relu1", "conv1", "bn2", "relu2", "conv2", "bn3", "relu3", "conv3"):
        y = unit.get_submodule(name)(y)
    assert torch.equal(unit(x), x + y)
    assert unit(x).min() < 0


def test_preactivation_projects_what_the_first_relu_gives() -> None:
    unit = preact_resnet.preactivation(64, 256, 2).eval()
    read = []
    for path in ("add.shortcut", "add.conv1"):
        unit.get_submodule(path).register_forward_hook(lambda module, inputs, output: read.append(inputs[0]))
    unit(torch.randn(1, 64, 8, 8))
    assert read[0] is read[1]
    assert read[0].min() == 0


def test_resnet_1001_has_10_2_million_only_without_normalisation() -> None:
    model = on_meta(preact_resnet.preact_resnet_cifar, 1001)
    affine = sum(parameters(layer) for layer in model.modules() if isinstance(layer, nn.BatchNorm2d))
    assert millions(parameters(model)) == 10.3
    assert millions(parameters(model) - affine) == 10.2


def test_pre_resnet_200_has_the_parameters_that_table_8_of_wide_resnet_prints() -> None:
    assert millions(parameters(on_meta(preact_resnet.preact_resnet, 200))) == 64.7


# Wide ResNet

TABLE_4 = {  # depth, k: parameters in millions
    (40, 1): 0.6, (40, 2): 2.2, (40, 4): 8.9, (40, 8): 35.7, (28, 10): 36.5, (28, 12): 52.5, (22, 8): 17.2,
    (22, 10): 26.8, (16, 8): 11.0, (16, 10): 17.1,
}  # fmt: skip
TABLE_7 = {(18, 1): 11.7, (18, 1.5): 25.9, (18, 2): 45.6, (18, 3): 101.8, (34, 1): 21.8, (34, 1.5): 48.6, (34, 2): 86.0}


def test_wide_nets_have_the_parameters_that_are_printed() -> None:
    assert {net: millions(parameters(on_meta(wide_resnet.wrn, *net))) for net in TABLE_4} == TABLE_4
    assert {net: millions(parameters(on_meta(wide_resnet.wrn_imagenet, *net))) for net in TABLE_7} == TABLE_7
    assert millions(parameters(on_meta(wide_resnet.wrn_imagenet, 50, 2))) == 68.9
    assert millions(parameters(on_meta(wide_resnet.wrn, 40, 10)), 0) == 56


@pytest.mark.parametrize("net", [net for net in TABLE_4 if net[1] > 1])
def test_the_d_of_a_wide_net_counts_every_convolution(net: tuple[int, int]) -> None:
    assert len(convolutions(on_meta(wide_resnet.wrn, *net))) == net[0]


def test_wrn_50_2_is_wider_inside_its_blocks_only() -> None:
    block = on_meta(wide_resnet.wrn_imagenet, 50, 2).get_submodule("conv2_x.block1")
    shapes = {path: tuple(layer.weight.shape[:2]) for path, layer in convolutions(block).items()}
    assert shapes == {"conv1": (128, 64), "conv2": (128, 128), "conv3": (256, 128), "shortcut.conv": (256, 64)}


# ResNeXt


def test_table_2_keeps_the_weights_of_a_block_at_some_70_thousand() -> None:
    found = {}
    for cardinality, width in resnext.TABLE_2.items():
        block = on_meta(resnext.template, 256, 256, 1, cardinality, width)
        assert weights(block) == cardinality * (256 * width + 9 * width**2 + width * 256)
        found[cardinality] = (block.get_submodule("conv2").out_channels, round(weights(block), -3))
    assert {cardinality: width for cardinality, (width, _) in found.items()} == {1: 64, 2: 80, 4: 96, 8: 112, 32: 128}
    assert found[1][1] == found[32][1] == 70_000
    assert weights(on_meta(resnext.template, 256, 256, 1, 32, 4)) == 70_144


def test_resnext_50_of_one_path_is_resnet_50_with_the_later_stride() -> None:
    model = on_meta(resnext.resnext, 50, 1, 64)
    block = model.get_submodule("conv3.block1")
    assert parameters(model) == 25_557_032
    assert {path: layer.stride for path, layer in convolutions(block).items() if layer.stride != (1, 1)} == {
        "conv2": (2, 2),
        "shortcut.conv": (2, 2),
    }


def test_table_4_doubles_the_cost_of_resnet_101() -> None:
    for setting in ((1, 100), (2, 64), (64, 4)):
        assert round(macs(on_meta(resnext.resnext, 101, *setting), IMAGENET) / 1e9) == 15


def test_a_grouped_bottleneck_is_the_sum_of_its_paths() -> None:
    """Figure 3: form (c), cut into 32 paths, is form (a)."""
    torch.manual_seed(0)
    block = resnext.template(256, 256, 1, 32, 4).eval()
    x = torch.randn(1, 256, 4, 4)
    y = block.get_submodule("relu2")(block.get_submodule("bn2")(block.get_submodule("conv2")(hidden(block, x))))
    last = block.get_submodule("conv3").weight
    paths = [nn.functional.conv2d(y[:, i : i + 4], last[:, i : i + 4]) for i in range(0, 128, 4)]
    total = block.get_submodule("bn3")(sum(paths))
    torch.testing.assert_close(block(x), torch.relu(x + total))


def hidden(block: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The paths' first layers, one after the other: each reads all of x and gives four channels."""
    convolution = block.get_submodule("conv1")
    paths = [nn.functional.conv2d(x, convolution.weight[i : i + 4]) for i in range(0, 128, 4)]
    return block.get_submodule("relu1")(block.get_submodule("bn1")(torch.cat(paths, dim=1)))


# Stochastic depth


def test_survival_falls_in_equal_steps_to_the_last_block() -> None:
    survival = stochastic_depth.survival_probabilities(54)
    assert len(survival) == 54
    assert survival[0] == pytest.approx(1 - 0.5 / 54)
    assert survival[26] == pytest.approx(0.75)
    assert survival[-1] == 0.5
    assert stochastic_depth.survival_probabilities(3, p_last=1.0) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(("blocks", "expected"), [(54, 40.25), (600, 449.75), (50, 37.25)])
def test_expected_depth_is_that_of_the_paper(blocks: int, expected: float) -> None:
    assert stochastic_depth.expected_depth(blocks) == expected == (3 * blocks - 1) / 4
    assert sum(stochastic_depth.survival_probabilities(blocks)) == pytest.approx(expected)


def test_a_quarter_of_the_training_is_saved_and_with_p_of_a_fifth_two_fifths() -> None:
    assert 1 - stochastic_depth.expected_cost(110) == pytest.approx(0.254586, abs=1e-6)
    assert round(1 - stochastic_depth.expected_cost(110, p_last=0.2), 1) == 0.4
    assert stochastic_depth.expected_cost(110, p_last=1.0) == 1


def test_block_macs_are_those_of_the_blocks() -> None:
    model = on_meta(stochastic_depth.stochastic_depth, 20)
    around = macs(model, CIFAR) - sum(stochastic_depth.block_macs(20))
    assert around == 16 * 27 * 32 * 32 + 640
    assert sum(stochastic_depth.block_macs(110)) == 252_887_680 - around


def test_each_block_is_scaled_by_its_survival_probability() -> None:
    torch.manual_seed(0)
    model = stochastic_depth.stochastic_depth(20).eval()
    scales = [layer.p for layer in model.modules() if isinstance(layer, stochastic_depth.Scale)]
    assert scales == stochastic_depth.survival_probabilities(9)
    block, x = model.get_submodule("conv4_x.block3"), torch.rand(1, 64, 8, 8)
    branch = x
    for name in ("conv1", "bn1", "relu1", "conv2", "bn2"):
        branch = block.get_submodule(name)(branch)
    torch.testing.assert_close(block(x), torch.relu(0.5 * branch + x))


def test_shortcuts_of_stochastic_depth_average_and_pad() -> None:
    shortcut = stochastic_depth.res_block(16, 32, 0.75).get_submodule("shortcut")
    x = torch.randn(1, 16, 8, 8)
    y = shortcut(x)
    torch.testing.assert_close(y[:, :16], nn.functional.avg_pool2d(x, 2))
    assert torch.equal(y[:, 16:], torch.zeros(1, 16, 4, 4))


# SENet

TABLE_10 = {2: 45.7, 4: 35.7, 8: 30.7, 16: 28.1, 32: 26.9}  # SE-ResNet-50, r: parameters in millions


def test_an_se_block_scales_each_channel_by_what_all_channels_say() -> None:
    torch.manual_seed(0)
    block, x = senet.SE(32, 4), torch.randn(2, 32, 5, 5)
    scales = block(x) / x
    assert torch.allclose(scales, scales[:, :, :1, :1].expand_as(scales), atol=1e-4)
    assert 0 < scales.min() < scales.max() < 1
    means = x.mean(dim=(2, 3))
    fc1, fc2 = block.get_submodule("excitation.fc1"), block.get_submodule("excitation.fc2")
    z = torch.relu(means @ fc1.weight.flatten(1).T + fc1.bias)
    torch.testing.assert_close(scales[:, :, 0, 0], torch.sigmoid(z @ fc2.weight.flatten(1).T + fc2.bias))


def test_se_adds_two_and_a_half_million_parameters_and_less_than_a_tenth_percent_of_operations() -> None:
    model = on_meta(senet.se_resnet)
    blocks = [layer for layer in model.modules() if isinstance(layer, senet.SE)]
    assert sum(map(parameters, blocks)) == 2_530_992
    assert sum(map(weights, blocks)) == 2_514_944
    assert parameters(model) - 2_530_992 == 25_557_032
    # The 0.26% of the paper is what its rounded 3.87 is over its rounded 3.86.
    assert round(100 * (macs(model, IMAGENET) / 3_857_973_248 - 1), 3) == 0.065


def test_table_10_counts_running_statistics() -> None:
    for ratio, printed in TABLE_10.items():
        model = on_meta(senet.se_resnet, 50, ratio)
        counted = parameters(model) + running_statistics(model)
        assert running_statistics(model) == 53_120
        # 45,752,360 is printed as 45.7M, cut and not rounded. Section 6 says that these nets have no biases in
        # their SE blocks; without them 45.7M would be right and the 30.7M of r = 8 wrong (30,640,040).
        assert (counted // 100_000 / 10 if ratio == 2 else millions(counted)) == printed


def test_senet_154_halves_its_first_1x1_and_looks_at_every_pixel() -> None:
    model = on_meta(senet.senet154)
    block = model.get_submodule("conv3_x.block1")
    shapes = {path: (layer.out_channels, layer.kernel_size[0], layer.stride[0], layer.groups)
              for path, layer in convolutions(block).items() if not path.startswith("se.")}  # fmt: skip
    assert shapes == {
        "conv1": (256, 1, 1, 1),
        "conv2": (512, 3, 2, 64),
        "conv3": (512, 1, 1, 1),
        "shortcut.conv": (512, 3, 2, 1),
    }
    assert macs(model, (1, 3, 320, 320)) == 42_212_171_776
