"""Deep Residual Learning for Image Recognition.

Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun. CVPR 2016. arXiv:1512.03385

The ImageNet nets of section 4.1, residual and plain. Bottlenecks stride in their first 1x1, as in the
authors' release; torchvision and timm stride in the 3x3 (called v1.5), which costs ResNet-50 4.089 instead of
3.858 G multiply-adds.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from .layers import AddReLU, Block, chain, conv_bn, conv_bn_relu, option_a, option_b, stage

# Table 1: how many blocks conv2_x, conv3_x, conv4_x and conv5_x have, by the number of layers of the net.
TABLE_1 = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


def plain(ins: int, outs: int, stride: int) -> nn.Sequential:
    """Two 3x3 and no shortcut: Figure 3, middle."""
    return chain(
        **conv_bn_relu("1", ins, outs, 3, stride),
        **conv_bn_relu("2", outs, outs, 3),
    )


def basic(ins: int, outs: int, stride: int, shortcut: Block = option_b) -> AddReLU:
    """Figure 5, left: two 3x3 with a shortcut around them."""
    return AddReLU(
        shortcut(ins, outs, stride),
        **conv_bn_relu("1", ins, outs, 3, stride),
        **conv_bn("2", outs, outs, 3),
    )


def bottleneck(ins: int, outs: int, stride: int) -> AddReLU:
    """Figure 5, right: a 1x1 thins the maps for the 3x3, another widens them to four times as many."""
    width = outs // 4
    return AddReLU(
        option_b(ins, outs, stride),
        **conv_bn_relu("1", ins, width, 1, stride),
        **conv_bn_relu("2", width, width, 3),
        **conv_bn("3", width, outs, 1),
    )


def resnet(layers: int, block: Block, widening: int = 1) -> nn.Sequential:
    """A column of Table 1. `widening`: a block's channels over those of 18 and 34 layers, k in the shapes."""
    n2, n3, n4, n5 = TABLE_1[layers]
    k = widening
    return chain(                                                       #   3 x 224 x 224
        **conv_bn_relu("1", 3, 64, 7, stride=2),                        #  64 x 112 x 112
        # The paper leaves the pool's padding open. The authors' release lets the last window hang over the
        # edge, as here; torchvision pads by one pixel. From 112 both make 56.
        pool1=nn.MaxPool2d(3, 2, ceil_mode=True),                       #  64 x 56 x 56
        conv2_x=stage(block, n2, 64, 64 * k, stride=1),                 #  64k x 56 x 56
        conv3_x=stage(block, n3, 64 * k, 128 * k, stride=2),            # 128k x 28 x 28
        conv4_x=stage(block, n4, 128 * k, 256 * k, stride=2),           # 256k x 14 x 14
        conv5_x=stage(block, n5, 256 * k, 512 * k, stride=2),           # 512k x 7 x 7
        avgpool=nn.AdaptiveAvgPool2d(1),                                # 512k x 1 x 1
        flatten=nn.Flatten(),
        fc=nn.Linear(512 * k, 1000),                                    # 1000
    )


def plain18() -> nn.Sequential:
    """18 layers without shortcuts."""
    return resnet(18, plain)


def plain34() -> nn.Sequential:
    """34 layers without shortcuts. Trained, it is worse than plain18: the reason for residual nets."""
    return resnet(34, plain)


def resnet18() -> nn.Sequential:
    """18 layers, option B: what libraries call ResNet-18."""
    return resnet(18, basic)


def resnet18_a() -> nn.Sequential:
    """18 layers, option A: the parameters of plain18, to the last one."""
    return resnet(18, partial(basic, shortcut=option_a))


def resnet34() -> nn.Sequential:
    """34 layers, option B: what libraries call ResNet-34."""
    return resnet(34, basic)


def resnet34_a() -> nn.Sequential:
    """34 layers, option A: the net of Figure 3, right, and of the paper's comparison with plain34."""
    return resnet(34, partial(basic, shortcut=option_a))


def resnet50() -> nn.Sequential:
    """ResNet-34 with each pair of 3x3 replaced by a bottleneck of three layers."""
    return resnet(50, bottleneck, widening=4)


def resnet101() -> nn.Sequential:
    """ResNet-50 with 17 more blocks in conv4_x."""
    return resnet(101, bottleneck, widening=4)


def resnet152() -> nn.Sequential:
    """The deepest net for ImageNet, two of them in the ensemble that won ILSVRC 2015; cheaper than VGG-16."""
    return resnet(152, bottleneck, widening=4)
