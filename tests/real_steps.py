"""The training loop of ``trace(train=True)``, run for real, with the bytes alive after every operator."""

from __future__ import annotations

import contextlib
import functools
import weakref
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from cnnscope.training import OPTIMIZERS


def weighted(model: nn.Module) -> nn.Module:
    """The model in training mode, with small random weights on the CPU."""
    made = model.to_empty(device="cpu").train()
    with torch.no_grad():
        for param in made.parameters():
            param.normal_(std=0.02)
        for buffer in made.buffers():
            buffer.fill_(1)
    return made


def summed(output: Any) -> torch.Tensor:
    """The loss where none is given: the sum of the outputs."""
    tensors = [t for t in pytree.tree_leaves(output) if isinstance(t, torch.Tensor) and t.requires_grad]
    return functools.reduce(torch.add, [tensor.sum() for tensor in tensors])


class LiveBytes(TorchDispatchMode):
    """Bytes alive after every operator of a real run, by the real tensors' storages.

    Beside them the operators' kinds, and shape, type and strides of each result.
    """

    def __init__(self, given: list[torch.Tensor]) -> None:
        super().__init__()
        self.live = 0
        self.events: list[int] = []
        self.kinds: list[str] = []
        self.made: list[list[tuple[tuple[int, ...], str, tuple[int, ...]]]] = []
        self._seen = {tensor.untyped_storage()._cdata for tensor in given}
        self._watches: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.namespace != "profiler":  # a mark for a profiler, not an operator
            tensors = [each for each in pytree.tree_leaves(result) if isinstance(each, torch.Tensor)]
            for tensor in tensors:
                self.watch(tensor.untyped_storage())
            self.made.append([(tuple(each.shape), str(each.dtype)[6:], each.stride()) for each in tensors])
            self.events.append(self.live)
            self.kinds.append(func._schema.name.partition("::")[2])
            self.note(tensors)
        return result

    def note(self, results: list[torch.Tensor]) -> None:
        """What else is wanted of an operator that has just run."""

    def watch(self, storage: torch.UntypedStorage) -> None:
        """Count it from now until it is freed."""
        address, size = storage._cdata, storage.nbytes()
        if address in self._seen:
            return
        self._seen.add(address)
        self.live += size

        def gone(_: Any) -> None:
            self.live -= size
            self._seen.discard(address)

        self._watches.append(weakref.ref(storage, gone))


def real_step(
    model: nn.Module,
    x: Any,
    optimizer: str | None,
    *,
    foreach: bool = False,
    step: str = "steady",
    zero_grad: str = "before-forward",
    accumulate: int = 1,
    set_to_none: bool = True,
) -> LiveBytes:
    """What a step of this loop does: operators, and the bytes alive after each beside weights and input.

    x: the input, or all arguments as a tuple of positional ones and a dict of keywords.
    """
    args, kwargs = x if isinstance(x, tuple) else ((x,), {})
    params = list(model.parameters())
    made = OPTIMIZERS[optimizer](params) if optimizer else None
    for group in made.param_groups if made and foreach else ():
        group["foreach"] = True
    reset = functools.partial((made or model).zero_grad, set_to_none=set_to_none)

    def take(tracker: Any) -> None:
        with tracker:
            if zero_grad == "before-forward":
                reset()
            for turn in range(accumulate):
                out = model(*args, **kwargs)
                loss = summed(out)
                if turn == 0 and zero_grad == "before-backward":
                    reset()
                loss.backward()
            if made:
                made.step()
            if zero_grad == "after-step":
                reset()

    if step == "steady":
        take(contextlib.nullcontext())
    given = [each for each in pytree.tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
    tracker = LiveBytes([*given, *params, *model.buffers()])
    for leaf in [*params, *given]:
        if leaf.grad is not None:
            tracker.watch(leaf.grad.untyped_storage())
    for state in list(made.state.values()) if made else ():
        for value in state.values():
            if isinstance(value, torch.Tensor):
                tracker.watch(value.untyped_storage())
    take(tracker)
    return tracker
