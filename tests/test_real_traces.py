"""Traces in a real run on the CPU: the same graph as without numbers, and models that cannot do without."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_models import RandomNet, recipes
from test_random_models import EXAMPLES
from test_training import MODELS
from torch import nn

import cnnscope
from cnnscope import libraries
from cnnscope.cli import main
from cnnscope.errors import CnnscopeError, UntraceableModel, UnusableInput
from cnnscope.graph import ModelGraph, Op, Storage, Value
from cnnscope.targets import load


def plain(graph: cnnscope.ModelGraph) -> tuple[Any, ...]:
    """A graph without the device that its operators name."""
    ops = [op._replace(attrs={name: each for name, each in op.attrs.items() if name != "device"}) for op in graph]
    return ops, [each._replace(host=False) for each in graph.storages], graph.parameters, graph.calls, graph.outputs


def same_on_both(model: nn.Module, shape: Any, **options: Any) -> None:
    without = cnnscope.trace(model, shape, **options)
    real = cnnscope.trace(model, shape, device_trace="cpu", **options)
    assert plain(real) == plain(without)
    assert cnnscope.layers(real).total == cnnscope.layers(without).total


pytestmark = pytest.mark.usefixtures("single_thread")


@settings(EXAMPLES, max_examples=30)
@given(recipes(), st.booleans())
def test_random_networks_have_the_same_graph(recipe, train):
    model = RandomNet(recipe)
    assume(not train or any(param.requires_grad for param in model.parameters()))
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    try:
        cnnscope.trace(model, model.shape, train=train)
    except CnnscopeError:
        with pytest.raises(CnnscopeError):
            cnnscope.trace(model, model.shape, train=train, device_trace="cpu")
        return
    same_on_both(model, model.shape, train=train, optimizer="adam" if train else None)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", [name for name in MODELS if name != "googlenet"])
def test_known_networks_have_the_same_graph(name):
    make, shape = MODELS[name]
    model = make().train()
    same_on_both(model, shape)
    same_on_both(model, shape, train=True, optimizer="sgd-momentum", foreach=True)


# -- what needs numbers -----------------------------------------------------------------------------------------------


class Deciding(nn.Module):
    """Takes another way when its numbers say so, and keeps what is positive."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x) if x.mean() > 0 else self.second(x)
        return y[y > -1e9] * 2


DECIDING = """
import torch
from torch import nn

class Deciding(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)

    def forward(self, x):
        return self.first(x) if x.mean() > 0 else x
"""


def test_a_forward_that_asks_for_numbers():
    with pytest.raises(UntraceableModel) as raised:
        cnnscope.trace(Deciding(), (3, 4))
    assert raised.value.needs_data and "--device-trace cpu" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 3
    graph = cnnscope.trace(Deciding(), (3, 4), device_trace="cpu")
    assert graph.run.traced_on == "cpu" and graph.forward is graph
    table = cnnscope.layers(graph)
    assert table.total.macs == 3 * 4 * 4 and [row.name for row in table.values() if row.type == "unused"] == [
        "second.weight",
        "second.bias",
    ]
    assert graph.outputs[0].shape == (12,) and table.missing == {}


def test_numbers_are_those_of_the_model_and_of_the_input():
    below = torch.full((3, 4), -1.0)
    graph = cnnscope.trace(Deciding(), below, device_trace="cpu")
    assert {op.module for op in graph if op.params} == {"second"} and bool((below == -1).all())


def test_a_step_is_taken_on_a_copy():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.ReLU(inplace=True))
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(3)
    before = torch.get_rng_state()
    cnnscope.trace(model, (2, 3, 8, 8), train=True, optimizer="adam", device_trace="cpu")
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert all(param.grad is None for param in model.parameters()) and torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (nn.Linear(4, 2, device="meta"), {}, "is on the meta device and has no numbers"),
        (nn.Linear(4, 2), {"device": "cuda"}, "the operators of cuda cannot run on the CPU"),
        (nn.Linear(4, 2), {"device_trace": "gpu"}, "device_trace='gpu' is no place to run; one of meta, cpu"),
    ],
)
def test_what_cannot_be_run(model, options, message):
    with pytest.raises(UnusableInput) as raised:
        cnnscope.trace(model, (3, 4), **{"device_trace": "cpu", **options})
    assert message in str(raised.value) and len(str(raised.value).splitlines()) <= 2


def test_optimizers_with_a_kernel_of_their_own_cost_what_they_are_made_of():
    def flops(make: Any, **options: Any) -> int:
        graph = cnnscope.trace(nn.Linear(30, 40), (2, 30), train=True, optimizer=make, device_trace="cpu", **options)
        table = cnnscope.cost(graph)
        assert table.missing == {}
        return sum(table[op.name].flops for op in graph if op.phase == "optimizer") // 1240

    optimizers = {
        torch.optim.SGD: [{"lr": 0.1}, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True}],
        torch.optim.Adam: [{}, {"amsgrad": True, "weight_decay": 0.1}],
        torch.optim.AdamW: [{}, {"maximize": True}],
        torch.optim.Adagrad: [{}, {"weight_decay": 0.1}],
    }
    for cls, settings_ in optimizers.items():
        for each in settings_:
            apart = flops(lambda params, cls=cls, each=each: cls(params, **each))
            assert flops(lambda params, cls=cls, each=each: cls(params, **each, fused=True)) == apart, (cls, each)


# -- detectors --------------------------------------------------------------------------------------------------------

