"""``crosscheck``: what other counters say of the same model, and why they say something else.

Every counter runs on a weightless copy of its own, on the meta device. ``Opinion.difference`` is taken apart into what
the counter adds and what it leaves out, so that ours + adds - leaves out = theirs; what is left is ``unexplained``.
"""

from __future__ import annotations

import dataclasses
import itertools
import textwrap
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from .analyses.costs import OpCost, cost
from .analyses.parameters import params
from .arguments import arguments_of
from .errors import UnusableInput
from .graph import ModelGraph
from .jit_on_meta import TracedForJit, node_name, taken_apart
from .standins import stand_in
from .surroundings import random_state_kept
from .table import Table, column, table
from .tracing import trace
from .units import si


@dataclasses.dataclass(frozen=True, slots=True)
class Opinion:
    """What one counter says. None where it says nothing, or could not run: ``failure`` tells why.

    total: the figure as the counter prints it, in its ``unit``; macs: the same figure in MACs, to compare.
    """

    name: str = column("counter")
    module: str = column("module", hidden=True, default="")
    unit: str | None = column("counts", rank=5, default=None)
    total: int | None = column("its figure", "count", hidden=True, default=None)
    params: int | None = column("params", "count", rank=1, default=None)
    macs: int | None = column("MACs", "MAC", rank=0, default=None)
    params_difference: int | None = column("params - ours", "count", rank=3, default=None)
    difference: int | None = column("MACs - ours", "MAC", rank=0, default=None)
    percent: float | None = column("MACs - ours, %", "ratio", rank=4, default=None)
    adds: str | None = column("adds", default=None)
    leaves_out: str | None = column("leaves out", default=None)
    unexplained: int | None = column("unexplained", "MAC", rank=2, default=None)
    failure: str | None = column("failure", default=None)
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


class _Ours(NamedTuple):
    """What the others are held against.

    products: the operators with MACs in the order in which they ran; others: FLOPs that are no products, by kind;
    read: the parameters that any operator reads.
    """

    params: int
    macs: int
    products: tuple[OpCost, ...]
    others: Mapping[str, int]
    read: frozenset[str]
    missing: tuple[str, ...]


class _Report(NamedTuple):
    """A counter's answer. adds, leaves_out: MACs by name; words: what else it leaves out."""

    total: int | None = None
    macs: int | None = None
    params: int | None = None
    adds: Mapping[str, int] = {}
    leaves_out: Mapping[str, int] = {}
    words: tuple[str, ...] = ()


def crosscheck(
    model: nn.Module, input: Any = None, *, kwargs: Mapping[str, Any] | None = None, graph: ModelGraph | None = None
) -> Table[Opinion]:
    """Our totals beside those of torch.utils.flop_counter, of fvcore and of ``sum(p.numel())``.

    ``model``, ``input`` and ``kwargs`` are those of ``trace``; ``graph`` is what ``trace`` made of them, where there
    is one already. A counter that fails has a row without figures; the model is left as it was found.

    Raises:
        UnusableInput: ``graph`` is a training step.
    """
    graph = trace(model, input, kwargs=kwargs) if graph is None else graph
    if graph.train:
        raise UnusableInput(f"{graph.name} is a training step; other counters count inference: leave out --train")
    ours = _count(graph)
    rows = [_our_opinion(ours)]
    for name, unit, ask in _COUNTERS:
        try:
            with warnings.catch_warnings(), random_state_kept(), torch.no_grad():
                warnings.simplefilter("ignore")
                rows.append(_opinion(name, unit, ours, ask(ours, model, input, kwargs or {})))
        except Exception as error:  # another project's code on any user's model: its failure is an answer
            rows.append(Opinion(name, unit=unit, failure=_reason(error)))
    return table("crosscheck", rows, Opinion, model=graph.name, input=graph.input_text)


# -- ours, and the difference to it -----------------------------------------------------------------------------------


def _count(graph: ModelGraph) -> _Ours:
    rows = tuple(cost(graph).values())
    others: Counter[str] = Counter()
    for row in rows:
        rest = (row.flops or 0) - 2 * (row.macs or 0)
        others["additions after products" if row.macs else row.kind] += rest
    return _Ours(
        params(graph).total.params,
        sum(row.macs or 0 for row in rows),
        tuple(row for row in rows if row.macs),
        +others,
        frozenset(name for op in graph for name in op.params),
        tuple(kind for row in rows for kind in row.missing),
    )


def _our_opinion(ours: _Ours) -> Opinion:
    unknown = ", ".join(f"{kind} ×{count}" for kind, count in Counter(ours.missing).items())
    return Opinion(
        "cnnscope",
        unit="MACs",
        total=ours.macs,
        params=ours.params,
        macs=ours.macs,
        leaves_out=f"no rule for {unknown}" if unknown else None,
        missing=ours.missing,
    )


def _opinion(name: str, unit: str, ours: _Ours, report: _Report) -> Opinion:
    difference = unexplained = percent = None
    if report.macs is not None:
        difference = report.macs - ours.macs
        unexplained = difference - sum(report.adds.values()) + sum(report.leaves_out.values())
        percent = 100 * difference / ours.macs if ours.macs else None
    return Opinion(
        name,
        unit=unit,
        total=report.total,
        params=report.params,
        macs=report.macs,
        params_difference=None if report.params is None else report.params - ours.params,
        difference=difference,
        percent=percent,
        adds=_amounts(report.adds) or None,
        leaves_out="; ".join(filter(None, (_amounts(report.leaves_out), *report.words))) or None,
        unexplained=unexplained,
    )


