"""LeNet-5 against the paper of 1998."""

from __future__ import annotations

from math import prod

import torch
from torch import nn
from zoo_counts import macs, on_meta, parameters, shapes

from cnnscope.architectures import lenet5

INPUT = (1, 1, 32, 32)
LENET5_CONNECTIONS = {  # the paper's own figures, layer by layer
    "C1": 122_304, "S2": 5_880, "C3": 151_600, "S4": 2_000, "C5": 48_120, "F6": 10_164, "OUTPUT": 840,
}  # fmt: skip
LENET5_PARAMETERS = {"C1": 156, "S2": 12, "C3": 1_516, "S4": 32, "C5": 48_120, "F6": 10_164, "OUTPUT": 0}


def connections() -> dict[str, int]:
    """The paper's count: for every output unit its inputs and, where it has one, its bias."""
    model = on_meta(lenet5.lenet5)
    out = {path: prod(shape) for path, shape in shapes(model, INPUT).items()}
    found: dict[str, int] = {}
    for path, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            fan_in = layer.weight[0].numel() + 1
        elif type(layer).__name__ == "Subsample":
            fan_in = 2 * 2 + 1
        elif type(layer).__name__ == "RBF":
            fan_in = layer.bitmaps.shape[1]
        else:
            continue
        row = path.split(".")[0]
        found[row] = found.get(row, 0) + out[path] * fan_in
    return found


def test_lenet5_has_the_connections_and_parameters_of_1998() -> None:
    assert connections() == LENET5_CONNECTIONS
    assert sum(LENET5_CONNECTIONS.values()) == 340_908
    found = {path: parameters(layer) for path, layer in on_meta(lenet5.lenet5).named_children()}
    assert {path: found[path] for path in LENET5_PARAMETERS} == LENET5_PARAMETERS
    assert macs(on_meta(lenet5.lenet5).get_submodule("C3"), (1, 6, 14, 14)) == 150_000


def test_lenet5_c3_sees_exactly_what_table_1_marks() -> None:
    c3 = lenet5.lenet5().get_submodule("C3")
    silence = c3(torch.zeros(1, 6, 14, 14))
    for seen, row in enumerate(lenet5.TABLE_I):
        x = torch.zeros(1, 6, 14, 14)
        x[:, seen] = torch.rand(14, 14)
        changed = (c3(x) - silence).abs().sum(dim=(0, 2, 3)) > 0
        assert changed.tolist() == [mark == "X" for mark in row.split()]


def test_lenet5_outputs_are_distances_to_ten_different_bitmaps() -> None:
    rbf = lenet5.lenet5().get_submodule("OUTPUT")
    assert rbf.bitmaps.abs().eq(1).all()
    distances = rbf(rbf.bitmaps)
    assert torch.equal(distances.argmin(dim=1), torch.arange(10))
    assert torch.equal(distances.diagonal(), torch.zeros(10))
    assert (distances > 0).sum() == 90
