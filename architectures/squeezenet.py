"""SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size.

Forrest N. Iandola, Song Han, Matthew W. Moskewicz, Khalid Ashraf, William J. Dally, Kurt Keutzer.
arXiv:1602.07360, 2016

The paper prints an input of 224 x 224, by mistake: its 111 x 111 maps come from 227. The authors' release of 1.0
also pads the 1x1 of conv10, for which nobody has a reason and Table 1 no room: 15 x 15 maps instead of 13 x 13,
and 29 million multiply-adds more. The variants with bypasses (section 6) are left out.
"""

from __future__ import annotations

from torch import nn

from .layers import Concat, chain, conv, conv_relu

# Table 1: the fire modules, in 1.1 the same.
TABLE_1 = {
    #        s1x1  e1x1  e3x3
    "fire2": ( 16,   64,   64),
    "fire3": ( 16,   64,   64),
    "fire4": ( 32,  128,  128),
    "fire5": ( 32,  128,  128),
    "fire6": ( 48,  192,  192),
    "fire7": ( 48,  192,  192),
    "fire8": ( 64,  256,  256),
    "fire9": ( 64,  256,  256),
}


def fire(ins: int, row: str) -> nn.Sequential:
    """Figure 1: a 1x1 squeezes the maps, then a 1x1 and a 3x3, side by side, expand them."""
    s1x1, e1x1, e3x3 = TABLE_1[row]
    return chain(
        squeeze1x1=conv(ins, s1x1, 1), relu=nn.ReLU(),
        expand=Concat(
            expand1x1=chain(**conv_relu("", s1x1, e1x1, 1)),
            expand3x3=chain(**conv_relu("", s1x1, e3x3, 3)),
        ),
    )


def pool() -> nn.MaxPool2d:
    """The 3x3/2 max pool. In Caffe, where both nets come from, its last window may hang over the edge."""
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def head() -> dict[str, nn.Module]:
    """A map for each class instead of fully connected layers, as in Network in Network."""
    return {                                                            #  512 x 13 x 13
        "drop9": nn.Dropout(0.5),                                       #  512 x 13 x 13
        **conv_relu("10", 512, 1000, 1),                                # 1000 x 13 x 13
        "avgpool10": nn.AdaptiveAvgPool2d(1),                           # 1000 x 1 x 1
        "flatten": nn.Flatten(),                                        # 1000
    }


def squeezenet1_0() -> nn.Sequential:
    """Table 1: 1,248,424 parameters, 421,098 of them left after pruning."""
    return chain(                                                       #    3 x 227 x 227
        **conv_relu("1", 3, 96, 7, stride=2, padding=0),                #   96 x 111 x 111
        maxpool1=pool(),                                                #   96 x 55 x 55
        fire2=fire(96, "fire2"),                                        #  128 x 55 x 55
        fire3=fire(128, "fire3"),                                       #  128 x 55 x 55
        fire4=fire(128, "fire4"),                                       #  256 x 55 x 55
        maxpool4=pool(),                                                #  256 x 27 x 27
        fire5=fire(256, "fire5"),                                       #  256 x 27 x 27
        fire6=fire(256, "fire6"),                                       #  384 x 27 x 27
        fire7=fire(384, "fire7"),                                       #  384 x 27 x 27
        fire8=fire(384, "fire8"),                                       #  512 x 27 x 27
        maxpool8=pool(),                                                #  512 x 13 x 13
        fire9=fire(512, "fire9"),                                       #  512 x 13 x 13
        **head(),                                                       # 1000
    )


def squeezenet1_1() -> nn.Sequential:
    """The authors' later release: a smaller first layer and earlier pools more than halve the multiply-adds."""
    return chain(                                                       #    3 x 227 x 227
        **conv_relu("1", 3, 64, 3, stride=2, padding=0),                #   64 x 113 x 113
        maxpool1=pool(),                                                #   64 x 56 x 56
        fire2=fire(64, "fire2"),                                        #  128 x 56 x 56
        fire3=fire(128, "fire3"),                                       #  128 x 56 x 56
        maxpool3=pool(),                                                #  128 x 28 x 28
        fire4=fire(128, "fire4"),                                       #  256 x 28 x 28
        fire5=fire(256, "fire5"),                                       #  256 x 28 x 28
        maxpool5=pool(),                                                #  256 x 14 x 14
        fire6=fire(256, "fire6"),                                       #  384 x 14 x 14
        fire7=fire(384, "fire7"),                                       #  384 x 14 x 14
        fire8=fire(384, "fire8"),                                       #  512 x 14 x 14
        fire9=fire(512, "fire9"),                                       #  512 x 14 x 14
        **head(),                                                       # 1000 (from 14 x 14 maps)
    )
