"""How the cost of an optimizer's step on lists of tensors follows from its arguments; see ``op_rules``.

An operator on a list is the operator on each of its tensors: with or without lists a step costs the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..graph import Op
from .op_rules import Cost, Moved


def elementwise(kind: str, attrs: Mapping[str, Any]) -> int:
    """Operations for each element. A factor ``alpha`` or ``value`` that is not 1 is one more."""
    if kind in ("add", "sub", "rsub"):
        return 1 if attrs.get("alpha", 1) == 1 else 2
    if kind in ("addcmul", "addcdiv"):
        return 2 if "scalars" not in attrs and attrs.get("value", 1) == 1 else 3
    return {"lerp": 3, "norm": 2, "powsum": 2, "zero": 0, "copy": 0, "clone": 0}.get(kind, 1)


def single(op: Op) -> Cost:
    """add, addcmul, lerp and their like on one tensor."""
    return Cost(flops=elementwise(op.kind.rstrip("_"), op.attrs) * op.outputs[0].numel)


def foreach(op: Op) -> Cost:
    """The same on a list; what it changes is the list called ``self``."""
    kind = op.kind.removeprefix("_foreach_").rstrip("_")
    read: Moved = 0 if kind == "zero" else ("src",) if kind == "copy" else None
    written = None if op.outputs else ("self",)
    return Cost(flops=elementwise(kind, op.attrs) * _elements(op), read=read, written=written)


def fused_adam(op: Op) -> Cost:
    """Adam and AdamW in one kernel: both moments (3 and 4), root, correction and eps (3), the step (3), decay."""
    attrs = op.attrs
    decay = (1 if "adamw" in op.kind else 2) if attrs["weight_decay"] else 0
    return _fused(op, 13 + decay + attrs["amsgrad"] + attrs["maximize"], "exp_avgs", "exp_avg_sqs", "max_exp_avg_sqs")


def fused_sgd(op: Op) -> Cost:
    """SGD in one kernel: the step (2), momentum (2, 3 with dampening), Nesterov's look ahead (2), decay (2)."""
    attrs = op.attrs
    moment = (2 + (attrs["dampening"] != 0) + 2 * attrs["nesterov"]) if attrs["momentum"] else 0
    decay = 2 if attrs["weight_decay"] else 0
    return _fused(op, 2 + moment + decay + attrs["maximize"], "momentum_buffer_list")


def fused_adagrad(op: Op) -> Cost:
    """Adagrad in one kernel: the sum of squares (2), root and eps (2), the step (3), decay (2)."""
    decay = 2 if op.attrs["weight_decay"] else 0
    return _fused(op, 7 + decay + op.attrs["maximize"], "state_sums")


def _fused(op: Op, operations: int, *states: str) -> Cost:
    return Cost(flops=operations * _elements(op), written=None if op.outputs else ("self", *states))


def _elements(op: Op) -> int:
    return sum(value.numel for value, role in zip(op.inputs, op.roles, strict=True) if role == "self")
