"""``compare``: architectures side by side, against the first; ``winners``: those of ILSVRC, year by year."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from .analyses.depths import depth
from .analyses.layering import layers
from .analyses.receptive import receptive_field, spatial_input
from .graph import ModelGraph, Shape
from .table import Table, column, table


@dataclasses.dataclass(frozen=True, slots=True)
class Compared:
    """One network.

    activation: bytes that all its layers write together; depth: layers with weights on the longest path;
    receptive_field: what an element of the last feature map sees; size: bytes of the parameters as they are.
    ..._ratio: this network's figure as a multiple of the first one's.
    """

    name: str = column("model")
    module: str = column("module", hidden=True, default="")
    input: str = column("input", rank=8, default="")
    params: int = column("params", "count", rank=0, default=0)
    params_ratio: float | None = column("params x first", "ratio", rank=3, default=None)
    macs: int | None = column("MACs", "MAC", rank=0, default=None)
    macs_ratio: float | None = column("MACs x first", "ratio", rank=4, default=None)
    flops: int | None = column("FLOPs", "FLOP", rank=6, default=None)
    flops_ratio: float | None = column("FLOPs x first", "ratio", hidden=True, default=None)
    activation: int = column("activations", "byte", rank=1, default=0)
    activation_ratio: float | None = column("activations x first", "ratio", hidden=True, default=None)
    depth: int | None = column("depth", "count", rank=2, default=None)
    receptive_field: Shape | None = column("receptive field", "shape", rank=5, default=None)
    size: int = column("size", "byte", rank=7, default=0)
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


@dataclasses.dataclass(frozen=True, slots=True)
class Winner:
    """One entry of ILSVRC. error: official top-5 error on the test set, in percent, cited.

    chart_error, chart_layers: as the lecture's chart has them; depth, params: computed from the graph of ``model``.
    """

    name: str = column("entry")
    module: str = column("module", hidden=True, default="")
    year: str = column("year", rank=0, default="")
    error: float | None = column("top-5 error (%)", "ratio", rank=0, default=None)
    chart_error: str | None = column("on the chart", rank=4, default=None)
    chart_layers: str | None = column("layers on the chart", rank=5, default=None)
    model: str | None = column("net", rank=2, default=None)
    depth: int | None = column("depth computed", "count", rank=1, default=None)
    params: int | None = column("params computed", "count", rank=3, default=None)
    note: str | None = column("note", hidden=True, default=None)
    missing: tuple[str, ...] = column("missing", fold="join", hidden=True, default=())


def compare(graphs: Sequence[ModelGraph]) -> Table[Compared]:
    """Parameters, work, memory, depth, receptive field and size of each network, and ratios against the first one.

    Raises:
        ValueError: two graphs have the same name.
    """
    rows = [_row(graph) for graph in graphs]
    rows = [_against(row, rows[0]) for row in rows] if len(rows) > 1 else rows
    names = ", ".join(row.name for row in rows)
    notes = tuple(sentence(row, rows[0]) for row in rows[1:])
    notes += tuple(f"{graph.name}: MACs and FLOPs of a whole training step" for graph in graphs if graph.train)
    return table("comparison", rows, Compared, model=names, notes=notes)


def _row(graph: ModelGraph) -> Compared:
    total = layers(graph).total
    return Compared(
        graph.name,
        input=graph.input_text,
        params=total.params,
        macs=total.macs,
        flops=total.flops,
        activation=total.activation,
        depth=depth(graph).total.depth,
        receptive_field=last_field(graph),
        size=sum(each.bytes for each in graph.parameters if each.role != "buffer"),
        missing=total.missing,
    )


def last_field(graph: ModelGraph) -> Shape | None:
    """Receptive field of the last result that still has positions: before global pooling and linear layers."""
    source, axes = spatial_input(graph)
    if source is None:
        return None
    fields = receptive_field(graph)
    for op in reversed(graph.ops):
        shape = op.outputs[0].shape if op.outputs else ()
        if len(shape) == len(source.shape) and all(shape[axis] > 1 for axis in axes) and op.name in fields:
            return fields[op.name].size
    return None


def _against(row: Compared, first: Compared) -> Compared:
    counted = not row.missing and not first.missing  # two lower bounds have no ratio
    return dataclasses.replace(
        row,
        params_ratio=_ratio(row.params, first.params),
        macs_ratio=_ratio(row.macs, first.macs) if counted else None,
        flops_ratio=_ratio(row.flops, first.flops) if counted else None,
        activation_ratio=_ratio(row.activation, first.activation),
    )


def _ratio(value: int | None, first: int | None) -> float | None:
    return value / first if value is not None and first else None


def sentence(row: Compared, first: Compared) -> str:
    """``squeezenet1_0 has 49x fewer parameters than alexnet_grouped, 1.15x more MACs, 4.0x more ...``."""
    ratios = (
        (row.params_ratio, "parameters"),
        (row.macs_ratio, "MACs"),
        (row.activation_ratio, "bytes of activations"),
    )
    facts = [words for ratio, what in ratios if (words := times(ratio, what))]
    if facts:
        facts[0] += f" {'as' if ' as many' in f' {facts[0]}' else 'than'} {first.name}"
    if row.depth and first.depth:
        more = row.depth - first.depth
        facts.append(f"{abs(more)} {'more' if more > 0 else 'fewer'} layers of depth" if more else "the same depth")
    return f"{row.name} has {', '.join(facts)}" if facts else f"{row.name} and {first.name} have nothing to compare"


def times(ratio: float | None, what: str) -> str:
    """``49x fewer parameters``; '' where the ratio is not known."""
    if ratio is None or not ratio:
        return ""
    if abs(ratio - 1) < 0.005:
        return f"as many {what}" if ratio == 1 else f"about as many {what}"
    size = max(ratio, 1 / ratio)
    text = f"{size:.{0 if size >= 10 else 1 if size >= 1.95 else 2}f}"
    return f"{text}x {'more' if ratio > 1 else 'fewer'} {what}"


# -- what is cited ----------------------------------------------------------------------------------------------------


@cache
def accuracies() -> Mapping[str, Any]:
    """``architectures/accuracies.toml``."""
    return tomllib.loads((files(__package__) / "architectures" / "accuracies.toml").read_text(encoding="utf-8"))


def pruned(model: str) -> Mapping[str, Any] | None:
    """The densities that a paper prints for a network: ``layers`` by pattern, and ``where``; None where none does."""
    return next((each for each in accuracies()["pruned"] if each["model"] == model), None)


def cited(models: Iterable[str] | None = None) -> list[Mapping[str, Any]]:
    """Networks with a cited top-1 error: those of the lecture's slide, or the named ones in their order."""
    known = {each["model"]: each for each in accuracies()["network"]}
    if models is None:
        return [each for each in known.values() if each.get("chart")]
    return [known[name] for name in models if name in known]


def winners(graphs: Mapping[str, ModelGraph]) -> Table[Winner]:
    """ILSVRC by year: errors as cited, depth and parameters computed from the graphs that are given by name."""
    rows = []
    for each in sorted(accuracies()["winner"], key=lambda each: (each.get("year", 9999), each["top5"])):
        graph = graphs.get(each.get("model", ""))
        rows.append(
            Winner(
                each["entry"],
                year=str(each.get("year", "")),
                error=each["top5"],
                chart_error=each.get("chart_top5"),
                chart_layers=each.get("chart_layers"),
                model=each.get("model"),
                depth=None if graph is None else depth(graph).total.depth,
                params=None if graph is None else layers(graph).total.params,
                note=each.get("note"),
            )
        )
    notes = tuple(f"{row.name}: {row.note}" for row in rows if row.note)
    errors = f"errors: {accuracies()['source']['ilsvrc']['text']}"
    return table("ILSVRC classification", rows, Winner, notes=(*notes, errors))
