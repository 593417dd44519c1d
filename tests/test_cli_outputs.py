"""The other commands, and where the output of commands goes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from cnnscope.cli import main


def run(*arguments, **environment):
    result = CliRunner().invoke(main, [str(each) for each in arguments], env={"COLUMNS": "120", **environment})
    assert result.exit_code == 0, result.output
    return result.stdout


# -- graph ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model, options, file, start",
    [
        ("lenet5_modern", [], "lenet5_modern.svg", b"<svg"),
        ("torchvision:resnet18", ["--depth", "1", "--no-fold"], "resnet18.svg", b"<svg"),
        ("lenet5_modern", ["--dot"], "lenet5_modern.dot", b"digraph"),
        ("lenet5_modern", ["-o", "a.gv"], "a.gv", b"digraph"),
        ("lenet5_modern", ["-o", "a.png"], "a.png", b"\x89PNG"),
    ],
)
def test_a_picture_is_written_to_a_file_of_its_own(model, options, file, start, tmp_path, monkeypatch):
    if start == b"\x89PNG":
        pytest.importorskip("vl_convert", reason="PNG needs the extra of that name")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["graph", model, *options])
    assert result.exit_code == 0 and result.stdout == "" and result.stderr == f"wrote {file}\n"
    assert os.listdir(tmp_path) == [file]
    assert start in (tmp_path / file).read_bytes()[:200]


def test_a_picture_goes_to_stdout_when_asked():
    assert "conv5_3" in run("graph", "vgg16", "--no-fold", "-o", "-")


# -- list ----------------------------------------------------------------------------------------------------------


def test_list_names_every_architecture_by_chapter():
    from cnnscope import zoo

    output = run("list")
    assert all(name in output for name in zoo.names())
    chapters = [line for line in output.splitlines() if line and not line.startswith(" ")]
    assert chapters[:3] == ["Background", "AlexNet", "ZFNet"]
    papers = json.loads(run("list", "--format", "json"))["papers"]
    assert [model["name"] for paper in papers for model in paper["models"]] == zoo.names()
    assert "- `vgg16`: " in run("list", "--format", "md")


@pytest.mark.parametrize("width", [80, 120])
def test_list_fits_the_terminal(width):
    assert max(map(len, run("list", COLUMNS=str(width)).splitlines())) <= width


# -- where it goes ---------------------------------------------------------------------------------------------------


def test_a_file_is_written_whole_and_nothing_else(tmp_path):
    path = tmp_path / "table.txt"
    assert run("table", "vgg16", "-o", path) == ""
    assert path.read_text().startswith("vgg16 (1x3x224x224): layers\n") and path.read_text().endswith("path\n")
    assert os.listdir(tmp_path) == ["table.txt"]
    assert run("table", "lenet5_modern", "--format", "csv", "-o", "-").startswith("name,")


def test_bold_on_a_terminal_only(monkeypatch):
    from cnnscope.cli import common

    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert common.colored(None) and not common.colored("file")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not common.colored(None)
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not common.colored(None)
    assert "\x1b" not in run("table", "alexnet")


def test_a_reader_that_goes_away_is_no_error():
    program = "from cnnscope.cli import main; main()"
    command = [sys.executable, "-c", program, "table", "resnet152", "--by", "op"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait() == 0


def test_nothing_deprecated_is_used():
    done = subprocess.run([sys.executable, "-W", "error", "-m", "cnnscope", "devices"], capture_output=True, timeout=60)
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_letters_that_the_output_has_not_are_no_error():
    done = subprocess.run(
        [sys.executable, "-c", "from cnnscope.cli import main; main()", "list"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0 and b"alexnet" in done.stdout


def test_help_and_version():
    output = run("--help")
    assert "torchvision:resnet50" in output and "runs its code" in output
    commands = [line.split()[0] for line in output.partition("Commands:")[2].splitlines() if line.strip()]
    assert {"graph", "list", "table"} <= set(commands)
    assert run("--version").startswith("cnnscope ")
    for command in commands:
        assert ("its code runs" in run(command, "--help").replace("\n", " ")) == ("--input" in run(command, "--help"))
        assert run(command, "--help").startswith(f"Usage: main {command}") or "Usage:" in run(command, "--help")


# -- what stands in a table -----------------------------------------------------------------------------------------

UNKNOWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(4, 4)

    def forward(self, x):
        return torch.linalg.svdvals(self.f(x))
"""

SHARED = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(4, 4)

    def forward(self, x):
        return self.f(self.f(x))
"""


def test_what_is_not_counted_shows_wherever_a_row_is_a_whole_network(tmp_path):
    (tmp_path / "net.py").write_text(UNKNOWN)
    target = f"{tmp_path / 'net.py'}:Net"
    for command in (["compare", target, target], ["sweep", target, "-q"], ["fit", target, "--device", "T4"]):
        text = run(*command, "--input", "2x4", COLUMNS="200")
        assert ">=" in text and "without _linalg_svd" in text
    rows = json.loads(run("compare", target, target, "--input", "2x4", "--format", "json"))["rows"]
    assert rows[1]["params_ratio"] == 1 and rows[1]["macs_ratio"] is None


def test_a_module_called_again_is_marked(tmp_path):
    (tmp_path / "net.py").write_text(SHARED)
    arguments = ("table", f"{tmp_path / 'net.py'}:Net", "--input", "2x4")
    rows = [line.split() for line in run(*arguments).splitlines() if " Linear " in line]
    assert [row[:4] for row in rows] == [["f", "Linear", "2x4", "20"], ["f#2", "Linear", "2x4", "(recursive)"]]
    assert [row["params"] for row in json.loads(run(*arguments, "--format", "json"))["rows"]] == [20, 0]


def test_devices_show_memory_and_bandwidth_on_a_short_line():
    assert {"memory", "bandwidth", "fp16"} <= set(run("devices", COLUMNS="80").splitlines()[2].split())


def test_an_empty_list_is_empty():
    assert "scalar" not in run("table", "lenet5_modern", "--columns", "missing,ops")


def test_percentages_are_numbers_to_a_spreadsheet():
    text = run("confirm", "lenet5_modern", "--device", "cpu", "--seconds", "0.01", "--layers", "--format", "csv")
    assert "%" in text and "'" not in text


def test_a_measurement_fits_the_terminal():
    lines = run("measure", "lenet5_modern", "--device", "cpu", "--seconds", "0.01", COLUMNS="80").splitlines()
    assert max(map(len, lines)) <= 80


# -- for Python ------------------------------------------------------------------------------------------------------


def test_summary_is_the_table_of_layers():
    from torch import nn, ones

    import cnnscope
    from cnnscope.errors import UnusableInput

    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sequential(nn.ReLU(), nn.Flatten()))
    table = cnnscope.summary(model, (1, 3, 8, 8))
    assert table.total.params == 8 * 28 and list(table) == ["0", "1.0", "1.1"]
    assert str(table).startswith("Sequential (1x3x8x8): layers")
    assert cnnscope.summary(model, input_data=ones(1, 3, 8, 8)).total == table.total
    assert list(cnnscope.summary(model, (1, 3, 8, 8), depth=1)) == ["0", "1"]
    for arguments in ({}, {"input_size": (1, 3, 8, 8), "input_data": ones(1)}):
        with pytest.raises(UnusableInput, match="input_size and input_data"):
            cnnscope.summary(model, **arguments)
