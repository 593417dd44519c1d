"""What a trace records, and that the model does not notice."""

from __future__ import annotations

import dataclasses
import gc
import random
import threading
from collections import UserDict
from typing import Any, ClassVar, NamedTuple

import networkx as nx
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import cnnscope
from cnnscope.errors import UntraceableModel, UnusableInput
from cnnscope.layouts import contiguous


def calls(function):
    """A module without parameters around a function."""

    class Called(nn.Module):
        def forward(self, *args, **kwargs):
            return function(*args, **kwargs)

    return Called()


def params_of(graph):
    return sum(each.numel for each in graph.parameters if each.role != "buffer")


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.act = nn.ReLU(inplace=True)
        self.unused = nn.Linear(7, 5)

    def forward(self, x):
        y = self.act(self.norm(self.conv(x)))
        y += x
        return y


# -- what is recorded -------------------------------------------------------------------------------------------------


def test_operators_in_execution_order_with_their_module_arguments_and_weights():
    graph = cnnscope.trace(Residual(), (2, 3, 8, 8))
    kinds = [op.kind for op in graph if op.kind != "empty"]
    assert kinds == ["convolution", "native_batch_norm", "relu_", "add_"]
    conv = graph["conv.convolution"]
    assert conv.module == "conv"
    assert conv.roles == ("input", "weight", "bias")
    assert conv.params == ("conv.weight", "conv.bias")
    assert conv.attrs["stride"] == (1, 1) and conv.attrs["groups"] == 1
    assert conv.outputs[0].shape == (2, 3, 8, 8) and conv.outputs[0].dtype == "float32"
    assert graph["norm.native_batch_norm"].attrs["training"] is False


def test_in_place_operators_and_views_live_in_the_storage_of_their_input():
    def forward(x):
        y = x + 1
        flat = y.view(y.shape[0], -1)
        y.mul_(2)
        return flat @ flat.t()

    graph = cnnscope.trace(calls(forward), (2, 3, 4, 4))
    add, view, product = graph["add"], graph["view"], graph["mm"]
    assert view.outputs[0].storage == add.outputs[0].storage == graph["mul_"].outputs[0].storage
    assert product.outputs[0].storage != add.outputs[0].storage
    assert product.after == ("mul_",), "the product reads what mul_ wrote, through a view made before"
    assert graph.dag.has_edge("mul_", "mm")
    allocated = [storage for storage in graph.storages if storage.kind == "activation"]
    assert [storage.bytes for storage in allocated] == [2 * 48 * 4, 2 * 2 * 4]


def test_storages_die_when_the_program_drops_them():
    def forward(x):
        y = x + 1
        z = y * 2
        del y
        w = z - 3
        return w

    graph = cnnscope.trace(calls(forward), (4,))
    lives = [(s.born, s.dies) for s in graph.storages if s.kind == "activation"]
    # x + 1 is gone before the third operator (index 2); z is held by its frame to the end.
    assert lives == [(0, 2), (1, None), (2, None)] or lives == [(0, 2), (1, 3), (2, None)]


def test_shared_modules_and_tied_weights_are_one_parameter():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(11, 6)
            self.mix = nn.Linear(6, 6)
            self.out = nn.Linear(6, 11, bias=False)
            self.out.weight = self.embed.weight

        def forward(self, tokens):
            return self.out(self.mix(self.mix(self.embed(tokens))))

    model = Tied()
    graph = cnnscope.trace(model, torch.zeros(2, 5, dtype=torch.long))
    assert params_of(graph) == sum(p.numel() for p in model.parameters()) == 11 * 6 + 6 * 7
    assert next(p for p in graph.parameters if p.name == "embed.weight").names == ("embed.weight", "out.weight")
    table = cnnscope.layers(graph)
    assert table["mix#2"].params == 0 and table["mix#2"].macs == table["mix"].macs == 2 * 5 * 36
    assert table["out"].params == 0 and table["embed"].params == 66
    assert table.total.params == params_of(graph)


