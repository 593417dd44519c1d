"""What stands on a card: the words for operators, shapes and numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...graph import Op, Shape
from ...units import si
from .kinds import SIGNS

_NAMES = {
    "addmm": "Linear", "mm": "Linear", "linear": "Linear", "addmv": "Linear", "mv": "Linear",
    "baddbmm": "MatMul + bias", "bmm": "MatMul", "matmul": "MatMul", "native_layer_norm": "LayerNorm",
    "native_group_norm": "GroupNorm", "relu": "ReLU", "hardtanh": "ReLU6", "relu6": "ReLU6",
    "leaky_relu": "LeakyReLU", "elu": "ELU", "selu": "SELU", "celu": "CELU", "gelu": "GELU", "silu": "SiLU",
    "mish": "Mish", "hardswish": "HSwish", "hardsigmoid": "HSigmoid", "sigmoid": "Sigmoid", "tanh": "Tanh",
    "softplus": "Softplus", "prelu": "PReLU", "_prelu_kernel": "PReLU", "_softmax": "Softmax",
    "softmax": "Softmax", "_log_softmax": "LogSoftmax", "native_dropout": "Dropout", "cat": "concat",
    "stack": "stack", "constant_pad_nd": "ZeroPad", "reflection_pad2d": "ReflectPad",
    "replication_pad2d": "ReplicatePad", "embedding": "Embedding", "roll": "Roll", "index": "Index",
    "index_select": "Select",
    "lstm": "LSTM", "gru": "GRU", "rnn_tanh": "RNN", "rnn_relu": "RNN", "pixel_shuffle": "PixelShuffle",
    "einsum": "Einsum", "log_sigmoid_forward": "LogSigmoid", "copy": "Copy", "pow": "Power", "amax": "Max",
    "_fused_rms_norm": "RMSNorm", "mean": "Mean", "bilinear": "Bilinear", "_trilinear": "Bilinear",
}  # fmt: skip
_SHORT_TYPES = {
    "LocalResponseNorm": "LRN", "CrossMapLRN2d": "LRN", "MultiheadAttention": "Attention",
    "Hardswish": "HSwish", "Hardsigmoid": "HSigmoid", "NonDynamicallyQuantizableLinear": "Linear",
    "BatchNorm1d": "BatchNorm", "BatchNorm2d": "BatchNorm", "BatchNorm3d": "BatchNorm",
    "LayerNorm2d": "LayerNorm", "Softmax2d": "Softmax",
}  # fmt: skip
_CHIPS = {"BatchNorm": "BN", "LayerNorm": "LN", "GroupNorm": "GN", "RMSNorm": "RMS", "InstanceNorm": "IN"}


def title(op: Op, type_: str = "", *, whole: bool = False) -> str:
    """What an operator is called on its card; ``type_`` is the class of its layer, which names ``whole`` layers."""
    kind = op.kind.rstrip("_")
    if "scaled_dot_product" in kind and not whole:
        return "Attention"
    if not whole or any(word in type_ for word in ("Conv", "Pool", "Upsample")):
        for part, words in _WORDS.items():
            if part in kind:
                return words(op)
    if whole:
        return _SHORT_TYPES.get(type_, type_)
    if kind in SIGNS:
        return _arithmetic(op)
    if kind == "hardtanh" and (op.attrs.get("min_val"), op.attrs.get("max_val")) != (0, 6):
        return "Hardtanh"
    return _NAMES.get(kind) or kind.strip("_")


def chip(words: str) -> str:
    """The title of a layer as it stands on a chip."""
    return _CHIPS.get(words, words)


def shape(value: Shape | None, batch: int | None = None) -> str:
    """``64×112×112``: without the first size when it is the batch."""
    if value is None:
        return ""
    if batch is not None and len(value) > 1 and value[0] == batch:
        value = value[1:]
    return "×".join(map(str, value)) or "scalar"


def number(value: float) -> str:
    """Three digits: 9408 -> '9.41k'."""
    return si(value, 3).replace(" ", "")


def costs(params: int, macs: int | None, missing: tuple[str, ...] = ()) -> str:
    """``9.41k p · 118M MAC``; what is zero is left out, what nobody knows is a question mark, what is missing a ≥."""
    parts = [f"{number(params)} p"] if params else []
    if macs is None:
        parts.append("? MAC")
    elif macs:
        parts.append(f"{'≥ ' if missing else ''}{number(macs)} MAC")
    return " · ".join(parts)


def _sizes(value: Any, dims: int | None = None) -> str:
    """``3×3``, ``1×7``, and ``3`` for one dimension."""
    given = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    if len(given) == 1 and dims:
        given *= dims
    return "×".join(map(str, given))


def _step(value: Any) -> str:
    """One number when all are equal."""
    given = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    return str(given[0]) if len(set(given)) == 1 else "×".join(map(str, given))


def _convolution(op: Op) -> str:
    weight = op.input("weight") or (op.inputs[1] if len(op.inputs) > 1 else None)
    kernel = "×".join(map(str, weight.shape[2:])) if weight else ""
    attrs, groups = op.attrs, op.attrs.get("groups") or 1
    channels = op.inputs[0].shape[1] if op.inputs and len(op.inputs[0].shape) > 1 else 0
    depthwise = 1 < groups == channels
    word = "UpConv" if attrs.get("transposed") else "DWConv" if depthwise else "Conv"
    text = f"{word} {kernel}".rstrip()
    if (stride := _step(attrs.get("stride") or 1)) != "1":
        text += f" /{stride}"
    if (dilation := _step(attrs.get("dilation") or 1)) != "1":
        text += f" d{dilation}"
    return text + (f" g{groups}" if groups > 1 and not depthwise else "")


def _pool(op: Op) -> str:
    word = "MaxPool" if "max" in op.kind else "AvgPool"
    dims = 3 if "3d" in op.kind else 1 if "1d" in op.kind else 2
    kernel = op.attrs.get("kernel_size")
    if kernel is None:
        return word
    return f"{word} {_sizes(kernel, dims)} /{_step(op.attrs.get('stride') or kernel)}"


def _adaptive(op: Op) -> str:
    word = "MaxPool" if "max" in op.kind else "AvgPool"
    size = op.outputs[0].shape[2:] if op.outputs else ()
    return f"Global{word}" if set(size) == {1} else f"Adaptive{word} {_sizes(size)}"


def _arithmetic(op: Op) -> str:
    """``× 0.177`` for a number, the operator's name for anything else."""
    other = op.attrs.get("other")
    kind = op.kind.rstrip("_")
    number = isinstance(other, int | float) and not isinstance(other, bool)
    return f"{SIGNS[kind]} {other:.3g}" if number else kind


