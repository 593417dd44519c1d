"""``cnnscope size``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from .common import Traced, takes_model, traced
from .viewing import View, takes_view

if TYPE_CHECKING:
    from ..table import Table


@click.command()
@takes_model
@click.option("--bits", type=int, default=32, show_default=True, metavar="N", help="For each weight.")
@click.option(
    "--density",
    "densities",
    multiple=True,
    metavar="D",
    help="The part of the weights that is kept: 0.33; for some layers 'fire*=0.33'; as a paper has it: paper.",
)
@click.option("--index-bits", type=int, metavar="N", help="For the place of each kept weight. [default: 4 if pruned]")
@click.option("--no-codebook", is_flag=True, help="Weights are numbers of so many bits, not codes into a table.")
@click.option("--against", metavar="MODEL", help="Also how many times smaller than this one at 32 bits.")
@takes_view()
def size(
    model: str,
    inputs: tuple[str, ...],
    batch_size: int | None,
    bits: int,
    densities: tuple[str, ...],
    index_bits: int | None,
    no_codebook: bool,
    against: str | None,
    view: View,
) -> int:
    """Show what the parameters of MODEL take on disk, at a bit width and density."""
    from ..analyses import sizing

    run = traced(model, inputs, batch_size)
    density, note = _density(densities, run)
    found = sizing.size(run.graph, bits, density, index_bits, codebook=not no_codebook)
    notes = [*found.notes, *note, *(_against(against, found) if against else [])]
    return view.deliver(dataclasses.replace(found, notes=tuple(notes)))


def _density(texts: tuple[str, ...], run: Traced) -> tuple[float | Mapping[str, float], list[str]]:
    """The density that the options describe, and what is to be said about it."""
    from ..comparing import pruned

    if not texts:
        return 1.0, []
    parts: dict[str, float] = {}
    notes = []
    for text in texts:
        pattern, equals, number = text.rpartition("=")
        if text == "paper":
            printed = pruned(run.name)
            if printed is None or ":" in run.target:
                raise click.UsageError(f"no densities of {run.target} are known; give them: --density 0.33")
            parts |= printed["layers"]
            notes.append(f"densities: {printed['where']}")
            continue
        try:
            parts[pattern if equals else "*"] = float(number)
        except ValueError:
            raise click.UsageError(f"cannot read the density {text!r}; write 0.33, 'fire*=0.33' or paper") from None
    return (parts["*"] if list(parts) == ["*"] else parts), notes


def _against(other: str, found: Table[Any]) -> list[str]:
    from ..analyses.sizing import size as size_
    from ..units import decimal

    whole = size_(traced(other, (), None).graph).total.bytes
    if not found.total.bytes or not whole:
        return []
    times = whole / found.total.bytes
    words = (
        f"{times:.0f}x smaller"
        if times >= 10
        else f"{times:.2f}x smaller"
        if times >= 1
        else f"{1 / times:.2f}x larger"
    )
    return [f"{words} than {other} at 32 bits ({decimal(whole)})"]