def test_unused_parameters_are_counted_and_named():
    model = Residual()
    table = cnnscope.layers(cnnscope.trace(model, (1, 3, 8, 8)))
    assert table["unused.weight"].type == "unused" and table["unused.weight"].params == 35
    assert table.total.params == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    "model, input, macs",
    [
        (calls(lambda a, b: a @ b), ((5, 7), (7, 3)), 105),
        (calls(lambda a, b: torch.einsum("bij,bjk->bik", a, b)), ((2, 5, 7), (2, 7, 3)), 210),
        (calls(lambda x: F.conv2d(x, torch.empty(4, 3, 3, 3, device=x.device))), (1, 3, 8, 8), 4 * 36 * 27),
        (nn.ConvTranspose2d(4, 6, 3, stride=2), (1, 4, 5, 5), 25 * 4 * 6 * 9),
        (nn.Conv3d(2, 4, 3), (1, 2, 5, 6, 7), 4 * 3 * 4 * 5 * 54),
        (nn.Conv1d(2, 4, 3, groups=2), (1, 2, 9), 4 * 7 * 3),
        (nn.Bilinear(3, 4, 5), ((2, 3), (2, 4)), None),
        (nn.LSTM(4, 5, 2), (3, 2, 4), 3 * 2 * (4 * 5 * (4 + 5) + 4 * 5 * (5 + 5))),
        (nn.GRU(4, 5, bidirectional=True), (3, 2, 4), 2 * 3 * 2 * 3 * 5 * (4 + 5)),
        (nn.MultiheadAttention(8, 2), ((3, 1, 8),) * 3, 4 * 3 * 64 + 2 * 3 * 3 * 8),
    ],
)
def test_products_are_counted_however_they_are_written(model, input, macs):
    total = cnnscope.cost(cnnscope.trace(model, input)).total
    assert not total.missing
    assert macs is None or total.macs == macs


def test_attention_modules_trace_and_count_as_their_products():
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    graph = cnnscope.trace(layer, (2, 5, 16))
    tokens, width = 2 * 5, 16
    expected = tokens * (4 * width * width + 2 * width * 32) + 2 * (2 * 5 * 5 * width)
    assert cnnscope.cost(graph).total.macs == expected


def test_autograd_functions_are_seen_through():
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    graph = cnnscope.trace(calls(lambda x: Double.apply(x)), (3,))
    assert [op.kind for op in graph] == ["mul"]


def test_inference_mode_inside_the_model_changes_nothing():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
    plain = cnnscope.trace(model, (1, 3, 8, 8))

    class Inferring(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        @torch.inference_mode()
        def forward(self, x):
            return self.model(x)

    inferring = cnnscope.trace(Inferring(), (1, 3, 8, 8))
    assert cnnscope.cost(inferring).total.macs == cnnscope.cost(plain).total.macs > 0
    assert not cnnscope.cost(inferring).missing


def test_computed_weights_lead_back_to_their_parameters():
    model = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    graph = cnnscope.trace(model, (1, 3, 8, 8))
    assert params_of(graph) == sum(p.numel() for p in model.parameters())
    assert cnnscope.cost(graph).total.macs == 36 * 4 * 27


def test_lazy_modules_get_their_parameters_from_the_run():
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5))
    graph = cnnscope.trace(model, (1, 3, 8, 8))
    assert params_of(graph) == 4 * 27 + 4 + 5 * 144 + 5
    assert isinstance(model[0].weight, nn.parameter.UninitializedParameter), "the user's model stays lazy"


def test_script_modules_are_traced_through():
    model = nn.Sequential(torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))), nn.Conv2d(4, 2, 1))
    graph = cnnscope.trace(model, (1, 3, 8, 8))
    assert params_of(graph) == sum(p.numel() for p in model.parameters())
    assert cnnscope.cost(graph).total.macs == 36 * (4 * 27 + 8)
    assert all(not p.is_meta for p in model.parameters())


def test_a_scalar_that_is_a_view_reads_its_own_place():
    class Repeated(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.register_buffer("steps", torch.tensor([[7, 3]])[0, 1])
            self.register_buffer("cut", torch.arange(10)[3:5])

        def forward(self, x):
            for _ in range(int(self.steps)):
                x = self.layer(x)
            return x[:, : int(self.cut[0])]

    graph = cnnscope.trace(Repeated(), (2, 4))
    assert cnnscope.cost(graph).total.macs == 3 * 2 * 16 and graph.outputs[0].shape == (2, 3)


def test_a_buffer_written_through_another_has_no_data_any_more():
    class Aliased(nn.Module):
        def __init__(self):
            super().__init__()
            whole = torch.tensor([1, 2])
            self.register_buffer("whole", whole)
            self.register_buffer("part", whole[1:])

        def forward(self, x):
            self.whole.fill_(3)
            return x[:, : int(self.part)]

    with pytest.raises(UntraceableModel, match="values of a tensor"):
        cnnscope.trace(Aliased(), (2, 4))


@pytest.mark.parametrize("model", [nn.GRU(4, 5), nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 2))])
def test_inference_mode_around_the_trace_changes_nothing(model):
    plain = cnnscope.cost(cnnscope.trace(model, (3, 2, 4)))
    with torch.inference_mode():
        around = cnnscope.cost(cnnscope.trace(model, (3, 2, 4)))
    assert list(around) == list(plain) and around.total == plain.total and not plain.missing


