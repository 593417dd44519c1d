"""``fused``: what an inference engine runs instead of the eager program (TensorRT, Core ML, Caffe2Go).

``plan`` decides, ``rewriting`` carries it out, and the result is a ``ModelGraph`` like any other:

- a batch norm with fixed statistics that alone reads a convolution or linear layer is folded into its weights, and
  leaves a bias: w' = w g / s, b' = (b - mean) g / s + beta with s = sqrt(var + eps);
- elementwise operators that alone read a result are computed where it is made, before it is written: activations,
  residual additions, scalings. Whatever else they read must be there by then;
- what nobody reads is not made (memory reserved for statistics, the indices of max pooling).

A kernel is one pass over memory: an operator that computes or copies, with all that it has taken in. Pooling and
concatenation take nothing in, as in most engines. MACs are those of the eager program.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .analyses import op_rules
from .analyses.costs import cost
from .analyses.op_costs import rule
from .analyses.parameters import params
from .errors import UnusableInput
from .graph import ModelGraph, Op, Value
from .units import binary

PRODUCTS = ("convolution", "addmm", "mm", "linear", "bmm", "baddbmm")
_BATCH_NORMS = ("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm")
_NORMS = (*_BATCH_NORMS, "native_layer_norm", "native_group_norm")
_WEIGHTS = {"convolution": "weight", "linear": "weight", "addmm": "mat2", "mm": "mat2"}
# Elementwise, though the operators' schemas do not say so.
_ACTIVATIONS = ("hardswish", "_prelu_kernel", "rrelu_with_noise")
# Elementwise by their schemas, but moving or making data, or drawing numbers.
_NO_ARITHMETIC = ("clone", "copy", "fill", "zero", "bernoulli", "_to_copy")
# Another shape of the same elements in the same order: what is behind it may as well be computed before it.
_RESHAPES = ("view", "_unsafe_view", "squeeze", "unsqueeze")


class Plan(NamedTuple):
    """What becomes of each operator. Names are those of the eager graph.

    kernels: the operators that each one takes in, in the order in which they are computed.
    folds: the batch norm whose scale and shift go into a product's weights.
    unread: operators that reserve memory for nothing.
    """

    kernels: Mapping[str, tuple[str, ...]]
    folds: Mapping[str, str]
    unread: frozenset[str]


class Size(NamedTuple):
    """What fusing is about: launches, bytes read and written, and what has to be kept."""

    kernels: int
    bytes: int
    params: int
    buffers: int


def fused(graph: ModelGraph) -> ModelGraph:
    """The graph that an inference engine runs; each operator names those it took in, in ``attrs["fused"]``.

    Costs, parameters, layers and memory are those of the new graph. Depth and receptive field are matters of the eager
    one: in the new graph a sum and the convolution that computes it are one operator.

    Raises:
        UnusableInput: the graph is a training step, whose results between operators are needed again.
    """
    from .rewriting import rewritten

    return rewritten(graph, plan(graph))


def plan(graph: ModelGraph) -> Plan:
    """Which operators are computed together, and which batch norms disappear into weights."""
    if graph.train:
        raise UnusableInput(f"{graph.name or 'the graph'} is a training step; only inference is fused")
    planning = _Planning(graph)
    for op in graph:
        planning.place(op)
    return Plan({name: tuple(taken) for name, taken in planning.kernels.items()}, planning.folds, planning.unread)


def size(graph: ModelGraph) -> Size:
    """Kernels, bytes moved by them, parameters and buffers of a graph, fused or not."""
    # What only reserves or reshapes memory is no kernel; what nobody knows is taken for one.
    kernels = sum(rule(op) is not op_rules.untouched for op in graph)
    moved, learned = cost(graph).total, params(graph).total
    return Size(kernels, (moved.bytes_read or 0) + (moved.bytes_written or 0), learned.params, learned.buffers)


def savings(before: ModelGraph, after: ModelGraph) -> tuple[str, ...]:
    """What fusing brings, in lines to stand under a table of the fused graph."""
    old, new = size(before), size(after)
    gone = f" ({1 - new.bytes / old.bytes:.0%} less)" if old.bytes else ""
    return (
        f"fused: {new.kernels:,} kernels instead of {old.kernels:,}",
        f"bytes moved {binary(new.bytes)} instead of {binary(old.bytes)}{gone}",
        f"parameters {new.params:,} instead of {old.params:,}; buffers {new.buffers:,} instead of {old.buffers:,}",
    )


class _Planning:
    """Walks through the program once.

    ``_tips``: the kernel of each value that is a kernel's last result, or another shape of it; then ``_shaped`` has
    the views between the two, which are the kernel's own as soon as it takes in what is behind them.
    """

    def __init__(self, graph: ModelGraph) -> None:
        self.graph = graph
        self.kernels: dict[str, list[str]] = {}
        self.folds: dict[str, str] = {}
        self.readers = _readers(graph)
        self._used = {value.storage for op in graph for value in op.inputs} | {value.storage for value in graph.outputs}
        self.unread = frozenset(op.name for op in graph if self._reserves_for_nothing(op))
        self._hidden = _written_unseen(graph)
        self._computing = _computing_readers(graph)
        self._kernel_of: dict[str, str] = {}
        self._tips: dict[str, str] = {}
        self._shaped: dict[str, tuple[str, ...]] = {}

    def place(self, op: Op) -> None:
        """Let an earlier kernel take the operator in, or open one for it."""
        if op.name in self.unread or self._reshapes(op) or op.view:
            return
        kernel, taken = self._folding(op) or self._taking(op) or ("", ())
        for each in taken:
            self._kernel_of[each] = kernel
            self.kernels[kernel].append(each)
        if not kernel:
            kernel = self._kernel_of[op.name] = op.name
            self.kernels[kernel] = []
        if taken or op.kind in PRODUCTS or op.kind in _NORMS or elementwise(op):
            self._tips[op.outputs[0].name] = kernel

    def _reshapes(self, op: Op) -> bool:
        """Follow a result through another shape of it."""
        if op.kind not in _RESHAPES or op.after:
            return False
        source, result = op.inputs[0], op.outputs[0]
        if kernel := self._alone(op, source):
            self._tips[result.name] = kernel
            self._shaped[result.name] = (*self._shaped.get(source.name, ()), op.name)
        return True

    def _folding(self, op: Op) -> tuple[str, tuple[str, ...]] | None:
        """The product that takes a batch norm into its weights, and what it takes in."""
        if op.kind not in _BATCH_NORMS or op.attrs.get("training") or op.after:
            return None
        name = self._alone(op, op.inputs[0])
        if not name or self.kernels[name] or op.inputs[0].name in self._shaped:
            return None
        if not self._own_weights(self.graph[name]):
            return None
        # The channels are the second dimension, which for products of matrices must be the last.
        if self.graph[name].kind != "convolution" and len(op.inputs[0].shape) != 2:
            return None
        self.folds[name] = op.name
        return name, (op.name,)

    def _own_weights(self, product: Op) -> bool:
        """Its weights, and its bias if any, are parameters that nothing else computes with."""
        weight = product.input(_WEIGHTS.get(product.kind, ""))
        bias = product.input("self" if product.kind == "addmm" else "bias")
        plain = product.attrs.get("alpha", 1) == product.attrs.get("beta", 1) == 1
        return plain and weight is not None and all(self._own(each) for each in (weight, bias) if each is not None)

    def _own(self, value: Value) -> bool:
        storage = self.graph.storages[value.storage]
        return storage.kind == "param" and len(self._computing.get(storage.id, ())) == 1

    def _taking(self, op: Op) -> tuple[str, tuple[str, ...]] | None:
        """The latest kernel that can compute an elementwise operator before it writes its result."""
        if not elementwise(op) or op.after:
            return None
        # In place, it may write into another operand than the kernel's result if nobody misses that one.
        target = op.inputs[0]
        free = not op.in_place or (self.readers[target.name] == {op.name} and self._made(target))
        chosen, found = -1, None
        for value in op.inputs:
            name = self._alone(op, value)
            same = op.outputs[0].shape == value.shape and op.outputs[0].dtype == value.dtype
            if name and same and (free or value == target) and self._ready(op, value, name) and self._at(name) > chosen:
                chosen, found = self._at(name), (name, (*self._shaped.get(value.name, ()), op.name))
        return found

    def _made(self, value: Value) -> bool:
        """It is in memory that the run itself allocates, and that nobody changes unseen."""
        return self.graph.storages[value.storage].born >= 0 and value.storage not in self._hidden

    def _alone(self, op: Op, value: Value) -> str:
        """The kernel whose result the value is, if no other operator reads it; else ''."""
        alone = self.readers.get(value.name) == {op.name} and value.storage not in self._hidden
        return self._tips.get(value.name, "") if alone else ""

    def _ready(self, op: Op, result: Value, kernel: str) -> bool:
        """Everything else that the operator reads is there when the kernel runs."""
        for value in op.inputs:
            source = self.graph.producers.get(value.name)
            if value.name == result.name or source is None:
                continue
            if value.storage in self._hidden or self._at(self._kernel_of.get(source, source)) >= self._at(kernel):
                return False
        return True

    def _at(self, name: str) -> int:
        return self.graph.positions[name]

    def _reserves_for_nothing(self, op: Op) -> bool:
        untouched = not op.view and not op.in_place and rule(op) is op_rules.untouched
        return untouched and self._used.isdisjoint([value.storage for value in op.outputs])


def elementwise(op: Op) -> bool:
    """It computes each element of its one result from those at the same place."""
    kind = op.kind.rstrip("_")
    named = op.pointwise or kind in _ACTIVATIONS
    return named and not op.view and kind not in _NO_ARITHMETIC and len(op.outputs) == 1


def _readers(graph: ModelGraph) -> dict[str, set[str]]:
    """Names of the operators that read each value, '' for the caller of the model."""
    found: dict[str, set[str]] = {}
    for op in graph:
        for value in op.inputs:
            found.setdefault(value.name, set()).add(op.name)
    for value in graph.outputs:
        found.setdefault(value.name, set()).add("")
    return found


def _written_unseen(graph: ModelGraph) -> set[int]:
    """Storages in which values change that are read through another tensor: nothing in them is moved."""
    made = {value.name for op in graph for value in op.outputs}
    given = {storage.id for storage in graph.storages if storage.born < 0}
    found = {value.storage for op in graph if op.after for value in op.inputs}
    for op in graph:
        found.update(v.storage for v in op.inputs if v.name not in made and v.storage not in given)
    return found


def _computing_readers(graph: ModelGraph) -> dict[int, set[str]]:
    """Operators other than views that read each storage."""
    found: dict[int, set[str]] = {}
    for op in graph:
        for value in () if op.view else op.inputs:
            found.setdefault(value.storage, set()).add(op.name)
    return found
