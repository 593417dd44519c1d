"""What each form predicts for nets of families that it was not fitted on, and what is shipped."""

from __future__ import annotations

from typing import Any, NamedTuple

import fitting
import numpy as np
from fitting import Score
from published import Cache, Net, Row, Setting, key

from cnnscope.devices import device
from cnnscope.efficiencies import KINDS, Efficiencies

FORMS = ("GMACs", "GMACs + activations", "datasheet roofline", "roofline x scalar", "ours")


class Sample(NamedTuple):
    """The rows of one setting that were traced, as arrays."""

    setting: Setting
    rows: list[Row]
    nets: list[Net]
    work: fitting.Work

    @property
    def measured(self) -> np.ndarray:
        return np.array([row.seconds for row in self.rows])

    @property
    def images(self) -> np.ndarray:
        return np.array([row.batch for row in self.rows])

    @property
    def families(self) -> list[str]:
        return [net.family for net in self.nets]


def sample(setting: Setting, cache: Cache, *, cnn: bool) -> Sample:
    """The rows whose net is what timm has today: some were measured re-parameterised, with fewer parameters."""
    pairs = [(row, cache.nets.get(key(setting, row))) for row in setting.rows]
    same = [(row, net) for row, net in pairs if net and abs(net.params - row.params) <= 0.01 * row.params + 0.01]
    rows, nets = [row for row, net in same if net.cnn or not cnn], [net for _, net in same if net.cnn or not cnn]
    return Sample(setting, rows, nets, fitting.work([net.kernels for net in nets], device(setting.gpu)))


def predictions(found: Sample) -> dict[str, np.ndarray]:
    """Times by each form, all fitted numbers from other families."""
    measured, families = found.measured, found.families
    counts = np.array([[net.macs, net.activations] for net in found.nets])
    peak = fitting.seconds(fitting.numbers_of(_ideal()), found.work)

    def linear(features: np.ndarray) -> np.ndarray:
        return fitting.held_out(
            families, lambda fit, rest: features[rest] @ fitting.proportional(features[fit], measured[fit])
        )

    def ours(fit: np.ndarray, rest: np.ndarray) -> np.ndarray:
        numbers = fitting.fitted(fitting.chosen(found.work, fit), measured[fit])
        return fitting.seconds(numbers, fitting.chosen(found.work, rest))

    made = linear(counts[:, :1]), linear(counts), peak, linear(peak[:, None]), fitting.held_out(families, ours)
    return dict(zip(FORMS, made, strict=True))


def _ideal() -> Efficiencies:
    """A device at its peaks."""
    return Efficiencies(dict.fromkeys(KINDS, 1.0), dict.fromkeys(KINDS, 1.0), 1e-30, (1.0, 1.0), (1.0, 1.0), "")


def spread(predicted: np.ndarray, measured: np.ndarray) -> tuple[float, float]:
    """Measured over predicted: the 10th and the 90th percentile."""
    low, high = np.quantile(measured / predicted, [0.1, 0.9])
    return float(low), float(high)


def across(one: Sample, other: Sample) -> Score:
    """Fit on every net of one device, predict the other's from its sheet."""
    numbers = fitting.fitted(one.work, one.measured)
    return fitting.score(fitting.seconds(numbers, other.work), other.measured, other.images)


def together(samples: list[Sample]) -> tuple[np.ndarray, tuple[float, float]]:
    """One fit for several devices; and the spread of what is held out of it, family by family on all of them."""
    works = [each.work for each in samples]
    offsets = np.cumsum([0, *[each.nets for each in works]])
    joined = fitting.Work(
        np.concatenate([each.net + offset for each, offset in zip(works, offsets, strict=False)]),
        *(np.concatenate(parts) for parts in zip(*[each[1:4] for each in works], strict=True)),
        int(offsets[-1]),
    )
    measured = np.concatenate([each.measured for each in samples])
    families = [family for each in samples for family in each.families]

    def predict(fit: np.ndarray, rest: np.ndarray) -> np.ndarray:
        numbers = fitting.fitted(fitting.chosen(joined, fit), measured[fit])
        return fitting.seconds(numbers, fitting.chosen(joined, rest))

    return fitting.fitted(joined, measured), spread(fitting.held_out(families, predict), measured)


class Result(NamedTuple):
    """A setting with the score of each form, for CNNs or for all nets."""

    sample: Sample
    scores: dict[str, Score]
    predicted: np.ndarray


def result(found: Sample) -> Result:
    made = predictions(found)
    scores = {form: fitting.score(times, found.measured, found.images) for form, times in made.items()}
    return Result(found, scores, made["ours"])


def shipped(samples: list[Sample], steps: list[Sample]) -> dict[str, Any]:
    """The efficiencies for each layout, from all devices of which there is a file of inferences.

    Training steps have no part in the fit; they show how far the same numbers are off for them.
    """
    made = {}
    for layout in dict.fromkeys(each.setting.layout for each in samples):
        of = [each for each in samples if each.setting.layout == layout]
        numbers, range_ = together(of)
        ratios = [spread(fitting.seconds(numbers, each.work), each.measured) for each in steps]
        training = (min(low for low, _ in ratios), max(high for _, high in ratios)) if ratios else range_
        where = " and ".join(each.setting.gpu for each in of)
        origin = f"fit to {sum(each.work.nets for each in of):,} throughputs of CNNs on {where}, amp, {layout}, eager"
        made[layout] = fitting.efficiencies(numbers, range_, training, origin)
    return made