def test_another_default_dtype_is_no_old_news():
    halved = calls(lambda x: x / 2)
    tokens = torch.zeros(3, dtype=torch.int64)
    assert cnnscope.trace(halved, tokens).outputs[0].dtype == "float32"
    torch.set_default_dtype(torch.float64)
    try:
        assert cnnscope.trace(halved, tokens).outputs[0].dtype == "float64"
        assert cnnscope.trace(halved, (3,)).inputs[0].dtype == "float32", "a shape stands for float32"
    finally:
        torch.set_default_dtype(torch.float32)


def test_padding_masks_profiler_marks_and_moves_to_the_cpu():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    mask = torch.zeros(2, 5, dtype=torch.bool)
    fast = torch.backends.mha.get_fastpath_enabled()
    graph = cnnscope.trace(nn.TransformerEncoder(layer, 2), (2, 5, 8), kwargs={"src_key_padding_mask": mask})
    assert cnnscope.cost(graph).total.macs > 0 and torch.backends.mha.get_fastpath_enabled() is fast

    def forward(x):
        with torch.profiler.record_function("block"):
            return (x * 2).cpu() + 1

    graph = cnnscope.trace(calls(forward), (3,))
    assert graph.outputs[0].shape == (3,) and not cnnscope.cost(graph).missing
    assert {op.kind for op in graph} <= {"mul", "_to_copy", "add"}


def test_compiled_functions_and_modules_run_eagerly():
    import torch._dynamo  # as whoever compiles has

    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    model.compile(backend="eager")
    scaled = torch.compile(lambda x: x * 2, backend="eager")
    assert cnnscope.cost(cnnscope.trace(model, (2, 4))).total.macs == 32
    assert [op.kind for op in cnnscope.trace(calls(lambda x: scaled(x) + 1), (2, 4))] == ["mul", "add"]


