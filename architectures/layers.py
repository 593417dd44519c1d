"""The words that the architectures are written in.

Everything is plain `torch.nn` underneath. The helpers give layers their names (`conv1_1`, `relu1_1`), and a few
modules do what a chain cannot: `Concat` and `Add` join, `SideBranches` lets classifiers hang at the side. Shapes in
comments are channels x height x width, without the batch, and stand after the layer that makes them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Size = int | tuple[int, int]
Block = Callable[[int, int, int], nn.Module]        # channels in, channels out, stride


def chain(**layers: nn.Module) -> nn.Sequential:
    """The layers one after the other, each under its own name."""
    return nn.Sequential(OrderedDict(layers))


class Concat(nn.Module):
    """All branches read the same input; their channels are laid side by side, in the order given."""

    def __init__(self, **branches: nn.Module) -> None:
        super().__init__()
        for name, branch in branches.items():
            self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.children()], dim=1)


class Add(nn.Module):
    """The named layers in a chain, plus the shortcut around them: F(x) + x."""

    def __init__(self, shortcut: nn.Module, **layers: nn.Module) -> None:
        super().__init__()
        self.path = tuple(layers)
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for name in self.path:
            y = self.get_submodule(name)(y)
        return y + self.shortcut(x)


class AddReLU(Add):
    """`Add`, and the ReLU that ResNet and its heirs put after the sum."""

    def __init__(self, shortcut: nn.Module, **layers: nn.Module) -> None:
        super().__init__(shortcut, **layers)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(super().forward(x))


class SideBranches(nn.Sequential):
    """A chain in which the layers called aux... hang at the side: the next layer reads what they read."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        sides = []
        for name, layer in self.named_children():
            if name.startswith("aux"):
                sides.append(layer(x))
            else:
                x = layer(x)
        return x, *sides


class PadShortcut(nn.Module):
    """ResNet's option A: every `stride`-th pixel, and zeros in the new channels. It has no parameters."""

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = new_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        kept = x[:, :, :: self.stride, :: self.stride]
        return F.pad(kept, (0, 0, 0, 0, 0, self.new_channels))


def option_a(ins: int, outs: int, stride: int) -> nn.Module:
    """ResNet, section 3.3, shortcut (A): the identity; where channels are added they are zero."""
    return nn.Identity() if ins == outs else PadShortcut(outs - ins, stride)


def option_b(ins: int, outs: int, stride: int) -> nn.Module:
    """ResNet, section 3.3, shortcut (B): the identity; where channels are added, a 1x1 projection."""
    return nn.Identity() if ins == outs else chain(**conv_bn("", ins, outs, 1, stride))


def stage(block: Block, count: int, ins: int, outs: int, stride: int) -> nn.Sequential:
    """`count` blocks, named block1, block2, ... The first changes the channels and takes the stride."""
    blocks = {f"block{index}": block(outs, outs, 1) for index in range(2, count + 1)}
    return chain(block1=block(ins, outs, stride), **blocks)


def blocks_per_stage(depth: int, factor: int, rest: int) -> int:
    """n, where a paper's nets have `factor` * n + `rest` layers."""
    n, left = divmod(depth - rest, factor)
    if left or n < 1:
        nets = ", ".join(str(factor * n + rest) for n in (1, 2, 3))
        raise ValueError(f"depth {depth} is not {factor}n + {rest}: {nets}, ...")
    return n


def stage_counts(table: Mapping[int, tuple[int, ...]], depth: int) -> tuple[int, ...]:
    """How many blocks each stage has in a paper's table of nets by depth."""
    if depth not in table:
        raise ValueError(f"no net of depth {depth} in the table; it has {', '.join(map(str, table))}")
    return table[depth]


def conv(
    ins: int, outs: int, kernel: Size, stride: Size = 1, padding: Size | None = None, **options: Any
) -> nn.Conv2d:
    """A convolution. Unless given, `padding` is half the kernel: at stride 1 the size stays as it is."""
    if padding is None:
        padding = kernel // 2 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)
    return nn.Conv2d(ins, outs, kernel, stride, padding, **options)


def conv_relu(tag: str, *args: Any, **options: Any) -> dict[str, nn.Module]:
    """Rows `conv<tag>`, `relu<tag>`; the arguments are those of `conv`. Put into a chain with `**`."""
    return {f"conv{tag}": conv(*args, **options), f"relu{tag}": nn.ReLU()}


def conv_bn(tag: str, *args: Any, eps: float = 1e-5, **options: Any) -> dict[str, nn.Module]:
    """Rows `conv<tag>`, `bn<tag>`. No bias unless asked for: the normalisation would take it away again."""
    convolution = conv(*args, **{"bias": False, **options})
    return {f"conv{tag}": convolution, f"bn{tag}": nn.BatchNorm2d(convolution.out_channels, eps)}


def conv_bn_relu(tag: str, *args: Any, **options: Any) -> dict[str, nn.Module]:
    """Rows `conv<tag>`, `bn<tag>`, `relu<tag>`."""
    return {**conv_bn(tag, *args, **options), f"relu{tag}": nn.ReLU()}


def tower(ins: int, *layers: tuple[Any, ...], eps: float = 1e-3) -> nn.Sequential:
    """Convolutions in a row, numbered from 1, each with batch normalisation and ReLU.

    A layer is its maps and kernel, and stride and padding where they are not those of `conv`. `eps` is that of
    the normalisation: 0.001 wherever TensorFlow, in which the Inception nets were written, is left to itself.
    """
    rows: dict[str, nn.Module] = {}
    for index, (outs, *rest) in enumerate(layers, start=1):
        rows |= conv_bn_relu(str(index), ins, outs, *rest, eps=eps)
        ins = outs
    return chain(**rows)


def bn_relu(tag: str, channels: int) -> dict[str, nn.Module]:
    """Rows `bn<tag>`, `relu<tag>`: what pre-activation nets put before each convolution."""
    return {f"bn{tag}": nn.BatchNorm2d(channels), f"relu{tag}": nn.ReLU()}


def lrn(size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0) -> nn.LocalResponseNorm:
    """Local response normalisation, with the constants of the AlexNet paper, section 3.3.

    The paper multiplies the sum of squares by alpha, torch (like Caffe) by alpha / size: hence the product.
    """
    return nn.LocalResponseNorm(size, alpha=alpha * size, beta=beta, k=k)


def classifier(features: int) -> dict[str, nn.Module]:
    """AlexNet's three fully connected layers, which ZFNet and VGG kept; dropout stands in the first two."""
    return {
        "flatten": nn.Flatten(),
        "fc6": nn.Linear(features, 4096), "relu6": nn.ReLU(), "drop6": nn.Dropout(0.5),     # 4096
        "fc7": nn.Linear(4096, 4096), "relu7": nn.ReLU(), "drop7": nn.Dropout(0.5),         # 4096
        "fc8": nn.Linear(4096, 1000),                                                       # 1000
    }
