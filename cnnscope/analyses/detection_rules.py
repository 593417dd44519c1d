"""What the operators of torchvision cost that detectors are made of; see ``op_rules``."""

from __future__ import annotations

import math

from ..graph import Op
from .op_rules import Cost, product


def suppressed(op: Op) -> Cost:
    """nms, at most: boxes sorted by score, then each pair compared.

    For a box its area (3); for a pair the overlap (4 comparisons, 2 differences, 2 clamps, 1 product), the union (2),
    the quotient and the comparison with the threshold (2). How many pairs are left out depends on the boxes.
    """
    count = op.inputs[0].shape[0]
    sorting = count * math.ceil(math.log2(max(count, 2)))
    return Cost(flops=3 * count + sorting + 13 * (count * (count - 1) // 2))


def aligned(op: Op) -> Cost | None:
    """roi_align: for each result so many samples in both directions, each of four neighbours (7), and their mean.

    Without a fixed number of samples it depends on the size of each region.
    """
    samples: int = op.attrs["sampling_ratio"]
    return Cost(flops=8 * samples**2 * op.outputs[0].numel) if samples > 0 else None


def deformed(op: Op) -> Cost:
    """deform_conv2d: every input of a window is interpolated (7, and a mask), then a convolution."""
    source, weight, result = op.inputs[0], op.inputs[1], op.outputs[0]
    places = result.numel // weight.shape[0]
    sampled = places * source.shape[1] * math.prod(weight.shape[2:])
    extra = (8 if op.attrs["use_mask"] else 7) * sampled + result.numel
    return product(result.numel * math.prod(weight.shape[1:]), extra)
