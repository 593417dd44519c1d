"""``cnnscope memory``."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import click

from ..units import binary, parsed_bytes
from .common import Traced, deliver, say, takes_model, takes_run, traced
from .viewing import View, takes_view

if TYPE_CHECKING:
    from ..analyses.memory import PeakMemory
    from ..table import Table


class Bytes(click.ParamType[int]):
    """An amount of memory: 24GiB."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return parsed_bytes(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@takes_model
@takes_run
@click.option("--device", metavar="NAME", help="A GPU of 'cnnscope devices', a device file, cuda, or cpu.")
@click.option("--budget", type=Bytes(), metavar="BYTES", help="24GiB: does it fit? By default the device's memory.")
@click.option("--max-batch", is_flag=True, help="The largest batch that fits, and the peak over the batch size.")
@click.option("--what-if", is_flag=True, help="What changes of the model or the step would save, each one traced.")
@click.option("--by", type=click.Choice(["peak", "op", "tensor"]), help="tensor: all that is alive at the peak.")
@click.option("--rows", type=click.IntRange(min=0), default=10, show_default=True, help="Tensors to list at the peak.")
@click.option("--svg", is_flag=True, help="A picture of memory over time.")
@click.option("--depth", type=click.IntRange(min=1), metavar="N", help="--by op, one row a module at this depth.")
@takes_view()
def memory(
    model: str,
    inputs: tuple[str, ...],
    batch_size: int | None,
    run: dict[str, Any],
    device: str | None,
    budget: int | None,
    max_batch: bool,
    what_if: bool,
    svg: bool,
    view: View,
    **shape: Any,
) -> int:
    """Show the peak memory of MODEL: what it is made of, when it is reached, who keeps it, whether it fits."""
    _check(max_batch, what_if, svg, batch_size, shape)
    budget = _memory_of(device) if budget is None else budget
    if device is not None and device.lower() != "cpu":
        run["device"] = "cuda"  # its operators are not quite the CPU's
    if max_batch:
        if budget is None:
            raise click.UsageError("--max-batch needs --budget 24GiB or the --device whose memory is the budget")
        return _largest(model, inputs, run, device, budget, view)
    found = traced(model, inputs, batch_size, **run)
    if what_if:
        from ..whatifs import what_if as changes

        model_, input_, kwargs, name = found.loaded
        return view.deliver(changes(model_, input_, kwargs=kwargs, memory_of=device, name=name, **run))
    if svg or PurePath(view.output or "").suffix == ".svg":
        return _picture(found, model, view)
    by, rows, depth = shape["by"], shape["rows"], shape["depth"]
    if by in (None, "peak") and depth is None and view.format == "text" and not view.chosen:
        return _page(found, device, budget, rows, view)
    return _rows(found, device, budget, by, depth, view)


def _check(max_batch: bool, what_if: bool, svg: bool, batch_size: int | None, shape: Mapping[str, Any]) -> None:
    """One question at a time.

    Raises:
        click.UsageError: an answer would leave out an option.
    """
    given = {
        "--max-batch": max_batch,
        "--what-if": what_if,
        "--svg": svg,
        "--by": shape["by"],
        "--depth": shape["depth"],
    }
    names = [name for name, value in given.items() if value and not (name == "--by" and given["--depth"])]
    if len(names) > 1:
        raise click.UsageError(f"{' and '.join(names)} exclude one another; choose one")
    if given["--depth"] and given["--by"] in ("peak", "tensor"):
        raise click.UsageError(f"--depth has one row a module, and --by {given['--by']} other ones; leave one out")
    if max_batch and batch_size is not None:
        raise click.UsageError("--max-batch looks for the batch size; leave out --batch-size")


def _memory_of(device: str | None) -> int | None:
    if device is None or device.lower() in ("cpu", "cuda"):
        return None
    from ..devices import device as known

    return known(device).memory


def _fits(total: PeakMemory, budget: int) -> bool:
    """Whether what can be known fits."""
    return total.needed <= budget


def _rows(run: Traced, device: str | None, budget: int | None, by: str | None, depth: int | None, view: View) -> int:
    """Every operator or module, or every tensor at the peak."""
    from ..analyses.holding import held
    from ..analyses.memory import memory as analysed
    from ..analyses.memory import peak_memory
    from ..table import by_module

    found: Table[Any] = held(run.graph) if by == "tensor" else analysed(run.graph, device)
    if depth is not None:
        found = by_module(found, depth)
    code = view.deliver(found)
    total = peak_memory(run.graph, device) if by == "tensor" else found.total
    return code if budget is None or _fits(total, budget) else 1


