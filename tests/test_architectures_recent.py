"""DenseNet, SqueezeNet and NASNet against what their papers print."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from zoo_counts import Shapes, depth, macs, millions, on_meta, parameters, picture, running_statistics, shapes

from cnnscope.architectures import densenet, nasnet, squeezenet

# What is printed of sizes

DENSENET_121: Shapes = {
    "conv0": (64, 112, 112), "pool0": (64, 56, 56), "block1": (256, 56, 56), "transition1": (128, 28, 28),
    "block2": (512, 28, 28), "block3": (1024, 14, 14), "block4": (1024, 7, 7), "avgpool": (1024, 1, 1),
}  # fmt: skip
SQUEEZENET_1_1: Shapes = {"conv1": (64, 113, 113), "maxpool1": (64, 56, 56), "maxpool3": (128, 28, 28),
                          "maxpool5": (256, 14, 14), "conv10": (1000, 14, 14)}  # fmt: skip
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
        (densenet.densenet121, 224, DENSENET_121),
        (squeezenet.squeezenet1_1, 227, SQUEEZENET_1_1),
        (nasnet.nasnet_a_mobile, 224, NASNET_MOBILE),
        (nasnet.nasnet_a_large, 331, NASNET_LARGE),
    ],
)
def test_maps_have_the_sizes_that_are_printed(make: Any, size: int, expected: Shapes) -> None:
    found = shapes(on_meta(make), picture(size))
    assert {row: found[row] for row in expected} == expected


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
