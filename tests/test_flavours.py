"""A trace for a device, in a type, with mixed precision, channels-last: held against real runs on the CPU."""

from __future__ import annotations

import itertools
import re
import threading
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_models import RandomNet, recipes
from real_runs import predicted, real_run
from torch import nn
from torch.utils.checkpoint import checkpoint

import cnnscope
import cnnscope.tracing
from cnnscope.cast_lists import POLICIES
from cnnscope.errors import UntraceableModel, UnusableInput
from cnnscope.fastmeta import METAS

NET = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(288, 4))
OPTIONS = [
    {},
    {"dtype": "bfloat16"},
    {"dtype": "float16"},
    {"autocast": "bfloat16"},
    {"channels_last": True},
    {"channels_last": True, "autocast": "bfloat16"},
]


@pytest.fixture(scope="module", autouse=True)
def plain_runs():
    """One thread, and transformer layers taken apart, as a trace takes them."""
    threads, fast = torch.get_num_threads(), torch.backends.mha.get_fastpath_enabled()
    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.set_num_threads(threads)
    torch.backends.mha.set_fastpath_enabled(fast)


@pytest.fixture(scope="module")
def strides():
    """The strides of the results of each operator of the last trace: a graph does not hold them."""
    found = []
    assemble = cnnscope.tracing.assemble

    def assembled(recorder, *rest):
        metas = recorder.value_metas
        found[:] = [[METAS[metas[out]].stride for out in record.outputs] for record in recorder.records]
        return assemble(recorder, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cnnscope.tracing, "assemble", assembled)
        yield found


def traced(model, *shapes, train=False, **options):
    return cnnscope.trace(model.train(train), shapes, train=train, step="first", **options)


class Function(nn.Module):
    """A function of an input and of parameters of given shapes."""

    def __init__(self, function, *shapes):
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(torch.rand(shape)) for shape in shapes])
        self.function = function

    def forward(self, x):
        return self.function(x, *self.weights)


# -- against real runs ------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(recipes(), st.sampled_from(OPTIONS), st.booleans())
def test_random_networks_run_the_same_operators_on_the_same_bytes(strides, recipe, options, train):
    model = RandomNet(recipe)
    try:
        real = real_run(model, torch.rand(model.shape), train=train, **options)
    except TypeError:
        assume(False)  # nothing to train
    graph = traced(model, model.shape, train=train, **options)
    assert predicted(graph) == real.told
    assert strides == real.strides


ATTENTION = (2, 4, 6, 8)
MODELS = {
    "attention": (Function(lambda x, w: F.scaled_dot_product_attention(x * w, x, x, is_causal=True), 8), ATTENTION),
    "attention, masked": (
        Function(lambda x, w: F.scaled_dot_product_attention(x * w, x, x, attn_mask=x[0, 0, :, :6] > 2), 8), ATTENTION
    ),
    "attention, mask learned": (
        Function(lambda x, w: F.scaled_dot_product_attention(x, x, x, attn_mask=w), (6, 6)), ATTENTION
    ),
    "attention, dropout": (
        Function(lambda x, w: F.scaled_dot_product_attention(x * w, x, x, dropout_p=0.2), 8), ATTENTION
    ),
    "attention, grouped": (
        Function(lambda x, w: F.scaled_dot_product_attention(x * w, x[:, :2], x[:, :2], enable_gqa=True), 8), ATTENTION
    ),
    "attention, without heads": (Function(lambda x, w: F.scaled_dot_product_attention(x * w, x, x), 8), (4, 6, 8)),
    "transformer": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (2, 5, 8)),
    "layer norm": (nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.GELU(), nn.Softmax(-1)), (2, 3, 8)),
    "instance norm": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4, affine=True)), (2, 3, 8, 8)),
    "volumes": (nn.Sequential(nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4), nn.MaxPool3d(2)), (2, 3, 8, 8, 8)),
    "cell": (nn.LSTMCell(4, 5), (2, 4)),
    "einsum and @": (
        Function(lambda x, w: torch.einsum("bcij,ck->bkij", x, w) @ x.mean(1, True).mT, (3, 3)), (2, 3, 8, 8)
    ),
    "norms, cat, stack, cumsum": (
        Function(lambda x, w: torch.cat([x @ w, torch.stack([x, x @ w])[1]], 1).norm(dim=1)
                 + (x @ w).cumsum(1).prod(1), (8, 8)),
        (2, 8),
    ),
    "losses": (
        Function(lambda x, w: F.mse_loss(x @ w, x) + F.binary_cross_entropy((x @ w).sigmoid(), x * 0.5), (8, 8)), (2, 8)
    ),
    "padding and grids": (
        Function(lambda x, w: F.grid_sample(F.pad(F.conv2d(x, w), (1, 1, 1, 1), mode="reflect"),
                                            x.new_zeros(2, 4, 4, 2), align_corners=False), (2, 3, 3, 3)),
        (2, 3, 8, 8),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_functions_run_the_same_operators_on_the_same_bytes(name):
    model, shape = MODELS[name]
    for options, train in itertools.product(OPTIONS, (False, True)):
        real = real_run(model, torch.rand(shape), train=train, **options)
        assert predicted(traced(model, shape, train=train, **options)) == real.told, (options, train)


def test_group_norm_keeps_channels_last_on_the_cpu_and_copies_on_cuda():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.SiLU())
    real = real_run(model, torch.rand(2, 3, 8, 8), channels_last=True)
    assert predicted(traced(model, (2, 3, 8, 8), channels_last=True)) == real.told
    assert [event.kind for event in real.told] == ["convolution", "native_group_norm", "silu"]
    on_cuda = traced(model, (2, 3, 8, 8), channels_last=True, device="cuda")
    assert [op.kind for op in on_cuda] == ["convolution", "clone", "native_group_norm", "silu"]


