"""What kernels of real devices refuse, and those of meta, which do not look, take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .layouts import Meta

_OF_ONE_TYPE = frozenset(("convolution", "mm", "addmm", "bmm", "baddbmm", "addbmm", "mv", "addmv", "dot", "vdot"))
_REPEATING = frozenset(("fill_", "masked_fill_"))  # the same number into the same element: taken, or warned of


def refusal(kind: str, metas: list[Meta], attrs: Mapping[str, Any], writes_elements: bool) -> str:
    """Why no real kernel takes these inputs; '' where nothing speaks against it.

    attrs: the other arguments by name; writes_elements: into its first input, element by element.
    """
    if kind in _OF_ONE_TYPE:
        dtypes = sorted({str(meta.dtype) for meta in metas})
        if len(dtypes) > 1:
            return f"expected the inputs of {kind} to have the same dtype, not {' and '.join(dtypes)}"
    if kind == "convolution" and attrs.get("transposed") and len(metas[0].shape) > 1:
        given, weight = metas[0].shape, metas[1].shape
        if given[1] != weight[0]:
            return (
                f"Given transposed=1, weight of size {list(weight)}, expected input{list(given)} to have {weight[0]} "
                f"channels, but got {given[1]} channels instead"
            )
    if writes_elements and kind not in _REPEATING and _is_expanded(metas[0]):
        return (
            "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
            "Please clone() the tensor before performing the operation."
        )
    return ""


def _is_expanded(meta: Meta) -> bool:
    seen = zip(meta.shape, meta.stride, strict=True)
    return 0 not in meta.shape and any(size > 1 and stride == 0 for size, stride in seen)
