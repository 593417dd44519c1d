"""Wide Residual Networks.

Sergey Zagoruyko, Nikos Komodakis. BMVC 2016. arXiv:1605.07146

WRN-d-k: few blocks, and k times the filters in each. The paper's d counts every convolution, the three 1x1
projections too (two are left at k = 1), and not the classifier; on the longest path there are d - 2 layers.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from .layers import Add, AddReLU, blocks_per_stage, bn_relu, chain, conv_bn, conv_bn_relu, option_b, stage, stage_counts
from .layers import conv as conv_with_bias

conv = partial(conv_with_bias, bias=False)

# Table 1, for blocks of type B(3, 3): the filters of both 3x3 in each of a group's N blocks, times k.
# conv1 keeps its 16.
TABLE_1 = {
    "conv2": 16,
    "conv3": 32,
    "conv4": 64,
}

# ImageNet: how many blocks conv2_x, conv3_x, conv4_x and conv5_x have, as in ResNet. 101 is torchvision's.
BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
}


def basic_wide(ins: int, outs: int, stride: int) -> nn.Module:
    """Figure 1(c), pre-activated. A projection reads what the first ReLU gives, without a normalisation.

    Figure 1(d) has a dropout between the convolutions; the nets that the paper sizes have none.
    """
    first = bn_relu("1", ins)
    rest = {
        "conv1": conv(ins, outs, 3, stride), **bn_relu("2", outs),
        "conv2": conv(outs, outs, 3),
    }
    if ins == outs:
        return Add(nn.Identity(), **first, **rest)
    return chain(**first, add=Add(conv(ins, outs, 1, stride), **rest))


def wrn(depth: int = 28, k: int = 10) -> nn.Sequential:
    """WRN-`depth`-`k` of Table 1, for CIFAR-10; the depth is 6N + 4."""
    n = blocks_per_stage(depth, 6, 4)
    a, b, c = (filters * k for filters in TABLE_1.values())
    return chain(                                                       #   3 x 32 x 32
        conv1=conv(3, 16, 3),                                           #  16 x 32 x 32
        conv2=stage(basic_wide, n, 16, a, stride=1),                    # 16k x 32 x 32
        conv3=stage(basic_wide, n, a, b, stride=2),                     # 32k x 16 x 16
        conv4=stage(basic_wide, n, b, c, stride=2),                     # 64k x 8 x 8
        **bn_relu("", c),
        avgpool=nn.AdaptiveAvgPool2d(1),                                # 64k x 1 x 1
        flatten=nn.Flatten(),
        fc=nn.Linear(c, 10),                                            # 10
    )


def basic(ins: int, outs: int, stride: int) -> AddReLU:
    """ResNet's block of two 3x3."""
    return AddReLU(
        option_b(ins, outs, stride),
        **conv_bn_relu("1", ins, outs, 3, stride),
        **conv_bn("2", outs, outs, 3),
    )


def bottleneck(ins: int, outs: int, stride: int, k: float) -> AddReLU:
    """ResNet's bottleneck, k times as wide inside and no wider outside. It strides in the 3x3."""
    width = int(k * outs / 4)
    return AddReLU(
        option_b(ins, outs, stride),
        **conv_bn_relu("1", ins, width, 1),
        **conv_bn_relu("2", width, width, 3, stride),
        **conv_bn("3", width, outs, 1),
    )


def wrn_imagenet(depth: int = 50, k: float = 2) -> nn.Sequential:
    """WRN-`depth`-`k` for ImageNet: ResNet in its original order of layers, with k times the filters.

    In nets of 18 and 34 layers every block is wider, in deeper ones (WRN-50-2-bottleneck) its inner layers.
    """
    n2, n3, n4, n5 = stage_counts(BLOCKS, depth)
    block = partial(bottleneck, k=k) if depth >= 50 else basic
    a, b, c, d = (4 * f if depth >= 50 else int(k * f) for f in (64, 128, 256, 512))
    return chain(                                                       #  3 x 224 x 224
        **conv_bn_relu("1", 3, 64, 7, stride=2),                        # 64 x 112 x 112
        pool1=nn.MaxPool2d(3, 2, padding=1),                           # 64 x 56 x 56
        conv2_x=stage(block, n2, 64, a, stride=1),                      #  a x 56 x 56
        conv3_x=stage(block, n3, a, b, stride=2),                       #  b x 28 x 28
        conv4_x=stage(block, n4, b, c, stride=2),                       #  c x 14 x 14
        conv5_x=stage(block, n5, c, d, stride=2),                       #  d x 7 x 7
        avgpool=nn.AdaptiveAvgPool2d(1),                                #  d x 1 x 1
        flatten=nn.Flatten(),
        fc=nn.Linear(d, 1000),                                          # 1000
    )
