"""Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning.

Christian Szegedy, Sergey Ioffe, Vincent Vanhoucke, Alexander A. Alemi. AAAI 2017. arXiv:1602.07261

Inception-v4 has no residual connections: those are in the paper's other nets, in `inception_resnet.py`. The
lecture's "Inception-v4: ResNet + Inception" takes one for the other. Unlike v3 it is published whole, so the
figures and the authors' release agree, up to the order of some 1x7 and 7x1.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from .layers import Concat, chain, tower
from .layers import conv_bn_relu as conv_bn_relu_with_eps

conv_bn_relu = partial(conv_bn_relu_with_eps, eps=1e-3)

# Table 1: the maps in Reduction-A, Figure 7, which all nets of the paper share.
TABLE_1 = {
    #                        k    l    m    n
    "Inception-v4":        (192, 224, 256, 384),
    "Inception-ResNet-v1": (192, 192, 256, 384),
    "Inception-ResNet-v2": (256, 256, 384, 384),
}


def average(ins: int, outs: int) -> nn.Sequential:
    """The branch that pools: a 3x3 average, without the zeros around the grid, and a 1x1."""
    pool = nn.AvgPool2d(3, 1, padding=1, count_include_pad=False)
    return chain(pool=pool, proj=tower(ins, (outs, 1)))


def stem() -> dict[str, nn.Module]:
    """Figure 3. Three times two branches run side by side, and the grid is halved without losing maps."""
    return {                                                            #    3 x 299 x 299
        **conv_bn_relu("1", 3, 32, 3, stride=2, padding=0),             #   32 x 149 x 149
        **conv_bn_relu("2", 32, 32, 3, padding=0),                      #   32 x 147 x 147
        **conv_bn_relu("3", 32, 64, 3),                                 #   64 x 147 x 147
        "fork1": Concat(**{                                             #  160 x 73 x 73
            "pool": nn.MaxPool2d(3, 2),
            "3x3": tower(64, (96, 3, 2, 0)),
        }),
        "fork2": Concat(**{                                             #  192 x 71 x 71
            "3x3": tower(160, (64, 1), (96, 3, 1, 0)),
            "7x7": tower(160, (64, 1), (64, (7, 1)), (64, (1, 7)), (96, 3, 1, 0)),
        }),
        "fork3": Concat(**{                                             #  384 x 35 x 35
            "3x3": tower(192, (192, 3, 2, 0)),
            "pool": nn.MaxPool2d(3, 2),
        }),
    }


def inception_a() -> Concat:
    """Figure 4, for the 35 x 35 grid."""
    return Concat(**{
        "1x1": tower(384, (96, 1)),
        "3x3": tower(384, (64, 1), (96, 3)),
        "3x3 twice": tower(384, (64, 1), (96, 3), (96, 3)),
        "pool": average(384, 96),
    })


def inception_b() -> Concat:
    """Figure 5, for the 17 x 17 grid."""
    return Concat(**{
        "1x1": tower(1024, (384, 1)),
        "7x7": tower(1024, (192, 1), (224, (1, 7)), (256, (7, 1))),
        "7x7 twice": tower(1024, (192, 1), (192, (1, 7)), (224, (7, 1)), (224, (1, 7)), (256, (7, 1))),
        "pool": average(1024, 128),
    })


def inception_c() -> Concat:
    """Figure 6, for the 8 x 8 grid."""
    return Concat(**{
        "1x1": tower(1536, (256, 1)),
        "3x3": chain(reduce=tower(1536, (384, 1)), split=split(384)),
        "3x3 twice": chain(reduce=tower(1536, (384, 1), (448, (1, 3)), (512, (3, 1))), split=split(512)),
        "pool": average(1536, 256),
    })


def split(ins: int) -> Concat:
    """The end of two branches of Figure 6: the 1x3 and the 3x1 side by side."""
    return Concat(**{"1x3": tower(ins, (256, (1, 3))), "3x1": tower(ins, (256, (3, 1)))})


def reduction_a(ins: int, net: str) -> Concat:
    """Figure 7, from 35 x 35 to 17 x 17, with a row of Table 1."""
    k, l, m, n = TABLE_1[net]                                           # noqa: E741, as the paper calls it
    return Concat(**{
        "3x3": tower(ins, (n, 3, 2, 0)),
        "3x3 twice": tower(ins, (k, 1), (l, 3), (m, 3, 2, 0)),
        "pool": nn.MaxPool2d(3, 2),
    })


def reduction_b() -> Concat:
    """Figure 8, from 17 x 17 to 8 x 8."""
    return Concat(**{
        "3x3": tower(1024, (192, 1), (192, 3, 2, 0)),
        "7x7": tower(1024, (256, 1), (256, (1, 7)), (320, (7, 1)), (320, 3, 2, 0)),
        "pool": nn.MaxPool2d(3, 2),
    })


def inception_v4() -> nn.Sequential:
    """Figure 9, from the bottom up."""
    return chain(                                                       #    3 x 299 x 299
        **stem(),                                                       #  384 x 35 x 35
        **{f"inception_a{index}": inception_a() for index in range(1, 5)},      # 384 x 35 x 35
        reduction_a=reduction_a(384, "Inception-v4"),                   # 1024 x 17 x 17
        **{f"inception_b{index}": inception_b() for index in range(1, 8)},      # 1024 x 17 x 17
        reduction_b=reduction_b(),                                      # 1536 x 8 x 8
        **{f"inception_c{index}": inception_c() for index in range(1, 4)},      # 1536 x 8 x 8
        avgpool=nn.AvgPool2d(8),                                        # 1536 x 1 x 1
        flatten=nn.Flatten(),
        drop=nn.Dropout(0.2),
        fc=nn.Linear(1536, 1000),                                       # 1000
    )