def test_sparse_tensors_are_refused_by_name():
    class Graph(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("adjacency", torch.eye(4).to_sparse())

        def forward(self, x):
            return torch.sparse.mm(self.adjacency, x)

    with pytest.raises(UnusableInput, match="adjacency is a sparse_coo tensor"):
        cnnscope.trace(Graph(), (4, 3))


# -- what goes in, what comes out -------------------------------------------------------------------------------------


def test_every_notation_of_inputs():
    pair = calls(lambda a, b, scale=1.0: a + b * scale)
    assert cnnscope.trace(pair, ((2, 3), (2, 3))).outputs[0].shape == (2, 3)
    assert cnnscope.trace(pair, [torch.zeros(2, 3), (2, 3)], kwargs={"scale": 2.0}).outputs[0].shape == (2, 3)
    assert cnnscope.trace(pair, (2, 3), kwargs={"b": (1, 3)}).outputs[0].shape == (2, 3)

    class OneDict(nn.Module):
        def forward(self, batch):
            return batch["image"].flatten(1), {"mask": batch["mask"] > 0}

    class Keywords(nn.Module):
        def forward(self, *, image, mask):
            return image * mask

    class OneList(nn.Module):
        def forward(self, images):
            if not isinstance(images, list):
                raise TypeError("a list, please")
            return torch.cat([image.unsqueeze(0) for image in images])

    named = {"image": (2, 3, 4), "mask": torch.zeros(2, 3, dtype=torch.int64)}
    graph = cnnscope.trace(OneDict(), named)
    assert [value.name for value in graph.inputs] == ["batch.image", "batch.mask"]
    assert [value.dtype for value in graph.inputs] == ["float32", "int64"]
    assert [value.dtype for value in graph.outputs] == ["float32", "bool"]
    assert cnnscope.trace(Keywords(), {"image": (2, 3), "mask": (2, 3)}).outputs[0].shape == (2, 3)
    assert cnnscope.trace(OneList(), [(3, 4), (3, 4)]).outputs[0].shape == (2, 3, 4)
    assert cnnscope.trace(OneList(), [(3, 4)]).outputs[0].shape == (1, 3, 4)
    assert cnnscope.trace(nn.Linear(4, 5), [(3, 4)]).outputs[0].shape == (3, 5)
    assert cnnscope.trace(calls(lambda: torch.ones(3))).outputs[0].shape == (3,)


def test_optional_arguments_and_keywords():
    class Masked(nn.Module):
        def forward(self, x, mask=None):
            return x if mask is None else x * mask

    assert [v.name for v in cnnscope.trace(nn.GRU(8, 16), ((3, 2, 8), (1, 2, 16))).inputs] == ["input", "hx"]
    for given in (((2, 3), (2, 3)), {"x": (2, 3), "mask": (2, 3)}):
        assert [value.name for value in cnnscope.trace(Masked(), given).inputs] == ["x", "mask"]
    assert [value.name for value in cnnscope.trace(Masked(), (2, 3)).inputs] == ["x"]


class Pair(NamedTuple):
    a: torch.Tensor
    b: torch.Tensor


@dataclasses.dataclass(frozen=True)
class Batch:
    a: torch.Tensor
    more: dict


class Bag(UserDict):
    """As tokenizers return it."""

    def __getattr__(self, name):
        if name == "data" or name not in self.data:
            raise AttributeError(name)
        return self.data[name]


class Sample:
    def __init__(self, a):
        self.a, self.seen, self.itself = a, [], self


@pytest.mark.parametrize(
    "make, names",
    [
        (lambda x: Pair(x, x + 1), ["batch.a", "batch.b"]),
        (lambda x: Batch(x, {"b": x + 1}), ["batch.a", "batch.more.b"]),
        (lambda x: Bag(a=x), ["batch.a"]),
        (Sample, ["batch.a"]),
    ],
)
@pytest.mark.parametrize("place", ["meta", "cpu"])
def test_tensors_in_objects_are_inputs_and_stay_as_they_were(make, names, place):
    class Writes(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 4)

        def forward(self, batch):
            if isinstance(batch, Sample):
                batch.seen.append(batch.a)
            return self.fc(batch.a.add_(1))

    x = torch.zeros(2, 3)
    batch = make(x)
    graph = cnnscope.trace(Writes(), (batch,), device_trace=place, dtype="float64")
    assert [value.name for value in graph.inputs] == names and cnnscope.depth(graph).total.depth == 1
    assert graph.outputs[0].dtype == graph.inputs[0].dtype == "float64"
    assert batch.a is x and x.dtype == torch.float32 and not x.any() and not x.__dict__
    assert getattr(batch, "seen", []) == []


def test_a_packed_sequence_keeps_its_lengths():
    packed = nn.utils.rnn.pack_padded_sequence(torch.zeros(3, 4, 6), [4, 3, 2], batch_first=True)
    graph = cnnscope.trace(nn.LSTM(6, 5), (packed,))
    assert cnnscope.cost(graph).total.macs == 9 * 4 * 5 * (6 + 5)
    assert graph.inputs[0].name == "input.data" and not packed.data.__dict__


def test_outputs_are_found_however_deep_they_lie():
    @dataclasses.dataclass(slots=True)
    class Outer:
        inner: Any

    assert len(cnnscope.trace(calls(lambda x: Outer(Sample([x + 1, {"b": Outer(x + 2)}]))), (2, 2)).outputs) == 2


@pytest.mark.parametrize(
    "returned, count",
    [
        (lambda x: (x + 1, [x * 2]), 2),
        (lambda x: {"a": x + 1}, 1),
        (lambda x: None, 0),
        (lambda x: (x + 1, None, 3, "text"), 1),
    ],
)
def test_every_kind_of_output(returned, count):
    assert len(cnnscope.trace(calls(returned), (2, 2)).outputs) == count


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes_follow_the_tensors(dtype):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)).to(dtype)
    graph = cnnscope.trace(model, torch.zeros(1, 3, 8, 8, dtype=dtype))
    assert graph.outputs[0].dtype == str(dtype).removeprefix("torch.")
    assert graph.outputs[0].bytes == 4 * 9 * dtype.itemsize


