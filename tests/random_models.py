"""Random networks for property tests: a recipe is data, so that hypothesis can shrink it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import nn

STEPS = (
    "conv", "conv_in_place", "depthwise", "grouped", "transposed", "norm", "layer_norm", "relu", "relu_", "pool",
    "average", "add", "add_", "cat", "chunk", "gate", "flip_view", "shared", "functional", "upsample", "matmul",
    "dropout",
)  # fmt: skip


@st.composite
def recipes(draw: st.DrawFn) -> dict[str, Any]:
    """Input shape and a list of steps; each step picks its operands and sizes by small integers."""
    step = st.tuples(st.sampled_from(STEPS), *[st.integers(0, 5)] * 5)
    return {
        "batch": draw(st.integers(1, 2)),
        "channels": draw(st.integers(1, 3)),
        "size": (draw(st.integers(4, 13)), draw(st.integers(4, 13))),
        "steps": draw(st.lists(step, min_size=1, max_size=10)),
        "head": draw(st.booleans()),
    }


class RandomNet(nn.Module):
    """Builds its layers while a real tensor goes through once; afterwards the same steps are a pure forward."""

    def __init__(self, recipe: dict[str, Any]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict()
        self.steps: list[tuple[str, int, tuple[int, ...]]] = []
        self.shape = (recipe["batch"], recipe["channels"], *recipe["size"])
        with torch.no_grad():
            pool = [torch.zeros(self.shape)]
            for number, (kind, *picks) in enumerate(recipe["steps"]):
                self._prepare(number, kind, picks, pool)
                pool.append(self._step(number, kind, tuple(picks), pool))
                self.steps.append((kind, number, tuple(picks)))
            if recipe["head"]:
                self.layers["head"] = nn.Linear(pool[-1][0].numel(), 3)

    def forward(self, x: torch.Tensor) -> Any:
        pool = [x]
        for kind, number, picks in self.steps:
            pool.append(self._step(number, kind, picks, pool))
        if "head" in self.layers:
            return self.layers["head"](pool[-1].flatten(1)), {"last": pool[-1]}
        return pool[-1]

    def _prepare(self, number: int, kind: str, picks: list[int], pool: list[torch.Tensor]) -> None:
        """The layer that the step needs, if any, for the shapes that have come about."""
        x = pool[-1 - picks[0] % len(pool)]
        channels = x.shape[1]
        kernel, padding = 1 + picks[1] % 3, picks[2] % 2
        options = {"stride": 1 + picks[3] % 2, "padding": max(padding, kernel - min(x.shape[2:]))}
        layer: nn.Module | None = None
        if kind in ("conv", "conv_in_place"):
            dilation = 2 if kernel == 2 and min(x.shape[2:]) > 3 else 1
            layer = nn.Conv2d(channels, 1 + picks[4], (kernel, 1), **options, dilation=dilation, bias=picks[4] % 2 == 0)
        elif kind == "depthwise":
            layer = nn.Conv2d(channels, 2 * channels, kernel, **options, groups=channels)
        elif kind == "grouped":
            groups = 2 if channels % 2 == 0 else 1
            layer = nn.Conv2d(channels, 2 * groups, kernel, **options, groups=groups)
        elif kind == "transposed":
            layer = nn.ConvTranspose2d(channels, 1 + picks[4], kernel, stride=options["stride"])
        elif kind == "norm":
            layer = nn.BatchNorm2d(channels)
        elif kind == "layer_norm":
            layer = nn.LayerNorm(x.shape[-1])
        elif kind == "shared":
            layer = nn.Conv2d(channels, channels, 1)
        elif kind == "dropout":
            layer = nn.Dropout(0.5)
        if layer is not None:
            self.layers[str(number)] = layer.eval()

    def _step(self, number: int, kind: str, picks: tuple[int, ...], pool: list[torch.Tensor]) -> torch.Tensor:
        x = pool[-1 - picks[0] % len(pool)]
        other = pool[-1 - picks[1] % len(pool)]
        other = other if other.shape == x.shape else x
        if str(number) in self.layers:
            y = self.layers[str(number)](x)
            y = y.relu_() if kind == "conv_in_place" else y
            return self.layers[str(number)](y) if kind == "shared" else y
        return FUNCTIONS[kind](x, other, picks)


def _pool(x: torch.Tensor, picks: tuple[int, ...], pooled: Any) -> torch.Tensor:
    kernel = 2 + picks[2] % 2
    if min(x.shape[2:]) < kernel:
        return x * 2
    return pooled(x, kernel, stride=1 + picks[3] % 2, padding=picks[4] % 2, ceil_mode=picks[1] % 2 == 1)


FUNCTIONS = {
    "relu": lambda x, y, p: F.relu(x),
    "relu_": lambda x, y, p: (x + 1).relu_(),
    "pool": lambda x, y, p: _pool(x, p, F.max_pool2d),
    "average": lambda x, y, p: _pool(x, p, F.avg_pool2d),
    "add": lambda x, y, p: x + y,
    "add_": lambda x, y, p: (x * 2).add_(y),
    "cat": lambda x, y, p: torch.cat([x, y, x], dim=p[2] % 4),
    "chunk": lambda x, y, p: x.chunk(2, dim=1)[0] * 1.5,
    "gate": lambda x, y, p: x * y.mean((2, 3), keepdim=True).sigmoid(),
    "flip_view": lambda x, y, p: x.transpose(2, 3),
    "functional": lambda x, y, p: F.conv2d(x, torch.ones(2, x.shape[1], 1, 1, device=x.device, dtype=x.dtype)),
    "upsample": lambda x, y, p: F.interpolate(x, scale_factor=2) if x.numel() < 3000 else x + 1,
    "matmul": lambda x, y, p: x @ x.transpose(-1, -2),
}
