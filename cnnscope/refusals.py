"""What kernels of real devices refuse, and those of meta, which do not look, take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .layouts import Meta

_HALVES = ("float16", "bfloat16")
_OF_ONE_TYPE = frozenset(("convolution", "mm", "addmm", "bmm", "baddbmm", "addbmm", "mv", "addmv", "dot", "vdot"))
_AS_THE_FIRST = frozenset(("grid_sampler_2d", "grid_sampler_3d", "_cdist_forward", "binary_cross_entropy"))
_PUTTING = frozenset(("index_add", "index_copy", "index_put", "_index_put_impl"))  # the last input into the first one
_NORMS = frozenset(("native_batch_norm", "native_layer_norm", "native_group_norm"))
_REPEATING = frozenset(("fill_", "masked_fill_"))  # the same number into the same element: taken, or warned of


def refusal(kind: str, metas: list[Meta], attrs: Mapping[str, Any], writes_elements: bool) -> str:
    """Why no real kernel takes these inputs; '' where nothing speaks against it.

    attrs: the other arguments by name; writes_elements: into its first input, element by element.
    """
    if kind in _OF_ONE_TYPE:
        dtypes = sorted({str(meta.dtype) for meta in metas})
        if len(dtypes) > 1:
            return f"expected the inputs of {kind} to have the same dtype, not {' and '.join(dtypes)}"
    if why := _of_types(kind.rstrip("_"), metas):
        return why
    if kind == "index_select" and len(metas[1].shape) > 1:
        return "index_select(): Index is supposed to be a vector"
    if kind == "multinomial" and not attrs.get("replacement") and attrs.get("num_samples", 1) > metas[0].shape[-1]:
        return "cannot sample n_sample > prob_dist.size(-1) samples without replacement"
    if kind == "convolution" and not attrs.get("transposed") and len(metas[0].shape) == len(metas[1].shape) > 1:
        given, weight, groups = metas[0].shape, metas[1].shape, attrs.get("groups", 1)
        if given[1] != weight[1] * groups:
            return (
                f"Given groups={groups}, weight of size {list(weight)}, expected input{list(given)} to have "
                f"{weight[1] * groups} channels, but got {given[1]} channels instead"
            )
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


def _of_types(kind: str, metas: list[Meta]) -> str:
    """Types that do not go together: mixed precision in which a cast is missing."""
    first, *others = [str(meta.dtype).removeprefix("torch.") for meta in metas] or [""]
    if kind in _PUTTING and others[-1] != first:
        return f"{kind}: self ({first}) and source ({others[-1]}) must have the same dtype"
    if kind in _AS_THE_FIRST and {first, *others} != {first}:
        return f"{kind}: expected dtype {first} but found {next(other for other in others if other != first)}"
    if kind in _NORMS and not {first, *others} <= {first, "float32" if first in _HALVES else first}:
        return f"{kind}: expected parameters of dtype {first}, mixed dtypes are not supported"
    if kind in ("nll_loss_forward", "nll_loss2d_forward") and others[0] not in ("int64", "uint8"):
        return f"{kind}: expected target dtype to be int64 or uint8, but got {others[0]}"
    if kind in ("complex", "polar") and (first not in ("float16", "float32", "float64") or others != [first]):
        return f"Expected both inputs to be Half, Float or Double tensors but got {first} and {' and '.join(others)}"
    return ""


def _is_expanded(meta: Meta) -> bool:
    seen = zip(meta.shape, meta.stride, strict=True)
    return 0 not in meta.shape and any(size > 1 and stride == 0 for size, stride in seen)
