"""Very Deep Convolutional Networks for Large-Scale Image Recognition.

Karen Simonyan, Andrew Zisserman. ICLR 2015. arXiv:1409.1556

The six columns of one table, all of 3x3 convolutions but for the 1x1 of C. Their common names count the
layers with weights: VGG11 is A, VGG13 is B, VGG16 is D, VGG19 is E.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from .layers import chain, classifier, conv_bn_relu, conv_relu, lrn

# Table 1, a column of the paper in a row here: the layers of each block ("conv<kernel>-<maps>"). A max pool
# ends every block, and FC-4096, FC-4096, FC-1000 end every net.
TABLE_1 = {
    "A": ("conv3-64", "conv3-128", "conv3-256 conv3-256",
          "conv3-512 conv3-512", "conv3-512 conv3-512"),
    "A-LRN": ("conv3-64 LRN", "conv3-128", "conv3-256 conv3-256",
              "conv3-512 conv3-512", "conv3-512 conv3-512"),
    "B": ("conv3-64 conv3-64", "conv3-128 conv3-128", "conv3-256 conv3-256",
          "conv3-512 conv3-512", "conv3-512 conv3-512"),
    "C": ("conv3-64 conv3-64", "conv3-128 conv3-128", "conv3-256 conv3-256 conv1-256",
          "conv3-512 conv3-512 conv1-512", "conv3-512 conv3-512 conv1-512"),
    "D": ("conv3-64 conv3-64", "conv3-128 conv3-128", "conv3-256 conv3-256 conv3-256",
          "conv3-512 conv3-512 conv3-512", "conv3-512 conv3-512 conv3-512"),
    "E": ("conv3-64 conv3-64", "conv3-128 conv3-128", "conv3-256 conv3-256 conv3-256 conv3-256",
          "conv3-512 conv3-512 conv3-512 conv3-512", "conv3-512 conv3-512 conv3-512 conv3-512"),
}


def vgg(column: str, layer: Callable[..., dict[str, nn.Module]] = conv_relu) -> nn.Sequential:
    """A column of Table 1; `layer` makes the rows of one convolution."""
    rows: dict[str, nn.Module] = {}                                     #   3 x 224 x 224
    ins = 3
    for number, block in enumerate(TABLE_1[column], start=1):
        for index, word in enumerate(block.split(), start=1):
            if word == "LRN":
                rows[f"norm{number}"] = lrn()
                continue
            kernel, outs = map(int, word.removeprefix("conv").split("-"))
            rows |= layer(f"{number}_{index}", ins, outs, kernel)
            ins = outs
        rows[f"pool{number}"] = nn.MaxPool2d(2)                         # halves the size: 112, 56, 28, 14, 7
    return chain(**rows, **classifier(512 * 7 * 7))


def vgg11() -> nn.Sequential:
    """A: eleven layers with weights."""
    return vgg("A")


def vgg11_lrn() -> nn.Sequential:
    """A-LRN: A with AlexNet's normalisation after its first layer, which the paper found to be of no use."""
    return vgg("A-LRN")


def vgg13() -> nn.Sequential:
    """B: A with a second layer in the first two blocks."""
    return vgg("B")


def vgg16_c() -> nn.Sequential:
    """C: B with a 1x1 layer in each of the last three blocks. As deep as D, and not what VGG16 means."""
    return vgg("C")


def vgg16() -> nn.Sequential:
    """D: the 1x1 layers of C as 3x3. The net in the lecture's table."""
    return vgg("D")


def vgg19() -> nn.Sequential:
    """E: D with a fourth layer in each of the last three blocks."""
    return vgg("E")


# Batch normalisation came after the paper. In the libraries' variants it stands between each convolution and
# its ReLU, and the convolutions keep biases that it makes idle; they are in the libraries' parameter counts,
# so they are here.
conv_bias_bn_relu = partial(conv_bn_relu, bias=True)


def vgg11_bn() -> nn.Sequential:
    """A with batch normalisation."""
    return vgg("A", conv_bias_bn_relu)


def vgg13_bn() -> nn.Sequential:
    """B with batch normalisation."""
    return vgg("B", conv_bias_bn_relu)


def vgg16_bn() -> nn.Sequential:
    """D with batch normalisation."""
    return vgg("D", conv_bias_bn_relu)


def vgg19_bn() -> nn.Sequential:
    """E with batch normalisation."""
    return vgg("E", conv_bias_bn_relu)
