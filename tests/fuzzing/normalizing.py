"""Steps that keep the shape: normalisation, activation, dropout, parametrized weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from .drawing import Draw, Layer, simple, step

BATCH = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
INSTANCE = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d, 5: nn.InstanceNorm3d}
DROPOUTS = (nn.Dropout, nn.AlphaDropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.FeatureAlphaDropout)
ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh,
    nn.LeakyReLU, nn.LogSigmoid, nn.Softplus, nn.Softsign, nn.Sigmoid, nn.Tanh, nn.Tanhshrink, nn.Hardshrink,
    nn.Softshrink, nn.RReLU, nn.Threshold,
)  # fmt: skip
IN_PLACE = (
    nn.ReLU,
    nn.ReLU6,
    nn.ELU,
    nn.SELU,
    nn.SiLU,
    nn.Mish,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.Hardtanh,
    nn.LeakyReLU,
)


@step
def batch_norm(draw: Draw) -> Layer:
    x = draw.tensor(2, 3, 4, 5)
    options = {"affine": draw.flag(), "track_running_stats": draw.whole(0, 3) > 0, "momentum": draw.one(None, 0.1)}
    return BATCH[x.dim()](x.shape[1], **options)


@step
def layer_norm(draw: Draw) -> Layer:
    x = draw.tensor()
    over = x.shape[draw.whole(0, x.dim() - 1) :] if x.dim() else ()
    if not over:
        return lambda x: x * 2
    if draw.whole(0, 3) == 0:
        return nn.RMSNorm(over, elementwise_affine=draw.flag())
    affine = draw.flag()
    return nn.LayerNorm(over, elementwise_affine=affine, bias=affine and draw.flag())


@step
def group_norm(draw: Draw) -> Layer:
    x = draw.tensor(2, 3, 4, 5)
    return nn.GroupNorm(draw.divisor(x.shape[1]), x.shape[1], affine=draw.flag())


@step
def instance_norm(draw: Draw) -> Layer:
    x = draw.tensor(3, 4, 5)
    return INSTANCE[x.dim()](x.shape[1], affine=draw.flag(), track_running_stats=draw.flag())


@step
def local_norm(draw: Draw) -> Layer:
    draw.tensor(3, 4)
    return nn.LocalResponseNorm(draw.whole(1, 5))


@step
def vector_norm(draw: Draw) -> Layer:
    x = draw.tensor()
    if x.dim() == 0:
        return lambda x: x.abs()
    dim = draw.dim(x)
    return draw.one(
        lambda x: F.normalize(x, dim=dim),
        lambda x: torch.linalg.vector_norm(x, ord=1, dim=dim, keepdim=True),
        lambda x: x.softmax(dim),
        lambda x: F.log_softmax(x, dim),
        lambda x: F.softmin(x, dim),
    )


@step
def dropout(draw: Draw) -> Layer:
    x = draw.tensor()
    if x.dim() in (3, 4, 5) and draw.flag():
        return {3: nn.Dropout1d, 4: nn.Dropout2d, 5: nn.Dropout3d}[x.dim()](0.3)
    return draw.one(nn.Dropout(0.3), nn.AlphaDropout(0.2), nn.FeatureAlphaDropout(0.2), nn.Dropout(0.0))


@step
def activation(draw: Draw) -> Layer:
    draw.tensor()
    kind = draw.one(*ACTIVATIONS)
    return kind(0.1, 0.2) if kind is nn.Threshold else kind()


@step
def activation_in_place(draw: Draw) -> Layer:
    draw.tensor()
    return draw.one(*IN_PLACE)(inplace=True)


@step
def learned_activation(draw: Draw) -> Layer:
    x = draw.tensor(2, 3, 4, 5)
    return nn.PReLU(draw.one(1, x.shape[1]))


@step
def gated(draw: Draw) -> Layer:
    x = draw.tensor()
    even = [dim for dim, size in enumerate(x.shape) if size % 2 == 0]
    return nn.GLU(draw.one(*even)) if even else nn.Identity()


@step
def parametrized(draw: Draw) -> Layer:
    """Weights computed anew in every forward: normed, spectral, orthogonal."""
    x = draw.tensor(2, 4)
    layer: nn.Module
    layer = nn.Conv2d(x.shape[1], draw.whole(2, 3), 1) if x.dim() == 4 else nn.Linear(x.shape[1], draw.whole(2, 3))
    return draw.one(parametrizations.weight_norm, parametrizations.spectral_norm)(layer)


simple(
    relu=F.relu,
    relu_of_new=lambda x: (x + 1).relu_(),
    sigmoid=torch.sigmoid,
    softmax_all=lambda x: x.flatten().softmax(0),
    exponents=lambda x: x.clamp(-2, 2).exp().log1p() - x.sqrt().nan_to_num(),
    rounding=lambda x: x.floor() + x.frac() - x.sign() + x.trunc(),
    powers=lambda x: x**2 + x**0.5 + 2**x + x.pow(3).rsqrt().nan_to_num_(),
    special=lambda x: torch.erf(x) + torch.atan2(x, x + 1) + torch.hypot(x, x) + torch.lerp(x, x * 2, 0.3),
)
