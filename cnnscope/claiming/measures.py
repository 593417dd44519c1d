"""A measure of the ledger to its value.

A measure is data: ``{ what = "params", model = "googlenet", of = "inception4c" }`` is a quantity of a net, with the
options of ``quantities`` and these: ``input``, the shape to trace with instead of the net's own; ``cut``, to a multiple
of which it is rounded down; ``times`` and ``per``, by which it is multiplied and divided. The rest is arithmetic over
measures, listed in ``of``; or ``each``, a measure without its net, of each of ``models``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .. import zoo
from .ledger import Measure, parts
from .nets import Nets
from .quantities import QUANTITIES

Number = float | str
Arithmetic = Callable[[Measure, Nets], Number]


def value(measure: Measure, nets: Nets) -> Number:
    """What the measure gives.

    Raises:
        LookupError: there is no such net, module or quantity.
    """
    what = measure["what"]
    if what in ARITHMETIC:
        found = ARITHMETIC[what](measure, nets)
    else:
        found = QUANTITIES[what](nets(measure["model"], measure.get("input")), measure)
    return found if isinstance(found, str) else _scaled(found, measure)


def _scaled(number: float, measure: Measure) -> float:
    if "cut" in measure:
        number = number // measure["cut"] * measure["cut"]
    number = number * measure.get("times", 1) / measure.get("per", 1)
    return int(number) if number == int(number) else number


def _numbers(measure: Measure, nets: Nets) -> list[float]:
    found = [value(part, nets) for part in parts(measure)]
    texts = [each for each in found if isinstance(each, str)]
    if texts:
        raise TypeError(f"cannot compute with {texts[0]!r}, in {measure}")
    return [each for each in found if not isinstance(each, str)]


def _ratio(measure: Measure, nets: Nets) -> Number:
    """The first over the second."""
    over, under = _numbers(measure, nets)
    return over / under


def _difference(measure: Measure, nets: Nets) -> Number:
    """The first less the second."""
    first, second = _numbers(measure, nets)
    return first - second


def _increase(measure: Measure, nets: Nets) -> Number:
    """By how many percent the first is more than the second."""
    first, second = _numbers(measure, nets)
    return 100 * (first / second - 1)


def _sum(measure: Measure, nets: Nets) -> Number:
    return sum(_numbers(measure, nets))


def _list(measure: Measure, nets: Nets) -> Number:
    return ", ".join(str(value(part, nets)) for part in parts(measure))


def _largest(measure: Measure, nets: Nets) -> Number:
    """The name of the largest, or its net where it has no ``name``."""
    found = max(parts(measure), key=lambda part: value(part, nets))
    return str(found.get("name", found["model"]))


def _smallest(measure: Measure, nets: Nets) -> Number:
    """The name of the smallest, or its net where it has no ``name``."""
    found = min(parts(measure), key=lambda part: value(part, nets))
    return str(found.get("name", found["model"]))


def _stated(measure: Measure, nets: Nets) -> Number:
    """A figure that another claim of the ledger states, and that no graph can give."""
    stated: Any = measure["value"]
    return float(stated)


def _fits(measure: Measure, nets: Nets) -> Number:
    """Whether the peak of a training step at a batch size is within a budget in bytes, as allocators round it."""
    from ..analyses.memory import peak_memory

    graph = nets.step(measure["model"], measure["input"], measure["optimizer"])
    peak = peak_memory(graph, "cuda").peak_allocated
    return "fits" if peak is not None and peak <= measure["budget"] else "does not fit"


def _year(measure: Measure, nets: Nets) -> Number:
    """The year of a paper in the zoo's catalogue."""
    return int(next(paper["year"] for paper in zoo.catalog() if paper["key"] == measure["paper"]))


ARITHMETIC: Mapping[str, Arithmetic] = {
    "ratio": _ratio,
    "difference": _difference,
    "increase": _increase,
    "sum": _sum,
    "list": _list,
    "largest": _largest,
    "smallest": _smallest,
    "stated": _stated,
    "fits": _fits,
    "year": _year,
}
