"""The program in other precisions, against what PyTorch's own autocast does."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import cnnscope
from cnnscope.errors import UnusableInput
from cnnscope.precisions import PRECISIONS, program

HALF = "bfloat16"
FLOATS = (torch.float32, torch.bfloat16)


class Seen(TorchDispatchMode):
    """Kinds and types of what a real run calls, views left out."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        first = result[0] if isinstance(result, (tuple, list)) else result
        if not func.is_view and isinstance(first, torch.Tensor) and first.dtype in FLOATS and first.numel():
            kind = func._schema.name.removeprefix("aten::")
            self.calls.append((kind, tuple(first.shape), str(first.dtype).removeprefix("torch.")))
        return result


def real(model: nn.Module, *inputs: torch.Tensor):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), Seen() as seen:
        model(*inputs)
    return seen.calls


def told(model: nn.Module, *inputs: torch.Tensor):
    graph = cnnscope.trace(model, inputs if len(inputs) > 1 else inputs[0])
    return [
        (op.kind, op.outputs[0].shape, op.outputs[0].dtype)
        for op in program(graph, "amp", half=HALF).ops
        if not op.view and op.outputs and op.outputs[0].numel and op.outputs[0].dtype in ("float32", HALF)
    ]


def by_operator(calls):
    """The calls with the casts before each operator in one order: C++ leaves open which argument is cast first.

    A weight's transpose is a view: whether the weight or that is cast makes no difference.
    """
    found, casts = [], []
    for call in calls:
        if call[0] == "_to_copy":
            casts.append((call[0], tuple(sorted(call[1])), call[2]))
        else:
            found += [*sorted(casts), call]
            casts = []
    return found + casts


class Mixed(nn.Module):
    """Both precisions meet: a residual sum of float32 and halves, a weight used twice, an activation cast twice."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.scale = nn.Parameter(torch.ones(4, 1, 1))
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        x = self.conv(x) + self.conv(x * 2)
        y = x * self.scale + x
        z = torch.cat([self.conv(y), y], 1).mean((2, 3))
        return self.fc(z[:, :4]) @ self.fc.weight


# The lists of the CPU differ from those of CUDA for norms over layers, softmax, avg_pool3d: these nets have none.
@pytest.mark.parametrize("name", ["resnet18", "squeezenet", "densenet121", "vgg11", "mixed"])
def test_casts_are_those_of_pytorch(name: str):
    model = Mixed() if name == "mixed" else cnnscope.build(name)
    x = torch.rand(1, 4, 8, 8) if name == "mixed" else torch.rand(1, 3, 64, 64)
    if name == "vgg11":
        x = torch.rand(1, 3, 224, 224)
    model.eval()
    assert by_operator(told(model, x)) == by_operator(real(model, x))


class OnCuda(nn.Module):
    def forward(self, x):
        return torch.softmax(nn.functional.layer_norm(nn.functional.conv2d(x, x.new_ones(8, 3, 3, 3)), (6, 6)), 1).sum()


def test_cuda_computes_norms_softmax_and_sums_in_float32():
    ops = program(cnnscope.trace(OnCuda(), (2, 3, 8, 8)), "amp").ops
    types = {op.kind: op.outputs[0].dtype for op in ops if op.kind != "_to_copy"}
    assert types["convolution"] == "float16"
    assert types["native_layer_norm"] == types["_softmax"] == types["sum"] == "float32"
    # The image and the weight down, the convolution's result up; what is float32 already is not cast again.
    assert [op.outputs[0].dtype for op in ops if op.kind == "_to_copy"] == ["float16", "float16", "float32"]


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", "float16"), ("bf16", "bfloat16")])
def test_whole_model_in_half_precision_is_the_model_in_that_type(precision: str, dtype: str):
    model = cnnscope.build("resnet18")
    graph = cnnscope.trace(model, (2, 3, 64, 64))
    halved = cnnscope.trace(model.to(getattr(torch, dtype)), torch.empty(2, 3, 64, 64, dtype=getattr(torch, dtype)))
    made = program(graph, precision)
    assert [(op.kind, op.outputs[0].dtype) for op in made.ops] == [(op.kind, op.outputs[0].dtype) for op in halved]
    for ours, theirs in zip(made.ops, halved.ops, strict=True):
        assert made.storages[ours.outputs[0].storage].bytes == halved.storages[theirs.outputs[0].storage].bytes


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_float32_is_what_was_traced(precision: str):
    graph = cnnscope.trace(cnnscope.build("resnet18"), (2, 3, 64, 64))
    assert program(graph, precision) == (graph.ops, graph.storages)


def test_storages_hold_their_values_in_every_precision():
    graph = cnnscope.trace(cnnscope.build("densenet121"), (2, 3, 64, 64))
    for precision in PRECISIONS:
        made = program(graph, precision)
        assert [storage.id for storage in made.storages] == list(range(len(made.storages)))
        for op in made.ops:
            for value in (*op.inputs, *op.outputs):
                assert value.bytes <= made.storages[value.storage].bytes


def test_a_training_step_casts_gradients_back():
    graph = cnnscope.trace(cnnscope.build("resnet18"), (2, 3, 64, 64), train=True, optimizer="sgd")
    ops = program(graph, "amp").ops
    for op in ops:
        if op.kind in ("convolution", "convolution_backward"):
            assert {value.dtype for value in op.inputs} == {"float16"}
        if op.phase == "optimizer" and op.kind != "_to_copy":
            assert {value.dtype for value in op.inputs} == {"float32"}
    weights = sum(each.trainable and len(each.shape) > 1 for each in graph.parameters)
    down = sum(op.kind == "_to_copy" and bool(op.params) and op.phase == "forward" for op in ops)
    assert down == weights + 1  # every weight of a product once, and the bias of the classifier


def test_unknown_precision_names_those_there_are():
    with pytest.raises(UnusableInput, match="no precision 'fp4'; one of fp32, tf32, fp16, bf16, amp"):
        program(cnnscope.trace(nn.ReLU(), (1, 2)), "fp4")
