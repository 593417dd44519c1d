"""A training step in every table and picture: the phases apart, and its forward pass as inference has it."""

from __future__ import annotations

import json

import networkx as nx
import pytest
from click.testing import CliRunner
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_models import RandomNet, recipes
from test_random_models import EXAMPLES
from test_training import MODELS
from torch import nn

import cnnscope
from cnnscope import comparing, counters, differences, fusing, reconciling
from cnnscope.analyses.sizing import size
from cnnscope.cli import main
from cnnscope.errors import CnnscopeError, UnusableInput
from cnnscope.render import csv, dot, html, slides, svg, text
from cnnscope.render import json as to_json
from cnnscope.table import by_module, by_phase

SHAPE = (2, 3, 64, 64)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return cnnscope.build("resnet18")


@pytest.fixture(scope="module")
def step(model) -> cnnscope.ModelGraph:
    return cnnscope.trace(model, SHAPE, train=True, optimizer="adam", name="resnet18")


@pytest.fixture(scope="module")
def inference(model) -> cnnscope.ModelGraph:
    return cnnscope.trace(model, SHAPE, name="resnet18")


# -- phases -----------------------------------------------------------------------------------------------------------


def test_phases_add_up_to_the_step(step):
    table = cnnscope.cost(step)
    phases = by_phase(table)
    assert list(phases) == ["forward", "backward", "optimizer"] and phases.total == table.total
    for name in ("macs", "flops", "bytes_read", "bytes_written"):
        assert sum(getattr(row, name) for row in phases.values()) == getattr(table.total, name)
        of_forward = sum(getattr(table[op.name], name) for op in step if op.phase == "forward")
        assert getattr(phases["forward"], name) == of_forward
    assert {row.phase for row in phases.values()} == set(phases)


def test_phases_of_an_inference_and_of_a_table_without_any(inference):
    assert list(by_phase(cnnscope.cost(inference))) == ["forward"]
    with pytest.raises(ValueError, match="the rows of 'shapes' have no phase; those of cost"):
        by_phase(cnnscope.shapes(inference))


def test_layers_have_the_macs_of_both_passes(step, inference):
    trained, plain = cnnscope.layers(step), cnnscope.layers(inference)
    phases = by_phase(cnnscope.cost(step))
    assert trained.total.forward_macs == phases["forward"].macs == plain.total.macs
    assert trained.total.backward_macs == phases["backward"].macs
    assert trained.total.macs == cnnscope.cost(step).total.macs
    assert trained.total.params == plain.total.params == sum(p.numel() for p in cnnscope.build("resnet18").parameters())
    convolutions = [row for row in trained.values() if row.type == "Conv2d"]
    assert [row.backward_macs for row in convolutions[1:]] == [2 * row.forward_macs for row in convolutions[1:]]
    assert convolutions[0].backward_macs == convolutions[0].forward_macs
    for row in plain.values():
        same = ("type", "output", "input", "window", "params", "activation", "repeat")
        assert [getattr(trained[row.name], name) for name in same] == [getattr(row, name) for name in same]


def test_rows_stand_in_the_order_of_the_forward_pass():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Identity(), nn.ReLU(), nn.Identity(), nn.Flatten(), nn.Linear(144, 2))
    table = cnnscope.layers(cnnscope.trace(net, (2, 3, 8, 8), train=True, optimizer="sgd"))
    assert list(table)[:6] == ["0", "1", "2", "3", "4", "5"] and "optimizer" in table


def test_parameters_keep_their_roles_and_what_is_unused_is_seen():
    make, shape = MODELS["odd"]
    trained = cnnscope.params(cnnscope.trace(make(), shape, train=True, optimizer="adam", set_to_none=False))
    plain = cnnscope.params(cnnscope.trace(make(), shape))
    own = {name: row for name, row in trained.items() if row.params}
    assert own == {name: row for name, row in plain.items() if row.params}
    assert [row.name for row in own.values() if row.kind == "unused"] == ["unused.weight", "unused.bias"]
    assert not any(row.shared for row in trained.values())


