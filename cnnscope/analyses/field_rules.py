"""Which rule says what an element of an operator's results sees, by kind of operator.

A rule takes an ``Op`` and what each of its inputs sees of one axis, and returns what each output sees of it, or raises
``Undecided``. Here are the two simplest: nothing is seen, and every element stays in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..graph import Op
from .mixing import attended, mixed, multiplied, normalised, reduced
from .moving import index_selected, joined, permuted, rearranged, regrouped, selected, shuffled, sliced, split, turned
from .sliding import convolved, padded, pooled, pooled_adaptively, resampled
from .windows import Windows, broadcast, union

Rule = Callable[[Op, Sequence[Windows]], Sequence[Windows]]  # from what each input sees, of one axis, to each output


def constant(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """The result does not depend on the values of the inputs."""
    return [()] * len(op.outputs)


def pointwise(op: Op, seen: Sequence[Windows]) -> list[Windows]:
    """Each element of the result sees what the elements at its place see."""
    shape = op.outputs[0].shape
    return [union([broadcast(window, shape) for windows in seen for window in windows])]


def _rules(rule: Rule, kinds: str) -> dict[str, Rule]:
    return dict.fromkeys(kinds.split(), rule)


RULES: dict[str, Rule] = {
    **_rules(constant, "empty_like zeros_like ones_like full_like rand_like randn_like new_empty new_zeros new_ones "
             "new_full new_empty_strided zero fill normal uniform"),
    **_rules(pointwise, "hardswish log_sigmoid_forward _prelu_kernel _to_copy alias detach lift_fresh contiguous copy "
             "dropout native_dropout tril triu expand expand_copy"),
    **_rules(regrouped, "view _unsafe_view reshape _reshape_alias squeeze unsqueeze flatten unflatten view_copy"),
    **_rules(permuted, "permute transpose t permute_copy"),
    **_rules(shuffled, "pixel_shuffle pixel_unshuffle"),
    **_rules(convolved, "convolution _convolution cudnn_convolution mkldnn_convolution"),
    **_rules(pooled, "max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices avg_pool1d "
             "avg_pool2d avg_pool3d"),
    **_rules(pooled_adaptively, "adaptive_avg_pool1d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d "
             "adaptive_max_pool3d"),
    **_rules(resampled, "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d "
             "_upsample_nearest_exact2d _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d "
             "upsample_trilinear3d upsample_bicubic2d"),
    **_rules(padded, "constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d "
             "replication_pad2d replication_pad3d"),
    **_rules(sliced, "slice slice_copy"),
    **_rules(split, "split split_with_sizes unsafe_split unsafe_split_with_sizes"),
    **_rules(selected, "select unbind select_copy"),
    **_rules(turned, "flip roll repeat cumsum"),
    **_rules(joined, "cat stack"),
    **_rules(reduced, "mean sum nansum prod amax amin max min argmax argmin any all var std var_mean std_mean norm "
             "linalg_vector_norm logsumexp median"),
    **_rules(mixed, "_softmax _log_softmax _safe_softmax sort argsort topk _fft_r2c _fft_c2c _fft_c2r"),
    **_rules(normalised, "native_batch_norm cudnn_batch_norm _native_batch_norm_legit native_layer_norm "
             "_native_batch_norm_legit_no_training native_group_norm _fused_rms_norm"),
    **_rules(multiplied, "mm bmm addmm baddbmm"),
    **_rules(attended, "_scaled_dot_product_flash_attention _scaled_dot_product_flash_attention_for_cpu "
             "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention "
             "_scaled_dot_product_attention_math _scaled_dot_product_fused_attention_overrideable"),
    **_rules(rearranged, "as_strided index _unsafe_index gather scatter index_put take diagonal"),
    **_rules(index_selected, "index_select"),
}  # fmt: skip
