"""``reconcile``: why papers and tools print different numbers of operations for the same network.

A convention is a rule that gives a count for each operator. All are computed from one graph, so that two totals differ
in nothing but the rule; and from the graphs of siblings, nets of the same name elsewhere, which may stride elsewhere.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .analyses.op_costs import work
from .analyses.tool_rules import CONVENTIONS, EVERYTHING, multiply_adds
from .errors import UnusableInput
from .graph import ModelGraph, Op
from .table import Table, column, table
from .units import si


@dataclasses.dataclass(frozen=True, slots=True)
class Total:
    """What one convention gives for one net. measured: what the tool itself says; None where it did not run."""

    name: str = column("net: convention")
    module: str = column("module", hidden=True, default="")
    net: str = column("net", hidden=True, default="")
    convention: str = column("convention", hidden=True, default="")
    unit: str = column("unit", rank=1, default="")
    total: int = column("total", "count", rank=0, default=0)
    short: str = column("reads", rank=4, default="")
    measured: int | None = column("tool run", "count", rank=3, default=None)
    used_by: str = column("used by", rank=2, default="")
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

    Raises:
        UnusableInput: a graph is a training step.
    """
    for net in (graph, *siblings):
        if net.train:
            raise UnusableInput(f"{net.name} is a training step; conventions of counting are about inference")
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
            unknown if each.name == EVERYTHING else (),
        )  # fmt: skip


def against(graph: ModelGraph, other: ModelGraph) -> str:
    """Where the products of two nets of the same weights differ."""
    ours, theirs = ([op for op in net if multiply_adds(net, op)] for net in (graph, other))
    difference = sum(multiply_adds(other, op) for op in theirs) - sum(multiply_adds(graph, op) for op in ours)
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
        if multiply_adds(graph, a) != multiply_adds(other, b)
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
