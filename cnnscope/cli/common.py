"""Options that several commands have, and what becomes of them."""

from __future__ import annotations

import contextlib
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


def traced(target: str, inputs: tuple[str, ...], batch_size: int | None) -> Traced:
    """Load and trace what the options describe; what the model's code prints goes to stderr."""
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
        graph = trace(found.model, input_, kwargs=kwargs, name=found.name)
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
