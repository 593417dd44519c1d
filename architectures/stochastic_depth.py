"""Deep Networks with Stochastic Depth.

Gao Huang, Yu Sun, Zhuang Liu, Daniel Sedra, Kilian Q. Weinberger. ECCV 2016. arXiv:1603.09382

A way to train ResNet for CIFAR: each block is there in a minibatch with its survival probability p, else only
its shortcut is. The net below is the one that classifies, with all of its blocks, each scaled by its p. What
training costs on average needs no net to say: `expected_depth` and `expected_cost`.

The shortcuts that halve the maps average 2x2 pixels before they pad, where ResNet's option A drops three of
four. The authors' code has convolutions with biases; like ResNet's, these here have none.
"""

from __future__ import annotations

from torch import Tensor, nn

from .layers import AddReLU, PadShortcut, blocks_per_stage, chain, conv_bn, conv_bn_relu

# Section 4: three groups of n blocks, by the size of their maps, and their filters; 6n + 2 layers in all.
FILTERS = {
    32: 16,
    16: 32,
    8: 64,
}


def survival_probabilities(blocks: int, p_last: float = 0.5) -> list[float]:
    """Equation 4, the linear decay: p falls in equal steps from 1, at the input, to `p_last` in the last block."""
    return [1 - block / blocks * (1 - p_last) for block in range(1, blocks + 1)]


def expected_depth(blocks: int, p_last: float = 0.5) -> float:
    """How many blocks a minibatch passes on average: the sum of their p, (3L - 1) / 4 where `p_last` is 0.5."""
    return blocks - (1 - p_last) * (blocks + 1) / 2


def block_macs(depth: int = 110) -> list[int]:
    """The multiply-adds of each block: of its two 3x3, since its shortcut has no weights."""
    macs, ins = [], 16
    for size, outs in FILTERS.items():
        for _ in range(blocks_per_stage(depth, 6, 2)):
            macs.append(3 * 3 * (ins + outs) * outs * size * size)
            ins = outs
    return macs


def expected_cost(depth: int = 110, p_last: float = 0.5) -> float:
    """The part of all blocks' multiply-adds that a minibatch takes on average; what is left of 1 is saved."""
    macs = block_macs(depth)
    survival = survival_probabilities(len(macs), p_last)
    return sum(p * block for p, block in zip(survival, macs)) / sum(macs)


class Scale(nn.Module):
    """Equation 5: a block counts as much as it was there in training."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return x * self.p


def res_block(ins: int, outs: int, p: float) -> AddReLU:
    """Figure 1. Where the filters are twice as many, the maps are half the size."""
    stride = outs // ins
    halve = chain(pool=nn.AvgPool2d(2), pad=PadShortcut(outs - ins, stride=1))
    return AddReLU(
        nn.Identity() if ins == outs else halve,
        **conv_bn_relu("1", ins, outs, 3, stride),
        **conv_bn("2", outs, outs, 3),
        scale=Scale(p),
    )


def group(ins: int, outs: int, survival: list[float]) -> nn.Sequential:
    """As many blocks as there are probabilities."""
    first, *others = survival
    blocks = {f"block{index}": res_block(outs, outs, p) for index, p in enumerate(others, start=2)}
    return chain(block1=res_block(ins, outs, first), **blocks)


def stochastic_depth(depth: int = 110, p_last: float = 0.5) -> nn.Sequential:
    """The ResNet of `depth` = 6n + 2 layers as it is after training with stochastic depth."""
    n = blocks_per_stage(depth, 6, 2)
    survival = survival_probabilities(3 * n, p_last)
    a, b, c = FILTERS.values()
    return chain(                                                       #  3 x 32 x 32
        **conv_bn_relu("1", 3, a, 3),                                   # 16 x 32 x 32
        conv2_x=group(a, a, survival[:n]),                              # 16 x 32 x 32
        conv3_x=group(a, b, survival[n : 2 * n]),                       # 32 x 16 x 16
        conv4_x=group(b, c, survival[2 * n :]),                         # 64 x 8 x 8
        avgpool=nn.AdaptiveAvgPool2d(1),                                # 64 x 1 x 1
        flatten=nn.Flatten(),
        fc=nn.Linear(c, 10),                                            # 10
    )
