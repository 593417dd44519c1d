"""Learning Transferable Architectures for Scalable Image Recognition.

Barret Zoph, Vijay Vasudevan, Jonathon Shlens, Quoc V. Le. CVPR 2018. arXiv:1707.07012

The lecture's "learning to learn": a search for two cells, on CIFAR-10, of which nets for ImageNet are then
stacked. NASNet-A (N @ P) repeats the normal cell N times between reductions and ends in P maps, 24 times its
F. How the stem and the inputs of a cell are made is from the authors' release (TF-slim), which trains with a
classifier at its side; that one is left out. Where the release pads even sizes at one side only, there is
symmetric padding here: the same shapes and cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from .layers import Concat, chain, conv
from .layers import conv_bn as conv_bn_with_eps

conv_bn = partial(conv_bn_with_eps, eps=1e-3)

# Figure 4. A cell reads h, the cell before, and p, the one before that. Each row is left + right.
NORMAL_CELL = {
    #       left          right
    "x1": ("sep5", "h",  "sep3", "p"),
    "x2": ("sep5", "p",  "sep3", "p"),
    "x3": ("avg3", "h",  "same", "p"),
    "x4": ("avg3", "p",  "avg3", "p"),
    "x5": ("sep3", "h",  "same", "h"),
}
NORMAL_OUTPUT = ("p", "x1", "x2", "x3", "x4", "x5")
REDUCTION_CELL = {
    "x1": ("sep5", "h",  "sep7", "p"),
    "x2": ("max3", "h",  "sep7", "p"),
    "x3": ("avg3", "h",  "sep5", "p"),
    "x4": ("avg3", "x1", "same", "x2"),
    "x5": ("sep3", "x1", "max3", "h"),
}
REDUCTION_OUTPUT = ("x2", "x3", "x4", "x5")


def separable(ins: int, outs: int, kernel: int, stride: int) -> nn.Sequential:
    """ReLU, a convolution of each map by itself, and a 1x1 over the maps: always twice, the stride in the first."""
    return chain(
        relu1=nn.ReLU(), depthwise1=conv(ins, ins, kernel, stride, groups=ins, bias=False),
        **conv_bn("1", ins, outs, 1),
        relu2=nn.ReLU(), depthwise2=conv(outs, outs, kernel, groups=outs, bias=False),
        **conv_bn("2", outs, outs, 1),
    )


def operation(name: str, ins: int, outs: int, stride: int) -> nn.Module:
    """An operation of Figure 4, by its name and the size of its window."""
    if name == "same":
        return nn.Identity()
    kind, kernel = name[:3], int(name[3])
    if kind == "sep":
        return separable(ins, outs, kernel, stride)
    if kind == "avg":
        return nn.AvgPool2d(kernel, stride, kernel // 2, count_include_pad=False)
    return nn.MaxPool2d(kernel, stride, kernel // 2)


def squeeze(ins: int, outs: int) -> nn.Sequential:
    """A 1x1 gives a cell's input the F maps that the cell computes with."""
    return chain(relu=nn.ReLU(), **conv_bn("", ins, outs, 1))


def factorized_reduction(ins: int, outs: int) -> nn.Sequential:
    """The same for p where it is twice as large: every other pixel, and the ones diagonally next to them."""
    return chain(
        relu=nn.ReLU(),
        paths=Concat(
            even=chain(pick=nn.AvgPool2d(1, 2), conv=conv(ins, outs // 2, 1, bias=False)),
            odd=chain(shift=nn.ZeroPad2d((-1, 1, -1, 1)), pick=nn.AvgPool2d(1, 2),
                      conv=conv(ins, outs // 2, 1, bias=False)),
        ),
        bn=nn.BatchNorm2d(outs, 1e-3),
    )


class Cell(nn.Module):
    """Figure 4, left or right. `p` and `h` make the two inputs ready; `maps` are those of p when it is."""

    def __init__(self, h: nn.Module, p: nn.Module, filters: int, maps: int, stride: int) -> None:
        super().__init__()
        self.h = h
        self.p = p
        self.table = NORMAL_CELL if stride == 1 else REDUCTION_CELL
        self.output = NORMAL_OUTPUT if stride == 1 else REDUCTION_OUTPUT
        channels = {"h": filters, "p": maps}
        for row, (left, a, right, b) in self.table.items():
            for side, name, read in (("left", left, a), ("right", right, b)):
                by = stride if read in ("h", "p") else 1
                self.add_module(f"{row}_{side}", operation(name, channels.get(read, filters), filters, by))

    def forward(self, p: Tensor, h: Tensor) -> Tensor:
        seen = {"h": self.h(h), "p": self.p(p)}
        for row, (_, a, _, b) in self.table.items():
            seen[row] = self.get_submodule(f"{row}_left")(seen[a]) + self.get_submodule(f"{row}_right")(seen[b])
        return torch.cat([seen[row] for row in self.output], dim=1)


def plan(normal: int, filters: int, skip: bool) -> Iterator[tuple[str, int, int, int]]:
    """Figure 2, right: name, F and stride of each cell, and how many outputs back lies its p (its h is 1 back).

    `skip`: behind a reduction the release lets p, in the large net only, reach back over the cell before too.
    """
    yield "stem0", filters // 4, 2, 1
    yield "stem1", filters // 2, 2, 2
    for stage in (1, 2, 3):
        if stage > 1:
            filters *= 2
            yield f"reduction{stage - 1}", filters, 2, 2
        for index in range(1, normal + 1):
            yield f"normal{stage}_{index}", filters, 1, 3 if skip and stage > 1 and index == 1 else 2


class NASNet(nn.Module):
    """The cells in a row, each with the outputs of two before it."""

    def __init__(self, normal: int, filters: int, stem: int, skip: bool) -> None:
        super().__init__()
        self.conv0 = chain(**conv_bn("", 3, stem, 3, stride=2, padding=0))
        made = [(stem, 0)]                          # maps of each output, and how often it was halved
        self.back: dict[str, int] = {}
        for name, outs, stride, back in plan(normal, filters, skip):
            (h_maps, h_halved), (p_maps, p_halved) = made[-1], made[-back]
            p: nn.Module = nn.Identity()            # the first cell reads p as it is
            if back > 1:
                p, p_maps = (squeeze if p_halved == h_halved else factorized_reduction)(p_maps, outs), outs
            self.add_module(name, Cell(squeeze(h_maps, outs), p, outs, p_maps, stride))
            self.back[name] = back
            made.append((6 * outs, h_halved) if stride == 1 else (4 * outs, h_halved + 1))
        self.head = chain(
            relu=nn.ReLU(), avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(),
            drop=nn.Dropout(0.5), fc=nn.Linear(made[-1][0], 1000),
        )

    def forward(self, x: Tensor) -> Tensor:
        outputs = [self.conv0(x)]
        for name, back in self.back.items():
            outputs.append(self.get_submodule(name)(outputs[-back], outputs[-1]))
        return self.head(outputs[-1])


def nasnet_a_mobile() -> NASNet:
    """NASNet-A (4 @ 1056): 5.3 million parameters, for 224 x 224."""
    return NASNet(normal=4, filters=44, stem=32, skip=False)


def nasnet_a_large() -> NASNet:
    """NASNet-A (6 @ 4032): for 331 x 331. The paper's 88.9 million count running averages in; 88.75 are trained."""
    return NASNet(normal=6, filters=168, stem=96, skip=True)
