"""What an element sees through operators that slide over their input: convolution, pooling, resampling, padding.

``field_rules.RULES`` says which rule is whose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from ..graph import Op
from .dimensions import per_dim
from .motions import Reads
from .windows import Undecided, Windows, everywhere, read, resized, union, widened

_CONVOLUTION = (("stride", 1), ("padding", 0), ("dilation", 1))


def convolved(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """Kernel element k reads o * stride - padding + k * dilation; transposed, it is read from there."""
    kernel, out = op.inputs[1].shape[2:], op.outputs[0].shape
    attrs = [per_dim(op.attrs.get(name, usual), len(kernel)) for name, usual in _CONVOLUTION]
    rule = _scattering if op.attrs.get("transposed") else _sliding
    if op.attrs.get("groups", 1) > 1 and any(not w.motions[1].still for w in seen[0]):
        raise Undecided
    mixed = tuple(resized(widened(w, (1,)), {1: out[1]}) for w in seen[0])
    reads = {2 + d: rule(out[2 + d], kernel[d], *(attr[d] for attr in attrs)) for d in range(len(kernel))}
    return [union([*read(mixed, reads), *everywhere(seen[1:], out)])]


def _sliding(size: int, kernel: int, stride: int, padding: int, dilation: int) -> Reads:
    return Reads(size, stride, (range(-padding, (kernel - 1) * dilation - padding + 1, dilation),))


def _scattering(size: int, kernel: int, stride: int, padding: int, dilation: int) -> Reads:
    at = [[o + padding - k * dilation for k in range(kernel)] for o in range(stride)]
    return Reads(size, 1, tuple(tuple(sorted(p // stride for p in places if p % stride == 0)) for places in at))


def pooled(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """Ceil mode needs nothing here: it only lets the last window hang over the edge."""
    rank, out = int(op.kind.partition("pool")[2][0]), op.outputs[0].shape
    kernel = per_dim(op.attrs["kernel_size"], rank)
    attrs = [per_dim(op.attrs.get(name) or usual, rank) for name, usual in (("stride", kernel), *_CONVOLUTION[1:])]
    first = len(out) - rank
    reads = {first + d: _sliding(out[first + d], kernel[d], *(attr[d] for attr in attrs)) for d in range(rank)}
    return [read(seen[0], reads)]


def pooled_adaptively(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """Bin o of m covers floor(o n / m) to ceil((o + 1) n / m), exclusive."""
    reads = {}
    for dim in range(len(op.outputs[0].shape) - len(op.attrs["output_size"]), len(op.outputs[0].shape)):
        n, m = op.inputs[0].shape[dim], op.outputs[0].shape[dim]
        common = math.gcd(n, m)
        bins = tuple(range(o * n // m, -(-(o + 1) * n // m)) for o in range(m // common))
        reads[dim] = Reads(m, n // common, bins)
    return [read(seen[0], reads)]


def resampled(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """Upsampling and its reverse, without antialiasing."""
    shape, out = op.inputs[0].shape, op.outputs[0].shape
    names = [name for name in ("scales", "scales_d", "scales_h", "scales_w") if name in op.attrs]
    reads = {}
    for d in range(2, len(out)):
        n, m, given = shape[d], out[d], op.attrs.get(names[d - len(out)]) if names else None
        if op.attrs.get("align_corners"):
            scale, offset = Fraction(n - 1, max(m - 1, 1)), Fraction(0)
        else:
            scale = 1 / Fraction(given).limit_denominator(10**6) if given else Fraction(n, m)
            offset = Fraction(0) if op.kind.startswith("upsample_nearest") else (scale - 1) / 2
        period = min(scale.denominator, m)
        taps = tuple(_taps(op.kind, scale * o + offset) for o in range(period))
        reads[d] = Reads(m, scale.numerator if period == scale.denominator else None, taps)
    return [read(seen[0], reads)]


def _taps(kind: str, place: Fraction) -> tuple[int, ...]:
    """The indices read for a place between them; exactly on one, the others have weight 0."""
    if "nearest_exact" in kind:
        place += Fraction(1, 2)
    below = math.floor(place)
    if "nearest" in kind or place == below:
        return (below,)
    return (below - 1, below, below + 1, below + 2) if "bicubic" in kind else (below, below + 1)


def padded(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """Whatever fills the border, it is counted as a place outside, like the padding of a convolution."""
    pad = op.attrs.get("pad") or op.attrs["padding"]
    out = op.outputs[0].shape
    dims = [len(out) - 1 - i for i in range(len(pad) // 2)]
    return [read(seen[0], {dim: Reads(out[dim], 1, ((-pad[2 * i],),)) for i, dim in enumerate(dims)})]
