"""How tensors lie in memory: shape, strides and type, and the strides that PyTorch gives to new ones."""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch

Shape = tuple[int, ...]


class Meta(NamedTuple):
    """What a tensor is, without its data."""

    shape: Shape
    stride: Shape
    dtype: torch.dtype


class Holding(NamedTuple):
    """A tensor that keeps more memory than it needs."""

    meta: Meta
    bytes: int


def bytes_of(meta: Meta) -> int:
    """The memory that a new tensor takes."""
    if 0 in meta.shape:
        return 0
    last = sum((size - 1) * stride for size, stride in zip(meta.shape, meta.stride, strict=True))
    return (last + 1) * meta.dtype.itemsize


_remembered = functools.lru_cache(maxsize=10_000)  # shapes come again and again, and the answers are small


@_remembered
def contiguous(shape: Shape) -> Shape:
    """Strides of a row-major tensor, as torch gives them (a size of 0 counts as 1)."""
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


@_remembered
def channels_last(shape: Shape) -> Shape:
    """Strides of a tensor whose channels (dimension 1) lie innermost."""
    inner = contiguous((shape[0], *shape[2:], shape[1]))
    return (inner[0], inner[-1], *inner[1:-1])


@_remembered
def is_dense(meta: Meta) -> bool:
    """Whether the elements fill their memory without gaps or overlap, in any order of dimensions."""
    step = 1
    for stride, size in sorted(
        (stride, size) for stride, size in zip(meta.stride, meta.shape, strict=True) if size != 1
    ):
        if stride != step:
            return False
        step *= size
    return True


@_remembered
def suggests_channels_last(meta: Meta) -> bool:
    """Whether strides are like those of channels innermost: ``is_channels_last_strides`` in c10's MemoryFormat.h."""
    shape, stride = meta.shape, meta.stride
    if len(shape) not in (4, 5) or stride[1] == 0:
        return False
    least = 0
    for dim in (1, *range(len(shape) - 1, 1, -1), 0):
        if shape[dim] == 0 or stride[dim] < least or (dim == 0 and least == stride[1]):
            return False
        least = stride[dim] * max(shape[dim], 1)
    return True


def like(meta: Meta, shape: Shape) -> Meta:
    """A new tensor of another shape in the memory format that torch would suggest from ``meta``."""
    strides = channels_last(shape) if len(shape) in (4, 5) and suggests_channels_last(meta) else contiguous(shape)
    return Meta(shape, strides, meta.dtype)


def in_format(meta: Meta, strides: Shape) -> bool:
    """Whether a tensor lies in memory as with these strides: a dimension of size 1 may have any."""
    return meta.stride == strides or all(
        size == 1 or a == b for size, a, b in zip(meta.shape, strides, meta.stride, strict=True)
    )


def iterated(inputs: list[Meta]) -> tuple[Shape, Shape] | None:
    """Shape and strides of what an elementwise kernel returns, as ATen's TensorIterator chooses them.

    None where the inputs do not broadcast.
    """
    if len({each.shape for each in inputs}) == 1:
        strides = _strides_at_once(inputs)
        if strides is not None:
            return inputs[0].shape, strides
    shape = _broadcast([each.shape for each in inputs])
    return None if shape is None else (shape, _strides_by_order(shape, inputs))


def _strides_at_once(inputs: list[Meta]) -> Shape | None:
    """All in one format, or all dense with the same strides: ``compute_fast_setup_type``."""
    shape = inputs[0].shape
    for strides_of in (contiguous, channels_last) if len(shape) == 4 else (contiguous,):
        strides = strides_of(shape)
        if all(in_format(each, strides) for each in inputs):
            return strides
    same = len({each.stride for each in inputs}) == 1
    return inputs[0].stride if same and is_dense(inputs[0]) else None


def _broadcast(shapes: list[Shape]) -> Shape | None:
    rank = max(map(len, shapes))
    result = [1] * rank
    for shape in shapes:
        for dim, size in enumerate(shape, rank - len(shape)):
            if size != 1 and result[dim] not in (1, size):
                return None
            result[dim] = size if result[dim] == 1 else result[dim]
    return tuple(result)


def _strides_by_order(shape: Shape, inputs: list[Meta]) -> Shape:
    """Dimensions in the order of the inputs' strides, innermost first: ``reorder_dimensions``."""
    rank = len(shape)
    strides = []
    for each in inputs:
        own = [0 if size == 1 != want else stride for size, want, stride in zip(
            reversed(each.shape), reversed(shape), reversed(each.stride), strict=False)]  # fmt: skip
        strides.append([0] * (rank - len(own)) + own[::-1])
    order = list(reversed(range(rank)))
    for i in range(1, rank):
        at = i
        for before in range(i - 1, -1, -1):
            swap = _compared(order[before], order[at], shape, strides)
            if swap > 0:
                order[before], order[at] = order[at], order[before]
                at = before
            elif swap < 0:
                break
    result = [0] * rank
    step = 1
    for dim in order:
        result[dim] = step
        step *= max(shape[dim], 1)
    return contiguous(shape) if order == list(reversed(range(rank))) else tuple(result)


def _compared(dim: int, other: int, shape: Shape, strides: list[list[int]]) -> int:
    """Whether one dimension lies inside (-1) or outside (1) of another; 0: no input tells."""
    for own in strides:
        a, b = own[dim], own[other]
        if a == 0 or b == 0:
            continue
        if a != b:
            return -1 if a < b else 1
        if shape[dim] > shape[other]:
            return 1
    return 0
