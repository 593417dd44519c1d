"""Kernels of a compiled program: products stay as they are, the rest is fused where it walks over the same elements.

That is what ``torch.compile`` does by default: convolutions and matrix products are calls of a library, everything
elementwise, norms and reductions become generated kernels, and two of them become one when they iterate over equally
many elements and nothing that runs between them is in the way.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from .analyses.op_costs import accessed
from .graph import Op, Storage, Value
from .kernels import Kernel, kernels
from .precisions import Program


def merged(program: Program, kept: Iterable[Value]) -> list[Kernel]:
    """The kernels of a program as a compiler fuses them. kept: values that outlive it."""
    groups = _grouped(kernels(program))
    readers: dict[int, set[int]] = {value.storage: {-1} for value in kept}
    for number, group in enumerate(groups):
        for kernel in group:
            for op in kernel.ops:
                for value in op.inputs:
                    readers.setdefault(value.storage, set()).add(number)
    return [
        group[0] if len(group) == 1 else _fused(group, number, readers, program.storages)
        for number, group in enumerate(groups)
    ]


def _grouped(eager: list[Kernel]) -> list[list[Kernel]]:
    """Each kernel joins the latest one whose result it reads, if that walks over the same elements."""
    groups: list[list[Kernel]] = []
    walks: list[int] = []
    made_in: dict[int, int] = {}
    for kernel in eager:
        op = kernel.ops[0]
        walk = _elements(kernel)
        # A group runs where it began, so what a member reads must be made by then: the latest source decides.
        latest = max((made_in[value.storage] for value in op.inputs if value.storage in made_in), default=-1)
        if walk and latest >= 0 and walks[latest] == walk:
            groups[latest].append(kernel)
            number = latest
        else:
            groups.append([kernel])
            walks.append(walk)
            number = len(groups) - 1
        for value in op.outputs:
            made_in[value.storage] = number
    return groups


def _elements(kernel: Kernel) -> int:
    """How many elements a generated kernel walks over; 0 for what is not generated or not known."""
    op = kernel.ops[0]
    generated = kernel.kind in ("pointwise", "normalisation") and kernel.flops is not None
    if not generated or not op.outputs:
        return 0
    return max((math.prod(value.shape) for value in (*op.inputs, *op.outputs)), default=0)


def _fused(group: list[Kernel], number: int, readers: dict[int, set[int]], storages: Sequence[Storage]) -> Kernel:
    """One kernel: it reads what is made elsewhere and writes what is read elsewhere."""
    ops: tuple[Op, ...] = tuple(op for kernel in group for op in kernel.ops)
    made = {value.storage for op in ops for value in op.outputs}
    first_inputs = {value.storage for value in ops[0].inputs}
    inputs = {v.storage: v for op in ops for v in op.inputs if v.storage not in made or v.storage in first_inputs}
    outputs = {v.storage: v for op in ops for v in op.outputs if readers.get(v.storage, set()) - {number}}
    kind = "normalisation" if any(kernel.kind == "normalisation" for kernel in group) else "pointwise"
    flops = sum(kernel.flops or 0 for kernel in group)
    return group[0]._replace(
        kind=kind,
        flops=flops,
        padded=flops,
        read=accessed(tuple(inputs.values()), storages),
        written=accessed(tuple(outputs.values()), storages),
        ops=ops,
    )