@pytest.mark.parametrize("bad", ["1x3x8x8", 3, 2.5, (1, -3, 8, 8)])
def test_an_input_that_is_none_is_refused_by_its_value(bad):
    with pytest.raises(UnusableInput, match="3"):
        cnnscope.trace(nn.ReLU(), bad)


def test_arguments_that_do_not_fit_the_forward_are_refused():
    with pytest.raises(UnusableInput, match="forward"):
        cnnscope.trace(nn.Bilinear(3, 3, 3), (1, 3))
    with pytest.raises(UnusableInput, match="takes an nn"):
        cnnscope.trace(nn.ReLU, (1, 3))


# -- the model does not notice ----------------------------------------------------------------------------------------


def fingerprint(model):
    state = {name: (tensor.clone(), tensor._version, tensor.device) for name, tensor in model.state_dict().items()}
    attributes = {path: dict(module.__dict__) for path, module in model.named_modules()}
    modes = {path: module.training for path, module in model.named_modules()}
    hooks = {path: (dict(m._forward_hooks), dict(m._forward_pre_hooks)) for path, m in model.named_modules()}
    functions = {name: getattr(F, name) for name in dir(F)}
    return state, attributes, modes, hooks, functions, torch.get_rng_state(), random.getstate()


def assert_same(before, after):
    for name, (tensor, version, device) in before[0].items():
        assert torch.equal(tensor, after[0][name][0]) and (version, device) == after[0][name][1:]
    for path, attributes in before[1].items():
        assert attributes.keys() == after[1][path].keys()
        assert all(attributes[key] is after[1][path][key] for key in attributes)
    assert before[2:5] == after[2:5]
    assert torch.equal(before[5], after[5]) and before[6] == after[6]


class Nosy(nn.Module):
    """Stores things on itself, draws random numbers, keeps counters, and may raise."""

    def __init__(self, fails=False):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout()
        self.cache = {}
        self.seen = 0
        self.fails = fails
        self.norm.eval()

    def forward(self, x):
        self.seen += 1
        self.cache["last"] = x
        noise = torch.rand(3).sum().item() + random.random()
        y = self.drop(self.norm(self.conv(x))) * noise
        if self.fails:
            raise KeyError("on purpose")
        return y


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_found(fails):
    model = Nosy(fails).train()
    model.norm.eval()
    model.conv.register_forward_hook(lambda module, args, out: None)
    before = fingerprint(model)
    if fails:
        with pytest.raises(UntraceableModel):
            cnnscope.trace(model, (2, 3, 8, 8))
    else:
        cnnscope.trace(model, (2, 3, 8, 8))
    assert_same(before, fingerprint(model))
    assert model.seen == 0 and model.cache == {}


def test_a_meta_model_its_classes_and_its_containers_are_left_as_found():
    class Caching(nn.Module):
        cache: ClassVar[dict] = {}

        def __init__(self):
            super().__init__()
            self.register_buffer("b", torch.zeros(3, device="meta"))
            self.weight = nn.Parameter(torch.zeros(3, device="meta"))
            self.state = {"n": 0, "lock": threading.Lock(), "out": []}

        def forward(self, x):
            self.b.unsqueeze_(0)
            self.weight.requires_grad_(False)
            self.cache["positions"] = torch.arange(3.0, device=x.device)
            self.state["n"] += 1
            self.state["out"].append(x)
            return x + self.b + self.weight + self.cache["positions"]

    model = Caching()
    cnnscope.trace(model, (2, 3))
    assert model.b.shape == (3,) and model.weight.requires_grad and not model.b.__dict__
    assert Caching.cache == {} and model.state["n"] == 0 and model.state["out"] == []


masks: dict = {}
last_mask = None


def remembered(x, memo={}):  # noqa: B006
    return memo.setdefault("mask", torch.ones(3, device=x.device))


