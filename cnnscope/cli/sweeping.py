"""``cnnscope sweep``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from .common import F, cached, deliver, device_trace, say, takes_run, with_device_trace, without_cache
from .viewing import View, takes_view

if TYPE_CHECKING:
    from ..sweeping.rows import Swept
    from ..table import Table


class Numbers(click.ParamType[tuple[int, ...]]):
    """A list of numbers: 1,8,32 or 160:320:32."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        from ..sweeping.requests import numbers

        return numbers(value) if isinstance(value, str) else value


def takes_workers(command: F) -> F:
    """Who does the work."""
    for option in (
        click.option("--scheduler", metavar="ADDRESS", help="Of the cluster: tcp://host:8786.  [default: one here]"),
        click.option("--backend", type=click.Choice(["loky", "dask", "ray", "sequential"]), default="loky",
                     show_default=True, help="loky: this machine."),
        click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
                     help="That making a model, and each of its rows, may take.  [default: no limit]"),
        click.option("--jobs", "-j", type=click.IntRange(min=1), metavar="N", help="At once.  [default: all cores]"),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command()
@click.argument("models", nargs=-1)
@click.option("--from", "files", multiple=True, metavar="FILE", help="Also the models in a file, one a line.")
@click.option("--batch-size", "-b", "batch_sizes", type=Numbers(), metavar="LIST", help="1,8,32")
@click.option("--resolution", "resolutions", type=Numbers(), metavar="LIST",
              help="Height and width of images and clips: 224,256 or 160:320:32.")  # fmt: skip
@click.option("--input", "inputs", multiple=True, metavar="SHAPE", help="Instead of the models' own, as in 'table'.")
@takes_run
@click.option("--device", metavar="NAME", help="Also memory and time there: of 'cnnscope devices', a file, cuda, cpu.")
@with_device_trace
@takes_workers
@click.option("--journal", metavar="FILE", help="Where rows are kept as they come.  [default: FILE.journal of -o]")
@click.option("--retry", is_flag=True, help="Make rows again that have an error in the journal.")
@click.option("--strict", is_flag=True, help="Exit 1 if a row has an error or lacks an operator.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar, and no last line on stderr.")
@takes_view("parquet", strict=False)
@without_cache
@click.option("--traceback", is_flag=True, expose_value=False, hidden=True)
def sweep(
    models: tuple[str, ...],
    files: tuple[str, ...],
    batch_sizes: tuple[int, ...] | None,
    resolutions: tuple[int, ...] | None,
    inputs: tuple[str, ...],
    run: dict[str, Any],
    journal: str | None,
    quiet: bool,
    view: View,
    **options: Any,
) -> int:
    """Analyse many MODELS at many settings: a row for each model, batch size and resolution.

    \b
      cnnscope sweep vgg16 'torchvision:resnet*' -b 1,8,32 --resolution 160:320:32 -o rows.csv
      cnnscope sweep all --device h200 --train --optimizer adam -o rows.parquet
      cnnscope sweep 'timm:*' --timeout 60 --backend dask --scheduler tcp://host:8786 -o timm.json

    MODELS are as in the other commands, patterns over a library's list or the zoo (in quotes), or all for the zoo. A
    model that cannot be analysed, ends its process or hangs costs its row, which says why. With -o FILE what is done is
    also in FILE.journal: the same command again goes on from there, and makes again what has changed since.
    """
    from ..sweeping.selecting import listed_in
    from ..sweeping.sweeps import sweep as swept

    if inputs and resolutions:
        raise click.UsageError("--input says the resolution; give either --input or --resolution")
    _check(view)
    journal = journal or _beside(view.output)
    asked = [*models, *(target for file in files for target in listed_in(file))]
    watch = _Watching(quiet)
    try:
        with watch:
            found = swept(
                asked,
                batch_sizes=batch_sizes or (),
                resolutions=resolutions or (),
                input=inputs,
                journal=journal,
                cache=cached(),
                device_trace=device_trace(),
                watch=watch,
                **options,
                **run,
            )
    except KeyboardInterrupt:
        return _interrupted(watch, journal, view)
    deliver(_rendered(found, view), view.output)
    if not quiet:
        watch.conclude(journal, view.output)
    return 1 if view.strict and (found.missing or any(row.error for row in found.values())) else 0


