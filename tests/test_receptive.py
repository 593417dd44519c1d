"""Receptive fields: what papers print, what is unknown, and of which input along which dimensions they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from receptive_oracle import Function, field, last
from torch import Tensor, nn

from cnnscope.analyses.receptive import Field, receptive_field
from cnnscope.libraries import torchvision_model
from cnnscope.table import Table
from cnnscope.tracing import trace
from cnnscope.zoo import build, entry, names

# -- what is published ------------------------------------------------------------------------------------------------


def at(table: Table[Field], end: str) -> tuple[int | None, float | None, int | None]:
    """Size, jump and start of the operator whose name starts like this; both axes alike."""
    (row,) = [row for name, row in table.items() if name.startswith(f"{end}.")]
    both = [(size, jump, start) for size, jump, start in zip(row.size, row.jump, row.start, strict=True)]
    assert both[0] == both[1]
    return both[0]


def test_vgg16() -> None:
    """Araujo, Norris, Sim (Distill 2019): vgg_16 sees 212, effective stride 32, effective padding 90."""
    table = field(build("vgg16"), (1, 3, 224, 224))
    assert [at(table, f"pool{i}")[0] for i in range(1, 6)] == [6, 16, 44, 100, 212]
    assert at(table, "conv5_3") == (196, 16, -90)
    assert at(table, "pool5") == (212, 32, -90)
    assert not table["pool5.max_pool2d_with_indices"].whole
    assert table["fc6.addmm"].size == (404, 404) and table["fc6.addmm"].whole and table["fc6.addmm"].jump == (0, 0)
    assert table.total.size == (404, 404) and not table.missing


@pytest.mark.parametrize("name", ["alexnet", "alexnet_grouped"])
def test_alexnet(name: str) -> None:
    """alexnet_v2 of the same table, every layer; the normalisation between them slides over channels only."""
    table = field(build(name), (1, 3, 227, 227))
    sizes = {"conv1": (11, 4, 0), "pool1": (19, 8, 0), "conv2": (51, 8, -16), "conv3": (99, 16, -32),
             "conv4": (131, 16, -48), "conv5": (163, 16, -64), "pool3": (195, 32, -64)}  # fmt: skip
    assert {end: at(table, end) for end in sizes} == sizes


def test_three_3x3_see_as_far_as_one_7x7() -> None:
    """VGG, section 2.3."""
    one, three = last(build("conv7x7"), (1, 256, 28, 28)), last(build("stack3x3"), (1, 256, 28, 28))
    assert one.size == three.size == (7, 7)
    assert one.start == three.start == (-3, -3)


class Unit(nn.Module):
    """A bottleneck of TF-slim's resnet_v1, which strides in the last unit of a block; widths do not matter."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.conv, self.stride = nn.Conv2d(1, 1, 3, stride, 1), stride

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + x[:, :, :: self.stride, :: self.stride]


@pytest.mark.parametrize(
    "units, size, padding",
    [((3, 4, 6, 3), 483, 239), ((3, 4, 23, 3), 1027, 511), ((3, 8, 36, 3), 1507, 751), ((3, 24, 36, 3), 1763, 879)],
    ids=["resnet_v1_50", "resnet_v1_101", "resnet_v1_152", "resnet_v1_200"],
)
def test_resnets_of_the_table(units: tuple[int, ...], size: int, padding: int) -> None:
    """resnet_v1_50, 101, 152, 200 of the same table: through shortcuts the hull of both ways."""
    strides = [2 if last and block < 3 else 1 for block, n in enumerate(units) for last in [False] * (n - 1) + [True]]
    stem = [nn.Conv2d(1, 1, 7, 2, 3), nn.MaxPool2d(3, 2, ceil_mode=True)]  # TensorFlow pads 112 at its end only
    row = last(nn.Sequential(*stem, *map(Unit, strides)), (1, 1, 224, 224))
    assert row.size == (size, size) and row.jump == (32, 32)
    assert row.start == (-padding, -padding)
    assert row.whole


@pytest.mark.parametrize(
    "name, size, padding", [("resnet50", 483, 239), ("resnet101", 1027, 511), ("resnet152", 1507, 751)]
)
def test_resnets_of_the_zoo(name: str, size: int, padding: int) -> None:
    """The paper's nets stride one unit later and in another layer than TF-slim's, and see just as far."""
    table = field(build(name), (1, 3, 224, 224))
    row = table["conv5_x.block3.relu.relu"]
    assert row.size == (size, size) and row.jump == (32, 32) and row.start == (-padding, -padding)
    assert table.total.whole and table.total.jump == (0, 0)


def test_inception_v3() -> None:
    """inception_v3 of the same table: 1311, stride 32, padding 618, through branches that see unequal rectangles."""
    table = field(torchvision_model("inception_v3")(), (1, 3, 299, 299))
    row = table["Mixed_7c.cat#3"]
    assert row.size == (1311, 1311) and row.jump == (32, 32) and row.start == (-618, -618)
    assert table["Mixed_6b.branch7x7_2.conv.convolution"].size == (159, 255)
    assert not table.missing


def test_googlenet_modules_see_what_their_widest_branch_sees() -> None:
    table = field(build("googlenet"), (1, 3, 224, 224))
    for module in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        five, joined = table[f"inception{module}.5x5.conv.convolution"], table[f"inception{module}.cat"]
        assert five.size == joined.size and five.start == joined.start
    assert table["pool5.avg_pool2d"].whole