# -- the forward pass -------------------------------------------------------------------------------------------------


def calls(graph: cnnscope.ModelGraph) -> list[tuple]:
    return [
        (each.module, each.type, each.parent, each.repeat, each.leaf, [value.shape for value in each.outputs])
        for each in graph.calls
    ]


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("name", [name for name in MODELS if "checkpoint" not in name])
def test_the_forward_pass_is_the_run_of_the_same_modules(name, accumulate):
    make, shape = MODELS[name]
    step = cnnscope.trace(make().train(), shape, train=True, optimizer="adam", accumulate=accumulate)
    forward, inference = step.forward, cnnscope.trace(make(), shape)
    assert not forward.train and forward.forward is forward and inference.forward is inference
    assert {op.phase for op in forward} == {"forward"}
    assert calls(forward) == calls(inference)
    assert [value.shape for value in forward.outputs] == [value.shape for value in inference.outputs]
    assert cnnscope.params(forward).total.params == cnnscope.params(inference).total.params
    assert cnnscope.cost(forward).total.macs == cnnscope.cost(inference).total.macs
    assert cnnscope.depth(step).total == cnnscope.depth(inference).total
    for op in forward:
        assert op.outputs == () or forward.storages[op.outputs[0].storage].born <= forward.positions[op.name]


@settings(EXAMPLES, max_examples=40)
@given(recipes(), st.integers(1, 2))
def test_forward_passes_of_random_networks(recipe, accumulate):
    model = RandomNet(recipe).train()
    assume(any(param.requires_grad for param in model.parameters()))
    try:
        step = cnnscope.trace(model, model.shape, train=True, optimizer="sgd", accumulate=accumulate)
    except CnnscopeError:
        assume(False)
    assert nx.is_directed_acyclic_graph(step.dag) and len(step.dag) == len(step)
    forward = step.forward
    assert accumulate * cnnscope.cost(forward).total.macs == by_phase(cnnscope.cost(step))["forward"].macs
    assert calls(forward) == calls(cnnscope.trace(model, model.shape))
    assert svg(step) == svg(forward)
    for analysis in (cnnscope.shapes, cnnscope.cost, cnnscope.depth, cnnscope.receptive_field):
        whole = analysis(step)
        assert {name: whole[name] for name in analysis(forward)} == analysis(forward).rows


# -- the same as inference, or one clear error ------------------------------------------------------------------------


def test_what_is_about_the_forward_pass_is_that_of_inference(step, inference):
    assert cnnscope.depth(step).total == cnnscope.depth(inference).total
    assert slides.slide(step).total == slides.slide(inference).total
    assert size(step).total == size(inference).total
    frozen = cnnscope.trace(cnnscope.build("vgg11"), (1, 3, 224, 224), train=True)
    plain = cnnscope.trace(cnnscope.build("vgg11"), (1, 3, 224, 224))
    assert comparing.last_field(frozen) == comparing.last_field(plain)


def test_batch_norm_that_trains_sees_everything(step):
    assert any("statistics from all positions" in note for note in cnnscope.receptive_field(step).notes)


def test_a_picture_shows_the_forward_pass(step, inference):
    cards = [dot(graph, fold=False).count("[label") for graph in (step, inference)]
    assert cards[0] == cards[1] > 20
    assert "backward" not in svg(step) and "Adam" not in svg(step)


def test_what_needs_inference_says_so(step, model):
    with pytest.raises(UnusableInput, match="resnet18 is a training step; other counters count inference"):
        counters.crosscheck(model, SHAPE, graph=step)
    with pytest.raises(UnusableInput, match="resnet18 is a training step; only inference is fused"):
        fusing.fused(step)
    with pytest.raises(UnusableInput, match="resnet18 is a training step; conventions"):
        reconciling.reconcile(step)


