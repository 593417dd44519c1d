"""Layers that are repeated from memory: the same graph as when each of them runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from random_models import RandomNet, recipes
from test_random_models import EXAMPLES
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import cnnscope
from cnnscope import replaying, targets, zoo
from cnnscope.errors import CnnscopeError


def contents(graph: cnnscope.ModelGraph) -> tuple[Any, ...]:
    return graph.ops, graph.storages, graph.inputs, graph.outputs, graph.parameters, graph.calls


def ways(model: nn.Module, shape: Any, **options: Any) -> list[tuple[Any, ...]]:
    """The graph when each layer runs, with nothing to remember yet, and with everything remembered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replaying, "_is_plain", lambda outline, state: False)
        found = [contents(cnnscope.trace(model, shape, **options))]
    replaying.forget()
    return [*found, *(contents(cnnscope.trace(model, shape, **options)) for _ in range(2))]


def same(model: nn.Module, shape: Any, **options: Any) -> None:
    plain, first, again = ways(model, shape, **options)
    assert first == plain
    assert again == plain


@EXAMPLES
@given(recipes())
def test_random_networks(recipe):
    model = RandomNet(recipe)
    try:
        cnnscope.trace(model, model.shape)
    except CnnscopeError:
        assume(False)
    same(model, model.shape)


@pytest.mark.parametrize("name", zoo.names())
def test_the_zoo(name):
    found = targets.load(name)
    same(found.model, found.default_input)


@pytest.mark.parametrize(
    "options", [{"device": "cuda"}, {"autocast": "bfloat16"}, {"channels_last": True}, {"dtype": "float16"}]
)
def test_what_else_is_asked_of_a_trace(options):
    same(zoo.build("googlenet"), (2, 3, 224, 224), **options)


