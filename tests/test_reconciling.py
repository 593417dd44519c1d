"""Every rule against the tool whose rule it is, and the five numbers of ResNet-50."""

from __future__ import annotations

import io
import json

import pytest
from click.testing import CliRunner

import cnnscope
from cnnscope import reconciling
from cnnscope.cli import main
from cnnscope.counters import crosscheck
from cnnscope.errors import UnusableInput
from cnnscope.libraries import with_torchvision
from cnnscope.targets import load

RULES = {each.name: each for each in reconciling.CONVENTIONS}
BY_TOOL = {each.tool: each for each in reconciling.CONVENTIONS if each.tool}


def run(*arguments):
    return CliRunner().invoke(main, arguments)


def loaded(name):
    found = load(name)
    return found.model.eval(), found.default_input[0]


def total(name, convention):
    graph = cnnscope.trace(*loaded(name), name=name)
    return sum(convention.counts(graph, op) for op in graph)


def explained(found):
    return {note.split(" ")[0]: note for note in found.notes}


@pytest.fixture(scope="module")
def resnet50():
    ours = cnnscope.trace(*loaded("resnet50"), name="resnet50")
    return ours, cnnscope.trace(*loaded("torchvision:resnet50"), name="torchvision:resnet50")


def test_the_five_numbers_of_resnet50(resnet50):
    figures = [reconciling.figure(text) for text in ("3.8", "3.86G", "4.09 G", "4.11", "4.13")]
    found = reconciling.reconcile(resnet50[0], resnet50[1:], figures=figures)
    said = explained(found)
    assert "conv + linear, resnet50 (3,857,973,248 MAC, cut off and not rounded)" in said["3.8:"]
    assert "conv + linear, resnet50 (3,857,973,248 MAC)" in said["3.86G:"]
    assert "conv + linear, torchvision:resnet50 (4,089,184,256 MAC)" in said["4.09"]
    assert "+ 2 BN + global pool, torchvision:resnet50 (4,111,512,576 MAC)" in said["4.11:"]
    assert "+ 4 BN + avg pool, torchvision:resnet50 (4,133,742,592 MAC)" in said["4.13:"]
    assert "+ bias + 2 BN + ReLU + pool, torchvision:resnet50 (4,134,484,968 MAC)" in said["4.13:"]


def test_why_the_sibling_differs(resnet50):
    found = reconciling.reconcile(*resnet50[:1], resnet50[1:])
    assert found.notes[0] == (
        "231,211,008 multiply-adds more in torchvision:resnet50, of the same weights: 3 layers see maps of another "
        "size, layer2.0.conv1 first"
    )


@pytest.mark.parametrize("name", ["resnet50", "torchvision:resnet50", "torchvision:densenet121"])
def test_fvcore_and_torch_print_what_their_rules_give(name):
    model, shape = loaded(name)
    measured = crosscheck(model, shape)
    for tool in ("fvcore", "torch.utils.flop_counter"):
        assert total(name, BY_TOOL[tool]) == measured[tool].total


@pytest.mark.parametrize(
    "name",
    ["resnet50", "torchvision:resnet50", "vgg16", "torchvision:googlenet", "torchvision:mobilenet_v3_small"],
)
@pytest.mark.parametrize("backend", ["pytorch", "aten"])
def test_ptflops_prints_what_its_rule_gives(name, backend):
    ptflops = ptflops_or_skip()
    model, shape = loaded(name)
    macs, _ = ptflops.get_model_complexity_info(
        model, shape[1:], as_strings=False, print_per_layer_stat=False, backend=backend, ost=io.StringIO()
    )
    assert total(name, BY_TOOL["ptflops" if backend == "pytorch" else "ptflops aten"]) == macs


def ptflops_or_skip():
    def imported():
        import ptflops

        return ptflops

    try:
        return with_torchvision(imported)
    except ImportError as error:
        pytest.skip(f"ptflops cannot be imported: {error}")


def test_the_net_of_another_name_is_said_to_be_another(resnet50):
    other = cnnscope.trace(*loaded("resnet18"), name="resnet18")
    assert "another net, with 11,689,512 parameters" in reconciling.against(resnet50[0], other)
    found = reconciling.reconcile(other, [cnnscope.trace(*loaded("torchvision:resnet18"), name="torchvision:resnet18")])
    assert "torchvision:resnet18 counts the same as resnet18" in found.notes and len(found) == len(RULES)


@pytest.mark.parametrize(
    "text, value, scale, digits",
    [("4.11G", 4.11, 1e9, 2), ("558 M", 558, 1e6, 0), ("3.8", 3.8, 1e9, 1), ("4,089,184,256", 4_089_184_256, 1, 0)],
)
def test_figures_are_read(text, value, scale, digits):
    found = reconciling.figure(text)
    assert (found.value, found.scale, found.digits) == (value, scale, digits)


@pytest.mark.parametrize("text", ["", "4.11 X", "-3", "four", "1e9", "4.", "nan"])
def test_what_is_no_figure_is_refused(text):
    with pytest.raises(UnusableInput, match="cannot read the figure"):
        reconciling.figure(text)


def test_a_figure_that_no_rule_gives_is_said_so(resnet50):
    found = reconciling.reconcile(resnet50[0], figures=[reconciling.figure("5.5G")])
    assert found.notes[-1] == "5.5G: no convention here gives it"


def test_the_command():
    found = run("reconcile", "resnet50")
    assert found.exit_code == 0
    text = " ".join(found.stdout.split())
    for figure in ("3.8G (He et al.", "3.86G (", "4.09G (torchvision", "4.11G (timm", "4.13G (ptflops and thop)"):
        assert figure in text
    plain = json.loads(run("reconcile", "resnet50", "--no-siblings", "--no-tools", "--format", "json").stdout)
    assert plain["schema_version"] == 1 and len(plain["rows"]) == len(RULES)
    assert plain["rows"][0]["total"] == 3_857_973_248 and plain["rows"][0]["measured"] is None
    measured = json.loads(run("reconcile", "resnet18", "--no-siblings", "--format", "json").stdout)["rows"]
    assert {row["convention"] for row in measured if row["measured"] == row["total"]} == {
        BY_TOOL["fvcore"].name,
        BY_TOOL["torch.utils.flop_counter"].name,
    }


@pytest.mark.parametrize(
    "arguments",
    [["nothing"], ["resnet18", "--figure", "much"], ["resnet18", "--sibling", "nothing"], ["resnet18", "x"]],
)
def test_wrong_use_is_one_error(arguments):
    found = run("reconcile", *arguments)
    assert found.exit_code == 2 and found.stderr.startswith("cnnscope: ") and len(found.stderr.splitlines()) <= 3