def test_the_forward_pass_alone_can_be_fused(step):
    # Its norms compute statistics, so none of them is folded away.
    assert sum("batch_norm" in op.kind for op in fusing.fused(step.forward)) == 20


def test_comparisons_take_steps_for_what_they_are(step, inference):
    table = comparing.compare([step, cnnscope.trace(nn.Conv2d(3, 4, 3), SHAPE, name="other")])
    assert table["resnet18"].macs == cnnscope.cost(step).total.macs
    assert "resnet18: MACs and FLOPs of a whole training step" in table.notes
    assert differences.diff(step, step).rows == {}
    assert {row.mark for row in differences.diff(inference, step).values()} > {"+"}


@pytest.mark.parametrize("render", [text, csv, html, to_json])
def test_every_renderer_takes_every_table(step, render):
    for analysis in (cnnscope.shapes, cnnscope.params, cnnscope.cost, cnnscope.layers, cnnscope.depth, cnnscope.memory):
        assert render(analysis(step)) and render(by_module(analysis(step)))


# -- the command ------------------------------------------------------------------------------------------------------


def run(*arguments: str, width: int = 100) -> str:
    result = CliRunner().invoke(main, ["table", *arguments], env={"COLUMNS": str(width)})
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_the_command_by_layer_shows_both_passes():
    lines = run("alexnet", "--train", "--optimizer", "adam", "-b", "2", "--no-cache", width=120).splitlines()
    # In a short line a column's title is wrapped; there is no column of both passes together.
    head = " ".join(lines[2:4]).split()
    assert head.count("forward") == head.count("backward") == 1 and head.count("MACs") == 2
    assert "phases      forward 2.271 G MACs, backward 4.330 G MACs (1.91x), optimizer 810.9 M FLOPs" in lines
    assert any(line.startswith("step        a steady training step; loss: the sum of the outputs;") for line in lines)


def test_the_command_in_json_has_totals_by_phase():
    layers = json.loads(run("lenet5", "--train", "--optimizer", "sgd", "--format", "json"))
    phases = json.loads(run("lenet5", "--train", "--optimizer", "sgd", "--format", "json", "--by", "phase"))
    by_name = {row["name"]: row for row in phases["rows"]}
    assert list(by_name) == ["forward", "backward", "optimizer"]
    assert layers["total"]["forward_macs"] == by_name["forward"]["macs"]
    assert layers["total"]["backward_macs"] == by_name["backward"]["macs"]
    assert layers["total"]["macs"] == phases["total"]["macs"] == sum(row["macs"] for row in phases["rows"])
    ops = json.loads(run("lenet5", "--train", "--optimizer", "sgd", "--format", "json", "--by", "op"))
    assert {row["phase"] for row in ops["rows"]} == set(by_name)
    assert sum(row["macs"] for row in ops["rows"]) == phases["total"]["macs"]


def test_inference_has_no_column_of_a_step():
    plain = json.loads(run("lenet5", "--format", "json"))
    assert not {"forward_macs", "backward_macs", "phase"} & plain["rows"][0].keys()
    assert [row["name"] for row in json.loads(run("lenet5", "--by", "phase", "--format", "json"))["rows"]] == [
        "forward"
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--optimizer", "adam"], "--optimizer belongs to a training step; add --train"),
        (["--train", "--optimizer", "sdg"], "'sdg' is no optimizer"),
        (["--train", "--fused"], "only inference is fused"),
        (["--train", "--crosscheck"], "leave out --train"),
        (["--by", "phase", "--depth", "2"], "--by phase has one row for each phase"),
    ],
)
def test_options_that_do_not_go_together(options, message):
    result = CliRunner().invoke(main, ["table", "lenet5", *options])
    assert result.exit_code == 2 and result.stdout == "" and message in result.stderr
    assert "Traceback" not in result.stderr
