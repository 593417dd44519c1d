"""Mistakes that need more than a name: files that are not what they should be, options that do not go together."""

from __future__ import annotations

import os

import pytest
import torch
from click.testing import CliRunner

from cnnscope.cli import main

NETS = """
import torch
from torch import nn

class Number(nn.Module):
    def forward(self, x):
        return 3

class Deciding(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x

class Expanding(nn.Module):
    def forward(self, x):
        return x.expand(3, *x.shape).relu_()

class Mixed(nn.Module):
    def forward(self, x):
        return x @ x.double().T

class Sparse(nn.Module):
    def forward(self, x):
        return x.to_sparse() * 2

class Endless(nn.Module):
    def forward(self, x):
        return self.forward(x)

class Silent(nn.Module):
    def forward(self, x):
        raise ValueError
"""
FILES = {
    "nets.py": NETS,
    "syntax.py": "def net(:\n",
    "exits.py": "raise SystemExit(3)\n",
    "text.onnx": "no model",
    "text.pt2": "no program",
    "record.json": "{}",
    "no.json": "no json",
    "device.toml": "name = 3\n",
    "no.toml": "no [ toml",
    "budgets.toml": "[tool.cnnscope.budgets.lenet5]\nmax-colour = 3\n",
}
NET = "lenet5_modern"
MISTAKES = {
    "an input that no tensor can be": (
        ["table", NET, "--input", "999999999999x999999999999x9"],
        ["no tensor can have"],
    ),
    "an input with a size of 0": (["table", NET, "--input", "0x1x28x28"], ["size of 0"]),
    "an input twice": (["table", NET, "--input", "x=1x2", "--input", "x=1x2"], ["given twice"]),
    "a step that is not trained": (["table", NET, "--zero-grad", "after-step"], ["add --train"]),
    "an optimizer that is not trained": (["memory", NET, "--optimizer", "adam"], ["add --train"]),
    "an optimizer that nobody knows": (["memory", NET, "--train", "--optimizer", "adamant"], ["adamant"]),
    "a precision that nobody knows": (["table", NET, "--dtype", "fp12"], ["fp12"]),
    "mixed precision that nobody knows": (["table", NET, "--amp", "fp12"], ["fp12"]),
    "a training step cross-checked": (["table", NET, "--train", "--crosscheck"], ["leave out --train"]),
    "a device that nobody knows": (["fit", NET, "--device", "T5"], ["no device 'T5'", "T4"]),
    "a file that describes no device": (["fit", NET, "--device", "device.toml"], ["device.toml"]),
    "a file that is no TOML": (["fit", NET, "--device", "no.toml"], ["no.toml"]),
    "a budget that cannot be read": (["memory", NET, "--budget", "much"], ["much"]),
    "the largest batch of no budget": (["memory", NET, "--max-batch"], ["--budget 24GiB"]),
    "two questions about memory": (["memory", NET, "--max-batch", "--what-if", "--budget", "1GiB"], ["choose one"]),
    "a picture of operators": (["memory", NET, "--by", "op", "--svg"], ["choose one"]),
    "the tensors of a module": (["memory", NET, "--by", "tensor", "--depth", "1"], ["leave one out"]),
    "the largest batch of a batch": (["memory", NET, "--max-batch", "-b", "3", "--budget", "1GiB"], ["--batch-size"]),
    "what fits of a batch": (["fit", NET, "--device", "T4", "-b", "3"], ["leave out --batch-size"]),
    "a limit that cannot be read": (["check", NET, "--max-params", "many"], ["many"]),
    "no limit": (["check", NET], ["--max-params 5M"]),
    "limits that nobody knows": (["check", "--config", "budgets.toml"], ["max-colour"]),
    "a figure of no tensor": (["figure", "nets.py:Number", "--input", "1x3", "-o", "-"], ["returns no tensor"]),
    "a forward for one element several times": (["table", "nets.py:Expanding", "--input", "1x3"], ["single memory"]),
    "types that do not go together": (["table", "nets.py:Mixed", "--input", "1x3"], ["same dtype", "float64"]),
    "memory that cannot be followed": (["table", "nets.py:Sparse", "--input", "1x3"], ["sparse"]),
    "a forward without an end": (["table", "nets.py:Endless", "--input", "1x3"], ["RecursionError"]),
    "an error without words": (["table", "nets.py:Silent", "--input", "1x3"], ["ValueError"]),
    "numbers that are not to be had": (
        ["table", "nets.py:Deciding", "--input", "1x3", "--device-trace", "meta"],
        ["values", "--device-trace cpu"],
    ),
    "a file that is no Python": (["table", "syntax.py:net", "--input", "1x3"], ["SyntaxError", "syntax.py"]),
    "a file that ends the program": (["table", "exits.py:net", "--input", "1x3"], ["SystemExit", "exits.py"]),
    "no ONNX": (["table", "text.onnx"], ["text.onnx", "ONNX"]),
    "no exported program": (["table", "text.pt2"], ["text.pt2"]),
    "a record of nothing": (["confirm", NET, "--record", "record.json"], ["record.json"]),
    "a record that is no JSON": (["confirm", NET, "--record", "no.json"], ["no.json"]),
    "no records": (["confirm", "--all=empty"], ["no record"]),
    "neither record nor model": (["confirm"], ["MODEL", "--all"]),
    "a folder of pages that is a file": (["report", "--all", "-o", "nets.py"], ["cannot make the folder"]),
    "all pages and one": (["report", NET, "--all"], ["--all"]),
    "a picture of two kinds": (["graph", NET, "--svg", "--png", "-o", "-"], ["one stream"]),
    "a picture with another ending": (["graph", NET, "--svg", "-o", "x.png"], ["does not name"]),
    "a layout that has no sides": (["graph", NET, "--layout", "dot", "--landscape"], ["--landscape"]),
    "a device for no time": (["graph", NET, "--device", "T4", "--heat", "macs"], ["--heat time"]),
    "a density that cannot be read": (["size", NET, "--density", "half"], ["half"]),
    "a density that is more than all": (["size", NET, "--density", "2"], ["2"]),
    "bits that are none": (["size", NET, "--bits", "0"], ["give 1 to 64"]),
    "nothing to compare": (["compare"], ["name the models"]),
    "claims about what nobody claims": (["claims", "resnet51"], ["resnet51"]),
    "a device file of another name": (["calibrate", "--device", "cpu", "-o", "x.txt"], [".toml"]),
    "kernels of no batch": (["fit", NET, "--device", "T4", "--kernels"], ["-b 32"]),
    "slides by phase": (["table", NET, "--by", "phase", "--depth", "1"], ["--depth"]),
}
if not torch.cuda.is_available():
    MISTAKES["a GPU that is not there"] = (
        ["measure", NET, "--device", "cuda"],
        ["CUDA" if torch.version.cuda is None else "no NVIDIA GPU", "--device cpu"],
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_error(mistake, folder):
    arguments, words = MISTAKES[mistake]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2 and result.stdout == "", result.output
    lines = result.stderr.splitlines()
    assert 1 <= len(lines) <= 3 and lines[0].startswith("cnnscope: ") and all(lines), lines
    assert "Traceback" not in result.stderr and "internal error" not in result.stderr, lines
    for word in words:
        assert word in result.stderr
    assert set(os.listdir(folder)) <= {*FILES, "empty", "__pycache__"}, "nothing is left behind"
