"""Steps by what a program does around its operators: types, gradients, hooks, sharing, modules in modules."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from .drawing import Draw, Layer, Unfit, simple, step


def channels(draw: Draw, low: int = 1, high: int = 3) -> tuple[nn.Conv2d, torch.Tensor]:
    x = draw.tensor(4)
    return nn.Conv2d(x.shape[1], draw.whole(low, high), draw.one(1, 3), padding=1), x


@step
def cast(draw: Draw) -> Layer:
    draw.tensor(kind="any", fits=lambda x: not x.is_complex())
    dtype = draw.one(torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64)
    return draw.one(
        lambda x: x.to(dtype), lambda x: x.type(dtype), lambda x: x.to(dtype, copy=True), lambda x: x.half().float()
    )


@step
def mixed_precision(draw: Draw) -> Layer:
    x = draw.tensor(2, 4, fits=lambda x: x.dtype is torch.float32)
    layer = nn.Conv2d(x.shape[1], 2, 1) if x.dim() == 4 else nn.Linear(x.shape[-1], 3)
    dtype = draw.one(torch.bfloat16, torch.float16)

    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: torch.Tensor) -> Any:
            with torch.autocast("cpu", dtype):
                y = self.layer(x)
                z = y @ y.transpose(-1, -2) if y.dim() == 4 else y.softmax(-1)
                with torch.autocast("cpu", enabled=False):
                    return y.float() + 1, z

    return Mixed()


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return grad * 2 + x * 0


@step
def own_gradient(draw: Draw) -> Layer:
    draw.tensor()
    return lambda x: Doubled.apply(x)


@step
def without_gradient(draw: Draw) -> Layer:
    draw.tensor()

    def guarded(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            y = x * 2
        return x + y

    return draw.one(
        guarded, lambda x: x.detach() + x, lambda x: x + (x.round() - x).detach(), lambda x: x.detach().clone().add_(1)
    )


@step
def frozen(draw: Draw) -> Layer:
    """A layer not trained, or its weight alone; of a bias trained alone oneDNN makes the weight's gradient, too."""
    layer, _ = channels(draw)
    layer.weight.requires_grad_(draw.flag())
    layer.bias.requires_grad_(layer.weight.requires_grad and draw.flag())
    return layer


@step
def checkpointed(draw: Draw) -> Layer:
    layer, _ = channels(draw)
    reentrant = draw.flag()

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: torch.Tensor) -> Any:
            return checkpoint(lambda y: self.layer(y).relu(), x, use_reentrant=reentrant)

    return Checkpointed()


@step
def functional_call(draw: Draw) -> Layer:
    layer, _ = channels(draw)

    class Called(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: torch.Tensor) -> Any:
            weights = {name: param * 0.5 for name, param in self.layer.named_parameters()}
            return torch.func.functional_call(self.layer, weights, (x,))

    return Called()


@step
def hooked(draw: Draw) -> Layer:
    """Hooks that change what goes in and what comes out."""
    layer, _ = channels(draw)
    if draw.flag():
        layer.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    if draw.flag():
        layer.register_forward_hook(lambda module, args, out: out.relu_())
    if draw.flag():
        layer.register_forward_hook(lambda module, args, out: (out, args[0].mean()))
    return layer


@step
def counting(draw: Draw) -> Layer:
    """Buffers written in the forward, and parameters that nothing uses."""
    draw.tensor()
    drawn = draw.flag()

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
            self.register_buffer("scale", torch.ones(1), persistent=drawn)
            self.unused = nn.Parameter(torch.zeros(3))
            self.tensor = torch.ones(1)

        def forward(self, x: torch.Tensor) -> Any:
            self.seen += 1
            self.scale.mul_(0.9)
            return x * self.scale + self.tensor.to(x.device)

    return Counting()


@step
def nested(draw: Draw) -> Layer:
    """Modules in lists and dictionaries, under odd names, one of them twice."""
    x = draw.tensor(4)
    width = x.shape[1]
    inner = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU(inplace=draw.flag()))

    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ways = nn.ModuleList([inner, nn.Identity(), inner])
            self.named = nn.ModuleDict({"a b": nn.BatchNorm2d(width), "weight": inner[0], "forward ": nn.Identity()})
            self.scales = nn.ParameterList([nn.Parameter(torch.ones(width, 1, 1)) for _ in range(2)])
            self.by_name = nn.ParameterDict({"x": self.scales[0], "y": nn.Parameter(torch.zeros(1))})

        def forward(self, x: torch.Tensor) -> Any:
            y = sum(way(x * 1) for way in self.ways)
            for layer in self.named.values():
                y = layer(y)
            return {"first": y * self.scales[0] + self.by_name["y"], "rest": [y.mean((2, 3)), None]}

    return Nested()


@step
def residual(draw: Draw) -> Layer:
    x = draw.tensor(4)
    body = nn.Sequential(
        nn.Conv2d(x.shape[1], x.shape[1], 3, padding=1), nn.BatchNorm2d(x.shape[1]), nn.ReLU(draw.flag())
    )

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = body

        def forward(self, x: torch.Tensor) -> Any:
            y = self.body(x)
            y += x
            return y

    return Residual()


@step
def again(draw: Draw) -> Layer:
    """A layer that there is already, on another tensor."""
    if not draw.layers:
        raise Unfit
    layer = draw.one(*draw.layers)
    sizes = {tuple(p.shape[1:2]) for p in layer.parameters() if p.dim() > 1}
    draw.tensor(fits=lambda x: not sizes or (x.dim() > 1 and (x.shape[1],) in sizes))
    return layer


@step
def mapped(draw: Draw) -> Layer:
    """``vmap``, and gradients inside of a forward."""
    draw.tensor(2, 3, 4)
    return torch.func.vmap(lambda row: row.sigmoid() * row.sum())


@torch.jit.script
def _scripted(x: torch.Tensor) -> torch.Tensor:
    y = x * 2
    for _ in range(2):
        y = torch.relu(y + x)
    return y


@step
def scripted(draw: Draw) -> Layer:
    draw.tensor()
    return lambda x: _scripted(x)


@step
def copied_weight(draw: Draw) -> Layer:
    """A weight that is a view of another, transposed."""
    x = draw.tensor(fits=lambda x: x.dim() > 0)
    layer = nn.Linear(x.shape[-1], draw.whole(1, 4))

    class Transposed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: torch.Tensor) -> Any:
            return F.linear(self.layer(x), self.layer.weight.t())

    return Transposed()


simple(
    several=lambda x: (x, x * 2, None, 3, {"y": x + 1}),
    same=lambda x: x,
    summed_twice=lambda x: x.sum() + x.sum(),
    asked=lambda x: x * 2 if x.shape[-1:] > (3,) else x.contiguous() * float(x.numel()),
)
