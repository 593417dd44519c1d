"""Visualizing and Understanding Convolutional Networks.

Matthew D. Zeiler, Rob Fergus. ECCV 2014. arXiv:1311.2901

The net is Figure 3. Its maps only come out as printed with ceil pooling (110 to 55, 26 to 13) and with a
padding of 1 in the first layer. The figure's "contrast normalized across feature maps" comes without
constants: the normalisation across maps of AlexNet stands in.
"""

from __future__ import annotations

from torch import nn

from .layers import chain, classifier, conv_relu, lrn


def figure3(conv3: int, conv4: int, conv5: int) -> nn.Sequential:
    """Figure 3, with the widths of its layers 3, 4 and 5 left open, since Table 2 varies them."""
    return chain(                                                       #     3 x 224 x 224
        **conv_relu("1", 3, 96, 7, stride=2, padding=1),                #    96 x 110 x 110
        pool1=nn.MaxPool2d(3, 2, ceil_mode=True), norm1=lrn(),          #    96 x 55 x 55
        **conv_relu("2", 96, 256, 5, stride=2, padding=0),              #   256 x 26 x 26
        pool2=nn.MaxPool2d(3, 2, ceil_mode=True), norm2=lrn(),          #   256 x 13 x 13
        **conv_relu("3", 256, conv3, 3),                                # conv3 x 13 x 13
        **conv_relu("4", conv3, conv4, 3),                              # conv4 x 13 x 13
        **conv_relu("5", conv4, conv5, 3),                              # conv5 x 13 x 13
        pool5=nn.MaxPool2d(3, 2),                                       # conv5 x 6 x 6
        **classifier(conv5 * 6 * 6),
    )


def zfnet() -> nn.Sequential:
    """Figure 3 itself; five of them make (a) in Table 2."""
    return figure3(384, 384, 256)


def zfnet_b() -> nn.Sequential:
    """(b) in Table 2: layers 3, 4, 5 with 512, 1024, 512 maps, which the lecture takes for the model."""
    return figure3(512, 1024, 512)


def zfnet_slide() -> nn.Sequential:
    """The lecture's recipe to the letter: its AlexNet with two changes, conv1 and the widths of conv3, 4, 5.

    It leaves out the stride of 2 in conv2. So 13 x 13 maps reach fc6, which alone has 354 million weights.
    """
    return chain(                                                       #    3 x 227 x 227
        **conv_relu("1", 3, 96, 7, stride=2, padding=0),                #   96 x 111 x 111
        pool1=nn.MaxPool2d(3, 2), norm1=lrn(),                          #   96 x 55 x 55
        **conv_relu("2", 96, 256, 5),                                   #  256 x 55 x 55
        pool2=nn.MaxPool2d(3, 2), norm2=lrn(),                          #  256 x 27 x 27
        **conv_relu("3", 256, 512, 3),                                  #  512 x 27 x 27
        **conv_relu("4", 512, 1024, 3),                                 # 1024 x 27 x 27
        **conv_relu("5", 1024, 512, 3),                                 #  512 x 27 x 27
        pool3=nn.MaxPool2d(3, 2),                                       #  512 x 13 x 13
        **classifier(512 * 13 * 13),
    )
