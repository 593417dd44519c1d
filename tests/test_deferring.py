"""Weights of layers that are repeated are not copied until somebody looks at one, and nobody can tell."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from test_replaying import same
from torch import nn

import cnnscope
from cnnscope import standins
from cnnscope.deferring import Deferred

WAYS_TO_READ = {
    "item": lambda d: {name: d[name] for name in d},
    "get": lambda d: {name: d.get(name) for name in list(d)},
    "dict()": dict,
    "unpacked": lambda d: {**d},
    "keywords": lambda d: (lambda **given: given)(**d),
    "copy": lambda d: d.copy(),
    "copy.copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda d: pickle.loads(pickle.dumps(d)),
    "union": lambda d: d | {},
    "union from the right": lambda d: {} | d,
    "update": lambda d: [each := {}, each.update(d)][0],
    "items": lambda d: dict(d.items()),
    "values": lambda d: dict(zip(d.keys(), d.values(), strict=True)),
    "pop": lambda d: {name: d.pop(name) for name in list(d)},
    "popitem": lambda d: dict([d.popitem() for _ in range(2)][::-1]),
    "setdefault": lambda d: {name: d.setdefault(name, 7) for name in list(d)},
}


def _copies(given: Any) -> dict[str, Any]:
    return {name: None if each is None else -each for name, each in given.items()}


@pytest.mark.parametrize("name", WAYS_TO_READ)
def test_whoever_reads_sees_the_copies(name):
    given = {"weight": 1, "bias": None}
    deferred: Any = Deferred(given, _copies)
    assert deferred.waiting and len(deferred) == 2 and "bias" in deferred and deferred.originals == list(given.items())
    found = WAYS_TO_READ[name](deferred)
    assert type(found) is dict and found == {"weight": -1, "bias": None}
    assert not deferred.waiting


@pytest.mark.parametrize("change", ["setitem", "delitem", "clear", "ior"])
def test_whoever_writes_writes_to_the_copies(change):
    deferred: Any = Deferred({"a": 1, "b": 2}, _copies)
    if change == "setitem":
        deferred["a"] = 5
    elif change == "delitem":
        del deferred["a"]
    elif change == "clear":
        deferred.clear()
    else:
        deferred |= {"a": 5}
    wanted = {"setitem": {"a": 5, "b": -2}, "delitem": {"b": -2}, "clear": {}, "ior": {"a": 5, "b": -2}}[change]
    assert not deferred.waiting and deferred == wanted


def test_a_repeated_layer_is_not_copied(monkeypatch):
    model = nn.Sequential(*[nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU()) for _ in range(4)])
    cnnscope.trace(model, (1, 3, 4, 4))
    made = []
    monkeypatch.setattr(standins, "on_meta", lambda tensor, real=standins.on_meta: made.append(tensor) or real(tensor))
    graph = cnnscope.trace(model, (1, 3, 4, 4))
    assert made == []
    assert len(graph.parameters) == len([*model.parameters(), *model.buffers()])


class Between(nn.Module):
    """Two equal layers with something of the program's between their calls."""

    def __init__(self, between: Any) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.between = between

    def forward(self, x: torch.Tensor) -> Any:
        return self.second(self.between(self, self.first(x)))


def _doubled(net: Any, x: Any) -> Any:
    with torch.no_grad():
        net.second.weight.mul_(2)
    return x


def _through_a_view(net: Any, x: Any) -> Any:
    net.second.weight.data.view(-1)[:3].zero_()
    return x


def _loaded(net: Any, x: Any) -> Any:
    net.second.load_state_dict(net.first.state_dict())
    return x


def _swapped(net: Any, x: Any) -> Any:
    net.second._parameters = {**net.first._parameters}
    return x


def _tied(net: Any, x: Any) -> Any:
    net.second.weight = net.first.weight
    return x


def _in_inference_mode(net: Any, x: Any) -> Any:
    with torch.inference_mode():
        scale = net.second.weight.mean()
    return x * scale


PROGRAMS = {
    "reads another layer's weight": lambda net, x: x * net.second.weight.mean(),
    "writes it": _doubled,
    "writes it through a view": _through_a_view,
    "loads a state": _loaded,
    "swaps the parameters": _swapped,
    "ties two layers": _tied,
    "in inference mode": _in_inference_mode,
    "copies a layer": lambda net, x: copy.deepcopy(net.second)(x),
    "calls with others": lambda net, x: torch.func.functional_call(
        net.second, dict(net.first.named_parameters()), (x,)
    ),
    "counts": lambda net, x: x * sum(p.numel() for p in net.parameters()),
    "asks whether it learns": lambda net, x: x if net.second.weight.requires_grad else x.relu(),
    "maps": lambda net, x: torch.vmap(lambda w: x * w.sum())(net.second.weight).sum(0),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_programs_that_look_at_weights(name, device):
    with torch.device(device):
        model = Between(PROGRAMS[name])
    before = {name: (id(each), each._version) for name, each in model.state_dict(keep_vars=True).items()}
    same(model, (2, 3, 8, 8))
    after = {name: (id(each), each._version) for name, each in model.state_dict(keep_vars=True).items()}
    assert after == before
    assert all(vars(each) == {} for each in model.parameters())
