"""``cnnscope compare`` and ``cnnscope diff``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .common import deliver, say, takes_model, traced, without_cache
from .viewing import View, takes_view

if TYPE_CHECKING:
    from ..graph import ModelGraph
    from ..table import Table


@click.command()
@click.argument("models", nargs=-1, metavar="MODEL...")
@click.option("--input", "inputs", multiple=True, metavar="SHAPE", help="What goes into each of them, with batch.")
@click.option(
    "--batch-size", "-b", type=click.IntRange(min=1), metavar="N", help="Replaces the first size of every input."
)
@click.option("--svg", is_flag=True, help="The lecture's Comparison slide: cited accuracy, operations, parameters.")
@click.option("--winners", is_flag=True, help="The winners of ILSVRC by year: cited errors, depth from the graphs.")
@takes_view()
@without_cache
@click.option("--traceback", is_flag=True, expose_value=False, hidden=True)
def compare(
    models: tuple[str, ...],
    inputs: tuple[str, ...],
    batch_size: int | None,
    svg: bool,
    winners: bool,
    view: View,
) -> int:
    """Put MODELs side by side, with ratios against the first."""
    if winners and (models or svg):
        raise click.UsageError("--winners has its own list of models; give it alone")
    if winners:
        found = _winners()
    elif svg:
        if view.chosen or view.format != "text":
            raise click.UsageError("--svg is a picture; leave out --format, --columns and --sort")
        deliver(_picture(models, inputs, batch_size), view.output)
        return 0
    elif not models:
        raise click.UsageError("name the models to compare; --svg and --winners have lists of their own")
    else:
        from .. import comparing

        found = comparing.compare(_graphs(models, inputs, batch_size))
    return view.deliver(found)


@click.command()
@takes_model
@click.argument("other", metavar="OTHER")
@click.option("--all", "whole", is_flag=True, help="Also the layers that both have.")
@takes_view()
def diff(
    model: str,
    other: str,
    inputs: tuple[str, ...],
    batch_size: int | None,
    whole: bool,
    view: View,
) -> int:
    """Show what layers and costs OTHER has over MODEL, and MODEL over OTHER."""
    from .. import differences

    graphs = _graphs((model, other), inputs, batch_size)
    return view.deliver(differences.diff(*graphs, whole=whole))


def _graphs(models: tuple[str, ...], inputs: tuple[str, ...], batch_size: int | None) -> list[ModelGraph]:
    """The graphs, each under the name that was asked for, which no two have."""
    graphs: dict[str, ModelGraph] = {}
    for target in models:
        count = sum(name.partition("#")[0] == target for name in graphs)
        name = f"{target}#{count + 1}" if count else target
        graphs[name] = traced(target, inputs, batch_size).graph.renamed(name)
    return list(graphs.values())


def _winners() -> Table[Any]:
    from .. import comparing, zoo

    known = set(zoo.names())
    names = {each["model"] for each in comparing.accuracies()["winner"] if each.get("model") in known}
    return comparing.winners({name: traced(name, (), None).graph for name in sorted(names)})


def _picture(models: tuple[str, ...], inputs: tuple[str, ...], batch_size: int | None) -> str:
    """The bubbles of the models, by default those of the slide; what cannot be drawn is said on stderr."""
    from .. import comparing, zoo
    from ..analyses.layering import layers
    from ..render import bubbles

    names = {zoo.entry(model)["name"]: model for model in models if ":" not in model and not model.endswith(".py")}
    entries = comparing.cited(list(names) if models else None)
    known = set(zoo.names())
    drawn = [each for each in entries if each["model"] in known]
    lacking = [each["label"] for each in entries if each not in drawn]
    lacking += [model for model in models if model not in [names[each["model"]] for each in entries]]
    if not drawn:
        raise click.UsageError(
            f"no top-1 error is cited for {', '.join(models)}; architectures/accuracies.toml has them"
        )
    sources = comparing.accuracies()["source"]
    points = []
    for each in drawn:
        total = layers(traced(each["model"], inputs, batch_size).graph).total
        points.append(
            bubbles.Bubble(
                each["label"], 100 - each["top1"], 2 * (total.macs or 0), total.params, sources[each["source"]]["text"]
            )
        )
    if lacking:
        say(f"not drawn, for want of a net or a cited error: {', '.join(lacking)}")
    return bubbles.comparison(points, notes=["Operations and parameters: computed from the graphs of the nets"])
