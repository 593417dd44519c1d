"""What an element sees through operators that move elements about: other shapes, orders, parts, and joins of them.

``field_rules.RULES`` says which rule is whose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..graph import Op
from .dimensions import dims_given, per_dim
from .motions import Reads, still
from .windows import Undecided, Window, Windows, broadcast, each, everywhere, read, regroup, resized, union


def regrouped(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """view: the same elements in the same order."""
    if op.outputs[0].numel != op.inputs[0].numel:  # a view of another dtype
        raise Undecided
    return [each(seen[0], lambda w: regroup(w, op.outputs[0].shape))]


def permuted(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    rank = len(op.inputs[0].shape)
    order = list(range(rank))
    if "dims" in op.attrs:
        order = dims_given(op, op.attrs["dims"])
    elif rank > 1:
        a, b = (op.attrs.get(name, d) % rank for name, d in (("dim0", 0), ("dim1", 1)))
        order[a], order[b] = b, a
    return [tuple(w._replace(motions=tuple(w.motions[d] for d in order)) for w in seen[0])]


def shuffled(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """pixel_shuffle: channel (c, i, j) at (y, x) goes to channel c at (y r + i, x r + j); pixel_unshuffle: back."""
    *lead, c, h, w = min(op.inputs[0].shape, op.outputs[0].shape, key=lambda shape: -shape[-3])
    r = op.attrs.get("upscale_factor") or op.attrs["downscale_factor"]
    n = len(lead)
    apart: list[int] = [*lead, c // r**2, r, r, h, w]
    order = [*range(n), n, n + 3, n + 1, n + 4, n + 2]
    if op.kind == "pixel_unshuffle":
        apart, order = [apart[d] for d in order], [*range(n), n, n + 2, n + 4, n + 1, n + 3]

    def step(window: Window) -> Iterator[Window]:
        for part in regroup(window, apart):
            yield from regroup(part._replace(motions=tuple(part.motions[d] for d in order)), op.outputs[0].shape)

    return [each(seen[0], step)]


def sliced(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    (dim,) = dims_given(op, op.attrs["dim"])
    n, start = op.inputs[0].shape[dim], op.attrs["start"] or 0
    start = min(max(start + n if start < 0 else start, 0), n)
    return [read(seen[0], {dim: Reads(op.outputs[0].shape[dim], op.attrs["step"], ((start,),))})]


def split(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    (dim,) = dims_given(op, op.attrs["dim"])
    sizes = [value.shape[dim] for value in op.outputs]
    return [read(seen[0], {dim: Reads(size, 1, ((sum(sizes[:i]),),))}) for i, size in enumerate(sizes)]


def selected(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """select and unbind: single indices, without their dimension."""
    (dim,) = dims_given(op, op.attrs["dim"])
    n = op.inputs[0].shape[dim]
    indices = [op.attrs["index"] % n] if "index" in op.attrs else range(n)
    rows = [read(seen[0], {dim: Reads(1, None, ((index,),))}) for index in indices]
    return [tuple(w._replace(motions=w.motions[:dim] + w.motions[dim + 1 :]) for w in row) for row in rows]


def turned(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """flip, roll, repeat, cumsum: along some dimensions each output reads other inputs, the same for all."""
    shape, out = op.inputs[0].shape, op.outputs[0].shape
    lead = len(out) - len(shape)
    windows = tuple(broadcast(w, (1,) * lead + shape) for w in seen[0])
    if op.kind.startswith("roll"):
        if not op.attrs["dims"]:
            return rearranged(op, seen)
        shifts = dict(zip(dims_given(op, op.attrs["dims"]), per_dim(op.attrs["shifts"], len(shape)), strict=False))
        sources: dict[int, list[tuple[int, ...]]]
        sources = {d: [((i - shift) % shape[d],) for i in range(out[d])] for d, shift in shifts.items()}
    elif op.kind.startswith("flip"):
        sources = {d: [(shape[d] - 1 - i,) for i in range(out[d])] for d in dims_given(op, op.attrs["dims"])}
    elif op.kind.startswith("cumsum"):
        sources = {d: [(0, i) for i in range(out[d])] for d in dims_given(op, op.attrs["dim"])}
    else:
        sources = {d: [(i % ([1] * lead + [*shape])[d],) for i in range(out[d])] for d in range(len(out))}
    return [read(windows, {d: Reads(out[d], None, tuple(places)) for d, places in sources.items()})]


def joined(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """cat and stack. Along a dimension in which nothing moves (channels) the parts are taken together."""
    out = op.outputs[0].shape
    dim = op.attrs["dim"] % len(out)
    if op.kind == "stack":
        seen = [tuple(w._replace(motions=(*w.motions[:dim], still(1), *w.motions[dim:])) for w in ws) for ws in seen]
    moving = any(not w.motions[dim].still for windows in seen for w in windows if len(w.motions) == len(out))
    parts: list[Window] = []
    before = 0
    for value, windows in zip(op.inputs, seen, strict=True):
        size = 1 if op.kind == "stack" else value.shape[dim] if len(value.shape) == len(out) else 0
        if moving:
            own = tuple((i - before,) if before <= i < before + size else () for i in range(out[dim]))
            parts += read(windows, {dim: Reads(out[dim], None, own)})
        else:
            parts += [resized(window, {dim: out[dim]}) for window in windows if size]
        before += size
    return [union(parts)]


def rearranged(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """Elements in an order that the values of a tensor decide: known only where all see the same."""
    if any(not window.still for windows in seen for window in windows):
        raise Undecided
    return [union(everywhere(seen, value.shape)) for value in op.outputs]


def index_selected(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """Some indices of a dimension in which nothing moves (channels)."""
    (dim,) = dims_given(op, op.attrs["dim"])
    out = op.outputs[0].shape
    if any(not window.motions[dim].still for window in seen[0]):
        raise Undecided
    return [union([*(resized(w, {dim: out[dim]}) for w in seen[0]), *everywhere(seen[1:], out)])]