def _amounts(amounts: Mapping[str, int], shown: int = 6) -> str:
    """``batch_norm 22.23 M, linear 2.05 M``, the largest first and the small ones together."""
    items = sorted(amounts.items(), key=lambda item: -item[1])
    texts = [f"{name} {si(amount)}" for name, amount in items[:shown]]
    if items[shown:]:
        texts.append(f"{len(items) - shown} more {si(sum(amount for _, amount in items[shown:]))}")
    return ", ".join(texts)


def _apart(theirs: Mapping[str, int], ours: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """What theirs adds to ours and leaves out of it, by name."""
    differences = {name: theirs.get(name, 0) - ours.get(name, 0) for name in [*theirs, *ours]}
    adds = {name: amount for name, amount in differences.items() if amount > 0}
    return adds, {name: -amount for name, amount in differences.items() if amount < 0}


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["(no message)"]
    return f"did not run: {type(error).__name__}: {textwrap.shorten(lines[0], 120, placeholder=' ...')}"


def _twin(model: nn.Module, input: Any, kwargs: Mapping[str, Any]) -> tuple[nn.Module, tuple[Any, ...], dict[str, Any]]:
    """The model as ``trace`` runs it, and its arguments."""
    twin, originals = stand_in(model)
    for module in twin.modules():
        module.training = False
    args, keywords = arguments_of(twin, input, kwargs, originals)
    return twin, args, keywords


# -- the others -------------------------------------------------------------------------------------------------------


def _numel(ours: _Ours, model: nn.Module, input: Any, kwargs: Mapping[str, Any]) -> _Report:
    return _Report(params=sum(p.numel() for p in model.parameters()), words=("all operations",))


def _flop_counter(ours: _Ours, model: nn.Module, input: Any, kwargs: Mapping[str, Any]) -> _Report:
    """torch's own: a formula for each of some twenty kinds of operator, nothing for any other."""
    from torch.utils.flop_counter import FlopCounterMode

    twin, args, keywords = _twin(model, input, kwargs)
    with FlopCounterMode(display=False) as counter:
        twin(*args, **keywords)
    flops = counter.get_flop_counts().get("Global", {})
    theirs = {packet.__name__: count // 2 for packet, count in flops.items()}
    own: Counter[str] = Counter()
    for kind, macs in itertools.chain.from_iterable(map(taken_apart, ours.products)):
        own[kind] += macs
    adds, leaves_out = _apart(theirs, own)
    others = f" (FLOPs: {_amounts(ours.others, 3)})" if ours.others else ""
    rest = f"all but convolution, matrix product and attention{others}"
    return _Report(sum(flops.values()), sum(theirs.values()), None, adds, leaves_out, (rest, "parameters"))


def _fvcore(ours: _Ours, model: nn.Module, input: Any, kwargs: Mapping[str, Any]) -> _Report:
    """fvcore counts the nodes of a jit trace, among them some that do no products; its "flop" is one MAC."""
    from fvcore.nn import FlopCountAnalysis, parameter_count

    twin, args, keywords = _twin(model, input, kwargs)
    traced = TracedForJit(twin, args, keywords)
    analysis = FlopCountAnalysis(traced, traced.tensors).tracer_warnings("none")
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    with traced.mode:
        by_node = analysis.by_operator()
    theirs = {name: round(count) for name, count in by_node.items()}
    own = traced.mode.products(ours.products)
    if own is None:  # the two runs differ: no product can be matched, and what does not agree is unexplained
        own = {name: count for name, count in theirs.items() if name in _PRODUCT_NODES}
    adds, leaves_out = _apart(theirs, own)
    ignored = {node_name(kind): count for kind, count in analysis.unsupported_ops().items()}
    zeros = ", ".join(f"{name} ×{count}" for name, count in ignored.items() if name not in leaves_out)
    idle = _idle(ours, twin, {name.removeprefix("model").lstrip(".") for name in analysis.uncalled_modules()})
    words = (f"no rule for {zeros}" if zeros else "", f"never called: {idle}" if idle else "")
    total = sum(theirs.values())
    return _Report(total, total, parameter_count(twin)[""], adds, leaves_out, words)


_COUNTERS: tuple[tuple[str, str, Callable[[_Ours, nn.Module, Any, Mapping[str, Any]], _Report]], ...] = (
    ("torch.utils.flop_counter", "FLOPs, 2 a MAC", _flop_counter),
    ("fvcore", '"flops", 1 a MAC', _fvcore),
    ("sum(p.numel())", "parameters", _numel),
)
_PRODUCT_NODES = ("conv", "linear", "matmul", "addmm", "bmm", "mm", "einsum")


def _idle(ours: _Ours, twin: nn.Module, uncalled: set[str]) -> str:
    """The topmost of the modules that the counter saw no call of, without those whose weights others read."""
    names: list[str] = []
    for path, module in twin.named_modules():
        weights = {f"{path}.{name}" for name, _ in module.named_parameters()}
        within = any(path.startswith(f"{name}.") for name in names)
        if path in uncalled and weights and not weights & ours.read and not within:
            names.append(path)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
