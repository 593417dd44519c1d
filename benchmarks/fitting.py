"""Efficiencies from measured times: a robust fit of the roofline's numbers, and how well it predicts the unseen.

Every function takes nets as ``Work``: the kernels of one run as arrays. Nothing here knows a model by its name; names
of families only say which nets are held out together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares
from scipy.stats import kendalltau, spearmanr

from cnnscope.devices import Device
from cnnscope.efficiencies import KINDS, PRODUCTS, Efficiencies

Array = np.ndarray
FOLDS = 5
# Limits and centres of what is fitted: the part of a peak, and seconds. Centres matter for kinds that few nets have.
PART, LAUNCH = (0.02, 1.0), (1e-6, 1e-5)
CENTRE = {"grouped": 0.5, "depthwise": 0.15}
USUAL, USUAL_LAUNCH, STRENGTH, ROBUST = 0.85, 3e-6, 0.3, 0.05


class Work(NamedTuple):
    """The kernels of many nets on one device, one after the other. net: whose each is; kind: index into ``KINDS``;
    compute, memory: seconds at the peak rate and at the peak bandwidth; nets: how many."""

    net: Array
    kind: Array
    compute: Array
    memory: Array
    nets: int


def work(nets: Sequence[Sequence[tuple[str, str, float, float]]], device: Device) -> Work:
    """nets: for each its kernels as (kind, precision, padded FLOPs, bytes)."""
    flat = [(i, *kernel) for i, net in enumerate(nets) for kernel in net]
    rates = {precision: device.rate(precision) or np.inf for precision in {kernel[2] for kernel in flat}}
    return Work(
        np.array([kernel[0] for kernel in flat]),
        np.array([KINDS.index(kernel[1]) for kernel in flat]),
        np.array([kernel[3] / rates[kernel[2]] for kernel in flat]),
        np.array([kernel[4] / device.bandwidth for kernel in flat]),
        len(nets),
    )


def chosen(all_: Work, nets: Array) -> Work:
    """Some of the nets, given as a mask."""
    kept = nets[all_.net]
    number = np.cumsum(nets) - 1
    return Work(number[all_.net[kept]], all_.kind[kept], all_.compute[kept], all_.memory[kept], int(nets.sum()))


# -- the form ---------------------------------------------------------------------------------------------------------


def seconds(numbers: Array, nets: Work) -> Array:
    """Predicted times. numbers: logarithms of 1/e by kind, of 1/b by kind, of the launch."""
    return _times(numbers, nets, np.inf)[0]


def _times(numbers: Array, nets: Work, sharpness: float) -> tuple[Array, Array]:
    """Times, and how much each number moves each: shape (nets, numbers). sharpness: of the maximum."""
    kinds = len(KINDS)
    compute = nets.compute * np.exp(numbers[:kinds])[nets.kind]
    memory = nets.memory * np.exp(numbers[kinds : 2 * kinds])[nets.kind]
    if np.isinf(sharpness):
        each, share = np.maximum(compute, memory), (compute > memory).astype(float)
    else:
        both = compute**sharpness + memory**sharpness
        each = both ** (1 / sharpness)
        share = np.divide(compute**sharpness, both, out=np.zeros_like(both), where=both > 0)
    place = nets.net * kinds + nets.kind
    limited = [np.bincount(place, each * part, nets.nets * kinds) for part in (share, 1 - share)]
    launches = np.bincount(nets.net, minlength=nets.nets)[:, None] * np.exp(numbers[-1])
    moves = np.hstack([*[part.reshape(nets.nets, kinds) for part in limited], launches])
    return moves.sum(1), moves


def fitted(nets: Work, measured: Array) -> Array:
    """The numbers under which the logarithms of predicted and measured times differ least.

    A soft maximum first, because a kind that is never limited by its rate at the start would not move from there.
    """
    centre = _numbers({kind: CENTRE.get(kind, USUAL) for kind in KINDS}, dict.fromkeys(KINDS, USUAL), USUAL_LAUNCH)
    ones = dict.fromkeys(KINDS, 1.0)
    low = _numbers(dict.fromkeys(KINDS, PART[1]), ones, LAUNCH[0])
    high = _numbers(dict.fromkeys(KINDS, PART[0]), dict.fromkeys(KINDS, PART[0]), LAUNCH[1])
    found = centre
    for sharpness in (3.0, np.inf):

        def off(numbers: Array, sharpness: float = sharpness) -> Array:
            times, _ = _times(numbers, nets, sharpness)
            return np.concatenate([np.log(times / measured), STRENGTH * (numbers - centre)])

        def moves(numbers: Array, sharpness: float = sharpness) -> Array:
            times, by_number = _times(numbers, nets, sharpness)
            return np.vstack([by_number / times[:, None], STRENGTH * np.eye(len(numbers))])

        start = np.clip(found, low + 1e-3, high - 1e-3)
        found = least_squares(off, start, moves, bounds=(low, high), loss="soft_l1", f_scale=ROBUST).x
    return found


def _numbers(compute: dict[str, float], bandwidth: dict[str, float], launch: float) -> Array:
    return np.array(
        [
            *[-np.log(compute[kind]) for kind in KINDS],
            *[-np.log(bandwidth[kind]) for kind in KINDS],
            np.log(launch),
        ]
    )


def efficiencies(numbers: Array, spread: tuple[float, float], origin: str) -> Efficiencies:
    parts = np.exp(-numbers[: 2 * len(KINDS)])
    compute = dict(zip(KINDS, map(float, parts[: len(KINDS)]), strict=True))
    bandwidth = dict(zip(KINDS, map(float, parts[len(KINDS) :]), strict=True))
    return Efficiencies({k: compute[k] for k in PRODUCTS}, bandwidth, float(np.exp(numbers[-1])), spread, origin)


def numbers_of(reached: Efficiencies) -> Array:
    return _numbers({kind: reached.compute.get(kind, 1.0) for kind in KINDS}, dict(reached.bandwidth), reached.launch)


# -- what others predict with -----------------------------------------------------------------------------------------


def proportional(features: Array, measured: Array) -> Array:
    """Weights >= 0 of the features, least in relative error; with one feature a factor."""
    relative = features / measured[:, None]
    scale = np.median(relative, axis=0) ** -1

    def residuals(weights: Array) -> Array:
        return np.log(np.maximum(features @ (weights * scale), 1e-300) / measured)

    size = features.shape[1]
    fit = least_squares(residuals, np.full(size, 1 / size), bounds=(1e-9, np.inf), loss="soft_l1", f_scale=ROBUST)
    return fit.x * scale


# -- how well ---------------------------------------------------------------------------------------------------------


def held_out(families: Sequence[str], predict: Callable[[Array, Array], Array], seed: int = 0) -> Array:
    """Predictions of each net by a fit on other families. predict: (mask to fit on, mask to predict) -> times."""
    names = np.random.default_rng(seed).permutation(sorted(set(families)))
    fold = {name: i % FOLDS for i, name in enumerate(names)}
    folds = np.array([fold[family] for family in families])
    found = np.zeros(len(families))
    for number in range(FOLDS):
        found[folds == number] = predict(folds != number, folds == number)
    return found


class Score(NamedTuple):
    """Absolute relative errors (median, 90th percentile) and rank correlations."""

    median: float
    ninetieth: float
    spearman: float
    kendall: float


def score(predicted: Array, measured: Array, images: Array) -> Score:
    """Errors of the times; ranks of the times an image."""
    off = np.abs(predicted / measured - 1)
    first, second = predicted / images, measured / images
    ranks = float(spearmanr(first, second)[0]), float(kendalltau(first, second)[0])
    return Score(float(np.median(off)), float(np.quantile(off, 0.9)), *ranks)
