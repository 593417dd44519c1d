"""Budgets: what is within, over and not known; from options, pyproject.toml and tests of one's own."""

from __future__ import annotations

import json
import os
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cnnscope import budgets
from cnnscope.analyses.layering import layers
from cnnscope.analyses.memory import memory
from cnnscope.cli import main
from cnnscope.errors import UnusableBudget
from cnnscope.testing import assert_budget, difference, lines_of
from cnnscope.tracing import trace
from cnnscope.units import si

pytest_plugins = ["pytester"]

NET = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))
GRAPH = trace(NET, (2, 3, 8, 8), name="net")


def run(*arguments, code=0):
    result = CliRunner().invoke(main, list(arguments), env={"COLUMNS": "120"})
    assert result.exit_code == code, result.output
    return result


# -- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", budgets.QUANTITIES)
def test_exactly_the_cost_is_within_and_one_less_is_over(name):
    total = layers(GRAPH).total
    value = memory(GRAPH).total.peak if name == "peak" else getattr(total, budgets.QUANTITIES[name].column)
    assert value > 0
    for limit, verdict in ((value, budgets.WITHIN), (value + 1, budgets.WITHIN), (value - 1, budgets.OVER)):
        (row,) = budgets.budget(GRAPH, {name: limit}).values()
        assert (row.verdict, row.value, row.limit) == (verdict, value, limit)


def test_the_layers_that_cost_most_are_named_in_order():
    (row,) = budgets.budget(GRAPH, {"params": 0}).values()
    assert row.most == f"3 {100 * 2890 / 3114:.0f} %, 0 {100 * 224 / 3114:.0f} %" and row.used is None
    assert budgets.sentence(row).endswith(
        f"allowed; most of it in {row.most}"
    ) and "3,114 parameters" in budgets.sentence(row)
    (row,) = budgets.budget(GRAPH, {"macs": 1}).values()
    assert row.most.startswith("0 "), "the convolution works most"
    (row,) = budgets.budget(GRAPH, {"peak": 1}).values()
    assert row.most.startswith("3.weight ")


@given(st.integers(0, 10**15))
def test_an_amount_reads_as_it_is_written(number):
    for text in (str(number), f"{number:,}", f"<= {number}", f"≤{number:_}"):
        assert budgets.parsed("macs", text) == number
    assert budgets.parsed("macs", number) == number
    rounded = budgets.parsed("flops", si(number))
    assert abs(rounded - number) <= 0.0006 * number + 1


@pytest.mark.parametrize(
    "name, text, number",
    [("params", "5M", 5_000_000), ("macs", "<= 4.1G", 4_100_000_000), ("macs", "4.1 G", 4_100_000_000),
     ("macs", "0.3k", 300), ("params", "1B", 10**9), ("peak", "200MiB", 200 * 2**20), ("peak", "<=2 GB", 2 * 10**9),
     ("activations", 77, 77), ("peak", 1e6, 10**6)],
)  # fmt: skip
def test_amounts(name, text, number):
    assert budgets.parsed(name, text) == number


@pytest.mark.parametrize(
    "name, text", [("macs", "much"), ("macs", "-3"), ("macs", -3), ("macs", ""), ("macs", "3Q"), ("macs", True),
                   ("macs", "> 3M"), ("macs", None), ("macs", "5MiB"), ("peak", "3 apples"), ("peak", "")]
)  # fmt: skip
def test_what_is_no_amount_is_refused(name, text):
    with pytest.raises(UnusableBudget, match=name):
        budgets.parsed(name, text)


def test_another_quantity_is_refused():
    with pytest.raises(UnusableBudget, match="no budget for 'joules'; one of params, macs"):
        budgets.budget(GRAPH, {"joules": 3})


@torch.library.custom_op("cnnscope_budget_test::riddle", mutates_args=())
def riddle(x: torch.Tensor) -> torch.Tensor:
    return x.clone()


riddle.register_fake(torch.empty_like)


class Riddle(nn.Module):
    def forward(self, x):
        return riddle(x @ x)


def test_what_is_not_counted_is_not_within():
    graph = trace(Riddle(), (4, 4), name="riddle")
    row = budgets.budget(graph, {"macs": "1M"})["riddle macs"]
    assert row.verdict == budgets.UNKNOWN and row.shown == ">= 64" and row.missing == ("riddle",)
    assert "without riddle may be more than" in budgets.sentence(row)
    assert budgets.budget(graph, {"macs": 3})["riddle macs"].verdict == budgets.OVER
    assert budgets.budget(graph, {"params": 3})["riddle params"].verdict == budgets.WITHIN
    with pytest.raises(AssertionError, match="without riddle"):
        assert_budget(Riddle(), (4, 4), macs="1M")


# -- the command ------------------------------------------------------------------------------------------------------


