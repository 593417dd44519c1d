"""ResNet's nets for CIFAR, pre-activation, Wide ResNet and stochastic depth against what their papers print."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from zoo_counts import CIFAR, convolutions, macs, millions, on_meta, parameters

from cnnscope.architectures import preact_resnet, resnet_cifar, stochastic_depth, wide_resnet

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
