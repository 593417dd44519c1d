"""What a step of a random network draws from: numbers of its own seed, and the tensors that there are by then."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Layer = Callable[..., Any]
STEPS: dict[str, Callable[[Draw], Layer]] = {}


class Unfit(Exception):
    """The step needs a tensor of a form that there is none of."""


class Draw:
    """The choices of one step. Its seed is its own: a step taken out of a recipe leaves the others' choices alone.

    ``taken``: which tensors of the pool the layer is called with; ``layers``: the modules made before.
    """

    def __init__(self, seed: int, pool: list[torch.Tensor], layers: list[nn.Module]) -> None:
        self.random = random.Random(seed)
        self.pool, self.layers = pool, layers
        self.taken: list[int] = []

    def whole(self, low: int, high: int) -> int:
        return self.random.randint(low, high)

    def flag(self) -> bool:
        return self.random.random() < 0.5

    def one(self, *options: Any) -> Any:
        return self.random.choice(options)

    def each(self, count: int, low: int, high: int) -> tuple[int, ...]:
        return tuple(self.random.randint(low, high) for _ in range(count))

    def sizes(self, rank: int, low: int, high: int) -> Any:
        """One number, or one for every dimension."""
        return self.whole(low, high) if self.flag() else self.each(rank, low, high)

    def divisor(self, *numbers: int) -> int:
        return self.one(*[n for n in range(1, min(numbers) + 1) if all(each % n == 0 for each in numbers)])

    def tensor(self, *ranks: int, kind: str = "float", fits: Callable[[torch.Tensor], bool] | None = None) -> Any:
        """A tensor of one of these ranks, more often a late one; it will be an argument of the layer."""
        found = [
            at
            for at, each in enumerate(self.pool)
            if (not ranks or each.dim() in ranks) and KINDS[kind](each) and (fits is None or fits(each))
        ]
        if not found:
            raise Unfit
        at = found[-1] if self.flag() else self.random.choice(found)
        self.taken.append(at)
        return self.pool[at]

    def dim(self, x: torch.Tensor) -> int:
        """A dimension, counted from either end."""
        if x.dim() == 0:
            raise Unfit
        return self.random.randrange(-x.dim(), x.dim())


KINDS: dict[str, Callable[[torch.Tensor], bool]] = {
    "float": lambda x: x.is_floating_point() and x.numel() > 0,
    "whole": lambda x: x.dtype is torch.int64 and x.numel() > 0,
    "bool": lambda x: x.dtype is torch.bool and x.numel() > 0,
    "complex": lambda x: x.is_complex(),
    "any": lambda x: x.numel() > 0,
}


def step(make: Callable[[Draw], Layer]) -> Callable[[Draw], Layer]:
    """Enter a step into the table. It takes tensors and returns what is called with them: a module or a function."""
    STEPS[make.__name__.rstrip("_")] = make
    return make


def simple(**functions: Callable[..., Any]) -> None:
    """Enter steps that call a function of one floating-point tensor."""
    for name, function in functions.items():

        def make(draw: Draw, function: Callable[..., Any] = function) -> Layer:
            draw.tensor()
            return function

        STEPS[name] = make