class Checkpointed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.reentrant = reentrant

    def forward(self, x):
        return checkpoint(lambda y: self.fc(y).relu(), self.fc(x), use_reentrant=self.reentrant)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_runs_again_under_the_autocast_of_its_forward(reentrant):
    model = Checkpointed(reentrant)
    real = real_run(model, torch.rand(3, 4), train=True, autocast="bfloat16")
    assert predicted(traced(model, (3, 4), train=True, autocast="bfloat16")) == real.told
    on_cuda = traced(model, (3, 4), train=True, autocast="bfloat16", device="cuda")
    assert {op.outputs[0].dtype for op in on_cuda if op.kind == "addmm"} == {"bfloat16"}


def test_cast_weights_live_to_the_end_of_the_context_and_are_cast_once():
    model = nn.Linear(64, 64, bias=False)
    shared = Function(lambda x: model(model(x)).float())
    shared.add_module("layer", model)
    graph = traced(shared, (2, 64), autocast="bfloat16")
    casts = [op for op in graph if op.kind == "_to_copy" and op.params]
    assert len(casts) == 1
    weight = graph.storages[casts[0].outputs[0].storage]
    assert weight.bytes == 64 * 64 * 2 and weight.dies == len(graph)


def test_a_loss_of_ones_own_runs_under_autocast():
    model = nn.Linear(8, 4)

    def loss(out):
        return F.cross_entropy(out, torch.zeros(2, dtype=torch.long, device=out.device))

    real = real_run(model, torch.rand(2, 8), train=True, autocast="bfloat16", loss=loss)
    assert predicted(traced(model, (2, 8), train=True, autocast="bfloat16", loss=loss)) == real.told


# -- the lists of casts -----------------------------------------------------------------------------------------------


def header_lists():
    """The macros of the header that came with torch."""
    text = (Path(torch.__file__).parent / "include/ATen/autocast_mode.h").read_text()

    def entries(macro):
        body = re.search(rf"#define AT_FORALL_{macro}\(_\)(.*?[^\\])\n", text, re.DOTALL).group(1)
        pairs = re.findall(r"_\((\w+)(?:, (\w+))?\)", body)
        return {f"{name}.{overload}" if overload else name for name, overload in pairs}

    appended = re.search(r"AT_FORALL_DIFFERENT_REDISPATCH_SIGNATURE\(_\)(.*?)#define", text, re.DOTALL).group(1)
    return {
        "lower": entries("LOWER_PRECISION_FP") | {"cudnn_convolution", "cudnn_convolution_transpose"},
        "fp32": entries("FP32"),
        "fp32_dtype": entries("FP32_SET_OPT_DTYPE"),
        "fp32_appended": set(re.findall(r'"(norm[\w.]*)"', appended)),
        "promote": entries("PROMOTE"),
        "banned": {"binary_cross_entropy"},
    }