def _check(view: View) -> None:
    """Whether the view can be had, which is to be said before the work and not after it.

    Raises:
        UsageError, CnnscopeError: it cannot.
    """
    from ..errors import UnwritableOutput
    from ..render.cells import find
    from ..sweeping.rows import Swept

    for name in (*(view.columns or ()), *((view.sorted_by,) if view.sort else ())):
        find(Swept, name)
    if view.output and os.path.isdir(view.output):
        raise UnwritableOutput(f"cannot write {view.output!r}: is a directory; choose another place with -o")
    if view.format == "parquet":
        from ..render.columnar import check

        check()
        if view.columns is not None:
            raise click.UsageError("Parquet has all columns; leave out --columns")
        if view.output in (None, "-") and sys.stdout.isatty():
            raise click.UsageError("Parquet is not for a terminal; give -o FILE.parquet")


def _beside(output: str | None) -> str | None:
    """The journal of an output; a device or a pipe has none."""
    if output in (None, "-") or (os.path.exists(str(output)) and not os.path.isfile(str(output))):
        return None
    return f"{output}.journal"


class _Watching:
    """A progress bar where stderr is a terminal, and the counts of what was done."""

    def __init__(self, quiet: bool) -> None:
        self._visible = not quiet and sys.stderr.isatty()
        self._bar: Any = None
        self.rows: list[Swept] = []
        self.known = self.total = 0

    def __call__(self, done: int, total: int, row: Swept | None) -> None:
        self.total = total
        if row is not None:
            self.rows.append(row)
            if self._bar is not None:
                self._bar.update(1, row)
            return
        self.known = done
        if self._visible and done < total:
            self._bar = click.progressbar(length=total, label="sweep", file=sys.stderr, item_show_func=self._told)
            self._bar.__enter__()
            self._bar.update(done)

    def _told(self, row: Swept | None) -> str:
        failed = f"{self.failed} failed  " if self.failed else ""
        return failed + (row.name if row else "")

    @property
    def failed(self) -> int:
        return sum(row.error is not None for row in self.rows)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: Any) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)

    def conclude(self, journal: str | None, output: str | None) -> None:
        """In a line, what was made and what was known."""
        known = f", {self.known} of them from {journal}" if self.known else ""
        failed = f"; {self.failed} failed now" if self.failed else ""
        where = f"wrote {output}: " if output not in (None, "-") else ""
        click.echo(f"{where}{self.total} row{'s' * (self.total != 1)}{known}{failed}", err=True)


def _interrupted(watch: _Watching, journal: str | None, view: View) -> int:
    done = f"interrupted: {watch.known + len(watch.rows)} of {watch.total} rows are done"
    if journal:
        say(f"{done} and kept in {journal}\nrun the same command again to go on")
        return 130
    if watch.rows and view.output is None and view.format != "parquet":
        from ..sweeping.requests import Request
        from ..sweeping.rows import tabled

        deliver(_rendered(tabled(watch.rows, Request()), view), view.output)
    say(f"{done}\nwith -o FILE they would be kept, and the same command would go on")
    return 130


def _rendered(found: Table[Swept], view: View) -> str | bytes:
    from .. import render
    from ..sweeping.rows import with_errors
    from ..table import columns

    if view.format == "parquet":
        return render.parquet(view.ordered(found))
    every = [field.name for field in columns(found.row_type) if field.name != "module"]
    return view.raw(*every).rendered(found if view.format in ("json", "csv") else with_errors(found))
