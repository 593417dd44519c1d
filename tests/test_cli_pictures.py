"""``graph`` and ``figure``: which files are written, in which format, and what is refused before anything is."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import cnnscope
from cnnscope.cli import main

TIKZ = (b"% Diagram of lenet5", b"% Volumes of lenet5")
STARTS = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF", "tikz": TIKZ, "dot": b"digraph", "tex": TIKZ}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.parametrize(
    ("options", "files"),
    [
        (["--svg", "--dot"], ["lenet5.dot", "lenet5.svg"]),
        (["--tikz", "--svg", "--tikz"], ["lenet5.svg", "lenet5.tikz"]),
        (["-o", "a.tex"], ["a.tex"]),
        (["--tikz", "-o", "a.tex", "--dot"], ["a.dot", "a.tex"]),
        (["-o", "a.b.svg", "--svg", "--dot"], ["a.b.dot", "a.b.svg"]),
        (["-o", "a", "--svg", "--dot"], ["a.dot", "a.svg"]),
        (["-o", "a"], ["a"]),
        (["--landscape", "--heat", "memory"], ["lenet5.svg"]),
    ],
)
def test_each_format_asked_for_is_written(options: list[str], files: list[str]) -> None:
    result = run("graph", "lenet5", *options)
    assert result.exit_code == 0, result.output
    assert sorted(os.listdir()) == files
    assert sorted(re.findall("wrote (.*)", result.stderr)) == files
    for file in files:
        assert Path(file).read_bytes().startswith(STARTS[file.partition(".")[2].rpartition(".")[2] or "svg"])


@pytest.mark.parametrize("command", ["graph", "figure"])
def test_png_and_pdf_are_written_too(command: str) -> None:
    pytest.importorskip("vl_convert", reason="PNG and PDF need the extra of that name")
    result = run(command, "lenet5_modern", "--png", "--pdf", "--svg", "--tikz", "-o", "net.pdf")
    assert result.exit_code == 0, result.output
    assert sorted(os.listdir()) == ["net.pdf", "net.png", "net.svg", "net.tikz"]
    for file in os.listdir():
        assert Path(file).read_bytes().startswith(STARTS[file.partition(".")[2]])


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["graph", "lenet5", "--png", "-o", "x.svg"], "does not name png: use .png, or -o -"),
        (["graph", "lenet5", "-o", "x.gif"], "does not name a picture: use .svg, .png, .pdf, .tikz, .dot, or -o -"),
        (["graph", "lenet5", "--svg", "--png", "-o", "-"], "-o - is one stream, and 2 pictures are asked for"),
        (["graph", "lenet5", "--layout", "dot", "--landscape"], "--layout dot has no --landscape"),
        (["graph", "lenet5", "--device", "H100"], "--device is for --heat time, and this is --heat macs"),
        (["figure", "lenet5", "-o", "x.dot"], "does not name a picture: use .svg, .png, .pdf, .tikz, or -o -"),
        (["figure", "torchvision:vit_b_16", "--svg"], "no figure of vit_b_16"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(arguments: list[str], why: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2 and why in result.stderr and "Traceback" not in result.stderr
    assert os.listdir() == []


def test_heat_by_time_without_a_roofline_or_device_is_one_error() -> None:
    result = run("graph", "lenet5", "--heat", "time")
    why = "needs a device" if hasattr(cnnscope, "roofline") else "needs a roofline"
    assert result.exit_code == 2 and why in result.stderr and os.listdir() == []


def test_a_file_of_its_own_is_dark_where_the_viewer_is() -> None:
    assert (
        run("graph", "lenet5", "-o", "a.svg").exit_code == 0 and run("figure", "lenet5", "-o", "b.svg").exit_code == 0
    )
    assert all("prefers-color-scheme:dark" in Path(name).read_text() for name in ("a.svg", "b.svg"))


def test_options_change_the_picture() -> None:
    plain = run("graph", "resnet18", "-o", "-").stdout
    others = [["--landscape"], ["--heat", "params"], ["--no-fold"], ["--depth", "1"]]
    pictures = {plain, *(run("graph", "resnet18", "-o", "-", *options).stdout for options in others)}
    assert len(pictures) == 5
    assert "parameters relative to the largest layer" in run("graph", "resnet18", "--heat", "params", "-o", "-").stdout


def test_a_figure_has_the_title_and_style_asked_for() -> None:
    result = run("figure", "lenet5", "--style", "sheets", "--title", "LeNet-5", "-o", "-")
    assert result.exit_code == 0 and ">LeNet-5</text>" in result.stdout and "16 @ 10×10" in result.stdout
