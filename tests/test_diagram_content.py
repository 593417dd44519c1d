"""What the diagram says: cards, chips, panels, folding, growth, depth."""

from __future__ import annotations

import pytest
import torch
from test_diagram import DenseBlocks, Functional, panels, traced
from torch import Tensor, nn

from cnnscope import trace
from cnnscope.graph import ModelGraph
from cnnscope.render.canvas.metrics import fit, width
from cnnscope.render.diagram import labels
from cnnscope.render.diagram.composing import compose
from cnnscope.render.diagram.page import lay_out
from cnnscope.render.diagram.scene import Card, Scene


def card(scene: Scene, path: str) -> Card:
    return next(each for each in scene.root.cards() if each.path == path)


def test_a_convolution_says_all_about_itself() -> None:
    conv = card(compose(traced("resnet50")), "conv1")
    assert (conv.title, conv.shape_text, conv.params, conv.macs) == (
        "Conv 7×7 /2",
        "64×112×112",
        9408 + 128,
        118_013_952,
    )
    assert [chip.text for chip in conv.chips] == ["BN", "ReLU"]


def test_panels_are_named_as_in_the_paper_and_carry_totals() -> None:
    found = {panel.path: panel for panel in panels(compose(traced("googlenet")).root)}
    assert list(found)[:3] == ["inception3a", "inception3b", "inception4a"]
    assert labels.costs(found["inception3a"].params, found["inception3a"].macs) == "164k p · 128M MAC"
    assert [each.name for each in found["inception3a"].cards()][:3] == ["1x1.conv", "3x3.conv_reduce", "3x3.conv"]


def test_equal_blocks_are_folded_and_unequal_ones_are_not() -> None:
    runs = {panel.path: panel.copies for panel in panels(compose(traced("resnet152")).root)}
    assert runs["conv2_x.block2"] == 2 and runs["conv3_x.block2"] == 7 and runs["conv4_x.block2"] == 35
    assert runs["conv4_x.block1"] == 1 and "conv4_x.block3" not in runs
    assert all(panel.copies == 1 for panel in panels(compose(traced("resnet152"), fold=False).root))
    assert all(panel.copies == 1 for panel in panels(compose(traced("googlenet")).root))


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "nasnet_a_mobile"])
def test_a_folded_card_knows_the_operators_of_those_that_it_stands_for(name: str) -> None:
    folded, unfolded = (compose(traced(name), fold=fold).root.cards() for fold in (True, False))
    known = sorted(op for card in folded for op in (*card.ops, *card.more_ops))
    assert known == sorted(op for card in unfolded for op in card.ops)


def test_blocks_with_other_wiring_are_not_folded() -> None:
    class Block(nn.Module):
        def __init__(self, swapped: bool) -> None:
            super().__init__()
            self.a, self.b, self.swapped = nn.Linear(4, 4), nn.Linear(4, 4), swapped

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x) - self.b(self.a(x)) if self.swapped else self.b(self.a(x)) - self.a(x)

    scene = compose(trace(nn.Sequential(Block(False), Block(False), Block(True)), (2, 4)))
    assert [panel.copies for panel in panels(scene.root)] == [2, 1]


def test_concatenations_that_extend_one_another_are_growth() -> None:
    graph = traced("dense")
    scene = compose(graph)
    assert [panel.copies for panel in panels(scene.root) if panel.grows]
    unfolded = compose(graph, fold=False)
    pills = [each for each in unfolded.root.cards() if each.form == "pill"]
    assert all(sum(edge.head is pill for edge in unfolded.edges) <= 2 for pill in pills)
    assert len(trace(DenseBlocks(48), (1, 4, 8, 8)).dag.edges) > 1000
    assert len(compose(trace(DenseBlocks(48), (1, 4, 8, 8)), fold=False).edges) < 350


def test_identity_shortcuts_and_only_they_are_dashed() -> None:
    scene = compose(traced("resnet18"), fold=False)
    skips = [edge for edge in scene.edges if edge.skip]
    assert len(skips) == 5 and all(edge.head.title == "+" for edge in skips)
    assert not any(edge.skip for edge in compose(traced("unet")).edges)


