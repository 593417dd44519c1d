"""What each ATen operator costs: the table of rules, and the bytes that a kernel moves.

``macs`` counts convolutions and matrix products, which is what papers call multiply-adds; ``flops`` is 2 x macs plus
the arithmetic of everything else. ``rule(op)`` finds an operator's rule by its kind, else by what its schema says of
it (a view, a pointwise function). None means that nobody knows, and is never taken for zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..graph import Op, Storage, Value
from . import backward_rules as backward
from . import detection_rules as detection
from . import loss_rules as losses
from . import op_rules as rules
from . import optimizer_rules as optimizers
from .op_rules import Moved, Rule


class Work(NamedTuple):
    """What one operator computes, and the bytes that it moves."""

    macs: int
    flops: int
    read: int
    written: int


def rule(op: Op) -> Rule | None:
    """The rule for an operator, or None when there is none."""
    if op.view:
        return rules.untouched
    kind = op.kind
    found = RULES.get(kind) or RULES.get(kind.rstrip("_"))
    if found is None and kind.startswith("_foreach_"):
        return optimizers.foreach
    return found or (rules.pointwise if op.pointwise else None)


def work(op: Op, storages: Sequence[Storage]) -> Work | None:
    """The cost of one operator with its bytes, or None where no rule knows it."""
    found = rule(op)
    if found is None:
        return None
    cost = found(op)
    if cost is None:
        return None
    macs, flops, read, written = cost
    # A kernel of a fused graph also computes what it took in.
    flops += op.attrs.get("fused_flops", 0)
    return Work(macs, flops, _moved(read, op, op.inputs, storages), _moved(written, op, op.outputs, storages))


def _moved(moved: Moved, op: Op, values: tuple[Value, ...], storages: Sequence[Storage]) -> int:
    """Bytes, as a rule states them: outright, by the roles of the inputs meant, or not, which means all values."""
    if isinstance(moved, int):
        return moved
    if moved is not None:
        values = tuple([value for value, role in zip(op.inputs, op.roles, strict=True) if role in moved])
    return accessed(values, storages)


def accessed(values: tuple[Value, ...], storages: Sequence[Storage]) -> int:
    """Bytes of the distinct values; an expanded view cannot touch more than its storage holds."""
    distinct = {value.name: value for value in values}.values() if len(values) > 1 else values
    return sum([min(value.bytes, storages[value.storage].bytes) for value in distinct])


# Kinds without the trailing _ of in-place operators, unless the two differ.
_KINDS_BY_RULE: tuple[tuple[Rule, str], ...] = (
    (rules.untouched, """
        empty empty_like empty_strided new_empty new_empty_strided empty_permuted resize_ set_ as_strided_
        squeeze_ unsqueeze_ t_ transpose_ detach_ lift_fresh _reshape_alias _unsafe_view
        _linalg_check_errors _assert_async _assert_scalar
    """),
    (rules.filled, """
        zeros ones full arange linspace eye scalar_tensor zeros_like ones_like full_like new_zeros new_ones
        new_full zero_ fill_ tril_indices triu_indices rand randn rand_like randn_like randint bernoulli_
        uniform_ normal_ exponential_ random_ randperm
    """),
    (rules.moved, """
        clone _to_copy cat stack constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d
        replication_pad1d replication_pad2d replication_pad3d roll flip repeat unsafe_split
        unsafe_split_with_sizes split_copy pixel_shuffle pixel_unshuffle channel_shuffle im2col unfold_copy
        view_copy expand_copy permute_copy slice_copy select_copy tril triu diag_embed masked_select
        rot90 _pin_memory upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
        _upsample_nearest_exact2d _upsample_nearest_exact3d nonzero repeat_interleave bucketize one_hot
        slice_scatter select_scatter as_strided_scatter diagonal_scatter block_diag _local_scalar_dense
    """),
    (rules.overwritten, "copy_"),
    (rules.looked_up, "index _unsafe_index index_select gather embedding take"),
    (rules.scattered, """
        index_put index_copy scatter masked_scatter index_fill _index_put_impl index_add scatter_add scatter_reduce
    """),
    (rules.pointwise, """
        hardswish hardsigmoid hardtanh relu relu6 sigmoid tanh gelu silu elu selu leaky_relu mish where floor_divide
        masked_fill clamp clamp_min clamp_max bernoulli cumsum cumprod cummax cummin logcumsumexp softshrink
        hardshrink threshold prelu _prelu_kernel glu searchsorted multinomial rrelu_with_noise
        log_sigmoid_forward col2im max_unpool2d max_unpool3d
    """),
    (optimizers.single, "add sub rsub addcmul addcdiv lerp"),
    (rules.each(2), "affine_grid_generator native_dropout hypot logaddexp addr _fused_dropout"),
    (rules.reduced(), """
        sum nansum prod amax amin max min argmax argmin any all aminmax median nanmedian mode count_nonzero
        segment_reduce _embedding_bag _embedding_bag_forward_only bincount histc equal
    """),
    (rules.averaged, "mean nanmean"),
    (rules.reduced(2), "linalg_vector_norm norm logsumexp"),
    (rules.reduced(3), "var std var_mean std_mean var_correction _weight_norm_interface"),
    (rules.sorted_, "sort topk argsort kthvalue unique_dim _unique2"),
    (rules.softmax, "_softmax _log_softmax _safe_softmax"),
    (rules.fourier, "_fft_c2c _fft_r2c _fft_c2r"),
    (rules.batch_norm, """
        native_batch_norm cudnn_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training
        _batch_norm_with_update _batch_norm_no_update miopen_batch_norm batch_norm
    """),
    (rules.layer_norm, "native_layer_norm native_group_norm layer_norm group_norm"),
    (rules.rms_norm, "_fused_rms_norm rms_norm"),
    (rules.max_pool(1), "max_pool1d max_pool1d_with_indices"),
    (rules.max_pool(2), "max_pool2d_with_indices max_pool2d mkldnn_max_pool2d fractional_max_pool2d"),
    (rules.max_pool(3), "max_pool3d_with_indices max_pool3d fractional_max_pool3d"),
    (rules.average_pool(1), "avg_pool1d"),
    (rules.average_pool(2), "avg_pool2d"),
    (rules.average_pool(3), "avg_pool3d"),
    (rules.adaptive_pool(1), "adaptive_avg_pool1d adaptive_max_pool1d"),
    (rules.adaptive_pool(2), "_adaptive_avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d"),
    (rules.adaptive_pool(3), "_adaptive_avg_pool3d adaptive_avg_pool3d adaptive_max_pool3d"),
    (rules.interpolated(2), "upsample_linear1d"),
    (rules.interpolated(4), "upsample_bilinear2d _upsample_bilinear2d_aa grid_sampler_2d"),
    (rules.interpolated(8), "upsample_trilinear3d grid_sampler_3d"),
    (rules.interpolated(16), "upsample_bicubic2d _upsample_bicubic2d_aa"),
    (rules.convolution, """
        convolution _convolution convolution_overrideable mkldnn_convolution cudnn_convolution conv1d conv2d
        conv3d _slow_conv2d_forward _conv_depthwise2d slow_conv_transpose2d
    """),
    (rules.matrix_product, "mm bmm mv dot vdot matmul inner"),
    (rules.added_product, "addmm baddbmm addmv addbmm"),
    (rules.linear, "linear mkldnn_linear"),
    (rules.outer_sum, "_trilinear"),
    (rules.attention, """
        scaled_dot_product_attention _scaled_dot_product_flash_attention _scaled_dot_product_efficient_attention
        _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_cudnn_attention
        _scaled_dot_product_attention_math _scaled_dot_product_fused_attention_overrideable
    """),
    (rules.distances, "_cdist_forward _euclidean_dist"),
    (detection.suppressed, "nms"),
    (detection.aligned, "roi_align"),
    (detection.deformed, "deform_conv2d"),
    (backward.convolution, "convolution_backward convolution_backward_overrideable"),
    (backward.attention, """
        _scaled_dot_product_flash_attention_backward _scaled_dot_product_efficient_attention_backward
        _scaled_dot_product_flash_attention_for_cpu_backward _scaled_dot_product_cudnn_attention_backward
        _scaled_dot_product_fused_attention_overrideable_backward
    """),
    (backward.batch_norm, """
        native_batch_norm_backward cudnn_batch_norm_backward miopen_batch_norm_backward batch_norm_backward
    """),
    (backward.layer_norm, "native_layer_norm_backward native_group_norm_backward"),
    (backward.rms_norm, "_fused_rms_norm_backward"),
    # A mask costs one operation; a derivative is an elementary function, times the gradient.
    (backward.each(1), "threshold_backward hardtanh_backward hardshrink_backward softshrink_backward"),
    (backward.each(2), """
        gelu_backward silu_backward mish_backward elu_backward leaky_relu_backward hardswish_backward
        hardsigmoid_backward log_sigmoid_backward softplus_backward logit_backward rrelu_with_noise_backward
        native_dropout_backward
    """),
    (backward.each(3), "sigmoid_backward tanh_backward _prelu_kernel_backward"),
    (backward.each(4), "_softmax_backward_data _log_softmax_backward_data _masked_softmax_backward"),
    (backward.each(5), "_weight_norm_interface_backward"),
    (backward.each(6), "glu_backward"),
    (backward.distances, "_cdist_backward"),
    (backward.spread, "slice_backward select_backward diagonal_backward"),
    (backward.added("indices"), """
        max_pool2d_with_indices_backward max_pool3d_with_indices_backward adaptive_max_pool2d_backward
        adaptive_max_pool3d_backward fractional_max_pool2d_backward fractional_max_pool3d_backward
        embedding_dense_backward
    """),
    (backward.added(), """
        unfold_backward reflection_pad1d_backward reflection_pad2d_backward reflection_pad3d_backward
        replication_pad1d_backward replication_pad2d_backward replication_pad3d_backward
        upsample_nearest1d_backward upsample_nearest2d_backward upsample_nearest3d_backward
        _upsample_nearest_exact1d_backward _upsample_nearest_exact2d_backward _upsample_nearest_exact3d_backward
    """),
    (backward.bag, "_embedding_bag_backward _embedding_bag_dense_backward"),
    (backward.average_pool(2), "avg_pool2d_backward"),
    (backward.average_pool(3), "avg_pool3d_backward"),
    (backward.adaptive_pool(2), "_adaptive_avg_pool2d_backward"),
    (backward.adaptive_pool(3), "_adaptive_avg_pool3d_backward"),
    (backward.interpolated(2), "upsample_linear1d_backward"),
    (backward.interpolated(4), "upsample_bilinear2d_backward _upsample_bilinear2d_aa_backward"),
    (backward.interpolated(8), "upsample_trilinear3d_backward"),
    (backward.interpolated(16), "upsample_bicubic2d_backward _upsample_bicubic2d_aa_backward"),
    (backward.sampled(2), "grid_sampler_2d_backward"),
    (backward.sampled(3), "grid_sampler_3d_backward"),
    (losses.picked, "nll_loss_forward nll_loss2d_forward"),
    (losses.picked_backward, "nll_loss_backward nll_loss2d_backward"),
    (losses.aligned, "_ctc_loss"),
    (losses.aligned_backward, "_ctc_loss_backward"),
    (losses.pointwise(2), "mse_loss"),
    (losses.pointwise_backward(3), "mse_loss_backward"),
    # Difference, absolute value and comparison; the square or the line.
    (losses.pointwise(5), "smooth_l1_loss huber_loss"),
    (losses.pointwise_backward(4), "smooth_l1_loss_backward huber_loss_backward"),
    # -(t log p + (1 - t) log(1 - p)); (p - t) / (p (1 - p)).
    (losses.pointwise(8), "binary_cross_entropy binary_cross_entropy_with_logits"),
    (losses.pointwise_backward(6), "binary_cross_entropy_backward"),
    # log(1 + exp(-t y)); -t z / (z + 1) with z = exp(-t y).
    (losses.pointwise(4), "soft_margin_loss multi_margin_loss multilabel_margin_loss_forward"),
    (losses.pointwise_backward(7), """
        soft_margin_loss_backward multi_margin_loss_backward multilabel_margin_loss_backward
    """),
    (optimizers.fused_adam, "_fused_adam _fused_adamw"),
    (optimizers.fused_sgd, "_fused_sgd"),
    (optimizers.fused_adagrad, "_fused_adagrad"),
)  # fmt: skip

RULES: dict[str, Rule] = {kind: cost for cost, kinds in _KINDS_BY_RULE for kind in kinds.split()}
