"""Exported programs and ONNX graphs: they cost what the model costs that they were made from, and run no code."""

from __future__ import annotations

import io
import itertools
import json
import pickle
import sys
import warnings
import zipfile

import pytest
import torch
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from random_models import RandomNet, recipes
from torch import nn

from cnnscope.analyses.layering import layers
from cnnscope.cli import main
from cnnscope.errors import UntraceableModel, UnusableTarget
from cnnscope.libraries import imported
from cnnscope.targets import load, tensor
from cnnscope.tracing import trace

onnx = pytest.importorskip("onnx", reason="ONNX is an extra of its own", exc_type=ImportError)


class Tokens(nn.Module):
    """Whole numbers in, an open batch, arithmetic with sizes, several results, no gradient in the middle."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.act = nn.ReLU()
        self.head = nn.Linear(8, 3)
        self.scale = torch.tensor([1.0, 2.0, 3.0])

    def forward(self, tokens, weights):
        with torch.no_grad():
            x = self.embedding(tokens)
        x = self.act(self.act(self.attention(x, x, x, need_weights=False)[0]))
        y = self.head(x.reshape(tokens.shape[0] * 5, 8)) * self.scale
        return {"y": y, "rest": (y.chunk(3, 1)[1], weights.float().topk(2)[0])}


def graph_of(target, *shapes):
    found = load(str(target))
    inputs = shapes or found.default_input
    types = found.dtypes or ["float32"] * len(inputs)
    return trace(found.model, tuple(tensor(shape, dtype) for shape, dtype in zip(inputs, types, strict=True)))


def exported(model, inputs, path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(model.eval(), inputs, **options), path)
    return path


def onnx_of(model, inputs, path, *, dynamo, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model.eval(), inputs, str(path), dynamo=dynamo, verbose=False, **options)
    return path


def torchvision(name):
    models = imported("torchvision.models", "torchvision")
    return getattr(models, name)(weights=None)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """squeezenet1_1 as it is written by all three exporters."""
    folder, net, x = tmp_path_factory.mktemp("files"), torchvision("squeezenet1_1"), torch.zeros(1, 3, 64, 64)
    exported(net, (x,), folder / "net.pt2")
    onnx_of(net, (x,), folder / "new.onnx", dynamo=True)
    onnx_of(net, (x,), folder / "old.onnx", dynamo=False)
    return folder


# -- exported programs ------------------------------------------------------------------------------------------------


def live(graph):
    """Bytes of the activations that exist while each operator runs."""
    changes = [0] * (len(graph) + 1)
    for storage in graph.storages:
        if storage.kind == "activation":
            changes[storage.born] += storage.bytes
            changes[-1 if storage.dies is None else storage.dies] -= storage.bytes
    return list(itertools.accumulate(changes))[:-1]


def test_an_exported_program_has_the_table_of_its_model(tmp_path):
    model = torchvision("mobilenet_v3_small")
    graph = graph_of(exported(model, (torch.zeros(1, 3, 96, 96),), tmp_path / "net.pt2"))
    plain = trace(model, (1, 3, 96, 96))
    assert [op.kind for op in graph] == [op.kind for op in plain]
    assert list(layers(graph).values()) == list(layers(plain).values())
    assert max(live(graph)) == max(live(plain)), "values go when nobody reads them any more"


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(recipe=recipes())
def test_an_exported_program_costs_what_its_model_costs(recipe, tmp_path_factory):
    net = RandomNet(recipe)
    path = exported(net, (torch.zeros(net.shape),), tmp_path_factory.mktemp("random") / "net.pt2")
    one, other = layers(graph_of(path)).total, layers(trace(net, net.shape)).total
    read = {parameter for op in trace(net, net.shape) for parameter in op.params}
    assert (one.macs, one.flops) == (other.macs, other.flops)
    assert one.params == other.params or len(read) < len(list(net.parameters())), "torch drops what is not read"


def test_whole_numbers_open_sizes_and_several_results(tmp_path):
    model = Tokens()
    batch = torch.export.Dim.DYNAMIC
    inputs = torch.zeros(2, 5, dtype=torch.int64), torch.zeros(2, 4, dtype=torch.float16)
    path = exported(model, inputs, tmp_path / "net.pt2", dynamic_shapes=({0: batch}, {0: batch}))
    found = load(str(path))
    assert found.default_input == ((2, 5), (2, 4)) and found.dtypes == ("int64", "float16") and found.name == "net"
    for size in (2, 7):
        shapes = (size, 5), (size, 4)
        own = (tensor(shapes[0], "int64"), tensor(shapes[1], "float16"))
        plain, graph = trace(model, own), graph_of(path, *shapes)
        assert layers(graph).total.macs == layers(plain).total.macs > 0
        assert [value.shape for value in graph.outputs] == [value.shape for value in plain.outputs]
        assert [value.name for value in graph.inputs] == ["tokens", "weights"]
    assert graph.calls[0].type == "Tokens" and {"attention", "act", "head", "embedding"} <= set(graph.types)
    result = CliRunner().invoke(main, ["table", str(path), "-b", "3", "--format", "json"])
    assert json.loads(result.stdout)["input"] == "3x5, 3x4"


class Bomb:
    """What unpickling it would do is seen."""

    def __reduce__(self):
        return open, ("/tmp/cnnscope-unpickled", "w")


def rewritten(path, change):
    """The archive with other contents: change(name, bytes) -> bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    path.write_bytes(packed.getvalue())
    return path


