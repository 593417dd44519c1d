"""Kernels to calibrate with: for each kind some that arithmetic limits and some that memory does, as in CNNs."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn


class Probe(NamedTuple):
    """A network of one operator and the shape of its input."""

    model: nn.Module
    shape: tuple[int, ...]


class Sum(nn.Module):
    """Two halves of a batch, element by element."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2)
        return first + second


class Product(nn.Module):
    """A square matrix and itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ x


def probes(batch: int) -> list[Probe]:
    """Convolutions, pooling, norms and activations for images of 3 to 512 channels, and matrix products."""

    def conv(channels: tuple[int, int], kernel: int, size: int, groups: int = 1) -> Probe:
        model = nn.Conv2d(*channels, kernel, padding=kernel // 2, groups=groups, bias=False)
        return Probe(model, (batch, channels[0], size, size))

    maps = (batch, 64, 56, 56)
    return [
        conv((64, 64), 3, 56),
        conv((256, 256), 3, 14),
        conv((64, 256), 1, 56),
        conv((256, 64), 1, 56),
        conv((3, 64), 7, 112),
        conv((256, 256), 3, 28, groups=8),
        conv((256, 256), 3, 14, groups=32),
        conv((144, 144), 3, 56, groups=144),
        conv((384, 384), 7, 14, groups=384),
        Probe(nn.Linear(512, 2048), (batch * 49, 512)),
        Probe(nn.Linear(2048, 1000), (batch, 2048)),
        Probe(nn.MaxPool2d(3, 2, 1), maps),
        Probe(nn.AvgPool2d(2), maps),
        Probe(nn.BatchNorm2d(64), maps),
        Probe(nn.ReLU(), maps),
        Probe(nn.SiLU(), maps),
        Probe(Sum(), maps),
    ]