@pytest.mark.parametrize("place", ["meta", "cpu"])
def test_what_a_forward_remembers_outside_of_the_model_is_forgotten(place):
    class Remembers(nn.Module):
        mask = None
        calls = 0
        table: ClassVar[dict] = {"inner": {}}

        def forward(self, x, memo={}):  # noqa: B006
            global last_mask
            cls = type(self)
            cls.calls += 1
            cls.last = x
            if cls.mask is None:
                cls.mask = torch.ones(3, device=x.device)
            found = [held.setdefault("mask", x.new_ones(3)) for held in (self.table["inner"], memo, masks)]
            last_mask = x.new_ones(3)
            return x * cls.mask * sum(found) * last_mask * remembered(x)

    masks.clear()
    model = Remembers()
    cnnscope.trace(model, (2, 3), device_trace=place)
    assert (Remembers.mask, Remembers.calls, Remembers.table) == (None, 0, {"inner": {}})
    assert not hasattr(Remembers, "last") and Remembers.forward.__defaults__ == ({},)
    if place == "meta":  # numbers break nothing
        assert masks == {} and last_mask is None and remembered.__defaults__ == ({},)
    assert model(torch.ones(2, 3)).device.type == "cpu"


def test_weights_reached_around_the_module_tree_stay_untouched():
    outside = nn.Linear(4, 4)

    class Closure(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = nn.Linear(4, 4)
            self.run = lambda x: outside(x)
            self.plain = torch.ones(4)
            self.pieces = [self.inside]

        def forward(self, x):
            return self.run(self.pieces[0](x)) * self.plain

    model = Closure()
    graph = cnnscope.trace(model, (2, 4))
    assert cnnscope.cost(graph).total.macs == 2 * 2 * 16
    assert not outside.weight.is_meta and not model.plain.is_meta
    assert model(torch.ones(2, 4)).shape == (2, 4)


def test_a_constant_of_the_model_may_decide():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("steps", torch.tensor([3, 5]))

        def forward(self, x):
            for _ in range(int(self.steps[0])):
                x = x + 1
            return x

    assert len([op for op in cnnscope.trace(Scaled(), (2,)) if op.kind == "add"]) == 3


def test_constants_made_on_the_cpu_keep_their_data_until_they_meet_the_input():
    def forward(x):
        steps = torch.arange(4).view(1, -1) - torch.arange(4).view(-1, 1)  # as vision transformers make positions
        widths = [int(width) for width in torch.linspace(2, 4, 3)]
        table = torch.zeros(4, 4)
        table[:] = steps + x.sum()
        return (x @ table).flatten()[: sum(widths)]

    for _ in range(2):  # the second run must not be answered from the memory of the first
        graph = cnnscope.trace(calls(forward), (4, 4))
        assert graph.outputs[0].shape == (9,)
        assert cnnscope.cost(graph).total.macs == 64
        assert nx.has_path(graph.dag, "sum", "mm"), "the table holds what was computed from x"


def test_a_constant_that_was_written_into_has_no_data_any_more():
    def forward(x):
        table = torch.zeros(4)
        table[:2] = x
        return x * int(table.sum())

    with pytest.raises(UntraceableModel, match="values of a tensor"):
        cnnscope.trace(calls(forward), (2,))


def test_an_undecidable_branch_is_refused_with_the_layer_the_shapes_and_a_way_out():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(4, 4)
            self.gate = calls(lambda x: x if x.sum() > 0 else -x)

        def forward(self, x):
            return self.gate(self.first(x))

    with pytest.raises(UntraceableModel) as caught:
        cnnscope.trace(Branching(), (2, 4))
    message = str(caught.value)
    assert caught.value.layer == "gate" and "gate" in message and "values of a tensor" in message
    assert len(message.splitlines()) <= 3
    assert "first.addmm" in caught.value.graph, "what ran before is kept"


@pytest.mark.parametrize(
    "function",
    [
        lambda x, half, at: x.index_add(0, at, half),
        lambda x, half, at: x.clone().index_add_(0, at, half),
        lambda x, half, at: x.index_copy(0, at, half),
        lambda x, half, at: x.index_put((at,), half),
        lambda x, half, at: x.clone().__setitem__(at, half),
        lambda x, half, at: torch.complex(half, half),
        lambda x, half, at: torch.polar(x, half),
        lambda x, half, at: F.layer_norm(x, (4,), half[0], half[0]),
        lambda x, half, at: F.batch_norm(x, half[0], half[0], half[0], half[0]),
        lambda x, half, at: F.group_norm(x, 2, half[0], half[0]),
        lambda x, half, at: F.grid_sample(x[None, None], half.view(1, 3, 2, 2), align_corners=False),
        lambda x, half, at: F.cross_entropy(x, at.int()),
        lambda x, half, at: F.binary_cross_entropy(x, half),
        lambda x, half, at: torch.cdist(x, half),
        lambda x, half, at: x.index_select(0, at[None]),
        lambda x, half, at: torch.multinomial(x, 5),
    ],
)
def test_what_a_real_kernel_refuses_is_refused(function):
    given = torch.full((3, 4), 0.5), torch.full((3, 4), 0.5, dtype=torch.bfloat16), torch.arange(3)
    with pytest.raises((RuntimeError, IndexError)):
        function(*given)
    with pytest.raises(UntraceableModel):
        cnnscope.trace(calls(function), given)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_norms_of_halves_take_parameters_in_float32(dtype):
    x = torch.ones(2, 4, 3, dtype=dtype)
    for norm in (nn.BatchNorm1d(4), nn.GroupNorm(2, 4), nn.LayerNorm(3)):
        assert norm.eval()(x).dtype == dtype and cnnscope.trace(norm, (x,)).outputs[0].dtype == str(dtype)[6:]


@pytest.mark.parametrize("channels", [1, 4, 8])
@pytest.mark.parametrize("last", [False, True])
def test_pixels_lie_as_they_did(channels, last):
    x = torch.ones(2, 4 * channels, 6, 8)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    for function in (lambda x: F.pixel_shuffle(x, 2), lambda x: F.pixel_unshuffle(x, 2)):
        value = cnnscope.trace(calls(function), (x,)).outputs[0]
        real = function(x)
        assert (value.shape, value.strides or contiguous(value.shape)) == (real.shape, real.stride())


def test_wrong_channels_lead_with_the_models_own_exception():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(5, 4, 3))
    with pytest.raises(UntraceableModel) as caught:
        cnnscope.trace(model, (1, 3, 8, 8))
    assert str(caught.value).startswith("RuntimeError: ")
    assert "convolution of input (1, 4, 6, 6), weight (4, 5, 3, 3)" in str(caught.value)
    assert caught.value.layer == "1"
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_no_weight_is_allocated():
    import resource

    with torch.device("meta"):
        model = nn.Sequential(nn.Flatten(), nn.Linear(25088, 4096), nn.Linear(4096, 4096), nn.Linear(4096, 1000))
    cnnscope.trace(nn.Conv2d(3, 4, 3), (1, 3, 8, 8))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    graph = cnnscope.trace(model, (64, 512, 7, 7))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert params_of(graph) == 123_642_856
    assert grown < 10 * 2**20


