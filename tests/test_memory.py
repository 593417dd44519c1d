"""Peak memory: its figures, who keeps it, every batch size from two traces, what a change would save."""

from __future__ import annotations

import itertools
import json

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import RandomNet, recipes
from real_steps import LiveBytes, weighted
from torch import nn

import cnnscope
from cnnscope.analyses.allocator import simulate
from cnnscope.analyses.batches import Batches, NotLinear
from cnnscope.analyses.fitting import FIGURES, Peaks, curve, largest_batches
from cnnscope.analyses.holding import held
from cnnscope.analyses.liveness import events, timeline
from cnnscope.cli import main
from cnnscope.render.memories import page

TRAINING = {"train": True, "optimizer": "sgd-momentum", "foreach": True}


def bottleneck_net() -> nn.Module:
    def block(inside: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(8, inside, 1), nn.BatchNorm2d(inside), nn.ReLU(), nn.Conv2d(inside, 8, 3, 1, 1))

    return nn.Sequential(nn.Conv2d(3, 8, 3), block(32), block(64), nn.Flatten(), nn.Linear(8 * 14 * 14, 5))


def test_inference_peak_is_that_of_the_real_run():
    model = weighted(cnnscope.build("resnet18")).eval()
    x = torch.rand(2, 3, 224, 224)
    before = [x, *model.parameters(), *model.buffers()]
    made = LiveBytes(before)
    with torch.no_grad(), made:
        model(x)
    total = cnnscope.memory(cnnscope.trace(model, (2, 3, 224, 224))).total
    assert total.peak == total.peak_requested == sum(each.nbytes for each in before) + max(made.events)


def test_kinds_add_up_at_every_operator_and_at_the_peak():
    for options in ({}, TRAINING):
        graph = cnnscope.trace(cnnscope.build("squeezenet"), (4, 3, 224, 224), **options)
        table = cnnscope.memory(graph)
        for row in table.values():
            parts = (
                row.params + row.buffers + row.constants + row.optimizer + row.gradients
                + row.inputs + row.saved + row.activations + row.temporaries
            )  # fmt: skip
            assert parts == row.live
        assert sum(table.total.kinds.values()) == table.total.peak == max(row.live for row in table.values())
        assert table[table.total.peak_op].live == table.total.peak
        rows = list(table.values())
        for row, following in itertools.pairwise(rows):
            assert following.live == row.live - row.freed + following.allocated


def test_the_figures_stand_in_their_order():
    for options in ({}, TRAINING, {**TRAINING, "optimizer": "adam", "foreach": False}):
        graph = cnnscope.trace(cnnscope.build("googlenet"), (4, 3, 224, 224), **options)
        total = cnnscope.memory(graph, device="cuda").total
        assert total.peak_compiled <= total.peak <= total.peak_allocated <= total.peak_reserved < total.upper_bound
        assert total.peak_allocated <= total.peak_reserved_expandable < total.upper_bound
        weights = cnnscope.params(graph).total.params * 4
        assert total.steady >= weights * (3 if options else 1)


def test_a_compiled_runtime_frees_behind_the_last_use():
    class Frames(nn.Module):
        def forward(self, x):
            a = x + 1
            b = a * 2  # Python keeps a until the end, a compiler does not
            c = b * 3
            return c * 4

    total = cnnscope.memory(cnnscope.trace(Frames(), (1024,))).total
    assert (total.peak, total.peak_compiled) == (5 * 4096, 3 * 4096)


def test_everything_at_the_peak_has_a_keeper():
    graph = cnnscope.trace(bottleneck_net(), (4, 3, 16, 16), **TRAINING)
    table = held(graph)
    total = cnnscope.memory(graph).total
    assert table.total.bytes == total.peak
    by_kind: dict[str, int] = {}
    for row in table.values():
        by_kind[row.kind] = by_kind.get(row.kind, 0) + row.bytes
        assert row.keeper
    assert by_kind == {kind: size for kind, size in total.kinds.items() if size}
    saved = next(row for row in table.values() if row.name == "1.2.relu")
    assert saved.keeper == "backward of 1.3.convolution (input), 1 more" and saved.module == "1.2"
    every = [held(graph, at).total.bytes for at in range(len(graph))]
    assert every == list(timeline(graph).total)