def test_the_list_for_cuda_is_the_one_in_torchs_header():
    ours = {policy: {op for op, its in POLICIES["cuda"].items() if its == policy} for policy in header_lists()}
    assert ours == header_lists()


@pytest.mark.parametrize("device, key", [("cpu", "AutocastCPU"), ("cuda", "AutocastCUDA")])
def test_the_lists_name_what_torch_has_autocast_kernels_for(device, key):
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    assert set(POLICIES[device]) == {
        name.removeprefix("aten::") for name in torch._C._dispatch_get_all_op_names() if has(name, key)
    }


CUDA_CASTS = [
    (lambda x, w: F.linear(x, w), "float16"),
    (lambda x, w: x @ w, "float16"),
    (lambda x, w: torch.einsum("ij,jk->ik", x, w), "float16"),
    (lambda x, w: F.layer_norm(x @ w, (4,)), "float32"),
    (lambda x, w: (x @ w).exp(), "float32"),
    (lambda x, w: (x @ w) ** 2, "float32"),
    (lambda x, w: F.softmax(x @ w, -1), "float32"),
    (lambda x, w: (x @ w).sum(-1), "float32"),
    (lambda x, w: (x @ w).norm(), "float32"),
    (lambda x, w: (x @ w).norm(dim=1), "float32"),
    (lambda x, w: (x @ w).relu(), "float16"),
    (lambda x, w: torch.addcmul(x @ w, x @ w, x @ w), "float16"),
    (lambda x, w: torch.addcmul(x, x @ w, x @ w), "float32"),
    (lambda x, w: torch.cat([x, x @ w]), "float32"),
    (lambda x, w: (x @ w).double() @ w.double(), "float64"),
    (lambda x, w: F.interpolate((x @ w)[None, None], scale_factor=2), "float32"),
    (lambda x, w: F.scaled_dot_product_attention(x[None, None], x[None, None], x[None, None]), "float16"),
]


@pytest.mark.parametrize("function, dtype", CUDA_CASTS)
def test_what_cuda_casts(function, dtype):
    graph = traced(Function(function, (4, 4)), (4, 4), device="cuda", autocast="float16")
    assert graph.outputs[0].dtype == dtype


def test_what_autocast_bans_raises_torchs_own_error():
    model = Function(lambda x, w: F.binary_cross_entropy(x, w), (4, 4))
    with pytest.raises(UntraceableModel, match="unsafe to autocast"):
        traced(model, (4, 4), device="cuda", autocast="bfloat16")
    assert traced(model, (4, 4), autocast="bfloat16").outputs[0].dtype == "float32"


# -- autocast of the model's own --------------------------------------------------------------------------------------


class Mixed(nn.Module):
    """Runs a layer under autocast, once with a part where it is off."""

    def __init__(self, device=None):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.device = device

    def forward(self, x):
        device = self.device or x.device.type
        with torch.autocast(device, dtype=torch.bfloat16):
            y = self.fc(x)
            assert torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) is torch.bfloat16
            with torch.autocast(device, enabled=False):
                z = self.fc(y.float())
            return self.fc(y), z


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_context_in_the_forward_takes_effect(device):
    real = real_run(Mixed("cpu"), torch.rand(2, 4), train=True)
    for model in (Mixed(device), Mixed()):
        graph = traced(model, (2, 4), train=True, device=device)
        assert [op.outputs[0].dtype for op in graph if op.kind == "addmm"] == ["bfloat16", "float32", "bfloat16"]
        assert device == "cuda" or predicted(graph) == real.told


@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_a_context_for_cuda_does_nothing_on_the_cpu():
    model = Function(lambda x, w: torch.autocast("cuda")(torch.mm)(x, w), (4, 4))
    assert traced(model, (4, 4)).outputs[0].dtype == "float32"
    assert traced(model, (4, 4), device="cuda").outputs[0].dtype == "float16"


