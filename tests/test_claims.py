"""The ledger of claims: every recorded verdict holds, rests on the graphs, and is what the command prints."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn

import cnnscope
from cnnscope import claims
from cnnscope.claiming import listing
from cnnscope.claiming.conventions import KNOWN
from cnnscope.claiming.deciding import decide
from cnnscope.claiming.ledger import SOURCES, Claim, parts
from cnnscope.claiming.ledger import claims as ledger
from cnnscope.claiming.measures import ARITHMETIC
from cnnscope.claiming.nets import Nets
from cnnscope.claiming.quantities import QUANTITIES
from cnnscope.cli import main

ROOT = Path(__file__).resolve().parent.parent
NETS = Nets()  # traced once for all tests


@pytest.fixture(scope="module")
def found():
    """All verdicts."""
    return claims.tabled(claims.verdicts(ledger(), NETS))


def run(*arguments, code=0):
    result = CliRunner().invoke(main, ["claims", *arguments])
    assert result.exit_code == code, result.output
    return result.stdout


# The ledger


def test_every_recorded_verdict_holds(found):
    assert [f"{row.name}: {row.verdict}, not {row.recorded}" for row in found.values() if row.differs] == []


def test_every_number_of_the_lecture_has_a_row():
    with (Path(__file__).parent / "lecture_claims.csv").open(encoding="utf-8", newline="") as file:
        printed = Counter(tuple(row.values()) for row in csv.DictReader(file))
    rows = claims.chosen(source="lecture")
    assert not printed - Counter((row.architecture, row.variant, row.quantity, row.stated) for row in rows)


def test_slips_of_the_lecture_are_found(found):
    slips = {row.stated for row in found.values() if row.source == "slide" and row.verdict == "contradicted"}
    assert {"96MB/image", "24M", "529k", "845M (page with comparison)", "358M", "5 million", "60M"} <= slips
    assert {"12x less than AlexNet", "<0.5Mb", "1e-5", "first use of ReLU", "6x6x512"} <= slips


def test_contradicted_and_cited_claims_say_why(found):
    assert [row.name for row in found.values() if row.verdict in ("contradicted", "cited") and not row.note] == []


def test_no_computed_value_is_written_down():
    """Every measure rests on a net, on the catalogue, or on what another claim states."""
    pending = [measure for claim in ledger() for measure in (claim.measure, claim.expected) if measure]
    stated = {claim.value for claim in ledger()}
    while pending:
        measure = pending.pop()
        assert (measure["what"] in QUANTITIES or measure["what"] == "fits") == ("model" in measure), measure
        assert measure["what"] in QUANTITIES or measure["what"] in ARITHMETIC, measure
        pending.extend(parts(measure))
        if measure["what"] == "stated":  # counts of a formula, sizes after compression, and a slip of rounding
            assert measure["value"] in stated | {-1, 10, 3.87, 3.86, 48, 27, 6.9}, measure


def test_claims_are_written_in_full():
    for claim in ledger():
        assert claim.source in SOURCES
        assert claim.verdict.startswith(("reproduced", "contradicted", "cited")), claim
        assert claim.step >= 0 and 0 <= claim.within <= 0.1
        decided = claim.verdict != "cited" or not claim.stated
        assert decided == (claim.measure is not None or claim.original is not None), claim


def test_every_convention_is_some_claims(found):
    verdicts = " ".join(row.verdict for row in found.values())
    assert [way.name for way in KNOWN if way.name not in verdicts] == []


# Verdicts rest on the graphs


class Doctored(Nets):
    """The nets with one layer taken out of one of them."""

    def __init__(self, name, layer):
        super().__init__()
        self.name, self.layer = name, layer

    def graph(self, model, input):
        if model != self.name:
            return NETS(model, input).graph
        with torch.device("meta"):
            net = cnnscope.build(model)
        net.set_submodule(self.layer, nn.Identity())
        return cnnscope.trace(net, input or cnnscope.zoo.entry(model)["input"], name=model)


@pytest.mark.parametrize(
    ("net", "layer", "turned"),
    [
        ("vgg16", "conv5_3", {"params:CONV3-512 5c", "depth", "macs", "params"}),
        ("vgg16", "pool5", {"params", "depth", "memory"}),  # fc6 refuses the size: nothing can be computed
        ("resnet50", "conv4_x.block2", {"depth", "params", "flops"}),
        ("googlenet", "inception4b.3x3.conv", {"ops:4b", "params:4b"}),
        ("squeezenet1_0", "fire9.expand.expand3x3.conv", {"params:fire9", "params"}),
        ("lenet5", "tanh1", set()),  # which no claim is about
    ],
)
def test_without_a_layer_verdicts_turn(net, layer, turned):
    rows = list(claims.verdicts(claims.chosen(net), Doctored(net, layer)))
    different = {row.quantity for row in rows if row.differs}
    assert turned <= different if turned else not different


# Deciding


def verdict(computed, value, options):
    measure = {"what": "stated", "value": computed}
    given = {"verdict": "?", "measure": measure, "stated": str(value), "value": value, **options}
    return decide(Claim("", "paper", "", "", **given), NETS).verdict


@pytest.mark.parametrize(
    ("computed", "stated", "options", "expected"),
    [
        (138_357_544, 138e6, {"step": 1e6}, "reproduced"),
        (138_357_544, 138_357_544, {}, "reproduced"),
        (138_357_545, 138_357_544, {}, "contradicted"),
        (2.5, 2, {"step": 1}, "reproduced"),
        (2.5, 3, {"step": 1}, "reproduced"),
        (3.858, 3.8, {"step": 0.1}, "reproduced under convention digits cut off, not rounded"),
        (3.858, 3.8, {"step": 0.1, "conventions": False}, "contradicted"),
        (3.858, 3.7, {"step": 0.1}, "contradicted"),
        (7.97, 7.8, {"step": 0.1, "within": 0.03}, "reproduced under convention within 3 %"),
        (7.97, 7.8, {"step": 0.1, "within": 0.02}, "contradicted"),
        (23.8, 25, {"below": 25}, "reproduced"),
        (25.8, 25, {"below": 25}, "contradicted"),
        (2, None, {"above": 1}, "reproduced"),
        (1, None, {"above": 1}, "contradicted"),
        (2, None, {"expected": {"what": "stated", "value": 2}}, "reproduced"),
        (2, None, {"expected": {"what": "stated", "value": 3}}, "contradicted"),
        (2, None, {"stated": ""}, "cited"),
        (None, 1e-5, {"measure": None}, "cited"),
        (None, 1e-5, {"measure": None, "original": 1e-5}, "cited"),
        (None, 1e-5, {"measure": None, "original": 1e-4}, "contradicted"),
    ],
)
def test_stated_against_computed(computed, stated, options, expected):
    assert verdict(computed, stated, options) == expected


@pytest.mark.parametrize(
    ("measure", "stated", "step", "expected"),
    [
        ({"what": "params", "of": "conv1_1"}, 1_728, 0, "reproduced under convention weights only"),
        ({"what": "params", "of": "conv1_1"}, 1_792, 0, "reproduced"),
        ({"what": "macs"}, 15.3e9, 1e8, "reproduced under convention convolutions only"),
        ({"what": "macs"}, 30.9e9, 1e8, "reproduced under convention two FLOPs for each multiply-add"),
        ({"what": "size", "per": 10**6}, 527.8, 0.1, "reproduced under convention MB = 2^20 bytes"),
        ({"what": "depth"}, 21, 0, "reproduced under convention with pooling"),
    ],
)
def test_conventions_are_tried(measure, stated, step, expected):
    claim = Claim("", "paper", "", "", str(stated), "?", stated, step=step, measure={**measure, "model": "vgg16"})
    assert decide(claim, NETS).verdict == expected


def test_a_module_that_is_not_there_is_said():
    claim = Claim("", "paper", "", "", "1", "reproduced", 1, measure={"what": "shape", "model": "vgg16", "of": "conv9"})
    (row,) = claims.verdicts([claim], NETS)
    assert row.verdict == "cited" and row.differs and "calls no module 'conv9'" in row.note


def test_a_library_that_is_not_installed_speaks_against_nothing(monkeypatch):
    class Without(Nets):
        def graph(self, model, input):
            raise cnnscope.errors.UnusableTarget("timm is not installed; pip install timm")

    rows = list(claims.verdicts(claims.chosen(source="timm"), Without()))
    assert {row.verdict for row in rows} == {"cited"} and not any(row.differs for row in rows)
    assert "not installed" in next(row.note for row in rows if "error" not in row.quantity)


# What is asked for


def test_check_gives_a_table_of_verdicts():
    table = claims.check("lenet5")
    row = table["LeNet-5 1998 params (paper)"]
    assert (row.stated, row.stated_value, row.computed, row.verdict) == ("60,000", 60_000, 60_000, "reproduced")
    assert row.module == "lenet5" and "LeNet-5" in str(table)


@pytest.mark.parametrize("name", ["VGG", "vgg", "vgg16", "VGG-16"])
def test_claims_are_found_by_architecture_and_by_net(name):
    assert {"VGG"} <= {claim.architecture for claim in claims.chosen(name)}


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("inception_v1", "googlenet"),
        ("LeNet", "lenet5"),
        ("wide-resnet50-2", "wrn50_2"),
        ("wrn(k=10, depth=28)", "wrn28_10"),
        ("fractalnet(2, 5, 16)", "fractalnet_c2_16"),
    ],
)
def test_claims_are_found_by_any_name_of_a_net(written, name):
    assert claims.chosen(written) == claims.chosen(name) != []
    assert claims.on_net(written) == claims.on_net(name)


def test_a_family_means_all_its_members():
    found = {model for claim in claims.chosen("wrn") for model in claim.models}
    assert {"wrn16_8", "wrn28_10", "wrn40_4", "wrn(depth=28, k=1)"} <= found
    assert [claim for claim in claims.chosen("wrn(28, 10)") if "wrn28_10" not in claim.models] == []


def test_unknown_names_and_sources_are_refused():
    with pytest.raises(cnnscope.errors.UnknownArchitecture, match="no claim is about 'vgg17'"):
        claims.check("vgg17")
    with pytest.raises(ValueError, match="no source 'hearsay'"):
        claims.check(source="hearsay")


def test_nothing_heavy_is_loaded_before_a_net_is_traced():
    program = "import sys, cnnscope.claims as c; c.chosen('vgg16'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=120).returncode == 0


# The command


def test_json_has_the_promised_columns():
    whole = json.loads(run("vgg16", "--format", "json"))
    assert whole["schema_version"] == 1 and sum(whole["total"].values()) == len(whole["rows"])
    names = "name architecture variant quantity stated stated_value unit source computed verdict note"
    assert {" ".join(row) for row in whole["rows"]} == {names}
    row = next(row for row in whole["rows"] if row["stated"] == "96MB/image")
    assert (row["stated_value"], row["computed"], row["verdict"]) == (96_000_000, 60_950_432, "contradicted")


def test_csv_has_the_same_columns():
    rows = list(csv.DictReader(run("alexnet", "--format", "csv").splitlines()))
    assert list(rows[0]) == list(listing.FIELDS)
    assert len(rows) == len(claims.chosen("alexnet"))


def test_text_shows_stated_computed_verdict_and_note():
    text = run("googlenet", "--source", "lecture", "--contradicted")
    (line,) = (line for line in text.splitlines() if "5 million" in line)
    assert line.split()[-2:] == ["6,998,552", "contradicted"]
    assert "Table 1 itself adds up to 6.8M" in " ".join(text.split())
    assert "reproduced" not in text


def test_it_exits_1_when_a_verdict_is_not_the_recorded_one(monkeypatch):
    wrong = [dataclasses.replace(claim, verdict="contradicted") for claim in claims.chosen("conv1x1")]
    monkeypatch.setattr(claims, "chosen", lambda name, source: wrong)
    assert "the ledger expects 'contradicted'" in run(code=1)


def test_wrong_usage_exits_2():
    run("vgg17", code=2)
    run("--source", "hearsay", code=2)


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="the report has figures of torchvision")
def test_the_report_is_what_the_command_gives(found):
    report = (ROOT / "reports" / "claims.md").read_text(encoding="utf-8")
    # timm is not needed for the tests; what is about it is not computed without it.
    left_out = "\0" if importlib.util.find_spec("timm") else "| timm |"
    now, then = (
        [line for line in text.splitlines() if left_out not in line] for text in (listing.as_markdown(found), report)
    )
    assert now == then, "stale: run cnnscope claims --format md -o reports/claims.md"
