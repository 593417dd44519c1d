"""What a network of the zoo costs, counted without cnnscope: by torch itself or from the layers' own shapes."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch
from torch import fx, nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def weights(module: nn.Module) -> int:
    layers = (layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear))
    return sum(layer.weight.numel() for layer in layers)


def running_statistics(module: nn.Module) -> int:
    """The means and variances that batch normalisation keeps: no parameters, but some papers count them."""
    layers = (layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d))
    return sum(layer.running_mean.numel() + layer.running_var.numel() for layer in layers)


def macs(model: nn.Module, shape: Sequence[int]) -> int:
    """What torch's own counter finds in a model on the meta device; two FLOPs to a multiply-add."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(*shape, device="meta"))
    return counter.get_total_flops() // 2


def depth(model: nn.Module) -> int:
    """Convolutions and linear layers on the longest path of the program that torch.fx records.

    What only computes the factors that a map is multiplied by, as in an SE block, is on nobody's path: so papers
    count, and SE-ResNet-50 has 50 layers.
    """
    graph, longest = fx.symbolic_trace(model), {}
    modules = dict(graph.named_modules())
    for node in graph.graph.nodes:
        sources = node.all_input_nodes[:1] if node.target is operator.mul else node.all_input_nodes
        before = max((longest[source] for source in sources), default=0)
        weighted = node.op == "call_module" and isinstance(modules[node.target], nn.Conv2d | nn.Linear)
        longest[node] = before + weighted
    return longest[graph.graph.output_node()]
