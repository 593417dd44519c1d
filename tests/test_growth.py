"""Nothing costs more than n log n in operators: counted in calls of functions, which do not depend on the machine."""

from __future__ import annotations

import cProfile
import pstats

import pytest
import torch
from torch import nn

import cnnscope
from cnnscope import comparing, differences, encoding, fusing, reconciling, render
from cnnscope.analyses.holding import held
from cnnscope.tracing import trace


class Residual(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()) for _ in range(layers // 3)
        )

    def forward(self, x):
        for block in self.blocks:
            x = x + block(x)
        return x


class Fan(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(4, 1, 1) for _ in range(layers))

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], 1)


class Writes(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def forward(self, x):
        y = x + 1
        parts = y[:, :2], y[:, 2:]
        for number in range(self.layers):
            parts[number % 2].add_(1)
        return y


SIZES = 60, 300
ANALYSES = {
    **{name: getattr(cnnscope, name) for name in ("layers", "cost", "params", "shapes", "depth", "receptive_field")},
    "memory": cnnscope.memory,
    "held": held,
    "fused": fusing.fused,
    "compare": lambda graph: comparing.compare([graph]),
    "reconcile": reconciling.reconcile,
    "dag": lambda graph: graph.dag,
    "encode": encoding.encoded,
    "decode": lambda graph: encoding.decoded(encoding.encoded(graph)),
    "text": lambda graph: render.text(cnnscope.layers(graph), width=100),
    "json": lambda graph: render.json(cnnscope.layers(graph)),
    "markdown": lambda graph: render.markdown(cnnscope.layers(graph)),
    "dot": render.dot,
}


def calls(run, *args):
    """How many functions are called, those of C included."""
    profile = cProfile.Profile()
    profile.runcall(run, *args)
    return pstats.Stats(profile).total_calls


@pytest.fixture(scope="module", params=[Residual, Fan, Writes], ids=lambda kind: kind.__name__)
def graphs(request):
    return [trace(request.param(size), (1, 4, 8, 8)) for size in SIZES]


@pytest.mark.parametrize("name", ANALYSES)
def test_calls_grow_with_the_operators(name, graphs):
    if name == "dot" and graphs[0].calls[0].type == "Writes":
        pytest.skip("a drawing looks for equal blocks at every place; these are all equal and cannot be folded")
    few, many = (calls(ANALYSES[name], graph) for graph in graphs)
    assert many < 1.25 * few * len(graphs[1]) / len(graphs[0]) + 2_000, (few, many)


@pytest.mark.parametrize("kind", [Residual, Fan])
def test_so_do_those_of_a_trace_and_of_a_difference(kind):
    models = [kind(size) for size in SIZES]
    trace(models[1], (1, 4, 8, 8))  # signatures are remembered
    few, many = (calls(trace, model, (1, 4, 8, 8)) for model in models)
    assert many < 6 * few, (few, many)
    graphs = [trace(model, (1, 4, 8, 8), name=str(number)) for number, model in enumerate(models)]
    smaller = trace(kind(SIZES[1] // 2), (1, 4, 8, 8), name="smaller")
    assert calls(differences.diff, graphs[1], smaller) < 8 * calls(differences.diff, graphs[0], smaller)


def test_the_instrument_sees_a_square():
    def square(size):
        return sum(len(str(number)) for number in range(size) for _ in range(size))

    few, many = (calls(square, size) for size in SIZES)
    assert many > 2 * few * SIZES[1] / SIZES[0] + 2_000
