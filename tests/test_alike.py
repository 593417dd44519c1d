"""What is the same is worked out once: equal operators of a graph, and runs in which nothing was other than before."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import assume, given
from random_models import RandomNet, recipes
from test_random_models import EXAMPLES
from torch import nn

import cnnscope
from cnnscope import assembling, targets, zoo
from cnnscope.errors import CnnscopeError
from cnnscope.graph import ModelGraph


def compared_with_none(graph: ModelGraph) -> ModelGraph:
    """The same graph, of whose operators nobody knows that two are alike."""
    fields = ("name", "ops", "storages", "inputs", "outputs", "parameters", "calls", "run")
    return ModelGraph(**{name: getattr(graph, name) for name in fields})


def check(graph: ModelGraph) -> None:
    assert len(graph.alike) == len(graph)
    for op, first in zip(graph, graph.alike, strict=True):
        other = graph.ops[first]
        assert (op.kind, op.attrs, op.roles) == (other.kind, other.attrs, other.roles)
        assert repr(op.attrs) == repr(other.attrs)
        for ours, theirs in ((op.inputs, other.inputs), (op.outputs, other.outputs)):
            assert [(v.shape, v.dtype, v.strides) for v in ours] == [(v.shape, v.dtype, v.strides) for v in theirs]
    ours, plain = cnnscope.layers(graph), cnnscope.layers(compared_with_none(graph))
    assert dict(ours) == dict(plain) and ours.total == plain.total


@pytest.mark.parametrize("name", zoo.names())
def test_the_zoo(name):
    found = targets.load(name)
    check(cnnscope.trace(found.model, found.default_input))


@pytest.mark.parametrize("options", [{"train": True, "optimizer": "adamw"}, {"channels_last": True}])
def test_other_runs(options):
    check(cnnscope.trace(zoo.build("googlenet"), (2, 3, 224, 224), **options))


@EXAMPLES
@given(recipes())
def test_random_networks(recipe):
    model = RandomNet(recipe)
    try:
        graph = cnnscope.trace(model, model.shape)
    except CnnscopeError:
        assume(False)
    check(graph)


class Sums(nn.Module):
    """x + x and x + y look the same but for what they read: 1 tensor, or 2; an expanded one holds fewer bytes."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:
        wide = y[:, :1].expand(2, 3)
        return x + x, x + y, y + y, x + wide, wide + wide


def test_what_operators_read_twice_and_expanded():
    graph = cnnscope.trace(Sums(), ((2, 3), (2, 3)))
    check(graph)
    read = [row.bytes_read for row in cnnscope.cost(graph).values() if row.kind == "add"]
    assert read == [24, 48, 24, 48, 24]


# -- the same run -----------------------------------------------------------------------------------------------------


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ELU(1.0), nn.Flatten(), nn.Linear(144, 2))


SHAPE = (1, 3, 8, 8)


def test_the_same_run_gives_the_same_graph():
    model = net()
    graph = cnnscope.trace(model, SHAPE)
    assert cnnscope.trace(model, SHAPE) is graph
    assert cnnscope.trace(net(), SHAPE) is graph
    assert cnnscope.layers(cnnscope.trace(model, SHAPE)) is cnnscope.layers(graph)
    step = cnnscope.trace(model, (2, *SHAPE[1:]), train=True, optimizer="adam")
    assert cnnscope.trace(model, (2, *SHAPE[1:]), train=True, optimizer="adam") is step


def _frozen(model: Any) -> None:
    model[0].weight.requires_grad_(False)


def _of_an_integer(model: Any) -> None:
    model[2].alpha = 1


def _of_a_flag(model: Any) -> None:
    model[2].alpha = True


def _renamed(model: Any) -> None:
    model._modules = {f"layer{name}": each for name, each in model._modules.items()}


def _tied(model: Any) -> None:
    model[1].bias = model[1].weight


def _of_another_class(model: Any) -> None:
    model[3] = type("Flatten2", (nn.Flatten,), {})()


def _one_buffer_more(model: Any) -> None:
    model.register_buffer("extra", torch.zeros(1))


def _of_doubles(model: Any) -> None:
    model.double()


CHANGES = [_frozen, _of_an_integer, _of_a_flag, _renamed, _tied, _of_another_class, _one_buffer_more, _of_doubles]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__[1:])
def test_another_run_gives_another_graph(change):
    before = cnnscope.trace(net(), SHAPE)
    model = net()
    change(model)
    x = torch.empty(SHAPE, dtype=next(model.parameters()).dtype)
    found = cnnscope.trace(model, x)
    assembling.forget()
    alone = cnnscope.trace(model, x)
    assert found is not before
    assert [repr(getattr(found, name)) for name in ("ops", "storages", "parameters", "calls", "run")] == [
        repr(getattr(alone, name)) for name in ("ops", "storages", "parameters", "calls", "run")
    ]


def test_another_input_or_name_gives_another_graph():
    model = net()
    graphs = [
        cnnscope.trace(model, SHAPE),
        cnnscope.trace(model, (2, *SHAPE[1:])),
        cnnscope.trace(model, SHAPE, name="other"),
        cnnscope.trace(model, SHAPE, device="cuda"),
    ]
    assert len({id(graph) for graph in graphs}) == 4 and graphs[2].name == "other"


def test_few_graphs_are_kept():
    for width in range(1, 12):
        cnnscope.trace(nn.Linear(width, 1), (1, width))
    assert len(assembling._recent) == assembling._KEPT


def test_a_graph_does_not_change():
    graph = cnnscope.trace(net(), SHAPE)
    with pytest.raises(AttributeError, match="renamed"):
        graph.name = "other"
    other = graph.renamed("other")
    assert (other.name, graph.name) == ("other", "Sequential") and other.ops is graph.ops
    assert graph.renamed("Sequential") is graph
    assert cnnscope.layers(other).model == "other" and cnnscope.layers(graph).model == "Sequential"
    assert other.dag.name == "other"
