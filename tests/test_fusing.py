"""The fused graph is run, kernel by kernel, on real weights folded as it says, and must give what the model gives."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from random_models import RandomNet, recipes
from torch import nn
from torch.utils import _pytree as pytree

import cnnscope
from cnnscope import fusing
from cnnscope.errors import UnusableInput
from cnnscope.graph import ModelGraph
from cnnscope.libraries import imported, torchvision_model


def calls(function, **modules):
    class Called(nn.Module):
        def __init__(self):
            super().__init__()
            for name, module in modules.items():
                self.add_module(name, module)

        def forward(self, *args):
            return function(self, *args)

    return Called()


def randomised(model):
    """In inference, with statistics, scales and shifts that no one could mistake for none."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for each, low, high in (
                ("running_mean", -0.5, 0.5),
                ("running_var", 0.5, 2),
                ("weight", 0.5, 1.5),
                ("bias", -1, 1),
            ):
                if getattr(module, each) is not None:
                    nn.init.uniform_(getattr(module, each), low, high)
    return model.eval()


def folded(plan, graph, model):
    """The model's tensors by name, with each batch norm of the plan put into the weights of its product."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for product, norm in plan.folds.items():
        weight_name = next(name for name in graph[product].params if tensors[name].dim() > 1)
        bias_name = next((name for name in graph[product].params if tensors[name].dim() == 1), None)
        weight, bias = tensors[weight_name], tensors.get(bias_name, 0)
        named = {value.name: tensors[value.name] for value in graph[norm].inputs[1:]}
        given = {role: named[v.name] for v, role in zip(graph[norm].inputs[1:], graph[norm].roles[1:], strict=True)}
        scale = given.get("weight", 1) / torch.sqrt(given["running_var"] + graph[norm].attrs["eps"])
        along = 1 if graph[product].attrs.get("transposed") else 0
        tensors[weight_name] = weight * scale.reshape([-1 if i == along else 1 for i in range(weight.dim())])
        new_name = bias_name or weight_name.removesuffix("weight") + "bias"
        tensors[new_name] = (bias - given["running_mean"]) * scale + given.get("bias", 0)
    return tensors


def call(kind, roles, values, attrs):
    """One ATen operator from the names of its arguments."""
    arguments = {key: value for key, value in attrs.items() if not key.startswith("fused")}
    for key, value in arguments.items():
        if isinstance(value, str) and value.startswith("torch."):
            arguments[key] = getattr(torch, value.removeprefix("torch."))
        elif value == "meta":
            arguments[key] = "cpu"
    for role, value in zip(roles, values, strict=True):
        if role == "tensors":
            arguments.setdefault(role, []).append(value)
        else:
            arguments[role] = value
    return getattr(torch.ops.aten, kind)(**arguments)


def run(fused: ModelGraph, eager: ModelGraph, tensors, inputs):
    """Every kernel of the fused graph in its order, on real tensors."""
    known = {**tensors, **{value.name: x for value, x in zip(fused.inputs, inputs, strict=True)}}
    for op in fused:
        given = [known[value.name] for value in op.inputs]
        own = [i for i, role in enumerate(op.roles) if "." not in role]
        result = call(op.kind, [op.roles[i] for i in own], [given[i] for i in own], op.attrs)
        results = list(result) if isinstance(result, (tuple, list)) else [result]
        rest = iter(given[len(own) :])
        inside = {eager[op.name].outputs[0].name}
        for name in op.attrs.get("fused", ()):
            each = eager[name]
            inside.add(each.outputs[0].name)
            if "batch_norm" in each.kind:
                continue
            values = [results[0] if value.name in inside else next(rest) for value in each.inputs]
            results[0] = call(each.kind, each.roles, values, each.attrs)
        assert next(rest, None) is None, "the kernel reads nothing that it does not need"
        for value, tensor in zip(op.outputs, results, strict=False):
            assert value.shape == tuple(tensor.shape), op.name
            known[value.name] = tensor
    return [known[value.name] for value in fused.outputs]


def check(model, *shapes, dtype=torch.float64):
    """The fused program computes what the model computes; returns both graphs."""
    with torch.no_grad():
        model = randomised(model.to(dtype))
        inputs = [torch.randn(shape, dtype=dtype) for shape in shapes]
        graph = cnnscope.trace(model, tuple(inputs))
        plan, fused = fusing.plan(graph), fusing.fused(graph)
        expected = pytree.tree_leaves(model(*inputs))
        found = run(fused, graph, folded(plan, graph, model), inputs)
    for ours, theirs in zip(found, expected, strict=True):
        # As a whole, so that a sum that happens to be near zero needs no luck.
        assert (ours - theirs).norm() <= (1e-9 if dtype == torch.float64 else 1e-4) * theirs.norm()
    assert cnnscope.cost(fused).total.macs == cnnscope.cost(graph).total.macs
    alive(fused)
    return graph, fused


def alive(graph):
    """Every value is in memory that is allocated when it is read and written."""
    for position, op in enumerate(graph):
        for value in (*op.inputs, *op.outputs):
            storage = graph.storages[value.storage]
            assert storage.id == value.storage
            assert storage.born <= position and (storage.dies is None or storage.dies > position), (op.name, value.name)
            assert storage.bytes >= value.bytes or value.name in {each.name for each in graph.inputs}


def kinds(graph):
    return [op.kind for op in graph if not op.view]


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet34_a"])
def test_architectures_of_the_zoo(name):
    check(cnnscope.build(name), (1, 3, 64, 64))


@pytest.mark.parametrize(
    "name, batch_norms_left",
    [
        ("resnet18", 0), ("googlenet", 0), ("densenet121", 62), ("mobilenet_v3_small", 0), ("shufflenet_v2_x0_5", 0),
        ("squeezenet1_1", 0),
    ],
)  # fmt: skip
def test_models_of_torchvision(name, batch_norms_left):
    imported("torchvision.models", "torchvision")
    extra = {"aux_logits": False} if name == "googlenet" else {}
    _, fused = check(torchvision_model(name)(**extra), (2, 3, 64, 64))
    assert kinds(fused).count("native_batch_norm") == batch_norms_left


def test_vgg_with_batch_norm():
    graph, fused = check(torchvision_model("vgg11_bn")(), (1, 3, 32, 32), dtype=torch.float32)
    assert fusing.size(fused)[0] == 8 + 5 + 1 + 3 and fusing.size(graph)[0] == 8 * 3 + 5 + 1 + 3 + 2
    plain = cnnscope.trace(torchvision_model("vgg11")(), (1, 3, 32, 32))
    assert cnnscope.params(fused).total.params == cnnscope.params(plain).total.params


def test_a_residual_block_is_two_kernels_and_its_projection_takes_the_sum():
    graph = cnnscope.trace(cnnscope.build("resnet50"), (1, 3, 224, 224))
    fused = fusing.fused(graph)
    assert fusing.size(graph).kernels == 53 * 2 + 49 + 16 + 1 + 1 + 1
    read_and_written = sum(
        value.bytes
        for op in graph
        if op.kind in ("convolution", "addmm", "mean", "max_pool2d_with_indices")
        for value in (*op.inputs, op.outputs[0])
    )
    shortcuts = sum(op.outputs[0].bytes for op in graph if op.kind == "add")
    moved = read_and_written + shortcuts + 4 * 26_560
    assert fusing.size(fused) == (53 + 1 + 1 + 1, moved, 25_557_032 - 26_560, 0)
    first = [op for op in fused if op.module.startswith("conv2_x.block1.") and op.kind == "convolution"]
    assert [len(op.attrs["fused"]) for op in first] == [2, 2, 1, 3]
    assert (
        first[3].attrs["fused"][-1] == "conv2_x.block1.relu.relu" and first[3].input("add.self") == first[2].outputs[0]
    )
    layers = cnnscope.layers(fused)
    assert layers["conv1"].type == "Conv2d+BatchNorm2d+ReLU" and layers["conv1"].biases == 64
    assert layers.total.macs == 3_857_973_248 and layers.total.params == cnnscope.params(fused).total.params
    assert not any("bn" in name or "relu" in name for name in layers)


@pytest.mark.parametrize(
    "model, shapes, left",
    [
        # Folded the wrong way, a norm before a convolution with padding would change the borders.
        (nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3, padding=1)), [(2, 3, 8, 8)],
         ["native_batch_norm", "convolution"]),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)), [(2, 3, 8, 8)],
         ["convolution", "native_batch_norm"]),
        (nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), nn.SiLU()), [(2, 4, 8, 8)], ["convolution"]),
        (nn.Sequential(nn.ConvTranspose2d(3, 5, 3), nn.BatchNorm2d(5, affine=False)), [(2, 3, 8, 8)], ["convolution"]),
        (nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.Hardswish(True)), [(2, 3, 8)], ["convolution"]),
        (nn.Sequential(nn.Linear(6, 4, bias=False), nn.BatchNorm1d(4), nn.ELU()), [(3, 6)], ["addmm"]),
        (nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(5), nn.Tanh()), [(3, 5, 6)], ["addmm", "native_batch_norm"]),
        (nn.Sequential(nn.Linear(6, 4), nn.GELU(), nn.Dropout(), nn.Identity()), [(3, 5, 6)], ["addmm"]),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.ReLU()), [(2, 3, 8, 8)],
         ["convolution", "max_pool2d_with_indices", "relu"]),
        (calls(lambda m, x: m.bn(y := m.conv(x)) + y, conv=nn.Conv2d(3, 4, 3), bn=nn.BatchNorm2d(4)), [(2, 3, 8, 8)],
         ["convolution", "native_batch_norm"]),
        (calls(lambda m, x: (m.bn(y := m.conv(x)), y), conv=nn.Conv2d(3, 4, 3), bn=nn.BatchNorm2d(4)), [(2, 3, 8, 8)],
         ["convolution", "native_batch_norm"]),
        # One convolution called twice cannot hold two norms; one norm behind two convolutions can be folded into both.
        (calls(lambda m, x: m.a(m.conv(x)) + m.b(m.conv(x)), conv=nn.Conv2d(3, 4, 3), a=nn.BatchNorm2d(4),
               b=nn.BatchNorm2d(4)), [(2, 3, 8, 8)],
         ["convolution", "native_batch_norm", "convolution", "native_batch_norm"]),
        (calls(lambda m, x: m.bn(m.a(x)) * m.bn(m.b(x)), a=nn.Conv2d(3, 4, 3), b=nn.Conv2d(3, 4, 3),
               bn=nn.BatchNorm2d(4)), [(2, 3, 8, 8)], ["convolution", "convolution"]),
        (calls(lambda m, x: m.a(x).add_(m.b(x)).relu_(), a=nn.Conv2d(3, 4, 3), b=nn.Conv2d(3, 4, 3)), [(2, 3, 8, 8)],
         ["convolution", "convolution"]),
        # Read again through a view after a write: left alone.
        (calls(lambda m, x: (y := m.a(x), y.view(-1).mul_(2), y + 1)[2], a=nn.Conv2d(3, 4, 3)), [(2, 3, 8, 8)],
         ["convolution", "mul_", "add"]),
        (calls(lambda m, x: F.relu(m.a(x)) + x.mean(), a=nn.Conv2d(3, 4, 3)), [(2, 3, 8, 8)],
         ["convolution", "mean", "add"]),
        (calls(lambda m, x: (m.a(x) > 0).double() + 1, a=nn.Conv2d(3, 4, 3)), [(2, 3, 8, 8)], None),
        (nn.BatchNorm2d(3, track_running_stats=False), [(2, 3, 8, 8)], ["native_batch_norm"]),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)), [(2, 3, 8, 8)],
         ["convolution", "native_batch_norm"]),
    ],
)  # fmt: skip
def test_what_is_folded_and_what_is_not(model, shapes, left):
    _, fused = check(model, *shapes)
    assert left is None or kinds(fused) == left


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(recipes())
def test_random_networks(recipe):
    model = RandomNet(recipe)
    check(model, model.shape, dtype=torch.float32)


def test_a_new_bias_is_a_parameter_beside_its_weight_and_old_statistics_are_gone():
    _, fused = check(nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)), (1, 3, 8, 8))
    assert [(each.name, each.shape, each.role) for each in fused.parameters] == [
        ("0.weight", (4, 3, 3, 3), "weight"),
        ("0.bias", (4,), "bias"),
    ]
    assert fused["0.convolution"].params == ("0.weight", "0.bias")
    assert [call.module for call in fused.calls] == ["", "0"] and fused.calls[1].type == "Conv2d+BatchNorm2d"


def test_a_training_step_is_not_fused():
    graph = cnnscope.trace(nn.Conv2d(3, 4, 3), (1, 3, 8, 8), train=True)
    with pytest.raises(UnusableInput, match="training"):
        fusing.fused(graph)


def test_fusing_twice_changes_nothing():
    once = fusing.fused(cnnscope.trace(cnnscope.build("resnet18"), (1, 3, 64, 64)))
    assert fusing.size(fusing.fused(once)) == fusing.size(once)


def test_a_layer_made_in_the_forward_keeps_the_memory_that_it_was_made_in():
    graph = cnnscope.trace(calls(lambda _, x: nn.Linear(4, 4)(x).relu()), (2, 4))
    assert graph.ops[0].kind == "empty" and not any(v.name == "empty" for op in graph for v in op.inputs), "an alias"
    fused = fusing.fused(graph)
    assert [op.kind for op in fused if not op.view] == ["empty", "empty", "uniform_", "uniform_", "addmm"]
    assert cnnscope.cost(fused).total.macs == 32
