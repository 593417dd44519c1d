"""Options that several commands have, and what becomes of them."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from .. import caching
from ..errors import UntraceableModel
from ..inputs import arguments, chosen

if TYPE_CHECKING:
    from ..graph import ModelGraph

_CACHE = "cnnscope.cache"  # in the context of a command: whether it may use the cache
_DEVICE_TRACE = "cnnscope.device_trace"  # and where models run

F = TypeVar("F", bound=Callable[..., Any])


class Loaded(NamedTuple):
    """A model, and what it is traced with in the notation of ``trace``."""

    model: Any
    input: Any
    kwargs: dict[str, Any]
    name: str


class Traced:
    """The graph of what was asked for, and the model itself where somebody needs it; ``name``: its own, not the target.

    Raises:
        CnnscopeError: it cannot be loaded or traced.
    """

    def __init__(
        self, target: str, inputs: tuple[str, ...], batch_size: int | None, run: Mapping[str, Any] | None = None
    ) -> None:
        self.target = target
        self._run = dict(run or {})
        self._inputs = inputs
        self._batch_size = batch_size
        self.graph = caching.cached(self._key(), self._trace)
        self.name = self.graph.name

    @cached_property
    def loaded(self) -> Loaded:
        """The model, which a graph from the cache comes without."""
        return self._load("meta")

    def _load(self, device: str) -> Loaded:
        with foreign_code():
            from ..targets import load

            found = load(self.target, device)
            inputs = chosen(self._inputs, found.default_input, self._batch_size, self.target, found.dtypes)
            args, kwargs = arguments(inputs)
        return Loaded(found.model, args[0] if len(args) == 1 else args or None, dict(kwargs), found.name)

    def _trace(self) -> ModelGraph:
        where = device_trace()
        if where == "cpu":
            return self._traced(self._load("cpu"), device_trace="cpu")
        try:
            return self._traced(self.loaded)
        except UntraceableModel as error:
            from ..targets import has_room

            if where == "meta" or not error.needs_data or not has_room(self.loaded.model):
                raise
        say(f"{self.loaded.name} asks for numbers: traced in a real run on the CPU (--device-trace meta does not)")
        return self._traced(self._load("cpu"), device_trace="cpu")

    def _traced(self, loaded: Loaded, **options: Any) -> ModelGraph:
        with foreign_code():
            from ..tracing import trace

            model, input_, kwargs, name = loaded
            return trace(model, input_, kwargs=kwargs, name=name, **self._run, **options)

    def _key(self) -> str | None:
        """What the cache keeps the graph under. Which input is the default one needs no telling: the model says it."""
        if not cached():
            return None
        given = chosen(self._inputs, None, self._batch_size, self.target) if self._inputs else None
        options: dict[str, Any] = {**self._run}
        if device_trace() != "auto":
            options["device_trace"] = device_trace()
        return caching.key(self.target, given, batch=self._batch_size, **options)


@contextlib.contextmanager
def foreign_code() -> Iterator[None]:
    """Around torch and the model's code.

    What they print goes to stderr, and not into a table that a program reads; and that the code ends the program is
    an error of the model, not the command's answer.
    """
    with contextlib.redirect_stdout(sys.stderr):
        if "torch" not in sys.modules:
            from .. import tracing  # noqa: F401

            gc.freeze()  # what its import made stays to the end: no collection need look through it again
        try:
            yield
        except SystemExit as error:
            raise UntraceableModel(f"the model's own code ended the program: SystemExit({error.code!r})") from error


def _dont_cache(context: click.Context, _: click.Parameter, unwanted: bool) -> None:
    context.meta[_CACHE] = not unwanted


without_cache = click.option(
    "--no-cache",
    is_flag=True,
    expose_value=False,
    callback=_dont_cache,
    help="Trace anew; see 'cnnscope cache --help'.",
)


def _take_device_trace(context: click.Context, _: click.Parameter, where: str) -> None:
    context.meta[_DEVICE_TRACE] = where


with_device_trace = click.option(
    "--device-trace",
    type=click.Choice(["auto", "meta", "cpu"]),
    default="auto",
    expose_value=False,
    callback=_take_device_trace,
    help="meta: without numbers. cpu: a real run, with random weights. auto: cpu where MODEL asks for numbers.",
)


def device_trace() -> str:
    """Where the models of the command that runs are to run."""
    return str(click.get_current_context().meta.get(_DEVICE_TRACE, "auto"))


def cached() -> bool:
    """Whether the command that runs may use the cache."""
    return bool(click.get_current_context().meta.get(_CACHE, True))


def takes_model(command: F) -> F:
    """MODEL, --input, --batch-size, --device-trace, --no-cache, --traceback."""
    for option in (
        without_cache,
        with_device_trace,
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
    """How the model runs, passed on as ``run``: those keywords of ``trace`` that were given."""

    @functools.wraps(command)
    def with_run(*args: Any, **kwargs: Any) -> Any:
        given = {name: kwargs.pop(name) for name in _RUN_OPTIONS}
        run = {name: value for name, value in given.items() if value is not None and (name, value) not in _DEFAULTS}
        step = [name for name in run if name in _OF_A_STEP]
        if step and not run.get("train"):
            raise click.UsageError(f"--{step[0].replace('_', '-')} belongs to a training step; add --train")
        return command(*args, run=run, **kwargs)

    found: Any = with_run
    for option in _RUN_OPTIONS.values():
        found = option(found)
    return found


_OF_A_STEP = ("optimizer", "accumulate", "zero_grad", "step", "foreach")
_DEFAULTS = (("train", False), ("channels_last", False))

_RUN_OPTIONS = {
    "channels_last": click.option("--channels-last", is_flag=True, help="Weights and input with channels innermost."),
    "autocast": click.option("--amp", "autocast", metavar="TYPE", help="Mixed precision: autocast to bf16 or fp16."),
    "dtype": click.option("--dtype", metavar="TYPE", help="All tensors in this type: bf16, fp16, fp64."),
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
    """The graph of what the options describe, from the cache if it is there. ``run``: see ``trace``."""
    return Traced(target, inputs, batch_size, run)


def say(message: str) -> None:
    """One to three lines on stderr, in which no name that stands in them can do harm."""
    from ..render.cells import visible

    lines = [visible(line.rstrip()) for line in message.split("\n") if line.strip()][:3]
    click.echo("cnnscope: " + "\n".join(lines), err=True)


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
