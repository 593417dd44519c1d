"""Every network of the catalogue: its figures, to the unit, and what cnnscope finds in it.

`zoo_counts` counts with torch alone; what cnnscope says of the traced network is held to the same count.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

import pytest
import torch
from torch import nn
from zoo_counts import depth, on_meta, parameters, run_counted, weights

import cnnscope
from cnnscope import zoo
from cnnscope.architectures import densenet, fractalnet, preact_resnet, resnet_cifar, resnext, wide_resnet

ARCHITECTURES = files("cnnscope") / "architectures"
CATALOG = tomllib.loads((ARCHITECTURES / "catalog.toml").read_text(encoding="utf-8"))
MODELS = {entry["name"]: entry for paper in CATALOG["paper"] for entry in paper["model"]}
FAMILIES = {name: entry for name, entry in MODELS.items() if "parameters" in entry}
FIGURES = ("params", "weights", "macs", "depth")

OUTPUTS = {  # where it is not a score for each class of ImageNet or, of small pictures, of CIFAR-10
    **dict.fromkeys(("lenet5", "lenet5_modern", "lenet_caffe"), (1, 10)),
    "conv1x1_example": (1, 32, 56, 56),
    **dict.fromkeys(("stack3x3", "conv7x7"), (1, 256, 28, 28)),
    "inception_naive": (1, 672, 28, 28),
    "inception_bottleneck": (1, 480, 28, 28),
    "nin_cifar100": (1, 100),
    **dict.fromkeys((name for name in MODELS if name.startswith("fractalnet")), (1, 100)),
}

GAINS = {"lenet5": 22}  # trained factors of its subsampling, which cnnscope counts as weights


def builder(entry: dict[str, Any]) -> Any:
    file, function = entry["build"].split(":")
    return getattr(importlib.import_module(f"cnnscope.architectures.{file}"), function)


def arguments(entry: dict[str, Any]) -> dict[str, Any]:
    """All that the builder is called with, what it has as defaults included."""
    defaults = {key: each.default for key, each in inspect.signature(builder(entry)).parameters.items()}
    return defaults | entry.get("args", entry.get("parameters", {}))


@cache
def measured(build: str, args: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """What one network is, whatever its names: a family's defaults mostly make one that has a name too."""
    model = on_meta(builder({"build": build}), **json.loads(args))
    output, macs = run_counted(model, shape)
    graph = cnnscope.trace(model, shape)
    table, path = cnnscope.layers(graph), cnnscope.depth(graph)
    return {
        "figures": {"params": parameters(model), "weights": weights(model), "macs": macs, "depth": depth(model)},
        "traced": {
            "params": table.total.params,
            "weights": table.total.weights,
            "macs": table.total.macs,
            "depth": path.total.depth,
        },
        "missing": (*table.missing, *path.missing),
        "outputs": {tuple(scores.shape) for scores in (output if isinstance(output, tuple) else (output,))},
        "in place": [path for path, module in model.named_modules() if getattr(module, "inplace", False)],
        "with data": [path for path, tensor in model.state_dict().items() if not tensor.is_meta],
    }


@pytest.mark.parametrize("name", MODELS)
def test_is_what_the_catalogue_says_and_cnnscope_finds_it(name: str) -> None:
    entry = MODELS[name]
    stated = {figure: entry[figure] for figure in FIGURES if figure in entry}
    assert stated, "a model without a single stated figure is held to nothing"
    found = measured(entry["build"], json.dumps(arguments(entry)), tuple(entry["input"]))
    assert {figure: found["figures"][figure] for figure in stated} == stated
    assert found["outputs"] == {OUTPUTS.get(name, (1, 10) if entry["input"][-1] == 32 else (1, 1000))}
    assert not found["in place"]
    assert not found["with data"]
    assert not found["missing"]
    weights_only = {"weights": found["figures"]["weights"] + GAINS.get(name, 0)}
    assert found["traced"] == found["figures"] | weights_only


# The catalogue itself


def test_names_are_unambiguous() -> None:
    names = [word for entry in MODELS.values() for word in (entry["name"], *entry.get("aliases", []))]
    assert len(MODELS) == sum(len(paper["model"]) for paper in CATALOG["paper"])
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)


