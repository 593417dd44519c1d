"""``reconcile``: why papers and tools print different numbers of operations for the same network.

A convention is a rule that gives a count for each operator. All are computed from one graph, so that two totals differ
in nothing but the rule; and from the graphs of siblings, nets of the same name elsewhere, which may stride elsewhere.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .analyses.op_costs import work
from .errors import UnusableInput
from .graph import ModelGraph, Op
from .table import Table, column, table
from .units import si

Counts = Callable[[ModelGraph, Op], int]


class Convention(NamedTuple):
    """A way to count. rule: in words; unit: MAC or FLOP; tool: the program whose rule it is, or ''."""

    name: str
    unit: str
    used_by: str
    rule: str
    counts: Counts
    tool: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Total:
    """What one convention gives for one net. measured: what the tool itself says; None where it did not run."""

    name: str = column("net: convention")
    module: str = column("module", hidden=True, default="")
    net: str = column("net", hidden=True, default="")
    convention: str = column("convention", hidden=True, default="")
    unit: str = column("unit", default="")
    total: int = column("total", "count", default=0)
    short: str = column("reads", default="")
    measured: int | None = column("tool run", "count", default=None)
    used_by: str = column("used by", default="")
    rule: str = column("rule", hidden=True, default="")
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


class Figure(NamedTuple):
    """A printed number of operations: 4.11, 1e9, 2 digits behind the point, and who prints it."""

    text: str
    value: float
    scale: float
    digits: int
    by: str = ""


def reconcile(
    graph: ModelGraph,
    siblings: Sequence[ModelGraph] = (),
    *,
    figures: Iterable[Figure] = (),
    measured: Mapping[tuple[str, str], int] | None = None,
) -> Table[Total]:
    """The totals of all conventions for a net and its siblings.

    Args:
        siblings: nets of the same name from elsewhere, with names of their own; one that counts the same is left out.
        figures: printed numbers; notes tell which rules give them.
        measured: what tools said when they ran, by name of the net and of the tool.
    """
    rows: list[Total] = []
    notes: list[str] = []
    for net in (graph, *siblings):
        own = list(_totals(net, measured or {}))
        if net is not graph and [row.total for row in own] == [row.total for row in rows[: len(own)]]:
            notes.append(f"{net.name} counts the same as {graph.name}")
            continue
        if net is not graph:
            notes.append(against(graph, net))
        rows += own
    missing = sorted({kind for row in rows for kind in row.missing})
    notes += [f"operators without a rule, counted as nothing: {', '.join(missing)}"] if missing else []
    notes += [explained(figure, rows) for figure in figures]
    return table("operations by convention", rows, Total, model=graph.name, input=graph.input_text, notes=tuple(notes))


def _totals(graph: ModelGraph, measured: Mapping[tuple[str, str], int]) -> Iterable[Total]:
    unknown = tuple(op.kind for op in graph if work(op, graph.storages) is None)
    for each in CONVENTIONS:
        total = sum(each.counts(graph, op) for op in graph)
        ran = measured.get((graph.name, each.tool)) if each.tool else None
        name = f"{graph.name}: {each.name}"
        yield Total(
            name, "", graph.name, each.name, each.unit, total, si(total), ran, each.used_by, each.rule,
            unknown if each.name == _EVERYTHING else (),
        )  # fmt: skip


def against(graph: ModelGraph, other: ModelGraph) -> str:
    """Where the products of two nets of the same weights differ."""
    ours, theirs = ([op for op in net if _macs(net, op)] for net in (graph, other))
    difference = sum(_macs(other, op) for op in theirs) - sum(_macs(graph, op) for op in ours)
    words = f"{abs(difference):,} multiply-adds {'more' if difference > 0 else 'fewer'} in {other.name}"
    params = [sum(each.numel for each in net.parameters if each.role != "buffer") for net in (graph, other)]
    if params[0] != params[1]:
        return f"{words}: another net, with {params[1]:,} parameters instead of {params[0]:,}"
    # The same weights may be called in another order: projections before or after the residual branch.
    weights, by_weight = [], {}
    for net, ops in ((graph, ours), (other, theirs)):
        found: dict[Any, list[Op]] = {}
        for op in ops:
            found.setdefault(_weight_shape(net, op), []).append(op)
        by_weight[net.name] = found
        weights.append({shape: len(same) for shape, same in found.items()})
    if weights[0] != weights[1]:
        return f"{words}, of other shapes"
    changed = [
        b
        for shape, same in by_weight[graph.name].items()
        for a, b in zip(same, by_weight[other.name][shape], strict=True)
        if _macs(graph, a) != _macs(other, b)
    ]
    if not changed:
        return f"{other.name} has the same products as {graph.name}"
    return f"{words}, of the same weights: {len(changed)} layers see maps of another size, {changed[0].module} first"


def _weight_shape(graph: ModelGraph, op: Op) -> Any:
    return next((value.shape for value in op.inputs[1:] if graph.storages[value.storage].kind == "param"), None)


# -- printed figures --------------------------------------------------------------------------------------------------

_FIGURE = re.compile(r"(?P<number>\d+(?:\.(?P<digits>\d+))?)\s*(?P<prefix>[kKMGBT]?)")
_SCALES = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12}


def figure(text: str, by: str = "") -> Figure:
    """``4.11G`` as a Figure; without a prefix, a number below 1000 is in G.

    Raises:
        UnusableInput: the text is not of that form.
    """
    match = _FIGURE.fullmatch(text.strip().replace(",", ""))
    if not match:
        raise UnusableInput(f"cannot read the figure {text!r}; write it like 4.11G or 558M")
    value = float(match["number"])
    prefix = match["prefix"] or ("G" if value < 1000 else "")
    return Figure(text.strip(), value, _SCALES[prefix], len(match["digits"] or ""), by)


def explained(printed: Figure, rows: Iterable[Total]) -> str:
    """``4.11G (timm): convolutions, linear layers, batch norm at 2 ... of torchvision:resnet50 (4,111,512,576)``."""
    who = f"{printed.text} ({printed.by})" if printed.by else printed.text
    rounded, cut = [], []
    for row in rows:
        shown = row.total / printed.scale
        step = 10**printed.digits
        # Halves are rounded up: what people do by hand.
        if math.floor(shown * step + 0.5) == round(printed.value * step):
            rounded.append(row)
        elif math.floor(shown * step) == round(printed.value * step):
            cut.append(row)
    found = rounded or cut
    if not found:
        return f"{who}: no convention here gives it"
    how = "" if rounded else ", cut off and not rounded"
    return f"{who}: " + "; or ".join(
        f"{row.convention}, {row.net} ({row.total:,} {row.unit}{how})" for row in found[:3]
    )


# -- the rules --------------------------------------------------------------------------------------------------------

_LINEAR = ("addmm", "mm", "linear", "addmv", "mv")
_ADAPTIVE = ("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d")
_POOLS = ("max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d", "avg_pool3d", "avg_pool1d", *_ADAPTIVE)
_BATCH_NORMS = ("native_batch_norm", "_native_batch_norm_legit_no_training")
_OTHER_NORMS = ("native_layer_norm", "native_group_norm")


def _macs(graph: ModelGraph, op: Op) -> int:
    cost = work(op, graph.storages)
    return cost.macs if cost is not None else 0


def _flops(graph: ModelGraph, op: Op) -> int:
    cost = work(op, graph.storages)
    return cost.flops if cost is not None else 0


def _convolutions(graph: ModelGraph, op: Op) -> int:
    return _macs(graph, op) if op.kind == "convolution" else 0


def _doubled(graph: ModelGraph, op: Op) -> int:
    return 2 * _macs(graph, op)


def _bias(op: Op) -> int:
    """One addition for each result of a product with a bias."""
    with_bias = op.input("bias") is not None if op.kind in ("convolution", "linear") else op.kind in ("addmm", "addmv")
    return op.outputs[0].numel if with_bias else 0


def _with_bias(graph: ModelGraph, op: Op) -> int:
    """As ptflops counts below autograd: convolutions and products of matrices, a bias as one more."""
    return _macs(graph, op) + _bias(op)


def _global_pool(op: Op) -> bool:
    """Adaptive average pooling; to one element, torch runs it as a mean over the last dimensions that keeps them."""
    mean = op.kind == "mean" and op.attrs.get("keepdim") and tuple(op.attrs.get("dim") or ()) in ((-1, -2), (-2, -1))
    return bool(mean) or op.kind in _ADAPTIVE


def _affine(op: Op) -> bool:
    return op.input("weight") is not None


def _fvcore(graph: ModelGraph, op: Op) -> int:
    """fvcore 0.1.5: products without biases, norms, adaptive average pooling; nothing else."""
    if op.kind in _BATCH_NORMS:
        return op.inputs[0].numel * (1 + _affine(op))
    if op.kind in _OTHER_NORMS:
        return op.inputs[0].numel * (4 + _affine(op))
    if _global_pool(op):
        return op.inputs[0].numel
    return _macs(graph, op)


def _thop(graph: ModelGraph, op: Op) -> int:
    """thop 0.1.1: convolutions, linear layers; batch norm 2, and again 2 with scale and shift; average pooling."""
    if op.kind in _BATCH_NORMS:
        return op.inputs[0].numel * (4 if _affine(op) else 2)
    if _global_pool(op):
        return op.inputs[0].numel + op.outputs[0].numel
    if op.kind in ("avg_pool2d", "avg_pool3d", "avg_pool1d"):
        return op.outputs[0].numel
    return _macs(graph, op) if op.kind == "convolution" or op.kind in _LINEAR else 0


def _ptflops(graph: ModelGraph, op: Op) -> int:
    """ptflops 0.7: a hook on each layer and another on each function; a layer that calls its function counts twice.

    Not a convolution or batch norm, whose functions have no hook.
    """
    call = graph.calls[op.call]
    kind = op.kind.rstrip("_")
    if kind in _LINEAR:
        twice = 2 if call.leaf and call.type == "Linear" else 1
        return twice * _macs(graph, op) + _bias(op)
    if kind == "convolution":
        return _macs(graph, op) + _bias(op)
    if kind in _BATCH_NORMS or kind in _OTHER_NORMS:
        return op.inputs[0].numel * (1 + _affine(op))
    both = 2 if call.leaf and call.parent >= 0 else 1
    if kind in ("relu", "gelu", "elu", "_prelu_kernel"):
        return op.outputs[0].numel * both
    if kind in _POOLS or _global_pool(op):
        return op.inputs[0].numel * both
    return op.outputs[0].numel if kind in ("silu", "_softmax", "hardtanh", "leaky_relu") else 0


_EVERYTHING = "all arithmetic"

CONVENTIONS = (
    Convention("conv + linear", "MAC", "papers, torchvision", "convolutions and matrix products", _macs),
    Convention("conv", "MAC", "papers without classifier", "convolutions alone", _convolutions),
    Convention("conv + linear + bias", "MAC", "ptflops aten",
               "convolutions and matrix products, 1 for each result with a bias", _with_bias, "ptflops aten"),
    Convention("+ 2 BN + global pool", "MAC", "fvcore, timm",
               "products without biases; batch norm 2 an element, layer norm 5; adaptive average pooling 1 an input; "
               "fvcore calls it flops, timm GMACs; torch's attention, which fvcore does not see, is in it as products", _fvcore, "fvcore"),
    Convention("+ 4 BN + avg pool", "MAC", "thop 0.1.1",
               "convolutions and linear layers without biases; batch norm 4 an element; average pooling", _thop),
    Convention("+ bias + 2 BN + ReLU + pool", "MAC", "ptflops 0.7",
               "products with biases; batch norm 2 an element; layers that call a counted function count twice: linear, "
               "ReLU, pooling", _ptflops, "ptflops"),
    Convention("2 x (conv + linear)", "FLOP", "torch, Canziani et al.",
               "2 for each multiply-add; as torch.utils.flop_counter, Canziani's G-Ops and SqueezeNet's README", _doubled,
               "torch.utils.flop_counter"),
    Convention(_EVERYTHING, "FLOP", "cnnscope",
               "2 for each multiply-add, 1 for each addition, comparison and function", _flops),
)  # fmt: skip
