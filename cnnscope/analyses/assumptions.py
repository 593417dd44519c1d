"""What a figure assumes, in sentences: the same model asks for more or less memory in another program."""

from __future__ import annotations

from ..graph import Run

_RESET = {True: "frees", False: "zeroes"}


def assumptions(run: Run) -> tuple[str, ...]:
    """The program that was traced, to stand under an answer."""
    found = [_step(run)] if run.train else ["inference in eval mode, without gradients"]
    if run.dtype or run.autocast or run.channels_last:
        found.append(_formats(run))
    if run.traced_on == "cpu":
        found.append("traced in a real run on the CPU: what depends on numbers is as random ones have it")
    return tuple(found)


def _step(run: Run) -> str:
    parts = ["a steady training step" if run.step == "steady" else "the first training step"]
    loss = "the sum of the outputs" if run.loss == "sum" else run.loss
    parts.append(f"loss: {loss}")
    if run.accumulate > 1:
        parts.append(f"gradients of {run.accumulate} batches added up")
    parts.append(f"zero_grad {run.zero_grad.replace('-', ' ')} {_RESET[run.set_to_none]} gradients")
    if run.optimizer:
        form = "on lists of tensors (foreach)" if run.foreach else "tensor by tensor"
        parts.append(f"{run.optimizer}, {form}")
    else:
        parts.append("no optimizer")
    return "; ".join(parts)


def _formats(run: Run) -> str:
    parts = [f"tensors in {run.dtype}"] if run.dtype else []
    parts += [f"autocast to {run.autocast}"] if run.autocast else []
    return ", ".join([*parts, "channels last"] if run.channels_last else parts)
