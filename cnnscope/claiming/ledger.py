"""The ledger: ``architectures/claims/*.toml``, one file for each architecture, as ``Claim`` objects."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Any

Measure = Mapping[str, Any]

SOURCES = (
    "slide", "slide-figure", "paper", "caffe", "repo", "keras", "torchvision", "timm", "computed", "challenge",
)  # fmt: skip
LECTURE = ("slide", "slide-figure")  # what --source lecture means

# What stands behind a claim that is held as cited, where the ledger has no sentence of its own for it.
UNDECIDABLE = {
    "error": "an error rate comes out of training and data; a graph has none",
    "hyper": "a setting of the training; a graph has none",
}


def parts(measure: Measure) -> list[Measure]:
    """The measures that a measure is made of; none where it is a quantity of a net."""
    if "each" in measure:
        return [{**measure["each"], "model": model} for model in measure["models"]]
    return [part for part in measure.get("of", ()) if isinstance(part, Mapping)]


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """One figure as somebody prints it, with the way to compute it where a graph can decide it.

    stated: as printed; value: the number that it means, in ``unit``; step: what one in its last digit is worth, 0 where
    it is exact. place: page, section or table. measure: what to compute, see ``measures``; None holds the claim as
    cited. verdict, note: what was found, and why in a sentence.

    Instead of a value a claim may have a text that the measure must give (``expect``, by default what is stated),
    another measure that it must equal (``expected``), or a bound (``below``, ``above``). ``original`` is what the
    work prints that the claim repeats. ``within`` is the relative difference that the source leaves open;
    ``conventions`` false: the claim says how it counts, no other way is tried. ``kilo``: printed with a K, which the
    value takes as 1024.
    """

    architecture: str
    source: str
    variant: str
    quantity: str
    stated: str
    verdict: str
    value: float | None = None
    unit: str = ""
    step: float = 0
    place: str = ""
    measure: Measure | None = None
    expect: str | None = None
    expected: Measure | None = None
    below: float | None = None
    above: float | None = None
    original: float | str | None = None
    within: float = 0
    conventions: bool = True
    kilo: bool = False
    note: str = ""
    file: str = ""

    @property
    def models(self) -> tuple[str, ...]:
        """The nets that it is measured on, in the order in which the measure names them."""
        found: dict[str, None] = {}
        pending = [self.measure, self.expected]
        while pending:
            each = pending.pop(0)
            if each is not None:
                found |= dict.fromkeys([each["model"]] if "model" in each else ())
                pending.extend(parts(each))
        return tuple(found)

    @property
    def reason(self) -> str:
        """The note, or what holds for all claims of its kind."""
        if self.note or self.measure:
            return self.note
        return UNDECIDABLE.get(self.quantity.partition("_")[0].partition(":")[0], "")


@cache
def claims() -> tuple[Claim, ...]:
    """All claims, by architecture in the order of the lecture."""
    import tomllib
    from importlib.resources import files

    folder = files("cnnscope") / "architectures" / "claims"
    found = [file for file in folder.iterdir() if file.name.endswith(".toml")]
    read = [(tomllib.loads(file.read_text(encoding="utf-8")), file.name) for file in found]
    return tuple(
        Claim(architecture=data["architecture"], file=name.removesuffix(".toml"), **entry)
        for data, name in sorted(read, key=lambda pair: pair[0]["position"])
        for entry in data["claim"]
    )
