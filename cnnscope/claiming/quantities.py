"""The vocabulary of the ledger: what can be read off one graph.

A quantity is a function of a net and of the options of a measure; it gives a number or a text. Options that most take:
``of``, the modules that are meant (a dotted path or a pattern, or several; by default the whole net), and ``without``,
those among them that are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from ..analyses.costs import OpCost, cost
from ..analyses.receptive import receptive_field
from ..graph import Call, ModelGraph, Op, Parameter, Shape
from ..table import Table

Options = Mapping[str, Any]
Quantity = Callable[["Net", Options], float | str]
Patterns = tuple[str, ...]

MATRIX = ("convolution", "addmm", "mm", "bmm", "linear")  # the operators that have the weights of a layer
POOLS = ("max_pool2d_with_indices", "max_pool2d", "avg_pool2d", "_adaptive_avg_pool2d")
STATISTICS = ("running_mean", "running_var")


class Net:
    """A graph with what several quantities read from it."""

    def __init__(self, graph: ModelGraph) -> None:
        self.graph = graph
        self._meant: dict[tuple[Patterns, Patterns], frozenset[str]] = {}

    @cached_property
    def costs(self) -> Table[OpCost]:
        """Work of every operator."""
        return cost(self.graph)

    def ops(self, options: Options, kinds: Iterable[str] | None = None) -> list[Op]:
        """The operators of the modules that are meant."""
        meant = self.meant(options)
        return [op for op in self.graph if op.module in meant and (kinds is None or op.kind in kinds)]

    def parameters(self, options: Options) -> list[Parameter]:
        """The parameters and buffers of the modules that are meant."""
        meant = self.meant(options)
        return [each for each in self.graph.parameters if each.module in meant]

    def meant(self, options: Options) -> frozenset[str]:
        """Paths of the modules that ``of`` and ``without`` leave, with all that is in them."""
        key = _several(options.get("of", "")), _several(options.get("without", ()))
        if key not in self._meant:
            of, without = key
            kept = [path for path in self._paths if _inside(path, of) and not _inside(path, without)]
            self._meant[key] = frozenset(kept)
        return self._meant[key]

    @cached_property
    def _paths(self) -> tuple[str, ...]:
        owners = (each.module for each in self.graph.parameters)
        return tuple(dict.fromkeys([*(call.module for call in self.graph.calls), *owners]))

    def calls(self, options: Options) -> list[Call]:
        """The first calls of exactly the modules that ``of`` names, in execution order."""
        names = [name for name in self._paths if _matches(name, _several(options.get("of", "")))]
        found = [call for call in self.graph.calls if not call.repeat and call.module in names]
        if not found:
            raise LookupError(f"{self.graph.name} has no module {options.get('of')!r}")
        return found


def _several(patterns: Any) -> Patterns:
    return (patterns,) if isinstance(patterns, str) else tuple(patterns)


def _matches(module: str, patterns: Patterns) -> bool:
    """Whether a pattern describes the path, name by name: a star does not reach over a dot."""
    return any(module.count(".") == pattern.count(".") and _inside(module, (pattern,)) for pattern in patterns)


def _inside(module: str, patterns: Patterns) -> bool:
    """Whether a pattern describes the path or the beginning of it; the empty one is the whole net."""
    names = module.split(".")
    wanted = [pattern.split(".") if pattern else [] for pattern in patterns]
    return any(len(names) >= len(each) and all(map(fnmatchcase, names, each)) for each in wanted)


# -- what a net has ---------------------------------------------------------------------------------------------------


def params(net: Net, options: Options) -> float:
    """Elements of the parameters.

    roles: of these only (weight, bias, norm). statistics: with running averages of batch norms; scale false: without
    their scales. bias: patterns of the convolutions that are given a bias they lack. density: the part of the weights
    that is left after pruning, by pattern.
    """
    roles = options.get("roles", ("weight", "bias", "norm"))
    total = 0.0
    for each in net.parameters(options):
        name = each.name.rpartition(".")[2]
        if each.role == "buffer":
            total += each.numel if options.get("statistics") and name in STATISTICS else 0
        elif each.role in roles and (each.role != "norm" or name != "weight" or options.get("scale", True)):
            dense = (part for pattern, part in options.get("density", {}).items() if _inside(each.module, (pattern,)))
            total += each.numel * (next(dense, 1) if each.role == "weight" else 1)
    return _whole(total + _biases_added(net, options))


def _biases_added(net: Net, options: Options) -> int:
    """One for each map of the convolutions that ``bias`` names and that have none."""
    wanted = _several(options.get("bias", ()))
    bare = [op for op in net.ops(options, ("convolution",)) if op.input("bias") is None and _inside(op.module, wanted)]
    return sum(op.outputs[0].shape[1] for op in bare)


def size(net: Net, options: Options) -> float:
    """Bytes of the parameters at ``bits`` bits each; options as for ``params``."""
    return params(net, options) * options.get("bits", 32) / 8


def macs(net: Net, options: Options) -> float:
    """Multiply-adds. kinds: of these operators only. outputs: with one addition for each output (bias, batch norm)."""
    ops = net.ops(options, options.get("kinds"))
    total = sum(net.costs[op.name].macs or 0 for op in ops)
    return total + (sum(op.outputs[0].numel for op in ops if op.kind in MATRIX) if options.get("outputs") else 0)


def flops(net: Net, options: Options) -> float:
    """Two for each multiply-add; other arithmetic is left out, as it is where such figures are printed."""
    return 2 * macs(net, options)


def connections(net: Net, options: Options) -> int:
    """LeCun's count: for every output of a layer, the inputs that it adds up, and its bias."""
    total = 0
    for op in net.ops(options):
        made = op.outputs[0].numel if op.outputs else 0
        if op.kind in MATRIX:
            total += (net.costs[op.name].macs or 0) + (made if op.input("bias") or op.kind == "addmm" else 0)
        elif op.kind in POOLS:
            total += made * math.prod(op.attrs["kernel_size"])
        elif op.kind == "sum":
            total += op.inputs[0].numel
        elif op.kind == "add" and op.params:
            total += made
    return total


