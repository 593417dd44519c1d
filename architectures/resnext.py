"""Aggregated Residual Transformations for Deep Neural Networks.

Saining Xie, Ross Girshick, Piotr Dollár, Zhuowen Tu, Kaiming He. CVPR 2017. arXiv:1611.05431

C x d: a block sums up C bottlenecks that are d wide. They are written here as one bottleneck with a grouped
3x3, form (c) of Figure 3, which is what the authors ran; the three forms are the same function. Blocks stride
in the 3x3 (section 4), so ResNet-50, which is 1 x 64d, costs 4.089 and not 3.858 G multiply-adds.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from .layers import AddReLU, blocks_per_stage, chain, conv_bn, conv_bn_relu, option_b, stage, stage_counts

# Table 1: how many blocks conv2, conv3, conv4 and conv5 have. 101 is as in ResNet; 152 is not of this paper
# but what SENet-154 starts from.
TABLE_1 = {
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}

# Table 2: which widths d go with which cardinalities C if a block of conv2 is to keep its some 70k weights.
TABLE_2 = {1: 64, 2: 40, 4: 24, 8: 14, 32: 4}


def template(ins: int, outs: int, stride: int, cardinality: int, width: int) -> AddReLU:
    """Figure 3(c). `width` is that of one path where a block gives 256 channels, and grows with these."""
    inner = cardinality * width * (outs // 256)
    return AddReLU(
        option_b(ins, outs, stride),
        **conv_bn_relu("1", ins, inner, 1),
        **conv_bn_relu("2", inner, inner, 3, stride, groups=cardinality),
        **conv_bn("3", inner, outs, 1),
    )


def resnext(depth: int = 50, cardinality: int = 32, width: int = 4) -> nn.Sequential:
    """ResNeXt-`depth` (`cardinality` x `width`d) of Table 1, for ImageNet."""
    block = partial(template, cardinality=cardinality, width=width)
    n2, n3, n4, n5 = stage_counts(TABLE_1, depth)
    return chain(                                                       #    3 x 224 x 224
        **conv_bn_relu("1", 3, 64, 7, stride=2),                        #   64 x 112 x 112
        pool1=nn.MaxPool2d(3, 2, padding=1),                           #   64 x 56 x 56
        conv2=stage(block, n2, 64, 256, stride=1),                      #  256 x 56 x 56
        conv3=stage(block, n3, 256, 512, stride=2),                     #  512 x 28 x 28
        conv4=stage(block, n4, 512, 1024, stride=2),                    # 1024 x 14 x 14
        conv5=stage(block, n5, 1024, 2048, stride=2),                   # 2048 x 7 x 7
        avgpool=nn.AdaptiveAvgPool2d(1),                                # 2048 x 1 x 1
        flatten=nn.Flatten(),
        fc=nn.Linear(2048, 1000),                                       # 1000
    )


def resnext_cifar(depth: int = 29, cardinality: int = 8, width: int = 64) -> nn.Sequential:
    """ResNeXt-`depth` (`cardinality` x `width`d) of section 5.3, for CIFAR-10; the depth is 9n + 2."""
    block = partial(template, cardinality=cardinality, width=width)
    n = blocks_per_stage(depth, 9, 2)
    return chain(                                                       #    3 x 32 x 32
        **conv_bn_relu("1", 3, 64, 3),                                  #   64 x 32 x 32
        conv2=stage(block, n, 64, 256, stride=1),                       #  256 x 32 x 32
        conv3=stage(block, n, 256, 512, stride=2),                      #  512 x 16 x 16
        conv4=stage(block, n, 512, 1024, stride=2),                     # 1024 x 8 x 8
        avgpool=nn.AdaptiveAvgPool2d(1),                                # 1024 x 1 x 1
        flatten=nn.Flatten(),
        fc=nn.Linear(1024, 10),                                         # 10
    )
