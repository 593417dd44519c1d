"""Rules for what kernels hold on a CPU, against single operators and whole networks that really ran."""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any, NamedTuple

import cpu_truth
import pytest
import torch
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from torch import nn

import cnnscope
from cnnscope.analyses.gradients import BARRIER
from cnnscope.analyses.kernels import SLACK, Cpu
from cnnscope.analyses.liveness import timeline
from cnnscope.analyses.scratch import extra, on_cpu
from cnnscope.arguments import tensors_in
from cnnscope.graph import Op, Value
from cnnscope.processors import this_cpu
from cnnscope.training import OPTIMIZERS

ISA = {"AVX512": "avx512", "AVX2": "avx2"}.get(torch.backends.cpu.get_cpu_capability())
ONEDNN = next((word[1:] for word in torch.__config__.show().split() if word[:2] == "v3"), "none")
pytestmark = pytest.mark.skipif(
    ISA is None or not torch.backends.mkldnn.is_available() or not ONEDNN.startswith("3.12"),
    reason=f"the rules hold for oneDNN 3.12 with AVX2 or AVX-512, not for oneDNN {ONEDNN} on this CPU",
)
THREADS = 2  # how more threads share the sums of a gradient is known less exactly
CPU = this_cpu(THREADS)._replace(isa=ISA or "avx512")
LAWS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)


@pytest.fixture(autouse=True, scope="module")
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


