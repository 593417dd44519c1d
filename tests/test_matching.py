"""Matching two sequences: always a true account of both, however long."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnscope import matching

sequences = st.lists(st.sampled_from("abcdefgh") | st.integers(0, 99), max_size=40)


def check(first, second):
    """The stretches cover both in order, those that are said to be equal are. How many items are."""
    i = j = equal = 0
    for same, a, b, c, d in matching.matched(first, second):
        assert (a, c) == (i, j) and (b > a or d > c)
        assert not same or first[a:b] == second[c:d]
        equal += (b - a) * same
        i, j = b, d
    assert (i, j) == (len(first), len(second))
    return equal


@pytest.mark.parametrize("pairs", [0, 20, 1_000_000])
@settings(max_examples=150, deadline=None)
@given(first=sequences, second=sequences)
def test_it_is_a_true_account(pairs, first, second):
    before, matching._PAIRS = matching._PAIRS, pairs
    try:
        equal = check(first, second)
    finally:
        matching._PAIRS = before
    if first == second:
        assert equal == len(first)


@settings(max_examples=100, deadline=None)
@given(first=sequences, second=sequences, shared=st.lists(st.integers(0, 9), max_size=9))
def test_equal_ends_are_found(first, second, shared):
    assert check([*shared, *first, *shared], [*shared, *second, *shared]) >= 2 * len(shared)


def test_long_ones_are_tied_by_what_occurs_once():
    first = [number if number % 7 == 0 else "x" for number in range(20_000)]
    second = ["new", *first[:9_000], *first[9_100:], "new"]
    assert check(first, second) > 19_000
    assert check(["x"] * 20_000, ["x"] * 19_999) == 19_999
    assert check(["x", "y"] * 9_000, ["z", *["x", "y"] * 8_999, "w"]) == 0, "nothing occurs once: taken as different"
