"""A random network, traced, held against the same network run for real on the CPU.

What is known to differ is put out of the way by what makes it, and said in the report:

- the transformer's fast path, one kernel that a trace takes apart (``surroundings.py``), is off in the real run;
- oneDNN's recurrent layer, one kernel that meta has not, is off in the real run. Without it the CPU still multiplies
  the inputs of all time steps at once, and a trace step by step: of networks with a recurrent layer the operators and
  bytes between are not compared, all else is;
- reads of a number (``_local_scalar_dense``) make nothing, and a trace writes down only those it can answer;
- where the CPU has no kernel for a type (``not implemented for 'Half'``), there is no real run.
"""

from __future__ import annotations

import contextlib
import copy
import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from real_steps import LiveBytes, real_step

import cnnscope
from cnnscope import encoding, fusing, render
from cnnscope.errors import CnnscopeError, UntraceableModel
from cnnscope.graph import ModelGraph

from .nets import Net, Recipe, inputs, tensors
from .oracles import content, real_macs, real_run, run_differences, short, state

OPTIMIZERS = (None, "sgd", "sgd-momentum", "adam")


class Finding(NamedTuple):
    """What became of one network.

    how: ``traced``; ``cpu``, in a real run, because it asks for numbers; ``refused`` by PyTorch, and so by the trace;
    ``no kernel``: traced, and the CPU has no kernel for a type.
    trained: a training step was compared, too; missing: kinds of operators without a count; differences: in words.
    """

    recipe: Recipe
    used: tuple[str, ...]
    operators: int
    how: str
    trained: bool
    missing: tuple[str, ...]
    differences: tuple[str, ...]


def examined(recipe: Recipe) -> Finding:
    """Hold the network of a recipe against its real run."""
    with warnings.catch_warnings(action="ignore"), _taken_apart(recipe):
        net = Net(recipe)
        check = _Check(net)
        how, graph = check.inference()
        trained = graph is not None and how == "traced" and recipe.seed % 3 == 0 and check.training()
        missing = tuple(sorted(cnnscope.cost(graph).missing)) if graph else ()
    return Finding(recipe, tuple(net.used), len(graph or ()), how, trained, missing, tuple(check.differences))


def smaller(recipe: Recipe, differs: Callable[[Recipe], bool]) -> Recipe:
    """The recipe without the steps and inputs that a difference does not need."""
    shrunk = True
    while shrunk:
        shrunk = False
        for at in reversed(range(len(recipe.steps))):
            less = recipe._replace(steps=recipe.steps[:at] + recipe.steps[at + 1 :])
            if differs(less):
                recipe, shrunk = less, True
    for field, plain in (("dtype", "float32"), ("form", "arguments"), ("answer", "last")):
        if differs(simpler := recipe._replace(**{field: plain})):
            recipe = simpler
    return recipe


@contextlib.contextmanager
def _taken_apart(recipe: Recipe) -> Iterator[None]:
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    recurrent = any(name == "recurrent" for name, _ in recipe.steps)
    try:
        with torch.backends.mkldnn.flags(enabled=False) if recurrent else contextlib.nullcontext():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