class Squared(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x @ x

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx, grad):
        return grad @ ctx.saved_tensors[0]


def test_a_custom_function_says_its_own_precision():
    model = Function(lambda x, w: Squared.apply(x @ w), (4, 4))
    real = real_run(model, torch.rand(4, 4), train=True, autocast="bfloat16")
    assert predicted(traced(model, (4, 4), train=True, autocast="bfloat16")) == real.told
    assert [event.kind for event in real.told].count("mm") == 4


# -- cuda -------------------------------------------------------------------------------------------------------------


def kinds(graph, phase="forward"):
    return [op.kind for op in graph if op.phase == phase]


def test_cuda_calls_cudnn_and_the_fused_dropout():
    graph = traced(NET, (2, 3, 8, 8), train=True, optimizer="sgd-momentum", device="cuda")
    assert kinds(graph) == [
        "convolution", "add_", "cudnn_batch_norm", "relu", "detach", "native_dropout", "view", "t", "addmm", "sum",
    ]  # fmt: skip
    backward = kinds(graph, "backward")
    assert "cudnn_batch_norm_backward" in backward and "native_dropout_backward" in backward
    assert graph.run.foreach and "_foreach_add_" in kinds(graph, "optimizer")
    assert not traced(NET, (2, 3, 8, 8), train=True, optimizer="sgd", device="cuda", foreach=False).run.foreach
    mask = graph["3.native_dropout"].outputs[1]
    assert (mask.dtype, mask.bytes) == ("bool", 2 * 8 * 36)


@pytest.mark.parametrize(
    "layer, shape, options, kind",
    [
        (nn.BatchNorm2d(4), (2, 4, 5, 5), {}, "cudnn_batch_norm"),
        (nn.BatchNorm2d(4), (2, 4, 5, 5), {"channels_last": True}, "cudnn_batch_norm"),
        (nn.BatchNorm1d(4), (2, 4), {}, "native_batch_norm"),
        (nn.BatchNorm2d(4, affine=False), (2, 4, 5, 5), {}, "native_batch_norm"),
        (nn.BatchNorm2d(4), (2, 4, 5, 5), {"dtype": "bfloat16"}, "native_batch_norm"),
        (nn.BatchNorm2d(4), (2, 4, 5, 5), {"dtype": "float16"}, "native_batch_norm"),
        (NET, (2, 3, 8, 8), {"autocast": "float16"}, "cudnn_batch_norm"),
        (NET, (2, 3, 8, 8), {"autocast": "bfloat16"}, "native_batch_norm"),
        (nn.InstanceNorm2d(4, affine=True), (2, 4, 5, 5), {}, "cudnn_batch_norm"),
    ],
)  # fmt: skip
def test_where_cuda_normalises_with_cudnn(layer, shape, options, kind):
    """By ``_select_batch_norm_backend`` in ATen's Normalization.cpp."""
    graph = traced(layer, shape, device="cuda", **options)
    assert [op.kind for op in graph if "batch_norm" in op.kind] == [kind]
    statistics = next(op for op in graph if "batch_norm" in op.kind).outputs[1]
    assert statistics.dtype == "float32"


@pytest.mark.parametrize(
    "dtype, sizes, mask, kind",
    [
        ("float16", (8, 8), None, "_scaled_dot_product_flash_attention"),
        ("bfloat16", (8, 8), None, "_scaled_dot_product_flash_attention"),
        ("bfloat16", (20, 20), None, "_scaled_dot_product_flash_attention"),
        ("float32", (8, 8), None, "_scaled_dot_product_efficient_attention"),
        ("float16", (8, 8), (512, 512), "_scaled_dot_product_efficient_attention"),
        ("float16", (8, 16), None, "_scaled_dot_product_efficient_attention"),
        ("float32", (6, 6), None, "_safe_softmax"),
        ("float64", (8, 8), None, "_safe_softmax"),
        ("float16", (320, 320), None, "_scaled_dot_product_efficient_attention"),
    ],
)
def test_which_kernel_attends_on_cuda(dtype, sizes, mask, kind):
    """By ``select_sdp_backend`` in ATen's cuda/sdp_utils.cpp."""
    head, value = sizes
    length = 512

    def forward(x, w):
        bias = None if mask is None else x.new_zeros(mask)
        return F.scaled_dot_product_attention(x[..., :head] * w, x[..., :head], x[..., :value], attn_mask=bias)

    graph = traced(Function(forward, 1), (2, 4, length, max(sizes)), train=True, device="cuda", dtype=dtype)
    assert kind in kinds(graph)
    assert graph.outputs[0].shape == (2, 4, length, value)
    scores = 2 * 4 * length * length * getattr(torch, dtype).itemsize
    holds_scores = max(storage.bytes for storage in graph.storages) >= scores
    assert holds_scores == (kind == "_safe_softmax")


