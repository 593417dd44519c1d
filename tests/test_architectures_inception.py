"""Network in Network, the Inceptions after GoogLeNet and their fusion against what their papers print."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from zoo_counts import Shapes, macs, on_meta, picture, shapes

from cnnscope import zoo
from cnnscope.architectures import fusion, inception_resnet, inception_v3, inception_v4, network_in_network
from cnnscope.architectures.googlenet import googlenet

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


@pytest.mark.parametrize(
    ("make", "size", "expected"),
    [
        (network_in_network.nin_cifar10, 32, NIN_CIFAR10),
        (network_in_network.nin_imagenet, 224, NIN_IMAGENET),
        (inception_v3.inception_v3, 299, INCEPTION_V3_TABLE_1),
        (inception_v4.inception_v4, 299, INCEPTION_V4_FIGURE_9),
        (inception_resnet.inception_resnet_v2, 299, INCEPTION_RESNET_V2),
        (inception_resnet.inception_resnet_v2_figures, 299, FIGURE_15),
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
    members = [zoo.entry(build.__name__) for build, _ in fusion.MEMBERS.values()]
    assert [member["input"][-1] for member in members] == [size for _, size in fusion.MEMBERS.values()]
    assert sum(member["params"] for member in members) == zoo.entry("fusion")["params"]
    assert sum(member["macs"] for member in members) == 46_130_466_592 == macs(on_meta(fusion.fusion), picture(299))
