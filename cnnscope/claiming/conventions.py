"""The ways of counting that are in use. A figure that a plain count does not give is tried with each."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from .subjects import POOLS


@dataclasses.dataclass(frozen=True, slots=True)
class Convention:
    """A way of counting: what it changes in a measure of these quantities.

    kilo: it takes a printed K as 1024, and applies to figures that are printed with one.
    """

    name: str
    whats: tuple[str, ...]
    changes: Mapping[str, Any]
    kilo: bool = False


_MIB = 2**20
_COUNTED = ("params",)
_WORK = ("macs",)
_DEPTH = ("depth",)

# In this order: the first that gives the printed figure is the one that is named.
KNOWN = (
    Convention("weights only", _COUNTED, {"roles": ("weight",)}),
    Convention("with running statistics", _COUNTED, {"statistics": True}),
    Convention("with running statistics and a bias for each convolution", _COUNTED, {"statistics": True, "bias": "*"}),
    Convention("K = 1024, weights only", _COUNTED, {"roles": ("weight",)}, kilo=True),
    Convention("MB = 2^20 bytes", ("size", "memory"), {"per": _MIB}),
    Convention("convolutions only", _WORK, {"kinds": ("convolution",)}),
    Convention("with one addition for each output", _WORK, {"outputs": True}),
    Convention("two FLOPs for each multiply-add", _WORK, {"times": 2}),
    Convention("convolutions only", _DEPTH, {"kinds": ("convolution",)}),
    Convention("with pooling", _DEPTH, {"kinds": ("convolution", "addmm", *POOLS)}),
    Convention("every convolution, also of shortcuts", _DEPTH, {"what": "layers", "kinds": ("convolution",)}),
    Convention("every layer with parameters", _DEPTH, {"what": "parametrised"}),
    Convention("a convolution over its whole input is an FC", ("sequence",), {"whole": True}),
)


def known(what: str, *, kilo: bool) -> tuple[Convention, ...]:
    """The conventions that apply to a quantity, and to figures printed with a K or without."""
    return tuple(each for each in KNOWN if what in each.whats and (kilo or not each.kilo))