def _mean(op: Op) -> str:
    """A mean over all positions of a map is what the papers call global average pooling."""
    rank, dims = len(op.inputs[0].shape) if op.inputs else 0, op.attrs.get("dim")
    if rank >= 4 and isinstance(dims, Sequence) and {d % rank for d in dims} == set(range(2, rank)):
        return "GlobalAvgPool"
    return "Mean"


def _upsample(op: Op) -> str:
    ways = {"nearest": "nearest", "bilinear": "bilinear", "bicubic": "bicubic", "linear": "linear"}
    way = next((word for key, word in ways.items() if key in op.kind), "")
    if op.inputs and op.outputs and len(op.inputs[0].shape) == len(op.outputs[0].shape):
        pairs = zip(op.outputs[0].shape[2:], op.inputs[0].shape[2:], strict=True)
        factors = {new / old for new, old in pairs if old}
        if len(factors) == 1 and (factor := factors.pop()) >= 1:
            return f"Upsample ×{factor:g} {way}".rstrip()
    return f"Resize {way}".rstrip()


_WORDS: dict[str, Callable[[Op], str]] = {
    "convolution": _convolution,
    "adaptive": _adaptive,
    "pool2d": _pool,
    "pool3d": _pool,
    "pool1d": _pool,
    "upsample": _upsample,
    "batch_norm": lambda op: "BatchNorm",
    "instance_norm": lambda op: "InstanceNorm",
    "mean": _mean,
}