class _Check:
    def __init__(self, net: Net) -> None:
        self.net = net
        self.differences: list[str] = []
        self.sentence = ""

    def same(self, what: str, ours: Any, theirs: Any) -> None:
        if ours != theirs:
            self.differences.append(f"{what}: traced {short(ours)}, real {short(theirs)}")

    # -- inference ----------------------------------------------------------------------------------------------------

    def inference(self) -> tuple[str, ModelGraph | None]:
        run, result, error = real_run(self.net)
        how, graph = self._traced()
        if how == "refused" or graph is None:
            if error is None and not self.differences:
                self.differences.append(f"refused, and runs: {self.sentence}")
            return "refused", None
        if error is not None and "not implemented for" in str(error):
            return "no kernel", None
        if error is not None:
            self.differences.append(f"traced, and does not run: {type(error).__name__}: {error}".partition("\n")[0])
            return how, None
        self.same_run(graph, run, "")
        outs = [(tuple(each.shape), str(each.dtype)[6:]) for each in tensors(result)]
        self.same("outputs", [(each.shape, each.dtype) for each in graph.outputs], outs)
        self._figures(graph)
        return how, graph

    def _traced(self) -> tuple[str, ModelGraph | None]:
        """On meta, or in a real run where the network asks for numbers."""
        for place in ("meta", "cpu"):
            args, kwargs = inputs(self.net.recipe)
            before = state(self.net)
            try:
                graph = cnnscope.trace(self.net, args or None, kwargs=kwargs, device_trace=place)
            except CnnscopeError as error:
                self.sentence = str(error).replace("\n", " | ")
                if len(str(error).splitlines()) > 3:
                    self.differences.append(f"a long sentence: {self.sentence}")
                if not (place == "meta" and isinstance(error, UntraceableModel) and error.needs_data):
                    return "refused", None
            except Exception as error:
                self.sentence = f"{type(error).__name__}: {error}"
                self.differences.append(f"a defect: {self.sentence}")
                return "refused", None
            else:
                return ("traced" if place == "meta" else "cpu"), graph
            finally:
                self._untouched(args, kwargs, before)
        return "refused", None

    def _untouched(self, args: Any, kwargs: Any, before: Any) -> None:
        given = tensors(inputs(self.net.recipe))
        for ours, theirs in zip(tensors((args, kwargs)), given, strict=True):
            if ours.shape != theirs.shape or not torch.equal(ours, theirs):
                self.differences.append("the input is not left as it was")
        if state(self.net) != before:
            self.differences.append("the model is not left as it was")

    def same_run(self, graph: ModelGraph, run: LiveBytes, where: str) -> None:
        if "recurrent" not in self.net.used:
            self.differences += [f"{where}{each}" for each in run_differences(graph, run)]

    def _figures(self, graph: ModelGraph) -> None:
        """Parameters, multiply-adds, bytes at the peak; a graph written and read; every format."""
        net = self.net
        self.same(
            "parameters",
            cnnscope.params(graph).total.params,
            sum(p.numel() for p in net.parameters()) if list(net.parameters()) else 0,
        )
        costs = cnnscope.cost(graph)
        if not costs.missing:
            self.same("MACs", costs.total.macs, real_macs(net))
            self.same("MACs of layers", cnnscope.layers(graph).total.macs, costs.total.macs)
        again = encoding.decoded(encoding.encoded(graph))
        if content(again) != content(graph):
            self.differences.append("another graph comes out of the cache")
        try:
            self._rendered(graph)
        except Exception as error:
            self.differences.append(f"a defect: {type(error).__name__}: {error}")

    def _rendered(self, graph: ModelGraph) -> None:
        figures = cnnscope.memory(graph)
        del figures
        layers = cnnscope.layers(graph)
        for form in (render.text, render.markdown, render.csv, render.json, render.html):
            form(layers)
        for analysis in (cnnscope.shapes, cnnscope.depth, cnnscope.receptive_field):
            render.json(analysis(graph))
        if self.net.recipe.seed % 3 == 1:
            render.svg(graph)
            render.dot(graph)
            cnnscope.cost(fusing.fused(graph))

    # -- training -----------------------------------------------------------------------------------------------------

    def training(self) -> bool:
        """A training step as both take it; False where there is nothing to train."""
        chance = random.Random(self.net.recipe.seed)
        optimizer = chance.choice(OPTIMIZERS)
        options: dict[str, Any] = {
            "foreach": chance.random() < 0.5,
            "step": chance.choice(("steady", "first")),
            "zero_grad": chance.choice(("before-forward", "before-backward", "after-step")),
            "accumulate": chance.randint(1, 2),
            "set_to_none": chance.random() < 0.5,
        }
        if not any(param.requires_grad for param in self.net.parameters()):
            return False
        error = run = None
        try:
            run = real_step(copy.deepcopy(self.net).train(), inputs(self.net.recipe), optimizer, **options)
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}".partition("\n")[0]
        args, kwargs = inputs(self.net.recipe)
        before = state(self.net)

        def traced(place: str) -> ModelGraph:
            return cnnscope.trace(
                self.net, args or None, kwargs=kwargs, train=True, optimizer=optimizer, device_trace=place, **options
            )

        try:
            try:
                graph = traced("meta")
            except UntraceableModel as raised:
                if not raised.needs_data:
                    raise
                graph = traced("cpu")
        except CnnscopeError as raised:
            if run is not None:
                self.differences.append(f"training refused, and runs: {raised}".replace("\n", " | "))
            return run is not None
        except Exception as raised:
            self.differences.append(f"a defect in training: {type(raised).__name__}: {raised}")
            return True
        finally:
            self._untouched(args, kwargs, before)
        if run is None and error and "not implemented for" in error:
            return False
        if run is None:
            self.differences.append(f"training traced, and does not run: {error}")
            return True
        self.same_run(graph, run, "training: ")
        cnnscope.memory(graph)
        return True
