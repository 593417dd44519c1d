"""The worked examples of the lecture, each a few layers that make one point.

After CS231n (Fei-Fei Li, Justin Johnson, Serena Yeung; Stanford, 2017), lecture 9, from which the lecture
takes them. As in their arithmetic there are no biases, so parameters are weights.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from .layers import Concat, chain
from .layers import conv as conv_with_bias

conv = partial(conv_with_bias, bias=False)


def conv1x1_example() -> nn.Sequential:
    """A 1x1 convolution halves the depth and keeps the size: each output is a dot product of 64 numbers."""
    return chain(                                                       #  64 x 56 x 56
        conv=conv(64, 32, 1),                                           #  32 x 56 x 56
    )


def stack3x3() -> nn.Sequential:
    """VGG, section 2.3: three 3x3 see as far as one 7x7, with 27 C^2 weights, not 49, and two more ReLUs."""
    return chain(                                                       # 256 x 28 x 28
        conv1=conv(256, 256, 3), relu1=nn.ReLU(),                       # 256 x 28 x 28
        conv2=conv(256, 256, 3), relu2=nn.ReLU(),                       # 256 x 28 x 28
        conv3=conv(256, 256, 3), relu3=nn.ReLU(),                       # 256 x 28 x 28
    )


def conv7x7() -> nn.Sequential:
    """The one 7x7 that `stack3x3` is held against."""
    return chain(                                                       # 256 x 28 x 28
        conv=conv(256, 256, 7), relu=nn.ReLU(),                         # 256 x 28 x 28
    )


def inception_naive() -> Concat:
    """GoogLeNet, Figure 2(a): four looks at the same input, side by side. The pool keeps all 256 maps."""
    return Concat(**{                                                   # 256 x 28 x 28
        "1x1": conv(256, 128, 1),                                       # 128 x 28 x 28
        "3x3": conv(256, 192, 3),                                       # 192 x 28 x 28
        "5x5": conv(256, 96, 5),                                        #  96 x 28 x 28
        "pool": nn.MaxPool2d(3, 1, padding=1),                          # 256 x 28 x 28
    })                                                                  # 672 x 28 x 28


def inception_bottleneck() -> Concat:
    """GoogLeNet, Figure 2(b): 1x1 "bottlenecks" of 64 maps before the 3x3 and the 5x5, and after the pool.

    271,351,808 multiplications. The 358M on the slide count the 3x3 twice.
    """
    return Concat(**{                                                   # 256 x 28 x 28
        "1x1": conv(256, 128, 1),                                       # 128 x 28 x 28
        "3x3": chain(reduce=conv(256, 64, 1), conv=conv(64, 192, 3)),   # 192 x 28 x 28
        "5x5": chain(reduce=conv(256, 64, 1), conv=conv(64, 96, 5)),    #  96 x 28 x 28
        "pool": chain(pool=nn.MaxPool2d(3, 1, padding=1), proj=conv(256, 64, 1)),   # 64 x 28 x 28
    })                                                                  # 480 x 28 x 28
