"""Multiply-adds of a training step, counted by torch's own counter and not by cnnscope."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

# Torch's own formulas, also for the kernel of the CPU, of which its counter does not know.
ATTENTION: dict[Any, Any] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *rest, **out: sdpa_flop_count(q, k, v),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        lambda grad, q, k, v, *rest, **out: sdpa_backward_flop_count(grad, q, k, v)
    ),
}
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Grouped(nn.Module):
    """A convolution with groups as that many convolutions side by side.

    Torch's counter (2.13) takes the weight's gradient of a convolution with groups for that of a dense one.
    """

    def __init__(self, conv: Any) -> None:
        super().__init__()
        options = {name: getattr(conv, name) for name in ("kernel_size", "stride", "padding", "dilation")}
        sizes = conv.in_channels // conv.groups, conv.out_channels // conv.groups
        device = conv.weight.device
        self.parts = nn.ModuleList(
            type(conv)(*sizes, **options, bias=conv.bias is not None, device=device) for _ in range(conv.groups)
        )
        for part in self.parts:
            part.weight.requires_grad_(conv.weight.requires_grad)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pieces = x.chunk(len(self.parts), dim=1)
        return torch.cat([part(piece) for part, piece in zip(self.parts, pieces, strict=True)], dim=1)


def ungrouped(model: nn.Module) -> nn.Module:
    """A copy of the model without grouped convolutions, which computes the same."""
    model = copy.deepcopy(model)
    if isinstance(model, CONVOLUTIONS) and model.groups > 1:
        return Grouped(model)
    for path, module in list(model.named_modules()):
        if isinstance(module, CONVOLUTIONS) and module.groups > 1:
            model.set_submodule(path, Grouped(module))
    return model


def macs(model: nn.Module, *inputs: torch.Tensor, loss: Callable[[Any], torch.Tensor] | None = None) -> tuple[int, int]:
    """Multiply-adds of the forward and of the backward pass; two FLOPs to each.

    On meta attention is counted as the products that it is made of; on the CPU as the fused kernel, which computes the
    scores once more in its backward pass.
    """
    model = ungrouped(model)
    with FlopCounterMode(display=False, custom_mapping=ATTENTION) as forward:
        result = model(*inputs)
        tensors = [each for each in pytree.tree_leaves(result) if isinstance(each, torch.Tensor)]
        value = loss(result) if loss else sum((each.sum() for each in tensors if each.requires_grad), torch.zeros(()))
    with FlopCounterMode(display=False, custom_mapping=ATTENTION) as backward:
        value.backward()
    return forward.get_total_flops() // 2, backward.get_total_flops() // 2
