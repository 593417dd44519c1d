"""``summary``: the name that users of torchinfo and torchsummary know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import UnusableInput
from .table import Table, by_module

if TYPE_CHECKING:
    from torch import nn

    from .analyses.layering import Layer


def summary(
    model: nn.Module,
    input_size: Any = None,
    input_data: Any = None,
    *,
    depth: int | None = None,
    **kwargs: Any,
) -> Table[Layer]:
    """The layers of a model with shapes, parameters, MACs, FLOPs and activation memory.

    It prints nothing: ``print(summary(model, (1, 3, 224, 224)))`` does, and a notebook shows it as a table. Nothing
    is computed and the model is left as it was found.

    Args:
        model: any ``nn.Module``.
        input_size: the shape of the input with its batch, or a list of shapes, one for each argument of forward.
        input_data: instead of it, the tensor or tensors themselves, or a dict of them.
        depth: fold the layers by module at this depth; by default each layer has a row.
        kwargs: keyword arguments of the forward.

    Raises:
        UnusableInput: both or neither of ``input_size`` and ``input_data`` are given.
        UntraceableModel: the model's own code raised.
    """
    from .analyses.layering import layers
    from .tracing import trace

    if (input_size is None) == (input_data is None):
        given = "neither" if input_size is None else "both"
        raise UnusableInput(f"{given} input_size and input_data given; summary(model, (1, 3, 224, 224)) is enough")
    table = layers(trace(model, input_data if input_size is None else input_size, kwargs=kwargs))
    return table if depth is None else by_module(table, depth)
