"""``cnnscope table``."""

from __future__ import annotations

from typing import Any

import click

from .common import Traced, colored, deliver, takes_model, traced


@click.command()
@takes_model
@click.option("--style", type=click.Choice(["layers", "slide"]), default="layers", help="slide: as the lecture prints it.")
@click.option("--by", type=click.Choice(["layer", "op"]), default="layer", help="One row a layer or one row an operator.")
@click.option("--depth", type=click.IntRange(min=1), metavar="N", help="One row a module at this depth.")
@click.option("--columns", metavar="A,B,C", help="The columns to show behind the name, also hidden ones.")
@click.option("--sort", metavar="COL", help="Rows by this column, the largest first; COL:asc the other way.")
@click.option(
    "--format", "format_", type=click.Choice(["text", "md", "csv", "json", "html"]), default="text", show_default=True
)
@click.option("--output", "-o", metavar="FILE", help="Write there and not to the terminal.")
@click.option("--strict", is_flag=True, help="Exit 1 if an operator could not be counted.")
@click.option("--crosscheck", is_flag=True, help="Our totals beside those of torch's flop counter and of fvcore.")
def table(
    model: str,
    inputs: tuple[str, ...],
    batch_size: int | None,
    format_: str,
    output: str | None,
    columns: str | None,
    strict: bool,
    **view: Any,
) -> int:
    """What each layer of MODEL costs: shapes, parameters, MACs, FLOPs, memory."""
    found = _viewed(traced(model, inputs, batch_size), **view)
    names = [name for name in columns.split(",") if name.strip()] if columns else None
    try:
        deliver(_rendered(found, format_, names, output), output)
    except LookupError as error:
        raise click.UsageError(str(error.args[0])) from error
    return 1 if strict and found.missing else 0


def _viewed(run: Traced, *, style: str, by: str, depth: int | None, sort: str | None, crosscheck: bool) -> Any:
    """The table that the options ask for."""
    from ..table import by_module
    from . import views

    found: Any = views.by_layer(run.graph)
    if depth is not None:
        found = by_module(found, depth)
    if sort:
        found = views.ordered(found, sort)
    return found


def _rendered(found: Any, format_: str, names: list[str] | None, output: str | None) -> str:
    from .. import render

    if format_ == "text":
        return render.text(found, columns=names, width=None if output is None else 0, color=colored(output))
    renderer = {"md": render.markdown, "csv": render.csv, "json": render.json, "html": render.html}[format_]
    return renderer(found, columns=names)
