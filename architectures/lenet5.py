"""Gradient-Based Learning Applied to Document Recognition.

Yann LeCun, Léon Bottou, Yoshua Bengio, Patrick Haffner. Proceedings of the IEEE 86(11), 1998.
doi:10.1109/5.726791

LeNet-5 is section II.B and Figure 2 of the paper: 60,000 parameters and 340,908 connections. What is called
LeNet today is mostly one of two other nets, both below.

One thing is not the paper's: the ten bitmaps that the output units aim at. Figure 3 shows them as drawings;
digits of seven segments on the same 7 x 12 grid stand in. That changes what training finds, and no cost.
"""

from __future__ import annotations

from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import Concat, chain

# Table I. Which maps of S2 (rows) each map of C3 (columns) looks at.
TABLE_I = (
    # 0 1 2 3 4 5 6 7 8 9 . . . . . 15
    "X . . . X X X . . X X X X . X X",  # 0
    "X X . . . X X X . . X X X X . X",  # 1
    "X X X . . . X X X . . X . X X X",  # 2
    ". X X X . . X X X X . . X . X X",  # 3
    ". . X X X . . X X X X . X X . X",  # 4
    ". . . X X X . . X X X X . X X X",  # 5
)

# In place of Figure 3: the segments of a digit, and the rows and columns of the bitmap that each covers.
STROKES = {
    "top": (range(1), range(1, 6)),
    "upper left": (range(1, 5), range(1)),
    "upper right": (range(1, 5), range(6, 7)),
    "middle": (range(5, 6), range(1, 6)),
    "lower left": (range(6, 11), range(1)),
    "lower right": (range(6, 11), range(6, 7)),
    "bottom": (range(11, 12), range(1, 6)),
}
DIGITS = (  # which of them are lit, in this order
    "1110111", "0010010", "1011101", "1011011", "0111010",  # 0 to 4
    "1101011", "1101111", "1010010", "1111111", "1111011",  # 5 to 9
)


class ScaledTanh(nn.Module):
    """The squashing function of Appendix A: f(a) = A tanh(S a), A = 1.7159 and S = 2/3, so that f(1) = 1."""

    def forward(self, a: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(a * (2 / 3))


class Subsample(nn.Module):
    """The sum of each 2 x 2 window, times a trained coefficient, plus a trained bias; a pair for each map."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(torch.full((maps, 1, 1), 0.25))
        self.bias = nn.Parameter(torch.zeros(maps, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2, divisor_override=1) * self.coefficient + self.bias


class Gather(nn.Module):
    """The listed maps of the input, in the order listed; a map may be listed more than once."""

    maps: Tensor

    def __init__(self, maps: list[int]) -> None:
        super().__init__()
        self.register_buffer("maps", torch.tensor(maps), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(1, self.maps)


class RBF(nn.Module):
    """Euclidean radial basis functions: the squared distance to the bitmap of each class. Smallest wins."""

    bitmaps: Tensor

    def __init__(self, bitmaps: list[list[float]]) -> None:
        super().__init__()
        self.register_buffer("bitmaps", torch.tensor(bitmaps))  # set by hand and kept fixed: not parameters

    def forward(self, x: Tensor) -> Tensor:
        return (x.unsqueeze(1) - self.bitmaps).square().sum(dim=2)


def bitmap(segments: str) -> list[float]:
    """A digit as 12 rows of 7 values, +1 for ink and -1 for paper."""
    strokes = [stroke for stroke, lit in zip(STROKES.values(), segments, strict=True) if lit == "1"]
    ink = {(row, column) for rows, columns in strokes for row in rows for column in columns}
    return [1.0 if (row, column) in ink else -1.0 for row in range(12) for column in range(7)]


def sparse_conv(table: tuple[str, ...], kernel: int) -> Concat:
    """A convolution whose maps see only the inputs marked in the table.

    Neighbouring maps with equally many inputs share one grouped convolution (a group for each map) over
    gathered inputs. Nothing is masked: parameters and multiplications are those of the paper.
    """
    columns = zip(*(row.split() for row in table), strict=True)
    inputs = [[index for index, mark in enumerate(column) if mark == "X"] for column in columns]
    branches: dict[str, nn.Module] = {}
    for seen, neighbours in groupby(inputs, key=len):
        maps = list(neighbours)
        branches[f"from{seen}"] = chain(
            gather=Gather([index for group in maps for index in group]),
            conv=nn.Conv2d(seen * len(maps), len(maps), kernel, groups=len(maps)),
        )
    return Concat(**branches)


def lenet5() -> nn.Sequential:
    """The net of 1998. Pixels run from -0.1 (paper) to 1.175 (ink); each layer up to F6 ends in a tanh."""
    return chain(                                                       #   1 x 32 x 32
        C1=nn.Conv2d(1, 6, 5), tanh1=ScaledTanh(),                      #   6 x 28 x 28
        S2=Subsample(6), tanh2=ScaledTanh(),                            #   6 x 14 x 14
        C3=sparse_conv(TABLE_I, 5), tanh3=ScaledTanh(),                 #  16 x 10 x 10
        S4=Subsample(16), tanh4=ScaledTanh(),                           #  16 x 5 x 5
        C5=nn.Conv2d(16, 120, 5), tanh5=ScaledTanh(),                   # 120 x 1 x 1
        flatten=nn.Flatten(),
        F6=nn.Linear(120, 84), tanh6=ScaledTanh(),                      #  84
        OUTPUT=RBF([bitmap(segments) for segments in DIGITS]),          #  10
    )


def lenet5_modern() -> nn.Sequential:
    """LeNet-5 as usually rebuilt: C3 sees all of S2, pools have no parameters, the output is linear."""
    return chain(                                                       #   1 x 32 x 32
        C1=nn.Conv2d(1, 6, 5), tanh1=nn.Tanh(), S2=nn.AvgPool2d(2),     #   6 x 14 x 14
        C3=nn.Conv2d(6, 16, 5), tanh3=nn.Tanh(), S4=nn.AvgPool2d(2),    #  16 x 5 x 5
        C5=nn.Conv2d(16, 120, 5), tanh5=nn.Tanh(),                      # 120 x 1 x 1
        flatten=nn.Flatten(),
        F6=nn.Linear(120, 84), tanh6=nn.Tanh(),                         #  84
        OUTPUT=nn.Linear(84, 10),                                       #  10
    )


def lenet_caffe() -> nn.Sequential:
    """Caffe's `lenet` (examples/mnist), often taken for LeNet-5: wider, with max pools and a single ReLU."""
    return chain(                                                       #   1 x 28 x 28
        conv1=nn.Conv2d(1, 20, 5), pool1=nn.MaxPool2d(2),               #  20 x 12 x 12
        conv2=nn.Conv2d(20, 50, 5), pool2=nn.MaxPool2d(2),              #  50 x 4 x 4
        flatten=nn.Flatten(),
        ip1=nn.Linear(800, 500), relu1=nn.ReLU(),                       # 500
        ip2=nn.Linear(500, 10),                                         #  10
    )
