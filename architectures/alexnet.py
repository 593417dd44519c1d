"""ImageNet Classification with Deep Convolutional Neural Networks.

Alex Krizhevsky, Ilya Sutskever, Geoffrey E. Hinton. NIPS 2012.

Two nets go by this name. `alexnet` is the single tower that the lecture draws, `alexnet_grouped` the paper's
net, split over two GPUs. The paper prints an input of 224 x 224, from which 11 x 11 windows at stride 4 give
54 positions, not its 55; 227 does. torchvision's `alexnet` is a third net (arXiv:1404.5997): 64 first
filters, no normalisation.
"""

from __future__ import annotations

from torch import nn

from .layers import chain, classifier, conv_relu, lrn


def alexnet() -> nn.Sequential:
    """The lecture's table: one tower, and each normalisation after its pool, as in CaffeNet."""
    return chain(                                                       #   3 x 227 x 227
        **conv_relu("1", 3, 96, 11, stride=4, padding=0),               #  96 x 55 x 55
        pool1=nn.MaxPool2d(3, 2), norm1=lrn(),                          #  96 x 27 x 27
        **conv_relu("2", 96, 256, 5),                                   # 256 x 27 x 27
        pool2=nn.MaxPool2d(3, 2), norm2=lrn(),                          # 256 x 13 x 13
        **conv_relu("3", 256, 384, 3),                                  # 384 x 13 x 13
        **conv_relu("4", 384, 384, 3),                                  # 384 x 13 x 13
        **conv_relu("5", 384, 256, 3),                                  # 256 x 13 x 13
        pool3=nn.MaxPool2d(3, 2),                                       # 256 x 6 x 6
        **classifier(256 * 6 * 6),
    )


def alexnet_grouped() -> nn.Sequential:
    """Figure 2 and section 3.5: the halves of conv2, conv4 and conv5 see the maps of their own GPU only.

    The halves are groups here; conv3 reads both GPUs. Normalisation comes before the pool. This is the net
    with the paper's 60 million parameters.
    """
    return chain(                                                       #   3 x 227 x 227
        **conv_relu("1", 3, 96, 11, stride=4, padding=0), norm1=lrn(),  #  96 x 55 x 55
        pool1=nn.MaxPool2d(3, 2),                                       #  96 x 27 x 27
        **conv_relu("2", 96, 256, 5, groups=2), norm2=lrn(),            # 256 x 27 x 27
        pool2=nn.MaxPool2d(3, 2),                                       # 256 x 13 x 13
        **conv_relu("3", 256, 384, 3),                                  # 384 x 13 x 13
        **conv_relu("4", 384, 384, 3, groups=2),                        # 384 x 13 x 13
        **conv_relu("5", 384, 256, 3, groups=2),                        # 256 x 13 x 13
        pool3=nn.MaxPool2d(3, 2),                                       # 256 x 6 x 6
        **classifier(256 * 6 * 6),
    )
