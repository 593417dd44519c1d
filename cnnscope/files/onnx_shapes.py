"""ONNX operators that reshape, cut, join, pad and gather, as torch runs them."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .onnx_values import Node, full, known, tensor


def axes_of(node: Node, given: Any) -> list[int] | None:
    """Axes, which older versions have as an attribute."""
    found = known(given, "the axes") if given is not None else node.get("axes")
    return found if found is None or isinstance(found, list) else [found] if isinstance(found, int) else list(found)


def reshape(node: Node, x: Any, shape: Any = None) -> Tensor:
    sizes = known(shape, "the shape") if shape is not None else list(node.get("shape"))
    if not node.get("allowzero", 0):
        sizes = [full(x).shape[place] if size == 0 else size for place, size in enumerate(sizes)]
    return full(x).reshape(sizes)


def flatten(node: Node, x: Any) -> Tensor:
    axis = node.get("axis", 1)
    axis += full(x).dim() if axis < 0 else 0
    return x.flatten(1) if axis == 1 and x.dim() > 1 else x.reshape(math.prod(x.shape[:axis]), -1)


def squeeze(node: Node, x: Any, axes: Any = None) -> Tensor:
    found = axes_of(node, axes)
    return full(x).squeeze() if found is None else full(x).squeeze(tuple(found))


def unsqueeze(node: Node, x: Any, axes: Any = None) -> Tensor:
    x, found = full(x), axes_of(node, axes) or []
    rank = x.dim() + len(found)
    for axis in sorted(each % rank for each in found):
        x = x.unsqueeze(axis)
    return x


def split(node: Node, x: Any, split: Any = None) -> Any:
    axis = node.get("axis", 0)
    sizes = known(split, "where it is split") if split is not None else node.get("split")
    if sizes is None:
        count = node.get("num_outputs", node.results)
        sizes = -(-full(x).shape[axis] // count)
    return torch.split(full(x), sizes if isinstance(sizes, int) else list(sizes), axis)


def cut(node: Node, x: Any, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None) -> Tensor:
    x = full(x)
    if starts is None:
        starts, ends, axes = node.get("starts"), node.get("ends"), node.get("axes")
    begins, stops = known(starts, "where it is cut"), known(ends, "where it is cut")
    places = known(axes, "the axes") or list(range(len(begins)))
    for axis, start, stop, step in zip(
        places, begins, stops, known(steps, "the step") or [1] * len(begins), strict=True
    ):
        part = slice(start, stop, step)
        if step > 0:
            x = x[(slice(None),) * (axis % x.dim()) + (part,)]
        else:
            chosen = list(range(*part.indices(x.shape[axis])))
            x = x.flip(axis) if len(chosen) == x.shape[axis] else x.index_select(axis, torch.tensor(chosen))
    return x


def gather(node: Node, x: Any, indices: Any) -> Tensor:
    axis, chosen, x = node.get("axis", 0), tensor(indices), full(x)
    if not isinstance(indices, Tensor):  # known ones may count from the end
        chosen = chosen % x.shape[axis]
    if isinstance(chosen, int):
        return x.select(axis, chosen)
    if axis == 0 and x.dim() == 2:
        return F.embedding(chosen, x)
    axis %= x.dim()
    picked = x.index_select(axis, chosen.flatten())
    return picked if chosen.dim() == 1 else picked.reshape(*x.shape[:axis], *chosen.shape, *x.shape[axis + 1 :])


def scatter_nd(node: Node, x: Any, indices: Any, updates: Any) -> Tensor:
    return full(x).index_put(tuple(full(indices).unbind(-1)), full(updates))


def pad(node: Node, x: Any, pads: Any = None, fill: Any = None, axes: Any = None) -> Tensor:
    x = full(x)
    sizes = known(pads, "the padding") if pads is not None else list(node.get("pads") or node.get("paddings"))
    places = known(axes, "the axes") or list(range(len(sizes) // 2))
    both = {axis % x.dim(): (sizes[i], sizes[i + len(places)]) for i, axis in enumerate(places)}
    wanted = [both.get(axis, (0, 0)) for axis in range(x.dim())]
    while wanted and wanted[0] == (0, 0):
        del wanted[0]
    flat = [size for pair in reversed(wanted) for size in pair]
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}[
        node.get("mode", "constant")
    ]
    if not flat:
        return x
    value = known(fill, "the fill") if fill is not None else node.get("value", 0.0)
    return F.pad(x, flat, mode, value if mode == "constant" else None)


def resize(node: Node, x: Any, *given: Any) -> Tensor:
    """Resize(x, roi, scales, sizes), Upsample(x, scales), and Resize as it was before opset 11, like Upsample."""
    x = full(x)
    scales = given[1] if len(given) > 1 else given[0] if given else None
    factors = known(scales, "the scale") if scales is not None else node.get("scales")
    wanted = known(given[2], "the size") if len(given) > 2 else None
    axes = node.get("axes") or list(range(x.dim()))
    before = [x.shape[axis] for axis in axes]
    if wanted:
        policy = node.get("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            ratios = [size / old for size, old in zip(wanted, before, strict=True)]
            ratio = min(ratios) if policy == "not_larger" else max(ratios)
            wanted = [math.floor(ratio * old + 0.5) for old in before]
    else:
        wanted = [math.floor(old * factor) for old, factor in zip(before, factors, strict=True)]
    sizes = list(x.shape)
    for axis, size in zip(axes, wanted, strict=True):
        sizes[axis] = int(size)
    linear = ("linear", "bilinear", "trilinear")[x.dim() - 3]
    mode = {"nearest": "nearest", "cubic": "bicubic"}.get(node.get("mode", "nearest"), linear)
    return F.interpolate(x, sizes[2:], mode=mode)


def space(node: Node, x: Any) -> Tensor:
    x, size = full(x), node.get("blocksize")
    if node.kind == "SpaceToDepth":
        return F.pixel_unshuffle(x, size)
    if node.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, size)
    n, c, h, w = x.shape
    y = x.reshape(n, size, size, c // size**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return y.reshape(n, c // size**2, h * size, w * size)
