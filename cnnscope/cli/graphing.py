"""``cnnscope graph``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .common import takes_model, traced
from .picturing import Pictures, takes_kinds

if TYPE_CHECKING:
    from ..graph import ModelGraph

_KINDS = ("svg", "png", "pdf", "tikz", "dot")
_HEATS = click.Choice(["macs", "params", "memory", "time"])


@click.command()
@takes_model
@takes_kinds(*_KINDS)
@click.option("--depth", type=click.IntRange(min=1), metavar="N", help="Draw modules at this depth as one.")
@click.option("--fold/--no-fold", default=True, help="Draw equal blocks in a row once.", show_default=True)
@click.option("--heat", type=_HEATS, default="macs", show_default=True, help="What the bars on the cards show.")
@click.option("--device", metavar="NAME", help="The GPU that --heat time estimates for.")
@click.option("--landscape", is_flag=True, help="Data runs to the right, in rows.")
@click.option(
    "--layout", type=click.Choice(["own", "dot"]), default="own", show_default=True,
    help="What places the cards; dot is Graphviz's program.",
)  # fmt: skip
def graph(
    model: str,
    inputs: tuple[str, ...],
    batch_size: int | None,
    output: str | None,
    layout: str,
    landscape: bool,
    **options: Any,
) -> None:
    """Draw MODEL: layers, shapes, parameters, MACs."""
    pictures = Pictures.wanted(options.pop("kinds"), output, model, _KINDS)
    if landscape and layout == "dot":
        raise click.UsageError("--layout dot has no --landscape; leave one of them out")
    if options["device"] and options["heat"] != "time":
        raise click.UsageError(f"--device is for --heat time, and this is --heat {options['heat']}")
    run = traced(model, inputs, batch_size)
    pictures.deliver(lambda kind: _drawn(run.graph, kind, layout=layout, landscape=landscape, **options))


def _drawn(graph_: ModelGraph, kind: str, **options: Any) -> str | bytes:
    from .. import render

    if kind == "dot":
        return render.dot(graph_, depth=options["depth"], fold=options["fold"])
    if kind == "tikz":
        return render.tikz(graph_, **options)
    picture = render.svg(graph_, dark=kind == "svg", **options)
    return picture if kind == "svg" else {"png": render.png, "pdf": render.pdf}[kind](picture)
