"""``cnnscope check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import say, takes_run, traced, without_cache
from .viewing import View, takes_view

if TYPE_CHECKING:
    from ..budgets import Entry
    from ..table import Table

_LIMITS = {
    "params": "5M",
    "macs": "600M",
    "flops": "1.2G",
    "activations": "80MiB",
    "peak": "200MiB",
}


def _takes_limits(command: Any) -> Any:
    for name, example in reversed(_LIMITS.items()):
        command = click.option(f"--max-{name}", metavar="N", help=f"For example {example}.")(command)
    return command


@click.command()
@click.argument("model", required=False)
@_takes_limits
@click.option("--input", "inputs", multiple=True, metavar="SHAPE", help="What goes in, with batch: 1x3x224x224.")
@click.option(
    "--batch-size", "-b", type=click.IntRange(min=1), metavar="N", help="Replaces the first size of every input."
)
@takes_run
@click.option("--config", metavar="FILE", default="pyproject.toml", show_default=True, help="Where budgets are.")
@takes_view()
@without_cache
@click.option("--traceback", is_flag=True, expose_value=False, hidden=True)
def check(
    model: str | None,
    inputs: tuple[str, ...],
    batch_size: int | None,
    run: dict[str, Any],
    config: str,
    view: View,
    **limits: str | None,
) -> int:
    """Hold what MODEL costs against a budget; exits 1 if it costs more, and names the layers that cost most.

    Without limits, those of MODEL in [tool.cnnscope.budgets] of pyproject.toml; without MODEL, all that stand there:

    \b
      [tool.cnnscope.budgets]
      vgg16 = { params = "140M", macs = "16G" }
      "net.py:Net" = { peak = "200MiB", input = "8x3x32x32", train = true }

    For the summary of a CI job: cnnscope check --format md >> "$GITHUB_STEP_SUMMARY".
    """
    from .. import budgets

    given = {name.removeprefix("max_"): limit for name, limit in limits.items() if limit is not None}
    for name, limit in given.items():
        budgets.parsed(name, limit)  # before the model is traced
    found = budgets.joined([_checked(entry) for entry in _entries(model, given, inputs, batch_size, run, config)])
    code = view.raw("model", "quantity", "unit", "value", "limit", "used", "verdict", "most").deliver(found)
    failed = [row for row in found.values() if row.verdict != budgets.WITHIN]
    for row in failed:
        say(budgets.sentence(row))
    return 1 if failed else code


def _entries(
    model: str | None,
    limits: dict[str, str],
    inputs: tuple[str, ...],
    batch: int | None,
    run: dict[str, Any],
    file: str,
) -> list[Entry]:
    """What to check: what the options say, or what stands in the file."""
    from ..budgets import Entry, entries

    if model is None and (limits or inputs or batch or run):
        raise click.UsageError("limits and inputs are those of a MODEL; without one, all stand in pyproject.toml")
    if model is not None and limits:
        return [Entry(model, limits, inputs, batch, run)]
    if model is not None and not Path(file).is_file():
        raise click.UsageError(f"give a limit, such as --max-params 5M; there is no {file} with budgets here")
    found = [each for each in entries(file) if model in (None, each.model)]
    if not found:
        raise click.UsageError(f"{file} has no budget for {model}; give a limit, such as --max-params 5M")
    if model is None:
        return found
    entry = found[0]
    return [
        entry._replace(inputs=inputs or entry.inputs, batch_size=batch or entry.batch_size, run={**entry.run, **run})
    ]


def _checked(entry: Entry) -> Table[Any]:
    from ..budgets import budget

    graph = traced(entry.model, entry.inputs, entry.batch_size, **entry.run).graph
    return budget(graph.renamed(entry.model), entry.limits)  # two targets may name their models alike