@pytest.mark.parametrize("name", names())
def test_no_network_of_the_zoo_has_an_unknown_field(name: str) -> None:
    with torch.device("meta"):
        model = build(name)
    table = field(model, tuple(entry(name)["input"]))
    assert not table.missing


FAMILIES = [
    *("densenet121", "efficientnet_b0", "maxvit_t", "mobilenet_v3_small", "regnet_y_400mf", "shufflenet_v2_x0_5"),
    *("squeezenet1_1", "swin_t", "swin_v2_t", "vit_b_32", "convnext_tiny", "mnasnet0_5", "wide_resnet50_2"),
]


@pytest.mark.parametrize("name", FAMILIES)
def test_families_of_torchvision_end_seeing_everything(name: str) -> None:
    table = field(torchvision_model(name)(), (1, 3, 224, 224))
    assert not table.missing
    assert table.total.whole and table.total.jump == (0, 0)


# -- what is not known ------------------------------------------------------------------------------------------------


class Sampled(nn.Module):
    """Where grid_sample reads, the values of a tensor decide."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.before(x)
        grid = F.affine_grid(torch.eye(2, 3, device=x.device).unsqueeze(0), list(x.shape), align_corners=False)
        return x, self.after(F.grid_sample(x, grid, align_corners=False))


def test_an_operator_without_a_rule_is_named_and_what_follows_is_unknown() -> None:
    table = field(Sampled(), (1, 3, 12, 12))
    assert dict(table.missing) == {"grid_sampler_2d": 1}
    unknown = table["grid_sampler_2d"]
    assert unknown.size is None and unknown.whole is None and unknown.missing == ("grid_sampler_2d",)
    after = table["after.convolution"]
    assert after.size is None and after.whole is None and after.missing == ()
    assert table["before.convolution"].size == (3, 3)


def test_what_does_not_depend_on_the_input_has_no_field() -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)))
    table = field(model, (1, 3, 8, 8))
    (norm,) = [row for row in table.values() if row.kind == "_weight_norm_interface"]
    assert norm.size is None and norm.whole is False and norm.missing == ()
    zeros = field(Function(lambda x: torch.zeros_like(x).cos()), (1, 3, 8, 8))
    assert [row.size for row in zeros.values()] == [None, None] and not zeros.missing


class Shifted(nn.Module):
    """Writes through a view of a tensor that is read again."""

    def __init__(self, write: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.write = nn.Conv2d(3, 3, 3, padding=1), write

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        self.write(y, x)
        return y + 1


def test_writes_through_views() -> None:
    relu = last(Shifted(lambda y, x: y[:, 1:].relu_()), (1, 3, 8, 8))
    assert relu.size == (3, 3) and not relu.missing
    zeroed = last(Shifted(lambda y, x: y[..., 0].zero_()), (1, 3, 8, 8))
    assert zeroed.size == (3, 3) and not zeroed.missing
    moved = last(Shifted(lambda y, x: y[..., 1:].add_(x[..., :-1])), (1, 3, 8, 8))
    assert moved.size is None and moved.missing == ("add",)
    whole = last(Shifted(lambda y, x: y.add_(x.mean((2, 3), keepdim=True))), (1, 3, 8, 8))
    assert whole.size == (9, 9), "all of the input, 0 to 7, and for the first element the padding at -1"


def test_a_detached_tensor_sees_what_it_was_made_from() -> None:
    assert last(Shifted(lambda y, x: y.data.relu_()), (1, 3, 8, 8)).size == (3, 3)
    data = field(nn.Sequential(nn.Conv2d(3, 3, 3), Function(lambda x: x.detach().data.exp())), (1, 3, 8, 8))
    assert data.total.size == (3, 3) and not data.missing


def test_circular_padding_is_unknown() -> None:
    row = last(nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular"), (1, 3, 8, 8))
    assert row.size is None and row.whole is None


# -- of which input, along which dimensions ---------------------------------------------------------------------------


def test_spatial_dimensions() -> None:
    linear = trace(nn.Linear(8, 8), (1, 5, 8))
    assert receptive_field(linear).notes == ("no input has spatial dimensions; axes= names them",)
    assert all(row.size is None for row in receptive_field(linear).values())
    assert receptive_field(linear, axes=(1,))["addmm"].size == (1,)
    assert receptive_field(linear, axes=(1, 2))["addmm"].size == (1, 8)
    assert last(nn.Conv1d(3, 3, 5), (1, 3, 9)).size == (5,)
    assert last(nn.Conv2d(3, 3, 5), (3, 9, 9)).size == (5, 5)
    assert last(nn.AvgPool2d(5), (1, 3, 9, 9)).size == (5, 5)
    assert last(nn.Conv3d(3, 3, (1, 3, 5)), (1, 3, 9, 9, 9)).size == (1, 3, 5)


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.conv = nn.Embedding(10, 3), nn.Conv2d(3, 3, 3)

    def forward(self, tokens: Tensor, image: Tensor) -> Tensor:
        return self.conv(image) + self.embed(tokens).mean(1)[..., None, None]


def test_the_first_spatial_input_is_meant() -> None:
    graph = trace(Two(), (torch.zeros(1, 4, dtype=torch.int64), (1, 3, 8, 8)))
    table = receptive_field(graph)
    assert table["embed.embedding"].size is None and table["embed.embedding"].whole is False
    assert table["add"].size == (3, 3) and not table.missing
    assert table.notes[0].startswith("fields in image (1x3x8x8)")
