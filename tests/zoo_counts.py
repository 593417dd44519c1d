"""What a network of the zoo is and costs, counted without cnnscope: by torch itself or from the layers' own shapes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.utils.flop_counter import FlopCounterMode

Shapes = dict[str, tuple[int, ...]]
CIFAR = (1, 3, 32, 32)
IMAGENET = (1, 3, 224, 224)


def picture(size: int) -> tuple[int, int, int, int]:
    return 1, 3, size, size


def on_meta(make: Callable[..., nn.Module], *args: Any, **kwargs: Any) -> nn.Module:
    with torch.device("meta"):
        return make(*args, **kwargs).eval()


def run(model: nn.Module, shape: Sequence[int]) -> Any:
    with torch.no_grad():
        return model(torch.empty(*shape, device="meta"))


def shapes(model: nn.Module, shape: Sequence[int]) -> Shapes:
    """Module path to the shape of its output, without the batch, as seen by forward hooks."""
    seen: Shapes = {}

    def note(path: str) -> Any:
        return lambda module, inputs, output: seen.__setitem__(path, tuple(output.shape[1:]))

    for path, module in model.named_modules():
        if path:
            module.register_forward_hook(note(path))
    run(model, shape)
    return seen


def convolutions(module: nn.Module) -> dict[str, nn.Conv2d]:
    return {path: layer for path, layer in module.named_modules() if isinstance(layer, nn.Conv2d)}


def millions(count: int, digits: int = 1) -> float:
    return round(count / 1e6, digits)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def weights(module: nn.Module) -> int:
    layers = (layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear))
    return sum(layer.weight.numel() for layer in layers)


def running_statistics(module: nn.Module) -> int:
    """The means and variances that batch normalisation keeps: no parameters, but some papers count them."""
    layers = (layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d))
    return sum(layer.running_mean.numel() + layer.running_var.numel() for layer in layers)


def run_counted(model: nn.Module, shape: Sequence[int]) -> tuple[Any, int]:
    """The output on the meta device, and the MACs that torch's own counter finds; two FLOPs to a multiply-add."""
    with FlopCounterMode(display=False) as counter:
        output = run(model, shape)
    return output, counter.get_total_flops() // 2


def macs(model: nn.Module, shape: Sequence[int]) -> int:
    return run_counted(model, shape)[1]


def depth(model: nn.Module) -> int:
    """Convolutions and linear layers on the longest path of the program that torch.fx records.

    What only computes the factors that a map is multiplied by, as in an SE block, is on nobody's path: so papers
    count, and SE-ResNet-50 has 50 layers.
    """
    graph = fx.symbolic_trace(model)
    modules, longest = dict(graph.named_modules()), {}
    for node in graph.graph.nodes:
        sources = node.all_input_nodes[:1] if node.target is operator.mul else node.all_input_nodes
        before = max((longest[source] for source in sources), default=0)
        weighted = node.op == "call_module" and isinstance(modules[node.target], nn.Conv2d | nn.Linear)
        longest[node] = before + weighted
    return longest[graph.graph.output_node()]
