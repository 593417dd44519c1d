"""Which dimensions an operator's attributes mean."""

from __future__ import annotations

from typing import Any

from ..graph import Op


def dims_given(op: Op, given: Any) -> list[int]:
    """Dimensions of the first input as given by an attribute; all for None and ()."""
    rank = len(op.inputs[0].shape)
    if given is None or given == () or rank == 0:
        return list(range(rank))
    return [dim % rank for dim in (given if isinstance(given, tuple) else (given,))]


def per_dim(given: Any, rank: int) -> tuple[int, ...]:
    """One number for each dimension, of an attribute that may give one for all."""
    given = given if isinstance(given, tuple) else (given,)
    return given * rank if len(given) == 1 else given
