"""``diff``: which layers and costs one network has over another."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from .analyses.layering import Layer, layers
from .graph import ModelGraph
from .matching import matched
from .table import Table, column, table
from .units import si

REMOVED, ADDED, CHANGED, SAME = "-", "+", "~", "="
Pair = tuple[Layer | None, Layer | None]


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """One line: a layer that only the first net has (-), only the second (+), both in another form (~), or both (=).

    before, after: the layer in words, in the first and in the second net. params, macs: second less first.
    """

    name: str = column("layer")
    module: str = column("module", hidden=True, default="")
    mark: str = column("mark", hidden=True, default="")
    before: str = column("before", rank=0, default="")
    after: str = column("after", rank=0, default="")
    params: int = column("params", "count", fold="sum", rank=0, default=0)
    macs: int | None = column("MACs", "MAC", fold="sum", rank=0, default=None)
    flops: int | None = column("FLOPs", "FLOP", fold="sum", hidden=True, default=None)
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


def diff(first: ModelGraph, second: ModelGraph, *, whole: bool = False) -> Table[Difference]:
    """What the second network has over the first, layer by layer; the totals are second less first.

    Layers are aligned by type, kernel, stride, input and output; those with the same of these but other costs, and
    those of the same type between the same neighbours, are changed. What costs nothing (views, dropout, identities)
    is left out. ``whole``: also what both have.
    """
    tables = layers(first), layers(second)
    rows, same = [], 0
    for pair in aligned(*([layer for layer in each.values() if _costs(layer)] for each in tables)):
        row = _row(*pair)
        same += row.mark == SAME
        if whole or row.mark != SAME:
            rows.append(row)
    counts = {mark: sum(row.mark == mark for row in rows) for mark in (REMOVED, ADDED, CHANGED)}
    notes = (
        f"{counts[REMOVED]} layers removed, {counts[ADDED]} added, {counts[CHANGED]} changed, {same} the same",
        *[_summed(graph, each.total) for graph, each in zip((first, second), tables, strict=True)],
    )
    title = f"{first.name} -> {second.name}"
    return table("difference", rows, Difference, model=title, input=_inputs(first, second), notes=notes)


def aligned(first: Sequence[Layer], second: Sequence[Layer]) -> Iterator[Pair]:
    """The layers of both nets in order, side by side where they belong together."""
    # Nets of one family share the names of their layers: then a name says better than a shape who is who.
    shared = {layer.name for layer in first} & {layer.name for layer in second}
    named = 2 * len(shared) > min(len(first), len(second))
    before, after = ([(layer.name if named else "", *_form(layer)) for layer in side] for side in (first, second))
    for equal, i, ii, j, jj in matched(before, after):
        if equal:
            yield from zip(first[i:ii], second[j:jj], strict=True)
        else:
            yield from _replaced(first[i:ii], second[j:jj])


def _replaced(first: Sequence[Layer], second: Sequence[Layer]) -> Iterator[Pair]:
    """Within a stretch that differs, layers of the same type belong together."""
    types = [_type(layer) for layer in first], [_type(layer) for layer in second]
    for equal, i, ii, j, jj in matched(*types):
        if equal:
            yield from zip(first[i:ii], second[j:jj], strict=True)
        else:
            yield from ((layer, None) for layer in first[i:ii])
            yield from ((None, layer) for layer in second[j:jj])


def _costs(layer: Layer) -> bool:
    return bool(layer.params or layer.macs or layer.flops or layer.bytes_written or layer.missing)


def _type(layer: Layer) -> str:
    """In-place or not, a module or a function: the same layer."""
    return layer.type.rstrip("_").lower()


def _form(layer: Layer) -> tuple[Any, ...]:
    return _type(layer), layer.kernel, layer.stride, layer.input, layer.output


def _row(a: Layer | None, b: Layer | None) -> Difference:
    known = [layer for layer in (a, b) if layer is not None]
    words = ["" if layer is None else _words(layer) for layer in (a, b)]
    same = len(known) == 2 and words[0] == words[1] and _cost(known[0]) == _cost(known[1])
    mark = ADDED if a is None else REMOVED if b is None else SAME if same else CHANGED
    if mark == CHANGED and words[0] == words[1]:
        words = [f"{text}, {_details(layer)}" for text, layer in zip(words, known, strict=True)]
    return Difference(
        f"{mark} {' -> '.join(dict.fromkeys(layer.name for layer in known))}",
        known[-1].module,
        mark,
        words[0],
        words[1],
        (b.params if b else 0) - (a.params if a else 0),
        _less("macs", a, b),
        _less("flops", a, b),
        tuple(kind for layer in known for kind in layer.missing),
    )


def _details(layer: Layer) -> str:
    """What tells layers apart that are alike otherwise."""
    parts = [f"pad {_sizes(layer.padding)}"] if layer.padding else []
    parts += [f"dilation {_sizes(layer.dilation)}"] if layer.dilation and set(layer.dilation) != {1} else []
    return ", ".join([*parts, f"{layer.params:,} parameters"] if layer.params or not parts else parts)


def _less(name: str, a: Layer | None, b: Layer | None) -> int | None:
    """Second less first; what is not known in one is not known."""
    values = [0 if layer is None else getattr(layer, name) for layer in (a, b)]
    return None if None in values else values[1] - values[0]


def _cost(layer: Layer) -> tuple[Any, ...]:
    return layer.params, layer.macs, layer.padding, layer.dilation, layer.groups


def _words(layer: Layer) -> str:
    """``Conv2d 3x3/2 -> 128x28x28``."""
    parts = [layer.type.rstrip("_")]
    if layer.kernel:
        stride = "" if not layer.stride or set(layer.stride) == {1} else "/" + _sizes(layer.stride)
        parts.append(
            _sizes(layer.kernel, all_=True) + stride + (f" g{layer.groups}" if (layer.groups or 1) > 1 else "")
        )
    if layer.output:
        parts.append("-> " + "x".join(map(str, layer.output[1:] or layer.output)))
    return " ".join(parts)


def _sizes(sizes: tuple[int, ...], *, all_: bool = False) -> str:
    return str(sizes[0]) if len(set(sizes)) == 1 and not all_ else "x".join(map(str, sizes))


def _inputs(first: ModelGraph, second: ModelGraph) -> str:
    return first.input_text if first.input_text == second.input_text else f"{first.input_text} -> {second.input_text}"


def _summed(graph: ModelGraph, total: Layer) -> str:
    work = "" if total.macs is None else f", {si(total.macs)} MACs"
    return f"{graph.name}: {total.params:,} parameters{work}"
