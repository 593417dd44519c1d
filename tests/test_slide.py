"""``table --style slide`` against the lecture's own table of VGG16, and its sums against the graph's."""

from __future__ import annotations

import pytest

import cnnscope
from cnnscope import targets, zoo
from cnnscope.analyses.layering import layers
from cnnscope.render import formulas, slides, text

# The lecture, slide "Architecture (VGG16)": parameters | memory | dimension | layer type, as printed there.
LECTURE = """\
0	224*224*3=150K	224×224×3	INPUT
(3*3*3)*64 = 1,728	224*224*64=3.2M	224×224×64	CONV3-64
(3*3*64)*64 = 36,864	224*224*64=3.2M	224×224×64	CONV3-64
0	112*112*64=800K	112×112×64	POOL2
(3*3*64)*128 = 73,728	112*112*128=1.6M	112×112×128	CONV3-128
(3*3*128)*128 = 147,456	112*112*128=1.6M	112×112×128	CONV3-128
0	56*56*128=400K	56×56×128	POOL2
(3*3*128)*256 = 294,912	56*56*256=800K	56×56×256	CONV3-256
(3*3*256)*256 = 589,824	56*56*256=800K	56×56×256	CONV3-256
(3*3*256)*256 = 589,824	56*56*256=800K	56×56×256	CONV3-256
0	28*28*256=200K	28×28×256	POOL2
(3*3*256)*512 = 1,179,648	28*28*512=400K	28×28×512	CONV3-512
(3*3*512)*512 = 2,359,296	28*28*512=400K	28×28×512	CONV3-512
(3*3*512)*512 = 2,359,296	28*28*512=400K	28×28×512	CONV3-512
0	14*14*512=100K	14×14×512	POOL2
(3*3*512)*512 = 2,359,296	14*14*512=100K	14×14×512	CONV3-512
(3*3*512)*512 = 2,359,296	14*14*512=100K	14×14×512	CONV3-512
(3*3*512)*512 = 2,359,296	14*14*512=100K	14×14×512	CONV3-512
0	7*7*512=25K	7×7×512	POOL2
7*7*512*4096 = 102,760,448	4096	1×1×4096	FC
4096*4096 = 16,777,216	4096	1×1×4096	FC
4096*1000 = 4,096,000	1000	1×1×1000	FC"""


def traced(name, input=None):
    target = targets.load(name)
    return cnnscope.trace(target.model, input or target.default_input[0], name=target.name)


def printed(row):
    return "\t".join([row.parameters, row.memory, "×".join(map(str, row.dimension)), row.type])


@pytest.fixture(scope="module")
def vgg16():
    return slides.slide(traced("vgg16"), zoo.slide("vgg16"))


def test_the_rows_of_vgg16_are_the_lectures(vgg16):
    assert [printed(row) for row in vgg16.values()] == LECTURE.splitlines()


def test_the_heads_have_the_true_totals(vgg16):
    assert slides.titles(vgg16) == {"parameters": "parameters (138M total)", "memory": "memory (61.0MB/image)"}
    assert vgg16.total.counted == 138_344_128
    assert vgg16.total.bytes == 4 * vgg16.total.values == 60_950_432


def test_what_stands_under_vgg16_is_honest_about_the_slides_memory(vgg16):
    parameters, memory, left_out, claim = vgg16.notes
    assert "138,344,128" in parameters and "13,416 biases" in parameters and "138,357,544" in parameters
    assert "15.2M values x 4 bytes = 61.0 MB = 58.1 MiB" in memory
    assert "ReLU x15" in left_out and "28.8M values x 4 bytes = 115 MB" in left_out
    assert "96MB/image = 24M x 4 bytes: the rows do not give that, nor does 115 MB" in claim


def test_the_slides_claim_stands_only_where_it_is_about_the_same_input():
    elsewhere = {**zoo.slide("vgg16"), "input": [1, 3, 256, 256]}
    assert not any("the slide" in note for note in slides.slide(traced("vgg16"), elsewhere).notes)
    batch = slides.slide(traced("vgg16", (8, 3, 224, 224)), zoo.slide("vgg16"))
    assert any("the slide" in note for note in batch.notes)
    assert [printed(row) for row in batch.values()] == LECTURE.splitlines(), "memory is that of one image"


@pytest.mark.parametrize("name", zoo.names())
def test_the_sums_are_the_graphs_for_every_architecture(name):
    graph = traced(name)
    found, whole = slides.slide(graph, zoo.slide(name)), layers(graph)
    left_out = [layer for layer in whole.values() if layer.name not in found]
    listed = [whole[row] for row in found if row in whole]
    biases = sum(layer.biases for layer in listed if layer.weights and found[layer.name].counted == layer.weights)
    rest = sum(layer.params for layer in left_out)
    assert found.total.counted + biases + rest == whole.total.params
    given = sum(value.bytes for value in graph.inputs)
    assert found.total.bytes - given + sum(layer.activation for layer in left_out) == whole.total.activation
    assert f"{whole.total.params:,}" in found.notes[0]
    for row in found.values():
        if "=" in row.parameters:
            formula, _, number = row.parameters.partition(" = ")
            assert eval(formula) == int(number.replace(",", "")) == row.counted  # ours, not a user's
        if "*" in row.memory:
            assert eval(row.memory.partition("=")[0]) == row.values


@pytest.mark.parametrize(
    "name, row",
    [
        ("alexnet_grouped", "(5*5*96/2)*256 = 307,200\t27*27*256=190K\t27×27×256\tCONV5-256"),
        ("alexnet", "0\t27*27*96=70K\t27×27×96\tNORM"),
        ("alexnet", "0\t27*27*96=70K\t27×27×96\tPOOL3/2"),
        ("inception_bottleneck", "0\t28*28*480=380K\t28×28×480\tCONCAT"),
        ("resnet18", "0\t56*56*64=200K\t56×56×64\tADD"),
        ("resnet18", "(7*7*3)*64 = 9,408\t112*112*64=800K\t112×112×64\tCONV7-64/2"),
        ("resnet18", "0\t512\t1×1×512\tAVGPOOL"),
        ("torchvision:mobilenet_v2", "(3*3*32/32)*32 = 288\t112*112*32=400K\t112×112×32\tCONV3-32"),
        ("torchvision:resnet18", "0\t0 (in place)\t56×56×64\tADD"),
    ],
)
def test_other_layers_read_in_the_slides_way(name, row):
    assert row in [printed(each) for each in slides.slide(traced(name)).values()]


def test_a_layer_that_is_called_again_has_its_weights_once():
    from torch import nn

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x):
            return self.conv(self.conv(x))

    found = slides.slide(cnnscope.trace(Twice(), (1, 4, 8, 8)))
    assert [row.parameters for row in found.values()] == ["0", "(3*3*4)*4 = 144", "0 (shared)"]


@pytest.mark.parametrize(
    "number, expected",
    [
        (0, "0"), (7, "7"), (980, "980"), (4096, "4.1K"), (25_088, "25K"), (100_352, "100K"), (150_528, "150K"),
        (200_704, "200K"), (401_408, "400K"), (802_816, "800K"), (999_999, "1M"), (1_605_632, "1.6M"),
        (3_211_264, "3.2M"), (2_500_000_000, "2.5G"),
    ],
)  # fmt: skip
def test_numbers_are_rounded_to_two_digits(number, expected):
    assert formulas.short(number) == expected


def test_as_text_it_fits_eighty_columns(vgg16):
    lines = text(vgg16, titles=slides.titles(vgg16), width=80).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[2].split("  ")[0] == "parameters (138M total)"
