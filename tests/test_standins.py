"""The copy that runs instead of the model takes along all that the model holds, and reaches the model by nothing."""

from __future__ import annotations

import functools
import types
import weakref

import pytest
import torch
from torch import nn

import cnnscope
from cnnscope.errors import UntraceableModel, UnusableInput


class Lambda(nn.Module):
    """Calls a layer through a function that it holds, which knows the original."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.f = lambda x: self.norm(self.linear(x))

    def forward(self, x):
        return self.f(x)


class Listed(nn.Module):
    """Layers that are no children, in a list and in a closure."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(4, 4) for _ in range(2)]
        hidden = nn.Linear(4, 4)
        self.g = lambda x: hidden(x)
        self.own = nn.Linear(4, 4)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.g(self.own(x))


class Child(nn.Module):
    """Knows its parent through a weak reference."""

    def __init__(self, parent) -> None:
        super().__init__()
        self.parent = weakref.ref(parent)

    def forward(self, x):
        return x * self.parent().scale


class Parent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))
        self.child = Child(self)

    def forward(self, x):
        return self.child(x)


class Empty(nn.Module):
    """A module that counts as false."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def __len__(self):
        return 0

    def forward(self, x):
        return self.linear(x)


class Slotted(nn.Module):
    __slots__ = ("factor",)

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        object.__setattr__(self, "factor", 3.0)

    def forward(self, x):
        return self.linear(x) * self.factor


HOLDERS = {
    "closure": Lambda,
    "list": Listed,
    "weak reference": Parent,
    "false": lambda: nn.Sequential(Empty(), nn.Sequential(), nn.ReLU()),
    "slots": Slotted,
    "bound method": lambda: _patched(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))),
    "partial": lambda: _partial(nn.Sequential(nn.Linear(4, 4))),
}


def _patched(net: nn.Sequential) -> nn.Sequential:
    net.inner = net[1].forward
    net[1].forward = types.MethodType(lambda self, x: nn.BatchNorm1d.forward(self, x) * 2, net[1])
    return net


def _partial(net: nn.Sequential) -> nn.Sequential:
    net[0].forward = functools.partial(nn.Linear.forward, net[0])
    return net


@pytest.mark.parametrize("name", HOLDERS)
def test_the_original_is_reached_by_nothing_that_the_copy_holds(name):
    model = HOLDERS[name]().train()
    modes = [each.training for each in model.modules()]
    tensors = {key: (id(t), t._version) for key, t in model.state_dict(keep_vars=True).items()}
    graph = cnnscope.trace(model, (2, 4))
    assert not [op for op in graph if op.attrs.get("training")]
    step = cnnscope.trace(model, (2, 4), train=True, optimizer="sgd")
    assert sum(op.kind == "addmm" for op in graph) == sum(op.kind == "addmm" for op in step)
    assert [each.training for each in model.modules()] == modes
    assert tensors == {key: (id(t), t._version) for key, t in model.state_dict(keep_vars=True).items()}
    assert all(each.grad is None for each in model.parameters())
    assert graph.outputs[0].shape == tuple(model(torch.randn(2, 4)).shape)


def test_a_hook_that_collects_does_so_in_the_copy():
    model, found = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), []
    model[0].register_forward_hook(lambda module, args, result: found.append(result))
    model.found = found
    graph = cnnscope.trace(model, (2, 4))
    assert found == [] and [op.kind for op in graph] == ["t", "addmm", "relu"]


def test_functions_that_share_a_variable_share_it_in_the_copy():
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            count = 0

            def more():
                nonlocal count
                count += 1

            self.more, self.count = more, lambda: count

        def forward(self, x):
            self.more()
            return x[: self.count()]

    model = Counting()
    assert cnnscope.trace(model, (4, 4)).outputs[0].shape == (1, 4)
    assert model.count() == 0


def test_transforms_inside_of_a_forward_see_the_weights():
    class Gradient(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x):
            return torch.func.grad(lambda y: self.linear(y).pow(2).sum())(x)

    graph = cnnscope.trace(Gradient(), (2, 4))
    assert graph.outputs[0].shape == (2, 4) and cnnscope.params(graph).total.params == 20


class Uncopied(nn.Module):
    def __deepcopy__(self, memo):
        raise RuntimeError("there is one of me")

    def forward(self, x):
        return x


def test_a_module_that_cannot_be_copied_is_one_clear_error():
    with pytest.raises(UntraceableModel, match="there is one of me") as caught:
        cnnscope.trace(nn.Sequential(Uncopied()), (1, 2))
    assert len(str(caught.value).splitlines()) == 3


def test_hooks_on_parameters_are_no_part_of_a_traced_step():
    model = nn.Linear(4, 4)
    model.weight.register_post_accumulate_grad_hook(lambda param: None)
    cnnscope.trace(model, (1, 4))
    with pytest.raises(UnusableInput, match="weight has hooks"):
        cnnscope.trace(model, (1, 4), train=True)


@pytest.mark.parametrize("way", ["format", "tolist", "window", "index"])
def test_who_asks_for_numbers_is_told_that_a_real_run_has_them(way):
    class Asking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("sizes", torch.arange(3))

        def forward(self, x):
            if way == "format":
                return x * len(f"{x.mean():.2f}")
            if way == "tolist":
                return x * sum(self.sizes.tolist())
            if way == "window":
                return torch.stft(x, 16, window=torch.hann_window(16), return_complex=True).abs()
            return torch.take_along_dim(x, torch.zeros(2, 3, dtype=torch.long), 1)

    with pytest.raises(UntraceableModel, match="real run") as caught:
        # The sum makes a number of the buffer's copy, which has none.
        cnnscope.trace(Asking().to("meta") if way == "tolist" else Asking(), (2, 100))
    assert caught.value.needs_data
    if way != "tolist":
        assert len(cnnscope.trace(Asking(), (2, 100), device_trace="cpu"))


def test_types_are_compared_where_only_one_operand_has_data():
    class Made(nn.Module):
        def forward(self, x):
            return nn.Linear(4, 4)(x)

    with pytest.raises(UntraceableModel, match="dtype"):
        cnnscope.trace(Made(), torch.empty(2, 4, dtype=torch.bfloat16))
