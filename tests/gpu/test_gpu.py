"""What only a GPU can show: events, the caching allocator, CUDA graphs, NVML, and predictions against all of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import cnnscope
from cnnscope import measure, records
from cnnscope.measuring import clocks, power
from cnnscope.measuring.sessions import measure_target, settings_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU that torch can use"),
]
FAST = {"device": "cuda", "seconds": 0.2, "power": False}
SHAPE = (32, 3, 224, 224)


def resnet(**how) -> records.Measurement:
    return measure_target("resnet18", SHAPE, {}, settings_of(**{**FAST, **how}), name="resnet18")


@pytest.fixture(scope="module")
def inference() -> records.Measurement:
    return resnet()


@pytest.fixture(scope="module")
def training() -> records.Measurement:
    return resnet(train=True, optimizer="sgd-momentum")


def test_events_agree_with_the_clock_of_the_host():
    """A kernel that spins for a known number of cycles takes as long by events as by the host's clock."""
    import time

    clock = clocks.CudaClock()
    torch.cuda._sleep(1000)
    clock.wait()
    start = time.perf_counter()
    first = clock.mark()
    torch.cuda._sleep(200_000_000)
    last = clock.mark()
    clock.reach(last)
    host = time.perf_counter() - start
    assert clock.seconds(first, last) == pytest.approx(host, rel=0.05)


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_the_record_is_complete(mode, request):
    record = request.getfixturevalue(mode)
    assert record.complete, record.stopped
    assert record.environment.capability.startswith("sm_") and record.environment.cuda
    assert record.memory.peak_reserved >= record.memory.peak_allocated >= record.memory.peak_requested > 0
    assert record.memory.context > 0
    assert record.kernels.total > 0 and record.kernels.unattributed < 0.1 * record.kernels.total
    assert records.parse(record.to_json()) == record


def test_layers_and_kernels_explain_the_whole(inference):
    """Held back on the GPU, layers take about as long as their kernels; replayed without launches, so does the net."""
    time, layers = inference.time, inference.layers
    in_kernels = sum(row.kernel_seconds for row in layers.rows)
    assert layers.total == pytest.approx(in_kernels, rel=0.35)
    assert time.graph is not None and time.graph.median <= 1.1 * time.whole.median
    assert time.graph.median == pytest.approx(in_kernels, rel=0.35)
    graph = cnnscope.trace(cnnscope.build("resnet18"), SHAPE)
    assert {row.name for row in layers.rows} == {name for name, row in cnnscope.layers(graph).items() if row.ops}


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_memory_is_what_was_predicted(mode, request):
    """Tensors within 1%; with the workspaces that no one can know never above the upper bound."""
    memory = request.getfixturevalue(mode).memory
    run = {"train": True, "optimizer": "sgd-momentum", "foreach": True} if mode == "training" else {}
    for _ in range(2):  # the first trace of a process imports parts of torch
        total = cnnscope.memory(cnnscope.trace(cnnscope.build("resnet18"), SHAPE, **run), "cuda").total
    print(f"\n{mode}: {memory}\npredicted {total.peak_requested} {total.peak_allocated} {total.peak_reserved}")
    assert memory.peak_requested == pytest.approx(total.peak_requested, rel=0.01)
    assert memory.peak_allocated >= 0.99 * total.peak_allocated
    assert memory.peak_reserved + memory.context <= total.upper_bound


def test_the_history_ends_where_the_statistics_do(inference):
    """Two ways to the same peak: rounding to 512 bytes and what cuBLAS keeps lie between them."""
    memory = inference.memory
    held = sum(each.bytes for each in memory.holders)
    assert held <= memory.peak_allocated
    assert memory.peak_allocated - held <= memory.library_workspace + 512 * 300


@pytest.mark.parametrize("how", [{"dtype": "tf32"}, {"dtype": "amp", "channels_last": True}, {"dtype": "bf16"}])
def test_lower_precision_is_no_slower_by_much(how, inference):
    record = resnet(**how)
    assert record.complete and record.time.whole.median < 1.5 * inference.time.whole.median


def test_flags_and_random_states_are_left_as_found():
    state = torch.cuda.get_rng_state_all()
    flags = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5)).cuda()
    before = [each.clone() for each in model.parameters()]
    measure(model, (2, 3, 16, 16), **FAST, train=True)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(state, torch.cuda.get_rng_state_all(), strict=True))
    assert flags == (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)


def test_out_of_memory_is_told_and_survived():
    free, _ = torch.cuda.mem_get_info()
    side = 2 * int((free / 4) ** 0.5)
    record = measure(nn.ReLU(), (1, side, side), **FAST)
    assert not record.complete and "out of memory" in record.stopped and "smaller batch" in record.stopped
    torch.cuda.empty_cache()
    assert measure(nn.ReLU(), (1, 64, 64), **FAST).complete


def test_power_and_energy_agree():
    """Counter and integral of the watts are two instruments: within a tenth, over five seconds."""
    record = resnet(power=True)
    found = record.power
    assert found is not None, record.reason("power")
    print(f"\n{found}")
    assert found.window_seconds >= power.WINDOW
    if found.energy_joules is None:
        pytest.skip(f"no energy counter: {record.reason('power.energy_joules')}")
    counted = found.energy_joules / found.counter_seconds
    assert counted == pytest.approx(found.integral_joules / found.window_seconds, rel=0.1)
    assert found.idle_watts < found.watts