def test_a_second_run_takes_over_what_the_first_has_left():
    graph = cnnscope.trace(bottleneck_net(), (4, 3, 16, 16), **TRAINING)
    line = timeline(graph)
    for runs in (1, 2, 3):
        found = simulate(events(line, runs))  # raises where a storage is freed or allocated twice
        assert found.requested_peak == line.peak
    # What is alive between two runs is the same after each.
    ends = {simulate(events(line, runs)).requested_end for runs in (1, 2, 3)}
    assert len(ends) == 1


# -- batches ----------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(recipes(), st.integers(1, 40), st.booleans())
def test_every_batch_size_follows_from_two(recipe, batch, train):
    # The upsampling of random nets asks for the number of elements: another program at another batch size.
    steps = [step for step in recipe["steps"] if step[0] != "upsample"]
    model = RandomNet({**recipe, "steps": steps, "batch": 2})
    options = {"train": True} if train and any(True for _ in model.parameters()) else {}

    def traced(size: int) -> cnnscope.ModelGraph:
        return cnnscope.trace(model, (size, *model.shape[1:]), **options)

    try:
        low, high, direct = traced(2), traced(3), traced(batch)
    except cnnscope.errors.CnnscopeError:
        return  # an in-place step on what autograd needs, at every batch size
    found = Batches(low, 2, high, 3).at(batch)
    assert found.storages == direct.storages
    # Not the strides: along a dimension of size 1 they mean nothing.
    for op, same in zip(found, direct, strict=True):
        assert op.name == same.name
        assert [value[:4] for value in (*op.inputs, *op.outputs)] == [v[:4] for v in (*same.inputs, *same.outputs)]
    assert cnnscope.memory(found).total == cnnscope.memory(direct).total


@pytest.mark.parametrize("name", ["lenet5", "alexnet", "vgg16", "googlenet_aux", "resnet50", "squeezenet"])
def test_the_zoo_is_linear_in_the_batch(name):
    model = cnnscope.build(name)
    size = (1, 32, 32) if name == "lenet5" else (3, 227, 227) if name == "alexnet" else (3, 224, 224)
    for options in ({}, TRAINING):
        batches = Batches(*(x for b in (2, 3) for x in (cnnscope.trace(model, (b, *size), **options), b)))
        assert batches.at(17).ops == cnnscope.trace(model, (17, *size), **options).ops


class Halves(nn.Module):
    """Its operators depend on the batch."""

    def forward(self, x):
        return x * 2 if x.shape[0] % 2 else x


class Similarities(nn.Module):
    """A matrix of batch by batch: its sizes are linear, its bytes are not."""

    def forward(self, x):
        return (x @ x.mT).softmax(1) @ x


def test_what_is_not_linear_is_refused():
    def traced(model: nn.Module, size: int) -> cnnscope.ModelGraph:
        return cnnscope.trace(model, (size, 4))

    with pytest.raises(NotLinear, match="other operators at batch size 3 than at 2"):
        Batches(traced(Halves(), 2), 2, traced(Halves(), 3), 3)
    with pytest.raises(ValueError, match="tell nothing"):
        Batches(traced(Similarities(), 2), 2, traced(Similarities(), 2), 2)


def test_products_of_lines():
    low, high, direct = (cnnscope.trace(Similarities(), (size, 4)) for size in (2, 3, 17))
    assert Batches(low, 2, high, 3).at(17).storages == direct.storages


def test_the_largest_batch_fits_and_the_next_does_not():
    model = bottleneck_net()

    def traced(size: int) -> cnnscope.ModelGraph:
        return cnnscope.trace(model, (size, 3, 16, 16), **TRAINING)

    peaks = Peaks(Batches(traced(2), 2, traced(3), 3).at, None)
    budget = 1100 * 2**20
    table = largest_batches(peaks, budget)
    assert list(table) == list(FIGURES)
    for name, row in table.items():
        direct, one_more = (
            getattr(cnnscope.memory(traced(size)).total, FIGURES[name]) for size in (row.batch, row.batch + 1)
        )
        assert (direct, one_more) == (row.bytes, row.next)
        assert direct <= budget < one_more
    points = curve(peaks, [1, 2, 64])
    assert [row.requested for row in points.values()] == [cnnscope.memory(traced(b)).total.peak for b in (1, 2, 64)]
    assert all(row.batch == 0 and row.bytes is None for row in largest_batches(peaks, 10).values())