def test_check_exits_with_1_and_names_the_layers():
    result = run("check", "lenet5_modern", "--max-params", "5k", "--max-macs", "1G", code=1)
    assert result.stderr.startswith(
        "cnnscope: lenet5_modern: 61.71 k = 61,706 parameters are more than the 5.000 k allowed"
    )
    assert "most of it in C5 78 %, F6 16 %" in result.stderr and len(result.stderr.splitlines()) == 1
    assert "over" in result.stdout and "within" in result.stdout
    assert run("check", "lenet5_modern", "--max-params", "62k", "--max-peak", "1MiB").stderr == ""
    (row,) = json.loads(run("check", "lenet5_modern", "--max-flops", "1", "--format", "json", code=1).stdout)["rows"]
    assert row["verdict"] == "over" and row["limit"] == 1 and row["value"] > 400_000 and row["unit"] == "FLOP"
    assert run("check", "lenet5_modern", "--max-peak", "300KiB").exit_code == 0
    assert run("check", "lenet5_modern", "--max-peak", "300KiB", "--train", "--optimizer", "adam", code=1)


PYPROJECT = """
[tool.cnnscope.budgets]
lenet5_modern = { params = "62k", macs = "<= 500k" }
"net.py:Net(3)" = { peak = 95, input = ["1x3"], batch-size = 2 }
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "net.py").write_text("from torch import nn\ndef Net(n): return nn.Linear(n, n)\n")
    return tmp_path


def test_check_reads_pyproject(project):
    result = run("check", "--format", "md", code=1)
    rows = [line.split("|")[1:-1] for line in result.stdout.splitlines() if line.startswith("| ")][1:]
    assert [[cell.strip() for cell in row[:4]] for row in rows] == [
        ["lenet5_modern", "parameters", "61.71 k", "62.00 k"],
        ["lenet5_modern", "MACs", "416.5 k", "500.0 k"],
        ["net.py:Net(3)", "peak memory", "96 B", "95 B"],
    ]
    assert "net.py:Net(3)" in result.stderr
    assert run("check", "lenet5_modern").exit_code == 0
    assert "72 B" in run("check", "net.py:Net(3)", "-b", "1").stdout, "options go before the file"
    (project / "other.toml").write_text("[tool.cnnscope.budgets]\nlenet5 = { params = '59k' }\n")
    run("check", "--config", "other.toml", code=1)


def test_the_markdown_of_check_can_be_appended_to_a_summary(project):
    """What GitHub's runner takes: GitHub-flavoured tables, each with a blank line before it."""
    lines = run("check", "--format", "md", code=1).stdout.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    assert not lines[start - 1] and set(lines[start + 1]) <= set("|:- ")
    assert len({line.replace("\\|", "").count("|") for line in lines[start:]}) == 1


