"""Predicted times: laws that hold whatever the device, and what the kernels of a program are."""

import dataclasses
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import cnnscope
from cnnscope.analyses.rooflines import BOUNDS, between
from cnnscope.devices import Device, device
from cnnscope.efficiencies import KINDS, PRODUCTS, Efficiencies
from cnnscope.errors import UnknownDevice, UnusableInput
from cnnscope.kernels import TILE, kernels
from cnnscope.merging import merged
from cnnscope.precisions import PRECISIONS, program

PEAK = Efficiencies(dict.fromkeys(PRODUCTS, 1.0), dict.fromkeys(KINDS, 1.0), 0.0, (1.0, 1.0), "peaks")


@cache
def graph(name: str = "resnet18", train: bool = False):
    return cnnscope.trace(cnnscope.build(name), (16, 3, 224, 224), train=train, optimizer="sgd" if train else None)


def made(rate: float = 1e12, bandwidth: float = 1e11) -> Device:
    return Device("made", dict.fromkeys(("fp32", "tf32", "fp16", "bf16"), rate), bandwidth)


rates = st.floats(1e9, 1e15)
precisions = st.sampled_from(PRECISIONS)


@settings(deadline=None, max_examples=25)
@given(rates, rates, st.floats(1, 100), st.floats(1, 100), precisions, st.booleans())
def test_a_better_device_is_never_slower(rate, bandwidth, times, wider, dtype, compiled):
    slow = cnnscope.roofline(graph(), made(rate, bandwidth), dtype=dtype, compiled=compiled)
    fast = cnnscope.roofline(graph(), made(rate * times, bandwidth * wider), dtype=dtype, compiled=compiled)
    assert all(fast[name].seconds <= slow[name].seconds * (1 + 1e-12) for name in slow)


@settings(deadline=None, max_examples=25)
@given(rates, rates, precisions, st.booleans())
def test_no_kernel_is_faster_than_its_bounds_and_times_add_up(rate, bandwidth, dtype, compiled):
    found = cnnscope.roofline(graph(), made(rate, bandwidth), dtype=dtype, compiled=compiled, efficiencies=PEAK)
    for row in found.values():
        assert row.seconds >= row.bytes / bandwidth * (1 - 1e-12)
        assert row.seconds >= row.flops / rate * (1 - 1e-12)
        assert row.bound in BOUNDS
    assert found.total.seconds == pytest.approx(sum(row.seconds for row in found.values()))
    parts = sum(getattr(found.total, bound) for bound in BOUNDS)
    assert parts == pytest.approx(found.total.seconds)


def test_the_bound_is_what_limits():
    compute = cnnscope.roofline(graph(), made(1e9, 1e18))
    memory = cnnscope.roofline(graph(), made(1e18, 1e6))
    launch = cnnscope.roofline(graph(), made(1e18, 1e18))
    assert (compute.total.bound, memory.total.bound, launch.total.bound) == ("compute", "memory", "launch")
    assert launch.total.seconds == pytest.approx(launch.total.launch, rel=1e-3)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_eager_kernels_move_what_cost_says_of_the_program(dtype: str):
    """In float32 that is the cost table itself; in halves, half of its activations and weights."""
    run = program(graph(), dtype)
    moved = sum(kernel.bytes for kernel in kernels(run))
    total = cnnscope.cost(graph()).total
    whole = total.bytes_read + total.bytes_written
    if dtype in ("fp32", "tf32"):
        assert moved == whole
    else:
        casts = sum(kernel.bytes for kernel in kernels(run) if kernel.ops[0].kind == "_to_copy")
        assert whole / 2 <= moved - casts <= whole * 0.52  # indices of max pooling are no floats
        assert (casts > 0) == (dtype == "amp")


def test_arithmetic_is_that_of_cost_and_padding_only_adds():
    found = kernels(program(graph("googlenet"), "fp32"))
    assert sum(kernel.flops for kernel in found) == cnnscope.cost(graph("googlenet")).total.flops
    assert all(kernel.padded >= kernel.flops for kernel in found)
    (kernel,) = kernels(program(cnnscope.trace(nn.Conv2d(33, 65, 1, bias=False), (1, 33, 8, 8)), "fp32"))
    assert kernel.padded == pytest.approx(2 * (2 * TILE) * (3 * TILE) * 64)


def conv(**options):
    channels = options.pop("channels", 64)
    return nn.Conv2d(channels, channels, 3, **options)


KINDS_OF = {
    "dense": conv(),
    "grouped": conv(groups=4),
    "depthwise": conv(groups=64),
    "pooling": nn.MaxPool2d(2),
    "pointwise": nn.BatchNorm2d(64),
    "normalisation": nn.GroupNorm(4, 64),
}


@pytest.mark.parametrize("kind", KINDS_OF)
def test_kinds_follow_from_shapes(kind: str):
    (kernel,) = kernels(program(cnnscope.trace(KINDS_OF[kind], (2, 64, 8, 8)), "fp32"))
    assert kernel.kind == kind
    halved = kernels(program(cnnscope.trace(KINDS_OF[kind], (2, 64, 8, 8)), "fp16"))[0]
    assert halved.precision == ("fp16" if kind in ("dense", "grouped") else "fp32")


def test_batch_norm_in_training_reads_its_data_first():
    step = cnnscope.trace(nn.Sequential(conv(), nn.BatchNorm2d(64)), (4, 64, 8, 8), train=True)
    kinds = {kernel.ops[0].kind: kernel.kind for kernel in kernels(program(step, "fp32"))}
    assert kinds["native_batch_norm"] == "normalisation"


