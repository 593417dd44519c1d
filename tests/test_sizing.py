"""Sizes on disk against files of known layout and against what the SqueezeNet paper prints."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner
from torch import nn

import cnnscope
from cnnscope.analyses.sizing import density_of, size
from cnnscope.cli import main
from cnnscope.comparing import pruned
from cnnscope.errors import UnusableInput

PAPER = pruned("squeezenet1_0")["layers"]


@pytest.fixture(scope="module")
def squeezenet():
    from cnnscope.architectures.squeezenet import squeezenet1_0

    return cnnscope.trace(squeezenet1_0(), (1, 3, 227, 227), name="squeezenet1_0")


@pytest.fixture(scope="module")
def alexnet():
    return cnnscope.trace(cnnscope.build("alexnet_grouped"), (1, 3, 227, 227), name="alexnet_grouped")


def run(*arguments):
    return CliRunner().invoke(main, arguments)


def test_whole_networks_are_their_parameters(squeezenet, alexnet):
    assert size(squeezenet).total.bytes == 4 * 1_248_424
    assert size(squeezenet).total.bytes / 2**20 == pytest.approx(4.8, abs=0.05), "4.8MB are MiB"
    assert size(alexnet).total.bytes == 243_860_896
    assert size(alexnet).total.bytes / 1e6 == pytest.approx(240, rel=0.02), "240MB are 10^6, of 60 million"


def test_the_pruned_layers_are_those_of_table_1(squeezenet):
    after_pruning = {
        "conv1": 14_208, "fire2": 5_746, "fire3": 6_258, "fire4": 20_646, "fire5": 24_742, "fire6": 44_700,
        "fire7": 46_236, "fire8": 77_581, "fire9": 77_581, "conv10": 103_400,
    }  # fmt: skip
    found = cnnscope.by_module(size(squeezenet, 8, PAPER))
    for layer, kept in after_pruning.items():
        assert abs(found[layer].kept - kept) <= 2
    assert abs(found.total.kept - 421_098) <= 4


def test_eight_bits_in_the_layout_of_the_release_are_its_660_kilobytes(squeezenet):
    # decode.py: an index of 4 bits for every weight, a codebook for each layer, biases as floats.
    found = size(squeezenet, 8, PAPER, 4).total
    assert found.codebook == 26 * 256 * 4 and found.rest == 4 * 3_976
    assert found.bytes / 2**10 == pytest.approx(660, rel=0.005)
    assert 243.86e6 / found.bytes == pytest.approx(363, rel=0.005), "the paper: 240MB / 0.66MB = 363x"


def test_six_bits_are_0_47_mebibytes_where_whole_layers_need_no_index(squeezenet):
    found = size(squeezenet, 6, PAPER).total
    assert round(found.bytes / 2**20, 2) == 0.47
    # 510x is 240MB / 0.47MB of unequal megabytes; of equal bytes it is less.
    assert pytest.approx(510, abs=1) == 240 / 0.47
    assert 243_860_896 / found.bytes == pytest.approx(490.8, abs=0.1)
    assert size(squeezenet, 6, PAPER, 4).total.bytes / 1e6 == pytest.approx(0.548, abs=0.001), "with an index, not"


def test_fillers_are_those_of_random_zeros():
    graph = cnnscope.trace(nn.Linear(1000, 1000, bias=False), (1, 1000))
    kept = torch.rand(1_000_000, generator=torch.Generator().manual_seed(0)) < 0.1
    gaps = torch.diff(kept.nonzero().squeeze(1), prepend=torch.tensor([-1]))
    fillers = ((gaps - 1) // 8).sum().item()
    found = size(graph, 8, 0.1, 3)["linear"] if "linear" in size(graph) else next(iter(size(graph, 8, 0.1, 3).values()))
    assert found.kept == 100_000 and found.fillers == pytest.approx(fillers, rel=0.02)
    assert found.codes == found.kept + found.fillers and found.indices == -(-found.codes * 3 // 8)


def test_bits_alone_and_normalisations():
    graph = cnnscope.trace(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)), (1, 3, 8, 8))
    found = size(graph, 8, codebook=False)
    assert found["0"].bytes == 216 + 4 * 8 and found["1"].bytes == 4 * 16
    assert any("17 values of buffers" in note for note in found.notes)
    half = cnnscope.trace(nn.Linear(4, 4).half(), torch.empty(1, 4, dtype=torch.float16, device="meta"))
    assert size(half).total.bytes == 2 * 20, "never more than the weights have"


def test_the_last_pattern_that_fits_holds():
    assert density_of("fire8.expand.expand3x3.conv", PAPER) == 0.3
    assert density_of("fire7.expand.expand3x3.conv", PAPER) == 0.33
    assert density_of("conv1", PAPER) == 1


@pytest.mark.parametrize(
    "arguments, said",
    [
        ({"bits": 0}, "0 bits"), ({"bits": 65}, "65 bits"), ({"density": 0.0}, "density 0"), ({"density": 1.5}, "1.5"),
        ({"density": float("nan")}, "nan"), ({"density": {"fire*": 0.5}}, "'fire*'"), ({"index_bits": 0}, "0 bits"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(alexnet, arguments, said):
    with pytest.raises(UnusableInput, match=said.replace("*", r"\*")):
        size(alexnet, **arguments)


def test_the_command():
    found = run("size", "alexnet_grouped", "--bits", "8", "--density", "0.33", "--against", "alexnet_grouped")
    assert found.exit_code == 0 and "x smaller than alexnet_grouped at 32 bits (244 MB)" in found.stdout
    plain = json.loads(run("size", "alexnet_grouped", "--format", "json").stdout)
    assert plain["schema_version"] == 1 and plain["total"]["bytes"] == 243_860_896
    assert len(run("size", "vgg16", "--density", "fc*=0.04", "--format", "csv").stdout.splitlines()) == 1 + 16 + 1


@pytest.mark.parametrize(
    "arguments",
    [["--density", "a lot"], ["--density", "0"], ["--bits", "-1"], ["--density", "paper"], ["--against", "nothing"]],
)
def test_a_wrong_option_is_one_error(arguments):
    found = run("size", "vgg16", *arguments)
    assert found.exit_code == 2 and found.stderr.startswith("cnnscope: ") and len(found.stderr.splitlines()) <= 3