SCALE, TURN = torch.arange(4.0), torch.eye(4)


class UsesGlobals(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * SCALE + SCALE.view(2, 2).reshape(4) + x @ TURN.t() + SCALE.to(x.device)


@pytest.mark.parametrize("train", [False, True])
def test_tensors_of_the_program_bear_no_mark_of_the_trace(train):
    model = nn.Sequential(nn.Linear(4, 4), UsesGlobals())
    for device_trace in ("meta", "cpu"):
        cnnscope.trace(model, (3, 4), train=train, device_trace=device_trace)
        assert vars(SCALE) == vars(TURN) == {} and torch.equal(SCALE, torch.arange(4.0))
        assert all(vars(each) == {} for each in model.parameters())


def test_the_copy_goes_without_a_garbage_collection():
    """A trace leaves nothing behind in cycles, which would wait with all their tensors for a collection."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    cnnscope.trace(model, (2, 3, 8, 8), train=True, optimizer="adam")  # what torch imports at first leaves some frames
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()

    def alive() -> int:
        return sum(type(each) is nn.BatchNorm2d for each in gc.get_objects())

    try:
        before = alive()
        for options in ({}, {"train": True, "optimizer": "adam"}):
            assert len(cnnscope.trace(model, (2, 3, 8, 8), **options)) and alive() == before
    finally:
        if collecting:
            gc.enable()


@pytest.mark.parametrize("groups", [1, 2])
def test_channels_that_do_not_fit_are_refused_in_the_words_of_a_real_run(groups):
    model, shape = nn.Conv2d(4, 4, 3, groups=groups), (1, 6, 8, 8)
    with pytest.raises(RuntimeError) as real:
        model(torch.zeros(shape))
    with pytest.raises(UntraceableModel) as traced:
        cnnscope.trace(model, shape)
    assert str(traced.value).splitlines()[0] == f"RuntimeError: {real.value}"
