"""What part of a device's promised rates the kernels of each kind reach: shipped, or measured by a calibration."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

KINDS = ("dense", "grouped", "depthwise", "matmul", "attention", "pooling", "normalisation", "pointwise")
PRODUCTS = KINDS[:5]


class Efficiencies(NamedTuple):
    """How near kernels come to a device's peaks.

    compute: part of the peak rate by kind (``PRODUCTS``; other kinds run at the plain fp32 rate), bandwidth: part of
    the peak bandwidth by kind (``KINDS``); launch: seconds that each kernel takes beside its work; spread: measured
    time over predicted, between these for the central 80% of nets; origin: from where the figures are.
    """

    compute: Mapping[str, float]
    bandwidth: Mapping[str, float]
    launch: float
    spread: tuple[float, float]
    origin: str


@cache
def shipped(channels_last: bool) -> Efficiencies:
    """Those that come with the package, for float tensors laid out in either way."""
    found = tomllib.loads(files(__package__).joinpath("efficiencies.toml").read_text(encoding="utf-8"))
    return read(found["channels_last" if channels_last else "contiguous"])


def read(entry: Mapping[str, Any]) -> Efficiencies:
    """Efficiencies from what a TOML file says.

    Raises:
        ValueError: a kind misses, or a value is not possible.
    """
    compute, bandwidth = entry.get("compute", {}), entry.get("bandwidth", {})
    for name, kinds, given in (("compute", PRODUCTS, compute), ("bandwidth", KINDS, bandwidth)):
        for kind in kinds:
            value = given.get(kind)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 4:
                raise ValueError(f"{name}.{kind} is {value!r}; it is a number above 0, and near or below 1")
    launch, spread = entry.get("launch_us"), entry.get("spread")
    if not isinstance(launch, int | float) or not 0 <= launch < 1e6:
        raise ValueError(f"launch_us is {launch!r}; it is a number of microseconds")
    if not isinstance(spread, list) or len(spread) != 2 or not 0 < spread[0] <= spread[1]:
        raise ValueError(f"spread is {spread!r}; it is [low, high], measured time over predicted")
    return Efficiencies(
        {kind: compute[kind] for kind in PRODUCTS},
        {kind: bandwidth[kind] for kind in KINDS},
        launch * 1e-6,
        (spread[0], spread[1]),
        str(entry.get("origin", "")),
    )


def written(reached: Efficiencies, heading: str) -> str:
    """The TOML that ``read`` reads, under a heading such as ``device.efficiencies``."""

    def numbers(values: Mapping[str, float]) -> str:
        return "{ " + ", ".join(f"{kind} = {value:.3g}" for kind, value in values.items()) + " }"

    return "\n".join(
        (
            f"[{heading}]",
            f"origin = {quoted(reached.origin)}",
            f"launch_us = {reached.launch * 1e6:.3g}",
            f"spread = [{reached.spread[0]:.3g}, {reached.spread[1]:.3g}]",
            f"compute = {numbers(reached.compute)}",
            f"bandwidth = {numbers(reached.bandwidth)}",
            "",
        )
    )


def quoted(text: str) -> str:
    """A TOML string: JSON's form is one."""
    import json

    return json.dumps(text, ensure_ascii=False)