# -- compiled ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "densenet121"])
@pytest.mark.parametrize("dtype", ["fp32", "amp"])
def test_compiling_moves_less_and_computes_the_same(name: str, dtype: str):
    run = program(graph(name), dtype)
    eager, compiled = kernels(run), merged(run, graph(name).outputs)
    assert sum(kernel.flops for kernel in compiled) == sum(kernel.flops for kernel in eager)
    assert sum(kernel.bytes for kernel in compiled) < 0.9 * sum(kernel.bytes for kernel in eager)
    assert len(compiled) < len(eager)
    ops = [op.name for kernel in compiled for op in kernel.ops]
    assert sorted(ops) == sorted(op.name for kernel in eager for op in kernel.ops)


def test_a_chain_becomes_one_kernel_and_a_product_stays():
    net = nn.Sequential(conv(bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.Hardswish(), conv(bias=False))
    trace = cnnscope.trace(net, (2, 64, 12, 12))
    first, chain, last = merged(program(trace, "fp32"), trace.outputs)
    assert [op.kind for op in chain.ops] == ["native_batch_norm", "relu", "hardswish"]
    activation = 2 * 64 * 10 * 10 * 4
    assert (chain.read - 4 * 64 * 4, chain.written) == (activation, activation)
    assert first.kind == last.kind == "dense"


class Crossed(nn.Module):
    """b walks as a does, but needs the convolution of a: in one kernel they would wait for one another."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1, bias=False)

    def forward(self, x):
        a = x.exp()
        return self.conv(a) + a


def test_nothing_is_computed_before_what_it_needs():
    trace = cnnscope.trace(Crossed(), (1, 4, 8, 8))
    groups = [[op.kind for op in kernel.ops] for kernel in merged(program(trace, "fp32"), trace.outputs)]
    assert groups == [["exp"], ["convolution"], ["add"]]


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "densenet121"])
def test_kernels_run_in_an_order_that_exists(name: str):
    trace = graph(name)
    ready = {storage.id for storage in trace.storages if storage.born < 0}
    run = program(trace, "amp")
    ready |= {op.outputs[0].storage for op in run.ops if not kernels(run._replace(ops=(op,)))}
    for kernel in merged(run, trace.outputs):
        own = {value.storage for op in kernel.ops for value in op.outputs}
        assert {value.storage for op in kernel.ops for value in op.inputs} <= ready | own
        ready |= own


# -- what is not known ------------------------------------------------------------------------------------------------


class Rare(nn.Module):
    def forward(self, x):
        return torch.linalg.qr(x.relu())[0]


def test_an_unknown_operator_is_named_and_the_total_is_a_lower_bound():
    found = cnnscope.roofline(cnnscope.trace(Rare(), (8, 8)), "RTX 4090")
    assert found.missing == {"linalg_qr": 1}
    assert found["linalg_qr"].seconds is None
    assert found.total.seconds > 0
    assert "at least" in found.notes[0] and "time >= " in str(found)


def test_a_device_without_the_rate_is_refused():
    with pytest.raises(UnusableInput, match="T4 has no rate for bf16; it has fp32, fp16, int8"):
        cnnscope.roofline(graph(), "T4", dtype="bf16")
    with pytest.raises(UnusableInput, match="no precision 'fp12'"):
        cnnscope.roofline(graph(), "T4", dtype="fp12")
    with pytest.raises(UnknownDevice, match="closest"):
        cnnscope.roofline(graph(), "RTX 4099")


def test_double_precision_has_no_rate_and_is_not_free():
    found = cnnscope.roofline(cnnscope.trace(conv().double(), torch.empty(1, 64, 8, 8, dtype=torch.float64)), "H200")
    assert found.missing == {"convolution in fp64": 1}


# -- the range --------------------------------------------------------------------------------------------------------


def test_the_range_is_the_spread_and_a_calibrated_device_brings_its_own():
    own = PEAK._replace(spread=(0.5, 3.0), origin="mine")
    found = cnnscope.roofline(graph(), dataclasses.replace(made(), efficiencies=own))
    assert found.total.low == pytest.approx(0.5 * found.total.seconds)
    assert found.total.high == pytest.approx(3 * found.total.seconds)
    assert found.notes[1] == "efficiencies: mine"
    assert cnnscope.roofline(graph(), "RTX 4090").notes[1].startswith("efficiencies: fit to ")


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(0.0051, 0.0074, "5.1 to 7.4 ms"), (0.0009, 0.0011, "900 µs to 1.1 ms"), (1, 2, "1.0 to 2.0 s")],
)
def test_a_range_has_two_digits(low: float, high: float, text: str):
    assert between(low, high) == text


def test_half_precision_and_tensor_cores_help_and_autocast_pays_for_casts():
    seconds = {dtype: cnnscope.roofline(graph(), "A100", dtype=dtype).total.seconds for dtype in PRECISIONS}
    assert seconds["fp16"] == seconds["bf16"] < seconds["amp"] < seconds["tf32"] < seconds["fp32"]
    assert device("A100").rate("fp16") == device("A100").rate("bf16")


@pytest.mark.parametrize("compiled", [False, True])
def test_a_training_step_takes_longer_than_its_forward(compiled: bool):
    step = cnnscope.roofline(graph(train=True), made(), compiled=compiled)
    forward = cnnscope.roofline(graph(), made(), compiled=compiled)
    assert step.total.seconds > 1.5 * forward.total.seconds
    assert step.total.kernels > forward.total.kernels