def _page(run: Traced, device: str | None, budget: int | None, rows: int, view: View) -> int:
    from ..analyses.assumptions import assumptions
    from ..analyses.holding import held
    from ..analyses.liveness import timeline
    from ..analyses.memory import peak_memory
    from ..render.memories import page
    from ..render.texts import terminal_width

    graph = run.graph
    total = peak_memory(graph, device)
    heading = f"{run.name} ({graph.input_text}): peak memory" + (f", {device}" if device else "")
    width = 100 if view.output else terminal_width() or 100
    text = page(heading, total, assumptions(graph.run), timeline(graph), held(graph), rows=rows, width=width)
    if budget is not None:
        text += "\n\n" + textwrap.fill(_answer(total, budget, device), width, break_long_words=False)
    deliver(text, view.output)
    return 0 if budget is None or _fits(total, budget) else 1


def _answer(total: PeakMemory, budget: int, device: str | None) -> str:
    """Does it fit?"""
    room = f"{binary(budget)}{f' of the {device}' if device else ''}"
    if total.upper_bound is not None and total.upper_bound <= budget:
        return f"fits: even the upper bound of {binary(total.upper_bound)} is within {room}"
    if total.needed <= budget:
        bound = binary(total.upper_bound or 0)
        return f"may fit: {binary(total.needed)} of {room}, but not what may come beside it ({bound})"
    return f"does not fit: {binary(total.needed)} are more than {room}"


def _picture(run: Traced, model: str, view: View) -> int:
    from ..analyses.liveness import timeline
    from ..render.memories import picture
    from ..render.timeline_drawings import drawing
    from .picturing import file_name

    if view.chosen or view.format != "text":
        raise click.UsageError("--svg is a picture; leave out --format, --columns and --sort")
    output = view.output or f"{file_name(model)}.memory.svg"
    deliver(drawing(picture(timeline(run.graph), f"{run.name} ({run.graph.input_text}): live memory")), output)
    if output != "-":
        click.echo(f"wrote {output}", err=True)
    return 0


def _largest(
    model: str,
    inputs: tuple[str, ...],
    run: dict[str, Any],
    device: str | None,
    budget: int,
    view: View,
) -> int:
    from ..analyses.batches import agrees
    from ..analyses.fitting import Peaks, curve, largest_batches

    low = traced(model, inputs, 2, **run)
    graph_at = by_batch(model, inputs, run, low)
    peaks = Peaks(graph_at, device)
    fit = largest_batches(peaks, budget, model=low.name)
    answer = max((row.batch or 0 for row in fit.values()), default=0)
    if answer and not agrees(graph_at(answer), traced(model, inputs, answer, **run).graph):
        click.echo(
            f"cnnscope: {low.name} runs otherwise at batch size {answer}: each size is traced by itself", err=True
        )
        peaks = Peaks(lambda batch: traced(model, inputs, batch, **run).graph, device)
        fit = largest_batches(peaks, budget, model=low.name)
    sizes = _sizes(max((row.batch or 0 for row in fit.values()), default=0))
    points = curve(peaks, sizes, model=low.name)
    deliver(_both(fit, points, budget, device, view), view.output)
    return 0 if any(row.batch for row in fit.values()) else 1


def _both(fit: Table[Any], points: Table[Any], budget: int, device: str | None, view: View) -> str:
    """The largest batches, and the curve of the peak behind them; as CSV the largest batches alone."""
    if view.format == "json":
        import json

        plain = {**json.loads(view.rendered(fit)), "budget": budget}
        return json.dumps({**plain, "curve": points.to_dict()["rows"]}, indent=2)
    if view.format == "csv":
        return view.rendered(fit)
    heading = f"budget {binary(budget)}" + (f": {device}" if device else "")
    if view.format == "html":
        heading = f"<p>{html.escape(heading)}</p>"
    return "\n\n".join([heading, view.rendered(fit), view._replace(columns=None, sort=None).rendered(points)])


def by_batch(model: str, inputs: tuple[str, ...], run: dict[str, Any], low: Traced) -> Any:
    """The graph by batch size: from two traces, or from one for each where no line goes through two."""
    from ..analyses.batches import Batches, NotLinear

    high = traced(model, inputs, 3, **run)
    try:
        return Batches(low.graph, 2, high.graph, 3).at
    except NotLinear as error:
        say(str(error))
        return lambda batch: traced(model, inputs, batch, **run).graph


def _sizes(largest: int) -> list[int]:
    """1, 2, 4 ... and the largest batch by any figure."""
    sizes = [1]
    while 2 * sizes[-1] < largest:
        sizes.append(2 * sizes[-1])
    return sizes if largest in (0, 1) else [*sizes, largest]
