"""The commands: what they print, in which format, and where to."""

from __future__ import annotations

import csv
import io
import json

import pytest
from click.testing import CliRunner

from cnnscope.cli import main


def run(*arguments, code=0, **environment):
    result = CliRunner().invoke(main, [str(each) for each in arguments], env={"COLUMNS": "120", **environment})
    assert result.exit_code == code, result.output
    return result.stdout


def loaded(*arguments, **options):
    return json.loads(run(*arguments, "--format", "json", **options))


# The figures of the task: papers, authors' releases and hand counts.
FIGURES = {
    "vgg16": {"params": 138_357_544, "weights": 138_344_128, "macs": 15_470_264_320, "depth": 16},
    "resnet50": {"params": 25_557_032, "macs": 3_857_973_248, "depth": 50},
    "resnet152": {"params": 60_192_808, "depth": 152},
    "googlenet": {"params": 6_998_552, "macs": 1_582_671_872, "depth": 22},
    "alexnet": {"params": 62_378_344, "depth": 8},
    "alexnet_grouped": {"params": 60_965_224, "macs": 724_406_816},
    "torchvision:resnet50": {"params": 25_557_032, "macs": 4_089_184_256},
}


@pytest.mark.parametrize("model", FIGURES)
def test_json_has_the_totals_as_raw_numbers(model):
    plain = loaded("table", model)
    assert plain["schema_version"] == 1 and plain["model"] == model.rpartition(":")[2] and plain["missing"] == {}
    total = plain["total"]
    assert {name: total[name] for name in FIGURES[model]} == FIGURES[model]
    assert total["params"] == total["weights"] + total["biases"] + total["norm"]
    assert {"trainable", "buffers", "flops", "activation", "depth", "receptive_field"} <= set(total)
    for name in ("params", "macs", "flops", "activation"):
        assert sum(row[name] for row in plain["rows"]) == total[name]


def test_json_rows_of_vgg16():
    rows = {row["name"]: row for row in loaded("table", "vgg16")["rows"]}
    assert rows["conv1_1"]["output"] == [1, 64, 224, 224] and rows["conv1_1"]["kernel"] == [3, 3]
    assert rows["conv1_1"]["macs"] == 3 * 3 * 3 * 64 * 224 * 224
    assert rows["fc6"]["params"] == 25088 * 4096 + 4096 and rows["fc6"]["kernel"] is None
    assert rows["conv5_3"]["receptive_field"] == [196, 196], "13 convolutions of 3x3 and 4 pools before: 196"


def test_the_table_as_text():
    lines = run("table", "vgg16").splitlines()
    assert lines[0] == "vgg16 (1x3x224x224): layers"
    assert lines[2].split()[:2] == ["layer", "type"]
    assert any(line.split()[:3] == ["conv1_1", "Conv2d", "1x64x224x224"] for line in lines)
    assert any(line.startswith("total") and "138,357,544" in line and "15,470.26" in line for line in lines)
    assert "parameters  138,357,544 = 138,344,128 weights + 13,416 biases" in lines
    assert "depth       16 layers with weights on the longest path" in lines
    assert "depth       1 layer with weights on the longest path" in run("table", "conv1x1_example").splitlines()


@pytest.mark.parametrize("model", ["vgg16", "googlenet", "lenet5"])
@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_the_terminal(model, width):
    lines = run("table", model, COLUMNS=str(width)).splitlines()
    assert max(map(len, lines)) <= width
    assert width == 120 or any(line.startswith("hidden for width: ") for line in lines)


def test_the_same_rows_in_every_format():
    names = [row["name"] for row in loaded("table", "lenet5_modern")["rows"]]
    table = list(csv.reader(io.StringIO(run("table", "lenet5_modern", "--format", "csv"))))
    assert [row[0] for row in table] == ["name", *names, "total"]
    markdown = run("table", "lenet5_modern", "--format", "md")
    assert [line.split("|")[1].strip() for line in markdown.splitlines() if line.startswith("|")][2:-1] == names
    html = run("table", "lenet5_modern", "--format", "html")
    assert html.count("<tr>") == len(names) + 2 and "<td>C1</td>" in html


def test_columns_by_name_and_title_also_hidden_ones():
    output = run("table", "lenet5_modern", "--columns", "weights, receptive field,jump,share,depth", "--format", "csv")
    head, first, *_ = csv.reader(io.StringIO(output))
    assert head == ["name", "weights", "receptive_field", "jump", "share", "depth"]
    assert first[:4] == ["C1", "150", "5x5", "1x1"]
    plain = loaded("table", "lenet5_modern", "--columns", "macs")
    assert plain["rows"][0] == {"name": "C1", "macs": 117_600} and plain["total"]["params"] == 61_706


