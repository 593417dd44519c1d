"""FractalNet against its paper: the expansion rule, the sizes of Table 3, and what drop-path saves."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from zoo_counts import CIFAR, Shapes, convolutions, depth, macs, millions, on_meta, parameters, shapes

from cnnscope.architectures import fractalnet

FRACTALNET: Shapes = {
    "block1": (64, 32, 32), "pool1": (64, 16, 16), "pool2": (128, 8, 8), "pool3": (256, 4, 4), "pool4": (512, 2, 2),
    "pool5": (512, 1, 1),
}  # fmt: skip


def test_each_block_halves_the_map_and_the_last_pool_leaves_one_pixel() -> None:
    found = shapes(on_meta(fractalnet.fractalnet), CIFAR)
    assert {row: found[row] for row in FRACTALNET} == FRACTALNET


TABLE_3 = {1: 0.3, 2: 0.8, 3: 2.1, 4: 4.8, 5: 10.2, 6: 21.1}  # columns: parameters in millions


@pytest.mark.parametrize("columns", TABLE_3)
def test_fractal_nets_have_the_parameters_and_the_depth_of_table_3(columns: int) -> None:
    model = on_meta(fractalnet.fractalnet, columns, 5, 16)
    assert millions(parameters(model)) == TABLE_3[columns]
    assert len(convolutions(model)) == 5 * (2**columns - 1)
    assert depth(model) - 1 == 5 * 2 ** (columns - 1)


def expanded(block: nn.Module, x: Tensor, columns: int, row: int, of: int) -> list[Tensor]:
    """Section 3 to the letter: what f_columns, placed behind `row` in a block of `of` columns, brings to its join."""
    length = 2 ** (columns - 1)
    paths = [block.get_submodule(f"row{row + length}_column{of - columns + 1}")(x)]
    if columns > 1:
        middle = fractalnet.join(expanded(block, x, columns - 1, row, of))
        paths += expanded(block, middle, columns - 1, row + length // 2, of)
    return paths


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_a_fractal_block_is_the_expansion_rule(columns: int) -> None:
    torch.manual_seed(0)
    block, x = fractalnet.Fractal(3, 4, columns).eval(), torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(block(x), torch.stack(expanded(block, x, columns, 0, columns)).mean(dim=0))


def outcomes(paths: list[Any], drop: float) -> Iterator[tuple[set[Any], float]]:
    """What a join may keep of its paths, and how likely it is."""
    n = len(paths)
    for count in range(1, n + 1):
        for kept in combinations(paths, count):
            yield set(kept), (1 - drop) ** count * drop ** (n - count) + (drop**n / n if count == 1 else 0)


def needed(columns: int, kept: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """The convolutions (row, column) of a block from which kept paths lead to its end, found backwards."""
    live, rows = set(), {2 ** (columns - 1)}
    for row in range(2 ** (columns - 1), 0, -1):
        ends = {end for end in kept if end[0] == row} if row in rows else set()
        live |= ends
        rows |= {row - 2 ** (columns - column) for row, column in ends}
    return live


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_expected_cost_of_local_drop_path_is_the_sum_over_all_outcomes(columns: int) -> None:
    drop, total, ways = 0.15, 0.0, 0.0
    joins = [
        [(row, c) for c in range(1, columns + 1) if row % 2 ** (columns - c) == 0]
        for row in range(1, 2 ** (columns - 1) + 1)
    ]
    for choice in product(*(list(outcomes(paths, drop)) for paths in joins)):
        likely = 1.0
        for _, probability in choice:
            likely *= probability
        live = needed(columns, set().union(*(kept for kept, _ in choice)))
        total += likely * sum(7 if row == 2 ** (columns - c) else 5 for row, c in live)
        ways += likely
    assert ways == pytest.approx(1)
    assert fractalnet.expected(columns, columns, 7, 5, drop) == pytest.approx(total)


@pytest.mark.parametrize(("columns", "filters"), [(1, 16), (3, 64), (4, 64)])
def test_drop_path_costs_all_or_one_column_in_its_extremes(columns: int, filters: int) -> None:
    model = on_meta(fractalnet.fractalnet, columns, 5, filters)
    everything, fc = macs(model, CIFAR), model.get_submodule("fc").weight.numel()
    cost = {
        (drop, whole): fractalnet.drop_path_macs(columns, 5, filters, drop=drop, whole=whole)
        for drop, whole in ((0.0, 0.0), (0.15, 1.0), (0.15, 0.0), (0.15, 0.5))
    }
    assert cost[0.0, 0.0] == everything
    assert cost[0.15, 1.0] == pytest.approx((everything - fc) / columns + fc)
    assert cost[0.15, 0.5] == pytest.approx((cost[0.15, 0.0] + cost[0.15, 1.0]) / 2)
    assert fractalnet.drop_path_macs(3, 5, 64) == pytest.approx(0.590973 * 845_268_992, rel=1e-6)
