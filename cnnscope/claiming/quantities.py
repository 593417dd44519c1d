"""The vocabulary of the ledger: what can be read off one graph.

A quantity is a function of a net and of the options of a measure; it gives a number or a text. Options that most take:
``of``, the modules that are meant (a dotted path or a pattern, or several; by default the whole net), and ``without``,
those among them that are not. A star in a pattern stands for a name or a part of it and does not reach over a dot.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from ..analyses.receptive import receptive_field
from ..graph import Shape
from . import building
from .subjects import MATRIX, POOLS, Net, Options, inside, several

Quantity = Callable[[Net, Options], float | str]

STATISTICS = ("running_mean", "running_var")


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
            dense = (part for pattern, part in options.get("density", {}).items() if inside(each.module, (pattern,)))
            total += each.numel * (next(dense, 1) if each.role == "weight" else 1)
    return _whole(total + _biases_added(net, options))


def _biases_added(net: Net, options: Options) -> int:
    """One for each map of the convolutions that ``bias`` names and that have none."""
    wanted = several(options.get("bias", ()))
    bare = [op for op in net.ops(options, ("convolution",)) if op.input("bias") is None and inside(op.module, wanted)]
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
    """What the named modules give, or read if ``side`` is input; the net reads ``input`` and gives ``output``."""
    names = several(options.get("of", ""))
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
        params, size, macs, flops, connections, shape, channels, activations, memory, receptive, expected_blocks, saved,
        building.depth, building.layers, building.modules, building.parametrised, building.window, building.kernels,
        building.sequence,
    )
}  # fmt: skip
