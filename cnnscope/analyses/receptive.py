"""``receptive_field``: how much of the input each operator's elements see.

The field of an element is the smallest box of input positions on which it depends, taken over all channels. The
arithmetic is that of Araujo, Norris, Sim, "Computing Receptive Fields of Convolutional Neural Networks" (Distill 2019),
made exact for phases, branches and dimensions that views split, merge and move: see ``windows``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any

from ..graph import ModelGraph, Op, Shape, Value
from ..table import Table, column, table
from .windows import (
    Motion,
    Reads,
    Undecided,
    Window,
    Windows,
    each,
    read,
    regroup,
    size_and_start,
    still,
    union,
    widened,
)

Rule = Callable[[Op, Sequence[Windows]], Sequence[Windows]]  # from what each input sees, of one axis, to each output
Seen = tuple[Windows, ...] | None  # by axis; None: unknown
Number = int | float


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """What an element of an operator's (first) result sees of the input, along each spatial dimension.

    size: the widest of its windows, padding included, not clipped to the input.
    jump: how far the window moves from one index to the next; 0 where it does not, None where steps are uneven.
    start: where the window of the first element begins; negative in the padding.
    whole: the window is at least as large as the input.
    An operator that does not depend on the input has size None and whole False; an unknown field has None in both.
    """

    name: str = column("operator")
    module: str = column("module", hidden=True)
    kind: str = column("kind", default="")
    size: Shape | None = column("field", "shape", fold="last", default=None)
    jump: tuple[Number | None, ...] | None = column("jump", "shape", fold="last", default=None)
    start: tuple[int | None, ...] | None = column("start", "shape", fold="last", default=None)
    whole: bool | None = column("whole input", "flag", fold="max", default=False)
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


def receptive_field(graph: ModelGraph, *, axes: Sequence[int] | None = None) -> Table[Field]:
    """Receptive field of every operator that computes, with respect to the first spatial input.

    Spatial are the last dimensions of the first input that has them, as many as the first convolution slides over;
    ``axes`` names them otherwise. An operator without a rule stands in ``table.missing``; its field is unknown, and so
    is that of all that follows from it. In-place writes through a view that adds to the field are unknown too.
    """
    source, axes = spatial_input(graph, axes)
    if source is None:
        rows = [Field(op.name, op.module, op.kind) for op in graph if not op.view]
        notes: tuple[str, ...] = ("no input has spatial dimensions; axes= names them",)
    else:
        known, missing = follow(graph, source, axes)
        lengths = [source.shape[axis] for axis in axes]
        rows = []
        for op in graph:
            if op.phase == "forward" and (not op.view or op.name in missing):
                field = known.get(op.outputs[0].name, ()) if op.outputs else ()
                rows.append(_row(op, field, lengths, (op.kind,) if op.name in missing else ()))
        notes = (f"fields in {source.name} ({'x'.join(map(str, source.shape))}), not clipped to it",)
    return table("receptive field", rows, Field, model=graph.name, input=graph.input_text, notes=notes)


def spatial_input(graph: ModelGraph, axes: Sequence[int] | None = None) -> tuple[Value | None, tuple[int, ...]]:
    """The input whose positions are meant, and its spatial dimensions."""
    convolutions = [op for op in graph if op.kind == "convolution"]
    rank = len(convolutions[0].inputs[1].shape) - 2 if convolutions else None
    for value in graph.inputs:
        dims = len(value.shape)
        if axes is not None:
            if all(-dims <= axis < dims for axis in axes):
                return value, tuple(axis % dims for axis in axes)
        # Without a convolution, (batch, time, features) and (batch, channels, length) look the same.
        elif value.dtype.startswith(("float", "bfloat", "complex")) and dims >= (rank + 1 if rank else 4):
            return value, tuple(range(dims - rank if rank else 2, dims))
    return None, ()


def _row(op: Op, field: Seen, lengths: Sequence[int], gaps: tuple[str, ...]) -> Field:
    if not field:
        return Field(op.name, op.module, op.kind, whole=None if field is None else False, missing=gaps)
    ends = [size_and_start(windows) if windows else (0, None) for windows in field]
    sizes = tuple(size for size, _ in ends)
    whole = all(size >= length for size, length in zip(sizes, lengths, strict=True))
    return Field(op.name, op.module, op.kind, sizes, _jumps(field), tuple(start for _, start in ends), whole, gaps)


def _jumps(field: tuple[Windows, ...]) -> tuple[Number | None, ...]:
    """The smallest step of each axis; None where a dimension steps along two axes at once, or unevenly."""
    moving = [[(d, m) for w in windows for d, m in enumerate(w.motions) if not m.still] for windows in field]
    jumps: list[Number | None] = []
    for axis, motions in enumerate(moving):
        others = {dim for other, pairs in enumerate(moving) if other != axis for dim, _ in pairs}
        if any(motion.advance is None or dim in others for dim, motion in motions):
            jumps.append(None)
            continue
        steps = [abs(Fraction(motion.advance or 0, len(motion.lows))) for _, motion in motions]
        jump = min([step for step in steps if step], default=Fraction(0))
        jumps.append(int(jump) if jump.denominator == 1 else float(jump))
    return tuple(jumps)


# -- through the graph ------------------------------------------------------------------------------------------------


def follow(graph: ModelGraph, source: Value, axes: Sequence[int]) -> tuple[dict[str, Seen], set[str]]:
    """What every value that depends on the source sees of each axis; and the operators that could not be decided."""
    evenly = [Motion(n, 1, (0,), (0,)) for n in source.shape]
    known: dict[str, Seen] = {
        source.name: tuple(
            (Window(0, 0, tuple(evenly[d] if d == axis else still(n) for d, n in enumerate(source.shape))),)
            for axis in axes
        )
    }
    places: dict[tuple[int, Shape], Seen] = {(source.storage, source.shape): known[source.name]}
    missing: set[str] = set()
    for op in graph:
        if op.phase != "forward" or not op.outputs:
            continue
        kind = op.kind[:-1] if op.in_place else op.kind
        inputs = op.inputs[1:] if kind == "copy" else op.inputs
        seen = [_seen(value, op, graph, known, places) for value in inputs]
        rule = pointwise if op.pointwise else RULES.get(kind)
        if rule is constant or not any(field is None or any(field) for field in seen):
            continue
        results: list[Seen] = [None] * len(op.outputs)
        if None not in seen:
            try:
                results = _through(op, rule, [field or ((),) * len(axes) for field in seen], len(axes))
            except Undecided:
                missing.add(op.name)
        elif all(known.get(value.name, ()) is not None for value in inputs):
            missing.add(op.name)  # what is unknown was written through another view
        for value, field in zip(op.outputs, results, strict=True):
            if field is None or any(field):
                known[value.name] = places[value.storage, value.shape] = field
    return known, missing


def _through(op: Op, rule: Rule | None, seen: list[tuple[Windows, ...]], axes: int) -> list[Seen]:
    if rule is None:
        raise Undecided
    by_axis = [rule(op, [field[axis] for field in seen]) for axis in range(axes)]
    results: list[Seen] = []
    for i, value in enumerate(op.outputs):
        if i < len(by_axis[0]):
            results.append(tuple(outputs[i] for outputs in by_axis))
        else:  # a further result of the same shape (indices of a pool) sees the same
            results.append(results[0] if value.shape == op.outputs[0].shape else None)
    return results


def _seen(
    value: Value, op: Op, graph: ModelGraph, known: dict[str, Seen], places: dict[tuple[int, Shape], Seen]
) -> Seen:
    """What a value sees when the operator reads it; unknown after a write through another view that may add to it."""
    if value.name.startswith("alias") and value.name not in known:
        # Made in C++ (detached): no operator returned it. It is what last stood there in this shape.
        storages = {storage for storage, _ in places}
        return places.get((value.storage, value.shape), None if value.storage in storages else ())
    for name in op.after:
        writer = graph[name]
        if any(out.storage == value.storage for out in writer.outputs) and not _adds_nothing(writer, known):
            return None
    return known.get(value.name, ())


def _adds_nothing(writer: Op, known: dict[str, Seen]) -> bool:
    """Whether an in-place write leaves what its memory sees as it was: relu_, or the write of a constant."""
    if known.get(writer.outputs[0].name, ()) is None:
        return False
    depends = [value.name in known for value in writer.inputs]
    in_place = writer.pointwise or RULES.get(writer.kind.rstrip("_")) is constant
    return not any(depends) or (in_place and not any(depends[1:]))


# -- the rules --------------------------------------------------------------------------------------------------------


def _dims(op: Op, given: Any) -> list[int]:
    """Dimensions of the first input as given by an attribute; all for None and ()."""
    rank = len(op.inputs[0].shape)
    if given is None or given == () or rank == 0:
        return list(range(rank))
    return [dim % rank for dim in (given if isinstance(given, tuple) else (given,))]


def _per_dim(given: Any, rank: int) -> tuple[int, ...]:
    given = given if isinstance(given, tuple) else (given,)
    return given * rank if len(given) == 1 else given


def _resized(window: Window, sizes: dict[int, int]) -> Window:
    """Other sizes along dimensions in which nothing moves."""
    return window._replace(motions=tuple(still(sizes[d]) if d in sizes else m for d, m in enumerate(window.motions)))


def _broadcast(window: Window, shape: Shape) -> Window:
    lacking = len(shape) - len(window.motions)
    pairs = list(zip(window.motions, shape[lacking:], strict=True))
    if any(m.size not in (1, n) and not m.still for m, n in pairs):
        raise Undecided
    return window._replace(motions=(*map(still, shape[:lacking]), *(m if m.size == n else still(n) for m, n in pairs)))


def _everywhere(windows: Iterable[Windows], shape: Shape) -> Iterator[Window]:
    """What whole tensors see, at every element of the shape."""
    for window in (window for each_ in windows for window in each_):
        wide = widened(window, range(len(window.motions)))
        yield Window(wide.low, wide.high, tuple(map(still, shape)))


def constant(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """The result does not depend on the values of the inputs."""
    return [()] * len(op.outputs)


def pointwise(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """Each element of the result sees what the elements at its place see."""
    shape = op.outputs[0].shape
    return [union([_broadcast(window, shape) for windows in seen for window in windows])]


def regrouped(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """view: the same elements in the same order."""
    if op.outputs[0].numel != op.inputs[0].numel:  # a view of another dtype
        raise Undecided
    return [each(seen[0], lambda w: regroup(w, op.outputs[0].shape))]


def permuted(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    rank = len(op.inputs[0].shape)
    order = list(range(rank))
    if "dims" in op.attrs:
        order = _dims(op, op.attrs["dims"])
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


def convolved(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """Kernel element k reads o * stride - padding + k * dilation; transposed, it is read from there."""
    kernel, out = op.inputs[1].shape[2:], op.outputs[0].shape
    attrs = [_per_dim(op.attrs.get(name, usual), len(kernel)) for name, usual in _CONVOLUTION]
    rule = _scattering if op.attrs.get("transposed") else _sliding
    if op.attrs.get("groups", 1) > 1 and any(not w.motions[1].still for w in seen[0]):
        raise Undecided
    mixed = tuple(_resized(widened(w, (1,)), {1: out[1]}) for w in seen[0])
    reads = {2 + d: rule(out[2 + d], kernel[d], *(attr[d] for attr in attrs)) for d in range(len(kernel))}
    return [union([*read(mixed, reads), *_everywhere(seen[1:], out)])]


_CONVOLUTION = (("stride", 1), ("padding", 0), ("dilation", 1))


def _sliding(size: int, kernel: int, stride: int, padding: int, dilation: int) -> Reads:
    return Reads(size, stride, (range(-padding, (kernel - 1) * dilation - padding + 1, dilation),))


def _scattering(size: int, kernel: int, stride: int, padding: int, dilation: int) -> Reads:
    at = [[o + padding - k * dilation for k in range(kernel)] for o in range(stride)]
    return Reads(size, 1, tuple(tuple(sorted(p // stride for p in places if p % stride == 0)) for places in at))


def pooled(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """Ceil mode needs nothing here: it only lets the last window hang over the edge."""
    rank, out = int(op.kind.partition("pool")[2][0]), op.outputs[0].shape
    kernel = _per_dim(op.attrs["kernel_size"], rank)
    attrs = [_per_dim(op.attrs.get(name) or usual, rank) for name, usual in (("stride", kernel), *_CONVOLUTION[1:])]
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


def sliced(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    (dim,) = _dims(op, op.attrs["dim"])
    n, start = op.inputs[0].shape[dim], op.attrs["start"] or 0
    start = min(max(start + n if start < 0 else start, 0), n)
    return [read(seen[0], {dim: Reads(op.outputs[0].shape[dim], op.attrs["step"], ((start,),))})]


def split(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    (dim,) = _dims(op, op.attrs["dim"])
    sizes = [value.shape[dim] for value in op.outputs]
    return [read(seen[0], {dim: Reads(size, 1, ((sum(sizes[:i]),),))}) for i, size in enumerate(sizes)]


def selected(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """select and unbind: single indices, without their dimension."""
    (dim,) = _dims(op, op.attrs["dim"])
    n = op.inputs[0].shape[dim]
    indices = [op.attrs["index"] % n] if "index" in op.attrs else range(n)
    rows = [read(seen[0], {dim: Reads(1, None, ((index,),))}) for index in indices]
    return [tuple(w._replace(motions=w.motions[:dim] + w.motions[dim + 1 :]) for w in row) for row in rows]


def turned(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """flip, roll, repeat, cumsum: along some dimensions each output reads other inputs, the same for all."""
    shape, out = op.inputs[0].shape, op.outputs[0].shape
    lead = len(out) - len(shape)
    windows = tuple(_broadcast(w, (1,) * lead + shape) for w in seen[0])
    if op.kind.startswith("roll"):
        if not op.attrs["dims"]:
            return rearranged(op, seen)
        shifts = dict(zip(_dims(op, op.attrs["dims"]), _per_dim(op.attrs["shifts"], len(shape)), strict=False))
        sources: dict[int, list[tuple[int, ...]]]
        sources = {d: [((i - shift) % shape[d],) for i in range(out[d])] for d, shift in shifts.items()}
    elif op.kind.startswith("flip"):
        sources = {d: [(shape[d] - 1 - i,) for i in range(out[d])] for d in _dims(op, op.attrs["dims"])}
    elif op.kind.startswith("cumsum"):
        sources = {d: [(0, i) for i in range(out[d])] for d in _dims(op, op.attrs["dim"])}
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
            parts += [_resized(window, {dim: out[dim]}) for window in windows if size]
        before += size
    return [union(parts)]


def reduced(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """mean, sum, max ...: what the indices see together."""
    dims = _dims(op, op.attrs.get("dim"))
    keep = op.attrs.get("keepdim", False)

    def step(window: Window) -> Iterator[Window]:
        motions = enumerate(widened(window, dims).motions)
        left = [still(1) if d in dims else motion for d, motion in motions if keep or d not in dims]
        yield widened(window, dims)._replace(motions=tuple(left))

    return [each(seen[0], step)]


def mixed(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """softmax, sort, fft ...: along some dimensions every output sees every input."""
    out, dims = op.outputs[0].shape, _dims(op, op.attrs.get("dim", -1))
    return [each(seen[0], lambda w: [_resized(widened(w, dims), {d: out[d] for d in dims})])]


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
    return [union([*own, *_everywhere(seen[1:], op.outputs[0].shape)])]


def multiplied(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """Matrix products: row i of the one and column j of the other make element (i, j)."""
    out = op.outputs[0].shape
    *added, left, right = seen
    parts = [_broadcast(window, out) for windows in added for window in windows]
    for window in left:
        wide = widened(window, (len(out) - 1,))
        parts.append(_resized(wide, {len(out) - 1: out[-1]}))
    for window in right:
        wide = widened(window, (len(out) - 2,))
        parts.append(_resized(wide, {len(out) - 2: out[-2]}))
    return [union(parts)]


def attended(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """Fused attention: a query sees all keys and all values."""
    out = op.outputs[0].shape
    sides = {"query": (-1,), "key": (-2, -1), "value": (-2,)}
    parts: list[Window] = []
    for role, windows in zip(op.roles, seen, strict=True):
        dims = [d % len(out) for d in sides.get(role, range(len(out)))]
        parts += [_broadcast(_resized(widened(w, dims), {d: out[d] for d in dims}), out) for w in windows]
    return [union(parts)]


def rearranged(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """Elements in an order that the values of a tensor decide: known only where all see the same."""
    if any(not window.still for windows in seen for window in windows):
        raise Undecided
    return [union(_everywhere(seen, value.shape)) for value in op.outputs]


def index_selected(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """Some indices of a dimension in which nothing moves (channels)."""
    (dim,) = _dims(op, op.attrs["dim"])
    out = op.outputs[0].shape
    if any(not window.motions[dim].still for window in seen[0]):
        raise Undecided
    return [union([*(_resized(w, {dim: out[dim]}) for w in seen[0]), *_everywhere(seen[1:], out)])]


def _rules(rule: Rule, kinds: str) -> dict[str, Rule]:
    return dict.fromkeys(kinds.split(), rule)


RULES: dict[str, Rule] = {
    **_rules(constant, "empty_like zeros_like ones_like full_like rand_like randn_like new_empty new_zeros new_ones "
             "new_full new_empty_strided zero fill normal uniform"),
    **_rules(pointwise, "hardswish log_sigmoid_forward _prelu_kernel _to_copy alias detach lift_fresh contiguous copy "
             "dropout native_dropout tril triu expand expand_copy"),
    **_rules(regrouped, "view _unsafe_view reshape _reshape_alias squeeze unsqueeze flatten unflatten view_copy"),
    **_rules(permuted, "permute transpose t permute_copy"),
    **_rules(shuffled, "pixel_shuffle pixel_unshuffle"),
    **_rules(convolved, "convolution _convolution cudnn_convolution mkldnn_convolution"),
    **_rules(pooled, "max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices avg_pool1d "
             "avg_pool2d avg_pool3d"),
    **_rules(pooled_adaptively, "adaptive_avg_pool1d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d "
             "adaptive_max_pool3d"),
    **_rules(resampled, "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d "
             "_upsample_nearest_exact2d _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d "
             "upsample_trilinear3d upsample_bicubic2d"),
    **_rules(padded, "constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d "
             "replication_pad2d replication_pad3d"),
    **_rules(sliced, "slice slice_copy"),
    **_rules(split, "split split_with_sizes unsafe_split unsafe_split_with_sizes"),
    **_rules(selected, "select unbind select_copy"),
    **_rules(turned, "flip roll repeat cumsum"),
    **_rules(joined, "cat stack"),
    **_rules(reduced, "mean sum nansum prod amax amin max min argmax argmin any all var std var_mean std_mean norm "
             "linalg_vector_norm logsumexp median"),
    **_rules(mixed, "_softmax _log_softmax _safe_softmax sort argsort topk _fft_r2c _fft_c2c _fft_c2r"),
    **_rules(normalised, "native_batch_norm cudnn_batch_norm _native_batch_norm_legit native_layer_norm "
             "_native_batch_norm_legit_no_training native_group_norm _fused_rms_norm"),
    **_rules(multiplied, "mm bmm addmm baddbmm"),
    **_rules(attended, "_scaled_dot_product_flash_attention _scaled_dot_product_flash_attention_for_cpu "
             "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention "
             "_scaled_dot_product_attention_math _scaled_dot_product_fused_attention_overrideable"),
    **_rules(rearranged, "as_strided index _unsafe_index gather scatter index_put take diagonal"),
    **_rules(index_selected, "index_select"),
}  # fmt: skip
