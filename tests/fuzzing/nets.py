"""Random networks: a recipe is data, and makes the same network every time."""

from __future__ import annotations

import random
import warnings
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils import _pytree as pytree

from . import convolving, mixing, normalizing, programming, reckoning, viewing
from .drawing import STEPS, Draw, Layer, Unfit

FAMILIES = (convolving, mixing, normalizing, programming, reckoning, viewing)  # their imports fill the table
LARGEST = 20_000  # elements of a tensor
DTYPES = ("float32",) * 6 + ("float64", "bfloat16", "float16")
FORMS = ("arguments", "keywords", "dict", "nested")
ANSWERS = ("last", "several", "dict", "inputs too", "all")
NAMES = ("conv", "0", "a-b", "weight", "x y", "Ünï", "type", "forward_", "__", "self")
SHAPES = {
    "image": lambda r: (r.randint(1, 2), r.randint(1, 4), r.randint(4, 13), r.randint(4, 13)),
    "line": lambda r: (r.randint(1, 3), r.randint(1, 6), r.randint(4, 12)),
    "volume": lambda r: (1, r.randint(1, 3), r.randint(3, 6), r.randint(3, 6), r.randint(3, 6)),
    "rows": lambda r: (r.randint(1, 4), r.randint(2, 8)),
    "words": lambda r: (r.randint(1, 2), r.randint(1, 6)),
    "mask": lambda r: (r.randint(4, 13), 1),
    "number": lambda r: (),
}


class Recipe(NamedTuple):
    """What ``Net`` is made of: kinds of inputs, and steps with the seed of each; ``seed`` draws the shapes."""

    seed: int
    inputs: tuple[str, ...]
    dtype: str
    form: str
    answer: str
    steps: tuple[tuple[str, int], ...]


def recipe(seed: int, most: int = 12) -> Recipe:
    """The recipe of a number."""
    chance = random.Random(seed)
    first = chance.choice(("image", "image", "image", "image", "line", "rows", "volume"))
    more = chance.choices(list(SHAPES), k=chance.choice((0, 0, 1, 2)))
    steps = [(chance.choice(list(STEPS)), chance.randrange(10_000)) for _ in range(chance.randint(1, most))]
    form, answer = chance.choice(FORMS if more else FORMS[:2]), chance.choice(ANSWERS)
    return Recipe(seed, (first, *more), chance.choice(DTYPES), form, answer, tuple(steps))


class Planned(NamedTuple):
    """A step as it stands: what is called, with which tensors of the pool, and which are let go of behind it."""

    layer: Layer
    taken: tuple[int, ...]
    dead: tuple[int, ...]


class Net(nn.Module):
    """Builds its layers while real tensors go through once; then the same steps are a plain forward.

    A step that fits nowhere, or whose result is large, is left out. One that PyTorch refuses is left out too, or now
    and then stays as the last one: then nobody can run the network.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.layers = nn.ModuleDict()
        self.plan: list[Planned] = []
        self.used: list[str] = []
        pool = tensors(inputs(recipe))
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for number, (name, seed) in enumerate(recipe.steps):
                if not self._add(number, name, seed, pool):
                    break
        self.eval()
        last = {at: number for number, planned in enumerate(self.plan) for at in planned.taken}
        for number, planned in enumerate(self.plan):
            dead = tuple(at for at in planned.taken if last[at] == number and recipe.answer in ("last", "dict"))
            self.plan[number] = planned._replace(dead=dead)

    def _add(self, number: int, name: str, seed: int, pool: list[torch.Tensor]) -> bool:
        """Try a step; False: it is refused, and the end."""
        draw = Draw(seed, pool, list(self.layers.values()))
        torch.manual_seed(seed)
        try:
            layer = STEPS[name](draw)
        except Unfit:
            return True
        arguments = [pool[at] for at in draw.taken]
        if isinstance(layer, nn.Module) and arguments[0].is_floating_point():
            layer = layer.to(arguments[0].dtype)
        try:
            found = tensors(layer.eval()(*arguments) if isinstance(layer, nn.Module) else layer(*arguments))
        except Exception:
            if draw.whole(0, 4):
                return True
            found = None
        if found is not None and (not found or max(each.numel() for each in found) > LARGEST):
            return True
        if isinstance(layer, nn.Module) and all(layer is not each for each in self.layers.values()):
            self.layers[f"{NAMES[seed % len(NAMES)]}{number}"] = layer
        self.used.append(name)
        self.plan.append(Planned(layer, tuple(draw.taken), ()))
        pool += found or []
        return found is not None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        pool: list[Any] = tensors((args, kwargs))
        given = len(pool)
        for layer, taken, dead in self.plan:
            pool += tensors(layer(*[pool[at] for at in taken]))
            for at in dead:
                pool[at] = None if at != len(pool) - 1 else pool[at]
        return answered(self.recipe.answer, pool, given)


def answered(form: str, pool: list[Any], given: int) -> Any:
    """What the network returns."""
    last = pool[-1]
    if form == "several":
        return last, [pool[given:][-2:], None], 3
    if form == "dict":
        return {"out": last, "beside": {"size": last.shape}}
    if form == "inputs too":
        return (*pool[:given], last)
    return pool[given:] if form == "all" else last


def tensors(thing: Any) -> list[torch.Tensor]:
    return [each for each in pytree.tree_leaves(thing) if isinstance(each, torch.Tensor)]


def inputs(recipe: Recipe) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments and keywords of a recipe's network, the same every time."""
    chance = random.Random(f"inputs of {recipe.seed}")
    numbers = torch.Generator().manual_seed(recipe.seed)
    given = []
    for kind in recipe.inputs:
        shape = SHAPES[kind](chance)
        if kind == "words":
            given.append(torch.randint(0, 11, shape, generator=numbers))
        elif kind == "mask":
            given.append(torch.rand(shape, generator=numbers) > 0.5)
        else:
            given.append(torch.rand(shape, generator=numbers).to(getattr(torch, recipe.dtype)))
    named = {f"{kind}{number}": each for number, (kind, each) in enumerate(zip(recipe.inputs, given, strict=True))}
    if recipe.form == "keywords":
        return (), named
    if recipe.form == "dict":
        return (named,), {}
    if recipe.form == "nested":
        return ([given[0]], tuple(given[1:])), {}
    return tuple(given), {}
