"""The two data types: what a graph refuses, how tables fold, and the JSON that comes out."""

from __future__ import annotations

import dataclasses
import json
import sys

import networkx as nx
import pytest
from torch import nn

import cnnscope
from cnnscope.errors import CnnscopeError, InvalidGraph, UnusableInput
from cnnscope.graph import ModelGraph, Op, Storage, Value
from cnnscope.table import Table, by_module, column, table


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return x + self.conv2(self.norm(self.conv1(x)).relu())


@pytest.fixture(scope="module")
def graph():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sequential(Block(8), Block(8)), nn.Flatten())
    return cnnscope.trace(model, (2, 3, 10, 10))


def value(name, storage=0):
    return Value(name, (1,), "float32", storage)


def op(name, inputs, outputs):
    return Op(name, "relu", inputs, outputs, (), {}, "", "forward", tuple("x" for _ in inputs))


def test_a_graph_refuses_a_repeated_name_and_a_value_from_nowhere():
    given = Storage(0, 4, "input", -1, None)
    twice = (op("a", (value("x"),), (value("a"),)), op("a", (value("x"),), (value("b"),)))
    with pytest.raises(InvalidGraph, match="'a'"):
        ModelGraph("g", twice, (given,), inputs=(value("x"),))
    late = Storage(1, 4, "activation", 0, None)
    with pytest.raises(InvalidGraph, match="'y'"):
        ModelGraph("g", (op("a", (value("y", 1),), (value("z", 1),)),), (given, late))


def test_the_dag_is_frozen_acyclic_and_in_execution_order(graph):
    dag = graph.dag
    assert isinstance(dag, nx.DiGraph) and nx.is_frozen(dag) and nx.is_directed_acyclic_graph(dag)
    assert list(dag) == [each.name for each in graph]
    assert all(graph.positions[tail] < graph.positions[head] for tail, head in dag.edges)
    assert dag.nodes["0.convolution"]["op"] is graph["0.convolution"]
    for tail, head, values in dag.edges(data="values"):
        assert all(each in graph[tail].outputs and each in graph[head].inputs for each in values)
    with pytest.raises(nx.NetworkXError):
        dag.add_node("more")


@pytest.mark.parametrize("depth", [1, 2, 3, 9])
def test_folding_by_module_keeps_every_sum(graph, depth):
    whole = cnnscope.layers(graph)
    folded = by_module(whole, depth)
    for name in ("params", "macs", "flops", "activation", "bytes_read", "buffers"):
        assert sum(getattr(row, name) for row in folded.values()) == getattr(whole.total, name)
    assert all(row.module.count(".") < depth for row in folded.values())
    assert folded.total == whole.total


def test_folding_gives_one_row_a_block_with_its_last_shape(graph):
    folded = by_module(cnnscope.layers(graph), 2)
    assert list(folded) == ["0", "1.0", "1.1", "2"]
    assert folded["1.0"].output == (2, 8, 8, 8)
    assert folded["1.0"].params == 2 * (8 * 8 * 9 + 8) + 16


def test_a_depth_below_one_is_refused(graph):
    with pytest.raises(ValueError, match="depth 0"):
        by_module(cnnscope.layers(graph), 0)


@dataclasses.dataclass(frozen=True)
class Fruit:
    name: str = column("fruit")
    module: str = column("module", default="")
    count: int | None = column("count", "count", fold="sum", default=None)
    largest: int | None = column("largest", "count", fold="max", default=None)
    missing: tuple[str, ...] = column("missing", fold="join", default=())


def test_totals_are_of_what_is_known():
    fruits = [Fruit("apple", "tree", 2, 7), Fruit("pear", "tree", None, 3, ("pear",)), Fruit("plum", "bush", 4, None)]
    basket = table("basket", fruits, Fruit)
    assert (basket.total.count, basket.total.largest, basket.missing) == (6, 7, {"pear": 1})
    assert table("empty", [], Fruit).total.count == 0
    assert table("unknown", fruits[1:2], Fruit).total.count is None, "nothing known is not nothing"
    assert by_module(basket, 1)["tree"].missing == ("pear",)
    with pytest.raises(ValueError, match="apple"):
        table("basket", [fruits[0], fruits[0]], Fruit)


def test_the_json_schema(graph):
    found = json.loads(json.dumps(cnnscope.layers(graph).to_dict()))
    assert found["schema_version"] == 1
    assert found["input"] == "2x3x10x10" and found["missing"] == {}
    assert found["total"]["params"] == sum(row["params"] for row in found["rows"])
    first = found["rows"][0]
    assert first["name"] == "0" and first["output"] == [2, 8, 8, 8] and first["kernel"] == [3, 3]
    assert all(isinstance(row["macs"], int) for row in found["rows"])


