"""Rethinking the Inception Architecture for Computer Vision.

Christian Szegedy, Vincent Vanhoucke, Sergey Ioffe, Jonathon Shlens, Zbigniew Wojna. CVPR 2016. arXiv:1512.00567

The net is the authors' release, which all libraries have. The paper's Table 1 is another one: its stem ends in
3x3 of 80, 192 (stride 2) and 288 maps, it counts five modules of Figure 6 where the release has four, and the
widths inside the modules were never published. So nobody can rebuild its 42 layers and 4.8 G multiply-adds; the
release is 48 layers deep and takes 5.7 G. Rows are named as in the release.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import nn

from .layers import Concat, SideBranches, chain, tower
from .layers import conv_bn_relu as conv_bn_relu_with_eps

conv_bn_relu = partial(conv_bn_relu_with_eps, eps=1e-3)

# What differs between modules of one figure: in Figure 5 the maps after the pool, in Figure 6 the maps inside.
FIGURE_5 = {"5b": 32, "5c": 64, "5d": 64}
FIGURE_6 = {"6b": 128, "6c": 160, "6d": 160, "6e": 192}


def average() -> nn.AvgPool2d:
    """A 3x3 average of what is there: at the edge fewer than nine. torchvision counts the padding's zeros in."""
    return nn.AvgPool2d(3, 1, padding=1, count_include_pad=False)


def figure5(ins: int, row: str) -> Concat:
    """For the 35 x 35 grid: a 5x5 is two 3x3. Where the figure has a single 3x3, the release has a 5x5."""
    return Concat(**{
        "1x1": tower(ins, (64, 1)),
        "5x5": tower(ins, (48, 1), (64, 5)),
        "3x3 twice": tower(ins, (64, 1), (96, 3), (96, 3)),
        "pool": chain(pool=average(), proj=tower(ins, (FIGURE_5[row], 1))),
    })


def figure6(row: str) -> Concat:
    """For the 17 x 17 grid, with n = 7: an n x n convolution is a 1 x n, then an n x 1."""
    n = FIGURE_6[row]
    return Concat(**{
        "1x1": tower(768, (192, 1)),
        "7x7": tower(768, (n, 1), (n, (1, 7)), (192, (7, 1))),
        "7x7 twice": tower(768, (n, 1), (n, (7, 1)), (n, (1, 7)), (n, (7, 1)), (192, (1, 7))),
        "pool": chain(pool=average(), proj=tower(768, (192, 1))),
    })


def figure7(ins: int) -> Concat:
    """For the 8 x 8 grid: the 1x3 and the 3x1 stand side by side, which gives twice the maps."""
    return Concat(**{
        "1x1": tower(ins, (320, 1)),
        "3x3": chain(reduce=tower(ins, (384, 1)), split=split(384)),
        "3x3 twice": chain(reduce=tower(ins, (448, 1), (384, 3)), split=split(384)),
        "pool": chain(pool=average(), proj=tower(ins, (192, 1))),
    })


def split(maps: int) -> Concat:
    """The end of two branches of Figure 7."""
    return Concat(**{"1x3": tower(maps, (maps, (1, 3))), "3x1": tower(maps, (maps, (3, 1)))})


def reduction6a() -> Concat:
    """Figure 10: convolutions and a pool of stride 2 side by side halve the grid, 35 x 35 to 17 x 17."""
    return Concat(**{
        "3x3": tower(288, (384, 3, 2, 0)),
        "3x3 twice": tower(288, (64, 1), (96, 3), (96, 3, 2, 0)),
        "pool": nn.MaxPool2d(3, 2),
    })


def reduction7a() -> Concat:
    """The same from 17 x 17 to 8 x 8."""
    return Concat(**{
        "3x3": tower(768, (192, 1), (320, 3, 2, 0)),
        "7x7": tower(768, (192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2, 0)),
        "pool": nn.MaxPool2d(3, 2),
    })


def first_to_6e() -> dict[str, nn.Module]:
    """The net down to the last grid of 17 x 17, which has the classifier at its side."""
    return {                                                            #    3 x 299 x 299
        **conv_bn_relu("1a", 3, 32, 3, stride=2, padding=0),            #   32 x 149 x 149
        **conv_bn_relu("2a", 32, 32, 3, padding=0),                     #   32 x 147 x 147
        **conv_bn_relu("2b", 32, 64, 3),                                #   64 x 147 x 147
        "pool3a": nn.MaxPool2d(3, 2),                                   #   64 x 73 x 73
        **conv_bn_relu("3b", 64, 80, 1),                                #   80 x 73 x 73
        **conv_bn_relu("4a", 80, 192, 3, padding=0),                    #  192 x 71 x 71
        "pool5a": nn.MaxPool2d(3, 2),                                   #  192 x 35 x 35
        "mixed5b": figure5(192, "5b"),                                  #  256 x 35 x 35
        "mixed5c": figure5(256, "5c"),                                  #  288 x 35 x 35
        "mixed5d": figure5(288, "5d"),                                  #  288 x 35 x 35
        "mixed6a": reduction6a(),                                       #  768 x 17 x 17
        **{f"mixed{row}": figure6(row) for row in FIGURE_6},            #  768 x 17 x 17
    }


def from_7a_to_last() -> dict[str, nn.Module]:
    """The rest of the net that classifies."""
    return {
        "mixed7a": reduction7a(),                                       # 1280 x 8 x 8
        "mixed7b": figure7(1280),                                       # 2048 x 8 x 8
        "mixed7c": figure7(2048),                                       # 2048 x 8 x 8
        "avgpool": nn.AvgPool2d(8),                                     # 2048 x 1 x 1
        "flatten": nn.Flatten(),
        "drop": nn.Dropout(0.2),
        "fc": nn.Linear(2048, 1000),                                    # 1000
    }


def auxiliary() -> nn.Sequential:
    """Figure 8: the classifier at the side. Section 4: it makes the trained net better, not the training faster."""
    return chain(                                                       #  768 x 17 x 17
        pool=nn.AvgPool2d(5, 3),                                        #  768 x 5 x 5
        **conv_bn_relu("1", 768, 128, 1),                               #  128 x 5 x 5
        **conv_bn_relu("2", 128, 768, 5, padding=0),                    #  768 x 1 x 1
        flatten=nn.Flatten(),
        fc=nn.Linear(768, 1000),                                        # 1000
    )


def inception_v3() -> nn.Sequential:
    """The net that classifies."""
    return chain(**first_to_6e(), **from_7a_to_last())


def inception_v3_aux() -> SideBranches:
    """The net that is trained. It gives the logits of `fc` and of `aux`."""
    return SideBranches(OrderedDict(**first_to_6e(), aux=auxiliary(), **from_7a_to_last()))
