"""What a forward may touch outside its module: put in order for a run, and put back after it."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from .autocasting import autocast_followed
from .flavours import FLAVOURS


@contextlib.contextmanager
def surroundings_kept(
    classes: Iterable[type[nn.Module]], gradients: bool = False, device: str = "cpu"
) -> Iterator[None]:
    """Run a forward as the plain eager program, and leave everything around it as it was, also when it raises.

    Gradients are on or off as asked, autocast is off until the program says otherwise; composite functions call what
    they call on ``device``; inference mode is off, so that they are taken apart; no transformer layer is one single
    kernel, whose memory nobody could know; compiled functions run eagerly; every module may call one more frame than it
    did.
    """
    with (
        random_state_kept(),
        _class_containers_kept(classes),
        _deeper_recursion(),
        _layers_taken_apart(),
        _eager(),
        autocast_followed(device),
        FLAVOURS[device].on(),
        torch.inference_mode(False),
        torch.set_grad_enabled(gradients),
    ):
        yield


@contextlib.contextmanager
def random_state_kept() -> Iterator[None]:
    """Put back the random states, which a forward may draw from."""
    torch_state, python_state = torch.get_rng_state(), random.getstate()
    numpy_random: Any = sys.modules.get("numpy.random")  # torch imports numpy without it
    numpy_state = numpy_random.get_state() if numpy_random else None
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        random.setstate(python_state)
        if numpy_random:
            numpy_random.set_state(numpy_state)


@contextlib.contextmanager
def _class_containers_kept(classes: Iterable[type[nn.Module]]) -> Iterator[None]:
    """Put back dicts, lists and sets that hang on the classes of modules: a cache filled with meta tensors would break
    the next real run."""
    kept: list[tuple[Any, Any]] = []
    seen: set[type] = set()
    for cls in classes:
        for base in cls.__mro__:
            if base not in seen and not base.__module__.startswith(("torch.", "builtins")):
                seen.add(base)
                kept.extend((value, value.copy()) for value in vars(base).values() if type(value) in (dict, list, set))
    try:
        yield
    finally:
        for value, before in kept:
            value.clear()
            value.extend(before) if isinstance(value, list) else value.update(before)


@contextlib.contextmanager
def _deeper_recursion() -> Iterator[None]:
    """Each module call has one frame more than without the trace."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(2 * limit)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


@contextlib.contextmanager
def _layers_taken_apart() -> Iterator[None]:
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _eager() -> contextlib.AbstractContextManager[Any]:
    """torch.compile's stance. Where nobody has imported the compiler, nothing is compiled."""
    if "torch._dynamo" not in sys.modules:
        return contextlib.nullcontext()
    return torch.compiler.set_stance("force_eager")
