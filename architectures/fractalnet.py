"""FractalNet: Ultra-Deep Neural Networks without Residuals.

Gustav Larsson, Michael Maire, Gregory Shakhnarovich. ICLR 2017. arXiv:1605.07648

The expansion rule of section 3: f_1 is a convolution, and f_{C+1}(z) joins f_C(f_C(z)) with one convolution of
z. Written out it is C columns, of 1, 2, 4, ... convolutions (Figure 1), that meet in joins, which take the mean.

As in the figure, a block ends in a join and then a pool; the authors' generator pools each column first, which
is another function at the same cost. Left out: dropout, which is for some of the trainings only, and the 34
layers for ImageNet, whose first and last layers the paper does not spell out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .layers import chain, conv_bn_relu

# Section 4.1: maps of the blocks, in multiples of the first. 64 of them in the main nets, 16 in Table 3.
WIDTHS = (1, 2, 4, 8, 8)


class Fractal(nn.Module):
    """Figure 1: a block of C columns. Column c has a convolution in every 2^(C-c)th row, and the last has all.

    Convolutions that end in the same row are joined, and what starts below reads the join.
    """

    def __init__(self, ins: int, outs: int, columns: int) -> None:
        super().__init__()
        if columns < 1:
            raise ValueError(f"columns must be 1 or more, not {columns}")
        self.columns = columns
        for row in range(1, 2 ** (columns - 1) + 1):
            for column in self.ending_in(row):
                first = row == 2 ** (columns - column)
                layers = conv_bn_relu("", ins if first else outs, outs, 3, bias=True)
                self.add_module(f"row{row}_column{column}", chain(**layers))

    def ending_in(self, row: int) -> list[int]:
        return [c for c in range(1, self.columns + 1) if row % 2 ** (self.columns - c) == 0]

    def forward(self, x: Tensor) -> Tensor:
        reads = dict.fromkeys(range(1, self.columns + 1), x)
        for row in range(1, 2 ** (self.columns - 1) + 1):
            ends = {c: self.get_submodule(f"row{row}_column{c}")(reads[c]) for c in self.ending_in(row)}
            reads |= dict.fromkeys(ends, join(list(ends.values())))
        return reads[self.columns]


def join(paths: list[Tensor]) -> Tensor:
    """The mean of what arrives; a single path passes."""
    return torch.stack(paths).mean(dim=0) if len(paths) > 1 else paths[0]


def fractalnet(columns: int = 3, blocks: int = 5, filters: int = 64, classes: int = 100) -> nn.Sequential:
    """Blocks and pools, and one fully connected layer: blocks * 2^(columns - 1) convolutions deep."""
    rows: dict[str, nn.Module] = {}                                     #   3 x 32 x 32
    ins = 3
    for number, outs in enumerate(maps(blocks, filters), start=1):
        rows[f"block{number}"] = Fractal(ins, outs, columns)
        rows[f"pool{number}"] = nn.MaxPool2d(2)                         # halves the size: 16, 8, 4, 2, 1
        ins = outs
    pixels = (32 // 2**blocks) ** 2
    return chain(**rows, flatten=nn.Flatten(), fc=nn.Linear(pixels * ins, classes))


def maps(blocks: int, filters: int) -> list[int]:
    """Maps of each block."""
    if not 1 <= blocks <= len(WIDTHS):
        raise ValueError(f"blocks must be 1 to {len(WIDTHS)}: 32 x 32 pixels can be halved so often")
    return [filters * width for width in WIDTHS[:blocks]]


def drop_path_macs(
    columns: int = 3, blocks: int = 5, filters: int = 64, classes: int = 100, drop: float = 0.15, whole: float = 0.5
) -> float:
    """What a training step of section 3.1 has to compute forward: the expected multiply-adds of one picture.

    `whole`: the share of steps that keep one column in the whole net (global), each as often. In the others
    (local) every join drops each of its inputs with the probability `drop`; if none were left, one of them, each
    as likely, stays. A convolution counts if a path from it to the output is left. The paper gives the two
    sampling schemes and their figures, not this sum; a program that computes all and multiplies by zero saves
    nothing.
    """
    total, ins, pixels = 0.0, 3, 32 * 32
    for outs in maps(blocks, filters):
        first, other = 9 * ins * outs * pixels, 9 * outs * outs * pixels
        one_column = expected(columns, columns, first, other, 0) / columns
        total += whole * one_column + (1 - whole) * expected(columns, columns, first, other, drop)
        ins, pixels = outs, pixels // 4
    return total + ins * pixels * classes


def expected(columns: int, joined: int, first: float, other: float, drop: float) -> float:
    """Expected cost of these columns under local drop-path, if they end in a join of `joined` that is needed.

    `first` is the cost of a convolution that reads the block's input, `other` that of any other. By the
    expansion rule: one convolution, the second f of one column less, which ends in the same join, and the
    first f, which ends in a join of its own, needed if the big join keeps anything of the second.
    """
    cost = survives(1, joined, drop) * first
    if columns > 1:
        cost += expected(columns - 1, joined, other, other, drop)
        cost += survives(columns - 1, joined, drop) * expected(columns - 1, columns - 1, first, other, drop)
    return cost


def survives(some: int, joined: int, drop: float) -> float:
    """Probability that a join of `joined` paths keeps one or more of these `some`."""
    return 1 - drop**some + drop**joined * some / joined