# -- what flows -------------------------------------------------------------------------------------------------------


def _shapes(net: Net, options: Options) -> list[Shape]:
    """What the named modules give, or read if ``side`` is input; the net itself reads ``input`` and gives ``output``."""
    names = _several(options.get("of", ""))
    own = {"input": net.graph.inputs, "output": net.graph.outputs}
    given = [value.shape for name, values in own.items() if name in names for value in values]
    modules = [name for name in names if name not in own]
    calls = net.calls({**options, "of": modules}) if modules else []
    return given + [(call.inputs if options.get("side") == "input" else call.outputs)[0].shape for call in calls]


def shape(net: Net, options: Options) -> str:
    """Height x width x channels of one module, as slides and papers print it."""
    _, channels, *rest = _shapes(net, options)[0]
    return "x".join(map(str, (*(rest or (1, 1)), channels)))


def channels(net: Net, options: Options) -> float | str:
    """Channels of the named modules; several stand one after the other."""
    found = [shape[1] for shape in _shapes(net, options)]
    return found[0] if len(found) == 1 else ", ".join(map(str, found))


def activations(net: Net, options: Options) -> float:
    """How many values the named modules give, together."""
    return sum(math.prod(shape[1:]) for shape in _shapes(net, options))


def memory(net: Net, options: Options) -> float:
    """Bytes of these values as 32-bit floats."""
    return 4 * activations(net, options)


def receptive(net: Net, options: Options) -> float:
    """Side of the window of the input that an element of the last operator sees."""
    last = net.ops(options)[-1]
    field = receptive_field(net.graph)[last.name].size
    return field[0] if field else math.nan


# -- how it is built --------------------------------------------------------------------------------------------------


def depth(net: Net, options: Options) -> float:
    """Layers with weights on the longest path. kinds: operators that count, with weights or not."""
    counted = {op.name for op in net.ops(options, options.get("kinds")) if options.get("kinds") or _weighted(op)}
    longest: dict[str, int] = {}
    made = net.graph.producers
    for op in net.graph:
        before = [made[value.name] for value in op.inputs if value.name in made]
        longest[op.name] = max((longest[each] for each in (*before, *op.after)), default=0) + (op.name in counted)
    return max(longest.values())


