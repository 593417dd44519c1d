"""A jit trace of a model without weights, as fvcore needs one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from .analyses.costs import OpCost
from .arguments import tensors_in


def node_name(kind: str) -> str:
    """As fvcore names the kind of a jit node."""
    return "conv" if kind == "aten::_convolution" else kind.partition("::")[2] or kind


def taken_apart(row: OpCost) -> list[tuple[str, int]]:
    """Kinds and MACs of the products that an operator is made of on meta, where attention is no single kernel."""
    macs = row.macs or 0
    return [("bmm", macs), ("bmm", 0)] if row.kind.startswith("_scaled_dot_product_") else [(row.kind, macs)]


class TracedForJit(nn.Module):
    """A model for ``torch.jit``, which takes and returns nothing but tensors."""

    def __init__(self, model: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        super().__init__()
        self.model = model
        self.mode = JitOnMeta()
        self._leaves, self._form = pytree.tree_flatten((args, keywords))
        self.tensors = tuple(leaf for leaf in self._leaves if isinstance(leaf, torch.Tensor))

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.mode.graph = torch._C._get_tracing_state().graph()
        given = iter(tensors)
        leaves = [next(given) if isinstance(leaf, torch.Tensor) else leaf for leaf in self._leaves]
        args, keywords = pytree.tree_unflatten(leaves, self._form)
        return tuple(tensors_in(self.model(*args, **keywords))) or tensors


class JitOnMeta(TorchDispatchMode):
    """Makes a jit trace possible on the meta device, and notes the jit node under which each operator runs.

    Torch's meta kernels are Python and read sizes, which are traced tensors while a trace goes on: it has to pause
    for them. And the node that counters know a convolution by, ``aten::_convolution``, comes from the kernel of real
    devices; here it is called for.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # as in Recorder: the wrapper would import torch._dynamo

    def __init__(self) -> None:
        super().__init__()
        self.graph: Any = None
        self.ran: list[tuple[str, str]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        aten = torch.ops.aten
        state = torch._C._get_tracing_state()
        if state is None:  # inside a node, whose tracing is over
            if func is aten._convolution.default:
                func, args = aten.convolution.default, args[:9]
            if self.graph is not None:
                self.ran.append((func._schema.name.partition("::")[2], self.graph.insertPoint().prev().kind()))
            return func(*args, **(kwargs or {}))
        with _tracer_allowed():
            if func is aten.convolution.default:
                with self:
                    return aten._convolution.default(*args, False, False, False, False)
            torch._C._set_tracing_state(None)  # type: ignore[attr-defined]
            try:
                return func(*args, **(kwargs or {}))
            finally:
                torch._C._set_tracing_state(state)  # type: ignore[attr-defined]

    def products(self, ours: Sequence[OpCost]) -> dict[str, int] | None:
        """Our MACs by the jit node that they ran under; None when this run made other products than ours."""
        expected = [(kind, macs) for row in ours for kind, macs in taken_apart(row)]
        kinds = {kind for kind, _ in expected}
        ran = [(kind, node) for kind, node in self.ran if kind in kinds]
        if [kind for kind, _ in ran] != [kind for kind, _ in expected]:
            return None
        found: Counter[str] = Counter()
        for (_, macs), (_, node) in zip(expected, ran, strict=True):
            found[node_name(node)] += macs
        return found


def _tracer_allowed() -> Any:
    """Dispatch with the tracer, which torch turns off on the way into a dispatch mode."""
    tracer = torch._C._dispatch_key_parse("Tracer")
    excluded = torch._C._dispatch_tls_local_exclude_set().remove(tracer)
    return torch._C._ForceDispatchKeyGuard(torch._C._dispatch_tls_local_include_set(), excluded)
