"""What is the same in every command that shows a table: its options, its formats, where they go, the exit code."""

from __future__ import annotations

import csv
import io
import json

import pytest
from click.testing import CliRunner
from test_cli_outputs import UNKNOWN

from cnnscope.cli import main

NET = "lenet5_modern"
TABLES = {
    "check": [NET, "--max-params", "100M"],
    "compare": [NET, "lenet5", "--input", "1x1x32x32"],
    "confirm": [NET, "--device", "cpu", "--seconds", "0.01"],
    "devices": [],
    "diff": [NET, "lenet5", "--input", "1x1x32x32"],
    "fit": [NET, "--device", "T4"],
    "memory": [NET],
    "reconcile": [NET, "--no-tools"],
    "size": [NET],
    "sweep": [NET, "-q"],
    "table": [NET],
}
LISTS = {"claims": ["lenet5"], "list": []}
STARTS = {"md": ("**", "# ", "## "), "csv": ("name,", "architecture,"), "json": ("{",), "html": ("<style>",)}

NETS = (
    UNKNOWN
    + """
class Ends(nn.Module):
    def forward(self, x):
        raise SystemExit(3)
"""
)


@pytest.fixture
def net(tmp_path):
    """The file of a model with an operator that no rule counts."""
    path = tmp_path / "net.py"
    path.write_text(NETS)
    return path


def invoke(*arguments, width=80):
    return CliRunner().invoke(main, [str(each) for each in arguments], env={"COLUMNS": str(width)})


def run(*arguments, **options):
    result = invoke(*arguments, **options)
    assert result.exit_code == 0, result.output
    return result.stdout


def options(command):
    return {name for parameter in main.commands[command].params for name in parameter.opts}


@pytest.mark.parametrize("command", TABLES)
def test_every_table_has_the_same_options(command):
    assert {"--format", "--output", "-o", "--columns", "--sort"} <= options(command)
    assert command == "devices" or "--strict" in options(command)


@pytest.mark.parametrize("format_", STARTS)
@pytest.mark.parametrize("command", TABLES | LISTS)
def test_every_format_is_there_and_an_ending_asks_for_it(command, format_, tmp_path):
    arguments = [command, *(TABLES | LISTS)[command]]
    assert run(*arguments, "--format", format_).startswith(STARTS[format_])
    if (command, format_) != ("confirm", "md"):
        path = tmp_path / f"found.{format_}"
        run(*arguments, "-o", path)
        assert path.read_text().startswith(STARTS[format_])


@pytest.mark.parametrize("command", TABLES | LISTS)
def test_json_has_the_same_keys_everywhere(command):
    found = json.loads(run(command, *(TABLES | LISTS)[command], "--format", "json"))
    assert found["schema_version"] == 1 and {"model", "input", "total", "missing", "rows"} <= set(found)
    assert isinstance(found["total"], dict) and isinstance(found["missing"], dict)
    assert found["rows"] and all(row["name"] for row in found["rows"])


def test_layers_and_the_whole_are_one_json():
    found = json.loads(run("confirm", NET, "--device", "cpu", "--seconds", "0.01", "--layers", "--format", "json"))
    assert found["rows"][0]["name"] == "time" and len(found["layers"]["rows"]) > 5
    total = json.loads(run("memory", NET, "--max-batch", "--budget", "1GiB", "--format", "json"))
    assert total["curve"] and "name" not in total["total"]


@pytest.mark.parametrize("command", ["compare", "devices", "diff", "memory", "size", "sweep"])
def test_columns_and_order_can_be_chosen(command):
    column = {"devices": "memory", "memory": "live", "size": "bytes"}.get(command, "params")
    text = run(command, *TABLES[command], "--sort", column, "--columns", column, "--format", "csv")
    rows = [row for row in csv.DictReader(io.StringIO(text)) if row["name"] != "total"]
    assert list(rows[0]) == ["name", column]
    values = [float(row[column]) for row in rows if row[column]]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("options", [["--columns", ","], ["--columns", ""], ["--sort", ""], ["--columns", "nope"]])
def test_a_column_that_is_none_is_an_error(options):
    for command in ("table", "compare", "sweep"):
        result = invoke(command, *TABLES[command], *options)
        assert result.exit_code == 2 and "column" in result.stderr


@pytest.mark.parametrize("command", [["memory", NET], ["compare", "vgg16"]])
def test_a_picture_is_no_table(command, tmp_path):
    for options in (["--format", "json"], ["--columns", "params"]):
        result = invoke(*command, "--svg", *options, "-o", tmp_path / "a.svg")
        assert result.exit_code == 2 and "--svg is a picture" in result.stderr
    assert not list(tmp_path.iterdir())


def test_whether_it_fits_fits_the_terminal():
    lines = run("memory", NET, "--device", "NVIDIA GeForce RTX 3060").splitlines()
    assert lines[-2].startswith("fits: even") and max(map(len, lines)) <= 80


def test_a_table_has_the_time_on_a_device():
    found = json.loads(run("table", "resnet18", "--device", "RTX 3060", "--format", "json"))
    times = json.loads(run("fit", "resnet18", "--device", "RTX 3060", "--kernels", "-b", "1", "--format", "json"))
    assert found["total"]["seconds"] == times["total"]["seconds"] > 0
    assert sum(row["seconds"] for row in found["rows"]) == pytest.approx(found["total"]["seconds"])
    text = run("table", "resnet18", "--device", "RTX 3060", "--depth", "1")
    assert "time" in text.splitlines()[2] and "RTX 3060" in text and "conv2_x" in text
    for wrong in (["--train"], ["--fused"], ["--by", "op"], ["--crosscheck"]):
        result = invoke("table", NET, "--device", "T4", *wrong)
        assert result.exit_code == 2 and "cnnscope fit" in result.stderr
    assert invoke("table", NET, "--device", "T5").exit_code == 2


def test_memory_by_module():
    rows = json.loads(run("memory", "resnet18", "--depth", "1", "--format", "json"))["rows"]
    assert [row["name"] for row in rows if row["name"].startswith("conv2")] == ["conv2_x"]
    assert "conv2_x" in run("memory", "resnet18", "--depth", "1")


@pytest.mark.parametrize("command", [["table"], ["compare"], ["reconcile", "--no-tools"], ["sweep", "-q"]])
def test_strict(command, net):
    assert invoke(*command, f"{net}:Net", "--input", "2x4").exit_code == 0
    assert invoke(*command, f"{net}:Net", "--input", "2x4", "--strict").exit_code == 1
    assert invoke(*command, NET, "--strict").exit_code == 0


@pytest.mark.parametrize("command", [["table"], ["measure", "--device", "cpu"], ["report", "-o", "-"]])
def test_a_model_that_ends_the_program_is_an_error(command, net):
    result = invoke(*command, f"{net}:Ends", "--input", "2x4")
    assert result.exit_code == 2 and "ended the program: SystemExit(3)" in result.stderr and not result.stdout


def test_csv_has_raw_numbers():
    budget = next(csv.DictReader(io.StringIO(run("check", NET, "--max-params", "100M", "--format", "csv"))))
    assert (budget["value"], budget["limit"], budget["unit"]) == ("61706", "100000000", "count")
    text = run("confirm", NET, "--device", "cpu", "--seconds", "0.01", "--format", "csv")
    time = next(csv.DictReader(io.StringIO(text)))
    assert 0 < float(time["predicted_low"]) <= float(time["predicted_high"]) and float(time["measured_value"]) > 0
    assert "name,model" not in run("check", NET, "--max-params", "100M", "--format", "csv", "--columns", "value")
