"""FLOPs and bytes of single operators by hand, products against torch's own counter, unknown never zero."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import cnnscope
from cnnscope.graph import ModelGraph, Op, Storage, Value


def calls(function):
    class Called(nn.Module):
        def forward(self, *args):
            return function(*args)

    return Called()


def total(function, *shapes):
    return cnnscope.cost(cnnscope.trace(calls(function), shapes)).total


N = 2 * 3 * 8 * 8


@pytest.mark.parametrize(
    "function, flops",
    [
        (lambda x: x + 1, N),
        (lambda x: torch.add(x, x, alpha=2), 2 * N),
        (lambda x: x.relu(), N),
        (lambda x: x.clone().relu_(), N),
        (lambda x: F.gelu(x), N),
        (lambda x: F.hardswish(x.clone(), inplace=True), N),
        (lambda x: x.softmax(1), 5 * N),
        (lambda x: x.sum((2, 3)), N),
        (lambda x: x.mean((2, 3)), N + 6),
        (lambda x: F.max_pool2d(x, 2), 3 * N // 4),
        (lambda x: F.avg_pool2d(x, 2), 4 * N // 4),
        (lambda x: F.adaptive_avg_pool2d(x, 4), N),
        # 8 -> 3: windows of 3, 4 and 3 elements in each direction.
        (lambda x: F.adaptive_avg_pool2d(x, 3), 6 * 10 * 10),
        (lambda x: F.layer_norm(x, (8,)), 5 * N),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), 7 * 4 * N),
        (lambda x: F.interpolate(x, scale_factor=2), 0),
        (lambda x: torch.cat([x, x]), 0),
        (lambda x: x.flatten(1).t().reshape(2, -1), 0),
        (lambda x: F.dropout(x, training=False), 0),
    ],
)
def test_flops_of_what_is_no_product(function, flops):
    found = total(function, (2, 3, 8, 8))
    assert (found.macs, found.flops) == (0, flops)
    assert not found.missing


@pytest.mark.parametrize("train, flops", [(False, 2 * N)])
def test_batch_norm_is_a_scale_and_a_shift(train, flops):
    found = cnnscope.cost(cnnscope.trace(nn.BatchNorm2d(3), (2, 3, 8, 8))).total
    assert found.flops == flops
    assert found.bytes_read == 4 * N + 4 * 12 and found.bytes_written == 4 * N


def test_a_bias_is_one_addition_for_each_result():
    with_bias = cnnscope.cost(cnnscope.trace(nn.Conv2d(3, 5, 3), (1, 3, 8, 8))).total
    without = cnnscope.cost(cnnscope.trace(nn.Conv2d(3, 5, 3, bias=False), (1, 3, 8, 8))).total
    assert with_bias.macs == without.macs == 36 * 5 * 27
    assert without.flops == 2 * without.macs and with_bias.flops == without.flops + 36 * 5


def test_bytes_are_those_of_a_kernel_that_touches_everything_once():
    add = total(lambda x, y: x + y, (4, 5), (5,))
    assert (add.bytes_read, add.bytes_written) == (100, 80)
    square = total(lambda x: x * x, (4, 5))
    assert (square.bytes_read, square.bytes_written) == (80, 80), "one tensor read once, though named twice"
    expanded = total(lambda x: x.expand(100, 5) + 1, (1, 5))
    assert expanded.bytes_read == 20, "an expanded view has no more memory than its storage"
    view = total(lambda x: x.view(2, 10), (4, 5))
    assert (view.bytes_read, view.bytes_written) == (0, 0)
    rows = cnnscope.cost(cnnscope.trace(nn.Embedding(1000, 8), torch.zeros(2, 3, dtype=torch.long)))
    assert rows.total.bytes_read == 6 * 8 * 4 + 6 * 8, "six rows of the table and six indices, not the table"


def test_intensity_is_flops_over_bytes_also_in_the_total():
    table = cnnscope.cost(cnnscope.trace(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), (1, 3, 8, 8)))
    total = table.total
    assert total.intensity == pytest.approx(total.flops / (total.bytes_read + total.bytes_written))
    relu = table["1.relu"]
    assert relu.intensity == pytest.approx(1 / 8)


@pytest.mark.parametrize(
    "model, shapes",
    [
        (nn.Conv2d(4, 6, (3, 5), stride=2, padding=1, dilation=2, groups=2), [(2, 4, 17, 19)]),
        (nn.Conv1d(4, 8, 3, padding="same"), [(2, 4, 9)]),
        (nn.Conv3d(2, 4, (1, 3, 2)), [(1, 2, 4, 5, 6)]),
        (nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1, groups=2), [(2, 4, 5, 6)]),
        (nn.ConvTranspose3d(2, 3, 2), [(1, 2, 3, 3, 3)]),
        (nn.Linear(7, 5), [(2, 3, 7)]),
        (nn.LSTM(5, 6, num_layers=2, bidirectional=True), [(4, 2, 5)]),
        (nn.MultiheadAttention(8, 2), [(5, 2, 8)] * 3),
        (calls(lambda q, k, v: F.scaled_dot_product_attention(q, k, v)), [(2, 4, 5, 8)] * 3),
        (calls(lambda x, b, y: torch.addmm(b, x, y)), [(3, 4), (5,), (4, 5)]),
        (calls(lambda x, b, y: torch.baddbmm(b, x, y)), [(2, 3, 4), (2, 3, 5), (2, 4, 5)]),
        (calls(lambda x, y: torch.einsum("bhid,bhjd->bhij", x, y)), [(2, 3, 4, 5)] * 2),
    ],
)  # fmt: skip
def test_products_equal_torchs_own_counter(model, shapes):
    # On meta: with data, the fused LSTM and attention kernels of the CPU have no formula in torch's counter.
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model.to("meta").eval()(*[torch.empty(shape, device="meta") for shape in shapes])
    assert 2 * cnnscope.cost(cnnscope.trace(model, tuple(shapes))).total.macs == counter.get_total_flops() > 0


def unknown_graph() -> ModelGraph:
    x, y, z = (Value(name, (2, 3), "float32", i) for i, name in enumerate(("x", "odd", "relu")))
    storages = tuple(Storage(i, 24, "activation" if i else "input", i - 1, None) for i in range(3))
    odd = Op("odd", "my_unheard_of_kernel", (x,), (y,), (), {}, "", "forward", ("self",))
    relu = Op("relu", "relu", (y,), (z,), (), {}, "", "forward", ("self",), pointwise=True)
    return ModelGraph("odd", (odd, relu), storages, inputs=(x,), outputs=(z,))


def test_what_has_no_rule_is_named_and_never_zero():
    table = cnnscope.cost(unknown_graph())
    assert table["odd"].macs is None and table["odd"].flops is None
    assert table.missing == {"my_unheard_of_kernel": 1}
    assert table.total.flops == 6, "the sum of what is known"
    layers = cnnscope.layers(unknown_graph())
    assert layers.missing == {"my_unheard_of_kernel": 1} and layers["my_unheard_of_kernel"].macs is None
