"""Densely Connected Convolutional Networks.

Gao Huang, Zhuang Liu, Laurens van der Maaten, Kilian Q. Weinberger. CVPR 2017. arXiv:1608.06993

Each layer reads the maps of all layers before it in its block, and adds k of its own. Here a layer hands on
what it read with its own maps behind it, so that "all before" is simply its input.

DenseNet-161 (k = 48) is in the paper's first versions and the authors' release, not in the last Table 1;
DenseNet-264 is only in that one, where four blocks of (6, 12, 64, 48) make 265 layers: this sum is always odd.
Dropout, which the CIFAR nets have where training data are not augmented, is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from .layers import Concat, blocks_per_stage, bn_relu, chain
from .layers import conv as conv_with_bias

conv = partial(conv_with_bias, bias=False)

Layer = Callable[[int, int], nn.Module]             # channels in, growth rate

# Table 1: growth rate k and layers of the four dense blocks, by the name of the net.
TABLE_1 = {
    121: (32, (6, 12, 24, 16)),
    161: (48, (6, 12, 36, 24)),
    169: (32, (6, 12, 32, 32)),
    201: (32, (6, 12, 48, 32)),
    264: (32, (6, 12, 64, 48)),
}


def bn_relu_conv(tag: str, ins: int, outs: int, kernel: int) -> dict[str, nn.Module]:
    """H of section 3, the composite function. The normalisation comes first, so there is one for each reader."""
    return {**bn_relu(tag, ins), f"conv{tag}": conv(ins, outs, kernel)}


def basic(ins: int, k: int) -> Concat:
    """A layer of DenseNet: k maps from a 3x3, behind the maps it read."""
    return Concat(read=nn.Identity(), new=chain(**bn_relu_conv("", ins, k, 3)))


def bottleneck(ins: int, k: int) -> Concat:
    """A layer of DenseNet-B: a 1x1 thins what was read to 4k maps for the 3x3."""
    return Concat(
        read=nn.Identity(),
        new=chain(**bn_relu_conv("1", ins, 4 * k, 1), **bn_relu_conv("2", 4 * k, k, 3)),
    )


def block(layer: Layer, count: int, ins: int, k: int) -> nn.Sequential:
    """A dense block: from `ins` maps to `ins + count * k`."""
    return chain(**{f"layer{index}": layer(ins + (index - 1) * k, k) for index in range(1, count + 1)})


def transition(ins: int, outs: int) -> nn.Sequential:
    """Between blocks: a 1x1 and an average halve the size; with compression (the C of BC) also the maps."""
    return chain(**bn_relu_conv("", ins, outs, 1), pool=nn.AvgPool2d(2))


def body(
    layer: Layer, counts: tuple[int, ...], ins: int, k: int, compression: float, classes: int
) -> dict[str, nn.Module]:
    """Dense blocks with transitions between them, and the last reader of all maps: the fully connected layer."""
    rows: dict[str, nn.Module] = {}
    for number, count in enumerate(counts, start=1):
        if number > 1:
            outs = int(compression * ins)
            rows[f"transition{number - 1}"] = transition(ins, outs)
            ins = outs
        rows[f"block{number}"] = block(layer, count, ins, k)
        ins += count * k
    return {
        **rows, **bn_relu("", ins),
        "avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(ins, classes),
    }


def densenet(layers: int) -> nn.Sequential:
    """A column of Table 1; all are DenseNet-BC."""
    k, counts = TABLE_1[layers]
    return chain(                                                       #    3 x 224 x 224
        conv0=conv(3, 2 * k, 7, stride=2), **bn_relu("0", 2 * k),       #   2k x 112 x 112
        pool0=nn.MaxPool2d(3, 2, padding=1),                            #   2k x 56 x 56
        **body(bottleneck, counts, 2 * k, k, 0.5, 1000),                # blocks on 56, 28, 14, 7; 1000
    )


def densenet_cifar(depth: int = 40, k: int = 12, classes: int = 10) -> nn.Sequential:
    """Table 2, DenseNet(L, k): three blocks of equally many layers, and transitions that keep all maps."""
    counts = (blocks_per_stage(depth, 3, 4),) * 3
    return chain(                                                       #    3 x 32 x 32
        conv0=conv(3, 16, 3),                                           #   16 x 32 x 32
        **body(basic, counts, 16, k, 1, classes),                       # blocks on 32, 16, 8; classes
    )


def densenet_bc(depth: int = 100, k: int = 12, classes: int = 10) -> nn.Sequential:
    """Table 2, DenseNet-BC(L, k): half as many layers, of two convolutions each, and 2k maps to begin with."""
    counts = (blocks_per_stage(depth, 6, 4),) * 3
    return chain(                                                       #    3 x 32 x 32
        conv0=conv(3, 2 * k, 3),                                        #   2k x 32 x 32
        **body(bottleneck, counts, 2 * k, k, 0.5, classes),             # blocks on 32, 16, 8; classes
    )


def densenet121() -> nn.Sequential:
    """k = 32, 121 layers."""
    return densenet(121)


def densenet161() -> nn.Sequential:
    """k = 48, 161 layers: of the first versions of the paper."""
    return densenet(161)


def densenet169() -> nn.Sequential:
    """k = 32, 169 layers."""
    return densenet(169)


def densenet201() -> nn.Sequential:
    """k = 32, 201 layers."""
    return densenet(201)


def densenet264() -> nn.Sequential:
    """k = 32, and in truth 265 layers. timm's `densenet264d` is another net: k = 48, 72.7 million parameters."""
    return densenet(264)
