"""Stated against computed.

A figure is reproduced when the computed one, rounded to the digits that are printed, reads the same. Otherwise the
known conventions are tried, then cutting the digits off instead of rounding them, then the difference that the source
itself leaves open. What none of these gives is contradicted; what no graph can decide is cited.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from .conventions import Convention, known
from .ledger import Claim
from .measures import Number, value
from .nets import Nets

REPRODUCED, UNDER, CONTRADICTED, CITED = "reproduced", "reproduced under convention", "contradicted", "cited"

_PLAIN = Convention("", (), {})


class Decision(NamedTuple):
    """A verdict, and the computed value that it rests on: None where nothing was computed."""

    verdict: str
    computed: Number | None


def decide(claim: Claim, nets: Nets) -> Decision:
    """The verdict on a claim.

    Raises:
        LookupError: the net or module that it is measured on does not exist.
        UnusableTarget: it is of a library that is not installed.
    """
    if claim.measure is None:
        return Decision(CITED if _repeats(claim) else CONTRADICTED, None)
    plain = value(claim.measure, nets)
    if claim.value is None and not claim.stated:  # nothing is stated: the value is given for itself
        return Decision(CITED, plain)
    if claim.value is None or {None} != {claim.expect, claim.expected, claim.below, claim.above}:
        return _decide_otherwise(claim, plain, nets)
    return _decide_figure(claim, plain, nets)


def _decide_figure(claim: Claim, plain: Number, nets: Nets) -> Decision:
    """A claim that is a number, as it is printed."""
    ways = list(_counted(claim, plain, nets))
    for name, stated, computed in ways:
        if _rounds_to(computed, stated, claim.step):
            return Decision(_under(name), computed)
    for name, stated, computed in ways:
        if claim.conventions and claim.step and computed // claim.step == round(stated / claim.step):
            return Decision(_under(name, "digits cut off, not rounded"), computed)
    name, stated, computed = min(ways, key=lambda way: abs(way[2] - way[1]))
    if abs(computed - stated) <= claim.within * stated:
        return Decision(_under(name, f"within {100 * claim.within:.3g} %"), computed)
    return Decision(CONTRADICTED, plain)


def _under(*conventions: str) -> str:
    """The verdict on a figure that these ways of counting give; the plain one has no name."""
    named = [each for each in conventions if each]
    return f"{UNDER} {', '.join(named)}" if named else REPRODUCED


def _repeats(claim: Claim) -> bool:
    """Whether it says what the work says that it repeats, if that is known."""
    stated = claim.stated if isinstance(claim.original, str) else claim.value
    return claim.original is None or claim.original == stated


def _decide_otherwise(claim: Claim, plain: Number, nets: Nets) -> Decision:
    """A claim that is a text, a bound, or an equality of two measures."""
    if claim.below is not None or claim.above is not None:
        low = -math.inf if claim.above is None else claim.above
        high = math.inf if claim.below is None else claim.below
        return Decision(REPRODUCED if low < float(plain) < high else CONTRADICTED, plain)
    wanted = value(claim.expected, nets) if claim.expected is not None else claim.expect or claim.stated
    if _same(plain, wanted):
        return Decision(REPRODUCED, plain)
    for way in _ways(claim):
        found = value({**(claim.measure or {}), **way.changes}, nets)
        if _same(found, wanted):
            return Decision(_under(way.name), found)
    return Decision(CONTRADICTED, plain)


def _ways(claim: Claim) -> tuple[Convention, ...]:
    return known((claim.measure or {})["what"], kilo=claim.kilo) if claim.conventions else ()


def _counted(claim: Claim, plain: Number, nets: Nets) -> Iterator[tuple[str, float, float]]:
    """Each way of counting with what is stated and computed in it; the plain one, without a name, first."""
    assert claim.measure is not None and claim.value is not None
    for way in (_PLAIN, *_ways(claim)):
        stated = claim.value if way.kilo or not claim.kilo else claim.value * 1000 / 1024
        computed = plain if way is _PLAIN else value({**claim.measure, **way.changes}, nets)
        assert not isinstance(computed, str), f"{claim.quantity} of {claim.variant} is measured by a text"
        yield way.name, stated, computed


def _same(computed: Number, wanted: Number) -> bool:
    """Equal texts, or numbers that are equal but for the last bits of their arithmetic."""
    if isinstance(computed, str) or isinstance(wanted, str):
        return computed == wanted
    return math.isclose(computed, wanted, rel_tol=1e-9)


def _rounds_to(computed: float, stated: float, step: float) -> bool:
    """Whether the computed figure reads like the stated one when it is rounded to steps; a half may go either way."""
    return abs(computed - stated) <= step / 2 + 1e-9 * abs(stated)
