"""Steps that choose, order, count and reduce; whole numbers, booleans and complex ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .drawing import Draw, Layer, simple, step


def sides(x: torch.Tensor) -> bool:
    return x.dim() > 0


@step
def reduced(draw: Draw) -> Layer:
    x = draw.tensor(fits=sides)
    dims = draw.random.sample(range(-x.dim(), 0), draw.whole(1, x.dim()))
    dim, keep = dims[0], draw.flag()
    return draw.one(
        lambda x: x.sum(dims, keepdim=keep), lambda x: x.mean(dims, keepdim=keep), lambda x: x.amax(dims, keepdim=keep),
        lambda x: x.var(dims, keepdim=keep, unbiased=False), lambda x: torch.std_mean(x, dims, keepdim=keep),
        lambda x: x.logsumexp(dims, keepdim=keep), lambda x: x.norm(dim=dims, keepdim=keep), lambda x: x.sum(),
        lambda x: x.max(dim, keepdim=keep), lambda x: x.prod(dim, keepdim=keep), lambda x: x.median(dim)[0],
        lambda x: x.min(), lambda x: x.any(dim), lambda x: x.argmax(dim, keepdim=keep), lambda x: torch.aminmax(x)[0],
        lambda x: x.count_nonzero(dim), lambda x: x.double().sum(dims, dtype=torch.float32),
    )  # fmt: skip


@step
def accumulated(draw: Draw) -> Layer:
    x = draw.tensor(fits=sides)
    dim = draw.dim(x)
    return draw.one(
        lambda x: x.cumsum(dim), lambda x: x.cumprod(dim), lambda x: x.cummax(dim), lambda x: x.logcumsumexp(dim),
        lambda x: x.diff(dim=dim), lambda x: torch.cumsum(x > 0, dim),
    )  # fmt: skip


@step
def ordered(draw: Draw) -> Layer:
    x = draw.tensor(fits=sides)
    dim = draw.dim(x)
    count = draw.whole(1, x.shape[dim])
    return draw.one(
        lambda x: x.topk(count, dim), lambda x: x.sort(dim), lambda x: x.argsort(dim), lambda x: x.kthvalue(count, dim),
        lambda x: x.sort(dim, stable=True)[0],
    )  # fmt: skip


@step
def chosen(draw: Draw) -> Layer:
    x = draw.tensor(fits=sides)
    dim = draw.dim(x)
    at = draw.random.choices(range(x.shape[dim]), k=draw.whole(1, 3))

    def index(x: torch.Tensor) -> torch.Tensor:
        return torch.tensor(at, device=x.device)

    return draw.one(
        lambda x: x.index_select(dim, index(x)),
        lambda x: x.movedim(dim, 0)[index(x)],
        lambda x: x.movedim(dim, -1)[..., at],
        lambda x: x.gather(dim, x.argsort(dim)),
        lambda x: x.take(index(x)),
        lambda x: torch.take_along_dim(x, x.argmax(dim, True), dim),
        lambda x: torch.zeros_like(x).scatter(dim, x.argsort(dim), x),
        lambda x: torch.zeros_like(x).scatter_add_(dim, x.argmax(dim, keepdim=True), x.amax(dim, keepdim=True)),
        lambda x: x.index_fill(dim, index(x), 2.0),
        lambda x: x.scatter_reduce(dim, x.argsort(dim), x, "amax"),
    )


@step
def masked(draw: Draw) -> Layer:
    """With a mask that is an input, or was computed."""
    x = draw.tensor()

    def fits(mask: torch.Tensor) -> bool:
        try:
            return torch.broadcast_shapes(x.shape, mask.shape) == x.shape
        except RuntimeError:
            return False

    draw.tensor(kind="bool", fits=fits)
    return draw.one(
        lambda x, m: x.masked_fill(m, 0.0),
        lambda x, m: torch.where(m, x, 0),
        lambda x, m: x * m,
        lambda x, m: x + (~m).float(),
        lambda x, m: torch.where(m, x, x * 2),
        lambda x, m: m.sum() + x,
        lambda x, m: m.any(),
        lambda x, m: m ^ (x > 0),
    )


@step
def numbered(draw: Draw) -> Layer:
    """Whole numbers: arithmetic, types, comparisons."""
    draw.tensor(kind="whole")
    return draw.one(
        lambda x: x + 1, lambda x: x // 2, lambda x: x / 2, lambda x: x % 3, lambda x: x.float() * 0.5, lambda x: x > 2,
        lambda x: x.to(torch.int32) * 1.5, lambda x: x.sum(),
        lambda x: x.clamp(0, 5), lambda x: (x & 3) | 1, lambda x: -x,
        lambda x: x.to(torch.uint8), lambda x: x.bool(), lambda x: torch.bucketize(x.float(), x.new_ones(2).float()),
    )  # fmt: skip


@step
def made(draw: Draw) -> Layer:
    """Tensors made in the forward, some on the CPU wherever the model is."""
    x = draw.tensor(fits=sides)
    rows = x.shape[-1]
    return draw.one(
        lambda x: x + torch.arange(rows, device=x.device),
        lambda x: x * torch.tensor(2.0),
        lambda x: x * torch.tensor([2.0], device=x.device, dtype=x.dtype),
        lambda x: x + torch.linspace(0, 1, rows, device=x.device, dtype=x.dtype),
        lambda x: x + torch.rand(rows, device=x.device),
        lambda x: x + torch.randn_like(x) * torch.full_like(x, 2),
        lambda x: torch.eye(rows, device=x.device, dtype=x.dtype)[:3],
        lambda x: x + torch.zeros(x.shape, device=x.device, dtype=x.dtype).uniform_(),
        lambda x: x + torch.ones(rows, rows, device=x.device).triu(1)[0].to(x.dtype),
        lambda x: x * float(x.shape[0]) ** 0.5,
        lambda x: torch.meshgrid(x.new_ones(3), x.new_ones(2), indexing="ij"),
    )


@step
def losses(draw: Draw) -> Layer:
    x = draw.tensor(fits=sides)
    y = draw.tensor(fits=lambda y: y.shape == x.shape and y.dtype == x.dtype)
    del y
    how = draw.one("mean", "sum", "none")
    return draw.one(
        lambda x, y: F.mse_loss(x, y, reduction=how),
        lambda x, y: F.l1_loss(x, y, reduction=how),
        lambda x, y: F.smooth_l1_loss(x, y, reduction=how),
        lambda x, y: F.huber_loss(x, y, reduction=how),
        lambda x, y: F.binary_cross_entropy_with_logits(x, y, reduction=how),
        lambda x, y: F.kl_div(x, y, reduction=how),
        lambda x, y: F.cosine_similarity(x, y, dim=-1),
        lambda x, y: F.pairwise_distance(x, y),
    )


@step
def classified(draw: Draw) -> Layer:
    draw.tensor(2)
    return lambda x: F.cross_entropy(
        x, torch.zeros(x.shape[0], dtype=torch.int64, device=x.device), label_smoothing=0.1
    )


@step
def transformed(draw: Draw) -> Layer:
    """Fourier, forth and back, of rows: of other layouts the strides of the result are known to differ."""
    x = draw.tensor(fits=lambda x: x.dim() > 0 and x.is_contiguous() and 1 not in x.shape)
    dim = draw.dim(x)
    return draw.one(
        lambda x: torch.fft.rfft(x.float(), dim=dim).abs(),
        lambda x: torch.fft.fft(x.float(), dim=dim).real,
        lambda x: torch.fft.irfft(torch.fft.rfft(x.float(), dim=dim), n=x.shape[dim], dim=dim),
        lambda x: torch.fft.fftshift(x, dim=dim),
        lambda x: torch.view_as_complex(torch.stack([x.float(), x.float()], -1)).angle(),
    )


simple(
    between=lambda x: x.clamp(-0.5, 0.5) + x.clip(max=0.3),
    compared=lambda x: (x > 0.3) | (x <= 0.1) | x.isnan(),
    positions=lambda x: (x.argsort(-1) if x.dim() else x.long()) % 11,
    histogram=lambda x: x.flatten().histc(4, 0, 1) if x.dtype in (torch.float32, torch.float64) else x.flatten(),
    triangle=lambda x: x.triu() + x.tril(-1) if x.dim() > 1 else x.cumsum(0) if x.dim() else x,
    nothing=lambda x: x.flatten()[:0],
)
