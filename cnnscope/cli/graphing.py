"""``cnnscope graph``."""

from __future__ import annotations

import re

import click

from .common import deliver, takes_model, traced


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
    """Draw MODEL: its layers with shapes, parameters and MACs."""
