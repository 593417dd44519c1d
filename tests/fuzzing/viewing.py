"""Steps on the same memory: views, writes through them, and what copies, joins and splits."""

from __future__ import annotations

from typing import Any

import torch

from .drawing import Draw, Layer, Unfit, simple, step


def sides(x: torch.Tensor) -> bool:
    return x.dim() > 0


@step
def part(draw: Draw) -> Layer:
    """A view of a part."""
    x = draw.tensor(fits=sides, kind="any")
    dim = draw.dim(x)
    size = x.shape[dim]
    start = draw.whole(0, size - 1)
    length, every = draw.whole(1, size - start), draw.whole(1, 3)
    return draw.one(
        lambda x: x.narrow(dim, start, length),
        lambda x: x.select(dim, start),
        lambda x: x.movedim(dim, 0)[start::every],
        lambda x: x[..., :1],
        lambda x: x[None, ..., -1],
        lambda x: x.unbind(dim)[start],
    )


@step
def permuted(draw: Draw) -> Layer:
    x = draw.tensor(fits=sides, kind="any")
    order = draw.random.sample(range(x.dim()), x.dim())
    a, b = draw.dim(x), draw.dim(x)
    return draw.one(
        lambda x: x.permute(order), lambda x: x.transpose(a, b), lambda x: x.permute(order).contiguous(), lambda x: x.mT
        if x.dim() > 1
        else x.unsqueeze(a),
    )  # fmt: skip


