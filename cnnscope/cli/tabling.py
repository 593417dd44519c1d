"""``cnnscope table``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from .common import Traced, takes_model, takes_run, traced
from .viewing import View, takes_view

if TYPE_CHECKING:
    from ..graph import ModelGraph
    from ..table import Table


@click.command()
@takes_model
@takes_run
@click.option("--style", type=click.Choice(["layers", "slide"]), default="layers", help="slide: as in the lecture.")
@click.option("--by", type=click.Choice(["layer", "op", "phase"]), default="layer", help="What a row is.")
@click.option("--depth", type=click.IntRange(min=1), metavar="N", help="One row a module at this depth.")
@click.option("--crosscheck", is_flag=True, help="Our totals beside those of torch's flop counter and of fvcore.")
@click.option("--fused", is_flag=True, help="As an inference engine runs it: norms folded, activations fused.")
@click.option("--device", metavar="NAME", help="Also the time there: a GPU of 'cnnscope devices', a file, or cpu.")
@takes_view()
def table(
    model: str,
    inputs: tuple[str, ...],
    batch_size: int | None,
    run: dict[str, Any],
    device: str | None,
    view: View,
    **shape: Any,
) -> int:
    """Show what each layer of MODEL costs.

    A line too short for all columns keeps the layer's name and the column of --sort; then, as far as there is room,
    parameters and MACs, the output, texts (type, window), the other numbers and the other shapes. What is left out is
    named under the table; --columns shows what it names in any case.
    """
    show = _shower(**shape, fields=view.format == "json" or view.chosen)
    if device is not None:
        show = _timer(device, run, **shape)
    found, titles = show(traced(model, inputs, batch_size, **run))
    return view.deliver(found, titles=titles)


Shown = tuple["Table[Any]", dict[str, str] | None]


def _shower(*, style: str, by: str, depth: int | None, crosscheck: bool, fused: bool, fields: bool) -> Any:
    """The function from a traced model to the table that the options ask for."""
    if sum([style == "slide", crosscheck, by != "layer" or depth is not None or fused]) > 1:
        raise click.UsageError(
            "--style slide, --crosscheck, and --by, --depth or --fused exclude one another; choose one"
        )
    if by == "phase":
        if depth is not None or fused:
            raise click.UsageError("--by phase has one row for each phase; leave out --depth and --fused")
        return _phases
    if style == "slide":
        return _slide
    if crosscheck:
        return _crosscheck
    return lambda run: _costs(run, by, depth, fields, fused)


def _timer(device: str, run: dict[str, Any], *, depth: int | None, **shape: Any) -> Any:
    """The same for layers with their time on a device, for which the run is traced then."""
    from ..devices import device as known

    if run.get("train") or shape != {"style": "layers", "by": "layer", "crosscheck": False, "fused": False}:
        raise click.UsageError(
            "--device gives the time of the layers of an inference; 'cnnscope fit' that of other runs"
        )
    on = known(device)
    run["device"] = "cpu" if on.capability == "cpu" else "cuda"

    def timed(found: Traced) -> Shown:
        from .. import views
        from ..analyses.rooflines import roofline
        from ..table import by_module

        times = roofline(found.graph, on)
        table = views.timed(views.by_layer(found.graph), times)
        table = replace(table, notes=(*table.notes, *times.notes))
        return (table if depth is None else views.typed(by_module(table, depth), found.graph)), None

    return timed


def _costs(run: Traced, by: str, depth: int | None, fields: bool, fused: bool) -> Shown:
    from .. import views
    from ..table import by_module

    show = views.by_op if by == "op" else views.by_layer
    graph, notes = _fused(run) if fused else (run.graph, ())
    found: Table[Any] = show(graph, fields=fields, eager=run.graph)
    found = replace(found, title=f"{found.title}, fused" if fused else found.title, notes=(*found.notes, *notes))
    return (found if depth is None else views.typed(by_module(found, depth), graph)), None


def _phases(run: Traced) -> Shown:
    from .. import views

    return views.by_phase(run.graph), None


def _fused(run: Traced) -> tuple[ModelGraph, tuple[str, ...]]:
    from .. import fusing

    graph = fusing.fused(run.graph)
    return graph, fusing.savings(run.graph, graph)


def _slide(run: Traced) -> Shown:
    from .. import zoo
    from ..render import slides

    # A model from elsewhere may have the same name; what the lecture prints is about the zoo's.
    found = slides.slide(run.graph, None if ":" in run.target else zoo.slide(run.name))
    return found, slides.titles(found)


def _crosscheck(run: Traced) -> Shown:
    from ..counters import crosscheck

    model, input_, kwargs, _ = run.loaded
    return crosscheck(model, input_, kwargs=kwargs, graph=run.graph), None