def test_depth_closes_panels() -> None:
    scene = compose(traced("resnet50"), depth=1)
    titles = [each.title for each in scene.root.cards()]
    assert titles[:4] == ["Input", "Conv 7×7 /2", "MaxPool 3×3 /2", "conv2_x"]
    assert not panels(scene.root)
    assert {panel.path.count(".") for panel in panels(compose(traced("resnet50"), depth=2).root)} == {0}
    with pytest.raises(ValueError, match="depth 0"):
        compose(traced("resnet50"), depth=0)


def test_every_output_and_input_has_a_terminal() -> None:
    scene = compose(traced("googlenet_aux"))
    ends = [each.title for each in scene.root.cards() if each.form == "terminal"]
    assert ends == ["Input", "Output 1", "Output 2", "Output 3"]
    several = [each.title for each in compose(traced("inputs")).root.cards() if each.form == "terminal"]
    assert several == ["Input 1", "Input 2", "Input 3", "Output 1", "Output 2", "Output 3"]


def test_an_output_written_into_later_comes_from_both() -> None:
    scene = compose(trace(Functional(), (2, 3, 16, 16)))
    third = next(each for each in scene.root.cards() if each.title == "Output 3")
    assert {edge.tail.title for edge in scene.edges if edge.head is third} == {"× 2", "+ 1"}


