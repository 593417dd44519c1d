"""What a traced program becomes in another precision: whole in half precision, or under autocast, without a new trace.

``torch.autocast`` changes no model. Operators of one list get their tensors cast to the lower precision, those of
another to float32 (``cast_lists``); the rest take what comes and promote. Each cast is a kernel of its own that reads
and writes memory. A parameter is cast once in a run, any other tensor every time it is needed. The backward pass meets
the tensors that the forward pass kept, and gradients flow back through the casts.

``trace(..., autocast=...)`` runs the real thing. This is for graphs that are there already, whatever they came from; a
model that asks for a type itself (``x.float()``) or does other things under autocast needs the trace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

from .cast_lists import POLICIES
from .errors import UnusableInput
from .graph import ITEM_BYTES, ModelGraph, Op, Storage, Value

PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "amp")
HALVES = {"cuda": "float16", "cpu": "bfloat16"}

# What the functions of the lists call.
_CALLED = {
    "softmax": "_softmax", "log_softmax": "_log_softmax", "layer_norm": "native_layer_norm", "prelu": "_prelu_kernel",
    "group_norm": "native_group_norm", "rms_norm": "_fused_rms_norm", "nll_loss": "nll_loss_forward",
    "nll_loss2d": "nll_loss2d_forward", "cdist": "_cdist_forward", "grid_sampler": "grid_sampler_2d",
    "bilinear": "_trilinear", "conv2d": "convolution",
    "scaled_dot_product_attention": "_scaled_dot_product_efficient_attention",
}  # fmt: skip
_TAKES_DTYPE = ("fp32_dtype", "fp32_appended")


class Program(NamedTuple):
    """Operators in order, casts among them, and the storages that their values index.

    Lifetimes are those of the traced program; the memory of a cast has none.
    """

    ops: tuple[Op, ...]
    storages: tuple[Storage, ...]


def program(graph: ModelGraph, precision: str, device: str = "cuda") -> Program:
    """The operators of a graph as they run in a precision on ``cuda`` or ``cpu``.

    fp32, tf32: as traced (the two differ in the rate of products, not in bytes). fp16, bf16: every float32 tensor is
    of that type. amp: as under autocast, to float16 on cuda and bfloat16 on cpu. What was traced in another type than
    float32 keeps it.

    Raises:
        UnusableInput: there is no such precision.
    """
    if precision not in PRECISIONS:
        raise UnusableInput(f"no precision {precision!r}; one of {', '.join(PRECISIONS)}")
    if precision in ("fp16", "bf16"):
        return _halved(graph, "float16" if precision == "fp16" else "bfloat16")
    if precision == "amp" and not graph.run.autocast:
        return _Autocast(graph, device).result()
    return Program(graph.ops, graph.storages)


def _halved(graph: ModelGraph, half: str) -> Program:
    def typed(value: Value) -> Value:
        return value._replace(dtype=half) if value.dtype == "float32" else value

    floats = {v.storage for op in graph for v in (*op.inputs, *op.outputs) if v.dtype == "float32"}
    ops = [
        op._replace(inputs=tuple([typed(v) for v in op.inputs]), outputs=tuple([typed(v) for v in op.outputs]))
        for op in graph
    ]
    storages = [each._replace(bytes=each.bytes // 2) if each.id in floats else each for each in graph.storages]
    return Program(tuple(ops), tuple(storages))


@cache
def _policies(device: str) -> Mapping[str, str]:
    """Policy by ATen kind."""
    listed = {name.partition(".")[0]: policy for name, policy in POLICIES[device].items()}
    return listed | {called: listed[name] for name, called in _CALLED.items() if name in listed}


def _policy(op: Op, device: str) -> str:
    """Which list an operator is on, '' for none; a backward pass has the types of its forward."""
    if op.phase == "optimizer":
        return "fp32"
    if "batch_norm" in op.kind:
        return "data"  # whatever its weights and statistics are, its result has the type of its input
    kind = op.kind.removesuffix("_data").removesuffix("_backward")
    policy = _policies(device).get(kind, "lower" if "scaled_dot_product" in kind else "")
    # No autocast is around the backward pass: what only sums gradients takes them as they come.
    return policy if policy == "lower" or op.phase == "forward" or kind != op.kind else ""


class _Autocast:
    """Walks through the program once and knows of every storage whether its floats are halves."""

    def __init__(self, graph: ModelGraph, device: str) -> None:
        self.graph = graph
        self.device = device
        self.half = HALVES[device]
        self.halves: set[int] = set()
        self.storages = list(graph.storages)
        self.ops: list[Op] = []
        # Casts that are kept: of parameters for the whole run, of the rest for the backward pass.
        self._cast: dict[tuple[int, tuple[int, ...], str], Value] = {}
        self._count = 0

    def result(self) -> Program:
        for op in self.graph:
            self.ops.extend(self._rewritten(op))
        return Program(tuple(self.ops), tuple(self.storages))

    def _rewritten(self, op: Op) -> Iterator[Op]:
        """The operator in the types that it gets, behind the casts that it needs."""
        inputs = [self._typed(value) for value in op.inputs]
        policy = "" if op.view else _policy(op, self.device)
        wanted = self._wanted(op, policy, inputs)
        for i, value in enumerate(inputs if wanted else ()):
            if value.dtype in ("float32", self.half) and value.dtype != wanted:
                inputs[i], cast = self._converted(op, value, wanted)
                yield from cast
        self._mark(op, policy, inputs)
        yield op._replace(inputs=tuple(inputs), outputs=tuple([self._typed(value) for value in op.outputs]))

    def _typed(self, value: Value) -> Value:
        return value._replace(dtype=self.half) if value.storage in self.halves and value.dtype == "float32" else value

    def _wanted(self, op: Op, policy: str, inputs: list[Value]) -> str:
        """The type to cast to; '' where the operator takes what comes."""
        if policy == "lower":
            return self.half
        # Softmax alone converts outside of its kernel, and not from float16 on CUDA.
        outside = policy in _TAKES_DTYPE and op.kind in ("_softmax", "_log_softmax") and self.half != "float16"
        widest = policy == "promote" and any(value.dtype == "float32" for value in inputs)
        return "float32" if policy == "fp32" or outside or widest else ""

    def _converted(self, op: Op, value: Value, wanted: str) -> tuple[Value, list[Op]]:
        """The value in the wanted type, and the cast that makes it where it is not there yet."""
        # A weight and its transpose are one tensor; parts of one are not.
        whole = value.bytes == self.storages[value.storage].bytes
        key = (value.storage, () if whole else value.shape, wanted)
        param = value.storage < len(self.graph.storages) and self.graph.storages[value.storage].kind == "param"
        known = self._cast.get(key)
        if known is not None and (param or op.phase != "forward"):
            return known._replace(shape=value.shape), []
        self._count += 1
        storage = Storage(len(self.storages), value.numel * ITEM_BYTES[wanted], "temporary", len(self.ops), None)
        self.storages.append(storage)
        result = self._cast[key] = Value(f"autocast#{self._count}", value.shape, wanted, storage.id)
        name = f"{op.module}.{result.name}" if op.module else result.name
        read = op.params if param else ()
        cast = Op(name, "_to_copy", (value,), (result,), read, {"dtype": wanted}, op.module, op.phase, ("self",))
        return result, [cast._replace(call=op.call)]

    def _mark(self, op: Op, policy: str, inputs: list[Value]) -> None:
        """Which of the storages that the operator makes hold halves."""
        given = {value.storage for value in op.inputs}
        new = {value.storage: value for value in op.outputs if value.storage not in given and value.dtype == "float32"}
        if policy == "data":
            made = inputs[0].dtype == self.half
            new = dict(list(new.items())[:1])  # the statistics stay float32
        elif policy in ("lower", "fp32", *_TAKES_DTYPE):
            made = policy == "lower"
        else:
            made = self._promotes_to_half(op, inputs)
        for storage in new if made else ():
            self.halves.add(storage)
            self.storages[storage] = self.storages[storage]._replace(bytes=self.storages[storage].bytes // 2)

    def _promotes_to_half(self, op: Op, inputs: list[Value]) -> bool:
        """By type promotion: a float32 tensor wins over halves, a scalar tensor over none."""
        if op.attrs.get("dtype") in ("torch.float32", "torch.float64"):
            return False
        floats = [value for value in inputs if value.dtype in ("float32", self.half)]
        floats = [value for value in floats if value.shape] or floats
        return bool(floats) and all(value.dtype == self.half for value in floats)
