"""Random networks of every kind against their real runs: a slice always, more with ``--fuzz N``.

A number is a network, the same one every time. ``benchmarks/reliability.py`` draws thousands and writes the report.
"""

from __future__ import annotations

import pytest
from fuzzing.drawing import STEPS
from fuzzing.holding import examined, smaller
from fuzzing.nets import Recipe, recipe

ALWAYS = 250


pytestmark = pytest.mark.usefixtures("single_thread")


def test_random_networks_equal_their_real_runs(pytestconfig):
    count = pytestconfig.getoption("--fuzz")
    differing = []
    drawn = set()
    for seed in range(count or ALWAYS):
        found = examined(recipe(seed))
        drawn.update(found.used)
        if found.differences:
            less = smaller(found.recipe, lambda other: bool(examined(other).differences))
            differing.append(f"{less}: {'; '.join(found.differences)}")
    assert not differing, "\n".join(differing)
    assert drawn == set(STEPS), f"never drawn: {sorted(set(STEPS) - drawn)}"


@pytest.mark.parametrize("name", sorted(STEPS))
def test_every_step_alone(name):
    """Each step on the first network of which it can be a part."""
    inputs_ = ("image", "line", "rows", "words", "mask", "number")
    for seed in range(3):
        each = Recipe(seed, inputs_, "float32", "arguments", "all", ((name, seed),))
        assert examined(each).differences == ()
