"""``cnnscope measure`` and ``cnnscope confirm``."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import click

from ..records import DEVICES, DTYPES, OPTIMIZERS
from .common import F, colored, deliver, takes_model

if TYPE_CHECKING:
    from ..graph import ModelGraph
    from ..records import Measurement
    from ..table import Table


def takes_settings(command: F) -> F:
    """The options that say how to measure."""
    for option in (
        click.option("--power/--no-power", default=True, help="5 s of power and energy, on a GPU.  [default: power]"),
        click.option("--seconds", type=click.FloatRange(min=0.01), default=2.0, show_default=True, metavar="S",
                     help="How long the whole model is timed, after its warm-up."),
        click.option("--seed", type=int, default=0, show_default=True, help="Of the random weights and inputs."),
        click.option("--device", type=click.Choice(DEVICES), help="[default: the GPU where there is one]"),
        click.option("--compile", is_flag=True, help="Through torch.compile; then there are no layers."),
        click.option("--channels-last", is_flag=True, help="Weights and images in NHWC order."),
        click.option("--optimizer", type=click.Choice(OPTIMIZERS), help="Of the training step.  [default: sgd]"),
        click.option("--train/--infer", default=False, help="A training step, or an inference.  [default: infer]"),
        click.option("--dtype", type=click.Choice(DTYPES), default="fp32", show_default=True,
                     help="amp is autocast: to fp16 on a GPU, bf16 on a CPU."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command()
@takes_model
@takes_settings
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--output", "-o", metavar="FILE", help="Keep the record (JSON) there.")
def measure(
    model: str,
    inputs: tuple[str, ...],
    batch_size: int | None,
    format_: str,
    output: str | None,
    **settings: Any,
) -> int:
    """Run MODEL on a device: time, layers, kernels, memory, and on a GPU power and energy, as one record."""
    from ..render.measured import summary

    record = measured(model, inputs, batch_size, settings)
    if output and output != "-":
        deliver(record.to_json(), output)
    text = record.to_json() if format_ == "json" or output == "-" else summary(record)
    deliver(text, None)
    return ended(record, output)


def measured(model: str, inputs: tuple[str, ...], batch_size: int | None, settings: dict[str, Any]) -> Measurement:
    """The record of what the options describe; what the model's code prints goes to stderr."""
    with contextlib.redirect_stdout(sys.stderr):
        from ..measuring.sessions import measure_target, settings_of
        from ..targets import load
        from .inputs import arguments, chosen

        asked = settings_of(**settings)
        found = load(model)
        args, kwargs = arguments(chosen(inputs, found.default_input, batch_size, model))
        input_ = args[0] if len(args) == 1 else args or None
        return measure_target(model, input_, kwargs, asked, name=found.name)


def ended(record: Measurement, output: str | None) -> int:
    """The exit code of a measurement, having said what stopped it."""
    if record.complete:
        return 0
    kept = f"what was measured before is in {output}" if output and output != "-" else "keep what there is with -o FILE"
    click.echo(f"cnnscope: {record.stopped}\n{kept}", err=True)
    return 130 if record.stopped.startswith("interrupted") else 1


@click.command()
@takes_model
@takes_settings
@click.option("--record", "file", metavar="FILE", help="Of this record, and not of a measurement now.")
@click.option("--layers", "by_layer", is_flag=True, help="Also layer by layer.")
@click.option(
    "--format", "format_", type=click.Choice(["text", "md", "csv", "json"]), default="text", show_default=True
)
@click.option("--output", "-o", metavar="FILE", help="Write there and not to the terminal.")
def confirm(
    model: str,
    inputs: tuple[str, ...],
    batch_size: int | None,
    file: str | None,
    by_layer: bool,
    format_: str,
    output: str | None,
    **settings: Any,
) -> int:
    """Put what is predicted for MODEL beside what is measured, with the signed error."""
    from .. import confirming, records

    record = records.read(file) if file else measured(model, inputs, batch_size, settings)
    graph = graph_of(record, model)
    tables: list[Table[Any]] = [confirming.confirm_layers(graph, record)] if by_layer else []
    tables.append(confirming.confirm(graph, record))
    deliver("\n\n".join(rendered(table, format_, output) for table in tables), output)
    return ended(record, None)


def graph_of(record: Measurement, target: str) -> ModelGraph:
    """The trace of the program that was measured.

    Raises:
        UnusableRecord: there is none, because the record names no inputs.
    """
    from ..errors import UnusableRecord

    if not record.inputs:
        raise UnusableRecord(f"the record of {record.model} has nothing to confirm: {record.stopped or 'no inputs'}")
    with contextlib.redirect_stdout(sys.stderr):
        from ..targets import load
        from ..tracing import trace
        from .inputs import arguments, parse

        texts = list(record.inputs.items())
        given = [parse(text) if len(texts) == 1 else parse(f"{name}={text}") for name, text in texts]
        args, kwargs = arguments(tuple(given))
        settings = record.settings
        how: dict[str, Any] = {"train": True, "optimizer": settings.optimizer, "foreach": settings.device == "cuda"}
        return trace(load(target).model, *args, kwargs=kwargs, name=record.model, **(how if settings.train else {}))


def rendered(found: Table[Any], format_: str, output: str | None) -> str:
    """A table in one of the formats."""
    from .. import render

    if format_ == "text":
        return render.text(found, width=0 if output else None, color=colored(output))
    return {"md": render.markdown, "csv": render.csv, "json": render.json}[format_](found)
