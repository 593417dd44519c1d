"""MACs and parameters of every classification model of torchvision against counters that are not ours."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.utils.flop_counter import FlopCounterMode

import cnnscope
from cnnscope.counters import crosscheck
from cnnscope.errors import UnusableTarget
from cnnscope.libraries import imported
from cnnscope.targets import load

try:
    models: Any = imported("torchvision.models", "torchvision")
except (UnusableTarget, ImportError, RuntimeError) as error:
    pytest.skip(f"torchvision cannot be imported: {error}", allow_module_level=True)

NAMES = models.list_models(module=models)


@functools.cache
def loaded(name: str) -> Any:
    """The model on meta and its input. RegNets cannot be built there: their weights go there as they are made."""
    as_made = register_module_parameter_registration_hook(lambda module, key, weight: nn.Parameter(weight.to("meta")))
    try:
        target = load(f"torchvision:{name}")
    finally:
        as_made.remove()
    return target.model.to("meta").eval(), target.default_input[0]


def test_there_are_eighty_models():
    assert len(NAMES) >= 80


@pytest.mark.parametrize("name", NAMES)
def test_torchs_own_counter_and_the_sum_of_parameters(name):
    model, shape = loaded(name)
    graph = cnnscope.trace(model, shape)
    cost, params = cnnscope.cost(graph), cnnscope.params(graph)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(shape, device="meta"))
    assert cost.missing == {}
    assert 2 * cost.total.macs == counter.get_total_flops()
    assert params.total.params == sum(p.numel() for p in model.parameters())
    assert params.total.buffers == sum(b.numel() for b in model.buffers())
    layers = cnnscope.layers(graph)
    assert (layers.total.macs, layers.total.params) == (cost.total.macs, params.total.params)
    assert layers.missing == {}


@pytest.mark.parametrize(
    ("name", "adds", "leaves_out"),
    [
        ("alexnet", {"adaptive_avg_pool2d"}, set()),
        ("vgg16_bn", {"batch_norm", "adaptive_avg_pool2d"}, set()),
        ("googlenet", {"batch_norm", "adaptive_avg_pool2d"}, set()),
        ("resnet50", {"batch_norm", "adaptive_avg_pool2d"}, set()),
        ("mobilenet_v3_small", {"batch_norm", "adaptive_avg_pool2d"}, set()),
        ("vit_b_32", {"layer_norm"}, {"scaled_dot_product_attention"}),
        ("swin_t", {"layer_norm", "adaptive_avg_pool2d"}, set()),
    ],
)
def test_fvcore_after_what_it_adds_and_leaves_out(name, adds, leaves_out):
    model, shape = loaded(name)
    fvcore = crosscheck(model, shape)["fvcore"]
    assert fvcore.failure is None
    assert fvcore.params_difference == fvcore.unexplained == 0
    assert _names(fvcore.adds) == adds
    products = (fvcore.leaves_out or "").partition(";")[0]
    assert (set() if products.startswith(("no rule", "never")) else _names(products)) == leaves_out


def _names(amounts: str | None) -> set[str]:
    return {part.split()[0] for part in (amounts or "").split(", ") if part}