MISTAKES = {
    "no limit and no file": (["check", "vgg16"], None, ["--max-params 5M", "no pyproject.toml"]),
    "no model and no file": (["check"], None, ["cannot read 'pyproject.toml'", "no such file"]),
    "limits without a model": (["check", "--max-params", "5M"], PYPROJECT, ["MODEL"]),
    "no amount": (["check", "vgg16", "--max-macs", "much"], None, ["'much'", "macs", "4.1G"]),
    "no memory": (["check", "vgg16", "--max-peak", "much"], None, ["'much'", "24GiB"]),
    "no budget for it": (["check", "vgg16"], PYPROJECT, ["no budget for vgg16"]),
    "no TOML": (["check"], "[tool", ["cannot read 'pyproject.toml'"]),
    "no table": (["check"], "[tool.other]\n", ["has no budgets", "[tool.cnnscope.budgets]"]),
    "another form": (["check"], "[tool.cnnscope.budgets]\nvgg16 = 3\n", ["'vgg16'", "params = '5M'"]),
    "another key": (["check"], "[tool.cnnscope.budgets]\nvgg16 = {mac = 3, macs = 4}\n", ["not with mac"]),
    "no limit in it": (["check"], "[tool.cnnscope.budgets]\nvgg16 = {input = 'x'}\n", ["is a table like"]),
    "no amount in it": (["check"], "[tool.cnnscope.budgets]\nvgg16 = {macs = 'many'}\n", ["'many'", "macs"]),
    "no input": (["check"], "[tool.cnnscope.budgets]\nvgg16 = {macs = 1, input = 3}\n", ["text or a list"]),
    "no batch": (["check"], "[tool.cnnscope.budgets]\nvgg16 = {macs = 1, batch-size = 0}\n", ["from 1"]),
    "no switch": (["check"], "[tool.cnnscope.budgets]\nvgg16 = {macs = 1, train = 'x'}\n", ["true or false"]),
    "no such model": (["check"], "[tool.cnnscope.budgets]\nvgg61 = {macs = 1}\n", ["no architecture 'vgg61'"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_error(mistake, tmp_path, monkeypatch):
    arguments, text, words = MISTAKES[mistake]
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text)
    result = run(*arguments, code=2)
    assert result.stdout == "" and len(result.stderr.splitlines()) <= 3 and "internal" not in result.stderr
    for word in words:
        assert word in result.stderr
    assert set(os.listdir(tmp_path)) <= {"pyproject.toml"}


# -- for tests --------------------------------------------------------------------------------------------------------


def test_assert_budget():
    assert_budget(NET, (2, 3, 8, 8), macs="<= 1M", params=3114, peak="1MiB", activations=10**6, flops="1G")
    assert_budget("lenet5_modern", macs="500k")
    assert_budget(GRAPH, params="4k")
    with pytest.raises(
        AssertionError, match=r"Sequential: 3\.114 k = 3,114 parameters are more than the 3\.000 k allowed"
    ):
        assert_budget(NET, (2, 3, 8, 8), params="3k")
    with pytest.raises(AssertionError, match="peak memory are more than the"):
        assert_budget(NET, (2, 3, 8, 8), peak="40KiB", train=True, optimizer="adam")
    with pytest.raises(UnusableBudget, match="without a limit"):
        assert_budget(NET, (2, 3, 8, 8))


TEST = """
import pytest
from torch import nn

WIDTH = 8

@pytest.mark.parametrize("kind", ["plain", "<i>/../x\\n"])
def test_layers(cnnscope_snapshot, kind):
    net = nn.Sequential(nn.Conv2d(3, WIDTH, 3), nn.ReLU(), nn.Conv2d(WIDTH, 4, 1))
    cnnscope_snapshot(net, (1, 3, 8, 8))
    cnnscope_snapshot("lenet5_modern", name="lenet")

def test_budget(assert_budget):
    assert_budget(nn.Linear(3, 3), (1, 3), macs=9)
"""


def _installed():
    """Whether pytest finds the plugin by itself."""
    return any(each.value == "cnnscope.pytest_plugin" for each in entry_points(group="pytest11"))


@pytest.fixture
def suite(pytester):
    pytester.makepyfile(TEST)

    def run(*options):
        loaded = [] if _installed() else ["-p", "cnnscope.pytest_plugin"]
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", *loaded, *options)

    return run


def test_a_snapshot_is_written_held_and_renewed(suite, pytester):
    missing = suite()
    missing.assert_outcomes(passed=1, failed=2)
    missing.stdout.fnmatch_lines(["*no snapshot test_a_snapshot*; pytest --cnnscope-update writes it"])
    assert not list(pytester.path.glob("*.txt"))
    suite("--cnnscope-update").assert_outcomes(passed=3)
    files = sorted(path.name for path in pytester.path.glob("*.txt"))
    assert len(files) == 4 and all("/" not in name and "\n" not in name for name in files)
    times = {path: path.stat().st_mtime_ns for path in pytester.path.glob("*.txt")}
    suite().assert_outcomes(passed=3)
    suite("--cnnscope-update").assert_outcomes(passed=3)
    assert times == {path: path.stat().st_mtime_ns for path in pytester.path.glob("*.txt")}, "what is right is left"
    source = next(pytester.path.glob("test_*.py"))
    source.write_text(source.read_text().replace("WIDTH = 8", "WIDTH = 9"))
    changed = suite()
    changed.assert_outcomes(passed=1, failed=2)
    changed.stdout.fnmatch_lines([
        "*Sequential (1x3x8x8) is not as in *.txt; if that is meant: pytest --cnnscope-update",
        "-0  Conv2d  1x8x6x6  3x3  params 224  MACs 7,776*",
        "+0  Conv2d  1x9x6x6  3x3  params 252  MACs 8,748*",
        "-total*", "+total*",
    ])  # fmt: skip
    suite("--cnnscope-update").assert_outcomes(passed=3)
    suite().assert_outcomes(passed=3)


def test_the_plugin_has_its_entry_point():
    data = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    assert data["project"]["entry-points"]["pytest11"] == {"cnnscope": "cnnscope.pytest_plugin"}


def test_a_long_difference_is_cut_and_keeps_the_totals():
    before = [f"layer{number}  params {number}" for number in range(300)] + ["total  params 5"]
    after = [line.replace("params", "params 1") for line in before]
    lines = difference(before, after).splitlines()
    assert len(lines) == 43 and lines[-2:] == ["-total  params 5", "+total  params 1 5"]
    assert difference(before, before) == ""


def test_a_line_of_a_snapshot_stays_a_line():
    net = nn.Sequential()
    net.add_module("a\nb\x1b[31m\u202e", nn.ReLU())
    lines = lines_of(layers(trace(net, (1, 3))))
    assert len(lines) == 3 and all(line.isprintable() for line in lines) and "a\\nb\\x1b[31m\\u202e" in lines[1]
