"""``cnnscope figure``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .common import takes_model, traced
from .picturing import Pictures, takes_kinds

if TYPE_CHECKING:
    from ..graph import ModelGraph

_KINDS = ("svg", "png", "pdf", "tikz")


@click.command()
@takes_model
@takes_kinds(*_KINDS)
@click.option(
    "--style", type=click.Choice(["volumes", "sheets"]), default="volumes", show_default=True,
    help="Boxes as in VGG's and AlexNet's figures, or stacks of maps as in LeNet's.",
)  # fmt: skip
@click.option("--title", metavar="TEXT", help="The headline. [default: the model's name]")
def figure(
    model: str,
    inputs: tuple[str, ...],
    batch_size: int | None,
    kinds: tuple[str, ...],
    output: str | None,
    style: str,
    title: str | None,
) -> None:
    """Draw MODEL as papers do, from its trace: a chain of volumes or of sheets.

    Only a network that is a chain of maps has such a figure; blocks with branches count as one link.
    """
    pictures = Pictures.wanted(kinds, output, model, _KINDS)
    run = traced(model, inputs, batch_size)
    pictures.deliver(lambda kind: _drawn(run.graph, kind, style, title))


def _drawn(graph_: ModelGraph, kind: str, style: str, title: str | None) -> str | bytes:
    from .. import render

    if kind == "tikz":
        return render.figure(graph_, style, kind="tikz", title=title)
    picture = render.figure(graph_, style, title=title, dark=kind == "svg")
    return picture if kind == "svg" else {"png": render.png, "pdf": render.pdf}[kind](picture)
