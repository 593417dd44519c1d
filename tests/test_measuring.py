"""Measuring for real on the CPU: what is in a record, that it agrees with the graph, that nothing is left changed."""

from __future__ import annotations

import copy
import os
import random
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_models import RandomNet, recipes
from torch import nn

import cnnscope
from cnnscope import measure, records
from cnnscope.errors import UnmeasurableModel, UnusableDevice, UnusableInput
from cnnscope.measuring import clocks, neighbours, replaying, subjects
from cnnscope.measuring.layers import layer_times
from cnnscope.measuring.peaks import peaks
from cnnscope.measuring.sessions import measure_target, settings_of
from cnnscope.predicting import Range

FAST = {"device": "cpu", "seconds": 0.02}
# Python numbers in arithmetic are tensors of 8 bytes for the time of the operator.
NUMBERS = 64


class Net(nn.Module):
    """Layers, a layer that runs twice, functions, a view, and a buffer that training changes."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.act = nn.ReLU()
        self.twice = nn.Conv2d(8, 8, 1)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = self.act(self.norm(self.conv(x)))
        x = self.twice(self.act(self.twice(x))) + x
        return self.fc(self.drop(x.mean((2, 3))))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small nets on a machine that others use: threads that wait for one another would take seconds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def inference() -> records.Measurement:
    return measure(Net(), (2, 3, 16, 16), **FAST)


@pytest.fixture(scope="module")
def training() -> records.Measurement:
    return measure(Net(), (2, 3, 16, 16), train=True, optimizer="adamw", **FAST)


def test_a_record_has_every_part_that_a_cpu_can_give(inference):
    assert inference.complete and not inference.stopped and inference.batch == 2
    assert inference.input_text == "2x3x16x16" and inference.mode == "inference, fp32"
    assert inference.power is None and inference.reason("power") == "a CPU has no NVML"
    assert inference.memory.peak_reserved is None and inference.time.graph is None
    assert inference.environment.torch == torch.__version__ and inference.environment.threads >= 1
    assert records.parse(inference.to_json()) == inference


def test_times_add_up(inference):
    time, layers = inference.time, inference.layers
    assert 0 < time.whole.least <= time.whole.median <= max(time.whole.seconds) and time.first > 0
    assert time.buffers >= 2 and time.buffer_bytes == time.buffers * 2 * 3 * 16 * 16 * 4
    assert layers.total == pytest.approx(sum(row.seconds for row in layers.rows), rel=1e-3)
    assert layers.difference == pytest.approx(layers.total - time.whole.median, abs=1e-6 + 1e-3 * layers.total)
    assert inference.kernels.total == pytest.approx(sum(row.kernel_seconds for row in layers.rows), rel=1e-3)
    kernels = inference.kernels.rows
    convolutions = {kernels[place].name for row in layers.rows if row.type == "Conv2d" for place in row.kernels}
    assert any("convolution" in name for name in convolutions)


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_layers_are_those_of_the_graph(mode, request):
    record = request.getfixturevalue(mode)
    run = {"train": True, "optimizer": "adamw"} if mode == "training" else {}
    graph = cnnscope.trace(Net(), (2, 3, 16, 16), **run)
    ran = {name for name, row in cnnscope.layers(graph).items() if row.ops}
    assert {row.name for row in record.layers.rows} == ran
    assert {"act#2", "twice#2"} <= ran


def test_backward_belongs_to_the_layers_of_the_forward(training):
    rows = {row.name: row for row in training.layers.rows}
    assert all(rows[name].backward_seconds > 0 for name in ("conv", "norm", "act", "twice", "twice#2", "fc"))
    assert rows["optimizer"].seconds > 0 and rows["optimizer"].backward_seconds is None
    assert training.reason("layers.rows.backward_seconds")


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_peaks_are_those_of_the_trace(mode, request):
    record = request.getfixturevalue(mode)
    run = {"train": True, "optimizer": "adamw"} if mode == "training" else {}
    cnnscope.trace(Net(), (2, 3, 16, 16), **run)  # the first trace of a process imports parts of torch
    total = cnnscope.memory(cnnscope.trace(Net(), (2, 3, 16, 16), **run), "cpu").total
    memory = record.memory
    assert 0 <= memory.peak_requested - total.peak <= NUMBERS
    assert memory.base < memory.peak_requested <= memory.peak_allocated
    assert sum(each.bytes for each in memory.holders) == pytest.approx(memory.peak_allocated, abs=NUMBERS)
    assert sum(each.workspace for each in memory.holders) == memory.workspace
    if mode == "inference":
        net = Net()
        weights = sum(each.numel() * each.element_size() for each in (*net.parameters(), *net.buffers()))
        assert memory.base == weights + 2 * 3 * 16 * 16 * 4


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(recipes())
def test_random_networks_agree_with_their_graphs(recipe):
    """Names of layers and bytes at the peak, for networks that nobody chose."""
    net = RandomNet(recipe).eval()
    asked = settings_of(device="cpu")
    cnnscope.trace(net, net.shape)  # the first trace of an operator imports parts of torch
    graph = cnnscope.trace(net, net.shape)
    with subjects.precision(asked):
        ready, _ = subjects.subject(net, net.shape, {}, asked)
        ready.call(0)
        rows = layer_times(ready, clocks.CpuClock(), None, 0.0).rows
        memory = peaks(ready, None, {})
    assert {row.name for row in rows} == {name for name, row in cnnscope.layers(graph).items() if row.ops}
    assert 0 <= memory.peak_requested - cnnscope.memory(graph, "cpu").total.peak <= NUMBERS


# -- the user's own ---------------------------------------------------------------------------------------------------


def test_the_model_and_all_around_it_are_left_as_found():
    model = Net().train()
    model.norm.eval()
    model(torch.randn(2, 3, 16, 16)).sum().backward()
    x = torch.randn(2, 3, 16, 16)
    state, grads = copy.deepcopy(model.state_dict()), [each.grad.clone() for each in model.parameters()]
    keys = {name: set(vars(module)) for name, module in model.named_modules()}
    modes = [module.training for module in model.modules()]
    before, seed = x.clone(), (torch.get_rng_state(), random.getstate())
    flags = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32, torch.is_grad_enabled()
    measure(model, x, train=True, optimizer="adam", **FAST)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(p.grad, grad) for p, grad in zip(model.parameters(), grads, strict=True))
    assert modes == [module.training for module in model.modules()] and torch.equal(x, before)
    assert keys == {name: set(vars(module)) for name, module in model.named_modules()}
    assert torch.equal(seed[0], torch.get_rng_state()) and seed[1] == random.getstate()
    assert flags == (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32, torch.is_grad_enabled())


def test_a_model_without_weights_gets_some_and_says_so():
    with torch.device("meta"):
        model = Net()
    record = measure(model, (1, 3, 16, 16), **FAST)
    assert record.complete and any("had no weights" in note for note in record.notes)
    assert all(each.is_meta for each in model.parameters())


def test_random_weights_are_finite_and_the_same_again():
    settings_ = settings_of(device="cpu")
    sums = []
    for _ in range(2):
        with torch.device("meta"):
            model = Net()
        torch.manual_seed(0)
        ready, _ = subjects.subject(model, (1, 3, 16, 16), {}, settings_)
        with torch.no_grad():
            out = ready.model(*ready.buffers[0][0])
        assert torch.isfinite(out).all() and ready.module.norm.running_var.eq(1).all()
        sums.append(out.sum().item())
    assert sums[0] == sums[1]


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(10, 4), nn.Linear(4, 2)

    def forward(self, words, scale=None):
        y = self.head(self.table(words))
        return y if scale is None else y * scale


def test_inputs_with_data_keep_them_and_others_are_told():
    given = torch.tensor([[1, 2, 9]])
    record = measure(Words(), given, kwargs={"scale": (1, 3, 2)}, **FAST)
    assert record.complete and record.inputs == {"words": "1x3:int64", "scale": "1x3x2"}
    blank = measure(Words(), torch.empty(1, 3, dtype=torch.int64, device="meta"), **FAST)
    assert any("are zeros" in note for note in blank.notes)


@pytest.mark.parametrize("how", [{"dtype": "bf16"}, {"dtype": "amp"}, {"channels_last": True}])
def test_types_and_formats(how):
    record = measure(Net(), (1, 3, 16, 16), **FAST, **how)
    assert record.complete
    if how.get("dtype") == "bf16":
        full = measure(Net(), (1, 3, 16, 16), **FAST)
        assert record.memory.base < 0.6 * full.memory.base


# -- what goes wrong --------------------------------------------------------------------------------------------------


class Fails(Net):
    """Raises from some call on."""

    def __init__(self, error: BaseException, after: int) -> None:
        super().__init__()
        self.error, self.left = error, after

    def __deepcopy__(self, memo: Any) -> nn.Module:
        return Fails(self.error, self.left)

    def forward(self, x):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().forward(x)


STOPS = {
    "interrupt": (KeyboardInterrupt(), "interrupted while measuring", "measure again"),
    "out of memory": (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), "out of memory", "batch"),
    "no host memory": (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory", "fp16"),
    "lost GPU": (torch.AcceleratorError("CUDA error: unspecified launch failure"), "the GPU failed", "nvidia-smi"),
}  # fmt: skip


@pytest.mark.parametrize("kind", STOPS)
def test_what_was_measured_before_a_stop_is_kept(kind):
    error, what, way = STOPS[kind]
    record = measure(Fails(error, after=4), (1, 3, 16, 16), **FAST)
    assert not record.complete and what in record.stopped and way in record.stopped
    assert record.memory is not None and record.memory.peak_requested > 0
    assert record.time is None and "not reached" in record.reason("time.whole.median")
    assert records.parse(record.to_json()) == record


@pytest.mark.parametrize("kind", STOPS)
def test_a_stop_before_anything_is_a_record_too(kind):
    error, what, _ = STOPS[kind]
    record = measure(Fails(error, after=0), (1, 3, 16, 16), **FAST)
    assert not record.complete and what in record.stopped
    assert record.memory is record.time is record.layers is None
    assert records.parse(record.to_json()) == record


def test_the_models_own_exception_leads():
    with pytest.raises(UnmeasurableModel) as caught:
        measure(Fails(LookupError("my own words"), after=0), (1, 3, 16, 16), **FAST)
    lines = str(caught.value).splitlines()
    assert lines[0] == "LookupError: my own words" and "1x3x16x16" in lines[1] and len(lines) == 3
    with pytest.raises(UnmeasurableModel, match="RuntimeError: mat1 and mat2"):
        measure(nn.Linear(3, 4), (1, 5), **FAST)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [(lambda: measure(Net, (1, 3, 16, 16)), UnusableInput, "takes an nn.Module"),
     (lambda: measure(Net(), (1, 3, 16, 16), speed=3), UnusableInput, "no setting speed"),
     (lambda: measure(nn.ReLU(), (1, 3), train=True, **FAST), UnusableInput, "cannot be trained"),
     (lambda: measure(Net(), (1, 3, 16, 16), (1, 2)), TypeError, "positional")],
)  # fmt: skip
def test_wrong_use(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there():
    with pytest.raises(UnusableDevice, match="--device cpu"):
        measure(Net(), (1, 3, 16, 16), device="cuda")


# -- parts on their own -----------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(1, 100), st.integers(-1, 4), st.integers(0, 9)), max_size=40))
def test_replaying_agrees_with_adding_up_at_every_step(steps):
    """Allocations at fresh addresses; each step then may free the oldest or the newest that is alive."""
    events, alive, before = [], {}, {10_000 + i: 7 for i in range(2)}
    for number, (size, operator, choice) in enumerate(steps):
        events.append(replaying.Event(size, number, operator))
        alive[number] = size
        if choice > 5:
            address = (min if choice % 2 else max)(alive)
            events.append(replaying.Event(-alive.pop(address), address, operator))
        elif choice == 5 and before:
            address, bytes_ = before.popitem()
            events.append(replaying.Event(-bytes_, address, operator))
    sums = [0]
    for event in events:
        sums.append(sums[-1] + event.bytes)
    peak = replaying.replayed(events)
    assert peak.bytes == max(sums)
    assert sum(each.bytes for each in peak.alive) - peak.freed_before == peak.bytes
    assert all(0 <= each.workspace <= each.bytes for each in peak.alive)
    tensors = replaying.of_tensors(events)
    assert sum(each.bytes for each in tensors) == sum(each.bytes for each in events)
    assert replaying.replayed(tensors).bytes <= peak.bytes


def test_kernel_buffers_are_no_tensors():
    events = [replaying.Event(*each) for each in ((10, 1, 0), (90, 2, 0), (-90, 2, 0), (20, 1_000, 1), (-10, 1, -1))]
    assert [each.bytes for each in replaying.of_tensors(events)] == [10, 20, -10]
    assert replaying.replayed(events).bytes == 100
    assert replaying.replayed(events).alive == (replaying.Alive(0, 100, 90),)


class Script:
    """A clock whose calls take the times of a list."""

    name, tolerance = "a list", 0.02

    def __init__(self, times):
        self.times, self.now = iter(times), 0.0

    def call(self, number):
        self.now += next(self.times)

    def mark(self):
        return self.now

    def seconds(self, start, end):
        return end - start

    def reach(self, mark): ...

    def wait(self): ...


def test_warm_up_ends_when_three_windows_agree():
    falling = [0.1 / (1 + i) for i in range(9)] + [0.01] * 200
    found = clocks.warmed_up((script := Script(falling)).call, script, 0.0, 100.0)
    assert found.steady and found.seconds == pytest.approx(0.01) and 9 < found.calls < 40
    wild = [0.01 * (1 + i % 2) * (1 + i) for i in range(10_000)]
    found = clocks.warmed_up((script := Script(wild)).call, script, 0.0, 0.001)
    assert not found.steady


def test_a_device_is_kept_busy_for_as_long_as_asked():
    done: list[int] = []
    calls = clocks.kept_busy(done.append, clocks.CpuClock(), 1.0, 0.03)
    assert calls == len(done) and done == list(range(calls)) and calls > 1


def test_calls_take_the_inputs_in_turn():
    ready, _ = subjects.subject(Net(), (1, 3, 4, 4), {}, settings_of(device="cpu"))
    ready.add_inputs(3)
    firsts = [args[0] for args, _ in ready.buffers]
    assert len({each.data_ptr() for each in firsts}) == 3 and not torch.equal(firsts[0], firsts[1])


def test_a_target_is_made_with_its_own_buffers():
    """The trained subsampling and the bitmaps of LeNet-5 are values that no random filling could stand for."""
    record = measure_target("lenet5", (1, 1, 32, 32), {}, settings_of(**FAST), name="lenet5")
    assert record.complete and record.target == "lenet5" and not any("weights" in note for note in record.notes)


def test_the_middle_of_a_range():
    assert Range(1, 3).middle == 2


# -- others on the machine --------------------------------------------------------------------------------------------


@pytest.fixture
def stat(tmp_path, monkeypatch):
    """A kernel's count of CPU time, and what this process has spent, both to be set."""
    file, spent = tmp_path / "stat", [0.0]
    monkeypatch.setattr(neighbours, "_STAT", file)
    monkeypatch.setattr(neighbours, "_own", lambda: spent[0])

    def put(busy: float, own: float) -> None:
        """Seconds; idle and waiting ones, which do not count, are far more."""
        ticks = int(busy * os.sysconf("SC_CLK_TCK"))
        file.write_text(f"cpu  {ticks - 4} 1 1 9999999 9999999 1 0 1 0 0\ncpu0 1 2 3\n")
        spent[0] = own

    put(100, 10)
    return put


@pytest.mark.parametrize(
    ("busy", "own", "share"),
    [(100, 10, 0), (108, 18, 0), (104, 10, 0.4), (110, 15, 0.5), (100, 11, 0)],
    ids=["idle", "we alone", "others alone", "both", "rounding"],
)
def test_others_are_told_from_ourselves(stat, monkeypatch, busy, own, share):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    clock = iter([50.0, 55.0, 55.0])
    monkeypatch.setattr(neighbours.time, "perf_counter", lambda: next(clock))
    watch = neighbours.Neighbours(load=9.0)
    stat(busy, own)
    assert watch.share == pytest.approx(share, abs=0.01)
    assert (watch.note is None) == (share < 0.1)


def test_where_the_system_does_not_tell_the_load_speaks(stat, monkeypatch, tmp_path):
    monkeypatch.setattr(neighbours, "_STAT", tmp_path / "none")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert neighbours.Neighbours(load=0.3).note is None and neighbours.Neighbours(load=None).note is None
    assert "load average 1.5 on 2 cores" in neighbours.Neighbours(load=1.5).note