corners = st.tuples(*[st.integers(0, 12)] * 4)


@given(st.lists(corners, max_size=12), st.sampled_from([0.0, 0.3, 0.5, 0.9]))
def test_suppression_is_what_its_definition_says(drawn, threshold):
    boxes = [(min(a, c), min(b, d), max(a, c) + 1, max(b, d) + 1) for a, b, c, d in drawn]
    scores = [1 / (i + 2) for i in range(len(boxes))]
    kept: list[int] = []
    for i, box in enumerate(boxes):  # the scores fall
        if all(overlap(box, boxes[j]) <= threshold for j in kept):
            kept.append(i)
    given_boxes = torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4)
    assert libraries._nms(given_boxes, torch.tensor(scores), threshold).tolist() == kept


def overlap(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(each[2] - each[0]) * (each[3] - each[1]) for each in (a, b)]
    return shared / (sum(areas) - shared)


def kernel(kind: str, inputs: dict[str, tuple[int, ...]], output: tuple[int, ...], **attrs: Any) -> ModelGraph:
    values = tuple(Value(name, shape, "float32", i) for i, (name, shape) in enumerate(inputs.items()))
    result = Value("result", output, "float32", len(values))
    storages = tuple(Storage(i, 10**9, "input", -1, None) for i in range(len(values)))
    op = Op("op", kind, values, (result,), (), attrs, "", "forward", tuple(inputs))
    return ModelGraph("kernel", (op,), (*storages, Storage(len(values), 10**9, "activation", 0, None)), inputs=values)


@pytest.mark.parametrize(
    ("graph", "macs", "flops"),
    [
        # 5 boxes: areas, 3 comparisons each to sort, 10 pairs.
        (kernel("nms", {"dets": (5, 4), "scores": (5,)}, (5,)), 0, 15 + 15 + 130),
        (kernel("roi_align", {"input": (1, 8, 9, 9), "rois": (3, 5)}, (3, 8, 7, 7), sampling_ratio=2), 0, 32 * 1176),
        (kernel("roi_align", {"input": (1, 8, 9, 9), "rois": (3, 5)}, (3, 8, 7, 7), sampling_ratio=0), None, None),
        # 2x36 places of a 3x3 window over 4 channels; 6 outputs, each with a bias.
        (
            kernel("deform_conv2d", {"input": (2, 4, 8, 8), "weight": (6, 4, 3, 3)}, (2, 6, 6, 6), use_mask=True),
            432 * 36,
            2 * 432 * 36 + 8 * 72 * 36 + 432,
        ),
    ],
)
def test_compiled_kernels_of_torchvision_by_hand(graph, macs, flops):
    row = cnnscope.cost(graph)["op"]
    assert (row.macs, row.flops, bool(row.missing)) == (macs, flops, macs is None)


@pytest.mark.skipif("fbgemm" not in torch.backends.quantized.supported_engines, reason="no kernels for such layers")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_layers_whose_weights_are_no_tensors_are_named_and_not_counted():
    from torch.ao import quantization

    model = nn.Sequential(quantization.QuantStub(), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 4)).eval()
    model.qconfig = quantization.get_default_qconfig("fbgemm")
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    try:
        prepared = quantization.prepare(model)
        prepared(torch.ones(1, 3, 8, 8))
        graph = cnnscope.trace(quantization.convert(prepared), (1, 3, 8, 8), device_trace="cpu")
    finally:
        torch.backends.quantized.engine = before
    found = cnnscope.cost(graph)
    assert {"conv2d", "linear"} <= found.missing.keys() and found.total.macs == 0


def test_a_detector_has_the_figures_that_torchvision_prints():
    name = "ssdlite320_mobilenet_v3_large"
    target = load(f"torchvision:{name}", "cpu")
    graph = cnnscope.trace(target.model, target.default_input, device_trace="cpu")
    (weights,) = libraries.imported("torchvision.models", "torchvision").get_model_weights(name)
    table = cnnscope.cost(graph)
    assert table.missing == {} and any(op.kind == "nms" for op in graph)
    assert table.total.macs / 1e9 == pytest.approx(weights.meta["_ops"], abs=5e-4)
    assert cnnscope.params(graph).total.params == weights.meta["num_params"]


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command_falls_back_and_says_so(tmp_path):
    file = tmp_path / "net.py"
    file.write_text(DECIDING)
    target = [f"{file}:Deciding", "--input", "3x4"]
    result = CliRunner().invoke(main, ["table", *target])
    assert result.exit_code == 0 and "48" in result.stdout
    assert result.stderr.count("\n") == 1 and "asks for numbers: traced in a real run on the CPU" in result.stderr
    assert "run         traced in a real run on the CPU" in result.stdout
    forced = CliRunner().invoke(main, ["table", *target, "--device-trace", "cpu"])
    assert forced.exit_code == 0 and forced.stderr == "" and forced.stdout == result.stdout
    refused = CliRunner().invoke(main, ["table", *target, "--device-trace", "meta"])
    assert refused.exit_code == 2 and refused.stdout == "" and "Traceback" not in refused.stderr


def test_a_model_without_numbers_needs_no_real_run():
    whole = CliRunner().invoke(main, ["table", "lenet5", "--format", "json"]).stdout
    real = CliRunner().invoke(main, ["table", "lenet5", "--format", "json", "--device-trace", "cpu"]).stdout
    assert json.loads(real) | {"notes": []} == json.loads(whole) | {"notes": []}
