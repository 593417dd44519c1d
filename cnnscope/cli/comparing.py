"""``cnnscope compare`` and ``cnnscope diff``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .common import colored, deliver, in_format, say, takes_model, traced, without_cache

if TYPE_CHECKING:
    from ..graph import ModelGraph
    from ..table import Table

_FORMATS = click.Choice(["text", "md", "csv", "json"])


@click.command()
@click.argument("models", nargs=-1, metavar="MODEL...")
@click.option("--input", "inputs", multiple=True, metavar="SHAPE", help="What goes into each of them, with batch.")
@click.option(
    "--batch-size", "-b", type=click.IntRange(min=1), metavar="N", help="Replaces the first size of every input."
)
@click.option("--columns", metavar="A,B,C", help="The columns to show behind the name, also hidden ones.")
@click.option("--svg", is_flag=True, help="The lecture's Comparison slide: cited accuracy, operations, parameters.")
@click.option("--winners", is_flag=True, help="The winners of ILSVRC by year: cited errors, depth from the graphs.")
@click.option("--format", "format_", type=_FORMATS, default="text", show_default=True)
@click.option("--output", "-o", metavar="FILE", help="Write there and not to the terminal.")
@without_cache
@click.option("--traceback", is_flag=True, expose_value=False, hidden=True)
def compare(
    models: tuple[str, ...],
    inputs: tuple[str, ...],
    batch_size: int | None,
    columns: str | None,
    svg: bool,
    winners: bool,
    format_: str,
    output: str | None,
) -> None:
    """Put MODELs side by side, with ratios against the first."""
    if winners and (models or svg):
        raise click.UsageError("--winners has its own list of models; give it alone")
    if winners:
        found = _winners()
    elif svg:
        deliver(_picture(models, inputs, batch_size), output)
        return
    elif not models:
        raise click.UsageError("name the models to compare; --svg and --winners have lists of their own")
    else:
        from .. import comparing

        found = comparing.compare(_graphs(models, inputs, batch_size))
    names = [name for name in columns.split(",") if name.strip()] if columns else None
    deliver(_rendered(found, format_, output, names), output)


@click.command()
@takes_model
@click.argument("other", metavar="OTHER")
@click.option("--all", "whole", is_flag=True, help="Also the layers that both have.")
@click.option("--format", "format_", type=_FORMATS, default="text", show_default=True)
@click.option("--output", "-o", metavar="FILE", help="Write there and not to the terminal.")
def diff(
    model: str,
    other: str,
    inputs: tuple[str, ...],
    batch_size: int | None,
    whole: bool,
    format_: str,
    output: str | None,
) -> None:
    """Show what layers and costs OTHER has over MODEL, and MODEL over OTHER."""
    from .. import differences

    graphs = _graphs((model, other), inputs, batch_size)
    found = differences.diff(*graphs, whole=whole)
    deliver(_rendered(found, format_, output, None), output)


def _graphs(models: tuple[str, ...], inputs: tuple[str, ...], batch_size: int | None) -> list[ModelGraph]:
    """The graphs, each under the name that was asked for, which no two have."""
    graphs: dict[str, ModelGraph] = {}
    for target in models:
        graph = traced(target, inputs, batch_size).graph
        count = sum(name.partition("#")[0] == target for name in graphs)
        graph.name = f"{target}#{count + 1}" if count else target
        graphs[graph.name] = graph
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


def _rendered(found: Table[Any], format_: str, output: str | None, names: list[str] | None) -> str:
    from .. import render

    if format_ == "text":
        return render.text(found, columns=names, width=0 if output else None, color=colored(output))
    return in_format(found, format_, columns=names)