# -- what if ----------------------------------------------------------------------------------------------------------


def test_what_if_is_traced_and_leaves_the_model_as_found():
    model = bottleneck_net()
    classes = [type(module) for module in model.modules()]
    table = cnnscope.what_if(model, (16, 3, 16, 16), train=True, optimizer="adam")
    assert [type(module) for module in model.modules()] == classes
    base = cnnscope.memory(cnnscope.trace(model, (16, 3, 16, 16), train=True, optimizer="adam")).total.peak
    assert table["as it is"].peak == base
    for row in table.values():
        assert row.peak is None or row.saved == base - row.peak
    block = next(row for name, row in table.items() if name in ("checkpoint 1", "checkpoint 2"))
    assert block.saved > 0 and block.flops > 0
    sgd = cnnscope.memory(cnnscope.trace(model, (16, 3, 16, 16), train=True, optimizer="sgd")).total.peak
    assert table["SGD without momentum"].peak == sgd
    fewer = cnnscope.memory(cnnscope.trace(model, (15, 3, 16, 16), train=True, optimizer="adam")).total.peak
    assert table["one fewer in the batch"].peak == fewer


def test_in_place_only_where_nothing_reads_the_input_again():
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act, self.last = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ReLU()

        def forward(self, x):
            y = self.conv(x)
            return self.last(self.act(y) + y)  # y is needed behind self.act

    table = cnnscope.what_if(Shared(), (4, 3, 16, 16))
    assert table["activations in place"].note.startswith("1 of 2")
    # The output of the last ReLU is the sum's memory: one map less, at the peak.
    assert table["activations in place"].saved >= 0


# -- the command ------------------------------------------------------------------------------------------------------


def run(*args: str, width: int = 100) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["memory", *args], env={"COLUMNS": str(width)})
    return result.exit_code, result.output


def test_the_command_names_every_figure():
    code, text = run("vgg16", "--train", "--optimizer", "adamw", "-b", "8")
    assert code == 0
    for name in ("requested", "allocated", "reserved", "upper bound", "compiled", "steady", "saved for backward"):
        assert name in text
    assert "a steady training step" in text and "▼" in text and "alive at" in text


def test_json_has_the_totals_of_the_contract():
    code, text = run("resnet18", "--train", "--format", "json")
    total = json.loads(text)["total"]
    graph = cnnscope.trace(cnnscope.build("resnet18"), (1, 3, 224, 224), train=True)
    assert code == 0 and total["peak_requested"] == cnnscope.memory(graph).total.peak
    assert {"peak_allocated", "peak_reserved", "upper_bound", "peak_op", "steady"} <= total.keys()
    assert sum(total["kinds"].values()) == total["peak_requested"]


def test_whether_it_fits_is_the_exit_code():
    assert run("vgg16", "--budget", "8GiB")[0] == 0
    code, text = run("vgg16", "--budget", "500MiB")
    assert code == 1 and "does not fit" in text


def test_the_largest_batch_by_the_command():
    code, text = run("squeezenet", "--train", "--budget", "4GiB", "--max-batch", "--format", "json")
    rows = {row["name"]: row["batch"] for row in json.loads(text)["rows"]}
    assert code == 0 and rows["requested"] >= rows["reserved"] >= rows["upper bound"] > 0
    assert run("squeezenet", "--max-batch")[0] == 2


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(width):
    graph = cnnscope.trace(cnnscope.build("resnet50"), (2, 3, 224, 224), **TRAINING)
    table = cnnscope.memory(graph)
    text = page("resnet50", table.total, table.notes, timeline(graph), held(graph), rows=10, width=width)
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["vgg16", "--budget", "8GxB"], "'8GxB' is no amount of memory; write 24GiB"),
        (["vgg16", "--budget", "0GiB"], "is no memory at all"),
        (["vgg16", "--optimizer", "adam"], "--optimizer belongs to a training step; add --train"),
        (["vgg16", "--train", "--optimizer", "adum"], "'adum' is no optimizer"),
        (["resnet50", "--train", "--input", "1x3x32x32"], "give a larger batch"),
    ],
)
def test_bad_options(args, message):
    code, text = run(*args)
    assert code == 2 and message in text and len(text.splitlines()) <= 4
