"""The lecture's nets, AlexNet to ResNet, against the papers and the slides.

Every figure is counted by torch itself or from the layers' own shapes, with nothing of cnnscope's analyses:
the networks are proven right before anything is proven with them. Figures of whole nets are in the catalogue.
"""

from __future__ import annotations

from math import prod
from typing import Any

import pytest
import torch
from zoo_counts import IMAGENET, Shapes, convolutions, macs, on_meta, parameters, picture, run, shapes, weights

from cnnscope.architectures import alexnet, googlenet, pieces, resnet, vgg, zfnet

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
    ("make", "size", "expected"),
    [
        (alexnet.alexnet, 227, ALEXNET_SLIDE),
        (alexnet.alexnet_grouped, 227, {**ALEXNET_SLIDE, "norm1": (96, 55, 55), "norm2": (256, 27, 27)}),
        (zfnet.zfnet, 224, ZFNET_FIGURE_3),
        (zfnet.zfnet_slide, 227, {"pool3": (512, 13, 13)}),
        (googlenet.googlenet, 224, GOOGLENET_TABLE_1),
        (resnet.resnet50, 224, RESNET_TABLE_1),
        (resnet.resnet152, 224, RESNET_TABLE_1),
    ],
)
def test_maps_have_the_sizes_that_are_printed(make: Any, size: int, expected: Shapes) -> None:
    found = shapes(on_meta(make), picture(size))
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
    model = on_meta(vgg.vgg16)
    found = shapes(model, IMAGENET)
    silent = ("relu", "drop", "flatten")
    rows = [(path, layer) for path, layer in model.named_children() if not path.startswith(silent)]
    assert [(path, found[path], weights(layer)) for path, layer in rows] == VGG16_SLIDE


def test_vgg16_activations_are_not_the_24_million_of_the_slide() -> None:
    assert 224 * 224 * 3 + sum(prod(shape) for _, shape, _ in VGG16_SLIDE) == 15_237_608


PIECE = (1, 256, 28, 28)


def test_three_3x3_take_27_where_one_7x7_takes_49() -> None:
    channels, positions = 256, 28 * 28
    for make, factor in {pieces.stack3x3: 27, pieces.conv7x7: 49}.items():
        assert parameters(on_meta(make)) == factor * channels**2
        assert macs(on_meta(make), PIECE) == factor * channels**2 * positions


def test_naive_inception_is_the_slides_854_million() -> None:
    branches = {"1x1": 25_690_112, "3x3": 346_816_512, "5x5": 481_689_600}
    module = on_meta(pieces.inception_naive)
    assert {branch: macs(module.get_submodule(branch), PIECE) for branch in branches} == branches
    assert prod(run(module, PIECE).shape) == 526_848  # the slide prints 529k


def test_bottleneck_inception_is_358_million_only_with_the_3x3_counted_twice() -> None:
    module = on_meta(pieces.inception_bottleneck)
    assert 28 * 28 * weights(module.get_submodule("3x3.conv")) == 86_704_128
    assert macs(module, PIECE) == 271_351_808
    assert 271_351_808 + 86_704_128 == 358_055_936


def test_zfnet_of_the_slide_costs_10_billion() -> None:
    assert round(macs(on_meta(zfnet.zfnet_slide), picture(227)) / 1e9, 2) == 10.15


# Details that totals do not show


def test_normalisation_of_alexnet_is_the_papers_formula() -> None:
    a = torch.randn(1, 7, 2, 2)
    b = on_meta(alexnet.alexnet).get_submodule("norm1")(a)
    near = torch.stack([a[:, max(0, i - 2) : i + 3].square().sum(dim=1) for i in range(7)], dim=1)
    torch.testing.assert_close(b, a / (2 + 1e-4 * near) ** 0.75)


def test_googlenet_auxiliary_classifiers_have_their_size() -> None:
    model = on_meta(googlenet.googlenet_aux)
    assert parameters(model.get_submodule("aux1")) == 3_188_840
    assert parameters(model.get_submodule("aux2")) == 3_190_888


def test_resnet_bottleneck_strides_in_its_first_1x1() -> None:
    block = on_meta(resnet.resnet50).get_submodule("conv3_x.block1")
    strides = {path: layer.stride for path, layer in convolutions(block).items()}
    assert strides == {"conv1": (2, 2), "conv2": (1, 1), "conv3": (1, 1), "shortcut.conv": (2, 2)}


def test_option_a_pads_with_zeros() -> None:
    shortcut = on_meta(resnet.resnet18_a).get_submodule("conv3_x.block1.shortcut")
    x = torch.randn(1, 64, 8, 8)
    y = shortcut(x)
    assert torch.equal(y[:, :64], x[:, :, ::2, ::2])
    assert torch.equal(y[:, 64:], torch.zeros(1, 64, 4, 4))
