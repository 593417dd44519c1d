"""``cnnscope measure`` and ``cnnscope confirm``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from ..inputs import arguments, chosen
from ..records import DEVICES, DTYPES, OPTIMIZERS
from .common import F, deliver, foreign_code, takes_model, traced
from .viewing import View, takes_view

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
    with foreign_code():
        from ..measuring.sessions import measure_target, settings_of
        from ..targets import load

        asked = settings_of(**settings)
        found = load(model)
        args, kwargs = arguments(chosen(inputs, found.default_input, batch_size, model, found.dtypes))
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
@click.option(
    "--all",
    "folder",
    is_flag=False,
    flag_value="reports/measured",
    metavar="[FOLDER]",
    help="Of all records in a folder, by default reports/measured; -o FILE.md also draws charts beside it.",
)
@click.option("--layers", "by_layer", is_flag=True, help="Also layer by layer.")
@click.option(
    "--predict-for",
    metavar="NAME",
    help="Whose time to predict: a device of 'cnnscope devices' or a file of 'cnnscope calibrate'. "
    "[default: device.toml beside the records of --all, else the device of the record]",
)
@takes_view()
def confirm(
    model: str | None,
    inputs: tuple[str, ...],
    batch_size: int | None,
    file: str | None,
    folder: str | None,
    by_layer: bool,
    predict_for: str | None,
    view: View,
    **settings: Any,
) -> int:
    """Put what is predicted for MODEL beside what is measured, with the signed error."""
    from .. import confirming, devices, records

    if predict_for:
        devices.device(predict_for)  # a wrong name ends the command before anything is measured
    if folder:
        return _confirm_all(folder if model is None else _not_both(folder, model), predict_for, view)
    if model is None:
        raise click.UsageError("name a MODEL, or give --all for the records of a folder")
    record = records.read(file) if file else measured(model, inputs, batch_size, settings)
    graph = graph_of(record, model)
    layers = confirming.confirm_layers(graph, record, predict_for) if by_layer else None
    found = confirming.confirm(graph, record, predict_for)
    deliver(_confirmed(found, layers, view), view.output)
    return ended(record, None) or view.code(layers or found)


def _confirmed(found: Table[Any], layers: Table[Any] | None, view: View) -> str:
    """The whole model, and before it the layers where they are asked for: then these are sorted, and are the CSV."""
    if layers is None:
        raw = ("unit", "predicted_low", "predicted_high", "measured_value", "error", "note")
        return view.raw(*raw).rendered(found)
    if view.format == "json":
        return json.dumps({**json.loads(view.rendered(found)), "layers": json.loads(view.rendered(layers))}, indent=2)
    if view.format == "csv":
        return view.rendered(layers)
    return "\n\n".join([view.rendered(layers), view._replace(columns=None, sort=None).rendered(found)])


next(each for each in confirm.params if each.name == "model").required = False  # --all names none


def _not_both(folder: str, model: str) -> str:
    raise click.UsageError(f"--all is for a folder of records, and {model!r} for one model; give --all=FOLDER or MODEL")


def _confirm_all(folder: str, predict_for: str | None, view: View) -> int:
    """All records of a folder; a Markdown file becomes the report, with its charts beside it."""
    from .. import reckoning, records

    found = records.folder(folder)
    if not found:
        raise click.UsageError(f"there is no record in {folder!r}; 'python -m cnnscope.measuring.suite' makes them")
    pairs = [(name, record, graph_of(record, record.target) if record.inputs and record.target else None)
             for name, record in found.items()]  # fmt: skip
    table = reckoning.reckon(
        pairs, {name: device for name in found if (device := predict_for or records.device_beside(folder, name))}
    )
    if view.output and view.output.endswith(".md"):
        from .. import zoo

        deliver(reckoning.page(table, zoo.names(), _charts(list(found.values()), view.output)), view.output)
        return view.code(table)
    if view.format in ("json", "csv"):
        return view.deliver(table)
    errors = view._replace(columns=None, sort=None).rendered(reckoning.distributions(list(table.values())))
    deliver(f"{view.rendered(table)}\n\n{errors}", view.output)
    return view.code(table)


def _charts(found: list[Measurement], output: str) -> dict[str, str]:
    """Draw the lecture's Comparison beside the report; file by caption."""
    from pathlib import Path

    from ..comparing import accuracies
    from ..render import curves

    gpu = [record for record in found if record.settings.device == "cuda"]
    nets = {each["model"]: each for each in accuracies()["network"]}
    shown = [record for record in gpu or found if record.model in nets]
    labels = {name: each["label"] for name, each in nets.items()}
    top1 = {name: each["top1"] for name, each in nets.items()}
    stem = Path(output).with_suffix("")
    pictures = {
        "Against batch": ("batch", curves.against_batch(shown, labels)),
        "Against cited accuracy": ("accuracy", curves.against_accuracy(shown, labels, top1)),
    }
    for name, text in pictures.values():
        deliver(text, f"{stem}-{name}.svg")
    return {caption: f"{stem.name}-{name}.svg" for caption, (name, _) in pictures.items()}


def graph_of(record: Measurement, target: str) -> ModelGraph:
    """The trace of the program that was measured.

    Raises:
        UnusableRecord: there is none, because the record names no inputs.
    """
    from ..errors import UnusableRecord

    if not record.inputs:
        raise UnusableRecord(f"the record of {record.model} has nothing to confirm: {record.stopped or 'no inputs'}")
    texts = list(record.inputs.items())
    inputs = tuple(text for _, text in texts) if len(texts) == 1 else tuple(f"{name}={text}" for name, text in texts)
    settings = record.settings
    gpu = settings.device == "cuda"
    run: dict[str, Any] = {"device": settings.device, "channels_last": settings.channels_last}
    if settings.train:
        run |= {"train": True, "optimizer": settings.optimizer, "foreach": gpu}
    if settings.dtype in ("fp16", "bf16"):
        run["dtype"] = settings.dtype
    elif settings.dtype == "amp":
        run["autocast"] = "fp16" if gpu else "bf16"
    return traced(target, inputs, None, **run).graph
