"""``cnnscope report``."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from .common import deliver, takes_run, traced, without_cache
from .measuring import graph_of
from .picturing import file_name

if TYPE_CHECKING:
    from ..claiming.nets import Nets
    from ..confirming import Confirmed
    from ..records import Measurement
    from ..reporting import Report
    from ..table import Table


@click.command()
@click.argument("model", required=False)
@click.option("--input", "inputs", multiple=True, metavar="SHAPE", help="What goes in, with batch: 1x3x224x224.")
@click.option(
    "--batch-size", "-b", type=click.IntRange(min=1), metavar="N", help="Replaces the first size of every input."
)
@click.option("--claims/--no-claims", default=True, help="Hold what others print against the graph.", show_default=True)
@click.option(
    "--device",
    default="H200",
    show_default=True,
    metavar="NAME",
    help="One of 'cnnscope devices', or a file: for its time.",
)
@click.option(
    "--measured",
    default="reports/measured",
    show_default=True,
    metavar="FOLDER",
    help="Records to hold predictions to.",
)
@click.option("--all", "all_", is_flag=True, help="A page for each main net of the zoo, and an index.")
@click.option("--every", is_flag=True, help="With --all: for every net of the zoo.")
@takes_run
@without_cache
@click.option("--output", "-o", metavar="FILE", help="By default MODEL.html; with --all a folder, by default reports.")
@click.option("--traceback", is_flag=True, expose_value=False, hidden=True)
def report(
    model: str | None,
    inputs: tuple[str, ...],
    batch_size: int | None,
    claims: bool,
    device: str,
    measured: str,
    all_: bool,
    every: bool,
    output: str | None,
    run: dict[str, Any],
) -> None:
    """Write a page about MODEL: diagram, layers, cost, memory, claims, in one file that needs no network.

    The main nets are those with a cited accuracy, the winners of ILSVRC, and of each paper that has none of these the
    net that most claims are about.
    """
    if all_ == (model is not None) or (every and not all_):
        raise click.UsageError("name one MODEL, or give --all, to which --every belongs")
    if all_ and (inputs or batch_size or run):
        raise click.UsageError("--all takes every net as its paper has it; leave out inputs and training")
    from ..records import device_beside, folder

    found = [(record, device_beside(measured, name)) for name, record in folder(measured).items()]
    gather = _Gathering(_nets() if claims else None, device, found)
    if all_:
        _write_all(_names(every), output or "reports", gather)
        return
    assert model is not None
    output = output or f"{file_name(model)}.html"
    deliver(gather(model, inputs, batch_size, run).html(), output)
    if output != "-":
        click.echo(f"wrote {output}", err=True)


class _Gathering(NamedTuple):
    """What belongs to a report beside the graph: the nets of claims where they are asked, a device, records.

    Beside each record the file of the device that its time is predicted for, where there is one.
    """

    nets: Nets | None
    device: str
    records: Sequence[tuple[Measurement, str | None]]

    def __call__(
        self,
        model: str,
        inputs: tuple[str, ...] = (),
        batch_size: int | None = None,
        run: Mapping[str, Any] = MappingProxyType({}),
    ) -> Report:
        """The report on what ``model`` names; papers and claims are those of the zoo and of libraries alone."""
        from ..papers import paper
        from ..reporting import report, under_roof

        found = traced(model, inputs, batch_size, **run)
        known = ":" not in model and not model.endswith((".py", ".pt2", ".onnx"))
        verdicts = None
        if self.nets is not None and (known or model.startswith(("torchvision:", "timm:"))):
            from .. import claims

            verdicts = claims.tabled(claims.verdicts(claims.on_net(found.name if known else model), self.nets))
        return report(
            found.graph,
            target=model,
            paper=paper(model) if known else None,
            claims=verdicts,
            roof=under_roof(found.graph, self.device),
            confirmed=[_confirmed(*each) for each in self.records if each[0].target == model and each[0].inputs],
        )


def _confirmed(record: Measurement, device: str | None) -> Table[Confirmed]:
    """The record beside what is predicted of the program that was measured, which is not always that of the page."""
    from ..confirming import confirm

    found = confirm(graph_of(record, record.target), record, device)
    return dataclasses.replace(found, title=f"{record.environment.name}: {record.mode}, {record.input_text}")


def _nets() -> Nets:
    from ..claiming.nets import Nets

    return Nets()


def _names(every: bool) -> list[str]:
    from .. import zoo
    from ..papers import main_nets

    return zoo.names() if every else main_nets()


def _write_all(names: Sequence[str], folder: str, gather: _Gathering) -> None:
    """A page for each net under ``folder``/pages, and ``folder``/index.html."""
    from ..errors import UnwritableOutput
    from ..outputs import write
    from ..render.page.index import index

    try:
        os.makedirs(os.path.join(folder, "pages"), exist_ok=True)
    except OSError as error:
        raise UnwritableOutput(
            f"cannot make the folder {folder!r}: {(error.strerror or str(error)).lower()}"
        ) from error
    entries = []
    for name in _progress(names):
        made = gather(name)
        made.save(os.path.join(folder, "pages", f"{file_name(name)}.html"))
        entries.append((f"pages/{file_name(name)}.html", made.summary()))
    write(os.path.join(folder, "index.html"), index(entries))
    click.echo(f"wrote {len(names)} pages and {os.path.join(folder, 'index.html')}", err=True)


def _progress(names: Sequence[str]) -> Iterator[str]:
    """The names, with a progress bar where stderr is a terminal."""
    if not sys.stderr.isatty():
        yield from names
        return
    with click.progressbar(names, label="reports", file=sys.stderr, item_show_func=lambda name: name or "") as bar:
        yield from bar