def test_the_users_choice_of_attention_kernels_is_heard():
    model = Function(lambda x, w: F.scaled_dot_product_attention(x * w, x, x), 8)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        for device in ("cpu", "cuda"):
            assert "_safe_softmax" in kinds(traced(model, ATTENTION, device=device))


def test_softmax_of_halves_in_float32_needs_no_copy_on_cuda():
    model = Function(lambda x, w: F.softmax(x * w, -1), 4)
    graph = traced(model, (2, 4), device="cuda", autocast="float16", dtype="float16")
    assert kinds(graph) == ["mul", "_softmax"]
    assert graph.outputs[0].dtype == "float32"


# -- types and formats ------------------------------------------------------------------------------------------------


def test_a_type_is_that_of_weights_inputs_and_everything_made_of_them():
    graph = traced(NET, (2, 3, 8, 8), train=True, optimizer="adam", dtype=torch.bfloat16)
    assert graph.run.dtype == "bfloat16"
    halves = {p.dtype for p in graph.parameters if p.role != "buffer"} | {value.dtype for value in graph.inputs}
    assert halves == {"bfloat16"}
    assert {p.dtype for p in graph.parameters if p.name.endswith("num_batches_tracked")} == {"int64"}
    plain = traced(NET, (2, 3, 8, 8), train=True, optimizer="adam")

    def state(graph):
        return sum(s.bytes for s in graph.storages if s.kind == "optimizer" and not s.host)

    assert 2 * state(graph) == state(plain) == 2 * 4 * sum(p.numel() for p in NET.parameters())


def test_tied_weights_stay_tied_and_the_model_stays_as_it_was():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Conv2d(1, 2, 3))
    model[0].second = model[0].weight
    before = {name: (id(p), p.dtype, p.stride()) for name, p in model.named_parameters()}

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model[1](F.linear(self.model[0](x), self.model[0].second))

    graph = traced(Tied(), (2, 1, 4, 4), dtype="float16", channels_last=True)
    assert len([p for p in graph.parameters if "weight" in p.name]) == 2
    assert {p.dtype for p in graph.parameters} == {"float16"}
    assert before == {name: (id(p), p.dtype, p.stride()) for name, p in model.named_parameters()}


def test_numbers_are_read_from_where_they_lie_after_conversion():
    class Reading(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 2)
            self.register_buffer("sizes", torch.tensor([1.0, 3.0, 5.0]))
            with torch.no_grad():
                self.conv.weight[0, 1, 1, 0] = 7.0

        def forward(self, x):
            times = int(self.conv.weight[0, 1, 1, 0]) + int(self.sizes[1])
            for _ in range(times):
                x = x + 1
            return x

    for options in OPTIONS:
        assert len([op for op in traced(Reading(), (1, 2), **options) if op.kind == "add"]) == 10, options