LAYERS = {
    "linear of three dimensions": (nn.Linear(4, 5), (2, 3, 4)),
    "layer norm": (nn.LayerNorm([3, 4]), (2, 3, 4)),
    "group norm": (nn.GroupNorm(2, 4), (2, 4, 5)),
    "instance norm": (nn.InstanceNorm2d(4, affine=True, track_running_stats=True), (2, 4, 5, 5)),
    "local response": (nn.LocalResponseNorm(3), (2, 4, 5, 5)),
    "circular padding": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 2, 5, 5)),
    "same padding": (nn.Conv2d(2, 3, 4, padding="same"), (2, 2, 5, 5)),
    "transposed": (nn.ConvTranspose2d(2, 3, 3, stride=2, output_padding=1), (2, 2, 5, 5)),
    "in place": (nn.Sequential(nn.Conv2d(2, 2, 1), nn.Hardswish(inplace=True), nn.ReLU(inplace=True)), (2, 2, 5, 5)),
    "identity": (nn.Sequential(nn.Identity(), nn.Dropout(), nn.Sequential()), (2, 3)),
    "views": (nn.Sequential(nn.Flatten(), nn.Unflatten(1, (2, 3)), nn.PixelShuffle(1)), (4, 1, 1, 6)),
    "glu": (nn.GLU(1), (2, 4)),
    "pools": (nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), nn.LPPool2d(2, 2), nn.AdaptiveAvgPool2d(1)), (1, 2, 9, 9)),
    "indices": (nn.MaxPool2d(2, return_indices=True), (1, 2, 9, 9)),
    "up": (nn.Upsample(scale_factor=2, mode="bilinear"), (1, 2, 9, 9)),
    "recurrent": (nn.LSTM(3, 4, bidirectional=True), (5, 2, 3)),
    "attention": (nn.TransformerEncoderLayer(8, 2, batch_first=True), (2, 5, 8)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_torch(name):
    layer, shape = LAYERS[name]
    same(nn.Sequential(layer, layer), shape) if name in ("layer norm", "group norm", "identity") else same(layer, shape)


# -- what a memory must not miss --------------------------------------------------------------------------------------


class Twice(nn.Module):
    """A layer between two things of the program."""

    def __init__(self, between: Any) -> None:
        super().__init__()
        self.conv, self.between = nn.Conv2d(3, 3, 3, padding=1), between

    def forward(self, x: torch.Tensor) -> Any:
        return self.conv(self.between(self, self.conv(x)))


def _stride(net: Any, x: Any) -> Any:
    net.conv.stride = (2, 2)
    return x


def _weight(net: Any, x: Any) -> Any:
    net.conv.weight = nn.Parameter(torch.empty(6, 3, 5, 5, device=x.device))
    return x


def _padding(net: Any, x: Any) -> Any:
    net.conv.padding_mode = "reflect"
    return x


def _forward(net: Any, x: Any) -> Any:
    net.conv.forward = lambda x: x.sin()
    return x


def _written(net: Any, x: Any) -> Any:
    x.view(-1).add_(1)
    net.conv.weight.detach().mul_(2)
    return x


def _hook(net: Any, x: Any) -> Any:
    net.conv.register_forward_hook(lambda module, args, result: result.relu())
    return x


class Sines(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0].sin() if func is torch.conv2d else func(*args, **(kwargs or {}))


class Doubling(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        return result * 2 if func is torch.ops.aten.convolution.default else result


def _within(context: Any) -> Any:
    def between(net: Any, x: Any) -> Any:
        with context():
            return net.conv(x).to(x.dtype)

    return between


CHANGES = {
    "stride": _stride,
    "weight": _weight,
    "padding": _padding,
    "forward": _forward,
    "written": _written,
    "hook": _hook,
    "function mode": _within(Sines),
    "dispatch mode": _within(Doubling),
    "gradients": _within(torch.enable_grad),
    "inference mode": _within(torch.inference_mode),
    "autocast": _within(lambda: torch.autocast("cpu", torch.bfloat16)),
    "vmap": lambda net, x: torch.vmap(net.conv)(x[None])[0],
    "other values": lambda net, x: torch.func.functional_call(
        net.conv, {name: each + 1 for name, each in net.conv.named_parameters()}, (x,)
    ),
    "keyword": lambda net, x: net.conv(input=x),
    "weight as input": lambda net, x: nn.Conv2d.__call__(net.conv, net.conv.weight) * x.mean(),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_program_does_between_two_calls(name):
    same(Twice(CHANGES[name]), (2, 3, 8, 8))


def test_types_of_attributes_are_told_apart():
    replaying.forget()
    alphas = [cnnscope.trace(nn.ELU(value), (2, 3)).ops[0].attrs["alpha"] for value in (1, 1.0, True, 1)]
    assert [type(each) for each in alphas] == [int, float, bool, int]


def test_the_default_type_is_part_of_what_is_remembered():
    """The sum of whole numbers and 0.5 is of the default type."""
    model = nn.Sequential(nn.Softplus(), nn.Threshold(0.5, 0.5), nn.LeakyReLU())
    x = torch.empty(2, 3)
    before = contents(cnnscope.trace(model, x))
    try:
        torch.set_default_dtype(torch.float64)
        same(model, (2, 3))
    finally:
        torch.set_default_dtype(torch.float32)
    assert contents(cnnscope.trace(model, x)) == before


def test_cudnn_switched_off_in_a_forward():
    class Off(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.norm(x)
            with torch.backends.cudnn.flags(enabled=False):
                x = self.norm(x)
            return self.norm(x)

    same(Off(), (2, 3, 4, 4), device="cuda")
    kinds = [op.kind for op in cnnscope.trace(Off(), (2, 3, 4, 4), device="cuda")]
    assert kinds.count("cudnn_batch_norm") == 2 and kinds.count("native_batch_norm") == 1


def test_a_function_that_is_replaced(monkeypatch):
    model = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    kinds = lambda: [op.kind for op in cnnscope.trace(model, (1, 3, 4, 4))]  # noqa: E731
    before = kinds()
    with monkeypatch.context() as patch:
        patch.setattr(F, "relu", lambda x, inplace: x.sin())
        patch.setattr(nn.Conv2d, "_conv_forward", lambda self, x, weight, bias: x.cos())
        patch.setattr(torch, "batch_norm", lambda x, *rest: x.tan())
        assert kinds() == ["sin", "cos", "tan"]
    assert kinds() == before
    monkeypatch.setattr(nn.modules.conv._ConvNd, "forward", lambda self, x: x, raising=False)
    assert kinds() == before, "a method that the class overrides"


def test_weights_that_are_one():
    """Which of two names an operator reads cannot be told where they are the same memory."""
    norm = nn.BatchNorm2d(3)
    norm.bias = norm.weight
    other = nn.BatchNorm2d(3)
    same(nn.Sequential(norm, other), (1, 3, 4, 4))
    same(nn.Sequential(other, norm), (1, 3, 4, 4))
