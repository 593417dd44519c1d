"""ResNeXt and SENet against what their papers print."""

from __future__ import annotations

import torch
from torch import nn
from zoo_counts import IMAGENET, convolutions, macs, millions, on_meta, parameters, running_statistics, weights

from cnnscope.architectures import resnext, senet

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
