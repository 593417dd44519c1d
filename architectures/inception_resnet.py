"""Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning.

Christian Szegedy, Sergey Ioffe, Vincent Vanhoucke, Alexander A. Alemi. AAAI 2017. arXiv:1602.07261

The paper's residual nets; Inception-v4 is in `inception_v4.py`. Two nets go by the name Inception-ResNet-v2.
The authors released a deeper one than they drew, with v3's stem and twice the blocks, and it is what libraries
have and what later papers measure: `inception_resnet_v2`. The net of the figures is `inception_resnet_v2_figures`.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from .inception_v4 import reduction_a, stem
from .layers import Add, AddReLU, Concat, chain, tower
from .layers import conv_bn_relu as conv_bn_relu_with_eps

conv_bn_relu = partial(conv_bn_relu_with_eps, eps=1e-3)

# Blocks A, B, C and the factor on their residuals (section 3.3). The paper gives a range for it, 0.1 to 0.3;
# the numbers are of the release. Maps: those that enter the blocks; the paper prints 1154 for 1152 and 2048 for
# 2144, which nothing could be added to.
RELEASE = {
    #     blocks  factor   maps
    "A": (    10,   0.17,   320),
    "B": (    20,   0.10,  1088),
    "C": (    10,   0.20,  2080),
}
FIGURE_15 = {
    "A": (     5,   0.17,   384),
    "B": (    10,   0.10,  1152),
    "C": (     5,   0.20,  2144),
}


class Scale(nn.Module):
    """Section 3.3: the residual is made smaller before it is added, or the widest nets die in training."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor

    def extra_repr(self) -> str:
        return str(self.factor)


def residual(branches: Concat, maps: int, ins: int, factor: float, add: type[Add] = AddReLU) -> Add:
    """What the blocks share: branches, and a linear 1x1, with a bias, that gives them the maps of the shortcut."""
    return add(nn.Identity(), branches=branches, linear=nn.Conv2d(maps, ins, 1), scale=Scale(factor))


def block_a(ins: int, factor: float) -> Add:
    """Figure 16, for the 35 x 35 grid."""
    return residual(Concat(**{
        "1x1": tower(ins, (32, 1)),
        "3x3": tower(ins, (32, 1), (32, 3)),
        "3x3 twice": tower(ins, (32, 1), (48, 3), (64, 3)),
    }), 128, ins, factor)


def block_b(ins: int, factor: float) -> Add:
    """Figure 17, for the 17 x 17 grid."""
    return residual(Concat(**{
        "1x1": tower(ins, (192, 1)),
        "7x7": tower(ins, (128, 1), (160, (1, 7)), (192, (7, 1))),
    }), 384, ins, factor)


def block_c(ins: int, factor: float, add: type[Add] = AddReLU) -> Add:
    """Figure 19, for the 8 x 8 grid."""
    return residual(Concat(**{
        "1x1": tower(ins, (192, 1)),
        "3x3": tower(ins, (192, 1), (224, (1, 3)), (256, (3, 1))),
    }), 448, ins, factor, add)


def reduction_b(ins: int) -> Concat:
    """Figure 18, from 17 x 17 to 8 x 8."""
    return Concat(**{
        "3x3 of 384": tower(ins, (256, 1), (384, 3, 2, 0)),
        "3x3 of 288": tower(ins, (256, 1), (288, 3, 2, 0)),
        "3x3 twice": tower(ins, (256, 1), (288, 3), (320, 3, 2, 0)),
        "pool": nn.MaxPool2d(3, 2),
    })


def mixed5b() -> Concat:
    """In the release, the one Inception module without a shortcut."""
    pool = nn.AvgPool2d(3, 1, padding=1, count_include_pad=False)
    return Concat(**{
        "1x1": tower(192, (96, 1)),
        "5x5": tower(192, (48, 1), (64, 5)),
        "3x3 twice": tower(192, (64, 1), (96, 3), (96, 3)),
        "pool": chain(pool=pool, proj=tower(192, (64, 1))),
    })


def stem_of_v3() -> dict[str, nn.Module]:
    """The stem of the release, which is Inception-v3's."""
    return {                                                            #    3 x 299 x 299
        **conv_bn_relu("1a", 3, 32, 3, stride=2, padding=0),            #   32 x 149 x 149
        **conv_bn_relu("2a", 32, 32, 3, padding=0),                     #   32 x 147 x 147
        **conv_bn_relu("2b", 32, 64, 3),                                #   64 x 147 x 147
        "pool3a": nn.MaxPool2d(3, 2),                                   #   64 x 73 x 73
        **conv_bn_relu("3b", 64, 80, 1),                                #   80 x 73 x 73
        **conv_bn_relu("4a", 80, 192, 3, padding=0),                    #  192 x 71 x 71
        "pool5a": nn.MaxPool2d(3, 2),                                   #  192 x 35 x 35
        "mixed5b": mixed5b(),                                           #  320 x 35 x 35
    }


def body(plan: dict[str, tuple[int, float, int]]) -> dict[str, nn.Module]:
    """Figure 15 between the stem and the pool; shapes are those of the release."""
    (count_a, factor_a, a), (count_b, factor_b, b), (count_c, factor_c, c) = plan.values()
    return {                                                            #  320 x 35 x 35
        **{f"block_a{index}": block_a(a, factor_a) for index in range(1, count_a + 1)},     # 320 x 35 x 35
        "reduction_a": reduction_a(a, "Inception-ResNet-v2"),           # 1088 x 17 x 17
        **{f"block_b{index}": block_b(b, factor_b) for index in range(1, count_b + 1)},     # 1088 x 17 x 17
        "reduction_b": reduction_b(b),                                  # 2080 x 8 x 8
        **{f"block_c{index}": block_c(c, factor_c) for index in range(1, count_c + 1)},     # 2080 x 8 x 8
    }


def inception_resnet_v2() -> nn.Sequential:
    """The release. Its last block adds the whole residual and has no ReLU; a 1x1 of 1536 maps follows."""
    rows = body(RELEASE)
    rows["block_c10"] = block_c(2080, 1.0, add=Add)
    return chain(                                                       #    3 x 299 x 299
        **stem_of_v3(),                                                 #  320 x 35 x 35
        **rows,                                                         # 2080 x 8 x 8
        **conv_bn_relu("7b", 2080, 1536, 1),                            # 1536 x 8 x 8
        avgpool=nn.AvgPool2d(8),                                        # 1536 x 1 x 1
        flatten=nn.Flatten(),
        drop=nn.Dropout(0.2),
        fc=nn.Linear(1536, 1000),                                       # 1000
    )


def inception_resnet_v2_figures() -> nn.Sequential:
    """Figures 15 to 19, with Inception-v4's stem: 5, 10 and 5 blocks, 32 million parameters instead of 56."""
    return chain(                                                       #    3 x 299 x 299
        **stem(),                                                       #  384 x 35 x 35
        **body(FIGURE_15),                                              # 2144 x 8 x 8
        avgpool=nn.AvgPool2d(8),                                        # 2144 x 1 x 1
        flatten=nn.Flatten(),
        drop=nn.Dropout(0.2),
        fc=nn.Linear(2144, 1000),                                       # 1000
    )
