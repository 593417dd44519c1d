"""The zoo by name: how names are written, families with parameters, and what goes wrong."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from torch import nn

import cnnscope
from cnnscope import zoo
from cnnscope.cli import main
from cnnscope.errors import CnnscopeError, UnknownArchitecture, UnusableTarget


def error(name: str) -> CnnscopeError:
    """What `build` says; nothing but the errors of this package comes out of it."""
    with pytest.raises(CnnscopeError) as caught:
        zoo.build(name)
    return caught.value


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("vgg16", "vgg16"),
        (" VGG16 ", "vgg16"),
        ("Vgg-D", "vgg16"),
        ("squeezenet", "squeezenet1_0"),
        ("VGG-16", "vgg16"),
        ("LeNet-5", "lenet5"),
        ("ResNet-152", "resnet152"),
        ("SE-ResNet-50", "se_resnet50"),
        ("SqueezeNet 1.0", "squeezenet1_0"),
        ("WRN-28-10", "wrn28_10"),
        ("WRN-18-1.5", "wrn18_1_5"),
        ("WRN-50-2-bottleneck", "wrn50_2"),
        ("ResNeXt-50", "resnext50_32x4d"),
        ("ResNet-50 v1.5", "resnext50_1x64d"),
        ("wide-resnet50-2", "wrn50_2"),
        ("DenseNet-BC", "densenet_bc"),
    ],
)
def test_a_name_is_found_however_it_is_written(written, name):
    assert zoo.entry(written)["name"] == name


def test_every_name_and_alias_leads_to_its_entry():
    for paper in zoo.catalog():
        for model in paper["model"]:
            for name in (model["name"], *model.get("aliases", ())):
                for written in (name.upper().replace("_", "-"), name.replace("_", "")):
                    assert zoo.entry(written)["name"] == model["name"]


def test_names_are_those_of_the_catalogue_in_the_order_of_the_lecture():
    assert zoo.names() == [model["name"] for paper in zoo.catalog() for model in paper["model"]]
    order = ("lenet5", "alexnet", "zfnet", "vgg16", "googlenet", "resnet152", "wrn", "nasnet_a_large")
    assert [name for name in zoo.names() if name in order] == list(order)


@pytest.mark.parametrize(
    ("wrong", "closest"),
    [("resnet51", "resnet50"), ("vgg-17", "vgg16"), ("wrnn(depth=28)", "wrn"), ("alexnett", "alexnet")],
)
def test_an_unknown_name_gets_up_to_three_close_ones(wrong, closest):
    found = error(wrong)
    assert isinstance(found, UnknownArchitecture) and str(found).startswith(f"no architecture {wrong!r}; closest: '")
    near = str(found).partition("closest: ")[2].split(", ")
    assert repr(closest) in near and len(near) == len(set(near)) <= 3


def test_a_name_like_no_other_is_sent_to_the_list():
    assert str(error("qqqq")) == "no architecture 'qqqq'; 'cnnscope list' shows what there is"


# -- families ---------------------------------------------------------------------------------------------------------

DEFAULT = {"depth": 28, "k": 10}


@pytest.mark.parametrize(
    ("written", "args"),
    [
        ("wrn", DEFAULT),
        ("wrn()", DEFAULT),
        ("wrn(16)", {"depth": 16, "k": 10}),
        ("wrn(16, 4)", {"depth": 16, "k": 4}),
        ("wrn(16, k=4)", {"depth": 16, "k": 4}),
        ("WRN(k=4, depth=16)", {"depth": 16, "k": 4}),
        ("wrn(k = 4)", {"depth": 28, "k": 4}),
        ("DenseNet-BC(190, 40)", {"depth": 190, "k": 40, "classes": 10}),
        ("wrn_imagenet(depth=18, k=1.5)", {"depth": 18, "k": 1.5}),
    ],
)
def test_parameters_are_given_by_position_or_name_and_the_rest_are_defaults(written, args):
    assert zoo.entry(written)["args"] == args


def test_a_member_states_its_call_and_no_figures_for_those_are_of_the_defaults():
    family, member = zoo.entry("wrn"), zoo.entry("WRN(16, k=4)")
    assert member["name"] == "wrn(depth=16, k=4)" and member["input"] == family["input"]
    assert family["params"] == 36_479_194 and not {"params", "weights", "macs", "depth"} & member.keys()


def test_a_member_is_the_net_that_has_its_own_name():
    by_name, by_call = zoo.build("wrn16_4"), zoo.build("wrn(16, 4)")
    shapes = [(path, value.shape) for path, value in by_name.state_dict().items()]
    assert shapes == [(path, value.shape) for path, value in by_call.state_dict().items()]


def test_build_gives_a_real_module_with_weights():
    model = cnnscope.build("resnet_cifar(8)")
    assert isinstance(model, nn.Module)
    assert all(value.device.type == "cpu" for value in (*model.parameters(), *model.buffers()))
    assert model.get_submodule("fc").weight.std() > 0


WRONG = {
    "wrn(kk=3)": ["'wrn'", "kk", "wrn(depth=28, k=10)"],
    "wrn(16, 4, 10)": ["'wrn'", "wrn(depth=28, k=10)"],
    "wrn(depth=sixteen)": ["wrn(depth=sixteen)", "wrn(depth=28, k=10)"],
    "wrn(__import__('os'))": ["wrn(depth=28, k=10)"],
    "wrn(28": ["wrn(28", "wrn(depth=28, k=10)"],
    "wrn(**parameters)": ["wrn(depth=28, k=10)"],
    "vgg16(3)": ["'vgg16' takes no parameters", "wrn"],
    "VGG-D()": ["'vgg16' takes no parameters"],
    "wrn(depth=29)": ["wrn(depth=29, k=10) cannot be built: depth 29 is not 6n + 4: 10, 16, 22, ..."],
    "wrn(depth='deep')": ["wrn(depth='deep', k=10) cannot be built"],
    "resnext(34)": ["no net of depth 34 in the table; it has 50, 101, 152"],
    "DenseNet-BC(16": ["densenet_bc(depth=100, k=12, classes=10)"],
    "wrn(16, 2).x": ["wrn(depth=28, k=10)"],
    "wrn(16, 2)(3)": ["wrn(depth=28, k=10)"],
    "wrn(16, depth=16)": ["wrn(16, depth=16)", "depth", "twice"],
    "wrn(k=-1)": ["wrn(depth=28, k=-1) cannot be built"],
    "se_resnet(reduction=0)": ["se_resnet(depth=50, reduction=0) cannot be built"],
}


@pytest.mark.parametrize("name", WRONG)
def test_parameters_that_cannot_be_are_one_clear_error(name):
    found = error(name)
    assert isinstance(found, UnusableTarget) and "\n" not in str(found)
    for words in WRONG[name]:
        assert words in str(found)


@pytest.mark.parametrize("name", WRONG)
def test_on_the_command_line_they_are_no_traceback(name):
    result = CliRunner().invoke(main, ["table", name])
    assert result.exit_code == 2 and result.stdout == "" and "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) == 1 and result.stderr.startswith("cnnscope: ")
    for words in WRONG[name]:
        assert words in result.stderr


def test_a_family_is_listed_as_it_is_called_and_what_it_has_made_below():
    text = CliRunner().invoke(main, ["list"], env={"COLUMNS": "100"}).stdout
    lines = [line.strip() for line in text.splitlines()]
    (at,) = (index for index, line in enumerate(lines) if line.startswith("wrn(depth=28, k=10) "))
    assert lines[at].endswith("  WRN-d-k for CIFAR-10, any depth 6N + 4")
    assert lines[at + 1].startswith("named: wrn16_4, wrn16_8")
    assert not any(line.startswith("wrn16_8 ") for line in lines)
    assert "- `wrn(depth=28, k=10)`: WRN-d-k" in CliRunner().invoke(main, ["list", "--format", "md"]).stdout
