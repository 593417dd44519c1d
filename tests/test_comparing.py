"""Networks side by side, the Comparison picture, the winners, and differences layer by layer."""

from __future__ import annotations

import itertools
import json
import xml.etree.ElementTree as ET

import pytest
from click.testing import CliRunner

import cnnscope
from cnnscope import comparing, differences
from cnnscope.cli import main
from cnnscope.render import bubbles

SVG = "{http://www.w3.org/2000/svg}"


def run(*arguments):
    return CliRunner().invoke(main, arguments)


def traced(name, input=(1, 3, 224, 224)):
    return cnnscope.trace(cnnscope.build(name), input, name=name)


# -- compare ----------------------------------------------------------------------------------------------------------


def test_figures_and_ratios_are_those_of_the_graphs():
    found = comparing.compare([traced("vgg16"), traced("resnet50")])
    vgg, resnet = found["vgg16"], found["resnet50"]
    assert (vgg.params, vgg.macs, vgg.depth, vgg.size) == (138_357_544, 15_470_264_320, 16, 4 * 138_357_544)
    assert (vgg.receptive_field, resnet.receptive_field) == ((212, 212), (483, 483)), "of the last maps, 7 x 7"
    assert vgg.params_ratio == 1 and resnet.params_ratio == pytest.approx(25_557_032 / 138_357_544)
    assert found.notes == (
        "resnet50 has 5.4x fewer parameters than vgg16, 4.0x fewer MACs, 1.26x more bytes of activations, "
        "34 more layers of depth",
    )


def test_squeezenet_has_49x_fewer_parameters_than_alexnet():
    from cnnscope.architectures.squeezenet import squeezenet1_0

    squeezenet = cnnscope.trace(squeezenet1_0(), (1, 3, 227, 227), name="squeezenet1_0")
    found = comparing.compare([traced("alexnet_grouped", (1, 3, 227, 227)), squeezenet])
    assert found.notes[0].startswith("squeezenet1_0 has 49x fewer parameters than alexnet_grouped, ")


@pytest.mark.parametrize(
    "ratio, words",
    [
        (1, "as many MACs"), (1.004, "about as many MACs"), (1.13, "1.13x more MACs"), (0.5, "2.0x fewer MACs"),
        (1 / 48.83, "49x fewer MACs"), (None, ""), (0.0, ""),
    ],
)  # fmt: skip
def test_ratios_in_words(ratio, words):
    assert comparing.times(ratio, "MACs") == words


def test_the_same_net_twice_is_as_large_as_itself():
    found = run("compare", "resnet18", "resnet18")
    assert found.exit_code == 0
    assert "resnet18#2 has as many parameters as resnet18, as many MACs" in " ".join(found.stdout.split())


def test_formats():
    plain = json.loads(run("compare", "resnet18", "vgg11", "--format", "json").stdout)
    assert plain["schema_version"] == 1 and [row["name"] for row in plain["rows"]] == ["resnet18", "vgg11"]
    assert plain["rows"][1]["params"] == 132_863_336 and plain["rows"][1]["receptive_field"] == [150, 150]
    assert run("compare", "resnet18", "--format", "csv").stdout.startswith("name,input,params")
    assert "| resnet18 " in run("compare", "resnet18", "--format", "md").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare"], ["compare", "resnet18", "nothing"], ["compare", "--winners", "vgg16"],
        ["compare", "--svg", "lenet5"], ["compare", "--svg", "nothing"],
        ["compare", "resnet18", "--columns", "nothing"], ["diff", "vgg16"], ["diff", "vgg16", "nothing"],
    ],
)  # fmt: skip
def test_wrong_use_is_one_error(arguments):
    found = run(*arguments)
    assert found.exit_code == 2 and found.stderr.startswith("cnnscope: ") and len(found.stderr.splitlines()) <= 3


# -- the picture ------------------------------------------------------------------------------------------------------


def parsed(svg):
    return ET.fromstring(svg)


def boxes(svg):
    """Where each label stands: its bold line with the small one under it."""
    texts = [each for each in parsed(svg).iter(f"{SVG}text") if each.get("font-weight") == "bold"][1:]
    for each in texts:
        x, y = float(each.get("x")), float(each.get("y"))
        yield bubbles.Box(x, y - 11, x + bubbles.width(each.text, 12.5, bold=True), y + 15)


def test_the_slide_is_reproduced_from_the_graphs(tmp_path):
    target = tmp_path / "comparison.svg"
    found = run("compare", "--svg", "-o", str(target))
    assert found.exit_code == 0
    svg = target.read_text(encoding="utf-8")
    root = parsed(svg)
    words = [each.text for each in root.iter(f"{SVG}text")]
    assert {"AlexNet", "GoogLeNet", "VGG-16", "VGG-19", "ResNet-50", "ResNet-152"} <= set(words)
    assert root.get("font-family") == "Arial, Helvetica, sans-serif"
    titles = [each.text for each in root.iter(f"{SVG}title")]
    assert "VGG-16: top-1 71 %, 30.94 G operations, 138,357,544 parameters" in titles
    assert all(each.get("id").startswith("cnnscope-comparison") for each in root.iter() if each.get("id"))
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "") and "<image" not in svg and "<script" not in svg
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes(svg), 2))


