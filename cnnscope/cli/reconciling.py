"""``cnnscope reconcile``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from .common import Traced, takes_model, traced
from .viewing import View, takes_view

if TYPE_CHECKING:
    from ..reconciling import Figure


@click.command()
@takes_model
@click.option(
    "--figure", "texts", multiple=True, metavar="N", help="A number that you have read, 4.11G: which rule gives it?"
)
@click.option("--sibling", "others", multiple=True, metavar="MODEL", help="Also this net. [default: the library's]")
@click.option("--no-siblings", is_flag=True, help="This net alone.")
@click.option("--no-tools", is_flag=True, help="Compute the rules only; run no other counter.")
@takes_view()
def reconcile(
    model: str,
    inputs: tuple[str, ...],
    batch_size: int | None,
    texts: tuple[str, ...],
    others: tuple[str, ...],
    no_siblings: bool,
    no_tools: bool,
    view: View,
) -> int:
    """Tell why papers and tools print different operation counts for MODEL."""
    from .. import reconciling

    figures = [reconciling.figure(text) for text in texts]
    runs = [traced(model, inputs, batch_size)]
    targets = others or (() if no_siblings else _siblings(runs[0]))
    runs += _traced(targets, inputs, batch_size, all_of_them=bool(others))
    for run in runs:
        run.graph = run.graph.renamed(run.target)
    measured = {} if no_tools else {key: total for run in runs for key, total in _measured(run).items()}
    found = reconciling.reconcile(
        runs[0].graph,
        [run.graph for run in runs[1:]],
        figures=figures or _printed(runs[0]),
        measured=measured,
    )
    if len(runs) == 1 and not no_siblings and ":" not in runs[0].target:
        note = "not compared with torchvision's or timm's net of this name: neither is installed, or has none"
        found = dataclasses.replace(found, notes=(*found.notes, note))
    return view.deliver(found)


def _siblings(run: Traced) -> tuple[str, ...]:
    """Where nets of the same name may be: in torchvision, else in timm; for a library's net in the zoo."""
    from .. import zoo

    if ":" in run.target:
        return (run.name,) if run.name in zoo.names() else ()
    return f"torchvision:{run.name}", f"timm:{run.name}"


def _traced(
    targets: tuple[str, ...], inputs: tuple[str, ...], batch_size: int | None, *, all_of_them: bool
) -> Iterator[Traced]:
    """All targets, or the first that there is."""
    from ..errors import UnusableTarget

    for target in targets:
        try:
            yield traced(target, inputs, batch_size)
            if not all_of_them:
                return
        except UnusableTarget:
            if all_of_them:
                raise


def _measured(run: Traced) -> dict[tuple[str, str], int]:
    """What torch's counter and fvcore say, where they run."""
    from ..counters import crosscheck

    model, input_, kwargs, _ = run.loaded
    opinions = crosscheck(model, input_, kwargs=kwargs, graph=run.graph)
    return {(run.graph.name, name): row.total for name, row in opinions.items() if row.total is not None}


def _printed(run: Traced) -> list[Figure]:
    """What is printed for this net, if anything is known."""
    from ..comparing import accuracies
    from ..reconciling import figure

    return [figure(each["figure"], each["by"]) for each in accuracies()["printed"] if each["model"] == run.name]
