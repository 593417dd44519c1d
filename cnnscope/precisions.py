"""What a traced program becomes in another precision: whole in half precision, or under autocast.

``torch.autocast`` changes no model. Operators of one list get their tensors cast to the half type (convolutions,
matrix products), those of another to float32 (norms over layers, softmax, powers, sums, losses); the rest take what
comes and promote. Each cast is a kernel of its own that reads and writes memory. A parameter is cast once in a run, any
other tensor every time it is needed. The backward pass meets the tensors that the forward pass kept, so a cast of the
forward is none of the backward, and gradients flow back through the casts.

Lists: PyTorch's documentation, "CUDA Ops that can autocast to float16 / float32 / that promote to the widest type"
(https://docs.pytorch.org/docs/stable/amp.html#autocast-op-reference), as the ATen kinds that those functions call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from .errors import UnusableInput
from .graph import ITEM_BYTES, ModelGraph, Op, Storage, Value

PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "amp")

_LISTS = (
    ("half", """
        convolution convolution_backward conv1d conv2d conv3d _convolution mm bmm mv addmm addmv addr baddbmm addbmm
        linear matmul prelu _prelu_kernel scaled_dot_product_attention _scaled_dot_product_flash_attention
        _scaled_dot_product_efficient_attention _scaled_dot_product_flash_attention_for_cpu
        _scaled_dot_product_cudnn_attention _scaled_dot_product_attention_math
        _scaled_dot_product_fused_attention_overrideable
    """),
    ("float32", """
        acos asin cosh erfinv exp expm1 log log10 log1p log2 reciprocal rsqrt sinh tan pow softplus cumprod cumsum prod
        sum native_layer_norm native_group_norm layer_norm group_norm _softmax _log_softmax _safe_softmax
        linalg_vector_norm norm renorm dist _cdist_forward nll_loss_forward nll_loss2d_forward mse_loss smooth_l1_loss
        huber_loss binary_cross_entropy_with_logits soft_margin_loss
        native_layer_norm_backward native_group_norm_backward _softmax_backward_data _log_softmax_backward_data
        nll_loss_backward nll_loss2d_backward
    """),
    ("widest", """
        addcdiv addcmul atan2 bilinear cross dot vdot grid_sampler_2d grid_sampler_3d index_put scatter_add cat stack
        _trilinear tensordot
    """),
    # On none of autocast's lists: the data decides over the type, whatever the weights and statistics are.
    ("data", """
        native_batch_norm cudnn_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training
        _batch_norm_with_update _batch_norm_no_update miopen_batch_norm native_batch_norm_backward
        cudnn_batch_norm_backward batch_norm_backward
    """),
)  # fmt: skip
_POLICY = {kind: policy for policy, kinds in _LISTS for kind in kinds.split()}
NO_POLICIES: Mapping[str, str] = MappingProxyType({})


class Program(NamedTuple):
    """Operators in order, casts among them, and the storages that their values index. No lifetimes: those of the
    traced program's storages stay as they were, a cast's memory is alive from its operator on."""

    ops: tuple[Op, ...]
    storages: tuple[Storage, ...]


def program(
    graph: ModelGraph, precision: str, half: str = "float16", policies: Mapping[str, str] = NO_POLICIES
) -> Program:
    """The operators of a graph as they run in a precision.

    fp32, tf32: as traced (the two differ in the rate of products, not in bytes). fp16, bf16: every float32 tensor is
    of that type. amp: as under ``torch.autocast``, ``half`` being its type. What was traced in another type than
    float32 keeps it.

    policies: what autocast does with some kinds of operators where a program overrules its lists: half, float32, widest
    or data (the type of the first input decides).

    Raises:
        UnusableInput: there is no such precision.
    """
    if precision not in PRECISIONS:
        raise UnusableInput(f"no precision {precision!r}; one of {', '.join(PRECISIONS)}")
    if precision in ("fp16", "bf16"):
        return _halved(graph, "float16" if precision == "fp16" else "bfloat16")
    if precision == "amp":
        return _Autocast(graph, half, policies).result()
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


class _Autocast:
    """Walks through the program once and knows of every storage whether its floats are halves."""

    def __init__(self, graph: ModelGraph, half: str, policies: Mapping[str, str]) -> None:
        self.graph = graph
        self.policies = _POLICY | dict(policies)
        self.half = half
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
        wanted = None if op.view else self._wanted(op, inputs)
        if wanted:
            for i, value in enumerate(inputs):
                if value.dtype in ("float32", self.half) and value.dtype != wanted:
                    inputs[i], cast = self._converted(op, value, wanted)
                    yield from cast
        self._mark(op, inputs, wanted)
        yield op._replace(inputs=tuple(inputs), outputs=tuple([self._typed(value) for value in op.outputs]))

    def _typed(self, value: Value) -> Value:
        return value._replace(dtype=self.half) if value.storage in self.halves and value.dtype == "float32" else value

    def _wanted(self, op: Op, inputs: list[Value]) -> str | None:
        """The type that the operator's list asks for; None where it takes what comes. In place, nothing is cast."""
        if op.phase == "optimizer":
            return "float32"
        policy = self.policies.get(op.kind)
        if policy == "half":
            return self.half
        widest = policy == "widest" and any(value.dtype == "float32" for value in inputs)
        return "float32" if policy == "float32" or widest else None

    def _converted(self, op: Op, value: Value, wanted: str) -> tuple[Value, list[Op]]:
        """The value in the wanted type, and the cast that makes it where it is not there yet."""
        # A weight and its transpose are one tensor; parts of one are not.
        whole = value.bytes == self.storages[value.storage].bytes
        key = (value.storage, () if whole else value.shape, wanted)
        param = value.storage < len(self.graph.storages) and self.graph.storages[value.storage].kind == "param"
        known = self._cast.get(key)
        if known is not None and (param or op.phase != "forward"):
            return known, []
        self._count += 1
        storage = Storage(len(self.storages), value.numel * ITEM_BYTES[wanted], "temporary", len(self.ops), None)
        self.storages.append(storage)
        result = self._cast[key] = Value(f"autocast#{self._count}", value.shape, wanted, storage.id)
        name = f"{op.module}.{result.name}" if op.module else result.name
        cast = Op(
            name, "_to_copy", (value,), (result,), op.params if param else (), {"dtype": wanted}, op.module, op.phase
        )
        return result, [cast._replace(roles=("self",), call=op.call)]

    def _mark(self, op: Op, inputs: list[Value], wanted: str | None) -> None:
        """Which of the storages that the operator makes hold halves."""
        given = {value.storage for value in op.inputs}
        new = [value for value in op.outputs if value.storage not in given and value.dtype == "float32"]
        if not new:
            return
        if self.policies.get(op.kind) == "data":
            made = inputs[0].dtype == self.half
            new = new[:1]  # the statistics stay float32
        elif wanted:
            made = wanted == self.half
        else:
            made = self._promotes_to_half(op, inputs)
        for storage in {value.storage for value in new} if made else ():
            self.halves.add(storage)
            self.storages[storage] = self.storages[storage]._replace(bytes=self.storages[storage].bytes // 2)

    def _promotes_to_half(self, op: Op, inputs: list[Value]) -> bool:
        """By type promotion: a float32 tensor wins over halves, a scalar tensor over none."""
        if op.attrs.get("dtype") in ("torch.float32", "torch.float64"):
            return False
        floats = [value for value in inputs if value.dtype in ("float32", self.half)]
        floats = [value for value in floats if value.shape] or floats
        return bool(floats) and all(value.dtype == self.half for value in floats)
