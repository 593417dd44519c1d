"""Going Deeper with Convolutions.

Christian Szegedy, Wei Liu, Yangqing Jia, Pierre Sermanet, Scott Reed, Dragomir Anguelov, Dumitru Erhan,
Vincent Vanhoucke, Andrew Rabinovich. CVPR 2015. arXiv:1409.4842

No batch normalisation, biases everywhere, 5x5 where the paper says 5x5, and ceil pooling. torchvision's
`googlenet` has batch normalisation and a 3x3 in the place of every 5x5, taken over from TF-slim: 6,624,904
parameters instead of 6,998,552. The softmax of Figure 3 is left to the loss: the nets end in logits.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from .layers import Concat, SideBranches, chain, conv_relu

# Table 1, the rows of the inception modules. The row of conv1 prints 2.7K parameters and 34M operations:
# these are of a separable convolution, whereas the 7x7 that the table and Figure 3 name, and that stands
# below, has 9.2K and 118M.
TABLE_1 = {
    #       #1x1  #3x3 reduce  #3x3  #5x5 reduce  #5x5  pool proj
    "3a": (   64,           96,   128,           16,    32,         32),
    "3b": (  128,          128,   192,           32,    96,         64),
    "4a": (  192,           96,   208,           16,    48,         64),
    "4b": (  160,          112,   224,           24,    64,         64),
    "4c": (  128,          128,   256,           24,    64,         64),
    "4d": (  112,          144,   288,           32,    64,         64),
    "4e": (  256,          160,   320,           32,   128,        128),
    "5a": (  256,          160,   320,           32,   128,        128),
    "5b": (  384,          192,   384,           48,   128,        128),
}


def pool() -> nn.MaxPool2d:
    """The 3x3/2 max pool between stages. To halve the size its last window hangs over the edge."""
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def norm() -> nn.LocalResponseNorm:
    """Figure 3 gives LocalRespNorm no constants: they are the Caffe release's, which are torch's defaults."""
    return nn.LocalResponseNorm(5)


def inception(ins: int, row: str) -> Concat:
    """Figure 2(b): 1x1 convolutions thin the maps before the 3x3 and the 5x5, and after the pool."""
    n1x1, n3x3_reduce, n3x3, n5x5_reduce, n5x5, pool_proj = TABLE_1[row]
    return Concat(**{
        "1x1": chain(**conv_relu("", ins, n1x1, 1)),
        "3x3": chain(**conv_relu("_reduce", ins, n3x3_reduce, 1), **conv_relu("", n3x3_reduce, n3x3, 3)),
        "5x5": chain(**conv_relu("_reduce", ins, n5x5_reduce, 1), **conv_relu("", n5x5_reduce, n5x5, 5)),
        "pool": chain(pool=nn.MaxPool2d(3, 1, padding=1), **conv_relu("_proj", ins, pool_proj, 1)),
    })


def auxiliary(ins: int) -> nn.Sequential:
    """A classifier at the side of Figure 3. Only training uses it, with a weight of 0.3 in the loss."""
    return chain(                                                       #  ins x 14 x 14
        pool=nn.AvgPool2d(5, 3),                                        #  ins x 4 x 4
        **conv_relu("", ins, 128, 1),                                   #  128 x 4 x 4
        flatten=nn.Flatten(),
        fc1=nn.Linear(128 * 4 * 4, 1024), relu_fc1=nn.ReLU(), drop=nn.Dropout(0.7),     # 1024
        fc2=nn.Linear(1024, 1000),                                      # 1000
    )


def first_to_4a() -> dict[str, nn.Module]:
    """Table 1 down to inception (4a), the first place with a classifier at its side."""
    return {                                                            #    3 x 224 x 224
        **conv_relu("1", 3, 64, 7, stride=2),                           #   64 x 112 x 112
        "pool1": pool(), "norm1": norm(),                               #   64 x 56 x 56
        **conv_relu("2_reduce", 64, 64, 1),                             #   64 x 56 x 56
        **conv_relu("2", 64, 192, 3), "norm2": norm(),                  #  192 x 56 x 56
        "pool2": pool(),                                                #  192 x 28 x 28
        "inception3a": inception(192, "3a"),                            #  256 x 28 x 28
        "inception3b": inception(256, "3b"),                            #  480 x 28 x 28
        "pool3": pool(),                                                #  480 x 14 x 14
        "inception4a": inception(480, "4a"),                            #  512 x 14 x 14
    }


def from_4b_to_4d() -> dict[str, nn.Module]:
    """Table 1 from (4b) to (4d), the second place with a classifier at its side."""
    return {
        "inception4b": inception(512, "4b"),                            #  512 x 14 x 14
        "inception4c": inception(512, "4c"),                            #  512 x 14 x 14
        "inception4d": inception(512, "4d"),                            #  528 x 14 x 14
    }


def from_4e_to_last() -> dict[str, nn.Module]:
    """Table 1 from (4e) to its end."""
    return {
        "inception4e": inception(528, "4e"),                            #  832 x 14 x 14
        "pool4": pool(),                                                #  832 x 7 x 7
        "inception5a": inception(832, "5a"),                            #  832 x 7 x 7
        "inception5b": inception(832, "5b"),                            # 1024 x 7 x 7
        "pool5": nn.AvgPool2d(7),                                       # 1024 x 1 x 1
        "flatten": nn.Flatten(),
        "drop": nn.Dropout(0.4),
        "fc": nn.Linear(1024, 1000),                                    # 1000
    }


def googlenet() -> nn.Sequential:
    """Table 1: the net that classifies, 22 layers with weights deep."""
    return chain(**first_to_4a(), **from_4b_to_4d(), **from_4e_to_last())


def googlenet_aux() -> SideBranches:
    """Figure 3: the net that is trained. It gives the logits of `fc`, `aux1` on (4a) and `aux2` on (4d)."""
    return SideBranches(OrderedDict(
        **first_to_4a(), aux1=auxiliary(512),
        **from_4b_to_4d(), aux2=auxiliary(528),
        **from_4e_to_last(),
    ))
