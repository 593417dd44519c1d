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
import math
import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from real_steps import LiveBytes, real_step
from step_counts import ATTENTION
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import cnnscope
from cnnscope import encoding, fusing, render
from cnnscope.analyses.liveness import timeline
from cnnscope.errors import CnnscopeError, UntraceableModel
from cnnscope.graph import ModelGraph, Value
from cnnscope.layouts import contiguous

from .nets import Net, Recipe, inputs, tensors

_READ = "_local_scalar_dense"
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


class _Check:
    def __init__(self, net: Net) -> None:
        self.net = net
        self.differences: list[str] = []
        self.sentence = ""

    def same(self, what: str, ours: Any, theirs: Any) -> None:
        if ours != theirs:
            self.differences.append(f"{what}: traced {_short(ours)}, real {_short(theirs)}")

    # -- inference ----------------------------------------------------------------------------------------------------

    def inference(self) -> tuple[str, ModelGraph | None]:
        run, result, error = _real(self.net)
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
            before = _state(self.net)
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

    def _untouched(self, args: Any, kwargs: Any, state: Any) -> None:
        before = tensors(inputs(self.net.recipe))
        for ours, theirs in zip(tensors((args, kwargs)), before, strict=True):
            if ours.shape != theirs.shape or not torch.equal(ours, theirs):
                self.differences.append("the input is not left as it was")
        if _state(self.net) != state:
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
            self.same("MACs", costs.total.macs, _macs(net))
            self.same("MACs of layers", cnnscope.layers(graph).total.macs, costs.total.macs)
        again = encoding.decoded(encoding.encoded(graph))
        if _content(again) != _content(graph):
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
        before = _state(self.net)

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


def run_differences(graph: ModelGraph, run: LiveBytes) -> Iterator[str]:
    """Operators in order, each result's shape, type and strides, and the bytes alive after each.

    That a program reads one number is left out: nothing is made, and a trace writes down only reads of what it has.
    """
    ours = [at for at, op in enumerate(graph) if op.kind != _READ]
    theirs = [at for at, kind in enumerate(run.kinds) if kind != _READ]
    live = _live(graph)
    for at, real in zip(ours, theirs, strict=False):
        op = graph.ops[at]
        if op.kind != run.kinds[real]:
            break
        found = [_layout(value) for value in op.outputs]
        expected = [(shape, dtype, _told(shape, strides)) for shape, dtype, strides in run.made[real]]
        if found != expected:
            yield f"results of {op.kind} ({at}): traced {_short(found)}, real {_short(expected)}"
            break
        if live[at] != run.events[real]:
            yield f"bytes alive after {op.kind} ({at}): traced {live[at]}, real {run.events[real]}"
            break
    kinds, expected_kinds = [graph.ops[at].kind for at in ours], [run.kinds[at] for at in theirs]
    if kinds != expected_kinds:
        pairs = enumerate(zip(kinds, expected_kinds, strict=False))
        at = next((at for at, (a, b) in pairs if a != b), min(len(kinds), len(expected_kinds)))
        yield f"operator {at}: traced {kinds[at : at + 3]}, real {expected_kinds[at : at + 3]}"


def _live(graph: ModelGraph) -> list[int]:
    """Bytes alive after each operator beside what existed before; gradients and state of a step before count."""
    line = timeline(graph)
    given = [line.kinds[kind] for kind in ("param", "buffer", "input", "constant") if kind in line.kinds]
    before = list(map(sum, zip(*given, strict=True))) or [0] * len(graph)
    return [live - other for live, other in zip(line.total, before, strict=True)]


def _layout(value: Value) -> tuple[Any, ...]:
    return value.shape, value.dtype, _told(value.shape, value.strides or contiguous(value.shape))


def _told(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """Strides as far as they say anything: not where there is one element or none along the dimension."""
    return () if 0 in shape else tuple(stride for size, stride in zip(shape, strides, strict=True) if size != 1)


def _real(net: Net) -> tuple[LiveBytes, Any, Exception | None]:
    net = copy.deepcopy(net).eval()
    args, kwargs = inputs(net.recipe)
    held = [each for module in net.modules() for each in tensors(list(vars(module).values()))]
    tracker = LiveBytes([*tensors((args, kwargs)), *net.parameters(), *net.buffers(), *held])
    try:
        with torch.no_grad(), tracker:
            result = net(*args, **kwargs)
    except Exception as error:
        return tracker, None, error
    return tracker, result, None


def _macs(net: Net) -> int:
    """Half the FLOPs of torch's own counter, which knows no products with vectors: those here by their definition."""
    net = copy.deepcopy(net).eval()
    args, kwargs = inputs(net.recipe)
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping={**ATTENTION, **VECTORS}) as counter:
        net(*args, **kwargs)
    return counter.get_total_flops() // 2


def _of_matrix(matrix: Any, vector: Any, *rest: Any, **out: Any) -> int:
    return 2 * matrix[0] * matrix[1]


VECTORS: dict[Any, Any] = {
    torch.ops.aten._trilinear: lambda x, weight, y, *rest, **out: 4 * math.prod(x[:-1] and (x[0], *weight)),
    torch.ops.aten.mv: _of_matrix,
    torch.ops.aten.addmv: lambda bias, matrix, vector, *rest, **out: 2 * matrix[0] * matrix[1],
    torch.ops.aten.dot: lambda a, b, **out: 2 * a[0],
    torch.ops.aten.vdot: lambda a, b, **out: 2 * a[0],
}


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


def _state(net: nn.Module) -> Any:
    """All of a model and its surroundings that a trace must leave alone."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_state_dict_hooks")
    numbers = [(name, each.dtype, each.requires_grad, each.grad is None, each.detach().clone().flatten().tolist())
               for name, each in (*net.named_parameters(), *net.named_buffers())]  # fmt: skip
    modules = [(name, type(each), each.training, sorted(vars(each)), [len(getattr(each, hook)) for hook in hooks])
               for name, each in net.named_modules()]  # fmt: skip
    return repr(numbers), modules, torch.get_rng_state().tolist(), random.getstate()


def _content(graph: ModelGraph) -> dict[str, str]:
    lazily = ("positions", "producers", "dag", "types", "forward", "_by_name")
    return {name: repr(each) for name, each in vars(graph).items() if name not in lazily}


def _short(thing: Any) -> str:
    text = str(thing)
    return text if len(text) < 300 else f"{text[:300]}..."