def test_entries_are_complete() -> None:
    keys = [paper["key"] for paper in CATALOG["paper"]]
    assert len(keys) == len(set(keys))
    chapters = list(dict.fromkeys(paper["chapter"] for paper in CATALOG["paper"]))
    order = [chapters.index(paper["chapter"]) for paper in CATALOG["paper"]]
    assert order == sorted(order), "papers of a chapter stand together"
    for paper in CATALOG["paper"]:
        assert {"key", "chapter", "title", "authors", "venue", "year", "arxiv", "model"} <= paper.keys()
    known = {"name", "aliases", "build", "args", "parameters", "input", "summary", *FIGURES}
    for entry in MODELS.values():
        assert {"name", "build", "input", "summary"} <= entry.keys() <= known
        assert len(entry["summary"]) <= 90
        assert builder(entry).__name__ == entry["name"] or "args" in entry
        assert not {"args", "parameters"} <= entry.keys()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_lists_all_its_arguments_with_their_defaults(name: str) -> None:
    defaults = {key: each.default for key, each in inspect.signature(builder(FAMILIES[name])).parameters.items()}
    assert list(FAMILIES[name]["parameters"].items()) == list(defaults.items())


@pytest.mark.parametrize("name", [name for name in MODELS if "args" in MODELS[name]])
def test_a_member_has_the_figures_of_the_family_where_it_is_the_default(name: str) -> None:
    (family,) = (entry for entry in FAMILIES.values() if entry["build"] == MODELS[name]["build"])
    assert MODELS[name]["args"].keys() <= family["parameters"].keys()
    if arguments(MODELS[name]) == family["parameters"]:
        assert [MODELS[name].get(figure) for figure in FIGURES] == [family.get(figure) for figure in FIGURES]


# The files

NEEDS = {  # besides layers.py
    "inception_resnet": {".inception_v4"},  # the other half of the paper
    "fusion": {".inception_v3", ".inception_v4", ".inception_resnet", ".preact_resnet"},  # its members
}


@pytest.mark.parametrize("file", sorted({entry["build"].split(":")[0] for entry in MODELS.values()}))
def test_a_file_and_its_layers_can_be_copied_out_but_for_two_that_need_others(file: str) -> None:
    source = (ARCHITECTURES / f"{file}.py").read_text(encoding="utf-8")
    needed = set(re.findall(r"^\s*(?:from|import) (\.\S*|cnnscope\S*)", source, re.MULTILINE))
    assert needed - {".layers"} == NEEDS.get(file, set())


# The builders


@pytest.mark.parametrize(
    ("make", "wrong", "expected"),
    [
        (resnet_cifar.resnet_cifar, {"depth": 111}, "depth 111 is not 6n + 2: 8, 14, 20, ..."),
        (preact_resnet.preact_resnet_cifar, {"depth": 2}, "depth 2 is not 9n + 2: 11, 20, 29, ..."),
        (wide_resnet.wrn, {"depth": 27}, "depth 27 is not 6n + 4: 10, 16, 22, ..."),
        (resnext.resnext, {"depth": 34}, "no net of depth 34 in the table; it has 50, 101, 152"),
        (densenet.densenet_cifar, {"depth": 39}, "depth 39 is not 3n + 4: 7, 10, 13, ..."),
        (densenet.densenet_bc, {"depth": 4}, "depth 4 is not 6n + 4: 10, 16, 22, ..."),
        (fractalnet.fractalnet, {"columns": 0}, "columns must be 1 or more, not 0"),
        (fractalnet.fractalnet, {"blocks": 6}, "blocks must be 1 to 5: 32 x 32 pixels can be halved so often"),
    ],
)
def test_an_impossible_net_is_said_to_be_one(make: Any, wrong: dict[str, int], expected: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        make(**wrong)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("lenet5", 32),
        ("lenet5_modern", 32),
        ("lenet_caffe", 28),
        ("nin_cifar100", 32),
        ("googlenet_aux", 224),
        ("resnet18_a", 64),
        ("inception_v3_aux", 299),
        ("resnet_cifar(20)", 32),
        ("preact_resnet_cifar(29)", 32),
        ("wrn(16, 2)", 32),
        ("wrn_imagenet(18, 0.5)", 64),
        ("resnext_cifar(29, 32, 4)", 32),
        ("stochastic_depth(20)", 32),
        ("se_resnet(18)", 64),
        ("fractalnet(2, 3, 8, 10)", 32),
        ("densenet_cifar(13, 8)", 32),
        ("densenet_bc(16, 8, classes=100)", 32),
        ("squeezenet1_1", 64),
        ("nasnet_a_mobile", 64),
    ],
)
def test_runs_on_real_numbers(name: str, size: int) -> None:
    torch.manual_seed(0)
    model: nn.Module = zoo.build(name).eval()
    channels = zoo.entry(name)["input"][1]
    with torch.no_grad():
        output = model(torch.randn(1, channels, size, size))
    for scores in output if isinstance(output, tuple) else (output,):
        assert scores.shape[0] == 1
        assert scores.isfinite().all()