def test_area_is_proportional_to_parameters_and_places_to_numbers():
    svg = bubbles.comparison([bubbles.Bubble("a", 60, 10**9, 10**6), bubbles.Bubble("b", 70, 3 * 10**9, 9 * 10**6)])
    big, _, small, _ = (each for each in parsed(svg).iter(f"{SVG}circle"))
    assert float(big.get("r")) == pytest.approx(3 * float(small.get("r")), abs=0.01)
    assert float(big.get("cx")) > float(small.get("cx")) and float(big.get("cy")) < float(small.get("cy"))


@pytest.mark.parametrize("count", [1, 5, 30])
def test_labels_of_crowded_bubbles_do_not_overlap(count):
    crowd = [
        bubbles.Bubble(f"Net-{i} & <i>", 75 + i % 4 * 0.2, int(4e9 + i % 7 * 1e8), 25_000_000) for i in range(count)
    ]
    svg = bubbles.comparison(crowd)
    found = list(boxes(svg))
    assert len(found) == count
    assert not any(a.overlaps(b) for a, b in itertools.combinations(found, 2))


def test_nothing_to_draw_is_an_error():
    with pytest.raises(ValueError, match="no network"):
        bubbles.comparison([])


@pytest.mark.parametrize("low, high", [(0, 43), (51, 82), (0, 0.001), (5, 5), (-3, 1200)])
def test_ticks_are_round_and_reach_around(low, high):
    found = bubbles.ticks(low, high)
    assert found[0] <= low and found[-1] >= high and 1 <= len(found) <= 12


# -- what is cited ----------------------------------------------------------------------------------------------------


def test_every_cited_figure_has_its_source_and_a_model_once():
    data = comparing.accuracies()
    names = [each["model"] for each in data["network"]]
    assert len(set(names)) == len(names)
    assert all(each["source"] in data["source"] and 0 < each["top1"] < 100 for each in data["network"])
    assert set(names) | {each["model"] for each in data["winner"] if "model" in each} <= set(cnnscope.names())
    assert len(comparing.cited()) == 11 and [each["model"] for each in comparing.cited(["vgg16", "lenet5"])] == [
        "vgg16"
    ]


def test_winners_have_their_depth_from_the_graph():
    found = comparing.winners({"resnet152": traced("resnet152"), "vgg19": traced("vgg19")})
    years = [row.year for row in found.values()]
    assert years == ["2010", "2011", "2012", "2013", "2014", "2014", "2015", "2016", "2017", ""]
    assert (found["MSRA (He et al.)"].depth, found["MSRA (He et al.)"].error) == (152, 3.567)
    assert found["VGG (Simonyan, Zisserman), second"].depth == 19
    assert found["NEC-UIUC (Lin et al.)"].depth is None


def test_the_command_for_winners():
    plain = json.loads(run("compare", "--winners", "--format", "json").stdout)
    depths = {row["model"]: row["depth"] for row in plain["rows"] if row["model"]}
    assert plain["schema_version"] == 1
    assert [depths[name] for name in ("alexnet_grouped", "zfnet", "vgg19", "googlenet", "resnet152")] == [
        8,
        8,
        19,
        22,
        152,
    ]


# -- diff -------------------------------------------------------------------------------------------------------------


def test_vgg19_has_three_convolutions_over_vgg16():
    found = differences.diff(traced("vgg16"), traced("vgg19"))
    convolutions = [row for row in found.values() if "Conv2d" in row.after]
    assert [row.mark for row in convolutions] == ["+"] * 3
    assert [row.params for row in convolutions] == [590_080, 2_359_808, 2_359_808]
    assert found.total.params == 143_667_240 - 138_357_544 and found.total.macs == 19_632_062_464 - 15_470_264_320


def test_grouping_changes_layers_in_place():
    found = differences.diff(traced("alexnet", (1, 3, 227, 227)), traced("alexnet_grouped", (1, 3, 227, 227)))
    assert [row.name for row in found.values() if row.mark == "~"] == ["~ conv2", "~ conv4", "~ conv5"]
    assert found["~ conv2"].after == "Conv2d 5x5 g2 -> 256x27x27" and found["~ conv2"].params == -307_200


def test_where_a_stride_stands():
    found = run("diff", "resnet50", "torchvision:resnet50", "--format", "json")
    plain = json.loads(found.stdout)
    changed = [row for row in plain["rows"] if row["macs"]]
    assert {row["before"].split()[1] for row in changed} == {"1x1/2"} and {
        row["after"].split()[1] for row in changed
    } == {"1x1"}
    assert plain["total"]["macs"] == 231_211_008 and plain["total"]["params"] == 0


def test_a_net_has_nothing_over_itself():
    graph = traced("resnet18", (1, 3, 64, 64))
    found = differences.diff(graph, graph)
    assert len(found) == 0 and found.notes[0].startswith("0 layers removed, 0 added, 0 changed, ")
    assert len(differences.diff(graph, graph, whole=True)) == int(found.notes[0].split()[-3])


def test_differences_add_up_both_ways():
    a, b = traced("resnet18"), traced("resnet34_a")
    there, back = differences.diff(a, b), differences.diff(b, a)
    assert there.total.macs == -back.total.macs == 3_644_493_824 - 1_814_073_344
    assert there.total.params == -back.total.params == 21_623_848 - 11_689_512
