"""Steps that slide a window: convolutions, pools, resampling, padding."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .drawing import Draw, Layer, step

CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOLS = {
    "max": {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d},
    "average": {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d},
}
ADAPTIVE = {
    "max": {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d},
    "average": {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d},
}


@step
def conv(draw: Draw) -> Layer:
    x = draw.tensor(3, 4, 5, 4)
    rank, channels = x.dim() - 2, x.shape[1]
    groups = draw.divisor(channels)
    mode = draw.one("zeros", "zeros", "zeros", "reflect", "circular", "replicate")
    kernel = tuple(draw.whole(1, min(5, size + 2)) for size in x.shape[2:])
    padding: Any = draw.sizes(rank, 0, 1 if mode == "reflect" else 3)
    options = {"stride": draw.sizes(rank, 1, 3), "dilation": draw.sizes(rank, 1, 2)}
    if draw.whole(0, 5) == 0:
        padding, options["stride"] = draw.one("same", "valid"), 1
    outs = groups * draw.whole(1, 4)
    return CONVS[rank](
        channels, outs, kernel, padding=padding, groups=groups, bias=draw.flag(), padding_mode=mode, **options
    )


@step
def small_conv(draw: Draw) -> Layer:
    """Keeps sizes, so that networks get deep."""
    x = draw.tensor(4, 4, 3, 5)
    kernel = draw.one(1, 3, 5)
    groups = draw.divisor(x.shape[1])
    return CONVS[x.dim() - 2](x.shape[1], groups * draw.whole(1, 3), kernel, padding=kernel // 2, groups=groups)


@step
def depthwise(draw: Draw) -> Layer:
    x = draw.tensor(4)
    kernel = draw.sizes(2, 1, 4)
    return nn.Conv2d(x.shape[1], x.shape[1] * draw.whole(1, 2), kernel, padding=draw.whole(0, 2), groups=x.shape[1])


@step
def transposed(draw: Draw) -> Layer:
    x = draw.tensor(3, 4, 5)
    rank, channels = x.dim() - 2, x.shape[1]
    stride, dilation = draw.each(rank, 1, 3), draw.each(rank, 1, 2)
    extra = tuple(draw.whole(0, max(s, d) - 1) for s, d in zip(stride, dilation, strict=True))
    groups = draw.divisor(channels)
    kernel, padding = draw.each(rank, 1, 4), draw.each(rank, 0, 1)
    outs = groups * draw.whole(1, 3)
    return TRANSPOSED[rank](channels, outs, kernel, stride, padding, extra, groups, draw.flag(), dilation)


@step
def functional_conv(draw: Draw) -> Layer:
    """Weights made in the forward, and without a batch dimension."""
    draw.tensor(4)
    outs, kernel = draw.whole(1, 4), draw.one((1, 1), (2, 1), (1, 3))
    whole = draw.flag()

    def run(x: torch.Tensor) -> torch.Tensor:
        weight = torch.ones(outs, x.shape[1], *kernel, device=x.device, dtype=x.dtype)
        return F.conv2d(x, weight, padding=1) if whole else F.conv2d(x[0], weight, padding=(2, 2))

    return run


@step
def flat_filters(draw: Draw) -> Layer:
    """A convolution as unfold, product and fold."""
    x = draw.tensor(4)
    kernel, options = draw.each(2, 1, 3), {"stride": draw.whole(1, 2), "padding": draw.whole(0, 1)}
    size = x.shape[2:]
    if draw.flag():
        return nn.Unfold(kernel, **options)
    return lambda x: F.fold(F.unfold(x, kernel, **options), size, kernel, **options)


@step
def pool(draw: Draw) -> Layer:
    x = draw.tensor(3, 4, 5, 4)
    rank, kind = x.dim() - 2, draw.one("max", "average")
    kernel = tuple(draw.whole(1, min(4, size)) for size in x.shape[2:])
    padding = tuple(draw.whole(0, k // 2) for k in kernel)
    options: dict[str, Any] = {"padding": padding, "ceil_mode": draw.flag()}
    if draw.flag():
        options["stride"] = draw.each(rank, 1, 3)
    if kind == "average":
        options["count_include_pad"] = draw.flag()
    elif draw.flag():
        options["return_indices"] = True
    pooled = POOLS[kind][rank]
    return lambda x: pooled(x, kernel, **options)


@step
def adaptive(draw: Draw) -> Layer:
    x = draw.tensor(3, 4, 5)
    rank = x.dim() - 2
    pooled, size = ADAPTIVE[draw.one("max", "average")][rank], draw.sizes(rank, 1, 5)
    return lambda x: pooled(x, size)


@step
def power_pool(draw: Draw) -> Layer:
    x = draw.tensor(4)
    kernel = tuple(draw.whole(1, min(3, size)) for size in x.shape[2:])
    return nn.LPPool2d(2, kernel, ceil_mode=draw.flag())


@step
def unpool(draw: Draw) -> Layer:
    draw.tensor(4, fits=lambda x: x.shape[2] % 2 == x.shape[3] % 2 == 0)
    return lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2)


@step
def upsample(draw: Draw) -> Layer:
    x = draw.tensor(3, 4, 5, fits=lambda x: x.numel() < 3000)
    rank = x.dim() - 2
    mode = draw.one("nearest", "nearest-exact", "area", {1: "linear", 2: "bilinear", 3: "trilinear"}[rank])
    mode = draw.one(mode, "bicubic") if rank == 2 else mode
    options: dict[str, Any] = {"mode": mode}
    if "linear" in mode or mode == "bicubic":
        options["align_corners"] = draw.flag()
        options["antialias"] = rank == 2 and draw.flag()
    if draw.flag():
        options["size"] = draw.each(rank, 1, 9)
    else:
        options["scale_factor"] = draw.one(2, 1.5, 0.6)
    return lambda x: F.interpolate(x, **options)


@step
def pad(draw: Draw) -> Layer:
    x = draw.tensor(1, 2, 3, 4, 5)
    mode = draw.one("constant", "reflect", "replicate", "circular")
    if mode == "constant":
        widths = draw.each(2 * draw.whole(1, x.dim()), -1, 2)
        value = draw.one(0, 1.5)
        return lambda x: F.pad(x, widths, value=value)
    if not 3 <= x.dim() <= 5:
        return lambda x: F.pad(x, (0, 1))
    widths = draw.each(2 * (x.dim() - 2), 0, 1)
    return lambda x: F.pad(x, widths, mode)


@step
def shuffle(draw: Draw) -> Layer:
    x = draw.tensor(4)
    if x.shape[1] % 4 == 0 and draw.flag():
        return nn.PixelShuffle(2)
    if x.shape[2] % 2 == x.shape[3] % 2 == 0:
        return nn.PixelUnshuffle(2)
    return nn.ChannelShuffle(draw.divisor(x.shape[1]))


@step
def sample(draw: Draw) -> Layer:
    x = draw.tensor(4)
    mode, padding, aligned = draw.one("bilinear", "nearest", "bicubic"), draw.one("zeros", "border"), draw.flag()
    size = draw.each(2, 1, 6)
    angles = nn.Parameter(torch.eye(2, 3, dtype=x.dtype).expand(x.shape[0], 2, 3).clone())

    class Sample(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.angles = angles

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            grid = F.affine_grid(self.angles, [x.shape[0], 1, *size], align_corners=aligned)
            return F.grid_sample(x, grid, mode=mode, padding_mode=padding, align_corners=aligned)

    return Sample()
