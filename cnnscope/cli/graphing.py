"""``cnnscope graph``."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING

import click

from .common import deliver, takes_model, traced

if TYPE_CHECKING:
    from ..graph import ModelGraph


@click.command()
@takes_model
@click.option("--svg", "kind", flag_value="svg", help="Scalable picture (the default).")
@click.option("--dot", "kind", flag_value="dot", help="Source text for Graphviz.")
@click.option("--png", "kind", flag_value="png", help="Picture of pixels.")
@click.option("--output", "-o", metavar="FILE", help="By default MODEL.svg; '-' is stdout.")
@click.option("--depth", type=click.IntRange(min=1), metavar="N", help="Draw modules at this depth as one.")
@click.option("--fold/--no-fold", default=True, help="Draw equal blocks in a row once.", show_default=True)
@click.option("--engine", type=click.Choice(["layered", "dot"]), default="layered", help="What places the nodes.")
def graph(
    model: str,
    inputs: tuple[str, ...],
    batch_size: int | None,
    kind: str | None,
    output: str | None,
    depth: int | None,
    fold: bool,
    engine: str,
) -> None:
    """Draw MODEL: layers, shapes, parameters, MACs."""
    kind = _kind(kind, output)
    output = output or f"{file_name(model)}.{kind}"
    run = traced(model, inputs, batch_size)
    deliver(_drawn(run.graph, kind, depth=depth, fold=fold, engine=engine), output)
    if output != "-":
        click.echo(f"wrote {output}", err=True)


def _drawn(graph_: ModelGraph, kind: str, *, depth: int | None, fold: bool, engine: str) -> str | bytes:
    from .. import render

    if kind == "dot":
        return render.dot(graph_, depth=depth, fold=fold)
    picture = render.svg(graph_, depth=depth, fold=fold, engine=engine)
    return render.png(picture) if kind == "png" else picture


_KINDS = {".svg": "svg", ".dot": "dot", ".gv": "dot", ".png": "png"}


def _kind(asked: str | None, output: str | None) -> str:
    """What is asked for, else what the name of the file says, else SVG; the two must not contradict each other."""
    ending = PurePath(output or "").suffix.lower()
    named = _KINDS.get(ending)
    if ending and (named is None or asked not in (None, named)):
        raise click.UsageError(f"-o {output} does not name {asked or 'a picture'}: use .svg, .png or .dot, or -o -")
    return asked or named or "svg"


def file_name(model: str) -> str:
    """``resnet50`` for ``torchvision:resnet50``; no character that a file name should not have."""
    name = model.rpartition(":")[2] or model
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "model"
