"""Options that several commands have, and what becomes of them."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

if TYPE_CHECKING:
    from ..graph import ModelGraph

F = TypeVar("F", bound=Callable[..., Any])


class Traced(NamedTuple):
    """A model that was loaded and traced, and what it was traced with; ``input`` in the notation of ``trace``."""

    target: str
    name: str
    model: Any
    input: Any
    kwargs: dict[str, Any]
    graph: ModelGraph


def takes_model(command: F) -> F:
    """MODEL, --input, --batch-size, --traceback."""
    for option in (
        click.option("--traceback", is_flag=True, expose_value=False, hidden=True),
        click.option(
            "--batch-size",
            "-b",
            type=click.IntRange(min=1),
            metavar="N",
            help="Replaces the first size of every input.",
        ),
        click.option(
            "--input",
            "inputs",
            multiple=True,
            metavar="SHAPE",
            help="What goes in, with batch: 1x3x224x224. Once for each argument of forward, in order; "
            "name=1x16 for a keyword, 1x128:int64 for another type than float32.",
        ),
        click.argument("model"),
    ):
        command = option(command)
    return command


def takes_run(command: F) -> F:
    """The options of a training step, passed on as ``run``: those keywords of ``trace`` that were given."""

    @functools.wraps(command)
    def with_run(*args: Any, **kwargs: Any) -> Any:
        given = {name: kwargs.pop(name) for name in _RUN_OPTIONS}
        run = {name: value for name, value in given.items() if value is not None and value is not False}
        if not run.get("train") and run:
            raise click.UsageError(f"--{next(iter(run)).replace('_', '-')} belongs to a training step; add --train")
        return command(*args, run=run, **kwargs)

    found: Any = with_run
    for option in _RUN_OPTIONS.values():
        found = option(found)
    return found


_RUN_OPTIONS = {
    "foreach": click.option(
        "--foreach/--no-foreach", default=None, help="The optimizer works on lists of tensors, as on CUDA."
    ),
    "step": click.option(
        "--step", type=click.Choice(["steady", "first"]), help="steady: as a step before left it (the default)."
    ),
    "zero_grad": click.option(
        "--zero-grad",
        type=click.Choice(["before-forward", "before-backward", "after-step"]),
        help="Where gradients are freed. [default: before-forward]",
    ),
    "accumulate": click.option(
        "--accumulate", type=click.IntRange(min=1), metavar="N", help="Batches whose gradients are added up."
    ),
    "optimizer": click.option("--optimizer", metavar="NAME", help="sgd, sgd-momentum, adam, adamw, adagrad, rmsprop."),
    "train": click.option("--train", is_flag=True, help="A training step: forward, backward, optimizer."),
}


def traced(target: str, inputs: tuple[str, ...], batch_size: int | None, **run: Any) -> Traced:
    """Load and trace what the options describe; what the model's code prints goes to stderr. ``run``: see ``trace``."""
    # What a model's code prints must not get into a table that a program reads.
    with contextlib.redirect_stdout(sys.stderr):
        first = "torch" not in sys.modules
        from ..targets import load
        from ..tracing import trace
        from .inputs import arguments, chosen

        if first:
            gc.freeze()  # what torch's import made stays to the end: no collection need look through it again
        found = load(target)
        args, kwargs = arguments(chosen(inputs, found.default_input, batch_size, target))
        input_ = args[0] if len(args) == 1 else args or None
        graph = trace(found.model, input_, kwargs=kwargs, name=found.name, **run)
    return Traced(target, found.name, found.model, input_, dict(kwargs), graph)


def deliver(data: str | bytes, output: str | None) -> None:
    """To the file, or to stdout where none or ``-`` is given."""
    if output is None or output == "-":
        click.echo(data, nl=isinstance(data, str) and not data.endswith("\n"))
    else:
        from ..outputs import write

        write(output, data if isinstance(data, bytes) or data.endswith("\n") else data + "\n")


def colored(output: str | None) -> bool:
    """Whether bold letters are welcome: on a terminal that can show them, without NO_COLOR."""
    unwanted = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return output is None and sys.stdout.isatty() and not unwanted
