"""What one operator computes: a rule for each ATen kind.

One multiply-add is 1 MAC and 2 FLOPs. ``macs`` counts convolutions and matrix products, which is what papers call
multiply-adds; ``flops`` is 2 x macs plus every other arithmetic operation, at one for each addition, multiplication,
comparison or elementary function (exp, tanh, erf ...) of one element. Moving data costs bytes and no FLOPs.

A rule takes an ``Op`` and returns a ``Cost``. ``rule(op)`` finds it: by kind, else by what the operator's schema
says of it (a view, a pointwise function). None means that nobody knows, and is never taken for zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..graph import Op, Shape, Storage, Value


class Cost(NamedTuple):
    """Work of one operator. ``read`` and ``written`` are bytes where they differ from all inputs and outputs."""

    macs: int = 0
    flops: int = 0
    read: int | None = None
    written: int | None = None


Rule = Callable[[Op], Cost]


def rule(op: Op) -> Rule | None:
    """The rule for an operator, or None when there is none."""
    if op.view:
        return untouched
    kind = op.kind
    found = RULES.get(kind) or RULES.get(kind.rstrip("_"))
    return found or (pointwise if op.pointwise else None)


# -- no arithmetic ----------------------------------------------------------------------------------------------------


def untouched(op: Op) -> Cost:
    """A view, or memory that is reserved and not written."""
    return Cost(read=0, written=0)


def moved(op: Op) -> Cost:
    """Copies its inputs."""
    return Cost()


def filled(op: Op) -> Cost:
    """Writes what it did not read."""
    return Cost(read=0)


def overwritten(op: Op) -> Cost:
    """copy_: writes its first input without reading it."""
    return Cost(read=sum(value.bytes for value in op.inputs[1:]))


def looked_up(op: Op) -> Cost:
    """Reads only the elements that it returns, and the indices."""
    wanted = sum(value.bytes for value in op.outputs)
    indices = sum(value.bytes for value in op.inputs if value.dtype in ("int64", "int32"))
    return Cost(read=wanted + indices)


def scattered(op: Op) -> Cost:
    """Writes only the elements that it is given, into its first input."""
    given = sum(value.bytes for value in op.inputs[1:])
    return Cost(read=given, written=given) if op.in_place else Cost()


# -- one number after another -----------------------------------------------------------------------------------------


def _size(op: Op) -> int:
    return op.outputs[0].numel if op.outputs else sum(value.numel for value in op.inputs[:1])


def pointwise(op: Op) -> Cost:
    """One operation for each element of the result."""
    return Cost(flops=_size(op))


def each(operations: int) -> Rule:
    """So many operations for each element of the result."""
    return lambda op: Cost(flops=operations * _size(op))


def added(op: Op) -> Cost:
    """add, sub: one operation, two with a factor alpha."""
    return Cost(flops=_size(op) * (1 if op.attrs.get("alpha", 1) == 1 else 2))


def foreach(op: Op) -> Cost:
    """A list of tensors, one operation for each element."""
    count = sum(value.numel for value, role in zip(op.inputs, op.roles, strict=True) if role == "self")
    return Cost(flops=count, written=None if op.outputs else sum(value.bytes for value in op.inputs))


def reduced(operations: int = 1) -> Rule:
    """So many operations for each element of the input."""
    return lambda op: Cost(flops=operations * op.inputs[0].numel)


def averaged(op: Op) -> Cost:
    """One addition for each element of the input, one division for each of the result."""
    return Cost(flops=op.inputs[0].numel + op.outputs[0].numel)


def sorted_(op: Op) -> Cost:
    """n log2 n comparisons along the sorted dimension."""
    numel = op.inputs[0].numel
    shape = op.inputs[0].shape
    along = shape[op.attrs.get("dim", -1)] if shape and op.attrs.get("dim", -1) is not None else numel
    return Cost(flops=numel * math.ceil(math.log2(max(along, 2))))


def softmax(op: Op) -> Cost:
    """Maximum, difference, exponential, sum and quotient."""
    return Cost(flops=5 * op.outputs[0].numel)


def fourier(op: Op) -> Cost:
    """5 n log2 n real operations for a complex transform of length n (Cooley and Tukey), half for a real one."""
    longest = max(op.inputs[0].numel, op.outputs[0].numel)
    shape = max(op.inputs[0].shape, op.outputs[0].shape, key=math.prod)
    length = math.prod(shape[dim] for dim in op.attrs.get("dim", (-1,)))
    real = op.kind in ("_fft_r2c", "_fft_c2r")
    return Cost(flops=round((2.5 if real else 5) * longest * math.log2(max(length, 2))))


# -- normalisation ----------------------------------------------------------------------------------------------------


def batch_norm(op: Op) -> Cost:
    """Scale and shift for each element; in training also mean (1) and variance (2)."""
    return Cost(flops=(5 if op.attrs.get("training", op.attrs.get("train")) else 2) * op.inputs[0].numel)


def layer_norm(op: Op) -> Cost:
    """Mean (1), variance (2), difference and quotient (2); scale and shift where there are any."""
    affine = sum(op.input(role) is not None for role in ("weight", "bias"))
    return Cost(flops=(5 + affine) * op.inputs[0].numel)


def rms_norm(op: Op) -> Cost:
    """Mean of squares (2), quotient (1), scale where there is one."""
    return Cost(flops=(3 + (op.input("weight") is not None)) * op.inputs[0].numel)


# -- windows ----------------------------------------------------------------------------------------------------------


def _window(op: Op) -> int:
    kernel = op.attrs["kernel_size"]
    return math.prod(kernel) if isinstance(kernel, tuple) else kernel


def _spatial_window(op: Op, dims: int) -> int:
    kernel = op.attrs["kernel_size"]
    return _window(op) ** (dims if isinstance(kernel, int) or len(kernel) == 1 else 1)


def max_pool(dims: int) -> Rule:
    """Comparisons: one fewer than the window has elements, for each result."""
    return lambda op: Cost(flops=(_spatial_window(op, dims) - 1) * op.outputs[0].numel)


def average_pool(dims: int) -> Rule:
    """Additions and one division: as many as the window has elements, for each result."""
    return lambda op: Cost(flops=_spatial_window(op, dims) * op.outputs[0].numel)


def adaptive_pool(dims: int) -> Rule:
    """Every window from floor(i n / m) to ceil((i + 1) n / m), overlaps counted."""

    def cost(op: Op) -> Cost:
        source, target = op.inputs[0].shape, op.outputs[0].shape
        seen = 1
        for n, m in zip(source[-dims:], target[-dims:], strict=True):
            seen *= sum(-(-(i + 1) * n // m) - i * n // m for i in range(m))
        return Cost(flops=math.prod(source[:-dims]) * seen)

    return cost


def interpolated(taps: int) -> Rule:
    """A weighted sum of so many neighbours."""
    return lambda op: Cost(flops=(2 * taps - 1) * op.outputs[0].numel)


# -- products ---------------------------------------------------------------------------------------------------------


def product(macs: int, extra: int = 0) -> Cost:
    return Cost(macs=macs, flops=2 * macs + extra)


def convolution(op: Op) -> Cost:
    """Every result (transposed: every input) meets one kernel of its group; a bias adds once to each result."""
    weight: Shape = op.inputs[1].shape
    transposed = op.attrs.get("transposed", False)
    grid = op.inputs[0] if transposed else op.outputs[0]
    return product(grid.numel * math.prod(weight[1:]), op.outputs[0].numel if op.input("bias") else 0)


def matrix_product(op: Op) -> Cost:
    """mm, bmm, mv, dot: the last dimension of the first factor is summed away."""
    return product(op.outputs[0].numel * op.inputs[0].shape[-1])


def added_product(op: Op) -> Cost:
    """addmm, baddbmm, addmv: a product and one addition for each result, more with factors alpha and beta."""
    factors = sum(op.attrs.get(name, 1) != 1 for name in ("alpha", "beta"))
    return product(op.outputs[0].numel * op.inputs[1].shape[-1], (1 + factors) * op.outputs[0].numel)


def linear(op: Op) -> Cost:
    return product(op.outputs[0].numel * op.inputs[1].shape[-1], op.outputs[0].numel if op.input("bias") else 0)


def outer_sum(op: Op) -> Cost:
    """_trilinear: three factors multiplied and summed over ``sumdim``: two multiply-adds at each point.

    A factor has size 1 at the dimensions in its ``expand`` list.
    """
    rank = len(op.inputs[0].shape) + len(op.attrs["expand1"])
    sizes = [1] * rank
    for value, name in zip(op.inputs, ("expand1", "expand2", "expand3"), strict=True):
        own = [dim for dim in range(rank) if dim not in op.attrs[name]]
        for dim, size in zip(own, value.shape, strict=True):
            sizes[dim] = max(sizes[dim], size)
    return product(2 * math.prod(sizes))


def attention(op: Op) -> Cost:
    """softmax(q k^T / sqrt(d)) v for q [..., L, E], k [..., S, E], v [..., S, F], however it is fused."""
    query, key, value = (v.shape for v in op.inputs[:3])
    scores = math.prod(query[:-1]) * key[-2]
    masked = 1 if any("mask" in role or "bias" in role for role in op.roles) else 0
    return product(scores * (query[-1] + value[-1]), (5 + 1 + masked) * scores)


def distances(op: Op) -> Cost:
    """cdist: difference, absolute power and sum for each pair and coordinate."""
    return Cost(flops=3 * op.outputs[0].numel * op.inputs[0].shape[-1])


# -- the table --------------------------------------------------------------------------------------------------------


def _rules(cost: Rule, kinds: str) -> dict[str, Rule]:
    return dict.fromkeys(kinds.split(), cost)


RULES: dict[str, Rule] = {
    **_rules(untouched, "empty empty_like empty_strided new_empty new_empty_strided empty_permuted resize_ set_ "
             "as_strided_ squeeze_ unsqueeze_ t_ transpose_ detach_ lift_fresh _reshape_alias"),
    **_rules(filled, "zeros ones full arange linspace eye scalar_tensor zeros_like ones_like full_like new_zeros new_ones "
             "new_full zero_ fill_ tril_indices triu_indices rand randn rand_like randn_like randint bernoulli_ uniform_ "
             "normal_ exponential_ random_ randperm"),
    **_rules(moved, "clone _to_copy cat stack constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d "
             "replication_pad1d replication_pad2d replication_pad3d roll flip repeat unsafe_split unsafe_split_with_sizes "
             "split_copy pixel_shuffle pixel_unshuffle channel_shuffle im2col unfold_copy view_copy _unsafe_view "
             "expand_copy permute_copy slice_copy select_copy tril triu diag_embed masked_select rot90 _pin_memory "
             "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d "
             "_upsample_nearest_exact2d _upsample_nearest_exact3d nonzero repeat_interleave bucketize one_hot "
             "slice_scatter select_scatter as_strided_scatter diagonal_scatter block_diag _local_scalar_dense"),
    **_rules(overwritten, "copy_"),
    **_rules(looked_up, "index _unsafe_index index_select gather embedding take"),
    **_rules(scattered, "index_put index_copy scatter masked_scatter index_fill _index_put_impl"),
    **_rules(pointwise, "hardswish hardsigmoid hardtanh relu relu6 sigmoid tanh gelu silu elu selu leaky_relu mish where masked_fill clamp clamp_min clamp_max bernoulli index_add scatter_add scatter_reduce "
             "cumsum cumprod cummax cummin logcumsumexp softshrink hardshrink threshold prelu _prelu_kernel glu "
             "searchsorted multinomial col2im max_unpool2d max_unpool3d"),
    **_rules(added, "add sub rsub"),
    **_rules(each(2), "addcmul addcdiv lerp native_dropout hypot logaddexp addr _fused_dropout"),
    **_rules(reduced(), "sum nansum prod amax amin max min argmax argmin any all aminmax median nanmedian mode count_nonzero "
             "segment_reduce _embedding_bag _embedding_bag_forward_only bincount histc equal"),
    **_rules(averaged, "mean nanmean"),
    **_rules(reduced(2), "linalg_vector_norm norm logsumexp"),
    **_rules(reduced(3), "var std var_mean std_mean var_correction"),
    **_rules(sorted_, "sort topk argsort kthvalue unique_dim _unique2"),
    **_rules(softmax, "_softmax _log_softmax _safe_softmax"),
    **_rules(fourier, "_fft_c2c _fft_r2c _fft_c2r"),
    **_rules(batch_norm, "native_batch_norm cudnn_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training "
             "_batch_norm_with_update _batch_norm_no_update miopen_batch_norm batch_norm"),
    **_rules(layer_norm, "native_layer_norm native_group_norm layer_norm group_norm"),
    **_rules(rms_norm, "_fused_rms_norm rms_norm"),
    **_rules(max_pool(1), "max_pool1d max_pool1d_with_indices"),
    **_rules(max_pool(2), "max_pool2d_with_indices max_pool2d mkldnn_max_pool2d fractional_max_pool2d"),
    **_rules(max_pool(3), "max_pool3d_with_indices max_pool3d fractional_max_pool3d"),
    **_rules(average_pool(1), "avg_pool1d"),
    **_rules(average_pool(2), "avg_pool2d"),
    **_rules(average_pool(3), "avg_pool3d"),
    **_rules(adaptive_pool(1), "adaptive_avg_pool1d adaptive_max_pool1d"),
    **_rules(adaptive_pool(2), "_adaptive_avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d"),
    **_rules(adaptive_pool(3), "_adaptive_avg_pool3d adaptive_avg_pool3d adaptive_max_pool3d"),
    **_rules(interpolated(2), "upsample_linear1d"),
    **_rules(interpolated(4), "upsample_bilinear2d _upsample_bilinear2d_aa grid_sampler_2d"),
    **_rules(interpolated(8), "upsample_trilinear3d grid_sampler_3d"),
    **_rules(interpolated(16), "upsample_bicubic2d _upsample_bicubic2d_aa"),
    **_rules(convolution, "convolution _convolution convolution_overrideable mkldnn_convolution cudnn_convolution "
             "conv1d conv2d conv3d _slow_conv2d_forward _conv_depthwise2d slow_conv_transpose2d"),
    **_rules(matrix_product, "mm bmm mv dot vdot matmul inner"),
    **_rules(added_product, "addmm baddbmm addmv addbmm"),
    **_rules(linear, "linear mkldnn_linear"),
    **_rules(outer_sum, "_trilinear"),
    **_rules(attention, "scaled_dot_product_attention _scaled_dot_product_flash_attention "
             "_scaled_dot_product_efficient_attention _scaled_dot_product_flash_attention_for_cpu "
             "_scaled_dot_product_cudnn_attention _scaled_dot_product_attention_math "
             "_scaled_dot_product_fused_attention_overrideable"),
    **_rules(distances, "_cdist_forward _euclidean_dist"),
}  # fmt: skip


def work(op: Op, storages: Sequence[Storage]) -> Cost | None:
    """The cost of one operator with its bytes, or None where no rule knows it."""
    found = rule(op)
    if found is None:
        return None
    macs, flops, read, written = found(op)
    if read is None:
        read = accessed(op.inputs, storages)
    if written is None:
        written = accessed(op.outputs, storages)
    return Cost(macs, flops, read, written)


def accessed(values: tuple[Value, ...], storages: Sequence[Storage]) -> int:
    """Bytes of the distinct values; an expanded view cannot touch more than its storage holds."""
    if len(values) > 1:
        values = tuple(set(values))
    return sum([min(value.bytes, storages[value.storage].bytes) for value in values])