def test_views_are_part_of_the_line() -> None:
    class Split(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            a, b = x.transpose(1, 2).chunk(2, 1)
            return a.relu() + b.sigmoid()

    scene = compose(trace(Split(), (2, 6, 4)))
    assert [each.title for each in scene.root.cards()] == ["Input", "ReLU", "Sigmoid", "+", "Output"]
    assert scene.edges[0].via == ("transpose", "split") and scene.edges[0].shape == (2, 2, 6)


def test_preparation_is_counted_where_it_is_used_and_costly_preparation_is_drawn() -> None:
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.net = nn.Parameter(torch.zeros(10, 4)), nn.Linear(3, 4)
            self.register_buffer("index", torch.arange(5))
            self.register_buffer("grid", torch.zeros(5, 3))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.table[self.index] + self.net(self.grid)

    scene = compose(trace(Positions(), (2, 5, 4)))
    assert [each.title for each in scene.root.cards()] == ["Input", "add", "Linear", "+", "Output"]
    assert next(each for each in scene.root.cards() if each.title == "add").params == 40
    assert card(scene, "net").macs == 60


def test_dropout_that_runs_nothing_is_a_chip_still() -> None:
    assert [chip.text for chip in card(compose(traced("vgg16")), "fc6").chips] == ["ReLU", "Dropout"]


def test_a_shared_layer_is_marked_and_its_parameters_stand_once() -> None:
    scene = compose(traced("shared"), fold=False)
    assert [each.again for each in scene.root.cards() if each.title == "Linear"] == [
        False,
        False,
        True,
        True,
        True,
        True,
    ]
    folded = compose(traced("shared"))  # the first call has the parameters, so it stands for itself alone
    assert [(each.again, each.params) for each in folded.root.cards() if each.title == "Linear"] == [
        (False, 72), (False, 72), (True, 0), (True, 0),
    ]  # fmt: skip
    assert [panel.copies for panel in panels(folded.root) if panel.period == 2] == [2]


def test_unknown_operators_get_a_neutral_card_and_a_question_mark() -> None:
    graph = trace(nn.Sequential(nn.Linear(4, 4)), (2, 4))
    op = graph.ops[-1]._replace(kind="frobnicate")
    calls = tuple(call._replace(type="Odd") for call in graph.calls)
    changed = ModelGraph(
        "odd", (*graph.ops[:-1], op), graph.storages, inputs=graph.inputs, parameters=graph.parameters, calls=calls
    )
    odd = next(each for each in compose(changed).root.cards() if "frobnicate" in each.title)
    assert (odd.family, odd.macs) == ("other", None)
    assert labels.costs(odd.params, odd.macs) == "20 p · ? MAC"


def test_long_nets_are_cut_into_columns_of_a_page() -> None:
    for name, columns in (("googlenet", 2), ("vgg16", 3), ("resnet152", 3), ("lenet5_modern", 1)):
        plan = lay_out(compose(traced(name)))
        assert len(plan.columns) == columns, name
        assert 0.5 < plan.width / plan.height < 2.0 or columns == 1


def test_equal_modules_in_turn_are_folded_as_one_block() -> None:
    class Block(nn.Module):
        def __init__(self, kernel: int) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(4, 4, kernel, padding=kernel // 2), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.norm(self.conv(x)).relu()

    def net(*kernels: int) -> Scene:
        return compose(trace(nn.Sequential(*map(Block, kernels)), (1, 4, 8, 8)))

    turns = [(panel.period, panel.copies, panel.name, panel.last) for panel in panels(net(3, 5, 3, 5, 3, 5).root)]
    assert turns == [(2, 3, "0", "5"), (1, 1, "0", ""), (1, 1, "1", "")]
    nested = [(panel.period, panel.copies) for panel in panels(net(3, 3, 5, 3, 3, 5).root)]
    assert nested == [(3, 2), (1, 2), (1, 1)]
    assert [(panel.period, panel.copies) for panel in panels(net(3, 5, 7).root)] == [(1, 1)] * 3


class Cells(nn.Module):
    """Each cell reads the last two, as NASNet's do. odd: this one reads its inputs the other way round."""

    def __init__(self, count: int, odd: int = -1) -> None:
        super().__init__()
        self.cells, self.odd = nn.ModuleList(Cell() for _ in range(count)), odd

    def forward(self, x: Tensor) -> Tensor:
        before, last = x.sigmoid(), x.tanh()
        for i, cell in enumerate(self.cells):
            before, last = last, cell(before, last) if i == self.odd else cell(last, before)
        return last


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.near, self.far = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, near: Tensor, far: Tensor) -> Tensor:
        self.inner = self.near(near).relu()
        return self.inner + self.far(far)


def test_cells_that_read_the_last_two_are_folded_when_they_read_alike() -> None:
    def copies(net: nn.Module) -> list[int]:
        return [panel.copies for panel in panels(compose(trace(net, (1, 4))).root)]

    assert copies(Cells(6)) == [6] and copies(Cells(2)) == [2]
    assert copies(Cells(6, odd=2)) == [2, 1, 3]  # the third cell is no third copy
    large = [panel.copies for panel in panels(compose(traced("nasnet_a_large")).root) if panel.copies > 1]
    assert large == [4, 4, 4]  # of six normal cells each, the first two have other inputs


def test_a_block_that_is_read_from_afar_is_not_folded() -> None:
    class Kept(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(Cell() for _ in range(4))

        def forward(self, x: Tensor) -> Tensor:
            kept = []
            for each in self.blocks:
                x = each(x, x)
                kept.append(x)
            return x + kept[1]

    assert [panel.copies for panel in panels(compose(trace(Kept(), (1, 4))).root)] == [2, 2]


def test_the_last_of_equal_blocks_may_be_read_by_others_but_not_from_its_inside() -> None:
    class Tapped(nn.Module):
        def __init__(self, inside: bool) -> None:
            super().__init__()
            self.blocks, self.inside = nn.ModuleList(Cell() for _ in range(3)), inside

        def forward(self, x: Tensor) -> Tensor:
            for each in self.blocks:
                x = each(x, x)
            return x.view(2, 2) @ (self.blocks[-1].inner if self.inside else x).view(2, 2)

    def copies(net: nn.Module, given: tuple[int, ...] = (1, 4)) -> list[int]:
        return [panel.copies for panel in panels(compose(trace(net, given)).root)]

    assert copies(Tapped(False)) == [3] and copies(Tapped(True)) == [2, 1]
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 4)
    assert copies(encoder.eval(), (1, 5, 16)) == [4]


def test_texts_are_cut_to_their_room() -> None:
    assert fit("abc", 10, 100) == "abc"
    assert width(fit("n" * 10_000, 10, 80), 10) <= 80 and fit("n" * 10_000, 10, 80).endswith("…")
    assert fit("a\nb\x00\u202ec", 10, 100) == "a bc"
    assert width("Hello", 1000) == 722 + 556 + 222 + 222 + 556
