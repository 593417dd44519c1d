"""Squeeze-and-Excitation Networks.

Jie Hu, Li Shen, Gang Sun. CVPR 2018. arXiv:1709.01507, of which the tables are those of the last version, with
Samuel Albanie and Enhua Wu.

Every residual block ends in an SE block, before the sum. As in the authors' Caffe release, the two layers of
an SE block are 1x1 convolutions with biases on the 1x1 map that the pool gives; SE-ResNet strides in the first
1x1 of a bottleneck and SE-ResNeXt in the 3x3 (timm's `seresnet50` in the 3x3 as well: 231 M multiply-adds more).
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from .layers import AddReLU, Block, chain, conv, conv_bn, conv_bn_relu, option_b, stage, stage_counts

# Table 1 and ResNet's: blocks at 56x56, 28x28, 14x14 and 7x7. Of 18 and 34 layers only libraries have nets.
TABLE_1 = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


class SE(nn.Module):
    """Figure 1: one mean for each channel, two layers on all of them, and by what comes out the channel is scaled."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.squeeze = nn.AdaptiveAvgPool2d(1)                          # C x 1 x 1
        self.excitation = chain(
            fc1=conv(channels, channels // reduction, 1), relu=nn.ReLU(),       # C/r x 1 x 1
            fc2=conv(channels // reduction, channels, 1), sigmoid=nn.Sigmoid(),         # C x 1 x 1
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.excitation(self.squeeze(x))


def se_basic(ins: int, outs: int, stride: int, reduction: int) -> AddReLU:
    """ResNet's block of two 3x3, recalibrated."""
    return AddReLU(
        option_b(ins, outs, stride),
        **conv_bn_relu("1", ins, outs, 3, stride),
        **conv_bn("2", outs, outs, 3),
        se=SE(outs, reduction),
    )


def se_bottleneck(ins: int, outs: int, stride: int, reduction: int) -> AddReLU:
    """Table 1, middle: ResNet's bottleneck, recalibrated."""
    width = outs // 4
    return AddReLU(
        option_b(ins, outs, stride),
        **conv_bn_relu("1", ins, width, 1, stride),
        **conv_bn_relu("2", width, width, 3),
        **conv_bn("3", width, outs, 1),
        se=SE(outs, reduction),
    )


def se_template(ins: int, outs: int, stride: int, cardinality: int, width: int) -> AddReLU:
    """Table 1, right: ResNeXt's block, recalibrated."""
    inner = cardinality * width * (outs // 256)
    return AddReLU(
        option_b(ins, outs, stride),
        **conv_bn_relu("1", ins, inner, 1),
        **conv_bn_relu("2", inner, inner, 3, stride, groups=cardinality),
        **conv_bn("3", inner, outs, 1),
        se=SE(outs),
    )


def senet_bottleneck(ins: int, outs: int, stride: int) -> AddReLU:
    """Appendix: ResNeXt's block of 64 x 4d with half the channels out of the first 1x1, so as to be cheaper.

    The projections that halve the size are 3x3, so as to look at every pixel.
    """
    projection = chain(**conv_bn("", ins, outs, 3 if stride == 2 else 1, stride))
    return AddReLU(
        nn.Identity() if ins == outs else projection,
        **conv_bn_relu("1", ins, outs // 2, 1),
        **conv_bn_relu("2", outs // 2, outs, 3, stride, groups=64),
        **conv_bn("3", outs, outs, 1),
        se=SE(outs),
    )


def body(depth: int, block: Block, ins: int = 64, widening: int = 4) -> dict[str, nn.Module]:
    """From the pool to the classifier. `widening`: a block's channels over ResNet's width, k in the shapes."""
    n2, n3, n4, n5 = stage_counts(TABLE_1, depth)
    k = widening
    return {                                                            #  ins x 112 x 112
        "pool1": nn.MaxPool2d(3, 2, ceil_mode=True),                    #  ins x 56 x 56
        "conv2_x": stage(block, n2, ins, 64 * k, stride=1),             #  64k x 56 x 56
        "conv3_x": stage(block, n3, 64 * k, 128 * k, stride=2),         # 128k x 28 x 28
        "conv4_x": stage(block, n4, 128 * k, 256 * k, stride=2),        # 256k x 14 x 14
        "conv5_x": stage(block, n5, 256 * k, 512 * k, stride=2),        # 512k x 7 x 7
        "avgpool": nn.AdaptiveAvgPool2d(1),                             # 512k x 1 x 1
        "flatten": nn.Flatten(),
    }


def se_resnet(depth: int = 50, reduction: int = 16) -> nn.Sequential:
    """SE-ResNet-`depth`; `reduction`: r, by how much an SE block thins the channels between its layers."""
    basic = depth < 50
    block = partial(se_basic if basic else se_bottleneck, reduction=reduction)
    return chain(                                                       #  3 x 224 x 224
        **conv_bn_relu("1", 3, 64, 7, stride=2),                        # 64 x 112 x 112
        **body(depth, block, widening=1 if basic else 4),
        fc=nn.Linear(512 if basic else 2048, 1000),                     # 1000
    )


def se_resnext(depth: int = 50, cardinality: int = 32, width: int = 4) -> nn.Sequential:
    """SE-ResNeXt-`depth` (`cardinality` x `width`d), of 50, 101 or 152 layers."""
    return chain(                                                       #  3 x 224 x 224
        **conv_bn_relu("1", 3, 64, 7, stride=2),                        # 64 x 112 x 112
        **body(depth, partial(se_template, cardinality=cardinality, width=width)),
        fc=nn.Linear(2048, 1000),                                       # 1000
    )


def senet154() -> nn.Sequential:
    """Appendix: the net behind the winning entry of ILSVRC 2017. Three 3x3 stand for conv1: hence 154, not 152."""
    return chain(                                                       #   3 x 224 x 224
        **conv_bn_relu("1_1", 3, 64, 3, stride=2),                      #  64 x 112 x 112
        **conv_bn_relu("1_2", 64, 64, 3),                               #  64 x 112 x 112
        **conv_bn_relu("1_3", 64, 128, 3),                              # 128 x 112 x 112
        **body(152, senet_bottleneck, ins=128),                         # 2048
        drop=nn.Dropout(0.2),
        fc=nn.Linear(2048, 1000),                                       # 1000
    )
