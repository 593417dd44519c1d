"""Receptive fields, operator by operator: what the gradients of small networks reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from receptive_oracle import Function, compare, field, last
from torch import Tensor, nn


class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.down, self.up = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x * torch.sigmoid(self.up(torch.relu(self.down(F.adaptive_avg_pool2d(x, 1)))))


class Windowed(nn.Module):
    """Attention within windows of 4 x 4, the second time with the windows shifted (Swin)."""

    def __init__(self, shift: int, *, blocks: int = 1) -> None:
        super().__init__()
        self.conv, self.qkv = nn.Conv2d(3, 4, 2, 2), nn.Linear(4, 12)
        self.shifts = [shift, 0] * blocks

    def attend(self, x: Tensor, shift: int) -> Tensor:
        n, h, w, c = x.shape
        x = torch.roll(x, (-shift, -shift), (1, 2))
        tokens = x.view(n, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)
        q, k, v = self.qkv(tokens).chunk(3, -1)
        y = torch.softmax(q @ k.transpose(1, 2) / 1e6, -1) @ v
        y = y.view(n, h // 4, w // 4, 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)
        return torch.roll(y, (shift, shift), (1, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).permute(0, 2, 3, 1)
        for shift in self.shifts:
            x = x + self.attend(x, shift)
        return x.permute(0, 3, 1, 2)


class Tokens(nn.Module):
    """Patches with a class token in front; what is done with them is given."""

    def __init__(self, then: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.token, self.then = nn.Conv2d(3, 4, 3, 3), nn.Parameter(torch.zeros(1, 1, 4)), then

    def forward(self, x: Tensor) -> Tensor:
        return self.then(torch.cat([self.token, self.conv(x).flatten(2).transpose(1, 2)], 1))


def convolve(x: Tensor) -> Tensor:
    return F.conv2d(x, torch.ones(2, 4, 2, 2, dtype=x.dtype), padding=1)


def shuffle_by_hand(x: Tensor) -> Tensor:
    return x.view(1, 1, 2, 2, 4, 4).permute(0, 1, 4, 2, 5, 3).reshape(1, 1, 8, 8)


def attention(x: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(x, x * 1.1, x)


BORDER = {"border": "wider"}
ELSEWHERE = {"border": "other", "written": "other"}
CASES: dict[str, tuple[Any, tuple[int, ...], dict[str, Any]]] = {
    # name: what is done with the result of a convolution (or a whole model), the input, how to compare
    "squeeze and excite": (SqueezeExcite(), (1, 3, 9, 8), {}),
    "response norm": (nn.LocalResponseNorm(3), (1, 3, 9, 8), {}),
    "group norm": (nn.GroupNorm(2, 4), (1, 3, 9, 8), {}),
    "instance norm": (nn.InstanceNorm2d(4), (1, 3, 9, 8), {}),
    "batch norm": (nn.BatchNorm2d(4), (1, 3, 9, 8), {}),
    "norm over width": (lambda x: F.layer_norm(x, x.shape[3:]), (1, 3, 9, 8), {}),
    "norm over channels": (lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,)), (1, 3, 9, 8), {}),
    "softmax over width": (lambda x: x.softmax(-1), (1, 3, 9, 8), {}),
    "softmax over channels": (lambda x: x.softmax(1), (1, 3, 9, 8), {}),
    "mean over height": (lambda x: x.mean(2), (1, 3, 9, 8), {}),
    "variance over all": (lambda x: x.var((2, 3), keepdim=True), (1, 3, 9, 8), {}),
    "sum of all": (lambda x: x.square().sum()[None], (1, 3, 9, 8), {}),
    "flatten and linear": (nn.Sequential(nn.Flatten(), nn.Linear(4 * 4 * 4, 3)), (1, 3, 9, 8), {}),
    "linear over width": (nn.Linear(4, 3), (1, 3, 9, 8), {}),
    "linear over channels": (nn.Sequential(Function(lambda x: x.movedim(1, 3)), nn.Linear(4, 3)), (1, 3, 9, 8), {}),
    "pixel shuffle": (nn.Sequential(nn.PixelShuffle(2), nn.Conv2d(1, 2, 3, padding=1)), (1, 3, 13, 12), BORDER),
    "pixel unshuffle": (nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(16, 2, 2)), (1, 3, 13, 12), {}),
    "pixel shuffle by hand": (shuffle_by_hand, (1, 3, 9, 8), {}),
    "channel shuffle": (lambda x: x.view(1, 2, 2, 4, 4).transpose(1, 2).reshape(1, 4, 4, 4), (1, 3, 9, 8), {}),
    "space to depth": (lambda x: torch.cat([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 1), (1, 3, 9, 8), {}),
    "focus crop": (lambda x: x[:, :, 1:-1, -3:], (1, 3, 13, 12), {}),
    "every second from the end": (lambda x: x.flip(-1)[..., ::2], (1, 3, 9, 8), {}),
    "flip both": (lambda x: x.flip(2, 3) + x, (1, 3, 9, 8), {}),
    "flip and convolve": (lambda x: convolve(x.flip(3)), (1, 3, 13, 12), BORDER),
    "roll": (lambda x: x.roll((1, -2), (2, 3)), (1, 3, 9, 8), {}),
    "roll and convolve": (lambda x: convolve(x.roll(1, 3)), (1, 3, 13, 12), {}),
    "repeat": (lambda x: x.repeat(1, 1, 1, 2), (1, 3, 9, 8), {}),
    "cumulative sum": (lambda x: x.cumsum(2), (1, 3, 9, 8), {}),
    "transposed": (lambda x: x.transpose(2, 3), (1, 3, 9, 12), {}),
    "tiles": (lambda x: x.reshape(1, 4, 2, 2, 2, 2).mean((3, 5)), (1, 3, 9, 8), {}),
    "halves side by side": (lambda x: torch.cat([x[..., 2:], x[..., :2]], 3), (1, 3, 9, 8), {}),
    "stack": (lambda x: torch.stack([x, x.mean(3, keepdim=True).expand_as(x)], 2), (1, 3, 9, 8), {}),
    "rows one by one": (lambda x: torch.stack(x.unbind(2), 3), (1, 3, 9, 8), {}),
    "chunks": (lambda x: x.chunk(2, 3)[1][:, :, 1:] * x.split([1, 3], 2)[1][..., :2], (1, 3, 9, 8), {}),
    "outer product": (lambda x: torch.einsum("nchw,nchv->nwv", x, x), (1, 3, 9, 8), {}),
    "attention of rows": (lambda x: attention(x.flatten(0, 1)), (1, 3, 9, 8), {}),
    "scores of rows": (lambda x: x[0] @ x[0].transpose(1, 2), (1, 3, 9, 8), {}),
    "transposed with holes": (nn.ConvTranspose2d(4, 2, 1, 3), (1, 3, 9, 8), {}),
    "bicubic": (nn.Upsample(scale_factor=2, mode="bicubic"), (1, 3, 29, 28), BORDER),
    "to the corners": (nn.Upsample(size=(7, 5), mode="bicubic", align_corners=True), (1, 3, 29, 28), BORDER),
    "made smaller": (nn.Upsample(size=(3, 5), mode="bilinear"), (1, 3, 29, 28), BORDER),
    "reflection": (nn.ReflectionPad2d((1, 2, 3, 0)), (1, 3, 13, 12), ELSEWHERE),
    "replication": (nn.ReplicationPad2d(2), (1, 3, 13, 12), ELSEWHERE),
    "same padding": (nn.Conv2d(4, 2, 4, padding="same"), (1, 3, 13, 12), {}),
    "cropped by padding": (lambda x: F.pad(x, (-1, 0, 2, -1)), (1, 3, 19, 12), BORDER),
    "window attention": (Windowed(0), (1, 3, 16, 24), {}),
    "shifted window attention": (Windowed(2), (1, 3, 16, 24), {}),
    "many shifted windows": (Windowed(1, blocks=2), (1, 3, 40, 24), {}),
    "tokens": (Tokens(lambda x: x + x[:, :1]), (1, 3, 9, 12), {}),
    "tokens that attend": (Tokens(attention), (1, 3, 9, 12), {}),
    "tokens without the first": (Tokens(lambda x: x[:, 1:].transpose(1, 2).reshape(1, 4, 3, 4)), (1, 3, 9, 12), {}),
    "one dimension, no batch": (nn.Conv1d(3, 2, 3, 2), (3, 15), {}),
    "three dimensions": (nn.ConvTranspose3d(3, 2, (2, 3, 1), (2, 1, 2)), (1, 3, 5, 4, 6), {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_operators_see_what_their_gradients_reach(case: str) -> None:
    then, shape, how = CASES[case]
    if not isinstance(then, SqueezeExcite | Windowed | Tokens | nn.Conv1d | nn.ConvTranspose3d):
        step = then if isinstance(then, nn.Module) else Function(then)
        then = nn.Sequential(nn.Conv2d(3, 4, (3, 2), 2), step)
    compare(then, shape, **{"count": 20, **how})


def test_jumps() -> None:
    assert last(nn.Sequential(nn.Conv2d(1, 1, 3, 2), nn.ConvTranspose2d(1, 1, 4, 4)), (1, 1, 9, 9)).jump == (0.5, 0.5)
    tokens = field(Tokens(attention), (1, 3, 9, 12))
    assert tokens["cat"].size == (3, 3) and tokens["cat"].jump == (None, None), "rows and columns in one dimension"
    assert tokens.total.jump == (0, 0) and tokens.total.whole
