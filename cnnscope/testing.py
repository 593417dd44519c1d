"""For tests of your own: ``assert_budget(model, input, macs="<= 4.1G")``, and the lines that a snapshot holds.

With pytest, ``cnnscope_snapshot`` and ``assert_budget`` are fixtures too; see ``pytest_plugin``.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import budgets
from .errors import UnusableBudget
from .graph import ModelGraph
from .table import Table

if TYPE_CHECKING:
    from .analyses.layering import Layer
    from .budgets import Limit


def assert_budget(
    model: Any,
    input: Any = None,
    *,
    params: Limit | None = None,
    macs: Limit | None = None,
    flops: Limit | None = None,
    activations: Limit | None = None,
    peak: Limit | None = None,
    **options: Any,
) -> None:
    """Fail if a model costs more than it may; the message names the layers that cost most.

    Args:
        model: a module, a graph, or what the command line takes for a model: ``"vgg16"``, ``"net.py:Net"``.
        input: what goes in, as for ``trace``; None for the default input of a named model.
        params, macs, flops: a number, ``"5M"`` or ``"<= 4.1G"``.
        activations, peak: bytes, or ``"200MiB"``; peak is that of the whole run with its parameters.
        options: of ``trace``: ``train=True``, ``optimizer="adam"``, ``kwargs=...``.

    Raises:
        AssertionError: it costs more, or it cannot be told because an operator has no rule.
        UnusableBudget: no limit is given, or one is no amount.
    """
    __tracebackhide__ = True
    given = {"params": params, "macs": macs, "flops": flops, "activations": activations, "peak": peak}
    limits: Mapping[str, Limit] = {name: limit for name, limit in given.items() if limit is not None}
    if not limits:
        raise UnusableBudget("assert_budget() without a limit holds nothing; give macs='<= 4.1G' or the like")
    found = budgets.budget(graph_of(model, input, **options), limits)
    failed = [budgets.sentence(row) for row in found.values() if row.verdict != budgets.WITHIN]
    if failed:
        raise AssertionError("over budget, or not known to be within\n  " + "\n  ".join(failed))


def graph_of(model: Any, input: Any = None, **options: Any) -> ModelGraph:
    """The graph of a module, of a named model, or itself."""
    if isinstance(model, ModelGraph):
        return model
    from .tracing import trace

    if not isinstance(model, str):
        return trace(model, input, **options)
    from .targets import load, tensor

    found = load(model)
    if input is None and found.default_input:
        types = found.dtypes or ["float32"] * len(found.default_input)
        input = tuple(
            [tensor(each, dtype) for each in shape] if isinstance(shape, list) else tensor(shape, dtype)
            for shape, dtype in zip(found.default_input, types, strict=True)
        )
    return trace(found.model, input, name=found.name, **options)


def lines_of(table: Table[Layer]) -> list[str]:
    """A table of layers, a line each with its numbers written out: what one layer changes, changes one line."""
    head = f"{table.model} ({table.input})"
    return [_escaped(line) for line in (head, *map(_line, table.values()), _line(table.total))]


def _line(row: Layer) -> str:
    shape = "x".join(map(str, row.output)) if row.output else "-"
    numbers = [("params", row.params), ("MACs", row.macs), ("FLOPs", row.flops), ("activation", row.activation)]
    counted = "  ".join(f"{title} {'?' if number is None else format(number, ',')}" for title, number in numbers)
    unknown = f"  without {', '.join(row.missing)}" if row.missing else ""
    return f"{row.name}  {row.type or ''}  {shape}  {row.window or '-'}  {counted}{unknown}"


def _escaped(line: str) -> str:
    """A name may hold anything; a line stays a line."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in line)


def difference(before: list[str], after: list[str], most: int = 40) -> str:
    """The lines that differ, and at the end the totals of both."""
    changes = [
        line
        for line in difflib.unified_diff(before, after, "snapshot", "now", lineterm="", n=0)
        if not line.startswith(("---", "+++", "@@"))
    ]
    kept = changes[:most]
    if len(changes) > most:
        kept.append(f"... and {len(changes) - most} more lines; the totals:")
        kept += [f"-{before[-1]}", f"+{after[-1]}"]
    return "\n".join(kept)