@st.composite
def convolutions(draw: st.DrawFn, last: bool | None = False) -> dict[str, Any]:
    """Convolutions as networks have them: sizes, and the arguments of ``aten.convolution``."""
    style = draw(st.sampled_from(["dense", "dense", "depthwise", "grouped"]))
    groups = {"dense": 1, "grouped": draw(st.sampled_from([2, 4, 32]))}.get(style, 0)
    groups = groups or draw(st.sampled_from([3, 16, 24, 40, 96]))
    into, out = (1, 1)
    if style == "dense":
        into, out = (
            draw(st.sampled_from([1, 3, 12, 16, 24, 32, 40, 64, 96])),
            draw(st.sampled_from([8, 16, 24, 40, 64])),
        )
    elif style == "grouped":
        into, out = draw(st.sampled_from([(4, 4), (8, 8), (16, 16), (5, 5), (8, 16), (16, 8)]))
    kernel = draw(st.sampled_from([(1, 1), (1, 1), (3, 3), (3, 3), (5, 5), (7, 7), (2, 2), (1, 7), (3, 1)]))
    stride = draw(st.sampled_from([1, 1, 2]))
    dilation = draw(st.sampled_from([1, 1, 2])) if kernel == (3, 3) and stride == 1 and style != "depthwise" else 1
    padding = tuple((k - 1) * dilation // 2 for k in kernel) if draw(st.booleans()) else (0, 0)
    size = draw(st.sampled_from([13, 14, 16, 28, 35]))
    batch = draw(st.sampled_from([1, 1, 2, 4]))
    channels_last = draw(st.booleans()) if last is None else last
    return {
        "x": (batch, into * groups, size, size), "w": (out * groups, into, *kernel), "bias": draw(st.booleans()),
        "arguments": ((stride,) * 2, padding, (dilation,) * 2, False, (0, 0), groups), "last": channels_last,
    }  # fmt: skip


NAMES = ("stride", "padding", "dilation", "transposed", "output_padding", "groups")


def value(name: str, tensor: torch.Tensor) -> Value:
    strides = () if tensor.is_contiguous() else tensor.stride()
    return Value(name, tuple(tensor.shape), str(tensor.dtype)[6:], 0, strides)


def recorded(kind: str, inputs: dict[str, torch.Tensor], outputs: Any, **attrs: Any) -> Op:
    """An operator as a trace would have it."""
    tensors = outputs if isinstance(outputs, tuple) else (outputs,)
    values = tuple(value(role, tensor) for role, tensor in inputs.items())
    made = tuple(value(f"out{i}", tensor) for i, tensor in enumerate(tensors) if tensor is not None)
    return Op(kind, kind, values, made, (), attrs, "", "forward", tuple(inputs))


def held(run: Any) -> tuple[int, Any]:
    """Bytes beyond what a call leaves behind at the peak inside it, and its result."""
    results = []
    with torch.no_grad():
        events = cpu_truth.allocations(lambda: results.append(run()))
    return cpu_truth.highest(events) - sum(events), results[0]


def check(op: Op, true: int) -> None:
    found = extra(op, CPU)
    assert found is not None, op
    once_more = copy_of_a_thread(op)
    if found.exact:
        assert true - found.bytes in (0, once_more), (op, found)
    else:
        assert found.bytes + once_more >= true, (op, found)


def copy_of_a_thread(op: Op) -> int:
    """Where the rules do not know whether one thread more has a gradient of the weight: a strided kernel of one point.

    That is so in one of fifty such convolutions; elsewhere 0.
    """
    weight = op.input("weight")
    if op.kind != "convolution_backward" or weight is None or set(op.attrs["stride"]) == {1}:
        return 0
    if set(weight.shape[2:]) != {1} or op.attrs["groups"] != 1:
        return 0
    out, into = (-(-channels // 16) * 16 for channels in weight.shape[:2])
    return 4 * out * into + BARRIER + SLACK


def tensors(c: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    form = torch.channels_last if c["last"] else torch.contiguous_format
    x, w = (torch.zeros(c[name]).to(memory_format=form) for name in "xw")
    return x, w, torch.zeros(c["w"][0]) if c["bias"] else None


def given_of(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None) -> dict[str, torch.Tensor]:
    return {"input": x, "weight": w} | ({"bias": b} if b is not None else {})


@LAWS
@given(convolutions(last=None))
def test_convolution(c: dict[str, Any]):
    x, w, b = tensors(c)
    assume(not c["last"] or c["x"][1] >= 16)  # one channel has no order
    true, result = held(lambda: torch.ops.aten.convolution.default(x, w, b, *c["arguments"]))
    check(recorded("convolution", given_of(x, w, b), result, **dict(zip(NAMES, c["arguments"], strict=True))), true)


ONE_POINT = {"x": (1, 24, 13, 13), "w": (24, 1, 1, 1), "bias": False, "last": True,
             "arguments": ((1, 1), (0, 0), (1, 1), False, (0, 0), 24)}  # fmt: skip


@LAWS
@given(convolutions(last=None), st.booleans())
@example(ONE_POINT, False)
@pytest.mark.skipif(ISA != "avx512", reason="gradients are only understood for AVX-512")
def test_gradients_of_a_convolution(c: dict[str, Any], data: bool):
    x, w, b = tensors(c)
    assume(not c["last"] or c["x"][1] >= 16)
    grad = torch.zeros_like(torch.ops.aten.convolution.default(x, w, b, *c["arguments"]))
    sizes, mask = [c["w"][0] if c["bias"] else 0], [data, True, c["bias"]]
    backward = torch.ops.aten.convolution_backward.default
    true, result = held(lambda: backward(grad, x, w, sizes if c["bias"] else None, *c["arguments"], mask))
    attrs = dict(zip(NAMES, c["arguments"], strict=True)) | {"output_mask": tuple(mask)}
    inputs = {"grad_output": grad, "input": x, "weight": w}
    check(recorded("convolution_backward", inputs, tuple(r for r in result if r is not None), **attrs), true)


@LAWS
@given(convolutions(), st.sampled_from([(0, 0), (1, 1)]))
def test_transposed_convolution(c: dict[str, Any], output_padding: tuple[int, int]):
    stride, padding, dilation, _, _, groups = c["arguments"]
    assume(all(o < s for o, s in zip(output_padding, stride, strict=True)) and groups == 1 and dilation == (1, 1))
    x, w = torch.zeros(c["x"]), torch.zeros(c["x"][1], c["w"][0], *c["w"][2:])
    arguments = (stride, padding, dilation, True, output_padding, 1)
    b = torch.zeros(w.shape[1]) if c["bias"] else None
    true, result = held(lambda: torch.ops.aten.convolution.default(x, w, b, *arguments))
    check(recorded("convolution", given_of(x, w, b), result, **dict(zip(NAMES, arguments, strict=True))), true)


@st.composite
def unusual(draw: st.DrawFn) -> dict[str, Any]:
    """Convolutions that no network of the zoo has: other dimensions, small maps, transposed in groups and dilated."""
    dims, transposed = draw(st.sampled_from([1, 2, 3])), draw(st.booleans())
    groups = draw(st.sampled_from([1, 1, 2, 4]))
    into, out = draw(st.sampled_from([(4, 8), (16, 16), (8, 32), (64, 32), (32, 48)]))
    kernel, stride, dilation = (draw(st.sampled_from(each)) for each in ((1, 2, 3, 5), (1, 2), (1, 2)))
    padding, batch = draw(st.sampled_from([0, 1, 2])), draw(st.sampled_from([1, 2]))
    size = draw(st.sampled_from([4, 7] if dims == 3 else [4, 7, 12]))
    extra = draw(st.sampled_from([0, 1])) if transposed and (stride > 1 or dilation > 1) else 0
    reach = dilation * (kernel - 1) + 1
    assume((size - 1) * stride - 2 * padding + reach + extra > 0 if transposed else size + 2 * padding >= reach)
    return {
        "x": (batch, into, *[size] * dims),
        "w": (*((into, out // groups) if transposed else (out, into // groups)), *[kernel] * dims),
        "bias": torch.zeros(out) if draw(st.booleans()) else None,
        "arguments": (*[(each,) * dims for each in (stride, padding, dilation)], transposed, (extra,) * dims, groups),
    }


@settings(LAWS, max_examples=150)
@given(unusual(), st.booleans())
def test_bounds_of_unusual_convolutions(c: dict[str, Any], backward: bool):
    x, w, b, arguments = torch.zeros(c["x"]), torch.zeros(c["w"]), c["bias"], c["arguments"]
    convolution, gradient = torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default
    attrs = dict(zip(NAMES, arguments, strict=True))
    if backward:
        grad, mask = torch.zeros_like(convolution(x, w, b, *arguments)), [True, True, b is not None]
        sizes = None if b is None else [len(b)]
        true, result = held(lambda: gradient(grad, x, w, sizes, *arguments, mask))
        made = tuple(each for each in result if each is not None)
        inputs = {"grad_output": grad, "input": x, "weight": w}
        op = recorded("convolution_backward", inputs, made, **attrs, output_mask=tuple(mask))
    else:
        true, result = held(lambda: convolution(x, w, b, *arguments))
        op = recorded("convolution", given_of(x, w, b), result, **attrs)
    assume(extra(op, CPU) is not None)
    check(op, true)


@pytest.mark.parametrize("dims", [1, 3])
@pytest.mark.parametrize("channels", [(3, 8), (16, 32), (24, 40)])
@pytest.mark.parametrize("stride", [1, 2])
def test_other_dimensions(dims: int, channels: tuple[int, int], stride: int):
    into, out = channels
    x, w, b = torch.zeros(2, into, *[12] * dims), torch.zeros(out, into, *[3] * dims), torch.zeros(out)
    arguments = ([stride] * dims, [1] * dims, [1] * dims, False, [0] * dims, 1)
    true, result = held(lambda: torch.ops.aten.convolution.default(x, w, b, *arguments))
    attrs = dict(zip(NAMES, arguments, strict=True))
    check(recorded("convolution", given_of(x, w, b), result, **{k: _plain(v) for k, v in attrs.items()}), true)


def _plain(thing: Any) -> Any:
    return tuple(thing) if isinstance(thing, list) else thing


def test_more_threads_hold_more():
    """A strided 1x1 convolution gathers its input once for each thread; threads are set for this test alone."""
    x, w = torch.zeros(1, 64, 28, 28), torch.zeros(32, 64, 1, 1)
    arguments = ((2, 2), (0, 0), (1, 1), False, (0, 0), 1)
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            true, result = held(lambda: torch.ops.aten.convolution.default(x, w, None, *arguments))
            op = recorded("convolution", given_of(x, w, None), result, **dict(zip(NAMES, arguments, strict=True)))
            found = extra(op, CPU._replace(threads=threads))
            assert found is not None and found.exact and found.bytes == true
    finally:
        torch.set_num_threads(THREADS)


# -- every operator of a run ------------------------------------------------------------------------------------------


def summed(result: Any) -> torch.Tensor:
    return sum(each.sum() for each in tensors_in(result))  # type: ignore[return-value]


class Mixed(nn.Module):
    """Many kinds of operators, some on operands whose elements do not lie in order."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1), nn.BatchNorm2d(24), nn.Hardswish(), nn.MaxPool2d(2))
        self.depthwise = nn.Conv2d(24, 24, 5, padding=2, groups=24)
        self.norm, self.wide, self.narrow = nn.LayerNorm(24), nn.Linear(24, 96), nn.Linear(96, 24)
        self.up = nn.Upsample(scale_factor=4, mode="bilinear")
        self.last = nn.Conv2d(12, 16, 1, 2)
        self.head = nn.Linear(24, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = self.depthwise(x).permute(0, 2, 3, 1)
        y = torch.roll(self.norm(y), (1, 2), (1, 2))
        y = self.narrow(torch.nn.functional.gelu(self.wide(y))).permute(0, 3, 1, 2)
        x = torch.cat([x + 2.0 * y, self.up(x)[:, :, ::4, ::4]]).relu().chunk(2)[0]
        a, _ = x.chunk(2, 1)
        return torch.softmax(self.head(x.mean((2, 3))), 1) + self.last(a).sigmoid().sum() / 3


OUTSIDE = ("detach", "lift_fresh")  # autograd's own; of a tensor that Python made before


def compared(graph: cnnscope.ModelGraph, real: list[cpu_truth.Inside]) -> list[str]:
    """What is wrong, operator by operator, told by the most alive inside: a real run may drop a result at once."""
    ops = [op for op in graph.ops if op.kind not in OUTSIDE]
    real = [each for each in real if each.kind not in OUTSIDE]
    assert [op.kind for op in ops] == [each.kind for each in real]
    wrong = []
    born = {storage.id: graph.ops[storage.born].name for storage in graph.storages if storage.born >= 0}
    for op, truth in zip(ops, real, strict=True):
        found = extra(op, CPU)
        new = {v.storage for v in op.outputs if born.get(v.storage) == op.name}
        inside = sum(graph.storages[number].bytes for number in new) + (found.bytes if found else 0)
        if found is None or (inside != truth.peak if found.exact else inside < truth.peak):
            wrong.append(f"{op.name} {[v.shape for v in op.inputs]}: {found} gives {inside}, was {truth.peak}")
    return wrong


def test_every_operator_of_an_inference():
    model, x = Mixed().eval(), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        model(x)
        real = cpu_truth.operators(lambda: model(x))
    assert compared(cnnscope.trace(model, (2, 3, 64, 64)), real) == []


@pytest.mark.parametrize("optimizer", ["sgd-momentum", "adam"])
@pytest.mark.skipif(ISA != "avx512", reason="gradients are only understood for AVX-512")
def test_every_operator_of_a_training_step(optimizer: str):
    model, x = Mixed().train(), torch.randn(2, 3, 64, 64)
    updating = OPTIMIZERS[optimizer](list(model.parameters()))

    def step() -> None:
        summed(model(x)).backward()
        updating.step()

    graph = cnnscope.trace(model, (2, 3, 64, 64), train=True, optimizer=optimizer, step="first", loss=summed)
    assert compared(graph, cpu_truth.operators(step)) == []


class Resized(NamedTuple):
    kind: str
    shape: tuple[int, ...]
    size: tuple[int, ...]


PICTURES = [((1, 1), (20, 20)), ((8, 9), (13, 15)), ((64, 64), (64, 64)), ((64, 64), (65, 64)), ((90, 90), (180, 40))]
RESIZED = [
    Resized(kind, (2, channels, *before), after)
    for kind in ("upsample_nearest2d", "_upsample_nearest_exact2d", "upsample_bilinear2d", "upsample_bicubic2d")
    for channels in (1, 3, 4, 16)
    for before, after in PICTURES
]
RESIZED += [Resized(f"{kind}1d", (2, 5, 40), (90,)) for kind in ("upsample_nearest", "upsample_linear")]


@pytest.mark.parametrize("threads", [1, THREADS])
@pytest.mark.parametrize("last", [False, True])
def test_pictures_of_another_size(last: bool, threads: int):
    torch.set_num_threads(threads)
    try:
        for kind, shape, size in RESIZED:
            x = torch.zeros(shape)
            if last and len(size) == 2:
                x = x.contiguous(memory_format=torch.channels_last)
            more = () if "nearest" in kind else (False,)
            true, result = held(lambda: getattr(torch.ops.aten, kind)(x, size, *more))  # noqa: B023
            op = recorded(kind, {"self": x}, result)
            found = extra(op, CPU._replace(threads=threads))
            assert found is not None and found.bytes == true, (op, found, true)
    finally:
        torch.set_num_threads(THREADS)


SEQUENCES = [(6, 8, 8, 4), (50, 70, 16, 2), (200, 100, 16, 4), (512, 512, 64, 4), (800, 600, 32, 4), (1000, 40, 8, 4)]


@pytest.mark.parametrize("rows_first", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("length", "other", "width", "heads"), SEQUENCES)
def test_attention(length: int, other: int, width: int, heads: int, dtype: torch.dtype, rows_first: bool):
    def made(size: int, count: int) -> torch.Tensor:
        if rows_first:
            return torch.zeros(2, size, count, width, dtype=dtype).transpose(1, 2)
        return torch.zeros(2, count, size, width, dtype=dtype)

    q, k, v = made(length, 4), made(other, heads), made(other, heads)
    kind = "_scaled_dot_product_flash_attention_for_cpu"
    true, (out, sums) = held(lambda: getattr(torch.ops.aten, kind)(q, k, v))
    given = {"query": q, "key": k, "value": v}
    check(recorded(kind, given, (out, sums)), true)
    for grad in (torch.zeros_like(out), torch.zeros(out.shape, dtype=dtype)):
        inputs = {"grad_out": grad, **given, "out": out, "logsumexp": sums}
        backward = getattr(torch.ops.aten, f"{kind}_backward")
        true, grads = held(lambda: backward(*inputs.values(), 0.0, False))  # noqa: B023
        check(recorded(f"{kind}_backward", inputs, grads), true)
    assert extra(recorded(kind, {role: each.half() for role, each in given.items()}, (out, sums)), CPU) is None


def test_a_transposed_convolution_of_volumes():
    x, w, b = torch.zeros(1, 16, 5, 6, 7), torch.zeros(16, 8, 2, 2, 2), torch.zeros(8)
    arguments = ((2, 2, 2), (0, 0, 0), (1, 1, 1), True, (0, 0, 0), 1)
    true, result = held(lambda: torch.ops.aten.convolution.default(x, w, b, *arguments))
    op = recorded("convolution", given_of(x, w, b), result, **dict(zip(NAMES, arguments, strict=True)))
    found = extra(op, CPU._replace(threads=1))
    assert found is not None and found.bytes >= true, (found, true)


def test_what_a_script_calls_is_a_convolution_and_one_of_another_type_is_bounded():
    model = nn.Sequential(nn.Conv2d(3, 16, 7, 2, 3), nn.ReLU()).eval()
    x = torch.zeros(2, 3, 60, 60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(model, x)
    found = [cnnscope.memory(cnnscope.trace(each, x), "cpu").total for each in (model, traced)]
    assert found[0].peak_allocated == found[1].peak_allocated and not found[1].missing
    for dtype in (torch.float16, torch.bfloat16):
        total = cnnscope.memory(cnnscope.trace(model.to(dtype), x.to(dtype)), "cpu").total
        assert total.missing == ("convolution",)
        assert cpu_truth.inference_peak(model, x.to(dtype)) <= total.upper_bound


# -- whole networks ---------------------------------------------------------------------------------------------------


NETS = [
    ("squeezenet1_1", 1),
    ("resnet18", 2),
    ("resnet20", 4),
    ("googlenet", 1),
    ("densenet_bc100_k12", 1),
    ("lenet5", 4),
]


@pytest.mark.parametrize(("name", "batch"), NETS)
def test_inference_peak(name: str, batch: int):
    """To the byte, or for a bound within half a per cent."""
    model = cnnscope.build(name)
    shape = (batch, *cnnscope.zoo.entry(name)["input"][1:])
    true = cpu_truth.inference_peak(model, torch.randn(shape))
    found = on_cpu(timeline(cnnscope.trace(model, shape)), CPU)
    assert found.missing == ()
    assert found.peak == true if found.exact else true <= found.peak <= 1.005 * true


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "batch"), [("squeezenet1_1", 2), ("resnet18", 1), ("resnet20", 8), ("densenet40_k12", 2)]
)
@pytest.mark.parametrize("optimizer", ["sgd-momentum", "adam"])
@pytest.mark.skipif(ISA != "avx512", reason="gradients are only understood for AVX-512")
def test_training_peak(name: str, batch: int, optimizer: str):
    model = cnnscope.build(name)
    shape = (batch, *cnnscope.zoo.entry(name)["input"][1:])
    true = cpu_truth.training_peak(model, (torch.randn(shape),), OPTIMIZERS[optimizer], summed)
    graph = cnnscope.trace(model, shape, train=True, optimizer=optimizer, loss=summed)
    found = on_cpu(timeline(graph), CPU)
    assert abs(found.peak - true) <= 0.005 * true, (found.peak, true)


def test_an_unknown_operator_is_named_not_zero():
    x = torch.zeros(4, 4)
    op = recorded("cdist_of_tomorrow", {"self": x}, x)
    assert extra(op, CPU) is None
    half = x[None, None].half()
    attrs = dict(zip(NAMES, ((1, 1), (0, 0), (1, 1), False, (0, 0), 1), strict=True))
    half_op = recorded("convolution", {"input": half, "weight": half}, half, **attrs)
    assert extra(half_op, CPU) is None


def test_bytes_grow_with_the_batch():
    """A law over all kernels: more images never hold less."""
    shapes = itertools.product([3, 16, 24, 64], [16, 24], [1, 3], [1, 2])
    for into, out, kernel, stride in shapes:
        sizes = []
        for batch in (2, 3, 8):
            x, w = (
                torch.empty(batch, into, 28, 28, device="meta"),
                torch.empty(out, into, kernel, kernel, device="meta"),
            )
            arguments = ((stride,) * 2, (kernel // 2,) * 2, (1, 1), False, (0, 0), 1)
            y = torch.ops.aten.convolution.default(x, w, None, *arguments)
            op = recorded("convolution", given_of(x, w, None), y, **dict(zip(NAMES, arguments, strict=True)))
            found = extra(op, Cpu("avx512", 4))
            assert found is not None
            sizes.append(found.bytes)
        assert sizes == sorted(sizes) and math.prod(sizes) > 0