@pytest.fixture
def small(tmp_path):
    return exported(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), (torch.zeros(1, 3),), tmp_path / "net.pt2")


def test_nothing_is_unpickled(small, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("unpickled")

    rewritten(small, lambda name, data: data if name.endswith(".json") else pickle.dumps(Bomb()))
    for module, name in ((pickle, "loads"), (pickle, "load"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, fail)
    assert layers(graph_of(small)).total.params == 8


@pytest.mark.parametrize(
    "target",
    ["torch.os.system", "torch.ops.aten.from_file.default", "torch.ops.aten.save.default", "builtins.eval",
     "torch.ops.load_library", "_operator.methodcaller", "torch.ops.higher_order.cond", "#extension:x"],
)  # fmt: skip
def test_a_step_that_is_no_operator_on_tensors_is_refused(small, target):
    rewritten(small, lambda name, data: data.replace(b"torch.ops.aten.relu.default", target.encode()))
    with pytest.raises(UnusableTarget, match="the program calls"):
        load(str(small))


def test_sizes_are_never_evaluated(tmp_path):
    path = exported(
        nn.ReLU(), (torch.zeros(2, 3),), tmp_path / "net.pt2", dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
    )
    rewritten(path, lambda name, data: data.replace(b"Symbol(", b"__import__('os').abort("))
    assert graph_of(path).input_text == "2x3"


# -- ONNX -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["old.onnx", "new.onnx"])
def test_an_onnx_graph_costs_what_its_model_costs(files, file):
    graph, plain = graph_of(files / file), trace(torchvision("squeezenet1_1"), (1, 3, 64, 64))
    ours, theirs = layers(graph), layers(plain)
    assert ours.total.macs == theirs.total.macs and ours.total.weights == theirs.total.weights and not ours.missing
    assert {row.name: row.macs for row in ours.values() if row.macs} == {
        row.name: row.macs for row in theirs.values() if row.macs
    }
    assert [value.shape for value in graph.outputs] == [value.shape for value in plain.outputs]


@pytest.mark.parametrize("dynamo", [False, True])
def test_attention_norms_and_resizing_in_onnx(tmp_path, dynamo):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(3, 8, 3, 2, 1), nn.GroupNorm(2, 8), nn.Hardswish(), nn.AvgPool2d(3, 2, 1)
            )
            self.up = nn.ConvTranspose2d(8, 6, 3, 2, 1, output_padding=1)
            self.norm = nn.LayerNorm(6)
            self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

        def forward(self, x):
            x = nn.functional.interpolate(self.up(self.body(x)), scale_factor=2)
            y = self.norm(nn.functional.pad(x, (1, 0, 0, 2))[:, :, ::2, 1:].flatten(2).transpose(1, 2))
            return self.attention(y, y, y, need_weights=False)[0].split(3, -1)

    model = Net()
    graph = graph_of(onnx_of(model, (torch.zeros(2, 3, 16, 16),), tmp_path / "net.onnx", dynamo=dynamo))
    plain = trace(model, (2, 3, 16, 16))
    ours, theirs = layers(graph).total, layers(plain).total
    assert ours.macs == theirs.macs and not ours.missing
    assert [value.shape for value in graph.outputs] == [value.shape for value in plain.outputs]


def model_of(nodes, inputs, outputs=("y",), stored=(), sizes=("N", 3)):
    values = [onnx.helper.make_tensor_value_info(name, 1, sizes) for name in inputs]
    results = [onnx.helper.make_tensor_value_info(name, 1, None) for name in outputs]
    graph = onnx.helper.make_graph(nodes, "graph", values, results, list(stored))
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])


def test_an_open_batch_is_one_and_another_open_size_is_asked_for(tmp_path):
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    onnx.save(model_of([node], ["x"]), tmp_path / "batch.onnx")
    assert load(str(tmp_path / "batch.onnx")).default_input == ((1, 3),)
    onnx.save(model_of([node], ["x"], sizes=("N", "width")), tmp_path / "open.onnx")
    result = CliRunner().invoke(main, ["table", str(tmp_path / "open.onnx")])
    assert result.exit_code == 2 and "no input shape is known" in result.stderr
    assert CliRunner().invoke(main, ["table", str(tmp_path / "open.onnx"), "--input", "4x7"]).exit_code == 0