def test_notebooks_show_a_graph_as_its_diagram_and_a_table_as_html(graph):
    shown = graph._repr_mimebundle_()
    assert shown["image/svg+xml"].startswith("<svg") and "14 operators" in shown["text/plain"]
    assert "<table" in cnnscope.layers(graph)._repr_html_()


def test_tables_are_mappings(graph):
    layers = cnnscope.layers(graph)
    assert isinstance(layers, Table) and len(layers) == len(list(layers))
    assert layers["1.0.conv1"].type == "Conv2d" and "nowhere" not in layers


@pytest.mark.parametrize("name", ["shapes", "params", "cost", "memory", "receptive_field", "depth", "layers"])
def test_a_table_without_rows_is_shown(name):
    found = getattr(cnnscope, name)(cnnscope.trace(nn.Identity(), (1, 3)))
    found = dataclasses.replace(found, rows={})
    assert str(found).splitlines()[2].split()[0] in ("operator", "layer")
    assert "<table" in found._repr_html_() and json.loads(cnnscope.render.json(found))["rows"] == []
    assert cnnscope.render.markdown(found) and cnnscope.render.csv(found).startswith("name,")


# -- what is given by mistake ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["text", "markdown", "html", "csv", "json"])
def test_a_graph_is_shown_as_the_table_of_its_layers(kind):
    graph = cnnscope.trace(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), (1, 3))
    shown = getattr(cnnscope.render, kind)(graph)
    assert "Linear" in shown and "ReLU" in shown
    with pytest.raises(UnusableInput, match="not of Linear"):
        getattr(cnnscope.render, kind)(nn.Linear(3, 4))


@pytest.mark.parametrize(
    "name", ["shapes", "params", "cost", "memory", "receptive_field", "depth", "roofline", "report"]
)
def test_an_analysis_takes_a_graph_and_says_so(name):
    for wrong in (nn.Linear(3, 4), cnnscope.cost(cnnscope.trace(nn.Linear(3, 4), (1, 3))), "vgg16", None):
        with pytest.raises(UnusableInput, match=rf"{name}\(\) takes the graph .* not {type(wrong).__name__}"):
            getattr(cnnscope, name)(wrong, *(["h200"] if name == "roofline" else []))


@pytest.mark.parametrize("name", ["svg", "dot", "tikz", "figure"])
def test_a_picture_is_drawn_of_a_graph(name):
    with pytest.raises(UnusableInput, match=rf"{name}\(\) takes the graph"):
        getattr(cnnscope.render, name)(nn.Linear(3, 4))


@pytest.mark.parametrize("shape", [(1, 3.0), [2.5, 3], (True, 3)])
def test_a_shape_has_whole_sizes(shape):
    with pytest.raises(UnusableInput, match="whole"):
        cnnscope.trace(nn.Linear(3, 4), shape)


# -- how they show themselves, and what they give to others -----------------------------------------------------------


def test_a_table_shows_itself_at_a_prompt_and_in_a_notebook():
    table_ = cnnscope.layers(cnnscope.trace(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), (1, 2)))
    assert repr(table_) == str(table_) and "Linear" in repr(table_)
    bundle = table_._repr_mimebundle_()
    assert bundle == {"text/plain": str(table_), "text/html": table_._repr_html_()}


def test_a_graph_shows_its_diagram_and_gives_its_layers():
    graph = cnnscope.trace(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), (1, 2))
    assert graph._repr_html_() == graph._repr_mimebundle_()["image/svg+xml"]
    assert graph.to_dict() == cnnscope.layers(graph).to_dict()


def test_tables_as_data_frames():
    pytest.importorskip("pandas")
    graph = cnnscope.trace(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), (1, 2))
    table_ = cnnscope.layers(graph)
    frame = table_.to_dataframe()
    assert list(frame.index) == list(table_)
    assert frame["params"].sum() == table_.total.params == 9
    assert frame.loc["0", "output"] == [1, 3]
    assert frame.equals(graph.to_dataframe())
    nothing = cnnscope.shapes(cnnscope.trace(nn.Identity(), (1, 3))).to_dataframe()
    assert len(nothing) == 0 and nothing.index.name == "name"


def test_a_data_frame_without_pandas_names_the_way_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(CnnscopeError, match=r"cnnscope\[dataframe\]"):
        cnnscope.params(cnnscope.trace(nn.ReLU(), (1, 3))).to_dataframe()
