"""Identity Mappings in Deep Residual Networks.

Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun. ECCV 2016. arXiv:1603.05027

Batch normalisation and ReLU move in front of the convolutions they belong to, and nothing is left on the way
from one sum to the next. Where a unit changes the shape, its projection reads what the first ReLU gives, and
has no normalisation of its own.

As in the authors' code, the nets for CIFAR stride in the first 1x1 of a bottleneck; as in the Torch code that
the ImageNet nets were released in, those stride in the 3x3.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from .layers import Add, AddReLU, blocks_per_stage, bn_relu, chain, conv_bn, conv_bn_relu, option_b, stage, stage_counts
from .layers import conv as conv_with_bias

conv = partial(conv_with_bias, bias=False)

# Residual units at 56x56, 28x28, 14x14 and 7x7, by the number of layers. ResNet-200 is, says section 5,
# ResNet-152 with 16 more units at 28x28. Pre-activation nets of 50 layers are later; libraries have them.
UNITS = {
    50: (3, 4, 6, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}


def original(ins: int, outs: int, stride: int) -> AddReLU:
    """Figure 4(a), as a bottleneck: the unit of the first paper, with a ReLU after the sum."""
    width = outs // 4
    return AddReLU(
        option_b(ins, outs, stride),
        **conv_bn_relu("1", ins, width, 1),
        **conv_bn_relu("2", width, width, 3, stride),
        **conv_bn("3", width, outs, 1),
    )


def preactivation(ins: int, outs: int, stride: int, early: bool = False) -> nn.Module:
    """Figure 4(e), as a bottleneck: full pre-activation. `early`: it strides in the first 1x1, not in the 3x3."""
    width = outs // 4
    s1, s2 = (stride, 1) if early else (1, stride)
    first = bn_relu("1", ins)
    rest = {
        "conv1": conv(ins, width, 1, s1), **bn_relu("2", width),
        "conv2": conv(width, width, 3, s2), **bn_relu("3", width),
        "conv3": conv(width, outs, 1),
    }
    if ins == outs:
        return Add(nn.Identity(), **first, **rest)
    return chain(**first, add=Add(conv(ins, outs, 1, stride), **rest))


def preact_resnet_cifar(depth: int = 164) -> nn.Sequential:
    """The nets for CIFAR-10 with 9n + 2 layers: n = 18 makes 164 and n = 111 makes 1001, all units bottlenecks."""
    n = blocks_per_stage(depth, 9, 2)
    unit = partial(preactivation, early=True)
    return chain(                                                       #   3 x 32 x 32
        conv1=conv(3, 16, 3),                                           #  16 x 32 x 32
        conv2_x=stage(unit, n, 16, 64, stride=1),                       #  64 x 32 x 32
        conv3_x=stage(unit, n, 64, 128, stride=2),                      # 128 x 16 x 16
        conv4_x=stage(unit, n, 128, 256, stride=2),                     # 256 x 8 x 8
        **bn_relu("", 256),
        avgpool=nn.AdaptiveAvgPool2d(1),                                # 256 x 1 x 1
        flatten=nn.Flatten(),
        fc=nn.Linear(256, 10),                                          # 10
    )


def preact_resnet(depth: int = 200) -> nn.Sequential:
    """The nets for ImageNet with the unit of Figure 4(e). The activation of the last sum stands by itself.

    conv1 is activated before the pool, and the first unit activates once more, as in the build of 64,666,280
    parameters that is published; timm leaves the activation before the pool out.
    """
    n2, n3, n4, n5 = stage_counts(UNITS, depth)
    return chain(                                                       #    3 x 224 x 224
        **conv_bn_relu("1", 3, 64, 7, stride=2),                        #   64 x 112 x 112
        pool1=nn.MaxPool2d(3, 2, padding=1),                           #   64 x 56 x 56
        conv2_x=stage(preactivation, n2, 64, 256, stride=1),            #  256 x 56 x 56
        conv3_x=stage(preactivation, n3, 256, 512, stride=2),           #  512 x 28 x 28
        conv4_x=stage(preactivation, n4, 512, 1024, stride=2),          # 1024 x 14 x 14
        conv5_x=stage(preactivation, n5, 1024, 2048, stride=2),         # 2048 x 7 x 7
        **bn_relu("", 2048),
        avgpool=nn.AdaptiveAvgPool2d(1),                                # 2048 x 1 x 1
        flatten=nn.Flatten(),
        fc=nn.Linear(2048, 1000),                                       # 1000
    )


def resnet200() -> nn.Sequential:
    """200 layers with the unit of Figure 4(a): less training error than ResNet-152, and more on new images."""
    n2, n3, n4, n5 = stage_counts(UNITS, 200)
    return chain(                                                       #    3 x 224 x 224
        **conv_bn_relu("1", 3, 64, 7, stride=2),                        #   64 x 112 x 112
        pool1=nn.MaxPool2d(3, 2, padding=1),                           #   64 x 56 x 56
        conv2_x=stage(original, n2, 64, 256, stride=1),                 #  256 x 56 x 56
        conv3_x=stage(original, n3, 256, 512, stride=2),                #  512 x 28 x 28
        conv4_x=stage(original, n4, 512, 1024, stride=2),               # 1024 x 14 x 14
        conv5_x=stage(original, n5, 1024, 2048, stride=2),              # 2048 x 7 x 7
        avgpool=nn.AdaptiveAvgPool2d(1),                                # 2048 x 1 x 1
        flatten=nn.Flatten(),
        fc=nn.Linear(2048, 1000),                                       # 1000
    )
