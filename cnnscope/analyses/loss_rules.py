"""How the cost of a loss, and of its backward pass, follows from its shapes and arguments; see ``op_rules``."""

from __future__ import annotations

from ..graph import Op
from .op_rules import Cost, Rule


def pointwise(operations: int) -> Rule:
    """So many operations for each prediction, and one for adding them up unless they stay apart.

    A weight for each of them is a multiplication more.
    """

    def cost(op: Op) -> Cost:
        weighted = op.input("weight") is not None
        return Cost(flops=(operations + weighted + _reduces(op)) * op.inputs[0].numel)

    return cost


def pointwise_backward(operations: int) -> Rule:
    """So many operations for each prediction, the factor of the mean and the incoming gradient among them."""
    return lambda op: Cost(flops=(operations + (op.input("weight") is not None)) * op.outputs[0].numel)


def picked(op: Op) -> Cost:
    """nll_loss: one log-probability for each target, its sign or weight, and the sum."""
    target, chosen = _targets(op)
    return Cost(flops=(1 + _reduces(op)) * target, read=chosen)


def picked_backward(op: Op) -> Cost:
    """Zeros, and for each target the gradient times its weight, divided by the sum of weights."""
    target, chosen = _targets(op)
    return Cost(flops=2 * target, read=chosen)


def aligned(op: Op) -> Cost:
    """ctc_loss: for each frame and place in the labels the logarithm of a sum of three, added to a log-probability.

    Largest of three (2), differences (3), exponentials (3), sums (2), logarithm (1), and back (2).
    """
    return Cost(flops=13 * op.outputs[1].numel)


def aligned_backward(op: Op) -> Cost:
    """The same from the end; both directions added up by class (5), and the gradient of each log-probability (3)."""
    alpha, probabilities = op.input("log_alpha"), op.input("log_probs")
    assert alpha is not None and probabilities is not None, f"{op.name} lacks an input"
    return Cost(flops=18 * alpha.numel + 3 * probabilities.numel)


def _targets(op: Op) -> tuple[int, int]:
    """How many targets there are; bytes of them, and of one number for each."""
    target = op.input("target")
    assert target is not None, f"{op.name} has no target"
    return target.numel, target.bytes + target.numel * (op.inputs[0].bytes // max(op.inputs[0].numel, 1))


def _reduces(op: Op) -> bool:
    """Whether the results are summed or averaged; 0 is torch's number for none."""
    return op.attrs.get("reduction", 1) != 0
