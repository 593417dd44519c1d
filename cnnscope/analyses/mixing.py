"""What an element sees through operators that take whole dimensions together: reductions, norms, products, attention.

``field_rules.RULES`` says which rule is whose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..graph import Op
from .dimensions import dims_given
from .motions import still
from .windows import Undecided, Window, Windows, broadcast, each, everywhere, resized, union, widened


def reduced(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """mean, sum, max ...: what the indices see together."""
    dims = dims_given(op, op.attrs.get("dim"))
    keep = op.attrs.get("keepdim", False)

    def step(window: Window) -> Iterator[Window]:
        motions = enumerate(widened(window, dims).motions)
        left = [still(1) if d in dims else motion for d, motion in motions if keep or d not in dims]
        yield widened(window, dims)._replace(motions=tuple(left))

    return [each(seen[0], step)]


def mixed(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """softmax, sort, fft ...: along some dimensions every output sees every input."""
    out, dims = op.outputs[0].shape, dims_given(op, op.attrs.get("dim", -1))
    return [each(seen[0], lambda w: [resized(widened(w, dims), {d: out[d] for d in dims})])]


def normalised(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """By the mean and variance over some dimensions; a batch norm in inference has those from its buffers."""
    rank = len(op.inputs[0].shape)
    if "normalized_shape" in op.attrs:
        dims = list(range(rank - len(op.attrs["normalized_shape"]), rank))
    elif "group" in op.attrs:
        dims = list(range(2, rank))
        if any(not w.motions[1].still for w in seen[0]):
            raise Undecided
    else:
        dims = [d for d in range(rank) if d != 1] if op.attrs.get("training") else []
    own = [widened(window, dims) for window in seen[0]]
    return [union([*own, *everywhere(seen[1:], op.outputs[0].shape)])]


def multiplied(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """Matrix products: row i of the one and column j of the other make element (i, j)."""
    out = op.outputs[0].shape
    *added, left, right = seen
    parts = [broadcast(window, out) for windows in added for window in windows]
    for window in left:
        wide = widened(window, (len(out) - 1,))
        parts.append(resized(wide, {len(out) - 1: out[-1]}))
    for window in right:
        wide = widened(window, (len(out) - 2,))
        parts.append(resized(wide, {len(out) - 2: out[-2]}))
    return [union(parts)]


def attended(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """Fused attention: a query sees all keys and all values."""
    out = op.outputs[0].shape
    sides = {"query": (-1,), "key": (-2, -1), "value": (-2,)}
    parts: list[Window] = []
    for role, windows in zip(op.roles, seen, strict=True):
        dims = [d % len(out) for d in sides.get(role, range(len(out)))]
        parts += [broadcast(resized(widened(w, dims), {d: out[d] for d in dims}), out) for w in windows]
    return [union(parts)]