@step
def reshaped(draw: Draw) -> Layer:
    x = draw.tensor(fits=sides, kind="any")
    first = draw.divisor(x.numel())
    second = draw.divisor(x.numel() // first)
    start = draw.whole(0, x.dim() - 1)
    dim = draw.dim(x)
    return draw.one(
        lambda x: x.reshape(first, second, -1),
        lambda x: x.flatten(start),
        lambda x: x.unsqueeze(dim).expand(*[-1] * (x.dim() + 1)),
        lambda x: x.squeeze(),
        lambda x: x.contiguous().view(-1),
        lambda x: x.unflatten(dim, (1, -1)),
    )


@step
def to_image(draw: Draw) -> Layer:
    """Back to four dimensions, so that convolutions go on."""
    x = draw.tensor(fits=lambda x: x.dim() != 4)
    first = draw.divisor(x.numel())
    second = draw.divisor(x.numel() // first)
    return lambda x: x.reshape(1, first, second, -1)


@step
def expanded(draw: Draw) -> Layer:
    x = draw.tensor(fits=lambda x: x.dim() < 5 and x.numel() < 2000)
    count, ones = draw.whole(2, 3), [1] * x.dim()
    return draw.one(
        lambda x: x.expand(count, *x.shape),
        lambda x: x.expand(count, *x.shape) + x,
        lambda x: x.repeat(count, *ones),
        lambda x: x.repeat_interleave(count, dim=0) if x.dim() else x,
    )


@step
def windows(draw: Draw) -> Layer:
    x = draw.tensor(fits=lambda x: 0 < x.dim() < 5 and x.is_contiguous())
    dim = draw.dim(x)
    size, every = draw.whole(1, x.shape[dim]), draw.whole(1, 2)
    total = x.numel()
    return draw.one(
        lambda x: x.unfold(dim, size, every),
        lambda x: x.as_strided((total // 2 + 1,), (1,)),
        lambda x: torch.as_strided(x, (2, total // 2), (0, 1)) * 2,
    )


@step
def cut(draw: Draw) -> Layer:
    """Several tensors at once."""
    x = draw.tensor(fits=sides)
    dim, count = draw.dim(x), draw.whole(1, 3)
    size = x.shape[dim]
    at = draw.whole(0, size)
    return draw.one(
        lambda x: x.chunk(count, dim),
        lambda x: x.split(max(1, size // 2), dim),
        lambda x: x.split([at, size - at], dim),
        lambda x: torch.tensor_split(x, count, dim),
        lambda x: x.chunk(count, dim)[0] * 1.5,
    )


@step
def joined(draw: Draw) -> Layer:
    x = draw.tensor(fits=sides)
    y = draw.tensor(fits=lambda y: y.shape == x.shape)
    dim = draw.dim(x)
    if y.dtype != x.dtype and draw.flag():
        raise Unfit
    return draw.one(
        lambda x, y: torch.cat([x, y, x], dim),
        lambda x, y: torch.stack([x, y], dim),
        lambda x, y: torch.cat([y, x.new_zeros(0)]) if x.dim() == 1 else torch.cat([x, y], dim),
        lambda x, y: torch.hstack([x, y]),
    )


@step
def moved(draw: Draw) -> Layer:
    x = draw.tensor(fits=sides)
    dim, by = draw.dim(x), draw.whole(-2, 2)
    return draw.one(
        lambda x: x.roll(by, dim), lambda x: x.flip(dim), lambda x: torch.rot90(x, by, (0, 1)) if x.dim() > 1 else x,
        lambda x: x.roll(by), lambda x: x.clone(), lambda x: x.diagonal() if x.dim() > 1 else x,
    )  # fmt: skip


@step
def written(draw: Draw) -> Layer:
    """In place, into a new tensor or through a view of it."""
    x = draw.tensor(fits=sides)
    dim = draw.dim(x)
    at = draw.whole(0, x.shape[dim] - 1)
    fresh = draw.whole(0, 2) > 0

    def new(x: torch.Tensor) -> torch.Tensor:
        return x * 2 if fresh else x

    def assigned(x: torch.Tensor) -> torch.Tensor:
        y = new(x)
        y[..., :1] = 3
        y[..., 0] += 1
        return y

    def through(x: torch.Tensor) -> torch.Tensor:
        y = new(x)
        y.select(dim, at).mul_(2)
        y.narrow(dim, at, 1).copy_(y.narrow(dim, 0, 1))
        return y

    def chosen(x: torch.Tensor) -> torch.Tensor:
        y = new(x)
        index = torch.zeros(2, dtype=torch.int64, device=x.device)
        y.index_put_((index,), y[0] * 2, accumulate=True)
        return y.index_add_(0, index, torch.stack([y[0], y[0]]))

    def filled(x: torch.Tensor) -> torch.Tensor:
        y = new(x)
        y.masked_fill_(y > 0.5, -1.0)
        return y.clamp_(min=0).add_(1).sub_(x).div_(2).zero_()

    def reshaped(x: torch.Tensor) -> Any:
        y = new(x).unsqueeze_(0)
        z = y.transpose_(0, -1)
        return z.squeeze_(), y

    return draw.one(assigned, through, chosen, filled, reshaped)


@step
def added_in_place(draw: Draw) -> Layer:
    x = draw.tensor(fits=sides)
    draw.tensor(fits=lambda y: y.shape == x.shape)
    return draw.one(
        lambda x, y: (x * 2).add_(y),
        lambda x, y: x.add_(y),
        lambda x, y: (x + 1).copy_(y),
        lambda x, y: (x * 2).mul_(y),
    )


@step
def layout(draw: Draw) -> Layer:
    """Other strides for the same shape."""
    draw.tensor(4)
    return draw.one(
        lambda x: x.to(memory_format=torch.channels_last),
        lambda x: x.contiguous(memory_format=torch.channels_last) + 1,
        lambda x: torch.empty_like(x, memory_format=torch.contiguous_format).copy_(x),
        lambda x: x.transpose(2, 3) * 2,
        lambda x: (x.permute(0, 2, 3, 1) + 1).permute(0, 3, 1, 2),
        lambda x: torch.zeros_like(x.mT),
    )


simple(
    resized=lambda x: x.new_empty(3).resize_(x.numel() // 2).fill_(1),
    data_of=lambda x: x.data + x.detach(),
    real_view=lambda x: torch.view_as_real(torch.complex(x.float(), x.float())),
    bits=lambda x: x.contiguous().view(torch.uint8) if x.dim() else x,
)
