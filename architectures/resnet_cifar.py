"""Deep Residual Learning for Image Recognition: the nets for CIFAR-10.

Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun. CVPR 2016. arXiv:1512.03385

Section 4.2: thin nets of two 3x3 per block, to see what depth alone does. All shortcuts are of option A, so a
residual net has the parameters of the plain net of its depth, to the last one. Many reimplementations use
option B: 2,752 parameters more, at any depth, and the paper's 0.46M and 0.85M are missed.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from .layers import AddReLU, Block, blocks_per_stage, chain, conv_bn, conv_bn_relu, option_a, option_b, stage

# The table of section 4.2, by the size of the maps. conv1 is in the first column; the classifier, in none,
# makes it 6n + 2 layers. The paper has n = 3, 5, 7, 9, 18 and 200.
#            32x32, 16x16, 8x8
#           1 + 2n,    2n,  2n      layers
FILTERS = (     16,    32,  64)


def plain(ins: int, outs: int, stride: int) -> nn.Sequential:
    """Two 3x3 and no shortcut."""
    return chain(
        **conv_bn_relu("1", ins, outs, 3, stride),
        **conv_bn_relu("2", outs, outs, 3),
    )


def basic(ins: int, outs: int, stride: int, shortcut: Block = option_a) -> AddReLU:
    """Two 3x3 with a shortcut around them."""
    return AddReLU(
        shortcut(ins, outs, stride),
        **conv_bn_relu("1", ins, outs, 3, stride),
        **conv_bn("2", outs, outs, 3),
    )


def net(depth: int, block: Block) -> nn.Sequential:
    """The net of section 4.2 with `depth` = 6n + 2 layers."""
    n = blocks_per_stage(depth, 6, 2)
    a, b, c = FILTERS
    return chain(                                                       #  3 x 32 x 32
        **conv_bn_relu("1", 3, a, 3),                                   # 16 x 32 x 32
        conv2_x=stage(block, n, a, a, stride=1),                        # 16 x 32 x 32
        conv3_x=stage(block, n, a, b, stride=2),                        # 32 x 16 x 16
        conv4_x=stage(block, n, b, c, stride=2),                        # 64 x 8 x 8
        avgpool=nn.AdaptiveAvgPool2d(1),                                # 64 x 1 x 1
        flatten=nn.Flatten(),
        fc=nn.Linear(c, 10),                                            # 10
    )


def plain_cifar(depth: int = 20) -> nn.Sequential:
    """Without shortcuts: from 20 layers to 56 the training error rises."""
    return net(depth, plain)


def resnet_cifar(depth: int = 110) -> nn.Sequential:
    """With shortcuts of option A: the error falls with each step to 110 layers. 1202 can be trained, and overfit."""
    return net(depth, basic)


def resnet_cifar_b(depth: int = 110) -> nn.Sequential:
    """With shortcuts of option B, as many libraries have it; not a net of the paper."""
    return net(depth, partial(basic, shortcut=option_b))