def test_sorting():
    def names(*options):
        return [row["name"] for row in loaded("table", "lenet5_modern", *options)["rows"]]

    assert names("--sort", "params")[:3] == ["C5", "F6", "C3"]
    assert names("--sort", "params:asc")[-1] == "C5"
    assert names("--sort", "name") == sorted(names())
    assert names("--sort", "output")[0] == "C1", "shapes by their number of elements"


def test_folding_by_module():
    rows = loaded("table", "resnet18", "--depth", "1")["rows"]
    assert [row["name"] for row in rows][4:8] == ["conv2_x", "conv3_x", "conv4_x", "conv5_x"]
    assert all(row["type"] for row in rows), "folded rows have the class of their module"
    assert sum(row["macs"] for row in rows) == loaded("table", "resnet18")["total"]["macs"]


def test_one_row_an_operator():
    plain, layers = loaded("table", "resnet18", "--by", "op"), loaded("table", "resnet18")
    assert {row["type"] for row in plain["rows"]} >= {"convolution", "native_batch_norm", "addmm"}
    for name in ("params", "weights", "biases", "norm", "buffers", "macs", "flops", "bytes_read", "depth"):
        assert plain["total"][name] == layers["total"][name], name
    assert plain["total"]["receptive_field"] == layers["total"]["receptive_field"]


def test_batch_and_input():
    assert loaded("table", "resnet18", "-b", "4")["total"]["macs"] == 4 * loaded("table", "resnet18")["total"]["macs"]
    assert loaded("table", "resnet18", "--input", "2x3x64x64")["input"] == "2x3x64x64"


def test_inputs_of_several_arguments_types_and_keywords(tmp_path):
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "print('a greeting')\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.words = nn.Embedding(10, 4)\n"
        "    def forward(self, ids, scale, *, mask):\n"
        "        print('and another')\n"
        "        return self.words(ids) * scale * mask\n"
    )
    inputs = ["--input", "1x5:int64", "--input", "5x4", "--input", "mask=1x5x1"]
    plain = loaded("table", f"{tmp_path / 'net.py'}:Net", *inputs)
    assert plain["input"] == "1x5, 5x4, 1x5x1" and plain["total"]["params"] == 40, "prints do not get into the JSON"


def test_the_slide():
    output = run("table", "vgg16", "--style", "slide", COLUMNS="80")
    assert max(map(len, output.splitlines())) <= 80
    for words in ("(138M total)", "(3*3*64)*64 = 36,864", "224*224*64=3.2M", "61.0 MB", "96MB", "24M x 4 bytes"):
        assert words in output
    markdown = run("table", "vgg16", "--style", "slide", "--format", "md")
    assert "parameters (138M total)" in markdown and "(3\\*3\\*64)\\*64 = 36,864" in markdown
    rows = loaded("table", "vgg16", "--style", "slide")["rows"]
    assert rows[1]["parameters"] == "(3*3*3)*64 = 1,728" and rows[1]["counted"] == 1728
    assert "the slide" not in run("table", "torchvision:vgg16", "--style", "slide"), (
        "the lecture is about the paper's net"
    )


def test_crosscheck():
    output = run("table", "resnet18", "--crosscheck")
    for words in ("cnnscope", "torch.utils.flop_counter", "fvcore", "leaves out"):
        assert words in output


@pytest.fixture
def uncounted(tmp_path):
    """A file with a model whose operator nobody knows."""
    (tmp_path / "net.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "@torch.library.custom_op('cnnscope_test::riddle', mutates_args=())\n"
        "def riddle(x: torch.Tensor) -> torch.Tensor:\n"
        "    return x.clone()\n"
        "riddle.register_fake(lambda x: torch.empty_like(x))\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv = nn.Conv2d(3, 4, 3)\n"
        "    def forward(self, x):\n"
        "        return riddle(riddle(self.conv(x)))\n"
    )
    return f"{tmp_path / 'net.py'}:Net"


def test_what_is_missing_is_said_and_strict_fails(uncounted):
    options = ["table", uncounted, "--input", "1x3x8x8"]
    for form in ("text", "md", "csv", "html"):
        output = run(*options, "--strict", "--format", form, code=1).replace("&gt;", ">")
        assert "riddle x2" in output and ">= 3.888 k" in output
    plain = loaded(*options)
    assert plain["missing"] == {"riddle": 2} and plain["total"]["macs"] == 3888
    assert [row["macs"] for row in plain["rows"]] == [3888, None, None]
    assert run("table", "vgg16", "--strict")
