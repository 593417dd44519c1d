"""Network In Network.

Min Lin, Qiang Chen, Shuicheng Yan. ICLR 2014. arXiv:1312.4400

Each convolution slides a small perceptron over the picture, and what is left of the size at the end is
averaged: there are no fully connected layers. The paper draws the nets (Figure 2) without printing their
widths; those here are of the authors' releases for Caffe. Of ImageNet the paper says nothing: that net exists
as a release only. Caffe lets the last window of a pool hang over the edge.
"""

from __future__ import annotations

from torch import nn

from .layers import chain, conv

# The releases: maps of the convolution and of the two layers of the perceptron, the kernel, the stride, and
# the padding. The last layer has a map for each class.
CIFAR = {
    "mlpconv1": ((192, 160, 96), 5, 1, 2),
    "mlpconv2": ((192, 192, 192), 5, 1, 2),
    "mlpconv3": ((192, 192, None), 3, 1, 1),
}
IMAGENET = {
    "mlpconv1": ((96, 96, 96), 11, 4, 0),
    "mlpconv2": ((256, 256, 256), 5, 1, 2),
    "mlpconv3": ((384, 384, 384), 3, 1, 1),
    "mlpconv4": ((1024, 1024, None), 3, 1, 1),
}
Row = tuple[tuple[int, int, int | None], int, int, int]


def mlpconv(ins: int, row: Row, classes: int = 0) -> nn.Sequential:
    """Figure 1(b): a convolution, and on each of its positions two layers of a perceptron, which are 1x1."""
    (n1, n2, n3), kernel, stride, padding = row
    return chain(
        conv=conv(ins, n1, kernel, stride, padding), relu=nn.ReLU(),
        cccp1=conv(n1, n2, 1), relu1=nn.ReLU(),
        cccp2=conv(n2, n3 or classes, 1), relu2=nn.ReLU(),
    )


def nin_cifar(classes: int) -> nn.Sequential:
    """Figure 2, with the widths of the release. Its second pool is an average."""
    return chain(                                                       #     3 x 32 x 32
        mlpconv1=mlpconv(3, CIFAR["mlpconv1"]),                         #    96 x 32 x 32
        pool1=nn.MaxPool2d(3, 2, ceil_mode=True), drop1=nn.Dropout(0.5),    # 96 x 16 x 16
        mlpconv2=mlpconv(96, CIFAR["mlpconv2"]),                        #   192 x 16 x 16
        pool2=nn.AvgPool2d(3, 2, ceil_mode=True), drop2=nn.Dropout(0.5),    # 192 x 8 x 8
        mlpconv3=mlpconv(192, CIFAR["mlpconv3"], classes),              # classes x 8 x 8
        pool3=nn.AvgPool2d(8),                                          # classes x 1 x 1
        flatten=nn.Flatten(),                                           # classes
    )


def nin_cifar10() -> nn.Sequential:
    """For CIFAR-10, nine layers with weights."""
    return nin_cifar(10)


def nin_cifar100() -> nn.Sequential:
    """For CIFAR-100: ninety maps more in the last layer."""
    return nin_cifar(100)


def nin_imagenet() -> nn.Sequential:
    """For ImageNet, the release: a fourth mlpconv, a first layer like AlexNet's, an eighth of its parameters."""
    return chain(                                                       #    3 x 224 x 224
        mlpconv1=mlpconv(3, IMAGENET["mlpconv1"]),                      #   96 x 54 x 54
        pool1=nn.MaxPool2d(3, 2, ceil_mode=True),                       #   96 x 27 x 27
        mlpconv2=mlpconv(96, IMAGENET["mlpconv2"]),                     #  256 x 27 x 27
        pool2=nn.MaxPool2d(3, 2, ceil_mode=True),                       #  256 x 13 x 13
        mlpconv3=mlpconv(256, IMAGENET["mlpconv3"]),                    #  384 x 13 x 13
        pool3=nn.MaxPool2d(3, 2, ceil_mode=True), drop3=nn.Dropout(0.5),    # 384 x 6 x 6
        mlpconv4=mlpconv(384, IMAGENET["mlpconv4"], 1000),              # 1000 x 6 x 6
        pool4=nn.AvgPool2d(6),                                          # 1000 x 1 x 1
        flatten=nn.Flatten(),                                           # 1000
    )
