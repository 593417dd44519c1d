"""``depth``: the longest path through a network, counted in layers with weights.

A layer with weights is a convolution or a matrix product with an operand that derives from parameters and from no
input of the network. That takes in computed weights (weight norm) and leaves out attention, whose products are of two
activations. Looking something up (an embedding) and scaling it (norms, gains) multiply no matrices: not counted. Every
application counts: a layer called twice is two, a recurrent layer is as deep as it has steps. Paths run along whole
tensors, so what is stacked and taken apart again is as deep as the deepest part.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from ..graph import ModelGraph, Op, Value
from ..table import Table, column, table
from . import of_graph


@dataclasses.dataclass(frozen=True, slots=True)
class LayerDepth:
    """One layer with weights and its place.

    depth: layers on the longest path from an input to this one, itself included, as papers count (see ``depth``).
    longest: the same with every path. on_path: it lies on the path that gives the network's depth.
    missing: it reads weights in a way that no rule knows, and may be more than the one layer it is counted for.
    """

    name: str = column("operator")
    module: str = column("module", hidden=True)
    kind: str = column("kind", default="")
    depth: int | None = column("depth", "count", fold="max", default=None)
    longest: int | None = column("longest path", "count", fold="max", hidden=True, default=None)
    on_path: bool | None = column("on the path", "flag", fold="max", default=False)
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


class Reach(NamedTuple):
    """The longest paths that end in a value: layers as papers count, the last of them, and layers on any path."""

    depth: int
    last: int  # index into the layers, -1 for none
    longest: int


@of_graph
def depth(graph: ModelGraph) -> Table[LayerDepth]:
    """Layers with weights on the longest path from an input to the network's first output.

    Papers do not count what computes a gate (the two fully connected layers of squeeze-and-excitation): a product's
    operand that is stretched over the other one opens no path. ``longest`` counts these paths too. Of several outputs
    the first is the network's; classifiers at the side come after it, and a note tells when one of them is deeper. Of a
    training step it is the depth of the forward pass.
    """
    graph = graph.forward
    reach, layers, previous = paths(graph)
    none = Reach(0, -1, 0)
    ends = [reach.get(value.name, none) for value in graph.outputs] or list(reach.values())[-1:] or [none]
    end = ends[0]
    on_path = set()
    at = end.last
    while at >= 0:
        on_path.add(at)
        at = previous[at]
    rows = []
    for i, op in enumerate(layers):
        own = reach[op.outputs[0].name]
        gap = () if op.kind in WEIGHTED else (op.kind,)
        rows.append(LayerDepth(op.name, op.module, op.kind, own.depth, own.longest, i in on_path, gap))
    found = table("depth", rows, LayerDepth, model=graph.name, input=graph.input_text, notes=_notes(ends))
    total = dataclasses.replace(found.total, depth=end.depth, longest=end.longest, on_path=None)
    return dataclasses.replace(found, total=total)


def _notes(ends: list[Reach]) -> tuple[str, ...]:
    notes = []
    if ends[0].longest > ends[0].depth:
        notes.append(f"{ends[0].longest} layers on the longest path through gates, which papers do not count")
    if any(end.depth > ends[0].depth for end in ends):
        notes.append(f"depth of the first output; all outputs: {', '.join(str(end.depth) for end in ends)}")
    return tuple(notes)


# The operand that may be weights, by name of the argument; either of two for a product.
WEIGHTED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("convolution", "_convolution", "cudnn_convolution", "mkldnn_convolution"), ("weight",)),
    **dict.fromkeys(("linear", "mkldnn_linear", "deform_conv2d"), ("weight",)),
    **dict.fromkeys(("mm", "bmm"), ("self", "mat2")),
    **dict.fromkeys(("matmul", "dot"), ("self", "other", "tensor")),
    **dict.fromkeys(("baddbmm", "addbmm"), ("batch1", "batch2")),
    "mv": ("self", "vec"),
    "addmm": ("mat1", "mat2"),
    "addmv": ("mat", "vec"),
    "_trilinear": ("i1", "i2", "i3"),
}
# They read a weight, perhaps of several dimensions, and multiply no matrix by it.
NO_LAYER = frozenset(
    {"embedding", "_embedding_bag", "_prelu_kernel"}
    | {"native_batch_norm", "native_layer_norm", "native_group_norm", "_fused_rms_norm"}
)


def paths(graph: ModelGraph) -> tuple[dict[str, Reach], list[Op], list[int]]:
    """What reaches every value that depends on an input; the layers with weights; for each the layer before it."""
    kinds = [storage.kind for storage in graph.storages]
    start = Reach(0, -1, 0)
    reach = {value.name: start for value in graph.inputs}
    inputs = {value.storage for value in graph.inputs}
    learned: set[str] = set()  # values that derive from parameters and from no input
    stretched: set[str] = set()  # values that an expand made larger
    written: dict[str, Reach] = {}  # by operator
    places: dict[int, Reach] = dict.fromkeys(inputs, start)  # by storage, for values that no operator returned
    filled: dict[int, Reach] = {}  # by storage, what in-place operators wrote into it
    layers: list[Op] = []
    previous: list[int] = []
    for op in graph.ops:
        sources = [reach.get(value.name) or _alias(value, places) for value in op.inputs]
        found = [source for source in sources if source is not None]
        if op.after:
            found += [written[name] for name in op.after if name in written]
        if not found:
            if any(value.name in learned or kinds[value.storage] == "param" for value in op.inputs):
                learned.update([value.name for value in op.outputs])
            continue
        end = _longest(op, sources, found, stretched) if len(found) > 1 else found[0]
        if _is_layer(op, sources, learned, kinds):
            previous.append(end.last)
            end = Reach(end.depth + 1, len(layers), end.longest + 1)
            layers.append(op)
        written[op.name] = end
        for value in op.outputs:
            reach[value.name] = places[value.storage] = end
            if op.in_place:
                filled[value.storage] = _both(filled.get(value.storage, end), end)
        if op.kind == "expand" and op.inputs[0].numel < op.outputs[0].numel:
            stretched.add(op.outputs[0].name)
    for value in graph.outputs:  # one that was filled through views of it: no operator returned it so
        if value.storage in filled:
            reach[value.name] = _both(reach.get(value.name, start), filled[value.storage])
    return reach, layers, previous


def _both(one: Reach, other: Reach) -> Reach:
    deeper = max(one, other, key=lambda reach: reach.depth)
    return deeper._replace(longest=max(one.longest, other.longest))


def _alias(value: Value, places: dict[int, Reach]) -> Reach | None:
    """For a tensor made in C++ (detached), which no operator returned: what reaches its memory."""
    return places.get(value.storage) if value.name.startswith("alias") else None


def _longest(op: Op, sources: list[Reach | None], found: list[Reach], stretched: set[str]) -> Reach:
    """The longest of the paths into an operator; those through a gate count in ``longest`` only."""
    longest = max([source.longest for source in found])
    if op.kind in ("mul", "mul_") and len(sources) == 2 and None not in sources:
        whole = op.outputs[0].numel
        gates = [value.numel < whole or value.name in stretched for value in op.inputs]
        if gates[0] != gates[1]:
            found = [source for source, gate in zip(sources, gates, strict=True) if not gate and source is not None]
    deepest = max(found, key=lambda source: source.depth)
    return Reach(deepest.depth, deepest.last, longest)


def _is_layer(op: Op, sources: list[Reach | None], learned: set[str], kinds: list[str]) -> bool:
    """Whether it multiplies by weights; an operator without a rule that reads a matrix of weights is taken for one."""
    roles = WEIGHTED.get(op.kind)
    if roles is None and (not op.params or op.kind in NO_LAYER):
        return False
    return any(
        source is None
        and (role in roles if roles else ("weight" in role or role == "params") and len(value.shape) > 1)
        and (value.name in learned or kinds[value.storage] == "param")
        for value, source, role in zip(op.inputs, sources, op.roles, strict=True)
    )
