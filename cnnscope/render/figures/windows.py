"""The window that a convolution or pooling slides over maps."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...graph import Op
from ..diagram.kinds import family


class Window(NamedTuple):
    """Its height and width, and its steps. wide: nothing else acts on the data, so that one such layer says it all."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    wide: bool = True


def window_of(op: Op) -> Window | None:
    """The window of an operator that slides one over maps."""
    weight = op.input("weight")
    if family(op.kind) == "convolution":
        kernel = weight.shape[2:] if weight else ()
        stride = op.attrs.get("stride") or 1
    else:
        kernel = op.attrs.get("kernel_size") or ()
        stride = op.attrs.get("stride") or kernel
    pair = _pair(kernel)
    return Window(pair, _pair(stride) or pair) if pair else None


def _pair(value: Any) -> tuple[int, int] | None:
    given = (value,) if isinstance(value, int) else tuple(value)
    if len(given) == 1:
        given *= 2
    return (given[0], given[1]) if len(given) == 2 else None