@pytest.mark.parametrize(
    "function, shape",
    [
        (lambda x, w: F.conv2d(x, w.new_zeros(2, 3, 1, 1)), (2, 3, 4, 4)),
        (lambda x, w: F.conv_transpose2d(x, w.new_zeros(3, 2, 1, 1)), (2, 3, 4, 4)),
        (lambda x, w: F.linear(x, w), (2, 4)),
        (lambda x, w: x @ w, (2, 3, 4)),
        (lambda x, w: torch.mv(x, w[0]), (2, 4)),
        (lambda x, w: F.scaled_dot_product_attention(x, x, x, attn_mask=w.double()), (2, 4, 4)),
    ],
)
def test_what_a_real_kernel_refuses_to_mix_is_refused(function, shape):
    def mixed(x, w):
        return function(x.bfloat16(), w)

    with pytest.raises(RuntimeError, match="type"):
        real_run(Function(mixed, (4, 4)), torch.rand(shape))
    with pytest.raises(UntraceableModel, match="type"):
        traced(Function(mixed, (4, 4)), shape)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"device": "tpu"}, "'tpu'.*cpu, cuda"),
        ({"dtype": "int8"}, "dtype='int8'.*float16, bfloat16"),
        ({"dtype": torch.int32}, "dtype=torch.int32"),
        ({"autocast": "float32"}, "autocast='float32'.*float16, bfloat16"),
        ({"autocast": True}, "autocast=True"),
    ],
)
def test_what_is_no_option(options, words):
    with pytest.raises(UnusableInput, match=words):
        cnnscope.trace(NET, (2, 3, 8, 8), **options)


# -- nothing is left behind -------------------------------------------------------------------------------------------


def surroundings():
    names = [
        "is_autocast_enabled",
        "get_autocast_dtype",
        "set_autocast_enabled",
        "set_autocast_dtype",
        "clear_autocast_cache",
    ]
    functions = [getattr(torch, name) for name in names]
    others = [torch._C._is_autocast_available, torch.cuda.is_bf16_supported, torch.amp.autocast_mode._cast]
    depth = torch.autocast_increment_nesting()
    torch.autocast_decrement_nesting()
    states = [(torch.is_autocast_enabled(each), torch.get_autocast_dtype(each)) for each in ("cpu", "cuda")]
    local = torch._C._dispatch_tls_local_include_set(), torch._C._dispatch_tls_local_exclude_set()
    return [*functions, *others, depth, states, list(map(str, local))]  # fmt: skip


class Leaving(nn.Module):
    """Enters a context and fails, or returns, without leaving it."""

    def __init__(self, fails):
        super().__init__()
        self.fails = fails

    def forward(self, x):
        torch.autocast("cpu", dtype=torch.float16).__enter__()
        if self.fails:
            raise ValueError("no")
        return x @ x


@pytest.mark.parametrize("ambient", [False, True])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_surroundings_are_left_as_found(device, ambient):
    with torch.autocast("cpu", enabled=ambient):
        before = surroundings()
        traced(NET, (2, 3, 8, 8), train=True, device=device, autocast="float16")
        assert surroundings() == before
        traced(Leaving(False), (2, 2), device=device)
        with pytest.raises(UntraceableModel, match="ValueError: no"):
            traced(Leaving(True), (2, 2), device=device, autocast="bfloat16")
        assert surroundings() == before
        assert traced(nn.Linear(4, 4), (2, 4)).outputs[0].dtype == "float32", "autocast around a trace is not its own"
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is (torch.bfloat16 if ambient else torch.float32)


def test_other_threads_go_on_as_before():
    """While a trace sits in a forward, another thread trains in real mixed precision."""
    inside, done, seen = threading.Event(), threading.Event(), []

    class Waiting(nn.Module):
        def forward(self, x):
            inside.set()
            assert done.wait(30)
            return x @ x

    def other():
        assert inside.wait(30)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            seen.append((torch.is_autocast_enabled("cpu"), (torch.ones(2, 2) @ torch.ones(2, 2)).dtype))
            seen.append(torch.empty(2, 2, device="meta").mm(torch.empty(2, 2, device="meta")).dtype)
        seen.append(torch.is_autocast_enabled("cpu"))
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    graph = traced(Waiting(), (2, 2), device="cpu")
    thread.join()
    assert seen == [(True, torch.bfloat16), torch.float32, False]
    assert graph.outputs[0].dtype == "float32"


def test_the_oracle_sees_a_difference():
    """If real runs all looked alike, the tests above would prove nothing."""
    runs = [real_run(NET, torch.rand(2, 3, 8, 8), train=True, **options).told for options in OPTIONS]
    assert len({tuple(run) for run in runs}) == len(OPTIONS)
