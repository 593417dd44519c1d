"""Real runs on the CPU of what ``trace(..., dtype, autocast, channels_last)`` predicts, operator by operator."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from real_steps import LiveBytes, summed
from torch import nn

FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


class Event(NamedTuple):
    """An operator that has run: its kind, shape and type of each result, and the bytes alive after it."""

    kind: str
    results: tuple[tuple[tuple[int, ...], str], ...]
    live: int


class Events(LiveBytes):
    """The same with what every operator returned: ``results`` and, beside them, their ``strides``."""

    def __init__(self, given: list[torch.Tensor]) -> None:
        super().__init__(given)
        self.results: list[tuple[tuple[tuple[int, ...], str], ...]] = []
        self.strides: list[list[tuple[int, ...]]] = []

    def note(self, results: list[torch.Tensor]) -> None:
        self.results.append(tuple((tuple(each.shape), str(each.dtype).removeprefix("torch.")) for each in results))
        self.strides.append([each.stride() for each in results])

    @property
    def told(self) -> list[Event]:
        return list(map(Event, self.kinds, self.results, self.events))


def real_run(
    model: nn.Module,
    *inputs: torch.Tensor,
    train: bool = False,
    dtype: str = "",
    autocast: str = "",
    channels_last: bool = False,
    loss: Callable[[Any], torch.Tensor] | None = None,
) -> Events:
    """Forward, and with ``train`` loss and backward, of a copy of the model, as a program for the CPU has them."""
    model = copy.deepcopy(model).train(train)
    tensors = [each.detach().clone() for each in inputs]
    for tensor in [*model.parameters(), *model.buffers(), *tensors]:
        wanted = getattr(torch, dtype) if dtype and tensor.is_floating_point() else tensor.dtype
        layout = FORMATS[tensor.dim()] if channels_last and tensor.dim() in FORMATS else torch.preserve_format
        tensor.data = tensor.data.to(dtype=wanted, memory_format=layout)
    run = Events([*tensors, *model.parameters(), *model.buffers()])
    mixed = torch.autocast("cpu", dtype=getattr(torch, autocast)) if autocast else contextlib.nullcontext()

    def take() -> None:
        with run:
            with mixed:
                out = model(*tensors)
                if train:
                    value = loss(out) if loss else summed(out)
            if train:
                value.backward()

    with torch.set_grad_enabled(train):
        take()
    return run


def predicted(graph: Any) -> list[Event]:
    """The same from a graph."""
    born = [each for each in graph.storages if each.kind not in ("param", "buffer", "input", "constant")]
    live = [sum(s.bytes for s in born if s.born <= i and (s.dies is None or s.dies > i)) for i in range(len(graph))]
    return [
        Event(op.kind, tuple((value.shape, value.dtype) for value in op.outputs), now)
        for op, now in zip(graph, live, strict=True)
    ]
