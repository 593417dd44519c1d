"""Numbers as people read them."""

from __future__ import annotations

import pytest

from cnnscope import units


@pytest.mark.parametrize(
    "number, expected",
    [
        (0, "0"), (999, "999"), (1000, "1.000 k"), (999_999, "1.000 M"), (15_470_264_320, "15.47 G"),
        (3_857_973_248, "3.858 G"), (1_582_671_872, "1.583 G"), (2 * 10**15, "2.000 P"),
    ],
)  # fmt: skip
def test_si(number, expected):
    assert units.si(number) == expected


@pytest.mark.parametrize(
    "number, expected", [(0, "0 B"), (1023, "1023 B"), (1024, "1.000 KiB"), (60_950_432, "58.13 MiB")]
)
def test_binary(number, expected):
    assert units.binary(number) == expected


@pytest.mark.parametrize(
    "number, expected", [(0, "0 B"), (60_950_432, "61.0 MB"), (96_000_000, "96.0 MB"), (4000, "4.00 KB")]
)
def test_decimal(number, expected):
    assert units.decimal(number) == expected


@pytest.mark.parametrize(
    "largest, unit, expected",
    [
        (0, "MAC", (1, "")), (3999, "MAC", (1, "")), (4000, "MAC", (1000, "k")), (1_849_688_064, "MAC", (10**6, "M")),
        (25_600_000_000, "FLOP", (10**9, "G")), (12_845_056, "byte", (2**20, "MiB")), (100, "byte", (1, "B")),
    ],
)  # fmt: skip
def test_the_scale_of_a_column(largest, unit, expected):
    assert units.scale(largest, unit) == expected


def test_in_a_scale_nothing_becomes_zero_that_is_not():
    assert units.scaled(0, 10**6) == "0"
    assert units.scaled(1, 10**6) == "<0.01"
    assert units.scaled(86_704_128, 10**6) == "86.70"
    assert units.scaled(15_470_264_320, 10**6) == "15,470.26"
    assert units.scaled(1234, 1) == "1,234"


def test_grouped():
    assert units.grouped(138_357_544) == "138,357,544"