def test_sizes_that_come_from_shapes_are_known_and_those_from_data_are_not(tmp_path):
    make = onnx.helper.make_node
    nodes = [make("Shape", ["x"], ["shape"]), make("Gather", ["shape", "zero"], ["batch"]),
             make("Mul", ["batch", "three"], ["total"]), make("Unsqueeze", ["total", "zero1"], ["sizes"]),
             make("Reshape", ["x", "sizes"], ["y"])]  # fmt: skip
    stored = [onnx.helper.make_tensor(name, 7, dims, value)
              for name, dims, value in (("zero", [], [0]), ("three", [], [3]), ("zero1", [1], [0]))]  # fmt: skip
    onnx.save(model_of(nodes, ["x"], stored=stored), tmp_path / "known.onnx")
    graph = graph_of(tmp_path / "known.onnx", (5, 3))
    assert graph.outputs[0].shape == (15,) and [op.kind for op in graph] == ["view"]
    nodes = [make("Cast", ["x"], ["sizes"], to=7), make("Reshape", ["x", "sizes"], ["y"])]
    onnx.save(model_of(nodes, ["x"], sizes=(3,)), tmp_path / "data.onnx")
    with pytest.raises(UntraceableModel, match="the shape depends on the values of a tensor"):
        graph_of(tmp_path / "data.onnx")


def test_weights_in_another_file_are_not_needed(files, tmp_path):
    model = onnx.load(files / "old.onnx")
    before = layers(graph_of(files / "old.onnx")).total
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").unlink()
    assert layers(graph_of(tmp_path / "net.onnx")).total == before


@pytest.mark.slow
def test_every_operator_gives_what_onnx_says_it_gives():
    """ONNX's own test cases, run on real tensors. Values may differ (see onnx_operators), shapes and types may not."""
    from onnx.backend.test.case.node import collect_testcases

    from cnnscope.files import onnx_graphs
    from cnnscope.files.onnx_operators import OPERATORS

    numpy = pytest.importorskip("numpy")
    agreed, equal, covered = 0, 0, set()
    for case in collect_testcases(None):
        kinds = {node.op_type for node in case.model.graph.node}
        if case.model.functions or not kinds <= OPERATORS.keys():
            continue
        for given_, expected in case.data_sets:
            if not given_ or not all(isinstance(each, numpy.ndarray) for each in given_):
                continue
            try:
                made = onnx_graphs._made(case.model.graph)
                found = made.model(torch.from_numpy(numpy.array(given_[0])), *given_[1:])
            except (ValueError, TypeError, RuntimeError, IndexError):
                continue  # types that torch does not compute with, indices from behind: counted below
            found = found if isinstance(found, tuple) else (found,)
            for ours, theirs in zip(found, expected, strict=True):
                ours = ours.numpy() if isinstance(ours, torch.Tensor) else numpy.asarray(ours)
                assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), case.name
                same = ours.dtype.kind != "f" or numpy.allclose(ours, theirs, 1e-2, 1e-3, equal_nan=True)
                agreed, equal = agreed + 1, equal + same
            covered |= kinds
    assert agreed > 700 and equal > 0.93 * agreed and len(covered) > 0.95 * len(OPERATORS) - 2


# -- what is no model -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["net.pt2", "net.onnx"])
@pytest.mark.parametrize(
    "content, words",
    [
        (None, "no file"),
        (b"", "cannot read"),
        (b"\x80garbage" * 99, "cannot read"),
        (pickle.dumps(Bomb()), "cannot read"),
    ],
)
def test_what_is_no_such_file_is_refused(name, content, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    result = CliRunner().invoke(main, ["table", name])
    assert result.exit_code == 2 and words in result.stderr and name in result.stderr and result.stdout == ""
    assert len(result.stderr.splitlines()) <= 3 and "Traceback" not in result.stderr


def test_an_archive_without_a_program_and_a_program_that_says_less_are_refused(small):
    rewritten(small, lambda name, data: data.replace(b'"graph_module"', b'"graph"'))
    with pytest.raises(UnusableTarget, match="as an exported program"):
        load(str(small))
    with zipfile.ZipFile(small, "w") as archive:
        archive.writestr("net/data.txt", "")
    with pytest.raises(UnusableTarget, match="holds 0 programs"):
        load(str(small))


def test_another_size_than_it_was_exported_for_is_refused(files):
    result = CliRunner().invoke(main, ["table", str(files / "net.pt2"), "-b", "2"])
    assert result.exit_code == 2 and "x was exported as 1x3x64x64, not 2x3x64x64" in result.stderr


def test_operators_that_are_not_read_are_all_named(tmp_path):
    make = onnx.helper.make_node
    nodes = [make("LSTM", ["x"], ["a"]), make("LSTM", ["a"], ["b"]), make("Mine", ["b"], ["y"], domain="my.own")]
    onnx.save(model_of(nodes, ["x"]), tmp_path / "net.onnx")
    with pytest.raises(UnusableTarget, match=r"not read: LSTM x2, my\.own\.Mine x1"):
        load(str(tmp_path / "net.onnx"))


def test_without_onnx_its_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UnusableTarget, match=r"pip install 'cnnscope\[onnx\]'"):
        load(str(tmp_path / "net.onnx"))
