"""Steps that mix positions: products, attention, recurrent layers, embeddings."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .drawing import Draw, Layer, Unfit, step


def sides(x: torch.Tensor) -> bool:
    return x.dim() > 0


@step
def linear(draw: Draw) -> Layer:
    x = draw.tensor(fits=sides)
    return nn.Linear(x.shape[-1], draw.whole(1, 5), bias=draw.flag())


@step
def bilinear(draw: Draw) -> Layer:
    x = draw.tensor(2, 3)
    y = draw.tensor(fits=lambda y: y.shape[:-1] == x.shape[:-1] and y.dim() > 1 and y.dtype == x.dtype)
    return nn.Bilinear(x.shape[-1], y.shape[-1], draw.whole(1, 3), bias=draw.flag())


@step
def product(draw: Draw) -> Layer:
    """Matrix products of every form, most of them broadcast."""
    draw.tensor(fits=lambda x: x.dim() > 1 and x.numel() < 3000)
    outs = draw.whole(1, 4)
    return draw.one(
        lambda x: x @ x.mT,
        lambda x: x.transpose(-1, -2) @ x,
        lambda x: x @ torch.ones(x.shape[-1], device=x.device, dtype=x.dtype),
        lambda x: x.new_ones(x.shape[-2]) @ x,
        lambda x: x @ x.new_ones(3, 1, 1, 1, x.shape[-1], outs) if x.dim() < 4 else x @ x.new_ones(x.shape[-1], outs),
        lambda x: torch.addmm(x.new_ones(outs), x.flatten(0, -2), x.new_ones(x.shape[-1], outs), beta=2, alpha=3),
        lambda x: torch.baddbmm(x.new_ones(1), x.flatten(0, -3), x.flatten(0, -3).mT) if x.dim() > 2 else x.mm(x.t()),
        lambda x: torch.linalg.multi_dot([x.flatten(0, -2), x.new_ones(x.shape[-1], 2), x.new_ones(2, outs)]),
        lambda x: torch.outer(x.flatten()[:7], x.flatten()[:5]),
        lambda x: torch.dot(x.flatten(), x.flatten()),
        lambda x: torch.kron(x.flatten()[:3], x.flatten()[:2]),
        lambda x: torch.tensordot(x, x, dims=([-1], [-1])) if x.dim() == 2 else x.tril(),
    )


@step
def summed_by_einstein(draw: Draw) -> Layer:
    x = draw.tensor(2, 3, 4, fits=lambda x: x.numel() < 2000)
    texts = {
        2: ("ij,kj->ik", "ij,ij->i", "ij,ij->", "ij,ik->jk", "ij,ij->ji"),
        3: ("bij,bkj->bik", "bij,bij->b", "bij,cij->bc", "bij,bik->bjk"),
        4: ("nchw,nkhw->nck", "nchw,nchw->nhw", "nchw,nchv->nhwv", "...hw,...hw->..."),
    }
    text = draw.one(*texts[x.dim()])
    return lambda x: torch.einsum(text, x, x)


@step
def bilateral(draw: Draw) -> Layer:
    """Two tensors of any shapes that broadcast."""
    x = draw.tensor()

    def fits(y: torch.Tensor) -> bool:
        try:
            return torch.broadcast_shapes(x.shape, y.shape).numel() < 20_000
        except RuntimeError:
            return False

    draw.tensor(fits=fits)
    return draw.one(
        lambda x, y: x + y, lambda x, y: x * y, lambda x, y: x - 2 * y, lambda x, y: x / (y.abs() + 1),
        torch.maximum, torch.fmod, lambda x, y: torch.where(x > y, x, y), lambda x, y: torch.addcmul(x, y, y),
        lambda x, y: torch.addcdiv(x, y, y.abs() + 1), lambda x, y: x.add(y, alpha=2), lambda x, y: (x > 0) & (y > 0),
        lambda x, y: torch.cdist(x, x) if x.dim() == 2 else x + y,
    )  # fmt: skip


@step
def gate(draw: Draw) -> Layer:
    draw.tensor(4)
    return lambda x: x * x.mean((2, 3), keepdim=True).sigmoid()


@step
def fused_attention(draw: Draw) -> Layer:
    draw.tensor(3, 4)
    causal, masked, dropped = draw.flag(), draw.whole(0, 2), draw.one(0.0, 0.0, 0.2)

    def run(x: torch.Tensor) -> torch.Tensor:
        mask = None
        if masked == 1 and not causal:
            mask = torch.ones(x.shape[-2], x.shape[-2], dtype=torch.bool, device=x.device).tril()
        if masked == 2 and not causal:
            mask = torch.zeros(x.shape[-2], x.shape[-2], dtype=x.dtype, device=x.device)
        return F.scaled_dot_product_attention(x, x * 2, x + 1, mask, dropped, is_causal=causal)

    return run


@step
def attention(draw: Draw) -> Layer:
    x = draw.tensor(3)
    layer = nn.MultiheadAttention(
        x.shape[-1], draw.divisor(x.shape[-1]), bias=draw.flag(), batch_first=draw.flag(), dropout=draw.one(0.0, 0.1),
        add_bias_kv=draw.whole(0, 4) == 0, add_zero_attn=draw.whole(0, 4) == 0,
    )  # fmt: skip
    weights = draw.flag()

    class SelfAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = layer

        def forward(self, x: torch.Tensor) -> Any:
            return self.attention(x, x, x, need_weights=weights)

    return SelfAttention()


@step
def transformer(draw: Draw) -> Layer:
    x = draw.tensor(3)
    options = {"dim_feedforward": draw.whole(1, 8), "batch_first": draw.flag(), "norm_first": draw.flag()}
    layer = nn.TransformerEncoderLayer(
        x.shape[-1], draw.divisor(x.shape[-1]), activation=draw.one("relu", "gelu"), **options
    )
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False) if draw.flag() else layer


@step
def decoder(draw: Draw) -> Layer:
    x = draw.tensor(3)
    draw.taken.append(draw.taken[-1])
    return nn.TransformerDecoderLayer(x.shape[-1], draw.divisor(x.shape[-1]), 4, batch_first=draw.flag())


@step
def recurrent(draw: Draw) -> Layer:
    x = draw.tensor(3, fits=lambda x: x.shape[0] < 8 and x.shape[1] < 20)
    kind = draw.one(nn.LSTM, nn.GRU, nn.RNN)
    layers = draw.whole(1, 2)
    return kind(
        x.shape[-1], draw.whole(1, 4), layers, bias=draw.flag(), batch_first=draw.flag(), bidirectional=draw.flag(),
        dropout=0.1 if layers > 1 and draw.flag() else 0.0,
    )  # fmt: skip


@step
def cell(draw: Draw) -> Layer:
    x = draw.tensor(2)
    return draw.one(nn.LSTMCell, nn.GRUCell, nn.RNNCell)(x.shape[1], draw.whole(1, 4))


@step
def embedding(draw: Draw) -> Layer:
    tokens = draw.tensor(kind="whole")
    if tokens.min() < 0 or tokens.max() >= 11:
        raise Unfit
    if tokens.dim() == 2 and draw.flag():
        return nn.EmbeddingBag(11, draw.whole(1, 6), mode=draw.one("sum", "mean", "max"))
    return nn.Embedding(11, draw.whole(1, 6), padding_idx=draw.one(None, 0))


@step
def tied(draw: Draw) -> Layer:
    """An embedding whose weight is that of the last layer, too."""
    tokens = draw.tensor(kind="whole", fits=lambda x: x.dim() < 4)
    if tokens.min() < 0 or tokens.max() >= 11:
        raise Unfit

    class Tied(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.words = nn.Embedding(11, width)
            self.head = nn.Linear(width, 11, bias=False)
            self.head.weight = self.words.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.words(x))

    return Tied(draw.whole(1, 6))


@step
def one_hot(draw: Draw) -> Layer:
    tokens = draw.tensor(kind="whole", fits=lambda x: x.dim() < 4)
    if tokens.min() < 0 or tokens.max() >= 11:
        raise Unfit
    return lambda x: F.one_hot(x, 11).float()