def layers(net: Net, options: Options) -> float:
    """How many operators with weights, on whatever path. kinds: how many of these operators, with weights or not."""
    kinds = options.get("kinds")
    return sum(1 for op in net.ops(options, kinds) if kinds or _weighted(op))


def modules(net: Net, options: Options) -> float:
    """How many modules there are of these."""
    return len(net.calls(options))


def parametrised(net: Net, options: Options) -> float:
    """How many modules have parameters of their own: what Keras lists as depth."""
    return len({each.module for each in net.parameters(options) if each.role != "buffer"})


def _weighted(op: Op) -> bool:
    return op.kind in MATRIX and bool(op.params)


def window(net: Net, options: Options) -> str:
    """Kernel, stride and padding of the named layers, each kind once: ``5x5 stride 1 pad 0``."""
    return ", ".join(dict.fromkeys(_window(op) for op in net.ops(options) if _window(op)))


def _window(op: Op) -> str:
    if op.kind not in (*POOLS, "convolution") or op.kind == "_adaptive_avg_pool2d":
        return ""
    kernel = _kernel(op)
    stride = op.attrs.get("stride") or kernel
    return f"{kernel[0]}x{kernel[1]} stride {stride[0]} pad {op.attrs.get('padding', (0,))[0]}"


def _kernel(op: Op) -> tuple[int, ...]:
    size = tuple(op.inputs[1].shape[2:]) if op.kind == "convolution" else tuple(op.attrs["kernel_size"])
    return size if len(size) == 2 else size * 2


def kernels(net: Net, options: Options) -> str:
    """The kernels of the convolutions in each named module in order, each sequence once: ``1x1-3x3-1x1``."""
    found = []
    for call in net.calls(options):
        ops = net.ops({"of": call.module, "without": options.get("aside", ())}, ("convolution",))
        found.append("-".join("x".join(map(str, _kernel(op))) for op in ops))
    return ", ".join(dict.fromkeys(found))


def sequence(net: Net, options: Options) -> str:
    """The layers in order: ``CONV-POOL-FC``. whole: a convolution over its whole input is an FC, which it equals."""
    words = []
    for op in net.ops(options):
        if op.kind == "convolution":
            covered = tuple(op.inputs[0].shape[2:]) == _kernel(op)
            words.append("FC" if options.get("whole") and covered else "CONV")
        elif op.kind in POOLS:
            words.append("POOL")
        elif op.kind in MATRIX:
            words.append("FC")
    # Parallel parts of one layer, as in LeNet's C3, stand in one module and count once.
    return "-".join(words) if not options.get("merge") else _merged(net, options)


def _merged(net: Net, options: Options) -> str:
    words = [sequence(net, {**options, "of": path, "merge": False}) for path in _tops(net, options)]
    return "-".join(word.split("-")[0] for word in words if word)


def _tops(net: Net, options: Options) -> list[str]:
    """The outermost modules that are meant, in order."""
    return list(dict.fromkeys(op.module.partition(".")[0] for op in net.ops(options)))


# -- in training ------------------------------------------------------------------------------------------------------


def _survival(net: Net, options: Options) -> dict[str, float]:
    """Survival probability of each residual block, for a linear decay to ``p_last``."""
    blocks, p_last = net.calls(options), options.get("p_last", 0.5)
    return {block.module: 1 - number / len(blocks) * (1 - p_last) for number, block in enumerate(blocks, start=1)}


def expected_blocks(net: Net, options: Options) -> float:
    """How many blocks a minibatch passes on average in stochastic depth."""
    return math.fsum(_survival(net, options).values())


def saved(net: Net, options: Options) -> float:
    """The percentage of the blocks' multiply-adds that stochastic depth saves on average."""
    survival = _survival(net, options)
    costs = {module: macs(net, {"of": module}) for module in survival}
    return 100 * (1 - sum(survival[module] * costs[module] for module in costs) / sum(costs.values()))


def _whole(number: float) -> float:
    return int(number) if number == int(number) else number


QUANTITIES: Mapping[str, Quantity] = {
    function.__name__.replace("_", " "): function
    for function in (
        params, size, macs, flops, connections, shape, channels, activations, memory, receptive, depth, layers,
        modules, parametrised, window, kernels, sequence, expected_blocks, saved,
    )
}  # fmt: skip
