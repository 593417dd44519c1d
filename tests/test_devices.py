"""Devices by name and by file."""

import json

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnscope.cli import main
from cnnscope.devices import RATES, Device, as_toml, catalog, device
from cnnscope.efficiencies import KINDS, PRODUCTS, Efficiencies, shipped
from cnnscope.errors import UnknownDevice

NAMES = list(catalog())


def run(*arguments: str):
    return CliRunner().invoke(main, list(arguments))


def test_every_device_says_where_its_figures_stand():
    for row in catalog().values():
        assert row.sheet and row.url.startswith("https://")
        assert row.fp32 and row.bandwidth and row.memory and row.tdp and row.capability


def test_the_figures_of_a_family_keep_its_ratios():
    """On GeForce cards fp16 with fp32 accumulation is twice fp32 (four times, with fp16 accumulation, is marketing);
    on every tensor core 8-bit products are at least twice as fast as 16-bit ones."""
    for row in catalog().values():
        if row.name.startswith("RTX"):
            assert row.fp16 == pytest.approx(2 * row.fp32, rel=0.01)
        assert row.bf16 in (row.fp16, None)
        for eight in filter(None, (row.int8, row.fp8)):
            assert eight == pytest.approx(2 * row.fp16, rel=0.02) or eight == pytest.approx(4 * row.fp16, rel=0.02)


@pytest.mark.parametrize("name", ["RTX 4090", "rtx4090", "rtx-4090", "GeForce RTX 4090", "NVIDIA GeForce RTX 4090"])
def test_a_device_has_its_names(name: str):
    assert device(name) is device("RTX 4090")


def test_an_unknown_device_names_the_closest():
    with pytest.raises(UnknownDevice, match="no device 'RTX 4099'; closest: RTX 4090,"):
        device("RTX 4099")
    with pytest.raises(UnknownDevice, match="no device 'zzzzzz'; 'cnnscope devices' lists them"):
        device("zzzzzz")


def test_what_a_device_cannot_is_not_zero():
    assert device("T4").rate("bf16") is None
    assert catalog()["T4"].bf16 is None
    assert device("T4").rate("tf32") == device("T4").rate("fp32"), "float32 runs on the plain cores"


positive = st.floats(0.01, 1000)
parts = st.floats(0.01, 4)
reached = st.builds(
    Efficiencies,
    st.fixed_dictionaries(dict.fromkeys(PRODUCTS, parts)),
    st.fixed_dictionaries(dict.fromkeys(KINDS, parts)),
    st.floats(0, 1e-3),
    st.tuples(st.floats(0.1, 1), st.floats(1, 9)),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])),
)


@settings(deadline=None)
@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1),
    st.dictionaries(st.sampled_from(RATES), positive, min_size=1),
    positive,
    st.none() | st.integers(1, 1000),
    st.none() | reached,
)
def test_a_device_survives_its_file(tmp_path_factory, name, rates, bandwidth, tdp, efficiencies):
    made = Device(name, {k: v * 1e12 for k, v in rates.items()}, bandwidth * 1e9, tdp=tdp, efficiencies=efficiencies)
    path = tmp_path_factory.mktemp("device") / "my.toml"
    path.write_text(as_toml(made), encoding="utf-8")
    read = device(str(path))
    assert (read.name, read.tdp, read.memory) == (made.name, made.tdp, None)
    assert read.bandwidth == pytest.approx(made.bandwidth, rel=1e-3)
    assert dict(read.rates) == pytest.approx(dict(made.rates), rel=1e-3)
    assert (read.efficiencies is None) == (efficiencies is None)
    if efficiencies and read.efficiencies:
        assert dict(read.efficiencies.bandwidth) == pytest.approx(dict(efficiencies.bandwidth), rel=1e-2)
        assert read.efficiencies.launch == pytest.approx(efficiencies.launch, rel=1e-2, abs=1e-15)
        assert read.efficiencies.origin == efficiencies.origin


GOOD = '[device]\nname = "mine"\nrates = { fp32 = 1 }\nbandwidth = 10\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "describes no device"),
        ("x = ", "cannot read the device file"),
        ('[[device]]\nname = "a"\n[[device]]\nname = "b"\n', "describes no device"),
        (GOOD.replace("mine", ""), "has no name"),
        (GOOD + "speed = 3\n", "has 'speed', which is none of"),
        (GOOD.replace("fp32 = 1", "fp33 = 1"), "needs rates = "),
        (GOOD.replace("fp32 = 1", "fp32 = 0"), "has fp32 = 0; give a number above 0, or leave out what is not known"),
        (GOOD.replace("fp32 = 1", "fp32 = nan"), "has fp32 = nan"),
        (GOOD.replace("10", '"fast"'), "has bandwidth = 'fast'"),
        (GOOD.replace("bandwidth = 10", ""), "needs bandwidth, in GB/s"),
        (GOOD + "[device.efficiencies]\nlaunch_us = 1\n", "compute.dense is None"),
    ],
)
def test_a_bad_device_file_says_what_is_wrong(tmp_path, text: str, message: str):
    path = tmp_path / "my.toml"
    path.write_text(text)
    with pytest.raises(UnknownDevice, match=r"my\.toml") as error:
        device(str(path))
    assert message in str(error.value)


def test_a_missing_device_file_says_how_to_make_one(tmp_path):
    with pytest.raises(UnknownDevice, match=r"no device file .*my.toml'; 'cnnscope calibrate -o"):
        device(str(tmp_path / "my.toml"))


@pytest.mark.parametrize("channels_last", [False, True])
def test_shipped_efficiencies_are_parts_of_peaks(channels_last: bool):
    found = shipped(channels_last)
    assert all(0 < part <= 1 for part in (*found.compute.values(), *found.bandwidth.values()))
    assert 0 < found.spread[0] < 1 < found.spread[1]
    assert 0 < found.launch < 1e-4


def test_devices_command_lists_all():
    text = run("devices").output
    assert all(name in text for name in NAMES)
    found = json.loads(run("devices", "--format", "json").output)
    assert [row["name"] for row in found["rows"]] == NAMES
    assert next(row for row in found["rows"] if row["name"] == "RTX 4090")["fp16"] == 165_200_000_000_000
