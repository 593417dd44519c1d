"""Good Practices for Deep Feature Fusion.

Jie Shao and others (Trimps-Soushen, the Third Research Institute of the Ministry of Public Security). ILSVRC 2016.

The winner of 2016 is an ensemble, of which there are slides and no paper. Four of its five members are published
nets and stand here. Not published, and so not here: the fifth, a wide ResNet named WRN-68-3 (68 is not among
the depths that Wide ResNet's 6n + 4 gives); the weights of the members in the sum, for which a plain mean
stands in; the scales and crops that each picture was classified in, of which this is one.

This file builds on those of its members, and cannot be copied out alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .inception_resnet import inception_resnet_v2
from .inception_v3 import inception_v3
from .inception_v4 import inception_v4
from .layers import Concat, chain
from .preact_resnet import preact_resnet

# The lecture's table, in its order: the members, and the size of picture that each was made for.
MEMBERS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "resnet200": (preact_resnet, 224),
    "inception_v3": (inception_v3, 299),
    "inception_v4": (inception_v4, 299),
    "inception_resnet_v2": (inception_resnet_v2, 299),
}


class Resize(nn.Module):
    """The picture in another size, by bilinear interpolation."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, (self.size, self.size), mode="bilinear", align_corners=False)

    def extra_repr(self) -> str:
        return str(self.size)


class Mean(Concat):
    """All branches read the same input; what they say is averaged."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([branch(x) for branch in self.children()]).mean(dim=0)


def member(net: nn.Module, size: int, picture: int) -> nn.Sequential:
    """A net with the picture in its own size, and with a softmax: the ensemble adds up probabilities."""
    resize = {} if size == picture else {"resize": Resize(size)}
    return chain(**resize, net=net, softmax=nn.Softmax(dim=1))


def fusion() -> Mean:
    """Four members in one net: 187 million parameters. It takes a picture of 299 x 299 and gives probabilities."""
    return Mean(**{                                                     #    3 x 299 x 299
        name: member(build(), size, 299) for name, (build, size) in MEMBERS.items()     # 1000
    })
